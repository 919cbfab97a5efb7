"""The HTTP server of a worker: `/metrics` for Prometheus, `/healthz` for whatever keeps it running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from lipika.errors import SettingsError
from lipika.fleet.exposition import CONTENT_TYPE, exposition
from lipika.fleet.metrics import WorkerView, worker_metrics
from lipika.log import get_logger

log = get_logger(__name__)


@asynccontextmanager
async def serving_metrics(view: WorkerView, host: str, port: int) -> AsyncIterator[None]:
    """Serve for the length of a block; port 0 serves nothing.

    Raises:
        SettingsError: the port cannot be had.
    """
    if not port:
        yield
        return
    runner = web.AppRunner(_application(view), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, UnicodeError) as error:  # the latter: a host that cannot be one
        await runner.cleanup()
        reason = getattr(error, "strerror", error)
        raise SettingsError(
            f"METRICS_PORT: {host}:{port} cannot be had ({reason}); each worker on a machine needs its own"
        ) from None
    log.info("metrics", url=f"http://{host}:{port}/metrics")
    try:
        yield
    finally:
        await runner.cleanup()


def _application(view: WorkerView) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(worker_metrics(view)), headers={"Content-Type": CONTENT_TYPE})

    async def health(_: web.Request) -> web.Response:
        """Well until the worker should have ended by itself: an outage of the database is waited out, not healed."""
        if not view.worker.lease_is_over:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="no heartbeat has reached the database for too long\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics), web.get("/healthz", health)])
    return application

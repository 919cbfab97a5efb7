"""Statistics, and the endpoints that change a running simulator.

    GET  /stats             what was counted at the socket
    POST /control/faults    a fault plan as TOML or JSON, in place of the present one
    POST /control/quotas    the fields of Quotas as JSON; `?project=` sets them for that project alone
    POST /control/latency   the fields of Latency as JSON
    POST /control/flex      the fields of FlexQueue as JSON
    POST /control/reset     counters, quotas, cache and fault plan begin anew

A body that will not do is answered 400 with the reason, and changes nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import orjson
from aiohttp import web

from lipika.errors import SettingsError
from lipika.simulator.config import FlexQueue, Latency, Quotas, read, read_json
from lipika.simulator.faults import FaultPlan
from lipika.simulator.ledger import RequestLog
from lipika.simulator.simulation import Simulation


def routes(simulation: Simulation, log: RequestLog) -> list[web.RouteDef]:
    """The routes of a server's control endpoints."""
    control = _Control(simulation, log)
    return [
        web.get("/stats", control.stats),
        web.post("/control/faults", control.set_faults),
        web.post("/control/quotas", control.set_quotas),
        web.post("/control/latency", control.set_latency),
        web.post("/control/flex", control.set_flex),
        web.post("/control/reset", control.reset),
    ]


class _Control:
    def __init__(self, simulation: Simulation, log: RequestLog):
        self._simulation = simulation
        self._log = log

    async def stats(self, _: web.Request) -> web.Response:
        self._log.flush()
        body = self._simulation.ledger.as_json(self._simulation.faults.count_uses())
        return web.Response(body=body, content_type="application/json")

    async def set_faults(self, request: web.Request) -> web.Response:
        text = await request.text()

        def change() -> None:
            fields = orjson.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
            self._simulation.set_faults(read(FaultPlan, fields, "faults"))

        return _answer_change(change)

    async def set_quotas(self, request: web.Request) -> web.Response:
        body = await request.read()
        project = request.query.get("project")
        return _answer_change(lambda: self._simulation.set_quotas(read_json(Quotas, body, "quotas"), project))

    async def set_latency(self, request: web.Request) -> web.Response:
        body = await request.read()

        def change() -> None:
            self._simulation.latency = read_json(Latency, body, "latency")

        return _answer_change(change)

    async def set_flex(self, request: web.Request) -> web.Response:
        body = await request.read()

        def change() -> None:
            self._simulation.flex = read_json(FlexQueue, body, "flex")

        return _answer_change(change)

    async def reset(self, _: web.Request) -> web.Response:
        return _answer_change(self._simulation.reset)


def _answer_change(change: Callable[[], None]) -> web.Response:
    try:
        change()
    except (SettingsError, ValueError) as error:  # orjson's and tomllib's errors are ValueErrors
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"ok": True})

"""The HTTP server: routes, keys, delivery (also the broken kinds), statistics and the control endpoints.

POST /v1beta/models/{model}:generateContent    (also /v1, /v1alpha)
GET  /v1beta/models, /v1beta/models/{model}
POST /api/v1/chat/completions                  (also /v1/chat/completions, for OpenAI-compatible clients)
GET  /api/v1/key, /api/v1/models
GET  /stats                                    what was counted at the socket
POST /control/faults | quotas | latency        JSON (faults also as TOML) in place of what is in force
POST /control/reset                            counters, quotas, cache and fault plan begin anew
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from lipika.capabilities import load_capabilities
from lipika.errors import SettingsError
from lipika.simulator import gemini, openrouter
from lipika.simulator.audio import ear
from lipika.simulator.config import Latency, Quotas, SimulatorConfig, read, read_json
from lipika.simulator.exchange import Answered, Delivery, Ending, Page, Question, Reply, WireError
from lipika.simulator.faults import FaultPlan
from lipika.simulator.ledger import LogEntry, RequestLog
from lipika.simulator.simulation import Simulation

MODELS = ("gemini-3-flash-preview", "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash")
"""Served by default; `SimulatorConfig.models` adds to them."""

_READ_BUFFER_BYTES = 1024 * 1024  # one wake-up per request of the usual size
_BACKLOG = 4096
_DRIPS = 20
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that accepts connections. `url` is the base for GEMINI_BASE_URL; OpenRouter's is below it."""

    url: str
    port: int
    simulation: Simulation = field(repr=False)

    @property
    def openrouter_url(self) -> str:
        return f"{self.url}/api/v1"


@asynccontextmanager
async def running(config: SimulatorConfig) -> AsyncIterator[Listening]:
    """Serve in the current loop for as long as the context is open.

    Raises:
        SettingsError: the address cannot be bound, or the certificate, model list or log cannot be used.
    """
    tls = _tls_context(config)
    with _request_log(config) as log:
        server = _Server(config, log)
        runner = web.AppRunner(
            server.app(),
            access_log=None,
            handler_cancellation=True,  # a client that hangs up ends its handler, hangs included
            read_bufsize=_READ_BUFFER_BYTES,
            shutdown_timeout=0.1,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.host, config.port, backlog=_BACKLOG, ssl_context=tls)
            try:
                await site.start()
            except OSError as error:
                raise SettingsError(
                    f"{config.host}:{config.port} cannot be bound: {error.strerror}"
                ) from None
            host, port = runner.addresses[0][:2]
            yield Listening(f"{'https' if tls else 'http'}://{host}:{port}", port, server.simulation)
        finally:
            await runner.cleanup()


async def serve(config: SimulatorConfig, ready: Callable[[Listening], None]) -> None:
    """Serve until cancelled; `ready` is called once, when connections are accepted."""
    async with running(config) as listening:
        ready(listening)
        await asyncio.Event().wait()


def _tls_context(config: SimulatorConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None and config.tls_key is None:
        return None
    if config.tls_cert is None:
        raise SettingsError("TLS needs a certificate too: name its file (--tls-cert)")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"TLS certificate {config.tls_cert}: {error}") from None
    return context


def _request_log(config: SimulatorConfig) -> RequestLog:
    try:
        return RequestLog(config.request_log)
    except OSError as error:
        raise SettingsError(f"request log {config.request_log}: {error.strerror}") from None


class _Server:
    def __init__(self, config: SimulatorConfig, log: RequestLog):
        self._config = config
        self._log = log
        self._hear = ear(light=config.light, silence_peak_dbfs=config.silence_peak_dbfs)
        self._models = {name: load_capabilities(name) for name in (*MODELS, *config.models)}
        slugs = {f"google/{name}": load_capabilities(f"google/{name}") for name in self._models}
        self._slugs = {**self._models, **slugs}
        self.simulation = Simulation(config)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._config.max_body_bytes)
        versions = "{version:v1|v1beta|v1alpha}"
        app.add_routes(
            [
                web.post(f"/{versions}/models/{{model:[^:/]+}}:generateContent", self._generate_content),
                web.get(f"/{versions}/models", self._gemini_models),
                web.get(f"/{versions}/models/{{model:[^:/]+}}", self._gemini_model),
                web.post("/api/v1/chat/completions", self._chat_completions),
                web.post("/v1/chat/completions", self._chat_completions),
                web.get("/api/v1/key", self._openrouter_key),
                web.get("/api/v1/models", self._openrouter_models),
                web.get("/stats", self._stats),
                web.post("/control/faults", self._set_faults),
                web.post("/control/quotas", self._set_quotas),
                web.post("/control/latency", self._set_latency),
                web.post("/control/reset", self._reset),
                web.route("*", "/{path:.*}", self._unknown),
            ]
        )
        return app

    # ------------------------------------------------------------------------- the two wire formats

    async def _generate_content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["model"]

        async def ask() -> tuple[Question, Reply, Page]:
            body = await self._body(request, gemini.too_large)
            project = self._gemini_project(request)
            model = self._models.get(name)
            if model is None:
                raise gemini.unknown_model(name)
            question = gemini.read(body, model=model, project=project, hear=self._hear)
            reply = self.simulation.ask(question)
            return question, reply, gemini.page(reply.outcome, name)

        return await self._answer(request, ask)

    async def _chat_completions(self, request: web.Request) -> web.StreamResponse:
        async def ask() -> tuple[Question, Reply, Page]:
            body = await self._body(request, openrouter.too_large)
            _, project = self._openrouter_key_of(request)
            question = openrouter.read(body, models=self._slugs, project=project, hear=self._hear)
            reply = self.simulation.ask(question)
            return question, reply, openrouter.page(reply.outcome)

        return await self._answer(request, ask)

    async def _answer(
        self, request: web.Request, ask: Callable[[], Awaitable[tuple[Question, Reply, Page]]]
    ) -> web.StreamResponse:
        """Count, ask, wait, deliver."""
        ledger = self.simulation.ledger
        ledger.begin(_client_port(request))
        entry = LogEntry(began=time.time())
        try:
            return await self._asked(request, ask, entry)
        except asyncio.CancelledError:
            ledger.abandoned += 1
            entry.kind = "abandoned"
            raise
        finally:
            ledger.end(entry.status)
            self._log.write(entry)

    async def _asked(
        self,
        request: web.Request,
        ask: Callable[[], Awaitable[tuple[Question, Reply, Page]]],
        entry: LogEntry,
    ) -> web.StreamResponse:
        try:
            question, reply, page = await ask()
        except WireError as error:
            entry.status, entry.kind = error.page.status, "invalid"
            return self._response(error.page)
        entry.digest, entry.project = question.digest, question.project
        entry.model = question.model.model_id
        entry.kind = reply.fault or ("answer" if isinstance(reply.outcome, Answered) else reply.outcome.kind)
        # Thousands wait here at once: nothing in this frame holds on to a request's body.
        await asyncio.sleep(reply.delivery.delay_s)
        return await self._deliver(request, page, reply.delivery, entry)

    async def _deliver(
        self, request: web.Request, page: Page, delivery: Delivery, entry: LogEntry
    ) -> web.StreamResponse:
        if delivery.ending is Ending.HTML:
            page = _BAD_GATEWAY
        elif delivery.ending in (Ending.RESET, Ending.HANG_UP):
            _break_off(request, reset=delivery.ending is Ending.RESET)
            return web.Response(status=500)  # goes nowhere
        elif delivery.ending is Ending.CUT:
            return await self._stream(request, page, [page.body[: len(page.body) // 2]], 0)
        entry.status = page.status
        if delivery.drip_s:
            step = len(page.body) // _DRIPS + 1
            pieces = [page.body[at : at + step] for at in range(0, len(page.body), step)]
            return await self._stream(request, page, pieces, delivery.drip_s)
        return self._response(page)

    def _response(self, page: Page) -> web.Response:
        self.simulation.ledger.bytes_out += len(page.body)
        return web.Response(
            status=page.status, body=page.body, headers=page.headers, content_type=page.content_type
        )

    async def _stream(
        self, request: web.Request, page: Page, pieces: list[bytes], over_s: float
    ) -> web.StreamResponse:
        """Write a body piece by piece; the connection ends early when the pieces are not all of it."""
        response = web.StreamResponse(status=page.status, headers=page.headers)
        response.content_type = page.content_type
        response.content_length = len(page.body)
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            self.simulation.ledger.bytes_out += len(piece)
            await asyncio.sleep(over_s / len(pieces))
        if sum(map(len, pieces)) < len(page.body):
            _break_off(request, reset=False)
        return response

    async def _body(self, request: web.Request, too_large: Callable[[int], WireError]) -> bytes:
        """The request's body; unlike `request.read()` it leaves no copy with the request."""
        limit = self._config.max_body_bytes
        if (request.content_length or 0) > limit:
            raise too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while piece := await request.content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise too_large(limit)
        self.simulation.ledger.bytes_in += size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _gemini_project(self, request: web.Request) -> str:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            raise gemini.missing_key()
        project = self._config.project_of(key)
        if project is None:
            raise gemini.wrong_key()
        return project

    def _openrouter_key_of(self, request: web.Request) -> tuple[str, str]:
        """The bearer token and the project it belongs to."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise openrouter.no_key()
        project = self._config.project_of(key)
        if project is None:
            raise openrouter.wrong_key()
        return key, project

    # ------------------------------------------------------------------------- free calls

    async def _gemini_models(self, request: web.Request) -> web.Response:
        def page() -> Page:
            self._gemini_project(request)
            return _json_page({"models": [gemini.model_entry(model) for model in self._models.values()]})

        return self._free(page)

    async def _gemini_model(self, request: web.Request) -> web.Response:
        def page() -> Page:
            self._gemini_project(request)
            model = self._models.get(request.match_info["model"])
            if model is None:
                raise gemini.unknown_model(request.match_info["model"])
            return _json_page(gemini.model_entry(model))

        return self._free(page)

    async def _openrouter_models(self, _: web.Request) -> web.Response:
        return self._free(
            lambda: _json_page({"data": [openrouter.model_entry(model) for model in self._models.values()]})
        )

    async def _openrouter_key(self, request: web.Request) -> web.Response:
        def page() -> Page:
            key, project = self._openrouter_key_of(request)
            used_usd = self.simulation.spent_usd(project)
            limit_usd = self.simulation.quotas_of(project).credit_usd
            return _json_page(openrouter.key_entry(key, used_usd=used_usd, limit_usd=limit_usd))

        return self._free(page)

    async def _unknown(self, _: web.Request) -> web.Response:
        return self._response(gemini.unknown_path().page)

    def _free(self, page: Callable[[], Page]) -> web.Response:
        try:
            return self._response(page())
        except WireError as error:
            return self._response(error.page)

    # ------------------------------------------------------------------------- statistics and control

    async def _stats(self, _: web.Request) -> web.Response:
        self._log.flush()
        body = self.simulation.ledger.as_json(self.simulation.faults.used())
        return web.Response(body=body, content_type="application/json")

    async def _set_faults(self, request: web.Request) -> web.Response:
        text = await request.text()

        def change() -> None:
            fields = orjson.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
            self.simulation.set_faults(read(FaultPlan, fields, "faults"))

        return _controlled(change)

    async def _set_quotas(self, request: web.Request) -> web.Response:
        """The body holds the fields of Quotas; `?project=` limits it to one project."""
        body = await request.read()
        project = request.query.get("project")
        return _controlled(lambda: self.simulation.set_quotas(read_json(Quotas, body, "quotas"), project))

    async def _set_latency(self, request: web.Request) -> web.Response:
        body = await request.read()

        def change() -> None:
            self.simulation.latency = read_json(Latency, body, "latency")

        return _controlled(change)

    async def _reset(self, _: web.Request) -> web.Response:
        return _controlled(self.simulation.reset)


_BAD_GATEWAY = Page(502, _HTML, content_type="text/html")


def _json_page(value: object) -> Page:
    return Page(200, orjson.dumps(value))


def _controlled(change: Callable[[], None]) -> web.Response:
    """Make a change; 400 with the reason when what was sent will not do."""
    try:
        change()
    except (SettingsError, ValueError) as error:  # orjson's and tomllib's errors are ValueErrors
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"ok": True})


def _client_port(request: web.Request) -> int:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return int(peer[1]) if peer else 0


def _break_off(request: web.Request, *, reset: bool) -> None:
    """Close the connection at once; as a reset, with what was to be sent thrown away."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if reset and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if reset:
        transport.abort()
    else:
        transport.close()

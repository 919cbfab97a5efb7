"""The HTTP server: routes, keys, and the life of a request.

POST /v1beta/models/{model}:generateContent    (also /v1, /v1alpha)
GET  /v1beta/models, /v1beta/models/{model}
POST /api/v1/chat/completions                  (also /v1/chat/completions, for OpenAI-compatible clients)
GET  /api/v1/key, /api/v1/models
GET  /stats, POST /control/...                 see `control`
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from lipika.errors import SettingsError
from lipika.llm.capabilities import load_capabilities
from lipika.simulator import control, gemini, openrouter
from lipika.simulator.audio import ear
from lipika.simulator.config import SimulatorConfig
from lipika.simulator.delivery import page_sent, response, send
from lipika.simulator.exchange import Answered, Question, SimulatedReply, WholeReply, WireError
from lipika.simulator.ledger import LogEntry, RequestLog
from lipika.simulator.simulation import Simulation

MODELS = ("gemini-3-flash-preview", "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash")
"""Served by default; `SimulatorConfig.models` adds to them."""

_READ_BUFFER_BYTES = 1024 * 1024  # one wake-up per request of the usual size
_BACKLOG = 4096


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
            except (OSError, UnicodeError) as error:  # the latter: a host that cannot be one
                raise SettingsError(
                    f"{config.host}:{config.port} cannot be bound: {getattr(error, 'strerror', error)}"
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
                *control.routes(self.simulation, self._log),
                web.route("*", "/{path:.*}", self._unknown),
            ]
        )
        return app

    # ------------------------------------------------------------------------- the two wire formats

    async def _generate_content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["model"]

        async def ask() -> tuple[Question, SimulatedReply, WholeReply]:
            body = await self._body(request, gemini.too_large)
            project = self._gemini_project(request)
            model = self._models.get(name)
            if model is None:
                raise gemini.unknown_model(name)
            question = gemini.read(
                body,
                model=model,
                project=project,
                hear=self._hear,
                server_timeout_s=_server_timeout_s(request),
            )
            reply = self.simulation.ask(question)
            return question, reply, gemini.page(reply.outcome, name)

        return await self._answer(request, ask)

    async def _chat_completions(self, request: web.Request) -> web.StreamResponse:
        async def ask() -> tuple[Question, SimulatedReply, WholeReply]:
            body = await self._body(request, openrouter.too_large)
            _, project = self._openrouter_key_of(request)
            question = openrouter.read(body, models=self._slugs, project=project, hear=self._hear)
            reply = self.simulation.ask(question)
            return question, reply, openrouter.page(reply.outcome)

        return await self._answer(request, ask)

    async def _answer(
        self, request: web.Request, ask: Callable[[], Awaitable[tuple[Question, SimulatedReply, WholeReply]]]
    ) -> web.StreamResponse:
        """Count, ask, wait, deliver."""
        ledger = self.simulation.ledger
        ledger.begin(_client_port(request))
        entry = LogEntry(began=time.time())
        try:
            return await self._answer_question(request, ask, entry)
        except asyncio.CancelledError:
            ledger.abandoned += 1
            entry.kind = "abandoned"
            raise
        finally:
            ledger.end(entry.status)
            self._log.write(entry)

    async def _answer_question(
        self,
        request: web.Request,
        ask: Callable[[], Awaitable[tuple[Question, SimulatedReply, WholeReply]]],
        entry: LogEntry,
    ) -> web.StreamResponse:
        try:
            question, reply, page = await ask()
        except WireError as error:
            entry.status, entry.kind = error.page.status, "invalid"
            return self._response(error.page)
        entry.digest, entry.project = question.digest, question.project
        entry.model, entry.temperature = question.model.model_id, question.temperature
        entry.kind = reply.fault or ("answer" if isinstance(reply.outcome, Answered) else reply.outcome.kind)
        page = page_sent(page, reply.delivery)
        # Thousands wait here at once: nothing in this frame holds on to a request's body.
        await asyncio.sleep(reply.delivery.delay_s)
        if reply.delivery.arrives:
            entry.status = page.status
            self.simulation.ledger.bytes_out += len(page.body)
        return await send(request, page, reply.delivery)

    def _response(self, page: WholeReply) -> web.Response:
        self.simulation.ledger.bytes_out += len(page.body)
        return response(page)

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
        def page() -> WholeReply:
            self._gemini_project(request)
            version, retires = self._config.model_version, self._config.retirement_time
            entries = [gemini.model_entry(model, version, retires) for model in self._models.values()]
            return _json_page({"models": entries})

        return self._free(page)

    async def _gemini_model(self, request: web.Request) -> web.Response:
        def page() -> WholeReply:
            self._gemini_project(request)
            model = self._models.get(request.match_info["model"])
            if model is None:
                raise gemini.unknown_model(request.match_info["model"])
            config = self._config
            return _json_page(gemini.model_entry(model, config.model_version, config.retirement_time))

        return self._free(page)

    async def _openrouter_models(self, _: web.Request) -> web.Response:
        version = self._config.model_version
        entries = [openrouter.model_entry(model, version) for model in self._models.values()]
        return self._free(lambda: _json_page({"data": entries}))

    async def _openrouter_key(self, request: web.Request) -> web.Response:
        def page() -> WholeReply:
            key, project = self._openrouter_key_of(request)
            used_usd = self.simulation.spent_usd(project)
            limit_usd = self.simulation.quotas_of(project).credit_usd
            return _json_page(openrouter.key_entry(key, used_usd=used_usd, limit_usd=limit_usd))

        return self._free(page)

    async def _unknown(self, request: web.Request) -> web.Response:
        self.simulation.ledger.begin(_client_port(request))
        self.simulation.ledger.end(404)  # a client with a wrong base URL shows in the statistics
        return self._response(gemini.unknown_path().page)

    def _free(self, page: Callable[[], WholeReply]) -> web.Response:
        try:
            return self._response(page())
        except WireError as error:
            return self._response(error.page)


def _server_timeout_s(request: web.Request) -> float | None:
    """Seconds that the client says it will wait; what is no whole number is passed over."""
    told = request.headers.get("X-Server-Timeout", "")
    return float(told) if told.isdecimal() else None


def _json_page(value: object) -> WholeReply:
    return WholeReply(200, orjson.dumps(value))


def _client_port(request: web.Request) -> int:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return int(peer[1]) if peer else 0

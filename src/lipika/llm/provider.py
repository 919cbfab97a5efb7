"""The interface of every provider, and nothing more: one attempt in, one response out.

A provider translates (our request to its wire format, its reply to ours) and classifies (every failure becomes
a `Failure` value). It never sleeps, retries, counts or prints: that is the engine's.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol, Self

import aiohttp
import orjson
import pybase64

from lipika.errors import SettingsError
from lipika.llm.capabilities import Capabilities
from lipika.llm.replies import Reply, as_object, parse_json
from lipika.llm.transport import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    NEVER_SENT,
    Address,
    failure_of,
    interception,
    reply_too_long,
)
from lipika.models import Failure, FailureKind, ServiceTier, Usage
from lipika.network import Network, keep_alive_socket
from lipika.redaction import hide

AUDIO_MARK = "\x00audio\x00"
"""Stands in a payload where the audio's base64 belongs; cannot occur in a prompt."""


class AudioSource(Protocol):
    """Audio that lies elsewhere, such as on disk, and is read each time that it is sent."""

    def __len__(self) -> int:
        """Its bytes."""

    def read(self) -> bytes:
        """The audio as sent."""


@dataclass(frozen=True, slots=True)
class SeveralClips:
    """More than one clip for one request: the words before each, its audio, and the schema of their answers."""

    schema: Mapping[str, Any]
    clips: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """One clip to transcribe. `audio` is FLAC as sent; `audio_ms` its length with pads.

    Where there is a `source`, the audio is read from there and `audio` is empty: thousands may be in flight. Where
    there are `several` clips, `audio` is empty and `audio_ms` is of all. What is wrong with their answer is mended
    clip by clip: such a request has no varied retry.
    """

    clip_id: str  # <video>/<clip>, for logs
    video_id: str
    language: str | None
    system_prompt: str  # byte-identical for all clips of one language
    clip_prompt: str
    audio: bytes
    audio_ms: int
    max_output_tokens: int
    varied: bool = False  # the one varied retry: the model's own temperature instead of ours
    audio_format: str = "flac"
    varied_prompt: str = ""  # takes the place of `clip_prompt` in the varied retry
    tier: ServiceTier = ServiceTier.STANDARD  # that it is asked for at
    deadline_s: float | None = None  # of this request, where it is less than the provider's own
    source: AudioSource | None = None
    several: SeveralClips | None = None

    def parts(self) -> list[str]:
        """The user's turn in order: texts, and AUDIO_MARK where audio belongs."""
        if self.several is None:
            return [self.clip_prompt, AUDIO_MARK]
        return [self.clip_prompt, *(part for words, _ in self.several.clips for part in (words, AUDIO_MARK))]

    def sounds(self) -> tuple[bytes, ...]:
        """The audio of each mark; reads files."""
        if self.several is not None:
            return tuple(audio for _, audio in self.several.clips)
        return (self.audio if self.source is None else self.source.read(),)

    def sound_bytes(self) -> tuple[int, ...]:
        """The size of each, without reading it."""
        if self.several is not None:
            return tuple(len(audio) for _, audio in self.several.clips)
        return (len(self.audio if self.source is None else self.source),)


@dataclass(frozen=True, slots=True)
class TranscriptionResponse:
    """The end of one attempt: `text` is the model's answer, or `failure` says why there is none.

    `usage` is metered where the provider reports it. Where it does not, it is estimated for everything that may
    have been billed, and zero for what was not: a request that never arrived, or that got an error status.
    """

    request: TranscriptionRequest
    provider: str
    text: str
    failure: Failure | None
    usage: Usage
    model_version: str
    latency_ms: float
    tier: ServiceTier = ServiceTier.STANDARD  # that was served: billing follows it, whatever was asked for


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Parameters of a question to the model. None leaves a parameter out."""

    model_id: str
    temperature: float | None
    thinking_level: str | None
    timeout_s: float
    connect_timeout_s: float = 15.0
    flex_timeout_s: float = 1200.0  # of a request at Flex, which may wait for a quarter of an hour


class BaseProvider(ABC):
    """One audio LLM behind one wire format. Use as an async context manager: it owns its connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        return

    @abstractmethod
    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        """Make one attempt. Failures are values in the response; only cancellation is raised."""

    @abstractmethod
    def get_provider_name(self) -> str:
        """`aistudio`, `openrouter`, ...: the key of budgets, rows and metrics."""

    @property
    def has_tiers(self) -> bool:
        """True if it can be asked at Flex."""
        return False

    async def says_simulated(self) -> bool | None:
        """True if the model says of itself that its answers are made up. Free; None where it says nothing."""
        return None

    # ------------------------------------------------------------------------- for scripts: lipika does without

    def verify_cache_hit(self, response: TranscriptionResponse) -> bool:
        """True if any prompt token of this response was served from the provider's cache."""
        return response.usage.cached > 0

    def get_token_usage(self, response: TranscriptionResponse) -> Usage:
        """The tokens of this response, as they are billed."""
        return response.usage

    async def send_batch(
        self, requests: Iterable[TranscriptionRequest]
    ) -> AsyncGenerator[TranscriptionResponse, None]:
        """Send all at once and yield responses in their order of arrival.

        Whoever stops early closes the iterator (`contextlib.aclosing`): what is in flight is then cancelled. The
        engine paces its own attempts with `transcribe`; this is the plain form for scripts and probes.
        """
        tasks = [asyncio.ensure_future(self.transcribe(request)) for request in requests]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:  # not a TaskGroup: it would wrap the closing of an iterator into an error
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


# ----------------------------------------------------------------------------- over HTTP


@dataclass(frozen=True, slots=True)
class ReadReply:
    """The content of a reply. `usage` is None where it reports none."""

    text: str = ""
    failure: Failure | None = None
    usage: Usage | None = None
    model_version: str = ""
    tier: ServiceTier | None = None  # that was served, where the reply says


_KEEPALIVE_S = 60.0
_PIECE_BYTES = 16 << 10
"""One record of TLS."""


class _LastUsedFirst(aiohttp.TCPConnector):
    """Takes the connection that was used last, so that what a rush has left behind grows old and is closed.

    aiohttp takes the one that has waited longest: then all are used in turn, none is ever idle for long, and the most
    there ever were stay for good, 0.6 MB each.
    """

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        idle = self._conns.get(key)
        if idle and idle[-1][0] is protocol:
            idle.rotate(1)


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a request, made when they are sent; nobody holds them while the answer is awaited."""

    size: int
    make: Callable[[], bytes]


class _BodyPayload(aiohttp.Payload):
    """The same, as aiohttp asks for it: what is given to it as bytes it keeps until the reply has come."""

    def __init__(self, body: Body):
        super().__init__(body, content_type="application/json")
        self._size = body.size

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        """In pieces, each once the one before is on its way: TLS keeps a buffer as large as what it was ever given at
        once, for as long as the connection lives."""
        made = memoryview(self._value.make())
        for start in range(0, len(made), _PIECE_BYTES):
            await writer.write(made[start : start + _PIECE_BYTES])
            await writer.drain()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        made: bytes = self._value.make()
        return made.decode(encoding, errors)


class HttpProvider(BaseProvider):
    """The half that every HTTP provider shares: one aiohttp session, one POST, transport errors as failures.

    One connection per request in flight (HTTP/1.1), kept open: a new TLS connection costs as much CPU as two
    requests. aiohttp never retries a POST that reached the wire.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        headers: Mapping[str, str],
        options: ModelOptions,
        capabilities: Capabilities,
        setting: str,
        network: Network | None = None,
    ):
        self._name = name
        self._url = url
        self._network = network or Network()
        self._address = Address(url, setting, self._network.proxy_host(url))
        self._headers = {**headers, "Content-Type": "application/json"}
        self._options = options
        self._capabilities = capabilities
        self._session: aiohttp.ClientSession | None = None
        self._frames = FrameCache(self._payload)

    @abstractmethod
    def _payload(self, request: TranscriptionRequest) -> Mapping[str, Any]:
        """The request in the wire format, with AUDIO_MARK for the audio's base64."""

    @abstractmethod
    def _read(self, reply: Reply) -> ReadReply:
        """Translate and classify a reply; never raises, whatever is in it."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=_LastUsedFirst(
                limit=0,
                keepalive_timeout=_KEEPALIVE_S,
                ssl=self._network.trust(self._url),
                socket_factory=keep_alive_socket,
            ),
            timeout=self._timeout(self._options.timeout_s),
            # Keys travel in headers only, those of a request: aiohttp tells a session's own to the proxy, too. And
            # nothing but the settings may change a request.
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            proxy=self._network.proxy_for(self._url),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        return self

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def get_provider_name(self) -> str:
        return self._name

    def encode(self, request: TranscriptionRequest) -> bytes:
        """The request's bytes: a cached JSON frame with the audio's base64 spliced in."""
        return self._frames.encode(request)

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        started = time.perf_counter()
        deadline_s = self._deadline_s(request)
        body = Body(self._frames.size(request), lambda: self.encode(request))
        headers = self._headers_of(request, deadline_s)
        reply = await self._send("POST", self._url, body, headers, deadline_s)
        latency_ms = (time.perf_counter() - started) * 1000
        failure = reply if isinstance(reply, Failure) else interception(reply, self._address)
        reading = (
            self._read(reply) if isinstance(reply, Reply) and failure is None else ReadReply(failure=failure)
        )
        usage = billed_usage(request, reading, self._capabilities.audio_tokens_per_second)
        return TranscriptionResponse(
            request,
            self._name,
            reading.text,
            _capacity(reading.failure) if request.tier is ServiceTier.FLEX else reading.failure,
            usage,
            reading.model_version,
            latency_ms,
            reading.tier or ServiceTier.STANDARD,  # where nobody says so, nothing is cheaper
        )

    def _deadline_s(self, request: TranscriptionRequest) -> float:
        flex = request.tier is ServiceTier.FLEX
        usual_s = self._options.flex_timeout_s if flex else self._options.timeout_s
        return usual_s if request.deadline_s is None else min(request.deadline_s, usual_s)

    def _headers_of(self, request: TranscriptionRequest, deadline_s: float) -> Mapping[str, str]:
        """Headers of one request, besides those of all."""
        del request, deadline_s
        return {}

    async def _describes(self, url: str) -> Mapping[str, Any] | None:
        """A free call for what the service says of itself; None where that is nothing, or comes too late."""
        try:
            async with asyncio.timeout(_DESCRIBE_S):
                reply = await self._send("GET", url)
        except TimeoutError:
            return None
        if isinstance(reply, Failure) or reply.status != 200:
            return None
        return as_object(parse_json(reply.body)) or None

    async def _send(
        self,
        method: str,
        url: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> Reply | Failure:
        """One request; whatever goes wrong below HTTP becomes a failure."""
        if self._session is None:
            raise RuntimeError(f"{type(self).__name__} must be entered with `async with` before use")
        timeout_s = self._options.timeout_s if deadline_s is None else deadline_s
        try:
            async with self._session.request(
                method,
                url,
                data=None if body is None else _BodyPayload(body),
                headers={**self._headers, **(headers or {})},
                allow_redirects=False,
                timeout=self._timeout(timeout_s),
            ) as response:
                content, whole = await _content(response)
                if not whole and response.status == 200:
                    return reply_too_long(self._address, MOST_REPLY_BYTES)
                received = response.headers
                return Reply(
                    response.status,
                    content,
                    received.get("Retry-After"),
                    received.get("X-RateLimit-Reset"),
                    time.time(),
                    received.get("Location"),
                    received.get("x-gemini-service-tier"),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return failure_of(error, self._address, timeout_s)

    def _timeout(self, total_s: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total_s, sock_connect=self._options.connect_timeout_s)


def _capacity(failure: Failure | None) -> Failure | None:
    """A failure at Flex: an answer that does not come in time says that there is no room, and nothing of the clip."""
    if failure is None or failure.kind is not FailureKind.TIMEOUT:
        return failure
    return replace(failure, kind=FailureKind.OVERLOADED)


_DESCRIBE_S = 10.0
"""For what a service says of itself; nobody waits longer for that."""


MOST_REPLY_BYTES = 16 << 20
"""Of a body, unpacked: a thousand times an answer. Without a bound one reply could take all memory."""


async def _content(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """A body as far as it may be read, and whether that is all of it."""
    length = response.content_length
    if length is not None and length <= MOST_REPLY_BYTES and "Content-Encoding" not in response.headers:
        return await response.read(), True
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MOST_REPLY_BYTES:
            response.close()  # what is left of it is not waited for
            return b"".join(pieces), False
    return b"".join(pieces), True


def header_key(provider: str, key: str) -> str:
    """A key as it goes into a header.

    Raises:
        SettingsError: it holds what no header can carry; says where, never the key itself.
    """
    trimmed = key.strip()
    if not trimmed or any(not "!" <= letter <= "~" for letter in trimmed):
        raise SettingsError(
            f"the key of {provider} is empty or holds a blank, a line break or a letter outside ASCII:"
            " copy it again, without quotes"
        )
    hide(trimmed)
    return trimmed


_AUDIO_JSON = orjson.dumps(AUDIO_MARK)[1:-1]
_MAX_FRAMES = 4096


class FrameCache:
    """Request bodies around the audio: built once for all clips that share the texts, the base64 spliced in.

    `payload` gives the request as a JSON object with AUDIO_MARK in it.
    """

    def __init__(self, payload: Callable[[TranscriptionRequest], Mapping[str, Any]]):
        self._payload = payload
        self._frames: dict[tuple[object, ...], Sequence[bytes]] = {}

    def encode(self, request: TranscriptionRequest) -> bytes:
        """The request's bytes."""
        first, *rest = self._frame(request)
        spliced = zip(map(pybase64.b64encode, request.sounds()), rest, strict=True)
        return b"".join((first, *chain.from_iterable(spliced)))

    def size(self, request: TranscriptionRequest) -> int:
        """The length of the request's bytes."""
        frame = sum(map(len, self._frame(request)))
        return frame + sum(-(-audio // 3) * 4 for audio in request.sound_bytes())

    def _frame(self, request: TranscriptionRequest) -> Sequence[bytes]:
        """The bytes before the audio's base64, and after it; between the audio of several clips, too."""
        if request.several is not None:  # its texts never come again
            return self._make(request)
        key = (
            request.system_prompt,
            request.clip_prompt,
            request.language,
            request.max_output_tokens,
            request.varied,
            request.audio_format,
            request.tier,
        )
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _MAX_FRAMES:  # per-clip texts must not grow the cache for ever
                self._frames.clear()
            frame = self._frames[key] = self._make(request)
        return frame

    def _make(self, request: TranscriptionRequest) -> Sequence[bytes]:
        return orjson.dumps(self._payload(request)).split(_AUDIO_JSON)


# ----------------------------------------------------------------------------- tokens nobody metered

_CHARS_PER_TOKEN = 4  # of English prose, Google's own figure
_LOST_TOKENS = 200  # of an answer that never came: its JSON around the text, and thoughts
_LOST_TOKENS_PER_S = 20  # ... its text, twice: 15 characters a second at half a token each


@lru_cache(maxsize=4096)  # a corpus has few prompts, and each is counted with every clip
def text_tokens(text: str) -> int:
    """Tokens of a prompt by arithmetic: English prose, rounded up; a letter outside ASCII counts as a token."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-plain // _CHARS_PER_TOKEN) + len(text) - plain


def billed_usage(request: TranscriptionRequest, reading: ReadReply, audio_tokens_per_second: int) -> Usage:
    """The tokens to account for: as metered where they were, else by arithmetic on the high side.

    Whatever may have been billed counts against the dollar cap, even when nobody says how much: an answer without a
    meter, a cut one, one that was lost on its way. An error status is not billed (Google's billing page).
    """
    failure, metered = reading.failure, reading.usage
    if metered is not None and metered.prompt and metered.prompt_audio:
        return metered
    guess = estimate_usage(request, reading.text, audio_tokens_per_second)
    if metered is not None:
        return _fill_in_audio(metered, guess)
    if failure is None:
        return guess
    if failure.code in NEVER_SENT or failure.http_status not in (None, 200):
        return Usage()
    if failure.kind is FailureKind.TRUNCATED:
        return replace(guess, output=request.max_output_tokens)
    return replace(guess, output=_LOST_TOKENS + _LOST_TOKENS_PER_S * request.audio_ms // 1000)


def _fill_in_audio(metered: Usage, guess: Usage) -> Usage:
    """The metered tokens; audio that is not listed apart is told by its length, since it may cost twice the text."""
    prompt = metered.prompt or guess.prompt
    audio = metered.prompt_audio or min(guess.prompt_audio, prompt)
    return replace(metered, prompt=prompt, prompt_text=prompt - audio, prompt_audio=audio)


def estimate_usage(request: TranscriptionRequest, text: str, audio_tokens_per_second: int) -> Usage:
    """Tokens of a request and its answer by arithmetic, on the high side.

    A character of the answer counts as a token: Indic scripts take 0.3 to 0.8, the JSON around them a quarter, which
    leaves room for thoughts.
    """
    prompt_text, prompt_audio = _prompt_parts(request, audio_tokens_per_second)
    return Usage(
        prompt=prompt_text + prompt_audio,
        prompt_text=prompt_text,
        prompt_audio=prompt_audio,
        output=len(text),
    )


def estimate_prompt(request: TranscriptionRequest, audio_tokens_per_second: int) -> int:
    """`estimate_usage(...).prompt` alone."""
    return sum(_prompt_parts(request, audio_tokens_per_second))


def _prompt_parts(request: TranscriptionRequest, audio_tokens_per_second: int) -> tuple[int, int]:
    text = text_tokens(request.system_prompt) + text_tokens(request.clip_prompt)
    if request.several is not None:
        text += sum(text_tokens(words) for words, _ in request.several.clips)
    return text, -(-request.audio_ms * audio_tokens_per_second // 1000)

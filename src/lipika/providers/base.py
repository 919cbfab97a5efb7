"""What every provider does, and nothing more: one attempt in, one response out.

A provider translates (our request to its wire format, its reply to ours) and classifies (every failure becomes
a `Failure` value). It never sleeps, retries, counts or prints: that is the engine's.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
import pybase64

from lipika.models import Failure, FailureKind, Usage


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """One clip to transcribe. `audio` is FLAC as sent; `audio_ms` its length with pads."""

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


@dataclass(frozen=True, slots=True)
class TranscriptionResponse:
    """The end of one attempt: `text` is the model's answer, or `failure` says why there is none.

    `usage` is metered where the provider reports it and estimated from the request where it does not.
    """

    request: TranscriptionRequest
    provider: str
    text: str
    failure: Failure | None
    usage: Usage
    model_version: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How the model is asked. None leaves a parameter out."""

    model_id: str
    temperature: float | None
    thinking_level: str | None
    timeout_s: float
    connect_timeout_s: float = 15.0


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

    def verify_cache_hit(self, response: TranscriptionResponse) -> bool:
        """Whether any prompt token of this response was served from the provider's cache."""
        return response.usage.cached > 0

    def get_token_usage(self, response: TranscriptionResponse) -> Usage:
        """The tokens of this response, as they are billed."""
        return response.usage

    async def send_batch(
        self, requests: Iterable[TranscriptionRequest]
    ) -> AsyncIterator[TranscriptionResponse]:
        """Send all at once and yield responses in their order of arrival.

        The engine paces its own attempts with `transcribe`; this is the plain form for scripts and probes.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.transcribe(request)) for request in requests]
            for done in asyncio.as_completed(tasks):
                yield await done


class HttpProvider(BaseProvider):
    """The half that every HTTP provider shares: one aiohttp session, one POST, transport errors as failures.

    One connection per request in flight (HTTP/1.1), kept open: a new TLS connection costs as much CPU as two
    requests. aiohttp never retries a POST that reached the wire.
    """

    def __init__(self, options: ModelOptions, headers: dict[str, str], max_connections: int = 0):
        self._options = options
        self._headers = headers
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=60),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(
                total=self._options.timeout_s, sock_connect=self._options.connect_timeout_s
            ),
            # Keys travel in headers only, and no cookie or proxy of the environment may change a request.
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: str, body: bytes) -> Reply | Failure:
        """One POST; whatever goes wrong below HTTP becomes a failure."""
        return await self._send("POST", url, body)

    async def _get(self, url: str) -> Reply | Failure:
        """One GET, likewise."""
        return await self._send("GET", url, None)

    async def _send(self, method: str, url: str, body: bytes | None) -> Reply | Failure:
        if self._session is None:
            raise RuntimeError(f"{type(self).__name__} must be entered with `async with` before use")
        try:
            async with self._session.request(method, url, data=body, allow_redirects=False) as response:
                content = await response.read()
                return Reply(response.status, content, response.headers.get("Retry-After"))
        except TimeoutError:
            return Failure(
                FailureKind.TIMEOUT, f"no answer within {self._options.timeout_s:g} s", code="deadline"
            )
        except (aiohttp.ClientError, OSError) as error:
            return Failure(FailureKind.SERVER, f"{type(error).__name__}: {error}", code="connection")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply, whole."""

    status: int
    body: bytes
    retry_after: str | None


AUDIO_MARK = "\x00audio\x00"
"""Stands in a payload where the audio's base64 belongs; cannot occur in a prompt."""

_AUDIO_JSON = orjson.dumps(AUDIO_MARK)[1:-1]
_MAX_FRAMES = 4096


class FrameCache:
    """Request bodies around the audio: built once for all clips that share the texts, the base64 spliced in.

    `payload` gives the request as a JSON object with AUDIO_MARK in it.
    """

    def __init__(self, payload: Callable[[TranscriptionRequest], Mapping[str, Any]]):
        self._payload = payload
        self._frames: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    def encode(self, request: TranscriptionRequest) -> bytes:
        """The request's bytes."""
        key = (
            request.system_prompt,
            request.clip_prompt,
            request.language,
            request.max_output_tokens,
            request.varied,
            request.audio_format,
        )
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _MAX_FRAMES:  # per-clip texts must not grow the cache for ever
                self._frames.clear()
            head, tail = orjson.dumps(self._payload(request)).split(_AUDIO_JSON)
            frame = self._frames[key] = (head, tail)
        return b"".join((frame[0], pybase64.b64encode(request.audio), frame[1]))


def header_seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its date form is not used by these services."""
    if retry_after and re.fullmatch(r"\d+(\.\d+)?", retry_after.strip()):
        return float(retry_after)
    return None


def excerpt(body: bytes) -> str:
    """The start of a body that is not what it should be, on one line."""
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return text[:200] or "an empty body"


def estimate_usage(request: TranscriptionRequest, text: str, audio_tokens_per_second: int) -> Usage:
    """Tokens by arithmetic, for a reply that reports none: 4 characters of prompt or 2 of answer a token.

    An answer without a meter must still count against the dollar cap; the guess is on the high side.
    """
    prompt_text = -(-len(request.system_prompt) // 4) + -(-len(request.clip_prompt) // 4)
    prompt_audio = -(-request.audio_ms * audio_tokens_per_second // 1000)
    return Usage(
        prompt=prompt_text + prompt_audio,
        prompt_text=prompt_text,
        prompt_audio=prompt_audio,
        output=-(-len(text) // 2),
    )

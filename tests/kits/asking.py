"""Helpers for tests that ask a model: clips of real audio, an engine pointed at a simulator."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

import numpy as np

from lipika.audio.codec import Audio, encode_flac
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, EngineOptions, Events, Review
from lipika.engine.pacing import Backoff, Probing
from lipika.engine.retries import RetryPolicy
from lipika.engine.route import Reserve, Route, reserve_unlimited
from lipika.llm import prompt, transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import BaseProvider, ModelOptions, TranscriptionRequest
from lipika.models import BatchReport, Failure, Judged, Lane, Verdict

MODEL = "gemini-3-flash-preview"


@cache
def clip_audio(number: int, seconds: float = 2.0) -> bytes:
    """FLAC of speech-like noise; each number gives other bytes."""
    rng = np.random.default_rng(number)
    noise = rng.normal(0, 4000, int(seconds * 16_000))
    envelope = np.abs(np.sin(np.arange(len(noise)) / 16_000 * 2 * np.pi * 1.5))
    return encode_flac(Audio((noise * envelope).clip(-32768, 32767).astype(np.int16), 16_000, 16))


def a_request(number: int = 0, *, video: str = "v", seconds: float = 2.0) -> TranscriptionRequest:
    return TranscriptionRequest(
        clip_id=f"{video}/{number}",
        video_id=video,
        language="hi",
        system_prompt=prompt.system_prompt("hi"),
        clip_prompt=prompt.clip_prompt(round(seconds * 1000)),
        audio=clip_audio(number, seconds),
        audio_ms=round(seconds * 1000),
        max_output_tokens=3072,
    )


def digest(request: TranscriptionRequest) -> str:
    return hashlib.sha256(request.audio).hexdigest()


def accept(text: str, _asked: Circumstances | None = None) -> Review | Failure:
    """Any schema-valid answer will do."""
    answer = transcript.parse_answer(text)
    if isinstance(answer, Failure):
        return answer
    lane = Lane(eligible=True)
    verdict = Verdict((), 0.9, {}, lane, lane, lane, False, False, 0, 0, 0, 10.0, "test")
    return Review(Judged(answer, verdict))


def aistudio(url: str, *, key: str = "test-key", timeout_s: float = 30.0) -> AIStudioProvider:
    return AIStudioProvider(
        base_url=url,
        api_key=key,
        options=ModelOptions(MODEL, 0.0, "low", timeout_s),
        capabilities=load_capabilities(MODEL),
        response_schema=transcript.response_schema(),
    )


def quick(batch_size: int = 1000, interval_s: float = 1.0, **options: object) -> EngineOptions:
    """Windows of a second and waits of hundredths, so that an hour's policy fits into a test."""
    policy = RetryPolicy(backoff=Backoff(0.05, 0.2), least=Backoff(0.01, 0.2))
    return EngineOptions(batch_size=batch_size, interval_s=interval_s, retry=policy, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def an_engine(
    url: str,
    *,
    options: EngineOptions | None = None,
    on_batch: Callable[[BatchReport], object] = lambda _report: None,
    key: str = "test-key",
    timeout_s: float = 30.0,
) -> AsyncIterator[Engine]:
    async with (
        aistudio(url, key=key, timeout_s=timeout_s) as provider,
        Engine(
            [a_route(provider)], worker_id="w", options=options or quick(), events=Events(on_batch=on_batch)
        ) as engine,
    ):
        yield engine


def a_route(provider: BaseProvider, reserve: Reserve = reserve_unlimited, *, probe_s: float = 0.1) -> Route:
    """A route that looks again after a tenth of a second."""
    return Route(
        provider,
        load_capabilities(MODEL),
        max_in_flight=2000,
        reserve=reserve,
        probing=Probing(probe_s, probe_s / 10, probe_s),
    )

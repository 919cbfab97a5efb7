"""Memory over a million requests: RSS after 50,000 and after 1,000,000, engine and HTTP client alone.

    python -m benchmarks.million --requests 1000000

Bodies are short (two seconds of silence); the simulator runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from benchmarks.setting import machine, save
from lipika import validation
from lipika.audio.codec import Audio, encode_flac
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, EngineOptions, Review
from lipika.engine.route import Route
from lipika.llm import prompt, transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import ModelOptions, TranscriptionRequest
from lipika.models import AudioFacts, Clip, Failure, Judged, SegmentName
from lipika.simulator import Latency, SimulatorConfig, spawn

MODEL = "gemini-3-flash-preview"
IN_FLIGHT = 200


@dataclass(frozen=True, slots=True)
class Point:
    """The client's process after so many requests."""

    requests: int
    rss_mb: float
    open_files: int
    tasks: int
    seconds: float


def a_request(number: int, audio: bytes) -> TranscriptionRequest:
    return TranscriptionRequest(
        clip_id=f"v/{number}",
        video_id=f"v{number // 500}",
        language="hi",
        system_prompt=prompt.system_prompt("hi"),
        clip_prompt=prompt.clip_prompt(2000 + number % 100 * 100),
        audio=audio,
        audio_ms=2000,
        max_output_tokens=3000,
    )


def review(text: str, _asked: Circumstances) -> Review | Failure:
    answer = transcript.read_answer(text)
    if isinstance(answer, Failure):
        return answer
    return Review(Judged(answer, validation.validate(answer, _CLIP, "hi")))


_NAME = SegmentName("s", 0, 200)
_CLIP = Clip(
    _NAME,
    _NAME,
    0,
    2000,
    0,
    2000,
    150,
    150,
    2300,
    16000,
    16,
    1.0,
    (),
    AudioFacts(0, -90, -90, 0, 0, 0),
    "",
    "1",
)


async def run(requests: int) -> list[Point]:
    """Send them all, 200 at a time; points at 50,000 and then every tenth of the way."""
    audio = encode_flac(Audio(np.zeros(32_000, np.int16), 16_000, 16))
    points: list[Point] = []
    process, started = psutil.Process(), time.monotonic()
    numbers = iter(range(requests))
    done = 0
    marks = sorted({50_000, *(requests * tenth // 10 for tenth in range(1, 11))})

    async def asker(engine: Engine) -> None:
        nonlocal done
        for number in numbers:
            await engine.transcribe(a_request(number, audio), review)
            done += 1
            if done in marks:
                point = Point(
                    done,
                    round(process.memory_info().rss / 1e6, 1),
                    process.num_fds(),
                    len(asyncio.all_tasks()),
                    round(time.monotonic() - started, 1),
                )
                points.append(point)
                print(point, flush=True)

    async with (
        spawn(SimulatorConfig(light=True, latency=Latency(0.02, 0.1))) as simulator,
        AIStudioProvider(
            base_url=simulator.url,
            api_key="key",
            options=ModelOptions(MODEL, 0.0, "low", 60.0),
            capabilities=load_capabilities(MODEL),
            response_schema=transcript.response_schema(),
        ) as provider,
        Engine(
            [Route(provider, load_capabilities(MODEL), max_in_flight=IN_FLIGHT)],
            worker_id="million",
            options=EngineOptions(batch_size=1_000_000),
        ) as engine,
    ):
        await asyncio.gather(*(asker(engine) for _ in range(IN_FLIGHT)))
    return points


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        points = runner.run(run(options.requests))
    at_50k = next(point for point in points if point.requests >= min(50_000, options.requests))
    result = {
        "points": points,
        "rss_at_the_end_over_rss_at_50k": round(points[-1].rss_mb / at_50k.rss_mb, 3),
        "machine": asdict(machine(load)),
    }
    save("million", result)
    print(result["rss_at_the_end_over_rss_at_50k"])


if __name__ == "__main__":
    main()

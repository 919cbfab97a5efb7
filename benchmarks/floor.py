"""The physical floor: what no program can leave out that sends these clips as FLAC.

Decode with libsndfile, encode at its level 0, base64, one POST over TLS with aiohttp, read the reply. No polishing,
no validation, no rows, no result. The code is the shortest that does this, and shares none of lipika's.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import aiohttp
import pybase64
import soundfile
import uvloop

MODEL = "gemini-3-flash-preview"
_IN_FLIGHT = 64
_BODY = {
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "Transcribe this clip, word by word."},
                {"inlineData": {"mimeType": "audio/flac", "data": "@"}},
            ],
        }
    ]
}


class Floor:
    """One session that sends. Use as an async context manager."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/v1beta/models/{MODEL}:generateContent"
        self._head, self._tail = json.dumps(_BODY).encode().split(b"@")

    async def __aenter__(self) -> Self:
        headers = {"x-goog-api-key": "a-key-of-the-benchmark", "Content-Type": "application/json"}
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._session.close()

    async def cpu_ms(self, clips: Sequence[bytes], *, in_flight: int = _IN_FLIGHT) -> float:
        """CPU milliseconds of this process per clip."""
        started = time.process_time()
        await self.send(iter(clips), min(in_flight, len(clips)))
        return (time.process_time() - started) / len(clips) * 1000

    async def send(self, clips: Iterator[bytes], in_flight: int) -> None:
        """Send all of them, so many at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(self._send(clips))

    async def _send(self, clips: Iterator[bytes]) -> None:
        for flac in clips:
            body = b"".join((self._head, pybase64.b64encode(recoded(flac)), self._tail))
            async with self._session.post(self._url, data=body) as response:
                answer = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"HTTP {response.status}: {answer[:300]!r}")


def recoded(flac: bytes) -> bytes:
    """Decoded and encoded again."""
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="FLAC", subtype="PCM_16", compression_level=0.0)
    return out.getvalue()


def clips_of(path: Path) -> list[bytes]:
    """The FLAC files in an archive."""
    with tarfile.open(path) as tar:
        members = [tar.extractfile(member) for member in tar if member.name.endswith(".flac")]
        return [member.read() for member in members if member]


def main() -> None:
    """`python -m benchmarks.floor URL SECONDS IN_FLIGHT TAR...`: clips round and round for so long.

    Prints CPU ms per clip and clips per minute, both once the connections are there.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("in_flight", type=int)
    parser.add_argument("tars", type=Path, nargs="+")
    options = parser.parse_args()
    clips = [clip for path in options.tars for clip in clips_of(path)]

    count, started, used, ended = 0, 0.0, 0.0, (0.0, 0.0)

    def round_and_round() -> Iterator[bytes]:
        nonlocal count, started, used, ended
        for number, clip in enumerate(itertools.cycle(clips)):
            if number == 2 * options.in_flight:  # connections are made, caches are warm
                count, started, used = 0, time.monotonic(), time.process_time()
            if started and time.monotonic() - started > options.seconds:
                ended = time.monotonic(), time.process_time()
                return
            count += 1
            yield clip

    async def send() -> None:
        async with Floor(options.url) as floor:
            await floor.send(round_and_round(), options.in_flight)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())
    seconds, cpu_s = ended[0] - started, ended[1] - used
    sys.stdout.write(f"{cpu_s / count * 1000} {count / seconds * 60}\n")


if __name__ == "__main__":
    main()

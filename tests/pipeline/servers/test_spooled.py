"""Audio in flight: on disk, and in nobody's memory while its answer is awaited."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from asking import a_request, accept, aistudio, an_engine, clip_audio, quick
from fleet_kit import until
from lipika.archive.spool import Spool
from lipika.errors import StorageError
from lipika.llm.provider import TranscriptionRequest
from lipika.models import SendFormat
from lipika.pipeline.byte_budget import ByteBudget
from lipika.pipeline.spooled import SpooledClip
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Latency, SimulatorConfig, spawn
from result_kit import clip


def spooled(spool: Spool, number: int, room: ByteBudget, seconds: float = 2.0) -> SpooledClip:
    piece = spool.keep(clip_audio(number, seconds))
    return SpooledClip(clip(number), SendFormat.FLAC, piece, room)


def request(number: int, source: SpooledClip, seconds: float = 2.0) -> TranscriptionRequest:
    return replace(a_request(0, seconds=seconds), clip_id=f"v/{number}", audio=b"", source=source)


async def test_a_body_from_the_disk_is_the_body_from_memory(tmp_path: Path) -> None:
    client = aistudio("http://127.0.0.1")
    with Spool(tmp_path) as spool:
        for number in range(4):  # of four lengths: base64 pads by threes
            plain = replace(a_request(number), audio=a_request(number).audio + b"x" * number)
            piece = spool.keep(plain.audio)
            source = SpooledClip(clip(number), SendFormat.FLAC, piece, ByteBudget(1 << 30))
            lying = replace(plain, audio=b"", source=source)
            assert client.encode(lying) == client.encode(plain)
            assert client._frames.size(lying) == client._frames.size(plain) == len(client.encode(plain))


async def test_hundreds_in_flight_hold_nothing_of_their_audio(tmp_path: Path) -> None:
    """300 clips of 120 KB wait for their answers: what is held for each is a small part of its audio."""
    seconds, count = 4.0, 300
    room = ByteBudget(1 << 30)
    for number in range(count):
        clip_audio(number % 10, seconds)
    size = len(clip_audio(0, seconds))
    async with (
        spawn(SimulatorConfig(latency=Latency(30.0, 0.0), light=True)) as sim,
        an_engine(sim.url) as engine,
    ):
        with Spool(tmp_path) as spool:
            clips = [spooled(spool, number % 10, room, seconds) for number in range(count)]
            for one in clips:
                await one.admit()
            assert room.used == pytest.approx(count * size, rel=0.05)
            gc.collect()
            tracemalloc.start()
            tasks = [
                asyncio.create_task(engine.transcribe(request(number, one, seconds), accept))
                for number, one in enumerate(clips)
            ]
            await until(lambda: engine.in_flight == count)
            await until(lambda: room.used == 0)  # each has been sent
            await asyncio.sleep(0.5)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert held / count < size / 3


async def test_a_clip_that_is_asked_again_is_read_again(tmp_path: Path) -> None:
    plan = FaultPlan((FaultRule(FaultKind.OVERLOADED, attempts=2),))
    room = ByteBudget(1 << 20)
    config = SimulatorConfig(latency=Latency(0.0), faults=plan)
    async with spawn(config) as sim, an_engine(sim.url, options=quick(interval_s=0.2)) as engine:
        with Spool(tmp_path) as spool:
            one = spooled(spool, 0, room)
            await one.admit()
            outcome = await engine.transcribe(request(0, one), accept)
        stats = await sim.stats()
    assert (outcome.judged is not None, outcome.attempts) == (True, 3)
    assert stats["digests"]["distinct"] == 1  # the very same audio, three times
    assert room.used == 0


async def test_room_is_taken_until_a_clip_is_sent_and_given_back_once(tmp_path: Path) -> None:
    room = ByteBudget(100)
    with Spool(tmp_path) as spool:
        first, second = (
            SpooledClip(clip(number), SendFormat.FLAC, spool.keep(b"x" * 80), room) for number in range(2)
        )
        await first.admit()
        waiting = asyncio.create_task(second.admit())
        await asyncio.sleep(0)
        assert (room.used, waiting.done()) == (80, False)
        assert first.read() == b"x" * 80
        await waiting
        for one in (first, first, second, second):
            one.leave()
        assert room.used == 0


def test_a_disk_that_is_gone_is_remembered_as_the_spools_trouble(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        one = spooled(spool, 0, ByteBudget(1 << 20))
    with pytest.raises(StorageError):
        one.read()
    assert isinstance(one.trouble, StorageError)

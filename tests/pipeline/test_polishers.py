"""Polishing beside the event loop: the same outcomes in threads and in processes, whatever dies."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np

from lipika.archive.members import BadMember, Member, MemberKind
from lipika.audio.codec import Audio, encode_flac
from lipika.audio.polish import PolishedSegment
from lipika.pipeline.polishers import KILLED, Polishers, Work, polish_members


def segment(number: int, seconds: float = 2.5) -> Member:
    samples = np.random.default_rng(number).normal(0, 3_000, round(seconds * 16_000)).astype(np.int16)
    name = f"speaker_{number * 1000:05d}_{number * 1000 + round(seconds * 100):05d}.flac"
    return Member(name, MemberKind.SEGMENT, encode_flac(Audio(samples, 16_000, 16)))


def deadly(members: Sequence[Member | BadMember]) -> list[PolishedSegment]:
    """As a codec that crashes on one particular segment."""
    if any(member.name.startswith("speaker_03000") for member in members):
        os._exit(9)
    return polish_members(members)


@asynccontextmanager
async def polishers(processes: int, after: int = 0, work: Work = polish_members) -> AsyncIterator[Polishers]:
    with ThreadPoolExecutor(1) as threads:
        async with Polishers(threads, processes, 2, after=after, work=work) as found:
            yield found


async def test_threads_and_processes_give_the_same() -> None:
    bad: list[Member | BadMember] = [
        BadMember("x.flac", "bad_name", "no times", MemberKind.SEGMENT),
        Member("a_00000_00300.flac", MemberKind.SEGMENT, b"fLaC and nothing more"),
    ]
    members: list[Member | BadMember] = [*map(segment, range(4)), *bad, segment(9, seconds=1.0)]
    async with polishers(0) as threads, polishers(2) as processes:
        in_threads = await threads.polish(members)
        in_processes = await processes.polish(members)
    assert in_threads == in_processes
    assert [len(each.clips) for each in in_processes] == [1, 1, 1, 1, 0, 0, 0]
    assert [each.discards[0].reason for each in in_processes[4:]] == ["bad_name", "bad_audio", "too_short"]
    clip = in_processes[0].clips[0]
    assert clip.packed is clip.sent, "16 kHz audio travels once"


async def test_without_processes_short_segments_leave_the_loop_its_turns_and_long_ones_a_thread() -> None:
    where: dict[str, threading.Thread] = {}
    turns = 0

    def work(members: Sequence[Member | BadMember]) -> list[PolishedSegment]:
        where.update((member.name, threading.current_thread()) for member in members)
        return polish_members(members)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    short = [segment(number) for number in range(5)]
    by_name = Member("a_00000_06100.flac", MemberKind.SEGMENT, short[0].data)
    by_content = Member("a_00000_00250.flac", MemberKind.SEGMENT, segment(0, seconds=61.0).data)
    by_bytes = Member("b_00000_00250.flac", MemberKind.SEGMENT, short[0].data + bytes(1 << 20))
    async with polishers(0, work=work) as found:
        counting = asyncio.create_task(count_turns())
        assert [len(each.clips) for each in await found.polish(short)] == [1] * 5
        counting.cancel()
        for each in (by_name, by_content, by_bytes):
            await found.polish([each])
    here = threading.current_thread()
    assert all(where[each.name] is here for each in short)
    assert turns > 5, "others wait for one segment at a time"
    assert here not in {where[each.name] for each in (by_name, by_content, by_bytes)}


async def test_a_segment_that_kills_is_a_discard_and_takes_nothing_with_it() -> None:
    members = [segment(number) for number in (2, 3, 4)]
    async with polishers(2, work=deadly) as found:
        first, second = found.polish(members[:2]), found.polish(members[2:])
        outcomes = [*await first, *await second]
        after = await found.polish(members[2:])  # there are processes again
    assert [len(each.clips) for each in outcomes] == [1, 0, 1]
    assert [discard.reason for discard in outcomes[1].discards] == [KILLED]
    assert outcomes[1].discards[0].whole_segment
    assert after == outcomes[2:]


async def test_processes_start_only_when_there_is_enough_work() -> None:
    def where(found: Polishers) -> bool:
        return found._crew is None

    async with polishers(1, after=3) as found:
        await found.polish([segment(0), segment(1)])
        await found.polish([segment(2)])
        assert where(found)
        await found.polish([segment(3)])
        assert not where(found)


async def test_a_place_comes_back_when_its_work_has_ended_though_nobody_waits_for_it() -> None:
    async with polishers(1) as found:  # two places
        for _ in range(3):
            given_up = found.polish([segment(0, seconds=20.0)])
            await asyncio.sleep(0)  # it is asked
            given_up.cancel()
        outcomes = await asyncio.gather(*(found.polish([segment(number)]) for number in range(4)))
        assert [len(each.clips) for (each,) in outcomes] == [1, 1, 1, 1]
        assert found._crew is not None
        while len(found._crew._free) < 2:  # the last callback runs in another thread
            await asyncio.sleep(0.01)
        assert sorted(found._crew._free) == [0, 1]


async def test_large_segments_are_polished_one_at_a_time() -> None:
    """Their samples are several times their bytes, and their clips come back beside them."""
    together: list[int] = []
    running = 0
    lock = threading.Lock()
    small = Member("a_00000_00100.flac", MemberKind.SEGMENT, b"x")
    large = Member("b_00000_00100.flac", MemberKind.SEGMENT, bytes((8 << 20) + 1))

    def work(members: Sequence[Member | BadMember]) -> list[PolishedSegment]:
        nonlocal running
        if members[0] is large:
            with lock:
                running += 1
                together.append(running)
            time.sleep(0.05)
            with lock:
                running -= 1
        return []

    with ThreadPoolExecutor(4) as threads:
        async with Polishers(threads, 0, 4, work=work) as found:
            tasks = [
                found.polish([large]),
                found.polish([small]),
                found.polish([large]),
                found.polish([large]),
            ]
            seen = [found.has_large]
            await asyncio.gather(*tasks)
            await asyncio.sleep(0)
            seen.append(found.has_large)
    assert seen == [True, False]
    assert together == [1, 1, 1]

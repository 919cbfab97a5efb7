"""A thousand damaged tars and FLACs, made by seed: no crash, no hang, every member and every video accounted for."""

from __future__ import annotations

import io
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from fleet_kit import a_stage, results_of, rows
from lipika.archive import members
from lipika.archive.tar import member_header, padding
from lipika.audio.polish import polish_segment
from lipika.errors import ArchiveError, SegmentError
from lipika.jobs.demo import sample_folder
from lipika.models import Accounting, SegmentName

SEED = int(os.environ.get("LIPIKA_FUZZ_SEED") or 20261122)
ONE_S = 5.0
"""Nothing this small may keep a worker for longer."""
_HEADERS = (b"\x00" * 512, b"\xff" * 512, b"segments/a_00000_00100.flac", b"fLaC", b"././@LongLink", b"path=")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A good archive of six short segments."""
    (path,) = make_corpus(tmp_path_factory.mktemp("good"), CorpusPlan(1, 6, (2.1, 2.6)), sample_folder())
    return path.read_bytes()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The same bytes after something has happened to them."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(broken)) if broken else 0
        match chance.randrange(7):
            case 0:  # cut off
                del broken[at:]
            case 1:  # a few bits
                for _ in range(min(chance.randrange(1, 40), len(broken))):
                    broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            case 2:  # a hole
                del broken[at : at + chance.randrange(1, 3000)]
            case 3:  # a stretch twice
                broken[at:at] = broken[at : at + chance.randrange(1, 3000)]
            case 4:  # something that looks right, in the wrong place
                broken[at : at + 32] = chance.choice(_HEADERS)[:600]
            case 5:  # a number in a header: sizes and times are octal text
                header = at // 512 * 512
                broken[header + 124 : header + 136] = f"{chance.getrandbits(33):011o}\0".encode()
            case _:
                broken[at : at + 600] = chance.randbytes(600)
    return bytes(broken)


def explained(error: ArchiveError | SegmentError) -> str:
    """The error's code; a person must be able to read why."""
    assert error.code
    assert error.message
    return error.code


def read_all(data: bytes) -> tuple[Accounting, str]:
    """Read and polish as a video's pipeline does; the accounting and why reading ended early, if it did."""
    accounting, reason = Accounting(), ""
    try:
        for member in members.read_members(io.BytesIO(data)):
            if member.kind is not members.MemberKind.SEGMENT:
                continue
            accounting.segments += 1
            try:
                if isinstance(member, members.BadMember):
                    raise SegmentError(member.code, member.message)
                polished = polish_segment(member.segment, member.data)
                accounting.add_polished(len(polished.clips), polished.discards)
            except SegmentError as error:
                explained(error)
                accounting.segments_discarded += 1
    except ArchiveError as error:
        reason = explained(error)
    return accounting, reason


def test_damaged_archives(whole: bytes) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(500):
        chance = random.Random(f"{SEED} tar {number}")
        data = damaged(whole, chance)
        started = time.process_time()
        accounting, reason = read_all(data)
        assert time.process_time() - started < ONE_S, (SEED, number)
        assert accounting.problem() is None, (SEED, number)
        assert accounting.segments <= 200, (SEED, number)
        outcomes[reason or "read to the end"] += 1
    assert outcomes["read to the end"] > 25
    assert sum(outcomes.values()) - outcomes["read to the end"] > 25


def test_damaged_audio(whole: bytes) -> None:
    segments = [
        member.data
        for member in members.read_members(io.BytesIO(whole))
        if isinstance(member, members.Member) and member.kind is members.MemberKind.SEGMENT
    ]
    outcomes: Counter[str] = Counter()
    for number in range(500):
        chance = random.Random(f"{SEED} flac {number}")
        data = damaged(chance.choice(segments), chance)
        started = time.process_time()
        try:
            polished = polish_segment(SegmentName("speaker0", 0, 250), data)
            outcomes["clips" if polished.clips else "discarded"] += 1
            assert polished.clips or polished.discards
        except SegmentError as error:
            outcomes[error.code] += 1
        assert time.process_time() - started < ONE_S, (SEED, number)
    assert sum(outcomes.values()) == 500
    assert len(outcomes) >= 2


async def test_a_worker_ends_every_damaged_video_with_a_reason(
    whole: bytes, tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        names = await stage.queue(24, 1)
        for number, name in enumerate(names):
            path = tmp_path / "in" / f"{name}.tar"
            broken = damaged(whole, random.Random(f"{SEED} video {number}"))
            path.write_bytes(whole if number == 0 else bomb() if number == 1 else broken)
        found = await stage.work()
        assert found.worker.tally.done + found.worker.tally.failed == 24
    videos = rows(database_url, "select * from video_queue")
    assert {video.status for video in videos} == {"done", "failed"}
    for video in videos:
        if video.status == "failed":
            assert video.error_code
            assert video.error_message
            continue
        assert video.segment_count == video.segments_polished + video.segments_discarded
        assert len(results_of(stage.out / f"{video.video_id}_transcribed.tar")) == video.clip_count


def bomb() -> bytes:
    """A member that claims to hold eight terabytes."""
    header = member_header("segments/a_00000_00100.flac", (1 << 33) - 1)
    return header + b"fLaC" + padding(4)

"""One clip's trouble is one clip's, one video's is one video's: neither reaches another, nor the engine."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from fleet_kit import Stage, a_stage, change, results_of, rows, until
from lipika import validation
from lipika.archive import members
from lipika.archive.members import BinaryReader
from lipika.archive.spool import Spool
from lipika.audio import levels, polish
from lipika.errors import ArchiveError, ObjectMissing, StorageError, StorageUnavailable
from lipika.llm import prompt, transcript
from lipika.models import AudioFacts, ClipStatus, SegmentName
from lipika.pipeline import polishers, reading
from lipika.simulator import FaultKind, FaultPlan, FaultRule

DOUBTED = FaultPlan((FaultRule(FaultKind.TAG_MISMATCH, max_temperature=0.5),))
"""Every first answer: a clip is asked once more, in other words."""


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        stage.defaults = {"worker_processes": 0}  # so that a test can put trouble into polishing
        yield stage


def segments_of(stage: Stage, name: str) -> list[str]:
    with tarfile.open(stage.folder / "in" / f"{name}.tar") as tar:
        return [Path(member).stem for member in tar.getnames() if member.startswith("segments/")]


def whole(stage: Stage, name: str) -> None:
    """Archive, rows and counters tell the same."""
    (video,) = rows(stage.database_url, "select * from video_queue where video_id = %s", name)
    stored = rows(stage.database_url, "select * from transcription_results where video_id = %s", name)
    results = results_of(stage.out / f"{name}_transcribed.tar")
    assert video.status == "done"
    assert {row.segment_file: row.status for row in stored} == {
        result.segment_file: result.status for result in results
    }
    ended = (video.segments_transcribed, video.segments_no_speech, video.segments_failed)
    statuses = [result.status for result in results]
    assert ended == tuple(map(statuses.count, ClipStatus))
    with tarfile.open(stage.out / f"{name}_transcribed.tar") as tar:
        member = tar.extractfile("metadata.json")
        assert member is not None
        told = orjson.loads(member.read())["transcription"]
    assert told["accounting"]["failed"] == video.segments_failed
    assert told["statuses"] == {status: statuses.count(ClipStatus(status)) for status in set(statuses)}


def the_failed(stage: Stage) -> Any:
    """The one clip that failed, with its flag and its traceback."""
    (row,) = rows(stage.database_url, "select * from transcription_results where status = 'failed'")
    (flag,) = rows(stage.database_url, "select * from transcription_flags where flag_type like 'failed:%%'")
    errors = rows(stage.database_url, "select * from worker_errors")
    assert flag.segment_file == row.segment_file
    assert row.failure_kind == "defect"
    assert {error.video_id for error in errors} == {row.video_id}
    assert all("Traceback" in error.traceback and row.segment_file in error.message for error in errors)
    return row


async def test_a_document_that_cannot_be_written_fails_its_clip(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As numpy's numbers did, which look like Python's."""
    (name,) = await stage.queue(1, 6)
    honest, left = levels.measure, 1

    def measure(*given: Any) -> AudioFacts:
        nonlocal left
        left -= 1
        facts = honest(*given)
        return replace(facts, clipped_share=np.float64(0.5), snr_db=float("nan")) if left == 0 else facts

    monkeypatch.setattr(polish, "measure", measure)
    await stage.work()
    whole(stage, name)
    failed = the_failed(stage)
    assert failed.cost_usd > 0, "what it cost is not forgotten"
    assert (await stage.asked())["accepted"] == 6


async def test_a_row_that_is_refused_fails_its_clip_alone(stage: Stage) -> None:
    names = await stage.queue(2, 8)
    refused = segments_of(stage, names[1])[3]
    change(
        stage.database_url,
        f"""
        create function refuse() returns trigger language plpgsql as $$
        begin
          if new.source_segment = '{refused}.flac' and new.video_id = '{names[1]}' and new.status <> 'failed' then
            raise 'not this one' using errcode = 'check_violation';
          end if;
          return new;
        end $$;
        create trigger refuse before insert on transcription_results for each row execute function refuse();
        """,
    )
    await stage.work()
    for name in names:
        whole(stage, name)
    failed = the_failed(stage)
    assert (failed.video_id, failed.source_segment) == (names[1], f"{refused}.flac")
    assert "not this one" in failed.failure_message
    assert await stage.repaid() == 0


@pytest.mark.parametrize("step", ["validate", "parse_answer", "clip_prompt"])
async def test_whatever_breaks_over_one_clip_fails_that_clip(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (name,) = await stage.queue(1, 6)
    module = {
        "validate": validation,
        "parse_answer": transcript,
        "clip_prompt": prompt,
    }[step]
    honest, calls = getattr(module, step), 0

    def breaks(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RecursionError("too deep")
        return honest(*given, **named)

    monkeypatch.setattr(module, step, breaks)
    await stage.work()
    whole(stage, name)
    assert "too deep" in the_failed(stage).failure_message


@pytest.mark.parametrize("processes", [0, 1])
async def test_whatever_breaks_in_polishing_costs_its_segment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    (name,) = await stage.queue(1, 6)
    bad = segments_of(stage, name)[2]
    honest = polish.polish_segment

    def breaks(segment: SegmentName, *given: Any) -> polish.PolishedSegment:
        if segment.stem == bad:
            raise RuntimeError("no codec takes that")
        return honest(segment, *given)

    monkeypatch.setattr(polishers, "polish_segment", breaks)
    await stage.work(worker_processes=processes)  # the first segments are polished in threads anyway
    whole(stage, name)
    (video,) = rows(stage.database_url, "select * from video_queue")
    assert (video.clip_count, video.segments_discarded) == (5, 1)
    assert video.discard_reasons == {"defect": 1}
    (error,) = rows(stage.database_url, "select * from worker_errors")
    assert "no codec takes that" in error.message
    assert "in breaks" in error.traceback


async def test_a_clip_that_no_archive_takes_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = await stage.queue(1, 4)
    bad, honest = segments_of(stage, name)[1], Spool.add_clip

    def add_clip(spool: Spool, stem: str, flac: bytes) -> None:
        if stem == bad:
            raise UnicodeEncodeError("utf-8", stem, 0, 1, "surrogates not allowed")
        honest(spool, stem, flac)

    monkeypatch.setattr(Spool, "add_clip", add_clip)
    await stage.work()
    whole(stage, name)
    (video,) = rows(stage.database_url, "select * from video_queue")
    assert (video.clip_count, video.discard_reasons) == (3, {"defect": 1})


# ----------------------------------------------------------------------------- what stops a video


@pytest.mark.parametrize(
    "reason",
    [
        StorageError("the object was replaced while it was being read"),
        ObjectMissing("there is no such object"),
        StorageUnavailable("gone"),
        ArchiveError("truncated", "it ends too early"),
        MemoryError("no room"),
        ValueError("read of a closed object"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda reason: type(reason).__name__,
)
async def test_what_stops_a_video_waits_until_its_paid_answers_are_kept(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, reason: Exception
) -> None:
    """With answers on their way, and doubts that come while the video is ending."""
    honest = members.read_members

    def cut_short(reader: BinaryReader, *given: Any) -> Iterator[Any]:
        for number, member in enumerate(honest(reader, *given)):
            if number == 50:
                raise reason
            yield member

    async with a_stage(tmp_path, database_url, latency_s=0.5, faults=DOUBTED) as stage:
        await stage.queue(1, 60)
        monkeypatch.setattr(reading, "read_members", cut_short)
        async with stage.worker() as found:
            task = asyncio.create_task(found.worker.run())

            async def kept() -> bool:
                return found.worker.tally.failed + found.worker.tally.released > 0

            await until(kept, 40)
            found.worker.drain()
            await task
        paid = (await stage.asked())["digests"]["distinct"]
        assert paid >= 8
        assert len(rows(database_url, "select * from transcription_results")) == paid
        monkeypatch.undo()
        asked = (await stage.asked())["accepted"]
        change(database_url, "update video_queue set status = 'pending', attempts = 0, claim_token = null")
        await stage.control("faults", {"faults": []})
        await stage.work()
        assert (await stage.asked())["accepted"] == asked + 60 - paid


async def test_doubts_about_a_video_that_was_taken_away_reach_nobody(
    tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url, latency_s=1.0, faults=DOUBTED) as stage:
        names = await stage.queue(2, 12)
        async with stage.worker(worker_batch_size=100, heartbeat_seconds=0.2) as found:
            task = asyncio.create_task(found.worker.run())
            await until(lambda: found.engine.in_flight >= 20)
            change(
                database_url,
                "update video_queue set claimed_by = 'somebody', claim_token = gen_random_uuid(),"
                " lease_expires_at = now() + interval '1 hour' where video_id = %s",
                names[0],
            )

            async def other_is_done() -> bool:
                done = rows(database_url, "select video_id from video_queue where status = 'done'")
                return [row.video_id for row in done] == [names[1]]

            await until(other_is_done, 40)
            assert not task.done()
            found.worker.drain()
            tally = await task
        assert (tally.done, tally.lost, tally.failed) == (1, 1, 0)
        assert rows(database_url, "select * from worker_errors") == []

"""Paid answers of unfinished videos: what survives the loss of the database, of the store, of a version."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import pytest
from structlog.testing import capture_logs

from fleet_kit import Stage, a_stage, change, results_of, rows, until
from lipika.db.result_rows import StoredAnswer
from lipika.jobs.wiring import Running
from lipika.llm import prompt
from lipika.models import ClaimedVideo
from lipika.pipeline.saved_answers import Partials
from lipika.simulator import FaultKind, FaultPlan, FaultRule


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    """One video of twelve clips, of which a worker that was told to go has had some answered."""
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 12)
        first = await stage.work_until(5)
        assert 5 <= first.engine.totals.returned < 12
        yield stage


async def finish(stage: Stage, **changes: Any) -> Running:
    """Let another worker do the rest: everything is in the archive and in the table, once."""
    worker = await stage.work(**changes)
    (video,) = rows(stage.database_url, "select * from video_queue")
    assert (video.status, video.clip_count) == ("done", 12)
    (tar,) = stage.out.glob("*.tar")
    in_tar = [result.segment_file for result in results_of(tar)]
    table = rows(stage.database_url, "select segment_file from transcription_results order by 1")
    assert sorted(in_tar) == [row.segment_file for row in table]
    assert len(in_tar) == 12
    return worker


async def test_answers_to_ogg_are_known_again_though_its_bytes_never_are(
    tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 10)
        first = await stage.work_until(4, send_format="ogg")
        rest = await stage.work(send_format="ogg")
        assert rest.worker.counts.reused == first.engine.totals.returned >= 4
        totals = rest.engine.totals
        # Other bytes get other answers of the simulator's, and one in doubt is asked again.
        assert totals.requests - totals.retries == 10 - rest.worker.counts.reused
        (tar,) = stage.out.glob("*.tar")
        with tarfile.open(tar) as archive:
            files = [archive.extractfile(name) for name in archive.getnames() if name.endswith(".flac")]
            packed = [file.read() for file in files if file]
        assert [flac[:4] for flac in packed] == [b"fLaC"] * 10
        sent = {
            row.audio_digest for row in rows(database_url, "select audio_digest from transcription_results")
        }
        assert len(sent) == 10
        assert not sent.intersection(hashlib.sha256(flac).hexdigest() for flac in packed)


async def test_answers_are_saved_in_rows_and_objects_and_used_again(stage: Stage) -> None:
    saved = sum(path.read_bytes().count(b"\n") for path in stage.parts())
    assert saved == len(rows(stage.database_url, "select * from transcription_results")) >= 5
    await finish(stage)
    assert await stage.repaid() == 0
    assert [path.name for path in stage.out.iterdir()] == ["as_00000_transcribed.tar"]


DOUBTED = FaultPlan((FaultRule(FaultKind.TAG_MISMATCH, max_temperature=0.5),))
"""Plain answers are worth a second attempt, which brings a better one."""


async def test_a_doubted_answer_is_safe_while_its_second_attempt_waits(
    tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url, faults=DOUBTED) as stage:
        await stage.queue(1, 12)
        async with stage.worker(
            worker_batch_size=5, batch_interval_seconds=600.0, batch_launch="burst"
        ) as first:
            task = asyncio.create_task(first.worker.run())
            await until(lambda: len(rows(database_url, "select 1 from transcription_results")) == 5)
            await until(lambda: sum(path.read_bytes().count(b"\n") for path in stage.parts()) == 5)
            assert first.engine.totals.returned == 0
            first.worker.stop_now()
            await task
        await stage.control("faults", {})
        second = await finish(stage)
        assert second.worker.counts.reused == 5
        assert await stage.repaid() == 0


async def test_of_two_answers_to_a_clip_the_later_one_survives_the_loss_of_the_database(
    tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url, faults=DOUBTED) as stage:
        await stage.queue(1, 12)
        first = await stage.work_until(3)
        better = {row.audio_digest for row in rows(database_url, BETTER)}
        assert len(better) >= 3
        change(database_url, "truncate video_queue, transcription_results, quality_rollup")
        await stage.queue(1, 12)
        second = await finish(stage)
        assert second.worker.counts.reused >= first.engine.totals.returned
        assert better <= {row.audio_digest for row in rows(database_url, BETTER)}


BETTER: LiteralString = "select audio_digest from transcription_results where findings = '[]'"


async def test_they_survive_the_loss_of_the_database(stage: Stage) -> None:
    change(stage.database_url, "truncate video_queue, transcription_results, quality_rollup")
    await stage.queue(1, 12)
    await finish(stage)
    assert await stage.repaid() == 0


async def test_the_results_themselves_survive_the_loss_of_the_database(stage: Stage) -> None:
    await finish(stage)
    change(stage.database_url, "truncate video_queue, transcription_results, quality_rollup")
    await stage.queue(1, 12)
    await finish(stage)
    assert await stage.repaid() == 0


async def test_a_damaged_result_is_made_anew(stage: Stage) -> None:
    await finish(stage)
    change(stage.database_url, "truncate video_queue, transcription_results, quality_rollup")
    (tar,) = stage.out.glob("*.tar")
    tar.write_bytes(tar.read_bytes()[:70_000])
    await stage.queue(1, 12)
    await finish(stage)


async def test_they_survive_the_loss_of_the_store(stage: Stage) -> None:
    shutil.rmtree(stage.out)
    await finish(stage)
    assert await stage.repaid() == 0


async def test_a_damaged_object_costs_its_damaged_lines_only(stage: Stage) -> None:
    change(stage.database_url, "delete from transcription_results")
    (part, *_) = stage.parts()
    part.write_bytes(part.read_bytes().replace(b"{", b"?", 1))
    part.with_name("zz.jsonl").write_bytes(b'\xff\x00 no JSON\n{"format": "other"}\n')
    with capture_logs() as logs:
        await finish(stage)
    assert await stage.repaid() == 1
    assert [log["line"] for log in logs if log["event"] == "partial_unreadable"] == [1, 1, 2]


async def test_answers_to_another_prompt_are_asked_again_and_that_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = len(rows(stage.database_url, "select * from transcription_results"))
    monkeypatch.setattr(prompt, "PROMPT_VERSION", "another")
    with capture_logs() as logs:
        await finish(stage, pay_again=True)
    assert await stage.repaid() == kept
    (said,) = [log for log in logs if log["event"] == "earlier_answers_outdated"]
    assert (said["reused"], said["because"]) == (0, {"other prompt version": kept})


async def test_clips_that_another_trimmer_cut_leave_table_and_sums(stage: Stage) -> None:
    change(
        stage.database_url,
        "update transcription_results set segment_file = 'gone_' || segment_file, trimmer_version = 'old',"
        " audio_digest = md5(segment_file)",
    )
    shutil.rmtree(stage.out / "partials")
    with capture_logs() as logs:
        await finish(stage, pay_again=True)
    (said,) = [log for log in logs if log["event"] == "earlier_answers_outdated"]
    assert "other trimmer version" in said["because"]
    (sums,) = rows(
        stage.database_url, "select sum(clips) as clips, sum(duration_ms) as ms from quality_rollup"
    )
    (table,) = rows(
        stage.database_url, "select count(*) as clips, sum(duration_ms) as ms from transcription_results"
    )
    assert (sums.clips, sums.ms) == (table.clips, table.ms)


async def test_what_a_former_owner_saves_late_is_deleted_with_the_rest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers were on their way when it lost the video, and came after the next owner had looked for them."""
    load = Partials.load

    async def then_another_saves(partials: Partials, video: ClaimedVideo) -> list[StoredAnswer]:
        found = await load(partials, video)
        former = replace(video, claim_token=str(uuid.uuid4()))
        await partials.save(former, [b"{}\n"])
        return found

    monkeypatch.setattr(Partials, "load", then_another_saves)
    await finish(stage)
    assert stage.parts() == []

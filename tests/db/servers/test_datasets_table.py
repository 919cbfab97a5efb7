"""Exports on record: begun once, gone on with, done, failed, verified; and who may see them."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from lipika.db import Database
from lipika.db.datasets import (
    KEPT_DEFECTS,
    Datasets,
    DefectRecord,
    ExportCounts,
    PlannedExport,
    TarsetRecord,
    VerificationRecord,
)
from lipika.db.migrate import migrations

COUNTS = ExportCounts(candidates=12, exported=9, dropped={"marker": 2, "vocabulary": 1})
TARSETS = (TarsetRecord("hi", "train", 2, 8, 61.5), TarsetRecord("hi", "dev", 1, 1, 7.25))
PLAN = PlannedExport(
    dest="/data/corpus",
    format="nemo",
    options={"view": "native", "languages": ["hi"], "min_score": 0.5},
    plan_digest="a" * 64,
    counts=COUNTS,
    tarsets=TARSETS,
    jobs_total=3,
)


@pytest.fixture
def datasets(database: Database) -> Datasets:
    return Datasets(database)


async def test_an_export_is_on_record_from_its_plan_to_its_verification(datasets: Datasets) -> None:
    begun = await datasets.start(PLAN, state="planned")
    (planned,) = await datasets.list_exports()
    assert (planned.state, planned.counts, tuple(planned.tarsets)) == ("planned", COUNTS, TARSETS)
    assert (planned.options, planned.jobs_total, planned.jobs_done) == (PLAN.options, 3, 0)
    assert planned.hours == pytest.approx(68.75 / 3600)

    assert (await datasets.start(PLAN)).id == begun.id
    await datasets.progress(begun.id, jobs_done=2, size=4_000_000_000, seconds=1.5)
    (writing,) = await datasets.list_exports()
    assert (writing.state, writing.jobs_done, writing.bytes, writing.seconds) == (
        "writing",
        2,
        4_000_000_000,
        1.5,
    )

    fewer = replace(COUNTS, exported=8, dropped={**COUNTS.dropped, "audio": 1})
    await datasets.finish(begun.id, fewer, TARSETS[:1], size=5, seconds=2.5)
    done = await datasets.one(begun.id)
    assert done is not None
    assert (done.state, done.jobs_done, done.counts, list(done.tarsets)) == ("done", 3, fewer, [TARSETS[0]])
    assert (done.verified_at, done.verification) == (None, None)

    good = VerificationRecord("good", 8, 0)
    assert await datasets.put_verification(PLAN.dest, good)
    verified = await datasets.one(begun.id)
    assert verified is not None
    assert (verified.state, verified.verification) == ("done", good)
    assert verified.verified_at is not None
    assert verified.document()["verification"] == {
        "state": "good",
        "clips": 8,
        "defects_total": 0,
        "defects": (),
    }


async def test_the_same_plan_goes_on_and_another_one_begins(datasets: Datasets) -> None:
    first = await datasets.start(PLAN)
    await datasets.progress(first.id, jobs_done=1, size=10, seconds=0.5)
    await datasets.fail(first.id, "the disk is full")
    (failed,) = await datasets.list_exports()
    assert (failed.state, failed.error) == ("failed", "the disk is full")

    again = await datasets.start(PLAN)
    assert (again.id, again.jobs_done, again.bytes, again.seconds) == (first.id, 1, 10, 0.5)
    (going_on,) = await datasets.list_exports()
    assert (going_on.state, going_on.error) == ("writing", None)

    other = await datasets.start(replace(PLAN, plan_digest="b" * 64))
    assert other.id != first.id
    assert [one.id for one in await datasets.list_exports()] == [other.id, first.id]
    assert len(await datasets.list_exports(limit=1)) == 1
    assert await datasets.one(10**6) is None


async def test_what_is_done_stays_done_until_it_is_written_again(datasets: Datasets) -> None:
    export = await datasets.start(PLAN)
    await datasets.finish(export.id, COUNTS, TARSETS, size=1, seconds=1)
    await datasets.put_verification(PLAN.dest, VerificationRecord("good", 9, 0))
    await datasets.fail(export.id, "too late")
    await datasets.start(PLAN, state="planned")
    (kept,) = await datasets.list_exports()
    assert (kept.state, kept.error, kept.verification) == ("done", None, VerificationRecord("good", 9, 0))

    await datasets.start(PLAN)
    await datasets.progress(export.id, jobs_done=1, size=1, seconds=1)
    (anew,) = await datasets.list_exports()
    assert (anew.state, anew.verified_at, anew.verification) == ("writing", None, None)


async def test_of_many_defects_the_first_are_kept_and_all_are_counted(datasets: Datasets) -> None:
    assert not await datasets.put_verification("/nowhere", VerificationRecord("good", 0, 0))
    export = await datasets.start(PLAN)
    defects = [
        DefectRecord(f"hi/train/audio_{n}.tar", "truncated", "ends early") for n in range(KEPT_DEFECTS + 7)
    ]
    assert await datasets.put_verification(
        PLAN.dest, VerificationRecord("bad", 3, len(defects), tuple(defects))
    )
    found = await datasets.one(export.id)
    assert found is not None
    assert found.verification is not None
    assert (found.verification.state, found.verification.defects_total) == ("bad", KEPT_DEFECTS + 7)
    assert list(found.verification.defects) == defects[:KEPT_DEFECTS]


async def test_the_source_of_texts_comes_without_reading_or_writing_the_results_anew(
    empty_database_url: str,
) -> None:
    """Rows that are there say `model`; a row with another word is refused, whichever way it comes."""
    file = "select pg_relation_filenode('transcription_results')"
    scans = "select seq_scan from pg_stat_xact_user_tables where relname = 'transcription_results'"
    insert = (
        "insert into transcription_results (video_id, segment_file, source_segment, speaker_id, status,"
        " original_start_ms, original_end_ms, trimmed_start_ms, trimmed_end_ms, leading_pad_ms, trailing_pad_ms,"
        " duration_ms, flags, audio_digest, lane_reasons, findings, prompt_version, schema_version, trimmer_version,"
        " provider, model_id, model_version, thinking_level, worker_id, batch_id, attempts, latency_ms,"
        " cache_hit, token_usage_json, cost_usd{more}) values ('v', {name}, 'a', 's', 'failed', 0, 1, 0, 1, 0, 0, 1,"
        " '{{}}', 'd', '{{}}', '[]', '1', '1', '1', 'p', 'm', 'm', '', 'w', 'b', 1, 1, false, '{{}}', 0{value})"
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for migration in migrations():
            if migration.name == "datasets":
                break
            connection.execute(migration.sql)
        connection.execute(insert.format(more="", name="'old'", value="").encode())
        before = connection.execute(file).fetchone()
        with connection.transaction():
            (looked,) = connection.execute(scans).fetchone() or (0,)
            connection.execute(migration.sql)
            assert connection.execute(scans).fetchone() == (looked,)
        assert connection.execute(file).fetchone() == before
        for source in ("model", "person", "reference"):
            connection.execute(
                insert.format(more=", text_source", name=f"'{source}'", value=f", '{source}'").encode()
            )
        for refused in ("machine", ""):
            with pytest.raises(psycopg.errors.CheckViolation, match="model, person or reference"):
                connection.execute(
                    insert.format(more=", text_source", name="'x'", value=f", '{refused}'").encode()
                )
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute("update transcription_results set text_source = %s", [refused])
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute("update transcription_results set text_source = null")
        rows = connection.execute(
            "select segment_file, text_source from transcription_results order by 1"
        ).fetchall()
    assert rows == [("model", "model"), ("old", "model"), ("person", "person"), ("reference", "reference")]

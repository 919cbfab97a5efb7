"""Results, flags, batches, workers, budgets and the figures made of them, against a real Postgres."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import psycopg
import pytest

from lipika.db import Budgets, Database, Queue, Results, Stats, Workers
from lipika.db.budgets import Limits
from lipika.db.clips import ClipDetail
from lipika.db.columns import GROUPS
from lipika.db.payload import to_json
from lipika.db.queries import load
from lipika.db.result_rows import JudgedRow, StoredAnswer, result_row
from lipika.db.workers import WorkerInfo, WorkerStats
from lipika.errors import LeaseLost, WorkerStop
from lipika.models import (
    Accounting,
    ClaimedVideo,
    ClipResult,
    ClipStatus,
    Discard,
    Finding,
    NewVideo,
    ServiceTier,
    Severity,
    TextSource,
)
from postgres_kit import body_of
from result_kit import (
    ANSWER,
    FAILURE,
    ROLLUP,
    USAGE,
    VERDICT,
    report,
    result,
    sums_from_scratch,
    sums_of_rollup,
    table,
)


@pytest.fixture
def results(database: Database) -> Results:
    return Results(database)


@pytest.fixture
async def claim(database: Database) -> ClaimedVideo:
    queue = Queue(database)
    await queue.add([NewVideo("v", "in.tar", "out.tar", "hi")])
    (claim,) = await queue.claim("w1", 60, 1)
    return claim


async def lose(database: Database, worker: str = "w2") -> ClaimedVideo:
    """Let the lease run out and another worker take the video over."""
    async with database.connection() as connection:
        await connection.execute("update video_queue set lease_expires_at = now() - interval '1 second'")
    (claim,) = await Queue(database).claim(worker, 60, 1)
    return claim


# ---- writing


async def test_every_field_reaches_its_column(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    await results.write(claim, [result(1)])
    (row,) = table(database_url, "select * from transcription_results")
    assert {
        name: row[name] for name in ("video_id", "segment_file", "source_segment", "speaker_id", "status")
    } == {
        "video_id": "v",
        "segment_file": "speaker0_00800_01600.flac",
        "source_segment": "speaker0_00000_01600.flac",
        "speaker_id": "speaker0",
        "status": "transcribed",
    }
    assert (row["original_start_ms"], row["trimmed_end_ms"], row["duration_ms"]) == (8000, 15900, 8150)
    assert (row["transcription"], row["tagged"]) == (ANSWER.transcription, ANSWER.tagged)
    assert row["flags"] == ["forced_cut"]
    assert row["score_parts"] == {"rate": 0.5, "script": 1.0}
    assert row["lane_reasons"] == {"asr": [], "tts_clean": ["events"], "tts_expressive": []}
    assert row["findings"] == [
        {"code": "short_pause", "severity": "warn", "evidence": "0.2 s", "span": [0, 3]}
    ]
    assert row["token_usage_json"] == dataclasses.asdict(USAGE)
    assert (row["cache_hit"], row["cost_usd"], row["temperature"]) == (False, 0.0005, 0.0)
    assert str(row["id"])[14] == "7"  # time-ordered
    written = {field.name for field in dataclasses.fields(result_row(result(1)))}
    assert set(row) - written == {"id", "video_id", "created_at"}


async def test_writing_again_changes_nothing(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    batch = [result(0), result(1, ClipStatus.FAILED), result(2, ClipStatus.NO_SPEECH)]
    query = "select xmin::text, * from transcription_results order by segment_file"
    await results.write(claim, batch)
    before, flags, sums = (table(database_url, q) for q in (query, FLAGS, ROLLUP))
    await results.write(claim, list(reversed(batch)))
    assert table(database_url, query) == before  # not even rewritten: xmin is the same
    assert table(database_url, FLAGS) == flags
    assert table(database_url, ROLLUP) == sums


async def test_a_row_keeps_the_tier_of_the_answer_that_it_holds(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    """Null at the standard tier, also in a row that held an answer of Flex before."""
    tiers = "select service_tier from transcription_results"
    plain = result(1)
    at_flex = dataclasses.replace(
        plain, provenance=dataclasses.replace(plain.provenance, service_tier=ServiceTier.FLEX)
    )
    for written, kept in ((at_flex, "flex"), (plain, None)):
        await results.write(claim, [written])
        assert table(database_url, tiers) == [{"service_tier": kept}]
        (stored,) = [answer async for answer in results.stored_answers("v")]
        assert stored.provenance.service_tier is written.provenance.service_tier


FLAGS = "select * from transcription_flags order by segment_file, flag_type, start_ms"


OF_THE_TABLE = {"id", "video_id", "created_at"}
"""Columns that no row brings along: two have defaults, and the claim knows the video."""


def columns(url: str) -> dict[str, str]:
    """Those of `transcription_results`, with their types as Postgres writes them."""
    query = """
        select column_name, udt_name::regtype::text from information_schema.columns
        where (table_schema, table_name) = ('public', 'transcription_results')
    """
    with psycopg.connect(url) as connection:
        return dict(connection.execute(query).fetchall())


def typed_columns(url: str, listed: str) -> dict[str, str]:
    """`name type, name type`, with the types as Postgres writes them. In the order of the list."""
    pairs = [column.split(maxsplit=1) for column in listed.split(",")]
    with psycopg.connect(url) as connection:
        kinds = connection.execute(
            "select t::regtype::text from unnest(%s::text[]) t", [[kind for _, kind in pairs]]
        )
        return {name: kind for (name, _), (kind,) in zip(pairs, kinds, strict=True)}


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def test_a_write_names_every_column_of_the_table(database_url: str) -> None:
    """A new column that one of the lists lacks would be lost, or would keep an old answer's value."""
    statement = body_of(database_url, "lipika_write_clips")
    table_columns = columns(database_url)
    listed = between(statement, "jsonb_to_recordset(%(rows)s::jsonb) as r (", "\n    )")
    incoming = typed_columns(database_url, listed)
    written = between(statement, "insert into transcription_results as r (", ")")
    set_anew = between(statement, "on conflict (video_id, segment_file) do update set", "where (")

    assert set(incoming) == {field.name for field in dataclasses.fields(result_row(result(0)))}
    assert incoming == {name: kind for name, kind in table_columns.items() if name not in OF_THE_TABLE}
    # `i.*` ties both lists to each other by their order alone.
    assert [name.strip() for name in written.split(",")] == ["video_id", *incoming]
    assert set(re.findall(r"(\w+) = excluded\.\1\b", set_anew)) == set(incoming) - {"segment_file"}


def test_a_rewriting_reads_columns_as_the_table_has_them(database_url: str) -> None:
    statement = load("stored")["rewrite"].sql.decode()
    listed = between(statement, "jsonb_to_recordset(%(rows)s::jsonb) as i (", "\n  )")
    incoming = typed_columns(database_url, listed)
    assert incoming.pop("seen") == "text"
    assert set(incoming) == {field.name for field in dataclasses.fields(JudgedRow)}
    assert incoming.items() <= columns(database_url).items()
    set_anew = between(statement, "update transcription_results r set", "from incoming i")
    assert set(re.findall(r"(\w+) = ", set_anew)) == set(incoming) - {"segment_file"}


def test_groups_hold_columns_of_the_table_each_in_one_group(database_url: str) -> None:
    grouped = [column.name for group in GROUPS.values() for column in dataclasses.fields(group)]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= columns(database_url).keys()


def test_a_clips_detail_holds_every_column_of_a_result_but_what_only_machines_read(database_url: str) -> None:
    shown = {field.name for field in dataclasses.fields(ClipDetail)}
    assert columns(database_url).keys() - shown == {"id", "alignment"}


async def test_a_new_answer_replaces_the_old_and_the_sums_follow(
    results: Results, claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    await results.write(claim, [result(n, ClipStatus.FAILED) for n in range(3)])
    mine = await lose(database)
    await results.write(mine, [result(0, worker="w2"), result(3, worker="w2")])

    assert sums_from_scratch(database_url) == sums_of_rollup(database_url)
    (hindi,) = await Stats(database).quality.languages()
    assert (hindi.clips, hindi.transcribed, hindi.failed) == (4, 2, 2)
    assert hindi.mean_quality == 0.75
    assert hindi.percent_asr == 50.0


async def test_who_lost_the_lease_writes_no_row_flag_or_sum(
    results: Results, claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    await lose(database)
    with pytest.raises(LeaseLost, match="v: another worker"):
        await results.write(claim, [result(0), result(1, ClipStatus.FAILED)])
    with pytest.raises(LeaseLost):
        await results.write_discards(claim, [Discard("a.flac", "too_short", "1.2 s", whole_segment=True)])
    with pytest.raises(LeaseLost):
        await results.write(dataclasses.replace(claim, video_id="unknown"), [result(0)])
    for query in ("select 1 from transcription_results", FLAGS, ROLLUP):
        assert table(database_url, query) == []


async def test_a_write_under_way_keeps_a_reclaim_out_but_not_the_heartbeat(
    claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    queue = Queue(database)
    statement = load("results")["write"].sql
    token = {"video_id": "v", "claim_token": claim.claim_token}
    with psycopg.connect(database_url) as slow:  # a write that has not committed yet
        slow.execute(statement, {**token, "rows": to_json([result_row(result(0))]), "flags": "[]"})
        assert await queue.extend([claim], 0) == {"v"}  # would wait for ever if the lock were stronger
        assert await queue.claim("w2", 60, 1) == []
    assert len(await queue.claim("w2", 60, 1)) == 1


async def test_texts_that_postgres_cannot_store_are_repaired(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    odd = dataclasses.replace(ANSWER, transcription="a\x00b \\u0000 c", speaker_accent="x\ud800y")
    await results.write(claim, [dataclasses.replace(result(0), answer=odd)])
    (row,) = table(database_url, "select transcription, speaker_accent from transcription_results")
    assert row == {"transcription": "a\ufffdb \\u0000 c", "speaker_accent": "x\\ud800y"}


def test_json_refuses_what_is_no_row() -> None:
    with pytest.raises(TypeError, match="set is not JSON"):
        to_json({"a": {1, 2}})


# ---- flags


async def test_flags_only_what_needs_attention(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    findings = (
        Finding("wrong_script", Severity.FAIL, "80 % Latin"),
        Finding("wrong_script", Severity.FAIL, "in the tags too"),
        Finding("slow", Severity.WARN, "4 characters/s"),
    )
    flagged = dataclasses.replace(result(0), verdict=dataclasses.replace(VERDICT, findings=findings))
    await results.write(claim, [flagged, result(1, ClipStatus.FAILED), result(2)])
    assert [
        (f["segment_file"], f["flag_type"], f["details"], f["start_ms"]) for f in table(database_url, FLAGS)
    ] == [
        ("speaker0_00000_00800.flac", "wrong_script", "80 % Latin; in the tags too", 0),
        ("speaker0_00800_01600.flac", "failed:blocked", "SAFETY", 8000),
    ]


async def test_a_flag_that_is_no_longer_found_is_closed_and_reopened_when_it_returns(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    async def state() -> tuple[object, object]:
        (flag,) = table(database_url, FLAGS)
        return flag["resolved"], flag["resolved_by"]

    await results.write(claim, [result(0, ClipStatus.FAILED)])
    assert await state() == (False, None)
    await results.write(claim, [result(0)])
    assert await state() == (True, "lipika")
    await results.write(claim, [result(0, ClipStatus.FAILED)])
    assert await state() == (False, None)
    with psycopg.connect(database_url) as connection:
        connection.execute("update transcription_flags set resolved = true, resolved_by = 'asha'")
    await results.write(claim, [result(0, ClipStatus.FAILED)])
    assert await state() == (True, "asha")


async def test_discards_are_flagged_with_their_reasons(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    discards = [
        Discard("a.flac", "too_short", "1.2 s", whole_segment=True),
        Discard("b.flac", "too_short", "0.4 s", whole_segment=False, start_ms=100, end_ms=500),
        Discard("b.flac", "too_short", "0.6 s", whole_segment=False, start_ms=900, end_ms=1500),
        Discard("b.flac", "bad_name\x00", "b\udcff.flac", whole_segment=True),
    ]
    for _ in range(2):
        await results.write_discards(claim, discards)
    flags = table(database_url, FLAGS)
    assert [(f["segment_file"], f["flag_type"], f["start_ms"]) for f in flags] == [
        ("a.flac", "discard:too_short", 0),
        ("b.flac", "discard:bad_name\ufffd", 0),
        ("b.flac", "discard:too_short", 100),
        ("b.flac", "discard:too_short", 900),
    ]
    assert flags[1]["details"] == "b\\udcff.flac"


# ---- reading back


async def test_stored_answers_come_back_as_they_were_paid_for(results: Results, claim: ClaimedVideo) -> None:
    await results.write(claim, [result(0), result(1, ClipStatus.FAILED), result(2, ClipStatus.NO_SPEECH)])
    stored = [answer async for answer in results.stored_answers("v")]
    expected = result(0)
    assert stored[0] == StoredAnswer(
        segment_file=expected.segment_file,
        audio_digest=expected.clip.audio_digest,
        trimmer_version="1",
        language_hint="hi",
        status=ClipStatus.TRANSCRIBED,
        answer=ANSWER,
        failure=None,
        usage=USAGE,
        cost_usd=0.0005,
        provenance=expected.provenance,
    )
    assert (stored[1].answer, stored[1].failure) == (None, FAILURE)
    assert [answer.status for answer in stored] == ["transcribed", "failed", "no_speech"]
    assert [answer async for answer in results.stored_answers("other")] == []


async def test_whose_text_it_is_is_kept_until_another_answer_takes_its_place(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    edited = dataclasses.replace(result(0), text_source=TextSource.PERSON)
    await results.write(claim, [edited, result(1)])
    query = "select xmin::text, text_source from transcription_results order by segment_file"
    before = table(database_url, query)
    assert [row["text_source"] for row in before] == ["person", "model"]
    assert [answer.text_source async for answer in results.stored_answers("v")] == ["person", "model"]
    await results.write(claim, [edited, result(1)])
    assert table(database_url, query) == before
    await results.write(claim, [result(0)])
    assert [row["text_source"] for row in table(database_url, query)] == ["model", "model"]


async def test_stored_answers_of_many_clips_come_in_pages(results: Results, claim: ClaimedVideo) -> None:
    await results.write(claim, [result(n) for n in range(4001)])
    digests = {answer.audio_digest async for answer in results.stored_answers("v")}
    assert len(digests) == 4001


# ---- batches and figures


async def test_batches_are_upserted_and_make_the_boards(results: Results, database_url: str) -> None:
    await results.write_batch(report(segments_returned=1))
    await results.write_batch(report())
    await results.write_batch(report(batch_id="b2", worker_id="w2", avg_latency_ms=1000.0))

    (batch, _) = table(database_url, "select * from transcription_batches order by batch_id")
    assert (batch["video_ids"], batch["segments_returned"], batch["thought_tokens"]) == (["v"], 100, 20)
    assert batch["failure_kinds"] == {"rate_minute": 7}
    assert batch["validation_scores_summary"] == {"count": 100, "mean": 0.8}
    minutes = table(database_url, "select * from throughput_by_minute")
    assert sum(int(str(minute["sent"])) for minute in minutes) == 220
    (day,) = table(database_url, "select * from spend_by_day")
    assert (day["provider"], day["cost_usd"], day["usd_per_answer"]) == ("aistudio", 1.0, 0.005)


async def test_totals_of_a_run_add_up(results: Results, claim: ClaimedVideo, database: Database) -> None:
    queue, stats = Queue(database), Stats(database)
    await queue.add([NewVideo("not asked", "x", "y")])
    batch: Sequence[ClipResult] = [result(0), result(1, ClipStatus.FAILED), result(2, ClipStatus.NO_SPEECH)]
    await results.write(claim, batch)
    counted = Accounting(
        segments=4, segments_polished=2, segments_discarded=2, clips=3, transcribed=1, no_speech=1, failed=1
    )
    await queue.finish(claim, counted, output_bytes=1, output_digest="x")
    totals = await stats.totals(["v"])
    assert (totals.videos, totals.videos_done, totals.segments, totals.discarded) == (1, 1, 4, 2)
    assert (totals.clips, totals.transcribed, totals.no_speech, totals.failed) == (3, 1, 1, 1)
    assert (totals.requests, totals.prompt_tokens, totals.output_tokens) == (6, 2100, 270)
    assert totals.cost_usd == pytest.approx(0.0015)
    assert (await stats.totals([])).videos == 0


async def test_queue_progress_shows_every_language(database: Database, database_url: str) -> None:
    queue = Queue(database)
    await queue.add(
        [NewVideo("a", "s", "oa", "hi"), NewVideo("b", "s", "ob", "hi"), NewVideo("c", "s", "oc")]
    )
    (claim,) = await queue.claim("w1", 0, 1)
    rows = table(database_url, "select language, videos, pending, active, expired, done from queue_progress")
    assert claim.video_id == "a"
    assert [tuple(row.values()) for row in rows] == [("hi", 2, 1, 1, 1, 0), ("unknown", 1, 1, 0, 0, 0)]


# ---- workers


INFO = WorkerInfo("w1", "host", "aistudio", "RTX 4090", {"prompt_version": "p1", "temperature": 0.0})


async def live_workers(database: Database) -> int:
    return (await Stats(database).fleet.totals()).live


async def test_a_worker_lives_as_long_as_its_heartbeat(database: Database, database_url: str) -> None:
    workers = Workers(database)
    await workers.register(INFO)
    await workers.register(INFO)
    stats = WorkerStats("aistudio", "v", 12, 100, 90, 3, 7, 5, 2, 1500.0, 0.25)
    await workers.heartbeat("w1", stats)
    (row,) = table(database_url, "select * from workers")
    assert (row["gpu_type"], row["config_json"]) == ("RTX 4090", {"prompt_version": "p1", "temperature": 0.0})
    assert (row["current_video_id"], row["total_segments_429"], row["spend_usd"]) == ("v", 7, 0.25)
    assert await live_workers(database) == 1

    with psycopg.connect(database_url) as connection:
        connection.execute("update workers set last_heartbeat_at = now() - interval '31 seconds'")
    assert await live_workers(database) == 0
    (board,) = table(database_url, "select worker_id, state from fleet_live")
    assert board == {"worker_id": "w1", "state": "stale"}


async def test_each_worker_learns_what_the_fleet_of_its_provider_does(database: Database) -> None:
    workers = Workers(database)
    for name, provider in [("w1", "aistudio"), ("w2", "aistudio"), ("w3", "openrouter")]:
        await workers.register(dataclasses.replace(INFO, worker_id=name, provider=provider))
        await workers.live(name, active_rpm=100, active_tpm=5000, requests_in_flight=9)
    fleet = await workers.live("w1", active_rpm=200, active_tpm=6000, requests_in_flight=10)
    assert dataclasses.astuple(fleet) == (True, False, 2, 300, 11000, 19)
    assert await live_workers(database) == 3

    await workers.offline("w2")
    fleet = await workers.live("w1", active_rpm=200, active_tpm=6000, requests_in_flight=10)
    assert (fleet.workers, fleet.active_rpm) == (1, 200)


async def test_a_worker_that_was_given_up_is_told_so(database: Database) -> None:
    workers = Workers(database)
    await workers.register(INFO)
    await workers.offline("w1", failed=True)
    with pytest.raises(WorkerStop, match="w1"):
        await workers.heartbeat("w1", WorkerStats("aistudio"))
    with pytest.raises(WorkerStop, match="unknown"):
        await workers.live("unknown", active_rpm=0, active_tpm=0, requests_in_flight=0)


async def test_errors_are_kept_with_their_traceback(database: Database, database_url: str) -> None:
    workers = Workers(database)
    await workers.register(INFO)
    await workers.record_error("w1", "v", "ValueError", "bad\x00 tar", "Traceback ...")
    (error,) = table(database_url, "select * from worker_errors")
    (worker,) = table(database_url, "select last_error, last_error_at from workers")
    assert (error["video_id"], error["traceback"]) == ("v", "Traceback ...")
    assert worker["last_error"] == "ValueError: bad\ufffd tar"
    assert worker["last_error_at"] == error["occurred_at"]


# ---- budgets


async def test_budgets_are_set_paused_and_resumed(database: Database) -> None:
    budgets = Budgets(database)
    await budgets.set_limits("aistudio", Limits(requests_per_minute=20_000, spend_total_usd=100.0))
    await budgets.pause("aistudio", "cap reached")
    await budgets.set_limits("aistudio", Limits(requests_per_minute=10_000))
    await budgets.pause("openrouter", "no credit")
    (budget,) = await budgets.show("aistudio")
    assert (budget.requests_per_minute, budget.spend_total_usd) == (10_000, None)
    assert (budget.paused, budget.pause_reason) == (True, "cap reached")
    assert await budgets.resume("aistudio")
    assert not await budgets.resume("aistudio")
    assert [(budget.provider, budget.paused) for budget in await budgets.show()] == [
        ("aistudio", False),
        ("openrouter", True),
    ]

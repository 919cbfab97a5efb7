"""The read model: its counters equal the rows they count, whatever happens to these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.rows import dict_row

from lipika import meters
from lipika.db import Budgets, Database, Queue, Results, Stats, Workers
from lipika.db.budgets import Limits
from lipika.db.flags import FlagFilter
from lipika.db.reservations import Demand, Reservations
from lipika.db.stats_queue import QueuePace
from lipika.db.stored import Stored
from lipika.db.workers import WorkerInfo, WorkerStats
from lipika.meters import LastMinute, Sums
from lipika.models import Accounting, BatchReport, ClaimedVideo, ClipResult, ClipStatus, NewVideo, Usage
from lipika.validation import validate
from stored_kit import made

Rows = list[dict[str, Any]]


def table(url: str, query: str) -> Rows:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def counters(url: str, name: str, keys: str, sums: str) -> Rows:
    """A table of counters with its shards added up; what is zero in all is left out."""
    columns = ", ".join(f"sum({column})::bigint as {column}" for column in sums.split(", "))
    zero = " or ".join(f"sum({column}) <> 0" for column in sums.split(", "))
    query = f"select {keys}, {columns} from {name} group by {keys} having {zero} order by {keys}"  # noqa: S608
    return table(url, query)


async def claimed(database: Database, *video_ids: str, language: str | None = "hi") -> list[ClaimedVideo]:
    queue = Queue(database)
    await queue.add([NewVideo(video_id, "in", f"out/{video_id}", language) for video_id in video_ids])
    return await queue.claim("w1", 60, len(video_ids))


# ---- counters


QUEUE_TRUTH = """
    select coalesce(language, 'unknown') as language,
      case when status = 'pending' and held then 'held' else status end as state,
      case when status = 'failed' then coalesce(error_code, '') else '' end as reason,
      count(*) as videos, count(segment_count) as sized, coalesce(sum(segment_count), 0)::bigint as segments,
      sum(clip_count)::bigint as clips, sum(segments_failed)::bigint as failed
    from video_queue group by 1, 2, 3 order by 1, 2, 3
"""


def queue_counted(url: str) -> Rows:
    return counters(url, "queue_counts", "language, state, reason", "videos, sized, segments, clips, failed")


async def test_the_queue_is_counted_through_every_verb(database: Database, database_url: str) -> None:
    queue = Queue(database)
    videos = [
        NewVideo(f"v{i}", "in", f"out{i}", (None, "hi", "ta")[i % 3], segment_count=i or None)
        for i in range(9)
    ]
    await queue.add(videos)
    await queue.add(videos)  # changes nothing
    first, second, third, fourth = await queue.claim("w1", 60, 4)
    await queue.start(first)
    await queue.progress(first, Accounting(segments=5, segments_polished=3, clips=7, transcribed=2))
    ended = Accounting(segments=2, segments_polished=2, clips=2, transcribed=1, failed=1)
    await queue.finish(second, ended, output_bytes=1, output_digest="x")
    await queue.finish(second, ended, output_bytes=1, output_digest="x")
    await queue.fail(third, "bad_tar", "no tar", retry=False)
    await queue.release(fourth)
    await queue.hold(["v5", "v6"])
    await queue.extend([first], 60)
    assert queue_counted(database_url) == table(database_url, QUEUE_TRUTH)
    assert [reason.reason for reason in await Stats(database).queue.reasons()] == ["bad_tar"]

    await queue.requeue(also_done=True)
    await queue.take_back([first.video_id])
    await queue.remove(["v8"])
    assert queue_counted(database_url) == table(database_url, QUEUE_TRUTH)
    assert await queue.counts() == await queue.counts([f"v{i}" for i in range(9)])
    progress = await Stats(database).queue.languages()
    assert {row.language: row.videos for row in progress} == {"unknown": 3, "hi": 3, "ta": 2}

    with psycopg.connect(database_url) as connection:
        connection.execute("truncate video_queue")
    assert queue_counted(database_url) == []
    assert (await queue.counts()).total == 0


async def test_writers_at_once_do_not_wait_for_each_other(database_url: str) -> None:
    """Two transactions count in the same rows; neither is done before both have counted."""
    with psycopg.connect(database_url) as one, psycopg.connect(database_url) as two:
        for number, connection in enumerate((one, two)):
            connection.execute("set lock_timeout = '2s'")
            connection.execute(
                "insert into video_queue (video_id, source_key, output_key) values (%s, 'in', %s)",
                (f"v{number}", f"out{number}"),
            )
        assert len(table(database_url, "select * from queue_counts")) == 0
    assert [row["videos"] for row in table(database_url, "select videos from queue_counts")] == [1, 1]
    assert queue_counted(database_url)[0]["videos"] == 2


CLIP_TRUTH = """
    with clip as (
      select *, nullif(expected_language_hint, '') as hint,
        coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as language
      from transcription_results
    ), trait as (
      select language, 'status' as kind, status as key, duration_ms from clip
      union all select language, 'score', lpad(least(floor(quality_score::numeric * 20), 19)::text, 2, '0'),
        duration_ms from clip where quality_score is not null
      union all select language, 'lane', 'asr', duration_ms from clip where asr_eligible
      union all select language, 'lane', 'tts_clean', duration_ms from clip where tts_clean_eligible
      union all select language, 'lane', 'tts_expressive', duration_ms from clip where tts_expressive_eligible
      union all select coalesce(hint, 'none'), 'heard', detected_language, duration_ms
        from clip where detected_language is not null
      union all select language, 'failure', failure_kind, duration_ms from clip where failure_kind is not null
      union all select language, 'finding:' || severity, code, duration_ms
        from clip, lateral (select distinct f ->> 'severity', f ->> 'code' from jsonb_array_elements(findings) f)
          as found (severity, code)
    )
    select language, kind, key, count(*) as clips, sum(duration_ms)::bigint as duration_ms
    from trait group by 1, 2, 3 order by 1, 2, 3
"""


def clips_counted(url: str) -> Rows:
    return counters(url, "clip_counts", "language, kind, key", "clips, duration_ms")


async def test_clips_are_counted_through_rewrites(database: Database, database_url: str) -> None:
    results = Results(database)
    (claim,) = await claimed(database, "v")
    batch: Sequence[ClipResult] = [
        made(0),
        made(1, text="hello there my friend how are you doing today"),
        made(2, text="हाँ " * 400),
        replace(made(3), status=ClipStatus.FAILED, answer=None, verdict=None),
    ]
    await results.write(claim, batch)
    assert clips_counted(database_url) == table(database_url, CLIP_TRUTH)
    await results.write(claim, batch)  # again: nothing moves
    await results.write(claim, [made(1), replace(batch[2], language_hint="")])
    assert clips_counted(database_url) == table(database_url, CLIP_TRUTH)

    stored = Stored(database)
    rows = [row for row in await stored.clips("v") if row.answer is not None]
    facts = [row.facts() for row in rows]
    worse = [
        (row, replace(validate(row.answer, row.clip(fact), "ta"), quality_score=0.0))
        for row, fact in zip(rows, facts, strict=True)
        if row.answer is not None and fact is not None
    ]
    await Queue(database).release(claim)
    assert (await stored.rewrite("v", worse)).written == 3
    assert clips_counted(database_url) == table(database_url, CLIP_TRUTH)
    quality = Stats(database).quality
    assert sum(bucket.clips for bucket in await quality.scores() if bucket.low == 0.0) == 3
    assert sum(row.clips for row in await quality.findings() if row.severity == "fail") >= 2

    (claim,) = await Queue(database).claim("w1", 60, 1)
    await results.remove(claim, [row.segment_file for row in rows])
    assert clips_counted(database_url) == table(database_url, CLIP_TRUTH)
    assert await quality.scores() == []
    assert [(row.status, row.clips) for row in await quality.statuses()] == [("failed", 1)]


async def test_flags_carry_the_language_and_are_counted(database: Database, database_url: str) -> None:
    results, flags = Results(database), Stats(database).flags
    for claim, language in zip(await claimed(database, "a", "b"), ("hi", "hi"), strict=True):
        bad = [replace(made(i, text="हाँ " * 60), video_id=claim.video_id) for i in range(3)]
        await results.write(claim, bad)
        assert {flag.language for flag in await flags.page(FlagFilter(video_id=claim.video_id))} == {language}
    everything = await flags.page(limit=1000)
    assert len(everything) >= 6
    assert sum(count.open for count in await flags.counts()) == len(everything)

    one = everything[0]
    assert one.transcription is not None
    assert (
        await flags.resolve(one.video_id, one.segment_file, by="me", note="fine", flag_type=one.flag_type)
        == 1
    )
    (closed,) = await flags.page(FlagFilter(resolved=True))
    assert (closed.resolved_by, closed.note, closed.segment_file) == ("me", "fine", one.segment_file)
    assert sum(count.resolved for count in await flags.counts()) == 1
    assert await flags.reopen(one.video_id, one.segment_file) == 1
    assert sum(count.open for count in await flags.counts()) == len(everything)


async def test_flags_come_in_pages_without_gap_or_double(database: Database) -> None:
    results, flags = Results(database), Stats(database).flags
    (claim,) = await claimed(database, "a")
    await results.write(claim, [replace(made(i, text="हाँ " * 60), video_id="a") for i in range(12)])
    everything = await flags.page(limit=1000)
    paged, after = [], None
    while page := await flags.page(limit=5, after=after):
        paged += page
        after = page[-1]
    assert paged == everything
    some = await flags.page(
        FlagFilter(flag_type=everything[0].flag_type, severity="fail", language="hi"), limit=1000
    )
    assert some
    assert {flag.flag_type for flag in some} == {everything[0].flag_type}
    assert await flags.page(FlagFilter(language="ta")) == []


# ---- arithmetic


@given(st.lists(st.floats(0, 400_000), min_size=1, max_size=200), st.floats(0, 1))
def test_percentiles_of_counts_are_near_those_of_the_numbers(latencies: list[float], share: float) -> None:
    counts = meters.count(latencies)
    assert sum(counts) == len(latencies)
    found = meters.percentile(counts, share)
    ordered = sorted(latencies)
    true = ordered[max(min(int(share * len(ordered) + 0.999999), len(ordered)) - 1, 0)]
    assert found is not None
    if true <= meters.BOUNDS_MS[-1]:
        low = meters.BOUNDS_MS[meters.place(true) - 1] if meters.place(true) else 0.0
        assert (
            low - 1e-6 <= found <= meters.BOUNDS_MS[meters.place(true)] + 1e-6
            or share * len(ordered) % 1 < 1e-5
        )
    else:
        assert found <= meters.BOUNDS_MS[-1]


def test_percentiles_of_nothing_are_none() -> None:
    assert meters.percentile([], 0.5) is None
    assert meters.percentile([0] * meters.PLACES, 0.5) is None


OUTLOOK = QueuePace(
    videos_left=10, videos_left_unsized=4, segments_left=100, videos_at_work=2, clips_at_work_ended=30,
    videos_done=5, segments_done=50, clips_done=100, clips_lately=1000, minutes_lately=10, clips_last_minute=70,
)  # fmt: skip


def test_the_outlook_says_what_it_is_based_on() -> None:
    # 100 segments at 2 clips each, 4 videos at 20 clips each, 2 at work with 40 less 30 that ended
    assert OUTLOOK.clips_left == 200 + 80 + 10
    assert OUTLOOK.eta_s == pytest.approx(290 / 100 * 60)
    assert "290 clips (20.0 a video so far), at 100 clips a minute over the last 10 minutes" in OUTLOOK.basis


@pytest.mark.parametrize(
    ("change", "eta_s", "basis"),
    [
        ({"videos_left": 0}, 0.0, "nothing is left to do"),
        ({"videos_done": 0}, None, "unknown until the first video is done"),
        ({"clips_lately": 0}, None, "unknown while nothing is sent"),
        ({"sending": False}, None, "unknown while nothing is sent"),  # the last minutes are of the past
        ({"minutes_lately": 1, "clips_last_minute": 29}, 600.0, "over the last minute"),
    ],
)
def test_an_outlook_without_basis_gives_no_time(
    change: Mapping[str, Any], eta_s: float | None, basis: str
) -> None:
    outlook = replace(OUTLOOK, **change)
    assert outlook.eta_s == (eta_s if eta_s is None else pytest.approx(eta_s))
    assert basis in outlook.basis


def test_the_outlook_knows_the_days_dollars() -> None:
    """290 clips at a cent each, a hundred a minute: $2 a day, of which $1.50 are left at 23:00."""
    capped = replace(OUTLOOK, usd_lately=10.0, usd_day_cap=2.0, usd_day_left=1.5, second_of_day=82_800.0)
    assert capped.eta_s == pytest.approx(3600 + 140 / 100 * 60)
    assert "within $2.00 a day, of which $1.50 are left today" in capped.basis
    roomy = replace(capped, usd_day_left=2.0, usd_day_cap=5.0, clips_lately=10_000)
    assert "a day" not in roomy.basis
    gone = replace(capped, usd_day_left=0.0, clips_lately=0)
    assert gone.eta_s is None
    assert "used up its dollars" in gone.basis


async def test_the_outlook_reads_the_days_cap_of_who_is_asked(database: Database) -> None:
    stats = Stats(database)
    await Budgets(database).set_limits("aistudio", Limits(spend_day_usd=2.0))
    await Budgets(database).set_limits("openrouter", Limits(requests_per_minute=5))
    spent = Demand("aistudio", 0, 600.0, 0.001, 0.0, 0.0, 0.5, 0.0)
    await Reservations(database).reserve("w", spent)
    await Queue(database).add([NewVideo("v", "a.tar", "b.tar")])
    outlook = await stats.queue.outlook()
    assert outlook.usd_day_cap == 2.0
    assert outlook.usd_day_left == pytest.approx(1.5)
    assert 0 <= outlook.second_of_day <= 86_400
    await Reservations(database).reserve("w", replace(spent, provider="openrouter"))
    assert (await stats.queue.outlook()).usd_day_cap is None, "the other one has no cap"
    await Budgets(database).change("all", {"spend_day_usd": 1.2})
    outlook = await stats.queue.outlook()
    assert (outlook.usd_day_cap, outlook.usd_day_left) == pytest.approx((1.2, 0.2)), "all together have one"


async def test_every_question_has_an_answer_on_an_empty_database(database: Database) -> None:
    stats = Stats(database)
    fleet, outlook, spend = await asyncio.gather(
        stats.fleet.now(), stats.queue.outlook(), stats.spend.summary()
    )
    assert (fleet.totals.live, fleet.latency_p95_ms, fleet.providers) == (0, None, ())
    assert (outlook.eta_s, spend.usd_per_clip, spend.projected_usd(0.0)) == (0.0, None, None)
    assert len(await stats.fleet.minutes(5)) == 6
    assert await stats.fleet.workers() == []


# ---- the last minute, the fleet, and drains


def test_the_last_minute_is_what_was_added_in_it() -> None:
    minute = LastMinute(0.0)
    seen = [
        minute.note(now, Sums(now * 2, now * 0.5, now * 10, now, {"rate_minute": now, "server": 3}, (now, 0)))
        for now in range(5, 125, 5)
    ]
    assert (seen[0].clips, seen[0].failures, seen[0].latency_counts) == (
        10,
        {"rate_minute": 5, "server": 3},
        [5, 0],
    )
    last = seen[-1]
    assert (last.clips, last.usd, last.prompt_tokens, last.cached_tokens) == (120, 30.0, 600, 60)
    assert (last.failures, last.rate_limited, last.errors) == ({"rate_minute": 60}, 60, 0)


def info(worker_id: str, provider: str = "aistudio") -> WorkerInfo:
    return WorkerInfo(worker_id, worker_id, provider, None, {"live_seconds": 5.0})


async def test_the_fleet_adds_up_over_its_live_workers(database: Database, database_url: str) -> None:
    workers, stats = Workers(database), Stats(database)
    quick, slow = meters.count([100.0] * 99), meters.count([5000.0])
    for name, counts in (("a", quick), ("b", slow), ("dead", slow)):
        await workers.register(info(name))
        sums = Sums(30, 0.5, 1000, 250, {"rate_minute": 2, "server": 1}, counts)
        await workers.live(
            name,
            active_rpm=40,
            active_tpm=5000,
            requests_in_flight=7,
            minute=sums,
            limited_by="the budget: rpm",
        )
        await workers.heartbeat(
            name, WorkerStats("aistudio", segments_sent=100, failures={"rate_minute": 9}, prompt_tokens=50)
        )
    await Budgets(database).set_limits("aistudio", Limits(100, 50_000, spend_day_usd=10.0))
    await Budgets(database).set_limits("openrouter", Limits())
    with psycopg.connect(database_url) as connection:
        past = "now() - interval '13 seconds'"
        update = f"update workers set live_at = {past}, last_heartbeat_at = {past} where worker_id = 'dead'"  # noqa: S608
        connection.execute(update)

    now = await stats.fleet.now()
    first, second = now.providers
    assert (first.provider, first.workers, first.rpm, first.tpm, first.in_flight) == (
        "aistudio",
        2,
        80,
        10_000,
        14,
    )
    assert (first.usd_per_minute, first.clips_per_minute, first.cache_rate) == (1.0, 60, 0.25)
    assert (first.binds, first.limited_by, first.used["rpm"]) == ("rpm", "the budget: rpm", 0.8)
    assert (second.provider, second.workers, second.binds) == ("openrouter", 0, "")
    assert [(one.kind, one.last_minute, one.total) for one in now.failures] == [
        ("rate_minute", 4, 27),
        ("server", 2, 0),
    ]
    assert now.latency_p50_ms == pytest.approx(100, rel=0.2)
    assert (now.totals.live, now.totals.stale, now.totals.sent, now.totals.prompt_tokens) == (2, 1, 300, 150)
    states = {row.worker_id: row.state for row in await stats.fleet.workers()}
    assert states == {"a": "live", "b": "live", "dead": "stale"}

    await workers.offline("b")
    assert {row.worker_id: row.state for row in await stats.fleet.workers()}["b"] == "offline"
    assert (await stats.fleet.now()).providers[0].workers == 1


async def test_every_minute_of_a_worker_stays_as_history(database: Database, database_url: str) -> None:
    workers, stats = Workers(database), Stats(database)
    for name in ("a", "b"):
        await workers.register(info(name))
        for rpm in (5, 50):
            await workers.live(
                name, active_rpm=rpm, active_tpm=rpm, requests_in_flight=1, minute=Sums(rpm, 0.1)
            )
    with psycopg.connect(database_url) as connection:
        moved = connection.execute("update worker_minutes set minute = minute - interval '2 minutes'")
        assert moved.rowcount in {2, 4}  # four: the clock struck in between
    minutes = await stats.fleet.minutes(5)
    assert sum(minute.rpm for minute in minutes) >= 100
    assert [minute.minute for minute in minutes] == sorted(minute.minute for minute in minutes)
    (row, _) = await stats.fleet.workers(minutes=10)
    assert len(row.recent_rpm) == 10
    assert max(row.recent_rpm) == 50
    assert (await stats.queue.outlook()).clips_lately >= 100

    with psycopg.connect(database_url) as connection:
        connection.execute("update worker_minutes set minute = minute - interval '31 days'")
    await workers.register(info("c"))
    assert table(database_url, "select * from worker_minutes") == []


async def test_a_drain_is_read_with_the_live_figures(database: Database) -> None:
    workers = Workers(database)
    for name in ("a", "b"):
        await workers.register(info(name))
    assert not (await workers.live("a", active_rpm=1, active_tpm=1, requests_in_flight=1)).drain
    assert await workers.drain(["a", "nobody"]) == 1
    assert (await workers.live("a", active_rpm=1, active_tpm=1, requests_in_flight=1)).drain
    assert not (await workers.live("b", active_rpm=1, active_tpm=1, requests_in_flight=1)).drain
    assert {row.worker_id: row.state for row in await Stats(database).fleet.workers()} == {
        "a": "draining",
        "b": "live",
    }
    assert await workers.drain() == 2


async def test_batches_are_counted_by_hour_and_minute(database: Database, database_url: str) -> None:
    results, stats = Results(database), Stats(database)
    report = BatchReport(
        "b1", "w1", ("v",), time.time(), 110, 100, 7, 3, 10, "aistudio", 0, Usage(1000, 600, 400, 50, 200, 30), 0.5,
        900.0, 1900.0, 60_000, {"rate_minute": 7, "server": 3}, {"count": 100}, tuple(meters.count([1000.0] * 110)),
    )  # fmt: skip
    await results.write_batch(replace(report, segments_returned=1, failure_kinds={"server": 9}))
    await results.write_batch(report)  # the same window, said again
    await results.write_batch(replace(report, batch_id="b2", worker_id="w2", provider_used="openrouter"))
    days = await stats.spend.days(2)
    assert [(day.provider, day.requests, day.answers, day.audio_tokens, day.cost_usd) for day in days] == [
        ("aistudio", 110, 100, 400, 0.5),
        ("openrouter", 110, 100, 400, 0.5),
    ]
    assert sum(hour.cost_usd for hour in await stats.spend.hours(2)) == 1.0
    kinds = "select key, sum(value::int)::int from batch_minutes, jsonb_each_text(failure_kinds) group by key"
    assert {tuple(row.values()) for row in table(database_url, kinds)} == {("rate_minute", 14), ("server", 6)}
    assert table(database_url, "select sum(windows)::int as windows from batch_hours") == [{"windows": 2}]

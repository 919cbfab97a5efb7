"""Answers that were paid for, by their audio: found in any video, in a bounded number of rows at any size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from fleet_kit import change, rows
from lipika.db import Database, Queue, Results
from lipika.db.migrate import migrate
from lipika.db.paid import PaidAnswers
from lipika.db.queries import load
from lipika.models import ClaimedVideo, ClipResult, NewVideo
from postgres_kit import TEMPLATE, on_database
from result_kit import ANSWER, USAGE, result

WAY = {
    "model_ids": ["gemini-3-flash-preview"],
    "temperature": 0.0,
    "thinking_level": "low",
    "prompt_versions": ["p1"],
    "schema_version": "s1",
}
INDEX: LiteralString = "select indexdef from pg_indexes where indexname = 'transcription_results_audio'"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


@pytest.fixture
async def claim(database: Database) -> ClaimedVideo:
    queue = Queue(database)
    await queue.add([NewVideo("v", "in/v.tar", "out/v.tar")])
    (claim,) = await queue.claim("w1", 60, 1)
    await queue.start(claim)
    return claim


def asked(number: int, **how: Any) -> ClipResult:
    made = result(number)
    return replace(made, provenance=replace(made.provenance, **how))


def digest(number: int) -> str:
    return result(number).clip.audio_digest


async def test_results_and_replaced_answers_are_found_by_audio_and_way(
    database: Database, claim: ClaimedVideo
) -> None:
    results, paid = Results(database), PaidAnswers(database)
    await results.write(claim, [asked(0), asked(1), asked(2, model_id="google/gemini-3-flash-preview")])
    await results.write(claim, [asked(0, temperature=0.7, batch_id="b2")])
    found = {stored.audio_digest: stored for stored in await paid.find(list(map(digest, range(4))), WAY)}
    assert sorted(found) == [digest(0), digest(1), digest(2)]
    for stored in found.values():
        assert (stored.answer, stored.usage, stored.cost_usd) == (ANSWER, USAGE, 0.0005)
        assert (stored.provenance.batch_id, stored.provenance.attempts) == ("b1", 2)
        assert (stored.provenance.latency_ms, stored.language_hint) == (1234, "hi")
    (other,) = await paid.find([digest(0), digest(1)], WAY | {"temperature": 0.7})
    assert other.audio_digest == digest(0)
    assert other.provenance.temperature == pytest.approx(0.7)
    for change_of_way in ({"model_ids": ["x"]}, {"temperature": None}, {"thinking_level": "high"}):
        assert await paid.find([digest(1)], WAY | change_of_way) == []
    assert await paid.find([digest(1)], WAY | {"prompt_versions": ["p2"]}) == []
    assert await paid.find([digest(1)], WAY | {"schema_version": "s2"}) == []
    assert await paid.find([], WAY) == []


async def test_what_a_person_wrote_is_nobodys_answer_and_the_models_own_stays(
    database: Database, claim: ClaimedVideo, database_url: str
) -> None:
    await Results(database).write(claim, [asked(0)])
    change(
        database_url,
        "update transcription_results set transcription = 'written by hand', text_source = 'person'",
    )
    (kept,) = await PaidAnswers(database).find([digest(0)], WAY)
    assert kept.answer == ANSWER
    await Results(database).write(claim, [asked(0, temperature=1.0, batch_id="b2")])
    (kept,) = await PaidAnswers(database).find([digest(0)], WAY)
    assert kept.answer == ANSWER


# ----------------------------------------------------------------------------- the index


async def test_without_the_index_results_are_not_read_and_migrating_makes_it(
    database: Database, claim: ClaimedVideo, database_url: str
) -> None:
    await Results(database).write(claim, [asked(0), asked(1)])
    await Results(database).write(claim, [asked(0, temperature=0.7, batch_id="b2")])
    (as_migrated,) = rows(database_url, INDEX)
    change(database_url, "drop index transcription_results_audio")
    paid = PaidAnswers(database)
    (kept,) = await paid.find([digest(0), digest(1)], WAY)
    assert kept.audio_digest == digest(0)
    assert await migrate(database) == ["transcription_results_audio, an index"]
    assert rows(database_url, INDEX) == [as_migrated]
    assert len(await paid.find([digest(0), digest(1)], WAY)) == 2
    assert await migrate(database) == []


async def test_an_index_that_was_interrupted_is_made_anew(database: Database, database_url: str) -> None:
    change(
        database_url,
        "update pg_index set indisvalid = false where indexrelid = 'transcription_results_audio'::regclass",
    )
    assert await migrate(database) == ["transcription_results_audio, an index"]
    valid = rows(
        database_url,
        "select 1 from pg_index where indexrelid = 'transcription_results_audio'::regclass and indisvalid",
    )
    assert len(valid) == 1


async def test_nobody_who_writes_waits_for_the_index(
    database: Database, claim: ClaimedVideo, database_url: str
) -> None:
    """A writer whose transaction is open holds it up, and others write meanwhile."""
    await Results(database).write(claim, [asked(0)])
    change(database_url, "drop index transcription_results_audio")
    with psycopg.connect(database_url) as writer:
        writer.execute("update transcription_results set boundary_score = 0.25")
        making = asyncio.create_task(migrate(database))
        await asyncio.sleep(0.3)
        assert not making.done()
        await Results(database).write(claim, [asked(1)])
        writer.commit()
    assert await making == ["transcription_results_audio, an index"]


# ----------------------------------------------------------------------------- many rows

MANY: LiteralString = """
    insert into transcription_results (
      video_id, segment_file, source_segment, speaker_id, status, original_start_ms, original_end_ms,
      trimmed_start_ms, trimmed_end_ms, leading_pad_ms, trailing_pad_ms, duration_ms, audio_digest,
      expected_language_hint,
      detected_language, transcription, tagged, prompt_version, schema_version, trimmer_version, provider, model_id,
      model_version, temperature, thinking_level, worker_id, batch_id, attempts, latency_ms, cache_hit,
      token_usage_json, cost_usd
    )
    select 'v' || n / 100, n || '.flac', 's', 's', 'transcribed', 0, 1, 0, 1, 0, 0, 1,
      case when n % 10 = 0 then repeat('0', 64) else encode(sha256(n::text::bytea), 'hex') end, 'hi', 'hi', 't', 't',
      'p1', 's1', '4', 'aistudio', 'gemini-3-flash-preview', 'm', case when n % 10 = 0 then 0.7 else 0 end, 'low',
      'w', 'b', 1, 1, false, '{}', 0
    from generate_series(1, 200000) n
"""


@pytest.fixture(scope="module")
def many_url(postgres_url: str) -> Iterator[str]:
    """Two hundred thousand clips, a tenth of which hold the very same audio."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        names = (sql.Identifier("many_clips"), sql.Identifier(TEMPLATE))
        connection.execute(sql.SQL("create database {} template {}").format(*names))
        url = on_database(postgres_url, "many_clips")
        with psycopg.connect(url, autocommit=True) as ours:
            ours.execute("set session_replication_role = replica")
            ours.execute(MANY)
            ours.execute("vacuum analyze transcription_results")
        yield url
        connection.execute(sql.SQL("drop database {} with (force)").format(names[0]))


async def test_of_many_clips_some_are_looked_up_in_a_few_rows_each(many_url: str) -> None:
    wanted = [
        row.digest
        for row in rows(
            many_url,
            "select encode(sha256(n::text::bytea), 'hex') as digest from generate_series(1, 400) n",
        )
    ]
    everywhere = "0" * 64
    digests = [*wanted, everywhere, "f" * 64]
    with psycopg.connect(many_url) as connection:
        explain = b"explain (analyze, buffers, format json) " + load("paid")["results"].sql
        (plan,) = connection.execute(explain, {"digests": digests, "most": 32, **WAY}).fetchone() or ([],)
    scans = list(scans_of(plan[0]["Plan"]))
    assert [scan["Index Name"] for scan in scans] == ["transcription_results_audio"]
    assert scans[0]["Actual Rows"] * scans[0]["Actual Loops"] <= 400 + 32 + 402 / 2  # means are rounded
    pages = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert pages < 8 * len(digests)
    async with Database(many_url) as database:
        paid = PaidAnswers(database)
        assert len(await paid.find(digests, WAY)) == 360
        assert await paid.find([everywhere], WAY) == []
        assert len(await paid.find([everywhere], WAY | {"temperature": 0.7})) == 32


async def test_the_index_takes_little(many_url: str) -> None:
    (size,) = rows(many_url, "select pg_relation_size('transcription_results_audio') as bytes")
    assert size.bytes < 36 * 200_000


def scans_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes that read a table."""
    if node.get("Relation Name") or node.get("Index Name"):
        yield node
    for child in node.get("Plans", ()):
        yield from scans_of(child)

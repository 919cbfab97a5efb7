"""Tokens and characters of answers as metered: every answer that was paid for counts once."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import pytest
from rich.console import Console

from board_kit import a_visitor
from fleet_kit import change
from lipika.db import Database, Queue, Results
from lipika.db.migrate import migrations
from lipika.db.stats_spend import MeteredAnswers, SpendStats
from lipika.fleet.status import read_status, render_status, status_document
from lipika.models import ClaimedVideo, ClipResult, ClipStatus, NewVideo, TextSource, Usage
from result_kit import ANSWER, USAGE, report, result

FIGURES = ("answers", "characters", "answer_tokens", "thought_tokens", "prompt_tokens", "audio_tokens")
ONE = {
    "answers": 1,
    "characters": len(ANSWER.transcription),
    "answer_tokens": USAGE.output - USAGE.thoughts,
    "thought_tokens": USAGE.thoughts,
    "prompt_tokens": USAGE.prompt,
    "audio_tokens": USAGE.prompt_audio,
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


@pytest.fixture
async def claims(database: Database) -> list[ClaimedVideo]:
    await Queue(database).add(
        [NewVideo("v", "in/v.tar", "out/v.tar"), NewVideo("u", "in/u.tar", "out/u.tar")]
    )
    return await Queue(database).claim("w1", 60, 2)


def asked(number: int, text: str = ANSWER.transcription, *, batch: str = "b1", **how: Any) -> ClipResult:
    """A clip whose answer took one request."""
    made = result(number)
    answer = replace(ANSWER, transcription=text)
    return replace(
        made, answer=answer, provenance=replace(made.provenance, **{"attempts": 1, "batch_id": batch, **how})
    )


async def metered(database: Database) -> list[MeteredAnswers]:
    return await SpendStats(database).metered_answers()


async def sums(database: Database) -> dict[str, int]:
    found = await metered(database)
    return {name: sum(getattr(row, name) for row in found) for name in FIGURES}


def times(count: int) -> dict[str, int]:
    return {name: count * each for name, each in ONE.items()}


async def test_answers_count_by_language_model_form_and_thinking(
    database: Database, claims: list[ClaimedVideo]
) -> None:
    tamil = asked(2, "வணக்கம்", batch="b2", thinking_level="minimal", schema_version="2")
    assert tamil.answer is not None
    tamil = replace(tamil, answer=replace(tamil.answer, detected_language="ta"))
    await Results(database).write(claims[0], [asked(0), asked(1), tamil])
    hindi, other = await metered(database)
    assert (hindi.language, hindi.thinking_level, hindi.schema_version) == ("hi", "low", "s1")
    assert {name: getattr(hindi, name) for name in FIGURES} == times(2)
    assert (other.language, other.thinking_level, other.schema_version) == ("ta", "minimal", "2")
    assert other.characters == len("வணக்கம்")
    assert hindi.tokens_per_character == pytest.approx(70 / len(ANSWER.transcription))
    assert hindi.mean.thoughts == USAGE.thoughts
    assert hindi.model_id == "gemini-3-flash-preview"


async def test_what_is_handed_in_again_or_judged_anew_counts_no_more(
    database: Database, claims: list[ClaimedVideo], database_url: str
) -> None:
    """A repeat, a resumed video, a text tidied or a verdict that changed: the same answer."""
    results = Results(database)
    first = asked(0)
    await results.write(claims[0], [first])
    await results.write(claims[0], [first])
    assert first.verdict is not None
    judged = replace(first, verdict=replace(first.verdict, quality_score=0.1))
    await results.write(claims[0], [replace(judged, reused=True), asked(1)])
    change(database_url, "update transcription_results set quality_score = 0.3")
    change(database_url, "update transcription_results set transcription = 'edited', text_source = 'person'")
    assert await sums(database) == times(2)


async def test_an_answer_that_replaces_another_counts_beside_it(
    database: Database, claims: list[ClaimedVideo]
) -> None:
    """Both were paid for. The first one again, out of what was put aside, is free."""
    results = Results(database)
    first, second = asked(0), asked(0, batch="b2", model_id="gemini-3.1-flash-lite")
    await results.write(claims[0], [first])
    await results.write(claims[0], [second])
    assert await sums(database) == times(2)
    await results.write(claims[0], [replace(first, reused=True)])
    await results.write(claims[0], [replace(second, reused=True)])
    assert await sums(database) == times(2)
    assert {row.model_id for row in await metered(database)} == {
        "gemini-3-flash-preview",
        "gemini-3.1-flash-lite",
    }


async def test_clips_with_the_same_audio_share_one_paid_answer(
    database: Database, claims: list[ClaimedVideo]
) -> None:
    """In one statement and in several, in one video and in two."""
    results = Results(database)
    first = asked(0)
    twin = replace(first, clip=replace(asked(1).clip, audio_digest=first.clip.audio_digest), reused=True)
    await results.write(claims[0], [first, twin])
    assert await sums(database) == times(1)
    later = replace(twin, clip=replace(asked(2).clip, audio_digest=first.clip.audio_digest))
    await results.write(claims[0], [later])
    await results.write(claims[1], [replace(first, video_id="u", reused=True)])
    assert await sums(database) == times(1)


async def test_a_saved_answer_whose_row_was_never_written_counts_when_it_is(
    database: Database, claims: list[ClaimedVideo]
) -> None:
    """After kill -9 it comes from the store, as one used again; its worker has told nobody."""
    await Results(database).write(claims[0], [replace(asked(0), reused=True)])
    assert await sums(database) == times(1)


async def test_silence_failures_and_clips_asked_more_than_once_do_not_count(
    database: Database, claims: list[ClaimedVideo]
) -> None:
    """Several requests' tokens stand in one row: they are not those of its text."""
    silent = replace(result(0, ClipStatus.NO_SPEECH), answer=replace(ANSWER, transcription="NO_SPEECH"))
    twice, unmetered = asked(2, attempts=2), replace(asked(3), usage=Usage())
    written = replace(asked(4), text_source=TextSource.PERSON)
    unasked = asked(5, attempts=0)
    failed = result(6, ClipStatus.FAILED)
    await Results(database).write(claims[0], [silent, twice, unmetered, written, unasked, failed])
    assert await metered(database) == []
    await Results(database).write(claims[0], [asked(6, batch="b2")])
    assert await sums(database) == times(1)


async def test_a_removed_clip_stays_paid_for(database: Database, claims: list[ClaimedVideo]) -> None:
    results = Results(database)
    await results.write(claims[0], [asked(0)])
    await results.remove(claims[0], [asked(0).segment_file])
    assert await sums(database) == times(1)


async def test_made_up_answers_stand_apart(database: Database, claims: list[ClaimedVideo]) -> None:
    await Results(database).write(claims[0], [asked(0), asked(1, model_version="simulated-1")])
    assert {row.made_up: row.answers for row in await metered(database)} == {False: 1, True: 1}


async def test_without_the_index_on_audio_nothing_is_scanned(
    database: Database, claims: list[ClaimedVideo], database_url: str
) -> None:
    """It is made beside the work; until then a twin may count twice, and no statement reads the table."""
    change(database_url, "drop index transcription_results_audio")
    results = Results(database)
    await results.write(claims[0], [asked(0)])
    await results.write(claims[1], [replace(asked(0), video_id="u", reused=True)])
    await results.write(claims[0], [asked(0)])
    assert await sums(database) == times(2)


async def test_answers_from_before_are_counted_once(
    database: Database, claims: list[ClaimedVideo], database_url: str
) -> None:
    """A database with results, in which the counting begins."""
    results = Results(database)
    first = asked(0)
    await results.write(claims[0], [first, asked(1)])
    await results.write(claims[1], [replace(first, video_id="u", reused=True)])
    (made,) = [file.sql for file in migrations() if file.name == "token_counts"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop trigger tokens_insert on transcription_results")
        connection.execute("drop trigger tokens_update on transcription_results")
        connection.execute("update token_counts set answers = 77")
        connection.execute(made)
        connection.execute(made)
    assert await sums(database) == times(2)
    await results.write(claims[0], [asked(2)])
    assert await sums(database) == times(3)


async def test_status_and_board_show_them(
    database: Database, claims: list[ClaimedVideo], database_url: str
) -> None:
    """The commonest way on a line for people, each with its ratio and means for machines, a table on the board."""
    lean = asked(2, batch="b2", thinking_level="minimal", schema_version="2")
    await Results(database).write(
        claims[0], [asked(0, schema_version="1"), asked(1, schema_version="1"), lean]
    )
    await Results(database).write_batch(report())
    told = await read_status(database)
    screen = Console(width=200, file=io.StringIO(), record=True)
    screen.print(render_status(told))
    ratio = 70 / len(ANSWER.transcription)
    assert (
        f"Answers as metered: hi {ratio:.2f} tokens a character (gemini-3-flash-preview, full answers);"
        " 20 thought tokens a clip at low" in screen.export_text()
    )
    full, other = json.loads(orjson.dumps(status_document(told)))["metered"]
    assert (full["answer"], other["answer"]) == ("full", "lean")
    assert full["tokens_per_character"] == pytest.approx(ratio, abs=1e-4)
    assert full["mean"] == {"characters": 13, "answer": 70, "thoughts": 20, "prompt": 700, "audio": 260}
    async with a_visitor(database_url) as visitor:
        page = (await visitor.get("/spend")).plain
    assert "Tokens a character" in page
    assert f"{ratio:.2f}" in page

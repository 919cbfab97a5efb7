"""People's edits in the database: what they decide, who comes second, and that nothing overwrites them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from edits_kit import FILE, OTHER_TEXT, answered, failed, judged, miscounted, row, wrote
from fleet_kit import until
from lipika.db import Database, Results
from lipika.db.edits import EditTable
from lipika.errors import UsageError
from lipika.models import ClaimedVideo
from lipika.people.edits import Conflict, Edits, Saved
from lipika.people.rules import accept, call_unusable, edit_text
from result_kit import sums_from_scratch, sums_of_rollup, table
from stored_kit import made
from verdict_kit import HINDI

WRONG_SCRIPT = "আজ আবহাওয়া খুব ভালো এবং আমরা বাইরে যাব।"


@pytest.fixture
def edits(database: Database) -> Edits:
    return Edits(database)


def answers(url: str) -> dict[str, str]:
    """Texts that are filed as paid answers, by model."""
    found = table(url, "select model_id, answer ->> 'transcription' as text from transcription_answers")
    return {str(one["model_id"]): str(one["text"]) for one in found}


def check_counters(url: str) -> None:
    assert miscounted(url) == {}
    assert sums_of_rollup(url) == sums_from_scratch(url)


# ----------------------------------------------------------------------------- what an edit decides


async def test_a_text_stands_in_the_row_and_the_models_beside_it(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, made(0))
    before = await edits.clip("v", FILE)
    saved = await edits.save_edit(
        "v", FILE, before.version, edit_text("आज मौसम [Laughter] अच्छा है।", note="heard twice"), "Asha"
    )
    assert isinstance(saved, Saved)
    assert saved.lanes == ("asr", "tts_expressive")
    found = row(database_url)
    assert (found["transcription"], found["tagged"]) == ("आज मौसम अच्छा है।", "आज मौसम [laugh] अच्छा है।")
    assert (found["text_source"], found["model_id"], found["status"]) == ("person", "m", "transcribed")
    now = await edits.clip("v", FILE)
    assert (now.model_transcription, now.version, now.edited_by) == (HINDI, saved.version, "Asha")
    (past,) = await edits.history("v", FILE)
    assert (past.kind, past.edited_by, past.note, past.model_text) == ("text", "Asha", "heard twice", HINDI)
    assert table(database_url, "select tier from transcription_voters") == [{"tier": "gold"}]
    assert answers(database_url) == {"m": HINDI}
    check_counters(database_url)


async def test_findings_on_a_persons_text_are_shown_and_close_no_lane(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, judged(made(0, text=WRONG_SCRIPT)))
    assert table(database_url, "select distinct resolved from transcription_flags") == [{"resolved": False}]
    saved = await edits.save_edit("v", FILE, None, edit_text(WRONG_SCRIPT + " हाँ"), "Asha")
    assert isinstance(saved, Saved)
    assert "wrong_script" in {one.code for one in saved.findings}
    assert "asr" in saved.lanes
    assert row(database_url)["quality_score"] > 0.8
    open_flags = table(database_url, "select flag_type from transcription_flags where not resolved")
    assert open_flags == []
    closed = table(database_url, "select distinct resolved_by from transcription_flags")
    assert closed == [{"resolved_by": "Asha"}]
    check_counters(database_url)


async def test_the_edge_of_a_clip_still_counts(database: Database, edits: Edits) -> None:
    cut = made(0)
    await wrote(database, judged(replace(cut, clip=replace(cut.clip, flags=("forced_cut",)))))
    saved = await edits.save_edit("v", FILE, None, accept(), "Asha")
    assert isinstance(saved, Saved)
    assert saved.lanes == ("asr",)


async def test_unusable_closes_every_lane_with_its_reason(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, made(0))
    await edits.save_edit("v", FILE, None, call_unusable("two people at once"), "Asha")
    found = row(database_url)
    assert not (found["asr_eligible"])
    assert not (found["tts_clean_eligible"])
    assert not (found["tts_expressive_eligible"])
    assert found["quality_score"] == 0
    assert found["transcription"] == HINDI
    assert ("unusable", "two people at once") in [(f["code"], f["evidence"]) for f in found["findings"]]
    saved = await edits.save_edit("v", FILE, None, edit_text(HINDI), "Ravi")
    assert isinstance(saved, Saved)
    assert "asr" in saved.lanes
    check_counters(database_url)


async def test_a_failed_clip_gets_a_persons_text_or_their_reason(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, failed(0), failed(1))
    with pytest.raises(UsageError, match="no text that could be accepted"):
        await edits.save_edit("v", FILE, None, accept(), "Asha")
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    found = row(database_url)
    assert (found["status"], found["failure_kind"], found["detected_language"]) == ("transcribed", None, "hi")
    other = "speaker0_01000_01500.flac"
    await edits.save_edit("v", other, None, call_unusable("music only"), "Asha")
    assert row(database_url, other)["status"] == "failed"
    assert row(database_url, other)["findings"][0]["evidence"] == "music only"
    check_counters(database_url)
    stored = {one.segment_file: one async for one in Results(database).stored_answers("v")}
    assert stored[FILE].status == "failed"
    assert stored[FILE].answer is None
    await edits.undo("v", FILE, "Asha")
    assert row(database_url)["status"] == "failed"
    assert row(database_url)["failure_kind"] == "blocked"
    of_clip = table(database_url, "select segment_file, resolved from transcription_flags where not resolved")
    assert of_clip == [{"segment_file": FILE, "resolved": False}]
    check_counters(database_url)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: edit_text("  \n "), "there is no text"),
        (lambda: edit_text("क" * 9_000), "longer than any clip"),
        (lambda: edit_text("आज", language="xx"), "not one of"),
        (lambda: call_unusable(" "), "say why"),
    ],
)
def test_what_is_no_edit_is_refused_in_words(make: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make()


async def test_nobody_edits_without_a_name_or_a_clip(database: Database, edits: Edits) -> None:
    await wrote(database, made(0))
    with pytest.raises(UsageError, match="say who you are"):
        await edits.save_edit("v", FILE, None, accept(), "  ")
    with pytest.raises(UsageError, match="there is no clip nowhere"):
        await edits.save_edit("v", "nowhere", None, accept(), "Asha")


# ----------------------------------------------------------------------------- two people, undo


async def test_who_comes_second_is_told_and_kept_in_the_history(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, made(0))
    version = (await edits.clip("v", FILE)).version
    first, second = await asyncio.gather(
        edits.save_edit("v", FILE, version, edit_text("एक मौसम अच्छा है।"), "Asha"),
        edits.save_edit("v", FILE, version, edit_text("दो मौसम अच्छा है।"), "Ravi"),
    )
    lost = first if isinstance(first, Conflict) else second
    assert isinstance(lost, Conflict)
    assert {type(first), type(second)} == {Saved, Conflict}
    winner = "Ravi" if lost is first else "Asha"
    assert f"changed by {winner} at 20" in str(lost)
    history = await edits.history("v", FILE)
    assert [past.refused for past in history] == [False, True]
    assert row(database_url)["transcription"] == history[0].transcription
    again = await edits.save_edit("v", FILE, lost.version, edit_text("तीन मौसम अच्छा है।"), "Ravi")
    assert isinstance(again, Saved)
    check_counters(database_url)


async def test_a_repeat_after_a_lost_reply_is_no_second_edit(database: Database, edits: Edits) -> None:
    await wrote(database, made(0))
    version = (await edits.clip("v", FILE)).version
    given = ("v", FILE, version, edit_text("आज मौसम अच्छा है।"), "Asha")
    once = await edits.save_edit(*given, request="r1")
    twice = await edits.save_edit(*given, request="r1")
    assert isinstance(once, Saved)
    assert isinstance(twice, Saved)
    assert once.edit_id == twice.edit_id
    assert len(await edits.history("v", FILE)) == 1


async def test_undo_brings_back_what_stood_and_redo_what_was_undone(
    database: Database, edits: Edits, database_url: str
) -> None:
    await wrote(database, judged(made(0)))
    model = row(database_url)
    for text in ("एक मौसम अच्छा है।", "दो मौसम अच्छा है।"):
        await edits.save_edit("v", FILE, None, edit_text(text), "Asha")
    await edits.save_edit("v", FILE, None, call_unusable("noise"), "Ravi")
    stood = []
    for _ in range(3):
        await edits.undo("v", FILE, "Ravi")
        stood.append(row(database_url)["transcription"])
        check_counters(database_url)
    assert stood == ["दो मौसम अच्छा है।", "एक मौसम अच्छा है।", HINDI]
    assert row(database_url) == model
    with pytest.raises(UsageError, match="nothing to undo"):
        await edits.undo("v", FILE, "Ravi")
    for _ in range(3):
        await edits.redo("v", FILE, "Ravi")
    assert "unusable" in {found["code"] for found in row(database_url)["findings"]}
    with pytest.raises(UsageError, match="nothing was undone"):
        await edits.redo("v", FILE, "Ravi")
    check_counters(database_url)


# ----------------------------------------------------------------------------- nothing overwrites it

Write = Any


async def write_clips(database: Database, claim: ClaimedVideo, result: Any) -> None:
    await Results(database).write(claim, [result])


async def write_as_yesterday(database: Database, claim: ClaimedVideo, result: Any) -> None:
    """As a worker does that was started before there were sources of texts: `text_source` stays as it was."""
    from lipika.db.payload import to_json
    from lipika.db.result_rows import distinct_flags, result_flags, result_row

    async with database.connection() as connection:
        await connection.execute(
            "select lipika_write_results(%s, %s::uuid, %s::jsonb, %s::jsonb)",
            [
                claim.video_id,
                claim.claim_token,
                to_json([result_row(result)]),
                to_json(distinct_flags(result_flags(result))),
            ],
        )


@pytest.mark.parametrize("write", [write_clips, write_as_yesterday])
@pytest.mark.parametrize("edit", [edit_text(OTHER_TEXT), accept(), call_unusable("noise")])
async def test_no_answer_replaces_a_persons_word(
    database: Database, edits: Edits, database_url: str, write: Write, edit: Any
) -> None:
    claim = await wrote(database, judged(made(0)))
    await edits.save_edit("v", FILE, None, edit, "Asha")
    before = row(database_url)
    newer = judged(answered(0, "नया मौसम उत्तर है।", "b2", model_id="m2", model_version="m2-1"))
    await write(database, claim, newer)
    after = row(database_url)
    for column in ("transcription", "tagged", "text_source", "findings", "lane_reasons", "quality_score"):
        assert after[column] == before[column], column
    assert answers(database_url) == {"m": HINDI, "m2": "नया मौसम उत्तर है।"}
    assert after["model_id"] == "m2"
    assert table(database_url, "select tier from transcription_voters where tier is not null") == (
        [] if edit.kind == "unusable" else [{"tier": "gold"}]
    )
    check_counters(database_url)
    (stored,) = [one async for one in Results(database).stored_answers("v")]
    assert stored.answer is not None
    assert stored.answer.transcription == "नया मौसम उत्तर है।"
    assert stored.text_source == "model"
    await write(database, claim, judged(made(0)))  # the first way again
    assert row(database_url)["transcription"] == before["transcription"]
    await edits.undo("v", FILE, "Asha")
    assert row(database_url)["transcription"] == HINDI
    assert OTHER_TEXT not in answers(database_url).values()
    check_counters(database_url)


async def test_a_worker_that_holds_the_persons_text_files_it_as_nobodys_answer(
    database: Database, edits: Edits, database_url: str
) -> None:
    """One of yesterday took it from the row, and hands it in as what it has paid for."""
    claim = await wrote(database, judged(made(0)))
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    await write_as_yesterday(database, claim, judged(made(0, text=OTHER_TEXT)))
    await write_clips(database, claim, judged(answered(0, HINDI, "b9", model_id="m9")))
    assert OTHER_TEXT not in answers(database_url).values()
    await edits.undo("v", FILE, "Asha")
    assert row(database_url)["transcription"] == HINDI
    check_counters(database_url)


async def test_an_edit_that_comes_amid_a_workers_write_is_counted_off(
    database: Database, database_url: str
) -> None:
    """Both wait for the row, the edit first: the write was begun before the edit was there, and ends after it."""
    claim = await wrote(database, judged(made(0)))
    waiting = (
        "select count(*)::int as n from pg_stat_activity"
        " where wait_event_type = 'Lock' and datname = current_database()"
    )
    async with Database(database_url) as other:
        with psycopg.connect(database_url) as holder:
            holder.execute("select from transcription_results for update")
            edit = Edits(other).save_edit("v", FILE, None, call_unusable("noise"), "Asha")
            editing = asyncio.create_task(edit)
            await until(lambda: table(database_url, waiting) == [{"n": 1}])
            answer = judged(answered(0, OTHER_TEXT, "b2", worker_id="w2"))
            writing = asyncio.create_task(Results(database).write(claim, [answer]))
            await until(lambda: table(database_url, waiting) == [{"n": 2}])
            holder.commit()
        assert isinstance(await editing, Saved)
        await writing
    check_counters(database_url)
    assert row(database_url)["text_source"] == "person"


async def test_a_failure_of_another_run_replaces_it_no_more(
    database: Database, edits: Edits, database_url: str
) -> None:
    claim = await wrote(database, judged(made(0)))
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    again = failed(0)
    await write_clips(database, claim, replace(again, provenance=replace(again.provenance, batch_id="b7")))
    assert row(database_url)["transcription"] == OTHER_TEXT
    assert row(database_url)["failure_kind"] is None
    assert table(database_url, "select flag_type from transcription_flags where not resolved") == []
    check_counters(database_url)


async def test_a_clip_that_comes_back_has_its_word_again_and_one_of_other_audio_has_not(
    database: Database, edits: Edits, database_url: str
) -> None:
    claim = await wrote(database, judged(made(0)))
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    await Results(database).remove(claim, [FILE])
    await write_clips(database, claim, judged(made(0)))
    assert row(database_url)["transcription"] == OTHER_TEXT
    check_counters(database_url)
    other = made(0)
    other = judged(replace(other, clip=replace(other.clip, audio_digest="f" * 64)))
    await write_as_yesterday(database, claim, other)
    assert (row(database_url)["transcription"], row(database_url)["text_source"]) == (HINDI, "model")
    assert (await edits.clip("v", FILE)).edit_id is None
    await edits.save_edit("v", FILE, None, edit_text("एक मौसम अच्छा है।"), "Ravi")
    await edits.undo("v", FILE, "Ravi")
    assert row(database_url)["transcription"] == HINDI
    check_counters(database_url)


async def test_an_edit_stays_with_its_clip(database: Database, edits: Edits, database_url: str) -> None:
    twin = replace(made(1), clip=replace(made(1).clip, audio_digest=made(0).clip.audio_digest))
    await wrote(database, judged(made(0)), judged(twin))
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    (other,) = await EditTable(database).twins("v", FILE)
    assert (other.segment_file, other.transcription) == (twin.segment_file, HINDI)
    texts = {one.answer.transcription async for one in Results(database).stored_answers("v") if one.answer}
    assert texts == {HINDI}


def test_history_cannot_be_reached_with_public_keys(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "select relname, relrowsecurity from pg_class where relname in ('transcription_edits', 'edited_clips')"
            " order by 1"
        ).fetchall()
    assert found == [("edited_clips", True), ("transcription_edits", True)]

"""What somebody no longer agrees to is gone from everywhere, and does not come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from edits_kit import miscounted
from erasure_kit import (
    GONE,
    GONE_TEXT,
    OPTIONS,
    SPEAKER,
    STAYS,
    STAYS_TEXT,
    VIDEO,
    WHOLE,
    done_video,
    eraser,
    in_files,
    in_tables,
    put_everywhere,
    put_rows,
    spoken,
)
from lipika.config import load_settings
from lipika.db import Database, Queue, Results
from lipika.db.erasure_places import PLACES, How
from lipika.db.erasures import ErasureWork, WantedName
from lipika.db.tables import TableSource, add_table
from lipika.erasure import course
from lipika.errors import UsageError
from lipika.jobs.enqueue import enqueue
from lipika.jobs.erase import PlacesOfSettings
from lipika.models import NewVideo
from result_kit import sums_from_scratch, sums_of_rollup, table
from stored_kit import documents, members, metadata


@pytest.fixture
async def store(database: Database, database_url: str, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    await done_video(database, folder)
    put_everywhere(database_url, folder)
    return folder


async def test_a_speaker_is_gone_from_every_table_and_object_and_the_other_stays(
    database: Database, database_url: str, store: Path
) -> None:
    work = eraser(database, database_url, store)
    before = in_tables(database_url, GONE, GONE_TEXT)
    looked = await work.look(SPEAKER, OPTIONS)
    assert in_tables(database_url, GONE, GONE_TEXT) == before
    assert table(database_url, "select * from erased_names") == []
    done = await work.erase(SPEAKER, "Mira", OPTIONS)
    assert in_tables(database_url, GONE, GONE_TEXT) == {}
    assert in_files(store, GONE, GONE_TEXT) == []
    removed = {place: one["found"] for place, one in done.certificate["removed"].items()}
    assert removed == dict(looked.found)
    assert removed["transcription_results"] == 3
    assert removed["results"] == 1
    assert {place for place, one in done.certificate["removed"].items() if one["left"]} == set()
    assert len(in_tables(database_url, STAYS_TEXT)["transcription_results"]) == 2
    assert {
        "transcription_answers",
        "edited_clips",
        "audit_clips",
        "audit_judgements",
        "canary_clips",
    } <= set(in_tables(database_url, STAYS_TEXT))
    assert miscounted(database_url) == {}
    assert sums_of_rollup(database_url) == sums_from_scratch(database_url)
    assert (
        len(table(database_url, "select from notices where message in ('all is done', 'vid-é1 is parked')"))
        == 2
    )
    tar = store / f"{VIDEO}_transcribed.tar"
    assert {one["speaker"]["id"] for one in documents(tar)} == {STAYS}
    told = metadata(tar)
    assert b'"big": 12345678901234567890123' in members(tar)["metadata.json"]
    assert told["speakers"] == [{"id": STAYS}]
    assert told["transcription"]["accounting"] == {
        "segments": 6, "segments_polished": 2, "segments_discarded": 4, "parts_discarded": 0, "clips": 2,
        "transcribed": 2, "no_speech": 0, "failed": 0, "discard_reasons": {"erased": 3, "too_short": 1},
    }  # fmt: skip
    (row,) = table(database_url, "select * from video_queue")
    assert (row["clip_count"], row["segments_transcribed"], row["segments_discarded"]) == (2, 2, 4)
    assert (row["status"], row["held"], row["output_bytes"]) == ("done", False, tar.stat().st_size)
    again = await work.erase(SPEAKER, "Mira", OPTIONS)
    assert again.certificate["removed"] == {}


async def test_a_whole_video_is_gone_with_its_name(
    database: Database, database_url: str, store: Path
) -> None:
    other = await done_video(database, store, "another")
    done = await eraser(database, database_url, store).erase(WHOLE, "Mira", OPTIONS)
    assert in_tables(database_url, VIDEO) == {}
    assert in_files(store, VIDEO) == []
    assert done.certificate["equal_audio"] == 5
    assert documents(other) == []
    assert table(database_url, "select video_id from video_queue") == [{"video_id": "another"}]
    assert table(database_url, "select count(*)::int as n from transcription_results") == [{"n": 0}]
    # An order that is about this video ends; one whose note only names it goes on with what it has of others.
    assert table(
        database_url, "select query, state, note, ended_at is null as on from redos order by id"
    ) == [
        {"query": "(erased)", "state": "dropped", "note": "", "on": False},
        {"query": "language=hi", "state": "queued", "note": "", "on": True},
    ]
    assert miscounted(database_url) == {}


# ----------------------------------------------------------------------------- stopped, and done again


class _Killed(BaseException):
    """The process is gone: nothing behind this runs."""


@pytest.mark.parametrize("names", [SPEAKER, WHOLE], ids=["speaker", "video"])
async def test_killed_before_any_step_it_goes_on_when_it_is_run_again(
    database: Database,
    database_url: str,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[WantedName],
) -> None:
    steps = 0
    killed_at = 1

    def may_be_killed(owner: object, name: str) -> None:
        does = getattr(owner, name)

        async def step(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == killed_at:
                raise _Killed
            return await does(*given, **named)

        monkeypatch.setattr(owner, name, step)

    for name in ("keep_scope", "erase", "recount", "finish", "remake"):
        may_be_killed(ErasureWork, name)
    may_be_killed(course, "erase_objects")
    may_be_killed(PlacesOfSettings, "remove_below")
    before = await eraser(database, database_url, store).look(names, OPTIONS)
    while True:
        steps = 0
        try:
            done = await eraser(database, database_url, store).erase(names, "Mira", OPTIONS)
        except _Killed:
            killed_at += 6
            continue
        break
    assert killed_at > 30
    assert {place: one["found"] for place, one in done.certificate["removed"].items()} == dict(before.found)
    assert [one["state"] for one in table(database_url, "select state from erasures")] == ["done"]
    needles = (GONE, GONE_TEXT) if names is SPEAKER else (VIDEO, GONE_TEXT, STAYS_TEXT)
    assert in_tables(database_url, *needles) == {}
    assert in_files(store, *needles) == []
    assert miscounted(database_url) == {}
    assert sums_of_rollup(database_url) == sums_from_scratch(database_url)


# ----------------------------------------------------------------------------- nothing comes back


async def test_late_writes_bring_nothing_back(database: Database, database_url: str, store: Path) -> None:
    await eraser(database, database_url, store).erase(WHOLE, "Mira", OPTIONS)
    left = in_tables(database_url, VIDEO, GONE_TEXT, STAYS_TEXT)
    assert left == {}
    other = [spoken(GONE, 0, GONE_TEXT, "other"), spoken("mine", 50, "मेरी अपनी बात है यहाँ।", "other")]
    await Queue(database).add([NewVideo("other", "o.tar", "o_transcribed.tar", "hi")])
    (claim,) = await Queue(database).claim("w1", 600, 1)
    await Results(database).write(claim, other)
    put_rows(
        database_url,
        """
        insert into transcription_answers (audio_digest, way_digest, provider, model_id, model_version, temperature,
          thinking_level, prompt_version, schema_version, answer, usage, cost_usd)
        values (%(digest)s, 'late', 'a', 'm', 'm', 0, 'low', 'p', 's', jsonb_build_object('transcription',
          %(text)s::text), '{}', 0);
        insert into worker_errors (worker_id, video_id, exception_type, message, traceback) values
          ('w1', %(v)s, 'E', 'm', 't'), ('w1', null, 'E', %(v)s || ': broken', 't'),
          ('w1', 'other', 'E', 'stays', '/x/' || %(v)s || '_transcribed.tar');
        insert into canary_clips (run_id, arm, video_id, segment_file, language, status, requests, cost_usd,
          transcription, details) values ('c1', 'late', %(v)s, 'x', 'hi', 'transcribed', 1, 0, %(text)s, '{}');
        update workers set current_video_id = %(v)s, last_error = 'of ' || %(v)s || ': broken';
        insert into video_queue (video_id, source_key, output_key) values (%(v)s, 'a', 'b')
        """,
        v=VIDEO,
        text=GONE_TEXT,
        digest=other[0].clip.audio_digest,
    )
    assert in_tables(database_url, VIDEO, GONE_TEXT) == {}
    assert table(database_url, "select segment_file from transcription_results") == [
        {"segment_file": other[1].segment_file}
    ]
    assert sums_of_rollup(database_url) == sums_from_scratch(database_url)
    assert miscounted(database_url) == {}
    added = await Queue(database).add([NewVideo(VIDEO, "a.tar", "b_transcribed.tar")])
    assert added.added == 0
    assert "erased because somebody wanted it (lipika erase show 1)" in str(added.clashes[0])
    assert "of this run" in str(await _refused(database, database_url))
    put_rows(database_url, "create table mine (video_id text, language text)")
    put_rows(database_url, "insert into mine values (%(v)s, 'hi'), ('n', 'hi')", v=VIDEO)
    report = await add_table(database, TableSource("mine"))
    assert (report.added, report.refused) == (1, [VIDEO])


async def _refused(database: Database, url: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        await enqueue(
            load_settings(database_url=url), database, [NewVideo(VIDEO, "a.tar", "b.tar")], True, again=False
        )
    return refused.value


# ----------------------------------------------------------------------------- every table is known


def test_every_table_says_what_an_erasure_does_with_it(database_url: str) -> None:
    """A new table? Say in `lipika.db.erasure_places.PLACES` what an erasure does with its rows."""
    known = {place.table: place for place in PLACES}
    found = table(
        database_url,
        "select c.relname as name, array_agg(a.attname::text) as columns from pg_class c join pg_attribute a"
        " on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace group by 1",
    )
    assert {row["name"] for row in found} == set(known)
    personal = {
        *("video_id", "video_ids", "segment_file", "source_segment", "speaker_id", "audio_digest"),
        *("transcription", "text", "message", "traceback", "answer", "report", "first_text"),
    }
    for row in found:
        place, columns = known[str(row["name"])], set(cast("list[str]", row["columns"]))
        if place.how is How.NOBODY or place.how is How.WITH:
            assert not columns & personal, row["name"]
        if place.how is How.CLIPS:
            assert {"video_id", "segment_file"} <= columns, row["name"]
        assert not place.has_audio or "audio_digest" in columns

"""Result archives that take over what people have said."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from edits_kit import FILE, OTHER_TEXT, failed, judged, miscounted
from lipika.archive.documents import clip_result_from_json
from lipika.archive.rewrite import read_contents
from lipika.db import Database, Queue, Results
from lipika.jobs.vote import VoteOrder, vote_on_stored
from lipika.models import Accounting, NewVideo, TextSource
from lipika.people.edits import Edits
from lipika.people.rules import call_unusable, edit_text
from lipika.pipeline.saved_answers import as_stored_answer
from lipika.rework.repack import Repacked, RepackPlan, repack
from lipika.rework.revalidate import RejudgePlan, revalidate_rows
from lipika.storage import StoreSettings
from lipika.validation.bands import Bands, RateBand
from result_kit import sums_from_scratch, sums_of_rollup, table
from stored_kit import documents, made, members, metadata, write_archive
from verdict_kit import HINDI


@pytest.fixture
async def tar(database: Database, tmp_path: Path) -> Path:
    """A video that is done, with three clips, the last of which failed."""
    results = [judged(made(0)), judged(made(1)), failed(2)]
    path = write_archive(tmp_path / "v_transcribed.tar", results)
    await Queue(database).add([NewVideo("v", "v.tar", str(path), "hi")])
    (claim,) = await Queue(database).claim("w1", 600, 1)
    await Results(database).write(claim, results)
    accounting = Accounting(3, 3, 0, 0, 3, 2, 0, 1)
    await Queue(database).finish(
        claim, accounting=accounting, output_bytes=path.stat().st_size, output_digest="old"
    )
    return path


async def repacked(database: Database, *, dry_run: bool = False) -> list[Repacked]:
    plan = RepackPlan(StoreSettings(), dry_run=dry_run)
    return [one async for one in repack(database, plan)]


async def test_only_what_people_changed_is_rewritten_and_comes_back_with_an_undo(
    database: Database, database_url: str, tar: Path
) -> None:
    before = members(tar)
    assert await repacked(database) == []
    edits = Edits(database)
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    (told,) = await repacked(database, dry_run=True)
    assert told.clips == (FILE,)
    assert members(tar) == before
    (done,) = await repacked(database)
    assert (done.clips, done.problem) == ((FILE,), "")
    after = members(tar)
    changed = [name for name in before if before[name] != after[name]]
    assert sorted(changed) == ["metadata.json", f"transcriptions/{FILE.removesuffix('.flac')}.json"]
    result = clip_result_from_json(after[changed[-1] if "json" in changed[-1] else changed[0]])
    assert result.answer is not None
    assert result.answer.transcription == OTHER_TEXT
    assert result.text_source is TextSource.PERSON
    assert result.model_answer is not None
    assert b"Asha" not in b"".join(after.values())
    assert metadata(tar)["transcription"]["tiers"] == {"gold": 1}
    stored = as_stored_answer(result)
    assert stored.answer is not None
    assert stored.answer.transcription == HINDI
    queue = table(database_url, "select output_bytes, output_digest from video_queue")
    assert queue == [{"output_bytes": done.size, "output_digest": done.sha256}]
    assert await repacked(database) == []
    await edits.undo("v", FILE, "Asha")
    (undone,) = await repacked(database)
    assert undone.clips == (FILE,)
    assert members(tar) == before


async def test_a_failed_clip_with_a_text_is_one_that_is_transcribed(
    database: Database, database_url: str, tar: Path
) -> None:
    name = "speaker0_02000_02500.flac"
    await Edits(database).save_edit("v", name, None, edit_text(OTHER_TEXT), "Asha")
    await Edits(database).save_edit("v", FILE, None, call_unusable("noise"), "Asha")
    (done,) = await repacked(database)
    assert done.clips == (FILE, name)
    first, _, last = documents(tar)
    assert (last["status"], last["failure"], last["transcription"]) == ("transcribed", None, OTHER_TEXT)
    assert first["lanes"]["asr"] == {"eligible": False, "reasons": ["unusable"]}
    assert metadata(tar)["transcription"]["statuses"] == {"transcribed": 3}
    assert await repacked(database) == []


async def test_killed_before_it_is_on_record_it_is_put_there_next_time(
    database: Database, database_url: str, tar: Path
) -> None:
    await Edits(database).save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    (done,) = await repacked(database)
    with psycopg.connect(database_url) as connection:  # as if the statement had never been run
        connection.execute("update video_queue set output_digest = 'old', output_bytes = 1")
        connection.execute("update edited_clips set packed_in = null")
    (again,) = await repacked(database)
    assert again.clips == ()
    assert again.sha256 == done.sha256
    assert table(database_url, "select output_digest from video_queue") == [{"output_digest": done.sha256}]


async def test_an_edit_made_meanwhile_is_for_the_next_time(
    database: Database, database_url: str, tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = Edits(database)
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    loop = asyncio.get_running_loop()

    def slow(*given: object) -> object:
        asyncio.run_coroutine_threadsafe(
            edits.save_edit("v", FILE, None, edit_text("दूसरा मौसम अच्छा है।"), "Ravi"), loop
        ).result()
        return read_contents(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("lipika.rework.repack.read_contents", slow)
    await repacked(database)
    monkeypatch.undo()
    (done,) = await repacked(database)
    assert done.clips == (FILE,)
    assert documents(tar)[0]["transcription"] == "दूसरा मौसम अच्छा है।"


async def test_an_archive_that_is_gone_costs_itself_alone(database: Database, tar: Path) -> None:
    await Edits(database).save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    tar.rename(tar.with_suffix(".gone"))  # noqa: ASYNC240 - a test's own file
    (told,) = await repacked(database)
    assert told.clips == ()
    assert "v_transcribed.tar" in told.problem


KILLED = """
import asyncio, os, signal, sys
from types import SimpleNamespace
from lipika.db import Database
from lipika.rework import repack as room
from lipika.storage import StoreSettings

def die(*_given):
    os.kill(os.getpid(), signal.SIGKILL)

def compose(*given):
    tar = whole(*given)
    def some():
        yield next(iter(tar.chunks()))[:1000]
        die()
    return SimpleNamespace(size=tar.size, chunks=some)

url, where = sys.argv[1:]
whole = room.compose_again
if where == "amid the tar":
    room.compose_again = compose
else:
    room.EditTable.note_packed = die

async def main():
    async with Database(url) as database:
        async for _ in room.repack(database, room.RepackPlan(StoreSettings())):
            pass

asyncio.run(main())
"""


@pytest.mark.parametrize("where", ["amid the tar", "between tar and row"])
async def test_killed_half_way_it_ends_the_same_when_it_is_called_again(
    database: Database, database_url: str, tar: Path, where: str
) -> None:
    await Edits(database).save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    before = members(tar)
    command = [sys.executable, "-c", KILLED, database_url, where]
    died = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    assert died.returncode == -signal.SIGKILL
    assert (members(tar) == before) == (where == "amid the tar")  # the old one whole, or the new one
    (done,) = await repacked(database)
    assert done.problem == ""
    assert documents(tar)[0]["transcription"] == OTHER_TEXT
    content = await asyncio.to_thread(tar.read_bytes)
    (queue,) = table(database_url, "select output_bytes, output_digest from video_queue")
    assert queue == {"output_bytes": len(content), "output_digest": hashlib.sha256(content).hexdigest()}
    assert await repacked(database) == []


async def test_judging_and_voting_again_leave_a_persons_word(
    database: Database, database_url: str, tar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rows, as `revalidate --rows` and `vote --rows` write them, with limits other than those of before."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    edits, last = Edits(database), "speaker0_01000_01500.flac"
    await edits.save_edit("v", FILE, None, edit_text(OTHER_TEXT), "Asha")
    await edits.save_edit("v", last, None, call_unusable("noise"), "Asha")
    said = (
        "select segment_file, transcription, tagged, text_source, asr_eligible, tts_clean_eligible, quality_score"
        " from transcription_results where text_source = 'person' order by 1"
    )
    tiers = "select segment_file, tier from transcription_voters where tier is not null order by 1"
    before = table(database_url, said), table(database_url, tiers)
    assert [row["segment_file"] for row in before[0]] == [FILE, last]
    narrow = Bands({"hi": RateBand(syllables_high_warn=1.0, syllables_high_fail=1.2)}, version="narrow")
    plan = RejudgePlan(narrow, StoreSettings(), database_url=database_url)
    reports = [one async for one in revalidate_rows(plan, database, 1)]
    assert sum(one.clips for one in reports) > 0
    assert not any(one.problems for one in reports)
    assert (table(database_url, said), table(database_url, tiers)) == before
    voices = tmp_path / "heard"
    (voices / "v").mkdir(parents=True)
    (voices / "v" / f"{FILE.removesuffix('.flac')}.txt").write_text("कुछ और ही कहा गया")
    done = await vote_on_stored(VoteOrder([str(tar)], [voices], rows=True, data_dir=None))
    assert done.problems == []
    assert (table(database_url, said), table(database_url, tiers)) == before
    assert miscounted(database_url) == {}
    assert sums_of_rollup(database_url) == sums_from_scratch(database_url)

"""`lipika align`: it gives what the stage in the batch cycle gives, goes on where it was, changes nothing twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_kit import opened
from benchmarks import standin
from fleet_kit import a_stage, change, results_of, rows
from lipika.archive.results import ResultArchive
from lipika.db import Database
from lipika.jobs.align import AlignOrder, align_stored
from lipika.people.edits import Edits
from lipika.people.rules import edit_text
from lipika.rework import listeners
from lipika.rework.realign import PartAlignments
from stored_kit import documents, members, metadata, rewrite

ROWS = (
    "select video_id, segment_file, alignment_score, alignment, findings, quality_score, score_parts, asr_eligible,"
    " tts_clean_eligible, lane_reasons from transcription_results order by 1, 2"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.write_whistle_bundle(tmp_path_factory.mktemp("bundle"))


def align(bundle: Path, database_url: str, *arguments: str, fails: bool = False) -> dict[str, Any]:
    """Run the command in a process of its own, as Ray wants it."""
    done = subprocess.run(
        [sys.executable, "-m", "lipika", "align", *arguments, "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(bundle)} | environment(bundle, database_url),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode != 0) is fails, done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


async def align_here(
    bundle: Path, database_url: str, source: Path, patch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The same with one listener, in this process."""
    for name, value in environment(bundle, database_url).items():
        patch.setenv(name, value)
    done = await align_stored(AlignOrder([str(source)], rows=True, actors=None, data_dir=None))
    return done.document()


def environment(bundle: Path, database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "INDICCONFORMER_PATH": str(bundle), "ALIGN_DEVICE": "cpu"}


def forget(database_url: str, archives: list[Path]) -> None:
    """As if nobody had listened: take alignments and their findings out of rows and archives."""
    change(database_url, "update transcription_results set alignment = null, alignment_score = null")

    def without(held: dict[str, bytes]) -> None:
        for name, data in list(held.items()):
            if name.startswith("transcriptions/"):
                document = json.loads(data)
                document["alignment"] = document["alignment_score"] = None
                held[name] = json.dumps(document).encode()
        document = json.loads(held["metadata.json"])
        document["transcription"]["versions"]["aligner"] = {}
        held["metadata.json"] = json.dumps(document).encode()

    for archive in archives:
        rewrite(archive, without)
        size, key = archive.stat().st_size, f"%{archive.name}"
        change(database_url, "update video_queue set output_bytes = %s where output_key like %s", size, key)


@pytest.mark.timeout(300)  # Ray starts a dozen processes
async def test_two_actors_on_ray_give_the_rows_of_the_stage(
    bundle: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(2, 4)  # as many as wait before the speed is known
        changes: dict[str, Any] = {
            "enable_gpu_validation": True,
            "indicconformer_path": bundle,
            "align_seconds": 60.0,
            "align_device": "cpu",
        }
        async with stage.worker(**changes) as running:
            assert running.worker.aligner is not None
            await opened(running.worker.aligner)
            await running.worker.run(until_empty=True)
        inline = rows(database_url, ROWS)
        archives = sorted(stage.out.rglob("*.tar"))
    answered = [row for row in inline if row[3] is not None]
    assert len(answered) == len(inline) == 8
    before = {archive: members(archive) for archive in archives}
    forget(database_url, archives)

    first = await align_here(bundle, database_url, archives[0], monkeypatch)
    assert (first["archives"], first["written"], first["problems"]) == (1, 1, [])
    done = align(bundle, database_url, str(stage.out), "--rows", "--actors", "2", "--cpus-each", "0.5")
    assert (done["archives"], done["current"], done["written"], done["problems"]) == (2, 1, 1, [])
    assert first["clips"] + done["clips"] == len(answered)
    assert rows(database_url, ROWS) == inline
    for archive in archives:
        now = members(archive)
        assert set(now) == set(before[archive])
        for name, data in now.items():
            if name.startswith("segments/"):
                assert data == before[archive][name]
            elif name.startswith("transcriptions/"):
                assert json.loads(data) == json.loads(before[archive][name])
        assert metadata(archive)["transcription"]["versions"]["aligner"] == {
            done["version"]: sum(result.answer is not None for result in results_of(archive))
        }

    once_more = {archive: archive.read_bytes() for archive in archives}
    again = await align_here(bundle, database_url, stage.out, monkeypatch)
    assert (again["current"], again["written"], again["rows"]) == (2, 0, 0)
    assert {archive: archive.read_bytes() for archive in archives} == once_more

    change(
        database_url, "update transcription_results set alignment = null"
    )  # stopped between archive and rows
    caught_up = await align_here(bundle, database_url, stage.out, monkeypatch)
    assert (caught_up["current"], caught_up["rows"]) == (2, len(answered))
    assert rows(database_url, ROWS) == inline
    assert documents(archives[0])


@pytest.fixture
async def unheard(database_url: str, tmp_path: Path) -> Path:
    """One finished video that nobody has listened to: its archive."""
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 3)
        await stage.work()
        (archive,) = stage.out.rglob("*.tar")
        return archive


def recorded(database_url: str) -> tuple[int, str]:
    """Size and SHA-256 of the archive, as the queue has them."""
    (found,) = rows(database_url, "select output_bytes, output_digest from video_queue")
    return tuple(found)


def actual(archive: Path) -> tuple[int, str]:
    data = archive.read_bytes()
    return len(data), hashlib.sha256(data).hexdigest()


async def test_a_video_that_a_worker_holds_is_left_to_it(
    bundle: Path, database_url: str, unheard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = actual(unheard)
    change(
        database_url,
        "update video_queue set status = 'processing', claim_token = gen_random_uuid(), claimed_by = 'w',"
        " lease_expires_at = now() + interval '1 hour', completed_at = null",
    )
    done = await align_here(bundle, database_url, unheard, monkeypatch)
    assert (done["written"], done["rows"], done["busy"], done["problems"]) == (0, 0, 1, [])
    assert actual(unheard) == before


async def test_a_persons_word_stands_whatever_is_heard(
    bundle: Path, database_url: str, unheard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "select video_id, segment_file, transcription, tagged, text_source, asr_eligible, tts_clean_eligible,"
        " quality_score from transcription_results where text_source = 'person'"
    )
    clip = next(result for result in results_of(unheard) if result.answer is not None)
    async with Database(database_url) as database:
        edits = Edits(database)
        await edits.save_edit(clip.video_id, clip.segment_file, None, edit_text("और ही कुछ"), "Asha")
        before = rows(database_url, said)
        done = await align_here(bundle, database_url, unheard, monkeypatch)
        assert (done["written"], done["problems"]) == (1, [])
        assert rows(database_url, said) == before
        now = await edits.clip(clip.video_id, clip.segment_file)
    assert (now.edited_by, now.model_transcription) == ("Asha", clip.answer and clip.answer.transcription)


async def test_an_archive_that_was_replaced_meanwhile_is_left_and_named(
    bundle: Path, database_url: str, unheard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = listeners.listen_here

    def listen_while_another_writes(
        archives: Iterable[ResultArchive], *others: Any
    ) -> Iterator[PartAlignments]:
        for heard in listen(archives, *others):
            rewrite(unheard, lambda held: held.update({"metadata.json": held["metadata.json"] + b" " * 600}))
            yield heard

    monkeypatch.setattr("lipika.jobs.align.listen_here", listen_while_another_writes)
    before = recorded(database_url)
    done = await align_here(bundle, database_url, unheard, monkeypatch)
    assert (done["written"], done["rows"]) == (0, 0)
    ((name, problem),) = done["problems"]
    assert name == str(unheard)
    assert "replaced meanwhile" in problem
    assert members(unheard)["metadata.json"].endswith(b" " * 600)
    assert recorded(database_url) == before


@pytest.mark.parametrize("stopped_before", ["the record", "the rows"])
async def test_after_a_stop_the_record_of_an_archive_is_brought_up(
    bundle: Path, database_url: str, unheard: Path, monkeypatch: pytest.MonkeyPatch, stopped_before: str
) -> None:
    await align_here(bundle, database_url, unheard, monkeypatch)
    assert recorded(database_url) == actual(unheard)
    if stopped_before == "the record":
        change(
            database_url, "update video_queue set output_bytes = output_bytes - 512, output_digest = 'old'"
        )
    else:
        change(database_url, "update video_queue set output_digest = 'old, and by chance of the same size'")
        change(database_url, "update transcription_results set alignment = null")
    done = await align_here(bundle, database_url, unheard, monkeypatch)
    assert (done["current"], done["written"]) == (1, 0)
    assert recorded(database_url) == actual(unheard)


async def test_a_copy_does_not_change_the_record(
    bundle: Path, database_url: str, unheard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy" / unheard.name
    copy.parent.mkdir()
    shutil.copy(unheard, copy)
    for _ in range(2):
        await align_here(bundle, database_url, copy, monkeypatch)
        assert recorded(database_url) == actual(unheard) != actual(copy)


def test_a_broken_archive_is_left_and_named(bundle: Path, database_url: str, tmp_path: Path) -> None:
    broken = tmp_path / "v_transcribed.tar"
    broken.write_bytes(b"no tar at all" * 100)
    done = align(bundle, database_url, str(tmp_path), fails=True)
    assert (done["archives"], done["written"]) == (1, 0)
    assert done["problems"][0][0].endswith("v_transcribed.tar")


def test_without_a_bundle_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lipika", "align", str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "INDICCONFORMER_REVISION" in done.stderr
    assert "Traceback" not in done.stderr

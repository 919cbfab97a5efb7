"""`lipika align`: it gives what the stage in the batch cycle gives, goes on where it was, changes nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_kit import a_stage, change, results_of, rows
from lipika import align_jobs
from lipika.alignment import standin
from stored_kit import documents, members, metadata, rewrite
from test_alignment_stage import opened

ROWS = (
    "select video_id, segment_file, alignment_score, alignment, findings, quality_score, score_parts, asr_eligible,"
    " tts_clean_eligible, lane_reasons from transcription_results order by 1, 2"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.write_whistled(tmp_path_factory.mktemp("bundle"))


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
    done = await align_jobs.align(align_jobs.Order([str(source)], rows=True, actors=None, data_dir=None))
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

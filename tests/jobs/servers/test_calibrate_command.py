"""`lipika calibrate`: limits learned from archives and from rows, the file they are kept in, and what it changes."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest
from rich.console import Console

from lipika.db import Database, Queue, Results
from lipika.db.calibrations import Calibrations
from lipika.errors import UsageError
from lipika.fleet.status import StatusReport, read_status, render_status, status_document
from lipika.models import ClipResult, NewVideo
from lipika.rework.calibrate import load_bands, save
from lipika.rework.limits import as_new
from lipika.validation import DEFAULT_BANDS, VALIDATOR_VERSION
from lipika.validation.calibrate import Observation, calibrate, collect
from lipika.validation.checks.rate import Rates
from stored_kit import command, made, told, write_archive

CLIPS = 320


def spoken(video: int, clips: int) -> list[ClipResult]:
    """Clips of one sentence that take 3.5 to 6.5 s, as people speak; a few take far longer."""
    chance = random.Random(video)
    lengths = [int(chance.gauss(5_000, 400)) for _ in range(clips - 4)] + [16_000 + 100 * n for n in range(4)]
    return [made(number, duration_ms=length, video_id=f"v{video}") for number, length in enumerate(lengths)]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lipika.validation.calibrate", "lipika.jobs.judge_again"):
        monkeypatch.setattr(f"{module}.LEAST_CLIPS", 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    for video in range(4):
        write_archive(folder / f"v{video}_transcribed.tar", spoken(video, CLIPS // 4))
    return folder


def test_limits_are_learned_from_archives_and_nothing_is_written_unasked(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    learned = told("calibrate", str(folder), "--jobs", "1")
    (change,) = learned["changes"]
    assert (change["language"], change["clips"], learned["units"]) == ("hi", CLIPS, 4)
    assert change["old"] == orjson.loads(orjson.dumps(DEFAULT_BANDS.by_language["hi"]))
    assert change["new"]["syllables_high_warn"] < change["old"]["syllables_high_warn"]
    assert change["new"]["syllables_low_warn"] > change["old"]["syllables_low_warn"]
    assert 16 <= change["changed"] < CLIPS * 0.08  # the slow ones of all videos, and some at the edges
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_was_foretold_is_what_revalidation_changes(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    (change,) = told("calibrate", str(folder), "--jobs", "1", "--out", str(file))["changes"]
    bands = load_bands(file)
    arguments = ("revalidate", str(folder), "--dry-run", "--jobs", "1", "--calibration", str(file))
    done = told(*arguments)
    assert done["version"] == f"{VALIDATOR_VERSION}+{bands.version}"
    figures = done["archives"]
    assert figures["clips"] == CLIPS
    moved = sum(figures["gained"].values())
    assert moved == pytest.approx(change["changed"], abs=0.02 * CLIPS)
    assert figures["lanes"]["asr"]["closes"] == pytest.approx(
        change["closed_after"] - change["closed_before"], abs=0.01 * CLIPS
    )
    again = told("calibrate", str(folder), "--jobs", "1", "--calibration", str(file))
    assert again["version"] == bands.version, "the same clips teach the same"
    assert again["changes"][0]["changed"] == 0


@pytest.fixture
def rows_url(database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with the rows of the archives, which it names."""

    async def fill() -> None:
        async with Database(database_url) as database:
            queue, results = Queue(database), Results(database)
            await queue.add(
                [NewVideo(f"v{video}", "in", str(folder / f"v{video}_transcribed.tar")) for video in range(4)]
            )
            for claim in await queue.claim("w1", 60, 4):
                video = int(claim.video_id.removeprefix("v"))
                await results.write(claim, spoken(video, CLIPS // 4))

    asyncio.run(fill())
    with psycopg.connect(database_url) as connection:
        connection.execute("update video_queue set status = 'done', segment_count = 0, segments_polished = 0")
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_rows_teach_what_their_archives_do(folder: Path, rows_url: str, jobs: str) -> None:
    from_rows = told("calibrate", "--jobs", jobs)
    from_archives = told("calibrate", str(folder), "--jobs", "1")
    assert from_rows == from_archives


def test_rows_without_a_word_on_their_audio_are_counted(rows_url: str) -> None:
    with psycopg.connect(rows_url) as connection:
        connection.execute("alter table transcription_results add column if not exists audio_facts jsonb")
        connection.execute("update transcription_results set audio_facts = null")
        connection.execute("update video_queue set output_key = '/nowhere/' || video_id || '.tar'")
    learned = told("calibrate", "--jobs", "1")
    assert (learned["without_audio"], learned["changes"], learned["too_few"]) == (CLIPS, [], {})
    assert "name their archives" in command("calibrate", "--jobs", "1").output


def test_languages_can_be_chosen(folder: Path) -> None:
    assert told("calibrate", str(folder), "--jobs", "1", "--language", "Hindi")["changes"]
    tamil = told("calibrate", str(folder), "--jobs", "1", "--language", "ta")
    assert (tamil["changes"], tamil["too_few"]) == ([], {})
    wrong = command("calibrate", str(folder), "--language", "Klingon")
    assert wrong.exit_code == 2
    assert "Klingon" in wrong.output


def test_too_few_clips_teach_nothing_and_no_file_is_written(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    one = str(folder / "v0_transcribed.tar")
    learned = told("calibrate", one, "--jobs", "1", "--out", str(file))
    assert (learned["changes"], learned["too_few"]) == ([], {"hi": CLIPS // 4})
    assert not file.exists()
    said = command("calibrate", one, "--jobs", "1", "--out", str(file)).output
    assert "300 are needed" in said
    assert "calibration.json was not written" in said


def test_the_words_for_people(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    shown = command("calibrate", str(folder), "--jobs", "1", "--out", str(file)).output
    assert re.search(r"hi +now +1\.5 +3\.6 .*11 +13", shown)
    assert "learned from" in shown
    assert f"of {CLIPS:,}" in shown
    assert "CALIBRATION_FILE" in shown
    (tmp_path / "bad_transcribed.tar").write_bytes(b"no tar at all" * 100)
    mixed = command("calibrate", str(folder), str(tmp_path), "--jobs", "1")
    assert mixed.exit_code == 1
    assert "bad_transcribed.tar: this is not a tar archive" in mixed.output


# ----------------------------------------------------------------------------- the file


def test_without_a_file_the_registry_holds() -> None:
    assert load_bands(None) is DEFAULT_BANDS


def test_a_file_gives_its_limits_and_its_version(tmp_path: Path) -> None:
    learned = calibrate(
        collect(Observation("hi", Rates(5 + n % 40 / 20, 11, 6, 11), 0.9) for n in range(2_000))
    )
    file = tmp_path / "calibration.json"
    save(learned, file)
    bands = load_bands(file)
    assert bands.by_language["hi"] == learned.bands["hi"]
    assert bands.by_language["ta"] == DEFAULT_BANDS.by_language["ta"]
    assert bands.version == learned.version
    save(learned, file)
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"{}", b'{"format": "lipika-calibration-0"}'])
def test_a_file_that_will_not_do_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "calibration.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"calibration\.json.*calibrate"):
        load_bands(file)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    learned = calibrate(collect(Observation("hi", Rates(5, 11, 6, 11), 0.9) for _ in range(2_000)))
    with pytest.raises(UsageError, match="nowhere"):
        save(learned, tmp_path / "nowhere" / "calibration.json")


# ----------------------------------------------------------------------------- what a fleet has in common


def test_a_person_puts_limits_in_force_for_the_fleet(
    folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert told("calibrate", "--show") == {
        "version": "registry",
        "row": None,
        "limits": {},
        "unreadable": [],
    }
    assert "the registry's own" in command("calibrate", "--show").stdout
    learned = told("calibrate", str(folder), "--jobs", "1", "--store")
    assert learned["stored"] == learned["version"]
    shown = told("calibrate", "--show")
    assert shown["version"] == learned["version"]
    assert shown["limits"] == {"hi": learned["changes"][0]["new"]}
    assert shown["row"]["clips"] == {"hi": learned["changes"][0]["taught"]}
    said = command("calibrate", "--show").stdout
    assert learned["version"] in said
    again = told("calibrate", str(folder), "--jobs", "1")
    assert (again["before"], again["stored"]) == (learned["version"], "")
    judged = told("revalidate", str(folder), "--dry-run", "--jobs", "1")
    assert judged["version"] == f"{VALIDATOR_VERSION}+{learned['version']}"
    monkeypatch.setenv("CALIBRATE", "off")
    assert told("revalidate", str(folder), "--dry-run", "--jobs", "1")["version"] == VALIDATOR_VERSION


async def test_status_says_which_limits_are_in_force(database_url: str) -> None:
    async with Database(database_url) as database:
        report = await read_status(database)
        assert (report.calibration, status_document(report)["calibration"]) == (None, None)
        assert "Rate limits: the registry's own" in _shown(report)
        learned = calibrate(collect(_seen("hi", 400)))
        await Calibrations(database).put(as_new(learned), "somebody", simulated=False)
        report = await read_status(database)
    assert f"Rate limits: {learned.version}, learned" in _shown(report)
    document = status_document(report)["calibration"]
    assert isinstance(document, dict)
    assert (document["version"], document["made_by"], document["clips"]) == (
        learned.version,
        "somebody",
        {"hi": 400},
    )


def _shown(report: StatusReport) -> str:
    out = Console(width=200)
    with out.capture() as captured:
        out.print(render_status(report))
    return captured.get()


def _seen(language: str, clips: int) -> Iterator[Observation]:
    chance = random.Random(language)
    for _ in range(clips):
        rate = chance.gauss(6, 1)
        yield Observation(language, Rates(rate, rate * 1.5, rate, rate * 1.5), 0.9)

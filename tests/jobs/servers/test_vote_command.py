"""`lipika vote`: archives and rows get voters and tiers, from what is stored and from folders of texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from alignment_kit import HINDI
from lipika.cli import align
from lipika.db import Database, Queue, Results
from lipika.db.stored import Stored
from lipika.models import Agreement, Alignment, ClaimedVideo, ClipResult, NewVideo
from result_kit import table
from stored_kit import _run, documents, made, members, metadata, write_archive

OTHER = "यह किताब मेरी बहन ने पिछले साल दिल्ली में लिखी थी"
HEARD = Alignment(1.0, Agreement.AGREE, "", HINDI, "hi", "hi", "", "2+bundle+builtin")
ASIDE = "select segment_file, tier, voters from transcription_voters order by 1"


@pytest.fixture(autouse=True)
def builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN_ROMANISER", "builtin")


def vote(*arguments: str, fails: bool = False) -> dict[str, Any]:
    app = Typer()
    align.add_to(app, _run)
    done = CliRunner().invoke(app, ["vote", *arguments, "--json"])
    assert (done.exit_code != 0) is fails, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def three(texts: tuple[str, str, str] = (HINDI, HINDI, HINDI)) -> list[ClipResult]:
    return [made(number, text=text) for number, text in enumerate(texts)]


def a_folder(path: Path, results: list[ClipResult], texts: list[str]) -> Path:
    (path / "v").mkdir(parents=True)
    for result, text in zip(results, texts, strict=False):
        (path / "v" / f"{result.clip.name.stem}.txt").write_text(text, "utf-8")
    return path


def test_a_folder_of_texts_weighs_an_archive(tmp_path: Path) -> None:
    results = three()
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    before, held = members(tar), metadata(tar)
    folder = a_folder(tmp_path / "whisper", results, [HINDI, OTHER])  # nothing for the third
    done = vote(str(tar), "--hypotheses", str(folder))
    assert (done["archives"], done["written"], done["clips"], done["problems"]) == (1, 1, 3, [])
    assert done["tiers"] == {"gold": 1, "bronze": 1}
    assert done["pairs"] == {"m / whisper": 1}
    first, second, third = documents(tar)
    assert (first["agreement"]["tier"], second["agreement"]["tier"]) == ("gold", "bronze")
    assert second["agreement"]["between"] == ["m", "whisper"]
    assert second["voters"][0]["text"] == second["fallback_model_prediction"] == OTHER
    assert (third["voters"], third["agreement"], "_skipme" in third) == ([], None, False)
    now = metadata(tar)["transcription"]
    assert now["tiers"] == {"bronze": 1, "gold": 1}
    assert now["versions"]["voting"] == {done["version"]: 2}
    same = {key for key in now if key not in ("tiers", "versions", "digests")}
    assert {key: now[key] for key in same} == {key: held["transcription"][key] for key in same}
    for name, content in members(tar).items():
        if name.startswith("segments/"):
            assert content == before[name]


def test_a_second_time_changes_nothing_and_another_folder_joins(tmp_path: Path) -> None:
    results = three()
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    first = a_folder(tmp_path / "whisper", results, [OTHER] * 3)
    vote(str(tmp_path), "--hypotheses", str(first))
    once = tar.read_bytes()
    for arguments in (["--hypotheses", str(first)], []):  # voters stay where no folder is named
        assert vote(str(tmp_path), *arguments)["written"] == 0
        assert tar.read_bytes() == once
    second = a_folder(tmp_path / "canary", results, [HINDI] * 3)
    assert vote(str(tmp_path), "--hypotheses", str(second))["tiers"] == {"silver": 3}
    assert [voter["name"] for voter in documents(tar)[0]["voters"]] == ["whisper", "canary"]
    for file in (first / "v").iterdir():
        file.write_text(HINDI)
    assert vote(str(tmp_path), "--hypotheses", str(first))["tiers"] == {"gold": 3}


def test_what_a_recogniser_heard_is_a_voter(tmp_path: Path) -> None:
    one, two, three_ = three((HINDI, OTHER, HINDI))
    results = [replace(one, alignment=HEARD), replace(two, alignment=HEARD), three_]
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    assert vote(str(tar))["tiers"] == {"gold": 1, "bronze": 1}
    assert documents(tar)[1]["agreement"]["between"] == ["m", "indicconformer"]
    assert documents(tar)[1]["_skipme"] == ""


async def stored(database: Database, results: list[ClipResult]) -> ClaimedVideo:
    await Queue(database).add([NewVideo("v", "in.tar", "v_transcribed.tar", "hi")])
    (claim,) = await Queue(database).claim("w1", 60, 1)
    await Results(database).write(claim, results)
    return claim


async def test_rows_get_tiers_and_a_video_at_work_is_left_alone(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipika.jobs.vote import VoteOrder, vote_on_stored

    monkeypatch.setenv("DATABASE_URL", database_url)
    results = three()
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    folder = a_folder(tmp_path / "whisper", results, [HINDI, OTHER])
    claim = await stored(database, results)
    order = VoteOrder([str(tar)], [folder], rows=True, data_dir=tmp_path)
    once = tar.read_bytes()
    busy = await vote_on_stored(order)
    assert (busy.busy, busy.written, busy.rows) == (1, 0, 0)
    assert tar.read_bytes() == once
    await Queue(database).release(claim)
    done = await vote_on_stored(order)
    assert (done.busy, done.written, done.rows) == (0, 1, 2)
    rows = table(database_url, ASIDE)
    assert [row["tier"] for row in rows] == ["gold", "bronze"]
    record = await Stored(database).record("v")
    assert record is not None
    again = await vote_on_stored(order)
    assert (again.written, again.rows) == (0, 2)
    assert table(database_url, ASIDE) == rows


def test_what_a_person_has_read_is_the_measure(tmp_path: Path) -> None:
    """Gold is what agrees with it, whatever others say; what does not is bronze, though all others agree."""
    results = [replace(one, alignment=HEARD) for one in three((HINDI, HINDI, OTHER))]
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    assert vote(str(tar))["tiers"] == {"gold": 2, "bronze": 1}
    stems = [one.clip.name.stem for one in results]
    rows = [f"v,{stem}.flac,{text}" for stem, text in zip(stems, (HINDI, OTHER, OTHER), strict=True)]
    table = tmp_path / "asha.csv"
    table.write_text("\n".join(["video_id,segment_file,text", *rows]))
    done = vote(str(tar), "--person", str(table))
    assert done["people"] == {"asha": 3}
    assert [one["agreement"]["tier"] for one in documents(tar)] == ["gold", "bronze", "gold"]
    assert {voter["kind"] for one in documents(tar) for voter in one["voters"]} == {"person"}
    assert vote(str(tar))["written"] == 0  # it stays, where no table is named
    elsewhere = tmp_path / "ravi.csv"
    elsewhere.write_text("video_id,segment_file,text\nw,a,x")
    assert vote(str(tar), "--person", str(elsewhere))["people"] == {"ravi": 0, "asha": 3}


async def test_what_a_person_has_read_outlives_the_archive(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive that was made anew knows nothing of it; the rows do, and it joins again: for the same audio."""
    from lipika.jobs.vote import VoteOrder, vote_on_stored

    monkeypatch.setenv("DATABASE_URL", database_url)
    results = three()
    tar = write_archive(tmp_path / "v_transcribed.tar", results)
    fresh = tar.read_bytes()
    claim = await stored(database, results)
    await Queue(database).release(claim)
    folder = a_folder(tmp_path / "asha", results, [HINDI, OTHER])
    await vote_on_stored(VoteOrder([str(tar)], [], True, tmp_path, [folder]))
    rows = table(database_url, ASIDE)
    assert [row["tier"] for row in rows] == ["gold", "bronze"]
    tar.write_bytes(fresh)
    again = await vote_on_stored(VoteOrder([str(tar)], [], rows=True, data_dir=tmp_path))
    assert (dict(again.tiers), dict(again.people)) == ({"gold": 1, "bronze": 1}, {"asha": 2})
    assert table(database_url, ASIDE) == rows


def test_a_damaged_archive_and_a_folder_that_is_none_are_told(tmp_path: Path) -> None:
    tar = write_archive(tmp_path / "v_transcribed.tar", three())
    tar.write_bytes(tar.read_bytes()[:2000])
    done = vote(str(tar), fails=True)
    assert done["problems"][0][0].endswith("v_transcribed.tar")
    app = Typer()
    align.add_to(app, _run)
    refused = CliRunner().invoke(app, ["vote", str(tar), "--hypotheses", str(tmp_path / "none")])
    assert "there is no such folder" in str(refused.exception)

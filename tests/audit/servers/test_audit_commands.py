"""`lipika audit` as a user has it: drawn, sent out as a table, read back, reported."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit_kit import MadeClip, make_clips, store_clips
from fleet_kit import a_stage
from lipika.cli.main import app


@pytest.fixture
def corpus(database_url: str, monkeypatch: pytest.MonkeyPatch) -> list[MadeClip]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    clips = make_clips([20] * 30, languages=("hi", "ta"), unusable=0.05)
    store_clips(database_url, clips)
    return clips


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["audit", *words])


def fill_in(table: Path, clips: list[MadeClip]) -> int:
    """The part of a person with a spreadsheet."""
    known = {(clip.video_id, clip.segment_file): clip for clip in clips}
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    for row in rows:
        true = known[row["video_id"], row["segment_file"]].true
        row |= {
            "usable": "no" if true is None else "Yes",
            "corrected": "" if true in (None, row["text"]) else true,
        }
    with table.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def test_from_the_draw_to_the_report(
    corpus: list[MadeClip], say: Callable[..., Result], tmp_path: Path
) -> None:
    drawn = say("draw", "--per-language", "50", "--seed", "7", "--limit-unusable", "0.2", "--json")
    assert drawn.exit_code == 0, drawn.output
    document = json.loads(drawn.stdout)
    assert document["judgements"] == {"wanted": 110, "made": 0}
    assert [one["language"] for one in document["languages"]] == ["hi", "ta"]
    assert "110 judgements" in say("list").stdout
    assert "about 55 min of listening" in say("status").stdout

    table = tmp_path / "clips.csv"
    assert say("export", "--out", str(table)).exit_code == 0
    assert fill_in(table, corpus) == 100
    assert json.loads(say("import", str(table), "--by", "mira", "--json").stdout)["kept"] == 100
    assert json.loads(say("import", str(table), "--by", "mira", "--json").stdout)["kept"] == 100  # again
    # What one person has heard is another's only where two are wanted.
    assert json.loads(say("import", str(table), "--by", "anil", "--json").stdout) == {
        "audit": 1, "kept": 10, "not_wanted": 90,
    }  # fmt: skip
    report = say("report", "--json", "--out", "report.html")
    found = json.loads(report.stdout)
    assert found["complete"]
    assert found["judgements"] == {"wanted": 110, "made": 110, "by": {"anil": 10, "mira": 100}}
    assert found["agreement"]["cer"] == 0
    for part in found["languages"]:
        assert part["heard"] == part["drawn"] == 50
        assert part["cer"]["low"] <= part["cer"]["value"] <= part["cer"]["high"]
        assert part["verdicts"]["unusable"]["verdict"] in ("accept", "undecided")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Hindi" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    shown = say("report").stdout
    assert "Hindi: 50 of 50 clips heard, of 300" in shown
    assert "Tamil, ASR" in shown
    more = say("more", "20", "--languages", "Tamil")
    assert "20 more clips" in more.stdout
    assert "so far" in say("report").stdout


def test_what_cannot_be_done_is_said(
    corpus: list[MadeClip], say: Callable[..., Result], tmp_path: Path
) -> None:
    del corpus
    nothing = say("status")
    assert (nothing.exit_code, "lipika audit draw" in nothing.stderr) == (2, True)
    assert "no transcribed clips of or" in say("draw", "--languages", "Odia").stderr
    assert say("draw", "--languages", "Klingon").exit_code == 2
    assert say("draw", "--per-language", "20", "--seed", "1").exit_code == 0
    assert "there is no audit 9" in say("report", "9").stderr
    assert "hear these first" in say("more", "10").stderr
    table = tmp_path / "wrong.csv"
    table.write_text("audit,place,usable,corrected\n1,0,perhaps,\n")
    assert "line 2: usable is yes or no, not 'perhaps'" in say("import", str(table), "--by", "mira").stderr
    table.write_text("audit,place,usable,corrected\n2,0,yes,\n")
    assert "line 2: it is of audit 2, not of 1" in say("import", str(table), "--by", "mira").stderr
    table.write_text("audit,place,usable,corrected\n1,5000,yes,\n")
    assert "hears no clip of place '5000'" in say("import", str(table), "--by", "mira").stderr
    table.write_text("place,text\n1,x\n")
    assert "the table lacks audit, usable" in say("import", str(table), "--by", "mira").stderr
    assert "so far" in say("report").stdout


async def test_people_without_the_board_get_the_audio_beside_the_table(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[..., Result]
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(videos=1, segments=5)
        await stage.work()
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("OUTPUT_URL", str(stage.out))
        drawn = await asyncio.to_thread(say, "draw", "--per-language", "10")
        assert drawn.exit_code == 0, drawn.output
        done = await asyncio.to_thread(say, "export", "--out", "clips.csv", "--audio", "clips")
        assert done.exit_code == 0, done.output
        table = list(csv.DictReader(io.StringIO((tmp_path / "clips.csv").read_text("utf-8-sig"))))
        names = sorted(path.name for path in (tmp_path / "clips").iterdir())
        assert names == sorted(f"{int(row['place']):05d}.flac" for row in table)
        assert all((tmp_path / "clips" / name).read_bytes()[:4] == b"fLaC" for name in names)
        next(stage.out.glob("*.tar")).unlink()
        lost = await asyncio.to_thread(say, "export", "--out", "clips.csv", "--audio", "clips")
        assert lost.exit_code == 1
        assert f"of {len(table)} no archive holds any" in lost.stderr

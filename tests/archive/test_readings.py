"""What a person has read: tables in three forms, folders, names of clips, and what is no such table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipika.archive.readings import open_readings
from lipika.errors import UsageError
from lipika.models import VoterKind

DIGEST = "ab" * 32


def a_table(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_table_names_clips_by_file_by_path_and_by_audio(tmp_path: Path, separator: str) -> None:
    rows = [
        "\ufeffvideo_id|segment_file|audio_filepath|audio_digest|text",
        "v1|a.flac|||नमस्ते",
        "v1|b||| ",  # not read yet
        "||data/v2/a.flac||एक",
        f"v9|z.flac||{DIGEST.upper()}|दो",
    ]
    table = a_table(
        tmp_path / f"asha.{'csv' if separator == ',' else 'tsv'}", "\n".join(rows).replace("|", separator)
    )
    held = open_readings(table)
    asked = {
        (video, stem, digest): (voter := held.voter(video, stem, digest)) and voter.text
        for video, stem, digest in (("v1", "a", ""), ("v1", "b", ""), ("v2", "a", ""), ("v3", "c", DIGEST))
    }
    assert list(asked.values()) == ["नमस्ते", None, "एक", "दो"]
    voter = held.voter("v1", "a")
    assert voter is not None
    assert (voter.name, voter.kind) == ("asha", VoterKind.PERSON)


def test_lines_of_json_and_a_folder_say_the_same(tmp_path: Path) -> None:
    lines = [
        {"video_id": "v", "segment_file": "a.flac", "transcription": "एक", "minutes": 3},
        {"video_id": "v", "segment_file": "b.flac", "text": None},
    ]
    of_lines = open_readings(a_table(tmp_path / "asha.jsonl", "\n\n".join(map(json.dumps, lines))))
    folder = tmp_path / "asha"
    (folder / "v").mkdir(parents=True)
    (folder / "v" / "a.txt").write_text("एक")
    of_folder = open_readings(folder)
    assert of_lines.voter("v", "a") == of_folder.voter("v", "a") is not None
    assert of_lines.voter("v", "b") is of_folder.voter("v", "b") is None


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "segment_file,text\na.flac,x", r"row 2: 'video_id' is missing"),
        ("a.csv", "text\nx", r"row 2: 'audio_filepath' is missing"),
        ("a.csv", "video_id,segment_file\nv,a", "names no column for the text"),
        ("a.csv", "audio_digest,text\nabc,x", "audio_digest 'abc' is none"),
        (
            "a.csv",
            "video_id,segment_file,text\nv,a,x\nv,a.flac,y",
            "rows 2 and 3 read one clip differently",
        ),
        ("a.csv", 'video_id,segment_file,text\nv,a,"x', "cannot be read as such a table"),
        ("a.jsonl", '{"text": "x"', "cannot be read as such a table"),
        ("a.jsonl", "[1]", "line 1 is no object"),
        ("a.xlsx", "x", r"\*\.csv, \*\.tsv or \*\.jsonl is expected"),
        ("a.csv", None, "there is no such file"),
    ],
)
def test_what_is_no_table_of_readings_is_told(tmp_path: Path, name: str, text: str | None, told: str) -> None:
    path = tmp_path / name
    if text is not None:
        a_table(path, text)
    with pytest.raises(UsageError, match=told):
        open_readings(path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"video_id,segment_file,text\nv,a,\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read as such a table"):
        open_readings(tmp_path / "a.csv")

"""Folders of texts from elsewhere: two forms, names of clips, and what is no such folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipika.archive.hypotheses import open_hypotheses
from lipika.errors import UsageError
from lipika.models import VoterKind


def a_folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, "utf-8")
    return path


def test_text_files_and_manifests_name_their_clips(tmp_path: Path) -> None:
    lines = [
        {"audio_filepath": "/data/v2/a.wav", "text": "label", "pred_text": " heard "},
        {"video_id": "v3", "segment_file": "a.flac", "text": "by id"},
        {"audio_filepath": "v4/a.wav", "duration": 3.0},
    ]
    manifest = "\n\n".join(map(json.dumps, lines))
    folder = a_folder(
        tmp_path / "whisper", {"v1/a.txt": "\ufeffनमस्ते\n", "v1/b.txt": "", "preds.jsonl": manifest}
    )
    held = open_hypotheses(folder)
    said = {
        (video, stem): voter and voter.text
        for video in ("v1", "v2", "v3", "v4")
        for stem in ("a", "b")
        for voter in [held.voter(video, stem)]
    }
    assert said == {
        ("v1", "a"): "नमस्ते", ("v1", "b"): "", ("v2", "a"): "heard", ("v2", "b"): None, ("v3", "a"): "by id",
        ("v3", "b"): None, ("v4", "a"): None, ("v4", "b"): None,
    }  # fmt: skip
    voter = held.voter("v1", "a")
    assert voter is not None
    assert (voter.name, voter.kind) == ("whisper", VoterKind.HYPOTHESES)
    assert open_hypotheses(a_folder(tmp_path / "other", {"v/a.txt": ""})).digest != held.digest


def test_a_video_of_a_hostile_name_reads_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    held = open_hypotheses(a_folder(tmp_path / "whisper", {"v1/a.txt": "text"}))
    assert held.voter("..", "secret") is None
    assert held.voter(str(tmp_path), "secret") is None


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there is no such folder"),
        ({"readme.md": "-"}, "neither VIDEO/CLIP.txt nor a manifest"),
        ({"a.jsonl": '{"audio_filepath": "v/a.wav", "text": "x"}\n{broken'}, "line 2"),
        ({"a.jsonl": '{"text": "of nobody"}'}, "video_id and segment_file"),
        ({"a.jsonl": "[1]"}, "line 1"),
    ],
)
def test_what_is_no_folder_of_texts_is_told(tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_hypotheses(a_folder(tmp_path / "texts", files))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "texts", {"v/a.txt": "x"})
    (folder / "v" / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"b\.txt: it cannot be read as UTF-8"):
        open_hypotheses(folder).voter("v", "b")

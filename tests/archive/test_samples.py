"""The committed samples are what samples/README.md says: well formed, small, and awkward in the right places."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile as sf

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.models import SegmentName
from lipika.validation.text import SCRIPT_OF
from places import ROOT

SAMPLES = ROOT / "samples"
README = (SAMPLES / "README.md").read_text(encoding="utf-8")
UNUSABLE = {"pa": 3}


def members(language: str) -> dict[str, bytes]:
    with tarfile.open(SAMPLES / "tars" / f"{language}_sample.tar") as tar:
        return {
            member.name: stream.read() for member in tar if (stream := tar.extractfile(member)) is not None
        }


def segments(language: str) -> dict[SegmentName, bytes]:
    """The usable ones."""
    named = {}
    for path, data in members(language).items():
        stem = Path(path).stem
        if path.startswith("segments/") and re.fullmatch(r"speaker\d_\d{5}_\d{5}", stem):
            named[SegmentName.parse(stem)] = data
    if language in UNUSABLE:
        named.pop(SegmentName("speaker1", 90_000, 90_400))
    return named


def test_there_is_one_small_archive_per_language() -> None:
    files = sorted((SAMPLES / "tars").iterdir())
    assert [file.name for file in files] == [f"{language}_sample.tar" for language in FIRST_CLASS]
    assert sum(file.stat().st_size for file in files) < 8_000_000
    assert re.findall(r"^\| `(\w+)_sample\.tar`", README, re.MULTILINE) == list(FIRST_CLASS)


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_names_tell_the_truth_about_the_audio(language: str) -> None:
    for name, data in segments(language).items():
        info = sf.info(io.BytesIO(data))
        assert abs(info.duration - (name.end_cs - name.start_cs) / 100) < 0.01
        assert sf.read(io.BytesIO(data))[0].size


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_every_archive_has_something_to_split_and_to_discard(language: str) -> None:
    lengths_cs = [name.end_cs - name.start_cs for name in segments(language)]
    assert max(lengths_cs) > 1000 or language == "pa"
    assert min(lengths_cs) < 200 or language == "pa"
    assert len(members(language)) - len(lengths_cs) == UNUSABLE.get(language, 0) + (language != "kn")


@pytest.mark.parametrize("language", [code for code in FIRST_CLASS if code != "kn"])
def test_metadata_names_video_and_language(language: str) -> None:
    held = members(language)
    fields = json.loads(held["metadata.json"])
    assert (fields["video_id"], fields["language"]) == (f"{language}_sample", language)
    assert list(held).index("metadata.json") == (len(held) - 1 if language in {"as", "or"} else 0)


def test_the_awkward_shapes_are_there() -> None:
    formats = {
        (language, info.samplerate, info.channels, info.subtype)
        for language in FIRST_CLASS
        for data in segments(language).values()
        for info in [sf.info(io.BytesIO(data))]
    }
    assert {
        ("as", 44_100, 2, "PCM_16"),
        ("ml", 48_000, 2, "PCM_16"),
        ("gu", 16_000, 1, "PCM_24"),
        ("te", 22_050, 1, "PCM_16"),
        ("ur", 8_000, 1, "PCM_16"),
    } <= formats
    for language in ("bn", "hi"):
        assert any(
            earlier.end_cs > later.start_cs and earlier.speaker != later.speaker
            for earlier, later in pairwise(segments(language))
        )
    assert any(not sf.read(io.BytesIO(data))[0].any() for data in segments("hi").values())


def test_sentences_are_written_in_their_scripts() -> None:
    said = tomllib.loads((SAMPLES / "sentences.toml").read_text(encoding="utf-8"))
    assert list(said) == list(FIRST_CLASS)
    for language, voice in said.items():
        assert len(set(voice["sentences"])) == 6
        scripts = {SCRIPT_OF[character] for text in voice["sentences"] for character in text}
        assert scripts == {LANGUAGES[language].script, "Latin", "neutral"}

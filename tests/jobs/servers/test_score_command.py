"""`lipika score`: results against the texts that came with the recordings, and these texts as a voter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from lipika.cli import align
from lipika.errors import UsageError
from lipika.models import ClipResult, SegmentName, Voter, VoterKind
from stored_kit import _run, documents, made, write_archive


@pytest.fixture(autouse=True)
def builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN_ROMANISER", "builtin")


def told(*arguments: str, as_json: bool = True) -> Any:
    app = Typer()
    align.add_to(app, _run)
    done = CliRunner().invoke(app, [*arguments, *(["--json"] if as_json else [])])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout) if as_json else done.stdout


def packed(**segments: dict[str, Any] | str) -> dict[str, Any]:
    said = {
        stem: {"id": f"theirs/{stem}", "text": one} if isinstance(one, str) else one
        for stem, one in segments.items()
    }
    return {"packed": {"source": "train.json", "kind": "nemo", "segments": said}}


WHOLE = SegmentName("speaker0", 3_000, 4_500)


def halves(text: str, other: str) -> list[ClipResult]:
    """Two clips of one segment, the later one first."""
    first, second = made(3, text=text), made(4, text=other)
    cut = [replace(one, clip=replace(one.clip, segment=WHOLE)) for one in (first, second)]
    late = replace(cut[1], clip=replace(cut[1].clip, original_start_ms=cut[0].clip.original_start_ms + 1))
    return [late, cut[0]]


def test_rates_by_language_and_voice_and_the_worst(tmp_path: Path) -> None:
    whisper = Voter("whisper", VoterKind.HYPOTHESES, "नमस्ते दुनिया", "w")
    right, wrong, silent = made(0, text="नमस्ते, दुनिया!"), made(1, text="किताब"), made(2, text="कुछ")
    results = [replace(right, voters=(whisper,)), wrong, silent, *halves("एक दो", "तीन चार")]
    stems = [one.clip.name.stem for one in results[:3]]
    refs: dict[str, dict[str, Any] | str] = {
        stems[0]: "नमस्ते दुनिया",
        stems[1]: "क़िताबें",
        stems[2]: {"id": "no text"},
        WHOLE.stem: "एक दो तीन पाँच",
        "speaker9_1_2": "कोई क्लिप नहीं",
    }
    write_archive(tmp_path / "v_transcribed.tar", results, packed(**refs))
    found = told("score", str(tmp_path), "--by-model")
    assert {key: found[key] for key in ("scored", "joined", "without_reference", "not_transcribed")} == {
        "scored": 3,
        "joined": 1,
        "without_reference": 1,
        "not_transcribed": 1,
    }
    parts = {(part["language"], part["voice"]): part for part in found["parts"]}
    assert set(parts) == {("hi", "lipika"), ("hi", "m"), ("hi", "whisper")}
    own = parts["hi", "lipika"]
    assert (own["segments"], own["words"]) == (3, 7)
    assert own["wer"]["value"] == pytest.approx(2 / 7, abs=1e-6)
    assert 0 <= own["cer"]["low"] < own["cer"]["value"] < own["cer"]["high"] <= 1
    assert parts["hi", "m"]["cer"] == own["cer"]
    assert (parts["hi", "whisper"]["segments"], parts["hi", "whisper"]["cer"]["value"]) == (1, 0.0)
    worst = found["worst"]
    assert [one["id"] for one in worst] == [f"theirs/{stems[1]}", f"theirs/{WHOLE.stem}"]
    assert (worst[1]["said"], worst[1]["reference"]) == ("एक दो तीन चार", "एक दो तीन पाँच")
    shown = told("score", str(tmp_path), "--language", "Hindi", as_json=False)
    assert "3 segments with a reference" in shown
    assert "1 segments are of several clips" in shown
    assert told("score", str(tmp_path), "--language", "ta")["scored"] == 0
    with pytest.raises(UsageError, match="--language xx"):
        told("score", str(tmp_path), "--language", "xx")


def test_rows_of_the_source_come_out_with_what_was_heard(tmp_path: Path) -> None:
    whole = made(0, text="नमस्ते")
    theirs = {"audio_filepath": "a.wav", "offset": 0.5, "duration": 5.0, "text": "old", "snr": 3}
    said = {
        "id": "a.wav#0.5",
        "text": "नमस्ते जी",
        "language": "hi",
        "speaker": "s",
        "split": "dev",
        "columns": theirs,
    }
    refs: dict[str, dict[str, Any] | str] = {
        whole.clip.name.stem: said,
        WHOLE.stem: {"id": "two"},
        "speaker9_1_2": "कोई क्लिप नहीं",
    }
    write_archive(tmp_path / "v_transcribed.tar", [whole, *halves("एक", "NO_SPEECH")], packed(**refs))
    path = tmp_path / "predicted.json"
    for _ in range(2):  # written anew
        assert told("score", str(tmp_path), "--manifest", str(path))["rows"] == 3
    first, two, gone = map(json.loads, path.read_text().splitlines())
    assert first == {
        **theirs,
        "id": "a.wav#0.5",
        "text": "नमस्ते जी",
        "lang": "hi",
        "speaker": "s",
        "split": "dev",
        "video_id": "v",
        "pred_text": "नमस्ते",
        "pred_lang": "hi",
        "_skipme": first["_skipme"],
    }
    assert (two["audio_filepath"], two["duration"], two["pred_text"]) == ("two", 15.0, "एक")
    assert (gone["pred_text"], gone["_skipme"]) == ("", "not_transcribed")


def test_archives_without_references_are_said_to_be_so(tmp_path: Path) -> None:
    write_archive(tmp_path / "v_transcribed.tar", [made(0)], {"packed": ["odd"], "title": "x"})
    assert "lipika pack" in told("score", str(tmp_path), as_json=False)
    assert told("score", str(tmp_path))["parts"] == []


def test_a_reference_votes_where_a_clip_is_its_whole_segment(tmp_path: Path) -> None:
    text = "यह किताब मेरी बहन ने लिखी थी"
    whole = made(0, text=text)
    results = [whole, *halves("एक दो तीन", "चार पाँच छह")]
    refs: dict[str, dict[str, Any] | str] = {whole.clip.name.stem: text, WHOLE.stem: "एक दो तीन चार पाँच छह"}
    tar = write_archive(tmp_path / "v_transcribed.tar", results, packed(**refs))
    assert told("vote", str(tar))["tiers"] == {}
    assert told("vote", str(tar), "--references")["tiers"] == {"gold": 1}
    voters = [[voter["name"] for voter in document["voters"]] for document in documents(tar)]
    assert sorted(voters) == [[], [], ["reference"]]
    assert told("vote", str(tar), "--references")["written"] == 0

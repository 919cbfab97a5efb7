"""Tarsets that others wrote, in their own manners, and whatever bytes a broken disk makes of them."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_kit import Folder, read_back, utterance, write_shard
from foreign_audio import voice, written
from lipika.dataset.defects import CODES
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Format, TarFile
from lipika.dataset.formats.nemo import Nemo
from lipika.dataset.formats.shar import Shar
from lipika.dataset.formats.webdataset import WebDataset
from lipika.dataset.model import Defect, ReadBack

CLIPS = [utterance(number, 0.2) for number in range(3)]
FLAC = CLIPS[0].audio
RATE, SAMPLES = CLIPS[0].sample_rate_hz, CLIPS[0].num_samples
MP3 = written(voice(1, 24_000), 24_000, "MP3", "MPEG_LAYER_III")


def tar(path: Path, *files: tuple[str, bytes]) -> None:
    made = TarFile(path)
    for name, content in files:
        made.add(name, content)
    made.close()


def manifest(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def codes(kind: Format, root: Path) -> tuple[list[ReadBack], list[tuple[str, str]]]:
    clips, defects = read_back(kind, root)
    return clips, [(defect.code, defect.place) for defect in defects]


def nemo_row(name: str, **more: Any) -> dict[str, Any]:
    return {"audio_filepath": name, "duration": SAMPLES / RATE, "text": "a"} | more


# ----------------------------------------------------------------------------- NeMo


def test_one_manifest_for_all_tars(tmp_path: Path) -> None:
    """As NeMo's own script leaves it beside the sharded ones."""
    tar(tmp_path / "audio_0.tar", ("a.flac", FLAC))
    tar(tmp_path / "audio_1.tar", ("b.flac", FLAC))
    rows = [nemo_row("a.flac", shard_id=0), nemo_row("b.flac", shard_id=1)]
    manifest(tmp_path / "tarred_audio_manifest.json", *rows)
    assert Nemo.recognises(Folder(tmp_path).paths())
    clips, found = codes(Nemo(), tmp_path)
    assert [clip.id for clip in clips] == ["a", "b"]
    assert found == []


def test_manifests_in_a_folder_of_their_own(tmp_path: Path) -> None:
    tar(tmp_path / "hi/train/audio__0.tar", ("x/a.flac", FLAC))
    manifest(tmp_path / "hi/train/sharded_manifests/manifest__0.json", nemo_row("x/a.flac", _skip_me="noise"))
    clips, found = codes(Nemo(), tmp_path)
    assert [(clip.id, clip.language, clip.skip) for clip in clips] == [("x/a", "hi", True)]
    assert found == []


def test_parts_of_one_file(tmp_path: Path) -> None:
    tar(tmp_path / "audio_0.tar", ("a.flac", FLAC))
    half = SAMPLES // 2 / RATE
    rows = [
        nemo_row("a.flac", duration=half, offset=0),
        nemo_row("a-sub1.flac", duration=half, offset=half),
        nemo_row("a-sub2.flac", duration=half, offset=half * 1.5),
    ]
    manifest(tmp_path / "manifest_0.json", *rows)
    clips, found = codes(Nemo(), tmp_path)
    assert found == []
    assert [clip.audio_samples for clip in clips] == [
        SAMPLES // 2,
        SAMPLES // 2,
        SAMPLES - round(half * 1.5 * RATE),
    ]


def test_rows_that_lack_what_nemo_needs(tmp_path: Path) -> None:
    tar(tmp_path / "audio_0.tar", ("a.flac", FLAC), ("b.flac", FLAC), ("c.flac", FLAC))
    lines = [
        '{"duration": 1, "text": "no file"}',
        '["no", "object"]',
        '{"audio_filepath": "a.flac", "duration": NaN, "text": "x"}',
        json.dumps(nemo_row("b.flac", text=None)),
        json.dumps(nemo_row("c.flac", shard_id=7)),
        '{"audio_filepath": "d.fl',
    ]
    (tmp_path / "manifest_0.json").write_text("\n".join(lines))
    clips, found = codes(Nemo(), tmp_path)
    assert found == [("bad_row", f"manifest_0.json:{number}") for number in range(1, 7)]
    assert [clip.id for clip in clips] == ["a", "b", "c"]


def test_numbers_that_do_not_begin_at_0(tmp_path: Path) -> None:
    for number in (2, 5):
        tar(tmp_path / f"audio_{number}.tar", ("a.flac", FLAC))
        manifest(tmp_path / f"manifest_{number}.json", nemo_row("a.flac"))
    _, found = codes(Nemo(), tmp_path)
    assert found == [("missing_shard", "audio_0.tar"), ("missing_shard", "audio_3.tar")]


# ----------------------------------------------------------------------------- Shar


def cut(name: str, **more: Any) -> dict[str, Any]:
    recording = {"id": name, "sampling_rate": RATE, "num_samples": SAMPLES, "duration": SAMPLES / RATE}
    spoken = [{"id": name, "text": "one"}, {"id": name, "text": "two"}]
    return {"id": name, "duration": SAMPLES / RATE, "recording": recording, "supervisions": spoken} | more


def pair(name: str) -> tuple[tuple[str, bytes], ...]:
    return (f"{name}.flac", FLAC), (f"{name}.json", json.dumps(cut(name)["recording"]).encode())


def test_compressed_cuts_and_cuts_without_audio(tmp_path: Path) -> None:
    rows = "".join(json.dumps(cut(name)) + "\n" for name in ("x/a.1", "b", "c"))
    (tmp_path / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    tar(tmp_path / "recording.000000.tar", *pair("x/a.1"), ("b.nodata", b""), ("b.nometa", b""), *pair("c"))
    tar(tmp_path / "features.000000.tar", ("a.llc", b"features"))
    clips, found = codes(Shar(), tmp_path)
    assert [(clip.id, clip.text) for clip in clips] == [("x/a.1", "one two"), ("c", "one two")]
    assert found == []


def test_compressed_cuts_that_break_off(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps(cut(str(at))) + "\n" for at in range(50)).encode())
    (tmp_path / "cuts.000000.jsonl.gz").write_bytes(whole[:-20])
    tar(tmp_path / "recording.000000.tar")
    _, found = codes(Shar(), tmp_path)
    assert found[0][0] == "truncated"


def test_another_order_and_twice_the_same(tmp_path: Path) -> None:
    manifest(tmp_path / "cuts.000000.jsonl", *map(cut, ("a", "b", "c", "b")))
    tar(tmp_path / "recording.000000.tar", *pair("a"), *pair("c"), *pair("b"))
    clips, found = codes(Shar(), tmp_path)
    assert [clip.id for clip in clips] == ["a", "c", "b"]
    assert found == [("duplicate_id", "cuts.000000.jsonl:4"), ("unsorted", "recording.000000.tar: b.flac")]


def test_an_odd_number_of_members(tmp_path: Path) -> None:
    manifest(tmp_path / "cuts.000000.jsonl", cut("a"), cut("b"))
    tar(tmp_path / "recording.000000.tar", pair("a")[0], *pair("b"))
    clips, found = codes(Shar(), tmp_path)
    assert [clip.id for clip in clips] == ["b"]
    assert found == [
        ("uneven_members", "recording.000000.tar: a.flac"),
        ("missing_audio", "cuts.000000.jsonl:1"),
    ]


# ----------------------------------------------------------------------------- WebDataset


def test_texts_in_files_and_audio_coded_with_loss(tmp_path: Path) -> None:
    """Emilia's way, and that of many a tar on the hub."""
    document = {
        "id": "EN_1",
        "wav": "x",
        "text": "hello",
        "duration": 1.0,
        "speaker": "EN_S",
        "language": "en",
    }
    tar(tmp_path / "EN-B000000.tar", ("EN_1.mp3", MP3), ("EN_1.json", json.dumps(document).encode()))
    tar(tmp_path / "EN-B000001.tar", ("a/1.txt", "नमस्ते\n".encode()), ("a/1.wav", CLIPS[0].audio))
    clips, found = codes(WebDataset(), tmp_path)
    assert found == []
    assert [(clip.id, clip.text, clip.language, clip.speaker) for clip in clips] == [
        ("EN_1", "hello", "en", "EN_S"),
        ("a/1", "नमस्ते", "", ""),
    ]
    assert (clips[0].exact, clips[1].exact) == (False, True)


def test_dots_in_names(tmp_path: Path) -> None:
    """webdataset 1.0.2 makes one sample of them all."""
    tar(
        tmp_path / "a-000000.tar",
        *(file for at in "12" for file in ((f"v.1_{at}.flac", FLAC), (f"v.1_{at}.json", b"{}"))),
    )
    clips, found = codes(WebDataset(), tmp_path)
    assert clips == []
    assert found == [("dotted_name", f"a-000000.tar: v.1_{at}.flac") for at in "12"]


def test_a_name_twice_and_samples_of_other_kinds(tmp_path: Path) -> None:
    files = [("a.flac", FLAC), ("a.json", b"{}"), ("a.flac", FLAC), ("b.wav", FLAC), ("b.json", b"[]")]
    tar(tmp_path / "a-000000.tar", *files)
    _, found = codes(WebDataset(), tmp_path)
    assert found == [
        ("duplicate_id", "a-000000.tar: a.flac"),
        ("bad_row", "a-000000.tar: b.json"),
        ("uneven_members", "a-000000.tar"),
    ]


def test_what_is_no_plain_tar(tmp_path: Path) -> None:
    tar(tmp_path / "a-000000.tar", ("a.flac", FLAC), ("a.json", b"{}"))
    whole = (tmp_path / "a-000000.tar").read_bytes()
    (tmp_path / "a-000000.tar").write_bytes(gzip.compress(whole))
    (tmp_path / "a-000001.tar").write_bytes(b"")
    (tmp_path / "a-000002.tar").write_bytes(whole + whole)
    (tmp_path / "a-000003.tar").symlink_to("nowhere")
    tree, defects = Folder(tmp_path), list[Defect]()
    portions = list(WebDataset().portions([f"a-00000{number}.tar" for number in range(4)], defects))
    for portion in portions:
        list(WebDataset().read(tree, portion, defects))
    assert [(defect.code, defect.place) for defect in defects] == [
        ("unreadable", "a-000000.tar"),
        ("truncated", "a-000001.tar"),
        ("after_the_end", "a-000002.tar"),
        ("unreadable", "a-000003.tar"),
    ]


# ----------------------------------------------------------------------------- any bytes

EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=64)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ["nemo", "shar", "webdataset"])
@settings(max_examples=60, deadline=None)
@given(edits=EDITS, cut=st.floats(0.1, 1.5), at=st.integers(0, 1))
def test_damage_is_noted_and_never_raised(
    name: str, edits: list[tuple[float, bytes]], cut: float, at: int
) -> None:
    kind = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_shard(kind, CLIPS, root)
        paths = [path for path in Folder(root).paths() if not path.startswith("index/")]
        path = root / paths[at % len(paths)]
        content = bytearray(path.read_bytes())
        for where, piece in edits:
            start = round(where * (len(content) - 1))
            content[start : start + len(piece)] = piece
        path.write_bytes(content[: round(cut * len(content))])
        clips, defects = read_back(kind, root)
    assert len(clips) <= len(CLIPS) + 1
    assert {defect.code for defect in defects} <= CODES.keys()
    assert all(defect.place.startswith(tuple(paths)) for defect in defects)

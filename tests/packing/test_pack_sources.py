"""Folders and lists as items: facts from paths, columns and files beside, and a reason for what gives none."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from lipika.errors import UsageError
from lipika.jobs.packed_queue import has_to_be_packed
from lipika.packing.items import PackSource, SourceItem, SourceRefusal
from lipika.packing.kinds import SourceOptions, look, open_source
from lipika.packing.template import PathTemplate


def wav(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(16_000 * seconds), np.int16), 16_000)
    return path


def taken(source: PackSource) -> tuple[dict[str, SourceItem], Counter[str]]:
    """(items by name, refusals by reason); the same both times."""
    items, refused = {}, Counter[str]()
    every = list(source.items())
    assert every == list(source.items())
    for one in every:
        if isinstance(one, SourceRefusal):
            refused[one.reason] += 1
        else:
            items[one.name] = one
    return items, refused


def test_a_folder_tells_languages_speakers_texts_and_labels(tmp_path: Path) -> None:
    wav(tmp_path / "hi" / "asha" / "a.wav")
    (tmp_path / "hi" / "asha" / "a.txt").write_text("नमस्ते\n")
    wav(tmp_path / "hi" / "asha" / "b.wav", 4.0)
    (tmp_path / "hi" / "asha" / "b.rttm").write_text("SPEAKER b 1 0.5 1.0 <NA> <NA> x <NA> <NA>\nSPEAKER b\n")
    wav(tmp_path / "Tamil" / "c.WAV")
    wav(tmp_path / "Tamil" / "no.wav").rename(tmp_path / "Tamil" / "noending")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "lonely.srt").write_text("x")
    wav(tmp_path / ".hidden" / "d.wav")
    items, refused = taken(open_source(str(tmp_path), SourceOptions(speaker="folder")))
    assert {name: (item.language, item.speaker) for name, item in items.items()} == {
        "hi/asha/a.wav": ("hi", "asha"),
        "hi/asha/b.wav": ("hi", "asha"),
        "Tamil/c.WAV": ("Tamil", "Tamil"),
        "Tamil/noending": ("Tamil", "Tamil"),
    }
    assert items["hi/asha/a.wav"].text == "नमस्ते"
    assert [(label.start, label.speaker) for label in items["hi/asha/b.wav"].labels] == [(0.5, "x")]
    assert refused == {"bad_label": 1, "other_file": 1, "labels_without_audio": 1}


def test_one_rttm_for_a_whole_folder(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", 3.0)
    wav(tmp_path / "b.wav", 3.0)
    lines = [
        f"SPEAKER {name} 1 {at} 1 <NA> <NA> s{at} <NA> <NA>" for name, at in (("a", 0), ("b", 1), ("a", 2))
    ]
    (tmp_path / "all.rttm").write_text("\n".join(lines))
    items, refused = taken(open_source(str(tmp_path), SourceOptions()))
    assert [label.speaker for label in items["a.wav"].labels] == ["s0", "s2"]
    assert [label.speaker for label in items["b.wav"].labels] == ["s1"]
    assert not refused


def test_links_in_circles_to_nothing_and_names_of_other_encodings(tmp_path: Path) -> None:
    wav(tmp_path / "a" / "x.wav")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    odd = os.fsdecode(b"caf\xe9.wav")
    wav(tmp_path / "b.wav").rename(tmp_path / odd)
    items, refused = taken(open_source(str(tmp_path), SourceOptions()))
    assert sorted(items) == ["a/x.wav", "caf\\xe9.wav"]
    assert Path(items["caf\\xe9.wav"].audio.place).is_file()
    assert refused == {"link_back": 2, "missing_file": 1}


def test_a_template_reads_paths(tmp_path: Path) -> None:
    wav(tmp_path / "2024" / "hi" / "asha-train-001.wav")
    wav(tmp_path / "2024" / "hi" / "odd.wav")
    options = SourceOptions(template="{year}/{language}/{speaker}-{split}-{_}")
    items, refused = taken(open_source(str(tmp_path), options))
    (item,) = items.values()
    assert (item.language, item.speaker, item.split) == ("hi", "asha", "train")
    assert item.columns == {"year": "2024"}
    assert refused == {"no_fit": 1}
    for wrong in ("{a}{b}", "{a}/{a}", "plain", "{a", "{a b}"):
        with pytest.raises(UsageError, match="--template"):
            PathTemplate.parse(wrong)


ROWS = [
    {
        "path": "a.wav",
        "sentence": "नमस्ते",
        "client_id": "s1",
        "locale": "hi",
        "id": "1",
        "age": "20",
        "split": "dev",
    },
    {"path": "b.wav", "sentence": "", "client_id": "", "locale": "", "id": "2", "age": "", "split": ""},
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_the_same_list_in_every_form(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"list.{suffix}"
    if suffix == "jsonl":
        path.write_text("\ufeff" + "\n\n".join(map(json.dumps, ROWS)))
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="," if suffix == "csv" else "\t")
            writer.writeheader()
            writer.writerows(ROWS)
    items, refused = taken(open_source(str(path), SourceOptions()))
    first, second = items["1"], items["2"]
    assert (first.text, first.speaker, first.language, first.split) == ("नमस्ते", "s1", "hi", "dev")
    assert first.columns == {"age": "20"}
    assert first.audio.place == str(tmp_path / "a.wav")
    assert (second.text, second.speaker, second.language) == (None, None, None)
    assert not refused


def test_broken_rows_cost_themselves_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    good = {"path": "a.wav", "offset": 1.5, "duration": 2.0, "text": "x"}
    bad = [
        {**good, "path": ""},
        {**good, "offset": "soon"},
        {**good, "duration": -1},
        {"path": "a.wav", "offset": 3, "end": 2},
        {**good, "channel": "left"},
        {**good, "path": "a\0b"},
    ]
    lines = [json.dumps(row) for row in (good, *bad)] + [
        "{broken",
        "[1]",
        '"text"',
        json.dumps(good | {"offset": 9}),
    ]
    path.write_text("\n".join(lines))
    items, refused = taken(open_source(str(path), SourceOptions(), "list"))  # else it is a NeMo manifest
    assert {name: (item.start, item.end) for name, item in items.items()} == {
        "a.wav#1.5": (1.5, 3.5),
        "a.wav#9": (9.0, 11.0),
    }
    assert refused == {"bad_row": len(bad) + 3}
    table = tmp_path / "list.csv"
    table.write_bytes(b'url;text;extra\nhttps://x/a.wav?sig=1;ok;\n\n\xff.wav;\xff;\nshort\n"open;a;b\n')
    items, refused = taken(open_source(str(table), SourceOptions()))
    assert list(items) == ["https://x/a.wav?sig=1"]
    assert refused == {"bad_row": 3}


def test_columns_that_a_person_names(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,tongue,who\na.wav,hi,asha\n")
    items, _ = taken(open_source(str(path), SourceOptions("column:tongue", "column:who")))
    assert (items["a.wav"].language, items["a.wav"].speaker) == ("hi", "asha")
    with pytest.raises(UsageError, match="no column 'tung'"):
        open_source(str(path), SourceOptions("column:tung"))


def test_what_cannot_be_packed_is_told_what_can(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(UsageError, match=r"a folder of 1 \.docx.*what can be: .*a folder of audio"):
        open_source(str(tmp_path), SourceOptions())
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column names a recording"):
        open_source(str(tmp_path / "list.csv"), SourceOptions())
    with pytest.raises(UsageError, match="no such file"):
        open_source(str(tmp_path / "none"), SourceOptions())
    with pytest.raises(UsageError, match="a column `url`"):
        open_source("s3://bucket/x", SourceOptions())
    assert look(str(wav(tmp_path / "one.flac"))).kind is not None


def tarred(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = wav(path.with_suffix(".wav"))
    with tarfile.open(path, "w") as tar:
        for name in names:
            if name.endswith((".wav", ".flac")):
                tar.add(audio, name)
            else:
                tar.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    audio.unlink()
    return path


def test_each_corpus_is_known_by_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "kaldi" / "train").mkdir(parents=True)
    (tmp_path / "kaldi" / "train" / "wav.scp").write_text("u1 a.wav\n")
    tarred(tmp_path / "shar" / "recording.000000.tar", "u1.flac", "u1.json")
    (tmp_path / "shar" / "cuts.000000.jsonl").write_text('{"id": "u1", "type": "MonoCut"}\n')
    (tmp_path / "cuts.jsonl").write_text('{"id": "u1", "type": "MonoCut"}\n')
    (tmp_path / "train_manifest.json").write_text('{"audio_filepath": "a.wav", "duration": 1.0}\n')
    tarred(tmp_path / "nemo" / "audio_0.tar", "u1.flac")
    (tmp_path / "nemo" / "manifest_0.json").write_text(
        '{"audio_filepath": "u1.flac", "duration": 1, "shard_id": 0}\n'
    )
    tarred(tmp_path / "web" / "train-0.tar", "u1.flac", "u1.txt")
    (tmp_path / "hf" / "data").mkdir(parents=True)
    sounds = pa.table({"audio": [{"bytes": b"x", "path": "a.wav"}], "text": ["x"]})
    pq.write_table(sounds, tmp_path / "hf" / "data" / "train-0.parquet")
    kinds = {
        "kaldi": "kaldi", "shar": "shar", "cuts.jsonl": "lhotse", "train_manifest.json": "nemo", "nemo": "nemo",
        "nemo/manifest__OP_0..0_CL_.json": "nemo", "web": "webdataset",
        "web/train-0.tar": "webdataset", "hf": "huggingface",
        "hf/data/train-0.parquet": "huggingface",
    }  # fmt: skip
    for place, kind in kinds.items():
        seen = look(str(tmp_path / place))
        assert seen.kind is not None, place
        assert (place, seen.kind.name) == (place, kind)
        assert has_to_be_packed(str(tmp_path / place)), place
        assert open_source(str(tmp_path / place), SourceOptions()).kind == kind


@pytest.mark.parametrize(
    "names",
    [
        ("metadata.json", "segments/a_00000_00100.flac"),
        ("v/segments/a_00000_00100.flac", "v/segments/a_00000_00100.json"),
        ("a_00000_00100.flac", "a_00000_00100.txt"),
        ("segments\\a_00000_00100.flac", "segments\\a_00000_00100.txt"),
    ],
)
def test_archives_of_our_own_form_stay_what_they_are(tmp_path: Path, names: tuple[str, ...]) -> None:
    tarred(tmp_path / "mine" / "v.tar", *names)
    wav(tmp_path / "mine" / "beside.wav")
    (tmp_path / "videos.csv").write_text("video_id,path\nv,v.tar\n")
    (tmp_path / "mine" / "broken.tar").write_bytes(b"no tar")
    for place in ("mine", "mine/v.tar", "mine/broken.tar", "videos.csv", "none", "s3://bucket/x"):
        assert not has_to_be_packed(str(tmp_path / place) if "://" not in place else place), place

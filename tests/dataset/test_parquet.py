"""Parquet: what the real `datasets` makes of it, and what is found wrong with anybody's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_kit import ROW, read_back, utterance, write_shard
from lipika.dataset.formats.parquet import COLUMNS, SCHEMA, Parquet, configs, path_of
from lipika.dataset.model import AudioForm, Defect, Shard, Tarset, Utterance

FORMAT = Parquet()
RATES = (8_000, 11_025, 16_000, 44_100, 48_000)


@pytest.fixture(scope="module")
def clips() -> list[Utterance]:
    """More than two row groups, of all sample rates."""
    return [utterance(number, 0.25, RATES[number % len(RATES)]) for number in range(205)]


@pytest.fixture(scope="module")
def export(clips: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    shards = [Shard("hi", "train", number, 2) for number in range(2)]
    write_shard(FORMAT, clips[:200], root, shards[0])
    write_shard(FORMAT, clips[200:], root, shards[1])
    return root


# ----------------------------------------------------------------------------- what is written


def test_the_schema_is_what_datasets_would_write() -> None:
    kinds: dict[str, Any] = {
        name: datasets.Value("float64" if kind == pa.float64() else str(kind))
        for name, kind in COLUMNS.items()
        if name != "audio"
    }
    features = datasets.Features(
        {name: datasets.Audio() if name == "audio" else kinds[name] for name in COLUMNS}
    )
    assert SCHEMA.equals(features.arrow_schema, check_metadata=True)
    assert datasets.Features.from_arrow_schema(SCHEMA) == features


def test_the_first_columns_are_those_that_people_and_nemo_look_for(export: Path) -> None:
    schema = pq.read_schema(export / "data/hi/train-00000-of-00002.parquet")
    assert schema.equals(SCHEMA, check_metadata=True)
    assert schema.names[:10] == [
        "id", "audio", "text", "verbatim", "tagged", "lang", "duration", "num_samples", "sampling_rate", "speaker_id",
    ]  # fmt: skip


def test_row_groups_are_small_and_audio_lies_as_it_is(export: Path, clips: list[Utterance]) -> None:
    path = export / "data/hi/train-00000-of-00002.parquet"
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [100, 100]
    group = metadata.row_group(0)
    columns = {group.column(at).path_in_schema: group.column(at).to_dict() for at in range(group.num_columns)}
    offsets = {
        group.column(at).path_in_schema: group.column(at).has_offset_index for at in range(group.num_columns)
    }
    for leaf in ("audio.bytes", "audio.path"):
        assert columns[leaf]["compression"] == "UNCOMPRESSED"
        assert not columns[leaf]["has_dictionary_page"]
        assert columns[leaf]["statistics"] is None
        assert offsets[leaf]
    assert columns["text"]["compression"] == "ZSTD"
    content = path.read_bytes()
    assert all(clip.audio in content for clip in clips[:200])


def test_the_same_clips_give_the_same_bytes(clips: list[Utterance], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_shard(FORMAT, clips[:120], tmp_path / name)
    one, two = (
        (tmp_path / name / path_of(Shard("hi", "train", 0, 1))).read_bytes() for name in ("one", "two")
    )
    assert one == two


def test_an_empty_shard_is_a_file_of_no_rows(tmp_path: Path) -> None:
    write_shard(FORMAT, [], tmp_path)
    assert read_back(FORMAT, tmp_path) == ([], [])
    assert pq.read_metadata(tmp_path / "data/hi/train-00000-of-00001.parquet").num_rows == 0


def test_audio_lies_in_the_table() -> None:
    assert FORMAT.audio_path(Shard("hi", "dev", 7, 9), "a.flac") == "data/hi/dev-00007-of-00009.parquet"


def test_no_folder_holds_ten_thousand_entries() -> None:
    assert path_of(Shard("hi", "dev", 7, 1_000)) == "data/hi/dev-00007-of-01000.parquet"
    paths = [Path(path_of(Shard("hi", "train", number, 33_000))) for number in range(33_000)]
    assert paths[3_017].as_posix() == "data/hi/part-0003/train-03017-of-33000.parquet"
    folders = [path.parent for path in paths]
    assert max(map(folders.count, set(folders))) == 1_000
    assert len(set(folders)) == 33


def test_writing_loads_no_datasets() -> None:
    code = "import sys, lipika.dataset.formats.parquet; sys.exit('datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ----------------------------------------------------------------------------- what `datasets` reads


def loaded(root: Path, streaming: bool) -> list[dict[str, Any]]:
    """Every row of a split, by the configuration that the card states."""
    (config,) = configs([Tarset("hi", "train", 2, 205, 60.0)])
    files = {entry["split"]: str(root / entry["path"]) for entry in config["data_files"]}
    cache = root.parent / "cache"
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=streaming, cache_dir=str(cache)
    )
    assert rows.features["audio"] == datasets.Audio()
    return list(rows.cast_column("audio", datasets.Audio(decode=False)))


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_datasets_reads_every_byte(export: Path, clips: list[Utterance], streaming: bool) -> None:
    rows = loaded(export, streaming)
    assert [row["audio"] for row in rows] == [{"bytes": clip.audio, "path": clip.file} for clip in clips]
    assert [row["num_samples"] / row["sampling_rate"] for row in rows] == [row["duration"] for row in rows]
    assert [row["num_samples"] for row in rows] == [clip.num_samples for clip in clips]
    assert [row["bandwidth_hz"] for row in rows[:2]] == [None, 7_800]
    row, planned = rows[3], clips[3].row
    same = {name for name in COLUMNS if hasattr(planned, name)}
    assert len(same) == 26
    assert {name: row[name] for name in same} == {name: getattr(planned, name) for name in same}
    assert (row["lang"], row["speaker_id"]) == (planned.language, planned.speaker)
    about_speaker = [row[f"speaker_{name}"] for name in ("emotion", "style", "pace", "accent")]
    assert about_speaker == [planned.emotion, planned.style, planned.pace, planned.accent]


def test_wav_is_carried_too(tmp_path: Path) -> None:
    clip = utterance(1)
    write_shard(FORMAT, [Utterance(clip.row, clip.audio, AudioForm.WAV, 16_000, clip.num_samples)], tmp_path)
    (row,) = pq.read_table(tmp_path / "data/hi/train-00000-of-00001.parquet").to_pylist()
    assert row["audio"]["path"] == "video_1-0001.wav"


def test_the_card_names_the_files_of_every_language_and_split() -> None:
    tarsets = [
        Tarset("hi", "train", 4_200, 20_000_000, 1.0),
        Tarset("hi", "dev", 1, 100, 1.0),
        Tarset("ta", "train", 2, 9_000, 1.0),
        Tarset("ta", "test", 0, 0, 0.0),
    ]
    assert configs(tarsets) == [
        {
            "config_name": "hi",
            "data_files": [
                {"split": "train", "path": "data/hi/part-*/train-*"},
                {"split": "dev", "path": "data/hi/dev-*"},
            ],
        },
        {"config_name": "ta", "data_files": [{"split": "train", "path": "data/ta/train-*"}]},
    ]


# ----------------------------------------------------------------------------- reading back


def test_what_was_written_is_read_back(export: Path, clips: list[Utterance]) -> None:
    found, defects = read_back(FORMAT, export)
    assert defects == []
    assert [clip.digest for clip in found] == [hashlib.sha256(clip.audio).hexdigest() for clip in clips]
    assert [(clip.id, clip.text, clip.speaker, clip.language) for clip in found] == [
        (clip.row.id, clip.row.text, ROW.speaker, "hi") for clip in clips
    ]
    for clip, written in zip(found, clips, strict=True):
        assert (clip.duration_s, clip.sample_rate_hz) == (written.duration_s, written.sample_rate_hz)
        assert clip.num_samples == clip.audio_samples == written.num_samples
        assert clip.audio_rate_hz == written.sample_rate_hz
    assert found[199].place == "data/hi/train-00000-of-00002.parquet row 199"
    assert found[200].place == "data/hi/train-00001-of-00002.parquet row 0"


def test_portions_know_language_and_split(export: Path) -> None:
    paths = [path_of(Shard("hi", "train", number, 1_500)) for number in range(1_500)]
    assert {(portion.language, portion.split) for portion in FORMAT.portions(paths, [])} == {("hi", "train")}
    assert [
        portion.paths for portion in FORMAT.portions(["x/train-00000-of-00001-0123abcd.parquet"], [])
    ] == [("x/train-00000-of-00001-0123abcd.parquet",)]


@pytest.mark.parametrize(
    ("paths", "yes"),
    [
        (["README.md", "data/hi/train-00000-of-00001.parquet"], True),
        (["default/train/0000.parquet"], True),
        (["plan.parquet", "dropped.parquet", "hi/train/audio_0.tar", "hi/train/manifest_0.json"], False),
        (["wavs/a.wav", "metadata.csv"], False),
    ],
)
def test_a_folder_is_recognised_by_its_names(paths: list[str], yes: bool) -> None:
    assert Parquet.recognises(paths) is yes


FOREIGN: dict[str, dict[str, Any]] = {
    "fleurs": {"transcription": "नमस्ते", "num_samples": 32_001, "language": "Hindi"},
    "common voice": {"client_id": "abc", "sentence": "नमस्ते", "locale": "hi"},
    "indicvoices-r": {
        "text": "नमस्ते", "speaker_id": 17, "samples": 32_001, "duration": 2.0000625, "lang": "hi", "snr": 30.0,
    },
    "nan for a rate": {"text": "नमस्ते", "sampling_rate": float("nan")},
}  # fmt: skip


@pytest.mark.parametrize("columns", FOREIGN.values(), ids=FOREIGN)
def test_datasets_of_others_are_read(columns: dict[str, Any], tmp_path: Path) -> None:
    """As `push_to_hub` writes them."""
    clip = utterance(1)
    audio = {"bytes": clip.audio, "path": "clip_7.flac"}
    rows = datasets.Dataset.from_dict(
        {"audio": [audio], **{name: [value] for name, value in columns.items()}}
    )
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    rows.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    (found,), defects = read_back(FORMAT, tmp_path)
    assert defects == []
    assert (found.id, found.text) == ("clip_7", "नमस्ते")
    assert found.num_samples == (32_001 if {"num_samples", "samples"} & columns.keys() else 0)
    assert found.duration_s == columns.get("duration", 0)
    assert found.speaker in ("", "abc", "17")
    assert (found.audio_rate_hz, found.audio_samples) == (16_000, 32_001)


# ----------------------------------------------------------------------------- what is wrong

Rows = list[dict[str, Any]]


def no_audio(rows: Rows) -> None:
    rows[150]["audio"] = None


def no_bytes(rows: Rows) -> None:
    rows[150]["audio"]["bytes"] = None


def empty_audio(rows: Rows) -> None:
    rows[150]["audio"]["bytes"] = b""


def damaged_audio(rows: Rows) -> None:
    audio = bytearray(rows[150]["audio"]["bytes"])
    audio[-200] ^= 0x10
    rows[150]["audio"]["bytes"] = bytes(audio)


def cut_audio(rows: Rows) -> None:
    rows[150]["audio"]["bytes"] = rows[150]["audio"]["bytes"][:-700]


def no_sound(rows: Rows) -> None:
    rows[150]["audio"]["bytes"] = b"<html>404 Not Found</html>"


IN_ROWS: dict[Callable[[Rows], None], str] = {
    no_audio: "missing_audio",
    no_bytes: "missing_audio",
    empty_audio: "missing_audio",
    damaged_audio: "bad_audio",
    cut_audio: "bad_audio",
    no_sound: "bad_audio",
}


def changed(export: Path, tmp_path: Path, change: Callable[[Rows], None]) -> Path:
    """A copy of the export with changed rows in its first file."""
    for path in (export / "data/hi").iterdir():
        table = pq.read_table(path)
        rows = table.to_pylist()
        if "00000-of" in path.name:
            change(rows)
        pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / path.name, row_group_size=100)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "code"), IN_ROWS.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_a_spoiled_row_is_named_and_the_others_are_read(
    export: Path, tmp_path: Path, change: Callable[[Rows], None], code: str
) -> None:
    found, defects = read_back(FORMAT, changed(export, tmp_path, change))
    (defect,) = defects
    assert defect.code == code
    assert defect.place.startswith("train-00000-of-00002.parquet row 150")
    assert "video_1-0150" in defect.place + defect.message
    assert len(found) == 204


def test_without_listening_the_headers_are_believed(export: Path, tmp_path: Path) -> None:
    folder = changed(export, tmp_path, damaged_audio)
    heard, looked = read_back(FORMAT, folder), read_back(FORMAT, folder, listen=False)
    assert len(looked[0]) == 205
    assert looked[1] == []
    assert [clip for clip in looked[0] if clip.id != "video_1-0150"] == heard[0]


def test_swapped_audio_is_named_in_both_rows(export: Path, tmp_path: Path) -> None:
    def swap(rows: Rows) -> None:
        rows[3]["audio"], rows[150]["audio"] = rows[150]["audio"], rows[3]["audio"]

    _, defects = read_back(FORMAT, changed(export, tmp_path, swap))
    assert [(defect.place.rpartition(" row ")[2], defect.code) for defect in defects] == [
        ("3", "swapped_audio"),
        ("150", "swapped_audio"),
    ]


def test_audio_of_another_clip_under_the_right_name_is_named(export: Path, tmp_path: Path) -> None:
    def swap(rows: Rows) -> None:
        rows[3]["audio"]["bytes"] = rows[150]["audio"]["bytes"]

    _, (defect,) = read_back(FORMAT, changed(export, tmp_path, swap))
    assert (defect.place.rpartition(" row ")[2], defect.code) == ("3", "swapped_audio")


def test_what_a_row_says_wrongly_is_read_as_it_says_it(export: Path, tmp_path: Path) -> None:
    """Verification compares these over all files: a read must not mend them."""

    def spoil(rows: Rows) -> None:
        rows[7]["num_samples"] += 1
        rows[8]["id"] = rows[9]["id"]
        rows[9]["text"] = "क़"  # decomposes: not NFC

    found, _ = read_back(FORMAT, changed(export, tmp_path, spoil))
    assert found[7].num_samples == found[7].audio_samples + 1
    assert found[8].id == found[9].id
    assert found[9].text == "क़"


def test_a_file_cut_short_is_named(export: Path, tmp_path: Path) -> None:
    for path in (export / "data/hi").iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-100] if "00001-of" in path.name else content)
    found, defects = read_back(FORMAT, tmp_path)
    assert [(defect.place, defect.code) for defect in defects] == [
        ("train-00001-of-00002.parquet", "truncated")
    ]
    assert len(found) == 200


def test_a_spoiled_page_costs_its_row_group_alone(export: Path, tmp_path: Path) -> None:
    """A bit that fell over in the text: no codec of audio sees it, the checksum of the page does."""
    name = "train-00000-of-00002.parquet"
    content = bytearray((export / "data/hi" / name).read_bytes())
    group = pq.ParquetFile(export / "data/hi" / name).metadata.row_group(1)
    text = next(
        column for column in map(group.column, range(group.num_columns)) if column.path_in_schema == "text"
    )
    content[text.dictionary_page_offset + text.total_compressed_size // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    found, defects = read_back(FORMAT, tmp_path)
    assert [(defect.place, defect.code) for defect in defects if defect.code != "missing_shard"] == [
        (name, "truncated")
    ]
    assert "rows 100 to 199" in defects[-1].message
    assert len(found) == 100


def test_a_table_without_audio_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "path": ["a.wav"]}), tmp_path / "train-00000-of-00001.parquet")
    found, (defect,) = read_back(FORMAT, tmp_path)
    assert found == []
    assert (defect.code, defect.place) == ("no_audio_column", "train-00000-of-00001.parquet")
    assert "text, path" in defect.message


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([(0, 3), (2, 3)], [("data/hi/train-00001-of-00003.parquet", "missing_shard")]),
        ([(0, 2), (1, 3), (1, 2)], [("data/hi/train-00001-of-00003.parquet", "shard_count")]),
        ([(0, 2), (1, 2), (2, 2)], [("data/hi/train-00002-of-00002.parquet", "shard_number")]),
    ],
)
def test_numbers_of_files_add_up(numbers: list[tuple[int, int]], expected: list[tuple[str, str]]) -> None:
    paths = [f"data/hi/train-{number:05d}-of-{of:05d}.parquet" for number, of in numbers]
    defects = list[Defect]()
    assert len(list(FORMAT.portions(paths, defects))) == len(paths)
    assert expected[0] in [(defect.place, defect.code) for defect in defects]
    assert {defect.code for defect in defects} <= {expected[0][1], "shard_number"}

"""Tars for NeMo, lhotse and webdataset: byte for byte what is written, and what is read of it and of anybody's."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_kit import ROW, SHARD, Folder, read_back, utterance, write_shard
from foreign_audio import voice, written
from lipika.archive.tar import END_OF_ARCHIVE
from lipika.audio.flac import StreamInfo
from lipika.dataset.formats.base import Format, Index, IndexRow
from lipika.dataset.formats.nemo import Nemo
from lipika.dataset.formats.shar import Shar
from lipika.dataset.formats.webdataset import WebDataset
from lipika.dataset.model import AudioForm, Layout, Shard, Tarset, Utterance

FORMATS: Sequence[Format] = (Nemo(), Shar(), WebDataset())
every_format = pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)

WAVS = [
    Utterance(
        replace(ROW, id=f"wav-{rate}"), written(voice(0.3, rate), rate, "WAV"), AudioForm.WAV, rate, count
    )
    for rate in (8_000, 24_000)
    for count in [round(0.3 * rate)]
]
CLIPS = [utterance(number, 0.25, rate) for number, rate in enumerate((8_000, 16_000, 44_100))]

MD5 = bytes(range(1, 17))
MADE = StreamInfo(4096, 4096, 16_000, 1, 16, 12_345).head(md5=MD5) + bytes(range(200))
"""Nothing that decodes, and the same bytes whatever encoder is installed."""
GOLDEN = (
    Utterance(ROW, MADE, AudioForm.FLAC, 16_000, 12_345),
    Utterance(
        replace(ROW, id="clip_2", text="दो: 3.5", snr_db=None, accent="", skip="lane"),
        b"RIFF",
        AudioForm.WAV,
        3,
        10,
    ),
)


def members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


# ----------------------------------------------------------------------------- what is written

KNOWN = (
    '"video_id":"video.1","verbatim":"नमस्ते, दुनिया!","tagged":"नमस्ते [laugh] दुनिया","detected_language":"hi",'
    '"language_hint":"hi","lanes":"asr tts_expressive","findings":"short_pause","tier":"gold",'
    '"speaker_emotion":"happy","speaker_style":"conversational","speaker_pace":"normal",{accent}"model":"gemini-3-flash-preview",'
    '"provider":"aistudio","prompt_version":"4","validator_version":"7","text_source":"model","audio_digest":"'
    + "0" * 64
    + '","start_ms":8250,"end_ms":10250,"quality_score":0.875,{snr}"speech_ms":1700'
)
FIRST = KNOWN.replace("{accent}", '"speaker_accent":"Awadhi",').replace("{snr}", '"snr_db":31.5,')
SECOND = KNOWN.replace("{accent}", "").replace("{snr}", "")
CANARY = '"source_lang":"hi","target_lang":"hi","pnc":"%s","task":"asr","taskname":"asr"'
MD5_FIELD = '"audio_md5":"0102030405060708090a0b0c0d0e0f10"'


def test_nemo_byte_for_byte(tmp_path: Path) -> None:
    write_shard(Nemo(), GOLDEN, tmp_path, Shard("hi", "train", 3, 12))
    assert Folder(tmp_path).paths() == ["hi/train/audio_3.tar", "hi/train/manifest_3.json"]
    files = [("video_1-0001.flac", MADE), ("clip_2.wav", b"RIFF")]
    tar = (tmp_path / "hi/train/audio_3.tar").read_bytes()
    assert members(tmp_path / "hi/train/audio_3.tar") == files
    assert (
        sha256(tmp_path / "hi/train/audio_3.tar")
        == "a39c681713fc3944d645fc158c09c20b778240cf76d3f5b62cd54edf9c059d47"
    )
    assert tar.endswith(END_OF_ARCHIVE)
    assert len(tar) == 4 * 512 + 512 + 512  # two headers, two contents, the end
    assert lines(tmp_path / "hi/train/manifest_3.json") == [
        '{"audio_filepath":"video_1-0001.flac","duration":0.7715625,"text":"नमस्ते दुनिया","lang":"hi",'
        + CANARY % "no"
        + ',"shard_id":3,"sampling_rate":16000,"num_samples":12345,"id":"video_1-0001","speaker":"video_1-speaker0",'
        + FIRST
        + f",{MD5_FIELD}}}",
        '{"audio_filepath":"clip_2.wav","duration":3.3333333333333335,"text":"दो: 3.5","lang":"hi",'
        + CANARY % "yes"
        + ',"shard_id":3,"sampling_rate":3,"num_samples":10,"id":"clip_2","speaker":"video_1-speaker0",'
        + SECOND
        + ',"_skipme":"lane"}',
    ]


def test_shar_byte_for_byte(tmp_path: Path) -> None:
    write_shard(Shar(), GOLDEN, tmp_path, Shard("hi", "train", 3, 12))
    cuts, tar = "hi/train/cuts.000003.jsonl", "hi/train/recording.000003.tar"
    assert Folder(tmp_path).paths() == [cuts, tar, f"index/{cuts}.idx", f"index/{tar}.idx"]
    recording = (
        '{"id":"%s","sources":[{"type":"shar","channels":[0],"source":""}],"sampling_rate":%d,"num_samples":%d,'
        '"duration":%r,"channel_ids":[0]}'
    )
    first = recording % ("video_1-0001", 16_000, 12_345, 0.7715625)
    second = recording % ("clip_2", 3, 10, 3.3333333333333335)
    files = [
        ("video_1-0001.flac", MADE),
        ("video_1-0001.json", first.encode()),
        ("clip_2.wav", b"RIFF"),
        ("clip_2.json", second.encode()),
    ]
    assert members(tmp_path / tar) == files
    assert sha256(tmp_path / tar) == "b6433553ca6fe77d3cbeb8a850e0cb73a87b5ebc146ffc04237c9729ae709fee"
    cut = (
        '{"id":"%s","start":0,"duration":%r,"channel":0,"supervisions":[{"id":"%s","recording_id":"%s","start":0.0,'
        '"duration":%r,"channel":0,"text":"%s","language":"hi","speaker":"video_1-speaker0"}],"recording":%s,'
        '"custom":{%s},"type":"MonoCut"}'
    )
    ids, seconds = ("video_1-0001", "clip_2"), (0.7715625, 3.3333333333333335)
    custom = (
        f"{FIRST},{CANARY % 'no'},{MD5_FIELD}",
        f'{SECOND},{CANARY % "yes"},"_skipme":"lane"',
    )
    assert lines(tmp_path / cuts) == [
        cut
        % (
            ids[at],
            seconds[at],
            ids[at],
            ids[at],
            seconds[at],
            GOLDEN[at].row.text,
            (first, second)[at],
            custom[at],
        )
        for at in (0, 1)
    ]


def test_an_index_says_where_each_sample_begins(tmp_path: Path) -> None:
    write_shard(Shar(), CLIPS, tmp_path)
    cuts = (tmp_path / "hi/train/cuts.000000.jsonl").read_bytes()
    tar = (tmp_path / "hi/train/recording.000000.tar").read_bytes()
    of_cuts, of_tar = (
        np.frombuffer((tmp_path / "index/hi/train" / f"{name}.idx").read_bytes(), "<u8").tolist()
        for name in ("cuts.000000.jsonl", "recording.000000.tar")
    )
    assert (of_cuts[-1], of_tar[-1]) == (len(cuts), len(tar))
    for at, clip in enumerate(CLIPS):
        assert json.loads(cuts[of_cuts[at] : of_cuts[at + 1]])["id"] == clip.row.id
        assert (
            tarfile.TarInfo.frombuf(tar[of_tar[at] :][:512], "utf-8", "strict").name == f"{clip.row.id}.flac"
        )


def test_webdataset_byte_for_byte(tmp_path: Path) -> None:
    write_shard(WebDataset(), GOLDEN, tmp_path, Shard("hi", "train", 3, 12))
    (path,) = Folder(tmp_path).paths()
    assert path == "hi/train/hi-train-000003.tar"
    always = KNOWN.replace("{snr}", "").replace(',"speech_ms":1700', "")
    always = always.replace('"findings":"short_pause",', '"findings":"short_pause","flags":"",')
    head = '{"id":"%s","text":"%s","language":"hi","speaker":"video_1-speaker0","duration":%r,"sampling_rate":%d,'
    first = head % ("video_1-0001", "नमस्ते दुनिया", 0.7715625, 16_000) + '"num_samples":12345,'
    first += (
        always.replace("{accent}", '"speaker_accent":"Awadhi",') + f',"words":"[]",{MD5_FIELD},"skip":""}}'
    )
    second = head % ("clip_2", "दो: 3.5", 3.3333333333333335, 3) + '"num_samples":10,'
    second += always.replace("{accent}", '"speaker_accent":"",') + ',"words":"[]","skip":"lane"}'
    assert members(tmp_path / path) == [
        ("video_1-0001.flac", MADE),
        ("video_1-0001.json", first.encode()),
        ("clip_2.wav", b"RIFF"),
        ("clip_2.json", second.encode()),
    ]
    assert sha256(tmp_path / path) == "9087d6253d2d4fd401780cf8a1abea3f1463367b7d99db010c60cc9fb93e9de7"


@pytest.mark.parametrize("name", ["a.b", "a/b", "", "a b", "video-sub1", "उदाहरण_1", "a" * 96, "__a", "-a"])
@every_format
def test_a_name_that_readers_would_take_for_another_is_refused(
    kind: Format, name: str, tmp_path: Path
) -> None:
    writer = kind.open(SHARD, tmp_path)
    with pytest.raises(ValueError, match="cannot be the name of a clip"):
        writer.add(replace(GOLDEN[0], row=replace(ROW, id=name)))
    writer.finish()
    assert read_back(kind, tmp_path) == ([], [])


@pytest.mark.parametrize("unknown", [0, 5])
def test_any_five_samples_give_the_same_types(unknown: int, tmp_path: Path) -> None:
    """`datasets` infers them from the first five, and refuses what comes later and differs."""
    empty = {
        "snr_db": None,
        "speech_ms": None,
        "bandwidth_hz": None,
        "alignment_score": None,
        "accent": "",
        "tier": "",
    }
    rows = [
        replace(ROW, id=f"a-{at}", **(empty if at < unknown else {"alignment_score": 0.5})) for at in range(9)
    ]
    write_shard(WebDataset(), [replace(GOLDEN[0], row=row) for row in rows], tmp_path)
    found = members(tmp_path / WebDataset().audio_path(SHARD, ""))
    documents = [json.loads(content) for name, content in found if name.endswith(".json")]
    assert pa.Table.from_pylist(documents[:5]).schema == pa.Table.from_pylist(documents).schema
    assert not any(field.type == pa.null() for field in pa.Table.from_pylist(documents[:5]).schema)


class NoIndex:
    def rows(self, language: str, split: str) -> Iterator[IndexRow]:
        raise AssertionError(f"{language} {split}: nothing of it is needed")


def test_trainings_are_told_of_each_split_apart() -> None:
    index: Index = NoIndex()
    tarsets = [
        Tarset("no", "train", 12, 40_000, 7_200.0),
        Tarset("hi", "train", 1, 10, 0.01),
        Tarset("hi", "dev", 1, 5, 3_600.0),
        Tarset("ta", "dev", 0, 0, 0.0),
    ]
    found = {name: b"".join(pieces) for name, pieces in Nemo().whole(Layout(tarsets, "s3://b/x/"), index)}
    assert sorted(found) == ["input_cfg.yaml", "input_cfg_dev.yaml"]
    assert yaml.safe_load(found["input_cfg.yaml"]) == [
        {
            "type": "nemo_tarred",
            "manifest_filepath": "s3://b/x/hi/train/manifest_0.json",
            "tarred_audio_filepaths": "s3://b/x/hi/train/audio_0.tar",
            "weight": 0.0001,
            "tags": {"lang": "hi", "split": "train"},
        },
        {
            "type": "nemo_tarred",
            "manifest_filepath": "s3://b/x/no/train/manifest__OP_0..11_CL_.json",
            "tarred_audio_filepaths": "s3://b/x/no/train/audio__OP_0..11_CL_.tar",
            "weight": 2.0,
            "tags": {"lang": "no", "split": "train"},
        },
    ]
    (dev,) = yaml.safe_load(found["input_cfg_dev.yaml"])
    assert dev["weight"] == 1.0
    relative = dict(Nemo().whole(Layout(tarsets[:1], ""), index))
    assert b'"no/train/audio__OP' in b"".join(relative["input_cfg.yaml"])


# ----------------------------------------------------------------------------- what is read of it


@pytest.mark.parametrize("clips", [CLIPS, WAVS], ids=["flac", "wav"])
@every_format
def test_what_was_written_is_read(kind: Format, clips: list[Utterance], tmp_path: Path) -> None:
    shards = [Shard("hi", "train", 0, 2), Shard("hi", "train", 1, 2), Shard("hi", "dev", 0, 1)]
    for number, shard in enumerate(shards):
        copies = [replace(clip, row=replace(clip.row, id=f"{clip.row.id}-{number}")) for clip in clips]
        write_shard(kind, copies, tmp_path, shard)
    paths = Folder(tmp_path).paths()
    assert [other.name for other in FORMATS if other.recognises(paths)] == [kind.name]
    portions = list(kind.portions(paths, []))
    assert sorted((portion.language, portion.split) for portion in portions) == [
        ("hi", "dev"), ("hi", "train"), ("hi", "train")
    ]  # fmt: skip
    found, defects = read_back(kind, tmp_path)
    assert defects == []
    assert len(found) == 3 * len(clips)
    first = clips[0]
    there = next(clip for clip in found if clip.id == f"{first.row.id}-0")
    assert there.place.rpartition(":")[0] in paths or there.place.partition(":")[0] in paths
    assert (there.text, there.language, there.speaker) == (first.row.text, "hi", first.row.speaker)
    assert (there.duration_s, there.sample_rate_hz) == (first.duration_s, first.sample_rate_hz)
    assert (there.num_samples, there.audio_samples) == (first.num_samples, first.num_samples)
    assert (there.audio_rate_hz, there.video_id) == (first.sample_rate_hz, first.row.video_id)
    assert there.digest == hashlib.sha256(first.audio).hexdigest()
    assert there.exact
    looked_at, _ = read_back(kind, tmp_path, listen=False)
    assert looked_at == found


@every_format
def test_an_empty_shard_is_a_whole_one(kind: Format, tmp_path: Path) -> None:
    write_shard(kind, [], tmp_path)
    assert read_back(kind, tmp_path) == ([], [])


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
ROWS = st.builds(
    lambda text, speaker, tagged, score, snr, at, skip: (
        replace(ROW, text=text, speaker=speaker, tagged=tagged, quality_score=score, snr_db=snr, skip=skip),
        CLIPS[at],
    ),
    TEXTS,
    TEXTS,
    TEXTS,
    st.floats(0, 1),
    st.none() | st.floats(-20, 100),
    st.integers(0, len(CLIPS) - 1),
    st.sampled_from(["", "lane"]),
)


@every_format
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(ROWS, max_size=6))
def test_whatever_is_written_is_read(kind: Format, rows: list[tuple[Any, Utterance]]) -> None:
    clips = [replace(clip, row=replace(row, id=f"c{at}")) for at, (row, clip) in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        write_shard(kind, clips, Path(folder))
        found, defects = read_back(kind, Path(folder))
    assert defects == []
    assert [(clip.id, clip.text, clip.speaker, clip.duration_s, clip.num_samples) for clip in found] == [
        (clip.row.id, clip.row.text, clip.row.speaker, clip.duration_s, clip.num_samples) for clip in clips
    ]


LOAD = """
import hashlib, json, sys, webdataset
def told(sample):
    return sample["__key__"], hashlib.sha256(sample["flac"]).hexdigest(), json.loads(sample["json"])["text"]
print(json.dumps([*map(told, webdataset.WebDataset(sys.argv[1], shardshuffle=False))]))
"""


def test_webdataset_itself_reads_every_sample(tmp_path: Path) -> None:
    write_shard(WebDataset(), CLIPS, tmp_path)
    path = tmp_path / WebDataset().audio_path(SHARD, "")
    ran = subprocess.run([sys.executable, "-c", LOAD, path], check=True, capture_output=True)
    assert json.loads(ran.stdout) == [
        [clip.row.id, hashlib.sha256(clip.audio).hexdigest(), clip.row.text] for clip in CLIPS
    ]


def test_word_times_are_in_every_tar_format_as_its_readers_have_them(tmp_path: Path) -> None:
    words = '[["नमस्ते",150,620,0.9],["दुनिया",700,1180,null]]'
    clip = utterance(1)
    clip = replace(clip, row=replace(clip.row, words=words))
    write_shard(Nemo(), [clip], tmp_path / "nemo")
    manifest = json.loads((tmp_path / "nemo/hi/train/manifest_0.json").read_bytes())
    assert manifest["words"] == [["नमस्ते", 0.15, 0.62, 0.9], ["दुनिया", 0.7, 1.18, None]]
    write_shard(Shar(), [clip], tmp_path / "shar")
    cut = json.loads((tmp_path / "shar/hi/train/cuts.000000.jsonl").read_bytes())
    items = cut["supervisions"][0]["alignment"]["word"]
    assert items == [["नमस्ते", 0.15, 0.47, 0.9], ["दुनिया", 0.7, 0.48]]

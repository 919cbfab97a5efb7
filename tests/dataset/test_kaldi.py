"""Kaldi's folders: lists as Kaldi's own checks want them, and every defect of anybody's found at its line."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_kit import read_back
from lipika.dataset.formats.base import IndexRow
from lipika.dataset.formats.kaldi import Kaldi, written_text
from lipika.dataset.model import AudioForm, Layout, Shard, Tarset
from lipika.errors import UsageError
from lists_kit import Rows, clip, edit, write_export

KALDI = Kaldi()
LISTS = {"text", "utt2spk", "spk2utt", "wav.scp", "utt2dur", "reco2dur", "utt2lang"}
T = "hi/train"

CLIPS = [
    clip(1, "v_s1_000_200", "पहला  पाठ", "v_s1"),
    clip(2, "v_s1_300_500", "दूसरा\tपाठ\n", "v_s1"),
    clip(3, "v_s10_000_200", "तीसरा <s> पाठ", "v_s10"),
    clip(4, "-w_s1_000_200", "चौथा पाठ", "-w_s1", shard=Shard("hi", "train", 1, 2)),
    clip(5, "x_s1_000_200", "पाँचवाँ पाठ", "राम"),
]


def sort_as_kaldi_does(path: Path, *options: str) -> int:
    return subprocess.run(["sort", *options, "-C", path], env={**os.environ, "LC_ALL": "C"}).returncode


def test_lists_as_they_are_written(tmp_path: Path) -> None:
    write_export(KALDI, CLIPS, tmp_path, "/data/my set")
    folder = tmp_path / T
    assert {path.name for path in folder.iterdir()} == LISTS | {"audio"}
    assert (folder / "text").read_text("utf-8").splitlines() == [
        ".w_s1--w_s1_000_200 चौथा पाठ",
        "v_s1-v_s1_000_200 पहला पाठ",
        "v_s1-v_s1_300_500 दूसरा पाठ",
        "v_s10-v_s10_000_200 तीसरा पाठ",
        "राम-x_s1_000_200 पाँचवाँ पाठ",
    ]
    assert (folder / "spk2utt").read_text("utf-8").splitlines() == [
        ".w_s1 .w_s1--w_s1_000_200",
        "v_s1 v_s1-v_s1_000_200 v_s1-v_s1_300_500",
        "v_s10 v_s10-v_s10_000_200",
        "राम राम-x_s1_000_200",
    ]
    assert (folder / "utt2spk").read_text("utf-8").splitlines()[0] == ".w_s1--w_s1_000_200 .w_s1"
    assert (folder / "utt2lang").read_text("utf-8").splitlines()[1] == "v_s1-v_s1_000_200 hi"
    assert (folder / "utt2dur").read_text("utf-8").splitlines()[1:3] == [
        "v_s1-v_s1_000_200 0.500125",
        "v_s1-v_s1_300_500 0.50025",
    ]
    assert (folder / "reco2dur").read_bytes() == (folder / "utt2dur").read_bytes()
    assert (folder / "wav.scp").read_text("utf-8").splitlines()[:2] == [
        ".w_s1--w_s1_000_200 flac -c -d -s '/data/my set/hi/train/audio/000001/-w_s1_000_200.flac' |",
        "v_s1-v_s1_000_200 flac -c -d -s '/data/my set/hi/train/audio/000000/v_s1_000_200.flac' |",
    ]


def test_wav_is_read_without_a_command(tmp_path: Path) -> None:
    write_export(KALDI, [clip(1, "v_s1_0_2", form=AudioForm.WAV)], tmp_path, "/data")
    assert (
        tmp_path / T / "wav.scp"
    ).read_text() == "v_s1-v_s1_0_2 /data/hi/train/audio/000000/v_s1_0_2.wav\n"
    assert read_back(KALDI, tmp_path)[1] == []


@pytest.mark.skipif(shutil.which("flac") is None, reason="flac is not installed")
def test_the_command_gives_the_samples_that_were_packed(tmp_path: Path) -> None:
    write_export(KALDI, [clip(1, "v_s1_0_2")], tmp_path, str(tmp_path))
    source = (tmp_path / T / "wav.scp").read_text().partition(" ")[2]
    assert source.endswith(" |\n")
    heard = subprocess.run(source[:-2], shell=True, check=True, capture_output=True).stdout  # noqa: S602
    samples, rate = soundfile.read(io.BytesIO(heard), dtype="int16")
    packed, packed_rate = soundfile.read(io.BytesIO(clip(1, "v_s1_0_2").audio), dtype="int16")
    assert (samples.tolist(), rate) == (packed.tolist(), packed_rate)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#0", "0"),
        ("a #0.5 b", "a 0.5 b"),
        ("#01 a#0", "#01 a#0"),
        ("#0क", "0क"),
        ("a<s>b </s>c <s>", "a<s>b </s>c"),
    ],
)
def test_words_of_kaldis_own_are_not_written(text: str, expected: str) -> None:
    assert written_text(text) == expected


names = st.text(st.sampled_from("aZ09_-"), min_size=1, max_size=4)
texts = st.text(min_size=1).filter(written_text)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(names, st.tuples(names, texts, st.integers(0, 9)), min_size=1, max_size=12))
def test_whatever_is_written_is_read_back(planned: dict[str, tuple[str, str, int]]) -> None:
    clips = {name: clip(samples, name, text, speaker) for name, (speaker, text, samples) in planned.items()}
    with TemporaryDirectory() as made:
        root = Path(made)
        write_export(KALDI, list(clips.values()), root)
        for name in LISTS:
            assert sort_as_kaldi_does(root / T / name) == 0
        assert sort_as_kaldi_does(root / T / "utt2spk", "-k2") == 0
        read, defects = read_back(KALDI, root)
    assert defects == []
    assert {one.id: (one.text, one.speaker, one.duration_s, one.language) for one in read} == {
        name: (written_text(one.row.text), one.row.speaker.replace("-", "."), one.duration_s, "hi")
        for name, one in clips.items()
    }
    assert all((one.audio_samples, one.audio_rate_hz) == (4_000 + planned[one.id][2], 8_000) for one in read)


@pytest.mark.parametrize("text", ["", " \n", "<s> </s>"])
def test_no_clip_without_text_is_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="v_1 has no text that can be written"):
        write_export(KALDI, [clip(1, "v_1", text)], tmp_path)


@pytest.mark.parametrize("speaker", ["", "a b", "a.b", "a+b", "a/b", "a\u00a0b"])
def test_speakers_that_would_break_the_order_are_refused(tmp_path: Path, speaker: str) -> None:
    with pytest.raises(UsageError, match="cannot sort the speaker"):
        write_export(KALDI, [clip(1, "v_1", speaker=speaker)], tmp_path)


def test_rows_in_another_order_are_not_written() -> None:
    class Backwards(Rows):
        def rows(self, language: str, split: str) -> Iterator[IndexRow]:
            return reversed(list(super().rows(language, split)))

    layout = Layout([Tarset("hi", "train", 1, 2, 2.0)], "")
    index = Backwards(KALDI, [clip(1, "a", speaker="s"), clip(2, "b", speaker="s")])
    with pytest.raises(ValueError, match="s-a comes after s-b"):
        list(dict(KALDI.whole(layout, index))["hi/train/text"])


# ----------------------------------------------------------------------------- anybody's

A, B, C, D, E = (
    ".w_s1--w_s1_000_200",
    "v_s1-v_s1_000_200",
    "v_s1-v_s1_300_500",
    "v_s10-v_s10_000_200",
    "राम-x_s1_000_200",
)


def plant(path: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda root: edit(root, f"{T}/{path}", old, new)


def append(path: str, line: str) -> Callable[[Path], None]:
    def add(root: Path) -> None:
        with (root / T / path).open("a", encoding="utf-8") as file:
            file.write(line)

    return add


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / T / path).unlink()


def cut_audio(root: Path) -> None:
    path = root / T / "audio/000000/v_s1_000_200.flac"
    path.write_bytes(path.read_bytes()[:3_000])


def lengthen(root: Path) -> None:
    for name in ("utt2dur", "reco2dur"):
        edit(root, f"{T}/{name}", "0.50025", "0.75")


def end_in_cr(root: Path) -> None:
    path = root / T / "text"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


AUDIO = "audio/000000"
PLANTED: dict[str, tuple[Callable[[Path], None], list[tuple[str, str, str]]]] = {
    "unsorted": (
        plant("text", f"{B} पहला पाठ\n{C} दूसरा पाठ\n", f"{C} दूसरा पाठ\n{B} पहला पाठ\n"),
        [("text:3", "unsorted", "order of bytes")],
    ),
    "no audio row": (
        plant("wav.scp", f"{C} flac -c -d -s hi/train/{AUDIO}/v_s1_300_500.flac |\n", ""),
        [
            ("text:3", "missing_audio", f"{C} is not in wav.scp"),
            (f"{AUDIO}/v_s1_300_500.flac", "missing_row", "no row"),
        ],
    ),
    "no text": (
        plant("text", f"{C} दूसरा पाठ\n", ""),
        [
            ("wav.scp:3", "missing_row", f"{C} is not in text"),
            (f"{AUDIO}/v_s1_300_500.flac", "missing_row", "no row"),
        ],
    ),
    "no speaker": (
        plant("utt2spk", f"{C} v_s1\n", ""),
        [("text:3", "missing_row", f"{C} is not in utt2spk"), ("spk2utt:2", "speaker", "is not in utt2spk")],
    ),
    "a ghost": (append("utt2lang", "राम-y hi\n"), [("utt2lang:6", "ghost_row", "राम-y is in neither")]),
    "twice": (
        plant("text", f"{D} तीसरा पाठ\n", f"{C} तीसरा पाठ\n{D} तीसरा पाठ\n"),
        [("text:4", "duplicate_id", f"{C} stands in hi/train/text:3 already")],
    ),
    "audio is gone": (
        remove(f"{AUDIO}/v_s10_000_200.flac"),
        [("wav.scp:4", "missing_audio", "there is no hi/train/audio/000000/v_s10_000_200.flac")],
    ),
    "audio is cut": (cut_audio, [("text:2", "bad_audio", "v_s1_000_200")]),
    "audio is another's": (
        plant("wav.scp", f"{AUDIO}/v_s1_300_500.flac", f"{AUDIO}/v_s1_000_200.flac"),
        [
            ("wav.scp:3", "duplicate_audio", "has the audio of hi/train/wav.scp:2"),
            (f"{AUDIO}/v_s1_300_500.flac", "missing_row", "no row"),
        ],
    ),
    "wrong duration": (
        lengthen,
        [("utt2dur:3", "duration", "0.75 s here, and 0.500 s of audio")],
    ),
    "two durations": (
        plant("reco2dur", "0.50025", "0.75"),
        [("utt2dur:3", "duration", "0.50025 s here and 0.75 s in hi/train/reco2dur:3")],
    ),
    "no number": (
        plant("utt2dur", "0.50025", "nan"),
        [("utt2dur:3", "duration", "'nan' for seconds")],
    ),
    "another speaker": (
        plant("spk2utt", f"v_s1 {B} {C}\nv_s10 {D}\n", f"v_s1 {B}\nv_s10 {C} {D}\n"),
        [("spk2utt:3", "speaker", f"{C} is of v_s10 here and of v_s1 in hi/train/utt2spk:3")],
    ),
    "a speaker forgotten": (
        plant("spk2utt", f" {C}\n", "\n"),
        [("utt2spk:3", "speaker", f"{C} of v_s1 is not in spk2utt")],
    ),
    "bad encoding": (
        plant("text", f"{C} दूसरा पाठ", f"{C} d\udcff"),
        [
            ("text:3", "encoding", f"byte {len(C) + 3}, 0xff, is not UTF-8"),
            ("wav.scp:3", "missing_row", "is not in text"),
            (f"{AUDIO}/v_s1_300_500.flac", "missing_row", "no row"),
        ],
    ),
    "a mark ahead": (plant("text", A, f"\ufeff{A}"), [("text:1", "encoding", "byte order mark")]),
    "empty text": (plant("text", "दूसरा पाठ", ""), [("text:3", "empty_text", f"{C} has no text")]),
    "two spaces": (
        plant("text", "दूसरा पाठ", "दूसरा  पाठ"),
        [("text:3", "odd_spaces", "two spaces at character 6")],
    ),
    "a hard space": (plant("text", "दूसरा पाठ", "दूसरा\u00a0पाठ"), [("text:3", "odd_spaces", "U+00A0")]),
    "CR LF": (
        end_in_cr,
        [("text:1", "line_end", "5 lines end in CR LF")],
    ),
    "cut short": (
        plant("text", "पाँचवाँ पाठ\n", "पाँचवाँ"),
        [("text:5", "truncated", "the last line has no end")],
    ),
    "a blank line": (plant("text", f"{C} दू", f"\n{C} दू"), [("text:3", "bad_row", "blank")]),
    "two speakers": (
        plant("utt2spk", f"{C} v_s1", f"{C} v_s1 v_s2"),
        [
            ("utt2spk:3", "bad_row", "more than one value"),
            ("text:3", "missing_row", "is not in utt2spk"),
            ("spk2utt:2", "speaker", "is not in utt2spk"),
        ],
    ),
    "a list is gone": (remove("spk2utt"), [("spk2utt", "missing_list", "no such file")]),
    "segments": (append("segments", f"{A} {A} 0.0 0.2\n"), [("segments", "segments", "parts of recordings")]),
    "an archive": (
        plant("wav.scp", f"flac -c -d -s hi/train/{AUDIO}/v_s1_300_500.flac |", "/data/raw.1.ark:17"),
        [("wav.scp:3", "archive", "raw.1.ark:17"), (f"{AUDIO}/v_s1_300_500.flac", "missing_row", "no row")],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defects_are_found_at_their_line(tmp_path: Path, name: str) -> None:
    do, expected = PLANTED[name]
    write_export(KALDI, CLIPS, tmp_path)
    assert read_back(KALDI, tmp_path)[1] == []
    do(tmp_path)
    defects = read_back(KALDI, tmp_path)[1]
    assert sorted((one.place, one.code) for one in defects) == sorted(
        (f"{T}/{place}", code) for place, code, _ in expected
    )
    for place, code, words in expected:
        assert any(words in one.message for one in defects if (one.place, one.code) == (f"{T}/{place}", code))


def test_a_folder_as_recipes_make_it(tmp_path: Path) -> None:
    """Whole paths of another machine, sox in between, tabs, rounded seconds, no durations, a folder above."""
    write_export(KALDI, CLIPS[:2], tmp_path / "made", "/home/me/corpus")
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    shutil.copytree(tmp_path / "made" / T / "audio", tmp_path / "wavs")
    for name in ("text", "utt2spk", "spk2utt"):
        data.joinpath(name).write_bytes((tmp_path / "made" / T / name).read_bytes())
    edit(tmp_path, "data/train/text", f"{B} ", f"{B}\t")
    (data / "wav.scp").write_text(
        f"{B} sox -t flac /home/me/corpus/wavs/000000/v_s1_000_200.flac -r 8000 -t wav - |\n"
        f"{C} /home/me/corpus/wavs/000000/v_s1_300_500.flac\n"
    )
    (data / "utt2dur").write_text(f"{B} 0.5\n{C} 0.48\n")
    shutil.rmtree(tmp_path / "made")
    clips, defects = read_back(KALDI, tmp_path)
    assert defects == []
    assert [(one.id, one.text, one.place) for one in clips] == [
        ("v_s1_000_200", "पहला पाठ", "data/train/text:1"),
        ("v_s1_300_500", "दूसरा पाठ", "data/train/text:2"),
    ]


def test_which_folders_are_kaldis() -> None:
    assert Kaldi.recognises(["data/train/wav.scp", "data/train/text"])
    assert Kaldi.recognises(["wav.scp", "utt2spk"])
    assert not Kaldi.recognises(["wav.scp"])
    assert not Kaldi.recognises(["a/wav.scp", "b/text", "metadata.csv", "wavs/a.wav"])

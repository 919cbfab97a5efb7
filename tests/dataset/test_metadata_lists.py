"""LJSpeech's and F5's lists: read as trainers read them, and every defect of anybody's found at its line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_kit import read_back
from lipika.dataset.formats import ljspeech
from lipika.dataset.formats.base import Format
from lipika.dataset.formats.f5 import F5
from lipika.dataset.formats.files import one_line
from lipika.dataset.formats.ljspeech import LJSpeech
from lipika.dataset.model import AudioForm
from lipika.errors import UsageError
from lists_kit import clip, edit, write_export

LJ, F = LJSpeech(), F5()
LIST = "hi/train/metadata.csv"
ROOT = "/data/set"


CLIPS = [
    clip(1, "v_1", "पहला  पाठ", form=AudioForm.WAV),
    clip(2, "v_2", 'दूसरा\n|"पाठ', form=AudioForm.WAV),
    clip(3, "v_3", '"तीसरा पाठ', form=AudioForm.WAV),
    clip(4, "v_4", "चौथा पाठ", form=AudioForm.WAV),
]


def lines_of(written_by: Format, root: Path) -> list[str]:
    write_export(written_by, CLIPS, root, ROOT)
    assert {path.name for path in (root / "hi/train/wavs").iterdir()} == {f"v_{n}.wav" for n in range(1, 5)}
    return (root / LIST).read_text("utf-8").splitlines()


def test_ljspeech_as_it_is_written(tmp_path: Path) -> None:
    assert lines_of(LJ, tmp_path) == [
        "v_1|पहला पाठ|पहला पाठ",
        'v_2|दूसरा "पाठ|दूसरा "पाठ',
        'v_3|"तीसरा पाठ|"तीसरा पाठ',
        "v_4|चौथा पाठ|चौथा पाठ",
    ]


def test_f5_as_it_is_written(tmp_path: Path) -> None:
    assert lines_of(F, tmp_path) == [
        "audio_file|text",
        "/data/set/hi/train/wavs/v_1.wav|पहला पाठ",
        '/data/set/hi/train/wavs/v_2.wav|"दूसरा |""पाठ"',
        '/data/set/hi/train/wavs/v_3.wav|"""तीसरा पाठ"',
        "/data/set/hi/train/wavs/v_4.wav|चौथा पाठ",
    ]


def test_what_f5s_trainer_passes_over_is_not_planned() -> None:
    assert F.seconds == (0.4, 30.0)


texts = st.text(min_size=1).filter(ljspeech.written_text)
plans = st.dictionaries(st.text(st.sampled_from("aZ09_-"), min_size=1, max_size=4), texts, min_size=1)


@settings(deadline=None, max_examples=50)
@given(plans, st.sampled_from([LJ, F]))
@example({"a": '"', "b": 'x "" | y', "c": "\r\n\u2028|\x85z"}, F)
@example({"a": '"', "b": 'x "" | y', "c": "\r\n\u2028|\x85z"}, LJ)
def test_whatever_is_written_is_read_back_and_by_trainers_too(
    planned: dict[str, str], format_: Format
) -> None:
    clips = [clip(1, name, text, form=AudioForm.WAV) for name, text in planned.items()]
    fit = ljspeech.written_text if format_ is LJ else one_line
    expected = {name: fit(text) for name, text in planned.items()}
    with TemporaryDirectory() as made:
        write_export(format_, clips, Path(made), ROOT)
        read, defects = read_back(format_, Path(made))
        with (Path(made) / LIST).open(encoding="utf-8", newline="") as file:
            if format_ is LJ:
                trained = {line.split("|")[0]: line.rstrip("\n").split("|")[2] for line in file}
            else:
                trained = {Path(path).stem: text for path, text in list(csv.reader(file, delimiter="|"))[1:]}
    assert defects == []
    assert {one.id: one.text for one in read} == trained == expected
    assert {(one.language, one.audio_rate_hz, one.audio_samples) for one in read} == {("hi", 8_000, 4_001)}


@pytest.mark.parametrize(("format_", "text"), [(LJ, "||"), (LJ, " "), (F, "\x00")])
def test_no_clip_without_text_is_written(tmp_path: Path, format_: Format, text: str) -> None:
    with pytest.raises(UsageError, match="v_1 has no text that can be written"):
        write_export(format_, [clip(1, "v_1", text, form=AudioForm.WAV)], tmp_path)


# ----------------------------------------------------------------------------- anybody's


def plant(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: edit(root, LIST, old, new)


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / "hi/train" / path).unlink()


def cut_audio(root: Path) -> None:
    path = root / "hi/train/wavs/v_4.wav"
    path.write_bytes(b"")


def add_audio(root: Path) -> None:
    (root / "hi/train/wavs/v_9.wav").write_bytes(clip(9, "v_9", form=AudioForm.WAV).audio)


def end_in_cr(root: Path) -> None:
    path = root / LIST
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


Plants = dict[str, tuple[Callable[[Path], None], list[tuple[str, str, str]]]]
V4 = "hi/train/wavs/v_4.wav"

LJ_PLANTED: Plants = {
    "a | in the text": (
        plant("चौथा पाठ|चौथा पाठ", "चौथा|पाठ|चौथा पाठ"),
        [(f"{LIST}:4", "bad_row", "4 fields"), (V4, "missing_row", "no row")],
    ),
    "no text": (plant("|चौथा पाठ\n", "|\n"), [(f"{LIST}:4", "empty_text", "v_4 has no text")]),
    "two spaces": (plant("|चौथा पाठ\n", "|चौथा  पाठ\n"), [(f"{LIST}:4", "odd_spaces", "two spaces")]),
    "a tab": (plant("|चौथा पाठ\n", "|चौथा\tपाठ\n"), [(f"{LIST}:4", "odd_spaces", "U+0009")]),
    "twice": (
        plant("v_4|", "v_1|"),
        [(f"{LIST}:4", "duplicate_id", f"v_1 stands in {LIST}:1 already"), (V4, "missing_row", "no row")],
    ),
    "a ghost": (
        plant("v_4|", "v_5|"),
        [(f"{LIST}:4", "missing_audio", "there is no wavs/v_5.wav"), (V4, "missing_row", "no row")],
    ),
    "an odd id": (
        plant("v_4|", "v_4 |"),
        [(f"{LIST}:4", "bad_row", "the id is 'v_4 '"), (V4, "missing_row", "no row")],
    ),
}
F5_PLANTED: Plants = {
    "no header": (plant("audio_file|text\n", ""), [(f"{LIST}:1", "header", "audio_file|text")]),
    "a | in the text": (
        plant("|चौथा पाठ", "|चौथा|पाठ"),
        [(f"{LIST}:5", "bad_row", "3 fields"), (V4, "missing_row", "no row")],
    ),
    "no text": (plant("|चौथा पाठ", "|"), [(f"{LIST}:5", "empty_text", "v_4 has no text")]),
    "two spaces": (plant("|चौथा पाठ", "|चौथा  पाठ"), [(f"{LIST}:5", "odd_spaces", "two spaces")]),
    "an open quote": (
        plant("|चौथा पाठ", '|"चौथा पाठ'),
        [(f"{LIST}:5", "open_quote", "takes in the lines below"), (V4, "missing_row", "no row")],
    ),
    "a relative path": (
        plant("/data/set/hi/train/wavs/v_4.wav", "wavs/v_4.wav"),
        [(f"{LIST}:5", "relative_path", "1 paths are not whole")],
    ),
    "twice": (
        plant("wavs/v_4.wav", "wavs/v_1.wav"),
        [(f"{LIST}:5", "duplicate_id", f"v_1 stands in {LIST}:2 already"), (V4, "missing_row", "no row")],
    ),
    "a ghost": (
        plant("wavs/v_4.wav", "wavs/v_5.wav"),
        [(f"{LIST}:5", "missing_audio", "there is no /data/set/"), (V4, "missing_row", "no row")],
    ),
}


def either(first: int) -> Plants:
    """Where both formats have the same defects; the first clip stands in line `first`."""
    fourth = f"{LIST}:{first + 3}"
    return {
        "audio is gone": (remove("wavs/v_4.wav"), [(fourth, "missing_audio", "v_4")]),
        "audio is empty": (cut_audio, [(fourth, "bad_audio", "v_4")]),
        "audio without a row": (add_audio, [("hi/train/wavs/v_9.wav", "missing_row", "no row")]),
        "no list": (remove("metadata.csv"), [(LIST, "missing_list", "hi/train/wavs")]),
        "bad encoding": (
            plant("पहला पाठ\n", "प\udcff\n"),
            [
                (f"{LIST}:{first}", "encoding", "0xff, is not UTF-8"),
                ("hi/train/wavs/v_1.wav", "missing_row", ""),
            ],
        ),
        "CR LF": (end_in_cr, [(f"{LIST}:1", "line_end", f"{first + 3} lines end in CR LF")]),
        "cut short": (plant("चौथा पाठ\n", "चौथा"), [(fourth, "truncated", "no end")]),
        "a blank line": (plant("पहला पाठ\n", "पहला पाठ\n \n"), [(f"{LIST}:{first + 1}", "bad_row", "blank")]),
    }


ALL = [
    *((LJ, name, *plants) for name, plants in (LJ_PLANTED | either(1)).items()),
    *((F, name, *plants) for name, plants in (F5_PLANTED | either(2)).items()),
]


@pytest.mark.parametrize(
    ("format_", "name", "do", "expected"), ALL, ids=[f"{one.name}, {name}" for one, name, *_ in ALL]
)
def test_planted_defects_are_found_at_their_line(
    tmp_path: Path,
    format_: Format,
    name: str,
    do: Callable[[Path], None],
    expected: list[tuple[str, str, str]],
) -> None:
    write_export(format_, CLIPS, tmp_path, ROOT)
    assert read_back(format_, tmp_path)[1] == []
    do(tmp_path)
    defects = read_back(format_, tmp_path)[1]
    assert sorted((one.place, one.code) for one in defects) == sorted(one[:2] for one in expected)
    for place, code, words in expected:
        assert any(words in one.message for one in defects if (one.place, one.code) == (place, code))


def test_two_fields_and_another_kind_of_audio(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/a.1.flac").write_bytes(clip(1, "a").audio)
    (tmp_path / "metadata.csv").write_text("a.1|one two\n")
    clips, defects = read_back(LJ, tmp_path)
    assert defects == []
    assert [(one.id, one.text, one.place, one.language) for one in clips] == [
        ("a.1", "one two", "metadata.csv:1", "")
    ]


def test_which_folders_are_theirs() -> None:
    for one in (LJSpeech, F5):
        assert one.recognises(["metadata.csv", "wavs/a.wav"])
        assert one.recognises(["hi/train/metadata.csv"])
        assert not one.recognises(["metadata.json", "wavs/a.wav", "text", "wav.scp"])

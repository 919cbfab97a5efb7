"""Whom people name, in options and in lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipika.db.erasures import Mentions, WantedName, is_common_name
from lipika.erasure.wanted import order_of, read_wanted
from lipika.errors import UsageError

CLIP = WantedName(
    video_id="v:1", speaker="a_b", segment_file="a_b_00100_00350.flac", start_ms=1_000, end_ms=3_500
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "l.csv",
            "\ufeffvideo_id,speaker_id,segment_file,note\nv7,,,x\nv8,asha,,\nv:1,,a_b_00100_00350.flac,\n",
        ),
        ("l.tsv", "video_id\tspeaker\tclip\nv7\t\t\nv8\tasha\t\nv:1\t\ta_b_00100_00350\n"),
        (
            "l.jsonl",
            '{"video_id":"v7"}\n\n{"video_id":"v8","speaker":"asha"}\n{"video_id":"v:1","clip":"a_b_00100_00350"}\n',
        ),
        ("l.txt", "v7\r\n  v8:asha \n\nv:1/a_b_00100_00350.flac\n"),
    ],
)
def test_lists_of_any_form_name_the_same(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    read = read_wanted((), (), (), [path])
    assert read == [WantedName(video_id="v7"), WantedName(video_id="v8", speaker="asha"), CLIP]
    given = read_wanted(["v7"], ["v8:asha"], ["v:1/a_b_00100_00350.flac"], ())
    assert order_of(given) == order_of(read)


@pytest.mark.parametrize(
    ("speakers", "clips", "told"),
    [
        ((), (), "nothing is named"),
        (("speaker0",), (), "v7:speaker0"),
        ((":a",), (), "VIDEO:SPEAKER"),
        ((), ("v7/x.flac",), "five digits"),
        ((), ("a_00100_00350.flac",), "no video"),
    ],
)
def test_what_names_nobody_is_refused(speakers: tuple[str, ...], clips: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_wanted((), speakers, clips, ())


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("video_id,speaker\nv7,a\n,b\n")
    with pytest.raises(UsageError, match=r"l\.csv, row 2"):
        read_wanted((), (), (), [path])


def test_names_that_speakers_have_everywhere_find_nothing_by_themselves() -> None:
    assert [is_common_name(name) for name in ("speaker0", "SPK_12", "s3", "7", "asha", "speaker0b")] == [
        *[True] * 4,
        *[False] * 2,
    ]
    assert Mentions.from_names([WantedName(video_id="v", speaker="speaker0")]) == Mentions()
    assert "a\\+b" in Mentions.from_names([WantedName(video_id="a+b")]).pattern

"""Clips on their way to people and back."""

from __future__ import annotations

import csv
import io
from dataclasses import fields, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.errors import UsageError
from lipika.people.exchange import (
    ReceivedClip,
    SentClip,
    Unreadable,
    guard_cell,
    read_table,
    read_tasks,
    seal,
    unguard_cell,
    write_table,
    write_tasks,
)

NASTY = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40),
    st.sampled_from(
        [
            '=cmd|"/C calc"!A0',
            "+1+1",
            "-2",
            "@SUM(A1)",
            "'=1",
            "''",
            "'",
            "\t=1",
            "\r\n=1",
            'ek "do", teen',
            "ek\ndo\r\nteen",
            "آج \u200fموسم\u200e اچھا",
            "🙂👩🏽‍🚀 मौसम",
            "＝1",
            ";,\t",
        ]
    ),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)
CLIPS = st.builds(
    SentClip,
    video_id=NAMES,
    segment_file=NAMES,
    version=NASTY,
    language=NASTY,
    text=NASTY,
    action=st.sampled_from(["", "accept", "unusable"]),
    reason=NASTY,
    note=NASTY,
    original=NASTY,
    status=NASTY,
    findings=NASTY,
    duration_s=NASTY,
    audio_digest=NASTY,
).map(seal)


def received(found: list[ReceivedClip | Unreadable]) -> list[SentClip]:
    assert not [one for one in found if isinstance(one, Unreadable)]
    return [one.clip for one in found if isinstance(one, ReceivedClip)]


@given(st.lists(CLIPS, max_size=5))
def test_a_table_comes_back_as_it_went_out(clips: list[SentClip]) -> None:
    assert received(list(read_table("".join(write_table(clips))))) == clips


@given(st.lists(CLIPS, max_size=5))
def test_tasks_come_back_as_they_went_out(clips: list[SentClip]) -> None:
    assert received(list(read_tasks(b"".join(write_tasks(clips))))) == clips


@given(st.lists(CLIPS, min_size=1, max_size=3))
def test_no_cell_of_a_table_is_run_by_a_spreadsheet(clips: list[SentClip]) -> None:
    table = "".join(write_table(clips)).removeprefix("\ufeff")
    for cells in csv.reader(io.StringIO(table, newline="")):
        for cell in cells:
            assert cell[:1] not in tuple("=+-@\t\r\n＝＋－＠")


@given(NASTY)
def test_a_guard_is_taken_off_again(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text


@pytest.mark.parametrize("typed", ["'hello", "मौसम", "", "'", "a=b"])
def test_what_a_person_types_stays(typed: str) -> None:
    assert unguard_cell(typed) == typed


def test_a_text_that_nobody_has_touched_is_known() -> None:
    clip = seal(SentClip("v", "a.flac", "0.1", "hi", "आज  मौसम"))
    assert clip.untouched
    assert replace(clip, text="आज मौसम").untouched
    assert not replace(clip, text="कल मौसम").untouched
    assert not replace(clip, action="accept").untouched


def test_a_table_of_somebody_else_is_read_by_its_columns() -> None:
    table = "text;video_id;mine;segment_file\nआज मौसम;v;7;a.flac\n\nकल;v;8;b.flac;9\n;;;\nकल;v;8;\n"
    found = list(read_table(table))
    assert [one.clip.text for one in found if isinstance(one, ReceivedClip)] == ["आज मौसम"]
    told = [f"{one.place}: {one.reason}" for one in found if isinstance(one, Unreadable)]
    assert told == [
        "line 4: it has 5 cells, the heading 4",
        "line 6: it does not say which clip it is: video_id and segment_file",
    ]
    with pytest.raises(UsageError, match="no column video_id, segment_file"):
        list(read_table("text\nआज\n"))
    with pytest.raises(UsageError, match="no column"):
        list(read_table(""))


def test_an_annotation_of_label_studio_is_a_persons_word() -> None:
    clip = seal(SentClip("v", "a.flac", "0.1", "hi", "आज मौसम"))
    (task,) = orjson.loads(b"".join(write_tasks([clip], "https://board/{video_id}/{segment_file}")))
    assert task["data"]["audio"] == "https://board/v/a.flac"

    def textarea(name: str, text: str) -> dict[str, object]:
        return {"from_name": name, "to_name": "audio", "type": "textarea", "value": {"text": [text]}}

    choice = {
        "from_name": "verdict",
        "to_name": "audio",
        "type": "choices",
        "value": {"choices": ["unusable"]},
    }
    old = {"result": [textarea("transcription", "पुराना")]}
    new = {"result": [textarea("transcription", "कल मौसम"), choice, textarea("reason", "noise")]}
    cancelled = {"was_cancelled": True, "result": [textarea("transcription", "नहीं")]}
    task["annotations"] = [old, new, cancelled]
    (found,) = received(list(read_tasks(orjson.dumps([task]))))
    assert (found.text, found.action, found.reason) == ("कल मौसम", "unusable", "noise")
    odd = list(read_tasks(b'[7, {"data": null}, {"data": {"text": 5}}]'))
    assert [type(one) for one in odd] == [Unreadable] * 3
    for content in (b"{", b"{}"):
        with pytest.raises(UsageError):
            list(read_tasks(content))


def test_every_column_goes_out() -> None:
    heading = next(iter(write_table([]))).removeprefix("\ufeff").strip()
    assert heading == ",".join(f'"{item.name}"' for item in fields(SentClip))

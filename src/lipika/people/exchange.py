"""Clips on their way to people and back: a table for any spreadsheet, or tasks of Label Studio. Pure.

What comes back is what went out but for what people changed: ids, version, the model's own text and a check sum of
the text go along. A cell that a spreadsheet would run as a formula carries an apostrophe before it, which is taken
off again.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import orjson

from lipika.errors import UsageError
from lipika.llm.transcript import tidy_text

ACTIONS = ("", "accept", "unusable")
_RUNS = frozenset("=+-@\t\r\n'＝＋－＠")
_FROM, _TO = "transcription", "audio"

LABEL_CONFIG = """\
<View>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" value="$text" rows="4" editable="true" maxSubmissions="1"/>
  <Choices name="verdict" toName="audio" choice="single"><Choice value="accept"/><Choice value="unusable"/></Choices>
  <TextArea name="reason" toName="audio" placeholder="why it is unusable" maxSubmissions="1"/>
</View>
"""
"""The labelling interface that fits the tasks."""


@dataclass(frozen=True, slots=True)
class SentClip:
    """A clip as it goes out and comes back. People change `text`, `language`, `action`, `reason` and `note`."""

    video_id: str
    segment_file: str
    version: str
    language: str = ""
    text: str = ""  # event tags among the words
    action: str = ""  # accept, unusable; empty: none but a changed text
    reason: str = ""
    note: str = ""
    original: str = ""  # as the model said it
    status: str = ""
    findings: str = ""
    duration_s: str = ""
    audio_digest: str = ""
    check: str = ""  # sum of language and text as they went out

    @property
    def untouched(self) -> bool:
        """True if nobody has changed anything since it went out."""
        return not (self.action or self.note) and self.check == check_sum(self.language, self.text)


@dataclass(frozen=True, slots=True)
class ReceivedClip:
    """A clip that came back, with its place in the file: a line, or the number of a task."""

    place: str
    clip: SentClip


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that says nothing, and why."""

    place: str
    reason: str


Received = ReceivedClip | Unreadable
_COLUMNS = tuple(item.name for item in fields(SentClip))
_NEEDED = ("video_id", "segment_file", "text")


def check_sum(language: str, text: str) -> str:
    """The sum by which a text is known to be as it went out, whatever a tool did to its white space."""
    said = " ".join(tidy_text(text).split())
    return hashlib.sha256(f"{language.strip()}\n{said}".encode("utf-8", "replace")).hexdigest()[:12]


def seal(clip: SentClip) -> SentClip:
    """The clip with the sum of what goes out."""
    return replace(clip, check=check_sum(clip.language, clip.text))


# ----------------------------------------------------------------------------- tables


def write_table(clips: Iterable[SentClip]) -> Iterator[str]:
    """CSV, line by line, with a heading; a byte order mark at its front makes Excel read it as UTF-8."""
    yield "\ufeff" + _line(_COLUMNS)
    for clip in clips:
        yield _line([guard_cell(getattr(clip, name)) for name in _COLUMNS])


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(cells)
    return out.getvalue()


def guard_cell(text: str) -> str:
    """The text as no spreadsheet runs it."""
    return f"'{text}" if text[:1] in _RUNS and text else text


def unguard_cell(cell: str) -> str:
    """The text that `guard_cell` was given."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _RUNS and len(cell) > 1 else cell


def read_table(text: str) -> Iterator[Received]:
    """Clips of a table, by comma, semicolon or tab; columns in any order, others passed over.

    Raises:
        UsageError: a column is missing that is needed.
    """
    text = text.removeprefix("\ufeff")
    heading = text[: text.find("\n") + 1] or text
    delimiter = max(",;\t", key=heading.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        if missing := [name for name in _NEEDED if name not in names]:
            raise UsageError(
                f"the first line names no column {', '.join(missing)}; `lipika edits export` writes them all"
            )
        for cells in rows:
            if any(cells):
                yield _read_cells(f"line {rows.line_num}", names, cells)
    except csv.Error as error:
        yield Unreadable(f"line {rows.line_num}", f"it is no CSV from here on: {error}")


def _read_cells(place: str, names: Sequence[str], cells: Sequence[str]) -> Received:
    if len(cells) != len(names):
        return Unreadable(place, f"it has {len(cells)} cells, the heading {len(names)}")
    values = {name: unguard_cell(cell) for name, cell in zip(names, cells, strict=True) if name in _COLUMNS}
    return _make_received(place, values)


def _make_received(place: str, values: Mapping[str, str]) -> Received:
    clip = SentClip(**{"video_id": "", "segment_file": "", "version": "", **values})
    clip = replace(clip, action=clip.action.strip().lower())
    if not clip.video_id or not clip.segment_file:
        return Unreadable(place, "it does not say which clip it is: video_id and segment_file")
    if clip.action not in ACTIONS:
        return Unreadable(place, f"action {clip.action!r} is none of accept, unusable, or empty")
    return ReceivedClip(place, clip)


# ----------------------------------------------------------------------------- Label Studio


def write_tasks(clips: Iterable[SentClip], audio: str = "{video_id}/{segment_file}") -> Iterator[bytes]:
    """Tasks of Label Studio, as pieces of one JSON array; the text is both datum and prediction.

    `audio` is the address of a clip's audio, with {video_id} and {segment_file} in it.
    """
    yield b"["
    for number, clip in enumerate(clips):
        where = audio.replace("{video_id}", clip.video_id).replace("{segment_file}", clip.segment_file)
        result = {"from_name": _FROM, "to_name": _TO, "type": "textarea", "value": {"text": [clip.text]}}
        task = {
            "data": {"audio": where, **{name: getattr(clip, name) for name in _COLUMNS}},
            "predictions": [{"model_version": clip.version, "result": [result]}],
        }
        yield (b",\n" if number else b"\n") + orjson.dumps(task)
    yield b"\n]\n"


def read_tasks(content: bytes) -> Iterator[Received]:
    """Clips of Label Studio's JSON export: of each task the last annotation that was not cancelled.

    Raises:
        UsageError: it is no array of tasks.
    """
    try:
        tasks = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"it is no JSON: {error}") from None
    if not isinstance(tasks, list):
        raise UsageError("it is no array of tasks: export it from Label Studio as JSON, not JSON-MIN")
    for number, task in enumerate(tasks, 1):
        try:
            yield _read_task(f"task {number}", task)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            yield Unreadable(f"task {number}", f"it is no task of ours: {error!r}")


def _read_task(place: str, task: Any) -> Received:
    data = task["data"]
    values = {name: _as_text(data[name]) for name in _COLUMNS if name in data}
    received = _make_received(place, values)
    annotations = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    if isinstance(received, Unreadable) or not annotations:
        return received
    said: dict[str, str] = {}
    for result in annotations[-1].get("result") or ():
        value = result["value"]
        told = value["choices"][0] if result["type"] == "choices" else " ".join(value.get("text") or ())
        said[{"verdict": "action", _FROM: "text"}.get(result["from_name"], result["from_name"])] = told
    return _make_received(place, values | {name: told for name, told in said.items() if name in _COLUMNS})


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)

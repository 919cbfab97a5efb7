"""Names of those who are to be erased, as people give them: on the command line, and in lists."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from lipika.db.erasures import WantedName
from lipika.errors import UsageError
from lipika.models import SegmentName

_SPEAKER_COLUMNS = ("speaker", "speaker_id")
_FILE_COLUMNS = ("segment_file", "clip", "file")


def read_wanted(
    videos: Sequence[str], speakers: Sequence[str], clips: Sequence[str], lists: Sequence[Path]
) -> list[WantedName]:
    """All that is named, each once, in a stable order.

    Raises:
        UsageError: nothing is named, or something that names nobody.
    """
    names = [WantedName(video_id=_not_empty(video, "--video")) for video in videos]
    names += [parse_speaker(given, "--speaker") for given in speakers]
    names += [parse_clip(given, "--clip") for given in clips]
    for path in lists:
        names += read_list(path)
    if not names:
        raise UsageError("nothing is named: give --video, --speaker, --clip or --list")
    return sorted(set(names), key=lambda name: (name.video_id, name.speaker or "", name.segment_file or ""))


def order_of(names: Iterable[WantedName]) -> str:
    """The order in one text: the same names give the same, so that an erasure that was stopped is known again."""
    return "\n".join(f"{name.video_id}\t{name.speaker or ''}\t{name.segment_file or ''}" for name in names)


def parse_speaker(text: str, where: str) -> WantedName:
    """`VIDEO:SPEAKER`. Raises UsageError: it is not of that form."""
    video, colon, speaker = text.rpartition(":")
    if not (video and colon and speaker):
        raise UsageError(
            f"{where} {text}: VIDEO:SPEAKER is expected, such as v7:speaker0; speakers of two videos may have the"
            " same name. One whose name is the same everywhere: --speaker '*:NAME'"
        )
    return WantedName(video_id=video, speaker=speaker)


def parse_clip(text: str, where: str) -> WantedName:
    """`VIDEO/FILE`. Raises UsageError: it is not of that form."""
    video, _, file = text.rpartition("/")
    return _clip(video, file, f"{where} {text}")


def _clip(video: str, file: str, where: str) -> WantedName:
    stem = file.removesuffix(".flac")
    try:
        name = SegmentName.parse(stem)
    except ValueError as error:
        raise UsageError(f"{where}: VIDEO/SPEAKER_START_END.flac is expected: {error}") from None
    return WantedName(
        video_id=_not_empty(video, where),
        speaker=name.speaker,
        segment_file=f"{stem}.flac",
        start_ms=name.start_ms,
        end_ms=name.end_ms,
    )


def read_list(path: Path) -> Iterator[WantedName]:
    """A list: CSV or JSON lines with video_id, and speaker or segment_file where that is all; or a text with a video,
    VIDEO:SPEAKER or VIDEO/FILE.flac a line.

    Raises:
        UsageError: it cannot be read, or a row names nobody.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--list {path}: it cannot be read as UTF-8: {error}") from None
    match path.suffix.lower():
        case ".csv" | ".tsv":
            yield from _rows_of_table(text, path)
        case ".jsonl" | ".ndjson":
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip():
                    yield _read_row(_object(line, f"{path}, row {number}"), f"{path}, row {number}")
        case _:
            for number, line in enumerate(text.splitlines(), 1):
                if word := line.strip():
                    yield _read_line(word, f"{path}, line {number}")


def _rows_of_table(text: str, path: Path) -> Iterator[WantedName]:
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    if "video_id" not in (reader.fieldnames or ()):
        raise UsageError(f"{path}: its first line must name the columns, video_id among them")
    for number, row in enumerate(reader, 1):
        yield _read_row(row, f"{path}, row {number}")


def _object(line: str, where: str) -> Mapping[str, object]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UsageError(f'{where}: an object such as {{"video_id": "a"}} is expected')
    return row


def _read_row(row: Mapping[str, object], where: str) -> WantedName:
    video = _text(row, ("video_id",))
    speaker, file = _text(row, _SPEAKER_COLUMNS), _text(row, _FILE_COLUMNS)
    if file:
        return _clip(video, file, where)
    if speaker:
        return parse_speaker(f"{_not_empty(video, where)}:{speaker}", where)
    return WantedName(video_id=_not_empty(video, where))


def _text(row: Mapping[str, object], columns: Sequence[str]) -> str:
    found = (row[column] for column in columns if row.get(column) not in (None, ""))
    return str(next(found, "")).strip()


def _read_line(word: str, where: str) -> WantedName:
    if word.endswith(".flac"):
        return parse_clip(word, where)
    return parse_speaker(word, where) if ":" in word else WantedName(video_id=word)


def _not_empty(video: str, where: str) -> str:
    if not video.strip():
        raise UsageError(f"{where}: no video is named")
    return video.strip()

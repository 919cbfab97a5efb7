"""Common to the rows of corpora: lines of JSON, paths beside a list, columns known by many names."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from lipika.packing.items import SourceRefusal

Row = Mapping[str, Any]

KNOWN: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utterance_id", "segment_id", "uid", "__key__"),
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text", "normalized"),
    "language": ("language", "lang", "source_lang", "locale", "lang_id", "language_id"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
    "split": ("split", "subset"),
}
"""Columns by the names that corpora give them, the surest first."""

SPLITS = ("train", "training", "dev", "valid", "validation", "val", "test", "testing", "eval")

_LONGEST_LINE = 64 << 20  # bytes
_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class NamedColumns:
    """A person's word on which columns say the language and the speaker."""

    language: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A row taken apart: what is known of its columns, and `rest`."""

    id: str | None
    text: str | None
    language: str | None
    speaker: str | None
    split: str | None
    rest: dict[str, Any]


def take_apart(row: Row, named: NamedColumns | None = None, leave: Sequence[str] = ()) -> Facts:
    """The facts of a row; its columns in `leave` concern nobody any more."""
    named = named or NamedColumns()
    told = {"language": named.language, "speaker": named.speaker}
    found: dict[str, str | None] = {}
    used = set(leave)
    for fact, names in KNOWN.items():
        chosen = told.get(fact)
        for name in (chosen,) if chosen else names:
            value = row.get(name)
            if name not in leave and value is not None and (word := one_word(value)):
                found[fact] = word
                used.add(name)
                break
    rest = {name: value for name, value in row.items() if name not in used and value is not None}
    return Facts(
        id=found.get("id"),
        text=found.get("text"),
        language=found.get("language"),
        speaker=found.get("speaker"),
        split=found.get("split"),
        rest=rest,
    )


def one_word(value: object) -> str | None:
    """A name or text as a string; None where it is none, or empty."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def seconds_of(row: Row, name: str) -> float | None:
    """A time of a row in seconds; None where it says none.

    Raises:
        ValueError: it is no number, or none that a time can be.
    """
    value = row.get(name)
    if value is None:
        return None
    try:
        seconds = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} is {str(value)[:80]!r}, which is no time in seconds")
    return seconds


def place_beside(folder: Path, path: str) -> str:
    """The place that a path of a list means: itself if whole or a URL, else below the list's folder.

    What is not there, but in the folder in which we were started, is meant to be that: many lists are written so.
    """
    if "://" in path or path.startswith("/"):
        return path
    beside = folder / path
    try:
        if not beside.exists() and Path(path).exists():
            return str(Path(path).absolute())
    except (OSError, ValueError):  # a name no file can have: whoever opens it says so
        pass
    return str(beside)


def split_named(name: str) -> str | None:
    """The split that a name of a file or folder has among its words; None if none, or several."""
    words = set(_WORDS.split(name.lower())) & set(SPLITS)
    return words.pop() if len(words) == 1 else None


# ----------------------------------------------------------------------------- lines


def open_maybe_packed(path: Path) -> IO[bytes]:
    """Raises OSError."""
    if path.suffix.lower() in (".gz", ".tgz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def json_rows(path: Path) -> Iterator[tuple[int, Row | SourceRefusal]]:
    """Lines of JSON with their numbers from 1: a row, or why a line is none. Empty ones are left out.

    A file that breaks off gives what came before, and a refusal.
    """
    number = 0
    try:
        with open_maybe_packed(path) as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    yield number, _refusal(path, number, "bad_row", "a line of over 64 MiB")
                    while line and not line.endswith(b"\n"):
                        line = file.readline(_LONGEST_LINE)
                elif line.strip():
                    yield number, _row(path, number, line)
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or str(error)
        yield number + 1, _refusal(path, number + 1, "unreadable_file", told)


def _row(path: Path, number: int, line: bytes) -> Row | SourceRefusal:
    try:
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except orjson.JSONDecodeError as error:
        return _refusal(path, number, "bad_row", f"no JSON: {error}")
    if not isinstance(row, dict):
        return _refusal(path, number, "bad_row", "no JSON object")
    return row


def _refusal(path: Path, number: int, reason: str, told: str) -> SourceRefusal:
    return SourceRefusal(f"{path.name}:{number}", reason, told)

"""Readings of clips by a person who listened: a table with a row for each clip, or a folder of texts.

A table is `*.csv` or `*.tsv` with a heading, or `*.jsonl` of an object a line. The text is `text`, else
`transcription` or `pred_text`; the clip is named by `audio_digest`, by `video_id` and `segment_file`, or by
`audio_filepath` (its last two parts: video, file). A row without a text has not been read by anybody yet, and is
passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

import orjson

from lipika.archive.hypotheses import Hypotheses, clip_of, open_hypotheses
from lipika.errors import UsageError
from lipika.models import VoterKind

_TEXT_COLUMNS = ("text", "transcription", "pred_text")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORM = (
    f"a row has {' or '.join(_TEXT_COLUMNS)}, and audio_digest (64 hexadecimal digits), video_id and segment_file, or"
    " audio_filepath (VIDEO/CLIP)"
)

_Key = str | tuple[str, str]
"""A clip by its audio's digest, or by video and file name without ending."""


def open_readings(path: Path) -> Hypotheses:
    """A person's readings: of a table, or of a folder in the forms that hypotheses have. Its name is the person's.

    Raises:
        UsageError: there is no such file, it has another form, or two of its rows read one clip differently.
    """
    if path.is_dir():
        return replace(open_hypotheses(path, "--person"), kind=VoterKind.PERSON)
    if path.suffix not in (*_DELIMITERS, ".jsonl"):
        raise UsageError(
            f"--person {path}: a table *.csv, *.tsv or *.jsonl is expected, or a folder of texts"
        )
    found: dict[_Key, tuple[str, int]] = {}
    for number, row in _read_rows(path):
        text = next((row[name].strip() for name in _TEXT_COLUMNS if name in row), "")
        if not text:
            continue
        key = _key_of(row, path, number)
        known, before = found.setdefault(key, (text, number))
        if known != text:
            raise UsageError(
                f"--person {path}: rows {before} and {number} read one clip differently: keep one"
            )
    texts = {key: text for key, (text, _) in found.items() if isinstance(key, tuple)}
    by_audio = {key: text for key, (text, _) in found.items() if isinstance(key, str)}
    return Hypotheses(None, path.stem, texts, by_audio, VoterKind.PERSON)


def _read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows, each with the line that it ends on."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _read_lines(file) if path.suffix == ".jsonl" else _read_table(file, path)
    except FileNotFoundError:
        raise UsageError(f"--person {path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error, orjson.JSONDecodeError, TypeError) as error:
        raise UsageError(f"--person {path}: it cannot be read as such a table: {error}; {_FORM}") from None


def _read_table(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    rows = csv.DictReader(file, delimiter=_DELIMITERS[path.suffix], strict=True)
    if not set(rows.fieldnames or ()) & set(_TEXT_COLUMNS):
        raise UsageError(f"--person {path}: its first line names no column for the text; {_FORM}")
    for row in rows:
        yield rows.line_num, _keep_filled(row)


def _read_lines(file: IO[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            row = orjson.loads(line)
            if not isinstance(row, dict):
                raise TypeError(f"line {number} is no object")
            yield number, _keep_filled(row)


def _keep_filled(row: Mapping[str, object]) -> Mapping[str, str]:
    return {name: value for name, value in row.items() if isinstance(value, str) and value.strip()}


def _key_of(row: Mapping[str, str], path: Path, number: int) -> _Key:
    digest = row.get("audio_digest", "").strip().lower()
    try:
        if not digest:
            return clip_of(row)
    except KeyError as missing:
        raise UsageError(f"--person {path}, row {number}: {missing} is missing; {_FORM}") from None
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"--person {path}, row {number}: audio_digest {digest!r} is none; {_FORM}")
    return digest

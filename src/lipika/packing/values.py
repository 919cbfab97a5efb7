"""Values from outside as JSON that any reader takes, and names that an archive may have. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from lipika.languages import find_language

UNKNOWN_SPEAKER = "unknown"
"""Speaker of segments whose source names none: nobody invents one."""

_MOST_DEPTH = 12
_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]+")
_DASHES = re.compile(r"-{2,}")
_LONGEST_NAME = 100  # bytes


def json_value(value: object, depth: int = 0) -> Any:
    """The value as JSON holds it: NaN is null, times are ISO 8601, bytes their number, what is too deep its text."""
    match value:
        case None | bool() | int():
            return value if value is None or -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case str():
            return valid_text(value)
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case _ if depth >= _MOST_DEPTH:
            return valid_text(str(value))
        case Mapping():
            return {valid_text(str(key)): json_value(one, depth + 1) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(one, depth + 1) for one in value]
        case _:
            return valid_text(str(value))


def valid_text(text: str) -> str:
    """The text with bytes that are no UTF-8 written as `\\xff`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return (
            text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if _is_escaped(text)
            else text.encode("utf-8", "backslashreplace").decode()
        )
    return text


def _is_escaped(text: str) -> bool:
    """True if all that is no Unicode came from bytes of a name that is no UTF-8."""
    return all(not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff" for letter in text)


def speaker_name(speaker: str | None) -> str:
    """The speaker as the beginning of a segment's name; `unknown` where there is none."""
    name = _UNFIT.sub("-", valid_text(speaker or "")).replace("\\", "-").strip().lstrip(".")
    return _shorten(name) or UNKNOWN_SPEAKER


def video_name(text: str) -> str:
    """A part of a video's id: letters, digits, `-` and `_` (`.` becomes `_`: some loaders cut names there)."""
    plain = "".join(map(_fit_for_id, valid_text(text).replace(".", "_")))
    return _shorten(_DASHES.sub("-", plain).strip("-_"))


def _fit_for_id(letter: str) -> str:
    """Letters of all scripts with their marks, digits, `-` and `_`; a `-` for anything else."""
    return letter if letter in "-_" or unicodedata.category(letter)[0] in "LMN" else "-"


def _shorten(name: str) -> str:
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore")


def language_key(language: str | None) -> str:
    """The code of a language of ours, else its owner's own word for it; "" for none."""
    found = find_language(language)
    return found.code if found else (language or "").strip()

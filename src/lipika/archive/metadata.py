"""A video's own `metadata.json`: read tolerantly, kept as it came. Pure.

Its values travel as the text they were written in, so that no integer, fraction or spelling is changed on the way.
What makes a text no JSON for others is mended: a byte order mark, another encoding than UTF-8, bare control
characters in strings, and NaN and infinities, which become null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson

from lipika.languages import find_language
from lipika.models import JsonObject

MAX_DEPTH = 32
MAX_BYTES = 1 << 20

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_SPACE = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The object as JSON text in UTF-8, valid for every reader."""

    text: bytes = b"{}"

    @classmethod
    def read(cls, data: bytes, max_depth: int = MAX_DEPTH) -> Self:
        """Read metadata of whatever tool wrote them.

        Raises:
            ValueError: not JSON, not an object, nested too deeply, or text that is not valid Unicode.
        """
        text = _decode_text(data)
        value, mend = _parse_document(text)
        if not isinstance(value, dict):
            raise ValueError(f"holds a JSON {_kind(value)}, not an object")  # noqa: TRY004 - bad data, not a bug
        if _depth(value, max_depth) > max_depth:
            raise ValueError(f"is nested deeper than {max_depth} levels")
        try:
            orjson.dumps(value)  # lone surrogates must not get in: nobody could write them again
        except TypeError as error:
            raise ValueError(f"cannot be written back as JSON: {error}") from None
        return cls((_TOKEN.sub(_mend_token, text) if mend else text).strip(_SPACE).encode())

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Raises ValueError: it holds what JSON cannot."""
        try:
            return cls(orjson.dumps(fields))
        except TypeError as error:
            raise ValueError(str(error)) from None

    def fields(self) -> JsonObject:
        """To look at; numbers beyond 64 bits lose digits here, and here only."""
        value: JsonObject = json.loads(self.text, parse_int=_number)
        return value

    def members(self) -> dict[str, str]:
        """The object's values by their keys, each as the text it was written in; of equal keys the last counts."""
        return dict(_members(self.text.decode()))


def join_members(members: Mapping[str, str], level: int = 0) -> str:
    """The object with these members, a line each, so many levels deep in a document."""
    line = "\n" + level * "  "
    inside = ",".join(f"{line}  {orjson.dumps(key).decode()}: {value}" for key, value in members.items())
    return f"{{{inside}{line}}}" if members else "{}"


def _decode_text(data: bytes) -> str:
    """UTF-8, 16 or 32, with or without a byte order mark, else what Windows and old tools write."""
    for encoding in (json.detect_encoding(data), "cp1252"):
        try:
            return data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _parse_document(text: str) -> tuple[object, bool]:
    """The value, with numbers as text, and whether its text must be mended to be JSON for others."""
    constants: list[str] = []

    def constant(name: str) -> None:
        constants.append(name)

    for strict in (True, False):
        decoder = json.JSONDecoder(strict=strict, parse_int=str, parse_float=str, parse_constant=constant)
        try:
            value: object = decoder.decode(text)
        except (ValueError, RecursionError) as error:
            reason = error
        else:
            return value, bool(constants) or not strict
    raise ValueError(f"is not JSON: {reason}")


def _mend_token(token: re.Match[str]) -> str:
    text = token[0]
    return _CONTROL.sub(lambda c: f"\\u{ord(c[0]):04x}", text) if text.startswith('"') else "null"


def _number(digits: str) -> int | float:
    """Python reads no integer of thousands of digits, and Postgres and others none beyond 64 bits."""
    if len(digits) > 21:
        return float(digits)
    number = int(digits)
    return number if -(1 << 63) <= number < 1 << 64 else float(digits)


def _kind(value: object) -> str:
    return {list: "list", str: "string or number", bool: "boolean", type(None): "null"}[type(value)]


def _depth(value: object, limit: int) -> int:
    """Levels of nesting, counted no further than `limit` + 1."""
    depth, level = 0, [value]
    while level and depth <= limit:
        depth += 1
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)  # type: ignore[attr-defined]
            if isinstance(child, dict | list)
        ]
    return depth


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Key and text of value, of an object that is known to be valid JSON."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    at = _skip_space(text, text.index("{") + 1)
    while text[at] == '"':
        key, at = decoder.raw_decode(text, at)
        start = _skip_space(text, _skip_space(text, at) + 1)  # past the colon
        _value, end = decoder.raw_decode(text, start)
        yield key, text[start:end]
        at = _skip_space(text, end)
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


# ----------------------------------------------------------------------------- its language

# The most reliable first: YouTube's `defaultLanguage` is that of the title.
_LANGUAGE_KEYS = (
    "language",
    "languagecode",
    "lang",
    "langcode",
    "audiolanguage",
    "spokenlanguage",
    "defaultaudiolanguage",
    "detectedlanguage",
    "languages",
    "defaultlanguage",
    "locale",
)


def language_of(metadata: JsonObject) -> str | None:
    """The ISO code of the language a video's metadata names, at the top or one level down; None if it names none.

    Keys are compared without case, `-` and `_`; values may be a code, a name, a list of these, or an object with a
    code or name. Values that mean no language of the registry are passed over.
    """
    for scope in (metadata, *(child for child in metadata.values() if isinstance(child, Mapping))):
        folded = {str(key).lower().replace("_", "").replace("-", ""): value for key, value in scope.items()}
        for key in _LANGUAGE_KEYS:
            code = _language_code(folded.get(key))
            if code is not None:
                return code
    return None


def _language_code(value: object) -> str | None:
    for candidate in value if isinstance(value, list) else [value]:
        text = (
            (candidate.get("code") or candidate.get("name")) if isinstance(candidate, Mapping) else candidate
        )
        language = find_language(text) if isinstance(text, str) else None
        if language is not None:
            return language.code
    return None

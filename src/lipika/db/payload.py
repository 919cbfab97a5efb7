"""Rows as one JSON parameter: the cheapest way to hand many typed rows to one statement.

The server unpacks them with `jsonb_to_recordset`. Postgres stores neither NUL nor half a surrogate pair, and both
turn up in file names and in what models say; they are replaced here, once, for every text.
"""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from typing import TypeAlias

import orjson

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # not after an escaped backslash


def to_json(value: object) -> str:
    """JSON of dataclasses, sequences and mappings, acceptable to Postgres as jsonb. NaN and infinity become null."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        text = orjson.dumps(_repair_json(value))
    if b"\\u0000" in text:
        text = _ESCAPED_NUL.sub(rb"\1\\ufffd", text)
    return text.decode()


def clean_text(text: str) -> str:
    """A text that Postgres can store, for parameters of their own."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\ufffd")


def _repair_json(value: object) -> Json:
    """The same with lone surrogates written as escapes; anything that is not JSON is refused."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _repair_json(asdict(value))
    if isinstance(value, dict):
        return {clean_text(str(key)): _repair_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_repair_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON")

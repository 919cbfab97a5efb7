"""The place where the next page of a list begins, as one parameter of a URL."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime

import orjson

_MAX = 4096


def pack(values: Sequence[object]) -> str:
    """Text, numbers and times as one word."""
    return urlsafe_b64encode(orjson.dumps(list(values))).rstrip(b"=").decode()


def unpack(word: str, kinds: Sequence[type]) -> list[object] | None:
    """The value that `pack` was given; None for anything that is not that: the first page is shown then."""
    if not word or len(word) > _MAX:
        return None
    try:
        found = orjson.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        if not isinstance(found, list) or len(found) != len(kinds):
            return None
        return [
            datetime.fromisoformat(value) if kind is datetime else _check_kind(value, kind)
            for value, kind in zip(found, kinds, strict=True)
        ]
    except (ValueError, TypeError):
        return None


def _check_kind(value: object, kind: type) -> object:
    if type(value) is not kind or (isinstance(value, str) and "\0" in value):
        raise TypeError
    return value

"""Replies, and reading them with tolerance: what the wire formats share.

A field of a reply may be absent, of another type or absurd; nothing here raises because of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lipika.llm.transcript import parse_answer
from lipika.models import Answer, FailureKind
from lipika.redaction import redact_start


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply, whole. `received_at` is Unix time, seconds."""

    status: int
    body: bytes
    retry_after: str | None = None  # the header's text
    rate_reset: str | None = None  # X-RateLimit-Reset, likewise
    received_at: float = 0.0
    location: str | None = None  # of a redirect
    service_tier: str | None = None  # x-gemini-service-tier: the tier that was served


# ----------------------------------------------------------------------------- values


def parse_json(body: bytes) -> object:
    """The value in a body; None when that is not JSON. What orjson refuses is read a second time, with tolerance."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _tolerant(body)
    return value


def _tolerant(body: bytes) -> object:
    """JSON that strict readers refuse and others take, so that an answer which was paid for is not thrown away.

    Half of a surrogate pair, NaN, raw control characters, bytes that are no UTF-8 (each becomes U+FFFD), UTF-16, a
    byte order mark, and whatever stands around the first value: a guard against scripts before it, padding behind.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    start = _FIRST_VALUE.match(text)
    if start is None:
        return None
    try:
        value, end = _READER.raw_decode(text, start.end())
    except (ValueError, RecursionError):
        return None
    return value if _PADDING.fullmatch(text, end) else None


def _whole_number(digits: str) -> float:
    """A JSON integer; one of thousands of digits, which Python will not read, is beyond any number."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


_MOST_DIGITS = 400
_READER = json.JSONDecoder(strict=False, parse_int=_whole_number)
_FIRST_VALUE = re.compile(r"[\s\ufeff\x00]*+(?:\)\]\}',?)?[\s\x00]*+(?=[{\[])")
_PADDING = re.compile(r"[\s\ufeff\x00\x1a]*+")


def body_object(body: bytes) -> Mapping[str, Any]:
    """The object that a body holds, be it in a list of one, as some gateways wrap it; empty when there is none."""
    value = parse_json(body)
    if isinstance(value, list) and len(value) == 1:
        held = first_object(value)
        return held if any(held.values()) else {}
    return as_object(value)


def as_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def first_object(value: object) -> Mapping[str, Any]:
    """The first member of a list of objects; empty when there is none."""
    return as_object(next(iter(as_list(value)), None))


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


_MOST_TOKENS = 1_000_000_000  # of one request: more is nonsense, and would overflow a column


def as_count(value: object) -> int:
    """A number of tokens: JSON's number, or text as protobuf writes 64-bit numbers; 0 for anything else."""
    if type(value) is int and 0 <= value <= _MOST_TOKENS:
        return value
    number = as_number(value)
    return int(min(max(number, 0.0), _MOST_TOKENS)) if number is not None else 0


def as_number(value: object) -> float | None:
    """A finite number, or text that is one."""
    if isinstance(value, str):
        value = float(value) if re.fullmatch(r"\d{1,18}(\.\d{1,9})?", value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


_LONGEST_SAID = 500  # characters: Google repeats a bad value, audio included, in its message


_LOOKED_AT = 20 * _LONGEST_SAID  # of a text with much white space


def one_line(value: object) -> str:
    """A server's words on one line, cut to what a log or a row should hold.

    Without secrets, of which none is cut in half; no NUL, no half of a surrogate pair.
    """
    if not value:
        return ""
    text = redact_start(as_text(value).replace("\x00", ""), _LOOKED_AT)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())[:_LONGEST_SAID]


def excerpt(body: bytes) -> str:
    """The start of a body that is not what it should be, on one line."""
    return one_line(body[:_LOOKED_AT].decode("utf-8", "replace"))[:200] or "an empty body"


# ----------------------------------------------------------------------------- waits, in seconds

A_DAYS_WAIT_S = 3600.0
"""A wait of an hour or more is no minute's quota, whatever the body calls it."""

LONGEST_WAIT_S = 86_400.0
"""Quotas renew daily; whoever asks for more time is asked again after a day."""

_PER_DAY = re.compile(r"per[-_ ]?day|\bdaily\b", re.IGNORECASE)
_RETRY_IN = re.compile(r"retry in ((?:\d+(?:\.\d+)?(?:ms|s|m|h))+)", re.IGNORECASE)
_DURATION = re.compile(r"(?P<value>\d{1,12}(?:\.\d{1,12})?)(?P<unit>ms|s|m|h)", re.IGNORECASE)
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def first_wait(*waits: float | None) -> float | None:
    """The first wait that is given and is more than nothing: a 0 beside it has been rounded down. Else 0, if that is
    what all say, which is not the same as saying nothing."""
    given = [wait for wait in waits if wait is not None]
    longer = next((wait for wait in given if wait > 0), 0.0)
    return min(longer, LONGEST_WAIT_S) if given else None


def lasts_a_day(named: str, wait_s: float | None) -> bool:
    """True if a limit that is so named, or asks for such a wait, is a daily one."""
    return bool(_PER_DAY.search(named)) or (wait_s or 0.0) >= A_DAYS_WAIT_S


def header_wait_s(retry_after: object) -> float | None:
    """Retry-After in seconds; its date form is not used by these services."""
    return as_number(as_text(retry_after).strip())


_A_DATE_MS = 1e12  # 2001; smaller numbers are not milliseconds since 1970


def reset_wait_s(rate_reset: object, received_at: float) -> float | None:
    """X-RateLimit-Reset, in milliseconds since 1970, as seconds from the reply on."""
    reset_ms = as_number(as_text(rate_reset).strip())
    return None if reset_ms is None or reset_ms < _A_DATE_MS else max(reset_ms / 1000 - received_at, 0.0)


def worded_wait_s(message: str) -> float | None:
    """The wait in a message such as `Please retry in 1.68s.`"""
    worded = _RETRY_IN.search(message)
    return duration_s(worded[1]) if worded else None


def duration_s(value: object) -> float | None:
    """`34s`, `1.68s`, `1h2m3s`, or protobuf's {seconds, nanos}."""
    if isinstance(value, dict):
        seconds, nanos = as_number(value.get("seconds")), as_number(value.get("nanos"))
        return None if seconds is None and nanos is None else max((seconds or 0) + (nanos or 0) / 1e9, 0.0)
    pieces = list(_DURATION.finditer(as_text(value)))
    return sum(float(piece["value"]) * _UNIT_S[piece["unit"].lower()] for piece in pieces) if pieces else None


# ----------------------------------------------------------------------------- a quota of nothing

_LIMIT_ZERO = re.compile(r"\blimit(?:\s*[:=]\s*|\s+)[\"']?0(?![.,]?\d)", re.IGNORECASE)


def names_zero(words: str) -> bool:
    """True if a refusal names a limit of 0, such as `Quota exceeded for metric: ..., limit: 0, model: ...`."""
    return bool(_LIMIT_ZERO.search(words))


def zero_quota(words: str) -> str:
    """The words on a limit of 0, before the service's own words."""
    return one_line(
        "the quota of this key for this model is zero (limit: 0), which no waiting changes: enable billing for its"
        f" project, ask for quota, or set MODEL_ID to a model that the key may use. The service says: {words}"
    )


# ----------------------------------------------------------------------------- cut at the limit


def is_whole(text: str) -> bool:
    """True if a text that ran into its limit holds a complete answer all the same: white space came after it."""
    return isinstance(parse_answer(text), Answer)


# ----------------------------------------------------------------------------- Gemini, on either wire

GEMINI_KIND_BY_FINISH = {
    "MAX_TOKENS": FailureKind.TRUNCATED,
    "CONTINUATION": FailureKind.TRUNCATED,
    "SAFETY": FailureKind.BLOCKED,
    "RECITATION": FailureKind.BLOCKED,
    "LANGUAGE": FailureKind.BLOCKED,
    "BLOCKLIST": FailureKind.BLOCKED,
    "PROHIBITED_CONTENT": FailureKind.BLOCKED,
    "SPII": FailureKind.BLOCKED,
    "ESCALATION": FailureKind.BLOCKED,
    "MODEL_ARMOR": FailureKind.BLOCKED,
    "OTHER": FailureKind.BLOCKED,  # safety blocks have been seen under this name
    "PUP_LIMITED_DISABLED": FailureKind.AUTH,  # the account is limited for breaking the use policy
}
"""Its own finish reasons that are no answer; OpenRouter passes them on as `native_finish_reason`."""

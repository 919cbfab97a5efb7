"""Codes, times and pictures as people read them: the filters of the templates. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from lipika.dashboard.failed_clips import tell_failure
from lipika.languages import LANGUAGES
from lipika.models import FAILURE_RULES, FailureKind
from lipika.validation.catalogue import RULES
from lipika.wording import NONE, duration, hours, latency, money, number, percent, short

_STATES: Mapping[str, tuple[str, str]] = {
    # state -> what it is called, how it looks
    "live": ("working", "good"),
    "stale": ("silent", "bad"),
    "silent": ("silent", "bad"),
    "draining": ("stopping", "info"),
    "offline": ("gone", ""),
    "error": ("stopped by an error", "bad"),
    "pending": ("waiting", ""),
    "held": ("held back", "warn"),
    "claimed": ("starting", "info"),
    "processing": ("at work", "info"),
    "done": ("done", "good"),
    "queued": ("waiting", ""),
    "running": ("at work", "info"),
    "dropped": ("dropped", ""),
    "planned": ("planned", ""),
    "writing": ("being written", "info"),
    "failed": ("failed", "bad"),
    "transcribed": ("transcribed", "good"),
    "no_speech": ("no speech", ""),
    "fail": ("serious", "bad"),
    "warn": ("doubtful", "warn"),
    "info": ("note", "info"),
}
_LANES = {"asr": "ASR", "tts_clean": "TTS, clean", "tts_expressive": "TTS, expressive"}
_PROVIDERS = {
    "aistudio": "AI Studio",
    "openrouter": "OpenRouter",
    "simulator": "Simulator",
    "all": "All providers",
}


def clock(milliseconds: int | None) -> str:
    """A place on a video's clock: 1:02:03.45."""
    if milliseconds is None:
        return NONE
    minutes, rest = divmod(milliseconds, 60_000)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{rest / 1000:05.2f}" if hour else f"{minute}:{rest / 1000:05.2f}"


def moment(at: datetime | None) -> str:
    """Date and time, UTC."""
    return NONE if at is None else f"{at.astimezone(UTC):%d %b %H:%M:%S}"


def language(code: str | None) -> str:
    """Hindi; codes that are none of ours stay as they are."""
    if not code:
        return "not known"
    known = LANGUAGES.get(code)
    return known.name if known else {"unknown": "not known", "none": "none"}.get(code, code)


def native(code: str | None) -> str:
    """The `lang` attribute of a text in that language."""
    return code if code in LANGUAGES else "und"


def state(code: str) -> str:
    return _STATES.get(code, (code.replace("_", " "), ""))[0]


def look(code: str) -> str:
    """The look of a state: good, warn, bad, info or nothing."""
    return _STATES.get(code, ("", ""))[1]


_EXPORT_STATES = {"done": "written", "failed": "stopped"}


def export_state(code: str) -> str:
    return _EXPORT_STATES.get(code) or state(code)


def size(count: int | None) -> str:
    """Bytes: 4.2 GB."""
    if count is None:
        return NONE
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def finding(code: str) -> str:
    """A finding's or flag's code as a person reads it."""
    kind, _, rest = code.partition(":")
    if kind == "discard" and rest:
        return f"left out: {rest.replace('_', ' ')}"
    if kind == "failed" and rest:
        return f"no answer: {failure(rest)}"
    return code.replace("_", " ")


def meaning(code: str) -> str:
    """The meaning of a finding's code, in a sentence; empty for codes without one."""
    rule = RULES.get(code)
    return rule.meaning if rule else ""


def failure(kind: str | None) -> str:
    if not kind:
        return NONE
    return FAILURE_RULES[FailureKind(kind)].words if kind in set(FailureKind) else kind.replace("_", " ")


def lane(name: str) -> str:
    return _LANES.get(name, name)


def amount(value: float, whole: bool) -> str:
    """The amount that a limit counts: 12,000 or $1.50."""
    return short(value) if whole else money(value)


def provider(name: str | None) -> str:
    return NONE if not name else _PROVIDERS.get(name, name)


# ----------------------------------------------------------------------------- pictures


def spark(values: Sequence[float]) -> str:
    """A sparkline as one SVG path in a box of 100 x 24; its ends and bottom lie outside. Empty without values."""
    if not values:
        return ""
    top = max(*values, 1e-9)
    step = 100 / max(len(values) - 1, 1)
    heights = [f"{22.5 - value / top * 21:.4g}" for value in values]
    points = [f"{place * step:.4g},{height}" for place, height in enumerate(heights)]
    return f"M-3,28L-3,{heights[0]}L{'L'.join(points)}L103,{heights[-1]}L103,28Z"


def parts(values: Iterable[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """(class, start, width) in percent, for a bar in which each value has its share."""
    given = list(values)
    total = sum(value for _, value in given) or 1.0
    at, found = 0.0, []
    for name, value in given:
        width = 100.0 * value / total
        if width:
            found.append((name, round(at, 3), round(width, 3)))
        at += width
    return found


def column(value: float, top: float) -> float:
    """The height of a column in percent; what is not nothing can be seen."""
    return round(max(100 * value / top, 1.5), 2) if value else 0.0


FILTERS: Mapping[str, Callable[..., object]] = {
    "n": number,
    "short": short,
    "usd": money,
    "pct": percent,
    "dur": duration,
    "hours": hours,
    "ms": latency,
    "clock": clock,
    "when": moment,
    "language": language,
    "native": native,
    "state": state,
    "export_state": export_state,
    "size": size,
    "look": look,
    "finding": finding,
    "meaning": meaning,
    "failure": failure,
    "story": tell_failure,
    "lane": lane,
    "amount": amount,
    "provider": provider,
}
GLOBALS: Mapping[str, Callable[..., object]] = {"spark": spark, "parts": parts, "column": column}

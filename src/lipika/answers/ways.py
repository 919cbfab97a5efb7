"""The ways of asking that have answers, each under a short name, and the one that a person means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipika.config import plain_model
from lipika.db.ways import WayCount
from lipika.errors import UsageError
from lipika.llm import transcript
from lipika.models import AnswerForm

_NAME = re.compile(r"[0-9a-f]{3,8}")
_SETTINGS = ("MODEL_ID", "TEMPERATURE", "THINKING_LEVEL", "ANSWER", "PROMPT")


@dataclass(frozen=True, slots=True)
class WaySettings:
    """The settings that make a way of asking. Provider and tier are no part of it: an answer is the same answer."""

    model_id: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str

    @property
    def form(self) -> AnswerForm | None:
        return transcript.form_of(self.schema_version)

    @property
    def words(self) -> str:
        """As `.env` has them, and as `lipika answers` takes them."""
        given = self.as_given()
        return " ".join(f"{name}={given[name]}" for name in _SETTINGS)

    def as_given(self) -> dict[str, str]:
        """By the names of settings; `PROMPT` is the version of the prompt."""
        return {
            "MODEL_ID": self.model_id,
            "TEMPERATURE": "default" if self.temperature is None else f"{round(self.temperature, 4):g}",
            "THINKING_LEVEL": self.thinking_level,
            "ANSWER": str(self.form or f"schema-{self.schema_version}"),
            "PROMPT": self.prompt_version,
        }


@dataclass(frozen=True, slots=True)
class AnswerSums:
    """Answers in one place: clips whose result they are, or audios that they are kept aside for."""

    clips: int = 0
    usd: float = 0.0
    prompt_tokens: int = 0
    audio_tokens: int = 0  # of those
    output_tokens: int = 0
    thought_tokens: int = 0  # of those

    def __add__(self, other: AnswerSums) -> AnswerSums:
        return AnswerSums(
            self.clips + other.clips,
            self.usd + other.usd,
            self.prompt_tokens + other.prompt_tokens,
            self.audio_tokens + other.audio_tokens,
            self.output_tokens + other.output_tokens,
            self.thought_tokens + other.thought_tokens,
        )


@dataclass(frozen=True, slots=True)
class WayOfAnswers:
    """One way of asking with what there is of it. `made_up`: answers of the simulator, which cost nothing."""

    name: str
    settings: WaySettings
    results: AnswerSums
    kept: AnswerSums
    languages: dict[str, int]
    providers: dict[str, int]  # `aistudio`, or `aistudio flex`
    made_up: int

    @property
    def answers(self) -> int:
        return self.results.clips + self.kept.clips


def group_ways(counts: Iterable[WayCount], language: str | None = None) -> list[WayOfAnswers]:
    """The ways, the one with most results first; of one `language` (a code), or of all."""
    groups: dict[str, list[WayCount]] = {}
    for one in counts:
        if language in (None, one.language):
            groups.setdefault(one.way, []).append(one)
    found = [_join(name, rows) for name, rows in groups.items()]
    return sorted(found, key=lambda way: (-way.results.clips, -way.kept.clips, way.name))


def _join(name: str, rows: Sequence[WayCount]) -> WayOfAnswers:
    one = rows[0]
    warmth = None if one.temperature is None else round(one.temperature, 4)
    return WayOfAnswers(
        name,
        WaySettings(one.model_id, warmth, one.thinking_level, one.prompt_version, one.schema_version),
        results=sum((_sum_up(row) for row in rows if row.place == "result"), AnswerSums()),
        kept=sum((_sum_up(row) for row in rows if row.place == "kept"), AnswerSums()),
        languages=_sum(rows, [row.language for row in rows]),
        providers=_sum(rows, [_provider(row) for row in rows]),
        made_up=sum(row.clips for row in rows if row.made_up),
    )


def _provider(row: WayCount) -> str:
    tier = "" if row.service_tier == "standard" else f" {row.service_tier}"
    return f"{row.provider}{tier}"


def _sum_up(row: WayCount) -> AnswerSums:
    tokens = row.prompt_tokens, row.audio_tokens, row.output_tokens, row.thought_tokens
    return AnswerSums(row.clips, row.cost_usd, *tokens)


def _sum(rows: Sequence[WayCount], keys: Sequence[str]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row, key in zip(rows, keys, strict=True):
        sums[key] = sums.get(key, 0) + row.clips
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def find_way(ways: Sequence[WayOfAnswers], told: str) -> WayOfAnswers:
    """The one way that a name (its first digits will do) or settings (`MODEL_ID=... ANSWER=lean`) mean.

    Raises:
        UsageError: none, or several.
    """
    if not ways:
        raise UsageError("there are no answers yet: lipika run my_tars/")
    if "=" in told:
        wanted = _read_settings(told)
        found = [way for way in ways if wanted.items() <= way.settings.as_given().items()]
    elif _NAME.fullmatch(told.lower()):
        found = [way for way in ways if way.name.startswith(told.lower())]
    else:
        raise UsageError(
            f"{told!r} is no way of asking: give the name that `lipika answers` shows, such as {ways[0].name}, or"
            f" settings: '{ways[0].settings.words}'"
        )
    if len(found) != 1:
        which = "no answers were asked for that way" if not found else f"{len(found)} ways are meant"
        listed = "".join(f"\n  {way.name}  {way.settings.words}" for way in found or ways)
        raise UsageError(f"{told}: {which}; there are:{listed}")
    return found[0]


def _read_settings(told: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in told.split()]
    wanted = {name.upper(): value for name, _, value in pairs}
    unknown = [name for name in wanted if name not in _SETTINGS]
    if unknown or len(wanted) < len(pairs) or not all(wanted.values()):
        raise UsageError(f"{told!r}: expected NAME=value, each name once, of {', '.join(_SETTINGS)}")
    if "MODEL_ID" in wanted:
        wanted["MODEL_ID"] = plain_model(wanted["MODEL_ID"])
    if wanted.get("TEMPERATURE", "default") != "default":
        try:
            wanted["TEMPERATURE"] = f"{round(float(wanted['TEMPERATURE']), 4):g}"
        except ValueError:
            raise UsageError(f"{told!r}: TEMPERATURE is a number, or default") from None
    return wanted

"""An order in words: which clips, asked how. Pure but for the models' prices, which are read from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lipika.config import Settings
from lipika.dashboard import clip_filters
from lipika.db.clip_search import ClipSelection
from lipika.db.redos import ERASED_CHOICE
from lipika.errors import UsageError
from lipika.jobs.asking import AskingWay, change_way
from lipika.languages import LANGUAGES, find_language
from lipika.validation import RULES

ASKED = ("provider", "model_id", "service_tier", "thinking_level", "answer", "temperature")
"""Settings that an order may name."""


@dataclass(frozen=True, slots=True)
class RedoWay:
    """The settings that clips are asked with, of one model, and the words for them."""

    settings: Settings
    words: str


def read_choice(given: Mapping[str, str]) -> ClipSelection:
    """The choice that these parameters of the page Clips make; empty ones are left out.

    Raises:
        UsageError: one of them makes no sense, or none is given.
    """
    wanted = {name: value.strip() for name, value in given.items() if value.strip()}
    unknown = sorted(set(wanted) - set(clip_filters.NAMES))
    if unknown:
        raise UsageError(f"no filter is called {', '.join(unknown)}: {', '.join(clip_filters.NAMES)}")
    if "language" in wanted and wanted["language"] != "unknown":
        language = find_language(wanted["language"])
        if language is None:
            raise UsageError(f"--language {wanted['language']}: not one of {', '.join(LANGUAGES)}")
        wanted["language"] = language.code
    if "finding" in wanted and wanted["finding"] not in RULES:
        raise UsageError(f"--finding {wanted['finding']}: not one of {', '.join(sorted(RULES))}")
    choice = clip_filters.read_filter(wanted)
    told = {name for name, _ in clip_filters.describe(choice)} | ({"hint"} if choice.heard else set())
    lost = sorted(set(wanted) - told)
    if lost:
        raise UsageError(
            f"{', '.join(f'{name}={wanted[name]}' for name in lost)}: this chooses nothing; lanes are asr, tts_clean"
            " and tts_expressive, tiers gold, silver and bronze, scores 0 to 1"
        )
    if not wanted:
        raise UsageError("say which clips, such as --finding loop --language hi, or --video v7")
    return choice


def read_scores(text: str) -> dict[str, str]:
    """`0.2..0.6`, `..0.6`, `0.2..` as the two parameters of the page.

    Raises:
        UsageError: it is none of these.
    """
    low, dots, high = text.partition("..")
    parts = {"from": low.strip(), "to": high.strip()}
    try:
        numbers = [float(part) for part in parts.values() if part]
    except ValueError:
        numbers = []
    if not dots or not numbers or not all(0 <= number <= 1 for number in numbers):
        raise UsageError(f"--score {text}: give a range in 0 to 1, such as ..0.6 or 0.2..0.6")
    return parts


def way_of(settings: Settings, asked: Mapping[str, Any]) -> RedoWay:
    """The settings with what an order says; of a cascade without a model named its last one is asked, alone.

    Raises:
        UsageError, SettingsError: such as a model that takes no such thinking level.
    """
    unknown = sorted(set(asked) - set(ASKED))
    if unknown:
        raise UsageError(f"an order cannot change {', '.join(unknown)}")
    alone = settings.model_copy(update={"model_id": settings.models[-1], "cascade": ""})
    changed = change_way(alone, asked)
    way = AskingWay.from_settings(changed)
    warmth = "" if way.temperature in (None, 0) else f", temperature {way.temperature:g}"
    made_up = "SIMULATED " if changed.provider == "simulator" else ""
    return RedoWay(changed, f"{made_up}{way.words}{warmth}")


def say_choice(query: str) -> str:
    """The words for a choice on record."""
    if query.startswith("clip="):
        return f"clip {query.removeprefix('clip=')}"
    if query == ERASED_CHOICE:
        return "clips that were erased"
    from urllib.parse import parse_qsl

    return ", ".join(
        text for _, text in clip_filters.describe(clip_filters.read_filter(dict(parse_qsl(query))))
    )

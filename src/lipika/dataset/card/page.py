"""samples.html: clips to listen to beside their text, on one page with its audio in files beside it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from lipika.dataset.card.words import name_language, plain
from lipika.dataset.model import PlanRow
from lipika.dataset.summary import ExportSummary
from lipika.languages import LANGUAGES

SAMPLES_EACH = 20
"""Clips of one language at most."""

MOST_BYTES = 32 << 20
"""Of the audio of all samples: 12 languages of 20 clips of 92 KB are 22 MB."""

_RIGHT_TO_LEFT = "Arabic"  # script


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip to listen to: its row, and its audio as the export has it (FLAC or WAV)."""

    row: PlanRow
    audio: bytes

    @property
    def ending(self) -> str:
        return "wav" if self.audio.startswith(b"RIFF") else "flac"

    @property
    def path(self) -> str:
        """Its place in the export."""
        return f"card/audio/{self.row.id}.{self.ending}"


def within_reason(samples: Sequence[Sample]) -> list[Sample]:
    """By language: the first `SAMPLES_EACH` of each, and no more than its part of `MOST_BYTES`."""
    by_language = defaultdict[str, list[Sample]](list)
    for sample in samples:
        by_language[sample.row.language].append(sample)
    kept: list[Sample] = []
    for language in sorted(by_language):
        room = MOST_BYTES // len(by_language)
        for sample in by_language[language][:SAMPLES_EACH]:
            if len(sample.audio) <= room:
                kept.append(sample)
                room -= len(sample.audio)
    return kept


def page(summary: ExportSummary, samples: Sequence[Sample]) -> str:
    """The page over samples in the order of languages."""
    by_language = defaultdict[str, list[Sample]](list)
    for sample in samples:
        by_language[sample.row.language].append(sample)
    return _template().render(
        summary=summary,
        title=plain(summary.title) or "Untitled",
        groups=sorted(by_language.items()),
        name_language=name_language,
        native_name=lambda code: LANGUAGES[code].native_name if code in LANGUAGES else "",
        direction=_direction,
        plain=plain,
    )


def _direction(code: str) -> str:
    """`auto` where a language is none of ours: the browser looks at the letters."""
    language = LANGUAGES.get(code)
    if language is None:
        return "auto"
    return "rtl" if language.script == _RIGHT_TO_LEFT else "ltr"


@cache
def _template() -> Template:
    text = resources.files("lipika.dataset.card").joinpath("samples.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)

"""The figures that the card of an export is made of, and `dataset.json`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from lipika.dataset.model import Tarset
from lipika.errors import AccountingError, UsageError
from lipika.models import is_made_up

SCORE_RANGES = 10
"""Clips are counted by score in so many ranges of equal width: 0 to 0.1, 0.1 to 0.2, ..., 0.9 to 1."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the seconds that a speaker has: least, quartiles, most."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Clips, and their seconds of audio."""

    clips: int
    seconds: float

    @property
    def hours(self) -> float:
        return self.seconds / 3600


@dataclass(frozen=True, slots=True)
class Speakers:
    """The speakers of one language: how many, and their seconds of audio at `QUANTILES`."""

    speakers: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedLanguage:
    """The findings of people in a sample of one language: shares, 0..1, with 95 % intervals; verdicts in words."""

    language: str
    heard: int  # clips
    cer: float
    cer_low: float
    cer_high: float
    unusable: float
    unusable_low: float
    unusable_high: float
    cer_verdict: str
    unusable_verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAudit:
    """An audit of the corpus that an export was chosen from. `lane` empty: of all its clips."""

    number: int
    drawn_on: str  # ISO 8601
    lane: str
    agreement_cer: float | None  # letters in which two people differ
    languages: Sequence[AuditedLanguage]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """All that was exported, from what, and what was not.

    Counts are of clips. A name of "" is what is not known.

    Raises:
        AccountingError: candidates are not exported and dropped clips together, or the exported clips, counted by
            tarset, score, duration, model, ..., do not add up to all of them.
    """

    title: str
    format: str  # its name, as it is asked for
    reader: str  # what reads it, in words
    code_version: str
    options: Mapping[str, str]  # as given: selection, view, splits, seed, group-by, ...
    source: str  # in words: where the clips come from
    data_up_to: str  # time of the newest row, ISO 8601; "" is unknown
    licence: str  # as given: an SPDX identifier, or words; "" where none was
    candidates: int
    exported: int
    dropped: Mapping[str, int]  # by reason
    tarsets: Sequence[Tarset]
    lanes: Mapping[str, Mapping[str, Amount]]  # language, open lane; a clip may be in none or in several
    scores: Mapping[str, Sequence[int]]  # language: clips in each of `SCORE_RANGES`
    durations: Sequence[int]  # clips of 0 to 1 s, 1 to 2 s, ...
    speakers: Mapping[str, Speakers]  # by language
    models: Mapping[str, int]  # by the version that answered
    providers: Mapping[str, int]
    prompts: Mapping[str, int]  # by version
    validators: Mapping[str, int]  # by version
    text_sources: Mapping[str, int]  # model, person, reference
    tiers: Mapping[str, int]
    text_changes: Mapping[str, int]  # by what the text view changed: digits, latin, punctuation, markers
    audit: CorpusAudit | None = None  # None: nobody has heard a sample to its end
    notes: Sequence[str] = ()  # sentences, such as that the smallest group went to dev
    schema_version: int = 1  # of `dataset.json`

    def __post_init__(self) -> None:
        dropped = sum(self.dropped.values())
        if self.candidates != self.exported + dropped:
            raise AccountingError(
                f"{self.candidates} candidates, but {self.exported} clips exported and {dropped} dropped: "
                f"{self.candidates - self.exported - dropped:+} are unaccounted for; plan the export anew"
            )
        for part, clips in self._parts():
            if clips != self.exported:
                raise AccountingError(
                    f"{self.exported} clips exported, but {clips} by {part}; plan the export anew"
                )

    def _parts(self) -> Iterator[tuple[str, int]]:
        yield "tarset", sum(tarset.clips for tarset in self.tarsets)
        yield "score", sum(sum(clips) for clips in self.scores.values())
        yield "duration", sum(self.durations)
        yield "model", sum(self.models.values())
        yield "provider", sum(self.providers.values())
        yield "prompt", sum(self.prompts.values())
        yield "validator", sum(self.validators.values())
        yield "source of text", sum(self.text_sources.values())
        yield "tier", sum(self.tiers.values())

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of the tarsets, in order."""
        return tuple(sorted({tarset.language for tarset in self.tarsets}))

    @property
    def splits(self) -> tuple[str, ...]:
        """Train, dev, test, then any others."""
        known = ("train", "dev", "test")
        found = {tarset.split for tarset in self.tarsets}
        return (*(one for one in known if one in found), *sorted(found.difference(known)))

    @property
    def seconds(self) -> float:
        return sum(tarset.seconds for tarset in self.tarsets)

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    @property
    def open_lanes(self) -> tuple[str, ...]:
        """The lanes that any exported clip is open for, in order."""
        return tuple(sorted({lane for lanes in self.lanes.values() for lane in lanes}))

    @property
    def made_up(self) -> int:
        """Clips whose text a simulator made up."""
        return sum(clips for model, clips in self.models.items() if is_made_up(model))

    def tarset(self, language: str, split: str) -> Tarset | None:
        """The tarset of a language and split; None where nothing was exported of them."""
        return next((one for one in self.tarsets if (one.language, one.split) == (language, split)), None)

    def document(self) -> dict[str, Any]:
        """Its JSON, as objects."""
        document: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return document

    def encode(self) -> bytes:
        """The content of `dataset.json`: keys in alphabetical order, no time of day."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.document(), option=options)

    @classmethod
    def decode(cls, content: bytes) -> ExportSummary:
        """What `encode` wrote.

        Raises:
            UsageError: it is no such document.
            AccountingError: its figures do not add up.
        """
        try:
            return _adapter().validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the document"
            raise UsageError(
                f"dataset.json: {place}: {first['msg']}; take the file as `lipika export` wrote it"
            ) from error


@cache
def _adapter() -> TypeAdapter[ExportSummary]:
    return TypeAdapter(ExportSummary)

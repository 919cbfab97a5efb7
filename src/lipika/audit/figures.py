"""Figures of an audit, from what people found to estimates and verdicts, by language, lane and tier. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from lipika.alignment.romanise import Romaniser
from lipika.alignment.voters import text_edits
from lipika.audit.estimates import AuditedRate, HeardClips, Stratum, error_rate, share
from lipika.audit.verdicts import Acceptance, judge
from lipika.db.audits import AuditRecord, HeardClip
from lipika.languages import LANGUAGES
from lipika.models import LANES
from lipika.validation.text import normalise, without_tags

_CHANCE = 0.05
"""Of a wrong verdict either way, over all draws of an audit: the first spends half, each later one half as much."""
MOST_MORE = 3_000  # clips: nobody hears more for one verdict


@dataclass(frozen=True, slots=True)
class RateVerdict:
    """A rate against its limit. `more` clips would probably decide it; None: it is decided, or no number would."""

    limit: float
    acceptance: Acceptance
    more: int | None


@dataclass(frozen=True, slots=True)
class PartFigures:
    """Figures of a part of the corpus. `complete`: all that was drawn of it has been heard; else they are `so far`.

    Verdicts are of languages and lanes; a tier has none.
    """

    language: str  # empty: all of them
    lane: str
    tier: str
    clips: int  # of the corpus
    drawn: int
    heard: int
    cer: AuditedRate
    cer_tolerant: AuditedRate
    unusable: AuditedRate
    cer_verdict: RateVerdict | None
    unusable_verdict: RateVerdict | None

    @property
    def complete(self) -> bool:
        return 0 < self.drawn == self.heard


@dataclass(frozen=True, slots=True)
class ReviewerAgreement:
    """Two people on the same clips. `cer` is between their texts, where both found the clip usable.

    `kappa` is Cohen's, of usable against unusable; None where nobody found any clip unusable.
    """

    clips: int
    cer: float | None
    same_usability: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """All that an audit says. `made`: judgements of `wanted`."""

    audit: AuditRecord
    wanted: int
    made: int
    reviewers: dict[str, int]
    languages: tuple[PartFigures, ...]
    lanes: tuple[PartFigures, ...]
    tiers: tuple[PartFigures, ...]
    agreement: ReviewerAgreement
    romaniser: str

    @property
    def complete(self) -> bool:
        return bool(self.languages) and all(part.complete for part in self.languages)


@dataclass(frozen=True, slots=True)
class _Counted:
    """The errors of one clip that was heard."""

    clip: HeardClip
    unusable: bool
    plain: tuple[int, int]  # (errors, letters)
    tolerant: tuple[int, int]


def count_errors(said: str, true: str) -> tuple[int, int]:
    """(letters to be changed, letters of the true text), without tags, case and punctuation; spaces count."""
    first, second = normalise(without_tags(said)), normalise(without_tags(true))
    return int(Levenshtein.distance(first, second)), len(second)


def make_figures(audit: AuditRecord, clips: Sequence[HeardClip], romaniser: Romaniser) -> AuditFigures:
    """The figures of an audit as far as it is heard. Of two judgements of a clip the first one counts."""
    counted = [_count(clip, romaniser) for clip in clips if clip.judgements]
    figures = _Figures(audit, clips, counted)
    languages = [figures.measure(language) for language in audit.languages]
    lanes = [figures.measure(language, lane=lane) for language in audit.languages for lane in LANES]
    tiers = [
        figures.measure(language, tier=tier)
        for language, tier in sorted({(one.language, one.tier) for one in audit.strata if one.tier})
    ]
    reviewers: dict[str, int] = {}
    for clip in clips:
        for judgement in clip.judgements:
            reviewers[judgement.reviewer] = reviewers.get(judgement.reviewer, 0) + 1
    return AuditFigures(
        audit=audit,
        wanted=sum(1 + clip.doubled for clip in clips),
        made=sum(min(len(clip.judgements), 1 + clip.doubled) for clip in clips),
        reviewers=dict(sorted(reviewers.items())),
        languages=tuple(languages),
        lanes=tuple(part for part in lanes if part.clips),
        tiers=tuple(tiers),
        agreement=measure_agreement(clips),
        romaniser=romaniser.name,
    )


def _count(clip: HeardClip, romaniser: Romaniser) -> _Counted:
    first = clip.judgements[0]
    if not first.usable:
        return _Counted(clip, unusable=True, plain=(0, 0), tolerant=(0, 0))
    true = clip.text_by(first)
    plain = count_errors(clip.transcription, true)
    tolerant = (
        text_edits(clip.transcription, true, clip.language, romaniser)
        if clip.language in LANGUAGES
        else plain
    )
    return _Counted(clip, unusable=False, plain=plain, tolerant=tolerant)


class _Figures:
    """The clips that were heard, ready to be measured part by part."""

    def __init__(self, audit: AuditRecord, clips: Sequence[HeardClip], counted: Sequence[_Counted]) -> None:
        self._audit = audit
        self._clips = clips
        self._counted = counted
        self._confidence = 1 - 2 * _CHANCE / 2**audit.looks

    def measure(self, language: str, *, lane: str = "", tier: str = "") -> PartFigures:
        """The figures of a language, or of its lane or tier."""
        places = [
            place
            for place, one in enumerate(self._audit.strata)
            if one.language == language
            and (not lane or lane in one.open_lanes)
            and (not tier or one.tier == tier)
        ]
        number = {place: of for of, place in enumerate(places)}
        strata = [
            Stratum(one.clips, one.proxy_errors, one.proxy_letters)
            for one in (self._audit.strata[place] for place in places)
        ]
        inside = [one for one in self._counted if one.clip.stratum in number]
        plain = _heard_clips(inside, number, [one.plain for one in inside])
        tolerant = _heard_clips(inside, number, [one.tolerant for one in inside])
        part = PartFigures(
            language=language,
            lane=lane,
            tier=tier,
            clips=sum(stratum.clips for stratum in strata),
            drawn=sum(clip.stratum in number for clip in self._clips),
            heard=len(inside),
            cer=error_rate(plain, strata),
            cer_tolerant=error_rate(tolerant, strata),
            unusable=share(plain, strata, plain.unusable),
            cer_verdict=None,
            unusable_verdict=None,
        )
        if tier or not part.drawn:
            return part
        at = self._confidence
        return replace(
            part,
            cer_verdict=_decide(part, error_rate(plain, strata, confidence=at), self._audit.limit_cer),
            unusable_verdict=_decide(
                part, share(plain, strata, plain.unusable, confidence=at), self._audit.limit_unusable
            ),
        )


def _heard_clips(
    inside: Sequence[_Counted], number: dict[int, int], found: Sequence[tuple[int, int]]
) -> HeardClips:
    return HeardClips(
        stratum=np.array([number[one.clip.stratum] for one in inside], dtype=np.int64),
        errors=np.array([errors for errors, _ in found], dtype=np.float64),
        letters=np.array([letters for _, letters in found], dtype=np.float64),
        unusable=np.array([one.unusable for one in inside], dtype=np.bool_),
        proxy_errors=np.array([one.clip.proxy_errors for one in inside], dtype=np.float64),
        proxy_letters=np.array([one.clip.proxy_letters for one in inside], dtype=np.float64),
    )


def _decide(part: PartFigures, rate: AuditedRate, limit: float) -> RateVerdict:
    """No verdict before all that was drawn has been heard: whoever may stop at will stops at a lucky moment."""
    acceptance = judge(rate, limit) if part.complete else Acceptance.UNDECIDED
    more = part.drawn - part.heard
    if part.complete:
        undecided = acceptance is Acceptance.UNDECIDED
        more = min(clips_to_decide(rate, limit), part.clips - part.heard) if undecided else 0
    return RateVerdict(limit, acceptance, more or None)


def clips_to_decide(rate: AuditedRate, limit: float) -> int:
    """The clips more that would probably decide, the rate being what it is; 0: none that anybody would hear."""
    value, low, high = rate.estimate.value, rate.estimate.low, rate.estimate.high
    if math.isnan(value) or value == limit:
        return 0
    reach, gap = (high - value, limit - value) if value < limit else (value - low, value - limit)
    needed = rate.heard * ((reach / gap) ** 2 - 1) * 1.1
    return math.ceil(needed / 10) * 10 if 0 < needed <= MOST_MORE else 0


def measure_agreement(clips: Sequence[HeardClip]) -> ReviewerAgreement:
    """The first two people of each clip that two have heard."""
    pairs = [(clip, clip.judgements[0], clip.judgements[1]) for clip in clips if len(clip.judgements) > 1]
    if not pairs:
        return ReviewerAgreement(0, None, None, None)
    both = [(clip, one, other) for clip, one, other in pairs if one.usable and other.usable]
    found = [count_errors(clip.text_by(one), clip.text_by(other)) for clip, one, other in both]
    letters = sum(of for _, of in found)
    same = sum(one.usable == other.usable for _, one, other in pairs) / len(pairs)
    first = sum(one.usable for _, one, _ in pairs) / len(pairs)
    second = sum(other.usable for _, _, other in pairs) / len(pairs)
    by_chance = first * second + (1 - first) * (1 - second)
    return ReviewerAgreement(
        clips=len(pairs),
        cer=sum(errors for errors, _ in found) / letters if letters else None,
        same_usability=same,
        kappa=(same - by_chance) / (1 - by_chance) if by_chance < 1 else None,
    )


# ----------------------------------------------------------------------------- for machines


def make_document(figures: AuditFigures) -> dict[str, Any]:
    """An audit for machines: `lipika audit report --json`. Rates are shares, 0..1, with 95 % intervals."""
    audit = figures.audit
    return {
        "audit": audit.id,
        "drawn_at": audit.drawn_at.isoformat(),
        "drawn_by": audit.drawn_by,
        "seed": audit.seed,
        "lane": audit.lane or None,
        "looks": audit.looks,
        "limits": {"cer": audit.limit_cer, "unusable": audit.limit_unusable},
        "complete": figures.complete,
        "judgements": {"wanted": figures.wanted, "made": figures.made, "by": figures.reviewers},
        "romaniser": figures.romaniser,
        "languages": _documents(figures.languages),
        "lanes": _documents(figures.lanes),
        "tiers": _documents(figures.tiers),
        "agreement": {
            "clips": figures.agreement.clips,
            "cer": figures.agreement.cer,
            "same_usability": figures.agreement.same_usability,
            "kappa": figures.agreement.kappa,
        },
    }


def _documents(parts: Iterable[PartFigures]) -> list[dict[str, Any]]:
    return [
        {
            "language": part.language,
            **({"lane": part.lane} if part.lane else {}),
            **({"tier": part.tier} if part.tier else {}),
            "clips": part.clips,
            "drawn": part.drawn,
            "heard": part.heard,
            "complete": part.complete,
            "cer": _rate(part.cer),
            "cer_tolerant": _rate(part.cer_tolerant),
            "unusable": _rate(part.unusable),
            "verdicts": {
                name: {"limit": verdict.limit, "verdict": verdict.acceptance.value, "hear_more": verdict.more}
                for name, verdict in (("cer", part.cer_verdict), ("unusable", part.unusable_verdict))
                if verdict is not None
            },
        }
        for part in parts
    ]


def _rate(rate: AuditedRate) -> dict[str, float | int | None]:
    estimate = rate.estimate
    known = not math.isnan(estimate.value)
    return {
        "value": estimate.value if known else None,
        "low": estimate.low,
        "high": estimate.high,
        "gain": round(rate.gain, 3),
        "strata_not_heard": rate.missing,
    }

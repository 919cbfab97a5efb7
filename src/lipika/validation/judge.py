"""From findings to score and lanes. Both only ever fall with a further finding: the property tests hold it to that.

Each part of the score starts at what was measured (`evidence`), mostly 1, and keeps `1 - penalty` of itself for every
finding of that part. `quality_score` is the product of the parts: clips without findings are ordered by evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lipika.models import Finding, Lane, Verdict
from lipika.validation.catalogue import RULES, LaneName, ScorePart
from lipika.validation.reading import Reading

_BOUNDARY_SHARE = 0.2  # what wholly unclean edges cost before any flag
_RATE_SHARE = 0.3  # what a text without a word would cost; one at an ordinary rate costs nothing
_ORDINARY_RATE = 7.0  # syllables per second of speech (158 recordings: 6.8 in the median)
_AUDIO_SHARE = 0.1  # what audio costs in which speech does not stand out at all
_FULL_SNR_DB = 50.0
_UNTOUCHED = {part.value: 1.0 for part in ScorePart}
_OPEN = Lane(eligible=True)


def evidence(reading: Reading) -> dict[str, float]:
    """Parts before any finding, 0..1: never better with fewer words, and continuous where something is measured."""
    clip = reading.clip
    parts = dict(_UNTOUCHED)
    parts[ScorePart.BOUNDARY] = 1.0 - _BOUNDARY_SHARE * (1.0 - _share(clip.boundary_score))
    parts[ScorePart.AUDIO] = 1.0 - _AUDIO_SHARE * (1.0 - _share(clip.audio.snr_db / _FULL_SNR_DB))
    if not reading.answer.no_speech:
        share = _share(reading.syllables_per_second / _ORDINARY_RATE)
        parts[ScorePart.RATE] = 1.0 - _RATE_SHARE * (1.0 - share)
    return parts


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def score_parts(findings: Iterable[Finding], start: Mapping[str, float]) -> dict[str, float]:
    """Part name -> 0..1, from what `evidence` says."""
    return _charge(start, findings)


def _charge(parts: Mapping[str, float], findings: Iterable[Finding]) -> dict[str, float]:
    charged = dict(parts)
    for found in findings:
        rule = RULES[found.code]
        charged[rule.part] *= 1.0 - rule.penalty
    return charged


def quality(parts: Mapping[str, float]) -> float:
    """The product of the parts, to four decimals."""
    return round(math.prod(parts.values()), 4)


def lane(name: LaneName, findings: Iterable[Finding]) -> Lane:
    """Open unless a finding closes it; the reasons are the codes, each once, in order."""
    reasons = dict.fromkeys([found.code for found in findings if name in RULES[found.code].closes])
    return Lane(eligible=False, reasons=tuple(reasons)) if reasons else _OPEN


def add_findings(verdict: Verdict, extra: Iterable[Finding], *, anew: bool = False) -> Verdict:
    """The verdict as it would be with more findings, such as those only the whole video can show.

    With `anew` lanes and score are worked out even if there are none: findings have been taken away before.
    """
    extra = tuple(extra)
    if not extra and not anew:
        return verdict
    findings = (*verdict.findings, *extra)
    parts = _charge(verdict.score_parts, extra)
    return replace(
        verdict,
        findings=findings,
        quality_score=quality(parts),
        score_parts=parts,
        asr=lane(LaneName.ASR, findings),
        tts_clean=lane(LaneName.TTS_CLEAN, findings),
        tts_expressive=lane(LaneName.TTS_EXPRESSIVE, findings),
        overlap_suspected=verdict.overlap_suspected or suspects_overlap(extra),
    )


def suspects_overlap(findings: Iterable[Finding]) -> bool:
    return any(found.code.startswith("overlap_") for found in findings)

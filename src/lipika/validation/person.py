"""Lanes and score of a text that a person has written or approved: their word decides, findings are shown. Pure.

What is said against a model's text (too fast, another script, a second recogniser heard otherwise) closes no lane of
a person's: they have listened. What the audio is like still counts, and so does what the person's text tells of it.
"""

from __future__ import annotations

from dataclasses import replace

from lipika.models import Finding, Verdict
from lipika.validation.catalogue import RULES, LaneName, ScorePart, finding
from lipika.validation.judge import add_findings, lane, quality, score_parts

_OF_AUDIO = (ScorePart.AUDIO, ScorePart.BOUNDARY)
_TOLD_BY_TEXT = frozenset(
    {
        "no_speech",
        "vocal_event",
        "background_event",
        "unk",
        "unk_dense",
        "inaudible",
        "inaudible_dense",
        "overlap_marked",
        "overlap_timeline",
        "unusable",
    }
)
COUNTS_FOR_PEOPLE = frozenset(
    code for code, rule in RULES.items() if rule.part in _OF_AUDIO or code in _TOLD_BY_TEXT
)
"""Codes of findings that close lanes, and cost score, of a person's text, too."""


def decide(verdict: Verdict) -> Verdict:
    """The verdict with lanes and score as a person's word has them; all findings stay. Idempotent."""
    counted = [found for found in verdict.findings if found.code in COUNTS_FOR_PEOPLE]
    audio = {part.value for part in _OF_AUDIO}
    start = {name: share if name in audio else 1.0 for name, share in verdict.score_parts.items()}
    told = [found for found in counted if RULES[found.code].part not in _OF_AUDIO]
    parts = score_parts(told, start)
    return replace(
        verdict,
        quality_score=quality(parts),
        score_parts=parts,
        asr=lane(LaneName.ASR, counted),
        tts_clean=lane(LaneName.TTS_CLEAN, counted),
        tts_expressive=lane(LaneName.TTS_EXPRESSIVE, counted),
    )


def condemn(verdict: Verdict, reason: str) -> Verdict:
    """The verdict on a clip of which a person says that nobody should use it."""
    return decide(add_findings(verdict, [finding("unusable", reason)]))


def reason_of(findings: tuple[Finding, ...]) -> str | None:
    """The reason for which a person calls the clip unusable; None where nobody does."""
    return next((found.evidence for found in findings if found.code == "unusable"), None)

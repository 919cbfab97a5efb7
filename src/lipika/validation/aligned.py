"""Findings from what a second recogniser heard."""

from __future__ import annotations

from dataclasses import replace

from lipika.models import Agreement, Alignment, Finding, Verdict
from lipika.validation.catalogue import RULES, ScorePart, finding
from lipika.validation.judge import add_findings

_SAME_SOUND = frozenset({"hi", "ur"})
_BY_CLASS = {Agreement.FLAG: "cer_high", Agreement.REJECT: "cer_unrelated"}


def alignment_findings(alignment: Alignment) -> tuple[Finding, ...]:
    """The findings that an alignment is worth."""
    found = []
    code = _BY_CLASS.get(alignment.agreement)
    if alignment.missing_tail:
        found.append(finding("tail_missing", f"heard after it: {alignment.missing_tail}"))
        code = None  # the distance is that of the tail
    if code is not None and alignment.score is not None:
        found.append(finding(code, f"distance {1 - alignment.score:.2f}; heard: {alignment.heard}"))
    spoken, written = alignment.spoken_language, alignment.language
    if spoken and spoken != written and not {spoken, written} <= _SAME_SOUND:
        found.append(
            finding("spoken_language_mismatch", f"it sounds like {spoken}, the text is in {written}")
        )
    return tuple(found)


def add_alignment(verdict: Verdict, alignment: Alignment) -> Verdict:
    """The verdict with this alignment in place of any other. Repeating it changes nothing."""
    kept = tuple(found for found in verdict.findings if not _is_of_alignment(found))
    parts = {**verdict.score_parts, ScorePart.ALIGNMENT.value: 1.0}
    return add_findings(
        replace(verdict, findings=kept, score_parts=parts), alignment_findings(alignment), anew=True
    )


def _is_of_alignment(found: Finding) -> bool:
    rule = RULES.get(found.code)
    return rule is not None and rule.part is ScorePart.ALIGNMENT

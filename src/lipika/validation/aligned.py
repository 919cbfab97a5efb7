"""Findings from what a second recogniser heard."""

from __future__ import annotations

from dataclasses import replace

from lipika.models import Agreement, Alignment, Finding, Verdict
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import RULES, ScorePart, finding
from lipika.validation.judge import add_findings

_SAME_SOUND = frozenset({"hi", "ur"})
_BY_CLASS = {Agreement.FLAG: "cer_high", Agreement.REJECT: "cer_unrelated"}


def alignment_findings(alignment: Alignment) -> tuple[Finding, ...]:
    """The findings that an alignment is worth."""
    found = []
    if alignment.missing_tail:  # distance and words are those of the tail
        found.append(finding("tail_missing", f"heard after it: {alignment.missing_tail}"))
    elif alignment.score is not None:
        found += _findings_of_words(alignment, 1 - alignment.score)
    spoken, written = alignment.spoken_language, alignment.language
    if spoken and spoken != written and not {spoken, written} <= _SAME_SOUND:
        found.append(
            finding("spoken_language_mismatch", f"it sounds like {spoken}, the text is in {written}")
        )
    return tuple(found)


def _findings_of_words(alignment: Alignment, distance: float) -> list[Finding]:
    heard = f"heard: {alignment.heard}"
    share = max(alignment.share_lacking, alignment.share_unheard)
    code, found = _BY_CLASS.get(alignment.agreement), []
    if code is not None:
        found.append(finding(code, f"distance {distance:.2f}; {heard}"))
    elif share > limit.WORDS_DIFFER_SHARE or distance > limit.WORDS_DIFFER_DISTANCE:
        found.append(finding("words_differ", f"{share:.0%} of the words, distance {distance:.2f}; {heard}"))
    if alignment.share_missing > limit.WORDS_MISSING_SHARE and code != "cer_unrelated":
        found.append(finding("words_missing", f"{alignment.share_missing:.0%} of the words; {heard}"))
    return found


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

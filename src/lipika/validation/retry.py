"""The reaction to a verdict: keep the answer, ask once more in other words, or ask the other provider."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from lipika.models import Advice, Answer, Finding, Severity, Verdict
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import AGREED, RULES, finding
from lipika.validation.text import normalise, without_tags


def retry_advice(verdict: Verdict, *, varied: bool = False, switched: bool = False) -> Advice:
    """The next step for an answer, after a varied retry (`varied`) and the other provider (`switched`).

    A varied retry comes first. Only failures are worth the other provider after that: a doubt that two
    attempts share is most likely in the audio.
    """
    worth = [found for found in verdict.findings if RULES[found.code].advice is not Advice.KEEP]
    if not worth:
        return Advice.KEEP
    at_once = any(RULES[found.code].advice is Advice.ELSEWHERE for found in worth)
    if not varied and not at_once:
        return Advice.VARY
    failed = any(found.severity is Severity.FAIL for found in worth)
    return Advice.ELSEWHERE if failed and not switched else Advice.KEEP


def say_the_same(answer: Answer, before: Answer) -> bool:
    """True if two answers to differently worded questions hold the same words, give or take a few letters."""
    texts = [
        normalise(without_tags(each.transcription))[: limit.TAG_COMPARE_CHARS] for each in (answer, before)
    ]
    return Levenshtein.normalized_similarity(*texts) >= limit.AGREED_SIMILARITY


def settle(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings of a text that two askings agree on: what comes again and again in it is speech."""
    kept, settled = [], False
    for found in findings:
        if found.code in AGREED:
            kept.append(finding("repetition_agreed", f"{found.code}: {found.evidence}"))
            settled = True
        elif not (settled and found.code == "repetition_agreed"):
            kept.append(found)
    return tuple(kept)


def acceptable(verdict: Verdict) -> bool:
    """True if the answer may end a clip as transcribed; a loop never may, whatever was tried."""
    return not any(RULES[found.code].never_accepted for found in verdict.findings)

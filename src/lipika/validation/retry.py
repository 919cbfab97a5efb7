"""The reaction to a verdict: keep the answer, ask once more in other words, or ask the other provider."""

from __future__ import annotations

from lipika.models import Advice, Severity, Verdict
from lipika.validation.catalogue import RULES


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


def acceptable(verdict: Verdict) -> bool:
    """True if the answer may end a clip as transcribed; a loop never may, whatever was tried."""
    return not any(RULES[found.code].never_accepted for found in verdict.findings)

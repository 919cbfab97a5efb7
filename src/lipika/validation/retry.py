"""What to do about a verdict: keep the answer, ask once more in other words, or ask the other provider."""

from __future__ import annotations

from enum import StrEnum

from lipika.models import Severity, Verdict
from lipika.validation.catalogue import RULES, Reaction


class RetryAdvice(StrEnum):
    VARIED_RETRY = "varied_retry"  # same provider, `clip_prompt(varied=True)`
    OTHER_PROVIDER = "other_provider"
    FINAL = "final"  # nothing to gain: keep what there is


def retry_advice(verdict: Verdict, *, varied: bool = False, switched: bool = False) -> RetryAdvice:
    """The next step for an answer, after a varied retry (`varied`) and the other provider (`switched`).

    A varied retry comes first. Only failures are worth the other provider after that: a doubt that two
    attempts share is most likely in the audio.
    """
    worth = [found for found in verdict.findings if RULES[found.code].reaction is not Reaction.KEEP]
    if not worth:
        return RetryAdvice.FINAL
    at_once = any(RULES[found.code].reaction is Reaction.SWITCH for found in worth)
    if not varied and not at_once:
        return RetryAdvice.VARIED_RETRY
    failed = any(found.severity is Severity.FAIL for found in worth)
    return RetryAdvice.OTHER_PROVIDER if failed and not switched else RetryAdvice.FINAL


def acceptable(verdict: Verdict) -> bool:
    """Whether the answer may end a clip as transcribed; a loop never may, whatever was tried."""
    return not any(RULES[found.code].never_accepted for found in verdict.findings)

"""The next step of a clip after a failed attempt, first tries and retries alike, by `FAILURE_RULES`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lipika.engine.pacing import Backoff
from lipika.models import Failure, Remedy


class Step(StrEnum):
    """What happens to the clip next."""

    RETRY = "retry"  # ask again after `wait_s`
    ELSEWHERE = "elsewhere"  # ask the other provider, at once
    FINAL = "final"  # the clip has failed
    STOP = "stop"  # the worker must stop; the clip is not failed, it goes back


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step of one clip. `counts` = this failure uses up one of the clip's retries."""

    step: Step
    wait_s: float = 0.0
    counts: bool = True
    varied: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """The attempts at a clip so far, this failure included."""

    counted: int  # failures that used up a retry
    waits: int  # failures that were only a wait for quota or capacity
    varied: bool  # the varied retry has been spent
    given_up: bool = False  # waiting has been shown to be in vain for this clip
    elsewhere: bool = False  # another provider is there that this clip has not been sent to


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the one retry loop. Waiting for quota is not an attempt and fails no clip.

    `least` holds whatever the server says: a wait of 0 is asked for by the thousand.
    """

    max_retries: int = 3
    backoff: Backoff = Backoff()
    least: Backoff = Backoff(1.0, 60.0)
    probes_in_vain: int = 10  # of one clip in an outage in which there are replies; then it has failed
    goes_up: bool = (
        False  # a better model is asked instead of this one's second try, or of another provider's
    )


def decide(failure: Failure, history: History, policy: RetryPolicy, jitter: float) -> Decision:
    """The next step after `failure`; `jitter` in 0..1 is the caller's randomness.

    Where the remedy is used up, another provider is worth one try: it filters, samples and fails differently.
    """
    rule = failure.rule
    match rule.remedy:
        case Remedy.WAIT if not history.given_up:
            return Decision(Step.RETRY, wait_s(failure, history.waits + 1, policy, jitter), rule.counts)
        case Remedy.RETRY if not history.given_up and history.counted < policy.max_retries:
            return Decision(Step.RETRY, wait_s(failure, history.counted + 1, policy, jitter), rule.counts)
        case Remedy.VARY if not history.varied and not policy.goes_up:
            return Decision(Step.RETRY, varied=True)
        case Remedy.NONE:
            return Decision(Step.FINAL)
        case Remedy.STOP:
            return Decision(Step.STOP)
        case _:
            goes_up = policy.goes_up and rule.is_the_clips
            return Decision(Step.ELSEWHERE if history.elsewhere and not goes_up else Step.FINAL)


def wait_s(failure: Failure, failures: int, policy: RetryPolicy, jitter: float) -> float:
    """The server's word where it gave one (plus up to a tenth, so that not all return at once), else back-off."""
    if failure.retry_after_s is None:
        return policy.backoff.wait_s(failures, jitter)
    least_s = policy.least.wait_s(failures, 1.0)
    return max(failure.retry_after_s, least_s) * (1 + 0.1 * jitter)

"""What to do after a failed attempt: one table, as a value, for first tries and retries alike. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lipika.limits import Backoff
from lipika.models import Failure, FailureKind


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
    """What has happened to a clip so far, this failure included."""

    counted: int  # failures that used up a retry
    waits: int  # failures that were only a wait for quota or capacity
    varied: bool  # the varied retry has been spent
    elsewhere: bool = False  # another provider is there that this clip has not been sent to


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the one retry loop. Waiting for quota is not an attempt and never fails a clip."""

    max_retries: int = 3
    backoff: Backoff = Backoff()


_WAITS = {FailureKind.RATE_MINUTE, FailureKind.RATE_DAY, FailureKind.SPEND, FailureKind.OVERLOADED}
_TRANSIENT = {FailureKind.SERVER, FailureKind.TIMEOUT}
_VARIED = {FailureKind.MALFORMED, FailureKind.EMPTY, FailureKind.TRUNCATED}
_CONTENT = _VARIED | {FailureKind.BLOCKED}
"""Another provider filters and samples differently: worth one try there."""
_STOPS = {FailureKind.AUTH, FailureKind.PAYMENT}


def decide(failure: Failure, history: History, policy: RetryPolicy, jitter: float) -> Decision:
    """The reaction to `failure`; `jitter` in 0..1 is the caller's randomness."""
    if failure.kind in _STOPS:
        return Decision(Step.STOP)
    if failure.kind in _WAITS:
        return Decision(Step.RETRY, _wait_s(failure, history.waits + 1, policy, jitter), counts=False)
    if failure.kind in _TRANSIENT and history.counted < policy.max_retries:
        return Decision(Step.RETRY, _wait_s(failure, history.counted + 1, policy, jitter))
    if failure.kind in _VARIED and not history.varied:
        return Decision(Step.RETRY, varied=True)
    if failure.kind in _CONTENT and history.elsewhere:
        return Decision(Step.ELSEWHERE)
    return Decision(Step.FINAL)


def _wait_s(failure: Failure, failures: int, policy: RetryPolicy, jitter: float) -> float:
    """The server's word where it gave one (plus up to a tenth, so that not all return at once), else back-off."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s * (1 + 0.1 * jitter)
    return policy.backoff.wait_s(failures, jitter)

"""Accept or reject a part of a corpus against a limit, with an error of 5 % at most either way. Pure."""

from __future__ import annotations

import enum
import math

from lipika.audit.estimates import AuditedRate


class Acceptance(enum.StrEnum):
    """Of a rate against a limit."""

    ACCEPT = "accept"  # it lies below the limit
    REJECT = "reject"  # it lies above
    UNDECIDED = "undecided"  # the sample cannot say


def judge(rate: AuditedRate, limit: float) -> Acceptance:
    """The verdict by the side of `limit` on which the whole interval lies.

    Both ends of a 95 % interval are wrong in one of forty audits by design, so that a verdict is wrong in fewer than
    one of twenty even where the interval of a skewed rate is a little too narrow at one end.
    """
    if math.isnan(rate.estimate.value) or rate.missing:
        return Acceptance.UNDECIDED
    if rate.estimate.high <= limit:
        return Acceptance.ACCEPT
    return Acceptance.REJECT if rate.estimate.low > limit else Acceptance.UNDECIDED

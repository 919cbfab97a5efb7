"""The fewest of the clips that are left to be asked at the standard tier, so that a deadline at Flex is met. Pure.

Flex costs half and takes minutes; both tiers share the quotas. A clip goes on at the standard tier only where the
deadline would be missed otherwise: after the last moment at which Flex still answers in time, and before that only as
many as do not fit into what is left then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TierPace:
    """One tier as measured: the longest usual latency in seconds, the requests that a clip takes there, and the
    requests a second that may be launched there at most."""

    latency_s: float
    requests_per_clip: float = 1.0
    requests_per_s: float = math.inf


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """The tier of launches from now on: at Flex for `flex_for_s`, but for `share` of them; standard after that."""

    flex_for_s: float
    share: float
    standard_clips: float  # in all
    meets_deadline: bool


def plan_escalation(
    clips: float, seconds: float, requests_per_s: float, flex: TierPace, standard: TierPace
) -> EscalationPlan:
    """The plan with the fewest clips at the standard tier.

    Args:
        clips: left to be asked, without those that are under way.
        seconds: until the deadline.
        requests_per_s: that all limits together allow, at whichever tier.
    """
    flex_for_s = max(seconds - flex.latency_s, 0.0)
    standard_for_s = max(seconds - standard.latency_s, 0.0)
    rate, k, m = requests_per_s, flex.requests_per_clip, standard.requests_per_clip
    if clips <= 0 or rate <= 0:
        return EscalationPlan(flex_for_s, 0.0, 0.0, clips <= 0)
    most_flex = min(clips, min(rate, flex.requests_per_s) * flex_for_s / k)
    spare = (
        rate * max(standard_for_s, flex_for_s) - clips * m
    )  # requests beyond one standard one for each clip
    fits = spare >= most_flex * (k - m)
    if not fits and k > m:
        most_flex = min(most_flex, max(spare / (k - m), 0.0))
    at_standard = clips - most_flex
    late = min(at_standard, rate * max(standard_for_s - flex_for_s, 0.0) / m)
    early = at_standard - late
    launched = most_flex * k + early * m
    share = early * m / launched if launched > 0 else 0.0
    return EscalationPlan(flex_for_s, share, at_standard, fits or spare >= 0)

"""What happened in the last minute, from running sums that are looked at now and then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lipika.models import FailureKind

RATE_KINDS = frozenset({FailureKind.RATE_MINUTE, FailureKind.RATE_DAY, FailureKind.SPEND})
"""Failures that are a 429."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Running sums of a process life at one moment."""

    clips: int = 0  # ended
    usd: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # attempts, by kind
    latency_counts: Sequence[int] = ()  # attempts, by place (lipika.latency)

    def since(self, before: Sums) -> Sums:
        """What has been added since."""
        failures = {kind: count - before.failures.get(kind, 0) for kind, count in self.failures.items()}
        earlier = before.latency_counts or (0,) * len(self.latency_counts)
        return Sums(
            self.clips - before.clips,
            self.usd - before.usd,
            self.prompt_tokens - before.prompt_tokens,
            self.cached_tokens - before.cached_tokens,
            {kind: count for kind, count in failures.items() if count},
            [now - then for now, then in zip(self.latency_counts, earlier, strict=True)],
        )

    @property
    def rate_limited(self) -> int:
        return sum(count for kind, count in self.failures.items() if kind in RATE_KINDS)

    @property
    def errors(self) -> int:
        return sum(count for kind, count in self.failures.items() if kind not in RATE_KINDS)


class LastMinute:
    """Differences over a sliding `span_s`; times are seconds on one monotonic clock."""

    def __init__(self, now: float, *, span_s: float = 60.0) -> None:
        self._span_s = span_s
        self._seen: deque[tuple[float, Sums]] = deque([(now, Sums())])

    def note(self, now: float, sums: Sums) -> Sums:
        """Look at the sums as they are; returns what was added in the last `span_s`.

        Compared with the last look that is at least `span_s` old: looks 5 s apart make a span of 60 to 65 s.
        """
        self._seen.append((now, sums))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._span_s:
            self._seen.popleft()
        return sums.since(self._seen[0][1])

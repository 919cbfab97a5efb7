"""The time and cost of a queue under each limit, the limit that binds, and the workers that it needs. Pure.

The arithmetic is the governor's (`budget`): each rate moves a cursor, the slowest one decides, and money per day is
a cap of each UTC day. docs/cost.md tells it in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipika.forecast.budget import Budget, seconds_per_request
from lipika.forecast.days import DAY_S, MoneySoFar, seconds_over_days
from lipika.forecast.intervals import REPLICATES, Floats, from_replicates, stratified_draws
from lipika.forecast.limits import LIMITS, Limit
from lipika.forecast.shares import Estimate

LIMIT_WORDS = {**{limit.name: limit.words for limit in LIMITS}, "workers": "the workers"}
_RATES = tuple(limit for limit in LIMITS if limit.name != "spend_total")
"""What comes back with time. The cap in all does not: it ends the work, and makes nothing slower."""
_RETRIES_FROM = 1.005
"""Requests a clip above which some retry is open when the last clip is sent."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Things drawn together when the sample is drawn anew: the clips of one video, or one batch window.

    Sums over all requests of its clips, failed ones included. `weight` is how much of the queue each of its clips
    stands for, in any scale.
    """

    clips: float
    requests: float
    prompt_tokens: float
    output_tokens: float
    usd: float
    stratum: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PerClip:
    """Means of the sample."""

    requests: float
    prompt_tokens: float
    output_tokens: float
    usd: float

    @property
    def usd_per_request(self) -> float:
        return self.usd / self.requests if self.requests else 0.0

    @property
    def tokens_per_request(self) -> float:
        return self.prompt_tokens / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers: how many, and what one of them can do."""

    workers: int
    clips_per_minute: float  # WORKER_BATCH_SIZE per BATCH_INTERVAL_SECONDS, or what was measured where less
    max_in_flight: int
    latency_s: float  # of one request, mean
    window_s: float = 60.0  # a retry waits for the end of the window that it was first sent in

    def tail_s(self, requests_per_clip: float) -> float:
        """From the last first attempt to the last answer: its latency, and half a window where there are retries."""
        return self.latency_s + (self.window_s / 2 if requests_per_clip > _RETRIES_FROM else 0.0)

    def clips_per_s(self, requests_per_clip: float) -> float:
        """Of one worker."""
        wire = math.inf
        if self.latency_s > 0:
            wire = self.max_in_flight / self.latency_s / max(requests_per_clip, 1e-9)
        return min(self.clips_per_minute / 60, wire)


@dataclass(frozen=True, slots=True)
class UnderLimit:
    """The queue as if this were the only limit. `clips_per_s` is the mean of a whole day for money per day."""

    name: str  # rpm, tpm, spend_10min, spend_day, workers
    limit: float
    clips_per_s: float
    seconds: Estimate
    binds: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """All of it together. Times are seconds from now, infinite where it never ends, as if the dollar cap in all were
    raised before it is reached; `clips_until_cap` tells when that is."""

    clips: Estimate
    per_clip: PerClip
    usd_per_clip: Estimate
    usd: Estimate
    seconds: Estimate
    binds: str  # the limit that decides
    limits: tuple[UnderLimit, ...]
    workers: int
    workers_needed: int | None  # to use the quota in full; None: no quota is set
    clips_until_cap: float | None  # what the dollar cap still allows, where that is less than the queue


@dataclass(frozen=True, slots=True)
class Needed:
    """The limits that it takes to finish in a given time."""

    hours: float
    rpm: float
    tpm: float
    usd_per_10min: float
    usd_per_day: float
    workers: int


def forecast(
    units: Sequence[Unit],
    clips: Estimate,
    budget: Budget,
    crew: Crew,
    so_far: MoneySoFar | None = None,
    *,
    seed: int = 0,
) -> Forecast:
    """Time and dollars for `clips` more clips that are like the sample.

    Raises:
        ValueError: the sample holds no clip.
    """
    if not units or sum(unit.clips * unit.weight for unit in units) <= 0:
        raise ValueError("no clip has been measured yet")
    so_far = so_far or MoneySoFar()
    drawn = _means(units, seed)
    usual = _usual(units)
    counts = _counts(clips, seed)

    def spread(value: float, of: Sequence[float]) -> Estimate:
        return from_replicates(value, np.asarray(of, np.float64))

    pairs = list(zip(drawn, counts, strict=True))
    names = limit_names(budget)
    seconds = spread(
        time_s(clips.value, usual, budget, crew, so_far),
        [time_s(count, each, budget, crew, so_far) for each, count in pairs],
    )
    binds = _binding(clips.value, usual, budget, crew, so_far)
    limits = tuple(
        UnderLimit(
            name=name,
            limit=_limit(name, budget, crew),
            clips_per_s=_rate_under(name, usual, budget, crew),
            seconds=spread(
                time_s(clips.value, usual, only(budget, name), _crew_for(name, crew), so_far),
                [
                    time_s(count, each, only(budget, name), _crew_for(name, crew), so_far)
                    for each, count in pairs
                ],
            ),
            binds=name == binds,
        )
        for name in names
    )
    return Forecast(
        clips=clips,
        per_clip=usual,
        usd_per_clip=spread(usual.usd, [each.usd for each in drawn]),
        usd=spread(usual.usd * clips.value, [each.usd * count for each, count in pairs]),
        seconds=seconds,
        binds=binds,
        limits=limits,
        workers=crew.workers,
        workers_needed=_workers_needed(usual, budget, crew),
        clips_until_cap=_clips_until_cap(clips.value, usual, budget, so_far),
    )


def find_needed(clips: float, each: PerClip, crew: Crew, hours: float) -> Needed:
    """The limits and workers that finish the queue in `hours`, with the governor's margin on top."""
    per_s = clips / (hours * 3600)
    requests = per_s * each.requests
    margin = requests * seconds_per_request(Budget(rpm=60), 0.0, 0.0)["rpm"]  # 60 a minute: 1 a second
    scale = margin / requests if requests else 1.0
    return Needed(
        hours=hours,
        rpm=math.ceil(requests * 60 * scale),
        tpm=math.ceil(per_s * each.prompt_tokens * 60 * scale),
        usd_per_10min=per_s * each.usd * 600 * scale,
        usd_per_day=per_s * each.usd * DAY_S,
        workers=math.ceil(per_s / crew.clips_per_s(each.requests)),
    )


# ----------------------------------------------------------------------------- time


def time_s(clips: float, each: PerClip, budget: Budget, crew: Crew, so_far: MoneySoFar) -> float:
    """Seconds until `clips` have been answered; infinite when a limit is zero. The cap in all is no rate."""
    if clips <= 0:
        return 0.0
    step_s = _step_s(each, budget, crew)
    if math.isinf(step_s):
        return math.inf
    if budget.usd_per_day is None:
        return clips * step_s + crew.tail_s(each.requests)
    usd_per_s = each.usd / step_s if step_s else math.inf
    spent_s = seconds_over_days(clips * each.usd, usd_per_s, budget.usd_per_day, so_far)
    return spent_s + crew.tail_s(each.requests)


def _step_s(each: PerClip, budget: Budget, crew: Crew) -> float:
    """Seconds between clips while money per day lasts: the slowest of all rates decides."""
    moved = seconds_per_request(budget, each.tokens_per_request, each.usd_per_request)
    fleet = crew.workers * crew.clips_per_s(each.requests)
    own_s = 1 / fleet if fleet > 0 else math.inf
    return max([own_s, *(seconds * each.requests for seconds in moved.values())])


def _clips_until_cap(clips: float, each: PerClip, budget: Budget, so_far: MoneySoFar) -> float | None:
    if budget.usd_total is None or each.usd <= 0:
        return None
    allowed = max(budget.usd_total - so_far.spent_total_usd, 0.0) / each.usd
    return allowed if allowed < clips else None


# ----------------------------------------------------------------------------- one limit at a time


def limit_names(budget: Budget) -> tuple[str, ...]:
    """The limits that are set, and the workers themselves."""
    return (*(limit.name for limit in _RATES if getattr(budget, limit.field) is not None), "workers")


def only(budget: Budget, name: str) -> Budget:
    """The budget with one of its limits alone."""
    return _keep_limits(budget, [limit for limit in _RATES if limit.name == name])


def _crew_for(name: str, crew: Crew) -> Crew:
    """As many workers as it takes, where something else is looked at."""
    if name == "workers":
        return crew
    return Crew(1, math.inf, crew.max_in_flight, 0.0, 0.0)


def _limit(name: str, budget: Budget, crew: Crew) -> float:
    fields = {limit.name: limit.field for limit in _RATES}
    return float(crew.workers if name == "workers" else getattr(budget, fields[name]) or 0)


def _rate_under(name: str, each: PerClip, budget: Budget, crew: Crew) -> float:
    """Clips a second."""
    if name == "workers":
        return crew.workers * crew.clips_per_s(each.requests)
    if name == "spend_day":
        return (budget.usd_per_day or 0.0) / DAY_S / each.usd if each.usd else math.inf
    step_s = _step_s(each, only(budget, name), _crew_for(name, crew))
    return 1 / step_s if step_s else math.inf


def _binding(clips: float, each: PerClip, budget: Budget, crew: Crew, so_far: MoneySoFar) -> str:
    """The limit without which it would end soonest; where none alone makes a difference, the one that is slowest."""

    def without(name: str) -> tuple[float, float]:
        rest = _without(budget, name)
        freed = _crew_for("", crew) if name == "workers" else crew
        alone = time_s(clips, each, only(budget, name), _crew_for(name, crew), so_far)
        return round(time_s(clips, each, rest, freed, so_far), 3), -alone

    return min(limit_names(budget), key=without)


def _without(budget: Budget, name: str) -> Budget:
    """The budget with all of its rates but one."""
    return _keep_limits(budget, [limit for limit in _RATES if limit.name != name])


def _keep_limits(budget: Budget, limits: Sequence[Limit]) -> Budget:
    return Budget(**{limit.field: getattr(budget, limit.field) for limit in limits})


def _workers_needed(each: PerClip, budget: Budget, crew: Crew) -> int | None:
    """Workers beyond this number would wait for quota."""
    quotas = [_rate_under(name, each, budget, crew) for name in limit_names(budget) if name != "workers"]
    one = crew.clips_per_s(each.requests)
    if not quotas or one <= 0 or math.isinf(min(quotas)):
        return None
    return max(math.ceil(min(quotas) / one - 1e-9), 1)


# ----------------------------------------------------------------------------- the sample


def _columns(units: Sequence[Unit]) -> Floats:
    """[units, 5]: clips, requests, prompt tokens, output tokens, dollars, each times its weight."""
    rows = [(one.clips, one.requests, one.prompt_tokens, one.output_tokens, one.usd) for one in units]
    weights = np.asarray([one.weight for one in units], np.float64)
    weighted: Floats = np.asarray(rows, np.float64) * weights[:, None]
    return weighted


def _usual(units: Sequence[Unit]) -> PerClip:
    return _per_clip(_columns(units).sum(axis=0))


def _means(units: Sequence[Unit], seed: int) -> list[PerClip]:
    """The means of the sample drawn anew, so many times."""
    columns = _columns(units)
    index = stratified_draws([unit.stratum for unit in units], seed=seed)
    sums = columns[index].sum(axis=1)
    return [_per_clip(row) for row in sums]


def _per_clip(sums: Floats) -> PerClip:
    clips = max(float(sums[0]), 1e-12)
    return PerClip(*(float(value) / clips for value in sums[1:]))


def _counts(clips: Estimate, seed: int) -> list[float]:
    """Numbers of clips as uncertain as the estimate: a normal distribution of its width."""
    deviation = (clips.high - clips.low) / (2 * 1.96)
    if deviation <= 0:
        return [clips.value] * REPLICATES
    drawn = np.random.default_rng(seed + 1).normal(clips.value, deviation, REPLICATES)
    return [max(float(count), 0.0) for count in drawn]

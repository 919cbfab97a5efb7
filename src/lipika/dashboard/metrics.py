"""Prometheus metrics of the fleet, from the read model. A worker's own are in `fleet/metrics.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric

from lipika.db.errors import ErrorType
from lipika.db.flags import FlagCount
from lipika.db.queue_counts import QueueCounts
from lipika.db.stats import Stats
from lipika.db.stats_fleet import FleetNow, ProviderNow
from lipika.db.stats_quality import ClipStatusCount, LaneYield
from lipika.db.stats_queue import FailureReason, HeldVideos, QueuePace
from lipika.db.stats_spend import SpendSummary
from lipika.fleet.exposition import counter, exposition, gauge, label_by_name
from lipika.forecast.limits import LIMITS


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """All that the fleet's metrics are made of."""

    fleet: FleetNow
    queue: QueueCounts
    outlook: QueuePace
    reasons: list[FailureReason]
    held: list[HeldVideos]
    spend: SpendSummary
    flags: list[FlagCount]
    errors: list[ErrorType]  # of the last hour
    statuses: list[ClipStatusCount]
    lanes: list[LaneYield]


async def read_fleet_figures(stats: Stats) -> FleetFigures:
    fleet, queue, outlook, reasons, held, spend = await asyncio.gather(
        stats.fleet.now(),
        stats.queue.counts(),
        stats.queue.outlook(),
        stats.queue.reasons(),
        stats.queue.count_held(),
        stats.spend.summary(),
    )
    flags, errors, statuses, lanes = await asyncio.gather(
        stats.flags.counts(),
        stats.errors.types(hours=1),
        stats.quality.statuses(),
        stats.quality.lanes(),
    )
    return FleetFigures(fleet, queue, outlook, reasons, held, spend, flags, errors, statuses, lanes)


async def fleet_exposition(stats: Stats) -> bytes:
    """The fleet's metrics in Prometheus' text format. Raises DatabaseUnavailable."""
    return exposition(fleet_metrics(await read_fleet_figures(stats)))


def fleet_metrics(figures: FleetFigures) -> Iterator[Metric]:
    """The same figures as `lipika status` and the board show."""
    yield from _fleet(figures.fleet)
    yield from _providers(figures.fleet.providers)
    yield from _budgets(figures.fleet.budgets)
    yield from _canaries(figures.spend)
    yield from _queue(figures)
    yield from _corpus(figures)


def _fleet(fleet: FleetNow) -> Iterator[Metric]:
    totals = fleet.totals
    workers = {("live",): totals.live, ("draining",): totals.draining, ("stale",): totals.stale}
    failures = {(failure.kind,): float(failure.total) for failure in fleet.failures}
    quantiles = {("0.5",): fleet.latency_p50_ms, ("0.95",): fleet.latency_p95_ms}
    latency = {key: value / 1000 for key, value in quantiles.items() if value is not None}
    yield gauge("fleet_workers", "Workers by state; stale: online, but silent.", workers, ("state",))
    yield counter("fleet_requests", "Attempts of all process lives.", {(): totals.sent})
    yield counter("fleet_request_failures", "Failed attempts of all process lives.", failures, ("kind",))
    yield counter("fleet_prompt_tokens", "Prompt tokens of all process lives.", {(): totals.prompt_tokens})
    yield counter("fleet_cached_tokens", "Of these, from the cache.", {(): totals.cached_tokens})
    yield counter("fleet_output_tokens", "Output tokens of all process lives.", {(): totals.output_tokens})
    yield gauge(
        "fleet_alignment_workers",
        "Live workers by what their second recogniser does.",
        label_by_name(totals.aligners),
        ("state",),
    )
    yield counter(
        "fleet_alignment_clips",
        "Clips of all process lives, by class of agreement.",
        label_by_name(totals.aligned),
        ("agreement",),
    )
    yield counter("fleet_alignment_late_clips", "Of all process lives.", {(): totals.aligned_late})
    yield gauge(
        "fleet_request_duration_seconds", "Latency of the last minute, by quantile.", latency, ("quantile",)
    )
    yield gauge(
        "fleet_clips_per_minute", "Clips that ended in the last minute.", {(): fleet.clips_per_minute}
    )


def _providers(providers: Iterable[ProviderNow]) -> Iterator[Metric]:
    rows = list(providers)
    label = ("provider",)

    def column(name: str) -> dict[tuple[str, ...], float]:
        values = {(row.provider,): getattr(row, name) for row in rows}
        return {key: float(value) for key, value in values.items() if value is not None}

    yield gauge("fleet_requests_per_minute", "Attempts of the last minute.", column("rpm"), label)
    yield gauge(
        "fleet_requests_per_minute_limit", "The budget's limit.", column("requests_per_minute"), label
    )
    yield gauge("fleet_tokens_per_minute", "Prompt tokens of the last minute.", column("tpm"), label)
    yield gauge("fleet_tokens_per_minute_limit", "The budget's limit.", column("tokens_per_minute"), label)
    yield gauge("fleet_dollars_per_minute", "US dollars of the last minute.", column("usd_per_minute"), label)
    yield gauge("fleet_requests_in_flight", "Requests on the wire.", column("in_flight"), label)
    windows = [(limit, limit.name.removeprefix("spend_")) for limit in LIMITS if limit.cap]
    spent = {(row.provider, window): row.in_use[limit.name] for limit, window in windows for row in rows}
    yield gauge("fleet_spend_dollars", "US dollars, this UTC day and in all.", spent, ("provider", "window"))


def _budgets(budgets: Sequence[ProviderNow]) -> Iterator[Metric]:
    """Of the provider `all` what limits all of them together; sums over providers leave it out."""
    paused = {(row.provider,): float(row.paused) for row in budgets}
    yield gauge("fleet_paused", "1: the fleet sends nothing to this provider.", paused, ("provider",))
    used = {(row.provider, limit): share for row in budgets for limit, share in row.used.items()}
    yield gauge("fleet_budget_used_ratio", "Share of a limit in use.", used, ("provider", "limit"))
    windows = [(limit, limit.name.removeprefix("spend_")) for limit in LIMITS if limit.cap]
    caps = {
        (row.provider, window): getattr(row, limit.column) for limit, window in windows for row in budgets
    }
    given = {key: cap for key, cap in caps.items() if cap is not None}
    yield gauge("fleet_spend_limit_dollars", "The budget's caps.", given, ("provider", "window"))


def _canaries(spend: SpendSummary) -> Iterator[Metric]:
    spent = {("day",): spend.usd_canary_today, ("total",): spend.usd_canary}
    yield gauge(
        "fleet_canary_spend_dollars",
        "Of fleet_spend_dollars: canaries', which bought no clip of the queue.",
        spent,
        ("window",),
    )


def _queue(figures: FleetFigures) -> Iterator[Metric]:
    queue, outlook = figures.queue, figures.outlook
    videos = {
        (state,): float(getattr(queue, state))
        for state in ("pending", "held", "claimed", "processing", "done", "failed")
    }
    reasons = {(row.reason,): float(row.videos) for row in figures.reasons}
    yield gauge("queue_videos", "Videos by state.", videos, ("state",))
    yield gauge("queue_failed_videos", "Failed videos by reason.", reasons, ("reason",))
    held = {(row.reason or "person",): float(row.videos) for row in figures.held}
    yield gauge("queue_held_videos", "Videos that nobody may claim, by why.", held, ("reason",))
    if outlook.clips_left is not None:
        yield gauge("queue_clips_left", "Clips that are expected to be left.", {(): outlook.clips_left})
    if outlook.eta_s is not None:
        yield gauge(
            "queue_eta_seconds", "Until the queue is empty, at the present speed.", {(): outlook.eta_s}
        )
    projected = figures.spend.projected_usd(outlook.clips_left)
    if projected is not None:
        yield gauge(
            "queue_projected_dollars", "US dollars when it is empty, canaries apart.", {(): projected}
        )


def _corpus(figures: FleetFigures) -> Iterator[Metric]:
    clips = {(row.language, row.status): float(row.clips) for row in figures.statuses}
    audio = {(row.language, row.status): row.hours * 3600 for row in figures.statuses}
    lanes = {(row.language, row.lane): row.hours * 3600 for row in figures.lanes}
    flags: dict[tuple[str, ...], float] = {}
    for flag in figures.flags:
        flags[(flag.flag_type, flag.severity)] = flags.get((flag.flag_type, flag.severity), 0) + flag.open
    errors = {(row.exception_type,): float(row.errors) for row in figures.errors}
    yield gauge("corpus_clips", "Clips by language and how they ended.", clips, ("language", "status"))
    yield gauge("corpus_audio_seconds", "Their audio.", audio, ("language", "status"))
    yield gauge("corpus_lane_seconds", "Audio in each lane.", lanes, ("language", "lane"))
    yield gauge("flags_open", "Flags that nobody has dealt with.", flags, ("type", "severity"))
    yield gauge("errors_last_hour", "Exceptions and alerts of workers.", errors, ("type",))

"""Prometheus metrics: of one worker, from what it counts itself; of the fleet, from the read model.

Names follow Prometheus' conventions: base units (seconds, bytes, dollars), `_total` for what only grows. Rates of the
fleet are per minute, as quotas are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lipika import __version__
from lipika.db.queue import Queue, QueueCounts
from lipika.db.review import ErrorType, FlagCount
from lipika.db.stats import Stats
from lipika.db.stats_fleet import FleetNow, Listening, ProviderNow
from lipika.db.stats_quality import ClipStatusCount, LaneYield
from lipika.db.stats_queue import FailureReason, Outlook
from lipika.db.stats_spend import SpendSummary
from lipika.engine.engine import Engine
from lipika.fleet.worker import Worker
from lipika.meters import BOUNDS_MS
from lipika.pipeline.byte_budget import ByteBudget

CONTENT_TYPE = CONTENT_TYPE_LATEST
Key = TypeVar("Key", bound=tuple[str, ...])
_EVERY_BOUND = 3  # of those that latencies are counted by, every third is a bucket


def exposition(families: Iterable[Metric]) -> bytes:
    """These families in Prometheus' text format; CONTENT_TYPE goes with it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return generate_latest(registry)


class _Given(Collector):
    """Families that have been made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _gauge(name: str, text: str, values: Mapping[Key, float], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"lipika_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: Mapping[Key, float], labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(f"lipika_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


# ----------------------------------------------------------------------------- one worker


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker and what belongs to it, to be looked at whenever somebody asks."""

    worker_id: str
    model_id: str
    worker: Worker
    engine: Engine
    room: ByteBudget


def worker_metrics(view: WorkerView) -> Iterator[Metric]:
    """The figures of one process life. Counters begin at zero with it."""
    yield _gauge(
        "worker_info",
        "Always 1; who this is.",
        {(view.worker_id, __version__, view.model_id, view.engine.provider_in_use): 1},
        ("worker_id", "version", "model", "provider"),
    )
    yield from _requests(view.engine)
    yield from _clips(view.worker)
    yield from _alignment(view.worker)
    yield from _state(view)


def _requests(engine: Engine) -> Iterator[Metric]:
    totals, usage = engine.totals, engine.totals.usage
    sent = {(provider,): float(count) for provider, count in totals.providers.items()}
    failed = {(str(kind),): float(count) for kind, count in totals.failure_kinds.items()}
    yield _counter("requests", "Attempts that were sent, by provider.", sent, ("provider",))
    yield _counter("request_failures", "Attempts that failed, by kind of failure.", failed, ("kind",))
    yield _counter("request_retries", "Attempts that were not the first of their clip.", {(): totals.retries})
    yield _counter("answers", "Answers that were accepted.", {(): totals.returned})
    yield _histogram(
        "request_duration_seconds", "Attempts by latency.", totals.latency_counts, totals.latency_ms
    )
    prompt = {("text",): usage.prompt - usage.prompt_audio, ("audio",): usage.prompt_audio}
    yield _counter("prompt_tokens", "Tokens of prompts, by modality.", prompt, ("modality",))
    yield _counter(
        "cached_tokens", "Of the prompts' tokens, those that came from the cache.", {(): usage.cached}
    )
    yield _counter("output_tokens", "Tokens billed as output, thoughts included.", {(): usage.output})
    yield _counter("spend_dollars", "US dollars, metered.", {(): totals.cost_usd})
    yield _counter("batches", "Batch windows that have closed.", {(): totals.batches})


def _histogram(name: str, text: str, counts: list[int], sum_ms: float) -> Metric:
    buckets, below = [], 0
    for number, count in enumerate(counts):
        below += count
        if number < len(BOUNDS_MS) and number % _EVERY_BOUND == 0:
            buckets.append((f"{BOUNDS_MS[number] / 1000:.4g}", float(below)))
    buckets.append(("+Inf", float(below)))
    return HistogramMetricFamily(f"lipika_{name}", text, buckets=buckets, sum_value=sum_ms / 1000)


def _clips(worker: Worker) -> Iterator[Metric]:
    progress, tally = worker.progress, worker.tally
    ended = {
        ("transcribed",): float(progress.transcribed),
        ("no_speech",): float(progress.no_speech),
        ("failed",): float(progress.failed),
    }
    videos = {
        ("done",): float(tally.done),
        ("failed",): float(tally.failed),
        ("released",): float(tally.released),
        ("lost",): float(tally.lost),
    }
    yield _counter("clips", "Clips that have ended, by how.", ended, ("status",))
    yield _counter("segments", "Segments that were read.", {(): progress.segments})
    yield _counter("segments_discarded", "Segments that gave no clip.", {(): progress.discarded})
    yield _counter("audio_seconds", "Audio of the clips that were cut.", {(): progress.audio_ms / 1000})
    yield _counter("videos", "Videos that this worker has let go of, by how.", videos, ("outcome",))


def _alignment(worker: Worker) -> Iterator[Metric]:
    """Zeros where it was not asked for."""
    listening = Listening.of(worker.aligner.figures() if worker.aligner else None)
    yield _gauge(
        "alignment_enabled", "1: a second recogniser was asked for.", {(): float(listening.state != "none")}
    )
    yield _gauge(
        "alignment_sample_ratio",
        "Share of the clips that it is to hear; 0: none, or it is switched off.",
        {(): 1 / listening.every if listening.every else 0.0},
    )
    yield _counter(
        "alignment_clips", "Clips by class of agreement.", _by_name(listening.clips), ("agreement",)
    )
    yield _counter("alignment_late_clips", "Clips that were let go: it took too long.", {(): listening.late})


def _by_name(values: Mapping[str, int]) -> dict[tuple[str], float]:
    return {(name,): float(value) for name, value in values.items()}


def _state(view: WorkerView) -> Iterator[Metric]:
    worker, engine, room = view.worker, view.engine, view.room
    yield _gauge("requests_in_flight", "Requests on the wire.", {(): engine.in_flight})
    yield _gauge("clips_queued", "Clips that wait for a slot or a retry.", {(): engine.queued})
    yield _gauge("videos_open", "Videos under way.", {(): worker.held})
    yield _gauge("buffer_bytes", "Polished audio in memory.", {(): room.used})
    yield _gauge("buffer_limit_bytes", "How much of it there may be (MAX_BUFFER_MB).", {(): room.limit})
    yield _gauge("spool_bytes", "Polished audio on disk, to be packed.", {(): worker.progress.spooled_bytes})
    yield _gauge("draining", "1: told to stop, claims and sends nothing more.", {(): float(worker.draining)})
    reason = worker.progress.waits_for or engine.limited_by()
    yield _gauge(
        "waiting", "1: something other than the batch window holds it back.", {(): float(bool(reason))}
    )


# ----------------------------------------------------------------------------- the fleet


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """All that the fleet's metrics are made of."""

    fleet: FleetNow
    queue: QueueCounts
    outlook: Outlook
    reasons: list[FailureReason]
    spend: SpendSummary
    flags: list[FlagCount]
    errors: list[ErrorType]  # of the last hour
    statuses: list[ClipStatusCount]
    lanes: list[LaneYield]


async def read_fleet_figures(stats: Stats, videos: Queue) -> FleetFigures:
    fleet, queue, outlook, reasons, spend = await asyncio.gather(
        stats.fleet.now(),
        videos.counts(),
        stats.queue.outlook(),
        stats.queue.reasons(),
        stats.spend.summary(),
    )
    flags, errors, statuses, lanes = await asyncio.gather(
        stats.review.flag_counts(),
        stats.review.error_types(hours=1),
        stats.quality.statuses(),
        stats.quality.lanes(),
    )
    return FleetFigures(fleet, queue, outlook, reasons, spend, flags, errors, statuses, lanes)


async def fleet_exposition(stats: Stats, videos: Queue) -> bytes:
    """The fleet's metrics in Prometheus' text format. Raises DatabaseUnavailable."""
    return exposition(fleet_metrics(await read_fleet_figures(stats, videos)))


def fleet_metrics(figures: FleetFigures) -> Iterator[Metric]:
    """The same figures as `lipika status` and the board show."""
    yield from _fleet(figures.fleet)
    yield from _providers(figures.fleet.providers)
    yield from _queue(figures)
    yield from _corpus(figures)


def _fleet(fleet: FleetNow) -> Iterator[Metric]:
    totals = fleet.totals
    workers = {("live",): totals.live, ("draining",): totals.draining, ("stale",): totals.stale}
    failures = {(failure.kind,): float(failure.total) for failure in fleet.failures}
    quantiles = {("0.5",): fleet.latency_p50_ms, ("0.95",): fleet.latency_p95_ms}
    latency = {key: value / 1000 for key, value in quantiles.items() if value is not None}
    yield _gauge("fleet_workers", "Workers by state; stale: online, but silent.", workers, ("state",))
    yield _counter("fleet_requests", "Attempts of all process lives.", {(): totals.sent})
    yield _counter("fleet_request_failures", "Failed attempts of all process lives.", failures, ("kind",))
    yield _counter("fleet_prompt_tokens", "Prompt tokens of all process lives.", {(): totals.prompt_tokens})
    yield _counter("fleet_cached_tokens", "Of these, from the cache.", {(): totals.cached_tokens})
    yield _counter("fleet_output_tokens", "Output tokens of all process lives.", {(): totals.output_tokens})
    yield _gauge(
        "fleet_alignment_workers",
        "Live workers by what their second recogniser does.",
        _by_name(totals.aligners),
        ("state",),
    )
    yield _counter(
        "fleet_alignment_clips",
        "Clips of all process lives, by class of agreement.",
        _by_name(totals.aligned),
        ("agreement",),
    )
    yield _counter("fleet_alignment_late_clips", "Of all process lives.", {(): totals.aligned_late})
    yield _gauge(
        "fleet_request_duration_seconds", "Latency of the last minute, by quantile.", latency, ("quantile",)
    )
    yield _gauge(
        "fleet_clips_per_minute", "Clips that ended in the last minute.", {(): fleet.clips_per_minute}
    )


def _providers(providers: Iterable[ProviderNow]) -> Iterator[Metric]:
    rows = list(providers)
    label = ("provider",)

    def of(name: str) -> dict[tuple[str, ...], float]:
        values = {(row.provider,): getattr(row, name) for row in rows}
        return {key: float(value) for key, value in values.items() if value is not None}

    yield _gauge("fleet_requests_per_minute", "Attempts of the last minute.", of("rpm"), label)
    yield _gauge("fleet_requests_per_minute_limit", "The budget's limit.", of("requests_per_minute"), label)
    yield _gauge("fleet_tokens_per_minute", "Prompt tokens of the last minute.", of("tpm"), label)
    yield _gauge("fleet_tokens_per_minute_limit", "The budget's limit.", of("tokens_per_minute"), label)
    yield _gauge("fleet_dollars_per_minute", "US dollars of the last minute.", of("usd_per_minute"), label)
    yield _gauge("fleet_requests_in_flight", "Requests on the wire.", of("in_flight"), label)
    yield _gauge("fleet_paused", "1: the fleet sends nothing to this provider.", of("paused"), label)
    used = {(row.provider, limit): share for row in rows for limit, share in row.used.items()}
    yield _gauge("fleet_budget_used_ratio", "Share of a limit in use.", used, ("provider", "limit"))
    spent = {(row.provider, "day"): row.usd_today for row in rows}
    spent |= {(row.provider, "total"): row.usd_total for row in rows}
    yield _gauge("fleet_spend_dollars", "US dollars, this UTC day and in all.", spent, ("provider", "window"))
    caps = {(row.provider, "day"): row.spend_day_usd for row in rows}
    caps |= {(row.provider, "total"): row.spend_total_usd for row in rows}
    given = {key: cap for key, cap in caps.items() if cap is not None}
    yield _gauge("fleet_spend_limit_dollars", "The budget's caps.", given, ("provider", "window"))


def _queue(figures: FleetFigures) -> Iterator[Metric]:
    queue, outlook = figures.queue, figures.outlook
    videos = {
        (state,): float(getattr(queue, state))
        for state in ("pending", "held", "claimed", "processing", "done", "failed")
    }
    reasons = {(row.reason,): float(row.videos) for row in figures.reasons}
    yield _gauge("queue_videos", "Videos by state.", videos, ("state",))
    yield _gauge("queue_failed_videos", "Failed videos by reason.", reasons, ("reason",))
    if outlook.clips_left is not None:
        yield _gauge("queue_clips_left", "Clips that are expected to be left.", {(): outlook.clips_left})
    if outlook.eta_s is not None:
        yield _gauge(
            "queue_eta_seconds", "Until the queue is empty, at the present speed.", {(): outlook.eta_s}
        )
    projected = figures.spend.projected_usd(outlook.clips_left)
    if projected is not None:
        yield _gauge("queue_projected_dollars", "US dollars in all when it is empty.", {(): projected})


def _corpus(figures: FleetFigures) -> Iterator[Metric]:
    clips = {(row.language, row.status): float(row.clips) for row in figures.statuses}
    audio = {(row.language, row.status): row.hours * 3600 for row in figures.statuses}
    lanes = {(row.language, row.lane): row.hours * 3600 for row in figures.lanes}
    flags: dict[tuple[str, ...], float] = {}
    for flag in figures.flags:
        flags[(flag.flag_type, flag.severity)] = flags.get((flag.flag_type, flag.severity), 0) + flag.open
    errors = {(row.exception_type,): float(row.errors) for row in figures.errors}
    yield _gauge("corpus_clips", "Clips by language and how they ended.", clips, ("language", "status"))
    yield _gauge("corpus_audio_seconds", "Their audio.", audio, ("language", "status"))
    yield _gauge("corpus_lane_seconds", "Audio in each lane.", lanes, ("language", "lane"))
    yield _gauge("flags_open", "Flags that nobody has dealt with.", flags, ("type", "severity"))
    yield _gauge("errors_last_hour", "Exceptions and alerts of workers.", errors, ("type",))

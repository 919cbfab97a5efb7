"""Prometheus metrics of one worker, from what it counts itself. The fleet's are in `dashboard/metrics.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import HistogramMetricFamily, Metric

from lipika import __version__
from lipika.db.stats_fleet import ListeningState
from lipika.engine.engine import Engine
from lipika.fleet.exposition import counter, gauge, label_by_name
from lipika.fleet.worker import Worker
from lipika.meters import BOUNDS_MS
from lipika.pipeline.byte_budget import ByteBudget

_EVERY_BOUND = 3  # of those that latencies are counted by, every third is a bucket


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
    yield gauge(
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
    yield counter("requests", "Attempts that were sent, by provider.", sent, ("provider",))
    yield counter("request_failures", "Attempts that failed, by kind of failure.", failed, ("kind",))
    yield counter("request_retries", "Attempts that were not the first of their clip.", {(): totals.retries})
    yield counter("answers", "Answers that were accepted.", {(): totals.returned})
    yield _histogram(
        "request_duration_seconds", "Attempts by latency.", totals.latency_counts, totals.latency_ms
    )
    prompt = {("text",): usage.prompt - usage.prompt_audio, ("audio",): usage.prompt_audio}
    yield counter("prompt_tokens", "Tokens of prompts, by modality.", prompt, ("modality",))
    yield counter(
        "cached_tokens", "Of the prompts' tokens, those that came from the cache.", {(): usage.cached}
    )
    yield counter("output_tokens", "Tokens billed as output, thoughts included.", {(): usage.output})
    yield counter("spend_dollars", "US dollars, metered.", {(): totals.cost_usd})
    yield counter("batches", "Batch windows that have closed.", {(): totals.batches})


def _histogram(name: str, text: str, counts: list[int], sum_ms: float) -> Metric:
    buckets, below = [], 0
    for number, count in enumerate(counts):
        below += count
        if number < len(BOUNDS_MS) and number % _EVERY_BOUND == 0:
            buckets.append((f"{BOUNDS_MS[number] / 1000:.4g}", float(below)))
    buckets.append(("+Inf", float(below)))
    return HistogramMetricFamily(f"lipika_{name}", text, buckets=buckets, sum_value=sum_ms / 1000)


def _clips(worker: Worker) -> Iterator[Metric]:
    counts, tally = worker.counts, worker.tally
    ended = {
        ("transcribed",): float(counts.transcribed),
        ("no_speech",): float(counts.no_speech),
        ("failed",): float(counts.failed),
    }
    videos = {
        ("done",): float(tally.done),
        ("failed",): float(tally.failed),
        ("released",): float(tally.released),
        ("lost",): float(tally.lost),
    }
    yield counter("clips", "Clips that have ended, by how.", ended, ("status",))
    yield counter("segments", "Segments that were read.", {(): counts.segments})
    yield counter("segments_discarded", "Segments that gave no clip.", {(): counts.discarded})
    yield counter("audio_seconds", "Audio of the clips that were cut.", {(): counts.audio_ms / 1000})
    yield counter("videos", "Videos that this worker has let go of, by how.", videos, ("outcome",))


def _alignment(worker: Worker) -> Iterator[Metric]:
    """Zeros where it was not asked for."""
    listening = ListeningState.from_figures(worker.aligner.figures() if worker.aligner else None)
    yield gauge(
        "alignment_enabled", "1: a second recogniser was asked for.", {(): float(listening.state != "none")}
    )
    yield gauge(
        "alignment_sample_ratio",
        "Share of the clips that it is to hear; 0: none, or it is switched off.",
        {(): 1 / listening.every if listening.every else 0.0},
    )
    yield counter(
        "alignment_clips", "Clips by class of agreement.", label_by_name(listening.clips), ("agreement",)
    )
    yield counter("alignment_late_clips", "Clips that were let go: it took too long.", {(): listening.late})


def _state(view: WorkerView) -> Iterator[Metric]:
    worker, engine, room = view.worker, view.engine, view.room
    yield gauge("requests_in_flight", "Requests on the wire.", {(): engine.in_flight})
    yield gauge("clips_queued", "Clips that wait for a slot or a retry.", {(): engine.queued})
    yield gauge("videos_open", "Videos under way.", {(): worker.held})
    yield gauge("buffer_bytes", "Polished audio in memory.", {(): room.used})
    yield gauge("buffer_limit_bytes", "How much of it there may be (MAX_BUFFER_MB).", {(): room.limit})
    yield gauge("spool_bytes", "Polished audio on disk, to be packed.", {(): worker.counts.spooled_bytes})
    yield gauge("draining", "1: told to stop, claims and sends nothing more.", {(): float(worker.draining)})
    reason = worker.counts.waits_for or engine.limited_by()
    yield gauge(
        "waiting", "1: something other than the batch window holds it back.", {(): float(bool(reason))}
    )

"""The main job, and one worker's life: a worker with everything it needs (`app`), run and shown.

`run_videos` is behind `lipika run` and `lipika demo`, `work` behind `lipika worker`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from lipika.app import Running, Stores, ask_who_answers, open_worker, store_settings
from lipika.config import Settings
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.db.results import Results
from lipika.db.stats import Stats, Totals
from lipika.errors import ObjectMissing, UsageError
from lipika.metrics import WorkerView
from lipika.metrics_server import serving_metrics
from lipika.models import NewVideo, is_made_up
from lipika.pipeline import Place
from lipika.progress import Around, Look, Show, Watch, shown
from lipika.pulse import pulse
from lipika.worker import Tally, Worker


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one `lipika run` came to. Requests, tokens and dollars are of this run; the rest is of its videos."""

    videos: int
    done: int
    failed_videos: int
    already_done: int
    segments: int
    clips: int
    discarded: int
    parts_discarded: int
    transcribed: int
    no_speech: int
    failed: int
    reused: int
    requests: int
    rate_limited: int
    retries: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float
    seconds: float
    clips_per_minute: float
    audio_hours: float
    model_versions: tuple[str, ...]
    simulated: bool
    interrupted: bool
    outputs: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]


async def run_videos(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    console: Console,
    *,
    again: bool = False,
    quiet: bool = False,
    as_events: bool = False,
    title: str = "lipika",
    ready: Callable[[], object] = lambda: None,
) -> RunSummary:
    """Put videos into the queue, work until all of them are done or failed, and sum up.

    Videos that are done, with their result still in place, are not done again unless `again`. `ready` is called when
    everything has started and the progress display begins.

    Raises:
        UsageError: a video id is in the queue already for another archive.
        WorkerStop: the provider refuses everything.
    """
    started = time.monotonic()
    settings = _shorter_lease(settings)
    said = await ask_who_answers(settings)
    todo = await _enqueue(settings, database, videos, said.get(settings.provider), again=again)
    ids = [video.video_id for video in videos]
    async with open_worker(settings, database, said=said) as running:
        watch = Watch(running.worker, running.engine, running.room, videos=len(todo), title=title)
        ready()
        with _Signals(running.worker):
            async with shown(watch, Show(console, quiet, as_events), _around(database, whole_queue=False)):
                if todo:
                    await running.worker.run(only=todo, until_empty=True)
        seconds = time.monotonic() - started
    totals = await Stats(database).totals(ids)
    made_up = bool(await Results(database).made_up(ids))
    return _summary(running, totals, videos, len(videos) - len(todo), seconds, made_up=made_up)


async def work(settings: Settings, database: Database, show: Show, *, until_empty: bool = False) -> Tally:
    """One worker's life on the queue. Raises WorkerStop when going on would only burn money or quota."""
    async with pulse(settings.health_file), open_worker(settings, database) as running:
        watch = Watch(running.worker, running.engine, running.room, videos=None, title="lipika worker")
        view = WorkerView(running.worker_id, settings.model_id, running.worker, running.engine, running.room)
        async with (
            serving_metrics(view, settings.metrics_host, settings.metrics_port),
            shown(watch, show, _around(database, whole_queue=True)),
        ):
            with _Signals(running.worker):
                return await running.worker.run(until_empty=until_empty)


def _around(database: Database, *, whole_queue: bool) -> Look:
    """What a worker's panel shows besides its own figures; the outlook of a run is its own."""

    async def look() -> Around:
        budgets = {row.provider: row for row in await Budgets(database).show() if not row.project}
        return Around(budgets, await Stats(database).queue.outlook() if whole_queue else None)

    return look


def _shorter_lease(settings: Settings) -> Settings:
    """A run that was killed is started again by hand, and should not wait two minutes for its own lease."""
    lease_s = min(settings.lease_seconds, 3 * settings.heartbeat_seconds)
    return settings.model_copy(update={"lease_seconds": lease_s})


async def _enqueue(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    simulated: bool | None,
    *,
    again: bool,
) -> list[str]:
    """Add videos; returns the ids of those that have work left."""
    queue = Queue(database)
    made_up = set(await Results(database).made_up([video.video_id for video in videos]))
    await queue.add(videos, max_attempts=settings.max_attempts)
    known = {row.video_id: row for row in await queue.find([video.video_id for video in videos])}
    moved = [video for video in videos if known[video.video_id].source_key != video.source_key]
    if moved:
        first = moved[0]
        raise UsageError(
            f"video {first.video_id!r} is in the queue already, from {known[first.video_id].source_key}; this run"
            f" names {first.source_key}. Rename the archive, or take the old one out:"
            f" lipika queue remove {first.video_id}"
        )
    stores = Stores(store_settings(settings))
    finished = set()
    for video in videos:
        row = known[video.video_id]
        if again or row.status != "done" or row.output_key != video.output_key:
            continue
        if simulated not in (None, video.video_id in made_up):
            continue  # made-up transcripts are no results, and real ones are not replaced by them unasked
        if await _exists(stores.place(video.output_key, settings.output_url, create=True)):
            finished.add(video.video_id)
    todo = [video for video in videos if video.video_id not in finished]
    await queue.redo(todo)
    return [video.video_id for video in todo]


async def _exists(place: Place) -> bool:
    try:
        await place.store.head(place.key)
    except ObjectMissing:
        return False
    return True


def _summary(
    running: Running,
    totals: Totals,
    videos: Sequence[NewVideo],
    already_done: int,
    seconds: float,
    *,
    made_up: bool,
) -> RunSummary:
    """`made_up`: results of these videos are; it tells where nothing was answered in this run."""
    counted, progress = running.engine.totals, running.worker.progress
    ended = progress.transcribed + progress.no_speech + progress.failed
    return RunSummary(
        videos=totals.videos,
        done=totals.videos_done,
        failed_videos=totals.videos_failed,
        already_done=already_done,
        segments=totals.segments,
        clips=totals.clips,
        discarded=totals.discarded,
        parts_discarded=totals.parts_discarded,
        transcribed=totals.transcribed,
        no_speech=totals.no_speech,
        failed=totals.failed,
        reused=progress.reused,
        requests=counted.requests,
        rate_limited=counted.rate_limited,
        retries=counted.retries,
        prompt_tokens=counted.usage.prompt,
        cached_tokens=counted.usage.cached,
        output_tokens=counted.usage.output,
        cost_usd=counted.cost_usd,
        seconds=seconds,
        clips_per_minute=ended / seconds * 60,
        audio_hours=progress.audio_ms / 3_600_000,
        model_versions=tuple(sorted(counted.model_versions)),
        simulated=any(map(is_made_up, counted.model_versions)) if counted.model_versions else made_up,
        interrupted=running.worker.draining,
        outputs=tuple(video.output_key for video in videos),
        errors=tuple(running.worker.tally.errors),
    )


class _Signals:
    """The first SIGINT or SIGTERM drains the worker, the second stops it at once."""

    def __init__(self, worker: Worker):
        self._worker = worker
        self._seen = 0

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def __exit__(self, *_exc: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _received(self) -> None:
        self._seen += 1
        if self._seen == 1:
            self._worker.drain()
        else:
            self._worker.stop_now()

"""The main job, and one worker's life: a worker with everything it needs (`wiring`), run and shown.

`run_videos` is behind `lipika run` and `lipika demo`, `work` behind `lipika worker`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console

from lipika.config import Settings
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.outlook import OutlookQueries
from lipika.db.queue import Queue
from lipika.db.results import Results
from lipika.db.stats import EmptyVideo, Found, LeftOut, Stats, VideoTotals, Yield
from lipika.errors import LipikaError, Unavailable
from lipika.fleet.health_file import pulse
from lipika.fleet.metrics import WorkerView
from lipika.fleet.metrics_server import serving_metrics
from lipika.fleet.progress import FleetContext, ReadContext, Show, WorkerWatch, show_progress
from lipika.fleet.worker import Tally
from lipika.jobs.enqueue import Todo, enqueue
from lipika.jobs.expectation import Expectation, Load, expect
from lipika.jobs.pack import PackReport
from lipika.jobs.packed_run import Feed, PackedSources, run_to_the_end
from lipika.jobs.run_cap import RunCap
from lipika.jobs.wiring import Running, ask_who_answers, open_worker
from lipika.log import get_logger, redact
from lipika.models import ModelSums, NewVideo, is_made_up
from lipika.pipeline.opinion_desk import OpinionDesk
from lipika.processes import stop_signals
from lipika.services import wait_out

log = get_logger(__name__)

_SUM_UP_S = 60.0
"""All is done and paid for; only the figures are missing."""


@dataclass(frozen=True, slots=True)
class OpinionFigures:
    """Second opinions of one run: clips that wanted one, by what became of that, and their dollars."""

    model_id: str
    provider: str
    wanted: int
    stored_before: int
    answered: int
    failed: int
    left: int  # to a later `lipika vote --ask`
    late: int  # of those left: answered after all, and stored
    cost_usd: float
    off_because: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The outcome of one `lipika run`. Requests, tokens and dollars are of this run, second opinions apart; the rest
    is of its videos.
    """

    videos: int
    done: int
    failed_videos: int
    empty_videos: int  # done, and nothing is left of them
    already_done: int
    segments: int
    clips: int
    discarded: int
    parts_discarded: int
    transcribed: int
    no_speech: int
    failed: int
    reused: int
    not_asked: int  # of those without speech: nothing in them can be speech
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
    capped: bool  # it ended at a cap on dollars
    stopped: str  # why it ended before its time; empty: it did not
    outputs: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...] = ()  # why segments and parts were discarded
    empty: tuple[EmptyVideo, ...] = ()  # the first hundred
    lanes: tuple[Yield, ...] = ()  # hours by language and lane
    findings: tuple[Found, ...] = ()  # the commonest first
    next_step: str = ""  # what a person does now
    second_opinions: OpinionFigures | None = None  # where another model is asked, too
    models: Mapping[str, ModelSums] = field(default_factory=dict)  # of a cascade, in its order
    packing: tuple[PackReport, ...] = ()  # of sources that were packed on the way


async def run_videos(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    console: Console,
    *,
    again: bool = False,
    max_usd: float | None = None,
    quiet: bool = False,
    as_events: bool = False,
    title: str = "lipika",
    ready: Callable[[], object] = lambda: None,
    packed: PackedSources | None = None,
) -> RunSummary:
    """Put videos into the queue, work until all of them are done or failed, and sum up; sources that have to be
    `packed` are, a few archives ahead of the work.

    Videos that are done, with their result still in place, are not done again unless `again`. It ends at `max_usd`,
    and at the fleet's own cap on dollars in all; limits that time frees again are waited out. `ready` is called when
    everything has started and the progress display begins.

    Raises:
        UsageError: a video id is in the queue already for another archive, a result would be written over what
            another video reads or has written, or answers would be paid for again.
        DatabaseUnavailable: Postgres stayed away before the work began, or after it.
        LipikaError: it ended early, and the database does not tell how far it came.
    """
    started = time.monotonic()
    settings = _shorter_lease(settings).model_copy(update={"pay_again": again})
    said = await ask_who_answers(settings)
    simulated = said.get(settings.provider)
    if packed is not None:
        videos = [*videos, *await _packed_before(settings, database, packed, simulated, again=again)]
    left = await wait_out(lambda: enqueue(settings, database, videos, simulated, again=again))
    todo, cap = [video.video_id for video in left.videos], RunCap(max_usd)
    every = list(videos)
    await _say_expectation(settings, database, left, max_usd, Show(console, quiet, as_events))
    async with open_worker(settings, database, said=said, cap=cap) as running:
        cap.on_reached = lambda _reason: running.worker.drain()
        watch = WorkerWatch(running.worker, running.engine, running.room, videos=len(todo), title=title)

        async def add(video: NewVideo) -> None:
            fresh = await enqueue(settings, database, [video], simulated, again=again)
            every.append(video)
            todo.extend(one.video_id for one in fresh.videos)
            watch.note_videos(len(todo))

        ready()
        with stop_signals(running.worker.drain, running.worker.stop_now):
            async with show_progress(
                watch, Show(console, quiet, as_events), _context_reader(database, whole_queue=False)
            ):
                stopped = await run_to_the_end(running.worker, todo, Feed(packed, add, Queue(database)))
        seconds = time.monotonic() - started
    videos = every
    already_done = len(videos) - len(todo)
    wait_s = 0.0 if stopped is not None or running.worker.draining else _SUM_UP_S
    try:
        summary = await wait_out(lambda: _sum_up(running, database, videos, already_done, seconds), wait_s)
    except LipikaError:
        if stopped is not None:
            raise stopped from None
        raise
    if cap.reason and stopped is None and summary.done + summary.failed_videos < summary.videos:
        summary = replace(summary, stopped=cap.reason, capped=True, interrupted=False)
    else:
        summary = replace(summary, stopped=redact(str(stopped or "")))
    if packed is not None:
        with suppress(Unavailable):
            await packed.tidy(Queue(database))
        summary = replace(summary, packing=packed.reports())
    return replace(summary, next_step=_next_step(summary))


async def _packed_before(
    settings: Settings, database: Database, packed: PackedSources, simulated: bool | None, *, again: bool
) -> list[NewVideo]:
    """Videos whose archives were packed by an earlier run; those that are gone and have work left are packed anew."""
    known = packed.hint(packed.known_videos())
    if known:
        left = await enqueue(settings, database, known, simulated, again=again, dry_run=True)
        await packed.forget_lost(left.videos)
    return packed.hint(packed.known_videos())


async def expect_of(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    *,
    again: bool,
    max_usd: float | None,
    unpacked_bytes: Sequence[int] = (),
) -> tuple[Expectation, str]:
    """The expectation of a run of these videos, and of sources that are yet to be packed, of about so many bytes;
    and what it would pay for again, in words. Nothing is changed.
    """
    said = await ask_who_answers(settings)
    left = await enqueue(settings, database, videos, said.get(settings.provider), again=again, dry_run=True)
    load = Load.from_sizes([*(video.source_bytes for video in left.videos), *unpacked_bytes])
    told = await expect(settings, database, load, answered=left.answered, max_usd=max_usd)
    return told, left.paid_again


async def _say_expectation(
    settings: Settings, database: Database, left: Todo, max_usd: float | None, show: Show
) -> None:
    """Before the first request. A figure that cannot be had holds nothing up."""
    load = Load.from_sizes(video.source_bytes for video in left.videos)
    with suppress(LipikaError):
        told = await expect(settings, database, load, answered=left.answered, max_usd=max_usd)
        if show.as_events:
            log.info("expected", **asdict(told))
        elif left.videos and not show.quiet:
            show.console.print(str(told), markup=False, soft_wrap=True)


def _next_step(summary: RunSummary) -> str:
    if summary.failed_videos:
        return "lipika queue list --failed (why); mend them, then the same command again"
    if summary.done < summary.videos:
        return "the same command again goes on where this one ended; what was answered is kept"
    if summary.simulated:
        return (
            f"{_export(summary.outputs)} (what trainers read), or"
            " GEMINI_API_KEY=... lipika run my_tars/ --out out/ (real transcripts, of your own archives)"
        )
    if summary.transcribed:
        return (
            "lipika flags (what needs a look), lipika dashboard (listen and judge),"
            f" {_export(summary.outputs)} (what trainers read)"
        )
    return "lipika flags (why nothing is left); docs/your-data.md says what archives should hold"


def _export(outputs: Sequence[str]) -> str:
    """The command that makes a dataset of these results."""
    folder = outputs[0].rpartition("/")[0] if outputs else "."
    with suppress(ValueError):
        folder = str(Path(folder).relative_to(Path.cwd()))
    return f"lipika export nemo my-dataset --from {shlex.quote(folder)}"


async def _sum_up(
    running: Running, database: Database, videos: Sequence[NewVideo], already_done: int, seconds: float
) -> RunSummary:
    ids = [video.video_id for video in videos]
    stats = Stats(database)
    totals = await stats.totals(ids)
    made_up = bool(await Results(database).list_made_up(ids))
    summary = _summary(running, totals, videos, already_done, seconds, made_up=made_up)
    return replace(
        summary,
        left_out=tuple(await stats.list_left_out(ids)),
        empty=tuple(await stats.empty_videos(ids)),
        lanes=tuple(await stats.yields(ids)),
        findings=tuple(await stats.findings(ids)),
    )


async def work(settings: Settings, database: Database, show: Show, *, until_empty: bool = False) -> Tally:
    """One worker's life on the queue. Raises WorkerStop when going on would only burn money or quota."""
    await _say_queue(settings, database, show)
    async with pulse(settings.health_file), open_worker(settings, database) as running:
        watch = WorkerWatch(running.worker, running.engine, running.room, videos=None, title="lipika worker")
        view = WorkerView(running.worker_id, settings.model_id, running.worker, running.engine, running.room)
        async with (
            serving_metrics(view, settings.metrics_host, settings.metrics_port),
            show_progress(watch, show, _context_reader(database, whole_queue=True)),
        ):
            with stop_signals(running.worker.drain, running.worker.stop_now):
                return await running.worker.run(until_empty=until_empty)


async def _say_queue(settings: Settings, database: Database, show: Show) -> None:
    """The same of a worker, for the whole queue."""
    with suppress(LipikaError):
        queries = OutlookQueries(database)
        rows = await queries.remaining()
        load = Load(
            sum(row.videos for row in rows),
            sum(row.videos_with_bytes for row in rows),
            sum(row.source_bytes for row in rows),
        )
        answered = sum(row.clips_ended for row in rows)
        workers = await queries.workers() + 1
        told = await expect(settings, database, load, answered=answered, workers=workers)
        if show.has_panel:
            show.console.print(f"the queue: {told}", markup=False, soft_wrap=True)
        else:
            log.info("expected", **asdict(told))


def _context_reader(database: Database, *, whole_queue: bool) -> ReadContext:
    """The figures that a worker's panel shows besides its own; the outlook of a run is its own."""

    async def look() -> FleetContext:
        budgets = {row.provider: row for row in await Budgets(database).show() if not row.project}
        return FleetContext(budgets, await Stats(database).queue.outlook() if whole_queue else None)

    return look


def _shorter_lease(settings: Settings) -> Settings:
    """A run that was killed is started again by hand, and should not wait two minutes for its own lease."""
    lease_s = min(settings.lease_seconds, 3 * settings.heartbeat_seconds)
    return settings.model_copy(update={"lease_seconds": lease_s})


def _summary(
    running: Running,
    totals: VideoTotals,
    videos: Sequence[NewVideo],
    already_done: int,
    seconds: float,
    *,
    made_up: bool,
) -> RunSummary:
    """`made_up`: results of these videos are; it tells where nothing was answered in this run."""
    asked, counts = running.engine.totals, running.worker.counts
    ended = counts.transcribed + counts.no_speech + counts.failed
    return RunSummary(
        videos=totals.videos,
        done=totals.videos_done,
        failed_videos=totals.videos_failed,
        empty_videos=totals.videos_empty,
        already_done=already_done,
        segments=totals.segments,
        clips=totals.clips,
        discarded=totals.discarded,
        parts_discarded=totals.parts_discarded,
        transcribed=totals.transcribed,
        no_speech=totals.no_speech,
        failed=totals.failed,
        reused=counts.reused,
        not_asked=counts.not_asked,
        requests=asked.requests,
        rate_limited=asked.rate_limited,
        retries=asked.retries,
        prompt_tokens=asked.usage.prompt,
        cached_tokens=asked.usage.cached,
        output_tokens=asked.usage.output,
        cost_usd=asked.cost_usd,
        seconds=seconds,
        clips_per_minute=ended / seconds * 60,
        audio_hours=counts.audio_ms / 3_600_000,
        model_versions=tuple(sorted(asked.model_versions)),
        simulated=any(map(is_made_up, asked.model_versions)) if asked.model_versions else made_up,
        interrupted=running.worker.draining,
        capped=False,
        stopped="",
        outputs=tuple(video.output_key for video in videos),
        errors=tuple(running.worker.tally.errors),
        second_opinions=_opinion_figures(running.tools.opinions),
        models={name: asked.models.get(name, ModelSums()) for name in running.engine.models},
    )


def _opinion_figures(desk: OpinionDesk | None) -> OpinionFigures | None:
    if desk is None:
        return None
    return OpinionFigures(
        model_id=desk.model_id,
        provider=desk.engine.provider_in_use,
        **asdict(desk.counts),
        cost_usd=desk.usd,
        off_because=desk.off_because,
    )

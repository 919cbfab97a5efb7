"""The main job, and one worker's life: a worker with everything it needs (`wiring`), run and shown.

`run_videos` is behind `lipika run` and `lipika demo`, `work` behind `lipika worker`.
"""

from __future__ import annotations

import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from lipika.config import Settings
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.queue import Queue, QueuedVideo
from lipika.db.results import Results, WayRow
from lipika.db.stats import EmptyVideo, Found, LeftOut, Stats, VideoTotals, Yield
from lipika.embedded.postgres import default_data_dir
from lipika.errors import LipikaError, ObjectMissing, StorageError, Unavailable, UsageError
from lipika.fleet.health_file import pulse
from lipika.fleet.metrics import WorkerView
from lipika.fleet.metrics_server import serving_metrics
from lipika.fleet.progress import FleetContext, ReadContext, Show, WorkerWatch, show_progress
from lipika.fleet.worker import Tally, Worker
from lipika.jobs.wiring import Running, ask_who_answers, open_worker, reuse_conditions
from lipika.log import redact
from lipika.models import HintFrom, NewVideo, Was, is_made_up
from lipika.pipeline import reuse
from lipika.pipeline.opinion_desk import OpinionDesk
from lipika.pipeline.reuse import AskedAs, Lost
from lipika.processes import stop_signals
from lipika.services import Stores, store_settings, wait_out
from lipika.storage.store import Place

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
    stopped: str  # why it ended before its time; empty: it did not
    outputs: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...] = ()  # why segments and parts were discarded
    empty: tuple[EmptyVideo, ...] = ()  # the first hundred
    lanes: tuple[Yield, ...] = ()  # hours by language and lane
    findings: tuple[Found, ...] = ()  # the commonest first
    next_step: str = ""  # what a person does now
    second_opinions: OpinionFigures | None = None  # where another model is asked, too


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
        UsageError: a video id is in the queue already for another archive, a result would be written over what
            another video reads or has written, or answers would be paid for again.
        DatabaseUnavailable: Postgres stayed away before the work began, or after it.
        LipikaError: it ended early, and the database does not tell how far it came.
    """
    started = time.monotonic()
    settings = _shorter_lease(settings).model_copy(update={"pay_again": again})
    said = await ask_who_answers(settings)
    simulated = said.get(settings.provider)
    todo = await wait_out(lambda: _enqueue(settings, database, videos, simulated, again=again))
    async with open_worker(settings, database, said=said) as running:
        watch = WorkerWatch(running.worker, running.engine, running.room, videos=len(todo), title=title)
        ready()
        with stop_signals(running.worker.drain, running.worker.stop_now):
            async with show_progress(
                watch, Show(console, quiet, as_events), _context_reader(database, whole_queue=False)
            ):
                stopped = await _run_to_the_end(running.worker, todo)
        seconds = time.monotonic() - started
    already_done = len(videos) - len(todo)
    wait_s = 0.0 if stopped is not None or running.worker.draining else _SUM_UP_S
    try:
        summary = await wait_out(lambda: _sum_up(running, database, videos, already_done, seconds), wait_s)
    except LipikaError:
        if stopped is not None:
            raise stopped from None
        raise
    return replace(summary, stopped=redact(str(stopped or "")), next_step=_next_step(summary))


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


async def _run_to_the_end(worker: Worker, todo: Sequence[str]) -> LipikaError | None:
    """Work until all is done; returns why it ended before, be it the provider or the database that refuses."""
    try:
        if todo:
            await worker.run(only=todo, until_empty=True)
    except LipikaError as error:
        return error
    return None


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
    async with pulse(settings.health_file), open_worker(settings, database) as running:
        watch = WorkerWatch(running.worker, running.engine, running.room, videos=None, title="lipika worker")
        view = WorkerView(running.worker_id, settings.model_id, running.worker, running.engine, running.room)
        async with (
            serving_metrics(view, settings.metrics_host, settings.metrics_port),
            show_progress(watch, show, _context_reader(database, whole_queue=True)),
        ):
            with stop_signals(running.worker.drain, running.worker.stop_now):
                return await running.worker.run(until_empty=until_empty)


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


async def _enqueue(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    simulated: bool | None,
    *,
    again: bool,
) -> list[str]:
    """Add videos; returns the ids of those that have work left.

    Raises:
        UsageError: results cannot go where they should, a video is in the queue from elsewhere, or this would pay
            again; nothing has been added then.
    """
    stores = Stores(store_settings(settings))
    with suppress(StorageError, Unavailable):  # the worker tells a store's trouble from a video's, and waits
        for video in videos[:1]:
            stores.place(video.output_key, settings.output_url, create=True)
    queue = Queue(database)
    known = {row.video_id: row for row in await queue.find([video.video_id for video in videos])}
    _refuse_moved(settings, videos, known)
    for clash in (await queue.clashes(videos))[:1]:
        raise UsageError(
            f"{clash}. Give another --out, rename an archive, or: lipika queue remove {clash.other}"
        )
    asked = reuse_conditions(settings, simulated)
    ways = defaultdict[str, list[WayRow]](list)
    for way in await Results(database).ways(list(known)):
        ways[way.video_id].append(way)
    finished, lost = set[str](), dict[str, Lost]()
    for video in () if again else videos:
        row = known.get(video.video_id)
        if row is None:
            continue
        given = ways[video.video_id]
        hint = _Hint.from_row(video, row)
        in_place = row.status == "done" and row.output_key == video.output_key
        done = in_place and hint.is_met(given, asked)
        if done and await _exists(stores.place(video.output_key, settings.output_url, create=True)):
            finished.add(video.video_id)
            continue
        paid = ((way, way.clips, way.usd) for way in given)
        would_cost = reuse.count_lost(paid, asked, hint.language, hint_known=hint.known)
        if would_cost.clips:
            lost[video.video_id] = would_cost
    if lost:
        raise UsageError(_would_pay_again(lost))
    await queue.add(videos, max_attempts=settings.max_attempts)
    for (language, given_by), ids in _group_by_hint(videos, finished).items():
        await queue.hint(ids, language, given_by)
    todo = [video for video in videos if video.video_id not in finished]
    await queue.redo(todo)
    return [video.video_id for video in todo]


def _group_by_hint(
    videos: Sequence[NewVideo], finished: AbstractSet[str]
) -> dict[tuple[str, HintFrom], list[str]]:
    """The hints that a person gives to videos that have work left: those may be in the queue with another."""
    found = defaultdict[tuple[str, HintFrom], list[str]](list)
    for video in videos:
        if video.language is not None and video.video_id not in finished:
            found[video.language, video.language_from].append(video.video_id)
    return found


def _refuse_moved(settings: Settings, videos: Sequence[NewVideo], known: Mapping[str, QueuedVideo]) -> None:
    for video in videos:
        row = known.get(video.video_id)
        if row is not None and row.source_key != video.source_key:
            raise UsageError(
                f"video {video.video_id!r} is in the queue already, from {row.source_key}; this run names"
                f" {video.source_key}. Rename the archive, or take the old one out:"
                f" lipika queue remove {video.video_id}{_or_apart(settings)}"
            )


def _or_apart(settings: Settings) -> str:
    """The other way out of a conflict of names, where the database is one of the embedded ones."""
    if settings.database_url is not None:
        return ""
    folder = settings.lipika_data_dir or default_data_dir()
    return f". Or keep the two apart, each with a database of its own: --data-dir (this one is in {folder})"


@dataclass(frozen=True, slots=True)
class _Hint:
    """The language that a video's clips will be asked in, as far as it is known before the archive is opened."""

    language: str | None
    known: bool

    @classmethod
    def from_row(cls, video: NewVideo, row: QueuedVideo) -> _Hint:
        if video.language_from is HintFrom.FORCED:
            return cls(video.language, known=True)
        given = row.language is not None and not HintFrom(row.language_from or HintFrom.ROW).yields
        return cls(row.language, given)

    def is_met(self, ways: Sequence[Was], asked: AskedAs) -> bool:
        """True if the same was asked for in all that a person chooses. Our own versions do not undo what is done."""
        return all(
            reuse.chosen_difference(way, asked, self.language if self.known else way.language_hint) is None
            and (not self.known or way.language_hint == (self.language or ""))
            for way in ways
        )


def _would_pay_again(lost: Mapping[str, Lost]) -> str:
    """One sentence over all videos, before anything is asked."""
    whole = Lost(sum(one.clips for one in lost.values()), sum(one.usd for one in lost.values()))
    for one in lost.values():
        whole.because.update(one.because)
    names = ", ".join(list(lost)[:3]) + (", ..." if len(lost) > 3 else "")
    return (
        f"this run would pay again for {whole}, in {len(lost):,} of its videos ({names}). Nothing was asked. Ask as"
        " before, leave these videos out, or pay: --again"
    )


async def _exists(place: Place) -> bool:
    try:
        await place.store.head(place.key)
    except ObjectMissing:
        return False
    return True


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
        stopped="",
        outputs=tuple(video.output_key for video in videos),
        errors=tuple(running.worker.tally.errors),
        second_opinions=_opinion_figures(running.tools.opinions),
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

"""The queue's commands: `add_to` puts them on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import (
    AsJson,
    DataDir,
    ForceLanguage,
    Hints,
    Language,
    Run,
    hints_of,
    print_json,
)
from lipika.cli.pack import PackedTo, Speaker, Template, plain_language, print_report, source_options
from lipika.cli.running import on_database
from lipika.errors import UsageError
from lipika.models import HintFrom, VideoStatus

if TYPE_CHECKING:
    from lipika.archive.presence import Presence
    from lipika.config import Settings
    from lipika.db.queue import AddReport, Queue, QueuedVideo
    from lipika.jobs.pack import PackOrder, PackReport
    from lipika.models import NewVideo

Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO...", help="Video ids; `-` reads one a line from stdin.", show_default=False
    ),
]


_LANGUAGE_LINES = 20


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of adding videos."""

    added: int
    already_there: int
    conflicts: list[str]  # there already with another source or output; left as they are
    found: int | None = None  # of a table
    without_language: int | None = None  # of those added: the archive must tell, or the model
    refused: list[str] = field(default_factory=list)  # which would be written over what, a sentence each
    languages_compared: int = 0  # archives that say a language, of those looked at whose row says one
    language_conflicts: list[dict[str, str]] = field(default_factory=list)  # ... and it is another
    columns_passed_over: dict[str, list[str]] = field(
        default_factory=dict
    )  # of each list, those of no meaning
    missing_archives: list[str] = field(default_factory=list)  # of the first that were looked for
    not_looked_for: str = ""  # the reason why the first archives could not be looked for
    packing: list[PackReport] = field(default_factory=list)  # of each source that was packed


def add_to(lipika: typer.Typer, run: Run) -> None:
    """Put the group `queue` on the command line; `run` is its own."""
    app = typer.Typer(help="The queue of videos.", no_args_is_help=True)
    _filling(app, run)
    _looking(app, run)
    _starting_over(app, run)
    _holding(app, run)
    lipika.add_typer(app, name="queue")


def _filling(app: typer.Typer, run: Run) -> None:
    @app.command("add")
    def add(
        sources: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="SOURCE...",
                help="Tars, folders of tars, s3://bucket/prefix, or lists of videos (.csv, .jsonl, .parquet);"
                " with --packed-to also what `lipika pack` takes.",
                show_default=False,
            ),
        ] = None,
        from_table: Annotated[
            str | None,
            typer.Option(
                help="A table of the database with video_id and language (`lipika db check` lists them)."
            ),
        ] = None,
        key_template: Annotated[
            str, typer.Option(help="The archive's key below STORE_URL, for lists and tables that name none.")
        ] = "{video_id}.tar",
        key_column: Annotated[
            str | None, typer.Option(help="The column of the table that holds the archive's key or URL.")
        ] = None,
        out_url: Annotated[
            str | None, typer.Option("--out", help="Folder or s3://bucket/prefix for results [OUTPUT_URL].")
        ] = None,
        language: Language = None,
        force_language: ForceLanguage = None,
        packed_to: PackedTo = None,
        speaker: Speaker = None,
        template: Template = None,
        priority: Annotated[int, typer.Option(help="Higher goes first.")] = 0,
        no_check: Annotated[
            bool,
            typer.Option(
                "--no-check", help="Do not look whether the first archives of a list or table are there."
            ),
        ] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Put videos into the queue for workers. Adding one twice changes nothing.

        Lists and tables are believed, but their first archives are looked for.

        Example: lipika queue add --from-table videos --key-template 'raw/{video_id}.tar'
        """
        if bool(sources) == bool(from_table):
            raise typer.BadParameter("give sources or --from-table, one of the two")
        if "{video_id}" not in key_template:
            raise typer.BadParameter("must contain {video_id}", param_hint="--key-template")

        async def job() -> Added:
            from lipika.config import load_settings

            settings = load_settings(lipika_data_dir=data_dir, output_url=out_url)
            hints = hints_of(plain_language(language), force_language)
            asked = _Asked(key_template, key_column, hints, priority, not no_check)
            if from_table:
                return await _add_table(settings, from_table, asked)
            plain, orders = _part_sources(
                sources or [], packed_to, (language, speaker, template, force_language)
            )
            added = await _add_sources(settings, plain, asked) if plain else Added(0, 0, [])
            return await _add_packed(settings, orders, asked, added) if orders else added

        report = run(job)
        if as_json:
            print_json(report)
        else:
            _print_added(report)
        if report.conflicts or report.refused:
            raise typer.Exit(1)


def _looking(app: typer.Typer, run: Run) -> None:
    @app.command("status")
    def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Count videos that are pending, at work, done and failed; say why the last ones failed."""

        async def look(queue: Queue) -> Any:
            counts = await queue.counts()
            aside = await queue.list_put_aside(limit=20) if counts.held else []
            return counts, await queue.list_videos(VideoStatus.FAILED, limit=20), aside

        counts, failed, aside = run(lambda: _run_on_queue(data_dir, look))
        if as_json:
            reasons = {
                name: [
                    {"video_id": row.video_id, "code": row.error_code, "message": row.error_message}
                    for row in listed
                ]
                for name, listed in (("failed_videos", failed), ("held_videos", aside))
            }
            print_json({**asdict(counts), "total": counts.total, **reasons})
            return
        names = ("pending", "held", "claimed", "processing", "done", "failed", "total")
        table = Table(box=None)
        for name in names:
            table.add_column(name, justify="right")
        table.add_row(*(f"{getattr(counts, name):,}" for name in names))
        open_console().print(table)
        _print_failures(failed)
        _print_held(aside)

    @app.command("list")
    def list_videos(
        failed: Annotated[
            bool, typer.Option("--failed", help="Only failed ones, with their reasons.")
        ] = False,
        state: Annotated[
            VideoStatus | None, typer.Option("--status", help="Only those.", show_default=False)
        ] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
        after: Annotated[str, typer.Option(help="Go on after this video id: the next page.")] = "",
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Videos by id, a page at a time."""
        wanted = VideoStatus.FAILED if failed else state
        page = run(
            lambda: _run_on_queue(data_dir, lambda queue: queue.list_videos(wanted, limit=limit, after=after))
        )
        if as_json:
            print_json(page)
        elif failed:
            _print_failures(page)
        else:
            _print_videos(page)
        if len(page) == limit and not as_json:
            open_console().print(f"more: --after {page[-1].video_id}", markup=False)


def _starting_over(app: typer.Typer, run: Run) -> None:
    @app.command("requeue")
    def requeue(
        videos: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="VIDEO...", help="Video ids; `-` reads one a line from stdin.", show_default=False
            ),
        ] = None,
        all_failed: Annotated[
            bool, typer.Option("--all-failed", help="Every video that has failed.")
        ] = False,
        also_done: Annotated[
            bool, typer.Option("--also-done", help="Done ones too; their stored answers are used again.")
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Let failed videos start over, with all their attempts."""
        if bool(videos) == all_failed:
            raise typer.BadParameter("give video ids or --all-failed, one of the two")
        if all_failed and also_done:
            raise typer.BadParameter("--also-done needs video ids: it would start the whole corpus over")
        ids = None if all_failed else _ids(videos or [])

        async def start_over(queue: Queue) -> tuple[int, list[QueuedVideo]]:
            rows = await queue.find(ids) if ids is not None else []
            return await queue.requeue(ids, also_done=also_done), rows

        changed, rows = run(lambda: _run_on_queue(data_dir, start_over))
        if ids is not None and changed < len(ids):
            _print_not_requeued(ids, rows, also_done=also_done)
        _report("requeued", changed, ids)


def _holding(app: typer.Typer, run: Run) -> None:
    @app.command("hold")
    def hold(videos: Videos, data_dir: DataDir = None) -> None:
        """Keep videos from being claimed until `release`. Work under way goes on."""
        ids = _ids(videos)
        _report("held", run(lambda: _run_on_queue(data_dir, lambda queue: queue.hold(ids))), ids)

    @app.command("release")
    def release(
        videos: Videos,
        claimed: Annotated[
            bool,
            typer.Option(
                "--claimed", help="Also take them from workers that have them: for one known to be gone."
            ),
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Let held videos go; with --claimed, also free those of a dead worker before its lease runs out."""
        ids = _ids(videos)

        async def let_go(queue: Queue) -> int:
            freed = await queue.hold(ids, held=False)
            return freed + (await queue.take_back(ids) if claimed else 0)

        _report("released", run(lambda: _run_on_queue(data_dir, let_go)), ids)

    @app.command("language")
    def language(
        language: Annotated[
            str,
            typer.Argument(
                help="A code such as hi, whatever else says; or `archive`: what each archive says of itself.",
                show_default=False,
            ),
        ],
        videos: Videos,
        data_dir: DataDir = None,
    ) -> None:
        """Mend the language hint of videos that no worker has.

        Done ones keep their results until `lipika queue requeue --also-done`: then clips that were heard in this
        language are used again and paid no more.
        """
        ids = _ids(videos)
        hints = Hints() if language == "archive" else hints_of(None, language)
        given_by = HintFrom.FORCED if hints.forced else HintFrom.ARCHIVE
        changed = run(lambda: _run_on_queue(data_dir, lambda queue: queue.hint(ids, hints.forced, given_by)))
        _report("changed", changed, ids)

    @app.command("remove")
    def remove(videos: Videos, data_dir: DataDir = None) -> None:
        """Take videos out of the queue. What is stored of them stays; videos at work are left alone."""
        ids = _ids(videos)
        _report("removed", run(lambda: _run_on_queue(data_dir, lambda queue: queue.remove(ids))), ids)


# ----------------------------------------------------------------------------- what they do


async def _run_on_queue(data_dir: Path | None, work: Callable[[Queue], Coroutine[Any, Any, Any]]) -> Any:
    from lipika.db.queue import Queue

    return await on_database(data_dir, lambda database: work(Queue(database)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """Options of `queue add`, for what videos do not say themselves."""

    key_template: str
    key_column: str | None
    hints: Hints
    priority: int
    check: bool


async def _add_sources(settings: Settings, sources: Sequence[str], asked: _Asked) -> Added:
    """Archives that are looked for, and lists that are believed once their first archives are there."""
    from lipika.archive.hints import Draw
    from lipika.archive.lists import Defaults, is_list, list_other_columns, read_list
    from lipika.archive.presence import LOOKED_AT
    from lipika.archive.sources import find_videos, results_root
    from lipika.db.queue import Queue, Roots
    from lipika.services import open_database, store_settings

    archives = [source for source in sources if not is_list(source)]
    lists = [Path(source) for source in sources if is_list(source)]
    if archives and not settings.output_url:
        raise UsageError("say where results go: --out FOLDER, or OUTPUT_URL in the environment")
    out_root = results_root(settings.output_url) if settings.output_url else ""
    found = (
        asked.hints.add_to(
            replace(video, priority=asked.priority)
            for video in await find_videos(archives, settings.output_url, store_settings(settings))
        )
        if archives
        else []
    )
    defaults = Defaults(
        out_root,
        asked.key_template,
        asked.hints.default,
        asked.priority,
        asked.hints.forced,
        bool(settings.store_url),
    )
    first = [video.source_key for path in lists for video in islice(read_list(path, defaults), LOOKED_AT)]
    presence = await _look_for_first(settings, first, asked)
    other = {str(path): names for path in lists if (names := list_other_columns(path))}
    reports: list[AddReport] = []
    draw = Draw()
    roots = Roots(settings.store_url or None, settings.output_url or None)
    async with open_database(settings) as database:
        queue = Queue(database)
        for videos in (found, *(read_list(path, defaults) for path in lists)):
            report = await queue.add(draw.watch(videos), max_attempts=settings.max_attempts, roots=roots)
            reports.append(report)
    return await _add_comparison(
        settings,
        draw.videos,
        Added(
            added=sum(report.added for report in reports),
            already_there=sum(report.existing for report in reports),
            conflicts=[video_id for report in reports for video_id in report.conflicts],
            refused=[str(clash) for report in reports for clash in report.clashes],
            columns_passed_over=other,
            missing_archives=list(presence.missing),
            not_looked_for=presence.unreachable,
        ),
    )


def _part_sources(
    sources: Sequence[str], packed_to: str | None, told: tuple[str | None, ...]
) -> tuple[list[str], list[PackOrder]]:
    """What goes into the queue as it is, and what is packed first.

    Raises:
        UsageError: something has to be packed, and nobody says to where.
    """
    from lipika.jobs.pack import PackOrder
    from lipika.jobs.packed_queue import part_sources

    plain, to_pack = part_sources(sources)
    if to_pack and not packed_to:
        raise UsageError(
            f"{to_pack[0]}: no archives; say where workers find those that are made of it: --packed-to FOLDER or"
            " s3://bucket/prefix (as `lipika pack` does it)"
        )
    options = source_options(*told)
    return plain, [PackOrder(source, packed_to or "", options, force_language=told[-1]) for source in to_pack]


async def _add_packed(settings: Settings, orders: Sequence[PackOrder], asked: _Asked, added: Added) -> Added:
    """Pack sources, and add each archive when it is in place."""
    from lipika.db.queue import Queue
    from lipika.jobs.packed_queue import add_packed
    from lipika.services import open_database

    reports: list[AddReport] = []
    async with open_database(settings) as database:
        queue = Queue(database)

        async def add(video: NewVideo) -> None:
            videos = asked.hints.add_to([replace(video, priority=asked.priority)])
            reports.append(await queue.add(videos, max_attempts=settings.max_attempts))

        packing = [await add_packed(settings, order, add, settings.output_url) for order in orders]
    return replace(
        added,
        added=added.added + sum(report.added for report in reports),
        already_there=added.already_there + sum(report.existing for report in reports),
        conflicts=[*added.conflicts, *(video for report in reports for video in report.conflicts)],
        refused=[*added.refused, *(str(clash) for report in reports for clash in report.clashes)],
        packing=packing,
    )


async def _look_for_first(settings: Settings, keys: Sequence[str], asked: _Asked) -> Presence:
    from lipika.archive.presence import Presence, find_first, refuse_relative
    from lipika.services import Stores, store_settings

    if not settings.store_url:
        refuse_relative(keys)
    if not asked.check or not keys:
        return Presence(0, ())
    stores = Stores(store_settings(settings))
    return await find_first(keys, lambda key: stores.place(key, settings.store_url))


async def _add_table(settings: Settings, table: str, asked: _Asked) -> Added:
    from lipika.archive import presence
    from lipika.archive.hints import LOOKED_AT
    from lipika.archive.sources import OUTPUT_SUFFIX, results_root
    from lipika.db.queue import Clash
    from lipika.db.tables import TableSource, add_table, find_first_keys
    from lipika.db.tombstones import Tombstones
    from lipika.models import NewVideo
    from lipika.services import open_database

    prefix = f"{results_root(settings.output_url).rstrip('/')}/" if settings.output_url else ""
    source = TableSource(
        table,
        asked.key_template,
        asked.key_column,
        prefix,
        OUTPUT_SUFFIX,
        asked.hints.default,
        asked.hints.forced,
        asked.priority,
        settings.max_attempts,
    )
    async with open_database(settings) as database:
        keys = await find_first_keys(database, source, presence.LOOKED_AT)
        found = await _look_for_first(settings, keys, asked)
        report = await add_table(database, source, looked_at=LOOKED_AT)
        erased = await Tombstones(database).videos(report.refused)
    hinted = [NewVideo(row["video_id"], row["source_key"], "", row["language"]) for row in report.hinted]
    already = report.found - report.added - len(report.conflicts) - len(report.refused)
    refused = [
        str(Clash(video_id, "", str(erased[video_id]), "erased"))
        if video_id in erased
        else f"{video_id}: its result would be written over another's result or archive, or no file could have its"
        " name"
        for video_id in report.refused
    ]
    added = Added(
        report.added,
        already,
        report.conflicts,
        report.found,
        report.without_language,
        refused,
        missing_archives=list(found.missing),
        not_looked_for=found.unreachable,
    )
    return await _add_comparison(settings, hinted, added)


async def _add_comparison(settings: Settings, hinted: Sequence[NewVideo], added: Added) -> Added:
    """The report, with what archives say of themselves where that can be read from here."""
    from lipika.archive.hints import compare
    from lipika.services import Stores, store_settings

    if not hinted:
        return added
    stores = Stores(store_settings(settings))

    def place(key: str) -> tuple[Any, str]:
        found = stores.place(key, settings.store_url)
        return found.store, found.key

    comparison = await compare(hinted, place)
    return replace(
        added,
        languages_compared=comparison.compared,
        language_conflicts=[asdict(conflict) for conflict in comparison.conflicts],
    )


def _ids(given: Sequence[str]) -> list[str]:
    if "-" not in given:
        return list(given)
    read = [line.strip() for line in sys.stdin if line.strip()]
    return [*(video_id for video_id in given if video_id != "-"), *read]


# ----------------------------------------------------------------------------- what they print


def _report(verb: str, changed: int, ids: Sequence[str] | None) -> None:
    open_console().print(f"{verb} {changed}" + ("" if ids is None else f" of {len(ids)}"))
    if ids is not None and changed < len(ids):
        raise typer.Exit(1)


def _print_not_requeued(ids: Sequence[str], rows: Sequence[QueuedVideo], *, also_done: bool) -> None:
    """The reason why each kind of video was left alone, with what would do."""
    out, known = open_console(), {row.video_id: row.status for row in rows}
    kinds = {
        "not in the queue": [video_id for video_id in ids if video_id not in known],
        "waiting already": [video_id for video_id, status in known.items() if status == VideoStatus.PENDING],
        "at work, and left to it": [
            video_id
            for video_id, status in known.items()
            if status in (VideoStatus.CLAIMED, VideoStatus.PROCESSING)
        ],
        "done: their stored answers are used again with --also-done": [
            video_id for video_id, status in known.items() if status == VideoStatus.DONE and not also_done
        ],
    }
    for reason, found in kinds.items():
        if found:
            named = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            out.print(f"{len(found)} {reason} ({named})", markup=False, soft_wrap=True)


def _print_added(report: Added) -> None:
    always = ("added", "already_there") if report.found is None else ("found", "added", "without_language")
    often = ("conflicts", "refused", "languages_compared", "language_conflicts")
    out, shown = open_console(), []
    for name in (*always, *often):
        value = getattr(report, name)
        count = len(value) if isinstance(value, list) else value
        if count or name in always:
            shown.append(f"{name.replace('_', ' ')} {count:,}")
    for packed in report.packing:
        print_report(packed, next_step=False)
    out.print(", ".join(shown), soft_wrap=True)
    for video_id in report.conflicts:
        out.print(
            f"CONFLICT  {video_id}: already in the queue with another source or output; left as it is",
            markup=False,
            soft_wrap=True,
        )
    if report.conflicts:
        out.print(
            "Rename them, or keep two corpora apart, each with its own database: --data-dir or DATABASE_URL.",
            markup=False,
            soft_wrap=True,
        )
    for sentence in report.refused:
        out.print(f"REFUSED  {sentence}", markup=False, soft_wrap=True)
    for path, names in report.columns_passed_over.items():
        out.print(f"PASSED OVER  {path}: the columns {', '.join(names)}", markup=False, soft_wrap=True)
    for key in report.missing_archives:
        out.print(f"MISSING  {key}: added, but not there: workers will fail it", markup=False, soft_wrap=True)
    if report.not_looked_for:
        out.print(
            f"The first archives could not be looked for from here: {report.not_looked_for}",
            markup=False,
            soft_wrap=True,
        )
    for one in report.language_conflicts[:_LANGUAGE_LINES]:
        out.print(
            f"LANGUAGE  {one['video_id']}: {one['row']} by its row, which holds; {one['archive']} by itself",
            markup=False,
            soft_wrap=True,
        )
    if report.language_conflicts:
        out.print(
            "A wrong hint closes all lanes. Mend the list, take the archives' word (lipika queue language archive"
            " VIDEO ...), or say which holds: --force-language",
            soft_wrap=True,
        )


def _print_failures(page: Sequence[QueuedVideo]) -> None:
    for row in page:
        open_console().print(f"failed  {row.video_id}: {row.error_message}", markup=False, soft_wrap=True)


def _print_videos(page: Sequence[QueuedVideo]) -> None:
    table = Table("video", "status", "language", "priority", "attempts", "clips", "worker", box=None)
    for row in page:
        table.add_row(
            row.video_id,
            "held" if row.held and row.status == VideoStatus.PENDING else row.status,
            row.language or "",
            str(row.priority),
            f"{row.attempts} of {row.max_attempts}",
            f"{row.segments_transcribed:,} of {row.clip_count:,}",
            row.claimed_by or "",
        )
    open_console().print(table)
    _print_held([row for row in page if row.held and row.status == VideoStatus.PENDING and row.error_message])


def _print_held(page: Sequence[QueuedVideo]) -> None:
    for row in page:
        open_console().print(f"held  {row.error_message}", markup=False, soft_wrap=True)

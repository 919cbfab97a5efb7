"""The commands that look after a fleet: `status`, `workers`, `errors`, `flags`."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import DataDir, Run, note_json, print_json
from lipika.cli.running import on_database
from lipika.cli.streams import nobody_reads
from lipika.errors import UsageError
from lipika.models import Severity

if TYPE_CHECKING:
    from lipika.db.connection import Database
    from lipika.db.flags import FlagCount, FlagRow

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.", callback=note_json)]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")]

_WATCH_S = 2.0


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the commands on `app`; `run` is the command line's own."""
    _status(app, run)
    _workers(app, run)
    _errors(app, run)
    _flags(app, run)


def _status(app: typer.Typer, run: Run) -> None:
    @app.command()
    def status(
        watch: Annotated[
            bool, typer.Option("--watch", "-w", help="Again every two seconds, until Ctrl-C.")
        ] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """The fleet, the queue, the budgets and the last errors, as they are now."""
        from lipika.fleet.status import read_status, render_status, status_document

        async def once(database: Database) -> Any:
            return await read_status(database)

        async def watching(database: Database) -> None:
            console = _console()
            if as_json or not console.is_terminal:
                while True:
                    report = await read_status(database)
                    if as_json:
                        print_json(status_document(report), on_one_line=True)
                    else:
                        console.print(render_status(report))
                    if nobody_reads():
                        return
                    await asyncio.sleep(_WATCH_S)
            from rich.live import Live

            with Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
                while True:
                    live.update(render_status(await read_status(database)), refresh=True)
                    await asyncio.sleep(_WATCH_S)

        if watch:
            run(lambda: on_database(data_dir, watching))
            return
        report = run(lambda: on_database(data_dir, once))
        if as_json:
            print_json(status_document(report))
        else:
            _console().print(render_status(report))


def _workers(app: typer.Typer, run: Run) -> None:
    group = typer.Typer(help="Who works, and who is to stop.", invoke_without_command=True)
    app.add_typer(group, name="workers")

    @group.callback()
    def workers(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Every worker that is online or was in the last hour."""
        if context.invoked_subcommand:
            return
        from lipika.db.stats_fleet import FleetStats
        from lipika.fleet.status import FittingTable, alignment_of, workers_table

        found = run(lambda: on_database(data_dir, lambda database: FleetStats(database).workers()))
        if as_json:
            print_json(found)
        elif found:
            _console().print(FittingTable(workers_table(found)))
            _console().print(alignment_of(found))
        else:
            _console().print("none in the last hour")

    @group.command("drain")
    def drain(
        worker_ids: Annotated[
            list[str] | None,
            typer.Argument(metavar="WORKER...", help="Worker ids.", show_default=False),
        ] = None,
        everyone: Annotated[bool, typer.Option("--all", help="All that are online.")] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Let workers finish what is in flight, give their videos back and end; they obey within LIVE_SECONDS (5).

        As SIGTERM does, from anywhere. Whatever starts your workers may start new ones.
        """
        if bool(worker_ids) == everyone:
            raise typer.BadParameter("name workers or --all, one of the two")
        from lipika.db.workers import Workers

        asked = run(lambda: on_database(data_dir, lambda database: Workers(database).drain(worker_ids)))
        wanted = len(set(worker_ids)) if worker_ids else asked
        _console().print(
            f"asked {asked}" + (f" of {wanted}: the others are not online" if asked < wanted else "")
        )
        if asked < wanted:
            raise typer.Exit(1)


def _errors(app: typer.Typer, run: Run) -> None:
    @app.command()
    def errors(
        error_id: Annotated[
            int | None,
            typer.Argument(metavar="ID", help="One error, with its traceback.", show_default=False),
        ] = None,
        worker: Annotated[str | None, typer.Option(help="Only those of this worker.")] = None,
        video: Annotated[str | None, typer.Option(help="Only those of this video.")] = None,
        kind: Annotated[
            str | None, typer.Option("--type", help="Only of this type, such as Alert:flood.")
        ] = None,
        before: Annotated[int | None, typer.Option(help="Older than this id: the next page.")] = None,
        limit: Limit = 20,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """List what went wrong, newest first: exceptions and alerts of all workers."""
        from lipika.db.errors import ErrorFilter, ErrorQueries
        from lipika.fleet.status import error_line

        async def look(database: Database) -> Any:
            of_errors = ErrorQueries(database)
            if error_id is None:
                return await of_errors.page(ErrorFilter(worker, video, kind), limit=limit, before=before)
            found = await of_errors.one(error_id)
            if found is None:
                raise UsageError(f"there is no error {error_id}; `lipika errors` lists the last ones")
            return found

        found = run(lambda: on_database(data_dir, look))
        if as_json:
            print_json(found)
        elif error_id is not None:
            _say(f"{error_line(found)}\n{found.traceback}")
        else:
            for row in found:
                _say(f"{row.id:>8}  {error_line(row)}")
            if not found:
                _say("no errors")
            if len(found) == limit:
                _say(f"more: --before {found[-1].id}")


def _flags(app: typer.Typer, run: Run) -> None:
    group = typer.Typer(help="What needs a person's eye or ear.", invoke_without_command=True)
    app.add_typer(group, name="flags")

    @group.callback()
    def flags(
        context: typer.Context,
        language: Annotated[str | None, typer.Option(help="Only videos with this hint, such as hi.")] = None,
        flag_type: Annotated[
            str | None, typer.Option("--type", help="Only of this type, such as failed:blocked.")
        ] = None,
        severity: Annotated[
            Severity | None, typer.Option(help="Only of this severity.", show_default=False)
        ] = None,
        video: Annotated[str | None, typer.Option(help="Only those of this video.")] = None,
        resolved: Annotated[
            bool, typer.Option("--resolved", help="Those that have been dealt with.")
        ] = False,
        counts: Annotated[
            bool, typer.Option("--counts", help="Only how many there are of each type.")
        ] = False,
        limit: Limit = 50,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Open flags, newest first: clips without an answer, findings of severity `fail`, and discards."""
        if context.invoked_subcommand:
            return
        from lipika.db.flags import FlagFilter, FlagQueries

        wanted = FlagFilter(resolved, language, flag_type, severity, video)

        async def look(database: Database) -> Any:
            of_flags = FlagQueries(database)
            return await of_flags.counts() if counts else await of_flags.page(wanted, limit=limit)

        found = run(lambda: on_database(data_dir, look))
        if as_json:
            print_json(found)
        elif counts:
            _console().print(_counts_table(found))
        else:
            _print_flags(found, limit)

    @group.command("resolve")
    def resolve(
        video: Annotated[str, typer.Argument(metavar="VIDEO", help="Video id.", show_default=False)],
        segment: Annotated[
            str, typer.Argument(metavar="CLIP", help="File name of the clip.", show_default=False)
        ],
        flag_type: Annotated[str | None, typer.Option("--type", help="Only this flag of the clip.")] = None,
        note: Annotated[str, typer.Option(help="What was found out.")] = "",
        by: Annotated[
            str | None, typer.Option(help="Who; default: the name you are logged in under.")
        ] = None,
        reopen: Annotated[bool, typer.Option("--reopen", help="Open them again.")] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Close the flags of a clip.

        Example: lipika flags resolve v7 speaker0_00000_00850.flac --note 'heard it: fine'
        """
        from lipika.db.flags import FlagQueries

        async def change(database: Database) -> int:
            of_flags = FlagQueries(database)
            if reopen:
                return await of_flags.reopen(video, segment, flag_type=flag_type)
            return await of_flags.resolve(video, segment, by=by or _user(), note=note, flag_type=flag_type)

        changed = run(lambda: on_database(data_dir, change))
        _say(f"{'reopened' if reopen else 'resolved'} {changed}")
        if not changed:
            raise typer.Exit(1)


# ----------------------------------------------------------------------------- plumbing


def _counts_table(found: Sequence[FlagCount]) -> Table:
    table = Table("type", "language", "severity", "open", "resolved", box=None)
    for row in found:
        table.add_row(row.flag_type, row.language, row.severity, f"{row.open:,}", f"{row.resolved:,}")
    return table


def _print_flags(found: Sequence[FlagRow], limit: int) -> None:
    for row in found:
        by = f"  [{row.resolved_by}: {row.note or ''}]" if row.resolved else ""
        _say(
            f"{row.created_at:%m-%d %H:%M}  {row.video_id} {row.segment_file}  {row.flag_type}: {row.details}{by}"
        )
    if not found:
        _say("no flags")
    elif len(found) == limit:
        _say(f"these are the newest {limit}; --limit shows more, --counts how many there are")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in a container
        return "somebody"


def _say(text: str) -> None:
    """A line as it is: texts of others are no markup."""
    _console().print(text, markup=False, soft_wrap=True)


def _console() -> Console:
    return open_console()

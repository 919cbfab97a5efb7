"""The commands `lipika db`: what is there, and migrations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the group `db` on `app`; `run` is the command line's own."""
    db_app = typer.Typer(help="The database: what is there, and migrations.", no_args_is_help=True)
    app.add_typer(db_app, name="db")
    _migrate(db_app, run)
    _check(db_app, run)
    _index_words(db_app, run)


def _migrate(app: typer.Typer, run: Run) -> None:
    @app.command("migrate")
    def migrate_database(data_dir: DataDir = None) -> None:
        """Apply the migrations that are missing; running it again changes nothing."""
        from lipika.config import load_settings
        from lipika.db.migrate import migrate
        from lipika.services import connect_database

        async def job() -> list[str]:
            async with connect_database(load_settings(lipika_data_dir=data_dir)) as database:
                return await migrate(database)

        applied = run(job)
        for title in applied:
            open_console().print(f"applied {title}")
        if not applied:
            open_console().print("nothing to do: the database is up to date")


def _check(app: typer.Typer, run: Run) -> None:
    @app.command("check")
    def check_database(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Say what is there: server, migrations, row level security, tables that list videos. Changes nothing."""
        from lipika.config import load_settings
        from lipika.db.migrate import check
        from lipika.services import connect_database

        async def job() -> Any:
            async with connect_database(load_settings(lipika_data_dir=data_dir)) as database:
                return await check(database)

        report = run(job)
        if as_json:
            print_json(report)
        else:
            out = open_console()
            out.print(f"Postgres {report.server_version}; migrations applied: {len(report.applied)}")
            for table in report.video_tables:
                out.print(f"videos may be listed in {table.schema_name}.{table.table_name}")
            for problem in report.problems():
                out.print(f"PROBLEM  {problem}")
            if not report.problems():
                out.print("no problems")
        if report.problems():
            raise typer.Exit(1)


def _index_words(app: typer.Typer, run: Run) -> None:
    @app.command("index-words")
    def index_words(
        drop: Annotated[bool, typer.Option("--drop", help="Remove the index again.")] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Make an index of whole words, so that the board's Clips page finds a word in 100M transcripts at once.

        It is made beside the work and takes some 40 bytes a clip. Without it words are looked for clip by
        clip, within the other filters.

        Example: lipika db index-words
        """
        from lipika.config import load_settings
        from lipika.db.clip_search import ClipSearch
        from lipika.services import connect_database

        async def job() -> None:
            async with connect_database(load_settings(lipika_data_dir=data_dir)) as database:
                await ClipSearch(database).index_words(drop=drop)

        run(job)
        open_console().print("the index of words is gone" if drop else "words are found at once now")

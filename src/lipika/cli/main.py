"""The command line: thin commands over `app`. Results go to stdout, everything else to stderr.

Exit codes: 0 everything done; 1 some video failed; 2 something to change (arguments, settings, sources);
3 stopped early (provider refuses, database or store away); 4 everything is done, and nothing is left of some video;
130 interrupted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lipika import __version__
from lipika.cli.align import add_to as add_align_command
from lipika.cli.budget import budget_commands
from lipika.cli.canary import add_to as add_canary_commands
from lipika.cli.console import open_console
from lipika.cli.dashboard import add_to as add_dashboard_command
from lipika.cli.deploy import deploy_commands
from lipika.cli.fleet import add_to as add_fleet_commands
from lipika.cli.options import (
    AsJson,
    DataDir,
    ForceLanguage,
    Language,
    Provider,
    hints_of,
    json_is_wanted,
    print_json,
)
from lipika.cli.queue import queue_commands
from lipika.cli.streams import log_as_json, standard_streams
from lipika.cli.summary import print_summary
from lipika.cli.validation import add_to as add_validation_commands
from lipika.errors import LipikaError, UsageError
from lipika.machine import exhausted, refused
from lipika.processes import settle_in

T = TypeVar("T")

app = typer.Typer(
    name="lipika",
    help="Archives of raw speech segments in, validated, training-ready transcripts out.\n\n"
    "Start with `lipika demo`: no key, no server. Then `lipika run my_tars/ --out out/`.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="The version, and end."),
    ] = False,
) -> None:
    """Archives of raw speech segments in, validated, training-ready transcripts out.

    Start with `lipika demo`: no key, no server. Then `lipika run my_tars/ --out out/`.
    """


db_app = typer.Typer(help="The database: what is there, and migrations.", no_args_is_help=True)
app.add_typer(db_app, name="db")

err = Console(stderr=True, highlight=False)
out = open_console()


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display; of the log only warnings.")]
JsonLogs = Annotated[
    bool, typer.Option("--json-logs", help="Log as JSON, a line an event, progress too; no panel.")
]
_WORKER_LINE_S = 60.0
"""Between lines of progress in a worker's log."""


# ----------------------------------------------------------------------------- the main job


@app.command()
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for the results; emptied of earlier demos.")
    ] = Path("demo-out"),
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The whole job on sample speech in 12 languages: no key, no server, no root; transcripts are simulated."""
    from lipika.jobs import demo as demo_module

    summary = _run(lambda: demo_module.run_demo(out_dir, data_dir, err))
    _report(summary, as_json, where=out_dir)


@app.command()
def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Tars, folders of tars, or s3://bucket/prefix.", show_default=False
        ),
    ],
    out_url: Annotated[
        str | None, typer.Option("--out", help="Folder or s3://bucket/prefix for results [OUTPUT_URL].")
    ] = None,
    provider: Annotated[Provider | None, typer.Option(help="Who is asked [PROVIDER].")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take no more videos than this.")] = None,
    language: Language = None,
    force_language: ForceLanguage = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Also redo videos that are done. Fitting answers are reused; others are PAID again.",
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
) -> None:
    """Transcribe archives: from tars to result tars, on this machine.

    Each video is one tar: segments/<speaker>_<start>_<end>.flac with times in centiseconds, and metadata.json.

    Example: GEMINI_API_KEY=... lipika run my_tars/ --out out/
    """
    from lipika.archive.sources import find_videos
    from lipika.config import load_settings, require_key
    from lipika.jobs.transcribe import run_videos
    from lipika.services import open_database, store_settings

    where = ""

    async def job() -> Any:
        settings = load_settings(
            provider=provider.value if provider else None, lipika_data_dir=data_dir, output_url=out_url
        )
        require_key(settings)
        settle_in()
        if not settings.output_url:
            raise UsageError("say where results go: --out FOLDER, or OUTPUT_URL in the environment")
        nonlocal where
        where = settings.output_url
        hints = hints_of(language, force_language)
        videos = await find_videos(sources, settings.output_url, store_settings(settings), limit=limit)
        videos = hints.given(videos)
        starting = Console(stderr=True, quiet=json_logs).status(f"{len(videos)} archives; starting")
        starting.start()
        try:
            async with open_database(settings) as database:
                return await run_videos(
                    settings,
                    database,
                    videos,
                    err,
                    again=again,
                    quiet=quiet,
                    as_events=json_logs,
                    ready=starting.stop,
                )
        finally:
            starting.stop()

    log_level = "info" if json_logs and not quiet else "warning"
    _report(_run(job, log_level=log_level, json_logs=json_logs), as_json, where=where or out_url)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def simulator(context: typer.Context) -> None:
    """A local stand-in for the Gemini and OpenRouter APIs.

    Real wire formats, made-up transcripts; `lipika simulator --help` shows its own options.

    Point any client at it, lipika or Google's own: GEMINI_BASE_URL=http://127.0.0.1:8700 and any key.
    """
    from lipika.simulator.__main__ import main as serve

    arguments = list(context.args)
    if not any(argument.split("=")[0] == "--port" for argument in arguments):
        arguments += ["--port", "8700"]
    raise typer.Exit(serve(arguments, prog="lipika simulator"))


@app.command()
def doctor(
    gpu: Annotated[bool, typer.Option("--gpu", help="A GPU must be there [ENABLE_GPU_VALIDATION].")] = False,
    provider: Annotated[Provider | None, typer.Option(help="Who will be asked first [PROVIDER].")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, database, budget, keys, model, stores and machine before anything is spent.

    Nothing is charged. The exit code is 1 when a check fails; warnings leave it at 0.
    """
    from lipika.jobs.doctor import Level, examine

    findings = _run(lambda: examine(data_dir, provider.value if provider else None, gpu=gpu))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        table = Table("", "check", "finding", "what to do", box=None)
        for finding in findings:
            mark = {Level.OK: "ok", Level.WARN: "[yellow]warn[/]", Level.FAIL: "[red]FAIL[/]"}[finding.level]
            table.add_row(mark, *(escape(text) for text in (finding.name, finding.message, finding.way_out)))
        out.print(table)
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """The version, and those of prompt, schema, trimmer and validator that go with every row."""
    from lipika import validation
    from lipika.audio import polish
    from lipika.llm import prompt, transcript

    out.print(
        f"lipika {__version__} (prompt {prompt.PROMPT_VERSION}, schema {transcript.SCHEMA_VERSION},"
        f" trimmer {polish.TRIMMER_VERSION}, validator {validation.VALIDATOR_VERSION})"
    )


# ----------------------------------------------------------------------------- database


@db_app.command("migrate")
def db_migrate(data_dir: DataDir = None) -> None:
    """Apply the migrations that are missing; running it again changes nothing."""
    from lipika.config import load_settings
    from lipika.db.migrate import migrate
    from lipika.services import connect_database

    async def job() -> list[str]:
        async with connect_database(load_settings(lipika_data_dir=data_dir)) as database:
            return await migrate(database)

    applied = _run(job)
    for title in applied:
        out.print(f"applied {title}")
    if not applied:
        out.print("nothing to do: the database is up to date")


@db_app.command("check")
def db_check(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say what is there: server, migrations, row level security, tables that list videos. Changes nothing."""
    from lipika.config import load_settings
    from lipika.db.migrate import check
    from lipika.services import connect_database

    async def job() -> Any:
        async with connect_database(load_settings(lipika_data_dir=data_dir)) as database:
            return await check(database)

    report = _run(job)
    if as_json:
        print_json(report)
    else:
        out.print(f"Postgres {report.server_version}; migrations applied: {len(report.applied)}")
        for table in report.video_tables:
            out.print(f"videos may be listed in {table.schema_name}.{table.table_name}")
        for problem in report.problems():
            out.print(f"PROBLEM  {problem}")
        if not report.problems():
            out.print("no problems")
    if report.problems():
        raise typer.Exit(1)


# ----------------------------------------------------------------------------- the fleet


@app.command()
def worker(
    provider: Annotated[Provider | None, typer.Option(help="Who is asked first [PROVIDER].")] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when the queue has nothing left, instead of waiting.")
    ] = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
) -> None:
    """Work on the queue until told to stop: one of a fleet, or the only one.

    On a terminal a panel shows what goes on; elsewhere there is a log, with a line of progress a minute.

    SIGTERM or Ctrl-C drains: answers in flight are kept, videos go back to the queue. A second signal stops at once.
    """
    from lipika.config import load_settings
    from lipika.fleet.progress import Show
    from lipika.jobs.transcribe import work
    from lipika.services import WORKER_WAIT_S, open_database

    show = Show(err, quiet, json_logs, _WORKER_LINE_S)

    async def job() -> Any:
        settings = load_settings(provider=provider.value if provider else None, lipika_data_dir=data_dir)
        settle_in()
        async with open_database(settings, wait_s=WORKER_WAIT_S) as database:
            return await work(settings, database, show, until_empty=until_empty)

    log_level = "warning" if quiet or show.has_panel else "info"
    tally = _run(job, log_level=log_level, json_logs=json_logs)
    if tally.failed and until_empty:  # told to go, it has done what it was told
        raise typer.Exit(1)


# ----------------------------------------------------------------------------- plumbing


def _run(
    job: Callable[[], Coroutine[Any, Any, T]], *, log_level: str = "warning", json_logs: bool = False
) -> T:
    """Run a command's coroutine on the fastest loop there is; our own errors become a sentence and a code."""
    from lipika import log
    from lipika.network import spare_loopback

    log.configure(level=log_level, json_logs=json_logs)
    spare_loopback(os.environ)
    log_as_json(json_logs=json_logs)
    with _ending_in_a_line(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(job())


@contextmanager
def _ending_in_a_line() -> Iterator[None]:
    """Turn what a person did wrong, or can mend, into a sentence and an exit code; a defect keeps its traceback."""
    try:
        yield
    except UsageError as error:
        _end_early(2, error)
    except LipikaError as error:
        _end_early(3, error)
    except KeyboardInterrupt:
        _end_early(130, "interrupted")
    except Exception as error:
        if told := exhausted(error):
            _end_early(3, told)
        if told := refused(error):
            _end_early(2, told)
        raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


def _end_early(code: int, reason: object) -> NoReturn:
    """The end of a command without its result; whoever asked for JSON gets some in every ending."""
    from lipika.log import redact

    if json_is_wanted():
        print_json({"error": redact(str(reason)), "exit_code": code})
    _die(code, reason)


def _die(code: int, reason: object) -> NoReturn:
    from lipika.log import redact

    err.print(f"lipika: {redact(str(reason))}", markup=False, soft_wrap=True)
    raise SystemExit(code)


def _report(summary: Any, as_json: bool, where: object) -> None:
    """The summary of a run, and the exit code it deserves."""
    if as_json:
        print_json(summary)
    else:
        print_summary(out, summary, where)
    if summary.stopped:
        _die(3, summary.stopped)
    if summary.interrupted:
        err.print("Stopped. What was answered is kept: run the same command again to go on.")
        raise typer.Exit(130)
    if summary.failed_videos or summary.done + summary.failed_videos < summary.videos:
        raise typer.Exit(1 if summary.failed_videos else 3)
    if summary.empty_videos:
        raise typer.Exit(_NOTHING_LEFT)


_NOTHING_LEFT = 4


app.add_typer(budget_commands(_run), name="budget")
app.add_typer(queue_commands(_run), name="queue")
app.add_typer(deploy_commands(_run), name="deploy")
add_validation_commands(app, _run)
add_fleet_commands(app, _run)
add_dashboard_command(app, _run)
add_canary_commands(app, _run)
add_align_command(app, _run)


def main() -> None:
    """Entry point of the `lipika` command."""
    # A thread for each core is of no use to us; where none may be started, OpenBLAS interrupts the whole program.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with standard_streams(), _ending_in_a_line():
        app()

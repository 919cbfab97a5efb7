"""The commands that transcribe: `demo`, `run`, `worker`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lipika.cli.console import open_console
from lipika.cli.options import (
    AsJson,
    DataDir,
    ForceLanguage,
    Language,
    Provider,
    hints_of,
    print_json,
)
from lipika.cli.pack import PackedTo, Speaker, Template, plain_language, source_options
from lipika.cli.running import die, ending_in_a_line
from lipika.cli.summary import print_summary
from lipika.errors import UsageError

err = Console(stderr=True, highlight=False)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display; of the log only warnings.")]
JsonLogs = Annotated[
    bool, typer.Option("--json-logs", help="Log as JSON, a line an event, progress too; no panel.")
]
_WORKER_LINE_S = 60.0
"""Between lines of progress in a worker's log."""

RunLogged = Callable[..., Any]
"""As `Run` of the other commands, with the level and the form of the log beside the coroutine."""

_NOTHING_LEFT, _AT_A_CAP = 4, 5


def add_to(app: typer.Typer, run: RunLogged) -> None:
    """Put the commands on `app`; `run` is the command line's own."""
    _demo(app, run)
    _run(app, run)
    _worker(app, run)


def _demo(app: typer.Typer, run: RunLogged) -> None:
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

        summary = run(lambda: demo_module.run_demo(out_dir, data_dir, err))
        _report(summary, as_json, where=out_dir)


def _run(app: typer.Typer, run: RunLogged) -> None:
    @app.command("run")
    def transcribe(
        sources: Annotated[
            list[str],
            typer.Argument(
                metavar="SOURCE...",
                help="Tars, folders of tars, s3://bucket/prefix; or what `lipika pack` takes: audio, lists, corpora.",
                show_default=False,
            ),
        ],
        out_url: Annotated[
            str | None, typer.Option("--out", help="Folder or s3://bucket/prefix for results [OUTPUT_URL].")
        ] = None,
        provider: Annotated[Provider | None, typer.Option(help="Who is asked [PROVIDER].")] = None,
        limit: Annotated[int | None, typer.Option(min=1, help="Take no more videos than this.")] = None,
        language: Language = None,
        force_language: ForceLanguage = None,
        speaker: Speaker = None,
        template: Template = None,
        packed_to: PackedTo = None,
        keep_packed: Annotated[
            bool,
            typer.Option(
                "--keep-packed", help="Keep archives that were packed when their results are there."
            ),
        ] = False,
        again: Annotated[
            bool,
            typer.Option(
                "--again",
                help="Also redo videos that are done. Fitting answers are reused; others are PAID again.",
            ),
        ] = False,
        max_usd: Annotated[
            float | None,
            typer.Option(
                min=0.0, help="End with exit code 5 before this run has cost more dollars than this."
            ),
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run", help="Say what is to be expected and which caps hold; ask for nothing."
            ),
        ] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
        quiet: Quiet = False,
        json_logs: JsonLogs = False,
    ) -> None:
        """Transcribe archives: from tars to result tars, on this machine.

        Each video is one tar: segments/<speaker>_<start>_<end>.flac with times in centiseconds, and metadata.json.
        What is no tar (a folder of recordings, a list) is packed on the way, as `lipika pack` does.

        Example: GEMINI_API_KEY=... lipika run my_tars/ --out out/
        """
        from lipika.archive.sources import find_videos
        from lipika.config import load_settings, require_key
        from lipika.jobs.pack import PackOrder
        from lipika.jobs.pack_survey import expected_bytes, survey_order
        from lipika.jobs.packed_queue import part_sources, place_beside
        from lipika.jobs.packed_run import PackedSources
        from lipika.jobs.transcribe import expect_of, run_videos
        from lipika.processes import settle_in
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
            hints = hints_of(plain_language(language), force_language)
            told = source_options(language, speaker, template, force_language)
            archives, to_pack = part_sources(sources)
            videos = hints.add_to(
                await find_videos(archives, settings.output_url, store_settings(settings), limit=limit)
            )
            packed_at = packed_to or place_beside(settings.output_url)
            orders = [PackOrder(source, packed_at, told, force_language=force_language) for source in to_pack]
            starting = Console(stderr=True, quiet=json_logs).status(f"{len(videos)} archives; starting")
            starting.start()
            try:
                async with open_database(settings) as database:
                    if dry_run:
                        sizes = [expected_bytes(survey_order(settings, order)) for order in orders]
                        return await expect_of(
                            settings, database, videos, again=again, max_usd=max_usd, unpacked_bytes=sizes
                        )
                    packed = (
                        await PackedSources.open(
                            settings, orders, hints.add_to, keep=keep_packed, limit=limit
                        )
                        if orders
                        else None
                    )
                    return await run_videos(
                        settings,
                        database,
                        videos,
                        err,
                        again=again,
                        max_usd=max_usd,
                        quiet=quiet,
                        as_events=json_logs,
                        ready=starting.stop,
                        packed=packed,
                    )
            finally:
                starting.stop()

        log_level = "info" if json_logs and not quiet else "warning"
        done = run(job, log_level=log_level, json_logs=json_logs)
        if dry_run:
            _say_expected(*done, as_json=as_json)
        else:
            _report(done, as_json, where=where or out_url)


def _worker(app: typer.Typer, run: RunLogged) -> None:
    @app.command()
    def worker(
        provider: Annotated[Provider | None, typer.Option(help="Who is asked first [PROVIDER].")] = None,
        until_empty: Annotated[
            bool,
            typer.Option("--until-empty", help="End when the queue has nothing left, instead of waiting."),
        ] = False,
        data_dir: DataDir = None,
        quiet: Quiet = False,
        json_logs: JsonLogs = False,
    ) -> None:
        """Work on the queue until told to stop: one of a fleet, or the only one.

        On a terminal a panel shows what goes on; elsewhere there is a log, with a line of progress a minute.

        SIGTERM or Ctrl-C drains: answers in flight are kept, videos go back to the queue. A second signal
        stops at once.
        """
        from lipika.config import load_settings
        from lipika.fleet.progress import Show
        from lipika.jobs.transcribe import work
        from lipika.processes import settle_in
        from lipika.services import WORKER_WAIT_S, open_database

        show = Show(err, quiet, json_logs, _WORKER_LINE_S)

        async def job() -> Any:
            settings = load_settings(provider=provider.value if provider else None, lipika_data_dir=data_dir)
            settle_in()
            async with open_database(settings, wait_s=WORKER_WAIT_S) as database:
                return await work(settings, database, show, until_empty=until_empty)

        log_level = "warning" if quiet or show.has_panel else "info"
        tally = run(job, log_level=log_level, json_logs=json_logs)
        if tally.failed and until_empty:  # told to go, it has done what it was told
            raise typer.Exit(1)


def _say_expected(told: Any, paid_again: str, *, as_json: bool) -> None:
    """The outcome of `--dry-run`."""
    if as_json:
        print_json({**asdict(told), "paid_again": paid_again})
        return
    open_console().print(str(told), markup=False, soft_wrap=True)
    if paid_again:
        open_console().print(paid_again, markup=False, soft_wrap=True)
    open_console().print("Nothing was asked: --dry-run.")


def _report(summary: Any, as_json: bool, where: object) -> None:
    """The summary of a run, and the exit code it deserves."""
    if as_json:
        print_json(summary)
    else:
        print_summary(open_console(), summary, where)
    if summary.packing:
        _say_packing(summary.packing)
    if summary.stopped:
        die(_AT_A_CAP if summary.capped else 3, summary.stopped)
    if summary.interrupted:
        err.print("Stopped. What was answered is kept: run the same command again to go on.")
        raise typer.Exit(130)
    if summary.failed_videos or summary.done + summary.failed_videos < summary.videos:
        raise typer.Exit(1 if summary.failed_videos else 3)
    if any(report.lost for report in summary.packing):
        raise typer.Exit(1)
    if summary.empty_videos:
        raise typer.Exit(_NOTHING_LEFT)


def _say_packing(reports: Any) -> None:
    """Of what was packed on the way, on stderr: what is in no archive."""
    from lipika.jobs.packed_run import refuse_empty, say_refused

    for line in say_refused(reports):
        err.print(line, markup=False, soft_wrap=True)
    with ending_in_a_line():
        refuse_empty(reports)

"""The commands `calibrate` and `revalidate`: `add_to` puts them on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.languages import LANGUAGES, find_language

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...", help="Result tars, folders of them, or s3://bucket/prefix.", show_default=False
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", help="Limits to judge by, from `lipika calibrate` [CALIBRATION_FILE]."),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes at work. Default: one for each core.")]


def add_to(app: typer.Typer, run: Run) -> None:
    """Put both commands on `app`; `run` is the command line's own."""

    @app.command()
    def calibrate(
        sources: Sources = None,
        out_file: Annotated[
            Path | None, typer.Option("--out", help="Write the learned limits here. Default: only show them.")
        ] = None,
        store: Annotated[
            bool, typer.Option("--store", help="Put the learned limits in force for the whole fleet.")
        ] = False,
        show: Annotated[
            bool, typer.Option("--show", help="Only show which limits the fleet judges by.")
        ] = False,
        language: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
        calibration: Calibration = None,
        jobs: Jobs = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Learn from stored results how fast each language is spoken, and say what the new limits would change.

        Workers do this by themselves from CALIBRATE_CLIPS clips of a language on; this shows it, or goes before it.
        Without sources the rows of the database are read. Ordinary rates lie between the quartiles, odd ones 1.5
        times their distance outside, impossible ones 3 times. Nothing is asked and no result is changed.

        Example: lipika calibrate out/ --out calibration.json
        """
        from lipika.jobs.judge_again import JudgeOrder, learn, print_learned
        from lipika.jobs.rate_limits import make_document, print_in_force, show_in_force

        if show:
            found = run(lambda: show_in_force(data_dir))
            if as_json:
                print_json(make_document(found))
            else:
                print_in_force(found, open_console())
            return
        order = JudgeOrder(sources or (), calibration, jobs, data_dir)
        codes = frozenset(map(_code, language or ()))
        learned = run(lambda: learn(order, codes, out_file, store=store))
        if as_json:
            print_json(learned.document())
        else:
            print_learned(learned, out_file, open_console())
        if learned.seen.problems:
            raise typer.Exit(1)

    @app.command()
    def revalidate(
        sources: Sources = None,
        rows: Annotated[bool, typer.Option("--rows", help="The rows of the database.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
        calibration: Calibration = None,
        jobs: Jobs = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Judge stored answers again by the present rules, and compare old and new. Nothing is asked or paid.

        Findings, scores and lanes are written anew; answers and audio stay as they are. What these rules have judged
        already is passed over, so that a run that was stopped goes on where it was.

        Example: lipika revalidate out/ --rows --dry-run
        """
        from lipika.jobs.judge_again import JudgeOrder, print_redone, redo

        if not sources and not rows:
            raise typer.BadParameter("name result archives, or --rows for the database, or both")
        order = JudgeOrder(sources or (), calibration, jobs, data_dir)
        done = run(lambda: redo(order, rows=rows, dry_run=dry_run))
        if as_json:
            print_json(done.document())
        else:
            print_redone(done, open_console())
        if done.problems:
            raise typer.Exit(1)


def _code(name: str) -> str:
    language = find_language(name)
    if language is None:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(LANGUAGES)}", param_hint="--language")
    return language.code

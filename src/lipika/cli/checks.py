"""The commands that look at this machine and what is installed: `doctor`, `version`, `simulator`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lipika import __version__
from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Provider, Run, print_json


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the commands on `app`; `run` is the command line's own."""
    _simulator(app)
    _doctor(app, run)
    app.command("version")(say_version)


def _simulator(app: typer.Typer) -> None:
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


def _doctor(app: typer.Typer, run: Run) -> None:
    @app.command()
    def doctor(
        source: Annotated[
            str | None,
            typer.Argument(
                metavar="[SOURCE]",
                help="Say what is seen of a source instead: hours, rates, languages, what a run would cost.",
                show_default=False,
            ),
        ] = None,
        gpu: Annotated[
            bool, typer.Option("--gpu", help="A GPU must be there [ENABLE_GPU_VALIDATION].")
        ] = False,
        provider: Annotated[Provider | None, typer.Option(help="Who will be asked first [PROVIDER].")] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Check settings, database, budget, keys, model, stores and machine before anything is spent.

        Nothing is charged. The exit code is 1 when a check fails; warnings leave it at 0.
        """
        if source is not None:
            _look_at(source, data_dir, run, as_json=as_json)
            return
        from lipika.jobs.doctor import Level, examine

        findings = run(lambda: examine(data_dir, provider.value if provider else None, gpu=gpu))
        if as_json:
            print_json([dataclasses.asdict(finding) for finding in findings])
        else:
            table = Table("", "check", "finding", "what to do", box=None)
            for finding in findings:
                mark = {Level.OK: "ok", Level.WARN: "[yellow]warn[/]", Level.FAIL: "[red]FAIL[/]"}[
                    finding.level
                ]
                table.add_row(
                    mark, *(escape(text) for text in (finding.name, finding.message, finding.way_out))
                )
            open_console().print(table)
        if any(finding.level is Level.FAIL for finding in findings):
            raise typer.Exit(1)


def _look_at(source: str, data_dir: Path | None, run: Run, *, as_json: bool) -> None:
    from lipika.cli.pack import print_survey
    from lipika.jobs.pack_survey import Survey, look_at

    found = run(lambda: look_at(source, data_dir))
    if as_json:
        print_json(found)
    elif isinstance(found, Survey):
        print_survey(found)
    else:
        open_console().print(f"{source}: {found}", markup=False, soft_wrap=True)


def say_version() -> None:
    """The version, and those of prompt, schema, trimmer and validator that go with every row."""
    from lipika import validation
    from lipika.audio import polish
    from lipika.llm import prompt, transcript

    open_console().print(
        f"lipika {__version__} (prompt {prompt.PROMPT_VERSION}, schema {transcript.SCHEMA_VERSION}"
        f" ({transcript.LEAN_SCHEMA_VERSION} for lean answers), trimmer {polish.TRIMMER_VERSION},"
        f" validator {validation.VALIDATOR_VERSION})"
    )

"""The command line: thin commands over `jobs`, loaded when they are called.

Results go to stdout, everything else to stderr.

Exit codes: 0 everything done; 1 some video failed; 2 something to change (arguments, settings, sources);
3 stopped early (provider refuses, database or store away); 4 everything is done, and nothing is left of some video;
5 a run ended at a cap on dollars;
130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
import os
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_command_name
from typer.models import CommandInfo

from lipika.cli.running import ending_in_a_line, run
from lipika.cli.streams import standard_streams

COMMANDS = {
    "demo": (
        "transcribe",
        "The whole job on sample speech in 12 languages: no key, no server, no root; transcripts are simulated.",
    ),
    "pack": (
        "pack",
        "Make input archives of what you have: folders of audio, lists, corpora, long recordings.",
    ),
    "run": ("transcribe", "Transcribe archives: from tars to result tars, on this machine."),
    "simulator": ("checks", "A local stand-in for the Gemini and OpenRouter APIs."),
    "doctor": (
        "checks",
        "Check settings, database, budget, keys, model, stores and machine before anything is spent.",
    ),
    "version": (
        "checks",
        "The version, and those of prompt, schema, trimmer and validator that go with every row.",
    ),
    "worker": ("transcribe", "Work on the queue until told to stop: one of a fleet, or the only one."),
    "calibrate": (
        "validation",
        "Learn from stored results how fast each language is spoken, and say what the new limits would change.",
    ),
    "revalidate": ("validation", "Judge stored answers again by the present rules, and compare old and new."),
    "status": ("fleet", "The fleet, the queue, the budgets and the last errors, as they are now."),
    "errors": ("fleet", "List what went wrong, newest first: exceptions and alerts of all workers."),
    "dashboard": (
        "dashboard",
        "The board in a browser: fleet, queue, quality, spend, clips, review, audit, datasets, errors; metrics.",
    ),
    "canary": (
        "canary",
        "A measured run before the large one: the same clips of every language, asked in several ways.",
    ),
    "forecast": (
        "canary",
        "Forecast when the queue will be done and what it will cost, under each limit of the budget.",
    ),
    "models": (
        "models",
        "The models whose prices are known, and what they take: dollars per million tokens, as they are today.",
    ),
    "answers": (
        "answers",
        "Answers by the way they were asked for: list the ways, compare two, votes on them, promote one.",
    ),
    "redo": (
        "redo",
        "Ask for chosen clips again in another way, and let the better answers be the results.",
    ),
    "align": ("align", "Let IndicConformer listen to finished results and compare."),
    "vote": ("align", "Weigh finished results against what others say: gold, silver or bronze."),
    "score": (
        "align",
        "Hold results against the transcripts that came with the recordings: CER and WER, by language.",
    ),
    "audit": (
        "audit",
        "How good the corpus is, by what people hear in a sample: CER with intervals, verdicts.",
    ),
    "edits": ("edits", "What people say of clips: corrections, their history, out and in."),
    "erase": (
        "erase",
        "Remove a speaker, videos or clips: rows, answers, edits, results, saved answers, exports, canaries' files.",
    ),
    "repack": (
        "edits",
        "Rewrite result tars that lack what people have said since: only those, each verified, in one step.",
    ),
    "export": ("export", "Datasets that trainers read, of finished results: plan, write, verify."),
    "db": ("database", "The database: what is there, and migrations."),
    "budget": ("budget", "What the whole fleet may use of a provider; workers follow within five seconds."),
    "queue": ("queue", "The queue of videos."),
    "deploy": ("deploy", "Machines for a fleet."),
    "workers": ("fleet", "Who works, and who is to stop."),
    "flags": ("fleet", "What needs a person's eye or ear."),
}
"""Command or group -> its module here, and the first sentence of its help, which a test holds to be the same."""


class CommandsOnDemand(TyperGroup):
    """The group `lipika`. A module of commands is loaded when one of them is called; the list of all is read here."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {name: TyperCommand(name, help=told) for name, (_, told) in COMMANDS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as Typer calls it
        """The command itself, whose help and options are its own."""
        return (
            commands_of(COMMANDS[cmd_name][0], cmd_name).commands[cmd_name] if cmd_name in COMMANDS else None
        )

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without loading any."""
        TyperGroup(commands=dict(self.commands)).format_commands(ctx, formatter)


def commands_of(module: str, only: str | None = None) -> TyperGroup:
    """The commands of one module, such as `queue`; or `only` one of them, since Typer takes its time over each."""
    commands = typer.Typer(rich_markup_mode=None, add_completion=False, callback=_together)
    import_module(f"lipika.cli.{module}").add_to(commands, run)
    if only is not None:
        commands.registered_commands = [
            info for info in commands.registered_commands if _name_of(info) == only
        ]
        commands.registered_groups = [info for info in commands.registered_groups if info.name == only]
    return cast("TyperGroup", get_command(commands))


def _together() -> None:
    """Make a group of what may be one command: Typer takes it for a group that has a callback."""


def _name_of(info: CommandInfo) -> str | None:
    return info.name or (get_command_name(info.callback.__name__) if info.callback else None)


app = typer.Typer(
    name="lipika",
    cls=CommandsOnDemand,
    help="Archives of raw speech segments in, validated, training-ready transcripts out.\n\n"
    "Start with `lipika demo`: no key, no server. Then `lipika run my_tars/ --out out/`.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from lipika.cli.checks import say_version

        say_version()
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


_YOUNG_OBJECTS = 50_000
"""Between two looks for garbage; 700 where nobody says otherwise."""


def main() -> None:
    """Entry point of the `lipika` command."""
    # A thread for each core is of no use to us; where none may be started, OpenBLAS interrupts the whole program.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported stays: looking through it for garbage while it grows is a tenth of the time of `lipika status`.
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
    # At the end, too: the process gives all of it back at once.
    atexit.register(gc.freeze)
    with standard_streams(), ending_in_a_line():
        app()

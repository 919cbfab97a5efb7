"""The command `pack`: from what people have to input archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, Run, print_json

if TYPE_CHECKING:
    from lipika.jobs.pack import PackOrder, PackReport
    from lipika.jobs.pack_survey import Survey
    from lipika.packing.kinds import SourceOptions

PackLanguage = Annotated[
    str | None,
    typer.Option(
        help="hi: where the source says none. column:NAME: that column of a list. folder: the uppermost folder.",
    ),
]
Speaker = Annotated[
    str | None,
    typer.Option(
        help="folder: the folder that a recording lies in. column:NAME: that column of a list.",
    ),
]
Template = Annotated[
    str | None,
    typer.Option(
        help="Facts in paths of a folder, such as '{language}/{speaker}/{name}' or '{speaker}-{_}'.",
    ),
]
Kind = Annotated[str | None, typer.Option(help="What the source is, where it is taken for something else.")]


PackedTo = Annotated[
    str | None,
    typer.Option(
        help="Folder or s3://bucket/prefix for archives of what is packed on the way.", show_default=False
    ),
]


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the command on `app`; `run` is the command line's own."""

    @app.command("pack")
    def pack(
        source: Annotated[
            str,
            typer.Argument(
                metavar="SOURCE",
                help="A folder of audio, a list (.csv, .tsv, .jsonl, .parquet), a corpus, or one recording.",
                show_default=False,
            ),
        ],
        out: Annotated[
            str | None, typer.Option("--out", help="Folder or s3://bucket/prefix for the archives.")
        ] = None,
        language: PackLanguage = None,
        force_language: Annotated[
            str | None, typer.Option(help="Language of all of them, whatever the source says.")
        ] = None,
        speaker: Speaker = None,
        template: Template = None,
        kind: Kind = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what is there; write nothing, decode nothing.")
        ] = False,
        as_json: AsJson = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False,
    ) -> None:
        """Make input archives of what you have: folders of audio, lists, corpora, long recordings.

        Files go in as they are where lipika reads them; stretches are cut to the very sample. Ids, texts, splits and
        columns travel in metadata.json. The same command again goes on where it ended, and adds what is new.

        Example: lipika pack recordings/ --out my_tars/ --language hi
        """
        from lipika.jobs.pack import PackOrder

        if out is None and not dry_run:
            raise typer.BadParameter("say where archives go: --out FOLDER or s3://bucket/prefix")
        options = source_options(language, speaker, template, force_language)
        order = PackOrder(source, out or "", options, kind, force_language)
        if dry_run:
            _look(order, run, as_json=as_json)
            return
        report = run(lambda: _pack(order, quiet=quiet or as_json))
        if as_json:
            print_json(report)
        else:
            print_report(report)
        if not report.archives + report.archives_before:
            raise typer.Exit(2)
        if report.lost:
            raise typer.Exit(1)


def plain_language(language: str | None) -> str | None:
    """The language that a person names, unless that is `folder` or `column:NAME`: where the source says it."""
    return (
        None
        if language is not None and (language == "folder" or language.startswith("column:"))
        else language
    )


def source_options(
    language: str | None, speaker: str | None, template: str | None, force_language: str | None = None
) -> SourceOptions:
    """Raises UsageError: a language is none of ours, or an option makes no sense."""
    from lipika.cli.options import hints_of
    from lipika.errors import UsageError
    from lipika.packing.kinds import SourceOptions

    hints_of(plain_language(language), force_language)
    if speaker is not None and speaker != "folder" and not speaker.startswith("column:"):
        raise UsageError(f"--speaker {speaker}: `folder` or `column:NAME` is wanted")
    return SourceOptions(language, speaker, template)


async def _pack(order: PackOrder, *, quiet: bool) -> Any:
    from rich.console import Console

    from lipika.config import load_settings
    from lipika.jobs.pack import pack, progress_words

    console = Console(stderr=True, quiet=quiet, highlight=False)
    with console.status("packing") as status:
        return await pack(
            load_settings(), order, lambda tally: status.update(f"packing: {progress_words(tally)}")
        )


def _look(order: PackOrder, run: Run, *, as_json: bool) -> None:
    async def look() -> Survey:
        from lipika.config import load_settings
        from lipika.jobs.pack_survey import survey_order

        return survey_order(load_settings(), order)

    found = run(look)
    if as_json:
        print_json(found)
    else:
        print_survey(found)
    raise typer.Exit(0 if found.recordings else 2)


def print_report(report: PackReport, *, next_step: bool = True) -> None:
    """A report in a few lines on stdout."""
    from lipika.wording import duration

    out = open_console()

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    say(
        f"{report.packed:,} of {report.recordings:,} recordings packed ({report.kind}): {report.segments:,} segments,"
        f" {duration(report.hours * 3600)}, in {report.archives:,} archives below {report.out}"
    )
    if report.packed_before:
        say(f"{report.packed_before:,} were packed before, in {report.archives_before:,} archives")
    if report.changed:
        say(
            f"{report.changed:,} of those have changed since, and are left as they are: to pack them anew, give"
            " another --out"
        )
    if report.languages:
        shown = ", ".join(
            f"{code or 'none known'} {duration(one * 3600)}" for code, one in report.languages.items()
        )
        say(f"languages: {shown}")
    for reason, count in report.refused.items():
        say(f"REFUSED  {count:,} {reason}, such as {report.examples[reason]}")
    for reason, hours in report.left_out.items():
        say(f"left out of long recordings: {duration(hours * 3600)} {reason}")
    skipped = [f"{report.skipped:,} skipped by the source (_skipme)"] if report.skipped else []
    for note in (*skipped, *report.notes):
        say(note)
    if report.other_files:
        say(f"{report.other_files:,} other files are no audio, and were passed over")
    if report.columns_left_out:
        say(f"{report.columns_left_out:,} segments have over 64 KiB of columns, which were left out")
    if report.refused_list:
        say(f"each of them, with its reason: {report.refused_list}")
    if next_step and report.archives + report.archives_before:
        say(f"next: lipika run {report.out} --out out/")


def print_survey(found: Survey) -> None:
    """A survey in a few lines on stdout."""
    from lipika.wording import duration, money

    out = open_console()

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    about = "" if found.measured >= found.recordings else f" (by the first {found.measured:,})"
    say(
        f"{found.source}: {found.kind}, {found.recordings:,} recordings, {duration(found.hours * 3600)}{about}"
    )
    if found.rates:
        say("rates: " + "; ".join(f"{form}: {count:,}" for form, count in found.rates.items()))
    shown = ", ".join(f"{code or 'none known'} {count:,}" for code, count in found.languages.items())
    say(
        f"languages: {shown or 'none'}; speakers unknown: {found.speakers_unknown:,}; with texts: {found.with_text:,}"
    )
    for reason, count in found.refused.items():
        say(f"REFUSED  {count:,} {reason}, such as {found.examples[reason]}")
    if found.skipped:
        say(f"{found.skipped:,} skipped by the source (_skipme)")
    if found.other_files:
        say(f"{found.other_files:,} other files are no audio")
    if found.clips is not None and found.usd is not None and found.run_seconds is not None:
        say(
            f"to be asked for: about {found.clips:,} clips, {money(found.usd)} and {duration(found.run_seconds)}"
            f" ({found.basis})"
        )

"""The commands `answers`: `add_to` puts them on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.wording import money, number, percent

if TYPE_CHECKING:
    from lipika.answers.compare import ComparisonOfWays, WaysBeside
    from lipika.answers.job import ComparedWays, Promoted, VotedWays
    from lipika.answers.votes import VotesBeside
    from lipika.answers.ways import WayOfAnswers
    from lipika.forecast.shares import Estimate

OfLanguage = Annotated[
    str | None,
    typer.Option("--language", help="Only clips of this language, such as hi.", show_default=False),
]
Way = Annotated[
    str,
    typer.Argument(
        metavar="WAY",
        help="A name that `lipika answers` shows (first digits will do), or settings: 'MODEL_ID=... ANSWER=lean'.",
        show_default=False,
    ),
]

out = open_console()


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the group on `app`; `run` is the command line's own."""
    group = typer.Typer(
        help="Answers by the way they were asked for: list the ways, compare two, votes on them, promote one.",
        invoke_without_command=True,
    )
    app.add_typer(group, name="answers")
    _listing(group, run)
    _comparing(group, run)
    _voting(group, run)
    _promoting(group, run)


def _listing(group: typer.Typer, run: Run) -> None:
    def show(language: str | None, data_dir: Path | None, *, as_json: bool) -> None:
        from lipika.answers.job import list_ways

        code = _code(language)
        found = run(lambda: list_ways(data_dir, code))
        if as_json:
            print_json({"ways": found})
        else:
            _print_ways(found)

    @group.callback()
    def answers(
        context: typer.Context,
        language: OfLanguage = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Answers by the way they were asked for: list the ways, compare two, votes on them, promote one.

        Every answer that was paid for is kept with its way of asking: model, temperature, thinking level, form of the
        answer and prompt. Without a command the ways are listed, as `lipika answers list` does.

        Example: lipika answers
        """
        if not context.invoked_subcommand:
            show(language, data_dir, as_json=as_json)

    @group.command("list")
    def list_answers(language: OfLanguage = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """List the ways of asking that have answers: clips whose result they are, answers kept aside, dollars.

        The counts are kept as rows change: it takes milliseconds with any number of clips. Dollars are what these
        answers cost when they were asked for; an answer that several clips share counts with each of them.

        Example: lipika answers list --language hi
        """
        show(language, data_dir, as_json=as_json)


def _comparing(group: typer.Typer, run: Run) -> None:
    @group.command("compare")
    def compare_answers(
        first: Way,
        second: Way,
        language: OfLanguage = None,
        clips: Annotated[
            int, typer.Option(min=1, max=200_000, help="Look at so many at most, a sample by chance of all.")
        ] = 5_000,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Compare two ways over clips that have answers of both: letters that differ, findings, lanes, cost.

        Both answers are judged anew by the same rules; nothing is asked. Per language, with 95 % intervals that take
        clips of one video together, as the canary's. Neither is the truth: what differs is a distance. At the end the
        clips where they differ most.

        Example: lipika answers compare 3f09 b71c --language hi
        """
        from lipika.answers.job import compare_ways

        code = _code(language)
        found = run(lambda: compare_ways(data_dir, (first, second), clips, code))
        if as_json:
            print_json(found)
        else:
            _print_comparison(found)


def _voting(group: typer.Typer, run: Run) -> None:
    @group.command("votes")
    def votes_on_answers(first: Way, second: Way, data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Show which of two ways people prefer, by blind votes on the board's page Compare, with intervals.

        A clip counts once, by the first vote on it. The preference is the share of those who prefer one; p is the
        chance of so clear a one where there is none (sign test). Beside it how far two people agree, and the share of
        votes for the left side, which is a half if nobody minds the side.

        Example: lipika answers votes 3f09 b71c
        """
        from lipika.answers.job import list_votes

        found = run(lambda: list_votes(data_dir, (first, second)))
        if as_json:
            print_json(found)
        else:
            _print_votes(found)


def _promoting(group: typer.Typer, run: Run) -> None:
    @group.command("promote")
    def promote_answers(
        way: Way,
        language: OfLanguage = None,
        videos: Annotated[
            list[str] | None,
            typer.Option("--videos", help="Only of this video; may be repeated.", show_default=False),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
        rows_only: Annotated[
            bool,
            typer.Option("--rows-only", help="Leave result tars as they are, such as those that are gone."),
        ] = False,
        jobs: Annotated[
            int | None, typer.Option(min=1, help="Processes at work. Default: one for each core.")
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Make the answers of one way that are kept aside the results again. Nothing is asked or paid.

        They are judged anew; rows, flags, counters and result tars are written, and the answers that they replace
        are kept aside. Videos that a worker holds are left alone, and so is what a person has written. What was
        stopped half way goes on when it is called again. The exit code is 1 if a video was left alone.

        Example: lipika answers promote 3f09 --language hi --dry-run
        """
        from lipika.answers.job import PromoteOrder, promote_way

        order = PromoteOrder(
            way,
            _code(language),
            videos or (),
            dry_run=dry_run,
            rows_only=rows_only,
            jobs=jobs,
            data_dir=data_dir,
        )
        done = run(lambda: promote_way(order))
        if as_json:
            print_json(done)
        else:
            _print_promoted(done)
        if done.report.left_alone:
            raise typer.Exit(1)


def _code(name: str | None) -> str | None:
    from lipika.languages import LANGUAGES, find_language

    if name is None or name == "unknown":
        return name
    language = find_language(name)
    if language is None:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(LANGUAGES)}", param_hint="--language")
    return language.code


# ----------------------------------------------------------------------------- words


def _print_ways(ways: Sequence[WayOfAnswers]) -> None:
    if not ways:
        out.print("no answers yet")
        return
    for way in ways:
        made_up = f", {way.made_up:,} of them SIMULATED" if way.made_up else ""
        out.print(f"[bold]{way.name}[/]  {escape(way.settings.words)}", soft_wrap=True)
        for told, held in (("results", way.results), ("kept aside", way.kept)):
            if held.clips:
                thoughts = f", {number(held.thought_tokens)} thought" if held.thought_tokens else ""
                out.print(
                    f"    {held.clips:,} {told}, {money(held.usd)}; {number(held.prompt_tokens)} prompt tokens"
                    f" ({number(held.audio_tokens)} audio), {number(held.output_tokens)} output{thoughts}",
                    soft_wrap=True,
                )
        out.print(
            escape(f"    {_counts(way.languages)}; asked of {_counts(way.providers)}{made_up}"),
            soft_wrap=True,
        )
    if len(ways) > 1:
        first, second = ways[0].name[:4], ways[1].name[:4]
        out.print(
            f"Compare two: lipika answers compare {first} {second}. Make one the results again:"
            f" lipika answers promote {second} --dry-run",
            soft_wrap=True,
        )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _print_comparison(found: ComparedWays) -> None:
    told = found.comparison
    for name, way in (("A", found.first), ("B", found.second)):
        out.print(f"{name}  [bold]{way.name}[/]  {escape(way.settings.words)}", soft_wrap=True)
    sample = "" if told.all_looked_at else ", a sample by chance of all (--clips)"
    out.print(
        f"{told.clips:,} clips have both{sample}. Neither is the truth: letters that differ are a distance."
    )
    table = Table(
        *("", "clips", "videos", "letters that differ", "by sound", "the same", "only one heard speech"),
        *("$ a clip A", "B", "B of A"),
        box=None,
    )
    for one in told.languages:
        table.add_row(
            one.language or "all",
            *(f"{one.clips:,}", f"{one.videos:,}"),
            *(
                _range(found if one.videos > 1 else replace(found, low=math.nan))
                for found in (one.cer, one.cer_by_sound)
            ),
            *(percent(one.identical / one.clips), f"{one.speech_disagreed:,}"),
            *(money(one.usd_each[0]), money(one.usd_each[1]), _range(one.cost_ratio)),
        )
    out.print(table)
    _print_shares(told.languages)
    _print_findings(told)
    if told.worst:
        out.print("Where they differ most:")
    for clip in told.worst:
        out.print(f"  {clip.language} {clip.video_id}/{clip.segment_file}  {percent(clip.cer)}", markup=False)
        out.print(f"    A {clip.first}", markup=False, soft_wrap=True)
        out.print(f"    B {clip.second}", markup=False, soft_wrap=True)


def _print_votes(found: VotedWays) -> None:
    for name, way in (("A", found.first), ("B", found.second)):
        out.print(f"{name}  [bold]{way.name}[/]  {escape(way.settings.words)}", soft_wrap=True)
    if not any(line.votes for line in found.lines):
        out.print(f"Nobody has voted yet: comparison {found.comparison} on the board (lipika dashboard).")
        return
    table = Table(
        *("", "clips", "A better", "B better", "equally good", "both bad", "prefer A", "p"),
        *("neither", "two agree", "for the left", "letters that differ", "$ an hour A", "B"),
        box=None,
    )
    for line in found.lines:
        table.add_row(*_vote_cells(line))
    out.print(table)


def _vote_cells(line: VotesBeside) -> tuple[str, ...]:
    chosen = line.first + line.second
    return (
        {"": "all", "same": "same words"}.get(line.language, line.language),
        f"{line.clips:,} of {line.drawn:,}",
        *(f"{count:,}" for count in (line.first, line.second, line.equal, line.bad)),
        _range(line.preference) if chosen else "-",
        f"{line.chance:.3f}" if chosen else "-",
        _range(line.ties) if line.clips else "-",
        f"{_range(line.agreed)} of {line.doubled:,}" if line.doubled else "-",
        _range(line.left) if line.sided else "-",
        percent(line.cer),
        *(money(usd) if usd else "-" for usd in line.usd_per_hour),
    )


def _print_shares(languages: Sequence[WaysBeside]) -> None:
    from lipika.canary.pairs import MEASURE_WORDS

    table = Table("", "share of the clips", "A", "B", "B less A, points", box=None)
    for one in languages:
        for place, (measure, beside) in enumerate(one.shares.items()):
            table.add_row(
                (one.language or "all") if place == 0 else "",
                _OF_ANSWERS.get(measure, MEASURE_WORDS[measure]),
                percent(beside.first),
                percent(beside.second),
                _points(beside.difference) if one.videos > 1 else "one video proves nothing",
            )
    out.print(table)


_OF_ANSWERS = {"doubted": "answers with a finding", "looped": "answers that loop"}


def _print_findings(told: ComparisonOfWays) -> None:
    first, second = told.findings
    codes = sorted({*first, *second}, key=lambda code: -abs(first.get(code, 0) - second.get(code, 0)))
    if codes:
        listed = ", ".join(f"{code} {first.get(code, 0):,} | {second.get(code, 0):,}" for code in codes[:10])
        out.print(f"Findings, clips of A | B: {listed}", markup=False, soft_wrap=True)


def _range(found: Estimate) -> str:
    if math.isnan(found.value):
        return "-"
    if math.isnan(found.low) or math.isnan(found.high):
        return percent(found.value)
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def _points(found: Estimate) -> str:
    if math.isnan(found.value):
        return "-"
    value, low, high = (100 * part for part in (found.value, found.low, found.high))
    return f"{value + 0.0:+.1f} ({low + 0.0:+.1f} to {high + 0.0:+.1f})"


def _print_promoted(done: Promoted) -> None:
    report = done.report
    would = "would become" if done.dry_run else "are"
    out.print(
        f"{report.clips:,} answers of {done.way.name} ({escape(done.way.settings.words)}) {would} results again, in"
        f" {report.videos:,} videos; {report.already:,} clips had them already. Nothing was asked or paid: they cost"
        f" {money(report.usd)} when they were asked for.",
        soft_wrap=True,
    )
    fate = "to be rewritten" if done.dry_run else "out of date" if done.rows_only else "rewritten"
    if report.archives:
        more = f" and {len(report.archives) - 3:,} more" if len(report.archives) > 3 else ""
        out.print(
            f"{len(report.archives):,} result tars {fate}: {', '.join(report.archives[:3])}{more}",
            markup=False,
            soft_wrap=True,
        )
    left = (
        (report.persons, "clips have a text that a person has written: it stays"),
        (
            report.other_hint,
            "clips were heard in another language than their hint is now: run asks for them anew",
        ),
        (report.made_up, "kept answers are a simulator's: a real answer stays"),
        (report.without_audio, "clips are not judged: neither row nor tar says how they sound"),
        (
            report.unaligned,
            "alignments were of the texts that were replaced: lipika align --rows listens again",
        ),
    )
    for count, why in left:
        if count:
            out.print(f"  {count:,} {why}", soft_wrap=True)
    for video_id, why in report.left_alone:
        out.print(f"LEFT AS IT IS  {video_id}: {why}", markup=False, soft_wrap=True)
    if done.dry_run:
        out.print("Nothing was changed: --dry-run.")

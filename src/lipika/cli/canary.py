"""The commands `canary` and `forecast`: `add_to` puts them on the command line."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Provider, Run, print_json
from lipika.wording import duration, money, number, percent

if TYPE_CHECKING:
    from lipika.canary.advice import CanaryAdvice
    from lipika.canary.asking import Standing
    from lipika.canary.job import CanaryOrder, FinishedCanary
    from lipika.canary.keeping import Cleaned
    from lipika.canary.planning import CanaryPlan
    from lipika.config import Settings
    from lipika.db.canary import CanaryRow
    from lipika.db.connection import Database
    from lipika.jobs.asking import WhatIf
    from lipika.jobs.cheapest import CheapestAnswer
    from lipika.jobs.outlook import Prediction


class Kind(StrEnum):
    """The things that may differ from the baseline."""

    PROVIDER = "provider"
    TEMPERATURE = "temperature"
    THINKING = "thinking"
    ANSWER = "answer"
    CLIPS = "clips"
    READING = "reading"


_USUAL = (Kind.PROVIDER, Kind.TEMPERATURE, Kind.THINKING, Kind.ANSWER)


class TierChoice(StrEnum):
    """Tiers of a provider."""

    STANDARD = "standard"
    FLEX = "flex"


class FormChoice(StrEnum):
    """Forms of an answer."""

    FULL = "full"
    LEAN = "lean"


class ThinkingChoice(StrEnum):
    """Thinking levels; `none`: of a model that takes none."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Workers = Annotated[
    int | None, typer.Option(min=1, help="Forecast for so many workers. Default: those that are live, or 1.")
]
Clips = Annotated[
    float | None,
    typer.Option(
        "--queue-clips", min=1, help="Forecast for so many clips. Default: what is left of the queue."
    ),
]

out = open_console()
err = Console(stderr=True, highlight=False)


def add_to(app: typer.Typer, run: Run) -> None:
    """Put both commands on `app`; `run` is the command line's own."""
    _canary(app, run)
    _forecast(app, run)


def _canary(app: typer.Typer, run: Run) -> None:
    @app.command()
    def canary(
        sources: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="SOURCE...",
                help="Tars, folders of tars, or s3://bucket/prefix. Default: the queue's archives.",
                show_default=False,
            ),
        ] = None,
        clips: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="How many, over all languages. Default: what a recommendation takes and --max-usd pays for.",
                show_default=False,
            ),
        ] = None,
        max_usd: Annotated[float, typer.Option(min=0.001, help="Spend no more than this.")] = 25.0,
        max_minutes: Annotated[float, typer.Option(min=0.01, help="Ask no longer than this.")] = 60.0,
        arm: Annotated[
            list[Kind] | None,
            typer.Option(
                help="What else to compare; may be repeated. Default: the first four. Experiments, never"
                " recommended: `clips` (2 and 4 in one request), `reading` (disputed clips again, with both texts).",
                show_default=False,
            ),
        ] = None,
        tried: Annotated[
            list[str] | None,
            typer.Option(
                "--try",
                metavar="SETTINGS",
                help="Compare these settings, too, as one way: 'MODEL_ID=... ANSWER=lean'; may be repeated.",
                show_default=False,
            ),
        ] = None,
        no_arms: Annotated[
            bool, typer.Option("--baseline-only", help="Compare nothing but what --try names.")
        ] = False,
        level: Annotated[
            list[str] | None,
            typer.Option(
                help="Thinking level to compare; may be repeated. Default: minimal, low, medium.",
                show_default=False,
            ),
        ] = None,
        margin: Annotated[
            float,
            typer.Option(
                min=0.5,
                max=50,
                help="Points of the clips that a way of asking may be worse by, in any language, to be recommended.",
            ),
        ] = 5.0,
        letters: Annotated[
            float,
            typer.Option(
                "--margin-letters",
                min=0.5,
                max=50,
                help="Percent of the letters that its texts may differ in.",
            ),
        ] = 10.0,
        usd_at_most: Annotated[
            float | None, typer.Option(help="No-go if the queue will cost more than this.")
        ] = None,
        hours_at_most: Annotated[
            float | None, typer.Option(help="No-go if the queue will take longer than this.")
        ] = None,
        queue_clips: Clips = None,
        workers: Workers = None,
        provider: Annotated[Provider | None, typer.Option(help="Who is asked first [PROVIDER].")] = None,
        seed: Annotated[int, typer.Option(help="Another seed chooses other clips.")] = 0,
        out_url: Annotated[
            str | None,
            typer.Option(
                "--out", help="The report goes below canary/ in this folder or bucket [OUTPUT_URL]."
            ),
        ] = None,
        list_runs: Annotated[bool, typer.Option("--list", help="Show the canaries there have been.")] = False,
        clean: Annotated[
            list[str] | None,
            typer.Option(metavar="RUN", help="Remove this canary's rows and files, or `all`; asks nothing."),
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False,
    ) -> None:
        """A measured run before the large one: the same clips of every language, asked in several ways.

        Measures tokens, cost, cache, latency, failures, quality and looping, compares providers, temperatures,
        thinking levels and forms of answers, forecasts the whole queue, says go or no-go, and recommends the cheapest
        way that is not worse in any language. Obeys the fleet's budgets. The exit code is 1 for a no-go, and 3 if the
        report could not be kept where it should be.

        Example: lipika canary --clips 1000 --max-usd 8
        """
        from lipika.canary.arms import ArmKind
        from lipika.canary.job import CanaryOrder
        from lipika.canary.judgement import GoLimits
        from lipika.canary.recommendation import Margins

        if list_runs or clean:
            _keep_house(run, _settings_of(provider, data_dir), clean or [], as_json=as_json)
            return
        kinds = [] if no_arms else [ArmKind(str(kind)) for kind in arm or _USUAL]
        order = CanaryOrder(
            sources=sources or (),
            clips=clips,
            seed=seed,
            kinds=[ArmKind.BASELINE, *kinds],
            tried=tried or (),
            levels=[_level(name) for name in level] if level else None,
            max_usd=max_usd,
            max_minutes=max_minutes,
            limits=replace(GoLimits(), usd_at_most=usd_at_most, hours_at_most=hours_at_most),
            margins=Margins(margin / 100, letters / 100),
            queue_clips=queue_clips,
            workers=workers,
            out=out_url or "",
        )
        done = run(lambda: _run_canary_order(order, _settings_of(provider, data_dir), quiet=quiet or as_json))
        if as_json:
            print_json({"report": done.report, "files": done.files, "troubles": done.troubles})
        else:
            _print_canary(done)
        for trouble in done.troubles:
            err.print(f"lipika: {trouble}", markup=False, soft_wrap=True)
        if done.report.judgement.mark == "no-go":
            raise typer.Exit(1)
        if done.troubles:
            raise typer.Exit(3)


def _forecast(app: typer.Typer, run: Run) -> None:
    @app.command()
    def forecast(
        clips: Annotated[
            float | None, typer.Option(min=1, help="For so many clips. Default: what is left of the queue.")
        ] = None,
        workers: Workers = None,
        hours: Annotated[
            float | None, typer.Option(min=0.01, help="Also say what it takes to finish in this time.")
        ] = None,
        provider: Annotated[
            Provider | None,
            typer.Option(help="Whose budget binds; for the simulator, aistudio's [PROVIDER]."),
        ] = None,
        window_hours: Annotated[
            float, typer.Option(min=0.1, help="Look at the fleet's last hours, so many.")
        ] = 6.0,
        tier: Annotated[TierChoice | None, typer.Option(help="What if it were asked at this tier?")] = None,
        answer: Annotated[FormChoice | None, typer.Option(help="What if answers had this form?")] = None,
        thinking: Annotated[ThinkingChoice | None, typer.Option(help="What if it thought so much?")] = None,
        model: Annotated[str | None, typer.Option(help="What if this model were asked?")] = None,
        cheapest: Annotated[
            bool, typer.Option("--cheapest", help="The plan that ends within --hours at the least cost.")
        ] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Forecast when the queue will be done and what it will cost, under each limit of the budget.

        Goes by what the fleet has measured in the last hours; before that, by the last canary. What if the same queue
        were asked another way (--tier, --answer, --thinking, --model) goes by a canary's arm of that way, else by the
        price list, and says which. The cheapest plan asks no model that no canary has found to be not worse.

        Example: lipika forecast --workers 18 --hours 96; lipika forecast --tier flex --answer lean --thinking minimal
        """
        from lipika.jobs.asking import look_otherwise
        from lipika.jobs.cheapest import find_cheapest
        from lipika.jobs.outlook import ForecastQuestion, look_ahead
        from lipika.services import open_database

        changes = {"service_tier": tier, "answer": answer, "thinking_level": thinking, "model_id": model}
        given = {name: str(value) for name, value in changes.items() if value is not None}
        if cheapest and given:
            raise typer.BadParameter("--cheapest looks at every way that a canary found not worse: name none")

        async def job() -> Prediction | WhatIf | CheapestAnswer:
            settings = _settings_of(provider, data_dir)()
            question = ForecastQuestion(settings.real_provider, clips, workers, hours)
            window_s = window_hours * 3600
            async with open_database(settings) as database:
                if cheapest:
                    return await find_cheapest(database, settings, question, window_s)
                if given:
                    return await look_otherwise(database, settings, question, given, window_s)
                return await look_ahead(database, settings, question, window_s)

        found = run(job)
        if as_json:
            print_json(found)
        else:
            _print_forecast(found)


# ----------------------------------------------------------------------------- work


def _settings_of(provider: Provider | None, data_dir: Path | None) -> Callable[[], Settings]:
    """Reads the settings inside the command, where a mistake in them becomes a sentence."""

    def settings() -> Settings:
        from lipika.config import load_settings

        return load_settings(provider=provider.value if provider else None, lipika_data_dir=data_dir)

    return settings


async def _run_canary_order(
    order: CanaryOrder, settings_of: Callable[[], Settings], *, quiet: bool
) -> FinishedCanary:
    from lipika.canary.job import run_canary
    from lipika.services import open_database

    settings = settings_of()
    async with open_database(settings) as database:
        if quiet:
            return await run_canary(settings, database, order)
        with err.status("choosing clips") as status:

            def show(standing: Standing) -> None:
                waits = f"; waits for {standing.waits_for}" if standing.waits_for else ""
                status.update(
                    escape(
                        f"{standing.answers:,} of {standing.wanted:,} answers, {money(standing.usd)} of"
                        f" {money(order.max_usd)}{waits}"
                    )
                )

            return await run_canary(settings, database, order, show, _print_plan)


def _keep_house(run: Run, settings_of: Callable[[], Settings], run_ids: list[str], *, as_json: bool) -> None:
    """--clean and --list."""
    from lipika.canary.keeping import clean
    from lipika.db.canary import Canaries
    from lipika.services import open_database

    async def on_database(work: Callable[[Settings, Database], Coroutine[Any, Any, Any]]) -> Any:
        settings = settings_of()
        async with open_database(settings) as database:
            return await work(settings, database)

    if run_ids:
        done = run(lambda: on_database(lambda settings, database: clean(settings, database, run_ids)))
        _print_cleaned(done, as_json=as_json)
        return
    rows = run(lambda: on_database(lambda _settings, database: Canaries(database).list_runs()))
    if as_json:
        print_json(rows)
    else:
        _print_runs(rows)


def _level(name: str) -> str:
    levels = ("minimal", "low", "medium", "high")
    if name not in levels:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(levels)}", param_hint="--level")
    return name


# ----------------------------------------------------------------------------- words


def _print_plan(plan: CanaryPlan) -> None:
    err.print(plan.words, markup=False, soft_wrap=True)


def _print_canary(done: FinishedCanary) -> None:
    report = done.report
    table = Table("", "criterion", "found", "wanted", "reason", box=None)
    marks = {"go": "[green]go[/]", "warn": "[yellow]warn[/]", "no-go": "[red]NO-GO[/]"}
    for one in report.judgement.criteria:
        words = f"{one.reason}. {one.way_out}" if one.way_out else one.reason
        table.add_row(marks[one.mark], *(escape(text) for text in (one.name, one.figure, one.limit, words)))
    out.print(table)
    if report.outlook is not None:
        _print_outlook(report.outlook)
    else:
        out.print(f"No forecast: {report.no_outlook_because}", markup=False, soft_wrap=True)
    _print_advice(report.advice, simulated=report.simulated)
    made_up = " (simulated: nothing was charged)" if report.simulated else ""
    out.print(f"\n{report.judgement.words}. It cost {money(report.usd)}{made_up}.", style="bold")
    out.print(f"Report: {done.files[0]}", markup=False, soft_wrap=True)


def _print_advice(advice: CanaryAdvice, *, simulated: bool) -> None:
    made_up = "Of made-up answers: " if simulated and (advice.env or advice.experimental) else ""
    out.print(f"\n{made_up if advice.env else ''}{advice.words}", markup=False, soft_wrap=True)
    for line in advice.env:
        out.print(f"    {line}", markup=False, soft_wrap=True)
    for one in advice.experimental:
        out.print(f"{made_up}{one.words}", markup=False, soft_wrap=True)


def _print_forecast(found: Prediction | WhatIf | CheapestAnswer) -> None:
    from lipika.jobs.asking import WhatIf
    from lipika.jobs.cheapest import CheapestAnswer

    if isinstance(found, WhatIf):
        _print_what_if(found)
    elif isinstance(found, CheapestAnswer):
        _print_cheapest(found)
    else:
        _print_outlook(found)


def _print_what_if(found: WhatIf) -> None:
    _print_outlook(found.then)
    table = Table("", "way of asking", "dollars", "time")
    for head, way, one in (("today", found.way_today, found.today), ("what if", found.way, found.then)):
        told = one.forecast
        table.add_row(head, escape(way.words), money(told.usd.value), duration(told.seconds.value))
    out.print(table)
    share = found.saves_usd / found.today.forecast.usd.value if found.today.forecast.usd.value else 0.0
    verb = "saves" if found.saves_usd >= 0 else "costs more:"
    sooner = "sooner" if found.saves_seconds >= 0 else "later"
    spared = (
        f"; {duration(abs(found.saves_seconds))} {sooner}" if abs(found.saves_seconds) < float("inf") else ""
    )
    out.print(f"It {verb} {money(abs(found.saves_usd))} ({percent(abs(share))}){spared}")
    for figure in found.figures:
        shown = money(figure.value) if figure.name == "dollars" else number(figure.value)
        basis = f"metered ({figure.basis})" if figure.metered else figure.basis
        out.print(f"  {figure.name} of a clip: {shown}, {basis}", markup=False, soft_wrap=True)


def _print_cheapest(found: CheapestAnswer) -> None:
    if not found.meets_deadline:
        out.print(
            f"No plan does {number(found.clips)} clips in {duration(found.hours * 3600)}; by then at most"
            f" {number(sum(part.clips for part in found.parts))}:",
            style="bold",
        )
    table = Table("what", "clips", "dollars", "from", "to", "figures")
    for part in found.parts:
        table.add_row(
            escape(part.way.words),
            number(part.clips),
            money(part.usd),
            duration(part.begins_s),
            duration(part.ends_s),
            escape(f"{'metered' if part.metered else 'by price'}: {part.basis}"),
        )
    out.print(table)
    if found.meets_deadline:
        out.print(
            f"All together: {money(found.usd)} in {duration(found.seconds)};"
            f" as it is set now {money(found.usd_today)}"
        )
    if found.binds:
        out.print(f"It binds: {', '.join(_name_limit(name) for name in found.binds)}", soft_wrap=True)
    _print_raises(found)
    for provider, lines in found.env.items():
        out.print(f"In .env of workers with {provider}:")
        for line in lines:
            out.print(f"    {line}", markup=False, soft_wrap=True)
    for words in found.assumes:
        out.print(f"Assumed: {words}", markup=False, soft_wrap=True)


def _print_raises(found: CheapestAnswer) -> None:
    """The limits to be raised, where no plan meets the deadline."""
    if found.meets_deadline:
        return
    for one in found.raises:
        write = money if "spend" in one.limit else number
        out.print(
            f"It would take: {_name_limit(one.limit)} raised from {write(one.now)} to {write(one.to)}",
            soft_wrap=True,
        )
    if not found.raises and found.times is not None:
        out.print(f"No limit alone is enough: all of them, and the workers, times {found.times:.2f}")
    if found.seconds_as_it_is is not None:
        out.print(f"With the limits as they are it takes {duration(found.seconds_as_it_is)}")


def _name_limit(name: str) -> str:
    """`aistudio rpm` in words."""
    from lipika.forecast.forecast import LIMIT_WORDS

    whose, _, limit = name.rpartition(" ")
    whose = "all providers" if whose == "all" else whose
    return f"{LIMIT_WORDS[limit]} of {whose}" if whose else LIMIT_WORDS[limit]


def _print_outlook(found: Prediction) -> None:
    from lipika.forecast.forecast import LIMIT_WORDS

    told = found.forecast
    out.print(
        f"\n{number(told.clips.value)} clips left ({number(told.clips.low)} to {number(told.clips.high)}),"
        f" by {found.source}",
        markup=False,
        soft_wrap=True,
    )
    table = Table("if only this limit held", "set to", "clips a minute", "time", "95 % interval", "")
    for one in told.limits:
        table.add_row(
            LIMIT_WORDS[one.name] + (" over all providers" if one.name in found.held_by_all else ""),
            (money if one.name.startswith("spend") else number)(one.limit),
            number(one.clips_per_s * 60),
            duration(one.seconds.value),
            f"{duration(one.seconds.low)} to {duration(one.seconds.high)}",
            "binds" if one.binds else "",
        )
    out.print(table)
    out.print(
        f"All together: {duration(told.seconds.value)}, {money(told.usd.value)} ({money(told.usd.low)} to"
        f" {money(told.usd.high)}; {money(told.usd_per_clip.value)} a clip) with {told.workers} workers"
    )
    if told.workers_needed is not None:
        out.print(f"{told.workers_needed} workers use the quota in full; more would wait for it")
    if told.clips_until_cap is not None:
        whose = " over all providers" if "spend_total" in found.held_by_all else ""
        out.print(
            f"The dollar cap in all{whose} stops it after {number(told.clips_until_cap)} clips (lipika budget set)"
        )
    if found.pace_seconds is not None:
        out.print(
            f"At the pace of the last minutes, {number(found.pace_clips_per_minute)} clips a minute: "
            f"{duration(found.pace_seconds)}"
        )
    if found.needed is not None:
        need = found.needed
        out.print(
            f"To finish in {duration(need.hours * 3600)}: {number(need.rpm)} requests and"
            f" {number(need.tpm)} prompt tokens a minute, {money(need.usd_per_10min)} per 10 minutes,"
            f" {money(need.usd_per_day)} a day, {need.workers} workers"
        )


def _print_runs(rows: list[CanaryRow]) -> None:
    if not rows:
        out.print("no canary yet")
        return
    table = Table("canary", "began", "verdict", "rows", "$", "report")
    for row in rows:
        table.add_row(
            row.run_id,
            f"{row.started_at:%Y-%m-%d %H:%M}",
            row.verdict or "did not end",
            f"{row.rows:,}",
            money(row.usd),
            escape(f"{row.output_url}/report.html") if row.output_url else "",
        )
    out.print(table)


def _print_cleaned(done: Cleaned, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        out.print(f"removed {done.runs} {'canary' if done.runs == 1 else 'canaries'} with {done.files} files")
        for one in done.away:
            err.print(f"no files of {one}", markup=False, soft_wrap=True)
        for one in done.left:
            err.print(f"NOT REMOVED  {one}", markup=False, soft_wrap=True)
    if done.left:
        raise typer.Exit(1)

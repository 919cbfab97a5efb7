"""The commands `lipika budget`: `add_to` puts them on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.errors import UsageError
from lipika.forecast.limits import ALL, LIMITS, Limit
from lipika.wording import money, read_limit

if TYPE_CHECKING:
    from lipika.db.budgets import BudgetRow
    from lipika.db.reservations import Spent

ToWhom = Annotated[
    str,
    typer.Argument(help="aistudio, openrouter, simulator, or `all` providers together.", show_default=False),
]


def add_to(lipika: typer.Typer, run: Run) -> None:
    """Put the group `budget` on the command line; `run` is its own."""
    app = typer.Typer(
        help="What the whole fleet may use of a provider; workers follow within five seconds.",
        no_args_is_help=True,
    )
    _looking(app, run)
    _limits(app, run)
    _stopping(app, run)
    lipika.add_typer(app, name="budget")


# ----------------------------------------------------------------------------- looking


def _looking(app: typer.Typer, run: Run) -> None:
    @app.command("show")
    def show(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Limits of each provider and of all together, and what has been spent."""
        from lipika.db.reservations import add_up

        budgets, spent = run(lambda: _budgets(data_dir))
        if as_json:
            print_json({"budgets": budgets, "spent": spent, "spent_over_all": add_up(spent)})
        else:
            _print_budgets(budgets, spent)


async def _budgets(data_dir: Path | None) -> tuple[Sequence[BudgetRow], Sequence[Spent]]:
    from lipika.config import load_settings
    from lipika.db.budgets import Budgets
    from lipika.db.reservations import Reservations
    from lipika.services import open_database

    async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
        return await Budgets(database).show(), await Reservations(database).list_spending()


def _print_budgets(budgets: Sequence[BudgetRow], spent: Sequence[Spent]) -> None:
    from lipika.db.reservations import add_up

    out = open_console()
    if not budgets:
        out.print("Budgets: none set, so nothing is limited (lipika budget set aistudio --rpm 18000)")
        return
    used = {(row.provider, row.project): row for row in (*spent, add_up(spent))}
    table = Table("provider", *(limit.head for limit in LIMITS), "spent today", "spent", "")
    for row in budgets:
        usage = used.get((row.provider, row.project))
        table.add_row(
            f"{row.provider} {row.project}".strip(),
            *(_limit_text(row, limit) for limit in LIMITS),
            money(usage.usd_today) if usage else money(0),
            money(usage.usd_total) if usage else money(0),
            f"PAUSED: {row.pause_reason}" if row.paused else "",
        )
    out.print(table)


def _limit_text(row: BudgetRow, limit: Limit) -> str:
    value: float | None = getattr(row, limit.column)
    if row.provider == ALL and limit.whole:
        return "-"  # each provider's own
    if value is None:
        return "no limit"
    return f"{value:,}" if limit.whole else money(value)


# ----------------------------------------------------------------------------- limits


def _limits(app: typer.Typer, run: Run) -> None:
    @app.command("set")
    def change(
        provider: ToWhom,
        rpm: Annotated[str | None, typer.Option(help="Requests a minute, or `none`.")] = None,
        tpm: Annotated[str | None, typer.Option(help="Prompt tokens a minute, or `none`.")] = None,
        usd_10min: Annotated[
            str | None, typer.Option(help="Dollars per rolling ten minutes, or `none`.")
        ] = None,
        usd_day: Annotated[str | None, typer.Option(help="Dollars per UTC day, or `none`.")] = None,
        usd_total: Annotated[str | None, typer.Option(help="Dollars in all: the cap, or `none`.")] = None,
        data_dir: DataDir = None,
    ) -> None:
        """Set some limits; the others stay. `all` limits the dollars of all providers together, second opinions and
        canaries among them; a simulator's made-up dollars are held against it apart from real ones.

        Example: lipika budget set aistudio --rpm 18000 --usd-total 90000; lipika budget set all --usd-total 100000
        """
        from lipika.config import load_settings
        from lipika.db.budgets import Budgets
        from lipika.services import open_database

        given = (rpm, tpm, usd_10min, usd_day, usd_total)
        changes = {
            limit.column: _limit(limit, text)
            for limit, text in zip(LIMITS, given, strict=True)
            if text is not None
        }
        if not changes:
            *others, last = (limit.option for limit in LIMITS)
            raise typer.BadParameter(f"name a limit: {', '.join(others)} or {last}")
        _check_limits_of_all(provider, changes)

        async def job() -> None:
            async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
                await Budgets(database).change(_check_provider(provider), changes)

        run(job)
        budgets, spent = run(lambda: _budgets(data_dir))
        _print_budgets(budgets, spent)
        _say_what_is_over(provider, budgets, spent)


def _say_what_is_over(provider: str, budgets: Sequence[BudgetRow], spent: Sequence[Spent]) -> None:
    """Caps of this provider that lie below what has been spent already: nothing more is sent under them."""
    from lipika.db.reservations import add_up

    used = {(row.provider, row.project): row for row in (*spent, add_up(spent))}
    whose = "all providers" if provider == ALL else provider
    for row in budgets:
        so_far = used.get((row.provider, row.project))
        if row.provider != provider or so_far is None:
            continue
        for cap, usd, span in (
            (row.spend_day_usd, so_far.usd_today, "today"),
            (row.spend_total_usd, so_far.usd_total, "in all"),
        ):
            if cap is not None and usd >= cap:
                open_console().print(
                    f"{whose}: {money(usd)} have been spent {span}, and the cap is {money(cap)}:"
                    " nothing more is sent",
                    soft_wrap=True,
                )


def _limit(limit: Limit, text: str) -> float | None:
    """A limit as given; None for `none`."""
    if text.strip().lower() == "none":
        return None
    try:
        return read_limit(text, whole=limit.whole, most=limit.most)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or `none`", param_hint=limit.option) from None


def _check_limits_of_all(provider: str, changes: Mapping[str, object]) -> None:
    """Requests and tokens of different providers are no sum that anybody limits."""
    own = [limit.option for limit in LIMITS if limit.whole and limit.column in changes]
    if provider == ALL and own:
        raise typer.BadParameter(
            f"{' and '.join(own)}: each provider has limits of its own on requests and tokens; over all of them only"
            " dollars are limited (--usd-10min, --usd-day, --usd-total)"
        )


def _check_provider(name: str) -> str:
    from lipika.config import ProviderName

    if name not in (*get_args(ProviderName), ALL):
        raise UsageError(
            f"{name!r} is no provider: aistudio, openrouter, simulator, or all of them together: all"
        )
    return name


# ----------------------------------------------------------------------------- stopping


def _stopping(app: typer.Typer, run: Run) -> None:
    @app.command("pause")
    def pause(
        provider: ToWhom,
        reason: Annotated[str, typer.Option(help="Shown wherever somebody asks why.")] = "paused by hand",
        data_dir: DataDir = None,
    ) -> None:
        """Tell the fleet to send nothing to a provider; answers in flight still come back."""
        from lipika.config import load_settings
        from lipika.db.budgets import Budgets
        from lipika.services import open_database

        async def job() -> None:
            async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
                await Budgets(database).pause(_check_provider(provider), reason)

        run(job)
        open_console().print(f"{provider} is paused: {reason}")

    @app.command("resume")
    def resume(
        provider: ToWhom,
        data_dir: DataDir = None,
    ) -> None:
        """Let the fleet send to a provider again."""
        from lipika.config import load_settings
        from lipika.db.budgets import Budgets
        from lipika.services import open_database

        async def job() -> bool:
            async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
                return await Budgets(database).resume(_check_provider(provider))

        open_console().print(f"{provider} is resumed" if run(job) else f"{provider} was not paused")

"""The commands that rent machines: `add_to` puts them on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, Run, print_json
from lipika.errors import UsageError
from lipika.wording import duration, money

if TYPE_CHECKING:
    from lipika.config import Settings
    from lipika.vast.client import Instance, Vast, Wish
    from lipika.vast.fleet import FleetOutcome, FleetPlan, RentedFleet

FleetName = Annotated[
    str,
    typer.Option("--fleet", help="Name of the fleet: its machines are labelled lipika-01, lipika-02, ..."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it this is a dry run.")]

err = Console(stderr=True, highlight=False)


def add_to(lipika: typer.Typer, run: Run) -> None:
    """Put the group `deploy` on the command line; `run` is its own."""
    app = typer.Typer(help="Machines for a fleet.", no_args_is_help=True)
    vast = typer.Typer(invoke_without_command=True)
    app.add_typer(vast, name="vast")
    _renting(vast, run)
    _secrets(vast, run)
    _looking(vast, run)
    lipika.add_typer(app, name="deploy")


def _renting(app: typer.Typer, run: Run) -> None:
    @app.callback()
    def vast(
        context: typer.Context,
        workers: Annotated[int | None, typer.Option(min=0, help="Machines in all, a worker on each.")] = None,
        image: Annotated[
            str, typer.Option(help="Image to run, as a registry names it.", show_default=False)
        ] = "",
        command: Annotated[
            str, typer.Option(help="What the container does on start.")
        ] = "worker --json-logs",
        max_price: Annotated[float, typer.Option(help="Dollars an hour for one machine.")] = 0.30,
        gpu: Annotated[
            list[str] | None, typer.Option(help="Such as RTX_4090; may be repeated. Default: any.")
        ] = None,
        country: Annotated[
            list[str] | None, typer.Option(help="Such as IN; may be repeated. Default: any.")
        ] = None,
        min_reliability: Annotated[float, typer.Option(min=0, max=1, help="As vast.ai scores it.")] = 0.98,
        min_down: Annotated[float, typer.Option(help="Mbit/s.")] = 300,
        min_up: Annotated[float, typer.Option(help="Mbit/s.")] = 300,
        min_cores: Annotated[float, typer.Option(help="CPU cores.")] = 4,
        min_cuda: Annotated[float, typer.Option(help="CUDA of the driver: 13 for the GPU image.")] = 0,
        disk: Annotated[float, typer.Option(help="GB.")] = 40,
        interruptible: Annotated[
            bool, typer.Option("--interruptible", help="Bid for spot machines, which may be taken away.")
        ] = False,
        watch: Annotated[
            bool, typer.Option("--watch", help="Stay and replace what dies, until the queue is done.")
        ] = False,
        fleet: FleetName = "lipika",
        yes: Yes = False,
    ) -> None:
        """A fleet on vast.ai: rent what is missing, replace what is dead, give back what is too much.

        Without --yes it says what it would do. Settings go along, secrets do not: put them into the account once with
        `lipika deploy vast secrets --yes`.

        Example: lipika deploy vast --workers 18 --image registry.example.com/lipika:1 --max-price 0.15 --yes
        """
        if context.invoked_subcommand is not None:
            return

        async def job() -> None:
            from lipika.config import load_settings
            from lipika.vast.client import Vast, Wish
            from lipika.vast.fleet import RentedFleet
            from lipika.vast.secrets import open_settings

            settings = load_settings()
            if workers is None or not image:
                raise UsageError("say how many and what: --workers 18 --image REGISTRY/NAME:TAG")
            wish = Wish(
                image=image,
                command=tuple(command.split()),
                settings=open_settings(settings),
                max_usd_hour=max_price,
                gpus=tuple(gpu or ()),
                countries=tuple(country or ()),
                min_reliability=min_reliability,
                min_down=min_down,
                min_up=min_up,
                min_cores=min_cores,
                min_cuda=min_cuda,
                disk=disk,
                interruptible=interruptible,
            )
            service = Vast.from_settings(settings)
            rented = RentedFleet(service, fleet, wish)
            if not yes:
                found = await rented.plan(workers)
                if found.buy or found.short:
                    _check_settings(settings, wish)
                _print_plan(found, wish)
                return
            if watch or await rented.empty_places(workers) > 0:
                _check_settings(settings, wish)
                await _check_secrets(settings, service)
            if watch:
                await rented.watch(workers, _queue_is_done, _print_outcome)
                open_console().print("the queue is done: every machine of the fleet was given back")
            else:
                outcome = await rented.reconcile(workers)
                _print_outcome(outcome)
                if outcome.missing or outcome.left:
                    raise typer.Exit(1)

        run(job)


def _check_settings(settings: Settings, wish: Wish) -> None:
    """Before anything is rented; who gives back only needs no settings."""
    from lipika.vast.client import settings_fit
    from lipika.vast.secrets import check_places

    settings_fit(wish.settings)
    check_places(settings)
    if settings.provider == "simulator":
        err.print("PROVIDER=simulator: the machines cost money, and the transcripts will be made up")


async def _check_secrets(settings: Settings, service: Vast) -> None:
    from lipika.vast.secrets import missing

    there = await service.secrets()
    lacking = missing(settings, there)
    if lacking:
        raise UsageError(
            f"the vast.ai account has no {', '.join(lacking)}, and a worker needs it: `lipika deploy vast secrets"
            " --yes` puts what is set here into the account, or add it in the console under Environment Variables"
        )


async def _queue_is_done() -> bool:
    """Asks the database of the fleet; held videos do not count."""
    from lipika.config import load_settings
    from lipika.db.stats_queue import QueueStats
    from lipika.services import open_database

    settings = load_settings()
    if settings.database_url is None:
        raise UsageError("--watch asks the queue whether it is done: set DATABASE_URL here, too")
    async with open_database(settings) as database:
        counts = await QueueStats(database).counts()
    return counts.pending + counts.claimed + counts.processing == 0


def _secrets(app: typer.Typer, run: Run) -> None:
    @app.command("secrets")
    def secrets(yes: Yes = False) -> None:
        """Put the secrets that are set here into the account's environment variables: each container gets them.

        They travel in the body of an HTTPS request: no `ps`, no log and no list of instances shows them.
        """

        async def job() -> None:
            from lipika.config import load_settings
            from lipika.vast.client import Vast
            from lipika.vast.secrets import secrets_of, store

            settings = load_settings()
            found = secrets_of(settings)
            if not found:
                raise UsageError(
                    "no secret is set here: DATABASE_URL, GEMINI_API_KEY, ... (or a .env with them)"
                )
            account = Vast.from_settings(settings)
            there = await account.secrets()
            if yes:
                await store(found, there, account)
            for name in found:
                change = "replaces what is there" if name in there else "is new"
                open_console().print(f"{name} {change}", markup=False)
            if not yes:
                open_console().print("A dry run: nothing was written. Add --yes.")

        run(job)


def _looking(app: typer.Typer, run: Run) -> None:
    @app.command("list")
    def list_machines(fleet: FleetName = "lipika", as_json: AsJson = False) -> None:
        """The machines of a fleet, what they cost, and what ails them."""

        async def job() -> Any:
            return await _fleet(fleet).members()

        found = run(job)
        if as_json:
            print_json([asdict(one) for one in found])
        else:
            _print_instances(found)

    @app.command("stop")
    def stop(fleet: FleetName = "lipika", yes: Yes = False) -> None:
        """Give all machines of a fleet back. What was in flight is asked again by whoever takes the videos over."""

        async def job() -> None:
            machines = _fleet(fleet)
            if not yes:
                _print_instances(await machines.members())
                open_console().print("A dry run: nothing was given back. Add --yes.")
                return
            outcome = await machines.stop()
            if outcome.destroyed or not outcome.left:
                numbers = ", ".join(map(str, outcome.destroyed))
                open_console().print(f"given back: {numbers or 'none, there were none'}")
            _print_left(outcome)
            if outcome.left:
                raise typer.Exit(1)

        run(job)


def _fleet(name: str) -> RentedFleet:
    from lipika.config import load_settings
    from lipika.vast.client import Vast, Wish
    from lipika.vast.fleet import RentedFleet

    return RentedFleet(Vast.from_settings(load_settings()), name, Wish(image=""))


# ----------------------------------------------------------------------------- on paper


def _print_plan(plan: FleetPlan, wish: Wish) -> None:
    for instance, reason in plan.destroy:
        open_console().print(f"would give back {instance.label} ({instance.id}): {reason}", markup=False)
    if plan.buy:
        table = Table(
            "label", "offer", "GPU", "$/h", "traffic $/h", "reliability", "Mbit/s", "where", box=None
        )
        for buy in plan.buy:
            offer = buy.offer
            table.add_row(
                buy.label,
                str(offer.id),
                offer.gpu,
                money(offer.usd_hour),
                money(offer.usd_traffic),
                f"{offer.reliability:.3f}",
                f"{offer.down:.0f} / {offer.up:.0f}",
                offer.place,
            )
        open_console().print(table)
    open_console().print(
        f"{len(plan.keep)} stay, {len(plan.destroy)} go, {len(plan.buy)} would be rented:"
        f" {money(plan.usd_hour)} an hour in all, with the traffic of busy workers"
    )
    if plan.short:
        open_console().print(f"No offer for {plan.short} more within: {wish.query()}", markup=False)
    open_console().print("A dry run: nothing was rented or given back. Add --yes.")


def _print_outcome(outcome: FleetOutcome) -> None:
    for reason in outcome.refused:
        open_console().print(f"not to be had: {reason}", markup=False, soft_wrap=True)
    for label, number in outcome.rented.items():
        open_console().print(f"rented {label}: instance {number}")
    for number in outcome.destroyed:
        open_console().print(f"given back: instance {number}")
    _print_left(outcome)
    if outcome.missing:
        open_console().print(
            f"no offer was left for {', '.join(outcome.missing)}: run it again, or ask for less"
        )
    elif not outcome.rented and not outcome.destroyed and not outcome.left:
        open_console().print("nothing to do: the fleet is as wanted")


def _print_left(outcome: FleetOutcome) -> None:
    for number, reason in outcome.left.items():
        open_console().print(
            f"NOT given back, and it costs money: instance {number}: {reason}: run this again, or end it in the"
            " console of vast.ai",
            markup=False,
            soft_wrap=True,
        )


def _print_instances(found: Sequence[Instance]) -> None:
    from lipika.vast.fleet import ailment

    if not found:
        open_console().print("no machines")
        return
    table = Table("label", "instance", "state", "GPU", "$/h", "age", "", box=None)
    for one in found:
        table.add_row(
            one.label,
            str(one.id),
            one.status or "starting",
            one.gpu,
            money(one.usd_hour),
            duration(one.age_s),
            ailment(one),
        )
    open_console().print(table)
    open_console().print(
        f"{len(found)} machines, {money(sum(one.usd_hour for one in found))} an hour without traffic"
    )

"""The cheapest plan for what is left of the queue: ways of asking that a canary found not worse, at both tiers, each
provider with its own limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lipika.config import Settings
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.outlook import OutlookQueries
from lipika.db.reservations import Reservations, Spent, add_up
from lipika.errors import UsageError
from lipika.forecast.budget import Budget
from lipika.forecast.cheapest import (
    CheapestPlan,
    PlanLimits,
    Purse,
    Raise,
    TierOption,
    find_raises,
    find_seconds,
    find_times,
    plan_cheapest,
)
from lipika.forecast.days import MoneySoFar
from lipika.forecast.forecast import PerClip
from lipika.forecast.limits import ALL
from lipika.jobs.asking import (
    FLEX_S,
    LONGEST_FLEX_S,
    LONGEST_STANDARD_S,
    ArmOnRecord,
    AskingWay,
    CostedWay,
    cost_today,
    list_arms,
    mean_of,
)
from lipika.jobs.outlook import ForecastQuestion, workload_left
from lipika.llm.capabilities import load_capabilities

_FLEX_IN_FLIGHT = 15_000
_TRUSTED = ("baseline", "not worse")

SPEND_LIMIT = (
    "Dollars per ten minutes are counted as they are billed, at Flex half; whether Google's own spend limit counts"
    " them so is not known"
)


@dataclass(frozen=True, slots=True)
class CostedOption:
    """One tier of one provider in a plan's way of asking; `metered`: its dollars were, else the price says them."""

    way: AskingWay
    each: PerClip
    latency_s: float
    metered: bool
    basis: str


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One row of the table."""

    way: AskingWay
    clips: float
    usd: float
    begins_s: float
    ends_s: float
    metered: bool
    basis: str


@dataclass(frozen=True, slots=True)
class CheapestAnswer:
    """The plan, the lines of `.env` by provider, and what it would take where no plan meets the deadline."""

    meets_deadline: bool
    hours: float
    clips: float
    usd: float
    seconds: float
    usd_today: float  # asked as it is set now, whatever time that takes
    parts: tuple[PlannedPart, ...]
    env: dict[str, tuple[str, ...]]
    binds: tuple[str, ...]
    raises: tuple[Raise, ...]
    times: float | None
    seconds_as_it_is: float | None
    assumes: tuple[str, ...]


async def find_cheapest(
    database: Database, settings: Settings, question: ForecastQuestion, window_s: float
) -> CheapestAnswer:
    """The plan that meets the deadline at the least cost.

    Raises:
        UsageError: no deadline is named, or nothing is left to do.
    """
    if question.hours is None:
        raise UsageError("--cheapest wants a deadline: --hours 96")
    queries = OutlookQueries(database)
    today = await cost_today(database, settings, question, window_s)
    clips = (await workload_left(queries, question, today.sample)).clips.value
    workers = question.workers or max(await queries.workers(), 1)
    limits = await _read_limits(database, settings, workers, await queries.second_of_day())
    ways = group_ways(settings, today, await list_arms(database))
    seconds = question.hours * 3600
    plans = [(options, plan_cheapest(_tiers(options), clips, seconds, limits)) for options in ways]
    options, best = min(plans, key=lambda pair: _rank(pair[1]))
    return _answer(settings, question.hours, clips, limits, today, options, best)


def _rank(plan: CheapestPlan) -> tuple[bool, float, float]:
    """Plans that meet the deadline first, by cost; the others by clips."""
    return (not plan.meets_deadline, plan.usd if plan.meets_deadline else -plan.clips, plan.usd)


def group_ways(
    settings: Settings, today: CostedWay, arms: Sequence[ArmOnRecord]
) -> list[tuple[CostedOption, ...]]:
    """The ways of asking that may be planned with, each with its providers and tiers.

    No model that nobody measured: the settings' own way, and arms whose latest test found them not worse than a
    baseline that asks as the settings do.
    """
    trusted = {
        today.way: CostedOption(
            today.way, mean_of(today.sample.units), today.sample.latency_s, True, today.sample.source
        )
    }
    if not next(figure for figure in today.figures if figure.name == "dollars").metered:
        trusted[today.way] = replace(trusted[today.way], metered=False)
    judged: set[AskingWay] = set()
    known_runs = {arm.run_id for arm in arms if arm.standing == "baseline" and _alike(arm.way, today.way)}
    for arm in arms:
        if arm.run_id not in known_runs or arm.way in judged:
            continue
        judged.add(arm.way)
        if arm.standing in _TRUSTED and arm.way not in trusted:
            basis = f"canary {arm.run_id}, arm “{arm.name}”"
            trusted[arm.way] = CostedOption(arm.way, arm.per_clip, arm.latency_s, True, basis)
    for option in list(trusted.values()):
        for tier in ("standard", "flex"):
            other = _at_tier(settings, option, tier)
            if other is not None:
                trusted.setdefault(other.way, other)
    groups: dict[AskingWay, list[CostedOption]] = {}
    for option in trusted.values():
        groups.setdefault(replace(option.way, provider="", tier=""), []).append(option)
    return [tuple(group) for group in groups.values()]


def _alike(one: AskingWay, other: AskingWay) -> bool:
    """The tier does not change what a model answers."""
    return replace(one, tier="") == replace(other, tier="")


def _at_tier(settings: Settings, option: CostedOption, tier: str) -> CostedOption | None:
    """The same at another tier, by the price list; None where the provider or the model has no such tier."""
    model = load_capabilities(option.way.model_id or settings.model_id, settings.models_file)
    has_tiers = option.way.provider == "aistudio" or settings.has_openrouter
    if tier == option.way.tier or not has_tiers or model.flex_factor == 1.0:
        return None
    factor = model.flex_factor if tier == "flex" else 1 / model.flex_factor
    each = replace(option.each, usd=option.each.usd * factor)
    basis = f"{option.basis}, and the price list for {'Flex' if tier == 'flex' else 'the standard tier'}"
    return CostedOption(replace(option.way, tier=tier), each, FLEX_S if tier == "flex" else 5.0, False, basis)


def _tiers(options: Sequence[CostedOption]) -> list[TierOption]:
    return [
        TierOption(
            str(number),
            option.way.provider,
            option.each,
            option.latency_s,
            LONGEST_FLEX_S if option.way.tier == "flex" else LONGEST_STANDARD_S,
            _FLEX_IN_FLIGHT,
        )
        for number, option in enumerate(options)
    ]


async def _read_limits(
    database: Database, settings: Settings, workers: int, second_of_day: float
) -> PlanLimits:
    rows = {row.provider: row for row in await Budgets(database).show() if not row.project}
    spent = await Reservations(database).list_spending()

    def purse(name: str, of: Sequence[Spent]) -> Purse:
        so_far = MoneySoFar(sum(row.usd_today for row in of), sum(row.usd_total for row in of), second_of_day)
        return Purse(rows[name].budget if name in rows else Budget(), so_far)

    providers = {"aistudio", "openrouter"} | ({*rows} - {ALL})
    return PlanLimits(
        {name: purse(name, [row for row in spent if row.provider == name]) for name in sorted(providers)},
        purse(ALL, [add_up(spent)]),
        workers,
        settings.worker_batch_size / settings.batch_interval_seconds * 60,
        second_of_day,
    )


def _answer(
    settings: Settings,
    hours: float,
    clips: float,
    limits: PlanLimits,
    today: CostedWay,
    options: Sequence[CostedOption],
    plan: CheapestPlan,
) -> CheapestAnswer:
    tiers, seconds = _tiers(options), hours * 3600
    parts = tuple(
        PlannedPart(
            option.way, part.clips, part.usd, part.begins_s, part.ends_s, option.metered, option.basis
        )
        for part in plan.parts
        for option in [options[int(part.option)]]
    )
    missed = not plan.meets_deadline
    return CheapestAnswer(
        plan.meets_deadline,
        hours,
        clips,
        plan.usd,
        plan.seconds,
        clips * mean_of(today.sample.units).usd,
        parts,
        {provider: _env(settings, parts, provider, hours) for provider in _providers(parts)},
        plan.binds,
        find_raises(tiers, clips, seconds, limits) if missed else (),
        find_times(tiers, clips, seconds, limits) if missed else None,
        find_seconds(tiers, clips, seconds, limits) if missed else None,
        _assumptions(parts),
    )


def _providers(parts: Sequence[PlannedPart]) -> list[str]:
    return list(dict.fromkeys(part.way.provider for part in parts))


def _env(settings: Settings, parts: Sequence[PlannedPart], provider: str, hours: float) -> tuple[str, ...]:
    """The lines of `.env` for workers of that provider, be they set already or not."""
    mine = [part for part in parts if part.way.provider == provider]
    way, flex = mine[0].way, any(part.way.tier == "flex" for part in mine)
    lines = [
        f"PROVIDER={provider}",
        f"MODEL_ID={way.model_id or settings.model_id}",
        f"SERVICE_TIER={'flex' if flex else 'standard'}",
    ]
    if flex:
        finish_by = datetime.now(UTC) + timedelta(hours=hours)  # a duration would begin anew with each worker
        lines.append(f"FINISH_BY={finish_by:%Y-%m-%dT%H:%M}+00:00")
    temperature = "default" if way.temperature is None else f"{way.temperature:g}"
    return (
        *lines,
        f"ANSWER={way.answer}",
        f"THINKING_LEVEL={way.thinking_level}",
        f"TEMPERATURE={temperature}",
    )


def _assumptions(parts: Sequence[PlannedPart]) -> tuple[str, ...]:
    told = [SPEND_LIMIT]
    if any(part.way.tier == "flex" for part in parts):
        told.append(
            f"Flex answers within {LONGEST_FLEX_S / 60:.0f} minutes, {FLEX_S / 60:.0f} in the mean, and sheds nothing"
        )
    if len(_providers(parts)) > 1:
        told.append("Each provider has workers of its own, by its lines")
    return tuple(told)

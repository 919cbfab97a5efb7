"""The forecast of a queue's end and cost, from a running fleet's own figures, or from the last canary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from lipika.config import Settings
from lipika.db.budgets import Budgets
from lipika.db.canary import Canaries, CanarySample
from lipika.db.connection import Database
from lipika.db.outlook import BatchSums, OutlookQueries
from lipika.db.reservations import Reservations, Spent, add_up
from lipika.errors import UsageError
from lipika.forecast.budget import Budget
from lipika.forecast.days import MoneySoFar
from lipika.forecast.forecast import Crew, Forecast, Needed, Unit, find_needed, forecast
from lipika.forecast.limits import ALL
from lipika.forecast.shares import Estimate
from lipika.forecast.together import HeldBudget, hold_within
from lipika.forecast.workload import Counted, Remaining, Workload, workload
from lipika.models import JsonObject
from lipika.wording import duration, percent

_FEWEST_CLIPS = 200
"""With fewer answers a fleet's own figures say less than a canary."""


@dataclass(frozen=True, slots=True)
class MeasuredSample:
    """A measured sample: by whom, in words; the units; archives whose clips are known; whether it was made up."""

    source: str
    units: tuple[Unit, ...]
    counted: tuple[Counted, ...]
    latency_s: float
    simulated: bool = False
    went_up: float | None = None  # share of the clips, where a cascade was asked


@dataclass(frozen=True, slots=True)
class ForecastQuestion:
    """The question that a person asks of the forecast. None: as it is."""

    provider: str
    clips: float | None = None  # left in the queue
    workers: int | None = None
    hours: float | None = None  # to finish in


@dataclass(frozen=True, slots=True)
class Prediction:
    """A forecast with where it comes from; `simulated`: from made-up answers.

    `pace_*` is how it goes just now, whatever the limits are; `held_by_all` are the limits that are those over all
    providers.
    """

    source: str
    provider: str
    forecast: Forecast
    needed: Needed | None
    pace_clips_per_minute: float
    pace_seconds: float | None
    simulated: bool = False
    held_by_all: tuple[str, ...] = ()


async def look_ahead(
    database: Database, settings: Settings, question: ForecastQuestion, window_s: float
) -> Prediction:
    """The forecast for what is left of the queue.

    Raises:
        UsageError: nothing has been measured, or nothing is left to do.
    """
    sample = _say_cascade(await find_sample(database, question.provider, window_s), settings)
    return await outlook(database, settings, question, sample)


def _say_cascade(sample: MeasuredSample, settings: Settings) -> MeasuredSample:
    """The sample with a word on the share that goes up in a cascade: its requests and dollars hold it already."""
    if sample.went_up is not None:
        told = f"{percent(sample.went_up)} of them gone up in a cascade"
    elif settings.cascade:
        told = (
            f"none of them of CASCADE={settings.cascade}, whose share that goes up is not known:"
            " lipika canary measures it"
        )
    else:
        return sample
    return replace(sample, source=f"{sample.source}, {told}")


async def outlook(
    database: Database, settings: Settings, question: ForecastQuestion, sample: MeasuredSample
) -> Prediction:
    """As `look_ahead`, from this sample."""
    queries = OutlookQueries(database)
    left = await workload_left(queries, question, sample)
    units = _weigh_by_language(sample.units, left)
    crew = Crew(
        workers=question.workers or max(await queries.workers(), 1),
        clips_per_minute=settings.worker_batch_size / settings.batch_interval_seconds * 60,
        max_in_flight=settings.max_in_flight,
        latency_s=sample.latency_s,
        window_s=settings.batch_interval_seconds,
    )
    held = await money_held(database, question.provider, await queries.second_of_day())
    told = forecast(units, left.clips, held.budget, crew, held.so_far)
    pace = await queries.pace()
    return Prediction(
        source=f"SIMULATED answers: {sample.source}" if sample.simulated else sample.source,
        provider=question.provider,
        forecast=told,
        needed=find_needed(told.clips.value, told.per_clip, crew, question.hours) if question.hours else None,
        pace_clips_per_minute=pace.clips_per_s * 60,
        pace_seconds=told.clips.value / pace.clips_per_s if pace.clips_per_s else None,
        simulated=sample.simulated,
        held_by_all=tuple(sorted(held.by_all)),
    )


def sample_to_json(sample: MeasuredSample) -> JsonObject:
    """A sample as it is kept with a canary's report."""
    value: JsonObject = _SAMPLE.dump_python(sample, mode="json")
    return value


_SAMPLE: TypeAdapter[MeasuredSample] = TypeAdapter(MeasuredSample)


async def find_sample(database: Database, provider: str, window_s: float) -> MeasuredSample:
    """The fleet's own figures with this provider where there are enough, else the last canary's; what was made up
    only where nothing else is known.
    """
    queries = OutlookQueries(database)
    finished = await queries.list_finished()
    canary = await Canaries(database).latest()
    real = None if canary is None or canary.simulated else canary
    batches = await queries.batches(window_s, (provider, "mixed"))
    if _tells(batches, real):
        return _sample_of_batches(batches, finished, window_s)
    rehearsed = [] if real else await queries.batches(window_s, ("simulator",))
    if _tells(rehearsed, canary):
        return replace(_sample_of_batches(rehearsed, finished, window_s), simulated=True)
    if canary is None:
        raise UsageError(
            "nothing has been measured yet: run `lipika canary`, or let workers answer some clips"
        )
    sample = _SAMPLE.validate_python(canary.sample)
    clips = sum(batch.clips for batch in batches)
    few = f"; the fleet has {clips:,} of {_FEWEST_CLIPS} answers that say more" if clips else ""
    return replace(
        sample,
        source=sample.source + few,
        counted=(*sample.counted, *finished),
        simulated=canary.simulated,
    )


def _tells(batches: Sequence[BatchSums], canary: CanarySample | None) -> bool:
    """True if a fleet's figures are to be preferred to this canary's."""
    clips = sum(batch.clips for batch in batches)
    return clips >= _FEWEST_CLIPS or (clips > 0 and canary is None)


def _sample_of_batches(
    batches: Sequence[BatchSums], finished: Sequence[Counted], window_s: float
) -> MeasuredSample:
    requests = sum(batch.requests for batch in batches)
    clips = sum(batch.clips for batch in batches)
    went_up = sum(batch.went_up for batch in batches)
    return MeasuredSample(
        source=f"{clips:,} answers in {len(batches):,} batch windows of the last {duration(window_s)}",
        units=tuple(
            Unit(batch.clips, batch.requests, batch.prompt_tokens, batch.output_tokens, batch.cost_usd)
            for batch in batches
        ),
        counted=tuple(finished),
        latency_s=sum(batch.avg_latency_ms * batch.requests for batch in batches) / requests / 1000,
        went_up=went_up / max(clips, 1) if went_up else None,
    )


async def workload_left(
    queries: OutlookQueries, question: ForecastQuestion, sample: MeasuredSample
) -> Workload:
    """The clips that are asked about.

    Raises:
        UsageError: nothing is left to do, or nobody knows how much.
    """
    remaining: Sequence[Remaining] = await queries.remaining()
    known = workload(sample.counted, remaining) if sample.counted and remaining else None
    if question.clips is not None:
        return Workload(Estimate.exact(question.clips), known.by_language if known else {})
    if not remaining:
        raise UsageError("the queue has nothing left to do: fill it (lipika queue add), or say --clips")
    if known is None:
        raise UsageError(
            "no video is done yet, so its clips are not known: run `lipika canary`, or say --clips"
        )
    return known


def _weigh_by_language(units: Sequence[Unit], left: Workload) -> list[Unit]:
    """Each language counts as much as it has clips left; languages that are not left count for nothing."""
    mix = left.by_language
    sampled: dict[str, float] = {}
    for unit in units:
        sampled[unit.stratum] = sampled.get(unit.stratum, 0.0) + unit.clips
    if not any(mix.get(stratum) for stratum in sampled):
        return list(units)
    return [
        Unit(
            unit.clips,
            unit.requests,
            unit.prompt_tokens,
            unit.output_tokens,
            unit.usd,
            unit.stratum,
            mix.get(unit.stratum, 0.0) / sampled[unit.stratum],
        )
        for unit in units
        if mix.get(unit.stratum)
    ]


async def money_held(database: Database, provider: str, second_of_day: float) -> HeldBudget:
    """The provider's budget within the one over all, and what has been spent of both."""
    rows = {row.provider: row for row in await Budgets(database).show() if not row.project}
    spent = await Reservations(database).list_spending()

    def so_far(of: Sequence[Spent]) -> MoneySoFar:
        return MoneySoFar(sum(row.usd_today for row in of), sum(row.usd_total for row in of), second_of_day)

    def limits(name: str) -> Budget:
        return replace(rows[name].budget, paused=False) if name in rows else Budget()

    own = [row for row in spent if row.provider == provider]
    return hold_within(limits(provider), so_far(own), limits(ALL), so_far([add_up(spent)]))

"""Clips, dollars and time to be expected of archives before any of them is read, and which caps hold.

Guesses by size and price: `lipika forecast` and a canary measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipika.config import Settings
from lipika.db.budgets import BudgetRow, Budgets
from lipika.db.connection import Database
from lipika.db.outlook import OutlookQueries
from lipika.db.reservations import Reservations, Spent, add_up
from lipika.db.stats_spend import SpendStats
from lipika.forecast.budget import SAFETY
from lipika.forecast.limits import ALL
from lipika.llm.assumed import assume_usage
from lipika.llm.capabilities import load_capabilities
from lipika.models import AnswerForm, ServiceTier
from lipika.wording import duration, money, percent

_BYTES_A_CLIP = 125_000
"""8 s of speech at 16 kHz as FLAC."""
_FEWEST_CLIPS = 200
"""With fewer the archives of before say less than a guess."""
_SHARE_OF_DAYS = 7
_ASSUMED_TO_GO_UP = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """Archives by number and size: those `sized` hold so many bytes, the others are taken to be like them."""

    archives: int
    sized: int
    source_bytes: int

    @classmethod
    def from_sizes(cls, sizes: Iterable[int | None]) -> Load:
        every = list(sizes)
        known = [size for size in every if size is not None]
        return cls(len(every), len(known), sum(known))


@dataclass(frozen=True, slots=True)
class Expectation:
    """Before the first request. None: nobody can say."""

    archives: int
    clips: int | None  # to be asked for
    answered: int  # clips whose answers are stored
    usd: float | None
    seconds: float | None
    basis: str
    caps: tuple[str, ...]

    def __str__(self) -> str:
        archives = f"{self.archives:,} archive{'' if self.archives == 1 else 's'}"
        caps = f"caps: {', '.join(self.caps)}" if self.caps else "no cap holds (--max-usd, lipika budget set)"
        if self.clips is None or self.usd is None or self.seconds is None:
            return f"{archives} of unknown size; {caps}"
        kept = f" beside {self.answered:,} that are answered" if self.answered else ""
        return (
            f"{archives}, about {self.clips:,} clips to ask for{kept}: about {money(self.usd)} and"
            f" {duration(self.seconds)} ({self.basis}); {caps}"
        )


async def expect(
    settings: Settings,
    database: Database,
    load: Load,
    *,
    answered: int = 0,
    max_usd: float | None = None,
    workers: int = 1,
) -> Expectation:
    """The expectation for archives, of which so many clips have been answered; `workers` share the work."""
    finished = [row for row in await OutlookQueries(database).list_finished() if row.source_bytes]
    clips_before, bytes_before = (
        sum(row.clips for row in finished),
        sum(row.source_bytes or 0 for row in finished),
    )
    measured = clips_before >= _FEWEST_CLIPS
    each = bytes_before / clips_before if measured else _BYTES_A_CLIP
    budgets = await Budgets(database).show()
    caps = await find_caps(settings, database, max_usd)
    if load.archives and not load.sized:
        return Expectation(load.archives, None, answered, None, None, "", caps)
    whole = load.source_bytes / max(load.sized, 1) * load.archives
    clips = max(round(whole / each) - answered, 0)
    share = await _share_gone_up(settings, database)
    usd_each = _usd_a_clip(settings, share)
    return Expectation(
        archives=load.archives,
        clips=clips,
        answered=answered,
        usd=clips * usd_each,
        seconds=60 * clips / _clips_a_minute(settings, budgets, usd_each, workers),
        basis=f"{each / 1000:,.0f} kB a clip{' as before' if measured else ''}, {_list_models(settings, share)}",
        caps=caps,
    )


async def find_caps(settings: Settings, database: Database, max_usd: float | None) -> tuple[str, ...]:
    """The caps on dollars that hold, in words, with what is spent under each."""
    rows = await Reservations(database).list_spending()
    spent = {row.provider: row for row in (*rows, add_up(rows))}
    return _list_caps(await Budgets(database).show(), spent, settings.provider, max_usd)


async def _share_gone_up(settings: Settings, database: Database) -> float:
    """The share of the clips that go up from a model of a cascade: as metered in the last days, else as assumed."""
    if not settings.cascade:
        return 0.0
    metered = {row.model_id: row for row in await SpendStats(database).models(_SHARE_OF_DAYS)}
    first = metered.get(settings.models[0])
    if first is None or first.answers < _FEWEST_CLIPS:
        return _ASSUMED_TO_GO_UP
    return first.went_up / first.answers


def _list_models(settings: Settings, share: float) -> str:
    if not settings.cascade:
        return f"{settings.model_id} by its prices"
    return f"{', then '.join(settings.models)} by their prices, as if {percent(share)} of the clips went up from each"


def _usd_a_clip(settings: Settings, share: float) -> float:
    tier = ServiceTier(settings.service_tier)
    if settings.provider == "simulator":
        tier = ServiceTier.STANDARD
    usd = 0.0
    for step, name in enumerate(settings.models):
        model = load_capabilities(name, settings.models_file)
        usage = assume_usage(AnswerForm(settings.answer), settings.thinking_level, model)
        usd += model.cost_usd(usage, tier) * share**step
    return usd


def _prompt_tokens(settings: Settings) -> int:
    model = load_capabilities(settings.model_id, settings.models_file)
    return assume_usage(AnswerForm(settings.answer), settings.thinking_level, model).prompt


def _clips_a_minute(settings: Settings, budgets: Sequence[BudgetRow], usd_each: float, workers: int) -> float:
    rates = [max(workers, 1) * settings.worker_batch_size / settings.batch_interval_seconds * 60]
    for row in budgets:
        if row.provider in (settings.provider, ALL):
            tokens = _prompt_tokens(settings)
            rates += [SAFETY * row.requests_per_minute] if row.requests_per_minute else []
            rates += [SAFETY * row.tokens_per_minute / tokens] if row.tokens_per_minute else []
            rates += (
                [SAFETY * row.spend_10min_usd / 10 / usd_each] if row.spend_10min_usd and usd_each else []
            )
    return min(rates)


def _list_caps(
    budgets: Sequence[BudgetRow], spent: dict[str, Spent], provider: str, max_usd: float | None
) -> tuple[str, ...]:
    caps = [f"{money(max_usd)} for this run"] if max_usd is not None else []
    for row in budgets:
        if row.provider not in (provider, ALL):
            continue
        made_up = (
            provider == "simulator"
        )  # whose dollars are held against the cap over all apart from real ones
        so_far = spent.get(provider if made_up else row.provider)
        whose = "over all providers" if row.provider == ALL else f"of {row.provider}"
        for cap, used, span in (
            (row.spend_day_usd, so_far.usd_today if so_far else 0.0, "a day"),
            (row.spend_total_usd, so_far.usd_total if so_far else 0.0, "in all"),
        ):
            if cap is not None:
                caps.append(f"{money(cap)} {span} {whose} ({money(used)} spent)")
    return tuple(caps)

"""The fleet in one answer: what `lipika status` shows, and as what."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lipika.db.calibrations import CalibrationRow, Calibrations, calibration_line
from lipika.db.connection import Database
from lipika.db.errors import ErrorQueries, ErrorRow
from lipika.db.flags import FlagQueries, count_left_out
from lipika.db.queue_counts import QueueCounts
from lipika.db.stats_fleet import FleetNow, FleetStats, ProviderNow, WorkerRow
from lipika.db.stats_quality import QualityStats, TierCount
from lipika.db.stats_queue import HeldVideos, LanguageProgress, QueuePace, QueueStats
from lipika.db.stats_spend import MeteredAnswers, ModelSpend, SpendStats
from lipika.forecast.limits import ALL, LIMITS, Limit
from lipika.models import Agreement, AnswerForm, Tier
from lipika.wording import duration, latency, money, percent

_LAST_ERRORS = 10
_ANY_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One moment of the fleet. Dollars are US dollars; a None is not known yet."""

    at: datetime
    queue: QueueCounts
    languages: Sequence[LanguageProgress]
    fleet: FleetNow
    workers: Sequence[WorkerRow]
    held: Sequence[HeldVideos]
    outlook: QueuePace
    clips_per_minute: float  # over the last minutes
    eta_s: float | None
    eta_basis: str
    usd_total: float
    usd_production: float  # of the total: for clips of the queue, without canaries
    usd_simulated: float  # of the total: of made-up answers, which nobody charges
    usd_rehearsed: float  # of these: for clips of the queue
    usd_canary: float  # of the total: of canaries, which no clip of the queue has cost
    usd_opinions: float  # of the total: of second opinions
    usd_flex: float  # of the total: billed at Flex
    models: Sequence[ModelSpend]  # of cascades, each model's part
    usd_per_clip: float | None
    usd_projected: float | None
    requests_in_flight: int
    usd_in_flight: float | None  # about what a kill of all workers would have asked, and paid for, again
    tiers: Sequence[TierCount]  # clips that were weighed against other voters
    not_asked: int  # clips in which nothing can be speech
    metered: Sequence[MeteredAnswers]  # tokens and characters of answers
    open_flags: int
    videos_empty: int  # done, and nothing is left of them
    left_out: Mapping[str, int]  # audio that went no further, by reason
    errors: Sequence[ErrorRow]
    calibration: CalibrationRow | None  # of the rate limits; None: the registry's are in force


async def read_status(database: Database) -> StatusReport:
    """Ask everything at once."""
    of_queue, of_fleet = QueueStats(database), FleetStats(database)
    queue, languages, fleet, workers, tiers, not_asked = await asyncio.gather(
        of_queue.counts(),
        of_queue.languages(),
        of_fleet.now(),
        of_fleet.workers(),
        QualityStats(database).tiers(),
        QualityStats(database).not_asked(),
    )
    outlook, spend, flags, empty, errors, calibration = await asyncio.gather(
        of_queue.outlook(),
        SpendStats(database).summary(),
        FlagQueries(database).counts(),
        of_queue.nothing_left(),
        ErrorQueries(database).page(limit=_LAST_ERRORS),
        Calibrations(database).newest_for_people(),
    )
    each = spend.usd_per_clip
    in_flight = sum(row.requests_in_flight for row in workers if row.state in {"live", "draining"})
    return StatusReport(
        at=datetime.now(UTC),
        queue=queue,
        languages=languages,
        fleet=fleet,
        workers=workers,
        held=await of_queue.count_held(),
        outlook=outlook,
        clips_per_minute=outlook.clips_per_minute,
        eta_s=outlook.eta_s,
        eta_basis=outlook.basis,
        usd_total=spend.usd_total,
        usd_production=spend.usd_production,
        usd_simulated=spend.usd_simulated,
        usd_rehearsed=spend.usd_rehearsed,
        usd_canary=spend.usd_canary,
        usd_opinions=spend.usd_opinions,
        usd_flex=spend.usd_flex,
        models=await SpendStats(database).models(),
        usd_per_clip=each,
        usd_projected=spend.projected_usd(outlook.clips_left),
        requests_in_flight=in_flight,
        usd_in_flight=None if each is None else in_flight * each,
        tiers=tiers,
        not_asked=not_asked,
        metered=await SpendStats(database).metered_answers(),
        open_flags=sum(count.open for count in flags),
        videos_empty=empty,
        left_out=count_left_out(flags),
        errors=errors,
        calibration=calibration,
    )


def status_document(report: StatusReport) -> dict[str, object]:
    """The report for machines: its fields, and of each provider what binds and how much of each limit is used."""

    def describe(row: ProviderNow) -> dict[str, object]:
        return {**asdict(row), "binds": row.binds, "used": row.used, "cache_rate": row.cache_rate}

    fleet = report.fleet
    providers = [describe(row) for row in fleet.providers]
    overall = describe(fleet.overall) if fleet.overall else None
    fields_ = {field.name: getattr(report, field.name) for field in fields(report)}
    limits = report.calibration and report.calibration.document()
    return {
        **fields_,
        "fleet": {**asdict(fleet), "providers": providers, "overall": overall},
        "calibration": limits,
        "metered": [_metered_document(row) for row in report.metered],
    }


def _metered_document(row: MeteredAnswers) -> dict[str, object]:
    means = {name: round(value, 2) for name, value in asdict(row.mean).items()}
    each = {"tokens_per_character": round(row.tokens_per_character, 4), "mean": means}
    return {**asdict(row), "answer": AnswerForm.from_schema(row.schema_version), **each}


# ----------------------------------------------------------------------------- as a person reads it


def render_status(report: StatusReport) -> RenderableType:
    """The report for a terminal."""
    parts: list[RenderableType] = [Text("\n".join(_lines(report)))]
    if report.fleet.budgets:
        parts.append(FittingTable(budgets_table(report.fleet.budgets)))
    parts.append(
        FittingTable(workers_table(report.workers))
        if report.workers
        else Text("Workers: none in the last hour")
    )
    if report.workers:
        parts.append(alignment_of(report.workers))
    parts += [Text(error_line(row, report.at)) for row in report.errors]
    return Group(*parts)


class FittingTable:
    """A table as it is where the screen is wide enough for all of it, else a paragraph for each row."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if (
            Measurement.get(console, options.update(max_width=_ANY_WIDTH), self._table).maximum
            <= options.max_width
        ):
            yield self._table
        else:
            yield from self._paragraphs()

    def _paragraphs(self) -> Iterator[RenderableType]:
        first, *others = self._table.columns
        rows = zip(*(column.cells for column in others), strict=True)
        for name, cells in zip(first.cells, rows, strict=True):
            told = [_pair(str(column.header), str(cell)) for column, cell in zip(others, cells, strict=True)]
            yield Text(f"{first.header} {name}", style="bold")
            yield Padding(Columns([Text(pair) for pair in told if pair], padding=(0, 3)), (0, 0, 0, 2))


def _lines(report: StatusReport) -> list[str]:
    counts, totals, fleet = report.queue, report.fleet.totals, report.fleet
    at_work = counts.claimed + counts.processing
    ready = f"Ready in {duration(report.eta_s)}" if report.eta_s else "Ready"
    each, in_the_end = money(report.usd_per_clip), money(report.usd_projected)
    rehearsed = report.usd_rehearsed
    made_up = f" ({money(rehearsed)} of it SIMULATED: not charged)" if rehearsed else ""
    opinions = f" ({money(report.usd_opinions)} of it for second opinions)" if report.usd_opinions else ""
    flex = f" ({money(report.usd_flex)} of it at Flex)" if report.usd_flex else ""
    spent = f"{money(report.usd_production)}{made_up}{opinions}{flex}"
    lines = [
        f"Queue: {counts.pending:,} pending, {counts.held:,} held, {at_work:,} at work, {counts.done:,} done",
        f"Fleet: {totals.live:,} live, {totals.draining:,} draining, {totals.stale:,} stale",
        f"{ready}: {report.eta_basis}",
        f"Spent: {spent}, {each} a clip, {in_the_end} in the end at that rate",
    ]
    if report.requests_in_flight:
        lines.append(
            f"In flight: {report.requests_in_flight:,} requests, about {money(report.usd_in_flight)}: what is lost"
            " where workers are killed and not drained"
        )
    lines += _canaries_and_held(report)
    lines[0] += f", {counts.failed:,} failed"
    lines[1] += f"; {report.clips_per_minute:,.0f} clips/min"
    if fleet.latency_p50_ms is not None:
        lines.append(
            f"Latency: {latency(fleet.latency_p50_ms)} in the median, 95 % under"
            f" {latency(fleet.latency_p95_ms)}"
        )
    if refused := [failure for failure in fleet.failures if failure.is_429]:
        told = ", ".join(f"{failure.kind} {failure.last_minute:,} ({failure.total:,})" for failure in refused)
        lines.append(f"429s in the last minute (in all): {told}")
    if report.tiers:
        lines.append(f"Tiers: {_list_tiers(report.tiers)}")
    if report.models:
        lines.append(f"Cascade: {_list_models(report.models)}")
    if report.not_asked:
        lines.append(f"Not asked: {report.not_asked:,} clips in which nothing can be speech (ASK_SILENCE)")
    if report.metered:
        lines.append(f"Answers as metered: {_describe_metered(report.metered)}")
    if report.left_out:
        told = ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items())
        lines.append(f"Left out: {told} (lipika flags --type discard:REASON)")
    lines.append(calibration_line(report.calibration))
    if report.videos_empty:
        lines.append(f"Nothing is left of {report.videos_empty:,} done videos: the board lists them")
    if report.open_flags:
        lines.append(f"Flags: {report.open_flags:,} open (lipika flags)")
    return lines


def _canaries_and_held(report: StatusReport) -> list[str]:
    lines = []
    if report.usd_canary:
        simulated = report.usd_simulated - report.usd_rehearsed
        of_it = f" ({money(simulated)} of it SIMULATED: not charged)" if simulated > 1e-9 else ""
        lines.append(f"Canaries: {money(report.usd_canary)}{of_it}, apart from that; caps count them too")
    if report.held:
        lines.append(f"Held: {describe_held(report.held)}")
    return lines


def describe_held(held: Sequence[HeldVideos]) -> str:
    """The number of videos that are held, with why and how they are let go."""
    return "; ".join(f"{one.videos:,} {one.why} ({one.way_out})" for one in held)


def _list_models(models: Sequence[ModelSpend]) -> str:
    """Each model of a cascade, the share that goes up from it, and its dollars."""
    return "; ".join(
        f"{row.model_id} {row.answers:,} answers, {money(row.usd)}"
        + (f", {row.went_up:,} ({percent(row.went_up / max(row.answers, 1))}) went up" if row.went_up else "")
        for row in models
    )


def _list_tiers(counts: Sequence[TierCount]) -> str:
    """All languages together, then each, the one with the most clips first."""
    by_language: dict[str, Counter[str]] = defaultdict(Counter)
    for row in counts:
        by_language[row.language][row.tier] += row.clips
    whole = sum(by_language.values(), Counter[str]())
    each = sorted(by_language.items(), key=lambda item: (-item[1].total(), item[0]))
    told = "; ".join(f"{language} {'/'.join(f'{of[tier]:,}' for tier in Tier)}" for language, of in each)
    return f"{', '.join(f'{whole[tier]:,} {tier}' for tier in Tier)} ({told})"


def _describe_metered(rows: Sequence[MeteredAnswers]) -> str:
    """The commonest way of asking, by language; the others are in the document. What was made up only if all was."""
    real = [row for row in rows if not row.made_up] or rows
    first = real[0]
    form = AnswerForm.from_schema(first.schema_version)
    same = [row for row in real if row.way == first.way]
    each = ", ".join(f"{row.language} {row.tokens_per_character:.2f}" for row in same)
    thoughts = sum(row.thought_tokens for row in same) / sum(row.answers for row in same)
    made_up = ", SIMULATED" if first.made_up else ""
    return (
        f"{each} tokens a character ({first.model_id}, {form or first.schema_version} answers{made_up});"
        f" {thoughts:,.0f} thought tokens a clip at {first.thinking_level or 'no level'}"
    )


def budgets_table(providers: Sequence[ProviderNow]) -> Table:
    """Use against limit of each provider, and what binds."""
    table = Table("provider", *(limit.use_head for limit in LIMITS), "cached", "binds")
    for row in providers:
        table.add_row(
            row.provider,
            *(_write_use(row, limit) for limit in LIMITS),
            percent(row.cache_rate),
            f"PAUSED: {row.pause_reason}" if row.paused else row.binds,
        )
    return table


def _write_use(row: ProviderNow, limit: Limit) -> str:
    if row.provider == ALL and limit.whole:
        return "-"  # each provider's own
    return _beside_limit(limit, row.in_use[limit.name], getattr(row, limit.column))


def workers_table(workers: Sequence[WorkerRow]) -> Table:
    table = Table(
        *(
            "worker",
            "state",
            "seen",
            "provider",
            "videos",
            "RPM",
            "TPM",
            "in flight",
            "clips/min",
            "sent",
            "429s",
        ),
        *("$", "waits for"),
    )
    for row in workers:
        table.add_row(
            row.worker_id,
            row.state,
            f"{duration(max(row.silent_s, 0))} ago",
            row.provider,
            f"{row.videos:,}",
            f"{row.active_rpm:,}",
            f"{row.active_tpm:,}",
            f"{row.requests_in_flight:,}",
            f"{row.active_clips:,}",
            f"{row.total_segments_sent:,}",
            f"{row.total_segments_429:,}",
            money(row.spend_usd),
            row.limited_by or "",
        )
    return table


def alignment_of(workers: Sequence[WorkerRow]) -> RenderableType:
    """The state of the comparison with a second recogniser, of those workers that make it."""
    heard = [(row.worker_id, row.listening) for row in workers if row.alignment is not None]
    if not heard:
        return Text("Alignment: off")
    table = Table("worker", "alignment", "compared", *(agreement.value for agreement in Agreement), "late")
    for worker_id, listening in heard:
        shares = listening.shares
        table.add_row(
            Text(worker_id),
            Text(listening.words),
            f"{listening.compared:,}",
            *(percent(shares[agreement]) if shares else "" for agreement in Agreement),
            f"{listening.late:,}",
        )
    return table


def _pair(header: str, cell: str) -> str:
    """A cell with its header; nothing where it is empty."""
    return cell if header == "$" or not cell else f"{header} {cell}"


def error_line(row: ErrorRow, now: datetime | None = None) -> str:
    """An error with its age: the last one may be of last week."""
    age = duration(max(((now or datetime.now(UTC)) - row.occurred_at).total_seconds(), 0))
    video = f" {row.video_id}" if row.video_id else ""
    when = f"{row.occurred_at:%m-%d %H:%M:%S} ({age} ago)"
    return f"{when}  {row.worker_id}{video}  {row.exception_type}: {row.message}"


def _beside_limit(limit: Limit, used: float, most: float | None) -> str:
    write = "{:,}".format if limit.whole else money
    return write(used) if most is None else f"{write(used)} of {write(most)}"

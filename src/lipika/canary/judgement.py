"""Go or no-go: one table of criteria over the measures, each with its figure, its limit and its reason. Pure.

A criterion fails when the whole interval is beyond its limit, and warns when only the figure is: a sample must be
sure before it stops a fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lipika.canary.arms import Arm, ArmKind, Skipped
from lipika.canary.measures import Against, ArmMeasures, Measures
from lipika.canary.records import CanaryRun
from lipika.forecast.forecast import LIMIT_WORDS, Forecast
from lipika.forecast.shares import Estimate
from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.wording import duration, latency, money, number, percent

_BUSY_MS = 100
"""So late in what is done by the clock, in one case of twenty, a machine adds to what it measures."""


class Mark(StrEnum):
    GO = "go"
    WARN = "warn"
    NO_GO = "no-go"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the table. `way_out` is empty where there is nothing to do."""

    name: str
    mark: Mark
    figure: str
    limit: str
    reason: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class GoLimits:
    """The limits between go, warning and no-go. Shares are 0..1; docs/canary.md says why they are where they are."""

    ended_well_at_least: float = 0.97
    looped_at_most: float = 0.02
    asr_at_least: float = 0.70
    asr_of_a_language_at_least: float = 0.50
    rate_limited_at_most: float = 0.10
    cer_at_most: float = 0.25
    usd_at_most: float | None = None  # for the whole queue
    hours_at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The table and what it comes to."""

    mark: Mark
    criteria: tuple[Criterion, ...]

    @property
    def words(self) -> str:
        against = sum(one.mark is Mark.NO_GO for one in self.criteria)
        warnings = sum(one.mark is Mark.WARN for one in self.criteria)
        if self.mark is Mark.NO_GO:
            return (
                f"No-go: {against} of {len(self.criteria)} criteria {'is' if against == 1 else 'are'} not met"
            )
        if warnings:
            return f"Go, with {warnings} warning{'s' if warnings > 1 else ''}"
        return "Go: every criterion is met"


def judge(
    run: CanaryRun,
    measures: Measures,
    skipped: Sequence[Skipped],
    outlook: Forecast | None,
    limits: GoLimits,
    cache_reason: str | None,
) -> Judgement:
    """The whole table. `cache_reason` is why no cache hits are expected; None: they are."""
    baseline = next((arm for arm in measures.arms if arm.arm.kind is ArmKind.BASELINE), None)
    criteria = [*_judge_run(run, baseline)]
    if baseline is not None:
        criteria += [
            *_judge_answers(baseline, measures, limits),
            *_judge_temperature(baseline, measures),
            _judge_cache(baseline, cache_reason),
            _judge_version(baseline),
        ]
    criteria += [*_judge_other_provider(measures, skipped, limits), *_judge_queue(outlook, limits)]
    marks = {one.mark for one in criteria}
    mark = Mark.NO_GO if Mark.NO_GO in marks else Mark.WARN if Mark.WARN in marks else Mark.GO
    return Judgement(mark, tuple(criteria))


# ----------------------------------------------------------------------------- the run itself


def _judge_run(run: CanaryRun, baseline: ArmMeasures | None) -> Iterator[Criterion]:
    asked = baseline.clips if baseline else 0
    reason = run.ended_early or "; ".join(f"{one.arm}: {one.reason}" for one in run.stopped)
    complete = asked >= run.clips_wanted and not reason
    mark = Mark.GO if complete else Mark.WARN if asked else Mark.NO_GO
    way_out = "see the reason; then run the canary again" if reason else "put more archives into the queue"
    silence = f"; {run.not_asked:,} more are silence, and cost nothing" if run.not_asked else ""
    yield Criterion(
        "sample",
        mark,
        f"{asked:,} clips",
        f"{run.clips_wanted:,}",
        (reason or ("every clip was asked" if mark is Mark.GO else "there were no more clips")) + silence,
        "" if mark is Mark.GO else way_out,
    )
    busy = run.lag_ms > _BUSY_MS
    yield Criterion(
        "this machine",
        Mark.WARN if busy else Mark.GO,
        f"{latency(run.lag_ms)} late",
        f"at most {latency(_BUSY_MS)}",
        "it was too busy: latencies are longer than the service's" if busy else "it kept up",
        "run the canary on a quiet machine" if busy else "",
    )
    there = {one.language for one in run.asked}
    missing = [LANGUAGES[code].name for code in FIRST_CLASS if code not in there]
    yield Criterion(
        "languages",
        Mark.WARN if missing else Mark.GO,
        f"{len(there)} of {len(FIRST_CLASS)}",
        "all",
        f"nothing is known of {', '.join(missing)}" if missing else "clips of every language were asked",
        "fine if the queue has none of them" if missing else "",
    )
    yield _judge_hints(run)


def _judge_hints(run: CanaryRun) -> Criterion:
    """A wrong hint closes the lanes of everything it is given to: one is enough to look at the list first."""
    wrong = [one for one in run.videos if one.says]
    named = ", ".join(
        f"{one.video_id} ({one.language} by its row, {one.says} by itself)" for one in wrong[:3]
    )
    return Criterion(
        "language hints",
        Mark.NO_GO if wrong else Mark.GO,
        f"{len(wrong):,} of {len(run.videos):,} archives",
        "none",
        f"row and archive name two languages: {named}" if wrong else "no archive contradicts its row",
        "mend the rows: lipika queue language archive VIDEO ..., or say which holds: --force-language"
        if wrong
        else "",
    )


# ----------------------------------------------------------------------------- answers


def _judge_answers(arm: ArmMeasures, measures: Measures, limits: GoLimits) -> Iterator[Criterion]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in list(arm.failure_kinds.items())[:4])
    yield Criterion(
        "clips that end well",
        at_least(arm.ended_well, limits.ended_well_at_least),
        percent_range(arm.ended_well),
        f"at least {percent(limits.ended_well_at_least)}",
        f"failed attempts: {kinds}" if kinds else "no attempt failed but for quota",
        _unless(
            at_least(arm.ended_well, limits.ended_well_at_least), "docs/operations.md: failures, by kind"
        ),
    )
    loops = at_most(arm.looped, limits.looped_at_most)
    yield Criterion(
        "looping",
        loops,
        percent_range(arm.looped),
        f"at most {percent(limits.looped_at_most)}",
        f"first answers that go round in circles; {arm.cut} of them up to their cap",
        _unless(loops, "set TEMPERATURE=default, or another MODEL_ID"),
    )
    asr = at_least(arm.asr, limits.asr_at_least)
    worst = ", ".join(f"{code} {count}" for code, count in list(arm.findings.items())[:4])
    yield Criterion(
        "fit for ASR",
        asr,
        percent_range(arm.asr),
        f"at least {percent(limits.asr_at_least)}",
        f"most frequent findings: {worst}" if worst else "no findings",
        _unless(asr, "read the findings: docs/validation.md"),
    )
    yield _judge_languages(measures, arm.arm, limits)
    floods = at_most(arm.rate_limited, limits.rate_limited_at_most)
    yield Criterion(
        "429s",
        floods if arm.rate_limited.value == 0 else max(floods, Mark.WARN, key=list(Mark).index),
        percent_range(arm.rate_limited),
        f"at most {percent(limits.rate_limited_at_most)}",
        "no request was refused for quota"
        if arm.rate_limited.value == 0
        else "the provider allows less than is asked of it",
        ""
        if arm.rate_limited.value == 0
        else f"set the budget below the quota: lipika budget set {arm.arm.provider}",
    )


def _judge_languages(measures: Measures, arm: Arm, limits: GoLimits) -> Criterion:
    rows = [one for one in measures.languages if one.arm == arm.name]
    least = limits.asr_of_a_language_at_least
    marks = {one.language: at_least(one.asr, least) for one in rows}
    worst = min(rows, key=lambda one: one.asr.value)
    bad = [LANGUAGES[code].name for code, mark in marks.items() if mark is not Mark.GO]
    mark = max(marks.values(), key=list(Mark).index)
    return Criterion(
        "each language fit for ASR",
        mark,
        f"{LANGUAGES[worst.language].name}: {percent_range(worst.asr)}",
        f"at least {percent(least)}",
        f"below: {', '.join(bad)}" if bad else "the weakest language is given",
        _unless(mark, "hold these back (lipika queue hold), or choose another MODEL_ID"),
    )


def _judge_temperature(baseline: ArmMeasures, measures: Measures) -> Iterator[Criterion]:
    for other in (one for one in measures.arms if one.arm.kind is ArmKind.TEMPERATURE):
        against = _against(measures, other.arm.name)
        colder = baseline if baseline.arm.temperature is not None else other
        warmer = other if colder is baseline else baseline
        more = against.looped_more if colder is other else _negative(against.looped_more)
        sure = more.low > 0
        loops_as_set = sure and colder is baseline
        fewer = ", ".join(
            f"{percent_range(one.looped)} at {_temperature_of(one)}" for one in (colder, warmer)
        )
        yield Criterion(
            "temperature",
            Mark.WARN if loops_as_set else Mark.GO,
            f"{_points(more.value)} points ({_points(more.low)} to {_points(more.high)})",
            "no sure difference against the setting",
            f"looping: {fewer}" + ("" if sure else "; the difference may be chance"),
            "set TEMPERATURE=default" if loops_as_set else "",
        )


def _temperature_of(arm: ArmMeasures) -> str:
    return "the model's own" if arm.arm.temperature is None else f"{arm.arm.temperature:g}"


def _judge_cache(arm: ArmMeasures, cache_reason: str | None) -> Criterion:
    hits = arm.cache_hits
    figure = f"{percent_range(hits)} of requests, {percent(arm.cached_share)} of prompt tokens"
    if cache_reason is not None:
        unexpected = "more than the documentation lets expect: do not count on it"
        reason = unexpected if hits.value else f"as expected: {cache_reason}"
        return Criterion("cache", Mark.GO, figure, "none expected", reason)
    if hits.value == 0:
        reason = (
            "the prompt is long enough, but nothing was served from the cache: no saving is promised for it"
        )
        return Criterion("cache", Mark.WARN, figure, "some expected", reason, "count on full prices")
    return Criterion("cache", Mark.GO, figure, "some expected", "the common prompt is served from the cache")


def _judge_version(arm: ArmMeasures) -> Criterion:
    versions = ", ".join(arm.model_versions) or "not told"
    many = len(arm.model_versions) > 1
    return Criterion(
        "model version",
        Mark.WARN if many else Mark.GO,
        versions,
        "one",
        "more than one model answers to this name" if many else "one model answered",
        "fix MODEL_ID to one version" if many else "",
    )


# ----------------------------------------------------------------------------- provider, queue


def _judge_other_provider(
    measures: Measures, skipped: Sequence[Skipped], limits: GoLimits
) -> Iterator[Criterion]:
    for one in skipped:
        if one.kind is ArmKind.PROVIDER:
            yield Criterion(
                "second provider",
                Mark.WARN,
                "none",
                "one",
                one.reason,
                "set OPENROUTER_API_KEY for a fallback",
            )
    for arm in (one for one in measures.arms if one.arm.kind is ArmKind.PROVIDER):
        against = _against(measures, arm.arm.name)
        mark = at_most(against.cer, limits.cer_at_most)
        yield Criterion(
            "provider agreement",
            mark,
            f"CER {percent_range(against.cer)}",
            f"at most {percent(limits.cer_at_most)}",
            f"{arm.arm.provider} against the baseline on {against.compared:,} clips;"
            f" {percent_range(against.identical)} are letter for letter the same",
            _unless(mark, "do not mix their transcripts in one corpus: take its key out"),
        )
        ended = at_least(arm.ended_well, limits.ended_well_at_least)
        yield Criterion(
            "second provider ends well",
            ended,
            percent_range(arm.ended_well),
            f"at least {percent(limits.ended_well_at_least)}",
            f"it costs {against.cost_ratio.value:.2f} and takes {against.latency_ratio:.2f} times the baseline's",
            _unless(ended, "look at its failures before it is needed"),
        )


def _judge_queue(outlook: Forecast | None, limits: GoLimits) -> Iterator[Criterion]:
    if outlook is None:
        return
    if outlook.clips_until_cap is not None:
        yield Criterion(
            "dollar cap",
            Mark.NO_GO,
            f"{money(outlook.usd.value)} for the queue",
            "the cap in all",
            f"it is reached after {number(outlook.clips_until_cap)} of {number(outlook.clips.value)} clips",
            "raise it (lipika budget set … --usd-total), or queue less",
        )
    if limits.usd_at_most is not None:
        mark = at_most(outlook.usd, limits.usd_at_most)
        yield Criterion(
            "cost of the queue",
            mark,
            _range(outlook.usd, money),
            f"{money(limits.usd_at_most)} (--usd-at-most)",
            f"{number(outlook.clips.value)} clips at {money(outlook.usd_per_clip.value)}",
            _unless(mark, "a shorter prompt, less thinking or a cheaper model"),
        )
    if limits.hours_at_most is not None:  # as if the cap in all were raised in time
        mark = at_most(outlook.seconds, limits.hours_at_most * 3600)
        yield Criterion(
            "time for the queue",
            mark,
            _range(outlook.seconds, duration),
            f"{duration(limits.hours_at_most * 3600)} (--hours-at-most)",
            f"what decides: {LIMIT_WORDS[outlook.binds]}",
            _unless(mark, "raise the limit that binds, or add workers"),
        )


# ----------------------------------------------------------------------------- small things


def at_least(figure: Estimate, limit: float) -> Mark:
    """No-go when even the upper end is below the limit, a warning when the figure is."""
    if math.isnan(figure.value):
        return Mark.WARN
    return Mark.NO_GO if figure.high < limit else Mark.WARN if figure.value < limit else Mark.GO


def at_most(figure: Estimate, limit: float) -> Mark:
    """No-go when even the lower end is above the limit, a warning when the figure is."""
    if math.isnan(figure.value):
        return Mark.WARN
    return Mark.NO_GO if figure.low > limit else Mark.WARN if figure.value > limit else Mark.GO


def percent_range(figure: Estimate) -> str:
    """`2.9 % (1.7 % to 4.8 %)`."""
    if math.isnan(figure.value):
        return "unknown"
    return _range(figure, percent)


def _range(figure: Estimate, show: Callable[[float], str]) -> str:
    return f"{show(figure.value)} ({show(figure.low)} to {show(figure.high)})"


def _unless(mark: Mark, way_out: str) -> str:
    return "" if mark is Mark.GO else way_out


def _points(share: float) -> str:
    return f"{round(share * 100, 1) + 0.0:+.1f}"  # adding zero takes the sign off a zero


def _negative(figure: Estimate) -> Estimate:
    return Estimate(-figure.value, -figure.high, -figure.low)


def _against(measures: Measures, arm: str) -> Against:
    return next(one for one in measures.against if one.arm == arm)

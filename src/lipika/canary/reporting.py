"""From the record of a canary to its report: measure, judge, forecast the queue, recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipika import __version__
from lipika.canary.advice import CanaryAdvice, advise, hold_against_baseline, saving_of
from lipika.canary.arms import Arm, Skipped
from lipika.canary.judgement import GoLimits, judge
from lipika.canary.measures import Measures, mean_latency_s, share_gone_up, units
from lipika.canary.planning import CanaryPlan
from lipika.canary.recommendation import Margins
from lipika.canary.records import CanaryRun
from lipika.canary.report import CanaryReport
from lipika.config import Settings
from lipika.db.connection import Database
from lipika.errors import LipikaError
from lipika.forecast.workload import Counted
from lipika.jobs.outlook import ForecastQuestion, MeasuredSample, Prediction, outlook, sample_to_json
from lipika.llm import prompt
from lipika.llm.capabilities import Capabilities, cache_note
from lipika.llm.own_prompt import load_own_prompt
from lipika.llm.provider import text_tokens


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants of the report: limits, margins, and the queue that is forecast."""

    limits: GoLimits
    margins: Margins
    queue_clips: float | None
    workers: int | None


@dataclass(frozen=True, slots=True)
class Asking:
    """How a canary asked: its arms, the baseline first, those left out, and the plan."""

    arms: Sequence[Arm]
    skipped: Sequence[Skipped]
    model: Capabilities
    plan: CanaryPlan


async def make_report(
    settings: Settings, database: Database, wanted: Wanted, run: CanaryRun, asking: Asking, measures: Measures
) -> CanaryReport:
    """The report of a run. Without a database it lacks the forecast, and says why."""
    baseline = asking.arms[0]
    sample = _sample(run, baseline)
    ahead, because = await _look_ahead(settings, database, wanted, sample, baseline)
    own = load_own_prompt(settings.prompt_file)
    note = cache_note(asking.model, text_tokens(prompt.system_prompt("hi", baseline.answer, own)))
    return CanaryReport(
        run_id=run.run_id,
        lipika_version=__version__,
        prompt_version=prompt.prompt_version(baseline.answer, own=own),
        started_at=run.started_at,
        seconds=run.seconds,
        model_id=run.model_id,
        simulated=run.simulated,
        seed=run.seed,
        clips_wanted=run.clips_wanted,
        videos=len(run.videos),
        not_asked=run.not_asked,
        max_usd=run.max_usd,
        usd=run.usd,
        ended_early=run.ended_early,
        arms=tuple(asking.arms),
        skipped=tuple(asking.skipped),
        measures=measures,
        judgement=judge(
            run, measures, asking.skipped, ahead.forecast if ahead else None, wanted.limits, note
        ),
        limits=wanted.limits,
        outlook=ahead,
        no_outlook_because=because,
        cache_reason=note,
        forecast_sample=sample_to_json(sample) if sample.units else None,
        plan=asking.plan,
        advice=await _advise(settings, database, wanted, run, asking, ahead),
    )


async def _advise(
    settings: Settings,
    database: Database,
    wanted: Wanted,
    run: CanaryRun,
    asking: Asking,
    ahead: Prediction | None,
) -> CanaryAdvice:
    told = hold_against_baseline(run, asking.arms, wanted.margins)
    best = next((arm for arm in asking.arms if arm.name == told.arm), None)
    saving = None
    if best is not None and ahead is not None:
        after, _ = await _look_ahead(settings, database, wanted, _sample(run, best), best)
        saving = saving_of(told.standing_of(best.name), ahead.forecast, after.forecast if after else None)
    return advise(told, asking.arms, asking.plan.design, saving, ahead.forecast if ahead else None)


def _sample(run: CanaryRun, arm: Arm) -> MeasuredSample:
    found = units(run, arm.name)
    return MeasuredSample(
        source=f"canary {run.run_id}, {sum(one.clips for one in found):,.0f} clips",
        units=tuple(found),
        counted=tuple(
            Counted(one.language, one.clips_estimated, one.source_bytes) for one in run.videos if one.segments
        ),
        latency_s=mean_latency_s(run, arm.name),
        went_up=share_gone_up(run, arm),
        simulated=run.simulated,
    )


async def _look_ahead(
    settings: Settings, database: Database, wanted: Wanted, sample: MeasuredSample, arm: Arm
) -> tuple[Prediction | None, str]:
    if not sample.units:
        return None, "no clip was answered"
    question = ForecastQuestion(arm.provider, wanted.queue_clips, wanted.workers, wanted.limits.hours_at_most)
    try:
        return await outlook(database, settings, question, sample), ""
    except LipikaError as reason:  # what was asked is paid for: it gets its report, database or not
        return None, str(reason)

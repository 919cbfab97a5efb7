"""The report of a canary as one value: what JSON, HTML and the database hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lipika.canary.advice import CanaryAdvice
from lipika.canary.arms import Arm, Skipped
from lipika.canary.judgement import GoLimits, Judgement
from lipika.canary.measures import Measures
from lipika.canary.planning import CanaryPlan
from lipika.jobs.outlook import Prediction
from lipika.models import JsonObject


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """Everything but the rows. `cache_reason` is why no cache hits are expected; None: they are."""

    run_id: str
    lipika_version: str
    prompt_version: str
    started_at: datetime
    seconds: float
    model_id: str
    simulated: bool
    seed: int
    clips_wanted: int
    videos: int
    not_asked: int  # clips met in which nothing can be speech
    max_usd: float
    usd: float
    ended_early: str
    arms: tuple[Arm, ...]
    skipped: tuple[Skipped, ...]
    measures: Measures
    judgement: Judgement
    limits: GoLimits
    outlook: Prediction | None
    no_outlook_because: str
    cache_reason: str | None
    forecast_sample: JsonObject | None
    plan: CanaryPlan
    advice: CanaryAdvice

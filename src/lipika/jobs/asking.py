"""Ways of asking for what is left of the queue, each with its tokens and dollars.

Metered where it was, else by the price list, prompts and answers as counted, and thoughts as assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lipika.config import FLEX_DEFAULTS, Settings, change_settings
from lipika.db.canary import Canaries
from lipika.db.connection import Database
from lipika.errors import UsageError
from lipika.forecast.forecast import PerClip, Unit
from lipika.forecast.workload import Counted
from lipika.jobs.outlook import ForecastQuestion, MeasuredSample, Prediction, find_sample, outlook
from lipika.jobs.wiring import check_tier
from lipika.llm.assumed import ANSWER_TOKENS, PROMPT_TOKENS, THOUGHT_TOKENS, assume_usage
from lipika.llm.capabilities import Capabilities, load_capabilities
from lipika.models import AnswerForm, JsonObject, ServiceTier, Usage

FLEX_S = 480.0
"""The mean wait at Flex, in the middle of the 1 to 15 minutes that are published; nobody has metered it."""
LONGEST_FLEX_S, LONGEST_STANDARD_S = 900.0, 60.0
_BYTES_A_CLIP, _CLIPS_OF_A_VIDEO = 125_000, 50


@dataclass(frozen=True, slots=True)
class AskingWay:
    """Provider, model and settings that every clip is asked with."""

    provider: str
    model_id: str
    tier: str
    answer: str
    thinking_level: str
    temperature: float | None

    @classmethod
    def from_settings(cls, settings: Settings) -> AskingWay:
        provider = settings.real_provider
        return cls(
            provider,
            settings.model_id,
            settings.service_tier,
            settings.answer,
            settings.thinking_level,
            settings.temperature,
        )

    @property
    def words(self) -> str:
        flex = " at Flex" if self.tier == "flex" else ""
        return (
            f"{self.model_id} of {self.provider}{flex}, {self.answer} answers, thinking {self.thinking_level}"
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one clip, and where it is from."""

    name: str
    value: float
    metered: bool
    basis: str


@dataclass(frozen=True, slots=True)
class CostedWay:
    """A way of asking with what a clip takes in it."""

    way: AskingWay
    sample: MeasuredSample
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ArmOnRecord:
    """One arm of a canary: the way it asked, what a clip took, and what the recommendation found.

    `standing`: baseline, not worse, worse, unsure.
    """

    run_id: str
    name: str
    way: AskingWay
    per_clip: PerClip
    thoughts: float
    latency_s: float
    standing: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The queue asked another way, beside how it is asked now."""

    today: Prediction
    then: Prediction
    way: AskingWay
    way_today: AskingWay
    figures: tuple[Figure, ...]
    saves_usd: float
    saves_seconds: float


def change_way(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with another way of asking.

    Raises:
        SettingsError: the provider or the model has no such tier.
        UsageError: the model takes no such thinking level.
    """
    level = changes.get("thinking_level")
    given = {name: value for name, value in changes.items() if value is not None and value != "none"}
    changed = change_settings(settings, given)
    if changed.service_tier == "flex" and "max_in_flight" not in settings.model_fields_set:
        changed = changed.model_copy(update={"max_in_flight": int(FLEX_DEFAULTS["max_in_flight"])})
    model = load_capabilities(changed.model_id, changed.models_file)
    check_tier(changed, model)
    if level == "none" and model.thinking_levels:
        raise UsageError(
            f"{changed.model_id} always thinks: the least is --thinking {model.thinking_levels[0]}; `none` is for a"
            " model that takes no level"
        )
    if level not in (None, "none") and level not in model.thinking_levels:
        raise UsageError(
            f"{changed.model_id} takes no thinking level {level}, but {', '.join(model.thinking_levels) or 'none'}"
        )
    return changed


async def look_otherwise(
    database: Database,
    settings: Settings,
    question: ForecastQuestion,
    changes: Mapping[str, Any],
    window_s: float,
) -> WhatIf:
    """The same queue asked another way, beside how it is asked now."""
    changed = change_way(settings, changes)
    today = await cost_today(database, settings, question, window_s)
    arms = await list_arms(database)
    then = cost_way(changed, settings, today, arms)
    before = await outlook(database, settings, question, today.sample)
    after = await outlook(database, changed, replace(question, provider=then.way.provider), then.sample)
    return WhatIf(
        before,
        after,
        then.way,
        today.way,
        then.figures,
        before.forecast.usd.value - after.forecast.usd.value,
        before.forecast.seconds.value - after.forecast.seconds.value,
    )


async def cost_today(
    database: Database, settings: Settings, question: ForecastQuestion, window_s: float
) -> CostedWay:
    """The way of the settings, from what was metered; before anything was, by the price list."""
    way = AskingWay.from_settings(settings)
    try:
        sample = await find_sample(database, question.provider, window_s)
    except UsageError:
        return _assume(settings, way)
    each = mean_of(sample.units)
    arms = [arm for arm in await list_arms(database) if arm.way == way]
    thoughts = min(arms[0].thoughts if arms else _thoughts(settings), 0.9 * each.output_tokens)
    figures = (
        Figure("prompt tokens", each.prompt_tokens, True, sample.source),
        Figure("answer tokens", each.output_tokens - thoughts, bool(arms), sample.source),
        Figure(
            "thought tokens",
            thoughts,
            bool(arms),
            sample.source if arms else "assumed, of the output metered",
        ),
        Figure("dollars", each.usd, True, sample.source),
    )
    return CostedWay(way, sample, figures)


def cost_way(
    changed: Settings, settings: Settings, today: CostedWay, arms: Sequence[ArmOnRecord]
) -> CostedWay:
    """Another way: as a canary's arm has metered it, else by arithmetic from today's."""
    way = AskingWay.from_settings(changed)
    if way == today.way:
        return today
    arm = next((one for one in arms if one.way == way), None)
    if arm is not None:
        return _cost_arm(arm, today)
    return _derive(changed, settings, way, today)


def _cost_arm(arm: ArmOnRecord, today: CostedWay) -> CostedWay:
    each, basis = arm.per_clip, f"canary {arm.run_id}, arm “{arm.name}”"
    figures = (
        Figure("prompt tokens", each.prompt_tokens, True, basis),
        Figure("answer tokens", each.output_tokens - arm.thoughts, True, basis),
        Figure("thought tokens", arm.thoughts, True, basis),
        Figure("dollars", each.usd, True, basis),
    )
    sample = replace(today.sample, source=basis, units=scaled_units(today.sample.units, each))
    return CostedWay(arm.way, replace(sample, latency_s=arm.latency_s), figures)


def _derive(changed: Settings, settings: Settings, way: AskingWay, today: CostedWay) -> CostedWay:
    known = {figure.name: figure for figure in today.figures}
    now, each = today.way, mean_of(today.sample.units)
    form, before = AnswerForm(way.answer), AnswerForm(now.answer)
    model, model_before = (load_capabilities(one.model_id, one.models_file) for one in (changed, settings))
    prompt = each.prompt_tokens + each.requests * (PROMPT_TOKENS[form] - PROMPT_TOKENS[before])
    answer = known["answer tokens"].value * ANSWER_TOKENS[form] / ANSWER_TOKENS[before]
    same_thoughts = (way.model_id, way.thinking_level) == (now.model_id, now.thinking_level)
    thoughts = known["thought tokens"].value if same_thoughts else each.requests * _thoughts(changed)
    then, was = (
        _usage(prompt, answer + thoughts, model),
        _usage(each.prompt_tokens, each.output_tokens, model_before),
    )
    ratio = model.cost_usd(then, ServiceTier(way.tier)) / model_before.cost_usd(was, ServiceTier(now.tier))
    cost = PerClip(each.requests, prompt, answer + thoughts, each.usd * ratio)
    figures = (
        _say_changed(known["prompt tokens"], prompt, form is before, "both prompts as counted"),
        _say_changed(
            known["answer tokens"],
            answer,
            form is before,
            f"{ANSWER_TOKENS[form]} for {ANSWER_TOKENS[before]}, as counted",
        ),
        _say_changed(known["thought tokens"], thoughts, same_thoughts, f"thinking {way.thinking_level}"),
        Figure(
            "dollars",
            cost.usd,
            False,
            f"these tokens by the price list{' at Flex' if way.tier == 'flex' else ''}",
        ),
    )
    sample = replace(today.sample, units=scaled_units(today.sample.units, cost))
    if way.tier != now.tier:
        sample = replace(sample, latency_s=FLEX_S if way.tier == "flex" else 5.0)
    return CostedWay(way, sample, figures)


def _say_changed(known: Figure, value: float, same: bool, basis: str) -> Figure:
    return replace(known, value=value) if same else Figure(known.name, value, False, f"assumed: {basis}")


def _assume(settings: Settings, way: AskingWay) -> CostedWay:
    model = load_capabilities(settings.model_id, settings.models_file)
    usage = assume_usage(AnswerForm(way.answer), _level(settings, model), model)
    usd = model.cost_usd(usage, ServiceTier(way.tier))
    counted = Counted("", _CLIPS_OF_A_VIDEO, _CLIPS_OF_A_VIDEO * _BYTES_A_CLIP)
    sample = MeasuredSample(
        source="nothing metered: the price list, tokens as counted, thoughts as assumed",
        units=(Unit(1.0, 1.0, usage.prompt, usage.output, usd),),
        counted=(counted,),
        latency_s=FLEX_S if way.tier == "flex" else 5.0,
    )
    basis = "assumed: as counted for a clip of 8 s"
    figures = (
        Figure("prompt tokens", usage.prompt, False, basis),
        Figure("answer tokens", usage.output - usage.thoughts, False, basis),
        Figure("thought tokens", usage.thoughts, False, f"assumed: thinking {way.thinking_level}"),
        Figure("dollars", usd, False, "these tokens by the price list"),
    )
    return CostedWay(way, sample, figures)


def _thoughts(settings: Settings) -> float:
    return THOUGHT_TOKENS[_level(settings, load_capabilities(settings.model_id, settings.models_file))]


def _level(settings: Settings, model: Capabilities) -> str:
    return settings.thinking_level if model.thinking_levels else "none"


def _usage(prompt: float, output: float, model: Capabilities) -> Usage:
    """A thousand clips of so many tokens, text and audio parted as those of a clip of 8 s are."""
    plain = assume_usage(AnswerForm.FULL, "none", model)
    whole = round(1000 * prompt)
    audio = round(whole * plain.prompt_audio / plain.prompt)
    return Usage(prompt=whole, prompt_text=whole - audio, prompt_audio=audio, output=round(1000 * output))


def mean_of(units: Sequence[Unit]) -> PerClip:
    """The means of a clip of the sample."""
    clips = sum(unit.clips for unit in units)
    return PerClip(
        sum(unit.requests for unit in units) / clips,
        sum(unit.prompt_tokens for unit in units) / clips,
        sum(unit.output_tokens for unit in units) / clips,
        sum(unit.usd for unit in units) / clips,
    )


def scaled_units(units: Sequence[Unit], to: PerClip) -> tuple[Unit, ...]:
    """The same sample, as varied as it is, with other means."""
    mean = mean_of(units)

    def times(wanted: float, had: float) -> float:
        return wanted / had if had else 1.0

    return tuple(
        replace(
            unit,
            requests=unit.requests * times(to.requests, mean.requests),
            prompt_tokens=unit.prompt_tokens * times(to.prompt_tokens, mean.prompt_tokens),
            output_tokens=unit.output_tokens * times(to.output_tokens, mean.output_tokens),
            usd=unit.usd * times(to.usd, mean.usd),
        )
        for unit in units
    )


# ----------------------------------------------------------------------------- canaries on record


async def list_arms(database: Database) -> list[ArmOnRecord]:
    """Every arm of the last canaries, the newest first; of made-up answers only where there are no others."""
    found: list[ArmOnRecord] = []
    for row in await Canaries(database).reports():
        standings = {one["arm"]: one["standing"] for one in row.standings or []}
        for number, measured in enumerate(row.arms or []):
            if measured["clips"] and not _is_experimental(measured["arm"]):
                standing = "baseline" if number == 0 else standings.get(measured["arm"]["name"], "unsure")
                found.append(_read_arm(row.run_id, measured, standing))
    return found


def _is_experimental(arm: JsonObject) -> bool:
    """True if workers have no setting for it: its settings would be read as those of another arm."""
    return bool(arm.get("clips", 1) > 1 or arm.get("kind") == "reading")


def _read_arm(run_id: str, measured: JsonObject, standing: str) -> ArmOnRecord:
    arm, tokens, clips = measured["arm"], measured["tokens"], measured["clips"]
    way = AskingWay(
        arm["provider"],
        arm.get("model_id", ""),
        arm.get("tier", "standard"),
        arm.get("answer", "full"),
        arm["thinking_level"],
        arm["temperature"],
    )
    prompt = tokens["text"] + tokens["audio"] + tokens["cached"]
    output = tokens["answer"] + tokens["thoughts"]
    per_clip = PerClip(measured["requests"] / clips, prompt, output, measured["cost_each"]["value"])
    latency_s = measured["latency"]["p50"] / 1000
    return ArmOnRecord(run_id, arm["name"], way, per_clip, tokens["thoughts"], latency_s, standing)

"""The ways in which every clip of a canary is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from lipika.llm.capabilities import Capabilities
from lipika.models import AnswerForm, ServiceTier


class ArmKind(StrEnum):
    """The one thing in which an arm differs from the baseline."""

    BASELINE = "baseline"
    PROVIDER = "provider"
    TEMPERATURE = "temperature"
    THINKING = "thinking"
    ANSWER = "answer"
    SETTINGS = "settings"  # whatever settings a person names, one or several
    CLIPS = "clips"  # several clips a request: only on demand
    READING = "reading"  # disputed clips are read again, with both texts: only on demand


USUAL_KINDS = tuple(kind for kind in ArmKind if kind not in (ArmKind.CLIPS, ArmKind.READING))
"""What is compared where nothing else is said."""
JOINT_CLIPS = (2, 4)
"""Clips a request, by default."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking. `temperature` None leaves it to the model; `model_id` empty is that of the settings."""

    name: str
    kind: ArmKind
    provider: str
    temperature: float | None
    thinking_level: str
    answer: AnswerForm = AnswerForm.FULL
    model_id: str = ""
    tier: ServiceTier = ServiceTier.STANDARD
    clips: int = 1  # a request
    prompt_file: str = ""  # of a person's own part of the prompt; empty: there is none
    above: tuple[str, ...] = ()  # of a cascade, the models after `model_id`

    @property
    def models(self) -> tuple[str, ...]:
        """All that are asked, in order."""
        return (self.model_id, *self.above)

    @property
    def is_experimental(self) -> bool:
        """True if it is for canaries alone: workers have no setting for it, and it is never recommended."""
        return self.clips > 1 or self.kind is ArmKind.READING

    @property
    def words(self) -> str:
        """For a person."""
        warmth = (
            "the model's own temperature" if self.temperature is None else f"temperature {self.temperature:g}"
        )
        model = f"{', then '.join(self.models)}, " if self.kind is ArmKind.SETTINGS or self.above else ""
        flex = f", {self.tier}" if self.tier is not ServiceTier.STANDARD else ""
        clips = f", {self.clips} clips a request" if self.clips > 1 else ""
        reading = ", disputed clips read again" if self.kind is ArmKind.READING else ""
        return (
            f"{model}{self.provider}, {warmth}, thinking {self.thinking_level}, {self.answer} answers"
            f"{flex}{clips}{reading}{f', prompt of {self.prompt_file}' if self.prompt_file else ''}"
        )

    @property
    def settings(self) -> dict[str, str]:
        """The variables that set it, as `.env` has them."""
        return {
            "PROVIDER": self.provider,
            "TEMPERATURE": "default" if self.temperature is None else f"{self.temperature:g}",
            "THINKING_LEVEL": self.thinking_level,
            "ANSWER": str(self.answer),
            "MODEL_ID": self.model_id,
            "CASCADE": ",".join(self.models) if self.above else "",
            "SERVICE_TIER": str(self.tier),
            "PROMPT_FILE": self.prompt_file,
            **({"SECOND_READING": "disputed"} if self.kind is ArmKind.READING else {}),
            **({"CLIPS_PER_REQUEST": str(self.clips)} if self.clips > 1 else {}),
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """An arm that cannot be, and why."""

    kind: ArmKind
    reason: str


_OTHER_LEVELS = ("minimal", "low", "medium")
"""`high` thinks twelve times as much as `low`: only when asked for by name."""


def plan_arms(
    *,
    provider: str,
    other_provider: str | None,
    temperature: float | None,
    thinking_level: str,
    model: Capabilities,
    answer: AnswerForm = AnswerForm.FULL,
    model_id: str = "",
    above: tuple[str, ...] = (),
    tier: ServiceTier = ServiceTier.STANDARD,
    kinds: Collection[ArmKind] = USUAL_KINDS,
    levels: Sequence[str] | None = None,
    prompt_file: str = "",
) -> tuple[list[Arm], list[Skipped]]:
    """The baseline first, then one arm for each thing that can differ; and what is left out."""
    baseline = Arm(
        "baseline",
        ArmKind.BASELINE,
        provider,
        temperature,
        thinking_level,
        answer,
        model_id,
        tier,
        prompt_file=prompt_file,
        above=above,
    )
    arms, skipped = [baseline], list[Skipped]()
    if ArmKind.PROVIDER in kinds:
        if other_provider is None:
            skipped.append(Skipped(ArmKind.PROVIDER, "there is no key of a second provider"))
        else:
            changes = {"provider": other_provider}
            arms.append(_other(baseline, ArmKind.PROVIDER, other_provider, **changes))
    if ArmKind.TEMPERATURE in kinds:
        if not model.temperature:
            skipped.append(Skipped(ArmKind.TEMPERATURE, f"{model.model_id} takes no temperature"))
        else:
            other = 0.0 if temperature is None else None
            name = "temperature 0" if other == 0.0 else "own temperature"
            arms.append(_other(baseline, ArmKind.TEMPERATURE, name, temperature=other))
    if ArmKind.THINKING in kinds:
        wanted = levels if levels is not None else _OTHER_LEVELS
        for level in wanted:
            if level == thinking_level:
                continue
            if level in model.thinking_levels:
                arms.append(_other(baseline, ArmKind.THINKING, f"thinking {level}", thinking_level=level))
            else:
                skipped.append(Skipped(ArmKind.THINKING, f"{model.model_id} takes no thinking level {level}"))
    if ArmKind.ANSWER in kinds:
        arms += [
            _other(baseline, ArmKind.ANSWER, f"{form} answers", answer=form)
            for form in AnswerForm
            if form is not answer
        ]
    if ArmKind.CLIPS in kinds:
        arms += [
            _other(baseline, ArmKind.CLIPS, f"{count} clips a request", clips=count) for count in JOINT_CLIPS
        ]
    if ArmKind.READING in kinds:
        arms.append(_other(baseline, ArmKind.READING, "second reading"))
    return arms, skipped


def _other(baseline: Arm, kind: ArmKind, name: str, **differs: Any) -> Arm:
    return replace(baseline, kind=kind, name=name, **differs)

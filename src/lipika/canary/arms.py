"""The ways in which every clip of a canary is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from lipika.llm.capabilities import Capabilities
from lipika.models import AnswerForm


class ArmKind(StrEnum):
    """The one thing in which an arm differs from the baseline."""

    BASELINE = "baseline"
    PROVIDER = "provider"
    TEMPERATURE = "temperature"
    THINKING = "thinking"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking. `temperature` None leaves it to the model."""

    name: str
    kind: ArmKind
    provider: str
    temperature: float | None
    thinking_level: str
    answer: AnswerForm = AnswerForm.FULL

    @property
    def words(self) -> str:
        """For a person."""
        warmth = (
            "the model's own temperature" if self.temperature is None else f"temperature {self.temperature:g}"
        )
        return f"{self.provider}, {warmth}, thinking {self.thinking_level}, {self.answer} answers"

    @property
    def settings(self) -> dict[str, str]:
        """The variables that set it, as `.env` has them."""
        return {
            "PROVIDER": self.provider,
            "TEMPERATURE": "default" if self.temperature is None else f"{self.temperature:g}",
            "THINKING_LEVEL": self.thinking_level,
            "ANSWER": str(self.answer),
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
    kinds: Collection[ArmKind] = tuple(ArmKind),
    levels: Sequence[str] | None = None,
) -> tuple[list[Arm], list[Skipped]]:
    """The baseline first, then one arm for each thing that can differ; and what is left out."""
    baseline = Arm("baseline", ArmKind.BASELINE, provider, temperature, thinking_level, answer)
    arms, skipped = [baseline], list[Skipped]()
    if ArmKind.PROVIDER in kinds:
        if other_provider is None:
            skipped.append(Skipped(ArmKind.PROVIDER, "there is no key of a second provider"))
        else:
            arms.append(_other(baseline, ArmKind.PROVIDER, other_provider, provider=other_provider))
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
    return arms, skipped


def _other(baseline: Arm, kind: ArmKind, name: str, **differs: Any) -> Arm:
    return replace(baseline, kind=kind, name=name, **differs)

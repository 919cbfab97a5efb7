"""The ways in which every clip of a canary is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lipika.llm.capabilities import Capabilities


class ArmKind(StrEnum):
    """The one thing in which an arm differs from the baseline."""

    BASELINE = "baseline"
    PROVIDER = "provider"
    TEMPERATURE = "temperature"
    THINKING = "thinking"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking. `temperature` None leaves it to the model."""

    name: str
    kind: ArmKind
    provider: str
    temperature: float | None
    thinking_level: str

    @property
    def words(self) -> str:
        """For a person."""
        warmth = (
            "the model's own temperature" if self.temperature is None else f"temperature {self.temperature:g}"
        )
        return f"{self.provider}, {warmth}, thinking {self.thinking_level}"


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
    kinds: Collection[ArmKind] = tuple(ArmKind),
    levels: Sequence[str] | None = None,
) -> tuple[list[Arm], list[Skipped]]:
    """The baseline first, then one arm for each thing that can differ; and what is left out."""
    arms = [Arm("baseline", ArmKind.BASELINE, provider, temperature, thinking_level)]
    skipped: list[Skipped] = []
    if ArmKind.PROVIDER in kinds:
        if other_provider is None:
            skipped.append(Skipped(ArmKind.PROVIDER, "there is no key of a second provider"))
        else:
            arms.append(Arm(other_provider, ArmKind.PROVIDER, other_provider, temperature, thinking_level))
    if ArmKind.TEMPERATURE in kinds:
        if not model.temperature:
            skipped.append(Skipped(ArmKind.TEMPERATURE, f"{model.model_id} takes no temperature"))
        else:
            other = 0.0 if temperature is None else None
            name = "temperature 0" if other == 0.0 else "own temperature"
            arms.append(Arm(name, ArmKind.TEMPERATURE, provider, other, thinking_level))
    if ArmKind.THINKING in kinds:
        wanted = levels if levels is not None else _OTHER_LEVELS
        for level in wanted:
            if level == thinking_level:
                continue
            if level in model.thinking_levels:
                arms.append(Arm(f"thinking {level}", ArmKind.THINKING, provider, temperature, level))
            else:
                skipped.append(Skipped(ArmKind.THINKING, f"{model.model_id} takes no thinking level {level}"))
    return arms, skipped

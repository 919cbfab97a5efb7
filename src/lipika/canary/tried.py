"""Arms that a person names by their settings: `MODEL_ID=gemini-3.1-flash-lite ANSWER=lean` is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lipika.canary.arms import Arm, ArmKind
from lipika.config import KEY_VARIABLES, Settings, change_settings, require_key
from lipika.errors import SettingsError, UsageError
from lipika.jobs.wiring import at_step, check_cascade, check_tier
from lipika.llm.capabilities import load_capabilities
from lipika.llm.own_prompt import load_own_prompt
from lipika.llm.several import MOST_CLIPS
from lipika.models import AnswerForm, ServiceTier

TRIED = (
    *("MODEL_ID", "CASCADE", "SERVICE_TIER", "THINKING_LEVEL", "TEMPERATURE", "ANSWER", "PROVIDER"),
    "PROMPT_FILE",
)
"""The settings that decide how a clip is asked: those that an arm can differ in."""
CLIPS_PER_REQUEST = "CLIPS_PER_REQUEST"
"""No setting of workers, but of an arm."""


def plan_tried(settings: Settings, orders: Sequence[str], taken: Sequence[Arm]) -> list[Arm]:
    """An arm for each order, `NAME=value` once or several times with spaces between.

    Raises:
        UsageError: an order names no such setting, or is one of the arms `taken` already.
        SettingsError: a value will not do, alone or with the others; the arm is named.
    """
    arms: list[Arm] = []
    for order in orders:
        arm = _plan_one(settings, order)
        twin = next((one for one in [*taken, *arms] if one.settings == arm.settings), None)
        if twin is not None:
            raise UsageError(f"--try {order!r} asks as the arm “{twin.name}” does: leave it out")
        arms.append(arm)
    return arms


def settings_of_arm(settings: Settings, arm: Arm) -> Settings:
    """The settings that an arm's provider is made by; who is asked, and where, stays."""
    asked = {
        "temperature": arm.temperature,
        "thinking_level": arm.thinking_level,
        "answer": str(arm.answer),
        "model_id": arm.model_id or settings.model_id,
        "cascade": ",".join(arm.models) if arm.above else "",
        "service_tier": str(arm.tier),
        "prompt_file": Path(arm.prompt_file) if arm.prompt_file else None,
    }
    return settings.model_copy(update=asked)


def _plan_one(settings: Settings, order: str) -> Arm:
    changes = _read_order(order)
    clips = _read_clips(order, changes.get(CLIPS_PER_REQUEST, "1"))
    given: dict[str, str | None] = {name.lower(): value for name, value in changes.items() if name in TRIED}
    if changes.get("TEMPERATURE", "").lower() == "default":
        given["temperature"] = None
    if changes.get("PROMPT_FILE", "").lower() == "none":
        given["prompt_file"] = None
    provider = changes.get("PROVIDER", settings.real_provider)
    simulated = settings.provider == "simulator" and provider in KEY_VARIABLES
    if simulated:  # it speaks for both, and wants no key
        given.pop("provider", None)
    try:
        changed = change_settings(settings, given)
        require_key(changed)
        model = load_capabilities(changed.model_id, changed.models_file)
        check_cascade(changed)
        for step in range(len(changed.models)):
            one = at_step(changed, step)
            check_tier(one, load_capabilities(one.model_id, one.models_file))
        load_own_prompt(changed.prompt_file)
    except SettingsError as error:
        raise SettingsError(f"--try {order!r}: {error}") from None
    if changed.thinking_level not in model.thinking_levels and "THINKING_LEVEL" in changes:
        raise UsageError(
            f"--try {order!r}: {changed.model_id} takes no thinking level {changed.thinking_level}, but"
            f" {', '.join(model.thinking_levels) or 'none at all'}"
        )
    if clips > 1 and changed.cascade:
        raise UsageError(
            f"--try {order!r}: {CLIPS_PER_REQUEST} will not do with a CASCADE: a clip goes up alone"
        )
    asked_of = provider if simulated else changed.real_provider
    return Arm(
        name=" ".join(f"{name}={value}" for name, value in changes.items()),
        kind=ArmKind.SETTINGS,
        provider=asked_of,
        temperature=changed.temperature,
        thinking_level=changed.thinking_level,
        answer=AnswerForm(changed.answer),
        model_id=changed.model_id,
        tier=ServiceTier(changed.service_tier),
        clips=clips,
        prompt_file=str(changed.prompt_file or ""),
        above=changed.models[1:],
    )


def _read_clips(order: str, value: str) -> int:
    if value not in map(str, range(1, MOST_CLIPS + 1)):
        raise UsageError(f"--try {order!r}: {CLIPS_PER_REQUEST} is 1 to {MOST_CLIPS}, not {value!r}")
    return int(value)


def _read_order(order: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in order.split()]
    changes = {name.upper(): value for name, _, value in pairs}
    unknown = [name for name in changes if name not in (*TRIED, CLIPS_PER_REQUEST)]
    if unknown or len(changes) < len(pairs) or not all(changes.values()) or not changes:
        raise UsageError(
            f"--try {order!r}: expected NAME=value, each name once, of {', '.join((*TRIED, CLIPS_PER_REQUEST))}:"
            " --try 'MODEL_ID=gemini-3.1-flash-lite ANSWER=lean'"
        )
    return changes

"""A recommendation as a person takes it: what to set, what it saves, how sure it is, and what more it takes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lipika.canary.arms import Arm
from lipika.canary.noninferiority import Design, clips_needed
from lipika.canary.pairs import MEASURE_WORDS, TEXT, pair
from lipika.canary.recommendation import ArmMark, ArmStanding, Margins, MarginTest, Recommendation, recommend
from lipika.canary.records import CanaryRun
from lipika.forecast.forecast import Forecast
from lipika.forecast.shares import Estimate
from lipika.languages import LANGUAGES
from lipika.wording import duration, money, percent

_MOST_DISAGREEING = 0.5


@dataclass(frozen=True, slots=True)
class Saving:
    """What the recommended arm saves over the whole queue; `seconds` None: it is not known."""

    usd: Estimate
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An arm that is for canaries alone: what it would save. It is never recommended, however well it stands."""

    arm: str
    saving: Saving | None
    words: str


@dataclass(frozen=True, slots=True)
class CanaryAdvice:
    """A recommendation with the lines of `.env` that set it; empty where the settings stay as they are."""

    recommendation: Recommendation
    env: tuple[str, ...]
    saving: Saving | None
    words: str
    experimental: tuple[Experiment, ...] = ()


def hold_against_baseline(run: CanaryRun, arms: Sequence[Arm], margins: Margins) -> Recommendation:
    """Every arm of a run against the first one, in all languages that were asked."""
    baseline = [one for one in run.asked if one.arm == arms[0].name]
    languages = sorted({one.language for one in baseline})
    pairs = [pair(arm.name, baseline, [one for one in run.asked if one.arm == arm.name]) for arm in arms[1:]]
    experimental = {arm.name for arm in arms if arm.is_experimental}
    return recommend(pairs, languages, margins, experimental=experimental)


def saving_of(standing: ArmStanding, before: Forecast, after: Forecast | None) -> Saving:
    """From the forecasts with the settings as they are, and as the arm has them.

    Dollars go by the clips that both were asked, which tell more than two forecasts do.
    """
    cost, usd = standing.cost_ratio, before.usd.value
    seconds = before.seconds.value - after.seconds.value if after else math.nan
    return Saving(
        Estimate(usd * (1 - cost.value), usd * (1 - cost.high), usd * (1 - cost.low)),
        seconds if math.isfinite(seconds) else None,
    )


def advise(
    recommendation: Recommendation,
    arms: Sequence[Arm],
    design: Design,
    saving: Saving | None,
    before: Forecast | None = None,
) -> CanaryAdvice:
    """The whole of it. `design` is the canary's as planned, `before` the forecast with the settings as they are."""
    best = next((arm for arm in arms if arm.name == recommendation.arm), None)
    experiments = tuple(_try_out(recommendation, arm, before) for arm in arms[1:] if arm.is_experimental)
    if best is None:
        usual = _without_experiments(recommendation, arms)
        return CanaryAdvice(recommendation, (), None, _explain_none(usual, design), experiments)
    words = _explain_arm(recommendation, recommendation.standing_of(best.name), best, saving)
    return CanaryAdvice(recommendation, env_lines(best, arms[0]), saving, words, experiments)


def _without_experiments(told: Recommendation, arms: Sequence[Arm]) -> Recommendation:
    experimental = {arm.name for arm in arms if arm.is_experimental}
    return replace(told, standings=tuple(one for one in told.standings if one.arm not in experimental))


def _try_out(told: Recommendation, arm: Arm, before: Forecast | None) -> Experiment:
    standing = told.standing_of(arm.name)
    saving = saving_of(standing, before, None) if before is not None else None
    cost = standing.cost_ratio
    if math.isnan(cost.value):
        return Experiment(arm.name, None, f"“{arm.name}” (experimental): no clip was asked in both ways")
    saves = ""
    if saving is not None and math.isfinite(saving.usd.value):
        usd = saving.usd
        would = "would save" if usd.value >= 0 else "would cost"
        ends = sorted((abs(usd.low), abs(usd.high))) if usd.low * usd.high > 0 else (usd.low, usd.high)
        more = "" if usd.value >= 0 else " more"
        saves = (
            f", and {would} {money(abs(usd.value))} ({money(ends[0])} to {money(ends[1])}){more} of the queue"
        )
    hardest = f"; {margin_words(standing.worst[0])}" if standing.worst else ""
    words = (
        f"“{arm.name}” (experimental, never recommended): {standing.standing}, p {standing.p:.3f}{hardest}. It costs"
        f" {percent(cost.value)} of the baseline ({percent(cost.low)} to {percent(cost.high)}){saves}"
    )
    return Experiment(arm.name, saving, words)


def env_lines(arm: Arm, baseline: Arm) -> tuple[str, ...]:
    """The settings in which an arm differs from the baseline, as `.env` has them."""
    before = baseline.settings
    return tuple(f"{name}={value}" for name, value in arm.settings.items() if before.get(name) != value)


# ----------------------------------------------------------------------------- words


def _explain_arm(told: Recommendation, standing: ArmStanding, arm: Arm, saving: Saving | None) -> str:
    margins, languages = told.margins, len(standing.worst)
    saves = ""
    if saving is not None:
        usd = saving.usd
        saves = f" It saves {money(usd.value)} ({money(usd.low)} to {money(usd.high)}) of the queue"
        if saving.seconds is not None and abs(saving.seconds) >= 1:
            sooner = "sooner" if saving.seconds > 0 else "later"
            saves += f", which ends {duration(abs(saving.seconds))} {sooner}"
        saves += "."
    return (
        f"Take “{arm.name}”: it costs {percent(standing.cost_ratio.value)} of the baseline"
        f" ({percent(standing.cost_ratio.low)} to {percent(standing.cost_ratio.high)}), and in none of {languages}"
        f" {'language' if languages == 1 else 'languages'} is it worse by more than {points(margins.share)} points of"
        f" the clips, or differs in more than {percent(margins.text)} of the letters.{saves}"
        f" An arm that is worse would look as good in {_percent_at_most(standing.p)} of canaries."
    )


def _explain_none(told: Recommendation, design: Design) -> str:
    if not told.standings:
        return "Nothing was compared that could be recommended."
    cheaper = [one for one in told.standings if one.cheaper]
    if not cheaper:
        return "Keep the settings: no other way of asking is surely cheaper."
    alone = sorted({test.language for one in cheaper for test in one.worst if test.videos < 2})
    if alone:
        named = ", ".join(LANGUAGES[code].name if code in LANGUAGES else code for code in alone)
        return (
            "Keep the settings: no cheaper way of asking is surely not worse. One video proves nothing, and of"
            f" {named} there was one archive only: put more of them into the queue, or name them"
        )
    open_ones = [(count, one.arm) for one in cheaper if (count := clips_that_tell(one, design)) is not None]
    if not open_ones:
        return "Keep the settings: no cheaper way of asking is surely not worse, and more clips will hardly tell."
    count, arm = min(open_ones)
    return (
        f"Keep the settings: no cheaper way of asking is surely not worse. If “{arm}” is as good, about"
        f" {count:,} clips would tell: --clips {count}, and dollars for them with --max-usd"
    )


def clips_that_tell(standing: ArmStanding, design: Design) -> int | None:
    """Clips over all languages with which an unsure arm passes, if it is as good as the baseline.

    None: it is not unsure, or it has been asked that many.
    """
    if standing.standing is not ArmMark.UNSURE:
        return None
    wanted = replace(design, disagreeing=min(standing.disagreeing, _MOST_DISAGREEING))
    count = clips_needed(wanted) * design.languages
    return count if count > standing.clips else None


def margin_words(held: MarginTest) -> str:
    """`Tamil: clips out of the lane asr +2.1 points (-0.4 to +4.9)`."""
    name = LANGUAGES[held.language].name if held.language in LANGUAGES else held.language
    found = held.difference
    if math.isnan(found.value):
        return f"{name}: nothing to compare"
    if held.measure == TEXT:
        return (
            f"{name}: {percent(found.value)} of the letters differ (at most {percent(max(found.high, 0.0))})"
        )
    few = "; one archive only" if held.videos < 2 else ""
    return (
        f"{name}: {MEASURE_WORDS[held.measure]} {_signed_points(found.value)} points"
        f" ({_signed_points(found.low)} to {_signed_points(found.high)}{few})"
    )


def points(share: float) -> str:
    """A difference of shares in points, without a sign."""
    return f"{round(100 * share, 1):g}"


def _signed_points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _percent_at_most(p: float) -> str:
    return f"{percent(p)} at most" if p >= 0.001 else "fewer than 0.1 %"

"""A canary of the right size: clips that a recommendation takes, what they cost, what fewer can tell. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lipika.canary.noninferiority import Design, clips_needed, largest_disagreement
from lipika.canary.pairs import MEASURE_WORDS
from lipika.canary.recommendation import ALPHA, Margins
from lipika.models import AnswerForm, Usage
from lipika.wording import money, number, percent

CLIPS_EACH = 20
"""Of one archive, while there are others: clips of one archive share voices and a room."""
POWER = 0.90
_DISAGREEING = 0.05
"""Share of clips that are assumed to be in a lane in one arm and out of it in another."""
_RESEMBLANCE = 0.01
"""Assumed correlation of differences within a video. That of answers is larger; pairing takes most of it away."""
_FEWEST = 120
_SPENDABLE = 0.9  # of the cap: some clips are asked twice

_PROMPT, _AUDIO = 440, 256  # tokens of a clip of 8 seconds, as docs/cost.md counts them
_ANSWERS = {AnswerForm.FULL: 120, AnswerForm.LEAN: 60}
_THOUGHTS = {"minimal": 8, "low": 100, "medium": 400, "high": 1200}


def usual_clip(thinking_level: str, form: AnswerForm, clips: int = 1) -> Usage:
    """The tokens of one clip of 8 seconds that is asked once: a guess until the canary has measured it.

    `clips` share a prompt. How much is thought of several at once nobody knows: as much of each, to be safe.
    """
    thoughts = _THOUGHTS[thinking_level]
    return Usage(
        prompt=_PROMPT // clips + _AUDIO,
        prompt_audio=_AUDIO,
        output=_ANSWERS[form] + thoughts,
        thoughts=thoughts,
    )


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """Clips over all languages: those to ask, those that a recommendation takes, and what each costs in all arms.

    `enough_for` is the share of clips that arms may disagree on for `clips` to be enough; 0: for none.
    """

    clips: int
    needed: int
    design: Design
    usd_each: float
    enough_for: float

    @property
    def words(self) -> str:
        """For a person, before the first clip is asked."""
        design = self.design
        if not design.arms:
            return f"{self.clips:,} clips, about {money(self.clips * self.usd_each)}; nothing is compared"
        told = (
            f"{self.clips:,} clips in {design.arms + 1} ways, about {money(self.clips * self.usd_each)}."
            f" To recommend a way that is not worse by more than {number(100 * design.margin)} points in any of"
            f" {design.languages} languages (wrong in {percent(design.alpha)} at most, found in"
            f" {percent(design.power)}) it takes {self.needed:,} clips, about {money(self.needed * self.usd_each)},"
            f" if arms and baseline disagree on {percent(design.disagreeing)} of them."
        )
        if self.clips >= self.needed:
            return told
        if not self.enough_for:
            return f"{told} These are too few for any recommendation: --clips and --max-usd"
        return f"{told} These are enough where they disagree on {percent(self.enough_for)} at most"


def design_of(margins: Margins, arms: int, languages: int) -> Design:
    """The comparison of so many arms with the baseline."""
    return Design(
        margins.share,
        arms,
        languages,
        len(MEASURE_WORDS),
        _DISAGREEING,
        _RESEMBLANCE,
        CLIPS_EACH,
        ALPHA,
        POWER,
    )


def plan_clips(design: Design, wanted: int | None, usd_each: float, max_usd: float) -> CanaryPlan:
    """`wanted` clips; None: as many as a recommendation takes, or as many as `max_usd` pays for where that is less.

    `usd_each` is what a clip costs in all arms together.
    """
    needed = clips_needed(design) * design.languages if design.arms else _FEWEST
    affordable = math.floor(_SPENDABLE * max_usd / usd_each) if usd_each else needed
    clips = wanted or max(min(needed, affordable), 1)
    enough_for = largest_disagreement(design, clips // design.languages) if design.arms else 1.0
    return CanaryPlan(clips, needed, design, usd_each, enough_for)

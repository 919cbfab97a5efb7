"""Is the canary's recommendation right? 400 canaries with a planted truth, the recommendation of each beside it.

    python -m benchmarks.canary_power [--canaries 400]

Each draws clips, videos (whose clips are alike) and arms anew; what is made up are faults of answers, not the tests
over them. An arm is as good as the baseline, or worse in a single measure of a single language: by twice the margin
(clear), or by little more than it, which is the hardest to see.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.setting import machine, save
from lipika.canary.noninferiority import clips_needed
from lipika.canary.pairs import MEASURE_WORDS, SHARES, TEXT, Pairs
from lipika.canary.planning import design_of
from lipika.canary.recommendation import Margins, recommend
from lipika.forecast.shares import wilson
from lipika.languages import FIRST_CLASS

CANARIES = 400
ARMS = 5
HARDLY_WORSE, CLEARLY_WORSE = 1.1, 2.0  # margins
_TEXT_OF_GOOD = 0.03  # letters that differ between two good arms


@dataclass(frozen=True, slots=True)
class Plant:
    """One arm as it is: cost beside the baseline's, and by how many margins it is worse, where."""

    cost: float
    worse: float = 0.0
    measure: str = ""
    language: str = ""  # empty: in all


@dataclass(frozen=True, slots=True)
class World:
    """Clips and videos as they are. `resemblance` is how alike videos make the differences of their clips."""

    clips: int  # of each language
    clips_each: int  # of each video
    disagreeing: float
    resemblance: float


@dataclass(frozen=True, slots=True)
class Found:
    """What came of the canaries of one case. `right`: the cheapest arm that is not worse was recommended."""

    case: str
    canaries: int
    clips_of_a_language: int
    videos_of_a_language: int
    worse_recommended: float
    worse_at_most: float  # the upper end of its 95 % interval
    right: float
    right_at_least: float  # the lower end
    cpu_s: float


def plants(case: str, chance: np.random.Generator) -> list[Plant]:
    """The arms of one canary, the cheapest first: costs 0.5, 0.6, ..."""
    costs = [0.5 + 0.1 * place for place in range(ARMS)]
    if case == "all good":
        return [Plant(cost) for cost in costs]
    worse = CLEARLY_WORSE if case == "clear" else HARDLY_WORSE
    bad = ARMS if case == "all hardly worse" else 2
    return [
        Plant(cost, worse, str(chance.choice(list(MEASURE_WORDS))), str(chance.choice(FIRST_CLASS)))
        if place < bad
        else Plant(cost)
        for place, cost in enumerate(costs)
    ]


CASES = ("all good", "clear", "hardly worse", "all hardly worse")
"""In the first two every arm lies at least a margin from the margin: a right recommendation is promised of them."""


def simulate(case: str, world: World, margins: Margins, canaries: int, *, seed: int = 1) -> Found:
    """Draw canaries, recommend, and count."""
    began = time.process_time()
    chance = np.random.default_rng([seed, CASES.index(case)])
    wrong = right = 0
    for _ in range(canaries):
        arms = plants(case, chance)
        pairs = [draw_arm(str(place), arm, world, margins, chance) for place, arm in enumerate(arms)]
        arm = recommend(pairs, FIRST_CLASS, margins).arm
        best = next((str(place) for place, one in enumerate(arms) if not one.worse), None)
        wrong += arm is not None and arms[int(arm)].worse > 1
        right += arm == best
    return Found(
        case,
        canaries,
        world.clips,
        -(-world.clips // world.clips_each),
        wrong / canaries,
        wilson(wrong, canaries).high,
        right / canaries,
        wilson(right, canaries).low,
        time.process_time() - began,
    )


# ----------------------------------------------------------------------------- clips


def draw_arm(name: str, plant: Plant, world: World, margins: Margins, chance: np.random.Generator) -> Pairs:
    """An arm's clips beside the baseline's."""
    codes = np.repeat(np.asarray(FIRST_CLASS, np.str_), world.clips)
    within = np.arange(world.clips) // world.clips_each
    count = int(within[-1]) + 1
    videos = np.concatenate([within + place * count for place in range(len(FIRST_CLASS))])
    here = codes == plant.language if plant.language else np.ones(len(codes), np.bool_)
    lost = {}
    for measure in SHARES:
        gap = (
            np.where(here, plant.worse * margins.share, 0.0)
            if measure == plant.measure
            else np.zeros(len(codes))
        )
        lost[measure] = _draw_lost(gap, videos, world, chance)
    text = (
        np.where(here, plant.worse * margins.text, _TEXT_OF_GOOD) if plant.measure == TEXT else _TEXT_OF_GOOD
    )
    letters = np.rint(chance.gamma(4.0, 15.0, len(codes))) + 1
    usd = chance.gamma(16.0, 1 / 16.0, len(codes)) * 0.001
    milliseconds = chance.gamma(4.0, 500.0, len(codes))
    return Pairs(
        name,
        codes,
        videos,
        lost,
        _draw_differing(np.broadcast_to(text, len(codes)), videos, world, chance),
        letters,
        usd * plant.cost * chance.gamma(100.0, 0.01, len(codes)),
        usd,
        milliseconds,
        milliseconds,
    )


def _draw_lost(
    gap: NDArray[np.float64], videos: NDArray[np.int64], world: World, chance: np.random.Generator
) -> NDArray[np.int8]:
    """-1, 0 or 1 for each clip: lost less won is `gap` in the mean."""
    share = np.maximum(world.disagreeing, gap)
    luck = _alike(videos, world, chance)
    won, lost = (share - gap) / 2, (share + gap) / 2
    return np.where(luck < won, -1, np.where(luck > 1 - lost, 1, 0)).astype(np.int8)


def _draw_differing(
    mean: NDArray[np.float64], videos: NDArray[np.int64], world: World, chance: np.random.Generator
) -> NDArray[np.float64]:
    """Shares of letters: half of the clips differ nowhere, few differ much."""
    luck = _alike(videos, world, chance)
    differing: NDArray[np.float64] = -np.log1p(-np.maximum(2 * luck - 1, 0.0)) * 2 * mean
    return np.minimum(differing, 1.0)


def _alike(videos: NDArray[np.int64], world: World, chance: np.random.Generator) -> NDArray[np.float64]:
    """Luck of 0..1 for each clip, part of it its video's: so much that differences correlate as the world says.

    Of normal luck that correlates by r, what lies beyond two far thresholds correlates by r times the square of
    twice the density there, over the share that lies beyond.
    """
    normal = NormalDist()
    beyond = normal.pdf(normal.inv_cdf(1 - world.disagreeing / 2))
    part = world.resemblance * world.disagreeing / (2 * beyond) ** 2
    common = chance.standard_normal(int(videos.max()) + 1)[videos]
    values = np.sqrt(part) * common + np.sqrt(1 - part) * chance.standard_normal(len(videos))
    luck: NDArray[np.float64] = np.interp(values, _GRID, _CHANCES)
    return luck


_GRID = np.linspace(-6.0, 6.0, 4801)
_CHANCES = np.asarray([NormalDist().cdf(value) for value in _GRID])


def planned_world(more_alike: float = 1.0) -> World:
    """As many clips as planned; and such as resemble each other more than planned, so many times."""
    design = design_of(Margins(), ARMS, len(FIRST_CLASS))
    return World(clips_needed(design), design.clips_each, design.disagreeing, more_alike * design.resemblance)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.canary_power", description=__doc__)
    parser.add_argument("--canaries", type=int, default=CANARIES)
    canaries = parser.parse_args(arguments).canaries
    load_before = os.getloadavg()[0]
    results: dict[str, list[dict[str, object]]] = {}
    for name, world in (("as planned", planned_world()), ("more alike", planned_world(3.0))):
        print(
            f"{name}: {world.clips} clips of each of {len(FIRST_CLASS)} languages, {world.clips_each} of a video"
        )
        for case in CASES:
            one = simulate(case, world, Margins(), canaries)
            results.setdefault(name, []).append(asdict(one))
            print(
                f"  {case:16} worse recommended in {one.worse_recommended:6.1%} (at most {one.worse_at_most:.1%}),"
                f" the right one in {one.right:6.1%} (at least {one.right_at_least:.1%}); {one.cpu_s:.0f} s of CPU",
                flush=True,
            )
    save("canary_power", {"machine": machine(load_before), "worlds": results})


if __name__ == "__main__":
    main()

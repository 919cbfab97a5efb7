"""Coverage of the intervals of an audit: 5,000 audits of corpora whose errors are known, in each case.

    python -m benchmarks.audit_coverage [--audits 5000]

A corpus has 20,000 clips of one language in six strata (three lanes, two tiers), with errors as they are found in
practice (mean 5.1 % of a clip's letters, standard deviation 11 points): most clips have none, a few are wrong
altogether. The second listener's distance is drawn to go along with the errors as closely as a case says. What
is measured is how often the truth lies in the interval, how wide it is, and how often a verdict is wrong.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.setting import machine, save
from lipika.audit.estimates import AuditedRate, HeardClips, Stratum, error_rate, share
from lipika.audit.sampling import allot
from lipika.audit.verdicts import Acceptance, judge
from lipika.forecast.intervals import Floats
from lipika.forecast.shares import wilson

AUDITS = 5000
CLIPS = 20_000
CORPORA = 20
_SHARES = (0.45, 0.15, 0.20, 0.08, 0.06, 0.06)  # of the strata
_WORSE = (0.5, 1.4, 0.8, 1.7, 1.5, 2.0)  # clips with errors beside the mean's


@dataclass(frozen=True, slots=True)
class Case:
    """A corpus and an audit of it. `correlation` is that of clip errors and the second listener's distance."""

    name: str
    heard: int
    correlation: float
    mean: float = 0.051
    deviation: float = 0.11
    none: float = 0.55  # share of clips without an error
    unusable: float = 0.02
    proxied: float = 1.0  # share of clips that the second listener heard


CASES = (
    Case("correlation 0.75", 300, 0.75),
    Case("correlation 0.3", 300, 0.3),
    Case("correlation 0", 300, 0.0),
    Case("half of the clips have a proxy", 300, 0.75, proxied=0.5),
    Case("200 clips", 200, 0.75),
    Case("500 clips", 500, 0.75),
    Case("1,000 clips", 1000, 0.75),
    Case("a good corpus", 300, 0.75, mean=0.02, deviation=0.07, none=0.75, unusable=0.005),
    Case("a bad corpus", 300, 0.75, mean=0.15, deviation=0.2, none=0.25, unusable=0.10),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of the audits of one case. Half widths in points of CER."""

    case: str
    audits: int
    heard: int
    correlation: float
    cer: float
    covered: float
    covered_at_least: float  # the lower end of its 95 % interval
    half_width: float
    covered_alone: float
    half_width_alone: float
    error_beside_alone: float  # root mean square errors, with the proxy over without
    unusable_covered: float
    wrongly_accepted: float  # of corpora just beyond the limit
    wrongly_rejected: float  # of corpora at the limit
    cpu_ms: float  # of one audit's estimates


class Corpus:
    """Clips whose errors are known."""

    def __init__(self, case: Case, chance: np.random.Generator) -> None:
        sizes = (np.array(_SHARES) * CLIPS).astype(int)
        self.stratum = np.repeat(np.arange(len(sizes)), sizes)
        factor = np.array(_WORSE)[self.stratum]
        factor /= factor.mean()
        rate = _errors(case, chance, factor)
        other = _errors(case, chance, factor)
        self.unusable = chance.random(len(factor)) < np.minimum(case.unusable * factor, 0.9)
        self.letters = np.maximum(chance.gamma(4, 14, len(factor)), 3).round()
        self.errors = np.minimum((rate * self.letters).round(), 3 * self.letters)
        mixed = case.correlation * rate + np.sqrt(1 - case.correlation**2) * other + 0.03
        knows = chance.random(len(factor)) < case.proxied
        self.proxy_letters = np.where(knows, self.letters, 0.0)
        self.proxy_errors = np.minimum(mixed, 0.6) * self.proxy_letters
        self.errors[self.unusable] = 0
        self.true_letters = np.where(self.unusable, 0.0, self.letters)
        self.spreads = [
            float(np.std(self.proxy_errors[self.stratum == place])) for place in range(len(sizes))
        ]
        self.clip_rate = rate
        self.cer = float(self.errors.sum() / self.true_letters.sum())
        self.unusable_share = float(self.unusable.mean())
        self.strata = [
            Stratum(
                int(here.sum()), float(self.proxy_errors[here].sum()), float(self.proxy_letters[here].sum())
            )
            for here in (self.stratum == place for place in range(len(sizes)))
        ]

    def hear(self, count: int, chance: np.random.Generator) -> HeardClips:
        """A sample as an audit draws it."""
        parts = allot([stratum.clips for stratum in self.strata], count, spreads=self.spreads)
        places = np.concatenate(
            [
                chance.choice(np.flatnonzero(self.stratum == place), part, replace=False)
                for place, part in enumerate(parts)
            ]
        )
        return HeardClips(
            self.stratum[places],
            self.errors[places],
            self.true_letters[places],
            self.unusable[places],
            self.proxy_errors[places],
            self.proxy_letters[places],
        )


def _errors(case: Case, chance: np.random.Generator, factor: Floats) -> Floats:
    """Errors of clips, as shares of their letters: none in most, and in worse strata in fewer."""
    mean = case.mean / (1 - case.none)
    variance = (case.deviation**2 + case.mean**2) / (1 - case.none) - mean**2
    drawn = chance.gamma(mean**2 / variance, variance / mean, len(factor))
    wrong = chance.random(len(factor)) < (1 - case.none) * factor
    return np.where(wrong, np.minimum(drawn, 1.5), 0.0)


def try_case(case: Case, audits: int) -> Found:
    """So many audits of `CORPORA` corpora of one kind."""
    chance = np.random.default_rng(20261130)
    both: list[tuple[float, AuditedRate, AuditedRate, float, AuditedRate]] = []
    accepted = rejected = 0
    started = time.process_time()
    for number in range(audits):
        if number % max(audits // CORPORA, 1) == 0:
            corpus = Corpus(case, chance)
        heard = corpus.hear(case.heard, chance)
        cer = error_rate(heard, corpus.strata)
        alone = error_rate(heard, corpus.strata, proxy=False)
        unusable = share(heard, corpus.strata, heard.unusable)
        both.append((corpus.cer, cer, alone, corpus.unusable_share, unusable))
        just_below = (corpus.cer - 1e-9, corpus.unusable_share - 1e-9)
        just_above = (corpus.cer + 1e-9, corpus.unusable_share + 1e-9)
        accepted += Acceptance.ACCEPT in (judge(cer, just_below[0]), judge(unusable, just_below[1]))
        rejected += Acceptance.REJECT in (judge(cer, just_above[0]), judge(unusable, just_above[1]))
    spent = time.process_time() - started
    covered = sum(rate.estimate.low <= truth <= rate.estimate.high for truth, rate, *_ in both)
    return Found(
        case.name,
        audits,
        case.heard,
        case.correlation,
        round(float(np.mean([truth for truth, *_ in both])), 4),
        round(covered / audits, 4),
        round(wilson(covered, audits).low, 4),
        _half([rate for _, rate, *_ in both]),
        round(
            float(np.mean([one.estimate.low <= truth <= one.estimate.high for truth, _, one, *_ in both])), 4
        ),
        _half([one for _, _, one, *_ in both]),
        round(_error([(t, r) for t, r, *_ in both]) / _error([(t, r) for t, _, r, *_ in both]), 3),
        round(float(np.mean([r.estimate.low <= t <= r.estimate.high for *_, t, r in both])), 4),
        round(accepted / audits, 4),
        round(rejected / audits, 4),
        round(1000 * spent / audits, 2),
    )


def _half(rates: Sequence[AuditedRate]) -> float:
    return round(100 * float(np.mean([(rate.estimate.high - rate.estimate.low) / 2 for rate in rates])), 2)


def _error(pairs: Sequence[tuple[float, AuditedRate]]) -> float:
    return float(np.sqrt(np.mean([(rate.estimate.value - truth) ** 2 for truth, rate in pairs])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=AUDITS)
    audits = parser.parse_args().audits
    load = os.getloadavg()[0]
    found = []
    for case in CASES:
        one = try_case(case, audits)
        found.append(asdict(one))
        print(
            f"{one.case:32} {one.heard:5} heard, CER {100 * one.cer:5.2f} %: covered {100 * one.covered:.1f} %,"
            f" +-{one.half_width:.2f} points; people alone {100 * one.covered_alone:.1f} %,"
            f" +-{one.half_width_alone:.2f};"
            f" error {one.error_beside_alone:.2f} of theirs; unusable {100 * one.unusable_covered:.1f} %;"
            f" wrongly accepted {100 * one.wrongly_accepted:.1f} %, rejected {100 * one.wrongly_rejected:.1f} %",
            flush=True,
        )
    save("audit_coverage", {"machine": machine(load), "cases": found})


if __name__ == "__main__":
    main()

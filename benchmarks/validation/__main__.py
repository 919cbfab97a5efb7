"""Precision, recall and cost of the checks of answers on labelled cases, and what stays open for each lane.

`python -m benchmarks.validation [--write]` uses sentences of its own, `--from DIR ...` real ones: folders or bare git
folders (benchmarks/validation/sources.py says of what form). Without them it says so. `--apart` takes the sentences
that no rule was made on.

`--write` keeps the figures in benchmarks/results/, from which docs/validation.md is written. Exits with 1 if a target
is missed: recall >= 0.95 per kind and language, at most 1 % false alarms on correct and on code-mixed transcripts per
language, 0.25 ms of CPU per clip (median); and by lane: of damaged texts 5 % open for `asr`, of no kind over 20 %
(but those that cannot be known), of correct texts at most 0.3 % lost, the score's area under the curve >= 0.95.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.validation.cases import CORRECT, MIXED, Case, all_cases
from benchmarks.validation.damage import UNKNOWABLE
from benchmarks.validation.lanes import LaneResult, measure_lanes, own_text
from benchmarks.validation.sources import Text, read_sources
from lipika.languages import FIRST_CLASS
from lipika.models import Severity
from lipika.validation import VALIDATOR_VERSION, validate

RESULTS = Path(__file__).resolve().parents[1] / "results" / "validation.json"
LANES_REAL = RESULTS.with_name("validation_real.json")
RECALL, FALSE_ALARMS, CPU_MS = 0.95, 0.01, 0.25
EACH_OWN, EACH_REAL = 20, 100  # sentences a language for the lanes

FOUND_BY: dict[str, frozenset[str]] = {
    "loop": frozenset({"loop"}),
    "truncation": frozenset({"truncated", "rate_low", "rate_too_low"}),
    "wrong script": frozenset({"wrong_script"}),
    "same script": frozenset({"same_script_language"}),
    "romanised": frozenset({"romanised"}),
    "translated": frozenset({"english_text"}),
    "markup": frozenset({"markup", "control_characters", "timestamp", "speaker_label"}),
    "prompt echo": frozenset({"prompt_echo"}),
    "tag mismatch": frozenset({"tag_mismatch"}),
    "unknown tag": frozenset({"unknown_tag"}),
    "invention on silence": frozenset({"speech_on_silence"}),
    "rate too high": frozenset({"rate_impossible", "rate_high"}),
    "rate too low": frozenset({"rate_too_low", "rate_low"}),
    "digits as words": frozenset({"number_words"}),
}
"""Kind of corruption -> the findings that name it."""

ALSO_TRUE: dict[str, frozenset[str]] = {
    "loop": frozenset({"rate too high"}),
    "truncation": frozenset({"rate too low"}),
    "rate too low": frozenset({"truncation"}),
    "markup": frozenset({"unknown tag"}),  # [00:05]
    "prompt echo": frozenset({"translated", "rate too high", "truncation", "markup", "unknown tag"}),
    "invention on silence": frozenset({"rate too high"}),
    "translated": frozenset({"rate too high"}),
    "romanised": frozenset({"rate too high"}),
}
"""Kind -> other kinds that are as true of such a case: no false alarm when they are found, too."""


@dataclass(slots=True)
class Score:
    """Counts of one language."""

    cases: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)  # kind -> cases of the kind found as such
    mistaken: Counter[str] = field(default_factory=Counter)  # kind -> other cases that look like it
    alarmed: Counter[str] = field(default_factory=Counter)  # correct or code-mix -> with a WARN or FAIL
    alarms: Counter[str] = field(default_factory=Counter)  # finding codes on correct and code-mix cases

    def add(self, case: Case, codes: frozenset[str], alarms: frozenset[str]) -> None:
        self.cases[case.kind] += 1
        for kind, names in FOUND_BY.items():
            if codes & names:
                if kind == case.kind:
                    self.found[kind] += 1
                elif kind not in ALSO_TRUE.get(case.kind, ()):
                    self.mistaken[kind] += 1
        if case.kind in (CORRECT, MIXED):
            self.alarmed[case.kind] += bool(alarms)
            self.alarms.update(alarms)

    def recall(self, kind: str) -> float | None:
        return self.found[kind] / self.cases[kind] if self.cases[kind] else None

    def precision(self, kind: str) -> float | None:
        named = self.found[kind] + self.mistaken[kind]
        return self.found[kind] / named if named else None

    def false_alarms(self, kind: str) -> float:
        return self.alarmed[kind] / self.cases[kind]


def measure(cases: Iterable[Case]) -> tuple[dict[str, Score], list[float]]:
    """Scores by language, and CPU seconds of each call."""
    scores: dict[str, Score] = defaultdict(Score)
    seconds = []
    for case in cases:
        began = time.thread_time()
        verdict = validate(case.answer, case.clip, case.language)
        seconds.append(time.thread_time() - began)
        codes = frozenset(found.code for found in verdict.findings)
        alarms = frozenset(found.code for found in verdict.findings if found.severity is not Severity.INFO)
        scores[case.language].add(case, codes, alarms)
    return scores, seconds


def missed_targets(scores: dict[str, Score]) -> list[str]:
    missed = [
        f"recall {language} {kind}: {recall:.3f} < {RECALL}"
        for language, score in scores.items()
        for kind in FOUND_BY
        if (recall := score.recall(kind)) is not None and recall < RECALL
    ]
    return missed + [
        f"false alarms {language} {kind}: {share:.3f} > {FALSE_ALARMS} ({dict(score.alarms)})"
        for language, score in scores.items()
        for kind in (CORRECT, MIXED)
        if (share := score.false_alarms(kind)) > FALSE_ALARMS
    ]


Figures = dict[str, dict[str, dict[str, float | None]]]
"""Measure -> kind -> language -> share; None where the language has no such case."""


def figures(scores: dict[str, Score]) -> Figures:
    """What does not depend on the machine, to four digits."""

    def table(
        kinds: Iterable[str], share: Callable[[Score, str], float | None]
    ) -> dict[str, dict[str, float | None]]:
        return {
            kind: {
                language: None if (value := share(score, kind)) is None else round(value, 4)
                for language, score in scores.items()
            }
            for kind in kinds
        }

    return {
        "recall": table(FOUND_BY, Score.recall),
        "precision": table(FOUND_BY, Score.precision),
        "false_alarms": table((CORRECT, MIXED), Score.false_alarms),
    }


def write(scores: dict[str, Score], lanes: LaneResult, median_ms: float, p99_ms: float) -> None:
    held = {
        "validator": VALIDATOR_VERSION,
        "cases": sum(score.cases.total() for score in scores.values()),
        **figures(scores),
        "lanes": asdict(lanes),
        "cpu_ms": {"median": round(median_ms, 3), "p99": round(p99_ms, 3)},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(held, indent=1) + "\n", "utf-8")


def write_real(text: Text, lanes: LaneResult, each: int, *, apart: bool) -> None:
    held = {
        "validator": VALIDATOR_VERSION,
        "sources": [asdict(source) for source in text.sources],
        "sentences_each": each,
        "apart": apart,
        "unknowable": sorted(UNKNOWABLE),
        "lanes": asdict(lanes),
    }
    LANES_REAL.write_text(json.dumps(held, indent=1) + "\n", "utf-8")


Rows = list[tuple[str, list[float | None]]]


def _table(title: str, rows: Rows, form: str = "7.3f") -> None:
    print(f"\n{title:<22}" + "".join(f"{language:>7}" for language in FIRST_CLASS))
    for name, values in rows:
        print(f"{name:<22}" + "".join("      -" if value is None else f"{value:{form}}" for value in values))


def _print_lanes(lanes: LaneResult) -> None:
    print(f"\nby lane: {lanes.cases:,} cases; of damaged texts {lanes.mean_open:.1%} stay open for asr,")
    print(f"of correct ones {lanes.lost:.2%} lose it; area under the curve {lanes.area:.3f}")
    print(f"\n{'damage':<30}{'asr':>8}{'clean':>8}{'expr.':>8}{'retried':>9}{'protected':>11}")
    for kind, held in sorted(lanes.damaged.items(), key=lambda item: -item[1]["asr"]):
        star = "*" if kind in UNKNOWABLE else " "
        print(
            f"{kind + star:<30}{held['asr']:>8.3f}{held['tts_clean']:>8.3f}{held['tts_expressive']:>8.3f}"
            f"{held['retried']:>9.3f}{held['protected']:>11.3f}"
        )
    print(f"\n{'correct form':<30}{'lost':>8}{'failed':>8}{'retried':>9}")
    for kind, held in lanes.correct.items():
        print(f"{kind:<30}{held['lost']:>8.4f}{held['failed']:>8.4f}{held['retried']:>9.3f}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--from", dest="folders", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--apart", action="store_true", help="the sentences that no rule was made on")
    parser.add_argument("--each", type=int, help="sentences a language for the lanes")
    return parser.parse_args(arguments)


def _main_real(options: argparse.Namespace) -> int:
    text = read_sources(options.folders)
    for source in text.sources:
        print(f"{source.name} {source.commit[:12]}: {source.sentences:,} sentences")
    each = options.each or EACH_REAL
    lanes = measure_lanes(text.apart if options.apart else text.known, each)
    _print_lanes(lanes)
    if options.write:
        write_real(text, lanes, each, apart=options.apart)
    return _verdict(lanes.missed_targets())


def _verdict(missed: list[str]) -> int:
    print("\nall targets met" if not missed else "\nmissed:\n  " + "\n  ".join(missed))
    return int(bool(missed))


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    if options.folders:
        return _main_real(options)
    scores, seconds = measure(all_cases())
    ordered = [scores[language] for language in FIRST_CLASS]
    print(
        f"validator {VALIDATOR_VERSION}: {sum(score.cases.total() for score in ordered)} cases in 12 languages"
    )
    counts: Rows = [(kind, [float(score.cases[kind]) for score in ordered]) for kind in (CORRECT, MIXED)]
    _table("cases", counts, "7.0f")
    _table("recall", [(kind, [score.recall(kind) for score in ordered]) for kind in FOUND_BY])
    _table("precision", [(kind, [score.precision(kind) for score in ordered]) for kind in FOUND_BY])
    _table(
        "false alarms", [(kind, [score.false_alarms(kind) for score in ordered]) for kind in (CORRECT, MIXED)]
    )
    median_ms = statistics.median(seconds) * 1000
    p99_ms = statistics.quantiles(seconds, n=100)[98] * 1000
    print(f"\nCPU per clip: median {median_ms:.3f} ms, p99 {p99_ms:.3f} ms")
    missed = missed_targets(scores)
    if median_ms > CPU_MS:
        missed.append(f"CPU: {median_ms:.3f} ms > {CPU_MS}")
    print("\nno real sentences: --from DIR reads some; by lane, the benchmark's own")
    lanes = measure_lanes(own_text(), options.each or EACH_OWN)
    _print_lanes(lanes)
    if options.write:
        write(scores, lanes, median_ms, p99_ms)
    return _verdict([*missed, *lanes.missed_targets(real=False)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Class every case, print the shares that are right, and with `--write` keep them for docs/validation.md."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.alignment.cases import LANES, MISSING, MUCH_MISSING, RIGHT, TAIL, WRONG, Case, cases
from lipika.alignment.compare import Pair, compare
from lipika.alignment.indicconformer import Heard
from lipika.alignment.romanise import Romaniser, open_romaniser
from lipika.languages import FIRST_CLASS
from lipika.models import Alignment, Answer
from lipika.validation import RULES, LaneName, alignment_findings

RESULTS = Path(__file__).parents[1] / "results" / "alignment.json"
TARGET = 0.97
TARGET_OF_WORDS = 0.95
"""Of kinds with one letter in 20 misheard in which one word more or less decides."""
_OF_WORDS = {MISSING, WRONG, MUCH_MISSING, "1 letter in 20 misheard"}


def aligned(made: list[Case], romaniser: Romaniser) -> list[Alignment]:
    """What the comparison makes of cases of one language."""
    pairs = [Pair(_answer(case), 8_000, case.language, Heard(case.heard, "")) for case in made]
    return compare(pairs, romaniser, "made")


def is_right(case: Case, alignment: Alignment) -> bool:
    """Whether the class is one the kind may have, the lanes are those it closes, and a missing tail is found where
    there is one; what lacks words elsewhere may lack them near it."""
    return has_right_class(case, alignment) and _has_lanes(case.kind, closed(alignment))


def has_right_class(case: Case, alignment: Alignment) -> bool:
    """The same but for the lanes. Of every kind `TARGET` is held to it, whatever decides about the lanes."""
    tail = bool(alignment.missing_tail) is (case.kind == TAIL) or case.kind in {MISSING, MUCH_MISSING}
    return alignment.agreement in RIGHT[case.kind] and tail


def closed(alignment: Alignment) -> frozenset[LaneName]:
    """The lanes that an alignment closes."""
    return frozenset(lane for found in alignment_findings(alignment) for lane in RULES[found.code].closes)


def _has_lanes(kind: str, lanes: frozenset[LaneName]) -> bool:
    wanted = LANES.get(kind)
    return wanted is None or (lanes >= wanted if wanted else not lanes)


def shares(
    made: list[Case],
    alignments: list[Alignment],
    judge: Callable[[Case, Alignment], bool] = is_right,
) -> dict[str, float]:
    """Kind -> share of its cases that are right."""
    right: dict[str, Counter[bool]] = defaultdict(Counter)
    for case, alignment in zip(made, alignments, strict=True):
        right[case.kind][judge(case, alignment)] += 1
    return {kind: round(right[kind][True] / right[kind].total(), 4) for kind in RIGHT}


def misses(right: dict[str, float]) -> dict[str, float]:
    """Kinds whose share falls short of its target."""
    return {
        kind: share
        for kind, share in right.items()
        if share < (TARGET_OF_WORDS if kind in _OF_WORDS else TARGET)
    }


def _answer(case: Case) -> Answer:
    return Answer(case.transcription, case.transcription, case.language, "neutral", "news", "moderate", "")


def main(arguments: list[str]) -> int:
    romaniser = open_romaniser("builtin" if "--builtin" in arguments else "auto")
    table: dict[str, dict[str, float]] = {kind: {} for kind in RIGHT}
    misclassed: dict[str, float] = {}
    count, cpu_s = 0, 0.0
    for language in FIRST_CLASS:
        made = list(cases(language))
        aligned(made[:20], romaniser)  # tables are loaded once
        started = time.process_time()
        alignments = aligned(made, romaniser)
        cpu_s += time.process_time() - started
        count += len(made)
        for kind, share in shares(made, alignments).items():
            table[kind][language] = share
        classes = shares(made, alignments, has_right_class)
        misclassed |= {f"{kind} {language}": share for kind, share in classes.items() if share < TARGET}
    print(f"{count} pairs, {cpu_s / count * 1000:.2f} ms each, {romaniser.name}")
    for kind, by_language in table.items():
        print(f"{kind:26}", *(f"{code} {share:.3f}" for code, share in by_language.items()))
    if "--write" in arguments:
        held = {
            "cases": count,
            "romaniser": romaniser.name,
            "cpu_ms": round(cpu_s / count * 1000, 3),
            "right": table,
        }
        RESULTS.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", "utf-8")
    lowest = {kind: min(by_language.values()) for kind, by_language in table.items()}
    print("below target:", misses(lowest) or "none", "by class alone:", misclassed or "none")
    return 1 if misses(lowest) or misclassed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

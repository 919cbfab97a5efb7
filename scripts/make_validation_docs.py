"""Write the tables of docs/validation.md from the code and the benchmark's results; with `--check` only compare."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.models import Advice
from lipika.validation import DEFAULT_BANDS, RULES, LaneName
from lipika.validation.catalogue import Rule, ScorePart

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "validation.md"
RESULTS = ROOT / "benchmarks" / "results" / "validation.json"
REAL = ROOT / "benchmarks" / "results" / "validation_real.json"
AGREEMENT = ROOT / "benchmarks" / "results" / "alignment.json"
WORDS = ROOT / "benchmarks" / "results" / "word_times.json"
_BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)

_CLOSES = {
    frozenset[LaneName](): "",
    frozenset(LaneName): "all",
    frozenset({LaneName.TTS_CLEAN, LaneName.TTS_EXPRESSIVE}): "both TTS",
}
_WORTH = {Advice.KEEP: "", Advice.VARY: "varied retry", Advice.ELSEWHERE: "other provider"}


def findings(part: ScorePart) -> str:
    """The findings that lower one part of the score."""
    head = "| code | severity | meaning | found when | source | closes | costs | worth |"
    rows = [_row(rule) for rule in RULES.values() if rule.part is part]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows]) + "\n"


def _row(rule: Rule) -> str:
    closes = _CLOSES.get(rule.closes, ", ".join(f"`{name}`" for name in LaneName if name in rule.closes))
    worth = _WORTH[rule.advice] + (", never accepted" if rule.never_accepted else "")
    cells = (
        f"`{rule.code}`",
        rule.severity,
        rule.meaning,
        rule.threshold,
        rule.source,
        closes,
        f"{rule.penalty:g}",
        worth,
    )
    return f"| {' | '.join(cells)} |"


def rates() -> str:
    """The uncalibrated limits of every language."""
    head = (
        "| language | syllables/s of speech: fail, warn | with few characters | stopped | warn, fail "
        "| characters/s: few | warn, fail |"
    )
    rows = [
        f"| {LANGUAGES[code].name} (`{code}`) | {band.syllables_low_fail:g}, {band.syllables_low_warn:g} "
        f"| {band.syllables_slow:g} | {band.syllables_stopped:g} "
        f"| {band.syllables_high_warn:g}, {band.syllables_high_fail:g} "
        f"| {band.chars_slow:g} | {band.chars_high_warn:g}, {band.chars_high_fail:g} |"
        for code, band in DEFAULT_BANDS.by_language.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows]) + "\n"


def benchmark() -> str:
    """Recall and precision by kind of fault and language, false alarms, cost: from the results on file."""
    held = json.loads(RESULTS.read_text("utf-8"))
    cost = held["cpu_ms"]
    head = (
        f"{held['cases']:,} cases, validator {held['validator']}. CPU a clip: {cost['median']:.2f} ms in the median, "
        f"{cost['p99']:.2f} ms at the 99th percentile ({held['machine']}).\n"
    )
    tables = (
        _shares("recall", held["recall"], math.floor),
        _shares("precision", held["precision"], math.floor),
        _shares("false alarms", held["false_alarms"], math.ceil),
    )
    return "\n".join([head, *tables])


def _shares(
    title: str, table: Mapping[str, Mapping[str, float | None]], toward_worse: Callable[[float], int]
) -> str:
    """Three digits, rounded to the worse side: 1 means all, 0 means none."""

    def cell(share: float | None) -> str:
        return "" if share is None else f"{toward_worse(round(share * 1000, 1)) / 1000:g}"

    rows = [f"| {kind} | {' | '.join(map(cell, table[kind].values()))} |" for kind in table]
    head = f"| {title} | {' | '.join(FIRST_CLASS)} |"
    return "\n".join([head, "|---|" + "---:|" * len(FIRST_CLASS), *rows]) + "\n"


def _of(part: ScorePart) -> Callable[[], str]:
    return lambda: findings(part)


def agreement() -> str:
    """Shares of the comparison's cases that are classed as they should be."""
    held = json.loads(AGREEMENT.read_text("utf-8"))
    head = (
        f"{held['cases']:,} pairs, romanised by {held['romaniser']}. CPU a pair: {held['cpu_ms']:.2f} ms.\n"
    )
    return "\n".join([head, _shares("classed right", held["right"], math.floor)])


def lanes() -> str:
    """What stays open for each lane, on real text."""
    held = json.loads(REAL.read_text("utf-8"))
    found = held["lanes"]
    sources = (one for one in held["sources"] if one["sentences"])
    named = ", ".join(f"{one['name'].replace('+', '/')} {one['commit'][:7]}" for one in sources)
    kept = "sentences that no rule was made on" if held["apart"] else "sentences"
    head = (
        f"{found['cases']:,} cases of up to {held['sentences_each']} {kept} a language, validator "
        f"{held['validator']}. Of damaged texts {found['mean_open']:.1%} stay open for `asr` (kinds with a star "
        f"apart), of correct ones {found['lost']:.2%} lose it; area under the curve of the score "
        f"{found['area']:.3f}. Text: {named}.\n"
    )
    lines = [
        head,
        "| damage | open: `asr` | `tts_clean` | asked again | closed or asked again |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, share in found["damaged"].items():
        star = " *" if kind in held["unknowable"] else ""
        lines.append(
            f"| {kind}{star} | {share['asr']:.3f} | {share['tts_clean']:.3f} "
            f"| {share['retried']:.3f} | {share['protected']:.3f} |"
        )
    lines += ["", "| correct form | loses `asr` | asked again |", "|---|---:|---:|"]
    lines += [
        f"| {kind} | {share['lost']:.4f} | {share['retried']:.3f} |"
        for kind, share in found["correct"].items()
    ]
    by_language = ", ".join(f"{code} {share:.2%}" for code, share in found["lost_by_language"].items())
    return "\n".join([*lines, "", f"Correct texts that lose `asr`, by language: {by_language}."]) + "\n"


def words() -> str:
    """Shares of words' edges that are found within a frame."""
    held = json.loads(WORDS.read_text("utf-8"))
    most = max(figures["edges"] for figures in held["blurs"].values())
    head = (
        f"{most:,} edges of words. CPU a clip of 8 s with {held['letters']} letters: {held['cpu_ms']:.2f} ms.\n\n"
        "| posteriors | within a frame (80 ms) | median | 99 of 100 within | beside Latin words | Latin words |\n"
        "|---|---:|---:|---:|---:|---:|\n"
    )
    return head + "".join(
        f"| {name} | {figures['within_a_frame']:g} | {figures['median_ms']:.0f} ms | {figures['99_of_100_ms']:.0f} ms"
        f" | {figures['beside_stars']:g} | {figures['stars']:g} |\n"
        for name, figures in held["blurs"].items()
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "rates": rates,
    "benchmark": benchmark,
    "lanes": lanes,
    "agreement": agreement,
    "words": words,
    **{part.value: _of(part) for part in ScorePart},
}


def with_tables(text: str) -> str:
    """The page with every block between its markers written anew."""
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[3]}", text)


def main(arguments: list[str]) -> int:
    """Write the page; with `--check` return 1 if it is out of step or lacks a table."""
    text = PAGE.read_text("utf-8")
    missing = [name for name in TABLES if f"<!-- begin {name} -->" not in text]
    current = with_tables(text)
    if missing:
        print(f"docs/validation.md has no place for: {', '.join(missing)}")
        return 1
    if current != text and "--check" in arguments:
        print("docs/validation.md: out of step; run python scripts/make_validation_docs.py")
        return 1
    PAGE.write_text(current, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""docs/providers.md says what the code does: failures and reactions, prices, the file of one's own models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lipika.engine.retries import History, RetryPolicy, Step, decide
from lipika.llm import aistudio, openrouter, replies
from lipika.llm.capabilities import load_capabilities
from lipika.models import Failure, FailureKind, Trouble
from places import ROOT

PAGE = (ROOT / "docs" / "providers.md").read_text("utf-8")

# The tables of the code, by the column that shows them.
Table = Mapping[Any, FailureKind]
COLUMNS: dict[int, tuple[Table, ...]] = {
    1: (aistudio.KIND_BY_STATUS, aistudio.KIND_BY_REASON, replies.GEMINI_KIND_BY_FINISH),
    2: (
        openrouter.KIND_BY_LIMIT_SOURCE,
        openrouter.KIND_BY_ERROR_TYPE,
        openrouter.KIND_BY_STATUS,
        openrouter.KIND_BY_FINISH,
    ),
}
IN_WORDS = {"reasons"}  # fields that are named in passing


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def marked(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


FAILURES = {cells[0].strip("`"): cells for cells in rows("Failures")}


def test_every_kind_has_a_row_and_every_row_is_a_kind() -> None:
    assert list(FAILURES) == [str(kind) for kind in FailureKind]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_rows_hold_exactly_what_the_tables_hold(column: int) -> None:
    held: dict[str, set[str]] = {kind: set() for kind in FAILURES}
    for table in COLUMNS[column]:
        for name, kind in table.items():
            held[kind].add(str(name))
    shown = {kind: marked(cells[column]) - IN_WORDS for kind, cells in FAILURES.items()}
    if column == 2:  # Gemini's finish reasons come through; "the same" stands for those of the blocks
        for name, kind in replies.GEMINI_KIND_BY_FINISH.items():
            held[kind].add(name)
        shown["blocked"] |= marked(FAILURES["blocked"][1])
    assert shown == held


FIRST_WORDS = {
    "waits": (Step.RETRY, False, False),
    "retried": (Step.RETRY, True, False),
    "varied": (Step.RETRY, True, True),
    "elsewhere": (Step.ELSEWHERE, True, False),
    "fails": (Step.FINAL, True, False),
    "stops": (Step.STOP, True, False),
}


@pytest.mark.parametrize("kind", FailureKind)
def test_the_reaction_is_the_engines(kind: FailureKind) -> None:
    fresh = History(counted=0, waits=0, varied=False, elsewhere=True)
    decision = decide(Failure(kind, "m"), fresh, RetryPolicy(), jitter=0.0)
    word = re.split(r"\W", FAILURES[kind][3])[0]
    assert FIRST_WORDS[word] == (decision.step, decision.counts, decision.varied)


def test_what_is_in_the_way_is_listed_whole() -> None:
    shown = set().union(*(marked(cells[0]) for cells in rows("What is in the way")))
    assert shown == set(map(str, Trouble))


def test_the_prices_are_those_of_the_list() -> None:
    listed = (ROOT / "src" / "lipika" / "llm" / "models.toml").read_text("utf-8")
    shown = {cells[0].strip("`"): cells[1:] for cells in rows("Prices")}
    assert list(shown) == re.findall(r'(?m)^\[models\."(.+)"\]$', listed)
    for model, cells in shown.items():
        row = load_capabilities(model, today=date(2026, 11, 29))
        prices = (row.text_usd, row.audio_usd, row.output_usd, row.cached_text_usd, row.cached_audio_usd)
        assert tuple(map(float, cells[:5])) == prices
        assert cells[5] == ("sent" if row.temperature else "not taken")
        assert cells[6] == f"{row.cache_minimum_tokens:,}"
        assert cells[7] == ", ".join(
            "-" if factor == 1 else f"x {factor:g}" for factor in (row.flex_factor, row.batch_factor)
        )
        dated = {str(day) for day in (row.price_until, row.retires_on) if day}
        assert set(re.findall(r"\d{4}-\d\d-\d\d", cells[8])) == dated
        assert set(re.findall(r"`(.+?)`", cells[8])) == {row.successor} - {""}


def test_the_file_of_ones_own_models_is_taken_as_it_stands(tmp_path: Path) -> None:
    (block,) = re.findall(r"(?ms)^```toml\n(.*?)^```", PAGE)
    file = tmp_path / "models.toml"
    file.write_text(block)
    (model,) = re.findall(r"MODEL_ID=(\S+) lipika", PAGE)
    own = load_capabilities(model, file)
    assert own.known
    assert own.temperature

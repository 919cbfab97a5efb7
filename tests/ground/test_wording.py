"""Limits as people write them; money, spans of time and numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest

from lipika.wording import duration, latency, money, number, read_limit, short
from places import ROOT


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18000", 18_000),
        (" 18_000 ", 18_000),
        ("18,000", 18_000),
        ("18 000", 18_000),
        ("1,234,567", 1_234_567),
        ("0", 0),
    ],
)
def test_whole_limits(text: str, value: int) -> None:
    read = read_limit(text, whole=True, most=10**9)
    assert read == value
    assert isinstance(read, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.50", 1.5), ("$90,000.50", 90_000.5), ("90000", 90_000), ("$0", 0), (".5", 0.5), ("1e3", 1_000)],
)
def test_dollars(text: str, value: float) -> None:
    assert read_limit(text, whole=False, most=10**9) == value


@pytest.mark.parametrize(
    "text", ["1,50", "1,5000", "12,34", "1 50", "1,000,00", ",5", "1.500,50", "1,", "90000,5", "18,000,"]
)
def test_a_comma_that_may_be_meant_as_a_point_is_refused(text: str) -> None:
    for whole in (True, False):
        with pytest.raises(ValueError, match="commas group thousands"):
            read_limit(text, whole=whole, most=10**9)


@pytest.mark.parametrize("text", ["", "-1", "many", "nan", "inf", "1e17", "1000000001", "0x10", "$"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="will not do; a number, at least 0 and at most 1,000,000,000"):
        read_limit(text, whole=False, most=10**9)


def test_half_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        read_limit("1.5", whole=True, most=10)


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "$0"),
        (0.000_000_2, "under $0.000001"),
        (0.000934, "$0.000934"),
        (0.005, "$0.005"),
        (0.0099996, "$0.01"),
        (0.25, "$0.25"),
        (0.12345, "$0.1235"),
        (0.99999, "$1.00"),
        (12.345, "$12.35"),
        (-12.345, "-$12.35"),
        (9_999.5, "$9,999.50"),
        (123_456.75, "$123,457"),
    ],
)
def test_money_is_shown_with_the_digits_that_matter(usd: float | None, said: str) -> None:
    assert money(usd) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "never"),
        (0, "0 s"),
        (0.2, "under 1 s"),
        (52, "52 s"),
        (59.4, "59 s"),
        (59.5, "1 min"),
        (83, "1 min 23 s"),
        (3_599.4, "59 min 59 s"),
        (3_599.6, "1 h"),
        (5_400, "1 h 30 min"),
        (172_769, "47 h 59 min"),
        (172_771, "2 d"),
        (200_000, "2 d 8 h"),
        (100_000_000, "1,157 d 10 h"),
    ],
)
def test_a_span_of_time_has_its_two_largest_units(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_numbers_have_the_figures_that_count() -> None:
    given = (1_234_567, 12.34, 99.0, 123.4, math.nan)
    assert [number(value) for value in given] == ["1,234,567", "12.3", "99", "123", "–"]
    assert [short(value) for value in (1_230_000, 9_999, 12_000)] == ["1.23 M", "9,999", "12 k"]
    assert [latency(value) for value in (850, 1_234)] == ["850 ms", "1.23 s"]


@pytest.mark.parametrize("room", ["canary", "cli", "dashboard", "fleet", "jobs"])
def test_shares_are_shown_in_one_way(room: str) -> None:
    """No percentage is formatted by hand where people read it."""
    by_hand = re.compile(r":\.?\d*%\}|\* 100(\)|:)")
    found = {
        f"{file.name}: {line.strip()}"
        for file in (ROOT / "src" / "lipika" / room).rglob("*")
        if file.suffix in {".py", ".html"}
        for line in file.read_text("utf-8").splitlines()
        if by_hand.search(line)
    }
    assert found == set()

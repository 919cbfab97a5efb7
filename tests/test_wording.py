"""Limits as people write them."""

from __future__ import annotations

import pytest

from lipika.wording import read_limit


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

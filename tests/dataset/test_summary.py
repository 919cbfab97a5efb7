"""The figures of an export: they add up, and `dataset.json` gives them back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from lipika.dataset.model import Tarset
from lipika.dataset.summary import ExportSummary
from lipika.errors import AccountingError, UsageError
from lipika.languages import FIRST_CLASS
from summary_kit import a_summary


@pytest.mark.parametrize("languages", [("hi",), FIRST_CLASS])
def test_a_document_gives_the_same_summary_and_the_same_bytes(languages: tuple[str, ...]) -> None:
    summary = a_summary(languages)
    again = ExportSummary.decode(summary.encode())
    assert again.encode() == summary.encode()
    assert (again.dropped, again.scores, again.hours) == (summary.dropped, summary.scores, summary.hours)
    assert list(again.tarsets) == list(summary.tarsets)


def test_the_order_in_which_counts_come_makes_no_difference() -> None:
    summary = a_summary(dropped={"score_below": 7, "same_audio": 3})
    assert a_summary(dropped={"same_audio": 3, "score_below": 7}).encode() == summary.encode()


def test_a_document_is_plain_json_with_keys_in_order() -> None:
    document = orjson.loads(a_summary().encode())
    assert document == a_summary().document()
    assert list(document) == sorted(document)
    train = {"language": "hi", "split": "train", "shards": 1, "clips": 40, "seconds": 160.0}
    assert document["tarsets"][0] == train
    assert document["schema_version"] == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"candidates": 111},
            "111 candidates, but 100 clips exported and 10 dropped: +1 are unaccounted for",
        ),
        ({"dropped": {"score_below": 11}}, "-1 are unaccounted for"),
        ({"exported": 99, "candidates": 109}, "99 clips exported, but 100 by tarset"),
        ({"tarsets": [Tarset("hi", "train", 1, 99, 1.0)]}, "but 99 by tarset"),
        ({"scores": {"hi": [101]}}, "but 101 by score"),
        ({"durations": [100, 1]}, "but 101 by duration"),
        ({"models": {}}, "but 0 by model"),
        ({"providers": {"aistudio": 1}}, "but 1 by provider"),
        ({"prompts": {"1": 50, "2": 49}}, "but 99 by prompt"),
        ({"validators": {"3": 0}}, "but 0 by validator"),
        ({"text_sources": {"model": 50}}, "but 50 by source of text"),
        ({"tiers": {"gold": 5}}, "but 5 by tier"),
    ],
)
def test_figures_that_do_not_add_up_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AccountingError, match=said.replace("+", r"\+")):
        a_summary(**changes)


def test_a_document_whose_figures_were_changed_is_refused() -> None:
    document = orjson.loads(a_summary().encode())
    document["candidates"] += 5
    with pytest.raises(AccountingError, match=r"\+5 are unaccounted for"):
        ExportSummary.decode(orjson.dumps(document))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"title": 3}', b"\xff"])
def test_another_document_is_refused_with_the_way_out(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"dataset\.json: .*as `lipika export` wrote it"):
        ExportSummary.decode(content)


def test_what_a_summary_knows() -> None:
    summary = a_summary(models={"simulated": 60, "gemini-3-flash-preview": 40})
    assert summary.languages == ("hi", "ta")
    assert summary.splits == ("train", "test")
    assert summary.open_lanes == ("asr", "tts_clean")
    assert summary.hours == pytest.approx(100 * 4 / 3600)
    assert summary.made_up == 60
    assert summary.tarset("hi", "test") == Tarset("hi", "test", 1, 10, 40.0)
    assert summary.tarset("hi", "dev") is None


def test_an_export_of_nothing_adds_up() -> None:
    summary = a_summary(())
    assert summary.exported == 0
    assert summary.hours == 0
    assert ExportSummary.decode(summary.encode()).encode() == summary.encode()

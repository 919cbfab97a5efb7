"""Exports as the board's page puts them together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lipika.dashboard.datasets import LanguageRow, count_unaccounted, list_splits
from lipika.db.datasets import ExportCounts, ExportRecord, TarsetRecord

TARSETS = (
    TarsetRecord("ta", "train", 1, 5, 40.0),
    TarsetRecord("hi", "dev", 1, 2, 30.0),
    TarsetRecord("hi", "train", 3, 9, 90.0),
    TarsetRecord("hi", "test", 1, 1, 10.0),
)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
RECORD = ExportRecord(
    dest="/data",
    format="nemo",
    options={},
    plan_digest="a",
    counts=ExportCounts(20, 17, {"lane": 2, "marker": 1}),
    tarsets=TARSETS,
    jobs_total=1,
    id=1,
    state="done",
    jobs_done=1,
    bytes=1,
    seconds=1.0,
    error=None,
    created_at=NOW,
    updated_at=NOW,
    verified_at=None,
    verification=None,
)


def test_hours_are_added_up_by_language_and_split_with_the_most_first() -> None:
    hindi, tamil = LanguageRow.from_tarsets(TARSETS)
    assert (hindi.language, hindi.clips, hindi.seconds) == ("hi", 12, 130.0)
    assert {split: tarset.seconds for split, tarset in hindi.splits.items()} == {
        "dev": 30,
        "train": 90,
        "test": 10,
    }
    assert (tamil.language, tamil.clips, tamil.seconds) == ("ta", 5, 40.0)
    assert list_splits(TARSETS) == ["train", "dev", "test"]
    assert RECORD.hours == pytest.approx(170 / 3600)


def test_clips_that_are_neither_exported_nor_left_out_are_noticed() -> None:
    assert count_unaccounted(RECORD) == 0
    assert count_unaccounted(replace(RECORD, counts=ExportCounts(20, 16, {"lane": 2}))) == 2

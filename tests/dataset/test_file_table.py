"""All files of an export, on disk: their checksums in order, and those that a card describes."""

from __future__ import annotations

import hashlib
import random
from itertools import chain

import duckdb

from lipika.dataset.file_table import FileTable
from lipika.dataset.model import FileFact


def fact(path: str) -> FileFact:
    return FileFact(path, len(path), hashlib.sha256(path.encode()).hexdigest())


def table(paths: list[str]) -> FileTable:
    held = FileTable(duckdb.connect())
    held.add(map(fact, paths))
    return held


def test_sums_are_in_the_order_of_bytes_whatever_came_first() -> None:
    paths = [
        "z",
        "README.md",
        "card/b.svg",
        "card/a.svg",
        "hi/train/audio_10.tar",
        "hi/train/audio_9.tar",
        "ä/é",
    ]
    random.Random(1).shuffle(paths)
    lines = b"".join(table(paths).list_sums()).decode().splitlines()
    assert [line[66:] for line in lines] == sorted(paths, key=str.encode)
    assert {tuple(line.split("  ", 1)) for line in lines} == {(fact(path).sha256, path) for path in paths}


def test_more_files_than_a_page_are_all_there() -> None:
    paths = [f"audio/{number % 40:04d}/{number:06d}.flac" for number in range(120_000)]
    held = table(paths)
    assert sum(piece.count(b"\n") for piece in held.list_sums()) == 120_000
    assert [one.path for one in held.list_described()] == [
        f"audio/{part:04d}/{part:06d}.flac" for part in range(40)
    ]


def test_a_card_is_told_of_every_file_but_of_one_clip_for_each_folder_and_form() -> None:
    clips = [
        f"{folder}/{number}.{form}"
        for folder in ("a", "b")
        for number in (3, 1, 2)
        for form in ("flac", "wav")
    ]
    others = ["a/text", "b/wav.scp", "audio_0.tar"]
    found = table(list(chain(clips, others))).list_described()
    expected = ["a/1.flac", "a/1.wav", "a/text", "audio_0.tar", "b/1.flac", "b/1.wav", "b/wav.scp"]
    assert found == list(map(fact, expected))


def test_nothing_written_gives_nothing() -> None:
    held = table([])
    assert list(held.list_sums()) == []
    assert held.list_described() == []

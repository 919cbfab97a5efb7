"""Hugging Face `datasets`: by the configurations of the card, decoded or as bytes, whole or as a stream."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from loaders.readers.heard import Heard, serve


def whole(folder: Path) -> Iterator[Heard]:
    """The dataset in its cache, audio as bytes."""
    with tempfile.TemporaryDirectory() as cache:
        yield from _bytes(_splits(folder, cache_dir=cache))


def streamed(folder: Path) -> Iterator[Heard]:
    """As a stream, audio as bytes."""
    yield from _bytes(_splits(folder, streaming=True))


def decoded(folder: Path) -> Iterator[Heard]:
    """As a stream, decoded by torchcodec."""
    for split in _splits(folder, streaming=True):
        for row in split:
            sound = row["audio"].get_all_samples()
            (samples,) = sound.data.numpy()
            yield Heard(row["id"], row["text"], sound.sample_rate, samples)


def webdataset(folder: Path) -> Iterator[Heard]:
    """Tars as a stream, decoded by torchcodec."""
    for first in sorted(folder.rglob("*-000000.tar")):
        pattern = f"{first.parent}/*.tar"
        rows: Any = datasets.load_dataset(
            "webdataset", data_files={"all": pattern}, split="all", streaming=True
        )
        for row in rows:
            sound = row["flac"].get_all_samples()
            (samples,) = sound.data.numpy()
            yield Heard(row["json"]["id"], row["json"]["text"], sound.sample_rate, samples)


def _splits(folder: Path, **how: Any) -> Iterator[Any]:
    """Every split of every configuration that the card names."""
    for config in datasets.get_dataset_config_names(str(folder)):
        rows: Any = datasets.load_dataset(str(folder), config, **how)
        yield from rows.values()


def _bytes(splits: Iterator[Any]) -> Iterator[Heard]:
    for split in splits:
        for row in split.cast_column("audio", datasets.Audio(decode=False)):
            yield Heard(row["id"], row["text"], row["sampling_rate"], content=row["audio"]["bytes"])


if __name__ == "__main__":
    ways = {"whole": whole, "streamed": streamed, "decoded": decoded, "webdataset": webdataset}
    serve(ways, ("datasets", "torchcodec", "pyarrow"))

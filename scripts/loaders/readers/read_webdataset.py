"""webdataset, tars as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import webdataset

from loaders.readers.heard import Heard, demand, serve


def tars(folder: Path) -> Iterator[Heard]:
    """Every tar, in order."""
    shards = sorted(map(str, folder.rglob("*.tar")))
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        row = json.loads(sample["json"])
        demand(sample["__key__"] == row["id"], f"{sample['__key__']} has the row of {row['id']}")
        yield Heard(row["id"], row["text"], row["sampling_rate"], content=sample["flac"])


if __name__ == "__main__":
    serve({"tars": tars}, ("webdataset",))

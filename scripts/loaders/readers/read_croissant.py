"""mlcroissant: the metadata without an issue, and the records it makes of the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlcroissant
from check_croissant import check

from loaders.readers.heard import Heard, demand, serve

_UNSTATED = '"https://schema.org/datePublished" is recommended'  # result archives do not say of when they are


def records(folder: Path) -> Iterator[Heard]:
    """The record set of clips; first it is held against `check_croissant.py`, which looks at audio, too."""
    problems = [problem for problem in check(folder) if _UNSTATED not in problem]
    demand(not problems, "; ".join(problems))
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    for record in dataset.records("clips"):
        plain = {name.rpartition("/")[2]: value for name, value in record.items()}
        text = plain["text"]
        yield Heard(_text(plain["id"]), _text(text))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    serve({"records": records}, ("mlcroissant",))

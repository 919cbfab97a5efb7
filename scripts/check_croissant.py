"""Reads an export's croissant.json as others do: python scripts/check_croissant.py EXPORT [CLIPS].

Needs mlcroissant (and pyarrow for Parquet) and nothing of lipika, so that it runs in an environment of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

MOST = 100


def check(folder: Path, clips: int | None = None) -> list[str]:
    """Problems: validation must find and doubt nothing, and records must have an id of their own, text and audio.

    `clips` is how many records there must be; None is not known. Formats of which Croissant describes files alone
    have no records.
    """
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CROISSANT_CACHE"] = cache  # it keeps what it took out of tars under their relative names
        croissant: Any = importlib.import_module("mlcroissant")
        issues: Any = importlib.import_module("mlcroissant._src.core.issues")
        constants: Any = importlib.import_module("mlcroissant._src.core.constants")
        extraction: Any = importlib.import_module("mlcroissant._src.operation_graph.operations.extract")
        constants.EXTRACT_PATH = extraction.EXTRACT_PATH = type(constants.EXTRACT_PATH)(cache) / "extract"
        document = json.loads((folder / "croissant.json").read_text("utf-8"))
        try:
            dataset = croissant.Dataset(jsonld=os.fspath(folder / "croissant.json"))
        except croissant.ValidationError as error:
            return [f"validation: {error}"]
        found = dataset.metadata.ctx.issues
        problems = [f"validation: {one}" for one in sorted([*found.errors, *found.warnings])]
        for records in document.get("recordSet", []):
            try:
                problems += _check_records(dataset, records["@id"], clips)
            except issues.GenerationError as error:
                problems.append(f"{records['@id']}: {error}: {error.__cause__!r}")
        return problems


def _check_records(dataset: Any, name: str, clips: int | None) -> list[str]:
    found = list(islice(dataset.records(name), None if clips is not None else MOST))
    ids = [record[f"{name}/id"] for record in found]
    problems = []
    if clips is not None and len(found) != clips:
        problems.append(f"{name}: {len(found)} records, not {clips}")
    if len(set(ids)) != len(ids):
        problems.append(f"{name}: ids stand there twice")
    for record in found:
        audio, text = record[f"{name}/audio"], record.get(f"{name}/text", b"-")
        texts = text if isinstance(text, list) else [text]
        if not isinstance(audio, bytes) or audio[:4] not in (b"fLaC", b"RIFF"):
            problems.append(f"{name}: {record[f'{name}/id']!r} has no audio")
        if not texts or not all(isinstance(one, bytes) and one for one in texts):
            problems.append(f"{name}: {record[f'{name}/id']!r} has no text")
    return problems


def main() -> int:
    folder, *rest = sys.argv[1:]
    problems = check(Path(folder), int(rest[0]) if rest else None)
    print("\n".join(problems) or "croissant.json: no errors")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""The front matter of a card, as the Hugging Face hub reads it. Pure.

Values are written as JSON, which is YAML: no text of a stranger can end a value or begin a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lipika.dataset.card.words import plain
from lipika.dataset.formats import parquet
from lipika.dataset.formats.parquet import Parquet
from lipika.dataset.model import Tarset
from lipika.dataset.summary import ExportSummary
from lipika.languages import LANGUAGES

_TASKS = (("asr", "automatic-speech-recognition"), ("tts", "text-to-speech"))
_SIZES = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
)  # fmt: skip
_MOST = "100B<n<1T"

_LICENCES = re.compile(
    r"cc0-1\.0|cc-by-[234]\.[05]|cc-by-sa-[34]\.0|cc-by-nc-[234]\.0|cc-by-nd-4\.0|cc-by-nc-nd-[34]\.0"
    r"|cc-by-nc-sa-[234]\.0|cdla-(permissive-[12]|sharing-1)\.0|apache-2\.0|mit|bsd-[23]-clause|mpl-2\.0"
    r"|[al]?gpl-3\.0|gfdl|odbl|odc-by|pddl|c-uda|unlicense|unknown"
)
"""Those that the hub knows by a name of theirs."""


def front_matter(summary: ExportSummary, configs: Sequence[Mapping[str, Any]] = ()) -> str:
    """YAML between its two rulers.

    `configs` says which files the hub's viewer and `load_dataset` read as which configuration and split; without them
    the viewer is switched off, which would guess from names of files.
    """
    facts: dict[str, Any] = {"pretty_name": plain(summary.title) or "Untitled"}
    if languages := [code for code in summary.languages if code in LANGUAGES]:
        facts["language"] = languages
    facts |= _licence(summary.licence)
    if tasks := [task for lane, task in _TASKS if any(one.startswith(lane) for one in summary.open_lanes)]:
        facts["task_categories"] = tasks
    facts["size_categories"] = [size_category(summary.exported)]
    facts["tags"] = ["speech", "lipika", *(["simulated"] if summary.made_up else [])]
    if configs:
        facts["configs"] = [dict(config) for config in configs]
    else:
        facts["viewer"] = False
    lines = [f"{key}: {orjson.dumps(value).decode()}" for key, value in facts.items()]
    return "\n".join(("---", *lines, "---", ""))


def hub_configs(format_name: str, tarsets: Sequence[Tarset]) -> list[dict[str, Any]]:
    """The configurations of formats that the hub loads by itself, one for each language; none of the others."""
    if format_name == Parquet.name:
        return parquet.configs(tarsets)
    if format_name != "webdataset":
        return []
    files: dict[str, list[dict[str, str]]] = {}
    for tarset in tarsets:
        if tarset.shards:
            path = f"{tarset.language}/{tarset.split}/*.tar"
            files.setdefault(tarset.language, []).append({"split": tarset.split, "path": path})
    return [{"config_name": language, "data_files": found} for language, found in files.items()]


def size_category(clips: int) -> str:
    """The range that the hub files a data set of so many rows under."""
    return next((name for limit, name in _SIZES if clips < limit), _MOST)


def _licence(given: str) -> dict[str, str]:
    """As the hub has it: one of its own names, or `other` with a name. Nothing where none was given."""
    words = plain(given)
    if not words:
        return {}
    name = words.lower()
    if _LICENCES.fullmatch(name):
        return {"license": name}
    slug = re.sub(r"[^a-z0-9.]+", "-", name).strip("-.")[:60]
    return {"license": "other", "license_name": slug or "as-stated-below"}

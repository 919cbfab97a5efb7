"""WebDataset's shards: tars in which the files of a sample follow one another under one key.

WebDataset ends a key at the first `.` of a name, so that one with a `.` in it makes one sample of many recordings.
Here each recording is an item of its own, and has the words whose key is its own, or the beginning of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from lipika.packing.items import SourceItem, SourceRefusal
from lipika.packing.sources.rows import NamedColumns, split_named, take_apart
from lipika.packing.sources.tars import TarredFile, shown_member, tarred_files

Given = Iterator[SourceItem | SourceRefusal]

AUDIO = (
    ".flac",
    ".wav",
    ".mp3",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".aac",
    ".aif",
    ".aiff",
    ".caf",
    ".wma",
    ".mp4",
)
_WORDS = (".json", ".txt", ".cls", ".text", ".transcript", ".lang", ".language", ".id")
_TARS = re.compile(r"\.(tar|tgz|tar\.gz)$", re.IGNORECASE)
_PLAIN = {".text": "text", ".transcript": "text", ".lang": "language", ".language": "language", ".id": "id"}
_MOST_PENDING = 1_000  # files of one key without audio


@dataclass(frozen=True, slots=True)
class WebDatasetSource:
    """A shard, or a folder of them. `kind` is `webdataset`."""

    root: str
    columns: NamedColumns = field(default_factory=NamedColumns)
    kind: str = "webdataset"

    def items(self, audio: bool = True) -> Given:
        """As `PackSource.items`: shards by name, samples in their order."""
        root = Path(self.root)
        if not root.is_dir():
            yield from self._shard(root, root.name, audio=audio)
            return
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                if _TARS.search(name):
                    path = Path(folder) / name
                    yield from self._shard(path, os.path.relpath(path, root), audio=audio)

    def _shard(self, path: Path, shown: str, *, audio: bool) -> Given:
        split = next((found for part in reversed(Path(shown).parts) if (found := split_named(part))), None)
        for given in _samples(path, audio=audio):
            if isinstance(given, SourceRefusal):
                yield given
                continue
            try:
                item = _item(given, self.columns)
            except ValueError as error:
                yield SourceRefusal(f"{shown}: {given.key[:200]}", "bad_row", str(error))
                continue
            yield replace(item, split=item.split or split, group=shown)


@dataclass(slots=True)
class _Sample:
    """A recording with its words, by their endings."""

    key: str
    audio: TarredFile
    words: list[tuple[str, bytes]] = field(default_factory=list)


def _samples(path: Path, *, audio: bool) -> Iterator[_Sample | SourceRefusal]:
    """A group of files that may belong together is held until one comes that does not."""
    held: list[TarredFile] = []
    for found in tarred_files(path, _WORDS, audio=audio):
        if isinstance(found, SourceRefusal):
            yield found
            continue
        member = replace(found, name=found.name.removeprefix("./"))
        if os.path.basename(member.name).startswith("._"):  # noqa: PTH119 - what macOS adds
            continue
        if held and not _joins(member, held):
            yield from _take(path, held)
            held = []
        held.append(member)
    yield from _take(path, held)


def _joins(found: TarredFile, held: Sequence[TarredFile]) -> bool:
    """True if a file may belong to the sample of those held."""
    stem, last = _stem(found.name), _stem(held[-1].name)
    if stem == last or stem.startswith(f"{last}.") or last.startswith(f"{stem}."):
        return True
    recordings = [_stem(one.name) for one in held if _is_audio(one)]
    if recordings:
        return any(found.name.startswith(f"{stem}.") for stem in recordings)
    return _key(found.name) == _key(held[-1].name) and len(held) < _MOST_PENDING


def _take(path: Path, held: Sequence[TarredFile]) -> Iterator[_Sample | SourceRefusal]:
    """The samples of a group, one for each recording, and what belongs to none."""
    samples = [_Sample(_stem(one.name), one) for one in held if _is_audio(one)]
    for one in held:
        if _is_audio(one):
            continue
        owners = [sample for sample in samples if _belongs(one.name, sample.key, alone=len(samples) == 1)]
        for owner in owners if one.data is not None else ():
            kept = next(key for key in (owner.key, _key(one.name)) if one.name.startswith(f"{key}."))
            ending = one.name[len(kept) :]
            owner.words.append((ending, one.data or b""))
        if not owners and one.data is not None:
            yield SourceRefusal(
                shown_member(path, one.name), "labels_without_audio", "no recording has its key"
            )
    yield from samples


def _belongs(name: str, key: str, *, alone: bool) -> bool:
    """True for words whose key is that of a recording, or the beginning of it.

    Beside a recording that is `alone` any that WebDataset would take with it, unless a number tells them apart.
    """
    if name.startswith(f"{key}.") or key.startswith(f"{_stem(name)}."):
        return True
    return alone and _key(name) == _key(f"{key}.") and not re.search(r"\d", _stem(name)[len(_key(name)) :])


def _item(sample: _Sample, named: NamedColumns) -> SourceItem:
    """Raises ValueError: words that are no JSON."""
    row: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    for ending, data in sample.words:
        name = ending.strip(".").removesuffix(".txt")
        if ending.endswith(".json"):
            value = _json(data, ending)
            row |= value if isinstance(value, dict) else {name: value}
            continue
        text = data.decode("utf-8", "replace").strip()
        if ending == ".txt":
            texts["text"] = text
        else:
            texts[_PLAIN.get(ending, name)] = text
    # The .txt is the transcript where there is one; a `text` of the JSON stays beside it.
    if texts.get("text") and "text" in row and row["text"] != texts["text"]:
        row["json_text"] = row["text"]
    row |= {key: value for key, value in texts.items() if value}
    facts = take_apart(row, named)  # an `offset` tells where it came from: the recording is the clip
    return SourceItem(
        name=facts.id or sample.key,
        audio=sample.audio.place,
        language=facts.language,
        speaker=facts.speaker,
        text=facts.text,
        split=facts.split,
        columns=facts.rest,
    )


def _json(data: bytes, ending: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"its {ending} is no JSON: {error}") from None


def _is_audio(found: TarredFile) -> bool:
    return os.path.splitext(found.name)[1].lower() in AUDIO  # noqa: PTH122 - a name, no path


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 - a name, no path


def _key(name: str) -> str:
    """As WebDataset tells it: up to the first `.` of the name."""
    return name[: name.find(".", name.rfind("/") + 1)]


def is_shard(path: Path) -> bool:
    """True for a tar in which a recording and its words follow one another, and no archive of lipika's own."""
    if not _TARS.search(path.name):
        return False
    for at, found in enumerate(tarred_files(path, _WORDS, audio=False)):
        if isinstance(found, TarredFile):
            name = found.name.removeprefix("./")
            if name == "metadata.json" or "segments" in name.split("/")[:-1]:
                return False
            if _is_audio(found):
                return True
        if at > 20:
            break
    return False

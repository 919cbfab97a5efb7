"""Kinds of sources: which one something is, and how it is opened."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path

from lipika.errors import UsageError
from lipika.models import SegmentName
from lipika.packing.items import PackSource

_LISTED = 2_000  # files that are looked at to tell a kind
_DEPTH = 4  # folders
_MEMBERS = 20  # of a tar


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """A person's word on how a source is read; each kind takes what concerns it.

    `language` is a code or name (where the source says none), `folder` or `column:NAME`; so is `speaker`.
    """

    language: str | None = None
    speaker: str | None = None
    template: str | None = None

    def column(self, fact: str) -> str | None:
        """The column that a person names for `language` or `speaker`."""
        told = str(getattr(self, fact) or "")
        return told.removeprefix("column:") if told.startswith("column:") else None

    def from_folder(self, fact: str) -> bool:
        return str(getattr(self, fact)) == "folder"


@dataclass(frozen=True)
class Sight:
    """A source as it looks before it is opened. Looks at names alone, and at few of them."""

    path: Path

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    @cached_property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names right in it, of a folder."""
        if not self.is_folder:
            return frozenset()
        with os.scandir(self.path) as found:
            return frozenset(entry.name for entry in islice(found, _LISTED))

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Paths of the first files below it, hidden ones left out."""
        return tuple(islice(_files(str(self.path), "", _DEPTH), _LISTED)) if self.is_folder else ()

    def suffixes(self) -> dict[str, int]:
        """Endings of the first files, with how many have each."""
        found: dict[str, int] = {}
        for name in self.below:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name, no path
            found[suffix] = found.get(suffix, 0) + 1
        return dict(sorted(found.items(), key=lambda one: -one[1]))


def _files(path: str, key: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(path) as found:
            entries = sorted(islice(found, _LISTED), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX", "@eaDir")):
            continue
        name = f"{key}/{entry.name}" if key else entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _files(entry.path, name, depth - 1)
        else:
            yield name


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source. Its module is loaded when one is opened."""

    name: str
    told: str  # in the list of what is accepted
    sees: Callable[[Sight], bool]
    opener: str  # `module:function`, called with the path and SourceOptions
    holds_tars: bool = False  # its audio lies in tars, which are no archives of ours

    def open(self, path: Path, options: SourceOptions) -> PackSource:
        module, _, name = self.opener.partition(":")
        source: PackSource = getattr(import_module(f"lipika.packing.{module}"), name)(path, options)
        return source


def _is_list(sight: Sight) -> bool:
    return not sight.is_folder and sight.suffix in (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def _is_audio(sight: Sight) -> bool:
    from lipika.packing.sources.folder import AUDIO

    return not sight.is_folder and sight.suffix in AUDIO


def _has_audio(sight: Sight) -> bool:
    from lipika.packing.sources.folder import AUDIO

    return any(suffix in AUDIO for suffix in sight.suffixes())


def _ends(sight: Sight, pattern: str) -> list[str]:
    """The first files below a folder whose whole path fits."""
    return [name for name in sight.below if re.search(pattern, name, re.IGNORECASE)]


def _is_kaldi(sight: Sight) -> bool:
    return bool(_ends(sight, r"(^|/)wav\.scp$"))


def _is_shar(sight: Sight) -> bool:
    return bool(
        _ends(sight, r"(^|/)cuts\.[^/]*jsonl(\.gz)?$") and _ends(sight, r"(^|/)recording\.[^/]*\.tar$")
    )


def _is_lhotse(sight: Sight) -> bool:
    from lipika.packing.sources.lhotse import is_cuts

    found = (
        [sight.path / name for name in _ends(sight, r"\.jsonl(\.gz)?$")[:3]]
        if sight.is_folder
        else [sight.path]
    )
    return any(map(is_cuts, found))


def _is_nemo(sight: Sight) -> bool:
    from lipika.packing.sources.nemo import is_manifest

    if re.search(r"_OP_.*_CL_|\{.*\}", sight.path.name):
        return True
    found = (
        [sight.path / name for name in _ends(sight, r"\.jsonl?$")[:3]] if sight.is_folder else [sight.path]
    )
    return any(map(is_manifest, found))


def _is_hugging_face(sight: Sight) -> bool:
    if sight.is_folder:
        return bool(_ends(sight, r"\.(parquet|arrow)$"))
    from lipika.packing.sources.table import holds_audio

    return sight.suffix == ".parquet" and holds_audio(sight.path)


def _is_webdataset(sight: Sight) -> bool:
    from lipika.packing.sources.webdataset import is_shard

    found = [sight.path / name for name in _ends(sight, r"\.tar$")[:1]] if sight.is_folder else [sight.path]
    return any(path.suffix.lower() == ".tar" and not _is_ours(path) and is_shard(path) for path in found)


def _is_ours(path: Path) -> bool:
    """True for an archive of this program's own form, and for what is no tar."""
    try:
        with tarfile.open(path, "r:") as tar:
            names = [one.name.replace("\\", "/") for one in islice(tar, _MEMBERS) if one.isfile()]
    except (OSError, tarfile.TarError):
        return True
    return any("segments/" in f"{name.lower()}/" or _is_segment(name) for name in names)


def _is_segment(name: str) -> bool:
    try:
        SegmentName.parse(name.rpartition("/")[2].rpartition(".")[0])
    except ValueError:
        return False
    return True


KINDS: list[SourceKind] = [
    SourceKind("kaldi", "a Kaldi data folder", _is_kaldi, "open_kinds:open_kaldi"),
    SourceKind("shar", "a folder of Lhotse Shar", _is_shar, "open_kinds:open_shar", holds_tars=True),
    SourceKind("lhotse", "Lhotse cuts (.jsonl, .jsonl.gz)", _is_lhotse, "open_kinds:open_lhotse"),
    SourceKind("nemo", "a NeMo manifest, or a tarred set", _is_nemo, "open_kinds:open_nemo", holds_tars=True),
    SourceKind(
        "huggingface",
        "a Hugging Face dataset (Parquet, Arrow)",
        _is_hugging_face,
        "open_kinds:open_hugging_face",
    ),
    SourceKind(
        "webdataset", "WebDataset shards", _is_webdataset, "open_kinds:open_webdataset", holds_tars=True
    ),
    SourceKind(
        "list",
        "a list (.csv, .tsv, .jsonl, .parquet) with a column `path`, `url` or `audio_filepath`",
        _is_list,
        "open_kinds:open_table",
    ),
    SourceKind("file", "an audio or video file", _is_audio, "open_kinds:open_folder"),
    SourceKind("folder", "a folder of audio", _has_audio, "open_kinds:open_folder"),
]
"""All kinds, the most particular first: the first that sees itself in something is its kind."""


@dataclass(frozen=True, slots=True)
class SeenSource:
    """A source, and what kind it is; None where it is none."""

    path: Path
    kind: SourceKind | None
    told: str = field(default="")  # of what is there, in words


def look(source: str, kind: str | None = None) -> SeenSource:
    """The kind of a source. Of a person's `kind` that kind, whatever is seen.

    Raises:
        UsageError: there is no such file or folder, or no such kind.
    """
    if "://" in source and not source.startswith("file://"):
        raise UsageError(
            f"{source}: a bucket is packed by a list of its recordings: a .csv or .jsonl with a column `url`"
        )
    path = Path(os.path.abspath(Path(source.removeprefix("file://")).expanduser()))  # noqa: PTH100 - `..`, not links
    ranged = "_OP_" in path.name and path.parent.is_dir()
    if not ranged and not os.path.exists(path):  # noqa: PTH110 - a name may be too long to ask
        raise UsageError(f"{source}: there is no such file or folder")
    sight = Sight(path)
    if kind is not None:
        chosen = next((one for one in KINDS if one.name == kind), None)
        if chosen is None:
            raise UsageError(f"--kind {kind}: one of {', '.join(one.name for one in KINDS)} is wanted")
        return SeenSource(path, chosen)
    return SeenSource(path, next((one for one in KINDS if one.sees(sight)), None), _describe(sight))


def names_videos(path: Path) -> bool:
    """True for a list of videos, as `lipika queue add` takes it, rather than of recordings."""
    from lipika.archive.lists import is_list
    from lipika.packing.sources.table import column_names

    return path.is_file() and is_list(str(path)) and "video_id" in column_names(path)


def open_source(source: str, options: SourceOptions, kind: str | None = None) -> PackSource:
    """A source that can be packed.

    Raises:
        UsageError: nothing there can be: it says what was seen, and what is accepted.
    """
    seen = look(source, kind)
    if seen.kind is None:
        accepted = "; ".join(one.told for one in KINDS)
        raise UsageError(f"{source}: {seen.told}. Nothing of it can be packed; what can be: {accepted}")
    return seen.kind.open(seen.path, options)


def _describe(sight: Sight) -> str:
    if not sight.is_folder:
        return f"a file ending in {sight.suffix}" if sight.suffix else "a file without an ending"
    suffixes = sight.suffixes()
    if not suffixes:
        return "an empty folder"
    shown = ", ".join(
        f"{count:,} {suffix or 'without an ending'}" for suffix, count in islice(suffixes.items(), 5)
    )
    return f"a folder of {shown}"

"""The words of its owner on a packed corpus, for its clips again: ids, texts and columns out of `metadata.json`.

`lipika pack` puts them there, and every result archive begins with them. A text is of a whole segment: a clip has it
as its `reference` only where nothing else was made of that segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from lipika.archive.metadata import Metadata
from lipika.archive.references import SegmentSource, sources_of
from lipika.archive.results import ResultArchive, read_metadata
from lipika.dataset.model import SourceWords
from lipika.errors import LipikaError
from lipika.storage import StoreSettings, split_url

_MARK = b'"packed"'
_MOST = 200  # archives that are looked at before a corpus of rows counts as not packed


@dataclass(frozen=True, slots=True)
class ArchiveSources:
    """The words of its owner on the segments of one archive; of none, where it was not packed."""

    segments: Mapping[str, SegmentSource] = field(default_factory=dict)
    in_parts: frozenset[str] = frozenset()  # segments of which a part was discarded

    @classmethod
    def read(cls, metadata: bytes) -> ArchiveSources:
        """From a result's `metadata.json`; what cannot be read says nothing."""
        segments = packed_segments(metadata)
        return cls(segments, _list_split_up(metadata)) if segments else cls()

    def words(self, segment: str, *, alone: bool) -> SourceWords:
        """What is said of a clip; `alone`: it is the only one of its segment."""
        source = self.segments.get(segment)
        if source is None:
            return SourceWords()
        whole = alone and segment not in self.in_parts
        theirs = {"speaker": source.speaker, "language": source.language, "split": source.split}
        columns = {**source.columns, **{name: value for name, value in theirs.items() if value}}
        return SourceWords(
            source.id, source.text if whole else "", orjson.dumps(columns).decode() if columns else ""
        )


def packed_segments(metadata: bytes) -> dict[str, SegmentSource]:
    """The words of its owner by the stems of segments; nothing where an archive was not packed."""
    return sources_of(metadata) if _MARK in metadata else {}


def _list_split_up(metadata: bytes) -> frozenset[str]:
    try:
        discards = Metadata(metadata).fields()["transcription"]["discards"]
        return frozenset(
            str(one["segment_file"]).rpartition(".")[0] for one in discards if not one["whole_segment"]
        )
    except (ValueError, KeyError, TypeError):
        return frozenset()


@dataclass(slots=True)
class SomeArchives:
    """Up to 400 archives, evenly out of all that are told of."""

    _kept: list[str] = field(default_factory=list)
    _told: int = 0
    _every: int = 1

    def add(self, urls: Iterable[str | None]) -> None:
        for url in urls:
            if url is None:
                continue
            if self._told % self._every == 0:
                self._kept.append(url)
            self._told += 1
            if len(self._kept) > 2 * _MOST:
                self._kept, self._every = self._kept[::2], self._every * 2

    def any_packed(self, settings: StoreSettings) -> bool:
        """True at the first that was packed; those that cannot be read say nothing here. Blocks."""
        return any(_is_packed(url, settings) for url in self._kept)


def _is_packed(url: str, settings: StoreSettings) -> bool:
    try:
        return bool(packed_segments(read_metadata(ResultArchive(*split_url(url)), settings)))
    except (LipikaError, OSError):
        return False

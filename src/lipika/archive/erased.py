"""Erased parts of a video, by digests of names; and archives' own metadata without those they name. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from lipika.archive.metadata import Metadata, join_members
from lipika.models import SegmentName

REASON = "erased"
"""The reason of a discard."""

ERASED_NAME = "(erased)"
"""In the place of a name that nobody may read any more."""

_WHOLE = ""


@dataclass(frozen=True, slots=True)
class ErasedStretch:
    """A tombstone of one video: a speaker of it, or a stretch of one, in ms on the video's clock."""

    video_key: str
    speaker_key: str  # empty: the whole video
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ErasedNames:
    """All tombstones of one video. Names are compared by their digests, as `lipika_speaker_key` makes them."""

    stretches: Sequence[ErasedStretch] = ()

    def __bool__(self) -> bool:
        return bool(self.stretches)

    @property
    def whole(self) -> bool:
        """True if nothing of the video may be used."""
        return any(one.speaker_key == _WHOLE for one in self.stretches)

    def covers(self, name: SegmentName) -> bool:
        """True if a clip or segment lies in an erased stretch, be it by a part of it."""
        return any(
            one.start_ms < name.end_ms and name.start_ms < one.end_ms
            for one in self._stretches_of(name.speaker)
        )

    def has_speaker(self, speaker: str) -> bool:
        """True if all that this speaker says is erased."""
        return any(one.start_ms <= 0 and one.end_ms >= 2**31 - 1 for one in self._stretches_of(speaker))

    def names(self, text: str) -> bool:
        """True if a text is an erased speaker's name, or that of a file with such a voice."""
        if self.has_speaker(text):
            return True
        stem = text.rpartition("/")[2]
        for candidate in (stem, stem.rpartition(".")[0]):
            try:
                return self.covers(SegmentName.parse(candidate))
            except ValueError:
                continue
        return False

    def _stretches_of(self, speaker: str) -> Sequence[ErasedStretch]:
        if not self.stretches:
            return ()
        key = speaker_key(self.stretches[0].video_key, speaker)
        return [one for one in self.stretches if one.speaker_key in (_WHOLE, key)]


NOTHING_ERASED = ErasedNames()


def speaker_key(video_key: str, speaker: str) -> str:
    """The digest of a speaker of a video."""
    return hashlib.sha256(f"{video_key}\n{speaker}".encode("utf-8", "replace")).hexdigest()


def leave_out(metadata: Metadata, named: Callable[[str], bool]) -> Metadata:
    """A video's own metadata without what names somebody: keys, texts, and objects one of whose values does.

    Values in which nobody is named stay as they were written.
    """
    members = metadata.members()
    kept: dict[str, str] = {}
    for key, text in members.items():
        if named(key):
            continue
        value = orjson.loads(text) if '"' in text else None
        if value is None or not _mentions(value, named):
            kept[key] = text
            continue
        rest = _without(value, named)
        if rest is not _GONE:
            kept[key] = orjson.dumps(rest).decode()
    if kept == members:
        return metadata
    return Metadata(join_members(kept).encode())


_GONE = object()


def _mentions(value: object, named: Callable[[str], bool]) -> bool:
    if isinstance(value, str):
        return named(value)
    if isinstance(value, dict):
        return any(named(key) or _mentions(one, named) for key, one in value.items())
    return isinstance(value, list) and any(_mentions(one, named) for one in value)


def _without(value: object, named: Callable[[str], bool]) -> object:
    """The value, or _GONE where it is about somebody who is named."""
    if isinstance(value, str):
        return _GONE if named(value) else value
    if isinstance(value, dict):
        if any(isinstance(one, str) and named(one) for one in value.values()):
            return _GONE
        rest = {key: _without(one, named) for key, one in value.items() if not named(key)}
        return {key: one for key, one in rest.items() if one is not _GONE}
    if isinstance(value, list):
        return [one for one in (_without(one, named) for one in value) if one is not _GONE]
    return value

"""References: texts that came with a recording, by its owner's word, kept by `lipika pack` in `metadata.json`. Pure.

    {"packed": {"segments": {"<segment's stem>": {"id": ..., "text": ..., "language": ..., "split": ...}}}}

A reference is of a whole segment. Where polishing made several clips of one, their texts in order stand against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipika.archive.hypotheses import Hypotheses
from lipika.archive.metadata import Metadata
from lipika.models import ClipResult, JsonObject

VOTER = "reference"
"""The name under which references vote."""

_PACKED = "packed"


@dataclass(frozen=True, slots=True)
class SegmentSource:
    """A segment in the words of its owner."""

    id: str
    text: str = ""  # empty: no reference
    language: str = ""
    speaker: str = ""
    split: str = ""
    columns: JsonObject = field(default_factory=dict)


def sources_of(metadata: bytes) -> dict[str, SegmentSource]:
    """The words of their owner on segments, by stem; nothing where an archive has none."""
    return {stem: _source(stem, said) for stem, said in _segments(metadata)}


def recordings_of(metadata: bytes) -> dict[str, str]:
    """The recording that each segment is a part of, by stem, as its owner calls it; segments that are whole
    recordings are left out."""
    return {
        stem: said["recording"]
        for stem, said in _segments(metadata)
        if isinstance(said.get("recording"), str)
    }


def _segments(metadata: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        fields = Metadata.read(metadata).fields()
    except ValueError:
        return
    packed = fields.get(_PACKED)
    segments = packed.get("segments") if isinstance(packed, Mapping) else None
    if isinstance(segments, Mapping):
        yield from ((stem, said) for stem, said in segments.items() if isinstance(said, Mapping))


def _source(stem: str, said: Mapping[str, object]) -> SegmentSource:
    words = {
        name: value.strip()
        for name in ("id", "text", "language", "speaker", "split")
        if isinstance(value := said.get(name), str)
    }
    columns = said.get("columns")
    return SegmentSource(
        id=words.get("id") or stem,
        text=words.get("text", ""),
        language=words.get("language", ""),
        speaker=words.get("speaker", ""),
        split=words.get("split", ""),
        columns=dict(columns) if isinstance(columns, Mapping) else {},
    )


def clips_by_segment(results: Iterable[ClipResult]) -> dict[str, list[ClipResult]]:
    """Clips by their segment's stem, in the order in which they were spoken."""
    found: dict[str, list[ClipResult]] = defaultdict(list)
    for result in results:
        found[result.clip.segment.stem].append(result)
    for clips in found.values():
        clips.sort(key=lambda result: result.clip.original_start_ms)
    return dict(found)


def open_references(metadata: bytes, video_id: str, results: Sequence[ClipResult]) -> Hypotheses:
    """References as a voter, on clips that are the only one of their segment: a part of a text is nobody's word."""
    sources = sources_of(metadata)
    texts = {
        (video_id, clips[0].clip.name.stem): sources[stem].text
        for stem, clips in clips_by_segment(results).items()
        if len(clips) == 1 and stem in sources and sources[stem].text
    }
    return Hypotheses(None, VOTER, texts)

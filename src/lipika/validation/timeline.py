"""Overlap of clips in a video: those under another speaker's voice, which no single clip can show."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping

from lipika.models import Finding, SegmentName
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding


def overlaps(clips: Iterable[SegmentName], segments: Iterable[SegmentName] = ()) -> dict[SegmentName, int]:
    """Clip -> ms of it during which somebody else speaks; clips without any are left out.

    `segments` are all the video's segments, also those that were discarded: their voices are in the audio all the
    same. Takes O(n log n) for n names.
    """
    clips = list(clips)
    times, shared = _shared_time({*clips, *segments})

    def shared_until(time_ms: int) -> int:
        """Shared ms from the start of the video to `time_ms`."""
        index = bisect_right(times, time_ms) - 1
        if index < 0:
            return 0
        before, running = shared[index]
        return before + (time_ms - times[index]) * running

    measured = ((clip, shared_until(clip.end_ms) - shared_until(clip.start_ms)) for clip in clips)
    return {clip: overlap_ms for clip, overlap_ms in measured if overlap_ms > 0}


def overlap_findings(shared_ms: Mapping[SegmentName, int]) -> dict[SegmentName, Finding]:
    """The findings that `overlaps` is worth, for `add_findings`."""
    return {
        clip: finding("overlap_timeline", f"{overlap_ms} ms under another speaker")
        for clip, overlap_ms in shared_ms.items()
        if overlap_ms >= limit.OVERLAP_MS
    }


def _shared_time(names: Iterable[SegmentName]) -> tuple[list[int], list[tuple[int, int]]]:
    """Times at which speakers begin or end, each with (shared ms so far, 1 if shared from here on)."""
    borders: dict[int, list[tuple[str, int]]] = {}
    for name in names:
        borders.setdefault(name.start_ms, []).append((name.speaker, 1))
        borders.setdefault(name.end_ms, []).append((name.speaker, -1))
    times = sorted(borders)
    speaking: Counter[str] = Counter()
    shared: list[tuple[int, int]] = []
    total = running = previous = 0
    for time_ms in times:
        total += (time_ms - previous) * running
        for speaker, change in borders[time_ms]:
            speaking[speaker] += change
            if not speaking[speaker]:
                del speaking[speaker]
        previous, running = time_ms, int(len(speaking) > 1)
        shared.append((total, running))
    return times, shared

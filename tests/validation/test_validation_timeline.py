"""Overlap in time, against the plain definition of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipika.models import SegmentName
from lipika.validation import overlap_findings, overlaps

NAMES = st.builds(
    lambda speaker, start, length: SegmentName(f"speaker{speaker}", start, start + length),
    st.integers(0, 3),
    st.integers(0, 60),
    st.integers(1, 30),
)


def ticks_shared(name: SegmentName, others: set[SegmentName]) -> int:
    """Centisecond by centisecond: does anybody else speak?"""
    voices = {
        tick
        for other in others
        if other.speaker != name.speaker
        for tick in range(other.start_cs, other.end_cs)
    }
    return sum(tick in voices for tick in range(name.start_cs, name.end_cs))


@given(st.lists(NAMES, max_size=12), st.lists(NAMES, max_size=12))
def test_overlaps_are_what_counting_says(clips: list[SegmentName], segments: list[SegmentName]) -> None:
    counted = {clip: 10 * ticks_shared(clip, {*clips, *segments}) for clip in clips}
    assert overlaps(clips, segments) == {clip: ms for clip, ms in counted.items() if ms}


def test_a_video_as_it_comes() -> None:
    first = SegmentName("speaker0", 0, 850)
    reply = SegmentName("speaker1", 800, 1200)  # 0.5 s early
    touching = SegmentName("speaker0", 1200, 1500)
    same_voice = SegmentName("speaker0", 1400, 1700)
    short = SegmentName("speaker1", 1490, 1500)  # 0.1 s: within the borders of diarisation
    shared = overlaps([first, reply, touching, same_voice], [short])
    assert shared == {first: 500, reply: 500, touching: 100, same_voice: 100}
    found = overlap_findings(shared)
    assert set(found) == {first, reply}
    assert found[first].code == "overlap_timeline"
    assert "500 ms" in found[first].evidence


def test_discarded_segments_are_voices_too() -> None:
    clip, discarded = SegmentName("speaker0", 0, 500), SegmentName("speaker1", 100, 200)
    assert overlaps([clip]) == {}
    assert overlaps([clip], [discarded]) == {clip: 1000}

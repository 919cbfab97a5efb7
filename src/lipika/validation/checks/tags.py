"""The words of `transcription` and `tagged`, which are to be the same, and tags that do not exist."""

from __future__ import annotations

from collections.abc import Iterator

from rapidfuzz.distance import Levenshtein

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_BACKGROUND = ("noise", "music")


def same_words(reading: Reading) -> Iterator[Finding]:
    said, tagged = reading.normal, reading.tagged_normal
    if said == tagged or said.replace(" ", "") == tagged.replace(" ", ""):
        return
    if max(len(said), len(tagged)) > limit.TAG_COMPARE_CHARS:
        yield finding("tag_mismatch", f"{len(said)} and {len(tagged)} characters")
        return
    similarity = Levenshtein.normalized_similarity(said, tagged)
    code = "tag_text_differs" if similarity >= limit.TAG_TEXT_NEAR else "tag_mismatch"
    yield finding(code, f"similarity {similarity:.2f}: {_first_difference(said, tagged)}")


def _first_difference(said: str, tagged: str) -> str:
    pairs = zip([*said.split(), ""], [*tagged.split(), ""], strict=False)
    return next((f"{a!r} / {b!r}" for a, b in pairs if a != b), "one goes on")


def known_tags(reading: Reading) -> Iterator[Finding]:
    if reading.own_tags.events or reading.own_tags.unknown:
        found = (*reading.own_tags.events, *reading.own_tags.unknown)
        yield finding("tag_in_transcription", ", ".join(found))
    if reading.tags.unknown:
        yield finding("unknown_tag", ", ".join(reading.tags.unknown))
    misspelt = reading.tags.misspelt or reading.own_tags.misspelt
    if misspelt:
        yield finding("misspelt_tag", ", ".join(misspelt))


def events(reading: Reading) -> Iterator[Finding]:
    counts = reading.tags.events
    if not counts:
        return
    vocal = [name for name in counts if name not in {"breath", *_BACKGROUND}]
    if vocal:
        yield finding("vocal_event", ", ".join(vocal))
    background = [name for name in _BACKGROUND if counts[name]]
    if background:
        yield finding("background_event", ", ".join(background))
    total = counts.total()
    most = max(2.0, limit.EVENTS_PER_SECOND * reading.span_s)
    if total > most or total > max(2.0, limit.EVENTS_PER_WORD * len(reading.words)):
        yield finding("events_dense", f"{total} events, {len(reading.words)} words, {reading.span_s:.1f} s")


def markers(reading: Reading) -> Iterator[Finding]:
    if not reading.tags.markers and not reading.own_tags.markers:
        return
    for name, present, dense, share in (
        ("UNK", "unk", "unk_dense", limit.UNK_SHARE),
        ("INAUDIBLE", "inaudible", "inaudible_dense", limit.INAUDIBLE_SHARE),
    ):
        count = marker_count(reading, name)
        words = len(reading.words) + count
        if count:
            yield finding(dense if count > share * words else present, f"{count} of {words} words")
    overlaps = marker_count(reading, "OVERLAP")
    if overlaps:
        yield finding("overlap_marked", f"{overlaps} times")


def marker_count(reading: Reading, name: str) -> int:
    """A check of how often a marker stands in the answer: a model may forget it in one of the two texts."""
    return max(reading.tags.markers.get(name, 0), reading.own_tags.markers.get(name, 0))


CHECKS = (same_words, known_tags, events, markers)

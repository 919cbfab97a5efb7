"""Tombstones by digests of names, and metadata without those they name."""

from __future__ import annotations

import orjson

from lipika.archive.erased import ErasedNames, ErasedStretch, leave_out, speaker_key
from lipika.archive.metadata import Metadata
from lipika.models import SegmentName

ASHA = ErasedNames([ErasedStretch("k", speaker_key("k", "asha"), 0, 2**31 - 1)])
PART = ErasedNames([ErasedStretch("k", speaker_key("k", "asha"), 1_000, 2_000)])
WHOLE = ErasedNames([ErasedStretch("k", "", 0, 2**31 - 1)])


def test_a_stretch_covers_what_lies_in_it_by_a_part() -> None:
    inside, touching, other = (
        SegmentName("asha", 150, 400),
        SegmentName("asha", 200, 400),
        SegmentName("ravi", 150, 400),
    )
    assert [PART.covers(one) for one in (inside, touching, other)] == [True, False, False]
    assert [ASHA.covers(one) for one in (inside, touching, other)] == [True, True, False]
    assert WHOLE.covers(other)
    assert (ASHA.has_speaker("asha"), PART.has_speaker("asha"), ASHA.has_speaker("Asha")) == (
        True,
        False,
        False,
    )
    assert not ErasedNames().covers(inside)


def test_metadata_keep_their_texts_and_lose_who_is_named() -> None:
    text = (
        b'{"n": 1.50, "asha": 3, "names": ["asha", "ravi", "asha_00000_00100.flac"], "by": {"id": "asha", "age": 3},'
        b' "all": {"ravi": {"x": 1}, "segments/asha_00100_00200.wav": {"text": "hello"}}, "said": "asha spoke"}'
    )
    rest = leave_out(Metadata.read(text), ASHA.names)
    assert b'"n": 1.50' in rest.text
    assert orjson.loads(rest.text) == {
        "n": 1.5, "names": ["ravi"], "all": {"ravi": {"x": 1}}, "said": "asha spoke",
    }  # fmt: skip
    same = Metadata.read(b'{"a":  1, "b": ["ravi"]}')
    assert leave_out(same, ASHA.names) is same

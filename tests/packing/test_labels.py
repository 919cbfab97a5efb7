"""Labels as the tools themselves write them, and as people break them."""

from __future__ import annotations

import pytest

from lipika.packing.labels import BadLabels, LabelFile, parse_labels

RTTM = """;; a comment
SPKR-INFO talk 1 <NA> <NA> <NA> unknown asha <NA> <NA>
SPEAKER talk 1 1.500 2.25 <NA> <NA> asha <NA> <NA>
SPEAKER talk 1 0.000 1.00 <NA> <NA> ravi <NA> <NA>
SPEAKER talk 1 nan 1.00 <NA> <NA> ravi <NA> <NA>
SPEAKER talk 1 5.0 0.0 <NA> <NA> ravi <NA> <NA>
SPEAKER talk
SPEAKER other 1 7.0 1.0 <NA> <NA> meera <NA> <NA>
"""
CTM = """talk 1 0.00 0.30 नमस्ते 0.99
talk 1 0.35 0.30 दोस्तों
talk 1 2.00 0.20 हाँ 0.5
talk A
"""
AUDACITY = "0.000000\t1.500000\tनमस्ते\n\\\t100.0\t2000.0\n2,0\t3,25\t\n4.0\t4.0\tmark\n9.0\t8.0\tback\n"
VTT = """WEBVTT

NOTE made by hand

1
00:01.000 --> 00:02.500 align:start
<v Asha>Hello <b>there</b>

00:00:04.000 --> 00:00:03.000
backwards

99:59:59.000 --> nonsense
x
"""
SRT = "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\nनमस्ते\r\nदोस्तों\r\n\r\n"
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="1750"/>
<TIME_SLOT TIME_SLOT_ID="c"/></TIME_ORDER>
<TIER TIER_ID="utt" PARTICIPANT="Asha"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="1" TIME_SLOT_REF1="a"
 TIME_SLOT_REF2="b"><ANNOTATION_VALUE>नमस्ते</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="2" TIME_SLOT_REF1="a" TIME_SLOT_REF2="c"/></ANNOTATION></TIER>
<TIER TIER_ID="gloss" PARENT_REF="utt"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="3" TIME_SLOT_REF1="a"
 TIME_SLOT_REF2="b"/></ANNOTATION></TIER></ANNOTATION_DOCUMENT>"""
LONG_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 3.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "say ""12"" now"
        intervals [3]:
            xmin = 1.0
            xmax = 1.5
            text = "दो"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 3.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "n"
"""
SHORT_GRID = """File type = "ooTextFile short"
"TextGrid"

0
3.5
<exists>
1
"IntervalTier"
"asha"
0
3.5
2
0
1.25
"नमस्ते"
1.25
3.5
""
"""


def told(found: LabelFile, recording: str = "talk") -> list[tuple[float, float, str | None, str | None]]:
    return [(label.start, label.end, label.speaker, label.text) for label in found.labels_of(recording)]


def test_rttm_gives_each_recording_its_speakers_in_order_of_time() -> None:
    found = parse_labels(".rttm", RTTM.encode())
    assert told(found) == [(0.0, 1.0, "ravi", None), (1.5, 3.75, "asha", None)]
    assert told(found, "other") == [(7.0, 8.0, "meera", None)]
    assert [line for line, _ in found.bad] == [5, 6, 7]


def test_words_of_a_ctm_are_joined_until_a_pause() -> None:
    found = parse_labels(".ctm", CTM.encode())
    assert told(found) == [(0.0, 0.65, None, "नमस्ते दोस्तों"), (2.0, 2.2, None, "हाँ")]
    assert [line for line, _ in found.bad] == [4]


def test_audacity_labels_are_told_from_a_text() -> None:
    found = parse_labels(".txt", AUDACITY.encode())
    assert told(found) == [(0.0, 1.5, None, "नमस्ते"), (2.0, 3.25, None, None)]
    assert [line for line, _ in found.bad] == [5]
    plain = parse_labels(".txt", "नमस्ते\n1.0\t2.0\tx\n".encode())
    assert plain.text is not None
    assert told(plain) == []


@pytest.mark.parametrize(("suffix", "text"), [(".vtt", VTT), (".srt", SRT)])
def test_subtitles(suffix: str, text: str) -> None:
    found = parse_labels(suffix, text.encode())
    if suffix == ".vtt":
        assert told(found) == [(1.0, 2.5, "Asha", "Hello there")]
        assert len(found.bad) == 2
    else:
        assert told(found) == [(1.0, 2.5, None, "नमस्ते दोस्तों")]


def test_elan_gives_tiers_that_depend_on_none() -> None:
    found = parse_labels(".eaf", ELAN.encode())
    assert told(found) == [(0.5, 1.75, "Asha", "नमस्ते")]
    assert len(found.bad) == 1
    assert found.labels_of("talk")[0].columns == {"tier": "utt"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_praat_in_both_forms(encoding: str) -> None:
    assert told(parse_labels(".textgrid", LONG_GRID.encode(encoding))) == [
        (0.5, 1.5, None, 'say "12" now दो')
    ]
    assert told(parse_labels(".textgrid", SHORT_GRID.encode(encoding))) == [(0.0, 1.25, None, "नमस्ते")]


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".txt", b"\xe0\xa4"),
        (".eaf", b"<TIER"),
        (".eaf", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        (".textgrid", b"ooBinaryFile\x08TextGrid"[:8]),
        (".srt", b"\xff\xfe\x00"),
    ],
)
def test_no_labels_at_all_is_said(suffix: str, data: bytes) -> None:
    with pytest.raises(BadLabels):
        parse_labels(suffix, data)

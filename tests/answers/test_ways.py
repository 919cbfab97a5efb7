"""A way of asking is found by its name or its settings; two ways beside each other say what is planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.alignment.romanise import open_romaniser
from lipika.answers.compare import PairedAnswers, compare
from lipika.answers.ways import find_way, group_ways
from lipika.canary.records import Asked
from lipika.db.ways import WayCount
from lipika.errors import UsageError
from lipika.models import Usage

LETTERS = "कखगघचछजझटठडढतथदधनपफबभमयरलवशसह"
ROMANISER = open_romaniser("builtin")


def count(way: str, place: str = "result", clips: int = 10, **changes: object) -> WayCount:
    given: dict[str, object] = {
        "way": way,
        "place": place,
        "language": "hi",
        "provider": "aistudio",
        "service_tier": "standard",
        "made_up": False,
        "model_id": "gemini-3-flash-preview",
        "temperature": 0.7,
        "thinking_level": "low",
        "prompt_version": "1",
        "schema_version": "1",
        "clips": clips,
        "cost_usd": clips * 0.001,
        "prompt_tokens": clips * 700,
        "audio_tokens": clips * 250,
        "output_tokens": clips * 120,
        "thought_tokens": 0,
    }
    return WayCount(**(given | changes))  # type: ignore[arg-type]


LEAN = {"prompt_version": "1+lean", "schema_version": "2"}
WAYS = group_ways(
    [
        count("aaaa1111", language="ta", clips=3),
        count("aaaa1111", provider="openrouter", clips=2),
        count("aaaa1111", service_tier="flex", place="kept", clips=4),
        count("aaab2222", temperature=0.0, clips=1),
        count("bbbb3333", **LEAN, clips=7),
    ]
)


def test_places_languages_and_providers_add_up() -> None:
    one = next(way for way in WAYS if way.name == "aaaa1111")
    assert [way.name for way in WAYS] == ["bbbb3333", "aaaa1111", "aaab2222"]
    assert (one.results.clips, one.kept.clips, one.answers) == (5, 4, 9)
    assert one.results.usd == pytest.approx(0.005)
    assert one.languages == {"hi": 6, "ta": 3}
    assert one.providers == {"aistudio flex": 4, "aistudio": 3, "openrouter": 2}


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("aaaa", "aaaa1111"),
        ("BBB", "bbbb3333"),
        ("ANSWER=lean", "bbbb3333"),
        ("TEMPERATURE=0", "aaab2222"),
        ("model_id=google/gemini-3-flash-preview temperature=0.70 ANSWER=full", "aaaa1111"),
        *((way.settings.words, way.name) for way in WAYS),
    ],
)
def test_a_way_is_meant_by_its_name_or_its_settings(told: str, name: str) -> None:
    assert find_way(WAYS, told).name == name


@pytest.mark.parametrize(
    ("told", "because"),
    [
        ("aaa", "2 ways are meant"),
        ("ANSWER=full", "2 ways are meant"),
        ("cccc", "no answers were asked for that way"),
        ("TEMPERATURE=warm", "is a number"),
        ("COLOUR=red", "expected NAME=value"),
        ("gemini", "is no way of asking"),
    ],
)
def test_what_means_none_or_several_is_refused_with_what_there_is(told: str, because: str) -> None:
    with pytest.raises(UsageError, match=because):
        find_way(WAYS, told)


def test_without_answers_the_way_out_is_named() -> None:
    with pytest.raises(UsageError, match="lipika run"):
        find_way([], "aaaa")


# ----------------------------------------------------------------------------- beside each other


def asked(video: int, clip: int, text: str, language: str = "hi", **changes: object) -> Asked:
    given: dict[str, object] = {
        "arm": "a",
        "video_id": f"v{video}",
        "segment_file": f"s_{clip}.flac",
        "language": language,
        "duration_ms": 3000,
        "status": "transcribed",
        "provider": "aistudio",
        "model_version": "m",
        "requests": 1,
        "rate_limited": 0,
        "failure_kinds": (),
        "latencies_ms": (900.0,),
        "cache_hits": 0,
        "usage": Usage(),
        "cost_usd": 0.001,
        "first_findings": (),
        "first_failure": "",
        "quality_score": 0.9,
        "findings": (),
        "lanes": ("asr", "tts_clean", "tts_expressive"),
        "detected_language": language,
        "transcription": text,
    }
    return Asked(**(given | changes))  # type: ignore[arg-type]


def planted(chance: np.random.Generator, videos: int, rate: float) -> list[PairedAnswers]:
    """Twenty clips a video of 50 letters, of which each is another in the second text at this rate."""
    pairs = []
    for video in range(videos):
        for clip in range(20):
            letters = chance.choice(list(LETTERS), 50)
            other = letters.copy()
            for place in np.flatnonzero(chance.random(50) < rate):
                other[place] = chance.choice([one for one in LETTERS if one != letters[place]])
            pairs.append(
                PairedAnswers(
                    asked(video, clip, "".join(letters)),
                    asked(video, clip, "".join(other), cost_usd=0.0005, lanes=("asr",) if clip % 4 else ()),
                )
            )
    return pairs


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_the_planted_rate_of_letters_lies_in_its_interval(rate: float) -> None:
    chance = np.random.default_rng(7)
    found = compare(("a", "b"), planted(chance, 30, rate), ROMANISER, all_looked_at=True)
    (hindi,) = found.languages
    assert (hindi.clips, hindi.videos) == (600, 30)
    assert hindi.cer.low < rate < hindi.cer.high
    assert hindi.cer.high - hindi.cer.low < 0.06
    assert hindi.cer_by_sound.value <= hindi.cer.value
    asr = hindi.shares["asr"]
    assert (asr.first, asr.second) == (0, 0.25)
    assert asr.difference.low < 0.25 < asr.difference.high
    assert hindi.cost_ratio.value == pytest.approx(0.5)
    assert len(found.worst) == 12
    assert found.worst[0].cer == max(one.cer for one in found.worst)


@given(st.lists(st.text(LETTERS + " ", min_size=1, max_size=30), min_size=1, max_size=12))
def test_a_way_beside_itself_differs_in_nothing_and_the_order_does_not_matter(texts: list[str]) -> None:
    same = [
        PairedAnswers(asked(number % 3, number, text), asked(number % 3, number, text))
        for number, text in enumerate(texts)
    ]
    found = compare(("a", "b"), same, ROMANISER, all_looked_at=True)
    assert found.languages[0].identical == found.clips == len(texts)
    assert found.languages[0].cer.value == found.languages[0].cer_by_sound.value == 0
    assert found.worst == ()
    turned = [
        PairedAnswers(one.first, asked(place % 3, place, texts[-1 - place])) for place, one in enumerate(same)
    ]
    swapped = [PairedAnswers(one.second, one.first) for one in turned]
    forth = compare(("a", "b"), turned, ROMANISER, all_looked_at=True)
    back = compare(("b", "a"), swapped, ROMANISER, all_looked_at=True)
    assert forth.languages[0].cer.value == pytest.approx(back.languages[0].cer.value)


def test_spelling_is_forgiven_by_sound_alone() -> None:
    """The same word with another nasal and another vowel sign."""
    pairs = [PairedAnswers(asked(0, 0, "हिन्दी में लिखा है"), asked(0, 0, "हिंदी में लिखा है"))]
    (one,) = compare(("a", "b"), pairs, ROMANISER, all_looked_at=True).languages
    assert one.cer_by_sound.value < one.cer.value or one.cer.value == 0


def test_languages_stand_apart_and_together() -> None:
    pairs = [
        PairedAnswers(asked(0, 0, "कखग"), asked(0, 0, "कखग")),
        PairedAnswers(asked(1, 0, "கஙச", "ta"), asked(1, 0, "மயர", "ta", status="no_speech")),
    ]
    found = compare(("a", "b"), pairs, ROMANISER, all_looked_at=False)
    assert [one.language for one in found.languages] == ["", "hi", "ta"]
    assert [one.speech_disagreed for one in found.languages] == [1, 0, 1]
    assert [one.cer.value for one in found.languages] == [0.5, 0, 1]
    assert not found.all_looked_at

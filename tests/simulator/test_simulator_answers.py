"""What the simulator hears and says: audio facts without decoding, texts, schemas, tokens."""

from __future__ import annotations

import base64
import io
import random
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from lipika.audio.codec import Audio, encode_ogg
from lipika.languages import LANGUAGES
from lipika.llm.transcript import EVENT_TAGS, parse_answer, response_schema
from lipika.models import Answer
from lipika.simulator.answers import hinted_language, known_fields, transcribe
from lipika.simulator.audio import SimulatedHearing, UnreadableAudio, decode_base64, glance, listen
from lipika.simulator.lifting import lift
from lipika.simulator.schema import Json, instance
from lipika.simulator.sentences import sentences, speak
from lipika.simulator.tokens import text_tokens
from simulator_kit import flac

# ----------------------------------------------------------------------------- hearing


def _listen(data: bytes) -> SimulatedHearing:
    return listen(data, silence_peak_dbfs=-50.0)


@pytest.mark.parametrize("seconds", [0.4, 2.0, 8.03, 15.0])
def test_length_comes_from_the_header(seconds: float) -> None:
    heard = _listen(flac(seconds))
    assert heard.duration_s == pytest.approx(seconds, abs=1e-4)
    assert not heard.silent
    assert 0 < heard.speech_s <= seconds


def test_pauses_are_told_from_speech_by_the_size_of_frames() -> None:
    loud = np.random.default_rng(0).normal(0, 0.1, 5 * 16_000)
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([loud, loud * 0.003, loud]), 16_000, format="FLAC")
    heard = _listen(file.getvalue())
    assert heard.duration_s == 15
    assert heard.speech_s == pytest.approx(10, abs=0.6)


@pytest.mark.parametrize(("level", "silent"), [(0.0, True), (0.0004, True), (0.01, False)])
def test_silence_is_decided_by_the_peak(level: float, silent: bool) -> None:
    assert _listen(flac(4, level=level)).silent is silent


@pytest.mark.parametrize("data", [b"", b"fLaC", b"RIFF....WAVE", flac(1)[:30]])
def test_what_is_not_audio_is_said_to_be_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        _listen(data)


@pytest.mark.parametrize("level", [0.0, 0.001, 0.3])
def test_ogg_is_heard_too(level: float) -> None:
    noise = np.random.default_rng(1).normal(0, level, 6 * 16_000)
    data = encode_ogg(Audio(np.clip(noise * 32_767, -32_768, 32_767).astype(np.int16), 16_000, 16))
    thorough, light = _listen(data), glance(base64.b64encode(data))
    assert light.duration_s == thorough.duration_s == 6
    assert light.silent == (level == 0)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_a_glance_agrees_with_listening(level: float) -> None:
    data = flac(6, level=level)
    thorough, light = _listen(data), glance(base64.b64encode(data))
    assert (light.duration_s, light.silent) == (thorough.duration_s, thorough.silent)
    assert light.digest != glance(base64.b64encode(flac(6, level=0.2))).digest
    with pytest.raises(UnreadableAudio):
        glance(b"AAAA")


@given(st.binary(max_size=200))
def test_base64_of_both_alphabets_padded_or_not(data: bytes) -> None:
    for text in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        assert decode_base64(text) == decode_base64(text.rstrip(b"=")) == data


@pytest.mark.parametrize("text", [b"*", b"AA AA", b"AAAAA", "नम".encode()])
def test_other_text_is_not_base64(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_base64(text)


LONG = "A" * 20


@given(
    st.recursive(
        st.sampled_from([LONG, "data", 'a "data": b', "", 1, None]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "a"]), inner, max_size=2)
        ),
        max_leaves=8,
    ),
    st.sampled_from([0, orjson.OPT_INDENT_2]),
)
def test_lifting_takes_out_long_data_and_nothing_else(value: Json, option: int) -> None:
    def lowered(node: Json, key: str = "") -> Json:
        if isinstance(node, dict):
            return {name: lowered(inner, name) for name, inner in node.items()}
        if isinstance(node, list):
            return [lowered(inner) for inner in node]
        return lifted.original(node).decode() if isinstance(node, str) and key == "data" else node

    lifted = lift(orjson.dumps(value, option=option), least_bytes=20)
    assert lowered(orjson.loads(lifted.json)) == value
    assert len(lifted.strings) == _long_data(value)


def _long_data(value: Json) -> int:
    if isinstance(value, dict):
        return (value.get("data") == LONG) + sum(map(_long_data, value.values()))
    return sum(map(_long_data, value)) if isinstance(value, list) else 0


def test_escaped_and_unfinished_strings_stay() -> None:
    for body in (
        rb'{"data": "AAAAAAAAAAAAAAAA\/AAAA"}',
        b'{"data": "AAAAAAAAAAAAAAAAAAAAAAAA',
        b'{"data"',
        b'"data":',
    ):
        assert lift(body, least_bytes=8).json == body


# ----------------------------------------------------------------------------- saying


@pytest.mark.parametrize("code", LANGUAGES)
def test_banks_are_in_their_own_script(code: str) -> None:
    bank = sentences(code)
    assert len(set(bank)) == len(bank) >= 25
    letters = {letter for letter in "".join(bank) if unicodedata.category(letter)[0] in "LM"}
    script = LANGUAGES[code].script.upper()
    assert not [letter for letter in letters if not unicodedata.name(letter).startswith(script)]


def test_bengali_and_assamese_keep_to_their_own_letters() -> None:
    assert "র" not in "".join(sentences("as"))
    assert not set("ৰৱ") & set("".join(sentences("bn")))
    assert not set("كي") & set("".join(sentences("ur")))


@given(st.sampled_from(sorted(LANGUAGES)), st.integers(3, 900), st.integers())
def test_texts_have_about_the_wanted_length(code: str, chars: int, seed: int) -> None:
    text = speak(code, chars, random.Random(seed))
    longest = max(len(word) for sentence in sentences(code) for word in sentence.split())
    assert text == text.strip()
    assert text
    assert abs(len(text) - chars) <= longest + 3


@given(st.sampled_from(sorted(LANGUAGES)), st.floats(1.5, 15), st.integers())
def test_texts_go_by_the_clock_of_their_language(code: str, speech_s: float, seed: int) -> None:
    heard = SimulatedHearing(b"", speech_s + 0.3, speech_s, silent=False)
    answer = transcribe(heard, code, random.Random(seed), event_tag_rate=0.5)
    slow, _, fast = LANGUAGES[code].chars_per_second
    assert slow <= (len(answer.transcription) + 16) / speech_s
    assert (len(answer.transcription) - 16) / speech_s <= fast


@given(st.sampled_from(sorted(LANGUAGES)), st.integers())
def test_tagged_is_the_transcription_with_event_tags(code: str, seed: int) -> None:
    heard = SimulatedHearing(b"", 5.0, 4.7, silent=False)
    answer = transcribe(heard, code, random.Random(seed), event_tag_rate=1.0)
    tag = re.search(r"\[(\w+)\]", answer.tagged)
    assert tag
    assert tag[1] in EVENT_TAGS
    assert answer.tagged.replace(tag[0], "").split() == answer.transcription.split()


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("Language hint: Hindi (hi)", "hi"),
        ("Write Bengali (bn) or Tamil (ta).\nThe hint is Odia (or)\nTamil (ta)", "or"),
        ("The speaker speaks Tamil (ta).", "ta"),
        ("Hindi (ta) and Klingon (tl)", ""),
        ("", ""),
    ],
)
def test_the_hint_is_found_in_the_prompt(prompt: str, code: str) -> None:
    assert hinted_language(prompt) == code


# ----------------------------------------------------------------------------- schemas


@given(st.integers())
def test_the_answers_schema_is_filled_with_the_answer(seed: int) -> None:
    rng = random.Random(seed)
    answer = transcribe(SimulatedHearing(b"", 5.0, 4.7, silent=False), "kn", rng, event_tag_rate=0.2)
    written = orjson.dumps(instance(response_schema(), known_fields(answer), rng)).decode()
    parsed = parse_answer(written)
    assert isinstance(parsed, Answer)
    assert (parsed.transcription, parsed.tagged) == (answer.transcription, answer.tagged)


Check = Callable[[Any], bool]

SCHEMAS: dict[str, tuple[dict[str, object], Check]] = {
    "enums of its own": (
        {"type": "object", "properties": {"speaker_emotion": {"enum": ["glad", "mad"]}, "tagged": {}}},
        lambda value: value["speaker_emotion"] in ("glad", "mad") and value["tagged"] == "text",
    ),
    "another type under a known name": (
        {"type": "object", "properties": {"tagged": {"type": "integer"}}},
        lambda value: isinstance(value["tagged"], int),
    ),
    "numbers": (
        {
            "properties": {
                "a": {"type": "integer", "minimum": 3, "maximum": 3},
                "b": {"type": "number", "maximum": -5},
                "c": {"type": ["null", "integer"], "minimum": 100},
                "d": {"type": "boolean"},
            }
        },
        lambda value: (
            value["a"] == 3 and value["b"] <= -5 and value["c"] >= 100 and isinstance(value["d"], bool)
        ),
    ),
    "arrays": (
        {"type": "array", "items": {"type": "boolean"}, "prefixItems": [{}, {"const": 4}], "minItems": 4},
        lambda value: len(value) == 4 and value[:2] == ["text", 4] and {*value[2:]} <= {True, False},
    ),
    "no more items than allowed": (
        {"type": "array", "items": {"type": "null"}, "maxItems": 0},
        lambda value: value == [],
    ),
    "references": (
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "next": {"$ref": "#/$defs/node"},
                        "at": {"type": "string", "format": "date"},
                    },
                    "required": ["at"],
                }
            },
        },
        lambda value: value["next"]["next"]["at"] == "2026-01-01",
    ),
    "alternatives": (
        {
            "type": "OBJECT",
            "properties": {
                "a": {"anyOf": [{"type": "NULL"}, {"type": "STRING"}]},
                "b": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
                "c": {"allOf": [{"type": "integer"}, {"minimum": 7}]},
            },
        },
        lambda value: value["a"] is None and isinstance(value["b"], int) and value["c"] >= 7,
    ),
    "a reference to itself alone": ({"$ref": "#"}, lambda value: value is None),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_any_schema_gets_a_valid_instance(name: str) -> None:
    schema, is_valid = SCHEMAS[name]
    known: dict[str, Json] = {"tagged": "text", "speaker_emotion": "neutral"}
    for seed in range(20):
        assert is_valid(instance(schema, known, random.Random(seed)))


def test_required_comes_first_and_in_its_order() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["c", "a"]}
    value = instance(schema, {}, random.Random(0))
    assert isinstance(value, dict)
    assert list(value) == ["c", "a", "b"]


def test_tokens_by_rule_of_thumb() -> None:
    assert [text_tokens(text) for text in ("", "abcd", "abcde", "नमस्ते", "a नम")] == [0, 1, 2, 3, 2]
    counts = [text_tokens("क" * length) for length in range(40)]
    assert all(after >= before for before, after in pairwise(counts))

"""The answer's schema and its reader."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import DETECTABLE
from lipika.llm.transcript import (
    EMOTIONS,
    FIELDS,
    NO_SPEECH,
    PACES,
    SCHEMA_VERSION,
    STYLES,
    parse_answer,
    read_answer,
    response_schema,
    tidy_answer,
    tidy_text,
)
from lipika.models import Answer, Failure, FailureKind
from transcript_kit import GOOD, written


def failure(text: str) -> Failure:
    answer = parse_answer(text)
    assert isinstance(answer, Failure)
    return answer


def answer(text: str) -> Answer:
    parsed = parse_answer(text)
    assert isinstance(parsed, Answer), parsed
    return parsed


def test_the_schema_is_the_subset_that_gemini_understands() -> None:
    schema = response_schema()
    assert schema["required"] == list(schema["properties"]) == list(FIELDS)
    assert schema["additionalProperties"] is False
    assert FIELDS == (
        "transcription",
        "tagged",
        "detected_language",
        "speaker_emotion",
        "speaker_style",
        "speaker_pace",
        "speaker_accent",
    )
    for field in schema["properties"].values():
        assert set(field) - {"enum"} == {"type", "description"}
        assert field["type"] == "string"
        assert 0 < len(field["description"]) <= 60
    enums = {name: tuple(field["enum"]) for name, field in schema["properties"].items() if "enum" in field}
    assert enums == {
        "detected_language": DETECTABLE,
        "speaker_emotion": EMOTIONS,
        "speaker_style": STYLES,
        "speaker_pace": PACES,
    }


def test_a_changed_schema_needs_a_new_version() -> None:
    digest = hashlib.sha256(json.dumps(response_schema()).encode()).hexdigest()[:12]
    assert (SCHEMA_VERSION, digest) == ("1", "feb3379e05ea")


def test_the_schema_and_the_reader_agree() -> None:
    properties = response_schema()["properties"]
    for field, value in GOOD.items():
        assert value in properties[field].get("enum", [value])
    assert answer(written()) == Answer(**GOOD)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrapped",
    [
        "\ufeff" + written(),
        "\n\t " + written() + " \r\n",
        "```json\n" + written() + "\n```",
        "```\r\n" + json.dumps(GOOD, indent=2) + "\r\n```\n",
        "```json\n" + written() + "```",
        "```JSON\n" + written() + "\n```",
        "```json" + written() + "```",
        "```json5 " + written() + " ```",
        "````\n" + written() + "\n````",
        "~~~json\n" + written() + "\n~~~",
        "Here is the JSON requested:\n```json\n" + written() + "\n```\nLet me know.",
        "json\n" + written(),
        "```json\n" + written(),
        written() + "\n```",
        written() + '."\n}',
        written() + "}",
        written() + "]",
        written() + ",",
        written() + "\n\nNote: {unclear} in places.",
        written() + " \n" * 5_000,
        "\n" * 5_000 + written(),
        written() + "\x00\u200b",
        written() + written(),
        written() + "\n" + json.dumps(dict(reversed(GOOD.items())), indent=2),
        written() + "\n" + written()[:70],
        written() + "\n```json\n" + written() + "\n```",
        json.dumps([GOOD]),
        json.dumps([GOOD, GOOD]),
        json.dumps([GOOD]) + json.dumps(GOOD),
        "[" + written(),
        "```\n[\n" + written() + "\n]\n```",
        json.dumps(written()),
        json.dumps(json.dumps(written())),
        json.dumps([written()]),
        json.dumps("```json\n" + written() + "\n```"),
    ],
)
def test_wrapping_is_tolerated(wrapped: str) -> None:
    assert answer(wrapped) == answer(written())


Wrap = Callable[[str], str]
AS_JSON: list[Wrap] = [json.dumps, lambda text: f"[{text}]", lambda text: f"[{text}, {text}]"]
AS_TEXT: list[Wrap] = [
    lambda text: f"```json\n{text}\n```",
    lambda text: f"{text}\n{text}",
    lambda text: f"{text}\n```",
    lambda text: f"\n {text} \t\n",
]


@given(
    st.lists(st.sampled_from(AS_JSON), max_size=2),
    st.lists(st.sampled_from(AS_TEXT), max_size=2),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
)
def test_whatever_wraps_an_answer_its_words_stay(
    as_json: list[Wrap], as_text: list[Wrap], words: str
) -> None:
    text = written(transcription=words, tagged=words)
    plain = parse_answer(text)
    for wrap in (*as_json, *as_text):
        text = wrap(text)
    assert parse_answer(text) == plain


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_different_answers_are_none(first: str, second: str) -> None:
    both = [written(transcription=words) for words in (first, second)]
    parsed = parse_answer("\n".join(both))
    assert isinstance(parsed, Failure) or first == second


@pytest.mark.parametrize(
    ("field", "said", "kept"),
    [
        ("detected_language", "Hindi", "hi"),
        ("detected_language", "mr-IN", "mr"),
        ("detected_language", "sanskrit", "other"),
        ("detected_language", "none", "none"),
        ("speaker_emotion", " Happy ", "happy"),
        ("speaker_emotion", "melancholic", "other"),
        ("speaker_style", "rap", "other"),
        ("speaker_pace", "FAST", "fast"),
    ],
)
def test_vocabularies_are_read_leniently(field: str, said: str, kept: str) -> None:
    assert getattr(answer(written(**{field: said})), field) == kept


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("detected_language", DETECTABLE),
        ("speaker_emotion", EMOTIONS),
        ("speaker_style", STYLES),
        ("speaker_pace", PACES),
    ],
)
def test_what_is_said_exactly_is_read_as_what_is_said_loosely(field: str, values: tuple[str, ...]) -> None:
    for value in values:
        exact, loose = (answer(written(**{field: said})) for said in (value, f" {value.upper()} "))
        assert exact == loose
        assert getattr(exact, field) == value


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1]", "dictionary"),
        ('"just a string"', "dictionary"),
        ("{}", "transcription"),
        (written()[:-20], "JSON"),
        ("Here you are: " + written(), "JSON"),
        (written() + written(tagged="other"), "two different objects"),
        (written() + "\n" + json.dumps([{**GOOD, "tagged": "other"}]), "two different objects"),
        (json.dumps([GOOD, {**GOOD, "speaker_pace": "fast"}]), "dictionary"),
        (written() + written(tagged="other")[:60], "the beginning of another object"),
        (written() + written()[:-1] + ', "extra": 1}', "two different objects"),
        (written() + "{}", "two different objects"),
        (written() + "{" * 100, "too much"),
        (json.dumps(json.dumps(json.dumps(json.dumps(json.dumps(written()))))), "dictionary"),
        ("[]", "dictionary"),
        (json.dumps(written()) + json.dumps(written(tagged="other")), "two different objects"),
        ("```json\n" + written()[:-20], "JSON"),
        (written(extra="x"), "extra"),
        (written(tagged=None), "tagged"),
        (written(transcription=["a"]), "transcription"),
        (written(speaker_pace="brisk"), "slow, moderate, fast"),
        (written(speaker_emotion=3), "speaker_emotion"),
        (written()[:-1] + ', "tagged": "again"}', "given twice"),
        ("[" * 100_000, "JSON"),
        (written().replace("Delhi", "\\u0000"), "NUL"),
        (written().replace("Delhi", "\\ud800"), "surrogate"),
    ],
)
def test_structure_is_read_strictly(text: str, word: str) -> None:
    found = failure(text)
    assert found.kind is FailureKind.MALFORMED
    assert word in found.message


@pytest.mark.parametrize(
    "text", ["", " \n", "\ufeff", written(transcription=""), written(transcription=" \n ")]
)
def test_nothing_said_is_empty(text: str) -> None:
    assert failure(text).kind is FailureKind.EMPTY


@pytest.mark.parametrize(
    "spelt", ["NO_SPEECH", " NO_SPEECH.\n", "[NO_SPEECH]", "no_speech", "[no speech]", "NO SPEECH"]
)
def test_no_speech_has_one_spelling(spelt: str) -> None:
    assert answer(written(transcription=spelt)).transcription == "NO_SPEECH"


@pytest.mark.parametrize("words", ["No speech.", "no speech", "NO_SPEECH हाँ", "नो स्पीच"])
def test_spoken_words_are_not_taken_for_no_speech(words: str) -> None:
    assert answer(written(transcription=words)).transcription == words


def test_odd_text_is_left_for_validation_to_see() -> None:
    odd = "हाँ <ctrl46> \u200b\u0007 **bold**"
    assert answer(written(transcription=odd)).transcription == odd
    raw_newline = written(transcription="A B").replace("A B", "A\nB")
    assert answer(raw_newline).transcription == "A\nB"


@given(st.text())
def test_any_text_gives_a_value_and_never_raises(text: str) -> None:
    assert isinstance(parse_answer(text), Answer | Failure)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1))
def test_text_comes_through_unchanged(words: str) -> None:
    parsed = parse_answer(written(transcription=words, tagged=words))
    if words.strip():
        assert isinstance(parsed, Answer)
        assert parsed.tagged == words
        assert parsed.transcription in (words, NO_SPEECH)
    else:
        assert isinstance(parsed, Failure)


# ----------------------------------------------------------------------------- as it is stored


def read(words: str) -> str:
    found = read_answer(written(transcription=words, tagged=words))
    assert isinstance(found, Answer)
    assert found.tagged == found.transcription
    return found.transcription


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("\u09ad\u09be\u09b2\u09c7\u09be", "\u09ad\u09be\u09b2\u09cb"),  # two halves of a Bengali vowel sign
        ("\u0bc6\u0bbe \u0b95\u0bc6\u0bbe", "\u0bca \u0b95\u0bca"),  # ... of a Tamil one
        ("\u095b\u0930\u093e", "\u091c\u093c\u0930\u093e"),  # a letter with its nukta in one
        ("caf\u0065\u0301", "caf\u00e9"),
        ("\ufeffहाँ", "हाँ"),
        ("हाँ\u00a0जी\u202fहाँ\u3000जी", "हाँ जी हाँ जी"),
        ("के\u00adमन\u2060 \u200eہاں\u200f \u202aہاں\u202c", "केमन ہاں ہاں"),
        ("एक\u2028दो", "एक\nदो"),
    ],
)
def test_what_is_stored_is_in_one_form_without_what_nobody_hears(said: str, stored: str) -> None:
    assert read(said) == stored


@pytest.mark.parametrize("words", ["ক্\u200dষ র\u200d্যাব", "می\u200cروم", "हाँ\u200bजी", "അവൻ\u200d"])
def test_joiners_and_what_may_be_a_space_stay(words: str) -> None:
    assert read(words) == words


def test_nothing_but_what_nobody_hears_is_empty() -> None:
    found = read_answer(written(transcription="\u00ad\ufeff\u00a0"))
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.EMPTY
    spelt = read_answer(written(transcription="NO\u00a0SPEECH"))
    assert isinstance(spelt, Answer)
    assert spelt.no_speech


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_tidying_is_idempotent_and_gives_nfc(text: str) -> None:
    stored = tidy_text(text)
    assert unicodedata.is_normalized("NFC", stored)
    assert tidy_text(stored) == stored
    for joiner in "\u200c\u200d":
        assert stored.count(joiner) == text.count(joiner)


def test_heaps_of_marks_are_no_trouble() -> None:
    heap = "\u0301\u0323" * 50_000
    assert len(tidy_text(heap)) == len(heap)
    assert tidy_text("e\u0301 " * 5_000) == "\u00e9 " * 5_000


def test_an_answer_that_needs_no_tidying_stays_the_same_object() -> None:
    plain = Answer(**GOOD)  # type: ignore[arg-type]
    assert tidy_answer(plain) is plain
    assert tidy_answer(replace(plain, speaker_accent="\ufeffDelhi")) == plain

"""The lean answer: what is read from it is what is read from the full one, and no more than that."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import DETECTABLE, FIRST_CLASS, LANGUAGES
from lipika.llm import lean, prompt
from lipika.llm.transcript import (
    EMOTIONS,
    FIELDS,
    LEAN_SCHEMA_VERSION,
    NO_SPEECH,
    PACES,
    SCHEMA_VERSION,
    STYLES,
    form_of,
    parse_answer,
    read_answer,
    response_schema,
    schema_version,
)
from lipika.models import Answer, AnswerForm, Failure, FailureKind
from lipika.simulator.answers import known_fields, transcribe
from lipika.simulator.audio import SimulatedHearing
from lipika.simulator.schema import instance
from lipika.simulator.tokens import text_tokens
from transcript_kit import GOOD, written

ANSWER = Answer(**GOOD)  # type: ignore[arg-type]
LEAN = lean.shrink(ANSWER)


def said(**changes: object) -> str:
    return json.dumps(LEAN | changes, ensure_ascii=False)


def read(text: str) -> Answer:
    found = parse_answer(text)
    assert isinstance(found, Answer), found
    return found


def refused(text: str) -> str:
    found = parse_answer(text)
    assert isinstance(found, Failure), found
    assert found.kind is FailureKind.MALFORMED
    return found.message


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")) | st.text(" ")
ANSWERS = st.builds(
    Answer,
    transcription=TEXTS,
    tagged=TEXTS,
    detected_language=st.sampled_from(DETECTABLE),
    speaker_emotion=st.sampled_from(EMOTIONS),
    speaker_style=st.sampled_from(STYLES),
    speaker_pace=st.sampled_from(PACES),
    speaker_accent=TEXTS | st.just("unknown"),
)


@given(ANSWERS, st.booleans())
def test_every_answer_comes_back_to_the_letter(answer: Answer, untagged: bool) -> None:
    if untagged:
        answer = Answer(**(asdict(answer) | {"tagged": answer.transcription}))
    assert lean.expand(lean.shrink(answer)) == asdict(answer)


@given(ANSWERS)
def test_either_form_is_read_as_the_same(answer: Answer) -> None:
    full, short = json.dumps(asdict(answer)), json.dumps(lean.shrink(answer))
    assert parse_answer(full) == parse_answer(short)
    assert read_answer(full) == read_answer(short)


@given(st.dictionaries(st.sampled_from([*lean.KEYS, *FIELDS, "x"]), TEXTS | st.none() | st.lists(TEXTS)))
def test_whatever_object_it_is_nothing_raises_and_the_keys_are_those_of_one_form(
    held: dict[str, Any],
) -> None:
    found = parse_answer(json.dumps(held))
    if isinstance(found, Answer):
        assert held.keys() in (set(lean.KEYS), set(FIELDS))


def simulated(language: str, form: AnswerForm, seed: int) -> str:
    """What the simulator says of a clip of 2 to 10 s, asked for this form."""
    rng = random.Random(f"{language} {seed}")
    speech_s = rng.uniform(2, 9.6)
    heard = SimulatedHearing(b"", speech_s + 0.3, speech_s, silent=False)
    answer = transcribe(heard, language, rng, event_tag_rate=0.15)
    return orjson.dumps(instance(response_schema(form), known_fields(answer), rng)).decode()


@pytest.mark.parametrize("language", sorted(FIRST_CLASS))
def test_it_takes_at_most_55_percent_of_the_tokens(language: str) -> None:
    tokens = dict.fromkeys(AnswerForm, 0)
    for seed in range(200):
        texts = {form: simulated(language, form, seed) for form in AnswerForm}
        assert read(texts[AnswerForm.LEAN]) == read(texts[AnswerForm.FULL])
        for form, text in texts.items():
            tokens[form] += text_tokens(text)
    assert tokens[AnswerForm.LEAN] <= 0.55 * tokens[AnswerForm.FULL]


# ----------------------------------------------------------------------------- schema and codes


def test_a_changed_lean_schema_needs_a_new_version() -> None:
    digest = hashlib.sha256(json.dumps(response_schema(AnswerForm.LEAN)).encode()).hexdigest()[:12]
    assert (LEAN_SCHEMA_VERSION, digest) == ("2", "1c298b6163a9")


def test_changed_meanings_of_keys_and_codes_need_a_new_version() -> None:
    coding = json.dumps([lean.KEYS, lean.CODES])
    assert (LEAN_SCHEMA_VERSION, hashlib.sha256(coding.encode()).hexdigest()[:12]) == ("2", "9f5b1e6b84f6")


def test_the_lean_schema_says_the_same_in_fewer_tokens() -> None:
    full, short = response_schema(), response_schema(AnswerForm.LEAN)
    assert short["required"] == list(short["properties"]) == list(lean.KEYS)
    assert short["additionalProperties"] is False
    assert tuple(lean.KEYS.values()) == FIELDS
    for key, name in lean.KEYS.items():
        own, codes = short["properties"][key], lean.CODES.get(name, {})
        assert own["type"] == "string"
        assert [codes.get(code, code) for code in own.get("enum", [])] == full["properties"][name].get(
            "enum", []
        )
    assert text_tokens(json.dumps(short)) < 0.6 * text_tokens(json.dumps(full))


def test_versions_and_forms_belong_together() -> None:
    assert {form: schema_version(form) for form in AnswerForm} == {
        AnswerForm.FULL: SCHEMA_VERSION,
        AnswerForm.LEAN: LEAN_SCHEMA_VERSION,
    }
    assert [form_of(version) for version in ("1", "2", "0", "")] == [
        AnswerForm.FULL,
        AnswerForm.LEAN,
        None,
        None,
    ]


# ----------------------------------------------------------------------------- reading


def test_the_words_stand_once_where_nothing_is_tagged() -> None:
    plain = read(said(t="हाँ जी", g="", a=""))
    assert (plain.transcription, plain.tagged, plain.speaker_accent) == ("हाँ जी", "हाँ जी", "unknown")
    silent = read(said(t="[no speech]", g="", l="none"))
    assert (silent.transcription, silent.no_speech) == (NO_SPEECH, True)
    assert silent == read(
        json.dumps(
            {**GOOD, "transcription": "[no speech]", "tagged": "[no speech]", "detected_language": "none"}
        )
    )
    assert read(said(t=NO_SPEECH, g="[music]", l="none")).tagged == "[music]"


@pytest.mark.parametrize(
    ("field", "code", "kept"),
    [
        ("e", " HAP ", "happy"),
        ("e", "happy", "happy"),
        ("e", "melancholic", "other"),
        ("s", "Shout", "shouting"),
        ("s", "rap", "other"),
        ("p", "MOD", "moderate"),
        ("p", "moderate", "moderate"),
        ("l", "Hindi", "hi"),
        ("l", "sanskrit", "other"),
    ],
)
def test_codes_are_read_as_leniently_as_words(field: str, code: str, kept: str) -> None:
    assert getattr(read(said(**{field: code})), lean.KEYS[field]) == kept


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "transcription"),
        (json.dumps({"t": "हाँ"}), "tagged"),
        (json.dumps({key: value for key, value in LEAN.items() if key != "t"}), "transcription"),
        *(
            (json.dumps({key: value for key, value in LEAN.items() if key != left}), lean.KEYS[left])
            for left in "gespal"
        ),
        (said(x="x"), "x: Extra"),
        (said(tagged="हाँ"), "transcription"),
        (json.dumps({**GOOD, "t": "हाँ"}), "t: Extra"),
        (said(p="brisk"), "slow, moderate, fast"),
        (said(p=""), "slow, moderate, fast"),
        (said(e=3), "speaker_emotion"),
        (said(e=["neu"]), "speaker_emotion"),
        (said(g=None), "tagged"),
        (said(t=["हाँ"]), "transcription"),
        (said(t=None), "transcription"),
        (said(a={}), "speaker_accent"),
        (said()[:-1] + ', "t": "again"}', "given twice"),
        (said() + said(t="और"), "two different objects"),
        (said() + written(), "two different objects"),
        (json.dumps([LEAN, LEAN | {"p": "fast"}]), "dictionary"),
        (said() + said(t="और")[:12], "the beginning of another object"),
        (said()[:-3], "JSON"),
        (said(t="हाँ").replace("हाँ", "\\ud800"), "surrogate"),
        (said(t="हाँ").replace("हाँ", "\\u0000"), "NUL"),
    ],
)
def test_structure_is_read_as_strictly(text: str, word: str) -> None:
    assert word in refused(text)


def test_nothing_said_is_empty() -> None:
    found = parse_answer(said(t=" ", g=""))
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.EMPTY


WRAPPINGS: list[Callable[[str], str]] = [
    lambda text: f"\ufeff```json\n{text}\n```",
    lambda text: f"Here is the JSON requested:\n```json\n{text}\n```\nLet me know.",
    lambda text: f"```\n{text}",
    lambda text: f'{text}."\n}}',
    lambda text: f'{text}\n\nNote: {{unclear "a"}} in places.',
    lambda text: f"{text}\n{text}",
    lambda text: f"{text}\n{text[:30]}",
    lambda text: f"[{text}]",
    lambda text: f"[{text}, {text}]",
    lambda text: f"[{text}",
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    lambda text: json.dumps([text]),
    lambda text: text + " \n" * 5_000,
]


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_the_same_wrapping_is_tolerated(wrap: Callable[[str], str]) -> None:
    assert read(wrap(said())) == ANSWER


# ----------------------------------------------------------------------------- the prompt

HINTS = (None, *LANGUAGES)


def test_the_lean_prompt_differs_in_the_fields_alone_and_is_no_longer() -> None:
    for hint in HINTS:
        full, short = prompt.system_prompt(hint), prompt.system_prompt(hint, AnswerForm.LEAN)
        differing = set(full.splitlines()) ^ set(short.splitlines())
        assert len(differing) == 8
        assert not [line for line in differing if line.startswith("-")]
        assert text_tokens(short) <= text_tokens(full)
        for key in lean.KEYS:
            assert f"{key}: " in short or f"{key}, " in short
        assert not [name for name in FIELDS if name in short]


def test_changed_lean_prose_needs_a_new_version() -> None:
    prose = "\n".join(prompt.system_prompt(hint, AnswerForm.LEAN) for hint in HINTS)
    version = prompt.prompt_version(AnswerForm.LEAN)
    assert (version, hashlib.sha256(prose.encode()).hexdigest()[:12]) == ("1+lean", "42a20b16a160")
    assert prompt.prompt_version(AnswerForm.LEAN, readings=True) == "1+lean+readings"

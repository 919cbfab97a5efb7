"""A person's own part of the prompt: what is sent, by which version it goes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.errors import SettingsError
from lipika.languages import LANGUAGES
from lipika.llm.own_prompt import NOTHING_OWN, OwnPrompt, PromptPart, load_own_prompt
from lipika.llm.prompt import prompt_version, prompt_versions, system_prompt
from lipika.models import AnswerForm

BOTH = pytest.mark.parametrize("form", list(AnswerForm))
TEXTS = st.text("abc कखग$\n", max_size=40).map(str.strip)


def load(folder: Path, text: str) -> OwnPrompt:
    path = folder / "prompt.toml"
    path.write_text(text, "utf-8")
    return load_own_prompt(path)


@BOTH
def test_it_comes_after_ours_and_only_in_its_language(tmp_path: Path, form: AnswerForm) -> None:
    own = load(
        tmp_path,
        'instructions = "News from $Chennai."\nglossary = ["Aadhaar"]\n[ta]\nglossary = ["மீனாட்சி", "Aadhaar"]\n'
        '[Hindi]\ninstructions = "Radio of the 1960s."',
    )
    tamil, hindi = system_prompt("ta", form, own), system_prompt("hi", form, own)
    assert tamil.startswith(system_prompt("ta", form))
    assert tamil.endswith("are not: Aadhaar; மீனாட்சி")
    assert "News from $Chennai." in tamil
    assert "News from $Chennai.\nRadio of the 1960s." in hindi
    assert "மீனாட்சி" not in hindi
    assert system_prompt("bn", form, own) == system_prompt(None, form, own).replace(
        system_prompt(None, form), system_prompt("bn", form)
    )
    versions = {code: prompt_version(form, own=own, language=code) for code in LANGUAGES}
    assert len({versions["ta"], versions["hi"], versions["bn"]}) == 3
    assert versions["bn"] == versions["te"] == prompt_version(form, own=own)
    assert set(versions.values()) == set(prompt_versions(form, own))


@BOTH
def test_in_the_place_of_our_rules_the_form_of_the_answer_stays(tmp_path: Path, form: AnswerForm) -> None:
    own = load(tmp_path, 'replace = true\ninstructions = "Write clean text, without fillers."')
    text, ours = system_prompt("hi", form, own), system_prompt("hi", form)
    for rule in ("Keep repetitions", "Code-mixing", "Numbers as digits"):
        assert rule in ours
        assert rule not in text
    for kept in ("NO_SPEECH", "[UNK]", "[INAUDIBLE]", "Language hint: Hindi (hi)", "[laugh]", "at most five"):
        assert kept in text
    assert text.endswith("Write clean text, without fillers.")


@BOTH
def test_without_any_nothing_changes(form: AnswerForm) -> None:
    assert load_own_prompt(None) is NOTHING_OWN
    assert prompt_versions(form, NOTHING_OWN) == [prompt_version(form)]
    assert system_prompt("hi", form, NOTHING_OWN) == system_prompt("hi", form)


@given(TEXTS, TEXTS, st.booleans(), st.booleans())
def test_versions_are_alike_if_and_only_if_what_is_sent_is(
    first: str, second: str, one: bool, other: bool
) -> None:
    owns = [OwnPrompt(PromptPart(text, (), replace)) for text, replace in ((first, one), (second, other))]
    sent = [system_prompt("hi", own=own) for own in owns]
    told = [prompt_version(own=own, language="hi") for own in owns]
    assert (sent[0] == sent[1]) == (told[0] == told[1])


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("instructions = ", "is not TOML"),
        ("", "is empty"),
        ("glosary = ['a']", "glosary is not known"),
        ("[klingon]\nglossary = ['a']", "klingon"),
        ("[hi]\nglossary = ['a']\n[Hindi]\nglossary = ['b']", "is there twice"),
        ("glossary = 'Aadhaar'", "glossary is a list"),
        ("glossary = ['']", "glossary is a list"),
        ("instructions = 3", "instructions is a text"),
        ("replace = true", "wants instructions"),
        (f"instructions = '{'x' * 20_001}'", "paid for with every clip"),
    ],
)
def test_what_will_not_do_is_refused_with_the_place(tmp_path: Path, text: str, because: str) -> None:
    with pytest.raises(SettingsError, match=because) as refused:
        load(tmp_path, text)
    assert "PROMPT_FILE=" in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PROMPT_FILE=.*nothing\.toml: cannot be read"):
        load_own_prompt(tmp_path / "nothing.toml")


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    assert load(tmp_path, "glossary = ['one']").version("hi") != load(
        tmp_path, "glossary = ['three']"
    ).version("hi")

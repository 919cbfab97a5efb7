"""The labelled benchmark: what it is made of, and that its targets are met."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks.validation.__main__ import (
    CPU_MS,
    FALSE_ALARMS,
    FOUND_BY,
    RECALL,
    RESULTS,
    figures,
    measure,
    missed_targets,
)
from benchmarks.validation.cases import CORRECT, CORRUPTIONS, MIXED, cases
from benchmarks.validation.corpus import sentences
from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.lean import shrink
from lipika.llm.transcript import read_answer
from lipika.models import Answer
from lipika.validation import VALIDATOR_VERSION, validate
from lipika.validation.text import SCRIPT_OF


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_enough_different_sentences_in_the_right_script(language: str) -> None:
    texts = [sentence.text for sentence in sentences(language)]
    correct = [sentence.text for sentence in sentences(language) if not sentence.mixed]
    assert len(set(texts)) == len(texts)
    assert len(correct) >= 200
    assert not any("{" in text for text in texts)
    scripts = {SCRIPT_OF[character] for text in correct for character in text}
    assert scripts == {LANGUAGES[language].script, "neutral"}


@pytest.mark.parametrize("language", ["as", "kn", "mr", "ur"])
def test_verdicts_do_not_depend_on_the_form_of_the_answer(language: str) -> None:
    """Of every correct case and of every fault."""
    for case in cases(language):
        full = read_answer(json.dumps(asdict(case.answer)))
        lean = read_answer(json.dumps(shrink(case.answer)))
        assert isinstance(full, Answer)
        assert lean == full
        assert validate(lean, case.clip, language) == validate(full, case.clip, language)


def test_sentences_are_parallel() -> None:
    shapes = {tuple(sentence.mixed for sentence in sentences(language)) for language in LANGUAGES}
    counted = {tuple(sentence.in_words is None for sentence in sentences(language)) for language in LANGUAGES}
    assert len(shapes) == len(counted) == 1


@pytest.mark.parametrize("language", ["as", "kn", "mr", "ur"])
def test_the_benchmark_meets_its_targets(language: str) -> None:
    """One language of each kind of script; all of them, and the cost, are `make bench-validation`."""
    scores, seconds = measure(cases(language))
    assert len(seconds) == scores[language].cases.total() > 3_000
    assert missed_targets(scores) == []
    held, measured = json.loads(RESULTS.read_text("utf-8")), figures(scores)
    assert held["validator"] == VALIDATOR_VERSION
    for name, kinds in measured.items():
        assert {kind: {language: held[name][kind][language]} for kind in kinds} == kinds, (
            "out of step: run python -m benchmarks.validation --write, then python scripts/make_validation_docs.py"
        )


def test_what_is_on_file_meets_the_targets() -> None:
    held = json.loads(RESULTS.read_text("utf-8"))
    shares = [share for kind in held["recall"].values() for share in kind.values() if share is not None]
    alarms = [share for kind in held["false_alarms"].values() for share in kind.values()]
    assert len(shares) == 13 * len(FIRST_CLASS) + 4  # four languages share their script with another
    assert min(shares) >= RECALL
    assert max(alarms) <= FALSE_ALARMS
    assert held["cpu_ms"]["median"] <= CPU_MS


def test_the_benchmark_has_its_make_target() -> None:
    makefile = (RESULTS.parents[2] / "Makefile").read_text("utf-8")
    assert "\nbench-validation:" in makefile
    assert "-m benchmarks.validation" in makefile


def test_the_kinds_are_the_corruptions() -> None:
    made = {case.kind for case in cases("hi")}
    assert made == {CORRECT, MIXED, *FOUND_BY}
    assert len(FOUND_BY) == len(CORRUPTIONS) == 14

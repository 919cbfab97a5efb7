"""The texts of single clips in a canary's report: which clips, whose texts, which words."""

from __future__ import annotations

from lipika.canary.texts import WordRun, differing_words


def test_words_that_only_one_text_has_stand_apart() -> None:
    assert differing_words("मैं घर जा रहा हूँ", "मैं घर आ रहा हूँ अब") == [
        WordRun("same", "मैं घर"),
        WordRun("gone", "जा"),
        WordRun("new", "आ"),
        WordRun("same", "रहा हूँ"),
        WordRun("new", "अब"),
    ]
    assert differing_words("a b", "a  b ") == [WordRun("same", "a b")]
    assert differing_words("", "x") == [WordRun("new", "x")]


def test_both_texts_can_be_read_back() -> None:
    one, other = "the cat sat on the mat", "a cat sat down on mat the"
    runs = differing_words(one, other)
    assert " ".join(run.text for run in runs if run.kind != "new") == one
    assert " ".join(run.text for run in runs if run.kind != "gone") == other

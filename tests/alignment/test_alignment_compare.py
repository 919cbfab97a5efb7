"""Comparison with a second recogniser: normal forms, classes, tails, exclusions, and what they mean for a verdict."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest

from alignment_kit import CLIP, HINDI, answer
from benchmarks.alignment.__main__ import RESULTS, TARGET, aligned, has_right_class, misses, shares
from benchmarks.alignment.cases import RIGHT, cases
from lipika.alignment.compare import (
    ALIGNER_VERSION,
    Pair,
    compare,
    excluded_alignment,
    language_of,
    reason_not_to_listen,
    version_of,
)
from lipika.alignment.indicconformer import Heard
from lipika.alignment.numerals import cardinal, spell_out_numbers
from lipika.alignment.romanise import Romaniser, open_romaniser
from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.models import Agreement, Alignment, Lane
from lipika.validation import RULES, add_alignment, alignment_findings, validate
from lipika.validation.again import JudgedAnswer, judge_again
from lipika.validation.compare import ComparedVerdict
from lipika.validation.text import SCRIPT_OF, normalise


def one(
    said: str, heard: str, language: str = "hi", *, romaniser: Romaniser | None = None, spoken: str = ""
) -> Alignment:
    pair = Pair(answer(said, language), 6_000, language, Heard(heard, spoken))
    return compare([pair], romaniser or open_romaniser("auto"), "bundle")[0]


# ----------------------------------------------------------------------------- the benchmark


@pytest.mark.parametrize(
    ("language", "romaniser"), [("ml", "aksharamukha"), ("hi", "builtin"), ("ur", "builtin")]
)
def test_the_benchmark_meets_its_target(language: str, romaniser: str) -> None:
    """Devanagari, Dravidian, and the one that is not romanised; all of them are `python -m benchmarks.alignment`."""
    made = list(cases(language))
    alignments = aligned(made, open_romaniser(romaniser))  # type: ignore[arg-type]
    right = shares(made, alignments)
    assert set(right) == set(RIGHT)
    assert misses(right) == {}
    classes = shares(made, alignments, has_right_class)
    assert {kind: share for kind, share in classes.items() if share < TARGET} == {}


def test_what_is_on_file_meets_the_target() -> None:
    held = json.loads(RESULTS.read_text("utf-8"))
    assert set(held["right"]) == set(RIGHT)
    assert all(set(by_language) == set(FIRST_CLASS) for by_language in held["right"].values())
    assert misses({kind: min(by_language.values()) for kind, by_language in held["right"].items()}) == {}


# ----------------------------------------------------------------------------- normal forms


@pytest.mark.parametrize(
    ("said", "heard", "language"),
    [
        (HINDI, "मैं कल बाजार गया था और वहां से सब्जी लाया", "hi"),
        ("[breath] ഞാൻ വീട്ടിൽ പോകുന്നു", "ഞാന്\u200d വീട്ടില്\u200d പോകുന്നു", "ml"),
        ("मैंने १९८४ में 25 किताबें ख़रीदीं।", "मैंने उन्नीस सौ चौरासी में पच्चीस किताबें खरीदीं", "hi"),
        ("मेरा नंबर 98450 12345 है याद रखना", "मेरा नंबर नौ आठ चार पाँच शून्य एक दो तीन चार पाँच है याद रखना", "hi"),
        ("इसमें 1,25,000 रुपये लगे थे भाई", "इसमें एक लाख पच्चीस हज़ार रुपये लगे थे भाई", "hi"),
        ("مجھے 125 روپے دے دو بھائی", "مجھے ایک سو پچیس روپے دے دو بھائی", "ur"),
        ("हम office जा रहे हैं और वहाँ से घर लौटेंगे", "हम ऑफिस जा रहे हैं और वहां से घर लौटेंगे", "hi"),
        (
            "Please subscribe करो और like, share, comment करना मत भूलना",
            "प्लीज सब्सक्राइब करो और लाइक शेयर कमेंट करना मत भूलना",
            "hi",
        ),
        ("आज office में meeting और presentation", "आज ऑफिस में मीटिंग और प्रेजेंटेशन", "hi"),
        ("آج office میں interview اور presentation ہے", "آج آفس میں انٹرویو اور پریزنٹیشن ہے", "ur"),
    ],
)
@pytest.mark.parametrize("romaniser", ["aksharamukha", "builtin"])
def test_the_same_words_agree_however_they_are_written(
    said: str, heard: str, language: str, romaniser: str
) -> None:
    alignment = one(said, heard, language, romaniser=open_romaniser(romaniser))  # type: ignore[arg-type]
    assert alignment.agreement is Agreement.AGREE
    assert alignment.score is not None
    assert alignment.score > 0.9
    assert not alignment.missing_tail


def test_numbers_have_several_ways_of_being_said() -> None:
    assert spell_out_numbers("1984", "hi")[0].split() == ["एक", "हज़ार", "नौ", "सौ", "चौरासी"]
    assert any("उन्नीस सौ चौरासी" in way for way in spell_out_numbers("सन 1984 में", "hi"))
    assert "तीन पाँच" in " ".join(spell_out_numbers("3.5", "hi")[0].split())
    assert spell_out_numbers("घर", "hi") == ["घर"]
    assert len(spell_out_numbers("9" * 30, "hi")) == 1  # no quantity: digit by digit


@pytest.mark.parametrize("code", FIRST_CLASS)
def test_every_number_has_words_of_its_own(code: str) -> None:
    numbers = [*range(2000), *range(2000, 10**6, 997), *(10**size for size in range(6, 14)), 9_876_543_210]
    words = {number: cardinal(number, code) for number in numbers}
    assert len(set(words.values())) == len(set(numbers))
    said = "".join(words.values())
    assert {SCRIPT_OF[one] for one in said if not one.isspace()} == {LANGUAGES[code].script}
    assert said.isprintable()
    assert all(one == " ".join(unicodedata.normalize("NFC", one).split()) for one in words.values())


@pytest.mark.parametrize("code", FIRST_CLASS)
def test_a_telephone_number_is_compared_like_any_other(code: str) -> None:
    readings = spell_out_numbers("9876543210", code)
    assert len(readings) > 1
    assert " ".join(cardinal(int(digit), code) for digit in "9876543210") in [one.strip() for one in readings]


def test_words_of_numbers_are_spelt_as_the_language_spells_them() -> None:
    assert cardinal(120, "kn") == "ನೂರ ಇಪ್ಪತ್ತು"
    assert cardinal(83, "kn") != cardinal(82, "kn")
    assert cardinal(2_50_000, "kn") == "ಎರಡು ಲಕ್ಷದ ಐವತ್ತು ಸಾವಿರ"
    assert cardinal(5, "ur") == "پانچ"
    assert cardinal(1000, "mr") == "एक हजार"


def test_languages_are_compared_together_and_come_back_in_order() -> None:
    pairs = [
        Pair(answer("আমি বাড়ি যাব কাল সকালে", "bn"), 5_000, "bn", Heard("আমি বাড়ি যাব কাল সকালে", "bn")),
        Pair(answer(HINDI), 5_000, "hi", Heard("यह किताब मेरी बहन ने लिखी है", "hi")),
        Pair(answer("আমি বাড়ি যাব কাল সকালে", "bn"), 5_000, "bn", Heard("", "")),
    ]
    first, second, third = compare(pairs, open_romaniser("auto"), "bundle")
    assert (first.score, first.agreement, first.language) == (1.0, Agreement.AGREE, "bn")
    assert second.agreement is Agreement.REJECT
    assert (third.score, third.excluded) == (None, "nothing_heard")
    assert first.version.startswith(f"{ALIGNER_VERSION}+bundle+aksharamukha-")
    assert compare([], open_romaniser("auto"), "bundle") == []


def test_a_tail_that_the_answer_lacks_is_named() -> None:
    alignment = one("मैं कल बाज़ार गया था", "मैं कल बाजार गया था और वहां से सब्जी लाया")
    assert alignment.missing_tail == "और वहां से सब्जी लाया"
    longer = one(HINDI, "मैं कल बाजार गया था")  # the recogniser lost it: no fault of the answer
    assert longer.missing_tail == ""


# ----------------------------------------------------------------------------- exclusions


@pytest.mark.parametrize(
    ("said", "language", "hint", "duration_ms", "reason"),
    [
        (HINDI, "hi", "hi", 8_000, ""),
        ("NO_SPEECH", "none", "hi", 8_000, "no_speech"),
        ("Hello there, how are you?", "en", "hi", 8_000, "language"),
        (HINDI, "other", None, 8_000, "language"),
        (HINDI, "other", "hi", 8_000, ""),
        (HINDI, "hi", "hi", 20_001, "too_long"),
        ("हम office में meeting and project plan discuss करेंगे", "hi", "hi", 8_000, ""),
        ("98450 12345", "hi", "hi", 8_000, "numbers"),
        ("[UNK] ...", "hi", "hi", 8_000, "no_words"),
    ],
)
def test_what_cannot_be_compared_says_why(
    said: str, language: str, hint: str | None, duration_ms: int, reason: str
) -> None:
    clip = replace(CLIP, duration_ms=duration_ms)
    assert reason_not_to_listen(answer(said, language), clip, hint) == reason


def test_the_answers_language_comes_before_the_hint() -> None:
    assert language_of(answer(HINDI, "mr"), "hi") == "mr"
    assert language_of(answer(HINDI, "other"), "Hindi") == "hi"
    assert language_of(answer("NO_SPEECH", "none"), None) == ""


def test_too_little_is_no_verdict() -> None:
    assert one("हाँ जी", "हाँ").excluded == "too_short"
    assert one(HINDI, "").excluded == "nothing_heard"


# ----------------------------------------------------------------------------- verdicts


def test_findings_follow_the_class() -> None:
    verdict = validate(answer(HINDI), CLIP, "hi")
    agreeing = add_alignment(verdict, one(HINDI, HINDI))
    assert agreeing.findings == verdict.findings
    assert agreeing.quality_score == verdict.quality_score
    rejected = add_alignment(verdict, one(HINDI, "यह किताब मेरी बहन ने लिखी है", spoken="mr"))
    assert {found.code for found in rejected.findings} - {found.code for found in verdict.findings} == {
        "cer_unrelated",
        "spoken_language_mismatch",
    }
    assert rejected.quality_score == pytest.approx(verdict.quality_score * 0.2 * 0.6, abs=1e-4)
    assert rejected.asr == Lane(eligible=False, reasons=("cer_unrelated", "spoken_language_mismatch"))
    cut = add_alignment(verdict, one("मैं कल बाज़ार गया था", "मैं कल बाजार गया था और वहां से सब्जी लाया"))
    assert "tail_missing" in {found.code for found in cut.findings}
    assert "cer_high" not in {found.code for found in cut.findings}


SENTENCE = "मैं कल सुबह अपने भाई के साथ बाज़ार गया और हमने ताज़ी सब्ज़ियाँ खरीदीं"
OTHER_WORDS = "मैं कल शाम अपने पड़ोसी के साथ दफ़्तर गया और हमने ताज़ी सब्ज़ियाँ खरीदीं"
OTHER = "यह किताब मेरी बहन ने पिछले साल दिल्ली में लिखी थी"


def _without(count: int, at: int = 2) -> str:
    words = SENTENCE.split()
    return " ".join([*words[:at], *words[at + count :]])


@pytest.mark.parametrize(
    ("said", "codes", "asr", "tts"),
    [
        (SENTENCE, set(), True, True),
        (_without(1), set(), True, True),
        (_without(3), {"words_differ"}, True, False),
        (f"{SENTENCE} {' '.join(OTHER.split()[:6])}", {"words_differ"}, True, False),
        (_without(6), {"cer_high", "words_missing"}, False, False),
        (OTHER_WORDS, {"words_differ"}, True, False),
        (OTHER, {"cer_unrelated"}, False, False),
    ],
)  # fmt: skip
def test_words_that_are_missing_wrong_or_invented_close_lanes(
    said: str, codes: set[str], asr: bool, tts: bool
) -> None:
    before = validate(answer(SENTENCE), CLIP, "hi")
    verdict = add_alignment(before, one(said, SENTENCE))
    assert {found.code for found in verdict.findings} - {found.code for found in before.findings} == codes
    assert (verdict.asr.eligible, verdict.tts_clean.eligible) == (asr, tts)


def test_words_missing_before_the_last_are_no_missing_tail() -> None:
    words = SENTENCE.split()
    said = " ".join([*words[:-3], words[-1]])
    assert one(said, SENTENCE).missing_tail == ""
    assert one(" ".join(words[:-3]), SENTENCE).missing_tail == normalise(" ".join(words[-3:]))


def test_an_alignment_takes_the_place_of_the_last_one() -> None:
    verdict = validate(answer(HINDI), CLIP, "hi")
    other, same = one(HINDI, "यह किताब मेरी बहन ने लिखी है"), one(HINDI, HINDI)
    rejected = add_alignment(verdict, other)
    assert add_alignment(rejected, other) == rejected
    assert (
        add_alignment(rejected, same)
        == add_alignment(verdict, same)
        == replace(verdict, score_parts={**verdict.score_parts, "alignment": 1.0})
    )


def test_hindi_and_urdu_are_one_to_the_ear() -> None:
    aligned_urdu = one("میں گھر جا رہا ہوں", "میں گھر جا رہا ہوں", "ur", spoken="hi")
    assert alignment_findings(aligned_urdu) == ()
    aside = excluded_alignment("too_long", "hi", version_of("bundle", open_romaniser("builtin")))
    assert alignment_findings(aside) == ()
    assert aside.version == f"{ALIGNER_VERSION}+bundle+builtin"


def test_judging_again_keeps_what_a_second_recogniser_found() -> None:
    verdict = add_alignment(validate(answer(HINDI), CLIP, "hi"), one(HINDI, "यह किताब मेरी बहन ने लिखी है"))
    held = JudgedAnswer(answer(HINDI), CLIP, "hi", verdict.findings, ComparedVerdict.from_verdict(verdict))
    (again,) = judge_again([held], [])
    assert again == verdict
    assert all(RULES[code].later for code in ("cer_high", "words_differ", "tail_missing"))

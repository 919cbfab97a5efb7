"""Validation from outside: one answer, one clip, one verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import DETECTABLE, LANGUAGES
from lipika.llm.prompt import system_prompt
from lipika.models import AnswerForm, Clip, Verdict
from lipika.validation import DEFAULT_BANDS, RULES, VALIDATOR_VERSION, Bands, validate
from lipika.validation.catalogue import ScorePart
from verdict_kit import HINDI, answer, clip, codes


def judge(
    text: str,
    tagged: str | None = None,
    *,
    language: str = "hi",
    hint: str | None = "hi",
    heard: Clip | None = None,
    accent: str = "unknown",
) -> Verdict:
    given = replace(answer(text, tagged, language), speaker_accent=accent)
    return validate(given, heard or clip(), hint)


def test_a_good_answer_has_no_findings_and_every_lane() -> None:
    verdict = judge(HINDI)
    assert verdict.findings == ()
    assert 0.9 < verdict.quality_score <= 1.0
    assert verdict.asr.eligible
    assert verdict.tts_clean.eligible
    assert verdict.tts_expressive.eligible
    assert verdict.text_length_per_sec == pytest.approx(len(HINDI) / 5)
    assert verdict.validator_version == VALIDATOR_VERSION


LINES = [line for line in system_prompt("hi", AnswerForm.LEAN).splitlines() if len(line.split()) > 3]


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_lean_prompt_is_an_echo_too(line: str) -> None:
    assert "prompt_echo" in codes(judge(f"{HINDI} {line}"))


CASES = [
    ("no_speech_mixed", {"text": "NO_SPEECH नमस्ते आप कैसे हैं"}),
    ("no_words", {"text": "[UNK] ... [INAUDIBLE]"}),
    ("words_without_language", {"text": HINDI, "language": "none"}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(peak_dbfs=-90.0, rms_dbfs=-96.0, speech_ms=0)}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(speech_ms=40)}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(rms_dbfs=-52.0, peak_dbfs=-40.0, snr_db=1.5)}),
    ("rate_impossible", {"text": HINDI * 3}),
    ("rate_high", {"text": HINDI, "heard": clip(3_100)}),
    ("rate_low", {"text": "हम कल आएँगे।"}),
    ("rate_too_low", {"text": "हाँ।"}),
    ("wrong_script", {"text": "ಇಂದು ಭಾರತದಲ್ಲಿ ಇಪ್ಪತ್ತು ಜನ ಬಂದರು ಎಂದು ಹೇಳಿದರು."}),
    ("foreign_script", {"text": HINDI + " ಇಂದು"}),
    ("english_text", {"text": "we will all meet there tomorrow in the morning"}),
    ("romanised", {"text": "mera phone band ho gaya hai ab kya karun"}),
    ("latin_heavy", {"text": "please meeting tomorrow morning at office confirm करो"}),
    ("hint_mismatch", {"text": HINDI, "hint": "mr"}),
    ("language_other", {"text": HINDI, "language": "other"}),
    ("tag_mismatch", {"text": HINDI, "tagged": "[laugh] मैं कल नहीं आऊँगा।"}),
    ("tag_text_differs", {"text": HINDI, "tagged": HINDI.replace("आए", "आये")}),
    ("tag_in_transcription", {"text": HINDI + " [laugh]"}),
    ("unknown_tag", {"text": HINDI, "tagged": "[explosion] " + HINDI}),
    ("misspelt_tag", {"text": HINDI, "tagged": "[Laughter] " + HINDI}),
    ("vocal_event", {"text": HINDI, "tagged": "[cough] " + HINDI}),
    ("background_event", {"text": HINDI, "tagged": "[music] " + HINDI}),
    ("events_dense", {"text": HINDI, "tagged": "[breath] " * 9 + HINDI}),
    ("unk", {"text": HINDI * 2 + "[UNK]"}),
    ("unk_dense", {"text": "[UNK] [UNK] " + HINDI + " [UNK] [UNK]"}),
    ("inaudible", {"text": HINDI + " [INAUDIBLE]"}),
    ("inaudible_dense", {"text": "नमस्ते [INAUDIBLE] ठीक है"}),
    ("overlap_marked", {"text": HINDI + " [OVERLAP]"}),
    ("clipping", {"text": HINDI, "heard": clip(clipped_share=0.01)}),
    ("noisy", {"text": HINDI, "heard": clip(snr_db=9.0)}),
    ("quiet", {"text": HINDI, "heard": clip(rms_dbfs=-48.0)}),
    ("narrow_band", {"text": HINDI, "heard": clip(bandwidth_hz=3600)}),
    ("one_channel", {"text": HINDI, "heard": clip(flags=("one_channel",))}),
    ("one_channel", {"text": "NO_SPEECH", "language": "none", "heard": clip(flags=("one_channel",))}),
    ("duration_mismatch", {"text": HINDI, "heard": clip(flags=("duration_mismatch",))}),
    ("abrupt_start", {"text": HINDI, "heard": clip(flags=("abrupt_start",))}),
    ("abrupt_end", {"text": HINDI, "heard": clip(flags=("abrupt_end",))}),
    ("forced_cut", {"text": HINDI, "heard": clip(flags=("forced_cut",))}),
    ("truncated", {"text": "भारत में आज 25 लोग आए"}),
    ("same_script_language", {"text": "आज सकाळी बाजारात खूप गर्दी होती आणि भाज्या महाग होत्या."}),
    ("same_script_language", {"text": "আজ সকালে বাজারে খুব ভিড় ছিল।", "language": "as", "hint": "as"}),
    (
        "same_script_language",
        {"text": "من فردا صبح به بازار می‌روم و سبزی می‌خرم", "language": "ur", "hint": "ur"},
    ),
    ("neighbour_letters", {"text": "নিজর জিলাৰ প্ৰদৰ্শনী চাবলৈ যাওঁ ব'লা।", "language": "as", "hint": "as"}),
    ("neighbour_words", {"text": "मुख्यमंत्री शहर सडक योजना", "language": "mr", "hint": "mr"}),
    ("arabic_letters", {"text": "آج صبح بازار ميں بہت بھیڑ تھی۔", "language": "ur", "hint": "ur"}),
    ("loop", {"text": "मैं कल आऊँगा " * 6, "heard": clip(3_000)}),
    ("loop", {"text": "कखगघचछजझटठडढ" * 12}),
    ("repetition", {"text": "मैं कल आऊँगा " * 6}),
    ("repetition", {"text": "हाँ " * 12}),
    ("repetition", {"text": "वह बोला हा" + "हा" * 12}),
    ("repetition", {"text": "9 8 8 8 9 9 8 8 8 9"}),
    ("repeated_end", {"text": "भारत में आज 25 लोग आए और मिलकर गए, मिलकर गए, मिलकर गए।"}),
    ("control_characters", {"text": HINDI + "<ctrl46>"}),
    ("control_characters", {"text": HINDI + "\u0007"}),
    ("control_characters", {"text": HINDI, "tagged": HINDI + "\ufffd"}),
    ("control_characters", {"text": HINDI + " <0xE0><0xA4>"}),
    ("control_characters", {"text": HINDI + "\ufffe"}),
    ("control_characters", {"text": HINDI + "\U000f0000"}),
    ("invisible_characters", {"text": HINDI.replace(" ", "\u200b", 1)}),
    ("invisible_characters", {"text": HINDI.replace(" ", "\u00a0", 1)}),
    ("invisible_characters", {"text": "\ufeff" + HINDI}),
    ("invisible_characters", {"text": HINDI, "tagged": HINDI + "\u00ad"}),
    ("not_nfc", {"text": "আমি ভালো আছি।".replace("ো", "\u09c7\u09be"), "language": "bn", "hint": "bn"}),
    ("markup", {"text": HINDI + " (हँसते हुए)"}),
    ("markup", {"text": "**भारत** में आज 25 लोग आए और मिलकर गए।"}),
    ("markup", {"text": "<b>भारत</b> में आज 25 लोग आए और मिलकर गए।"}),
    ("timestamp", {"text": "[00:01] " + HINDI}),
    ("timestamp", {"text": "00:00:04 " + HINDI}),
    ("timestamp", {"text": "0:05 " + HINDI}),
    ("timestamp", {"text": "0.0s " + HINDI}),
    ("timestamp", {"text": "1:02 " + HINDI}),
    ("timestamp", {"text": "00:00:01,000 --> 00:00:03,000 " + HINDI}),
    ("speaker_label", {"text": "Speaker 1: " + HINDI}),
    ("speaker_label", {"text": "A: " + HINDI}),
    ("speaker_label", {"text": ">> " + HINDI}),
    ("speaker_label", {"text": "S1: " + HINDI}),
    ("speaker_label", {"text": "पुरुष: " + HINDI}),
    ("speaker_label", {"text": "महिला 2 : " + HINDI}),
    ("markup", {"text": HINDI + " 【तालियाँ】"}),
    ("markup", {"text": HINDI + " *हँसते हैं*"}),
    ("markup", {"text": "1. भारत में आज\n2. 25 लोग आए और मिलकर गए।"}),
    ("markup", {"text": HINDI + '"}'}),
    ("markup", {"text": HINDI + " (twenty-five people came today to India and left together)"}),
    ("markup", {"text": HINDI + '", "tagged": "'}),
    ("quoted", {"text": f"“{HINDI}”"}),
    ("sign_run", {"text": HINDI + "." * 30}),
    ("sign_run", {"text": "... ".join(HINDI.split())}),
    ("broken_letters", {"text": HINDI.replace("लोग", "à¤²à¥‹à¤—")}),
    ("broken_letters", {"text": HINDI.replace("लोग", "???")}),
    ("mixed_word", {"text": HINDI.replace("भारत", "भाoरत")}),
    ("no_spaces", {"text": HINDI.replace(" ", "")}),
    ("romanised_part", {"text": "भारत में आज 25 log aae hain aur milkar gaye"}),
    ("stock_phrase", {"text": "वीडियो देखने के लिए धन्यवाद।"}),
    ("stock_phrase", {"text": HINDI + " हमारे चैनल को सब्सक्राइब करें।"}),
    ("stock_phrase", {"text": "माफ़ कीजिए, मैं इस ऑडियो को समझ नहीं पा रहा हूँ।"}),
    ("stock_phrase", {"text": "Thanks for watching!", "language": "en", "hint": None}),
    ("stock_phrase", {"text": "The audio is not clear to me.", "language": "en", "hint": None}),
    ("meta_talk", {"text": "The speaker says that 25 people came today."}),
    ("meta_talk", {"text": "I'm sorry, but I cannot transcribe this audio."}),
    ("prompt_echo", {"text": HINDI + " Write the language actually spoken, even if"}),
    ("prompt_echo", {"text": HINDI + " detected_language: hi"}),
    ("prompt_echo", {"text": "[laugh] [cry] [sigh] [gasp] [breath] [cough] " + HINDI}),
    (
        "accent_long",
        {"text": HINDI, "accent": "a long story about where the speaker may have grown up and lived"},
    ),
    ("number_words", {"text": "भारत में आज पच्चीस लोग आए और मिलकर गए।"}),
    ("number_words", {"text": "मेरी meeting twenty five minutes लेट है।"}),
    ("no_speech", {"text": "NO_SPEECH", "language": "none"}),
    ("no_speech_tagged", {"text": "NO_SPEECH", "tagged": "[music] नमस्ते", "language": "none"}),
    ("no_speech_language", {"text": "NO_SPEECH"}),
    ("not_asked", {"text": "NO_SPEECH", "language": "none", "heard": clip(flags=("not_asked",))}),
    ("no_speech_energy", {"text": "NO_SPEECH", "language": "none"}),
]


@pytest.mark.parametrize(("code", "case"), CASES)
def test_each_finding_is_found(code: str, case: dict[str, object]) -> None:
    verdict = judge(**case)  # type: ignore[arg-type]
    assert code in codes(verdict)
    found = next(found for found in verdict.findings if found.code == code)
    assert found.severity is RULES[code].severity
    assert 0 < len(found.evidence) <= 160


def test_every_code_of_the_table_has_a_case() -> None:
    of_whole_videos = {"overlap_timeline"}
    of_two_answers = {"repetition_agreed"}
    of_people = {"unusable"}
    of_a_second_recogniser = {code for code, rule in RULES.items() if rule.part is ScorePart.ALIGNMENT}
    of_others = of_whole_videos | of_two_answers | of_people | of_a_second_recogniser
    assert {code for code, _ in CASES} == set(RULES) - of_others


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("hi", "हाँ हाँ, ठीक है, 3:30 बजे मिलते हैं।"),
        ("hi", "मेरा laptop crash हो गया, please IT team को call करो।"),
        ("hi", "उसने कहा, “एक और दो मिलकर 3 होते हैं!”"),
        ("hi", "नहीं नहीं नहीं, ऐसा मत करो भाई।"),
        ("hi", "10:30 बजे की ट्रेन थी, मैच 3-2 से जीते।"),
        ("hi", "मैंने कल दोस्तों के साथ वह वीडियो देखा था।"),
        ("hi", "और अंतत: वे घर लौट आए।"),
        ("hi", 'उसने कहा, "चलो घर चलते हैं"'),
        ("hi", 'वह "हाँ", "नहीं", कुछ भी नहीं बोला।'),
        ("hi", "उसने कहा: चलो, अब घर चलते हैं।"),
        ("hi", "Okay, thank you."),
        ("hi", "कोई बात नहीं, चलो।"),
        ("hi", "सॉरी सर, मुझे समझ नहीं आया।"),
        ("hi", "हेलो, आपकी आवाज़ नहीं आ रही है, सॉरी।"),
        ("hi", "आदेश की प्रतिलिपि सभी विभागों को भेज दी गई है।"),
        ("hi", "उन्होंने आज high court के बारे में कुछ कहा था।"),
        ("hi", "उन्होंने आज Salman Khan के बारे में कुछ कहा था।"),
        ("hi", "मेरी email id rahul@gmail.com है, लिख लीजिए।"),
        ("hi", "मेरा नंबर 9876543210 है, कल फोन करना।"),
        ("hi", "उसने पूछा: कहाँ जा रहे हो?"),
        ("hi", "सवाल: इसका जवाब कौन देगा?"),
        ("hi", "रात 00:30 बजे ट्रेन आई थी।"),
        ("hi", "1.5-2 किलो आटा ले आना।"),
        ("hi", "2 + 2 = 4 और 3 > 2 होता है।"),
        ("ta", "நடிகர் சந்தானம் நடித்த புதிய படம் நாளை வெளியாகிறது."),
        ("bn", "বিরাট কোহলি নতুন রেকর্ড গড়লেন নিউজিল্যান্ডের বিরুদ্ধে।"),
        ("pa", "ਉਸਨੇ ਨਵਾਂ ਰਿਕਾਰਡ ਬਣਾਇਆ ਟੀਮ ਦੇ ਨਾਲ।"),
        ("ur", "پاکستان نے ٹائٹل جیت لیا۔"),
        ("ur", "کوئی بات نہیں، چلو۔"),
        ("mr", 'तो म्हणाला "मैं नहीं आऊँगा" आणि निघून गेला.'),
        ("hi", "I would like to share कि ये बहुत अच्छा था।"),
        ("mr", "हो हो, ठीक आहे, चला."),
        ("as", "সি কʼলে যে ঘৰলৈ যাব।"),
        ("as", "ত্রিচীত থকা কল গবেষণা কেন্দ্রত প্রজাতিবোৰ সংৰক্ষণ কৰা হৈছে।"),
        ("bn", "ছেলেটা আস্তে আস্তে বাড়ি গেল।"),
        ("as", "লাহে লাহে সকলো ঠিক হৈ যাব।"),
        ("ta", "சென்னையில் உள்ள office-க்கு நாளைக்கு வர முடியுமா?"),
        ("te", "హైదరాబాద్‌లో ఈ రోజు వర్షం పడింది."),
        ("ml", "എന്റെ ഫോൺ നമ്പർ 98450 12345."),
        ("ur", "اسی لیے میں نے کہا تھا کہ یہ بہتر ہے۔"),
        ("gu", "બહાર બાર વાગે કોણ આવ્યું હતું?"),
        ("or", "ଥରେ ନୁହେଁ ବାରମ୍ବାର କହିଲି।"),
    ],
)
def test_ordinary_speech_is_left_alone(language: str, text: str) -> None:
    heard = clip(max(1_800, len(text) * 75))
    verdict = judge(text, language=language, hint=language, heard=heard)
    assert verdict.findings == ()


def test_spans_point_into_the_transcription() -> None:
    text = "नमस्ते <b>भारत</b> में 25 लोग आए हैं।"
    span = next(found.span for found in judge(text).findings if found.code == "markup")
    assert span is not None
    assert text[slice(*span)] == "<b>"


def test_an_unknown_hint_switches_off_what_needs_one() -> None:
    verdict = judge(HINDI, hint=None)
    assert verdict.findings == ()
    english = judge("hello how are you my friend today.", language="other", hint=None, heard=clip(3_000))
    assert codes(english) == {"language_other"}


def test_a_calibrated_band_shows_in_the_version() -> None:
    bands = Bands({"hi": replace(DEFAULT_BANDS.by_language["hi"], syllables_high_fail=5.0)}, "cal-1")
    verdict = validate(answer(HINDI), clip(), "hi", bands=bands)
    assert codes(verdict) == {"rate_impossible"}
    assert verdict.validator_version == f"{VALIDATOR_VERSION}+cal-1"


HOSTILE = [
    "a", "[", "]", "[[laugh", "<", "<a", "(", "(x", "&a", "*", "- ", "\n -", "12:", "00:", "speaker 1", "\nspeaker_",
    "the speaker ", "क", "क्", "ि", "़", "\u200d", "ന്\u200d", "नमस्ते ", "phone है ", ".", '."', "।।\"' ", "<ctrl4",
    "\u0301\u0323", "abcdefghi" * 8 + "x", "NO_SPEECH", "\x07", "\ue000",
]  # fmt: skip


@pytest.mark.timeout(20)  # what back-tracks on 100 KB takes hours; each of these takes under 0.1 s
@pytest.mark.parametrize("seed", HOSTILE)
def test_hostile_text_of_100_kb_is_no_trouble(seed: str) -> None:
    text = (seed * (100_000 // len(seed) + 1))[:100_000]
    verdict = judge(text, text + "[laugh]")
    assert not verdict.asr.eligible
    assert all(len(found.evidence) <= 160 for found in verdict.findings)


@given(st.text(), st.text(), st.sampled_from(DETECTABLE), st.sampled_from([None, *LANGUAGES]))
def test_any_answer_gets_a_verdict(text: str, tagged: str, language: str, hint: str | None) -> None:
    verdict = judge(text, tagged, language=language, hint=hint)
    assert 0.0 <= verdict.quality_score <= 1.0
    assert all(0.0 <= part <= 1.0 for part in verdict.score_parts.values())
    assert {found.code for found in verdict.findings} <= set(RULES)


def test_a_consistent_no_speech_is_a_good_answer_without_lanes() -> None:
    silent = clip(peak_dbfs=-80.0, rms_dbfs=-90.0, speech_ms=0, snr_db=0.0)
    for tagged in ("NO_SPEECH", "", "[music]", "[breath] [noise]"):
        verdict = judge("NO_SPEECH", tagged, language="none", heard=silent)
        assert codes(verdict) == {"no_speech"}
        assert verdict.quality_score == 0.9, "nothing in it stands out of the noise"
        assert verdict.asr.reasons == ("no_speech",)
        assert not verdict.tts_clean.eligible
        assert verdict.text_length_per_sec == 0.0

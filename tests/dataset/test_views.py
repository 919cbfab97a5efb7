"""Text views: what each keeps, says otherwise, or drops; in twelve languages, code-mixed and right to left."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from lipika.dataset.letters import SIGNS, compose, words_alone
from lipika.dataset.pronounce import pronounce, pronounce_by_rules
from lipika.dataset.scripts import write_sounds
from lipika.dataset.views import LatinPolicy, View, ViewChange, Viewed, ViewKind
from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.simulator.sentences import sentences
from lipika.validation.text import SCRIPT_OF

PLAIN, NATIVE = View(ViewKind.PLAIN), View(ViewKind.NATIVE)
KEEPING, DROPPING = View(ViewKind.NATIVE, LatinPolicy.KEEP), View(ViewKind.NATIVE, LatinPolicy.DROP)
INSIDE_WORDS = set(" '\u200c\u200d")

LETTERS = "अकरिा़्नЖ가가é\u0301\u0323ạ" + "".join(
    sentence[:12] for code in FIRST_CLASS for sentence in sentences(code)[:2]
)
ODDS = (
    "abcXYZ .,:;-–'’ʼ\"()[]{}।॥۔،؟!?…_/*#0123456789०१२٣۴৫%٪₹$€£°&@+=½²\u200b\u200c\u200d\u00adـ\U0001f600\n\t"
)
TEXTS = st.text(LETTERS + ODDS, max_size=40) | st.text(max_size=30)
SAID_ALOUD = """1984 3.5 1,50,000 ₹500 10:00 08/12/2024 9876543210 4G COVID-19 2nd 50% TV YouTube don't $5.50 R&D 007
5वीं ১ম 5-வது 2024ൽ 5ನೇ 5వ ५० 1ला U.S.A. [laugh] (hm) Rs. 20"""
SPOKEN = st.lists(
    st.sampled_from(
        SAID_ALOUD.split() + [word for code in FIRST_CLASS for word in sentences(code)[0].split()]
    ),
    max_size=10,
).map(" ".join)


def plain(text: str, language: str = "hi") -> str:
    return PLAIN.apply(text, text, language).text


def native(text: str, language: str = "hi") -> str:
    viewed = NATIVE.apply(text, text, language)
    assert not viewed.dropped, viewed
    return viewed.text


# ----------------------------------------------------------------------------- properties


@given(TEXTS)
@example("\u1e67\u0326")
@example("e\u200b\u0301")
@example("a.e.\u0301")
def test_what_is_composed_is_composed_as_unicode_says(text: str) -> None:
    assert compose(text) == unicodedata.normalize("NFC", text)


@given(TEXTS | SPOKEN)
@example("e\u200b\u0301")
@example("a.e.\u0301")
@example("1,2,000,5")
@example("ക\u200d\u200dന്\u200b\u200d")
def test_plain_is_idempotent_in_nfc_and_holds_words_alone(text: str) -> None:
    once = words_alone(text)
    assert words_alone(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())
    for one in set(once) - INSIDE_WORDS - set(SIGNS) - {"."}:
        assert unicodedata.category(one)[0] in "LMN", ascii(one)


@given(TEXTS | SPOKEN)
def test_the_plain_view_is_idempotent(text: str) -> None:
    viewed = PLAIN.apply(text, text, "hi")
    if viewed.text:
        assert PLAIN.apply(viewed.text, viewed.text, "hi") == Viewed(viewed.text)
    else:
        assert viewed.dropped


@given(TEXTS | SPOKEN, st.sampled_from([*FIRST_CLASS, "en"]), st.sampled_from(LatinPolicy))
def test_native_is_the_languages_own_letters_or_dropped(text: str, code: str, policy: LatinPolicy) -> None:
    viewed = View(ViewKind.NATIVE, policy).apply(text, text, code)
    assert (viewed.text == "") is (viewed.dropped != "")
    allowed = {LANGUAGES[code].script} | ({"Latin"} if policy is LatinPolicy.KEEP else set())
    assert {SCRIPT_OF[one] for one in set(viewed.text) - INSIDE_WORDS} <= allowed
    assert viewed.text == unicodedata.normalize("NFC", " ".join(viewed.text.split()))
    assert (
        NATIVE.apply(viewed.text, viewed.text, code).text == viewed.text
        or policy is LatinPolicy.KEEP
        or not viewed.text
    )


@pytest.mark.parametrize("code", FIRST_CLASS)
def test_ordinary_sentences_lose_nothing_but_their_punctuation(code: str) -> None:
    for sentence in sentences(code):
        letters = [one for one in sentence if unicodedata.category(one)[0] in "LM"]
        said = native(sentence, code)
        kept = iter(said)
        assert all(one in kept for one in letters), said
        if not any(map(str.isdigit, sentence)):
            assert said == plain(sentence, code)


@given(st.integers(0, 10**9 - 1), st.sampled_from(FIRST_CLASS))
def test_every_number_is_said_whatever_its_digits_look_like(number: int, code: str) -> None:
    said = native(str(number), code)
    assert said == native("".join(chr(0x966 + int(digit)) for digit in str(number)), code)
    assert said == native(f"({number}).", code)


# ----------------------------------------------------------------------------- examples


def test_verbatim_and_tagged_are_as_they_were_but_for_nfc() -> None:
    said, tagged = "ऩ1, हाँ! [UNK]".replace("ऩ", "न\u093c"), "ऩ1, हाँ! [laugh] [UNK]"
    assert View(ViewKind.VERBATIM).apply(said, tagged, "hi") == Viewed("ऩ1, हाँ! [UNK]")
    assert View(ViewKind.TAGGED).apply(said, tagged, "hi") == Viewed(tagged)
    assert View(ViewKind.VERBATIM).apply("NO_SPEECH", "[noise]", "hi").dropped == "empty_text"
    assert View(ViewKind.VERBATIM).apply(" ", "", "hi").dropped == "empty_text"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("हाँ, ठीक है। “चलो” (अभी)!", "हाँ ठीक है चलो अभी"),
        ("It's 5:30, don’t go—U.S.A. (e-mail)", "It's 5 30 don't go USA e mail"),
        ("₹1,50,000 का 3.5% ... १२ बजे", "₹150000 का 3.5% 12 बजे"),
        ("ল’ৰা-ছোৱালী", "ল'ৰা ছোৱালী"),
        ("‘हाँ’ 'ना'", "हाँ ना"),
        ("क्\u200dष और\u200d", "क्\u200dष और"),
        ("അവന്\u200d", "അവൻ"),
        ("ہاں، ٹھیک ہے۔ کیا؟", "ہاں ٹھیک ہے کیا"),
        ("हाँ [laugh] ठीक [हँसी]", "हाँ ठीक"),
        ("A.R. Rahman 1.2.3 v2.0.", "AR Rahman 1.2.3 v2.0"),
        ("snake_case #tag 😀", "snake case tag"),
    ],
)
def test_plain_has_no_punctuation(said: str, wanted: str) -> None:
    assert plain(said) == wanted


@pytest.mark.parametrize(
    ("code", "said", "wanted"),
    [
        ("hi", "₹1,50,000 मिले, 25% ज़्यादा।", "एक लाख पचास हज़ार रुपये मिले पच्चीस प्रतिशत ज़्यादा"),
        ("hi", "Rs. 500 करोड़ और $5", "पाँच सौ करोड़ रुपये और पाँच डॉलर्स"),
        ("hi", "1984 में 3.5 किलो", "उन्नीस सौ चौरासी में तीन दशमलव पाँच किलो"),
        ("hi", "9876543210", "नौ आठ सात छः पाँच चार तीन दो एक शून्य"),
        ("hi", "10:00 बजे, 5:30 बजे", "दस बजे पाँच तीस बजे"),
        ("hi", "15/08/2024 को", "पंद्रह आठ दो हज़ार चौबीस को"),
        ("hi", "1ला, 2रा, 10वीं, 3गुना", "पहला दूसरा दसवीं तीनगुना"),
        ("hi", "4G और COVID-19, 2nd R&D", "फ़ोर जी और कोविड नाइंटीन सेकंड आर ऐंड डी"),
        ("hi", "YouTube, iPhone, AI, IT, NASA, sms", "यूट्यूब आइफ़ोन एआई आईटी नासा एसएमएस"),
        ("mr", "1ला आणि ५० टक्के", "पहिला आणि पन्नास टक्के"),
        ("bn", "১ম শ্রেণি, ৫টা, TVতে ৩.৫%", "প্রথম শ্রেণি পাঁচটা টিভিতে তিন দশমিক পাঁচ শতাংশ"),
        ("as", "ল'ৰা ১০জন bank", "ল'ৰা দহজন বেংক"),
        ("gu", "2જું meeting ₹500", "બીજું મીટિંગ પાંચ સો રૂપિયા"),
        ("pa", "1ਲਾ computer 5ਵਾਂ", "ਪਹਿਲਾ ਕੰਪਿਊਟਰ ਪੰਜਵਾਂ"),
        ("or", "୧ମ bank 2024ରେ", "ପ୍ରଥମ ବ୍ୟାଙ୍କ ଦୁଇ ହଜାର ଚବିଶରେ"),
        ("ta", "5-வது, 10-ம், 2000-ல், ரூ. 500", "ஐந்தாவது பத்தாம் இரண்டாயிரத்தில் ஐநூறு ரூபாய்"),
        ("ta", "ATM meeting", "ஏடிஎம் மீட்டிங்"),
        ("te", "5వ తరగతి, computer", "ఐదవ తరగతి కంప్యూటర్"),
        ("kn", "5ನೇ, 2020ರಲ್ಲಿ bank", "ಐದನೇ ಎರಡು ಸಾವಿರದ ಇಪ್ಪತ್ತರಲ್ಲಿ ಬ್ಯಾಂಕ್"),
        ("ml", "5-ാം ക്ലാസ്, 2024-ൽ market", "അഞ്ചാം ക്ലാസ് രണ്ടായിരത്തി ഇരുപത്തിനാലിൽ മാർകെറ്റ്"),
        ("ur", "5واں دن، ۵۰٪ TV school", "پانچواں دن پچاس فیصد ٹی وی اسکول"),
        ("en", "It's 25% of $5.", "It's twenty five percent of five dollars"),
    ],
)
def test_native_says_digits_signs_and_english(code: str, said: str, wanted: str) -> None:
    assert native(said, code) == unicodedata.normalize("NFC", wanted)


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("हाँ [UNK] ठीक", "hi", "marker"),
        ("हाँ [unintelligible]", "hi", "marker"),
        ("[OVERLAP] ठीक", "hi", "marker"),
        ("...", "hi", "empty_text"),
        ("[laugh]", "hi", "empty_text"),
        ("NO_SPEECH", "hi", "empty_text"),
        ("½ किलो", "hi", "number"),
        ("привет है", "hi", "script"),
        ("नमस्ते", "ta", "script"),
        ("Øre", "hi", "script"),
        ("नमस्ते", "ne", "language"),
    ],
)
def test_what_cannot_be_written_is_dropped_with_its_reason(said: str, code: str, reason: str) -> None:
    assert NATIVE.apply(said, said, code) == Viewed("", reason)


def test_markers_drop_a_clip_from_plain_and_stay_in_verbatim() -> None:
    assert PLAIN.apply("हाँ [INAUDIBLE]", "", "hi") == Viewed("", "marker")
    assert View(ViewKind.VERBATIM).apply("हाँ [INAUDIBLE]", "", "hi").text == "हाँ [INAUDIBLE]"


def test_latin_words_are_kept_written_or_dropped_by_policy() -> None:
    said = "कल meeting है, 4G पर"
    assert KEEPING.apply(said, said, "hi").text == "कल meeting है four G पर"
    assert NATIVE.apply(said, said, "hi").text == "कल मीटिंग है फ़ोर जी पर"
    assert DROPPING.apply(said, said, "hi") == Viewed("", "latin")
    assert DROPPING.apply("कल 5 बजे", "", "hi").text == "कल पाँच बजे"
    assert DROPPING.apply("call me", "", "en").text == "call me"


def test_what_a_view_changed_is_told() -> None:
    assert PLAIN.apply("हाँ ठीक", "", "hi").changes == ()
    assert PLAIN.apply("हाँ, [laugh] ५", "", "hi").changes == (
        ViewChange.MARKERS,
        ViewChange.DIGITS,
        ViewChange.PUNCTUATION,
    )
    assert NATIVE.apply("TV 5", "", "hi").changes == (ViewChange.DIGITS, ViewChange.LATIN)


# ----------------------------------------------------------------------------- English in other scripts

RULES_ALONE = """
actor=एक्टर album=एल्बम ambulance=एम्बुलेंस battery=बैटरी birthday=बर्थडे biscuit=बिस्किट blood=ब्लड
bottle=बॉटल budget=बजट burger=बर्गर butter=बटर button=बटन camera=कैमरा cancer=कैंसर charger=चार्जर
chemistry=केमिस्ट्री chocolate=चॉकलेट coach=कोच coffee=कॉफ़ी company=कंपनी congress=कांग्रेस
contract=कॉन्ट्रैक्ट cooker=कुकर court=कोर्ट cream=क्रीम cricket=क्रिकेट degree=डिग्री
delivery=डिलीवरी diesel=डीज़ल discount=डिस्काउंट download=डाउनलोड engine=इंजन factory=फ़ैक्टरी
final=फ़ाइनल folder=फ़ोल्डर gift=गिफ़्ट glass=ग्लास history=हिस्ट्री holiday=हॉलिडे
injection=इंजेक्शन interest=इंटरेस्ट judge=जज keyboard=कीबोर्ड kitchen=किचन lawyer=लॉयर leader=लीडर
lecture=लेक्चर lens=लेंस loan=लोन machine=मशीन magazine=मैगज़ीन network=नेटवर्क novel=नॉवेल
nurse=नर्स operation=ऑपरेशन order=ऑर्डर paper=पेपर party=पार्टी payment=पेमेंट pencil=पेंसिल
petrol=पेट्रोल physics=फ़िज़िक्स player=प्लेयर pressure=प्रेशर principal=प्रिंसिपल printer=प्रिंटर
professor=प्रोफ़ेसर project=प्रोजेक्ट record=रिकॉर्ड sandwich=सैंडविच scene=सीन scheme=स्कीम
science=साइंस screen=स्क्रीन security=सिक्योरिटी server=सर्वर share=शेयर shopping=शॉपिंग
signal=सिग्नल singer=सिंगर stadium=स्टेडियम studio=स्टूडियो table=टेबल tablet=टैबलेट tax=टैक्स
theatre=थिएटर tomato=टोमैटो traffic=ट्रैफ़िक uniform=यूनिफ़ॉर्म update=अपडेट upload=अपलोड
version=वर्ज़न vote=वोट wallet=वॉलेट weekend=वीकेंड
"""
"""Usual spellings in Hindi of words that no rule was made for."""


def test_rules_alone_spell_about_half_of_the_words_as_usual_and_most_letters_of_the_rest() -> None:
    pairs = [one.split("=") for one in RULES_ALONE.split()]
    written = [
        (write_sounds(pronounce_by_rules(word), "hi"), unicodedata.normalize("NFC", usual))
        for word, usual in pairs
    ]
    assert sum(ours == usual for ours, usual in written) >= 0.45 * len(pairs)
    wrong = sum(Levenshtein.distance(ours, usual) for ours, usual in written)
    assert wrong <= 0.15 * sum(len(usual) for _, usual in written)


@given(
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'", min_size=1, max_size=20),
    st.sampled_from(FIRST_CLASS),
)
def test_every_word_can_be_written_in_every_script(word: str, code: str) -> None:
    written = write_sounds(pronounce(word), code)
    assert {SCRIPT_OF[one] for one in written if one != " "} <= {LANGUAGES[code].script}
    assert bool(written) is any(one != "'" for one in word)

"""Every finding there is: what it means, what it costs, which lanes it closes, whether to ask again.

This table is the whole policy. Score, lanes, retry advice and the tables of `docs/validation.md` are read
from it, and severity is a property of the code, so that one code never means two things.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lipika.models import Advice, Finding, Severity
from lipika.validation import bands
from lipika.validation import thresholds as limit


class LaneName(StrEnum):
    ASR = "asr"
    TTS_CLEAN = "tts_clean"
    TTS_EXPRESSIVE = "tts_expressive"


class ScorePart(StrEnum):
    """The parts of the quality score (`score_parts`)."""

    SPEECH = "speech"  # is there speech, and does the text know it
    RATE = "rate"
    SCRIPT = "script"
    LANGUAGE = "language"
    TAGS = "tags"
    REPETITION = "repetition"
    FORM = "form"  # markup, echoes, talk about the task
    AUDIO = "audio"
    BOUNDARY = "boundary"
    ALIGNMENT = "alignment"  # a second recogniser, where one has listened


@dataclass(frozen=True, slots=True)
class Rule:
    """One finding code. `penalty` (0..1) is the share of its part of the score that it takes away."""

    code: str
    severity: Severity
    part: ScorePart
    penalty: float
    closes: frozenset[LaneName]
    advice: Advice  # at the first sight of it
    meaning: str
    threshold: str
    source: str = "chosen"
    never_accepted: bool = False  # an answer like this is a failed clip, not a bad transcript
    later: bool = False  # not for `validate` to find: it takes more than one answer and its clip


_ALL = frozenset(LaneName)
_TTS = frozenset({LaneName.TTS_CLEAN, LaneName.TTS_EXPRESSIVE})
_CLEAN = frozenset({LaneName.TTS_CLEAN})
_NONE: frozenset[LaneName] = frozenset()

_INFO, _WARN, _FAIL = Severity.INFO, Severity.WARN, Severity.FAIL
_KEEP, _VARY, _ELSEWHERE = Advice.KEEP, Advice.VARY, Advice.ELSEWHERE

_RULES = (
    # ------------------------------------------------------------------------- speech
    Rule(
        "no_speech", _INFO, ScorePart.SPEECH, 0.0, _ALL, _KEEP,
        "The answer says that nobody speaks: right or wrong, there is no text to train on.",
        "transcription is NO_SPEECH",
    ),
    Rule(
        "not_asked", _INFO, ScorePart.SPEECH, 0.0, _NONE, _KEEP,
        "Nothing in the clip can be speech: NO_SPEECH without a request (`ASK_SILENCE`).",
        "the loudest 30 ms are below -80 dBFS, or within 0.5 dB of the mean",
    ),
    Rule(
        "no_speech_mixed", _FAIL, ScorePart.SPEECH, 1.0, _ALL, _VARY,
        "NO_SPEECH stands beside words.",
        "NO_SPEECH in transcription, and more than that",
    ),
    Rule(
        "no_speech_tagged", _FAIL, ScorePart.SPEECH, 0.8, _ALL, _VARY,
        "The transcription is NO_SPEECH, but `tagged` holds words.",
        "`tagged` without tags is neither empty nor NO_SPEECH",
    ),
    Rule(
        "no_speech_language", _INFO, ScorePart.SPEECH, 0.05, _NONE, _KEEP,
        "NO_SPEECH with a detected language.",
        "detected_language is not `none`",
    ),
    Rule(
        "no_speech_energy", _WARN, ScorePart.SPEECH, 0.3, _NONE, _VARY,
        "NO_SPEECH, but the audio is as loud and as lively as speech, and no music or noise is tagged.",
        f"active audio >= {limit.ENERGY_SPEECH_MS} ms and SNR >= {limit.ENERGY_SNR_DB:g} dB",
    ),
    Rule(
        "speech_on_silence", _FAIL, ScorePart.SPEECH, 1.0, _ALL, _VARY,
        "Words for audio that holds no speech: invented text.",
        f"peak < {limit.SILENT_PEAK_DBFS:g} dBFS or RMS < {limit.SILENT_RMS_DBFS:g} dBFS, with SNR < "
        f"{limit.SILENT_SNR_DB:g} dB; or peak < {limit.NOTHING_PEAK_DBFS:g} dBFS, or active audio < "
        f"{limit.SPEECH_NEEDS_MS} ms, or SNR < {limit.FLAT_SNR_DB:g} dB with RMS < {limit.FLAT_RMS_DBFS:g} dBFS",
    ),
    Rule(
        "words_without_language", _WARN, ScorePart.SPEECH, 0.2, _ALL, _KEEP,
        "There are words, but the detected language is `none`.",
        "detected_language is `none`",
    ),
    Rule(
        "no_words", _FAIL, ScorePart.SPEECH, 1.0, _ALL, _VARY,
        "Nothing is left of the transcription without its markers, tags and punctuation.",
        "no letter and no digit",
    ),
    # ------------------------------------------------------------------------- rate
    Rule(
        "rate_impossible", _FAIL, ScorePart.RATE, 0.9, _ALL, _VARY,
        "More text than anybody can say in the time: a loop, an invention or the text of another clip.",
        f"> {bands.HIGH_FAIL:g} syllables/s of speech, or the language's characters/s limit",
        "measured: 13 loses none of 158 recordings; NeMo Curator cuts at 40 characters/s",
    ),
    Rule(
        "rate_high", _WARN, ScorePart.RATE, 0.2, _TTS, _VARY,
        "Faster than nearly all speakers of the language: something may have been said twice or added.",
        f"> {bands.HIGH_WARN:g} syllables/s of speech, or the language's characters/s limit",
        "measured: no faster than 10.1 in 158 recordings; replaced by `calibrate`",
    ),
    Rule(
        "rate_low", _WARN, ScorePart.RATE, 0.4, _ALL, _VARY,
        "Little text for the speech there is: words left out, or a corpus that is spoken slowly (`calibrate`).",
        f"< {bands.LOW_WARN:g} syllables/s of speech, or < {bands.SLOW:g} and few characters/s; a third of a second "
        "is spared, a digit counts three syllables",
        "measured: no slower than 3.8 in 158 recordings; replaced by `calibrate`",
    ),
    Rule(
        "rate_too_low", _FAIL, ScorePart.RATE, 0.7, _ALL, _VARY,
        "Most of the speech has no text.",
        f"< {bands.LOW_FAIL:g} syllables/s of speech",
        "inferred",
    ),
    Rule(
        "truncated", _WARN, ScorePart.RATE, 0.0, _NONE, _VARY,
        "The text has no end and is short for the speech: it may stop early.",
        f"no final punctuation, and < {bands.STOPPED:g} syllables/s of speech",
    ),
    # ------------------------------------------------------------------------- script
    Rule(
        "wrong_script", _FAIL, ScorePart.SCRIPT, 0.9, _ALL, _VARY,
        "The text is not in the script of its language.",
        f"> {limit.WRONG_SCRIPT_SHARE:.0%} of letters neither in that script nor Latin",
        "Granary keeps charset share > 0.8",
    ),
    Rule(
        "foreign_script", _WARN, ScorePart.SCRIPT, 0.3, _ALL, _KEEP,
        "Some letters come from a third script.",
        f">= {limit.FOREIGN_LETTERS} letters and > {limit.FOREIGN_SHARE:.0%} of letters",
    ),
    Rule(
        "latin_heavy", _INFO, ScorePart.SCRIPT, 0.05, _NONE, _KEEP,
        "Far more English than code-mixing usually has.",
        f"> {limit.LATIN_HEAVY_SHARE:.0%} of letters Latin",
    ),
    # ------------------------------------------------------------------------- language
    Rule(
        "hint_mismatch", _WARN, ScorePart.LANGUAGE, 0.3, _ALL, _KEEP,
        "The model heard another language than the video's; one of the two labels is wrong.",
        "detected_language differs from the hint",
    ),
    Rule(
        "language_other", _WARN, ScorePart.LANGUAGE, 0.3, _ALL, _KEEP,
        "The model heard a language outside the registry.",
        "detected_language is `other`",
    ),
    Rule(
        "same_script_language", _FAIL, ScorePart.LANGUAGE, 0.7, _ALL, _VARY,
        "The script fits, but the words are those of a neighbour: Assamese and Bengali, Hindi and Marathi, Urdu and "
        "Persian or Arabic.",
        "marks: words that only the neighbour writes, by list, ending or letter (ৰ ৱ / র, ळ). "
        f">= {limit.NEIGHBOUR_MARKS} marks and over 3 times the language's own, unless pycld2 is sure of the "
        "language; or over twice its own, and pycld2 is sure of the neighbour. Urdu: "
        f">= {limit.LANGUAGE_ID_LETTERS} letters without a mark of Urdu (ے ں ہ ٹ, اور), and pycld2 is sure of a "
        f"rival, or two of ك ي ى ة, or >= {limit.UNMARKED_URDU_LETTERS} letters",
        "marks chosen, thresholds measured",
    ),
    Rule(
        "neighbour_letters", _INFO, ScorePart.LANGUAGE, 0.1, _NONE, _KEEP,
        "Some letters belong to the neighbouring language: Bengali র in Assamese, Assamese ৰ or ৱ in Bengali.",
        "any, but fewer than the language's own, or the text still reads as the language",
        "measured: 1 % of Assamese sentences in Common Voice",
    ),
    Rule(
        "neighbour_words", _INFO, ScorePart.LANGUAGE, 0.1, _NONE, _KEEP,
        "Weak signs of the neighbour's words, such as a headline without any mark that pycld2 takes for it.",
        "more marks of the neighbour than of the language, or none of either and pycld2 is sure of the neighbour",
        "measured: 0.1 to 1 % of correct sentences",
    ),
    Rule(
        "arabic_letters", _INFO, ScorePart.LANGUAGE, 0.05, _NONE, _KEEP,
        "Arabic look-alikes in Urdu: ك for ک, ي or ى for ی, ة for ہ.",
        "any",
    ),
    Rule(
        "english_text", _WARN, ScorePart.LANGUAGE, 0.4, _ALL, _VARY,
        "A whole utterance in English for an Indian language: translated, or really English.",
        f">= {limit.LATIN_ONLY_WORDS} words, all Latin, >= {limit.ENGLISH_WORDS_SHARE:.0%} of them common in English",
    ),
    Rule(
        "romanised", _FAIL, ScorePart.LANGUAGE, 0.8, _ALL, _VARY,
        "A whole utterance in Latin letters that is not English: the language, romanised.",
        f">= {limit.LATIN_ONLY_WORDS} words, all Latin, not English",
    ),
    Rule(
        "romanised_part", _WARN, ScorePart.LANGUAGE, 0.4, _ALL, _VARY,
        "A part of the text in Latin letters that is not English: the language, romanised.",
        "two small Latin words in a row that look like it, or one of three, or any four, and they are not English",
    ),
    # ------------------------------------------------------------------------- tags
    Rule(
        "tag_mismatch", _FAIL, ScorePart.TAGS, 0.7, _ALL, _VARY,
        "`tagged` without its tags is another text than the transcription.",
        f"similarity after normalisation < {limit.TAG_TEXT_NEAR:g}",
    ),
    Rule(
        "tag_text_differs", _WARN, ScorePart.TAGS, 0.15, frozenset({LaneName.TTS_EXPRESSIVE}), _KEEP,
        "`tagged` differs from the transcription by a slip.",
        f"similarity after normalisation >= {limit.TAG_TEXT_NEAR:g}, but not equal",
    ),
    Rule(
        "tag_in_transcription", _WARN, ScorePart.TAGS, 0.2, _ALL, _KEEP,
        "An event tag, or a bracket that is no marker, inside the transcription.",
        "any `[...]` but [UNK], [INAUDIBLE], [OVERLAP]",
    ),
    Rule(
        "unknown_tag", _WARN, ScorePart.TAGS, 0.15, frozenset({LaneName.TTS_EXPRESSIVE}), _KEEP,
        "`tagged` holds a tag that is none of the ten, and no known spelling of one.",
        "any",
    ),
    Rule(
        "misspelt_tag", _INFO, ScorePart.TAGS, 0.02, _NONE, _KEEP,
        "A known tag in another spelling, such as [Laughter].",
        "any",
        "IndicVoices writes its tags in many ways; so do models",
    ),
    Rule(
        "vocal_event", _INFO, ScorePart.TAGS, 0.0, _CLEAN, _KEEP,
        "A laugh, cry, sigh, gasp, cough, throat clearing or lip smack: expressive, not clean.",
        "any but [breath]",
    ),
    Rule(
        "background_event", _INFO, ScorePart.TAGS, 0.05, _TTS, _KEEP,
        "Noise or music.",
        "[noise] or [music]",
    ),
    Rule(
        "events_dense", _WARN, ScorePart.TAGS, 0.2, _TTS, _KEEP,
        "More event tags than a clip can hold.",
        f"> {limit.EVENTS_PER_SECOND:g} a second, or > {limit.EVENTS_PER_WORD:g} a word (3 or more)",
    ),
    Rule(
        "unk", _INFO, ScorePart.TAGS, 0.05, _TTS, _KEEP,
        "A word the model could not make out.",
        "any [UNK]",
    ),
    Rule(
        "unk_dense", _WARN, ScorePart.TAGS, 0.3, _ALL, _KEEP,
        "Too many words could not be made out.",
        f"[UNK] > {limit.UNK_SHARE:.0%} of words (`asr` bears that many, TTS none)",
    ),
    Rule(
        "inaudible", _INFO, ScorePart.TAGS, 0.1, _TTS, _KEEP,
        "A stretch the model could not make out.",
        "any [INAUDIBLE]",
    ),
    Rule(
        "inaudible_dense", _WARN, ScorePart.TAGS, 0.4, _ALL, _KEEP,
        "Too many stretches could not be made out.",
        f"[INAUDIBLE] > {limit.INAUDIBLE_SHARE:.0%} of words (`asr` bears that many, TTS none)",
    ),
    Rule(
        "overlap_marked", _WARN, ScorePart.TAGS, 0.15, _TTS, _KEEP,
        "The model heard voices on top of one another.",
        "any [OVERLAP]",
    ),
    Rule(
        "overlap_timeline", _WARN, ScorePart.TAGS, 0.1, _TTS, _KEEP,
        "Segments of another speaker overlap this one in time.",
        f">= {limit.OVERLAP_MS} ms",
        later=True,
    ),
    # ------------------------------------------------------------------------- repetition
    Rule(
        "loop", _FAIL, ScorePart.REPETITION, 1.0, _ALL, _VARY,
        "The text goes round in circles, and there is no room for that in the audio.",
        f"repetition, at > {limit.LOOP_SYLLABLES_PER_SECOND:g} syllables/s of speech",
        "NeMo and Granary (distinct words, n-grams); Whisper (compression, here of recoded text; ordinary "
        "text measured at 1.4-1.6)",
        never_accepted=True,
    ),
    Rule(
        "repeated_end", _WARN, ScorePart.REPETITION, 0.4, _ALL, _VARY,
        "A phrase comes again and again at the end: it may stand in the place of words that were lost.",
        f"two words or more, {limit.FILLED_TIMES:g} times and more at the end, after {limit.FILLED_HEAD} others",
    ),
    Rule(
        "repetition_agreed", _INFO, ScorePart.REPETITION, 0.0, _NONE, _KEEP,
        "Words come again and again, and an answer to other words says the same: it is speech.",
        f"two answers that are {limit.AGREED_SIMILARITY:.0%} alike",
        later=True,
    ),
    Rule(
        "repetition", _WARN, ScorePart.REPETITION, 0.1, _NONE, _VARY,
        "Words come again and again at the rate of speech: a chant, a slogan, a refrain, or a loop.",
        f"four words {limit.LOOP_PHRASE_TIMES} times; or the text twice; or <= {limit.LOOP_DISTINCT_SHARE:.0%} "
        f"distinct of >= {limit.LOOP_LEAST_WORDS} words; or 1-8 characters {limit.STUTTER_TIMES} times running; or "
        f">= {limit.LOOP_LEAST_CHARS} characters that compress more than {limit.LOOP_RATIO:g} to 1",
    ),
    # ------------------------------------------------------------------------- form
    Rule(
        "control_characters", _WARN, ScorePart.FORM, 0.3, _ALL, _VARY,
        "Control characters, private characters, or a model's tokens such as <ctrl46> or a byte <0xE0>.",
        "any",
    ),
    Rule(
        "invisible_characters", _WARN, ScorePart.FORM, 0.1, _ALL, _VARY,
        "Characters that are neither seen nor heard, or odd spaces; ZWJ and ZWNJ are part of how words are written.",
        "a zero-width space; of texts stored before they were tidied: U+FEFF, U+00AD, U+00A0 and their like",
    ),
    Rule(
        "not_nfc", _INFO, ScorePart.FORM, 0.0, _NONE, _KEEP,
        "The text is not in Unicode's form NFC: it was stored before texts were put into it.",
        "any character that NFC writes otherwise",
    ),
    Rule(
        "markup", _WARN, ScorePart.FORM, 0.4, _ALL, _VARY,
        "HTML, Markdown, JSON, lists, escapes, links, notes, or anything in brackets that is no marker.",
        "any",
    ),
    Rule(
        "quoted", _WARN, ScorePart.FORM, 0.2, _ALL, _VARY,
        "The whole text stands in quotation marks.",
        "the first sign and the last",
    ),
    Rule(
        "sign_run", _WARN, ScorePart.FORM, 0.3, _ALL, _VARY,
        "The same sign again and again, or an ellipsis after every other word.",
        f"6 times, or after {limit.DOTTED_WORDS} words and {limit.DOTTED_SHARE:.0%} of all",
    ),
    Rule(
        "broken_letters", _WARN, ScorePart.FORM, 0.5, _ALL, _VARY,
        "Letters that were lost in a wrong encoding: `à¤•`, or `???` for a word.",
        "any",
    ),
    Rule(
        "mixed_word", _WARN, ScorePart.FORM, 0.3, _ALL, _VARY,
        "A Latin letter inside a word of another script.",
        "one or two between two letters of the script",
    ),
    Rule(
        "no_spaces", _WARN, ScorePart.FORM, 0.4, _ALL, _VARY,
        "Words that run together.",
        "a word of more syllables than the longest of the language has (7 to 12)",
        "measured on 34,000 sentences in 12 languages",
    ),
    Rule(
        "stock_phrase", _WARN, ScorePart.FORM, 0.6, _ALL, _VARY,
        "A phrase that models invent or decline with: thanks for watching, no speech, please provide the audio.",
        "groups of words by language (stock.toml), alone or at an end of the text",
    ),
    Rule(
        "timestamp", _WARN, ScorePart.FORM, 0.2, _ALL, _VARY,
        "A timestamp; a time of day as people say it is fine.",
        "a zero hour (0:05), seconds, `-->`, or an odd minute at the start",
    ),
    Rule(
        "speaker_label", _WARN, ScorePart.FORM, 0.2, _ALL, _VARY,
        "A line that begins with a label of a speaker.",
        "one to three words and a colon at the start of a line, or >>",
    ),
    Rule(
        "meta_talk", _FAIL, ScorePart.FORM, 0.9, _ALL, _ELSEWHERE,
        "The model talks about the audio or the task, or declines it.",
        "a list of English phrases, such as `the speaker says`",
    ),
    Rule(
        "prompt_echo", _FAIL, ScorePart.FORM, 1.0, _ALL, _VARY,
        "The text repeats the prompt or names the schema's fields.",
        f"four words in a row of any prompt, a field's name, or {limit.ECHO_TAGS} different event tags",
    ),
    Rule(
        "accent_long", _INFO, ScorePart.FORM, 0.02, _NONE, _KEEP,
        "A speaker_accent that is not the few words asked for.",
        f"> {limit.ACCENT_CHARS} characters",
    ),
    Rule(
        "number_words", _WARN, ScorePart.FORM, 0.05, _NONE, _KEEP,
        "Numbers in words, where the prompt asks for digits.",
        "a number word from 11 on",
        "lists of the project, without words that also mean something else",
    ),
    # ------------------------------------------------------------------------- people
    Rule(
        "unusable", _WARN, ScorePart.FORM, 1.0, _ALL, _KEEP,
        "A person has heard the clip and says that nobody should use it; the evidence is their reason.",
        "`lipika edits unusable`, or the board",
        later=True,
    ),
    # ------------------------------------------------------------------------- audio
    Rule(
        "clipping", _WARN, ScorePart.AUDIO, 0.2, _TTS, _KEEP,
        "Samples at full scale.",
        f"> {limit.CLIPPED_SHARE:.1%} of samples",
    ),
    Rule(
        "noisy", _WARN, ScorePart.AUDIO, 0.15, _TTS, _KEEP,
        "Loud and quiet frames lie close together: noise, music or reverberation.",
        f"p90 - p10 of frame energy < {limit.NOISY_SNR_DB:g} dB",
    ),
    Rule(
        "quiet", _INFO, ScorePart.AUDIO, 0.1, _TTS, _KEEP,
        "Recorded very quietly.",
        f"RMS < {limit.QUIET_RMS_DBFS:g} dBFS",
    ),
    Rule(
        "narrow_band", _INFO, ScorePart.AUDIO, 0.05, _TTS, _KEEP,
        "Telephone or heavily compressed audio.",
        f"bandwidth < {limit.NARROW_BAND_HZ} Hz",
    ),
    Rule(
        "one_channel", _INFO, ScorePart.AUDIO, 0.0, _NONE, _KEEP,
        "The channels cancel each other out (a microphone with swapped poles): the loudest alone was taken.",
        "the mean of the channels is far quieter than they are",
    ),
    Rule(
        "duration_mismatch", _INFO, ScorePart.AUDIO, 0.0, _NONE, _KEEP,
        "The segment is not as long as its name says; the samples were believed.",
        "polishing measured a difference of more than 250 ms",
    ),
    # ------------------------------------------------------------------------- boundary
    Rule(
        "abrupt_start", _WARN, ScorePart.BOUNDARY, 0.15, _TTS, _KEEP,
        "The clip begins inside speech.",
        "polishing found no valley to trim to",
    ),
    Rule(
        "abrupt_end", _WARN, ScorePart.BOUNDARY, 0.15, _TTS, _KEEP,
        "The clip ends inside speech.",
        "polishing found no valley to trim to",
    ),
    Rule(
        "forced_cut", _WARN, ScorePart.BOUNDARY, 0.15, _TTS, _KEEP,
        "The clip was cut where there was no pause.",
        "polishing found no valley to split at",
    ),
    # ------------------------------------------------------------------------- alignment
    Rule(
        "cer_high", _WARN, ScorePart.ALIGNMENT, 0.3, _TTS, _KEEP,
        "A second recogniser heard noticeably other words.",
        "distance > the language's cut for a weak agreement (docs/alignment.md)",
        "inferred; measured on made cases",
        later=True,
    ),
    Rule(
        "cer_unrelated", _FAIL, ScorePart.ALIGNMENT, 0.8, _ALL, _KEEP,
        "A second recogniser heard something else altogether.",
        "distance > the language's cut for rejection (docs/alignment.md)",
        "inferred; unrelated sentences measured at 0.6 and more",
        later=True,
    ),
    Rule(
        "spoken_language_mismatch", _WARN, ScorePart.ALIGNMENT, 0.4, _ALL, _KEEP,
        "The audio sounds like another language than the text is in. Hindi and Urdu sound alike.",
        "another language's pieces are surer by 0.15 nats a frame, over 10 frames and more",
        "chosen; the same recogniser names the language of 178 in 180 FLEURS clips",
        later=True,
    ),
    Rule(
        "words_differ", _WARN, ScorePart.ALIGNMENT, 0.15, _TTS, _KEEP,
        "A second recogniser heard words that the text lacks or has otherwise, or did not hear some that it has.",
        f"> {limit.WORDS_DIFFER_SHARE:.0%} of the words, or a distance > {limit.WORDS_DIFFER_DISTANCE:g}",
        "measured on made cases: a fifth of the words",
        later=True,
    ),
    Rule(
        "words_missing", _WARN, ScorePart.ALIGNMENT, 0.4, _ALL, _KEEP,
        "A second recogniser heard many words for which the text has none.",
        f"> {limit.WORDS_MISSING_SHARE:.0%} of the words, with no others in their place",
        "measured on made cases: two fifths of the words",
        later=True,
    ),
    Rule(
        "tail_missing", _WARN, ScorePart.ALIGNMENT, 0.4, _ALL, _KEEP,
        "The text agrees with what was heard and stops before it does.",
        "2 words and 8 letters of sound or more after the text's end",
        later=True,
    ),
)  # fmt: skip

AGREED = frozenset({"repetition", "repeated_end"})
"""Findings that two answers to differently worded questions settle."""

RULES: dict[str, Rule] = {rule.code: rule for rule in _RULES}


def finding(code: str, evidence: str, span: tuple[int, int] | None = None) -> Finding:
    """A finding with the severity its code always has; long evidence is cut."""
    shown = evidence if len(evidence) <= _EVIDENCE_CHARS else evidence[: _EVIDENCE_CHARS - 1] + "…"
    return Finding(code, RULES[code].severity, shown, span)


_EVIDENCE_CHARS = 160

"""Every number a check compares with, and where it comes from. Rates per language are in `bands`."""

from __future__ import annotations

from collections.abc import Mapping

# --- speech or silence (chosen; DNSMOS-filtered corpora hold next to nothing below -45 dBFS)
SILENT_PEAK_DBFS = (
    -50.0
)  # no sample louder than this, and little above the noise: nobody was recorded speaking
SILENT_RMS_DBFS = -60.0
SILENT_SNR_DB = (
    12.0  # speech 40 dB below its level still stands 16 dB and more above its own floor (measured)
)
NOTHING_PEAK_DBFS = -72.0  # some steps of 16 bits: whatever stands out there is no speech
FLAT_SNR_DB = 3.0  # loudest and quietest frames alike, and quiet: hum or hiss
FLAT_RMS_DBFS = -40.0
SPEECH_NEEDS_MS = 120  # less active audio than one short syllable
ENERGY_SPEECH_MS = 800  # NO_SPEECH is doubted above this much active audio ...
ENERGY_SNR_DB = 10.0  # ... standing this far above its own floor (158 recordings of speech: 12 dB and more)

# --- script and language (Granary keeps a character share above 0.8; code-mixing asks for a lower one)
FOREIGN_LETTERS = 2  # letters of a third script before anyone is bothered
FOREIGN_SHARE = 0.02
WRONG_SCRIPT_SHARE = 0.3  # of all letters, in a script that is neither the language's nor Latin
LATIN_HEAVY_SHARE = 0.85
LANGUAGE_ID_LETTERS = 20  # letters and signs; fewer say little about a language
LANGUAGE_ID_PERCENT = 80  # of the text, reliably, in another language
NEIGHBOUR_MARKS = 2  # distinct words that only the neighbour writes; one may be a quotation
NEIGHBOUR_PART_MARKS = 3
NEIGHBOUR_PART_WORDS = 6  # of a half in which the neighbour's marks prevail; ...
NEIGHBOUR_RUN_WORDS = 6  # ... or in a row, without any of the language: fewer are a quotation
ENDING_CHARS = 5  # of a word whose ending tells its language
UNMARKED_URDU_LETTERS = 40  # measured: no 40 letters of running Urdu text (Common Voice) are without a mark
ENGLISH_WORDS_SHARE = 0.25  # common words; ordinary English has 0.4-0.7, romanised Hindi 0-0.15
LATIN_ONLY_WORDS = 4  # shorter all-Latin answers ("Okay, thank you.") are ordinary code-switching

# --- tags
TAG_TEXT_NEAR = 0.95  # normalised similarity above which a difference is a slip
TAG_COMPARE_CHARS = 4000  # longer texts are not compared letter by letter (quadratic); unequal is unequal
UNK_SHARE = 0.20  # of words: `asr` bears so many; the prompt asks for a marker rather than a guess
INAUDIBLE_SHARE = 0.20  # of words
EVENTS_PER_SECOND = 1.0
EVENTS_PER_WORD = 1.0

# --- repetition (NeMo and Granary: distinct words, n-grams; the compression limit is Whisper's, on recoded text)
AGREED_SIMILARITY = 0.9  # of two answers in normal form that say the same
LOOP_SYLLABLES_PER_SECOND = 10.2  # of speech: there is no room for repetition above (chants measured: 4-9)
FILLED_WORDS, FILLED_LONGEST, FILLED_TIMES = 2, 8, 2.5  # words of a phrase at the end, and how often it comes
FILLED_HEAD = 2  # other words before it; a slogan has none
TWICE_WORDS = 3  # of the half
LOOP_PHRASE_TIMES = 4  # the same four words in a row
LOOP_LEAST_WORDS = 10
LOOP_DISTINCT_SHARE = 0.4
STUTTER_TIMES = 9  # the same 1-8 characters without a space
LOOP_LEAST_CHARS = 60  # shorter texts compress badly whatever they say
LOOP_RATIO = 2.4  # ordinary text: 1.4-1.6 (measured on 12 languages)

# --- invented phrases (chosen)
STOCK_SPAN_WORDS = 9  # within which the words of a phrase stand
STOCK_WORDS = 12  # of an answer that is nothing but such a phrase
STOCK_CREDIT_WORDS = 3  # after the word for subtitles: a name
STOCK_EDGE_WORDS = 5  # between the phrase and an end of the text

# --- form
LONGEST_WORD: Mapping[str, float] = {
    "as": 8, "bn": 8, "gu": 8, "hi": 9, "kn": 12, "ml": 12, "mr": 10, "or": 8, "pa": 7, "ta": 11.5, "te": 12,
    "ur": 8.5,
}  # fmt: skip
"""Syllables of a word: the longest in 30,000 real sentences, give or take one. A whole answer in one word is no
longer; beside others a word may be, by this many:"""
LONGER_BESIDE_OTHERS = 3
DOTTED_WORDS, DOTTED_SHARE = 3, 0.7  # with an ellipsis after them
ROMANISED_WORDS, ROMANISED_SIGNS = 2, 2  # Latin words in a row, and those of them that look like the language
ECHO_TAGS = 5  # different event tags in the transcription: the prompt's list
ECHO_LETTERS = 12  # Latin letters that four words of the prompt take at least
TALK_LETTERS = 8  # Latin letters that the shortest phrase about the task takes
ACCENT_CHARS = 60

# --- overlap
OVERLAP_MS = 200  # diarisation draws its borders no finer

# --- audio and edges (measured on packed clips before padding)
CLIPPED_SHARE = 0.001
NOISY_SNR_DB = 15.0
QUIET_RMS_DBFS = -45.0
NARROW_BAND_HZ = 7000  # telephone audio ends at 3.4-4 kHz, 16 kHz audio at 8

# --- a second recogniser (measured on made cases, with one letter in 20 misheard: docs/validation.md)
WORDS_DIFFER_SHARE = 0.17  # of words, on either side; one in five counts as that after what was misheard
WORDS_DIFFER_DISTANCE = 0.25
WORDS_MISSING_SHARE = 0.34  # of words heard, without others in their place; two in five count as that

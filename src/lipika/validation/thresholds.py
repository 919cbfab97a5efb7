"""Every number a check compares with, and where it comes from. Rates per language are in `bands`."""

from __future__ import annotations

# --- speech or silence (chosen; DNSMOS-filtered corpora hold next to nothing below -45 dBFS)
SILENT_PEAK_DBFS = -50.0  # no sample louder than this: nobody was recorded speaking
SILENT_RMS_DBFS = -60.0
FLAT_SNR_DB = 3.0  # loudest and quietest frames alike, and quiet: hum or hiss
FLAT_RMS_DBFS = -40.0
SPEECH_NEEDS_MS = 120  # less active audio than one short syllable
ENERGY_SPEECH_MS = 1500  # NO_SPEECH is doubted above this much active audio ...
ENERGY_SNR_DB = 20.0  # ... standing this far above its own floor

# --- script and language (Granary keeps a character share above 0.8; code-mixing asks for a lower one)
FOREIGN_LETTERS = 2  # letters of a third script before anyone is bothered
FOREIGN_SHARE = 0.02
WRONG_SCRIPT_SHARE = 0.3  # of all letters, in a script that is neither the language's nor Latin
LATIN_HEAVY_SHARE = 0.85
LANGUAGE_ID_LETTERS = 20  # letters and signs; fewer say little about a language
LANGUAGE_ID_PERCENT = 80  # of the text, reliably, in another language
NEIGHBOUR_MARKS = 2  # distinct words that only the neighbour writes; one may be a quotation
ENDING_CHARS = 5  # of a word whose ending tells its language
UNMARKED_URDU_LETTERS = 40  # measured: no 40 letters of running Urdu text (Common Voice) are without a mark
ENGLISH_WORDS_SHARE = 0.25  # common words; ordinary English has 0.4-0.7, romanised Hindi 0-0.15
LATIN_ONLY_WORDS = 4  # shorter all-Latin answers ("Okay, thank you.") are ordinary code-switching

# --- tags
TAG_TEXT_NEAR = 0.95  # normalised similarity above which a difference is a slip
TAG_COMPARE_CHARS = 4000  # longer texts are not compared letter by letter (quadratic); unequal is unequal
UNK_SHARE = 0.05  # of words
INAUDIBLE_SHARE = 0.10  # of words
EVENTS_PER_SECOND = 1.0
EVENTS_PER_WORD = 1.0

# --- repetition (NeMo and Granary: distinct words, n-grams; the compression limit is Whisper's, on recoded text)
LOOP_PHRASE_TIMES = 4  # the same four words in a row
LOOP_LEAST_WORDS = 10
LOOP_DISTINCT_SHARE = 0.4
STUTTER_TIMES = 9  # the same 1-8 characters without a space
LOOP_LEAST_CHARS = 60  # shorter texts compress badly whatever they say
LOOP_RATIO = 2.4  # ordinary text: 1.4-1.6 (measured on 12 languages)

# --- form
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

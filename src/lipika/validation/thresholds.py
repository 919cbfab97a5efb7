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
LATIN_ONLY_WORDS = 4  # shorter all-Latin answers ("Okay, thank you.") are ordinary code-switching

# --- tags
TAG_TEXT_NEAR = 0.95  # normalised similarity above which a difference is a slip
TAG_COMPARE_CHARS = 4000  # longer texts are not compared letter by letter (quadratic); unequal is unequal
UNK_SHARE = 0.05  # of words
INAUDIBLE_SHARE = 0.10  # of words
EVENTS_PER_SECOND = 1.0
EVENTS_PER_WORD = 1.0

# --- audio and edges (measured on packed clips before padding)
CLIPPED_SHARE = 0.001
NOISY_SNR_DB = 15.0
QUIET_RMS_DBFS = -45.0
NARROW_BAND_HZ = 7000  # telephone audio ends at 3.4-4 kHz, 16 kHz audio at 8

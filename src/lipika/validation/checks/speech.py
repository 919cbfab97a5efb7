"""Speech in the audio against what the answer says of it."""

from __future__ import annotations

from collections.abc import Iterator

from lipika.llm.transcript import NO_SPEECH
from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading


def mixed_no_speech(reading: Reading) -> Iterator[Finding]:
    if reading.says_no_speech:
        yield finding("no_speech_mixed", reading.answer.transcription)


def words_on_silence(reading: Reading) -> Iterator[Finding]:
    audio = reading.clip.audio
    quiet = audio.peak_dbfs < limit.SILENT_PEAK_DBFS or audio.rms_dbfs < limit.SILENT_RMS_DBFS
    if (quiet and audio.snr_db < limit.SILENT_SNR_DB) or audio.peak_dbfs < limit.NOTHING_PEAK_DBFS:
        why = f"peak {audio.peak_dbfs:.0f} dBFS, RMS {audio.rms_dbfs:.0f} dBFS"
    elif audio.speech_ms < limit.SPEECH_NEEDS_MS:
        why = f"{audio.speech_ms} ms of active audio"
    elif audio.snr_db < limit.FLAT_SNR_DB and audio.rms_dbfs < limit.FLAT_RMS_DBFS:
        why = f"flat audio: SNR {audio.snr_db:.1f} dB at {audio.rms_dbfs:.0f} dBFS"
    else:
        return
    yield finding("speech_on_silence", f"{len(reading.words)} words; {why}")


def no_words(reading: Reading) -> Iterator[Finding]:
    if not reading.words:
        yield finding("no_words", reading.answer.transcription)


def words_without_language(reading: Reading) -> Iterator[Finding]:
    if reading.answer.detected_language == "none":
        yield finding("words_without_language", f"{len(reading.words)} words")


def plain_no_speech(_reading: Reading) -> Iterator[Finding]:
    yield finding("no_speech", NO_SPEECH)


def not_asked(reading: Reading) -> Iterator[Finding]:
    if "not_asked" in reading.clip.flags:
        audio = reading.clip.audio
        yield finding("not_asked", f"RMS {audio.rms_dbfs:.0f} dBFS, SNR {audio.snr_db:.1f} dB")


def no_speech_tagged(reading: Reading) -> Iterator[Finding]:
    if reading.tagged_plain.strip() not in {"", NO_SPEECH}:
        yield finding("no_speech_tagged", reading.answer.tagged)


def no_speech_language(reading: Reading) -> Iterator[Finding]:
    if reading.answer.detected_language != "none":
        yield finding("no_speech_language", reading.answer.detected_language)


def no_speech_energy(reading: Reading) -> Iterator[Finding]:
    audio = reading.clip.audio
    explained = reading.tags.events["music"] or reading.tags.events["noise"]
    lively = audio.speech_ms >= limit.ENERGY_SPEECH_MS and audio.snr_db >= limit.ENERGY_SNR_DB
    if lively and not explained:
        yield finding("no_speech_energy", f"{audio.speech_ms} ms active at SNR {audio.snr_db:.0f} dB")


CHECKS = (mixed_no_speech, words_on_silence, no_words, words_without_language)
NO_SPEECH_CHECKS = (plain_no_speech, not_asked, no_speech_tagged, no_speech_language, no_speech_energy)

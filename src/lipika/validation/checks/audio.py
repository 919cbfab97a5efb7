"""Checks of the samples and the polishing, whatever the text."""

from __future__ import annotations

from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_EDGES = ("abrupt_start", "abrupt_end", "forced_cut")


def samples(reading: Reading) -> Iterator[Finding]:
    audio = reading.clip.audio
    if audio.clipped_share > limit.CLIPPED_SHARE:
        yield finding("clipping", f"{audio.clipped_share:.2%} of samples")
    if audio.snr_db < limit.NOISY_SNR_DB:
        yield finding("noisy", f"SNR {audio.snr_db:.1f} dB")
    if audio.rms_dbfs < limit.QUIET_RMS_DBFS:
        yield finding("quiet", f"RMS {audio.rms_dbfs:.0f} dBFS")
    if audio.bandwidth_hz < limit.NARROW_BAND_HZ:
        yield finding("narrow_band", f"{audio.bandwidth_hz} Hz")


def edges(reading: Reading) -> Iterator[Finding]:
    for flag in _EDGES:
        if flag in reading.clip.flags:
            yield finding(flag, f"boundary score {reading.clip.boundary_score:.2f}")


def archive(reading: Reading) -> Iterator[Finding]:
    """Notes for somebody who looks after the recordings; they are no fault of the clip."""
    flags = reading.clip.flags
    if "one_channel" in flags:
        yield finding("one_channel", "the loudest was taken")
    if "duration_mismatch" in flags:
        name = reading.clip.segment
        yield finding(
            "duration_mismatch", f"{name.stem} should be {(name.end_ms - name.start_ms) / 1000:.2f} s long"
        )


CHECKS = (samples, edges, archive)
NO_SPEECH_CHECKS = (archive,)

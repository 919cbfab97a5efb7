"""The audio of a clip as it is, whatever its row says."""

from __future__ import annotations

from dataclasses import dataclass

from lipika.audio.decoders import sndfile_form
from lipika.audio.flac import StreamInfo
from lipika.audio.recording import read


@dataclass(frozen=True, slots=True)
class Sound:
    """Facts of a clip's audio. `num_samples` are those of one channel."""

    sample_rate_hz: int
    num_samples: int


def look(audio: bytes) -> Sound:
    """Facts as the header states them; what follows it may be damaged.

    Raises:
        SegmentError: it is empty or no audio.
    """
    info = StreamInfo.read(audio)
    if info is not None and info.frames:
        return Sound(info.sample_rate_hz, info.frames)
    form = sndfile_form(audio)
    return Sound(form.sample_rate_hz, form.frames)


def listen(audio: bytes) -> Sound:
    """Decode it all: about 1 ms for 8 seconds.

    Raises:
        SegmentError: it is empty, no audio, damaged or cut short.
    """
    recording = read(audio)
    return Sound(recording.sample_rate_hz, recording.frames)

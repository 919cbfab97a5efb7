"""A recording of hours, made with the truth of its words, cut at speech: speed, memory, what is cut into and lost.

    python -m benchmarks.long_recording [--hours 10] [--folder FOLDER] [--no-detector]

Needs the library of espeak-ng, which tells where each of its words begins and ends; two languages and four voices
speak in it, alone, over music and over noise, between music, noise and silence. CPU seconds are this
process's, of one core.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import resource
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from lipika.packing.cut import LeftOutSpan, SpeechPiece, cut
from lipika.packing.decode import open_audio
from lipika.packing.items import AudioPlace
from lipika.packing.speech import SpeechDetector, find_detector

RATE = 16_000
_SENTENCES = Path(__file__).parent.parent / "samples" / "sentences.toml"
_VOICES = (("hi", "m3"), ("hi", "f2"), ("ta", "m1"), ("ta", "f4"))
_KINDS = ("lecture", "lecture", "talk", "talk", "over_music", "noisy", "music", "silence", "noise")
_WORD, _END, _PHONEME = 1, 5, 7  # events of espeak-ng
_INSIDE = RATE // 100  # a cut so near to a word's edge is at its edge

_SPOT_S = 0.8  # shorter listening is a spot check

Sound = NDArray[np.float32]
Span = tuple[int, int]


@dataclass
class Truth:
    """Samples of each word, and of what holds none."""

    words: list[Span] = field(default_factory=list)
    empty: dict[str, list[Span]] = field(default_factory=dict)
    length: int = 0


# ----------------------------------------------------------------------------- voices


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class Espeak:
    """espeak-ng by its library, with its own words' times."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            sys.exit("no library of espeak-ng: apt install espeak-ng")
        self._library: Any = ctypes.CDLL(name)
        self._rate = self._library.espeak_Initialize(2, 500, None, 1)  # synchronous, with phonemes
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = kind(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._sound: list[NDArray[np.int16]] = []
        self._phonemes: list[tuple[int, bytes]] = []

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while events[number].type:
            if events[number].type in (_PHONEME, _END):
                mark = events[number].id if events[number].type == _PHONEME else b""
                self._phonemes.append((events[number].audio_position, mark))
            elif events[number].type == _WORD:
                self._phonemes.append((events[number].audio_position, b"|"))
            number += 1
        return 0

    def say(self, voice: str, text: str, words_per_minute: int) -> tuple[Sound, list[Span]]:
        """Sound at `RATE`, and the samples of its words."""
        self._sound, self._phonemes = [], []
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(1, words_per_minute, 0)
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, 1, None, None)
        sound = np.concatenate(self._sound).astype(np.float32) / 32_768
        words: list[Span] = []
        begin: int | None = None
        last = 0
        for (at, mark), (until, _) in zip(self._phonemes, self._phonemes[1:], strict=False):
            pause = mark in (b"", b"_:", b"_", b"_!", b"_|", b"__")
            if (mark == b"|" or pause) and begin is not None:
                words.append((begin, at))
                begin = None
            if not pause and mark != b"|" and begin is None:
                begin = at
            last = until
        if begin is not None:
            words.append((begin, last))
        scale = RATE / 1_000
        spans = [(round(first * scale), round(end * scale)) for first, end in words if end > first]
        return np.asarray(soxr.resample(sound, self._rate, RATE), np.float32), spans


# ----------------------------------------------------------------------------- scenes


def music(chance: np.random.Generator, seconds: float) -> Sound:
    """Chords, a tune and drums, or some of them: held, plucked, with rests."""
    count = round(seconds * RATE)
    made = np.zeros(count, np.float32)
    beat = int(RATE * chance.uniform(0.3, 0.7))
    root = chance.uniform(90, 180)
    held, drums, tune = chance.random() < 0.6, chance.random() < 0.5, chance.random() < 0.7
    held = held or not (drums or tune)
    for at in range(0, count, 4 * beat):
        chord = root * 2 ** (chance.choice([0, 5, 7, 9]) / 12)
        length = min(4 * beat, count - at)
        clock = np.arange(length) / RATE
        for step in (0, 4, 7) if held else ():
            for harmonic in (1, 2, 3, 4):
                made[at : at + length] += (
                    np.sin(2 * np.pi * chord * 2 ** (step / 12) * harmonic * clock) / harmonic / 4
                )
        for note in range(4):
            first = at + note * beat
            length = min(beat, count - first)
            if length <= 0:
                break
            clock = np.arange(length) / RATE
            if tune and chance.random() < 0.8:
                pitch = 2 * chord * 2 ** (chance.choice([0, 2, 4, 7, 9, 12]) / 12)
                made[first : first + length] += np.exp(-clock * 4) * (
                    np.sin(2 * np.pi * pitch * clock) + np.sin(4 * np.pi * pitch * clock) / 2
                )
            if drums:
                made[first : first + length] += np.exp(-clock * 25) * chance.standard_normal(length)
    return made / max(float(np.sqrt(np.mean(made**2))), 1e-9)


def noise(chance: np.random.Generator, count: int) -> Sound:
    """Between white and brown, at a power of 1."""
    made = chance.standard_normal(count).astype(np.float32)
    reach = int(chance.integers(1, 12))
    made = np.convolve(made, np.ones(reach, np.float32), "same").astype(np.float32)
    return made / float(np.sqrt(np.mean(made**2)))


class Scenes:
    """One after the other, with their truth."""

    def __init__(self, seed: int) -> None:
        self.truth = Truth()
        self._chance = np.random.default_rng(seed)
        texts = tomllib.loads(_SENTENCES.read_text("utf-8"))
        speaker = Espeak()
        self._said: dict[tuple[str, str], list[tuple[Sound, list[Span]]]] = {}
        for voice in _VOICES:
            sentences = texts[voice[0]]["sentences"]
            self._said[voice] = [
                speaker.say(f"{voice[0]}+{voice[1]}", text, speed)
                for speed in (130, 150, 175)
                for text in sentences
            ]

    def sounds(self, seconds: float) -> Iterator[NDArray[np.int16]]:
        while self.truth.length < seconds * RATE:
            kind = str(self._chance.choice(_KINDS))
            made = self._scene(kind)
            self.truth.length += len(made)
            yield (np.clip(made, -1, 1) * 32_767).astype(np.int16)

    def _scene(self, kind: str) -> Sound:
        chance = self._chance
        floor_db = chance.uniform(-80, -55)
        if kind in ("music", "noise", "silence"):
            seconds = chance.uniform(15, 240)
            count = round(seconds * RATE)
            self.truth.empty.setdefault(kind, []).append((self.truth.length, self.truth.length + count))
            level = {
                "music": chance.uniform(-30, -14),
                "noise": chance.uniform(-40, -20),
                "silence": floor_db,
            }[kind]
            made = music(chance, seconds)[:count] if kind == "music" else noise(chance, count)
            return made * np.float32(10 ** (level / 20))
        speech = self._speech(round(chance.uniform(60, 400) * RATE), talk=kind == "talk")
        power = float(np.sqrt(np.mean(speech[np.abs(speech) > 0.003] ** 2)))
        if kind == "over_music":
            under = music(chance, len(speech) / RATE + 1)[: len(speech)]
            return speech + under * np.float32(power * 10 ** (-chance.uniform(5, 15) / 20))
        below = chance.uniform(8, 18) if kind == "noisy" else -floor_db + 20 * np.log10(power)
        return speech + noise(chance, len(speech)) * np.float32(power * 10 ** (-below / 20))

    def _speech(self, least: int, talk: bool) -> Sound:
        """Sentences with pauses between them, and the truth of their words."""
        chance, parts, at = self._chance, [], 0
        voice = _VOICES[chance.integers(len(_VOICES))]
        gain = 10 ** (chance.uniform(-18, -3) / 20)
        while at < least:
            if talk and chance.random() < 0.5:
                voice = _VOICES[chance.integers(len(_VOICES))]
            sound, words = self._said[voice][chance.integers(len(self._said[voice]))]
            pause = round(chance.exponential(0.6) * RATE) + RATE // 5
            if chance.random() < 0.02:
                pause = round(chance.uniform(4, 20) * RATE)
            self.truth.words += [
                (self.truth.length + at + first, self.truth.length + at + end) for first, end in words
            ]
            parts += [sound * np.float32(gain), np.zeros(pause, np.float32)]
            at += len(sound) + pause
        return np.concatenate(parts)


# ----------------------------------------------------------------------------- the measurement


class _Counting:
    """A detector that counts what it hears."""

    name = "counting"

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self.seconds = self.cpu_s = 0.0
        self.spot_seconds = self.spot_cpu_s = 0.0

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        seconds, before = len(samples) / RATE, time.process_time()
        heard = self._detector.probabilities(samples)
        cpu_s = time.process_time() - before
        self.seconds += seconds
        self.cpu_s += cpu_s
        if seconds < _SPOT_S:
            self.spot_seconds += seconds
            self.spot_cpu_s += cpu_s
        return heard


def measure(path: Path, truth: Truth, detector: _Counting | None) -> dict[str, object]:
    """Cut it once, and compare."""
    before, sure, clock = time.process_time(), 0, 0
    parts: list[tuple[int, int, str]] = []
    with open_audio(AudioPlace(str(path))) as stream:
        for part in cut(stream, detector):
            assert part.start_sample == clock, "a sample is in no part, or in two"
            clock = part.end_sample
            if isinstance(part, SpeechPiece):
                assert len(part.samples) == part.end_sample - part.start_sample
                sure += part.sure * len(part.samples)
            parts.append(
                (part.start_sample, part.end_sample, part.reason if isinstance(part, LeftOutSpan) else "")
            )
    cpu_s = time.process_time() - before
    assert clock == truth.length, f"{clock} of {truth.length} samples"
    hours = truth.length / RATE / 3_600
    kept = [(start, end) for start, end, reason in parts if not reason]
    lengths = [end - start for start, end in kept]
    told: dict[str, object] = {
        "hours": round(hours, 2),
        "cpu_s": round(cpu_s, 1),
        "times_real_time": round(hours * 3_600 / cpu_s),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024,
        "pieces": len(kept),
        "pieces_s": [
            round(value / RATE, 2)
            for value in np.percentile([end - start for start, end in kept], [0, 5, 50, 95, 100])
        ],
        "sure_share_of_kept": round(sure / max(sum(lengths), 1), 3),
    }
    if detector is not None:
        seconds, whole = hours * 3_600, detector.seconds - detector.spot_seconds
        told["heard_whole_share"] = round(whole / seconds, 3)
        told["heard_in_spots_share"] = round(detector.spot_seconds / seconds, 3)
        told["detector_times_real_time"] = round(detector.seconds / max(detector.cpu_s, 1e-9), 1)
        told["times_real_time_reading_and_loudness"] = round(seconds / (cpu_s - detector.cpu_s))
        own_s = cpu_s - detector.cpu_s + detector.spot_cpu_s
        told["times_real_time_where_sure"] = round(
            (seconds - whole) / (own_s * (seconds - whole) / seconds + 1e-9)
        )
        told["times_real_time_every_second"] = round(
            1 / ((cpu_s - detector.cpu_s) / seconds + detector.cpu_s / detector.seconds)
        )
    return told | _compare(parts, kept, truth)


def _compare(parts: list[tuple[int, int, str]], kept: list[Span], truth: Truth) -> dict[str, object]:
    words = np.array(truth.words)
    cuts = np.unique([edge for start, end in kept for edge in (start, end)])
    at = np.clip(np.searchsorted(words[:, 0], cuts, "right") - 1, 0, None)
    inside = (cuts > words[at, 0] + _INSIDE) & (cuts < words[at, 1] - _INSIDE)
    out = [(start, end) for start, end, reason in parts if reason]
    spoken = int((words[:, 1] - words[:, 0]).sum())
    lost = sum(_overlap(truth.words, out).values())
    told: dict[str, object] = {
        "cuts": len(cuts),
        "cuts_inside_a_word": int(inside.sum()),
        "cuts_outside_share": round(1 - float(inside.mean()), 5),
        "spoken_hours": round(spoken / RATE / 3_600, 2),
        "spoken_left_out_s": round(lost / RATE, 2),
        "spoken_left_out_share": round(lost / spoken, 6),
    }
    for kind, spans in truth.empty.items():
        total = sum(end - start for start, end in spans)
        by_reason = {
            reason: sum(
                _overlap(spans, [(start, end) for start, end, why in parts if why == reason]).values()
            )
            for reason in ("silence", "music", "noise")
        }
        told[kind] = {"hours": round(total / RATE / 3_600, 2)} | {
            f"left out as {reason}": round(share / total, 3) for reason, share in by_reason.items()
        }
    return told


def _overlap(spans: list[Span], out: list[Span]) -> dict[int, int]:
    """Samples of each span that lie in one of `out`; both are in order."""
    found: dict[int, int] = {}
    at = 0
    for number, (start, end) in enumerate(spans):
        while at and (at == len(out) or out[at][0] > start):
            at -= 1
        while at < len(out) and out[at][0] < end:
            common = min(end, out[at][1]) - max(start, out[at][0])
            if common > 0:
                found[number] = found.get(number, 0) + common
            at += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))  # noqa: S108  # by hand
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-detector", action="store_true")
    options = parser.parse_args()
    path = options.folder / f"long-{options.hours:g}-{options.seed}.wav"
    scenes = Scenes(options.seed)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for sound in scenes.sounds(options.hours * 3_600):
            file.write(sound)
    found = None if options.no_detector else find_detector()
    counting = None if found is None else _Counting(found)
    print(json.dumps(measure(path, scenes.truth, counting), indent=2))


if __name__ == "__main__":
    main()

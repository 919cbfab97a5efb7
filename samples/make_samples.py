"""Makes `samples/tars/`: one small archive of synthetic speech per language, in every shape lipika has to handle.

Needs the espeak-ng program (1.51 made the committed files) besides lipika's own dependencies:

    python samples/make_samples.py

Deterministic: the same espeak-ng gives the same bytes.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.models import SegmentName

HERE = Path(__file__).parent
VOICE_HZ = 22_050  # what espeak-ng gives
WORDS_PER_MINUTE = 150
GAIN = 0.5  # espeak-ng speaks at full scale
SEED = 20_26
MTIME_S = 1_767_225_600  # 2026-01-01: every run writes the same headers

Samples = NDArray[np.float64]


# ----------------------------------------------------------------------------- voices


@dataclass(frozen=True, slots=True)
class Voice:
    """Everything one language's two speakers say, as samples in -1..1 at 22.05 kHz."""

    language: str
    short: str
    sentences: tuple[str, ...]

    def say(self, text: str, speaker: int) -> Samples:
        spoken = text
        name = self.language
        if self.language == "as":
            # espeak-ng 1.51 spells out Assamese vowel signs by name; its Bengali voice reads them.
            name, spoken = "bn", text.replace("ৰ", "র").replace("ৱ", "ব")
        variant = ("+m3", "+f2")[speaker % 2]
        command = ["espeak-ng", "-v", name + variant, "-s", str(WORDS_PER_MINUTE), "--stdout", spoken]
        wave = subprocess.run(command, capture_output=True, check=True).stdout
        samples, rate = sf.read(io.BytesIO(wave), dtype="float64")
        if rate != VOICE_HZ:
            raise SystemExit(f"espeak-ng gave {rate} Hz for {name}, not {VOICE_HZ}")
        return trimmed(samples) * GAIN


def trimmed(samples: Samples) -> Samples:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return samples[loud[0] : loud[-1] + 1]


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * VOICE_HZ))


def hiss(seconds: float, dbfs: float) -> Samples:
    noise = np.random.default_rng(SEED).standard_normal(round(seconds * VOICE_HZ))
    return noise * 10 ** (dbfs / 20)


def joined(pieces: Iterable[Samples], pause_s: float) -> Samples:
    spaced = [part for piece in pieces for part in (silence(pause_s), piece)]
    return np.concatenate([*spaced[1:], silence(0)])


def without_pauses(samples: Samples, longest_s: float = 0.04) -> Samples:
    """Quiet stretches cut down to `longest_s`, so that no valley of 150 ms is left."""
    window = round(0.01 * VOICE_HZ)
    frames = samples[: len(samples) // window * window].reshape(-1, window)
    kept, quiet = [], 0
    for frame in frames:
        quiet = quiet + 1 if np.sqrt(np.mean(frame**2)) < 0.02 else 0
        if quiet * 0.01 <= longest_s:
            kept.append(frame)
    return np.concatenate(kept)


# ----------------------------------------------------------------------------- kinds of segments

Kind = Callable[[Voice, int, int], Samples]
"""(voice, speaker, index of a sentence) -> samples."""


def sentence(voice: Voice, speaker: int, index: int) -> Samples:
    return joined([silence(0.2), voice.say(voice.sentences[index], speaker), silence(0.2)], 0)


def short(voice: Voice, speaker: int, _index: int) -> Samples:
    """Under 2 s: polishing discards it."""
    return voice.say(voice.short, speaker)[: round(1.4 * VOICE_HZ)]


def dirty(voice: Voice, speaker: int, index: int) -> Samples:
    """The tail of another sentence, a pause, a sentence, a pause, the head of a third: trimming finds the pauses."""
    before = voice.say(voice.sentences[index - 1], speaker)[-round(0.35 * VOICE_HZ) :]
    after = voice.say(voice.sentences[index - 2], speaker)[: round(0.4 * VOICE_HZ)]
    return joined([before, voice.say(voice.sentences[index], speaker), after], 0.3)


def chopped(voice: Voice, speaker: int, index: int) -> Samples:
    """Cut inside words at both ends, with no pause to trim to."""
    whole = without_pauses(voice.say(voice.sentences[index], speaker))
    return whole[round(0.15 * VOICE_HZ) : -round(0.15 * VOICE_HZ)]


def long(voice: Voice, speaker: int, index: int) -> Samples:
    """Three sentences with pauses: over 10 s, to be split at a pause."""
    said = [voice.say(voice.sentences[(index + step) % 6], speaker) for step in range(3)]
    return joined([silence(0.2), *said, silence(0.2)], 0.4)


def unbroken(voice: Voice, speaker: int, _index: int) -> Samples:
    """Over 15 s without one pause: to be cut where it is quietest."""
    said = [voice.say(text.replace(",", ""), speaker) for text in voice.sentences]
    return without_pauses(np.concatenate(said))[: round(16.5 * VOICE_HZ)]


def nothing(_voice: Voice, _speaker: int, _index: int) -> Samples:
    return silence(3.0)


def hissing(_voice: Voice, _speaker: int, _index: int) -> Samples:
    return hiss(3.0, dbfs=-60)


def noisy(voice: Voice, speaker: int, index: int) -> Samples:
    speech = sentence(voice, speaker, index)
    return speech + hiss(len(speech) / VOICE_HZ, dbfs=-42)


# ----------------------------------------------------------------------------- archives


@dataclass(frozen=True, slots=True)
class Item:
    """One segment to make. A negative gap starts it before the segment before it has ended."""

    kind: Kind
    index: int = 0
    speaker: int = 0
    rate_hz: int = 16_000
    channels: int = 1
    subtype: str = "PCM_16"
    gap_cs: int = 20
    hears_other: bool = False  # its audio also holds the overlapping end of the segment before it


USUAL = (Item(sentence, 0), Item(short), Item(dirty, 3), Item(sentence, 2, speaker=1), Item(long, 3))

ARCHIVES: dict[str, tuple[Item, ...]] = {
    "as": (*USUAL[:3], Item(long, 3), Item(sentence, 2, speaker=1, rate_hz=44_100, channels=2)),
    "bn": (
        Item(sentence, 0),
        Item(sentence, 1, speaker=1, gap_cs=-120, hears_other=True),
        Item(sentence, 2),
        Item(sentence, 3, speaker=1, gap_cs=-90),
        Item(short, speaker=1),
        Item(long, 3),
    ),
    "gu": (*USUAL[1:], Item(sentence, 1, subtype="PCM_24")),
    "hi": (
        *USUAL,
        Item(nothing),
        Item(hissing, speaker=1),
        Item(chopped, 5),
        Item(sentence, 1, speaker=1, gap_cs=-80, hears_other=True),
    ),
    "kn": (*USUAL, Item(nothing)),
    "ml": (*USUAL[:3], Item(long, 3), Item(sentence, 4, speaker=1, rate_hz=48_000, channels=2)),
    "mr": (Item(sentence, 0), Item(short), Item(dirty, 3), Item(unbroken, speaker=1)),
    "or": (*USUAL, Item(hissing), Item(noisy, 4, speaker=1)),
    "pa": (Item(sentence, 0), Item(dirty, 3), Item(sentence, 2, speaker=1), Item(sentence, 4)),
    "ta": (*USUAL, Item(chopped, 1, speaker=1)),
    "te": (
        Item(sentence, 1, rate_hz=22_050),
        Item(short, rate_hz=22_050),
        Item(dirty, 4, rate_hz=22_050),
        Item(sentence, 2, speaker=1, rate_hz=22_050),
        Item(long, 1),
    ),
    "ur": (Item(sentence, 0), Item(sentence, 5, rate_hz=8_000), Item(short), Item(dirty, 3), Item(unbroken)),
}
METADATA_LAST = {"as", "or"}
METADATA_MISSING = {"kn"}
BAD_MEMBERS = {"pa"}


def encoded(samples: Samples, item: Item) -> bytes:
    """FLAC at the item's rate, channels and depth. The second channel is the first, a little softer."""
    resampled = soxr.resample(samples, VOICE_HZ, item.rate_hz, "HQ")
    clean = np.clip(resampled, -1, 1 - 2**-15)
    frames = np.stack([clean, clean * 0.8], axis=1) if item.channels == 2 else clean
    buffer = io.BytesIO()
    sf.write(buffer, frames, item.rate_hz, format="FLAC", subtype=item.subtype, compression_level=1.0)
    return buffer.getvalue()


def whole_centiseconds(samples: Samples) -> tuple[Samples, int]:
    """Padded with silence to a whole number of centiseconds: what the file's name will say."""
    length_cs = -(-len(samples) * 100 // VOICE_HZ)
    padding = -(-length_cs * VOICE_HZ // 100) - len(samples)
    return np.pad(samples, (0, padding)), length_cs


def segments(voice: Voice, items: Iterable[Item]) -> dict[str, bytes]:
    """Member name -> FLAC, on one consistent timeline."""
    members: dict[str, bytes] = {}
    end_cs, previous = 0, silence(0)
    for item in items:
        samples, length_cs = whole_centiseconds(item.kind(voice, item.speaker, item.index))
        start_cs = max(0, end_cs + item.gap_cs)
        if item.hears_other:
            shared = round(-item.gap_cs * VOICE_HZ / 100)
            samples = samples.copy()
            samples[:shared] += 0.7 * previous[-shared:]
        end_cs, previous = start_cs + length_cs, samples
        name = SegmentName(f"speaker{item.speaker}", start_cs, end_cs)
        members[f"segments/{name.stem}.flac"] = encoded(samples, item)
    return members


def bad_members(good: bytes) -> dict[str, bytes]:
    """What real archives also hold: a stray name, a file cut short, a text among the audio."""
    return {
        "segments/intro_music.flac": good,
        "segments/speaker1_90000_90400.flac": good[: len(good) // 3],
        "segments/notes.txt": b"re-check the second speaker\n",
    }


def metadata(language: str, voice: Voice) -> bytes:
    fields = {
        "video_id": f"{language}_sample",
        "language": language,
        "title": f"{LANGUAGES[language].name} sample",
        "source": "synthesised with espeak-ng",
        "sentences": [voice.short, *voice.sentences],
    }
    return (json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode()


def members_of(language: str, voice: Voice) -> dict[str, bytes]:
    members = segments(voice, ARCHIVES[language])
    if language in BAD_MEMBERS:
        members |= bad_members(next(iter(members.values())))
    described = {"metadata.json": metadata(language, voice)}
    if language in METADATA_MISSING:
        return members
    return members | described if language in METADATA_LAST else described | members


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.mtime, header.mode = len(data), MTIME_S, 0o644
            tar.addfile(header, io.BytesIO(data))


def main() -> None:
    said = tomllib.loads((HERE / "sentences.toml").read_text(encoding="utf-8"))
    for language in FIRST_CLASS:
        voice = Voice(language, said[language]["short"], tuple(said[language]["sentences"]))
        path = HERE / "tars" / f"{language}_sample.tar"
        members = members_of(language, voice)
        write_tar(path, members)
        print(f"{path.name}: {len(members)} members, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""Archives of speech for tests, load tests and benchmarks: made from the sample tars, as many as wanted.

Every segment is a different cut of real (synthesised) speech with pauses in it, so that polishing has something to
do and no two clips have the same digest. The same arguments give the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from lipika.archive import members
from lipika.audio.codec import Audio, decode, encode_flac, resample_for_model
from lipika.errors import SegmentError
from lipika.languages import FIRST_CLASS
from lipika.models import SegmentName

_RATE_HZ = 16_000
_PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """A corpus to make. `seconds` is the range of segment lengths; half of the segments lie below its middle. `first`
    is the number of the first archive: a later portion of a corpus begins where the one before ended. `clipped` is
    the share of segments with a sample at full scale, as every normalised recording has them."""

    videos: int
    segments: int
    seconds: tuple[float, float] = (3.0, 9.5)
    languages: Sequence[str] = FIRST_CLASS
    seed: int = 0
    first: int = 0
    clipped: float = 0.0


def make_corpus(folder: Path, plan: CorpusPlan, samples: Path) -> list[Path]:
    """Write `plan.videos` archives into `folder`; returns their paths in order. Existing ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    speech = {language: read_speech(samples / f"{language}_sample.tar") for language in plan.languages}
    paths = []
    for number in range(plan.first, plan.first + plan.videos):
        language = plan.languages[number % len(plan.languages)]
        path = folder / f"{language}_{number:05d}.tar"
        _write(path, language, number, speech[language], plan)
        paths.append(path)
    return paths


def read_speech(sample: Path) -> NDArray[np.int16]:
    """All usable audio of a sample archive in one piece: [n] int16 at 16 kHz."""
    pieces = []
    with sample.open("rb") as stream:
        for member in members.read_members(stream):
            if isinstance(member, members.Member) and member.kind is members.MemberKind.SEGMENT:
                try:
                    pieces.append(resample_for_model(decode(member.data)).samples.astype(np.int16))
                except SegmentError:
                    continue
    return np.concatenate([piece for piece in pieces if np.abs(piece).max() > 1000])


def _write(path: Path, language: str, number: int, speech: NDArray[np.int16], plan: CorpusPlan) -> None:
    chance = random.Random(f"{plan.seed} {number}")
    metadata = orjson.dumps({"video_id": path.stem, "language": language, "title": f"made up, {number}"})
    with path.open("wb") as file:
        file.write(
            members.member_header("metadata.json", len(metadata)) + metadata + members.padding(len(metadata))
        )
        for name, flac in _segments(speech, chance, plan):
            file.write(members.member_header(f"segments/{name.stem}.flac", len(flac)))
            file.write(flac + members.padding(len(flac)))
        file.write(members.END_OF_ARCHIVE)


def _segments(
    speech: NDArray[np.int16], chance: random.Random, plan: CorpusPlan
) -> Iterator[tuple[SegmentName, bytes]]:
    clock_cs = 0
    for number in range(plan.segments):
        seconds = chance.uniform(*plan.seconds)
        samples = _cut(speech, seconds, chance)
        if plan.clipped and chance.random() < plan.clipped:
            samples[len(samples) // 2] = 32767
        length_cs = round(len(samples) / _RATE_HZ * 100)
        name = SegmentName(f"speaker{number % 2}", clock_cs, clock_cs + length_cs)
        clock_cs += length_cs + 20
        yield name, encode_flac(Audio(samples, _RATE_HZ, 16))


def _cut(speech: NDArray[np.int16], seconds: float, chance: random.Random) -> NDArray[np.int16]:
    """A stretch of speech from anywhere, at a gain of its own, with short pauses around it."""
    pause = int(_PAUSE_S / 2 * _RATE_HZ)
    length = max(int(seconds * _RATE_HZ) - 2 * pause, _RATE_HZ)
    start = chance.randrange(len(speech))
    piece = np.take(speech, np.arange(start, start + length), mode="wrap") * chance.uniform(0.4, 0.95)
    silence = np.zeros(pause, np.int16)
    return np.concatenate([silence, piece.astype(np.int16), silence])

"""Judges of what the product packed: `flac -t`, libsndfile and ffmpeg, and the true samples where they are known."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from lipika.archive.tar import END_OF_ARCHIVE, member_header, padding
from world_audio import Right, Sound, Wave


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """One clip of a result tar."""

    name: str
    data: bytes
    document: dict[str, Any]


def stem_of(number: int, sound: Sound) -> str:
    start = number * 5_000
    return f"speaker{number % 3}_{start:05d}_{start + max(1, round(sound.seconds * 100)):05d}"


def write_video(path: Path, sounds: dict[str, bytes]) -> None:
    with path.open("wb") as file:
        for stem, data in sounds.items():
            file.write(member_header(f"segments/{stem}.flac", len(data)) + data + padding(len(data)))
        file.write(END_OF_ARCHIVE)


def refuse_constants(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def read_result(path: Path) -> tuple[dict[str, Any], list[Packed]]:
    """(metadata, clips) of a result tar, by Python's own readers."""
    with tarfile.open(path) as tar:
        files = {name: tar.extractfile(name) for name in tar.getnames()}
        members = {name: file.read() for name, file in files.items() if file is not None}
    metadata = json.loads(members.pop("metadata.json"), parse_constant=refuse_constants)
    clips = []
    for name, data in members.items():
        if name.startswith("segments/"):
            stem = Path(name).stem
            document = json.loads(members[f"transcriptions/{stem}.json"], parse_constant=refuse_constants)
            clips.append(Packed(stem, data, document))
    return metadata, clips


# ----------------------------------------------------------------------------- what the judges say


def flac_refuses(files: list[Path]) -> list[str]:
    """What the reference decoder has against any of them."""
    done = subprocess.run(["flac", "-t", "-s", "--", *map(str, files)], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if line.strip()] if done.returncode else []


def ffmpeg_counts(files: list[Path], folder: Path) -> Iterator[int]:
    """Samples that ffmpeg decodes of each."""
    for first in range(0, len(files), 20):
        some = files[first : first + 20]
        inputs = [word for file in some for word in ("-i", str(file))]
        outputs = []
        for number in range(len(some)):
            outputs += [
                "-map",
                f"{number}:a",
                "-f",
                "s32le",
                "-c:a",
                "pcm_s32le",
                str(folder / f"{number}.raw"),
            ]
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, *outputs], check=True)
        for number in range(len(some)):
            yield (folder / f"{number}.raw").stat().st_size // 4


def decoded(data: bytes) -> tuple[Wave, int] | None:
    """By libsndfile, whole or not at all: [n, channels] in -1..1, and the rate."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.frames < 1 << 40:
                return file.read(dtype="float64", always_2d=True), file.samplerate
            pieces = [
                file.read(0, dtype="float64", always_2d=True)
            ]  # it does not say how many samples there are
            while len(piece := file.read(1 << 16, dtype="float64", always_2d=True)):
                pieces.append(piece)
            return np.concatenate(pieces), file.samplerate
    except soundfile.SoundFileError:
        return None


def by_flac(data: bytes) -> Wave | None:
    """By the reference decoder, raw, as a WAV must know its length: [n, channels] in -1..1; None where it refuses.

    Depths that it does not write are ffmpeg's to read. The form is that of STREAMINFO, else mono of 16 bits.
    """
    channels, bits = 1, 16
    mark = data.find(b"fLaC")
    if mark >= 0 and data[mark + 4] & 0x7F == 0:
        packed = int.from_bytes(data[mark + 18 : mark + 26], "big")
        channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    flac = ["flac", "-d", "-s", "-c", "--force-raw-format", "--endian=little", "--sign=signed", "-"]
    ffmpeg = [
        "ffmpeg",
        "-v",
        "error",
        "-xerror",
        "-i",
        "pipe:0",
        "-f",
        "s32le",
        "-c:a",
        "pcm_s32le",
        "pipe:1",
    ]
    odd = bits % 8 != 0
    done = subprocess.run(ffmpeg if odd else flac, input=data, capture_output=True)
    width = 4 if odd else bits // 8
    if done.returncode or not done.stdout:
        return None
    wide = np.zeros((len(done.stdout) // width, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(done.stdout, np.uint8).reshape(-1, width)
    return wide.view("<i4").reshape(-1, channels) / float(1 << 31)


def lies_in(body: NDArray[np.float64], truth: Wave, near: int, step: float) -> bool:
    """Whether a clip's samples are those of a source from about `near` on: its mean, or one of its channels.

    Exactly, where the source's values are whole steps of the clip; half a step off for a mean, one for more bits.
    """
    truth = truth.clip(-1, 1 - step)
    coarse = next((bits for bits in (8, 12, 15, 16, 20, 24) if _holds(truth, 2.0 ** (1 - bits))), 0)
    exact = 1e-9 if coarse and 2.0 ** (1 - coarse) >= step else step
    candidates = [(truth[:, channel], exact) for channel in range(truth.shape[1])]
    if truth.shape[1] > 1:  # half a step of the source's own
        half = max(2.0 ** (1 - coarse), step) / 2 + 1e-9 if coarse else step
        candidates.append((truth.mean(axis=1), half))
    probe = min(len(body), 400)
    for whole, within in candidates:
        for start in sorted(range(max(0, near - 400), near + 400), key=lambda at: abs(at - near)):
            if (
                start + len(body) > len(whole)
                or np.abs(whole[start : start + probe] - body[:probe]).max() > within
            ):
                continue
            if np.abs(whole[start : start + len(body)] - body).max() <= within:
                return True
    return False


def _holds(truth: Wave, step: float) -> bool:
    return bool(np.all(truth / step == np.round(truth / step)))


def problems_of(out: Path, video: str, sounds: Mapping[str, Sound], work: Path) -> Iterator[str]:
    """What is wrong with one video's result; `work` is a folder for its clips."""
    metadata, clips = read_result(out / f"{video}_transcribed.tar")
    work = work / video
    work.mkdir()
    files = []
    for clip in clips:
        files.append(work / f"{clip.name}.flac")
        files[-1].write_bytes(clip.data)
    yield from (f"{video}: flac: {line}" for line in flac_refuses(files))
    counts = dict(zip((clip.name for clip in clips), ffmpeg_counts(files, work), strict=True))
    discards = {one["segment_file"]: one for one in metadata["transcription"]["discards"]}
    by_segment: dict[str, list[Packed]] = {}
    for clip in clips:
        by_segment.setdefault(clip.document["source_segment"], []).append(clip)
    for stem, sound in sounds.items():
        what = f"{video}/{stem} ({sound.what})"
        mine = by_segment.get(stem, [])
        if not mine and f"{stem}.flac" not in discards:
            yield f"{what}: neither clip nor discard"
        if mine and sound.right is Right.REFUSED:
            yield f"{what}: should have been refused"
        if not mine and sound.right is Right.READ and not _is_too_little(sound, discards.get(f"{stem}.flac")):
            yield f"{what}: should have been read"
        for clip in mine:
            yield from (f"{what}: {problem}" for problem in _clip_problems(clip, sound, counts[clip.name]))


def _is_too_little(sound: Sound, discard: dict[str, Any] | None) -> bool:
    """True for bursts that were read to their full length, of which too little was left between silences."""
    if discard is None or "bursts" not in sound.what or discard["reason"] != "trimmed_too_short":
        return False
    return str(discard["message"]).startswith(f"{sound.seconds:.2f} s long")


def _clip_problems(clip: Packed, sound: Sound, ffmpeg_count: int) -> Iterator[str]:
    read = decoded(clip.data)
    if read is None:
        yield "libsndfile refuses the clip"
        return
    samples, rate_hz = read
    if len(samples) != ffmpeg_count:
        yield f"{len(samples)} samples by libsndfile, {ffmpeg_count} by ffmpeg"
    truths = _references(sound.data) if sound.truth is None else [sound.truth]
    if not truths:
        yield "read, though no other decoder reads it"
        return
    if sound.rate_hz not in (0, rate_hz):
        if sound.right is Right.READ:
            yield f"at {rate_hz} Hz"
        return  # at a rate that FLAC holds, so that no sample is where it was
    pad = (rate_hz * 150 + 500) // 1000
    trim = clip.document["trim"]
    near = (trim["trimmed_start_ms"] - _start_ms(clip)) * rate_hz // 1000
    body = samples[pad : len(samples) - pad, 0]
    step = 2.0 ** (1 - soundfile_bits(clip.data))
    if not any(lies_in(body, truth, near, step) for truth in truths):
        yield "its samples are not those of the source"


def _start_ms(clip: Packed) -> int:
    return int(clip.document["source_segment"].split("_")[1]) * 10


def soundfile_bits(data: bytes) -> int:
    return {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[soundfile.info(io.BytesIO(data)).subtype]


def _references(data: bytes) -> list[Wave]:
    """What other decoders read, each whole."""
    read = decoded(data)
    found = [] if read is None else [read[0]]
    reference = by_flac(data) if read is None or data[:4] == b"fLaC" or data[:3] == b"ID3" else None
    found += [] if reference is None else [reference]
    return found

"""Real recordings with their true transcripts: what the checks make of them, and of a third of their words.

`python -m benchmarks.validation.recordings DIR` reads `samples/<code>/<name>.mp3` and `text_files/text_<code>` (on
each line a name, a tab and a text) as the RESPIN samples have them, from a folder or a bare git folder. Each is
polished as lipika does, also 30 and 40 dB quieter and in noise 15 dB below it. Nothing is kept. Exits with 1 if a
target is missed: none is taken for silence, no true transcript loses `asr`, and of no kind of copy over 5 % keep it
with 30 % of their words.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lipika.audio.codec import Audio, decode, encode_flac
from lipika.audio.polish import polish_segment
from lipika.languages import LANGUAGES
from lipika.llm.transcript import compose_unicode
from lipika.models import Answer, Clip, PolishedClip, SegmentName
from lipika.validation import validate

NEAREST = {"bh": "hi", "ch": "hi", "mg": "hi", "mt": "hi"}
"""Languages of RESPIN that lipika does not list, by the one whose letters they are written in."""

MOST_OPEN = 0.05
_NOISE_DB = -15.0


@dataclass(frozen=True, slots=True)
class Recording:
    """An MP3 with its true transcript; `listed`: its language is one of lipika's own."""

    name: str
    language: str
    listed: bool
    data: bytes
    text: str


def read_recordings(folder: Path) -> Iterator[Recording]:
    files = _list_files(folder)
    texts: dict[str, str] = {}
    for path in files:
        if path.startswith("text_files/"):
            lines = _read_file(folder, path).decode("utf-8", "replace").splitlines()
            for line in lines:
                name, _, text = line.partition("\t")
                texts[name] = text
    for path in files:
        place = PurePosixPath(path)
        if place.suffix == ".mp3" and place.stem in texts:
            code = place.parent.name
            language = NEAREST.get(code, code)
            text = compose_unicode(" ".join(texts[place.stem].split()))
            if language in LANGUAGES:
                yield Recording(place.stem, language, code in LANGUAGES, _read_file(folder, path), text)


def _list_files(folder: Path) -> list[str]:
    if (folder / "HEAD").exists():
        names = _git(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD").decode().split("\0")
        return [name for name in names if name]
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def _read_file(folder: Path, path: str) -> bytes:
    if (folder / "HEAD").exists():
        return _git(folder, "show", f"HEAD:{path}")
    return (folder / path).read_bytes()


def _git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True).stdout


def copies(data: bytes) -> Mapping[str, bytes]:
    """The recording as it is, quieter, and in noise: FLAC but for the first."""
    heard = decode(data)
    samples = heard.samples.astype(np.float64)
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    scale = float(2 ** (heard.bit_depth - 1))
    level = np.sqrt(np.mean(samples**2))
    noise = np.random.default_rng(1).normal(0, level * 10 ** (_NOISE_DB / 20), samples.shape)
    made = {
        "30 dB quieter": samples * 10 ** (-30 / 20),
        "40 dB quieter": samples * 10 ** (-40 / 20),
        "in noise": np.clip(samples + noise, -scale, scale - 1),
    }
    return {"as it is": data} | {
        name: encode_flac(Audio(np.round(each).astype(np.int16), heard.sample_rate_hz, 16))
        for name, each in made.items()
    }


def clip_of_recording(data: bytes) -> PolishedClip | None:
    """Its clip as lipika would send it; None where it is cut into several, or nothing is left."""
    polished = polish_segment(SegmentName("speaker0", 0, 3_000), data)
    return polished.clips[0] if len(polished.clips) == 1 else None


def main(arguments: Sequence[str]) -> int:
    counts: Counter[tuple[str, str]] = Counter()
    lost: list[str] = []
    for recording in read_recordings(Path(arguments[0])):
        for name, data in copies(recording.data).items():
            polished = clip_of_recording(data)
            if polished is None:
                counts[(name, "cut or gone")] += 1
                continue
            counts[(name, "heard")] += 1
            clip = polished.clip
            if polished.silent:
                counts[(name, "not asked")] += 1
                lost.append(f"{name} {recording.name}: taken for silence")
            whole = _judge(recording, clip, recording.text)
            if whole:
                counts[(name, "lost")] += 1
                lost.append(f"{name} {recording.name}: {', '.join(whole)}")
            words = recording.text.split()
            third = " ".join(words[: max(1, round(0.3 * len(words)))])
            counts[(name, "a third is open")] += not _judge(recording, clip, third)
            no_speech = validate(_answer("NO_SPEECH", "none"), clip, recording.language)
            counts[(name, "NO_SPEECH is doubted")] += any(
                found.code == "no_speech_energy" for found in no_speech.findings
            )
    return _report(counts, lost)


def _judge(recording: Recording, clip: Clip, text: str) -> tuple[str, ...]:
    """The reasons against `asr`."""
    return validate(_answer(text, recording.language), clip, recording.language).asr.reasons


def _answer(text: str, language: str) -> Answer:
    return Answer(text, text, language, "neutral", "conversational", "moderate", "unknown")


def _report(counts: Counter[tuple[str, str]], lost: Sequence[str]) -> int:
    columns = ("heard", "cut or gone", "not asked", "lost", "a third is open", "NO_SPEECH is doubted")
    print(f"{'recordings':<16}" + "".join(f"{column:>22}" for column in columns))
    for name in dict.fromkeys(name for name, _ in counts):
        print(f"{name:<16}" + "".join(f"{counts[(name, column)]:>22}" for column in columns))
    print(*lost, sep="\n")
    names = {name for name, _ in counts}
    open_third = any(
        counts[(name, "a third is open")] > MOST_OPEN * counts[(name, "heard")] for name in names
    )
    return int(bool(lost) or open_third)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

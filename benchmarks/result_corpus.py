"""Result archives as a run leaves them, as many as wanted and quickly made: for what reads them in large numbers.

Each clip has a text, times and digests of its own; its audio is one of a stock. The same arguments give the same
bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import orjson

from lipika.archive.documents import clip_result_to_json
from lipika.archive.spool import Spool
from lipika.archive.video_documents import Summary, result_metadata
from lipika.audio.codec import Audio, encode_flac
from lipika.audio.flac import StreamInfo
from lipika.languages import FIRST_CLASS
from lipika.models import (
    Accounting,
    Answer,
    AudioFacts,
    Clip,
    ClipResult,
    ClipStatus,
    JsonObject,
    Provenance,
    SegmentName,
    Usage,
)
from lipika.simulator.sentences import speak
from lipika.validation import validate

_RATE_HZ = 16_000
_CHARS = 60  # of a text
_GAP_CS = 20


@dataclass(frozen=True, slots=True)
class ResultCorpus:
    """A corpus to make. `stock` is FLAC, which clips take in turn; `clips` are those of each video."""

    videos: int
    clips: int
    stock: Sequence[bytes]
    languages: Sequence[str] = FIRST_CLASS

    def write(self, folder: Path) -> Path:
        """Write `<language>_<number>_transcribed.tar` into `folder`, a thousand to a folder of its own."""
        sounds = cycle(self.stock)
        for number in range(self.videos):
            language = self.languages[number % len(self.languages)]
            path = folder / f"{number // 1000:04d}" / f"{language}_{number:07d}_transcribed.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio = [next(sounds) for _ in range(self.clips)]
            _write(path, f"{language}_{number:07d}", language, number * self.clips, audio)
        return folder


def tiny_stock(count: int = 256, seconds: float = 0.25) -> list[bytes]:
    """FLAC files of 1 to 2 KB, each a different one: faint noise, which takes few bits."""
    chance = np.random.default_rng(0)
    samples = chance.integers(-3, 4, (count, round(seconds * _RATE_HZ)), np.int16)
    return [
        encode_flac(Audio(one[: len(one) - place % 97], _RATE_HZ, 16)) for place, one in enumerate(samples)
    ]


def _write(path: Path, video_id: str, language: str, first: int, audio: Sequence[bytes]) -> None:
    summary, accounting = Summary(), Accounting()
    with Spool(path.parent) as spool:
        clock_cs = 0
        for number, flac in enumerate(audio, first):
            length_cs = round(_frames(flac) * 100 / _RATE_HZ)
            name = SegmentName(f"speaker{number % 2}", clock_cs, clock_cs + length_cs)
            clock_cs += length_cs + _GAP_CS
            spool.add_clip(name.stem, flac)
            spool.add_result(name.stem, _document(video_id, language, name, number))
            summary.add(_template(language))
            accounting.add_polished(1, ())
            accounting.end(ClipStatus.TRANSCRIBED)
        metadata = result_metadata({}, video_id, language, accounting, [], summary)
        with path.open("wb") as file:
            file.writelines(spool.compose(metadata).chunks())


def _frames(flac: bytes) -> int:
    info = StreamInfo.read(flac)
    assert info is not None
    return info.frames


_made: dict[str, tuple[ClipResult, JsonObject]] = {}


def _template(language: str) -> ClipResult:
    return _of(language)[0]


def _of(language: str) -> tuple[ClipResult, JsonObject]:
    if language not in _made:
        result = _result(language)
        _made[language] = result, orjson.loads(clip_result_to_json(result))
    return _made[language]


def _document(video_id: str, language: str, name: SegmentName, number: int) -> bytes:
    """A clip's document, made of its language's template: a thousandth of the time that judging an answer takes."""
    document = _of(language)[1]
    text = f"{document['transcription']} {number}"
    digest = hashlib.sha256(f"{video_id} {number}".encode()).hexdigest()
    times = {
        key: at
        for before in ("original", "trimmed")
        for key, at in ((f"{before}_start_ms", name.start_ms), (f"{before}_end_ms", name.end_ms))
    }
    changed = {
        "video_id": video_id,
        "segment_file": f"{name.stem}.flac",
        "source_segment": name.stem,
        "transcription": text,
        "tagged": text,
        "speaker": {**_part(document, "speaker"), "id": name.speaker},
        "trim": {**_part(document, "trim"), **times, "duration_ms": name.end_ms - name.start_ms},
        "audio": {**_part(document, "audio"), "digest": digest},
    }
    return orjson.dumps({**document, **changed}, option=orjson.OPT_APPEND_NEWLINE)


def _part(document: JsonObject, name: str) -> dict[str, object]:
    part = document[name]
    assert isinstance(part, dict)
    return part


def _result(language: str) -> ClipResult:
    """A clip of five seconds, really judged."""
    name = SegmentName("speaker0", 0, 500)
    facts = AudioFacts(
        speech_ms=4_000, rms_dbfs=-22.0, peak_dbfs=-3.0, snr_db=35.0, clipped_share=0.0, bandwidth_hz=8000
    )
    clip = Clip(
        name=name,
        segment=name,
        original_start_ms=0,
        original_end_ms=5_000,
        trimmed_start_ms=0,
        trimmed_end_ms=5_000,
        leading_pad_ms=0,
        trailing_pad_ms=0,
        duration_ms=5_000,
        sample_rate_hz=_RATE_HZ,
        bit_depth=16,
        boundary_score=1.0,
        flags=(),
        audio=facts,
        audio_digest="0" * 64,
        trimmer_version="1",
    )
    text = speak(language, _CHARS, random.Random(language))
    answer = Answer(text, text, language, "neutral", "news", "moderate", "unknown")
    verdict = validate(answer, clip, language)
    return ClipResult(
        video_id="",
        clip=clip,
        language_hint=language,
        status=ClipStatus.TRANSCRIBED,
        answer=answer,
        verdict=verdict,
        failure=None,
        usage=Usage(prompt=700, output=90),
        cost_usd=0.0005,
        provenance=Provenance(
            "aistudio", "gemini-3-flash-preview", "made up", "1", "1", 0.0, "low", "w", "b", 1, 900
        ),
    )


def paths(folder: Path) -> Iterator[Path]:
    """The archives of a corpus, in order."""
    yield from sorted(folder.rglob("*_transcribed.tar"))

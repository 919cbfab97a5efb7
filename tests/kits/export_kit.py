"""A small corpus of results to export: real audio at odd rates, ids with dots, languages, speakers, closed lanes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from typer.testing import CliRunner, Result

from foreign_audio import voice, written
from lipika.archive.documents import clip_result_to_json
from lipika.archive.spool import Spool
from lipika.archive.video_documents import Summary, result_metadata
from lipika.audio.flac import StreamInfo
from lipika.cli import main
from lipika.models import Accounting, ClipResult, ClipStatus, JsonObject, SegmentName
from lipika.validation import validate
from stored_kit import made
from verdict_kit import answer

RATES = (16_000, 8_000, 48_000, 11_025, 44_100)
SENTENCES = {
    "hi": "यह वाक्य संख्या {} है और इसे हर कोई ध्यान से पढ़ता है।",
    "ta": "இது {} ஆவது வாக்கியம், இதை அனைவரும் கவனமாக படிக்கிறார்கள்.",
    "ur": "یہ جملہ نمبر {} ہے اور اسے سب غور سے پڑھتے ہیں۔",
}


def export_here(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
    """`lipika export` in this process: starting another takes two seconds, and doing the work a tenth of one."""
    keys = {"DATABASE_URL": None, **(env or {})}
    return CliRunner(env=keys).invoke(main.app, ["export", *map(str, arguments)])


def corpus(folder: Path, videos: int = 6, clips: int = 5) -> Path:
    """Result archives `video.<n>_transcribed.tar`; every fifth clip has no speech, and one video has one clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in range(videos):
        count = 1 if video == 1 else clips
        write_results(folder / f"video.{video}_transcribed.tar", list(results(video, count)))
    return folder


def results(video: int, clips: int) -> Iterator[tuple[ClipResult, bytes]]:
    language = list(SENTENCES)[video % len(SENTENCES)]
    for number in range(clips):
        yield result(f"video.{video}", video * 1_000 + number, language, RATES[(video + number) % len(RATES)])


def result(video_id: str, number: int, language: str, rate: int) -> tuple[ClipResult, bytes]:
    """A clip and its FLAC, of 3 s and a few samples."""
    audio = sound(number, rate)
    info = StreamInfo.read(audio)
    assert info is not None
    clip = replace(
        made(number, duration_ms=3_000, video_id=video_id).clip,
        name=SegmentName(f"speaker{number % 2}", number * 400, number * 400 + 300),
        sample_rate_hz=rate,
        duration_ms=round(info.frames * 1000 / rate),
        audio_digest=hashlib.sha256(audio).hexdigest(),
    )
    silent = number % 5 == 4
    said = replace(
        answer("NO_SPEECH" if silent else SENTENCES[language].format(number)),
        detected_language="none" if silent else language,
    )
    status = ClipStatus.NO_SPEECH if silent else ClipStatus.TRANSCRIBED
    verdict = validate(said, clip, language)
    return replace(
        made(number, video_id=video_id),
        clip=clip,
        language_hint=language,
        answer=said,
        verdict=verdict,
        status=status,
    ), audio


@cache
def sound(number: int, rate: int) -> bytes:
    return written(voice(4, rate, seed=number)[: 3 * rate + number % 97], rate, "FLAC")


def write_results(
    path: Path, found: list[tuple[ClipResult, bytes]], packed: JsonObject | None = None
) -> Path:
    """A result archive, as a run writes it; of what was `packed` with the words of its owner by segment."""
    summary, accounting = Summary(), Accounting()
    for one, _ in found:
        summary.add(one)
        accounting.segments += 1
        accounting.segments_polished += 1
        accounting.clips += 1
        accounting.end(one.status)
    with Spool(path.parent) as spool:
        for one, audio in found:
            spool.add_clip(one.clip.name.stem, audio)
            spool.add_result(one.clip.name.stem, clip_result_to_json(one))
        own = {"packed": {"source": "/mine", "kind": "list", "segments": packed}} if packed else {}
        metadata = result_metadata(
            own, found[0][0].video_id, found[0][0].language_hint, accounting, [], summary
        )
        path.write_bytes(b"".join(spool.compose(metadata).chunks()))
    return path

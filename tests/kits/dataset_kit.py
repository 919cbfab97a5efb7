"""Planned clips with real audio, and shards of them as a format writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from foreign_audio import voice, written
from lipika.audio.flac import StreamInfo
from lipika.dataset.formats.base import Format, Reader
from lipika.dataset.model import AudioForm, Defect, PlanRow, ReadBack, Shard, Utterance

SHARD = Shard("hi", "train", 0, 1)

ROW = PlanRow(
    id="video_1-0001",
    video_id="video.1",
    clip="speaker0_0_800",
    job=0,
    language="hi",
    split="train",
    shard=0,
    text="नमस्ते दुनिया",
    verbatim="नमस्ते, दुनिया!",
    tagged="नमस्ते [laugh] दुनिया",
    detected_language="hi",
    language_hint="hi",
    speaker="video_1-speaker0",
    duration_ms=2_000,
    start_ms=8_250,
    end_ms=10_250,
    quality_score=0.875,
    lanes="asr tts_expressive",
    findings="short_pause",
    flags="",
    tier="gold",
    snr_db=31.5,
    speech_ms=1_700,
    bandwidth_hz=None,
    alignment_score=None,
    emotion="happy",
    style="conversational",
    pace="normal",
    accent="Awadhi",
    model="gemini-3-flash-preview",
    provider="aistudio",
    prompt_version="4",
    validator_version="7",
    text_source="model",
    audio_digest="0" * 64,
    skip="",
)


def utterance(number: int, seconds: float = 2, rate: int = 16_000, shard: Shard = SHARD) -> Utterance:
    """A clip of noise of its own. Its length is odd, so that no rounding of seconds tells it."""
    samples = voice(seconds + 1, rate, seed=number)[: round(seconds * rate) + number]
    audio = written(samples, rate, "FLAC")
    info = StreamInfo.read(audio)
    assert info is not None
    row = replace(
        ROW,
        id=f"video_1-{number:04d}",
        clip=f"speaker0_{number * 800}_{number * 800 + 200}",
        language=shard.language,
        split=shard.split,
        shard=shard.number,
        text=f"{ROW.text} {number}",
        bandwidth_hz=7_800 if number % 2 else None,
    )
    return Utterance(row, audio, AudioForm.FLAC, info.sample_rate_hz, info.frames)


def write_shard(
    written_by: Format, utterances: Iterable[Utterance], folder: Path, shard: Shard = SHARD
) -> None:
    writer = written_by.open(shard, folder)
    for each in utterances:
        writer.add(each)
    writer.finish()


class Folder:
    """A tree of files on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, path: str) -> Reader:
        return (self.root / path).open("rb")

    def paths(self) -> list[str]:
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()
        )


def read_back(written_by: Format, root: Path, *, listen: bool = True) -> tuple[list[ReadBack], list[Defect]]:
    """All clips below a folder, and what is wrong there."""
    tree, defects = Folder(root), list[Defect]()
    portions = list(written_by.portions(tree.paths(), defects))
    clips = [clip for portion in portions for clip in written_by.read(tree, portion, defects, listen=listen)]
    return clips, defects

"""Candidates made up to be planned, and their plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lipika.dataset.candidates import SCHEMA
from lipika.dataset.plan import DROPPED, PLAN, CandidateFile, PlanOptions, PlanReport, make_plan
from lipika.dataset.selection import Selection
from lipika.dataset.splits import Split
from lipika.dataset.user_files import UserFiles
from lipika.dataset.wanted import TEXT_FIELDS

Row = dict[str, Any]
THREE = (Split("train", 0.6), Split("dev", 0.2), Split("test", 0.2))


def candidate(number: int, video: str = "v1", **changes: object) -> Row:
    """One transcribed clip of Hindi with a sentence and a sound of its own."""
    clip = f"speaker0_{number * 800:05d}_{number * 800 + 500:05d}"
    row: Row = dict.fromkeys([*SCHEMA.names, *(field.name for field in TEXT_FIELDS)])
    row |= {
        "video_id": video,
        "clip": clip,
        "archive": f"/results/{video}_transcribed.tar",
        "bytes": 90_000,
        "status": "transcribed",
        "transcription": f"वाक्य {video} {number}",
        "tagged": "",
        "detected_language": "hi",
        "speaker_id": "speaker0",
        "quality_score": 0.9,
        "asr": True,
        "tts_clean": False,
        "tts_expressive": False,
        "findings": "",
        "flags": "",
        "start_ms": number * 8_000,
        "end_ms": number * 8_000 + 5_000,
        "duration_ms": 5_300,
        "snr_db": 30.0,
        "audio_digest": f"{video}{number}",
        "provider": "aistudio",
        "model_id": "m",
        "model_version": "m-1",
        "prompt_version": "p1",
        "text_source": "model",
        "language": "hi",
        "text_drop": "",
        "text_changes": "",
    }
    row |= changes
    if "text" not in changes:
        row["text"] = row["transcription"]
    return row


def corpus(videos: int, clips: int = 5, **changes: object) -> list[Row]:
    return [candidate(number, f"v{video}", **changes) for video in range(videos) for number in range(clips)]


OPTIONS = PlanOptions(selection=Selection(), format="nemo", view={"view": "verbatim"})


def plan(
    folder: Path,
    rows: list[Row],
    options: PlanOptions = OPTIONS,
    user: UserFiles | None = None,
    threads: int = 2,
) -> tuple[PlanReport, list[Row]]:
    """Plan these candidates; the report, and the planned clips in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    held = CandidateFile(folder / "candidates.parquet")
    held.add(pa.Table.from_pylist(rows, pa.schema([*SCHEMA, *TEXT_FIELDS])))
    held.close()
    report = make_plan(held.path, folder, options, user or UserFiles(), threads=threads)
    return report, pq.read_table(folder / PLAN).to_pylist()


def dropped(folder: Path) -> dict[tuple[str, str], str]:
    rows = pq.read_table(folder / DROPPED).to_pylist()
    return {(row["video_id"], row["clip"]): row["reason"] for row in rows}

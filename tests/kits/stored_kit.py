"""Stored results to judge again: made by hand, read back member by member, aged as an older validator left them."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import typer
from typer.testing import CliRunner, Result

from lipika.archive.documents import clip_result_to_json
from lipika.archive.spool import Spool
from lipika.archive.video_documents import Summary, result_metadata
from lipika.cli import validation
from lipika.models import Accounting, ClipResult, ClipStatus, Provenance, SegmentName, Usage
from lipika.validation import validate
from verdict_kit import HINDI, answer, clip

Members = dict[str, bytes]
Document = dict[str, Any]


def command(*arguments: str) -> Result:
    """Run a command in this process; what it raises is in `exception`."""
    app = typer.Typer()
    validation.add_to(app, _run)
    return CliRunner().invoke(app, arguments, env={"LIPIKA_DATA_DIR": "no-such-folder"})


def _run(job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(job())


def told(*arguments: str) -> Document:
    """What a command says with --json; it must have succeeded."""
    result = command(*arguments, "--json")
    if result.exception is not None:
        raise AssertionError(result.output) from result.exception
    document: Document = orjson.loads(result.stdout)
    return document


# ----------------------------------------------------------------------------- results made by hand


def made(number: int, *, text: str = HINDI, duration_ms: int = 5_000, video_id: str = "v") -> ClipResult:
    """One transcribed clip of Hindi; every clip has a place of its own in the video."""
    start = number * 1_000
    name = SegmentName("speaker0", start, start + duration_ms // 10)
    heard = replace(clip(duration_ms), name=name, segment=name, audio_digest=f"{number:064x}")
    said = answer(text)
    return ClipResult(
        video_id=video_id,
        clip=heard,
        language_hint="hi",
        status=ClipStatus.TRANSCRIBED,
        answer=said,
        verdict=validate(said, heard, "hi"),
        failure=None,
        usage=Usage(prompt=700, output=90),
        cost_usd=0.0005,
        provenance=Provenance("aistudio", "m", "m-1", "p1", "s1", 0.0, "low", "w1", "b1", 1, 900),
    )


def write_archive(path: Path, results: list[ClipResult], own: Document | None = None) -> Path:
    """A result archive of these clips, with a few bytes for their audio. `own` is the video's own metadata."""
    summary, accounting = Summary(), Accounting()
    for result in results:
        summary.add(result)
        accounting.segments += 1
        accounting.segments_polished += 1
        accounting.clips += 1
        accounting.end(result.status)
    with Spool(path.parent) as spool:
        for result in results:
            spool.add_clip(result.clip.name.stem, b"fLaC" + result.segment_file.encode())
            spool.add_result(result.clip.name.stem, clip_result_to_json(result))
        metadata = result_metadata(own or {}, results[0].video_id, "hi", accounting, [], summary)
        path.write_bytes(b"".join(spool.compose(metadata).chunks()))
    return path


# ----------------------------------------------------------------------------- archives, member by member


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def documents(path: Path) -> list[Document]:
    return [orjson.loads(data) for name, data in members(path).items() if name.startswith("transcriptions/")]


def metadata(path: Path) -> Document:
    document: Document = orjson.loads(members(path)["metadata.json"])
    return document


def rewrite(path: Path, change: Callable[[Members], None]) -> None:
    """Change an archive's members in place."""
    held = members(path)
    change(held)
    with Spool(path.parent) as spool:
        for name, data in held.items():
            if name.startswith("segments/"):
                spool.add_clip(Path(name).stem, data)
        for name, data in held.items():
            if name.startswith("transcriptions/"):
                spool.add_result(Path(name).stem, data)
        path.write_bytes(b"".join(spool.compose(held["metadata.json"]).chunks()))


def age(path: Path, version: str = "1") -> None:
    """Leave an archive as an older validator would have: no lane open, one odd finding everywhere, low scores."""

    def older(held: Members) -> None:
        for name, data in held.items():
            document = orjson.loads(data) if name.endswith(".json") else {}
            if name == "metadata.json":
                block = document["transcription"]
                block["versions"]["validator"] = {version: block["clips"]}
                block["quality_score"] = None
                block["findings"] = {"strange:warn": block["clips"]}
                held[name] = _dump(document, orjson.OPT_INDENT_2)
            elif document.get("lanes"):
                document["checks"]["validator_version"] = version
                document["quality_score"] = 0.25
                document["findings"] = [
                    {"code": "strange", "severity": "warn", "evidence": "-", "span": None}
                ]
                shut = {"eligible": False, "reasons": ["strange"]}
                document["lanes"] = dict.fromkeys(document["lanes"], shut)
                held[name] = _dump(document)

    rewrite(path, older)


def _dump(document: Document, option: int = 0) -> bytes:
    return orjson.dumps(document, option=option | orjson.OPT_APPEND_NEWLINE)

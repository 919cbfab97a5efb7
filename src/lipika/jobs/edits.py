"""The work of `lipika edits` and `lipika repack`: settings in, people's words saved, sent out and taken in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lipika.config import Settings, load_settings
from lipika.db.connection import Database
from lipika.db.edits import ClipFilter, EditableClip, EditTable
from lipika.errors import UsageError
from lipika.people.edits import Conflict, Edits
from lipika.people.exchange import (
    Received,
    ReceivedClip,
    SentClip,
    Unreadable,
    read_table,
    read_tasks,
    seal,
)
from lipika.people.rules import Edit, accept, call_unusable, edit_text, shown_text
from lipika.rework.limits import find_bands
from lipika.rework.repack import RepackPlan, RepackReport, repack
from lipika.services import open_database, store_settings
from lipika.validation.person import reason_of

T = TypeVar("T")
_LARGEST_FILE = 1 << 30


@asynccontextmanager
async def open_edits(data_dir: Path | None) -> AsyncIterator[tuple[Settings, Database, Edits]]:
    """People's edits in the database that the settings name, or in the embedded one."""
    settings = load_settings(lipika_data_dir=data_dir)
    async with open_database(settings) as database:
        yield settings, database, Edits(database, await find_bands(settings, database))


async def on_edits(data_dir: Path | None, work: Callable[[Edits], Coroutine[Any, Any, T]]) -> T:
    """Do some work on people's edits."""
    async with open_edits(data_dir) as (_, _, edits):
        return await work(edits)


# ----------------------------------------------------------------------------- out


def send_clip(clip: EditableClip) -> SentClip:
    """A clip as it goes out to people."""
    return seal(
        SentClip(
            video_id=clip.video_id,
            segment_file=clip.segment_file,
            version=clip.version,
            language=clip.detected_language or clip.language_hint,
            text=shown_text(clip.transcription, clip.tagged),
            original=shown_text(clip.model_transcription, clip.model_tagged),
            status=clip.status,
            findings=" ".join(sorted({found.code for found in clip.old_findings()})),
            duration_s=f"{clip.duration_ms / 1000:.2f}",
            audio_digest=clip.audio_digest,
        )
    )


async def send_clips(data_dir: Path | None, wanted: ClipFilter, limit: int) -> list[SentClip]:
    """Clips of a selection, by video and file name."""
    async with open_edits(data_dir) as (_, database, _):
        return [send_clip(clip) async for clip in EditTable(database).select(wanted, limit)]


# ----------------------------------------------------------------------------- in


@dataclass(slots=True)
class ImportReport:
    """What came in. Every row is counted once: `saved`, `unchanged`, `untouched` or a problem."""

    dry_run: bool
    rows: int = 0
    saved: int = 0
    unchanged: int = 0  # the clip says so already
    untouched: int = 0  # nobody has changed anything in the row
    problems: list[Unreadable] = field(default_factory=list)


def read_file(path: Path) -> list[Received]:
    """The rows of a file: JSON of Label Studio, or a table. Raises UsageError: it is neither."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path}: it is larger than {_LARGEST_FILE >> 20:,} MB: import it in parts")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}") from None
    try:
        if content.lstrip()[:1] in (b"[", b"{"):
            return list(read_tasks(content))
        return list(read_table(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8; save it as 'CSV UTF-8'") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


async def take_in(data_dir: Path | None, rows: Sequence[Received], by: str, *, dry_run: bool) -> ImportReport:
    """Save what people have changed. A row that cannot be saved costs itself alone; again, all changes nothing."""
    report = ImportReport(dry_run, rows=len(rows))
    report.problems += [row for row in rows if isinstance(row, Unreadable)]
    async with open_edits(data_dir) as (_, _, edits):
        for row in _drop_doubles(rows, report):
            try:
                problem = await _take_row(edits, row.clip, by, report)
            except UsageError as error:
                problem = str(error)
            if problem:
                report.problems.append(Unreadable(row.place, problem))
    return report


def _drop_doubles(rows: Iterable[Received], report: ImportReport) -> list[ReceivedClip]:
    """One row for each clip: of several that say the same the first, of several that differ none."""
    of_clip: dict[tuple[str, str], list[ReceivedClip]] = {}
    for row in rows:
        if isinstance(row, ReceivedClip):
            of_clip.setdefault((row.clip.video_id, row.clip.segment_file), []).append(row)
    kept = []
    for same in of_clip.values():
        first = same[0]
        if all(replace(row.clip, note="") == replace(first.clip, note="") for row in same):
            kept.append(first)
            report.unchanged += len(same) - 1
        else:
            places = " and ".join(row.place for row in same)
            report.problems += [
                Unreadable(row.place, f"{places} are of one clip and differ: keep one") for row in same
            ]
    return kept


async def _take_row(edits: Edits, sent: SentClip, by: str, report: ImportReport) -> str:
    """Save one row; returns why it cannot be."""
    if sent.untouched or not (sent.text.strip() or sent.action):
        report.untouched += 1
        return ""
    edit = _edit_of(sent)
    now = await edits.clip(sent.video_id, sent.segment_file)
    if _says_so(now, edit, sent):
        report.unchanged += 1
        return ""
    if sent.version and sent.version != now.version:
        since = f"by {now.edited_by} at {now.changed_at:%Y-%m-%d %H:%M}" if now.changed_at else "by a model"
        return f"the clip was changed {since} since it was exported: export it again and compare"
    if not report.dry_run:
        outcome = await edits.save_edit(
            sent.video_id, sent.segment_file, sent.version or now.version, edit, by
        )
        if isinstance(outcome, Conflict):
            return str(outcome)
    report.saved += 1
    return ""


def _edit_of(sent: SentClip) -> Edit:
    if sent.action == "unusable":
        return call_unusable(sent.reason, sent.note)
    if sent.action == "accept" and (not sent.text.strip() or replace(sent, action="", note="").untouched):
        return accept(sent.note)
    return edit_text(sent.text, language=sent.language if sent.language != "none" else "", note=sent.note)


def _says_so(now: EditableClip, edit: Edit, sent: SentClip) -> bool:
    """True if the clip stands as the row would have it."""
    reason = reason_of(now.old_findings())
    if edit.kind == "unusable":
        return reason == call_unusable(edit.reason).reason[:160]
    if reason is not None:
        return False
    if edit.kind == "accepted":
        return now.edit_id is not None
    same = edit_text(edit.text).text == " ".join(shown_text(now.transcription, now.tagged).split())
    language = not edit.language or edit.language == now.detected_language or not sent.language
    return same and language and (now.edit_id is not None or sent.action != "accept")


# ----------------------------------------------------------------------------- archives


async def repack_archives(data_dir: Path | None, videos: Sequence[str], *, dry_run: bool) -> RepackReport:
    """Rewrite result archives that lack what people have said."""
    report = RepackReport(dry_run)
    async with open_edits(data_dir) as (settings, database, _):
        plan = RepackPlan(
            store_settings(settings), settings.output_url, settings.spool_dir, dry_run, videos or None
        )
        async for one in repack(database, plan):
            report.archives.append(one)
    return report

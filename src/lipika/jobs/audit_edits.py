"""Corrections that people made in an audit, put into the corpus as their edits."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from lipika.db.audits import AuditJudgement, AuditRecord, Audits, HeardClip
from lipika.db.edits import EditableClip
from lipika.errors import UsageError
from lipika.jobs.audit import find_audit_record
from lipika.jobs.edits import open_edits
from lipika.people.edits import Conflict, Edits
from lipika.people.rules import Edit, call_unusable, edit_text

_REASON = "unusable, by ear in an audit"


@dataclass(slots=True)
class AppliedCorrections:
    """What became of the corrections of an audit: clips."""

    audit: int
    corrected: int = 0
    unusable: int = 0
    already: int = 0  # the text stands as it was corrected
    changed_since: int = 0  # by somebody, or a model, after the draw: left as they are
    with_events: int = 0  # whose tags a correction without any would lose: left as they are
    gone: int = 0

    def document(self) -> dict[str, int]:
        return asdict(self)


async def apply_corrections(
    audit_id: int | None, data_dir: Path | None, *, dry_run: bool = False
) -> AppliedCorrections:
    """Save what people corrected or found unusable as their edits; again, nothing changes.

    Of two judgements of a clip the first counts, as in the report.
    """
    async with open_edits(data_dir) as (_, database, edits):
        audits = Audits(database)
        audit = await find_audit_record(audits, audit_id)
        done = AppliedCorrections(audit.id)
        for clip in await audits.clips(audit.id):
            if clip.judgements and (not clip.judgements[0].usable or clip.judgements[0].text is not None):
                await _apply(audit, clip, clip.judgements[0], edits, done, dry_run=dry_run)
    return done


async def _apply(
    audit: AuditRecord,
    clip: HeardClip,
    judgement: AuditJudgement,
    edits: Edits,
    done: AppliedCorrections,
    *,
    dry_run: bool,
) -> None:
    try:
        row = await edits.clip(clip.video_id, clip.segment_file)
    except UsageError:
        done.gone += 1
        return
    if _stands(row, judgement):
        done.already += 1
    elif row.transcription != clip.transcription or row.edit_id is not None:
        done.changed_since += 1
    elif judgement.usable and row.tagged not in (None, row.transcription):
        done.with_events += 1
    else:
        edit = edit_text(judgement.text or "") if judgement.usable else call_unusable(_REASON)
        if not dry_run and isinstance(await _save(audit, clip, judgement, row, edits, edit), Conflict):
            done.changed_since += 1
        elif judgement.usable:
            done.corrected += 1
        else:
            done.unusable += 1


def _stands(row: EditableClip, judgement: AuditJudgement) -> bool:
    if judgement.usable:
        return row.transcription == judgement.text
    return row.edit_id is not None and any(found.code == "unusable" for found in row.old_findings())


async def _save(
    audit: AuditRecord,
    clip: HeardClip,
    judgement: AuditJudgement,
    row: EditableClip,
    edits: Edits,
    edit: Edit,
) -> object:
    said = hashlib.sha256(f"{judgement.usable} {judgement.text}".encode()).hexdigest()[:16]
    request = f"audit-{audit.id}-{clip.place}-{judgement.reviewer}-{said}"
    return await edits.save_edit(
        clip.video_id, clip.segment_file, row.version, edit, judgement.reviewer, request=request
    )

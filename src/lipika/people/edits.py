"""People's edits of clips: saved against the version that they had before them, undone, redone, shown."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.edits import EditableClip, EditEntry, EditOutcome, EditTable, word_columns
from lipika.errors import UsageError
from lipika.models import Answer, ClipStatus, Finding
from lipika.people.rules import (
    Edit,
    EditKind,
    PastEdit,
    StandingText,
    Word,
    answer_then,
    decide_word,
    find_standing,
    find_undone,
    repeat_edit,
)
from lipika.validation import DEFAULT_BANDS, Bands
from lipika.validation.catalogue import finding

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Saved:
    """An edit that stands, with what the clip is then."""

    edit_id: int
    version: str
    findings: tuple[Finding, ...]
    lanes: tuple[str, ...]  # open
    by_model: bool = False  # nobody's word stands any more


@dataclass(frozen=True, slots=True)
class Conflict:
    """An edit that is in the history and does not stand: the clip has changed since it was looked at."""

    edit_id: int
    version: str  # of now
    changed_by: str | None  # None: a model has answered anew
    changed_at: datetime | None

    def __str__(self) -> str:
        if self.changed_by is None or self.changed_at is None:
            return "the model has answered anew since you looked; your edit is in the history"
        return (
            f"changed by {self.changed_by} at {self.changed_at:%Y-%m-%d %H:%M:%S %Z}; yours is in the history"
        )


class Edits:
    """The words of people on clips. `bands` are the limits in force, by which texts are judged."""

    def __init__(self, database: Database, bands: Bands = DEFAULT_BANDS) -> None:
        self._table = EditTable(database)
        self._bands = bands

    async def clip(self, video_id: str, segment_file: str) -> EditableClip:
        """A clip as it stands. Raises UsageError if there is none of that name."""
        found = await self._table.clip(video_id, segment_file)
        if found is None:
            raise UsageError(f"there is no clip {segment_file} of video {video_id}")
        return found

    async def history(self, video_id: str, segment_file: str) -> list[PastEdit]:
        """All that was said of a clip, in order."""
        return await self._table.history(video_id, segment_file, PastEdit)

    async def save_edit(
        self,
        video_id: str,
        segment_file: str,
        expected: str | None,
        edit: Edit,
        by: str,
        *,
        request: str | None = None,
    ) -> Saved | Conflict:
        """Put a person's word in force, unless the clip is no longer the one of version `expected` (None: any).

        The same `request` again changes nothing. Lanes and score follow the person; what checks find is shown.

        Raises:
            UsageError: there is no such clip, nothing to accept, or no name.
        """
        row = await self.clip(video_id, segment_file)
        standing = StandingText(
            row.answer, row.clip(row.known_facts()), row.language_hint, [*row.old_findings()]
        )
        word = decide_word(edit, standing, self._bands)
        entry = _entry(edit.kind, by, request, word.answer or row.answer, edit)
        return await self._save(row, expected, entry, word, edit.reason)

    async def undo(
        self, video_id: str, segment_file: str, by: str, *, expected: str | None = None, note: str = ""
    ) -> Saved | Conflict:
        """Take the edit in force back: the one before it stands again, or the model's text.

        Raises:
            UsageError: nobody's word stands.
        """
        row = await self.clip(video_id, segment_file)
        history = await self._history_of(row)
        last = find_standing(history)
        if last is None:
            raise UsageError(
                f"{segment_file} of {video_id}: there is nothing to undo, the model's text stands"
            )
        before = find_standing(past for past in history if past.id != last.id)
        return await self._bring_back(
            row, before, EditKind.UNDONE, last, by, expected=expected or row.version, note=note
        )

    async def redo(
        self, video_id: str, segment_file: str, by: str, *, expected: str | None = None, note: str = ""
    ) -> Saved | Conflict:
        """Put the edit in force again that was undone last. Raises UsageError: there is none."""
        row = await self.clip(video_id, segment_file)
        past = find_undone(await self._history_of(row))
        if past is None:
            raise UsageError(f"{segment_file} of {video_id}: nothing was undone that could be redone")
        return await self._bring_back(
            row, past, EditKind.REDONE, past, by, expected=expected or row.version, note=note
        )

    async def _history_of(self, row: EditableClip) -> list[PastEdit]:
        """Of the audio that the clip has now."""
        past = await self.history(row.video_id, row.segment_file)
        return [one for one in past if one.audio_digest == row.audio_digest]

    async def _bring_back(
        self,
        row: EditableClip,
        past: PastEdit | None,
        kind: EditKind,
        of: PastEdit,
        by: str,
        *,
        expected: str,
        note: str,
    ) -> Saved | Conflict:
        entry = _entry(kind, by, None, None, Edit(kind, note=note), of=of.id)
        if past is None:
            return await self._save(row, expected, entry, None, "")
        then = answer_then(past, row.answer)
        standing = StandingText(then, row.clip(row.known_facts()), row.language_hint, [*row.old_findings()])
        word = decide_word(repeat_edit(past), standing, self._bands)
        return await self._save(row, expected, entry, word, past.reason or "", in_force=past.id)

    async def _save(
        self,
        row: EditableClip,
        expected: str | None,
        entry: EditEntry,
        word: Word | None,
        reason: str,
        *,
        in_force: int | None = None,
    ) -> Saved | Conflict:
        columns = None
        if word is not None:
            failed = word.status is ClipStatus.FAILED
            refusal = finding("unusable", reason) if failed else None
            columns = word_columns(word.status, word.answer, word.verdict, word.consensus, refusal)
        outcome = await self._table.save(row.video_id, row.segment_file, expected, entry, columns, in_force)
        if outcome is None:
            raise UsageError(f"there is no clip {row.segment_file} of video {row.video_id}")
        if word is None and outcome.saved:
            return await self._tell_of_model(row, outcome)
        return _tell(outcome, word, expected or row.version)

    async def _tell_of_model(self, row: EditableClip, outcome: EditOutcome) -> Saved:
        now = await self.clip(row.video_id, row.segment_file)
        lanes = open_lanes(now.asr_eligible, now.tts_clean_eligible, now.tts_expressive_eligible)
        return Saved(outcome.edit_id, outcome.version, now.old_findings(), lanes, by_model=True)


def _tell(outcome: EditOutcome, word: Word | None, expected: str) -> Saved | Conflict:
    if not outcome.saved:
        same_people = expected.partition(".")[0] == outcome.version.partition(".")[0]
        by, at = (None, None) if same_people else (outcome.changed_by, outcome.changed_at)
        return Conflict(outcome.edit_id, outcome.version, by, at)
    verdict = word.verdict if word else None
    return Saved(
        outcome.edit_id,
        outcome.version,
        verdict.findings if verdict else (),
        open_lanes(verdict.asr.eligible, verdict.tts_clean.eligible, verdict.tts_expressive.eligible)
        if verdict
        else (),
    )


def open_lanes(asr: bool, tts_clean: bool, tts_expressive: bool) -> tuple[str, ...]:
    """The names of the lanes that are open."""
    named: Sequence[tuple[str, bool]] = (
        ("asr", asr),
        ("tts_clean", tts_clean),
        ("tts_expressive", tts_expressive),
    )
    return tuple(name for name, eligible in named if eligible)


def _entry(
    kind: EditKind, by: str, request: str | None, answer: Answer | None, edit: Edit, of: int | None = None
) -> EditEntry:
    name = " ".join(by.split())[:_LONGEST_NAME]
    if not name:
        raise UsageError("say who you are: an edit is somebody's word")
    return EditEntry(
        kind=kind,
        edited_by=name,
        request=request or uuid.uuid4().hex,
        of_edit=of,
        transcription=answer.transcription if answer else None,
        tagged=answer.tagged if answer else None,
        language=answer.detected_language if answer else None,
        reason=edit.reason or None,
        note=edit.note or None,
    )

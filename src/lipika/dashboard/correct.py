"""A clip beside the list, to be corrected: what stands, what the model said, what people have said of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from lipika.dashboard import words
from lipika.dashboard.board import board_of, fragment, rights_of, text_of, user_of
from lipika.dashboard.review import clip_url
from lipika.errors import UsageError
from lipika.people.edits import Conflict, Edits, Saved
from lipika.people.rules import LONGEST_TEXT, PastEdit, accept, call_unusable, edit_text, shown_text
from lipika.validation.typing import check_typed

SPEEDS = ((0.5, "½"), (0.75, "¾"), (1, "1"), (1.25, "1¼"), (1.5, "1½"))
_MAX_REMARKS = 40
_MAX_NAME = 2000
_SAID = {
    "text": "wrote the text",
    "accepted": "accepted it",
    "unusable": "called it unusable",
    "undone": "took back what was said before",
    "redone": "put back what was taken back",
}


@dataclass(frozen=True, slots=True)
class SaidBefore:
    """One line of a clip's history."""

    said: str
    by: str
    at: datetime
    refused: bool
    reason: str | None
    text: str | None  # where it was written, or was refused

    @classmethod
    def tell(cls, past: PastEdit) -> SaidBefore:
        shows = past.kind == "text" or past.refused
        return cls(
            said=_SAID.get(past.kind, past.kind),
            by=past.edited_by,
            at=past.edited_at,
            refused=past.refused,
            reason=past.reason,
            text=shown_text(past.transcription, past.tagged) if shows else None,
        )


async def clip(request: Request) -> Response:
    """One clip beside the list: its text, what speaks against it, what others and the model say."""
    board = board_of(request)
    video_id, segment_file = text_of(request, "video") or "", text_of(request, "clip") or ""
    found = await board.stats.clips.one(video_id, segment_file)
    if found is None:
        return HTMLResponse(fragment("clips_panel.html", {"clip": None}), 404)
    standing = await board.edits.clip(video_id, segment_file)
    context = {
        "clip": found,
        "full_url": clip_url(video_id, segment_file),
        "speeds": SPEEDS,
        "version": standing.version,
        "text": shown_text(standing.transcription, standing.tagged),
        "model_text": shown_text(standing.model_transcription, standing.model_tagged),
        "standing": standing,
        "history": await _history(board.edits, video_id, segment_file),
        "longest": LONGEST_TEXT,
        **rights_of(request),
    }
    return HTMLResponse(fragment("clips_panel.html", context))


async def _history(edits: Edits, video_id: str, segment_file: str) -> Sequence[SaidBefore]:
    return [SaidBefore.tell(past) for past in reversed(await edits.history(video_id, segment_file))]


async def check(request: Request) -> Response:
    """Remarks on a text as it is typed. Nothing is stored."""
    form = await request.form(max_files=0, max_fields=10)
    remarks = check_typed(_text(form, "text"), _text(form, "language")[:10] or None)
    shown = [
        {
            "title": words.finding(remark.code),
            "look": words.look(remark.severity),
            "message": remark.message,
            "start": remark.start,
            "end": remark.end,
        }
        for remark in remarks[:_MAX_REMARKS]
    ]
    return JSONResponse(shown)


async def edit(request: Request) -> Response:
    """text | accept | unusable | undo | redo: a person on the version that they had before them."""
    edits = board_of(request).edits
    form = await request.form(max_files=0, max_fields=20)
    names = (_text(form, "video")[:_MAX_NAME], _text(form, "clip")[:_MAX_NAME])
    try:
        outcome = await _say(edits, names, form, user_of(request).name)
        standing = await edits.clip(*names)
    except UsageError as error:
        return JSONResponse({"state": "refused", "said": str(error)}, 422)
    saved = isinstance(outcome, Saved)
    return JSONResponse(
        {
            "state": "saved" if saved else "conflict",
            "version": standing.version,
            "text": shown_text(standing.transcription, standing.tagged),
            "said": _SAID_OF[_text(form, "do")] if saved else _name_first(outcome),
        }
    )


_SAID_OF = {
    "text": "saved",
    "accept": "accepted",
    "unusable": "unusable, saved",
    "undo": "taken back",
    "redo": "put back",
}


async def _say(edits: Edits, names: tuple[str, str], form: FormData, by: str) -> Saved | Conflict:
    verb = _text(form, "do")
    expected = _text(form, "expected")
    if not expected:
        raise UsageError("the page does not say which text it was: load it again")
    match verb:
        case "text":
            said = edit_text(_text(form, "text"), note=_text(form, "note"))
        case "accept":
            said = accept(_text(form, "note"))
        case "unusable":
            said = call_unusable(_text(form, "reason"), _text(form, "note"))
        case "undo":
            return await edits.undo(*names, by, expected=expected)
        case "redo":
            return await edits.redo(*names, by, expected=expected)
        case _:
            raise UsageError(f"{verb[:20]!r} is nothing that can be said of a clip")
    return await edits.save_edit(*names, expected, said, by, request=_text(form, "request")[:64] or None)


def _name_first(outcome: Saved | Conflict) -> str:
    """The name of whoever was first, as it is said to whoever came second."""
    by = outcome.changed_by if isinstance(outcome, Conflict) else None
    return f"{by} has changed it meanwhile" if by else "the model has answered anew meanwhile"


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).replace("\0", "")

"""Audits: how far they are, and a session in which one person hears clips. Figures are `lipika audit report`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lipika.dashboard.board import Board, board_of, problem, render, text_of, user_of, whole
from lipika.db.audits import AuditProgress, AuditRecord, ListenedClip
from lipika.languages import LANGUAGES

ROWS = 20
SESSION_MINUTES = 20
_AHEAD = 2  # clips at a time: the one that plays, and the next
_LONGEST_TEXT = 8_000
_MAX_ID = 1 << 62
_MAX_PLACE = 1 << 30
_MOST_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Line:
    """One audit in the list."""

    audit: AuditRecord
    progress: Sequence[AuditProgress]

    @property
    def made(self) -> int:
        return sum(one.made for one in self.progress)

    @property
    def wanted(self) -> int:
        return sum(one.wanted for one in self.progress)


async def page(request: Request) -> Response:
    """All audits, the newest first, with what is left to hear of each language."""
    audits = board_of(request).audits
    name = user_of(request).name
    lines = [_Line(audit, await audits.progress(audit.id, name)) for audit in await audits.list_audits(ROWS)]
    return render(request, "audit.html", {"title": "Audit", "lines": lines})


async def hear(request: Request) -> Response:
    """A session: its clips come by `take`, one after the other."""
    audit = await _audit(request, text_of(request, "audit") or "")
    if audit is None:
        return problem(request, 404, "There is no such audit", "The page Audit lists those there are.")
    language = text_of(request, "language") or ""
    if language and language not in audit.languages:
        return problem(request, 404, "Not in this audit", f"It has no clips of {language[:40]}.")
    context = {
        "title": f"Audit {audit.id}",
        "here": "/audit",
        "audit": audit,
        "language": language,
        "minutes": SESSION_MINUTES,
    }
    return render(request, "hear.html", context)


async def take(request: Request) -> Response:
    """The clips that this person is to hear next; with `place` one that they have heard, to be judged again."""
    board, form = board_of(request), await request.form(max_files=0, max_fields=10)
    audit = await _known_audit(request, form)
    name, language = user_of(request).name, _text(form, "language")
    if _text(form, "place"):
        own = await board.audits.own(audit.id, name, whole(_text(form, "place"), 0, _MAX_PLACE))
        clips = [own] if own else []
    else:
        clips = await board.audits.take(audit.id, name, [language] if language else None, _AHEAD)
    return JSONResponse(
        {
            "clips": [_document(board, clip) for clip in clips],
            "progress": await _progress(board, audit.id, name, language),
        }
    )


async def judge(request: Request) -> Response:
    """Keep this person's word on a clip: usable (yes, no, or pass), and what is said."""
    board, form = board_of(request), await request.form(max_files=0, max_fields=10)
    audit = await _known_audit(request, form)
    name, place = user_of(request).name, whole(_text(form, "place"), 0, _MAX_PLACE)
    usable = {"yes": True, "no": False, "pass": None}.get(_text(form, "usable"), "")
    text = " ".join(_text(form, "text").split())
    if usable == "":
        raise HTTPException(400, "usable is yes, no or pass")
    if len(text) > _LONGEST_TEXT:
        raise HTTPException(400, f"a text has {_LONGEST_TEXT:,} characters at most")
    if usable and not text:
        raise HTTPException(400, "a usable clip has a text: if nobody speaks, it is unusable")
    own = await board.audits.own(audit.id, name, place)
    if own is None:
        raise HTTPException(409, "this clip was not given to you")
    changed = usable is True and text != " ".join(own.transcription.split())
    kept = await board.audits.judge(
        audit.id,
        place,
        name,
        usable=bool(usable) if usable is not None else None,
        text=text if changed else None,
        seconds=_seconds(_text(form, "seconds")),
    )
    language = _text(form, "language")
    return JSONResponse({"kept": kept, "progress": await _progress(board, audit.id, name, language)})


def _document(board: Board, clip: ListenedClip) -> dict[str, object]:
    until, signature = board.signer.link(clip.video_id, clip.segment_file)
    query = {"video": clip.video_id, "clip": clip.segment_file, "until": until, "sig": signature}
    return {
        "place": clip.place,
        "audio": f"/review/audio?{urlencode(query)}",
        "seconds": clip.duration_ms / 1000,
        "language": clip.language,
        "name": LANGUAGES[clip.language].name if clip.language in LANGUAGES else clip.language,
        "text": clip.transcription,
        "usable": clip.usable,
        "corrected": clip.text,
    }


async def _progress(board: Board, audit_id: int, name: str, language: str) -> dict[str, int]:
    rows = [
        one for one in await board.audits.progress(audit_id, name) if not language or one.language == language
    ]
    return {
        "wanted": sum(one.wanted for one in rows),
        "made": sum(one.made for one in rows),
        "mine": sum(one.mine for one in rows),
    }


async def _known_audit(request: Request, form: FormData) -> AuditRecord:
    audit = await _audit(request, _text(form, "audit"))
    if audit is None:
        raise HTTPException(404, "there is no such audit")
    return audit


async def _audit(request: Request, number: str) -> AuditRecord | None:
    return await board_of(request).audits.one(whole(number, 0, _MAX_ID))


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, _MOST_S) if seconds >= 0 else None


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).replace("\0", "")

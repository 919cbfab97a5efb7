"""Flags to look into, and one clip: what was heard, what was written, what speaks against it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import (
    board_of,
    changed_url,
    local_path,
    problem,
    redirect_with_message,
    render,
    text_of,
    user_of,
    whole,
)
from lipika.dashboard.cursor import pack, unpack
from lipika.dashboard.sound import MAX_MS, left_out_urls
from lipika.db.clips import ClipDetail
from lipika.db.flags import FlagCount, FlagFilter, FlagKey, FlagRow, count_left_out

ROWS = 40
_SEVERITIES = ("fail", "warn", "info")
_TAG = re.compile(r"(\[[^\[\]]{1,40}\])")
_MAX_NOTE = 2000


async def page(request: Request) -> Response:
    """Open flags, serious ones first; of one type, or dealt with, the newest first. What was left out is counted."""
    stats = board_of(request).stats
    wanted = FlagFilter(
        resolved=request.query_params.get("state") == "resolved",
        language=text_of(request, "language"),
        flag_type=text_of(request, "type"),
        severity=text_of(request, "severity"),
        video_id=text_of(request, "video"),
    )
    by_weight = not wanted.resolved and wanted.flag_type is None
    held = unpack(request.query_params.get("after", ""), (datetime, str, str, str, int, str))
    if held:
        whole(held[4], -MAX_MS, MAX_MS)
    key = FlagKey(*held) if held else None  # type: ignore[arg-type]  # `unpack` has looked at the types
    look = stats.flags.weighty if by_weight else stats.flags.page
    flags, counts = await asyncio.gather(look(wanted, limit=ROWS, after=key), stats.flags.counts())
    of_clips = [row for row in counts if not row.is_discard]
    context = {
        "title": "Review",
        "wanted": wanted,
        "flags": flags,
        "next": pack(_key(flags[-1])) if len(flags) == ROWS else "",
        "open": sum(row.open for row in of_clips),
        "resolved": sum(row.resolved for row in counts),
        "serious": sum(row.open for row in of_clips if row.severity == "fail"),
        "left_out": await _count_left_out(request, wanted, counts) if by_weight else {},
        "types": sorted({row.flag_type for row in counts}),
        "languages": sorted({row.language for row in counts}),
        "severities": _SEVERITIES,
        "clip_url": flag_url,
        "back": changed_url(request, {}),
    }
    return render(request, "review.html", context)


async def _count_left_out(
    request: Request, wanted: FlagFilter, counts: Sequence[FlagCount]
) -> Mapping[str, int]:
    """Segments and parts by reason, as far as the filters say."""
    if wanted.severity not in (None, "warn"):
        return {}
    if wanted.video_id is not None:
        found = await board_of(request).stats.list_left_out([wanted.video_id])
        return {one.reason: one.discards for one in found}
    return count_left_out([row for row in counts if wanted.language in (None, row.language)])


def _key(flag: FlagRow) -> tuple[object, ...]:
    return (
        flag.created_at,
        flag.video_id,
        flag.segment_file,
        flag.flag_type,
        flag.start_ms,
        flag.severity,
    )


async def clip(request: Request) -> Response:
    """One clip, or with `raw` what was left out. Its audio comes after the page: a slow store holds up no text."""
    board = board_of(request)
    video_id, segment_file = text_of(request, "video") or "", text_of(request, "clip") or ""
    found = await board.stats.clips.one(video_id, segment_file)
    flags = await board.stats.flags.list_of_clip(video_id, segment_file)
    if found is None and not flags:
        return problem(
            request,
            404,
            "There is no such clip",
            "Neither results nor flags know it. It may have been erased.",
        )
    findings = list(found.findings) if found else []
    context = {
        "title": segment_file.removesuffix(".flac"),
        "here": "/review",
        "video_id": video_id,
        "segment_file": segment_file,
        "clip": found,
        "flags": flags,
        "findings": findings,
        "marked": list(mark_findings(found.transcription or "", findings)) if found else [],
        "tagged": _TAG.split(found.tagged or "") if found else [],
        "lanes": lanes_of(found) if found else [],
        "left_out": _left_out_shown(request, flags, known=found is not None),
        "wave_url": f"/review/wave?{urlencode({'video': video_id, 'clip': segment_file})}",
        "wave_of_left_out": lambda flag: left_out_urls(flag)["wave"],
        "back": changed_url(request, {}),
    }
    return render(request, "clip.html", context)


def _left_out_shown(request: Request, flags: Sequence[FlagRow], *, known: bool) -> FlagRow | None:
    """The discard that the page is about: the one that `raw` names, or the first where there is no clip."""
    discards = [flag for flag in flags if flag.is_discard]
    raw = text_of(request, "raw")
    if raw is not None:
        start_ms = whole(raw, -MAX_MS, MAX_MS)
        return next((flag for flag in discards if flag.start_ms == start_ms), None)
    return next(iter(discards), None) if not known else None


def flag_url(flag: FlagRow) -> str:
    """The page on which a flag can be looked into."""
    return left_out_urls(flag)["page"] if flag.is_discard else clip_url(flag.video_id, flag.segment_file)


def clip_url(video_id: str, segment_file: str) -> str:
    return f"/review/clip?{urlencode({'video': video_id, 'clip': segment_file})}"


def lanes_of(clip: ClipDetail) -> list[tuple[str, bool, Sequence[str]]]:
    """(lane, open, reasons against it)."""
    reasons = clip.lane_reasons or {}
    eligible = (clip.asr_eligible, clip.tts_clean_eligible, clip.tts_expressive_eligible)
    return [
        (name, is_open, list(reasons.get(name) or ()))
        for name, is_open in zip(("asr", "tts_clean", "tts_expressive"), eligible, strict=True)
    ]


def mark_findings(text: str, findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The text in pieces, each with the code of the finding that points at it, or nothing."""
    spans = sorted(
        (max(int(span[0]), 0), min(int(span[1]), len(text)), str(found["code"]))
        for found in findings
        if isinstance(span := found.get("span"), list | tuple) and len(span) == 2
    )
    at = 0
    for start, end, code in spans:
        if start < at or end <= start:
            continue
        if start > at:
            yield text[at:start], ""
        yield text[start:end], code
        at = end
    if at < len(text):
        yield text[at:], ""


# ----------------------------------------------------------------------------- verbs


async def resolve(request: Request) -> Response:
    """Close a flag, or open it again."""
    board = board_of(request)
    form = await request.form(max_files=0, max_fields=20)
    names = {name: _text(form, name) for name in ("video", "clip", "type", "start", "note", "do")}
    start_ms = whole(names["start"], -MAX_MS, MAX_MS) if names["start"] else None
    flag_type = names["type"] or None
    if names["do"] == "reopen":
        count = await board.stats.flags.reopen(
            names["video"], names["clip"], flag_type=flag_type, start_ms=start_ms
        )
    else:
        count = await board.stats.flags.resolve(
            names["video"],
            names["clip"],
            by=user_of(request).name,
            note=names["note"][:_MAX_NOTE],
            flag_type=flag_type,
            start_ms=start_ms,
        )
    said = "reopened" if names["do"] == "reopen" else "resolved"
    return redirect_with_message(
        request, local_path(_text(form, "back") or "/review"), said, count, max(count, 1)
    )


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).replace("\0", "")

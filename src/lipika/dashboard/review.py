"""Flags to look into, and one clip: what was heard, what was written, what speaks against it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from lipika.dashboard.board import (
    Board,
    board_of,
    changed_url,
    fragment,
    local_path,
    problem,
    redirect_with_message,
    render,
    text_of,
    user_of,
    whole,
)
from lipika.dashboard.cursor import pack, unpack
from lipika.db.clips import ClipDetail
from lipika.db.flags import FlagFilter, FlagKey, FlagRow
from lipika.errors import LipikaError, ObjectMissing
from lipika.log import redact

if TYPE_CHECKING:
    from lipika.dashboard.waveform import Waveform

ROWS = 40
_SEVERITIES = ("fail", "warn", "info")
_TAG = re.compile(r"(\[[^\[\]]{1,40}\])")
_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")
_MAX_NOTE = 2000
_MAX_MS = 2**31 - 1  # as its column holds
_MOST_GAIN = 10.0


async def page(request: Request) -> Response:
    """Flags, newest first."""
    of_flags = board_of(request).stats.flags
    wanted = FlagFilter(
        resolved=request.query_params.get("state") == "resolved",
        language=text_of(request, "language"),
        flag_type=text_of(request, "type"),
        severity=text_of(request, "severity"),
        video_id=text_of(request, "video"),
    )
    held = unpack(request.query_params.get("after", ""), (datetime, str, str, str, int))
    if held:
        whole(held[4], -_MAX_MS, _MAX_MS)
    key = FlagKey(*held) if held else None  # type: ignore[arg-type]  # `unpack` has looked at the types
    flags, counts = await asyncio.gather(of_flags.page(wanted, limit=ROWS, after=key), of_flags.counts())
    context = {
        "title": "Review",
        "wanted": wanted,
        "flags": flags,
        "next": pack(_key(flags[-1])) if len(flags) == ROWS else "",
        "open": sum(row.open for row in counts),
        "resolved": sum(row.resolved for row in counts),
        "serious": sum(row.open for row in counts if row.severity == "fail"),
        "types": sorted({row.flag_type for row in counts}),
        "languages": sorted({row.language for row in counts}),
        "severities": _SEVERITIES,
        "clip_url": clip_url,
        "back": changed_url(request, {}),
    }
    return render(request, "review.html", context)


def _key(flag: FlagRow) -> tuple[object, ...]:
    return flag.created_at, flag.video_id, flag.segment_file, flag.flag_type, flag.start_ms


async def clip(request: Request) -> Response:
    """One clip. Its audio comes after the page, so that a slow store does not hold up the text."""
    board = board_of(request)
    video_id, segment_file = text_of(request, "video") or "", text_of(request, "clip") or ""
    found = await board.stats.clips.one(video_id, segment_file)
    flags = await board.stats.flags.list_of_clip(video_id, segment_file)
    if found is None and not flags:
        return problem(request, 404, "There is no such clip", "Neither results nor flags know it.")
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
        "wave_url": f"/review/wave?{urlencode({'video': video_id, 'clip': segment_file})}",
        "back": changed_url(request, {}),
    }
    return render(request, "clip.html", context)


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


# ----------------------------------------------------------------------------- audio


async def wave(request: Request) -> Response:
    """The player with its waveform: a piece of the clip's page."""
    from lipika.dashboard.waveform import waveform

    board = board_of(request)
    found = await board.stats.clips.one(text_of(request, "video") or "", text_of(request, "clip") or "")
    if found is None:
        return HTMLResponse(fragment("wave.html", {"trouble": "There is no such clip.", "picture": None}))
    try:
        flac = await _flac(board, found)
        picture = await asyncio.to_thread(waveform, flac)
    except LipikaError as error:
        return HTMLResponse(
            fragment("wave.html", {"trouble": _no_audio_reason(found, error), "picture": None})
        )
    until, signature = board.signer.link(found.video_id, found.segment_file)
    query = {"video": found.video_id, "clip": found.segment_file, "until": until, "sig": signature}
    context = {
        "trouble": "",
        "picture": Picture.draw(picture, found),
        "audio_url": f"/review/audio?{urlencode(query)}",
        "clip": found,
    }
    return HTMLResponse(fragment("wave.html", context))


async def audio(request: Request) -> Response:
    """The clip's FLAC, by a signed link that expires."""
    board, query = board_of(request), request.query_params
    names = query.get("video", ""), query.get("clip", "")
    if not board.signer.link_holds(query.get("until", ""), query.get("sig", ""), *names):
        return PlainTextResponse("This link has expired: load the page again.\n", 403)
    found = await board.stats.clips.one(*names)
    if found is None:
        return PlainTextResponse("There is no such clip.\n", 404)
    try:
        flac = await _flac(board, found)
    except ObjectMissing as error:
        return PlainTextResponse(f"{_no_audio_reason(found, error)}\n", 404)
    return _range_response(request, flac)


async def _flac(board: Board, clip: ClipDetail) -> bytes:
    if clip.output_key is None or clip.video_status != "done":
        raise ObjectMissing("the result archive is not there")
    return await board.audio.read(clip.output_key, clip.segment_file)


def _no_audio_reason(clip: ClipDetail, error: LipikaError) -> str:
    if clip.video_status is None:
        return "The queue does not hold this video any more, so nobody knows where its audio lies."
    if clip.video_status != "done":
        return "Its audio can be heard when the video is done: clips lie in the result archive."
    return f"Its audio cannot be read: {redact(str(error))}"


def _range_response(request: Request, data: bytes) -> Response:
    """All of it, or the one range that a player asks for."""
    headers = {"accept-ranges": "bytes", "cache-control": "private, max-age=900"}
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or not any(asked.groups()):
        return Response(data, 200, headers, "audio/flac")
    first, last = asked.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if start > end:
        return Response(b"", 416, headers | {"content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {start}-{end}/{len(data)}"
    return Response(data[start : end + 1], 206, headers, "audio/flac")


@dataclass(frozen=True, slots=True)
class Picture:
    """A waveform as SVG: places in 0..1000 across, 0..100 down."""

    path: str
    seconds: float
    kept_from: float  # where the leading pad ends
    kept_to: float  # where the trailing pad begins
    trimmed_before_ms: int  # cut away before the clip
    trimmed_after_ms: int

    @classmethod
    def draw(cls, wave: Waveform, clip: ClipDetail) -> Picture:
        step = 1000 / len(wave.highs)
        # Quiet speech is drawn larger, so that its edges can be seen.
        half = 48 * min(1 / max(float(wave.highs.max()), -float(wave.lows.min()), 1e-9), _MOST_GAIN)
        top = [f"{i * step:.1f},{50 - half * high:.1f}" for i, high in enumerate(wave.highs)]
        low = [f"{i * step:.1f},{50.5 - half * low:.1f}" for i, low in enumerate(wave.lows)]
        length = max(wave.duration_ms, 1)
        return cls(
            path=f"M{'L'.join([*top, *reversed(low)])}Z",
            seconds=length / 1000,
            kept_from=1000 * clip.leading_pad_ms / length,
            kept_to=1000 - 1000 * clip.trailing_pad_ms / length,
            trimmed_before_ms=clip.trimmed_start_ms - clip.original_start_ms,
            trimmed_after_ms=clip.original_end_ms - clip.trimmed_end_ms,
        )


# ----------------------------------------------------------------------------- verbs


async def resolve(request: Request) -> Response:
    """Close a flag, or open it again."""
    board = board_of(request)
    form = await request.form(max_files=0, max_fields=20)
    names = {name: _text(form, name) for name in ("video", "clip", "type", "start", "note", "do")}
    start_ms = whole(names["start"], -_MAX_MS, _MAX_MS) if names["start"] else None
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

"""Sound for people: a clip out of its result archive, or a segment out of the input archive, each with its waveform.

A clip whose result archive is not there (its video is at work, was put back, or somebody has moved it) is cut out
of the input archive. Links to audio are signed and expire; what is played has been decoded and encoded by us.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from lipika.dashboard.board import Board, board_of, fragment, text_of, whole
from lipika.db.clips import ClipDetail
from lipika.db.flags import DISCARD, FlagRow
from lipika.errors import LipikaError, ObjectMissing, Unavailable
from lipika.log import redact
from lipika.models import VideoStatus

if TYPE_CHECKING:
    from lipika.dashboard.waveform import Waveform

MAX_MS = 2**31 - 1  # as its column holds
_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")
_MOST_GAIN = 10.0
_WHOLE_MS = 120_000  # of a longer segment only the part in question is played
_AROUND_MS = 2_000

_NOBODY_KNOWS = "The queue does not hold this video any more, so nobody knows where its audio lies."


@dataclass(frozen=True, slots=True)
class PlayedSound:
    """FLAC, and what is to be said of it. Marks are from the beginning of what is played, in milliseconds."""

    flac: bytes
    note: str = ""
    marks: tuple[tuple[int, int], ...] = ()  # what was left out of it
    is_clip: bool = False  # as it was packed: with its pads


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The names in a link. `start_ms`: of a discard, where in the video it begins; None: a clip is wanted."""

    video_id: str
    segment_file: str
    start_ms: int | None

    @classmethod
    def read(cls, request: Request) -> Self:
        start = text_of(request, "raw")
        start_ms = whole(start, -MAX_MS, MAX_MS) if start is not None else None
        return cls(text_of(request, "video") or "", text_of(request, "clip") or "", start_ms)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a signature holds for."""
        raw = () if self.start_ms is None else (str(self.start_ms),)
        return (self.video_id, self.segment_file, *raw)

    @property
    def query(self) -> dict[str, object]:
        return {"video": self.video_id, "clip": self.segment_file} | (
            {} if self.start_ms is None else {"raw": self.start_ms}
        )


async def wave(request: Request) -> Response:
    """The player with its waveform: a piece of the clip's page."""
    from lipika.dashboard.waveform import waveform

    board, wanted = board_of(request), _Wanted.read(request)
    try:
        sound, clip = await _find(board, wanted)
        picture = await asyncio.to_thread(waveform, sound.flac)
    except LipikaError as error:
        return HTMLResponse(fragment("wave.html", {"trouble": redact(str(error)), "picture": None}))
    until, signature = board.signer.link(*wanted.names)
    context = {
        "trouble": "",
        "sound": sound,
        "picture": Picture.draw(picture, clip if sound.is_clip else None, sound.marks),
        "audio_url": f"/review/audio?{urlencode(wanted.query | {'until': until, 'sig': signature})}",
    }
    return HTMLResponse(fragment("wave.html", context))


async def audio(request: Request) -> Response:
    """The FLAC of a clip or a segment, by a signed link that expires."""
    board, query, wanted = board_of(request), request.query_params, _Wanted.read(request)
    if not board.signer.link_holds(query.get("until", ""), query.get("sig", ""), *wanted.names):
        return PlainTextResponse("This link has expired: load the page again.\n", 403)
    try:
        sound, _ = await _find(board, wanted)
    except ObjectMissing as error:
        return PlainTextResponse(f"{redact(str(error))}\n", 404)
    return _range_response(request, sound.flac)


async def _find(board: Board, wanted: _Wanted) -> tuple[PlayedSound, ClipDetail | None]:
    """Raises ObjectMissing, or another LipikaError, with a sentence for people."""
    if wanted.start_ms is not None:
        return await _left_out(board, wanted, wanted.start_ms), None
    found = await board.stats.clips.one(wanted.video_id, wanted.segment_file)
    if found is None:
        raise ObjectMissing("There is no such clip.")
    return await _clip(board, found), found


# ----------------------------------------------------------------------------- a clip


async def _clip(board: Board, clip: ClipDetail) -> PlayedSound:
    if clip.output_key is None or clip.source_key is None:
        raise ObjectMissing(_NOBODY_KNOWS)
    try:
        packed = PlayedSound(await board.audio.read(clip.output_key, clip.segment_file), is_clip=True)
    except Unavailable:
        raise
    except LipikaError as missing:
        return await _cut_again(board, clip, clip.source_key, missing)
    if clip.video_status != VideoStatus.DONE:
        return replace(packed, note="The video was put back: this is the result of its last time.")
    return packed


async def _cut_again(board: Board, clip: ClipDetail, source_key: str, missing: LipikaError) -> PlayedSound:
    """The clip out of the segment that it was made of."""
    from lipika.dashboard.waveform import excerpt

    done = clip.video_status == VideoStatus.DONE
    why = (
        f"The result archive cannot be read ({_reason(missing).rstrip('.')})"
        if done
        else "The video is not done, so there is no result archive yet"
    )
    try:
        segment = await board.segments.read(source_key, clip.source_segment)
        offset = segment.name.start_ms if segment.name else 0
        cut = await asyncio.to_thread(
            excerpt, segment.data, clip.trimmed_start_ms - offset, clip.trimmed_end_ms - offset
        )
    except LipikaError as error:
        raise ObjectMissing(
            f"{why}, and the input archive gives no audio either: {_reason(error)}"
        ) from error
    return PlayedSound(cut.flac, f"{why}: this is cut from the input archive, before it was polished.")


# ----------------------------------------------------------------------------- what was left out


async def _left_out(board: Board, wanted: _Wanted, start_ms: int) -> PlayedSound:
    from lipika.dashboard.waveform import excerpt

    flags = await board.stats.flags.list_of_clip(wanted.video_id, wanted.segment_file)
    discards = [flag for flag in flags if flag.is_discard]
    flag = next((one for one in discards if one.start_ms == start_ms), None)
    if flag is None:
        raise ObjectMissing("Nothing of this name was left out of the video.")
    row = next(iter(await board.queue.find([wanted.video_id])), None)
    if row is None:
        raise ObjectMissing(_NOBODY_KNOWS)
    last = flag.flag_type == f"{DISCARD}duplicate_name"
    try:
        segment = await board.segments.read(row.source_key, wanted.segment_file, last=last)
        begins_ms = segment.name.start_ms if segment.name else flag.start_ms
        span = _span_played(flag, begins_ms)
        cut = await asyncio.to_thread(excerpt, segment.data, *span)
        if span != (0, None) and cut.whole_ms <= _WHOLE_MS:
            cut = await asyncio.to_thread(excerpt, segment.data)
    except LipikaError as error:
        raise ObjectMissing(f"It cannot be heard: {_reason(error)}") from error
    marks = tuple(_marks(discards, begins_ms + cut.start_ms, begins_ms + cut.end_ms))
    return PlayedSound(cut.flac, _note_of(cut.start_ms, cut.end_ms, cut.whole_ms), marks)


def _span_played(flag: FlagRow, begins_ms: int) -> tuple[int, int | None]:
    """From where to where in the segment: around the part, where the flag is of one."""
    if not flag.end_ms or flag.end_ms <= flag.start_ms:
        return 0, None
    return max(flag.start_ms - begins_ms - _AROUND_MS, 0), flag.end_ms - begins_ms + _AROUND_MS


def _marks(discards: list[FlagRow], from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    spans = ((max(one.start_ms, from_ms), min(one.end_ms or 0, to_ms)) for one in discards)
    return [(start - from_ms, end - from_ms) for start, end in spans if end > start]


def _note_of(start_ms: int, end_ms: int, whole_ms: int) -> str:
    told = "As it lies in the input archive"
    if end_ms - start_ms >= whole_ms:
        return f"{told}."
    return f"{told}: {start_ms / 1000:,.1f} to {end_ms / 1000:,.1f} s of its {whole_ms / 1000:,.1f} s."


def _reason(error: LipikaError) -> str:
    return f"{redact(str(error)).rstrip('.')}."


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
    marks: tuple[tuple[float, float], ...]  # from, how wide: what was left out

    @classmethod
    def draw(cls, wave: Waveform, clip: ClipDetail | None, marks: tuple[tuple[int, int], ...]) -> Picture:
        step = 1000 / len(wave.highs)
        # Quiet speech is drawn larger, so that its edges can be seen.
        half = 48 * min(1 / max(float(wave.highs.max()), -float(wave.lows.min()), 1e-9), _MOST_GAIN)
        top = [f"{i * step:.1f},{50 - half * high:.1f}" for i, high in enumerate(wave.highs)]
        low = [f"{i * step:.1f},{50.5 - half * low:.1f}" for i, low in enumerate(wave.lows)]
        length = max(wave.duration_ms, 1)
        return cls(
            path=f"M{'L'.join([*top, *reversed(low)])}Z",
            seconds=length / 1000,
            kept_from=1000 * clip.leading_pad_ms / length if clip else 0,
            kept_to=1000 - 1000 * clip.trailing_pad_ms / length if clip else 1000,
            trimmed_before_ms=clip.trimmed_start_ms - clip.original_start_ms if clip else 0,
            trimmed_after_ms=clip.original_end_ms - clip.trimmed_end_ms if clip else 0,
            marks=tuple((1000 * start / length, 1000 * (end - start) / length) for start, end in marks),
        )


def left_out_urls(flag: FlagRow) -> Mapping[str, str]:
    """The page of a discard, and the piece of it that plays."""
    query = urlencode({"video": flag.video_id, "clip": flag.segment_file, "raw": flag.start_ms})
    return {"page": f"/review/clip?{query}", "wave": f"/review/wave?{query}"}

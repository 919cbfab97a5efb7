"""An audit's clips as a table (CSV) for people without the board, and their words read back. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipika.db.audits import HeardClip
from lipika.errors import UsageError

COLUMNS = (
    "audit",
    "place",
    "language",
    "video_id",
    "segment_file",
    "duration_s",
    "text",
    "usable",
    "corrected",
)
_WORDS = {
    **dict.fromkeys(("yes", "y", "true", "1", "usable"), True),
    **dict.fromkeys(("no", "n", "false", "0", "unusable"), False),
}
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class TableJudgement:
    """One row that somebody filled in. `text` None: as it was."""

    place: int
    usable: bool
    text: str | None


def write_table(audit_id: int, clips: Iterable[HeardClip]) -> str:
    """A row for each clip; `usable` (yes, no) and, where the text is wrong, `corrected` are left to fill in."""
    out = io.StringIO()
    out.write(_BOM)  # else some spreadsheets take it for another encoding
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        seconds = f"{clip.duration_ms / 1000:.2f}"
        row = [
            audit_id,
            clip.place,
            clip.language,
            clip.video_id,
            clip.segment_file,
            seconds,
            clip.transcription,
        ]
        writer.writerow([*map(_as_text, row), "", ""])
    return out.getvalue()


def read_table(text: str, audit_id: int, clips: Sequence[HeardClip]) -> list[TableJudgement]:
    """The rows in which something is filled in.

    Raises:
        UsageError: names the line that is of another audit, of no clip of it, or says neither yes nor no.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix(_BOM)))
    missing = {"audit", "place", "usable"} - set(reader.fieldnames or ())
    if missing:
        raise UsageError(
            f"the table lacks {', '.join(sorted(missing))}: `lipika audit export` writes one to fill in"
        )
    known = {clip.place: clip for clip in clips}
    found = []
    for row in reader:
        line = reader.line_num
        usable, corrected = (row.get("usable") or "").strip().lower(), (row.get("corrected") or "").strip()
        if not usable and not corrected:
            continue
        if usable and usable not in _WORDS:
            raise UsageError(f"line {line}: usable is yes or no, not {usable!r}")
        place = (row["place"] or "").strip()
        if (row["audit"] or "").strip() != str(audit_id):
            raise UsageError(f"line {line}: it is of audit {row['audit']}, not of {audit_id}")
        if not (place.isascii() and place.isdigit() and int(place) in known):
            raise UsageError(f"line {line}: audit {audit_id} hears no clip of place {place!r}")
        good = _WORDS[usable] if usable else True
        clip = known[int(place)]
        changed = good and corrected and _as_given(corrected) != clip.transcription
        found.append(TableJudgement(clip.place, good, _as_given(corrected) if changed else None))
    return found


def _as_text(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def _as_given(text: str) -> str:
    return text[1:] if text.startswith(("'=", "'+", "'-", "'@", "'\t", "'\r", "''")) else text

"""The work behind `lipika audit`: an audit drawn, shown, reported, heard on, sent out as a table and read back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lipika.alignment.romanise import open_romaniser
from lipika.audit.draw import DrawOrder, choose_more, draw
from lipika.audit.exchange import read_table, write_table
from lipika.audit.figures import AuditFigures, PartFigures, make_figures
from lipika.audit.page import gain_words, lane_words, language_words, rate_words, verdict_words
from lipika.config import Settings, load_settings
from lipika.db.audits import AuditProgress, AuditRecord, Audits, HeardClip
from lipika.errors import UsageError
from lipika.jobs.progress_bar import progress_bar
from lipika.services import open_database
from lipika.wording import duration, number

_HEARING_S = 30.0  # for a clip: heard, read, and corrected where it is wrong


@dataclass(frozen=True, slots=True)
class AuditState:
    """An audit and how far it is."""

    audit: AuditRecord
    progress: Sequence[AuditProgress]

    @property
    def wanted(self) -> int:
        return sum(one.wanted for one in self.progress)

    @property
    def made(self) -> int:
        return sum(one.made for one in self.progress)

    def document(self) -> dict[str, Any]:
        audit = self.audit
        return {
            "audit": audit.id,
            "drawn_at": audit.drawn_at.isoformat(),
            "drawn_by": audit.drawn_by,
            "seed": audit.seed,
            "lane": audit.lane or None,
            "looks": audit.looks,
            "complete": 0 < self.wanted == self.made,
            "judgements": {"wanted": self.wanted, "made": self.made},
            "languages": [
                {
                    "language": one.language,
                    "corpus": sum(
                        stratum.clips for stratum in audit.strata if stratum.language == one.language
                    ),
                    "clips": one.clips,
                    "heard": one.heard,
                    "judgements": {"wanted": one.wanted, "made": one.made},
                    "passed_over": one.passed_over,
                    "seconds": round(one.seconds, 1),
                }
                for one in self.progress
            ],
        }


@asynccontextmanager
async def _open_audits(data_dir: Path | None) -> AsyncIterator[tuple[Audits, Settings]]:
    settings = load_settings(lipika_data_dir=data_dir)
    async with open_database(settings) as database:
        yield Audits(database), settings


async def find_audit_record(audits: Audits, audit_id: int | None) -> AuditRecord:
    """That audit, or the newest. Raises UsageError: there is none."""
    if audit_id is not None:
        found = await audits.one(audit_id)
        if found is None:
            raise UsageError(f"there is no audit {audit_id}: `lipika audit list` shows those there are")
        return found
    newest = await audits.list_audits(1)
    if not newest:
        raise UsageError("nothing has been drawn yet: `lipika audit draw` does")
    return newest[0]


async def draw_audit(order: DrawOrder, data_dir: Path | None) -> AuditState:
    """Draw an audit: one pass over the clips, with a bar."""
    async with _open_audits(data_dir) as (audits, _):
        with progress_bar("Reading clips, once", total=max(await audits.size(), 1)) as advance:
            seen = 0

            def show_passed(passed: int, _of: int) -> None:
                nonlocal seen
                advance(passed - seen, f"{passed:,} clips")
                seen = passed

            audit_id = await draw(audits, order, show_passed)
        return AuditState(await find_audit_record(audits, audit_id), await audits.progress(audit_id))


async def list_states(data_dir: Path | None) -> list[AuditState]:
    """All audits, the newest first."""
    async with _open_audits(data_dir) as (audits, _):
        return [AuditState(audit, await audits.progress(audit.id)) for audit in await audits.list_audits()]


async def show_state(audit_id: int | None, data_dir: Path | None) -> AuditState:
    """One audit; the newest if none is named."""
    async with _open_audits(data_dir) as (audits, _):
        audit = await find_audit_record(audits, audit_id)
        return AuditState(audit, await audits.progress(audit.id))


async def measure_audit(audit_id: int | None, data_dir: Path | None) -> AuditFigures:
    """The figures of an audit; of the newest if none is named."""
    async with _open_audits(data_dir) as (audits, settings):
        audit = await find_audit_record(audits, audit_id)
        clips = await audits.clips(audit.id)
    return make_figures(audit, clips, open_romaniser(settings.align_romaniser))


async def draw_more(
    audit_id: int | None, clips: int, languages: Sequence[str], data_dir: Path | None
) -> tuple[AuditState, int]:
    """A further look at so many clips of each language out of the reserve; returns how many there were.

    Raises:
        UsageError: a language is not in it, the reserve is empty, or what was drawn has not been heard yet.
    """
    async with _open_audits(data_dir) as (audits, _):
        audit = await find_audit_record(audits, audit_id)
        if unknown := sorted(set(languages) - set(audit.languages)):
            raise UsageError(f"audit {audit.id} has no clips of {', '.join(unknown)}")
        progress = await audits.progress(audit.id)
        wanted = dict.fromkeys(languages or audit.languages, clips)
        if left := [one.language for one in progress if one.language in wanted and one.heard < one.clips]:
            raise UsageError(
                f"audit {audit.id} has clips of {', '.join(left)} that nobody has heard: hear these first, since each"
                " further draw makes verdicts harder to get"
            )
        heard, reserve = await audits.clips(audit.id), await audits.reserve(audit.id)
        places, doubled = choose_more(audit, heard, reserve, wanted)
        if not places:
            raise UsageError(f"audit {audit.id} has no clips in reserve any more: draw another audit")
        drawn = await audits.draw_more(audit, places, sorted(doubled))
        if not drawn:
            raise UsageError(
                f"somebody else has just drawn more clips of audit {audit.id}: look at its status"
            )
        return AuditState(await find_audit_record(audits, audit.id), await audits.progress(audit.id)), drawn


async def export_table(
    audit_id: int | None, languages: Sequence[str], data_dir: Path | None, *, everything: bool = False
) -> tuple[int, int, str]:
    """(number of the audit, clips, the table of them): those that still want somebody, or all."""
    async with _open_audits(data_dir) as (audits, _):
        audit = await find_audit_record(audits, audit_id)
        clips = [
            clip
            for clip in await audits.clips(audit.id)
            if (not languages or clip.language in languages) and (everything or _is_wanted(clip))
        ]
        return audit.id, len(clips), write_table(audit.id, clips)


def _is_wanted(clip: HeardClip) -> bool:
    return len(clip.judgements) < 1 + clip.doubled


async def import_table(
    audit_id: int | None, text: str, by: str, data_dir: Path | None
) -> tuple[int, int, int]:
    """(number of the audit, judgements kept, judgements that nobody wants any more).

    Raises:
        UsageError: the table is none of this audit; nothing of it is kept then.
    """
    if not by.strip():
        raise UsageError("--by: say whose judgements these are")
    async with _open_audits(data_dir) as (audits, _):
        audit = await find_audit_record(audits, audit_id)
        found = read_table(text, audit.id, await audits.clips(audit.id))
        kept = 0
        for one in found:
            kept += await audits.judge(audit.id, one.place, by.strip(), usable=one.usable, text=one.text)
        return audit.id, kept, len(found) - kept


# ----------------------------------------------------------------------------- for people


def print_state(state: AuditState, out: Console) -> None:
    """An audit and how far each language is."""
    audit = state.audit
    out.print(
        f"Audit {audit.id}, drawn {audit.drawn_at:%Y-%m-%d %H:%M} by {audit.drawn_by}, seed {audit.seed}"
        f"{f', lane {audit.lane}' if audit.lane else ''}: {state.made:,} of {state.wanted:,} judgements"
    )
    table = Table(box=None, pad_edge=False, header_style="")
    for name, justify in (
        ("language", "left"),
        ("corpus", "right"),
        ("to hear", "right"),
        ("heard", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("judgements", justify="right")
    table.add_column("passed over", justify="right")
    for one in state.progress:
        corpus = sum(stratum.clips for stratum in audit.strata if stratum.language == one.language)
        table.add_row(
            language_words(one.language),
            number(corpus),
            number(one.clips),
            number(one.heard),
            f"{one.made:,} of {one.wanted:,}",
            number(one.passed_over),
        )
    out.print(table)
    left = state.wanted - state.made
    if left:
        out.print(
            f"Left: {left:,} judgements, about {duration(left * _HEARING_S)} of listening. On the board: Audit; or"
            f" `lipika audit export {audit.id} --out clips.csv`."
        )
    else:
        out.print(f"All of it is heard: `lipika audit report {audit.id}`")


def print_figures(figures: AuditFigures, out: Console) -> None:
    """The figures and verdicts, in lines that fit 80 columns."""
    audit = figures.audit
    so_far = "" if figures.complete else ", so far: verdicts come when all is heard"
    out.print(f"Audit {audit.id}: {figures.made:,} of {figures.wanted:,} judgements{so_far}")
    for part in (*figures.languages, *figures.lanes, *figures.tiers):
        name = ", ".join(filter(None, (language_words(part.language), lane_words(part.lane), part.tier)))
        out.print(f"\n{name}: {part.heard:,} of {part.drawn:,} clips heard, of {part.clips:,}")
        out.print(f"  CER            {rate_words(part.cer)}{_words_of(part, 'cer')}")
        out.print(f"  spelling aside {rate_words(part.cer_tolerant)}; {gain_words(part.cer, part.heard)}")
        out.print(f"  unusable       {rate_words(part.unusable)}{_words_of(part, 'unusable')}")
    agreement = figures.agreement
    if agreement.clips:
        cer = (
            ""
            if agreement.cer is None
            else f", their texts differ in {100 * agreement.cer:.1f} % of the letters"
        )
        kappa = "" if agreement.kappa is None else f", kappa of unusable {agreement.kappa:.2f}"
        out.print(f"\nTwo people heard {agreement.clips:,} clips{cer}{kappa}")


def _words_of(part: PartFigures, which: str) -> str:
    verdict = part.cer_verdict if which == "cer" else part.unusable_verdict
    words = verdict_words(part, verdict)
    return f": {words}" if words else ""

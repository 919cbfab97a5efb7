"""The summary that `lipika run` and `lipika demo` print at their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lipika.models import LANES, ModelSums
from lipika.wording import duration, money, most_first

if TYPE_CHECKING:
    from lipika.db.stats import Found, Yield
    from lipika.jobs.transcribe import OpinionFigures, RunSummary

_REASONS_SHOWN = 8
_EMPTY_SHOWN = 10
_LANGUAGES_SHOWN = 25
_FINDINGS_SHOWN = 8


def print_summary(out: Console, summary: RunSummary, where: object) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = (
        ("videos done", f"{summary.done} of {summary.videos}"),
        ("videos failed", f"{summary.failed_videos}"),
        *((("videos of which nothing is left", f"{summary.empty_videos}"),) if summary.empty_videos else ()),
        ("already done before", f"{summary.already_done}"),
        ("segments", f"{summary.segments:,}"),
        ("  discarded", f"{summary.discarded:,}" + _and_parts(summary.parts_discarded)),
        *((f"    {row.reason}", f"{row.discards:,}") for row in summary.left_out[:_REASONS_SHOWN]),
        ("clips", f"{summary.clips:,}"),
        ("  transcribed", f"{summary.transcribed:,}"),
        ("  NO_SPEECH", f"{summary.no_speech:,}"),
        *((("    not asked", f"{summary.not_asked:,}"),) if summary.not_asked else ()),
        ("  failed", f"{summary.failed:,}"),
        ("requests", f"{summary.requests:,}"),
        ("  429s", f"{summary.rate_limited:,}"),
        ("tokens in / out", f"{summary.prompt_tokens:,} / {summary.output_tokens:,}"),
        (
            "dollars",
            money(summary.cost_usd) + (" (simulated: nothing was charged)" if summary.simulated else ""),
        ),
        *_models(summary.models),
        *_second_opinions(summary.second_opinions),
        ("clips per minute", f"{summary.clips_per_minute:,.0f}"),
        ("time", duration(summary.seconds)),
    )
    for name, value in rows:
        table.add_row(name, value)
    out.print(table)
    for row in summary.left_out[:_REASONS_SHOWN] if summary.empty else ():
        out.print(f"{row.reason}, for example: {row.example}", markup=False, soft_wrap=True)
    for video in summary.empty[:_EMPTY_SHOWN]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in most_first(video.discard_reasons))
        told = f"nothing is left of its {video.segment_count:,} segments{reasons and ': '}{reasons}"
        out.print(f"EMPTY   {video.video_id}: {told}", markup=False, soft_wrap=True)
    if summary.empty_videos > _EMPTY_SHOWN:
        out.print(f"        and {summary.empty_videos - _EMPTY_SHOWN:,} more such videos")
    for _video_id, message in summary.errors:
        out.print(f"FAILED  {message}", markup=False, soft_wrap=True)
    if summary.lanes:
        out.print()
        out.print(_hours(summary.lanes))
    if summary.findings:
        out.print(f"Findings (clips): {_list_findings(summary.findings)}", markup=False, soft_wrap=True)
    if summary.simulated and summary.transcribed:
        out.print("\nThe transcripts are SIMULATED: made-up text of plausible length, not what was said.")
    if where is not None:
        out.print(f"Results: {where}", soft_wrap=True)
    if summary.next_step:
        out.print(f"Next: {summary.next_step}", markup=False, soft_wrap=True)


def _models(models: Mapping[str, ModelSums]) -> Sequence[tuple[str, str]]:
    """Of a cascade, each model's part."""
    return [
        (
            f"  {name}",
            f"{sums.answers:,} answers, {money(sums.usd)}"
            + (f", {sums.went_up:,} went up" if sums.went_up else ""),
        )
        for name, sums in models.items()
    ]


def _second_opinions(asked: OpinionFigures | None) -> Sequence[tuple[str, str]]:
    if asked is None:
        return ()
    told = (f"{asked.answered:,} for {money(asked.cost_usd)}", f"{asked.stored_before:,} stored before")
    missing = ((f"{asked.failed:,} failed", asked.failed), (f"{asked.left:,} left", asked.left))
    rows = [("second opinions", ", ".join([*told, *(words for words, count in missing if count)]))]
    return [*rows, *((("  no more", asked.off_because),) if asked.off_because else ())]


def _hours(lanes: Sequence[Yield]) -> Table:
    """Hours of all clips and of each lane, for the languages with the most hours."""
    table = Table("hours of", "all", *LANES, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    digits = 1 if sum(row.hours for row in lanes) >= 100 else 3
    shown: list[tuple[str, Sequence[Yield]]] = [(row.language, (row,)) for row in lanes[:_LANGUAGES_SHOWN]]
    if rest := lanes[_LANGUAGES_SHOWN:]:
        shown.append((f"{len(rest)} others", rest))
    if len(lanes) > 1:
        shown.append(("together", lanes))
    for name, summed in shown:
        figures = (sum(getattr(row, kind) for row in summed) for kind in ("hours", *LANES))
        table.add_row(escape(name), *(f"{hours:,.{digits}f}" for hours in figures))
    return table


def _list_findings(findings: Sequence[Found]) -> str:
    shown = ", ".join(f"{found.code} {found.clips:,}" for found in findings[:_FINDINGS_SHOWN])
    return shown + (
        f", and {len(findings) - _FINDINGS_SHOWN} more" if len(findings) > _FINDINGS_SHOWN else ""
    )


def _and_parts(count: int) -> str:
    return f" (and {count:,} parts of others)" if count else ""

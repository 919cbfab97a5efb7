"""The words of `lipika export`: a plan in figures, and how an export ended."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

from lipika.dataset.plan import PlanReport
from lipika.dataset.selection import REASONS
from lipika.dataset.splits import THEIRS
from lipika.jobs.export_record import ExportDone
from lipika.wording import duration, percent

_SHOWN = 5


def print_plan(done: ExportDone, out: Console) -> None:
    """Hours by language and split, what is dropped, bytes."""
    report = done.report
    _print_tarsets(report, out)
    _print_dropped(report, out)
    size = _size(report.bytes)
    out.print(
        f"{report.clips:,} of {report.candidates:,} clips of {report.videos:,} videos, {_hours(report.duration_ms)},"
        f" about {size}, in {sum(one.shards for one in report.tarsets):,} shards by {report.jobs:,} jobs",
        soft_wrap=True,
    )
    _print_notes(done, out)
    out.print(
        f"Planned in {duration(done.seconds)}; writing takes about {_estimate(done)}; nothing was written."
    )


def print_export(done: ExportDone, out: Console) -> None:
    """The same, and what was written where."""
    report = done.report
    _print_tarsets(report, out)
    _print_dropped(report, out)
    _print_notes(done, out)
    if done.was_complete:
        out.print(
            f"{done.dest} is complete already: {done.clips:,} clips. --again plans it anew.", soft_wrap=True
        )
        return
    resumed = f", {done.resumed:,} of {done.jobs_done:,} jobs were done before" if done.resumed else ""
    out.print(
        f"{done.clips:,} clips, {done.hours:,.2f} h, {_size(done.bytes)} written to {done.dest} in"
        f" {duration(done.seconds)}{resumed}; every shard was read again",
        soft_wrap=True,
    )
    if done.quieter:
        out.print(
            f"{done.quieter:,} clips were made a little quieter: resampled they would have been clipped"
        )
    out.print(f"Card: README.md, samples.html. Check: lipika export verify {done.dest}", soft_wrap=True)


_CLIP_MS = {"parquet": 1.0}
_TAR_MS, _WAV_MS = 0.5, 5.0
"""Milliseconds of CPU a clip with reading and verifying, rounded up: `python -m benchmarks.export`."""

_BYTES_PER_S = 100e6
"""From and to a bucket: a gigabit."""


def _estimate(done: ExportDone) -> str:
    """How long writing takes here, if nothing else holds it up."""
    report = done.report
    ms = _WAV_MS if report.options["form"] == "wav" else _CLIP_MS.get(report.options["format"], _TAR_MS)
    working = report.clips * ms / 1000 / (os.cpu_count() or 1)
    moving = 2 * report.bytes / _BYTES_PER_S
    return f"{duration(max(working, 1))} here, or {duration(max(moving, 1))} from and to a bucket at 100 MB/s"


def _print_tarsets(report: PlanReport, out: Console) -> None:
    splits = list(report.options["splits"])
    if splits == [one.name for one in THEIRS]:
        splits = sorted({one.split for one in report.tarsets})
    table = Table("language", *splits, "clips", "all", box=None)
    for language in sorted({one.language for one in report.tarsets}):
        held = {one.split: one for one in report.tarsets if one.language == language}
        cells = [_hours(held[split].duration_ms) if split in held else "-" for split in splits]
        clips = sum(one.clips for one in held.values())
        table.add_row(language, *cells, f"{clips:,}", _hours(sum(one.duration_ms for one in held.values())))
    if report.tarsets:
        out.print(table)


def _print_dropped(report: PlanReport, out: Console) -> None:
    if not report.dropped:
        return
    table = Table("dropped", "clips", "share", "", box=None)
    order = list(REASONS)
    known = sorted(
        report.dropped.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)
    )
    for reason, (clips, _) in known:
        share = percent(clips / report.candidates) if report.candidates else ""
        table.add_row(reason, f"{clips:,}", share, REASONS.get(reason, ""))
    out.print(table)


def _print_notes(done: ExportDone, out: Console) -> None:
    for note in done.report.notes:
        out.print(f"Note: {note}.", markup=False, soft_wrap=True)
    for line in done.noticed.misfits.lines(_SHOWN):
        out.print(f"Not in the vocabulary: {line}", markup=False, soft_wrap=True)
    problems = done.noticed.problems
    for name, message in problems[:_SHOWN]:
        out.print(f"LEFT OUT  {name}: {message}", markup=False, soft_wrap=True)
    if len(problems) > _SHOWN:
        out.print(f"LEFT OUT  and {len(problems) - _SHOWN:,} more archives")


def _hours(milliseconds: float) -> str:
    return f"{milliseconds / 3_600_000:,.2f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"

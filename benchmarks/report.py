"""`docs/performance.md`, made from the results in `benchmarks/results`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from benchmarks import end_to_end, memory, steps
from benchmarks.setting import REPOSITORY, RESULTS, Machine

PAGE = REPOSITORY / "docs" / "performance.md"
_BARS = "▁▂▃▄▅▆▇█"

T = TypeVar("T")

_TEXT = """\
# Performance

Made by `make bench`, which measures anew and writes this page; `python -m benchmarks report` writes it from the
results that are there. Every figure is measured in a process of its own. The simulator (light profile, over
TLS) and Postgres are other processes on the same machine: they take their share of its cores, but their CPU is
not counted.

CPU times on shared machines grow with what the neighbours do, and two busy cores are slower than one. So
nothing here is judged by milliseconds but by its ratio to the **floor**, measured in the same minutes on the
same clips: decode with libsndfile, encode at its level 0, base64, one POST over TLS with aiohttp, read the
reply. It is what no program can leave out that decodes and sends these clips as FLAC with these libraries.

## CPU by step

{steps}

{steps_notes}

## End to end

{end_to_end}

{end_to_end_notes}

## Memory

{memory}

Resident memory over the time of each run, each bar scaled to {top_mb:,} MB:

```text
{curves}
```

{memory_notes}
"""

_STEPS_NOTES = """\
{clips} clips of {seconds:g} s at 16 kHz, {kilobytes} KB each. Each step runs alone over all clips, by the
product's own functions; "the difference" is what the whole chain costs beyond them: it does its work in threads
beside a busy event loop, claims, beats and reports. Best of {rounds} rounds for each figure, since other
people's load only ever adds.
{where}"""

_END_TO_END_NOTES = """\
`lipika run` over tars of 40 segments of 8 s. CPU is user and system time of the command, per clip, without that
of a run over one tar (mostly start-up: {start:.1f} s). "Steady" is the pace of answers between the first and
the last quarter. The floor is measured before and after by two processes side by side, which keep both cores as
busy as the run does.
{where}"""

_MEMORY_NOTES = """\
The archives of audio hold 8-second segments at 16 kHz and, for every tenth, a minute at 48 kHz and 24 bit. Ten
times the audio raises the peak from {small:,.0f} to {large:,.0f} MB: what is read, polished and in flight is
bounded in bytes, the rest waits on disk. The archives of 100 ms segments hold nothing that can be used; a
video's discards are kept until its metadata is written, about {each:.1f} KB each.
{where}"""


def page() -> str:
    """The page as it should be."""
    by_step = _read("steps", steps.StepsResult)
    runs = _read("end_to_end", list[end_to_end.EndToEnd])
    rss = _read("memory", memory.MemoryResult)
    small, large, few, many = rss.runs
    top_mb = max(run.peak_rss_mb for run in rss.runs)
    return _TEXT.format(
        steps=steps.table(by_step),
        steps_notes=_STEPS_NOTES.format(
            clips=by_step.clips,
            seconds=by_step.clip_seconds,
            kilobytes=round(by_step.clip_bytes / 1000),
            rounds=len(by_step.rounds),
            where=_where(by_step.machine),
        ),
        end_to_end=end_to_end.table(runs),
        end_to_end_notes=_END_TO_END_NOTES.format(start=runs[0].start_s, where=_where(runs[0].machine)),
        memory=memory.table(rss),
        top_mb=round(top_mb),
        curves="\n".join(f"{run.archive:24} {_bars(run, top_mb)}" for run in rss.runs),
        memory_notes=_MEMORY_NOTES.format(
            small=small.peak_rss_mb,
            large=large.peak_rss_mb,
            each=(many.peak_rss_mb - few.peak_rss_mb) / (many.members - few.members) * 1000,
            where=_where(rss.machine),
        ),
    )


def main() -> Path:
    PAGE.write_text(page(), encoding="utf-8")
    return PAGE


def _read(name: str, kind: type[T]) -> T:
    return TypeAdapter(kind).validate_json((RESULTS / f"{name}.json").read_bytes())


def _where(machine: Machine) -> str:
    before, after = machine.load
    return (
        f"Measured {machine.when} on {machine.cores} cores of {machine.cpu} ({machine.system}), Python"
        f" {machine.python}; load average {before:g} before, {after:g} after."
    )


def _bars(run: memory.Memory, top_mb: float) -> str:
    heights: Sequence[float] = [sample.rss_mb / top_mb for sample in run.curve]
    return "".join(_BARS[min(int(height * len(_BARS)), len(_BARS) - 1)] for height in heights)

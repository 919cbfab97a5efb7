"""The part of `docs/performance.md` about `lipika export`, made from its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import export, export_kills, export_rows, export_scale
from benchmarks.setting import Machine, read

CORPUS_CLIPS, CORPUS_BYTES, MACHINES, CORES = 100_000_000, 16.5e12, 18, 8
"""The corpus that the arithmetic is about: clips, bytes of FLAC; machines, and cores of each."""

_LINK_BYTES = 1e9 / 8  # a second: 1 Gbit/s each way
_CLIPS_A_SHARD, _SHARDS_A_JOB, _LANGUAGES = 5_000, 4, 12

Where = Callable[[Machine], str]


def section(where: Where) -> str:
    """Everything there are results for; `where` writes a machine's line."""
    cost = read("export", export.ExportCost)
    if cost is None:
        return ""
    parts = [_cost(cost, where), *_scale(where), *_rows(where), *_corpus(cost), *_kills(where)]
    return "## Exports\n" + "".join(parts)


def _cost(cost: export.ExportCost, where: Where) -> str:
    beside = "" if cost.lhotse is not None else " lhotse was not at hand."
    return f"""
{export.table(cost)}

One job of `lipika export` on one core, FLAC as packed: result tars read, shards written, read again and put in their
place, of {cost.clips:,} clips of {cost.clip_bytes / 1000:.0f} KB. Two SHA-256 of every byte are in it, as it is
written and as it is read back. Beside it the bytes alone: the same tars read, and as many bytes written, by plain
calls.{beside}
Planning from archives takes {cost.read:.2f} ms a clip to read their documents, and {cost.planned:.2f} ms to plan.
Best of {cost.rounds} rounds in turn.
{where(cost.machine)}
"""


def _scale(where: Where) -> Iterator[str]:
    found = read("export_scale", export_scale.ScaleResult)
    if found is not None:
        last = found.runs[-1]
        yield f"""
**Clips made small** (1 to 2 KB of FLAC, 200 to a result tar), so that a disk holds many: `lipika export nemo` from
result tars, by two processes, with the memory of all of them.

{export_scale.table(found)}

{last.clips:,} clips are {last.source_bytes / 1e9:.1f} GB of result tars and {last.written_bytes / 1e9:.1f} GB of
shards in {last.files:,} files; their plan takes {last.plan_bytes / last.clips:.0f} bytes a clip, with texts that are
much alike. Reading takes the same memory for any number of clips, writing what the rows of a job take (20,000 clips
at most; small exports have smaller jobs), and planning up to `--memory` (2 GB) and what Arrow holds beside it.
{where(found.machine)}
"""


def _rows(where: Where) -> Iterator[str]:
    found = read("export_rows", export_rows.RowsResult)
    if found is not None:
        ran = found.ran
        reading = ran.phases.get("planning", 0.0)
        scans = ", ".join(found.scans) or "none"
        yield f"""
**From rows**: {found.rows:,} in Postgres. A page of whole videos, with its end found and its rows copied, takes no
longer at the end of the table than at its beginning; tables read from end to end for it: {scans}.

{export_rows.table(found)}

Reading all of them takes {reading / 60:.0f} minutes and planning {(ran.wall_s - reading) / 60:.0f}, with \
{ran.cpu_s / 60:.0f} minutes of CPU together,
{ran.peak_mb / 1000:.1f} GB of memory at most and {ran.disk_mb / 1000:.0f} GB of temporary disk, where the plan is
sorted.
{where(found.machine)}
"""


def _corpus(cost: export.ExportCost) -> Iterator[str]:
    rows = read("export_rows", export_rows.RowsResult)
    scale = read("export_scale", export_scale.ScaleResult)
    if rows is None or scale is None:
        return
    cpu_h = CORPUS_CLIPS * cost.formats["nemo"] / 3_600_000
    link_h = CORPUS_BYTES / MACHINES / _LINK_BYTES / 3600
    shards = CORPUS_CLIPS // _CLIPS_A_SHARD
    times = CORPUS_CLIPS / rows.rows
    plan_gb = scale.runs[-1].plan_bytes / scale.runs[-1].clips * CORPUS_CLIPS / 1e9
    yield f"""
**A hundred million clips** ({CORPUS_BYTES / 1e12:g} TB, {MACHINES} machines of {CORES} cores at 1 Gbit/s), by the
figures above:

| | |
|---|---:|
| CPU of writing `nemo`, one core | {cpu_h:.1f} h |
| the same on all {MACHINES * CORES} cores | {cpu_h * 60 / MACHINES / CORES:.0f} min |
| network, each machine's share in and out at the same time | {link_h:.1f} h |
| shards, jobs | {shards:,}, {shards // _SHARDS_A_JOB:,} |
| files in a folder of NeMo's, {_LANGUAGES} languages alike | {2 * shards // _LANGUAGES:,} |
| reading rows, one machine | {rows.ran.phases.get("planning", 0.0) * times / 3600:.1f} h |
| planning, one machine | {(rows.ran.wall_s - rows.ran.phases.get("planning", 0.0)) * times / 3600:.1f} h |
| `plan.parquet`; temporary disk of planning | {plan_gb:.0f} GB; {rows.ran.disk_mb * times / 1e6:.2f} TB |

So the network binds, by far. Reading and planning are those of {rows.rows / 1e6:.0f} million rows, \
{times:.0f} times.
"""


def _kills(where: Where) -> Iterator[str]:
    found = read("export_kills", export_kills.KillsResult)
    if found is not None:
        fell = ", ".join(f"{seen} {count}" for seen, count in sorted(found.fell.items()))
        yield f"""
**Killed**: {found.exports} exports of {found.clips:,} clips in five formats got `kill -9` {found.kills} times at
random moments (what was there of them then: {fell}) and were run again: {len(found.problems)} ended with other bytes.
{found.jobs_kept} jobs were found done and kept.
{where(found.machine)}
"""

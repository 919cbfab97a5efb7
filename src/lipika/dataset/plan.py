"""The plan of an export: which clip goes to which shard. What is exported is a function of it alone.

Candidates are on disk, and DuckDB works over them with a bounded share of memory, so that a hundred million of them
are planned as a thousand are. `plan.parquet` has one group of rows for each job, in the order in which it reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lipika.dataset.candidates import SCHEMA
from lipika.dataset.selection import Selection, case_of, conditions
from lipika.dataset.splits import THEIRS, Split, components, fill_empty_splits, keep_their_splits
from lipika.dataset.sql import error_words, errors_in_words, sql_name, sql_path
from lipika.dataset.user_files import COLUMNS, SPEAKER, UserFiles, read_columns, read_splits, read_videos
from lipika.dataset.wanted import TEXT_FIELDS
from lipika.errors import AccountingError, UsageError

PLAN, DROPPED = "plan.parquet", "dropped.parquet"
SAMPLES_EACH = 20
"""Clips of each language to listen to on the card."""

_FORMAT = "lipika-export/1"
_KEY = b"lipika"
_SHARD_BYTES = 1 << 30
_BATCH = 20_000
_BLANK = re.compile(r"\{(mark|reason|skip|values)\}")  # in a query, to be filled in


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """All that decides what is exported, besides the results themselves."""

    selection: Selection
    format: str
    view: Mapping[str, str]  # the text view and its policies, for the record
    form: str = "flac"
    sample_rate_hz: int = 0  # 0: as packed
    splits: tuple[Split, ...] = (Split("train", 1.0),)
    seed: str = "0"
    group_by: str = ""
    max_same_text: int = 0
    keep_duplicates: bool = False
    clips_per_shard: int = 5_000
    shards_per_job: int = 4
    audio_root: str = ""
    source: str = ""  # of archives: how many were named, and a digest of their names; "": the database

    def document(self) -> dict[str, object]:
        """For the record, in `plan.parquet` and `dataset.json`."""
        return asdict(self) | {
            "selection": self.selection.document(),
            "splits": {split.name: split.share for split in self.splits},
        }


@dataclass(frozen=True, slots=True)
class PlannedTarset:
    """One language and split as planned; `bytes` are an estimate."""

    language: str
    split: str
    shards: int
    clips: int
    duration_ms: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The plan in figures. `dropped` is by reason, clips and ms."""

    options: Mapping[str, Any]
    candidates: int
    videos: int
    jobs: int
    tarsets: tuple[PlannedTarset, ...]
    dropped: Mapping[str, tuple[int, int]]
    changes: Mapping[str, int]
    newest: str
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()  # archives that cannot be read, and why

    @property
    def clips(self) -> int:
        return sum(one.clips for one in self.tarsets)

    @property
    def duration_ms(self) -> int:
        return sum(one.duration_ms for one in self.tarsets)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.tarsets)

    def document(self) -> dict[str, Any]:
        """For `--json`, and within `plan.parquet`."""
        return {
            "format": _FORMAT,
            **asdict(self),
            "tarsets": [asdict(one) for one in self.tarsets],
            "clips": self.clips,
            "duration_ms": self.duration_ms,
            "bytes": self.bytes,
        }


class CandidateFile:
    """Candidates as they come, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = pq.ParquetWriter(path, pa.schema([*SCHEMA, *TEXT_FIELDS]), compression="zstd")
        self.clips = 0

    def add(self, table: pa.Table) -> None:
        self._writer.write_table(table.select(self._writer.schema.names).cast(self._writer.schema))
        self.clips += table.num_rows

    def close(self) -> None:
        self._writer.close()


@dataclass(slots=True)
class _Planner:
    """One planning, in a database of its own."""

    connection: duckdb.DuckDBPyConnection
    options: PlanOptions
    queries: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    def run(
        self, name: str, fill: Mapping[str, str] | None = None, **params: object
    ) -> duckdb.DuckDBPyConnection:
        filled = {"mark": "skip" if self.options.selection.skipme else "reason"} | dict(fill or {})
        query = _BLANK.sub(lambda blank: filled[blank[1]], self.queries[name])
        used = {key: value for key, value in params.items() if f"${key}" in query}
        return self.connection.execute(query, used or None)


def make_plan(
    candidates: Path,
    out: Path,
    options: PlanOptions,
    user: UserFiles,
    *,
    threads: int,
    memory: str = "2GB",
    left_out: Iterable[tuple[str, str]] = (),
    packed: bool = False,
) -> PlanReport:
    """Plan what is exported of the candidates; writes `plan.parquet` and `dropped.parquet` into `out`. Blocks.

    What was `left_out`, archives with the reason, goes on record with the plan. Of a `packed` corpus the plan
    says the segment of each clip, too, by which jobs find the words of its owner.

    Raises:
        UsageError: nothing is left to export; or a list, table or condition of the user cannot be used.
    """
    work = out / "plan.duckdb"
    work.unlink(missing_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {"threads": threads, "memory_limit": memory}
    with errors_in_words(memory, out), duckdb.connect(str(work), config=config) as connection:
        connection.execute(f"set temp_directory = {sql_path(out / 'plan.tmp')}")
        planner = _Planner(connection, options, _queries())
        _read(planner, candidates, user)
        _choose(planner)
        _split(planner, user)
        _deal(planner)
        report = _report(planner, left_out)
        _write_plan(planner, out, report, packed=packed)
    work.unlink(missing_ok=True)
    return report


def _read(planner: _Planner, candidates: Path, user: UserFiles) -> None:
    connection = planner.connection
    connection.execute(planner.queries["settings"])
    known = {*SCHEMA.names, *(one.name for one in TEXT_FIELDS), "file_row_number"}
    extra = {} if user.columns is None else read_columns(connection, user.columns, known)
    speaker = "concat(k.video_id, '_', k.speaker_id)"
    if SPEAKER in extra:
        speaker = f"coalesce(nullif(u.{extra.pop(SPEAKER)}, ''), {speaker})"
    others = "".join(f", u.{name}" for name in extra.values())
    join = f"left join {COLUMNS} u using (video_id)" if user.columns is not None else ""
    connection.execute(
        f"create view known as select k.*, {speaker} as speaker{others}"
        f" from read_parquet({sql_path(candidates)}, file_row_number = true) k {join}"
    )
    if user.videos is not None:
        read_videos(connection, user.videos)
    if user.splits_of is not None:
        read_splits(connection, user.splits_of, [split.name for split in planner.options.splits])


def _choose(planner: _Planner) -> None:
    wanted = planner.options.selection
    asked = conditions(wanted)
    if wanted.skipme:
        reason = case_of([one for one in asked if one.always], otherwise="''")
        skip = case_of([one for one in asked if not one.always], otherwise="coalesce(text_drop, '')")
    else:
        reason, skip = case_of(asked, otherwise="coalesce(text_drop, '')"), "''"
    try:
        planner.run("candidates", {"reason": reason, "skip": skip}, seed=planner.options.seed)
    except duckdb.Error as error:
        if not wanted.where:
            raise
        names = ", ".join(name for name in _columns(planner) if name != "file_row_number")
        raise UsageError(f"--where {wanted.where}: {error_words(error)}. Columns: {names}") from None
    planner.run("same_clip")
    if not planner.options.keep_duplicates:
        planner.run("same_audio", seed=planner.options.seed)


def _split(planner: _Planner, user: UserFiles) -> None:
    options, connection = planner.options, planner.connection
    _group(planner)
    if options.splits == THEIRS:
        planner.notes += keep_their_splits(connection, options.group_by)
        if options.max_same_text:
            planner.run("same_text", most=options.max_same_text)
        return
    planner.run("splits", seed=options.seed)
    reached = 0.0
    for split in options.splits:
        reached += split.share
        last = split is options.splits[-1]
        connection.execute(
            "update splits set split = $split where split = '' and place < $reached",
            {"split": split.name, "reached": 2.0 if last else reached},
        )
    names = [split.name for split in options.splits]
    if user.splits_of is not None:
        planner.run("keep_splits", splits=names)
        if apart := planner.run("apart").fetchall()[0][0]:
            planner.notes.append(
                f"{apart:,} group{'s' if apart > 1 else ''} {'have' if apart > 1 else 'has'} videos of several splits"
                f" of the earlier export: all go to the first of them, in the order {', '.join(names)}"
            )
    planner.notes += fill_empty_splits(connection, options.splits)
    planner.run("in_split")
    for place, name in enumerate(names):
        if place:
            planner.run("sentences", split=name, before=names[:place])
            if options.keep_duplicates:
                planner.run("sounds", split=name, before=names[:place])
    if options.max_same_text:
        planner.run("same_text", most=options.max_same_text)
    left = {str(row[0]) for row in connection.execute("select distinct split from in_split").fetchall()}
    said = {note.partition(" ")[0] for note in planner.notes if " is empty" in note}
    for name in names:
        if left and name not in left | said:
            planner.notes.append(f"{name} is empty: all that it would hold is in earlier splits, too")


def _group(planner: _Planner) -> None:
    column, connection = planner.options.group_by, planner.connection
    values = "select video_id, video_id as value from clips group by video_id"
    if column:
        known = _columns(planner)
        if column not in known:
            raise UsageError(f"--group-by {column}: there is no such column; there are {', '.join(known)}")
        value = f"{sql_name(column)}::varchar"
        values = f"select distinct video_id, {value} as value from known where {value} <> ''"
        many = planner.run("values_per_video", {"values": values}).fetchall()
        if any(len(found) > 1 for _, found in many):
            merged = components(many)
            connection.register(
                "merged_rows", pa.table({"video_id": list(merged), "value": list(merged.values())})
            )
            connection.execute("create table merged as select * from merged_rows")
            values = "select video_id, value from merged"
    planner.run("groups", {"values": values})


def _columns(planner: _Planner) -> list[str]:
    """The names of all columns of a candidate."""
    return [str(row[0]) for row in planner.connection.execute("describe known").fetchall()]


def _deal(planner: _Planner) -> None:
    options = planner.options
    size: dict[str, object] = {"clips": options.clips_per_shard, "bytes": _SHARD_BYTES}
    planner.run("videos", None, **size, seed=options.seed, shards=options.shards_per_job)
    planner.run("shards", None, **size)
    planner.run("twins")
    planner.run("heard", most=SAMPLES_EACH)


def _report(planner: _Planner, left_out: Iterable[tuple[str, str]]) -> PlanReport:
    candidates, videos, newest = planner.run("whole").fetchall()[0]
    reasons = {reason: (clips, ms or 0) for reason, clips, ms in planner.run("reasons").fetchall()}
    kept, _ = reasons.pop("", (0, 0))
    tarsets = tuple(PlannedTarset(*row) for row in planner.run("tarsets").fetchall())
    report = PlanReport(
        options=planner.options.document(),
        candidates=candidates,
        videos=videos,
        jobs=_count(planner, "select coalesce(max(job), -1) + 1 from shards"),
        tarsets=tarsets,
        dropped=reasons,
        changes=dict(planner.run("changes").fetchall()),
        newest=newest.isoformat() if newest is not None else "",
        notes=tuple(planner.notes),
        left_out=tuple(sorted(left_out)),
    )
    if kept != report.clips or report.clips + sum(clips for clips, _ in reasons.values()) != candidates:
        raise AccountingError(
            f"{candidates:,} candidates, {kept:,} kept, {report.clips:,} planned: {reasons}"
        )
    return report


def _count(planner: _Planner, query: str) -> int:
    return int(planner.connection.execute(query).fetchall()[0][0])


def _write_plan(planner: _Planner, out: Path, report: PlanReport, *, packed: bool) -> None:
    planner.connection.execute(
        f"copy ({planner.queries['dropped']}) to {sql_path(out / DROPPED)} (format parquet, compression zstd)"
    )
    more = planner.queries["of_packed"].partition("\n")[2] if packed else ""
    stream = planner.connection.sql(planner.queries["plan"].replace("{more}", more)).to_arrow_reader(_BATCH)
    about = json.dumps(report.document(), ensure_ascii=False)
    schema = stream.schema.with_metadata({_KEY: about.encode()})
    half = out / f"{PLAN}.half"
    with pq.ParquetWriter(half, schema, compression="zstd") as writer:
        for job in _group_by_job(stream, schema):
            writer.write_table(job, row_group_size=job.num_rows)
    half.replace(out / PLAN)


def _group_by_job(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Each job's rows as one table. The batches are in the order of jobs."""
    held: list[pa.RecordBatch] = []
    job = None
    for batch in batches:
        jobs = batch.column(schema.get_field_index("job")).to_numpy()
        start = 0
        while start < batch.num_rows:
            end = int(jobs.searchsorted(jobs[start], side="right"))
            if held and jobs[start] != job:
                yield pa.Table.from_batches(held).replace_schema_metadata(schema.metadata)
                held = []
            job = jobs[start]
            held.append(batch.slice(start, end - start))
            start = end
    if held:
        yield pa.Table.from_batches(held).replace_schema_metadata(schema.metadata)


def read_report(plan: Any) -> PlanReport:
    """The figures within a `plan.parquet`: its path, or an open file.

    Raises:
        UsageError: this is no plan of ours.
    """
    try:
        about = json.loads((pq.read_schema(plan).metadata or {})[_KEY])
        if about["format"] != _FORMAT:
            raise UsageError(f"the plan is of another version: {about['format']}, not {_FORMAT}")
        return PlanReport(
            options=about["options"],
            candidates=about["candidates"],
            videos=about["videos"],
            jobs=about["jobs"],
            tarsets=tuple(PlannedTarset(**one) for one in about["tarsets"]),
            dropped={reason: (clips, ms) for reason, (clips, ms) in about["dropped"].items()},
            changes=about["changes"],
            newest=about["newest"],
            notes=tuple(about["notes"]),
            left_out=tuple((name, why) for name, why in about["left_out"]),
        )
    except (KeyError, ValueError, pa.ArrowInvalid) as error:
        raise UsageError(f"{PLAN} is no plan of lipika: {error!r}") from None


def _queries() -> dict[str, str]:
    text = (files("lipika.dataset") / "plan.sql").read_text(encoding="utf-8")
    parts = text.split("-- name: ")[1:]
    return {part.partition("\n")[0].strip(): part.partition("\n")[2].strip() for part in parts}

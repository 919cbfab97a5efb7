"""Bytes a row of the big tables takes: rows of a real run of the samples, multiplied, in a Postgres of its own.

python -m benchmarks.table_sizes            # a minute, 1 GB of disk
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console

from benchmarks.setting import machine, save, scratch_folder
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.demo import run_demo

_TABLES = ("transcription_results", "transcription_flags", "video_queue")


@dataclass(frozen=True, slots=True)
class TableSize:
    """Bytes a row: the table with what lies outside of it, and its indexes."""

    table: str
    rows: int
    table_bytes: float
    index_bytes: float


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table_sizes", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="of results")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with scratch_folder() as folder:
        asyncio.run(run_demo(folder / "out", folder / "postgres", Console(stderr=True)))
        sizes = _measure(folder / "postgres", options.rows)
    for size in sizes:
        print(
            f"{size.table:24}{size.rows:>10,} rows {size.table_bytes:>8.0f} B/row"
            f" + {size.index_bytes:>6.0f} B/row of indexes"
        )
    save("table_sizes", {"machine": machine(load), "tables": [asdict(size) for size in sizes]})
    return 0


def _measure(data_dir: Path, rows: int) -> list[TableSize]:
    with EmbeddedPostgres(data_dir) as server:
        url = server.url.rpartition("/")[0] + "/lipika_demo"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "set session_replication_role = replica"
            )  # no counters: they are measured apart
            (there,) = connection.execute("select count(*) from transcription_results").fetchone() or (0,)
            for table in _TABLES:
                _multiply(connection, table, max(rows // there, 1))
            return [_size(connection, table) for table in _TABLES]


def _multiply(connection: psycopg.Connection[tuple[object, ...]], table: str, times: int) -> None:
    """Copies under new video ids; what Postgres gives by itself (ids, order of entry) is given anew."""
    given = connection.execute(
        "select column_name from information_schema.columns where table_name = %s"
        " and column_name not in ('id', 'arrival', 'video_id') order by ordinal_position",
        (table,),
    ).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(str(name)) for (name,) in given)
    connection.execute(
        sql.SQL(
            "insert into {table} (video_id, {columns})"
            " select video_id || '_' || n, {columns} from {table} cross join generate_series(2, {times}) n"
        ).format(table=sql.Identifier(table), columns=columns, times=times)
    )
    connection.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(table)))


def _size(connection: psycopg.Connection[tuple[object, ...]], table: str) -> TableSize:
    found = connection.execute(
        sql.SQL(
            "select count(*)::float8, pg_table_size({name})::float8, pg_indexes_size({name})::float8 from {table}"
        ).format(name=sql.Literal(table), table=sql.Identifier(table))
    ).fetchone()
    assert found is not None
    rows, heap, indexes = (float(str(value)) for value in found)
    return TableSize(table, int(rows), heap / rows, indexes / rows)


if __name__ == "__main__":
    raise SystemExit(main())

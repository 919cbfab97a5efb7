"""Bytes a row of the big tables takes: rows of a real run of the samples, multiplied, in a Postgres of its own.

python -m benchmarks.table_sizes            # a minute, 1 GB of disk

Every clip has been listened to: a recogniser's text and word times, and another voter, lie beside its row, which may
take `RESULT_BYTES` with its indexes at most; beyond, the exit code is 1.
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

RESULT_BYTES = 1_950
_TABLES = ("transcription_results", "transcription_voters", "transcription_flags", "video_queue")


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
    whole = sizes[0].table_bytes + sizes[0].index_bytes
    if whole > RESULT_BYTES:
        print(f"a result row takes {whole:,.0f} bytes with its indexes, {RESULT_BYTES:,} at most")
    return int(whole > RESULT_BYTES)


def _measure(data_dir: Path, rows: int) -> list[TableSize]:
    with EmbeddedPostgres(data_dir) as server:
        url = server.url.rpartition("/")[0] + "/lipika_demo"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_LISTENED)
            connection.execute(_WEIGHED)
            connection.execute("vacuum full transcription_results")
            connection.execute(
                "set session_replication_role = replica"
            )  # no counters: they are measured apart
            (there,) = connection.execute("select count(*) from transcription_results").fetchone() or (0,)
            for table in _TABLES:
                _multiply(connection, table, max(rows // there, 1))
            return [_size(connection, table) for table in _TABLES]


# As `Alignment` is written; each word of a text as long as the answer begins and ends at a millisecond.
_LISTENED = """
  update transcription_results r set alignment_score = 0.9712, alignment = jsonb_build_object(
    'score', 0.9712, 'agreement', 'agree', 'excluded', '', 'heard', r.transcription, 'language', r.detected_language,
    'spoken_language', r.detected_language, 'missing_tail', '', 'version', '2+0123456789ab+aksharamukha-2.3',
    'share_lacking', 0.0769, 'share_unheard', 0.0, 'share_missing', 0.0769, 'word_score', 0.9134, 'words_missing', '',
    'words', (
      select jsonb_agg(jsonb_build_array(word, number * 6, number * 310 + 150, number * 310 + 412, 0.9312))
      from regexp_split_to_table(r.transcription, ' +') with ordinality as w (word, number)
    )
  )
  where r.status = 'transcribed'
"""
_WEIGHED = """
  update transcription_voters v set tier = 'gold',
    voters = jsonb_build_array(jsonb_build_object(
      'name', 'gemini-3-flash-preview', 'kind', 'model', 'text', v.alignment ->> 'heard', 'digest', v.audio_digest
    )),
    consensus = jsonb_build_object(
      'tier', 'gold', 'distance', 0.0288, 'between', jsonb_build_array('gemini-3-flash-preview', 'indicconformer'),
      'voters', 3, 'version', '1+aksharamukha-2.3'
    )
"""


def _multiply(connection: psycopg.Connection[tuple[object, ...]], table: str, times: int) -> None:
    """Copies under new video ids, outputs and audio, whose index would be small if many rows had the same.

    What Postgres gives by itself (ids, order of entry) is given anew.
    """
    given = connection.execute(
        "select column_name from information_schema.columns where table_name = %s"
        " and column_name not in ('id', 'arrival', 'video_id') order by ordinal_position",
        (table,),
    ).fetchall()
    names = [str(name) for (name,) in given]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    anew = {"output_key": "{} || '_' || n", "audio_digest": "encode(sha256(({} || n)::bytea), 'hex')"}
    values = sql.SQL(", ").join(sql.SQL(anew.get(name, "{}")).format(sql.Identifier(name)) for name in names)
    connection.execute(
        sql.SQL(
            "insert into {table} (video_id, {columns})"
            " select video_id || '_' || n, {values} from {table} cross join generate_series(2, {times}) n"
            " order by n, md5(video_id || n)"  # mixed as they arrive: rows of one size fill pages otherwise
        ).format(table=sql.Identifier(table), columns=columns, values=values, times=times)
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

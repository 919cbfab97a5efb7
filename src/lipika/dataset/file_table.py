"""All files of an export with their checksums: on disk, since some formats have one for each clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import duckdb
import pyarrow as pa

from lipika.dataset.model import AudioForm, FileFact

_ROWS = 50_000
_NAMES = ["path", "size", "sha256", "is_audio"]
_AUDIO = tuple(f".{form}" for form in AudioForm)


class FileTable:
    """Facts of files, in a table of this connection's database."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        connection.execute("create table files (path varchar, size bigint, sha256 varchar, is_audio bool)")

    def add(self, facts: Iterable[FileFact]) -> None:
        rest = iter(facts)
        while page := list(islice(rest, _ROWS)):
            columns = (
                [fact.path for fact in page],
                [fact.size for fact in page],
                [fact.sha256 for fact in page],
                [fact.path.endswith(_AUDIO) for fact in page],
            )
            table = pa.Table.from_arrays([pa.array(values) for values in columns], names=_NAMES)
            self._connection.register("facts", table)
            self._connection.execute("insert into files select * from facts")
            self._connection.unregister("facts")

    def list_described(self) -> list[FileFact]:
        """Every file by path, but of audio files one for each folder."""
        found = self._connection.execute(
            """
            select path, size, sha256 from files where not is_audio
            union all
            select min(path), arg_min(size, path), arg_min(sha256, path) from files where is_audio
            group by regexp_extract(path, '(.*/)?'), regexp_extract(path, '[.][^.]*$')
            order by path
            """
        )
        return [FileFact(*row) for row in found.fetchall()]

    def list_paths(self) -> list[str]:
        """All of them."""
        return [
            path for (path,) in self._connection.execute("select path from files order by path").fetchall()
        ]

    def list_sums(self) -> Iterator[bytes]:
        """The lines of `sha256sum`, by path."""
        found = self._connection.cursor().execute(
            "select concat(sha256, '  ', path, chr(10)) from files order by path"
        )
        while page := found.fetchmany(_ROWS):
            yield "".join(line for (line,) in page).encode()

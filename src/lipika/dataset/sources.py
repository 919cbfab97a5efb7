"""Candidates from where results lie: the rows of the database, or result archives alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from io import BytesIO

import orjson
import pyarrow as pa
from pyarrow import csv

from lipika.archive.documents import CLIP_FORMAT, METADATA_NAME
from lipika.archive.references import SegmentSource
from lipika.archive.results import (
    ResultArchive,
    archive_on_record,
    find_results,
    foreign_archive_error,
    usable_entries,
)
from lipika.archive.tar import Source
from lipika.dataset.candidates import SCHEMA, candidate_of
from lipika.dataset.packed import packed_segments
from lipika.dataset.vocabulary import Misfits
from lipika.dataset.wanted import TextRules, add_texts
from lipika.db.candidates import Candidates
from lipika.db.connection import Database
from lipika.errors import ArchiveError, StorageError, VideoError
from lipika.processes import group_items, spread
from lipika.storage import Store, StoreSettings

_ARCHIVES_PER_UNIT = 8
_NEEDED = ("video_id", "status", "duration_ms", "audio_digest", "speaker_id")
_FEW_UNITS = 4


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """Candidates with their texts. `problems` are archives that could not be read, with the reason."""

    table: pa.Table
    videos: int
    misfits: Misfits  # characters that a model's vocabulary lacks
    problems: tuple[tuple[str, str], ...] = ()
    packed: bool = False  # an archive among them says what its segments were before; never of rows


@dataclass(frozen=True, slots=True)
class _Page:
    csv: bytes = field(repr=False)
    videos: int
    output_url: str
    rules: TextRules


async def candidates_of_rows(
    database: Database, output_url: str, rules: TextRules, jobs: int
) -> AsyncGenerator[CandidateBatch, None]:
    """All rows of the database. `output_url` is where keys of archives belong that are no URLs."""

    async def pages() -> AsyncIterator[_Page]:
        async for page in Candidates(database).pages():
            yield _Page(page.csv, page.videos, output_url, rules)

    async for batch in spread(_read_page, pages(), jobs):
        yield batch


def _read_page(page: _Page) -> CandidateBatch:
    options = csv.ConvertOptions(
        column_types=SCHEMA,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
        timestamp_parsers=[csv.ISO8601],
    )
    parse = csv.ParseOptions(newlines_in_values=True)
    read = csv.ReadOptions(block_size=max(len(page.csv), 1))  # a row may be longer than a block
    table = csv.read_csv(BytesIO(page.csv), read, parse, options)
    keys = table.column("archive").combine_chunks().dictionary_encode()
    urls = [archive_on_record(key, page.output_url).url for key in keys.dictionary.to_pylist()]
    archives = pa.DictionaryArray.from_arrays(keys.indices, pa.array(urls, pa.string())).cast(pa.string())
    place = table.schema.get_field_index("archive")
    table, misfits = add_texts(table.set_column(place, "archive", archives), page.rules)
    return CandidateBatch(table, page.videos, misfits)


@dataclass(frozen=True, slots=True)
class _Archives:
    archives: tuple[ResultArchive, ...]
    settings: StoreSettings
    rules: TextRules


async def candidates_of_archives(
    sources: Sequence[str], settings: StoreSettings, rules: TextRules, jobs: int
) -> AsyncGenerator[CandidateBatch, None]:
    """All clips of result archives. Each is read once; of the audio only its size is looked at.

    Raises:
        UsageError: a source names nothing.
    """

    found = group_items(find_results(sources, settings), _ARCHIVES_PER_UNIT)
    first = [group async for group in _first(found, _FEW_UNITS)]

    async def groups() -> AsyncIterator[_Archives]:
        for group in first:
            yield _Archives(tuple(group), settings, rules)
        async for group in found:
            yield _Archives(tuple(group), settings, rules)

    few = len(first) < _FEW_UNITS  # processes of their own would cost more than they save
    async for batch in spread(_read_archives, groups(), 1 if few else jobs):
        yield batch


async def _first(
    groups: AsyncIterator[list[ResultArchive]], count: int
) -> AsyncIterator[list[ResultArchive]]:
    for _ in range(count):
        try:
            yield await anext(groups)
        except StopAsyncIteration:
            return


def _read_archives(unit: _Archives) -> CandidateBatch:
    tables = [SCHEMA.empty_table()]
    problems: list[tuple[str, str]] = []
    packed = False
    for archive in unit.archives:
        try:
            table, is_packed = _read_archive(archive, unit.settings)
            tables.append(table)
            packed |= is_packed
        except (VideoError, StorageError) as error:
            problems.append((archive.url, str(error)))
    table, misfits = add_texts(pa.concat_tables(tables), unit.rules)
    return CandidateBatch(table, len(unit.archives) - len(problems), misfits, tuple(problems), packed)


def _read_archive(archive: ResultArchive, settings: StoreSettings) -> tuple[pa.Table, bool]:
    sizes: dict[str, int] = {}
    said: dict[str, SegmentSource] = {}
    rows = []
    store = Store.open(archive.root, replace(settings, read_bytes=1 << 20))
    with closing(store.open_read(archive.key)) as reader:
        source = Source(reader)
        for entry in usable_entries(source):
            folder, _, name = entry.name.rpartition("/")
            stem = name.rpartition(".")[0]
            if entry.name == METADATA_NAME:
                said = packed_segments(source.take())
            elif folder == "segments":
                sizes[stem] = entry.size
            elif folder == "transcriptions":
                row = _candidate(source.take(), stem, archive.url, sizes.get(stem))
                if (segment := said.get(str(row["source_segment"]))) is not None:
                    row["source_split"] = segment.split or None
                rows.append(row)
    if not sizes and not rows:
        raise foreign_archive_error("no clip is in it")
    try:
        return pa.Table.from_pylist(rows, SCHEMA), bool(said)
    except (pa.ArrowException, OverflowError) as error:
        raise ArchiveError("bad_document", f"a document holds what no clip has: {error}") from None


def _candidate(document: bytes, stem: str, url: str, size: int | None) -> dict[str, object]:
    try:
        found = orjson.loads(document)
        if found["format"] != CLIP_FORMAT:
            raise foreign_archive_error(f"{stem}.json is {found['format']!r}, not {CLIP_FORMAT!r}")
        candidate = candidate_of(found, stem, url, size)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError("bad_document", f"{stem}.json is no document of a clip: {error!r}") from None
    if missing := [name for name in _NEEDED if candidate[name] is None]:
        raise ArchiveError("bad_document", f"{stem}.json does not say its {missing[0]}")
    return candidate

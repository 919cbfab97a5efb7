"""The shards of one job: archives read once, front to back, clips dealt to open shards; verified and put in place.

A job is a function of the plan and its number: done again it gives the same bytes. Its record comes last; a job with
a record is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from lipika.archive.documents import METADATA_NAME
from lipika.archive.results import usable_entries
from lipika.archive.tar import Source
from lipika.audio.flac import StreamInfo
from lipika.dataset.convert import to_flac, to_wav
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Reader, ShardWriter, WrittenFile
from lipika.dataset.formats.fields import audio_mark
from lipika.dataset.hashing import HashingTree
from lipika.dataset.model import (
    PLAN_COLUMNS,
    AudioForm,
    Defect,
    FileFact,
    PlanRow,
    ReadBack,
    Shard,
    Utterance,
)
from lipika.dataset.packed import ArchiveSources
from lipika.dataset.place import WORK, ExportPlace
from lipika.dataset.plan import PLAN
from lipika.errors import ObjectMissing, StorageError, UsageError, VideoError
from lipika.storage import Store, StoreSettings, split_url

_READ_BYTES = 1 << 18
INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("path", pa.string()),
        ("text", pa.string()),
        ("speaker", pa.string()),
        ("sample_rate_hz", pa.int64()),
        ("num_samples", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One job of an export, as it travels to whoever does it. `sizes` are the shards of each tarset."""

    number: int
    place: ExportPlace
    sources: StoreSettings
    format: str
    form: AudioForm
    sample_rate_hz: int
    sizes: Mapping[tuple[str, str], int]
    plan: str = ""  # its SHA-256, hexadecimal: a record of another plan counts for nothing


@dataclass(frozen=True, slots=True)
class JobDone:
    """The record of a job: all that it has written."""

    number: int
    clips: int
    seconds: float
    files: tuple[FileFact, ...]
    quieter: int = 0  # clips that resampling would have clipped
    plan: str = ""  # as ordered

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job that cannot be done as long as one of its archives is as it is. Others can."""

    number: int
    reason: str


def record_path(number: int) -> str:
    return f"{WORK}/jobs/{number:06d}.json"


def index_path(number: int) -> str:
    return f"{WORK}/index/{number:06d}.parquet"


def sample_path(file: str) -> str:
    return f"{WORK}/samples/{file}"


def read_record(content: bytes) -> JobDone:
    found = orjson.loads(content)
    return JobDone(**found | {"files": tuple(FileFact(**file) for file in found["files"])})


def write_job(order: JobOrder) -> JobDone:
    """Write the shards of a job, unless its record says that they are there. Blocks.

    Raises:
        UsageError: an archive is no longer what was planned; the plan must be made again.
        VideoError, StorageError: an archive cannot be read.
        ExportBroken: what was written does not read back as it was meant.
    """
    if (record := order.place.get(record_path(order.number))) is not None:
        done = read_record(record)
        if done.plan == order.plan:
            return done
    with order.place.work_folder(f"job-{order.number:06d}") as folder:
        job = _Job(order, folder)
        job.write()
        job.verify()
        done = job.put()
    order.place.put(record_path(order.number), orjson.dumps(asdict(done)))
    return done


def try_job(order: JobOrder) -> JobDone | JobFailed:
    """The same, where an archive that cannot be used costs its job alone. Blocks.

    Raises:
        ExportBroken, Unavailable, OSError: it is not the archive's fault, and other jobs would meet it, too.
    """
    try:
        return write_job(order)
    except ExportBroken:
        raise
    except (UsageError, VideoError, StorageError) as error:
        return JobFailed(order.number, str(error))


Written = tuple[str, str, int, int]
"""Mark of the audio, text, sample rate, samples."""


class ExportBroken(StorageError):
    """A shard does not read back as it was written: disk or memory is at fault."""


@dataclass(slots=True)
class _Open:
    """A shard that is being written, and what is in it by id."""

    shard: Shard
    folder: Path
    writer: ShardWriter
    written: dict[str, Written]
    rows: dict[str, PlanRow]
    files: dict[str, WrittenFile]  # by their paths in the export, when it is closed


class _Job:
    def __init__(self, order: JobOrder, folder: Path) -> None:
        self._order = order
        self._folder = folder
        self._format = FORMATS[order.format]
        self._open: dict[tuple[str, str, int], _Open] = {}
        self._rows = _read_rows(order)
        self._seconds = 0.0
        self._quieter = 0

    def write(self) -> None:
        try:
            self._write()
        except BaseException:
            for shard in self._open.values():
                with suppress(Exception):
                    shard.writer.finish()  # for its files to be closed
            raise

    def _write(self) -> None:
        for archive, group in groupby(self._rows, key=lambda planned: planned.archive):
            wanted = {planned.row.clip: planned for planned in group}
            for planned, row, flac in _read_clips(archive, wanted, self._order.sources):
                utterance = self._utterance(archive, row, flac)
                self._add(utterance)
                if planned.sample:
                    self._order.place.put(sample_path(utterance.file), utterance.audio)
        for shard in self._open.values():
            shard.files = {_below(file.path, shard.folder): file for file in shard.writer.finish()}

    def _add(self, utterance: Utterance) -> None:
        row = utterance.row
        shard = self._open.get((row.language, row.split, row.shard)) or self._begin(row)
        mark = audio_mark(utterance.audio) if self._format.rows_in_shards else ""
        shard.written[row.id] = (mark, row.text, utterance.sample_rate_hz, utterance.num_samples)
        shard.rows[row.id] = row
        shard.writer.add(utterance)
        self._seconds += utterance.duration_s

    def _begin(self, row: PlanRow) -> _Open:
        of = self._order.sizes[row.language, row.split]
        shard = Shard(row.language, row.split, row.shard, of, has_sources=row.source is not None)
        folder = self._folder / f"{len(self._open):04d}"
        opened = _Open(shard, folder, self._format.open(shard, folder), {}, {}, {})
        self._open[row.language, row.split, row.shard] = opened
        return opened

    def _utterance(self, archive: str, row: PlanRow, flac: bytes) -> Utterance:
        info = StreamInfo.read(flac)
        if info is None or not info.frames or info.channels != 1:
            raise VideoError(
                "bad_clip",
                f"{archive}: {row.clip}.flac is no FLAC of one channel, as lipika packs; leave its video out with"
                " --where \"video_id <> '...'\", or transcribe it again",
            )
        form = self._order.form
        if form is AudioForm.FLAC and info.bit_depth <= self._format.most_bits:
            return Utterance(row, flac, form, info.sample_rate_hz, info.frames)
        made = to_flac(flac) if form is AudioForm.FLAC else to_wav(flac, self._order.sample_rate_hz or None)
        self._quieter += made.gain < 1
        return Utterance(row, made.data, form, made.sample_rate_hz, made.num_samples)

    def verify(self) -> None:
        """Read every shard again: its bytes must be those that were written, and its rows those of the plan."""
        for opened in self._open.values():
            defects: list[Defect] = []
            expected = dict(opened.written)
            wrong = [
                f"{found.place}: {found.id} is not as it was written"
                for found in self._read_back(opened, defects)
                if expected.pop(found.id, None) != _as_written(found)
            ]
            wrong += [f"{defect.place}: {defect.message}" for defect in defects]
            if self._format.rows_in_shards:
                wrong += [f"{name} is not there" for name in expected]
            if wrong:
                raise ExportBroken(f"{opened.shard}: {wrong[0]}; {len(wrong)} such in this shard")

    def _read_back(self, opened: _Open, defects: list[Defect]) -> Iterator[ReadBack]:
        """The clips of a shard. That all bytes are as they were written is found on the way."""
        sums = {path: file.sha256 for path, file in opened.files.items()}
        tree = HashingTree(lambda path: (opened.folder / path).open("rb", _READ_BYTES), sums)
        if self._format.rows_in_shards:
            for portion in self._format.portions(sums, []):  # one shard alone has gaps in its numbering
                yield from self._format.read(tree, portion, defects, listen=False)
        defects += tree.check()

    def put(self) -> JobDone:
        index: list[dict[str, object]] = []
        facts = []
        ours = [path for opened in self._open.values() for path in opened.files]
        self._order.place.claim(f"{self._order.number:06d}", ours)
        for opened in self._open.values():
            for path, file in opened.files.items():
                fact = FileFact(path, file.size, file.sha256)
                self._order.place.put_file(file.path, fact)
                facts.append(fact)
            index += self._index(opened)
        table = pa.Table.from_pylist(index, INDEX_SCHEMA)
        out = BytesIO()
        pq.write_table(table, out, compression="zstd")
        self._order.place.put(index_path(self._order.number), out.getvalue())
        facts.sort(key=lambda fact: fact.path)
        return JobDone(
            self._order.number, len(index), self._seconds, tuple(facts), self._quieter, self._order.plan
        )

    def _index(self, opened: _Open) -> Iterator[dict[str, object]]:
        for name, (_, text, rate_hz, samples) in opened.written.items():
            row = opened.rows[name]
            yield {
                "id": name,
                "language": row.language,
                "split": row.split,
                "path": self._format.audio_path(opened.shard, f"{name}.{self._order.form}"),
                "text": text,
                "speaker": row.speaker,
                "sample_rate_hz": rate_hz,
                "num_samples": samples,
            }


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row of the plan, the archive that its clip is in, and whether people are to listen to it."""

    row: PlanRow
    archive: str
    sample: bool
    segment: str | None = None  # of a corpus that was packed: the stem of its segment
    alone: bool = False  # nothing else was made of that segment

    def told_of(self, sources: ArchiveSources) -> PlanRow:
        """The row with the words of its owner, in an export of what was packed."""
        if self.segment is None:
            return self.row
        return replace(self.row, source=sources.words(self.segment, alone=self.alone))


def _read_rows(order: JobOrder) -> Iterator[_Planned]:
    """The job's rows in the order of reading."""
    with closing(order.place.open(PLAN)) as opened:
        table = pq.ParquetFile(pa.PythonFile(opened, mode="r")).read_row_group(order.number)
    for batch in table.to_batches(max_chunksize=1_000):
        for values in batch.to_pylist():
            row = PlanRow(**{name: values[name] for name in PLAN_COLUMNS})
            segment, alone = values.get("source_segment"), bool(values.get("alone"))
            yield _Planned(row, values["archive"], values["sample"], segment, alone)


def _read_clips(
    archive: str, wanted: dict[str, _Planned], settings: StoreSettings
) -> Iterator[tuple[_Planned, PlanRow, bytes]]:
    """The wanted clips of an archive, in its order; what lies behind the last of them is not read."""
    sources = ArchiveSources()
    has_sources = any(planned.segment is not None for planned in wanted.values())
    again = "plan the export again: `lipika export ... --again`"
    try:
        reader = _open_archive(archive, settings)
    except (ObjectMissing, FileNotFoundError):
        raise UsageError(f"{archive} is gone since the export was planned; {again}") from None
    with closing(reader):
        source = Source(reader)
        for entry in usable_entries(source):
            if has_sources and entry.name == METADATA_NAME:
                sources = ArchiveSources.read(source.take())
            folder, _, name = entry.name.rpartition("/")
            planned = wanted.pop(name.removesuffix(".flac"), None) if folder == "segments" else None
            if planned is not None:
                yield planned, planned.told_of(sources), source.take()
                if not wanted:
                    return
    lost = next(iter(wanted))
    raise UsageError(f"{archive} lacks {lost}.flac: it has changed since the export was planned; {again}")


def _open_archive(archive: str, settings: StoreSettings) -> Reader:
    """A local one as the file that it is: the store's reader costs a third of all CPU there."""
    root, key = split_url(archive)
    if "://" in root:
        return Store.open(root, settings).open_read(key)
    return (Path(root) / key).open("rb", _READ_BYTES)


def _below(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _as_written(found: ReadBack) -> Written:
    return audio_mark(found.audio), found.text, found.audio_rate_hz, found.audio_samples

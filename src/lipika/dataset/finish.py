"""The end of an export: jobs summed up, files over all shards, the card, and last of all `SHA256SUMS`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb

from lipika import __version__
from lipika.dataset.card import Sample, card_files
from lipika.dataset.file_table import FileTable
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Format, IndexRow
from lipika.dataset.hashing import SUMS
from lipika.dataset.model import PLAN_COLUMNS, Defect, FileFact, Layout, PlanRow, Tarset
from lipika.dataset.place import WORK, ExportPlace
from lipika.dataset.plan import DROPPED, PLAN, PlanReport
from lipika.dataset.shards import ExportBroken, JobDone, index_path, read_record, record_path, sample_path
from lipika.dataset.sql import sql_path
from lipika.dataset.summary import SCORE_RANGES, Amount, CorpusAudit, ExportSummary, Speakers
from lipika.errors import StorageError
from lipika.models import LANES

SPEAKERS = "speakers.csv"
_ROWS = 10_000
_LISTS_READ = 100_000  # clips: a reader of lists holds them all; beyond it, `export verify`


@dataclass(frozen=True, slots=True)
class Words:
    """All that only people can say of a dataset."""

    title: str
    licence: str
    source: str
    audit: CorpusAudit | None = None


def finish(
    place: ExportPlace, report: PlanReport, plan: str, words: Words, folder: Path, threads: int
) -> ExportSummary:
    """Write what belongs to the whole, once every job of `plan` (its SHA-256) has its record. Blocks.

    Raises:
        StorageError: a job has no record, what it wrote is gone, or its figures are not those of the plan.
    """
    for number in range(report.jobs):
        place.copy_to(index_path(number), folder / f"{number:06d}.parquet")
    place.copy_to(PLAN, folder / PLAN)
    chosen = FORMATS[str(report.options["format"])]
    limits: dict[str, str | bool | int | float | list[str]] = {"threads": threads, "memory_limit": "2GB"}
    with duckdb.connect(str(folder / "finish.duckdb"), config=limits) as connection:
        index = _Index(connection, folder)
        index.check(report)
        tarsets = index.tarsets(report)
        layout = Layout(tarsets, _audio_root(place, report), words.title)
        files = FileTable(connection)
        for number in range(report.jobs):
            facts = _record(place, number, plan).files
            _demand_files(place, facts)
            files.add(facts)
        place.claim("whole", [*(path for path, _ in chosen.whole(layout, index)), SPEAKERS])
        files.add(place.put_stream(path, pieces) for path, pieces in chosen.whole(layout, index))
        files.add([place.put_stream(SPEAKERS, index.speakers_list())])
        if not chosen.rows_in_shards and report.clips <= _LISTS_READ:
            _read_lists(place, chosen, files.list_paths(), report.clips)
        summary = index.summary(report, tarsets, words, chosen.reader)
        samples = list(index.samples(place, str(report.options["form"])))
        card = list(card_files(summary, samples, files.list_described()))
        place.claim("card", (path for path, _ in card))
        files.add([place.put(path, content) for path, content in card])
        facts = tuple(place.look_at(name) for name in (PLAN, DROPPED))
        if facts[0].sha256 != plan:
            raise StorageError(
                f"{place.url}: another export has put its plan there meanwhile: name another folder"
            )
        files.add(facts)
        place.put_stream(SUMS, files.list_sums())
    place.remove(WORK)
    return summary


def _read_lists(place: ExportPlace, chosen: Format, paths: Sequence[str], clips: int) -> None:
    """Read the lists over all shards again, each clip with the head of its audio; in a bucket their digests must do.

    Raises:
        ExportBroken: they do not read back as they were meant.
    """
    if place.folder is None:
        return
    defects: list[Defect] = []
    found = sum(
        1
        for portion in chosen.portions(paths, defects)
        for _ in chosen.read(place, portion, defects, listen=False)
    )
    if defects or found != clips:
        first = f"{defects[0].place}: {defects[0].message}" if defects else f"{found:,} of {clips:,} clips"
        raise ExportBroken(f"{place.url}: {first}; {len(defects)} such")


def _record(place: ExportPlace, number: int, plan: str) -> JobDone:
    record = place.get(record_path(number))
    done = None if record is None else read_record(record)
    if done is None or done.plan != plan:
        raise StorageError(f"{place.url}: job {number} has left no record; run the same command again")
    return done


def _demand_files(place: ExportPlace, facts: Sequence[FileFact]) -> None:
    """Somebody may have tidied up a folder since an earlier run wrote into it."""
    for fact in facts if place.folder is not None else ():
        file = Path(place.url) / fact.path
        if not file.is_file() or file.stat().st_size != fact.size:
            raise StorageError(
                f"{place.url}: {fact.path} was written, and is gone or has another size; --again writes all anew"
            )


def _left_out(report: PlanReport) -> Iterator[str]:
    if report.left_out:
        name = report.left_out[0][0].rpartition("/")[2]
        yield f"{len(report.left_out):,} result archives could not be read and are left out, such as {name}"


def _audio_root(place: ExportPlace, report: PlanReport) -> str:
    """The beginning of paths: as asked for, else the export itself where they are read from anywhere."""
    asked = str(report.options["audio_root"])
    if asked or FORMATS[str(report.options["format"])].rows_in_shards:
        return asked
    return f"{place.url.rstrip('/')}/"


class _Index:
    """Exported clips by their indexes and the plan, on disk."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        literal = re.sub(r"([\[*?])", r"[\1]", str(folder))  # the folder's own name is no pattern
        parts = sql_path(Path(literal) / "[0-9]*.parquet")
        connection.execute(f"create view written as select * from read_parquet({parts})")
        connection.execute(f"create view plan as select * from read_parquet({sql_path(folder / PLAN)})")

    def rows(self, language: str, split: str) -> Iterator[IndexRow]:
        """By speaker, then id, as bytes."""
        cursor = self._connection.cursor()
        found = cursor.execute(
            "select id, path, text, speaker, sample_rate_hz, num_samples from written"
            " where language = ? and split = ? order by speaker, id",
            [language, split],
        )
        while page := found.fetchmany(_ROWS):
            for row in page:
                yield IndexRow(*row)

    def check(self, report: PlanReport) -> None:
        """Every planned clip must be there, once."""
        clips, distinct = self._one("select count(*), count(distinct id) from written")
        missing = self._one("select count(*) from plan where id not in (select id from written)")[0]
        if (clips, distinct, missing) != (report.clips, report.clips, 0):
            raise StorageError(
                f"{report.clips:,} clips were planned and {clips:,} written, {missing:,} are missing:"
                " export into an empty folder"
            )

    def speakers_list(self) -> Iterator[bytes]:
        """Clips and seconds of each speaker, by split, as CSV. Names are safe: they need no quotes."""
        yield b"speaker,language,split,clips,seconds\n"
        found = self._connection.cursor().execute(
            "select speaker, language, split, count(*), sum(num_samples / sample_rate_hz::double order by id)"
            " from written group by all order by speaker, language, split"
        )
        while page := found.fetchmany(_ROWS):
            for speaker, language, split, clips, seconds in page:
                yield f"{speaker},{language},{split},{clips},{seconds:.3f}\n".encode()

    def tarsets(self, report: PlanReport) -> tuple[Tarset, ...]:
        rows = self._connection.execute(
            "select language, split, count(*), sum(num_samples / sample_rate_hz::double order by id)"
            " from written group by all order by language, split"
        ).fetchall()
        shards = {(one.language, one.split): one.shards for one in report.tarsets}
        return tuple(
            Tarset(language, split, shards[language, split], clips, seconds)
            for language, split, clips, seconds in rows
        )

    def summary(
        self, report: PlanReport, tarsets: Sequence[Tarset], words: Words, reader: str
    ) -> ExportSummary:
        return ExportSummary(
            title=words.title,
            format=str(report.options["format"]),
            reader=reader,
            code_version=__version__,
            options={
                name: _option_words(value) for name, value in report.options.items() if name != "source"
            },
            source=words.source,
            data_up_to=report.newest,
            licence=words.licence,
            candidates=report.candidates,
            exported=report.clips,
            dropped={reason: clips for reason, (clips, _) in report.dropped.items()},
            tarsets=tarsets,
            lanes=self._lanes(),
            scores=self._scores(),
            durations=self._durations(),
            speakers=self._speakers(),
            models=self._counts("model"),
            providers=self._counts("provider"),
            prompts=self._counts("prompt_version"),
            validators=self._counts("validator_version"),
            text_sources=self._counts("text_source"),
            tiers=self._counts("tier"),
            text_changes=dict(report.changes),
            audit=words.audit,
            notes=[*report.notes, *_left_out(report)],
        )

    def _one(self, query: str) -> tuple[Any, ...]:
        return cast("tuple[Any, ...]", self._connection.execute(query).fetchone())

    def _counts(self, column: str) -> dict[str, int]:
        found = self._connection.execute(
            f"select {column}, count(*) from plan group by all order by count(*) desc, {column}"
        )
        return dict(found.fetchall())

    def _lanes(self) -> dict[str, dict[str, Amount]]:
        amounts: dict[str, dict[str, Amount]] = {}
        for lane in LANES:
            rows = self._connection.execute(
                "select language, count(*), sum(duration_ms) / 1000.0 from plan"
                f" where list_contains(string_split(lanes, ' '), '{lane}') group by language order by language"
            ).fetchall()
            for language, clips, seconds in rows:
                amounts.setdefault(language, {})[lane] = Amount(clips, float(seconds))
        return amounts

    def _scores(self) -> dict[str, list[int]]:
        rows = self._connection.execute(
            f"select language, least(floor(quality_score * {SCORE_RANGES})::int, {SCORE_RANGES - 1}), count(*)"
            " from plan group by all order by 1, 2"
        ).fetchall()
        scores: dict[str, list[int]] = {}
        for language, place, clips in rows:
            scores.setdefault(language, [0] * SCORE_RANGES)[place] = clips
        return scores

    def _durations(self) -> list[int]:
        rows = dict(
            self._connection.execute("select duration_ms // 1000, count(*) from plan group by all").fetchall()
        )
        return [rows.get(second, 0) for second in range(max(rows, default=-1) + 1)]

    def _speakers(self) -> dict[str, Speakers]:
        rows = self._connection.execute(
            "select language, count(*), quantile_cont(s, [0, 0.25, 0.5, 0.75, 1]) from"
            " (select language, speaker, sum(duration_ms) / 1000.0::double as s from plan group by all)"
            " group by language order by language"
        ).fetchall()
        return {
            language: Speakers(count, tuple(float(one) for one in seconds))
            for language, count, seconds in rows
        }

    def samples(self, place: ExportPlace, form: str) -> Iterator[Sample]:
        """The clips to listen to, by language."""
        names = PLAN_COLUMNS
        rows = self._connection.execute(
            f"select {', '.join(names)} from plan where sample order by language, md5(id), id"
        ).fetchall()
        for values in rows:
            row = PlanRow(**dict(zip(names, values, strict=True)))
            audio = place.get(sample_path(f"{row.id}.{form}"))
            if audio is not None:
                yield Sample(row, audio)


def _option_words(value: object) -> str:
    """An option as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_option_words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_option_words, value))
    return str(value)

"""One job of an export in this process: what a disk or a writer spoils is found before anything is in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from export_kit import corpus
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Format, ShardWriter, WrittenFile
from lipika.dataset.model import AudioForm, Shard, Utterance
from lipika.dataset.place import WORK, ExportPlace, sha256_of_file
from lipika.dataset.plan import PLAN, CandidateFile, PlanOptions, make_plan
from lipika.dataset.selection import Selection
from lipika.dataset.shards import ExportBroken, JobOrder, record_path, write_job
from lipika.dataset.sources import candidates_of_archives
from lipika.dataset.user_files import UserFiles
from lipika.dataset.views import View, ViewKind
from lipika.dataset.wanted import TextRules
from lipika.storage import StoreSettings

PASSED_ON = [name for name, each in FORMATS.items() if AudioForm.FLAC in each.forms]
WITH_ROWS = [name for name in PASSED_ON if FORMATS[name].rows_in_shards]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of one tarset: four videos of Hindi."""
    folder = tmp_path_factory.mktemp("plan")
    results = corpus(folder / "results", videos=10)
    held = CandidateFile(folder / "candidates.parquet")

    async def read() -> None:
        rules = TextRules(View(ViewKind.VERBATIM))
        async with aclosing(candidates_of_archives([str(results)], StoreSettings(), rules, 1)) as batches:
            async for batch in batches:
                held.add(batch.table)

    asyncio.run(read())
    held.close()
    options = PlanOptions(
        selection=Selection(lane="", languages=("hi",)), format="nemo", view={}, clips_per_shard=6
    )
    report = make_plan(held.path, folder, options, UserFiles(), threads=1)
    assert (report.jobs, report.clips) == (1, 16)
    return folder / PLAN


def order(name: str, plan: Path, dest: Path, form: AudioForm = AudioForm.FLAC) -> JobOrder:
    place = ExportPlace(str(dest), StoreSettings())
    place.put(PLAN, plan.read_bytes())
    return JobOrder(0, place, StoreSettings(), name, form, 0, {("hi", "train"): 3})


class Damaged:
    """A format whose shards are spoilt by `spoil` (their files, when all is written) or `change` (each utterance)."""

    def __init__(
        self,
        whole: Format,
        spoil: Callable[[Path], object] = lambda _file: None,
        change: Callable[[Utterance, Utterance], Utterance] = lambda _before, utterance: utterance,
    ) -> None:
        self._whole, self._spoil, self._change = whole, spoil, change

    def __getattr__(self, name: str) -> object:
        return getattr(self._whole, name)

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        writer, spoil, change = self._whole.open(shard, folder), self._spoil, self._change

        class Writer:
            before: Utterance | None = None

            def add(self, utterance: Utterance) -> None:
                writer.add(change(self.before or utterance, utterance))
                self.before = utterance

            def finish(self) -> Iterable[WrittenFile]:
                files = list(writer.finish())
                spoil(max(files, key=lambda file: file.size).path)
                return files

        return Writer()


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-700])


@pytest.mark.parametrize("spoil", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", PASSED_ON)
def test_a_disk_that_keeps_other_bytes_is_found_out(
    name: str, spoil: Callable[[Path], object], plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, name, Damaged(FORMATS[name], spoil))
    asked = order(name, plan, tmp_path)
    with pytest.raises(ExportBroken, match="such in this shard"):
        write_job(asked)
    assert asked.place.get(record_path(0)) is None
    assert {path.name for path in tmp_path.iterdir()} == {PLAN, WORK}


@pytest.mark.parametrize("form", [AudioForm.FLAC, AudioForm.WAV])
@pytest.mark.parametrize("name", WITH_ROWS)
def test_a_row_with_the_audio_or_the_text_of_another_is_found_out(
    name: str, form: AudioForm, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FORMATS[name]
    changes: dict[str, Callable[[Utterance, Utterance], Utterance]] = {
        "audio": lambda before, it: replace(
            it, audio=before.audio, sample_rate_hz=before.sample_rate_hz, num_samples=before.num_samples
        ),
        "text": lambda before, it: replace(it, row=replace(it.row, text=before.row.text)),
        "id": lambda before, it: replace(it, row=replace(it.row, id=before.row.id + "x")),
    }
    for what, change in changes.items():
        monkeypatch.setitem(FORMATS, name, Damaged(whole, change=change))
        with pytest.raises(ExportBroken, match="such in this shard"):
            write_job(order(name, plan, tmp_path / what, form))


@pytest.mark.parametrize("name", PASSED_ON)
def test_the_sums_of_a_job_are_those_of_its_files(name: str, plan: Path, tmp_path: Path) -> None:
    done = write_job(order(name, plan, tmp_path))
    assert done.clips == 16
    there = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and WORK not in path.parts
    }
    assert {file.path for file in done.files} == there - {PLAN}
    for file in done.files:
        found = tmp_path / file.path
        assert (file.size, file.sha256) == (found.stat().st_size, sha256_of_file(found))

"""Exports that are stopped between any two steps, planned anew, or begun twice."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from export_kit import corpus, export_here
from lipika.dataset.hashing import SUMS
from lipika.dataset.model import FileFact
from lipika.dataset.place import ExportPlace
from lipika.dataset.plan import PLAN, PlanOptions, read_report
from lipika.dataset.selection import Selection
from lipika.dataset.splits import parse_splits
from lipika.dataset.user_files import UserFiles
from lipika.dataset.views import View, ViewKind
from lipika.dataset.wanted import TextRules
from lipika.errors import SettingsError, StorageError, UsageError
from lipika.jobs.export import ExportOrder, export
from lipika.jobs.export_record import ExportDone


class Killed(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("results"), videos=3, clips=4)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def order(results: Path, name: str = "nemo", **changes: object) -> ExportOrder:
    options = PlanOptions(
        selection=Selection(lane=""),
        format=name,
        view={"view": "verbatim"},
        form="wav" if name == "ljspeech" else "flac",
        splits=parse_splits("train=.6,dev=.4"),
        clips_per_shard=2,
        shards_per_job=2,
    )
    return ExportOrder(
        sources=(str(results),),
        options=replace(options, **changes),  # type: ignore[arg-type]
        rules=TextRules(View(ViewKind.VERBATIM)),
        user=UserFiles(),
        jobs=1,
        title="one",
    )


def listed(dest: Path) -> dict[str, str]:
    """The sums of an export, once they have been found to be those of all that is there."""
    lines = (dest / SUMS).read_text().splitlines()
    sums = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    there = {str(path.relative_to(dest)): path for path in dest.rglob("*") if path.is_file()}
    assert set(there) - {SUMS} == set(sums)
    for path, digest in sums.items():
        assert hashlib.sha256(there[path].read_bytes()).hexdigest() == digest, path
    return sums


async def export_killed_after(
    steps: int, wanted: ExportOrder, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> ExportDone | None:
    """None if it was killed before a file was put in its place, or after one was removed."""
    left = steps

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    put, drop, clear = ExportPlace.put_file, ExportPlace.remove_file, ExportPlace.remove

    def put_file(place: ExportPlace, file: Path, fact: FileFact) -> None:
        count()
        put(place, file, fact)

    def remove_file(place: ExportPlace, path: str) -> None:
        count()
        drop(place, path)

    def remove(place: ExportPlace, below: str) -> None:
        count()
        clear(place, below)

    with monkeypatch.context() as patch:
        patch.setattr(ExportPlace, "put_file", put_file)
        patch.setattr(ExportPlace, "remove_file", remove_file)
        patch.setattr(ExportPlace, "remove", remove)
        try:
            return await export(wanted, str(dest))
        except Killed:
            return None


async def test_stopped_between_any_two_steps_it_goes_on_or_is_planned_anew(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = order(results), order(results, clips_per_shard=50, seed="9")
    await export(first, "first")
    await export(second, "second")
    ours, theirs = listed(tmp_path / "first"), listed(tmp_path / "second")
    assert set(ours) - set(theirs)  # there are files that only the first one has
    steps, done = 0, None
    while done is None:
        dest = tmp_path / f"stopped-{steps}"
        done = await export_killed_after(steps, first, dest, monkeypatch)
        again = tmp_path / f"again-{steps}"
        (dest).rename(again)
        if steps % 2:
            (again).rename(dest)
            await export(first, str(dest))
            assert listed(dest) == ours, steps
        else:
            await export(replace(second, again=True), str(again))
            assert listed(again) == theirs, steps
        steps += 11
    assert steps > 20


def other_options(dest: Path) -> bool:
    """Whether the second one's plan is there already."""
    plan = dest / PLAN
    return plan.exists() and read_report(plan).options["seed"] == "9"


async def test_planning_anew_may_be_stopped_too(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = order(results), order(results, clips_per_shard=50, seed="9")
    await export(first, "first")
    await export(second, "second")
    ours, theirs = listed(tmp_path / "first"), listed(tmp_path / "second")
    dest, done = tmp_path / "dest", None
    for steps in range(1, 400, 17):
        await export(first, str(dest))
        done = await export_killed_after(steps, replace(second, again=True), dest, monkeypatch)
        if done is None:
            await export(second if other_options(dest) else first, str(dest))
            assert listed(dest) in (ours, theirs), steps
        await export(replace(second, again=True), str(dest))
        assert listed(dest) == theirs, steps
        await export(replace(first, again=True), str(dest))
        if done is not None:
            break
    assert done is not None


async def test_files_of_others_stay_when_an_unfinished_export_is_planned_anew(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    assert await export_killed_after(9, order(results), dest, monkeypatch) is None
    (dest / "notes.txt").write_text("mine")
    await export(replace(order(results, seed="9"), again=True), str(dest))
    assert (dest / "notes.txt").read_text() == "mine"


async def test_two_at_a_time_into_one_folder_are_refused(results: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    descriptor = os.open(dest, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UsageError, match="another export is writing"):
            await export(order(results), str(dest))
    finally:
        os.close(descriptor)
    await export(order(results), str(dest))
    listed(dest)


async def test_records_of_another_plan_count_for_nothing(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two machines leave them that export to one bucket at the same time."""
    await export(order(results), "whole")
    dest, other = tmp_path / "dest", tmp_path / "other"
    assert await export_killed_after(20, order(results), dest, monkeypatch) is None
    assert await export_killed_after(20, order(results, seed="9"), other, monkeypatch) is None
    for path in (other / ".lipika" / "jobs").iterdir():
        path.replace(dest / ".lipika" / "jobs" / path.name)
    await export(order(results), str(dest))
    assert listed(dest) == listed(tmp_path / "whole")


async def test_a_shard_that_is_gone_when_an_export_goes_on_is_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    assert await export_killed_after(25, order(results), dest, monkeypatch) is None
    record = min((dest / ".lipika" / "jobs").iterdir())
    gone = orjson.loads(record.read_bytes())["files"][0]["path"]
    (dest / gone).unlink()
    with pytest.raises(StorageError, match=f"{gone} .*--again"):
        await export(order(results), str(dest))


async def test_what_is_said_of_a_complete_export_must_be_so(results: Path, tmp_path: Path) -> None:
    done = order(results)
    await export(done, "dest")
    assert (await export(done, "dest")).was_complete
    assert (await export(replace(done, title=""), "dest")).was_complete
    for other, what in (
        (replace(done, title="two"), "title"),
        (replace(done, licence="mit"), "licence"),
        (order(results, source="2 others"), "source"),
    ):
        with pytest.raises(UsageError, match=f"{what}.*--again"):
            await export(other, "dest")
    (tmp_path / "dest" / ".lipika" / "jobs").mkdir(parents=True)  # as one that was killed at the very end
    assert (await export(done, "dest")).was_complete
    assert not (tmp_path / "dest" / ".lipika").exists()


async def test_a_plan_is_never_held_in_memory(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a hundred million clips has tens of gigabytes."""
    get = ExportPlace.get

    def watched(place: ExportPlace, path: str) -> bytes | None:
        assert path != PLAN
        return get(place, path)

    monkeypatch.setattr(ExportPlace, "get", watched)
    assert (await export(order(results), "dest")).clips


async def test_places_are_read_as_the_shell_and_urls_have_them(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for dest, folder in (
        ("~/set", "home/set"),
        (f"file://{tmp_path}/a%20set/", "a set"),
        ("one/../two/", "two"),
    ):
        assert (await export(order(results), dest)).dest == str(tmp_path / folder)
    for dest in ("s3://", "s3:///prefix"):
        with pytest.raises(SettingsError, match="bucket"):
            await export(order(results), dest)
    assert not (tmp_path / "s3:").exists()


def test_a_disk_without_room_is_called_that_and_the_export_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dest = corpus(tmp_path / "in", videos=2), tmp_path / "out"
    order = ("nemo", dest, "--from", folder, "--lane", "any", "--jobs", "1")
    put = ExportPlace.put_file

    def full(self: ExportPlace, file: Path, fact: FileFact) -> None:
        if fact.path.endswith(".tar"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        put(self, file, fact)

    with monkeypatch.context() as patched:
        patched.setattr(ExportPlace, "put_file", full)
        stopped = export_here(*order)
    assert stopped.exit_code == 3
    assert "No space left on device" in stopped.output
    assert "make room" in stopped.output
    assert export_here(*order).exit_code == 0
    assert (dest / "SHA256SUMS").exists()


def test_archives_are_exported_though_the_database_is_away(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "in", videos=2)
    away = {"DATABASE_URL": "postgresql://somebody:secret@127.0.0.1:1/nowhere"}
    assert export_here("nemo", tmp_path / "out", "--from", folder, "--lane", "any", env=away).exit_code == 0
    rows = export_here("nemo", tmp_path / "rows", "--lane", "any", env=away)
    assert rows.exit_code == 3
    assert "Postgres cannot be reached" in rows.output

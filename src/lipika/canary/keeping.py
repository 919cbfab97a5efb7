"""Folders that keep a canary's answers and report, whatever breaks: they are paid for."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from lipika.archive.sources import is_url, object_url
from lipika.canary.listening import PlayedClip, render_listening
from lipika.canary.page import render
from lipika.canary.records import Asked
from lipika.canary.report import CanaryReport
from lipika.config import Settings
from lipika.db.canary import Canaries
from lipika.db.connection import Database
from lipika.errors import LipikaError, UsageError
from lipika.services import store_settings
from lipika.storage import Store

FOLDER = "canary"
"""Below the output's root: apart from all results."""
_PROBE = "probe"
_COLUMNS = (
    *("arm", "video_id", "segment_file", "language", "status", "requests", "cost_usd", "quality_score"),
    "transcription",
)


class Shelf:
    """The place of one canary, in the store and in the database. What cannot be kept there is told in `troubles`."""

    def __init__(self, store: Store, records: Canaries, run_id: str) -> None:
        self._store = store
        self._records = records
        self._run_id = run_id
        self.troubles: list[str] = []

    @property
    def url(self) -> str:
        """Without a working folder in it: whoever cleans up may stand elsewhere."""
        return self._store.url

    async def keep_answers(self, asked: Sequence[Asked]) -> None:
        """The rows into the database, before anything else can go wrong."""
        try:
            await self._records.add_clips(self._run_id, [_columns(asdict(one)) for one in asked])
        except LipikaError as error:
            self.troubles.append(f"the answers are not in the database: {error}")

    async def keep_report(
        self, report: CanaryReport, asked: Sequence[Asked], heard: Sequence[PlayedClip]
    ) -> tuple[str, ...]:
        """The report into database and store, or into a folder of this machine; returns its files' places."""
        try:
            await self._records.finish(self._run_id, str(report.judgement.mark), report.usd, report)
        except LipikaError as error:
            self.troubles.append(f"the report is not in the database: {error}")
        files = {
            "report.html": render(report).encode(),
            "report.json": orjson.dumps(report, option=orjson.OPT_INDENT_2),
            "answers.jsonl": b"".join(
                orjson.dumps(asdict(one), option=orjson.OPT_APPEND_NEWLINE) for one in asked
            ),
        }
        if heard:
            files["listen.html"] = render_listening(self._run_id, heard).encode()
        try:
            for name, content in files.items():
                await self._store.put_bytes(name, content)
        except LipikaError as error:
            folder = await asyncio.to_thread(_write_here, self._run_id, files)
            self.troubles.append(f"{error}; the files are in {folder} instead")
            await self._record_place(str(folder))
            return tuple(object_url(str(folder), name) for name in files)
        return tuple(object_url(self.url, name) for name in files)

    async def _record_place(self, url: str) -> None:
        try:
            await self._records.move(self._run_id, url)
        except LipikaError as error:
            self.troubles.append(f"the database does not know of the files' place: {error}")


async def open_shelf(settings: Settings, database: Database, run_id: str, root: str) -> Shelf:
    """The place for a canary below `root`, proven to take files before a single answer is paid for.

    Raises:
        StorageError, StorageUnavailable, SettingsError: it takes none, and why.
    """
    store = await asyncio.to_thread(Store.open, root, store_settings(settings), create=True)
    await store.put_bytes(_PROBE, b"probe")
    await store.delete(_PROBE)
    await asyncio.to_thread(_remove_folder, store.url)  # the first file makes it again
    return Shelf(store, Canaries(database), run_id)


def _write_here(run_id: str, files: dict[str, bytes]) -> Path:
    """Below the working folder, else below the machine's folder for such things."""
    try:
        return _write_into(Path.cwd() / FOLDER / run_id, files)
    except OSError:
        return _write_into(Path(tempfile.gettempdir()) / f"lipika-{FOLDER}" / run_id, files)


def _write_into(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _columns(row: dict[str, object]) -> dict[str, object]:
    """A row as `canary_clips` has it: what has no column of its own goes into `details`."""
    details = {name: value for name, value in row.items() if name not in _COLUMNS}
    return {**{name: row[name] for name in _COLUMNS}, "details": details}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Canaries that were removed. `left`: those that could not be, each with its reason; `away`: not found here."""

    runs: int
    files: int
    left: tuple[str, ...]
    away: tuple[str, ...]


async def clean(settings: Settings, database: Database, run_ids: Sequence[str]) -> Cleaned:
    """Take canaries out, rows and files, one by one; `all` means every one. What was spent stays spent.

    A canary whose files cannot be removed keeps its rows, so that it can be tried again.

    Raises:
        UsageError: there is no such run.
    """
    records = Canaries(database)
    known = {row.run_id: row for row in await records.list_runs()}
    wanted = list(known) if "all" in run_ids else list(dict.fromkeys(run_ids))
    unknown = [run_id for run_id in wanted if run_id not in known]
    if unknown:
        raise UsageError(
            f"there is no canary {', '.join(unknown)}: lipika canary --list shows those there are"
        )
    runs, files = 0, 0
    left: list[str] = []
    away: list[str] = []
    for run_id in wanted:
        root = known[run_id].output_url
        try:
            if root is not None and _is_away(root):
                away.append(f"{run_id}: there is no {root} here")
            elif root is not None:
                files += await _remove_files(settings, root)
            runs += await records.remove([run_id])
        except LipikaError as error:
            left.append(f"{run_id}: {error}")
    return Cleaned(runs, files, tuple(left), tuple(away))


def _is_away(root: str) -> bool:
    """True if it is a folder that this machine does not have: it is gone already, or another machine's."""
    return not is_url(root) and not Path(root).is_dir()


async def _remove_files(settings: Settings, root: str) -> int:
    parent, _, name = root.rpartition("/")
    store = await asyncio.to_thread(Store.open, parent, store_settings(settings))
    keys = [entry.key async for entry in store.list(name)]
    for key in keys:
        await store.delete(key)
    await asyncio.to_thread(_remove_folder, object_url(store.url, name))
    return len(keys)


def _remove_folder(root: str) -> None:
    """An empty folder is left of a local store; a bucket has none."""
    folder = Path(root)
    if not is_url(root) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()

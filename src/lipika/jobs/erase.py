"""The work of `lipika erase`: where things lie, for an erasure that runs through all of them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lipika.archive.sources import OUTPUT_SUFFIX, is_url
from lipika.config import Settings, load_settings
from lipika.dataset.place import ERASED, ExportPlace
from lipika.db.connection import Database
from lipika.db.erasures import Erasures, WantedName, is_common_name
from lipika.erasure.course import Eraser, ExportHit
from lipika.erasure.objects import VideoPlaces
from lipika.errors import UsageError
from lipika.services import Stores, open_database, saved_answers_folder, store_settings
from lipika.storage import Store
from lipika.storage.store import Place


class PlacesOfSettings:
    """The places of things by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stores = Stores(store_settings(settings))

    @property
    def spool_dir(self) -> Path | None:
        return self._settings.spool_dir

    def places(self, video_id: str, output_key: str | None) -> VideoPlaces | None:
        """By its row of the queue; of a video that the queue does not know, where its result would be."""
        if output_key is None and not self._settings.output_url:
            return None
        key = output_key or f"{video_id}{OUTPUT_SUFFIX}"
        place = self._stores.place(key, self._settings.output_url, create=True)
        return VideoPlaces(video_id, place, saved_answers_folder(self._settings))

    def source(self, source_key: str) -> Place:
        return self._stores.place(source_key, self._settings.store_url)

    # ---- exports

    def find_exports(self, dests: Sequence[str], is_gone: Callable[[str, str], bool]) -> list[ExportHit]:
        """Exports by their plans, which say what lies in which shard. One that is no more is passed over."""
        found = (self._look_at_export(dest, is_gone) for dest in dests)
        return [hit for hit in found if hit is not None]

    def _look_at_export(self, dest: str, is_gone: Callable[[str, str], bool]) -> ExportHit | None:
        if not is_url(dest) and not Path(dest).is_dir():
            return None
        try:
            from lipika.dataset.plan import DROPPED, PLAN, read_report
            from lipika.jobs.export_place import open_place
        except ImportError:
            raise UsageError(
                f"{dest}: exports are read with the packages of lipika[export]: install them, or erase where they are"
            ) from None
        place = open_place(dest, self._settings)
        if not place.has(PLAN) or place.has(ERASED):
            return None
        clips, shards = 0, set[str]()
        with tempfile.TemporaryDirectory(prefix="lipika-erase-", dir=self._settings.spool_dir) as folder:
            for row in _rows_of(
                place, PLAN, Path(folder), ("video_id", "clip", "language", "split", "shard")
            ):
                if is_gone(row["video_id"], f"{row['clip']}.flac"):
                    clips += 1
                    shards.add(f"{row['language']}/{row['split']} shard {row['shard']}")
            dropped = place.has(DROPPED) and any(
                is_gone(row["video_id"], f"{row['clip']}.flac")
                for row in _rows_of(place, DROPPED, Path(folder), ("video_id", "clip"))
            )
            if not clips and not dropped:
                return None
            options = read_report(str(Path(folder) / PLAN)).options
        return ExportHit(
            dest=dest, clips=clips, shards=tuple(sorted(shards)), command=_command_of(dest, options)
        )

    def clear_export(self, dest: str, *, keep: bool) -> None:
        """Remove what the export has written, and nothing else."""
        from lipika.dataset.plan import PLAN
        from lipika.jobs.export_place import alone, clear_place, open_place

        place = open_place(dest, self._settings)
        if not place.has(PLAN):
            return
        if keep:
            place.put(ERASED, b"Some clips of this export have been erased since: make it anew.\n")
            return
        with alone(place):
            clear_place(place)

    # ---- folders and prefixes

    async def count_below(self, url: str) -> int:
        """Objects there; none in a folder that this machine does not have."""
        return len([key async for key in self._keys(url)])

    async def remove_below(self, url: str) -> None:
        """Remove them; an empty folder is left."""
        store, _ = self._open(url)
        if store is not None:
            for key in [key async for key in self._keys(url)]:
                await store.delete(key)

    async def _keys(self, url: str) -> AsyncIterator[str]:
        store, name = self._open(url)
        if store is None:
            return
        async for entry in store.list(name):
            yield entry.key

    def _open(self, url: str) -> tuple[Store | None, str]:
        """The store around a folder; None where this machine does not have it."""
        if not is_url(url) and not Path(url).is_dir():
            return None, ""
        parent, _, name = url.rstrip("/").rpartition("/")
        return Store.open(parent, store_settings(self._settings)), name


def _rows_of(place: ExportPlace, path: str, folder: Path, columns: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    file = folder / path
    place.copy_to(path, file)
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(columns=list(columns)):
            yield from batch.to_pylist()


def _command_of(dest: str, options: Mapping[str, Any]) -> str:
    """The command that makes an export anew, as far as its plan says how it was made."""
    selection = options.get("selection", {})
    words = ["lipika export", str(options["format"]), dest]
    if lane := selection.get("lane"):
        words += ["--lane", str(lane)]
    for language in selection.get("languages") or ():
        words += ["--language", str(language)]
    return " ".join(words) + "  # and the options that it had: `lipika export list`"


@asynccontextmanager
async def open_eraser(
    data_dir: Path | None, say: Callable[[str], None] = lambda _sentence: None
) -> AsyncIterator[tuple[Eraser, Database]]:
    """An eraser for the database and stores that the settings name."""
    settings = load_settings(lipika_data_dir=data_dir)
    async with open_database(settings) as database:
        yield Eraser(database, PlacesOfSettings(settings), say), database


async def find_everywhere(database: Database, wanted: Sequence[WantedName]) -> list[WantedName]:
    """The names, with `*:NAME` for each video in which a speaker is called so.

    Raises:
        UsageError: speakers of any video are called so.
    """
    found: list[WantedName] = []
    for name in wanted:
        if name.video_id != "*" or name.speaker is None:
            found.append(name)
            continue
        if is_common_name(name.speaker):
            raise UsageError(
                f"--speaker *:{name.speaker}: speakers of any video are called so, and they are not one"
                " person: name videos"
            )
        videos = await Erasures(database).videos_of(name.speaker)
        found += [WantedName(video_id=video, speaker=name.speaker) for video in videos]
    if not found:
        raise UsageError("no video has results of such a speaker")
    return list(dict.fromkeys(found))

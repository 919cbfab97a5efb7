"""The place of an export before it is written: whose it is, what lies there already, and how that is cleared."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lipika.config import Settings
from lipika.dataset.hashing import SUMS
from lipika.dataset.model import Tarset
from lipika.dataset.place import ERASED, WORK, ExportPlace
from lipika.dataset.plan import DROPPED, PLAN, PlanOptions, PlanReport, read_report
from lipika.dataset.summary import ExportSummary
from lipika.dataset.verify import FACTS
from lipika.errors import UsageError
from lipika.services import store_settings
from lipika.storage import local_path, s3_parts

_JOBS = f"{WORK}/jobs"
_PIECE = 1 << 20


def open_place(dest: str, settings: Settings) -> ExportPlace:
    """The place of an export."""
    stores = store_settings(settings)
    if "://" in dest and not dest.startswith("file://"):
        bucket, prefix = s3_parts(dest, stores.bucket)
        url = f"s3://{bucket}/{prefix}".rstrip("/") if bucket else "s3://"
    else:
        url = str(local_path(dest).resolve())
    return ExportPlace(url, stores, settings.spool_dir)


@contextmanager
def alone(place: ExportPlace) -> Iterator[None]:
    """Hold a folder, so that no two exports write into it at once; of a bucket the records of jobs must do.

    Raises:
        UsageError: another one does.
    """
    place.store()
    if place.folder is None:
        yield
        return
    descriptor = os.open(place.folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another export is writing to {place.url}: wait for it, or name another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def earlier_plan(place: ExportPlace, options: PlanOptions, *, again: bool) -> PlanReport | None:
    """The plan that lies there already, if it is of this very export.

    Raises:
        UsageError: something else lies there.
    """
    if not place.has(PLAN):
        if place.find_other(lambda path: path == DROPPED or path.startswith(f"{WORK}/")) is None:
            place.remove(WORK)  # stopped before its plan was there
            return None
        if again:
            raise UsageError(f"{place.url}: --again replaces an export of lipika, and this is none")
        raise UsageError(f"{place.url} is not empty, and no export of lipika: name an empty or a new folder")
    if again:
        clear_place(place)
        return None
    if place.has(ERASED):
        raise UsageError(
            f"{place.url}: some of its clips have been erased since, because somebody wanted it: --again makes it"
            " anew without them"
        )
    if not place.has(DROPPED) and not place.has(SUMS):
        place.remove(WORK)  # stopped when all but its plan had been cleared
        place.remove_file(PLAN)
        return None
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        place.copy_to(PLAN, Path(file.name))
        report = read_report(file.name)
    asked = options.document()
    differing = [name for name, value in report.options.items() if _plain(asked.get(name)) != _plain(value)]
    if differing:
        raise _other_export(place, differing[0], report.options[differing[0]], asked.get(differing[0]))
    return report


def _other_export(place: ExportPlace, what: str, was: object, now: object) -> UsageError:
    return UsageError(
        f"{place.url} holds an export with other options ({what}: {was}, now {now});"
        " name another folder, or --again to plan anew"
    )


def clear_place(place: ExportPlace) -> None:
    """Remove an earlier export, and nothing that it did not write. It may be stopped anywhere, and be done again."""
    if place.has(SUMS):
        place.claim("summed", (line.partition("  ")[2] for line in place.lines(SUMS)))
        place.remove_file(SUMS)  # it is not whole any more,
    place.remove(_JOBS)  # and no job is done
    for path in place.list_claimed():
        if path not in (PLAN, DROPPED):
            place.remove_file(path)
    place.remove(WORK)
    place.remove_file(DROPPED)
    place.remove_file(ERASED)
    place.remove_file(PLAN)  # which says whose all this is


def _plain(value: object) -> object:
    """As JSON would have it."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def keep_plan(place: ExportPlace, folder: Path) -> None:
    """Put a plan that was made in `folder` in its place."""
    for name in (DROPPED, PLAN):  # the plan comes last: where it is, the rest is
        with (folder / name).open("rb") as file:
            place.put_stream(name, iter(lambda: file.read(_PIECE), b""))


@dataclass(frozen=True, slots=True)
class Finished:
    """An export that is complete."""

    files: int
    hours: float
    tarsets: Sequence[Tarset]


def find_finished(place: ExportPlace, title: str, licence: str) -> Finished | None:
    """The export that is complete there; None where it is not.

    Raises:
        UsageError: it says another title or licence than is given now.
    """
    if not place.has(SUMS):
        return None
    summary = ExportSummary.decode(place.get(FACTS) or b"")
    for what, was, now in (("title", summary.title, title), ("licence", summary.licence, licence)):
        if now and now != was:
            raise _other_export(place, what, was or "none", now)
    place.remove(WORK)  # it may have been stopped just before that
    return Finished(sum(1 for _ in place.lines(SUMS)), summary.hours, summary.tarsets)

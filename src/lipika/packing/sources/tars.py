"""The files in tars of corpora, by where their bytes lie."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lipika.archive.tar import Source, entries, printable
from lipika.errors import ArchiveError
from lipika.packing.items import AudioPlace, SourceRefusal
from lipika.packing.sources.rows import open_maybe_packed

_MOST_HEADERS = 4_000_000
_MOST_EXTENSION_BYTES = 1 << 20
_MOST_IN_HAND = 64 << 20  # bytes, of a member of a packed tar
_MOST_SAID = 1 << 20  # bytes, of a member that holds words


@dataclass(frozen=True, slots=True)
class TarredFile:
    """A file in a tar. `data` is there where words were asked for, and for all of a packed tar."""

    name: str
    place: AudioPlace
    data: bytes | None = None


def tarred_files(
    path: Path, words: tuple[str, ...] = (), *, audio: bool = True
) -> Iterator[TarredFile | SourceRefusal]:
    """The files of a tar in their order.

    Args:
        path: a plain tar, or one packed by gzip, whose members come with their bytes.
        words: endings of members whose content is wanted.
        audio: without it the bytes of a packed tar's members are left out.
    """
    packed = path.suffix.lower() in (".gz", ".tgz")
    try:
        whole = path.stat().st_size
        with open_maybe_packed(path) as file:
            source = Source(file)
            for entry in entries(source, _MOST_HEADERS, _MOST_EXTENSION_BYTES):
                if entry.is_folder:
                    continue
                shown = f"{path.name}: {entry.shown}"
                if entry.problem is not None:
                    yield SourceRefusal(shown, entry.problem[0], entry.problem[1])
                    continue
                said = entry.name.lower().endswith(words) if words else False
                if entry.size > (_MOST_SAID if said else _MOST_IN_HAND) and (said or packed):
                    yield SourceRefusal(shown, "too_large", f"{entry.size:,} bytes")
                    continue
                offset = source.position
                if not packed and offset + entry.size > whole:
                    yield SourceRefusal(shown, "damaged_archive", "the tar breaks off in it: copy it again")
                    return
                data = source.take() if said or (packed and audio) else None
                place = (
                    AudioPlace(str(path), offset, entry.size, data)
                    if packed
                    else AudioPlace(str(path), offset, entry.size)
                )
                yield TarredFile(entry.name, place, data)
    except ArchiveError as error:
        yield SourceRefusal(path.name, "damaged_archive", str(error))
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or str(error)
        yield SourceRefusal(path.name, "unreadable_file", told)


def shown_member(path: Path, name: str) -> str:
    """A member of a tar, for a person."""
    return f"{path.name}: {printable(name)}"

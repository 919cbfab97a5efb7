"""Listings of a folder, whatever else is in it: links that go in circles, names in another encoding, closed doors."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

Odd = Callable[[str], object]
"""Told what is passed over and why, in a sentence."""

_UPLOADING = re.compile(r"#\d+$")  # the end of a file's name while obstore writes it


def files_below(folder: Path, prefix: str, odd: Odd) -> Iterator[tuple[str, int]]:
    """(path below `folder` with slashes, size) of all plain files in `prefix`, a folder in it. Blocks."""
    top = folder / prefix
    try:
        about = top.stat()
    except OSError:
        return
    if stat.S_ISDIR(about.st_mode):
        yield from _below(str(top), prefix.strip("/"), frozenset({(about.st_dev, about.st_ino)}), odd)


def staged_files(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    """(key, file) of what is half written of keys that begin with `prefix`, in the folder it names. Blocks."""
    parent, slash, name = prefix.rpartition("/")
    try:
        with os.scandir(folder / parent) as found:
            names = sorted(entry.name for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        (f"{parent}{slash}{_UPLOADING.sub('', file)}", folder / parent / file)
        for file in names
        if file.startswith(name) and _UPLOADING.search(file)
    ]


def _below(path: str, key: str, above: frozenset[tuple[int, int]], odd: Odd) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(path) as found:
            entries = list(found)
    except OSError as error:
        odd(f"{printable_path(path)}: {error.strerror or error}")
        return
    for entry in entries:
        name = f"{key}/{entry.name}" if key else entry.name
        try:
            about = entry.stat()
        except OSError as error:
            odd(f"{printable_path(entry.path)}: {error.strerror or error}")
            continue
        if problem := _odd_name(entry.name):
            odd(f"{printable_path(entry.path)}: {problem}")
        elif stat.S_ISDIR(about.st_mode):
            place = (about.st_dev, about.st_ino)
            if place in above:
                odd(f"{printable_path(entry.path)}: a link back to a folder above it")
            else:
                yield from _below(entry.path, name, above | {place}, odd)
        elif stat.S_ISREG(about.st_mode) and not _UPLOADING.search(entry.name):
            yield name, about.st_size


def _odd_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):
        return "its name has control characters"
    return ""


def printable_path(path: str) -> str:
    """A path as people can read it, whatever bytes are in it."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

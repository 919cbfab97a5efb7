"""Anybody's lists of texts with audio files beside them: lines with their faults, and the audio that they name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import normpath

from lipika.dataset.formats.base import Portion, Reader, Tree
from lipika.dataset.formats.sound import listen as decode
from lipika.dataset.formats.sound import look
from lipika.dataset.model import Defect, ReadBack
from lipika.errors import ObjectMissing, SegmentError
from lipika.languages import LANGUAGES

_LOSSLESS = (".wav", ".flac", ".aiff", ".w64", ".sph")
AUDIO_ENDINGS = (*_LOSSLESS, ".mp3", ".ogg", ".opus")

_PIECE_BYTES = 1 << 20
_LONGEST_LINE = 1 << 26  # bytes: the utterances of one speaker are one line
_ODD_BLANKS = re.compile(r"\s\s|[^\S ]|^\s|\s$|[\x00-\x1f\x7f-\x9f\ufeff]")
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list, without its end. There are as many of them as clips: `place` is made when it is asked for."""

    path: str
    number: int
    text: str

    @property
    def place(self) -> str:
        """The file and the line."""
        return f"{self.path}:{self.number}"


def read_lines(tree: Tree, path: str, defects: list[Defect]) -> Iterator[Line]:
    """The lines that are UTF-8 and not blank. That they end in CR LF is said once for a file."""
    place, line, with_cr = path, b"\n", list[str]()
    try:
        with closing(tree.open(path)) as stream:
            for number, line in enumerate(_split_lines(stream), 1):
                place = f"{path}:{number}"
                plain = line.rstrip(b"\r\n")
                if len(plain) < len(line.removesuffix(b"\n")):
                    with_cr.append(place)
                text = _decode(plain, place, defects)
                if text is not None and number == 1 and text.startswith(_BOM):
                    message = (
                        "a byte order mark begins the file: readers take it for a part of the first field"
                    )
                    defects.append(Defect(place, "encoding", message))
                    text = text.removeprefix(_BOM)
                if text and text.strip():
                    yield Line(path, number, text)
                elif text is not None:
                    defects.append(Defect(place, "bad_row", "the line is blank"))
    except (OSError, ObjectMissing) as error:
        defects.append(Defect(place, "unreadable", str(error)))
        return
    if not line.endswith(b"\n"):
        defects.append(
            Defect(place, "truncated", "the last line has no end: the file may have been cut short")
        )
    if with_cr:
        message = (
            f"{len(with_cr):,} lines end in CR LF, the first of them here: the CR becomes part of the text"
        )
        defects.append(Defect(with_cr[0], "line_end", message))


def _split_lines(stream: Reader) -> Iterator[bytes]:
    """Each with its end."""
    rest = b""
    while piece := stream.read(_PIECE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LONGEST_LINE:
            raise OSError(f"a line has more than {_LONGEST_LINE:,} bytes")
    if rest:
        yield rest


def _decode(line: bytes, place: str, defects: list[Defect]) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1}, {line[error.start]:#04x}, is not UTF-8"
        defects.append(Defect(place, "encoding", message))
        return None


def check_text(text: str, name: str, place: str, defects: list[Defect]) -> None:
    """Put on `defects` that a text is empty or holds anything but single spaces between words."""
    if not text.strip():
        defects.append(Defect(place, "empty_text", f"{name} has no text"))
        return
    found = _ODD_BLANKS.search(text)
    if found is not None:
        what = "two spaces" if found[0] == "  " else " ".join(f"U+{ord(one):04X}" for one in found[0])
        defects.append(
            Defect(place, "odd_spaces", f"{name}: {what} at character {found.start() + 1} of the text")
        )


def words_of(folder: str) -> tuple[str, str]:
    """Language and split, as a folder `<language>/<split>` says them; "" for what it does not."""
    where = PurePosixPath(folder)
    language = where.parent.name
    return (language if language in LANGUAGES else ""), where.name


# ----------------------------------------------------------------------------- audio


@dataclass(slots=True)
class AudioFiles:
    """The audio files of a portion, and which of them a row has named, and where."""

    folder: str  # of the lists
    paths: frozenset[str]
    named: dict[str, str] = field(default_factory=dict)

    @classmethod
    def gather(cls, portion: Portion) -> AudioFiles:
        folder = str(PurePosixPath(portion.paths[0]).parent)
        return cls(folder, frozenset(filter(is_audio, portion.paths)))

    def find(self, stated: str) -> str | None:
        """The file that a row names: by a path from the root, from the folder of the list, or from anywhere above."""
        near = normpath(f"{self.folder}/{stated}")
        if not stated.startswith("/") and near in self.paths:
            return near
        parts = PurePosixPath(normpath(stated)).parts
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        return next((end for end in ends if end in self.paths), None)

    def claim(self, path: str, name: str, place: str, defects: list[Defect]) -> None:
        """Note that a row names a file; two rows may not."""
        before = self.named.setdefault(path, place)
        if before != place:
            defects.append(Defect(place, "duplicate_audio", f"{name} has the audio of {before}: {path}"))

    def strays(self) -> Iterator[Defect]:
        """Files beside or below the lists that no row names."""
        inside = "" if self.folder == "." else f"{self.folder}/"
        for path in sorted(self.paths - self.named.keys()):
            if path.startswith(inside):
                yield Defect(path, "missing_row", "no row names this file")


def is_audio(path: str) -> bool:
    return path.lower().endswith(AUDIO_ENDINGS)


def portions_by_list(paths: Collection[str], lists: Collection[str]) -> Iterator[Portion]:
    """One for each folder with a list: the lists first, then the audio files below it, or below no list at all."""
    folders = sorted({str(PurePosixPath(path).parent) for path in lists})
    below: dict[str, list[str]] = {folder: [] for folder in folders}
    shared = list[str]()
    for path in sorted(filter(is_audio, paths)):
        owner = next((str(one) for one in PurePosixPath(path).parents if str(one) in below), None)
        (shared if owner is None else below[owner]).append(path)
    for folder in folders:
        here = sorted(path for path in lists if str(PurePosixPath(path).parent) == folder)
        yield Portion(*words_of(folder), (*here, *below[folder], *shared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A row's words about its clip, and the file that it names."""

    id: str
    place: str
    text: str
    language: str
    path: str
    speaker: str = ""
    duration_s: float = 0.0


def read_clip(tree: Tree, claim: Claim, defects: list[Defect], *, listen: bool) -> ReadBack | None:
    """The clip as row and audio have it; None, and a defect, where the audio cannot be read."""
    try:
        with closing(tree.open(claim.path)) as stream:
            content = stream.read()
        sound = decode(content) if listen else look(content)
    except SegmentError as error:
        defects.append(Defect(claim.place, "bad_audio", f"{claim.id}, {claim.path}: {error.message}"))
        return None
    except (OSError, ObjectMissing) as error:
        defects.append(Defect(claim.place, "missing_audio", f"{claim.id}, {claim.path}: {error}"))
        return None
    return ReadBack(
        id=claim.id,
        place=claim.place,
        text=claim.text,
        language=claim.language,
        duration_s=claim.duration_s,
        sample_rate_hz=0,
        num_samples=0,
        speaker=claim.speaker,
        audio=content,
        audio_rate_hz=sound.sample_rate_hz,
        audio_samples=sound.num_samples,
        exact=claim.path.lower().endswith(_LOSSLESS),
    )

"""A folder of audio, with texts and labels that lie beside it under the same name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipika.languages import find_language
from lipika.packing.items import AudioPlace, Label, SourceItem, SourceRefusal
from lipika.packing.labels import SUFFIXES as LABELS
from lipika.packing.labels import BadLabels, LabelFile, read_labels
from lipika.packing.template import KNOWN, PathTemplate
from lipika.packing.values import valid_text

_AUDIO = (
    ".flac .wav .wave .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .caf .w64 .rf64 .bwf .au .snd .sph .nist .voc"
    " .m4a .m4b .aac .wma .amr .awb .3gp .3g2 .ape .wv .tta .mka .spx .gsm .ac3 .eac3 .dts .mpc .ra"
    " .mp4 .m4v .mkv .mov .avi .webm .mpg .mpeg .ts .mts .m2ts .flv .wmv .vob .ogv"
)
_OTHER = (
    ".json .jsonl .csv .tsv .parquet .md .rst .html .xml .yaml .yml .toml .ini .cfg .log .py .sh .pdf .doc .docx .xls"
    " .xlsx .jpg .jpeg .png .gif .svg .webp .zip .gz .bz2 .xz .zst .7z .rar .tar .tgz .npy .npz .pt .lock .ds_store"
    " .db .sqlite .lst .scp .ark .idx .sha256 .md5 .exe .dll .so .lnk .url .part .crdownload .tmp"
)
AUDIO = frozenset(_AUDIO.split())
_NEVER = frozenset(_OTHER.split())
"""Of files that are never looked into."""

_HIDDEN = (".", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information")
_WIDE = (".rttm", ".ctm")  # one file may be of many recordings
_SNIFFED = 1 << 12  # bytes


@dataclass(slots=True)
class _Listing:
    """The files and folders right in one folder."""

    audio: list[str] = field(default_factory=list)  # names
    labels: dict[str, list[str]] = field(default_factory=dict)  # by stem
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    refused: list[SourceRefusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """All audio below a folder, or one file.

    Args:
        root: the folder, or the file.
        template: reads language, speaker, split and id off paths.
        language_folder: the uppermost folder is the language, whatever its name is; otherwise any folder that is
            named as a language is.
        speaker_folder: the folder right above a recording is its speaker.
    """

    root: str
    template: PathTemplate | None = None
    language_folder: bool = False
    speaker_folder: bool = False
    kind: str = "folder"

    def items(self, audio: bool = True) -> Iterator[SourceItem | SourceRefusal]:  # noqa: ARG002 - nothing is read
        """As `PackSource.items`; by name, files before folders, links last."""
        top = Path(self.root)
        if top.is_file():
            yield from self._recording(top.parent, "", top.name, _beside(top), {})
            return
        try:
            about = top.stat()
        except OSError as error:
            yield SourceRefusal(self.root, "unreadable_folder", error.strerror or str(error))
            return
        yield from self._below(top, "", {(about.st_dev, about.st_ino)})

    def _below(
        self, folder: Path, key: str, seen: set[tuple[int, int]]
    ) -> Iterator[SourceItem | SourceRefusal]:
        """All that lies in `folder`, `key` below the root; `seen` are folders that need no second visit."""
        try:
            listing = _list(folder, key)
        except OSError as error:
            yield SourceRefusal(
                valid_text(key) or self.root, "unreadable_folder", error.strerror or str(error)
            )
            return
        yield from listing.refused
        wide, left = self._wide(folder, key, listing)
        yield from left
        for name in listing.audio:
            sidecars = listing.labels.pop(_stem(name), [])
            yield from self._recording(folder, key, name, sidecars, wide)
        for names in listing.labels.values():
            for name in names:
                reason = "other_file" if name.lower().endswith(".txt") else "labels_without_audio"
                yield SourceRefusal(
                    _display_name(key, name), reason, "no recording of that name lies beside it"
                )
        for entry in listing.folders:
            below = f"{key}/{entry.name}" if key else entry.name
            try:
                about = entry.stat()
            except OSError as error:
                yield SourceRefusal(valid_text(below), "unreadable_folder", error.strerror or str(error))
                continue
            place = (about.st_dev, about.st_ino)
            if place in seen:
                yield SourceRefusal(valid_text(below), "link_back", "a link to a folder that is read already")
                continue
            seen.add(place)
            yield from self._below(Path(entry.path), below, seen)

    def _wide(
        self, folder: Path, key: str, listing: _Listing
    ) -> tuple[dict[str, list[Label]], list[SourceRefusal]]:
        """Labels of files that are of no single recording, by the name of their recording."""
        stems = {_stem(name) for name in listing.audio}
        found: dict[str, list[Label]] = {}
        troubles: list[SourceRefusal] = []
        for stem in [stem for stem in listing.labels if stem not in stems]:
            names = [name for name in listing.labels[stem] if name.lower().endswith(_WIDE)]
            for name in names:
                labels, told = _read(folder / name, _display_name(key, name))
                troubles += told
                named = labels.by_recording if labels else {}
                if stems & named.keys():
                    listing.labels[stem].remove(name)
                    for recording, one in named.items():
                        found.setdefault(recording, []).extend(one)
        return found, troubles

    def _recording(
        self, folder: Path, key: str, name: str, sidecars: Sequence[str], wide: dict[str, list[Label]]
    ) -> Iterator[SourceItem | SourceRefusal]:
        shown = _display_name(key, name)
        path = f"{key}/{_stem(name)}" if key else _stem(name)
        facts = self.template.read(path) if self.template else {}
        if facts is None:
            told = f"the path does not fit --template {self.template.text if self.template else ''}"
            yield SourceRefusal(shown, "no_fit", told)
            return
        labels: list[Label] = list(wide.get(_stem(name), ()))
        text = None
        for sidecar in sidecars:
            found, troubles = _read(folder / sidecar, _display_name(key, sidecar))
            yield from troubles
            if found is not None:
                labels += found.labels_of(_stem(name))
                text = text or found.text
        labels.sort(key=lambda label: (label.start, label.end))
        yield SourceItem(
            name=valid_text(facts.get("id") or "") or shown,
            audio=AudioPlace(str(folder / name)),
            language=facts.get("language") or self._language(key),
            speaker=facts.get("speaker") or (self._speaker(key)),
            text=text or None,
            split=facts.get("split"),
            group=valid_text(key),
            columns={name: value for name, value in facts.items() if name not in (*KNOWN, "name")},
            labels=tuple(labels),
        )

    def _language(self, key: str) -> str | None:
        parts = key.split("/")
        if self.language_folder:
            return parts[0] or None
        return next((part for part in parts if find_language(part)), None)

    def _speaker(self, key: str) -> str | None:
        return (key.rpartition("/")[2] or None) if self.speaker_folder else None


def _list(folder: Path, key: str) -> _Listing:
    """Raises OSError: the folder cannot be looked into."""
    listing = _Listing()
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in entries:
        if entry.name.startswith(_HIDDEN):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            if _suffix(entry.name) in AUDIO:
                told = "a link to nothing" if entry.is_symlink() else error.strerror or str(error)
                listing.refused.append(SourceRefusal(_display_name(key, entry.name), "missing_file", told))
            continue
        if stat.S_ISDIR(mode):
            listing.folders.append(entry)
        elif stat.S_ISREG(mode):
            _sort_in(entry, key, listing)
    return listing


def _sort_in(entry: os.DirEntry[str], key: str, listing: _Listing) -> None:
    suffix = _suffix(entry.name)
    if suffix in LABELS:
        listing.labels.setdefault(_stem(entry.name), []).append(entry.name)
    elif suffix in AUDIO or (suffix not in _NEVER and _sounds(entry.path)):
        listing.audio.append(entry.name)
    else:
        listing.refused.append(SourceRefusal(_display_name(key, entry.name), "other_file", "it is no audio"))


def _sounds(path: str) -> bool:
    """True if a file begins as audio does, whatever its name."""
    from lipika.audio.containers import kind_of

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - of whatever bytes the name is made
            return kind_of(file.read(_SNIFFED)) is not None
    except OSError:
        return False


def _read(path: Path, shown: str) -> tuple[LabelFile | None, list[SourceRefusal]]:
    try:
        found = read_labels(path)
    except BadLabels as error:
        return None, [SourceRefusal(shown, "bad_labels", str(error))]
    return found, [SourceRefusal(f"{shown}:{line}", "bad_label", told) for line, told in found.bad]


def _beside(path: Path) -> list[str]:
    """The names of what lies beside one file under its stem."""
    with os.scandir(path.parent) as found:
        names = sorted(entry.name for entry in found)
    return [name for name in names if _suffix(name) in LABELS and _stem(name) == _stem(path.name)]


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def _suffix(name: str) -> str:
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot else ""


def _display_name(key: str, name: str) -> str:
    return valid_text(f"{key}/{name}" if key else name)

"""Anybody's Kaldi data folder, read back: every list held against the others, and the audio behind `wav.scp`."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from sys import intern

from lipika.dataset.formats.base import Portion, Tree
from lipika.dataset.formats.files_reading import (
    AudioFiles,
    Claim,
    Line,
    check_text,
    is_audio,
    portions_by_list,
    read_clip,
    read_lines,
)
from lipika.dataset.model import Defect, ReadBack

TEXT, SPEAKERS, UTTERANCES, AUDIO = "text", "utt2spk", "spk2utt", "wav.scp"
DURATIONS, RECORDINGS, LANGUAGES, SEGMENTS = "utt2dur", "reco2dur", "utt2lang", "segments"
_NEEDED = (TEXT, SPEAKERS, UTTERANCES, AUDIO)
_LISTS = (*_NEEDED, DURATIONS, RECORDINGS, LANGUAGES, SEGMENTS)
_BY_UTTERANCE = (SPEAKERS, DURATIONS, RECORDINGS, LANGUAGES)

_TOLERANCE_S = 0.03
"""Kaldi's own tools count frames of 10 ms, and leave out what does not fill a window of 25 ms."""

_BLANK = re.compile(r"[ \t]+")
_IN_ARCHIVE = re.compile(r".*\.ark:\d+")


def speaker_id(speaker: str) -> str:
    """The name that Kaldi knows a speaker by."""
    return speaker.replace("-", ".")


def utterance_id(name: str, speaker: str) -> str:
    """The id that Kaldi knows a clip by, from its own and the speaker's name in Kaldi or out of it."""
    return f"{speaker_id(speaker)}-{name}"


def lists(paths: Collection[str]) -> list[str]:
    """The lists of every folder that has both texts and audio."""
    there = set(paths)
    folders = {
        where.parent
        for where in map(PurePosixPath, paths)
        if where.name == AUDIO
        and not there.isdisjoint({str(where.parent / name) for name in (TEXT, SPEAKERS)})
    }
    return sorted(str(folder / name) for folder in folders for name in _LISTS if str(folder / name) in there)


def portions(paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
    """One for each folder; lists that Kaldi cannot do without are put on `defects`."""
    for portion in portions_by_list(paths, lists(paths)):
        folder = PurePosixPath(portion.paths[0]).parent
        lacking = [path for name in _NEEDED if (path := str(folder / name)) not in portion.paths]
        defects.extend(Defect(path, "missing_list", "there is no such file") for path in lacking)
        yield portion


def read(tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool) -> Iterator[ReadBack]:
    """Every clip that has a text and whose audio can be read, in the order of `text`."""
    files = AudioFiles.gather(portion)
    tables = {
        name: _Table.read(tree, f"{files.folder}/{name}".removeprefix("./"), defects)
        for name in _LISTS
        if str(PurePosixPath(files.folder) / name) in portion.paths
    }
    if SEGMENTS in tables:
        message = (
            "utterances are parts of recordings here, which is not read; cut them first (extract-segments)"
        )
        defects.append(Defect(tables[SEGMENTS].path, "segments", message))
        return
    folder = _Folder(portion, files, tables, defects)
    folder.compare()
    yield from folder.clips(tree, listen)
    defects.extend(files.strays())


@dataclass(frozen=True, slots=True)
class _Table:
    """A list: for each key the first line with it, without the key."""

    path: str
    lines: Mapping[str, Line]

    @classmethod
    def read(cls, tree: Tree, path: str, defects: list[Defect]) -> _Table:
        lines = dict[str, Line]()
        order = _Order("ids are not in the order of bytes (LC_ALL=C sort)")
        name = PurePosixPath(path).name
        for line in read_lines(tree, path, defects):
            key, value = _split(line, defects)
            key = intern(key)  # once for all lists
            order.note(key, line)
            if key in lines:
                message = f"{key} stands in {lines[key].place} already"
                defects.append(Defect(line.place, "duplicate_id", message))
            elif name != TEXT and not value:
                defects.append(Defect(line.place, "bad_row", f"{key} has no value"))
            elif name not in (TEXT, AUDIO, UTTERANCES, SEGMENTS) and _BLANK.search(value):
                defects.append(Defect(line.place, "bad_row", f"{key} has more than one value: {value}"))
            else:
                lines[key] = replace(line, text=intern(value) if name in _BY_UTTERANCE else value)
        order.finish(defects)
        return cls(path, lines)


def _split(line: Line, defects: list[Defect]) -> tuple[str, str]:
    """A line's first word and the rest. Spaces around words are one each; those of a text are looked at apart."""
    text = line.text
    blank = _BLANK.search(text.lstrip())
    key, value = (text.lstrip(), "") if blank is None else _cut(text.lstrip(), blank)
    if text != text.lstrip() or (blank is not None and len(blank[0]) > 1):
        defects.append(Defect(line.place, "odd_spaces", f"{key}: not one space before the id and behind it"))
    return key, value


def _cut(text: str, blank: re.Match[str]) -> tuple[str, str]:
    return text[: blank.start()], text[blank.end() :]


@dataclass(slots=True)
class _Order:
    """The places where the lines of a list leave the order of bytes; said once."""

    message: str
    last: bytes = b""
    breaks: int = 0
    first: Line | None = None

    def note(self, key: str, line: Line) -> None:
        here = key.encode()
        if here < self.last:
            self.breaks += 1
            self.first = self.first or line
        self.last = here

    def finish(self, defects: list[Defect]) -> None:
        if self.first is not None:
            more = f", and {self.breaks - 1:,} times more" if self.breaks > 1 else ""
            defects.append(Defect(self.first.place, "unsorted", f"{self.message}: here{more}"))


@dataclass(frozen=True, slots=True)
class _Folder:
    """One data folder."""

    portion: Portion
    files: AudioFiles
    tables: Mapping[str, _Table]
    defects: list[Defect]

    def compare(self) -> None:
        """Hold the lists against one another."""
        self._compare_ids()
        self._compare_speakers()
        self._compare_durations()

    def clips(self, tree: Tree, listen: bool) -> Iterator[ReadBack]:
        for key, line in self._lines(TEXT).items():
            check_text(line.text, key, line.place, self.defects)
            claim = self._claim(key, line)
            clip = read_clip(tree, claim, self.defects, listen=listen) if claim else None
            if clip is not None:
                yield self._compare_audio(key, clip)

    def _lines(self, name: str) -> Mapping[str, Line]:
        return self.tables[name].lines if name in self.tables else {}

    def _say(self, line: Line, code: str, message: str) -> None:
        self.defects.append(Defect(line.place, code, message))

    def _compare_ids(self) -> None:
        texts, audio = self._lines(TEXT), self._lines(AUDIO)
        for key, line in texts.items():
            if key not in audio and AUDIO in self.tables:
                self._say(line, "missing_audio", f"{key} is not in {AUDIO}")
        for key, line in audio.items():
            if key not in texts and TEXT in self.tables:
                self._say(line, "missing_row", f"{key} is not in {TEXT}")
        for name in _BY_UTTERANCE:
            lines = self._lines(name)
            for key, line in texts.items():
                if key not in lines and name in self.tables:
                    self._say(line, "missing_row", f"{key} is not in {name}")
            for key, line in lines.items():
                if key not in texts and key not in audio:
                    self._say(line, "ghost_row", f"{key} is in neither {TEXT} nor {AUDIO}")

    def _compare_speakers(self) -> None:
        speakers = self._lines(SPEAKERS)
        order = _Order("speakers are not in the order of bytes when utterances are")
        for line in speakers.values():
            order.note(line.text, line)
        order.finish(self.defects)
        if UTTERANCES not in self.tables:
            return
        seen = set[str]()
        for speaker, line in self._lines(UTTERANCES).items():
            for key in line.text.split():
                seen.add(key)
                stated = speakers.get(key)
                if stated is None:
                    self._say(line, "speaker", f"{key} of {speaker} is not in {SPEAKERS}")
                elif stated.text != speaker:
                    self._say(
                        line, "speaker", f"{key} is of {speaker} here and of {stated.text} in {stated.place}"
                    )
        for key, line in speakers.items():
            if key not in seen:
                self._say(line, "speaker", f"{key} of {line.text} is not in {UTTERANCES}")

    def _compare_durations(self) -> None:
        recordings = self._lines(RECORDINGS)
        for lines in (self._lines(DURATIONS), recordings):
            for key, line in lines.items():
                if not _seconds(line.text) > 0:
                    self._say(line, "duration", f"{key} has {line.text!r} for seconds")
        for key, line in self._lines(DURATIONS).items():
            other = recordings.get(key, line)
            one, two = _seconds(line.text), _seconds(other.text)
            if one > 0 and two > 0 and abs(one - two) > _TOLERANCE_S:
                message = f"{key} has {line.text} s here and {other.text} s in {other.place}"
                self._say(line, "duration", message)

    def _claim(self, key: str, line: Line) -> Claim | None:
        source = self._lines(AUDIO).get(key)
        path = self._audio_path(key, source) if source else None
        if source is None or path is None:
            return None
        self.files.claim(path, key, source.place, self.defects)
        speaker, language = self._lines(SPEAKERS).get(key), self._lines(LANGUAGES).get(key)
        stated = self._lines(DURATIONS).get(key) or self._lines(RECORDINGS).get(key)
        stem = PurePosixPath(path).stem
        return Claim(
            id=stem if speaker and utterance_id(stem, speaker.text) == key else key,
            place=line.place,
            text=line.text,
            language=language.text if language else self.portion.language,
            path=path,
            speaker=speaker.text if speaker else "",
            duration_s=max(_seconds(stated.text), 0.0) if stated else 0.0,
        )

    def _audio_path(self, key: str, source: Line) -> str | None:
        """The file whose audio `wav.scp` means; None, and a defect, where there is none."""
        if _IN_ARCHIVE.fullmatch(source.text):
            self._say(source, "archive", f"{key} lies in a Kaldi archive, which is not read: {source.text}")
            return None
        words = _words(source.text)
        if words is None:
            self._say(source, "bad_row", f"{key}: quotes of the command do not match: {source.text}")
            return None
        found = next(filter(None, map(self.files.find, words)), None)
        if found is None:
            lost = next(filter(is_audio, words), source.text)
            self._say(source, "missing_audio", f"{key}: there is no {lost}")
        return found

    def _compare_audio(self, key: str, clip: ReadBack) -> ReadBack:
        """The clip; without its stated duration where that has been found wrong."""
        stated = self._lines(DURATIONS).get(key) or self._lines(RECORDINGS).get(key)
        true = clip.audio_samples / clip.audio_rate_hz
        if stated is None or abs(clip.duration_s - true) <= _TOLERANCE_S:
            return clip
        if clip.duration_s:
            self._say(stated, "duration", f"{key} has {stated.text} s here, and {true:.3f} s of audio")
        return replace(clip, duration_s=0.0)


def _words(source: str) -> list[str] | None:
    """A path alone, or the words of a command that ends in `|`; None where its quotes do not match."""
    if not source.endswith("|"):
        return [source]
    try:
        return shlex.split(source[:-1])
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """A number as it is stated; 0 where that is none."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0

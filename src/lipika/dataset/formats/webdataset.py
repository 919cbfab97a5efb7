"""Tars of samples, each a few files of the same name, as `webdataset` and `datasets` read them.

`<language>/<split>/<language>-<split>-%06d.tar`: of each clip its audio, then a document under the same name. No name
holds a dot: what stands before the first one is the sample, for its readers. `datasets` infers types from the first
five samples, so every document has the same keys, and none that may be null.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from lipika.archive.tar import printable
from lipika.dataset.formats.base import Format, Index, Portion, ShardWriter, TarFile, Tree, WrittenFile
from lipika.dataset.formats.fields import audio_md5, member_name, source_fields, stable_fields, word_times
from lipika.dataset.formats.nemo import Nemo
from lipika.dataset.formats.shar import Shar
from lipika.dataset.formats.tar_reading import (
    HeardAudio,
    Numbered,
    Row,
    Said,
    TarMember,
    find_gaps,
    find_numbered,
    hear,
    language_and_split,
    number_in,
    parse_document,
    read_members,
    text_in,
)
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Utterance

_SHARD = re.compile(r"(?P<before>.*?)(?P<digits>\d+)(?P<after>\D*\.tar)")
_OURS = re.compile(r"(?P<language>[a-z]{2,3})-(?P<split>[a-z]+)-")
_SOUNDS = ("flac", "wav", "mp3", "ogg", "opus", "m4a", "aac", "aiff", "aif")
_TEXTS = ("txt", "text", "transcript", "lab")
_LOOKED_AT = 5  # samples, by `datasets`


class WebDataset(Format):
    name = "webdataset"
    reader = "webdataset, Hugging Face datasets"
    forms = (AudioForm.FLAC, AudioForm.WAV)
    clips_per_shard = 5_000

    def audio_path(self, shard: Shard, file: str) -> str:
        del file
        name = f"{shard.language}-{shard.split}-{shard.number:06d}.tar"
        return f"{shard.language}/{shard.split}/{name}"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(folder / self.audio_path(shard, ""))

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the tars say it all."""
        del layout, index
        yield from ()

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return _has_tar(paths) and not Nemo.recognises(paths) and not Shar.recognises(paths)

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        tars = sorted(path for path in paths if path.endswith(".tar"))
        series: dict[tuple[str, str, str], list[Numbered]] = {}
        for tar in find_numbered(_SHARD, tars):
            series.setdefault((tar.folder, tar.before, tar.after), []).append(tar)
        for shards in series.values():
            defects.extend(find_gaps(sorted(shards, key=lambda tar: tar.number)))
        for path in tars:
            yield Portion(*_language_and_split(path), (path,))

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        (path,) = portion.paths
        shapes = list[frozenset[str]]()
        for sample in _samples(read_members(tree, path, defects), defects, listen=listen):
            if len(shapes) < _LOOKED_AT:
                shapes.append(frozenset((*sample.words, sample.audio_ending)))
            clip = sample.read(portion.language, defects)
            if clip is not None:
                yield clip
        if len(set(shapes)) > 1:
            message = f"the first {len(shapes)} samples have other files each: `datasets` refuses them"
            defects.append(Defect(path, "uneven_members", message))


# ----------------------------------------------------------------------------- writing


class _Writer:
    def __init__(self, path: Path) -> None:
        self._tar = TarFile(path)

    def add(self, utterance: Utterance) -> None:
        self._tar.add(member_name(utterance), utterance.audio)
        self._tar.add(f"{utterance.row.id}.json", orjson.dumps(_document(utterance)))

    def finish(self) -> Iterable[WrittenFile]:
        return (self._tar.close(),)


def _document(utterance: Utterance) -> dict[str, object]:
    row = utterance.row
    return {
        "id": row.id,
        "text": row.text,
        "language": row.language,
        "speaker": row.speaker,
        "duration": utterance.duration_s,
        "sampling_rate": utterance.sample_rate_hz,
        "num_samples": utterance.num_samples,
        **stable_fields(row),
        "words": orjson.dumps(word_times(row)).decode(),  # a text: a list that may be empty has no type
        **source_fields(row),
        **audio_md5(utterance),
        "skip": row.skip,
    }


# ----------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Sample:
    """The files of one name: small ones by their endings, and what was heard of its audio."""

    key: str
    place: str
    words: dict[str, TarMember]
    audio_ending: str = ""
    heard: HeardAudio | None = None
    is_mixed: bool = False  # of files that were meant as several samples

    def add(self, ending: str, member: TarMember, defects: list[Defect], *, listen: bool) -> None:
        first, _, last = ending.rpartition(".")
        sound = last.lower() in _SOUNDS
        if sound and first:
            message = f"a dot in its name: readers take {printable(ending)!r} for a file of {self.key!r}"
            defects.append(Defect(member.place, "dotted_name", message))
            self.is_mixed = True
        elif ending in self.words or (sound and self.audio_ending):
            defects.append(Defect(member.place, "duplicate_id", f"{self.key} has such a file already"))
        elif sound:
            self.audio_ending, self.heard = ending, hear(member, defects, listen=listen)
        elif ending in _TEXTS or ending == "json":
            self.words[ending] = member

    def read(self, language: str, defects: list[Defect]) -> ReadBack | None:
        if self.is_mixed:
            return None
        if not self.audio_ending:
            defects.append(Defect(self.place, "missing_audio", f"{self.key} has no audio"))
        if not self.words:
            defects.append(Defect(self.place, "missing_row", f"{self.key} has neither document nor text"))
        if not self.words or self.heard is None:
            return None
        document = parse_document(self.words["json"], defects) if "json" in self.words else {}
        return self._words_of(document, language).join(self.heard, defects)

    def _words_of(self, row: Row, language: str) -> Said:
        written = next((self.words[ending] for ending in _TEXTS if ending in self.words), None)
        text = written.content.decode("utf-8", "replace").strip() if written is not None else ""
        return Said(
            id=text_in(row, "id") or self.key,
            place=self.place,
            text=text_in(row, "text", "sentence", "transcription", "transcript") or text,
            language=text_in(row, "language", "lang") or language,
            speaker=text_in(row, "speaker", "speaker_id"),
            video_id=text_in(row, "video_id"),
            duration_s=number_in(row, "duration"),
            sample_rate_hz=int(number_in(row, "sampling_rate", "sample_rate")),
            num_samples=int(number_in(row, "num_samples")),
            md5=text_in(row, "audio_md5"),
            skip=bool(row.get("skip") or row.get("_skipme")),
        )


def _samples(members: Iterator[TarMember], defects: list[Defect], *, listen: bool) -> Iterator[_Sample]:
    """Files of one name that follow each other, as their readers take them."""
    sample: _Sample | None = None
    for member in members:
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        key = folder + slash + stem
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key, member.place, {})
        sample.add(ending, member, defects, listen=listen)
    if sample is not None:
        yield sample


def _has_tar(paths: Collection[str]) -> bool:
    return any(path.endswith(".tar") for path in paths)


def _language_and_split(path: str) -> tuple[str, str]:
    """By the folders, else by the name."""
    folder, _, name = path.rpartition("/")
    language, split = language_and_split(folder)
    named = _OURS.match(name)
    return (language or named["language"], split or named["split"]) if named else (language, split)

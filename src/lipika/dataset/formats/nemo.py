"""Tars beside manifests, as NeMo and NeMo Curator read them.

`<language>/<split>/audio_<i>.tar` with `manifest_<i>.json` beside it: the shards of a folder are one tarset, whose
numbers begin at 0 and have no gaps, as NeMo takes them for places in a list.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import orjson

from lipika.dataset.formats.base import (
    Format,
    Index,
    Lines,
    Portion,
    ShardWriter,
    TarFile,
    Tree,
    WrittenFile,
)
from lipika.dataset.formats.fields import (
    audio_md5,
    has_punctuation,
    known_fields,
    known_source,
    known_words,
    member_name,
)
from lipika.dataset.formats.tar_reading import (
    HeardAudio,
    Numbered,
    Row,
    Said,
    find_gaps,
    find_numbered,
    hear,
    language_and_split,
    number_in,
    read_members,
    read_rows,
    text_in,
)
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Tarset, Utterance

_TAR = re.compile(r"(?P<before>audio.*_)(?P<digits>\d+)(?P<after>[^/]*\.tar)")
_MANIFEST = re.compile(r"(?P<before>.*manifest.*_)(?P<digits>\d+)(?P<after>[^/]*\.jsonl?)")
_ONE_MANIFEST = re.compile(r".*manifest.*\.jsonl?")
_APART = "sharded_manifests/"  # where NeMo's own script puts them
_PART = re.compile(r"(.*)-sub\d+(\.\w+)")
_MIN_WEIGHT = 0.0001  # hours: a weight of 0 is refused


class Nemo(Format):
    name = "nemo"
    reader = "NeMo (tarred)"
    forms = (AudioForm.FLAC, AudioForm.WAV)
    clips_per_shard = 5_000

    def audio_path(self, shard: Shard, file: str) -> str:
        del file
        return f"{shard.language}/{shard.split}/audio_{shard.number}.tar"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(shard, folder / self.audio_path(shard, ""))

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The `input_cfg` of a training: one file for each split, so that none is trained on by mistake."""
        del index
        for split, tarsets in groupby(sorted(layout.tarsets, key=_split_first), lambda tarset: tarset.split):
            held = [tarset for tarset in tarsets if tarset.clips]
            if held:
                name = "input_cfg.yaml" if split == "train" else f"input_cfg_{split}.yaml"
                yield name, _input_cfg(held, layout.audio_root)

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        names = [path.rpartition("/")[2] for path in paths]
        return any(map(_TAR.fullmatch, names)) and any(map(_ONE_MANIFEST.fullmatch, names))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        ordered = sorted(paths)
        manifests = _group_by_folder(find_numbered(_MANIFEST, ordered))
        for folder, tars in _group_by_folder(find_numbered(_TAR, ordered)).items():
            rows = manifests.pop(folder, None) or manifests.pop(folder + _APART, None)
            defects.extend(find_gaps(tars, first=0))
            if rows is not None:
                yield from _pairs(folder, tars, rows, defects)
            else:
                yield from _one_for_all(folder, tars, ordered, defects)
        for rows in manifests.values():
            defects += [
                Defect(row.path, "missing_audio", "there is no tar for this manifest") for row in rows
            ]

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        manifest, *tars = portion.paths
        rows = _Rows(tree, manifest, portion.language, defects)
        for tar in tars:
            for member in read_members(tree, tar, defects):
                claims = rows.take(member.name)
                if not claims:
                    message = f"{manifest} has no row for it: NeMo stops there"
                    defects.append(Defect(member.place, "missing_row", message))
                elif (heard := hear(member, defects, listen=listen)) is not None:
                    for claim in claims:
                        yield claim.said.join(claim.part(heard), defects)
        for name, claim in rows.rest():
            message = f"{name} is not in {' or '.join(tars)}: NeMo passes it over without a word"
            defects.append(Defect(claim.said.place, "missing_audio", message))


# ----------------------------------------------------------------------------- writing


class _Writer:
    def __init__(self, shard: Shard, tar: Path) -> None:
        self._number = shard.number
        self._tar = TarFile(tar)
        self._rows = Lines(tar.with_name(f"manifest_{shard.number}.json"))

    def add(self, utterance: Utterance) -> None:
        name = member_name(utterance)
        self._tar.add(name, utterance.audio)
        self._rows.json(_row(utterance, name, self._number))

    def finish(self) -> Iterable[WrittenFile]:
        return self._tar.close(), self._rows.close()


def _row(utterance: Utterance, name: str, shard: int) -> dict[str, object]:
    row = utterance.row
    fields: dict[str, object] = {
        "audio_filepath": name,
        "duration": utterance.duration_s,
        "text": row.text,
        "lang": row.language,
        **canary_fields(row.language, row.text),
        "shard_id": shard,
        "sampling_rate": utterance.sample_rate_hz,
        "num_samples": utterance.num_samples,
        "id": row.id,
        "speaker": row.speaker,
        **known_fields(row),
        **known_words(row),
        **known_source(row),
        **audio_md5(utterance),
    }
    if row.skip:
        fields["_skipme"] = row.skip
    return fields


def canary_fields(language: str, text: str) -> dict[str, object]:
    """The words in which Canary is asked for a transcript; its older recipes say `taskname`, later ones neither."""
    return {
        "source_lang": language,
        "target_lang": language,
        "pnc": "yes" if has_punctuation(text) else "no",
        "task": "asr",
        "taskname": "asr",
    }


def _split_first(tarset: Tarset) -> tuple[str, str]:
    return tarset.split, tarset.language


def _input_cfg(tarsets: Sequence[Tarset], root: str) -> Iterator[bytes]:
    yield b"# Weights are hours: `reweight_temperature` of the training evens them out.\n"
    for tarset in tarsets:
        folder = "/".join(filter(None, (root.rstrip("/"), tarset.language, tarset.split)))
        numbers = "0" if tarset.shards == 1 else f"_OP_0..{tarset.shards - 1}_CL_"
        lines = (
            "- type: nemo_tarred",
            f"  manifest_filepath: {_quote(f'{folder}/manifest_{numbers}.json')}",
            f"  tarred_audio_filepaths: {_quote(f'{folder}/audio_{numbers}.tar')}",
            f"  weight: {max(round(tarset.hours, 4), _MIN_WEIGHT)}",
            "  tags:",
            f"    lang: {_quote(tarset.language)}",
            f"    split: {_quote(tarset.split)}",
        )
        yield "".join(f"{line}\n" for line in lines).encode()


def _quote(text: str) -> str:
    """A text in YAML, where a bare `no` would be False."""
    return orjson.dumps(text).decode()


# ----------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Claim:
    """A row of a manifest. Several may have one file, each a part of it."""

    said: Said
    offset_s: float
    is_part: bool

    def part(self, heard: HeardAudio) -> HeardAudio:
        """The part that this row means, as far as it is there."""
        if not self.is_part:
            return heard
        there = heard.num_samples - round(self.offset_s * heard.sample_rate_hz)
        wanted = round(self.said.duration_s * heard.sample_rate_hz)
        return HeardAudio(heard.sample_rate_hz, min(there, wanted), heard.audio, "", heard.exact)


class _Rows:
    """The rows of a manifest by the file they name."""

    def __init__(self, tree: Tree, manifest: str, language: str, defects: list[Defect]) -> None:
        self._claims: dict[str, list[_Claim]] = defaultdict(list)
        numbered = next(find_numbered(_MANIFEST, [manifest]), None)
        for place, row in read_rows(tree, manifest, defects):
            name = text_in(row, "audio_filepath")
            defects += [Defect(place, "bad_row", message) for message in _lacks(row, numbered)]
            if name:
                claim = _Claim(
                    _words_of(row, name, place, language), number_in(row, "offset"), "offset" in row
                )
                part = _PART.fullmatch(name)
                self._claims["".join(part.groups()) if part else name].append(claim)

    def take(self, name: str) -> list[_Claim]:
        return self._claims.pop(name, [])

    def rest(self) -> Iterator[tuple[str, _Claim]]:
        return ((name, claim) for name, claims in self._claims.items() for claim in claims)


def _words_of(row: Row, name: str, place: str, language: str) -> Said:
    return Said(
        id=text_in(row, "id") or name.rpartition(".")[0] or name,
        place=place,
        text=text_in(row, "text"),
        language=text_in(row, "lang", "language", "target_lang") or language,
        speaker=text_in(row, "speaker", "speaker_id"),
        video_id=text_in(row, "video_id"),
        duration_s=number_in(row, "duration"),
        sample_rate_hz=int(number_in(row, "sampling_rate", "sample_rate")),
        num_samples=int(number_in(row, "num_samples")),
        md5=text_in(row, "audio_md5"),
        skip=bool(row.get("_skipme") or row.get("_skip_me")),
    )


def _lacks(row: Row, manifest: Numbered | None) -> Iterator[str]:
    """All that a row must have and does not."""
    if not text_in(row, "audio_filepath"):
        yield "it names no file: audio_filepath is missing"
    if number_in(row, "duration") <= 0:
        yield "it has no duration"
    if not isinstance(row.get("text"), str):
        yield "it has no text"
    shard = row.get("shard_id")
    if manifest is not None and shard is not None and shard != manifest.number:
        yield f"shard_id is {shard}, and the manifest is number {manifest.number}"


def _group_by_folder(files: Iterator[Numbered]) -> dict[str, list[Numbered]]:
    """In the order of their numbers."""
    folders: dict[str, list[Numbered]] = defaultdict(list)
    for file in files:
        folders[file.folder].append(file)
    return {folder: sorted(found, key=lambda file: file.number) for folder, found in folders.items()}


def _pairs(
    folder: str, tars: Sequence[Numbered], manifests: Sequence[Numbered], defects: list[Defect]
) -> Iterator[Portion]:
    """Each manifest with its tar."""
    rows = {manifest.number: manifest.path for manifest in manifests}
    for tar in tars:
        manifest = rows.pop(tar.number, "")
        if manifest:
            yield Portion(*language_and_split(folder), (manifest, tar.path))
        else:
            defects.append(Defect(tar.path, "missing_row", f"there is no manifest {tar.number} for this tar"))
    defects += [Defect(path, "missing_audio", "there is no tar for this manifest") for path in rows.values()]


def _one_for_all(
    folder: str, tars: Sequence[Numbered], paths: Sequence[str], defects: list[Defect]
) -> Iterator[Portion]:
    """All tars of a folder with the only manifest there."""
    found = [
        path
        for path in paths
        if path.startswith(folder) and _ONE_MANIFEST.fullmatch(path.removeprefix(folder)) is not None
    ]
    if found:
        yield Portion(*language_and_split(folder), (found[0], *(tar.path for tar in tars)))
    else:
        defects += [Defect(tar.path, "missing_row", "there is no manifest for this tar") for tar in tars]

"""Lhotse Shar: cuts in JSON lines beside a tar with their recordings, in the same order.

`<language>/<split>/cuts.%06d.jsonl` and `recording.%06d.tar`. Indexes, by which lhotse 2 finds a cut without reading
those before it, lie apart in `index/<language>/<split>`: lhotse 1 takes what is beside the shards for another field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import orjson

from lipika.dataset.formats.base import (
    Format,
    HashedFile,
    Index,
    Lines,
    Portion,
    ShardWriter,
    TarFile,
    Tree,
    WrittenFile,
)
from lipika.dataset.formats.fields import audio_md5, known_fields, known_source, member_name, word_times
from lipika.dataset.formats.nemo import canary_fields
from lipika.dataset.formats.tar_reading import (
    HeardAudio,
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
    read_rows,
    text_in,
)
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Utterance

_CUTS = re.compile(r"(?P<before>cuts\.)(?P<digits>\d+)(?P<after>\.jsonl(\.gz)?)")
_TAR = re.compile(r"(?P<before>recording\.)(?P<digits>\d+)(?P<after>\.tar)")
_NO_DATA = (".nodata", ".nometa")  # in the place of a recording that a cut lacks


class Shar(Format):
    name = "shar"
    reader = "lhotse (Shar), NeMo"
    forms = (AudioForm.FLAC, AudioForm.WAV)
    clips_per_shard = 1_000

    def audio_path(self, shard: Shard, file: str) -> str:
        del file
        return f"{shard.language}/{shard.split}/recording.{shard.number:06d}.tar"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: lhotse takes a folder as it is."""
        del layout, index
        yield from ()

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return any(_CUTS.fullmatch(path.rpartition("/")[2]) for path in paths)

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        ordered = sorted(paths)
        tars = {(tar.folder, tar.number): tar.path for tar in find_numbered(_TAR, ordered)}
        folders: dict[str, list[tuple[int, str]]] = {}
        shards = sorted(find_numbered(_CUTS, ordered), key=lambda cuts: (cuts.folder, cuts.number))
        for cuts in shards:
            folders.setdefault(cuts.folder, []).append((cuts.number, cuts.path))
        for folder, found in folders.items():
            defects.extend(find_gaps([cuts for cuts in shards if cuts.folder == folder]))
            for number, path in found:
                tar = tars.pop((folder, number), "")
                if tar:
                    yield Portion(*language_and_split(folder), (path, tar))
                else:
                    defects.append(Defect(path, "missing_audio", f"there is no recording {number} beside it"))
        defects += [Defect(path, "missing_row", "there are no cuts beside it") for path in tars.values()]

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        path, tar = portion.paths
        cuts = _Cuts(tree, path, portion.language, defects)
        for member, document in _pairs(read_members(tree, tar, defects), defects):
            said = cuts.take(member)
            if said is not None and (heard := _hear(member, document, defects, listen=listen)) is not None:
                yield said.join(heard, defects)
        defects += [
            Defect(said.place, "missing_audio", f"{said.id} is not in {tar}: lhotse stops there")
            for said in cuts.rest()
        ]


# ----------------------------------------------------------------------------- writing


class _Writer:
    def __init__(self, shard: Shard, folder: Path) -> None:
        where = Path(shard.language, shard.split)
        cuts, tar = f"cuts.{shard.number:06d}.jsonl", f"recording.{shard.number:06d}.tar"
        self._cuts, self._tar = Lines(folder / where / cuts), TarFile(folder / where / tar)
        self._cuts_index, self._tar_index = (folder / "index" / where / f"{name}.idx" for name in (cuts, tar))
        self._cuts_at, self._recordings_at = list[int](), list[int]()

    def add(self, utterance: Utterance) -> None:
        recording = _recording(utterance)
        self._recordings_at.append(self._tar.add(member_name(utterance), utterance.audio))
        self._tar.add(f"{utterance.row.id}.json", orjson.dumps(recording))
        self._cuts_at.append(self._cuts.json(_cut(utterance, recording)))

    def finish(self) -> Iterable[WrittenFile]:
        cuts, tar = self._cuts.close(), self._tar.close()
        return (
            cuts,
            tar,
            _write_index(self._cuts_index, [*self._cuts_at, cuts.size]),
            _write_index(self._tar_index, [*self._recordings_at, tar.size]),
        )


def _write_index(path: Path, offsets: list[int]) -> WrittenFile:
    """The places where each sample begins, and at last where the file ends."""
    file = HashedFile(path)
    file.write(np.array(offsets, "<u8").tobytes())
    return file.close()


def _recording(utterance: Utterance) -> dict[str, object]:
    return {
        "id": utterance.row.id,
        "sources": [{"type": "shar", "channels": [0], "source": ""}],
        "sampling_rate": utterance.sample_rate_hz,
        "num_samples": utterance.num_samples,
        "duration": utterance.duration_s,
        "channel_ids": [0],
    }


def _cut(utterance: Utterance, recording: dict[str, object]) -> dict[str, object]:
    row, duration_s = utterance.row, utterance.duration_s
    custom = (
        known_fields(row) | canary_fields(row.language, row.text) | audio_md5(utterance) | known_source(row)
    )
    if row.skip:
        custom["_skipme"] = row.skip
    supervision: dict[str, object] = {
        "id": row.id,
        "recording_id": row.id,
        "start": 0.0,
        "duration": duration_s,
        "channel": 0,
        "text": row.text,
        "language": row.language,
        "speaker": row.speaker,
    }
    if row.words:
        supervision["alignment"] = {"word": [_alignment_item(*word) for word in word_times(row)]}
    return {
        "id": row.id,
        "start": 0,
        "duration": duration_s,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording,
        "custom": custom,
        "type": "MonoCut",
    }


def _alignment_item(word: str, start_s: float, end_s: float, confidence: float | None) -> list[object]:
    """As lhotse's `AlignmentItem` is written: symbol, start, duration, and a score where there is one."""
    item: list[object] = [word, start_s, round(end_s - start_s, 3)]
    return item if confidence is None else [*item, confidence]


# ----------------------------------------------------------------------------- reading


class _Cuts:
    """The cuts of a shard, which its recordings are held against in turn."""

    def __init__(self, tree: Tree, path: str, language: str, defects: list[Defect]) -> None:
        self._path, self._defects = path, defects
        self._cuts: dict[str, tuple[int, Said]] = {}
        self._last = -1  # place of the cut whose recording came last
        for place, row in read_rows(tree, path, defects):
            said = _words_of(row, place, language)
            if not said.id or said.duration_s <= 0:
                lack = "duration" if said.id else "id"
                defects.append(Defect(place, "bad_row", f"it is no cut: it has no {lack}"))
            if said.id in self._cuts:
                defects.append(Defect(place, "duplicate_id", f"{said.id} is the id of two cuts"))
            elif said.id:
                self._cuts[said.id] = len(self._cuts), said

    def take(self, member: TarMember) -> Said | None:
        """The cut that a recording belongs to."""
        number, said = self._cuts.pop(member.name.rpartition(".")[0], (self._last, None))
        if said is None:
            message = f"{self._path} has no cut for it: lhotse stops there"
            self._defects.append(Defect(member.place, "missing_row", message))
        elif number < self._last:
            message = "cuts and recordings are in another order: lhotse stops there"
            self._defects.append(Defect(member.place, "unsorted", message))
        self._last = max(number, self._last)
        return None if member.name.endswith(_NO_DATA) else said

    def rest(self) -> Iterator[Said]:
        return (said for _, said in self._cuts.values())


def _words_of(cut: Row, place: str, language: str) -> Said:
    supervisions = cut.get("supervisions")
    spoken = [one for one in supervisions if isinstance(one, dict)] if isinstance(supervisions, list) else []
    first = spoken[0] if spoken else {}
    recording, custom = (
        held if isinstance(held := cut.get(name), dict) else {} for name in ("recording", "custom")
    )
    return Said(
        id=text_in(cut, "id"),
        place=place,
        text=" ".join(filter(None, (text_in(one, "text") for one in spoken))),
        language=text_in(first, "language") or language,
        speaker=text_in(first, "speaker"),
        video_id=text_in(custom, "video_id"),
        duration_s=number_in(cut, "duration"),
        sample_rate_hz=int(number_in(recording, "sampling_rate")),
        num_samples=int(number_in(recording, "num_samples")),
        md5=text_in(custom, "audio_md5"),
        skip=bool(custom.get("_skipme")),
    )


def _pairs(members: Iterator[TarMember], defects: list[Defect]) -> Iterator[tuple[TarMember, Row]]:
    """Each recording with the document behind it. What has none is noted, and the rest read all the same."""
    waiting: TarMember | None = None
    for member in members:
        stem, _, ending = member.name.rpartition(".")
        if waiting is None:
            waiting = member
            continue
        if stem == waiting.name.rpartition(".")[0] and ending in {"json", "nometa"}:
            yield waiting, parse_document(member, defects) if ending == "json" else {}
            waiting = None
        else:
            defects.append(_alone(waiting))
            waiting = member
    if waiting is not None:
        defects.append(_alone(waiting))


def _alone(member: TarMember) -> Defect:
    return Defect(member.place, "uneven_members", "a recording and its document must follow each other")


def _hear(member: TarMember, document: Row, defects: list[Defect], *, listen: bool) -> HeardAudio | None:
    """A recording, held against the document beside it, which lhotse believes."""
    heard = hear(member, defects, listen=listen)
    stated = int(number_in(document, "num_samples"))
    if heard is not None and stated and stated != heard.num_samples and heard.exact:
        name = member.name.rpartition(".")[0]
        message = f"the document says {stated:,} samples, and there are {heard.num_samples:,}"
        defects.append(Defect(f"{member.path}: {name}.json", "num_samples", message))
    return heard

"""Exports whose rows are written over all shards: clips with ids, speakers and texts of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from dataset_kit import SHARD, utterance, write_shard
from lipika.dataset.convert import to_wav
from lipika.dataset.formats.base import Format, IndexRow
from lipika.dataset.model import AudioForm, Layout, Shard, Tarset, Utterance

RATE_HZ = 8_000


@lru_cache
def sound(number: int) -> Utterance:
    return utterance(number, 0.5, RATE_HZ)


def clip(
    number: int,
    name: str,
    text: str = "एक दो",
    speaker: str = "v_s1",
    form: AudioForm = AudioForm.FLAC,
    shard: Shard = SHARD,
) -> Utterance:
    """A clip of half a second and `number` samples."""
    made = sound(number)
    row = replace(
        made.row,
        id=name,
        text=text,
        speaker=speaker,
        language=shard.language,
        split=shard.split,
        shard=shard.number,
    )
    audio = made.audio if form is AudioForm.FLAC else to_wav(made.audio).data
    return Utterance(row, audio, form, made.sample_rate_hz, made.num_samples)


class Rows:
    """Exported clips as `Index` has them."""

    def __init__(self, written_by: Format, clips: Sequence[Utterance]) -> None:
        self._format = written_by
        self._clips = sorted(clips, key=lambda one: (one.row.speaker.encode(), one.row.id.encode()))

    def rows(self, language: str, split: str) -> Iterator[IndexRow]:
        for one in self._clips:
            row = one.row
            if (row.language, row.split) == (language, split):
                path = self._format.audio_path(shard_of(one), one.file)
                yield IndexRow(row.id, path, row.text, row.speaker, one.sample_rate_hz, one.num_samples)


def shard_of(one: Utterance) -> Shard:
    return Shard(one.row.language, one.row.split, one.row.shard, one.row.shard + 1)


def write_export(written_by: Format, clips: Sequence[Utterance], root: Path, audio_root: str = "") -> None:
    """All shards, and what is written over them."""
    shards = sorted({shard_of(one) for one in clips})
    for shard in shards:
        write_shard(written_by, [one for one in clips if shard_of(one) == shard], root, shard)
    tarsets = [
        Tarset(language, split, 1, 1, 1.0)
        for language, split in sorted({(shard.language, shard.split) for shard in shards})
    ]
    for path, pieces in written_by.whole(Layout(tarsets, audio_root), Rows(written_by, clips)):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(pieces))


def edit(root: Path, path: str, old: str, new: str) -> None:
    """Replace what stands once in a list; a lone surrogate plants a byte that is no UTF-8."""
    content = (root / path).read_bytes()
    before, after = old.encode(), new.encode("utf-8", "surrogateescape")
    assert content.count(before) == 1, (path, old, content.decode())
    (root / path).write_bytes(content.replace(before, after))

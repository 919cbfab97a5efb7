"""Kaldi's data folders, which ESPnet and lhotse read, too.

`<language>/<split>/` holds `text`, `utt2spk`, `spk2utt`, `wav.scp`, `utt2dur`, `reco2dur` and `utt2lang`; audio is
in `audio/<shard>/<id>.flac` or `.wav`. Kaldi wants these lists in the order of bytes, and `utt2spk` in the order of
its speakers at the same time. Ids that begin with the speaker do not see to that: `v_s1_5` comes after `v_s10_5`,
though `v_s1` comes before `v_s10`. So the utterance's id is `<speaker>-<id>`, with a speaker's own `-` as `.`: then
the separator sorts before all that a speaker is called by, and (speaker, id) is the order of both.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from pathlib import Path

from lipika.dataset.formats import kaldi_reading
from lipika.dataset.formats.base import Format, Index, IndexRow, Portion, ShardWriter, Tree
from lipika.dataset.formats.files import FileWriter, demand_text, one_line, place_of, to_bytes
from lipika.dataset.formats.kaldi_reading import speaker_id, utterance_id
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Tarset, Utterance
from lipika.errors import UsageError

_SPEAKER = re.compile(r"[^\s\x00-,./:-@\[-^`{-\xa0]+")
"""No spaces, and of ASCII letters, digits, `_` and `-` alone: nothing else sorts before the separator."""

_KALDIS_OWN = re.compile(r"(?<!\w)(?:</?s>|#(0))(?!\w)", re.ASCII)
"""Words of Kaldi's own, which it refuses in a text; it takes all but ASCII for the end of a word."""


class Kaldi(Format):
    name = "kaldi"
    reader = "Kaldi, ESPnet"
    forms = (AudioForm.FLAC, AudioForm.WAV)
    clips_per_shard = 5_000
    most_bits = 16  # Kaldi refuses more, however they come to it
    rows_in_shards = False

    def audio_path(self, shard: Shard, file: str) -> str:
        return f"{shard.language}/{shard.split}/audio/{shard.number:06d}/{file}"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(self, shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        for tarset in layout.tarsets:
            if tarset.clips:  # Kaldi refuses empty lists
                yield from _lists(layout, tarset, index)

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return bool(kaldi_reading.lists(paths))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        return kaldi_reading.portions(paths, defects)

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        return kaldi_reading.read(tree, portion, defects, listen=listen)


class _Writer(FileWriter):
    def add(self, utterance: Utterance) -> None:
        demand_text(written_text(utterance.row.text), utterance)
        if not _SPEAKER.fullmatch(utterance.row.speaker):
            row = utterance.row
            raise UsageError(
                f"{row.id}: Kaldi cannot sort the speaker {row.speaker!r}; give it letters, digits, _ and -"
            )
        super().add(utterance)


def written_text(text: str) -> str:
    """One line, one space between words, none of Kaldi's own words."""
    return one_line(_KALDIS_OWN.sub(r" \1", text))


def _lists(layout: Layout, tarset: Tarset, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(path, content) of every list of one folder."""
    values: dict[str, Callable[[IndexRow], str]] = {
        "text": lambda row: written_text(row.text),
        "utt2spk": lambda row: speaker_id(row.speaker),
        "wav.scp": lambda row: _source(place_of(layout, row)),
        "utt2dur": _seconds,
        "reco2dur": _seconds,
        "utt2lang": lambda _: tarset.language,
    }
    folder = f"{tarset.language}/{tarset.split}"
    for name, value in values.items():
        lines = (
            f"{utterance} {value(row)}\n"
            for utterance, row in _utterances(index, tarset.language, tarset.split)
        )
        yield f"{folder}/{name}", to_bytes(lines)
    yield f"{folder}/spk2utt", to_bytes(_speakers(index, tarset.language, tarset.split))


def _seconds(row: IndexRow) -> str:
    """In full: rounded seconds are another number of samples."""
    return repr(row.num_samples / row.sample_rate_hz)


def _source(path: str) -> str:
    """A path, or the command whose output Kaldi reads in its place: it knows WAV alone."""
    return f"flac -c -d -s {shlex.quote(path)} |" if path.endswith(f".{AudioForm.FLAC}") else path


def _utterances(index: Index, language: str, split: str) -> Iterator[tuple[str, IndexRow]]:
    """Clips by the ids of their utterances.

    Raises:
        ValueError: they do not come in that order.
    """
    last = b""
    for row in index.rows(language, split):
        utterance = utterance_id(row.id, row.speaker)
        if (here := utterance.encode()) <= last:
            raise ValueError(f"{language}/{split}: {utterance} comes after {last.decode()}")
        last = here
        yield utterance, row


def _speakers(index: Index, language: str, split: str) -> Iterator[str]:
    """The lines of `spk2utt` in parts: a speaker may have any number of utterances."""
    for speaker, utterances in groupby(
        _utterances(index, language, split), key=lambda one: speaker_id(one[1].speaker)
    ):
        yield speaker
        yield from (f" {utterance}" for utterance, _ in utterances)
        yield "\n"

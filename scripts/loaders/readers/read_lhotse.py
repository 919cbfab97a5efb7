"""Lhotse: Shar in order, Shar at random by our indexes, and Kaldi's folders."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.kaldi import load_kaldi_data_dir
from lhotse.recipes import prepare_ljspeech

from loaders.readers.heard import Heard, demand, kaldi_folders, serve


def shar(folder: Path) -> Iterator[Heard]:
    """`from_shar(in_dir=...)`, one tarset after the other."""
    for tarset in _tarsets(folder):
        yield from map(_heard, CutSet.from_shar(in_dir=tarset))


def indexed(folder: Path) -> Iterator[Heard]:
    """Cuts in any order, which takes the offsets in `index/`; none may be missing, as they would be made anew."""
    before = sorted(folder.rglob("*.idx"))
    for tarset in _tarsets(folder):
        where = folder / "index" / tarset.relative_to(folder)
        cuts = CutSet.from_shar(in_dir=tarset, indexed=True, index_path=where)
        order = list(range(len(cuts)))
        random.Random(0).shuffle(order)
        yield from (_heard(cuts[number]) for number in order)
    if sorted(folder.rglob("*.idx")) != before:
        raise SystemExit(
            "lhotse has made indexes of its own: some are missing or not where it looks for them"
        )


def kaldi(folder: Path) -> Iterator[Heard]:
    """`load_kaldi_data_dir`; it is told one rate for all, so samples are taken as they come, at whatever rate."""
    for where in kaldi_folders(folder):
        recordings, supervisions, _ = load_kaldi_data_dir(where, sampling_rate=16_000)
        for said in supervisions:
            (samples,) = recordings[said.recording_id].sources[0].load_audio()
            yield Heard(said.id.removeprefix(f"{said.speaker}-"), said.text, 0, samples)


def ljspeech(folder: Path) -> Iterator[Heard]:
    """`prepare_ljspeech`."""
    for table in sorted(folder.rglob("metadata.csv")):
        found = prepare_ljspeech(table.parent)
        for said in found["supervisions"]:
            recording = found["recordings"][said.recording_id]
            yield Heard(said.id, said.text, recording.sampling_rate, recording.load_audio()[0])


def _tarsets(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("cuts.*.jsonl")})


def _heard(cut: Any) -> Heard:
    samples = cut.load_audio()
    demand(samples.shape == (1, cut.num_samples), f"{cut.id}: not as long as its cut")
    return Heard(cut.id, cut.supervisions[0].text, cut.sampling_rate, samples[0])


if __name__ == "__main__":
    serve({"shar": shar, "indexed": indexed, "kaldi": kaldi, "ljspeech": ljspeech}, ("lhotse",))

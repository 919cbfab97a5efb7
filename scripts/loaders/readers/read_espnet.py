"""ESPnet: its readers of `wav.scp` and `text`, and kaldiio, by which it reads the output of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
from espnet2.fileio.read_text import read_2columns_text
from espnet2.fileio.sound_scp import SoundScpReader

from loaders.readers.heard import Heard, demand, kaldi_folders, kaldi_speakers, serve


def files(folder: Path) -> Iterator[Heard]:
    """Where `wav.scp` names files."""
    yield from _read(folder, lambda table: SoundScpReader(table, dtype="int16"))


def commands(folder: Path) -> Iterator[Heard]:
    """Where `wav.scp` names commands, such as `flac -d`."""
    yield from _read(folder, lambda table: kaldiio.load_scp(str(table)))


def _read(folder: Path, reader: Callable[[Path], Any]) -> Iterator[Heard]:
    for where in kaldi_folders(folder):
        texts, speakers = read_2columns_text(where / "text"), kaldi_speakers(where)
        sounds = reader(where / "wav.scp")
        demand(list(sounds.keys()) == list(texts), f"{where}: wav.scp and text name other clips")
        for name, text in texts.items():
            rate, samples = sounds[name]
            yield Heard(name.removeprefix(f"{speakers[name]}-"), text, rate, np.asarray(samples))


if __name__ == "__main__":
    serve({"files": files, "commands": commands}, ("espnet", "kaldiio"))

"""Small corpora in the forms of others, of recordings that tell themselves apart."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from lipika.packing.items import AudioPlace, PackSource, SourceItem, SourceRefusal

RATE = 16_000


def samples(seed: int, seconds: float = 1.0, channels: int = 1) -> NDArray[np.int16]:
    noise = np.random.default_rng(seed).integers(-9_000, 9_000, (round(seconds * RATE), channels))
    return noise.astype(np.int16)


def sound(seed: int, seconds: float = 1.0, channels: int = 1, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples(seed, seconds, channels), RATE, format=kind, subtype="PCM_16")
    return file.getvalue()


def lines(path: Path, rows: Iterable[Mapping[str, object] | str]) -> Path:
    """JSON lines; a string stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def taken(source: PackSource) -> tuple[dict[str, SourceItem], list[tuple[str, str]]]:
    """Items by name, and (name, reason) of refusals. Counting gives the same, without bytes."""
    given = list(source.items())
    light = list(source.items(audio=False))
    assert [one.name for one in light] == [one.name for one in given]
    assert all(one.audio.data is None for one in light if isinstance(one, SourceItem))
    items = [one for one in given if isinstance(one, SourceItem)]
    assert len({one.name for one in items}) == len(items)
    return {one.name: one for one in items}, [
        (one.name, one.reason) for one in given if isinstance(one, SourceRefusal)
    ]


def bytes_at(place: AudioPlace) -> bytes:
    if place.data is not None:
        return place.data
    data = Path(place.place).read_bytes()[place.offset :]
    return data if place.size is None else data[: place.size]

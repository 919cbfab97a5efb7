"""What a reader says of each clip, as lines of JSON. Needs numpy alone, so that it works in every environment."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANNOT = "not run:"
"""How the last words of a reader begin that lacks something on this machine."""


@dataclass(frozen=True)
class Heard:
    """One clip as a loader gave it.

    `samples` of shape (frames,), floats in -1..1 or integers, left-justified; None where the loader has resampled
    them or gives bytes alone. `content` are the bytes of its file, where the loader gives those.
    """

    id: str
    text: str
    rate: int = 0
    samples: NDArray[Any] | None = None
    content: bytes | None = None


Ways = Mapping[str, Callable[[Path], Iterator[Heard]]]


def serve(ways: Ways, packages: Sequence[str]) -> None:
    """Read the export named on the command line and write down what was heard; the first line names versions."""
    way, folder, out = sys.argv[1:]
    with Path(out).open("w", encoding="utf-8") as lines:
        lines.write(json.dumps({"versions": dict(_versions(packages))}) + "\n")
        lines.writelines(json.dumps(_described(heard)) + "\n" for heard in ways[way](Path(folder).resolve()))
        lines.write(json.dumps({"end": True}) + "\n")


def kaldi_folders(folder: Path) -> list[Path]:
    """Those with a `wav.scp`, whose paths are relative to the export: one has to be there."""
    os.chdir(folder)
    return sorted(table.parent for table in folder.rglob("wav.scp"))


def kaldi_speakers(folder: Path) -> dict[str, str]:
    """Utterance -> speaker, with which its name begins."""
    lines = (folder / "utt2spk").read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def digest_of(samples: NDArray[Any]) -> str:
    """Of samples as 32-bit integers, left-justified, whatever they come as."""
    if samples.dtype.kind == "f":
        samples = np.rint(samples.astype(np.float64) * 2**31)
    elif samples.dtype == np.int16:
        samples = samples.astype(np.int64) << 16
    return hashlib.sha256(samples.astype("<i4").tobytes()).hexdigest()


def demand(condition: bool, message: str) -> None:
    """End here if it does not hold."""
    if not condition:
        raise SystemExit(message)


def _described(heard: Heard) -> dict[str, object]:
    line: dict[str, object] = {"id": heard.id, "text": heard.text, "rate": heard.rate}
    if heard.samples is not None:
        line |= {"frames": len(heard.samples), "samples": digest_of(heard.samples)}
    if heard.content is not None:
        line["content"] = hashlib.sha256(heard.content).hexdigest()
    return line


def _versions(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        with suppress(PackageNotFoundError):
            yield package, version(package)

"""The published front end as TorchScript, for test bundles and to compare with `frontend.py`. Needs torch.

Where torch is installed, a runner compares the two once when it opens a bundle, and takes the numpy variant that
agrees; where none does, the TorchScript itself. Without torch it trusts the variant in `frontend.PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipika.alignment import frontend
from lipika.alignment.frontend import Features, Variant

NEAR = 2e-3
"""Largest difference of a feature, in deviations of its band (measured: below 1e-3 on speech)."""

FrontEnd = Callable[[NDArray[np.int16]], Features]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A front end, and in words how far it is known to be the bundle's."""

    features: FrontEnd
    known: str


def choose(preprocessor: Path) -> Chosen:
    """The front end for a bundle with this `preprocessor.ts`."""
    original = load(preprocessor)
    if original is None:
        return Chosen(frontend.log_mel, "not compared with preprocessor.ts: no torch, or no such file")
    signal = _trial()
    for reflect, partial in product((False, True), repeat=2):
        variant = Variant(reflect=reflect, partial_frame=partial)
        distance = difference(original(signal), frontend.log_mel(signal, variant))
        if distance < NEAR:
            return Chosen(_front_end_of(variant), f"equals preprocessor.ts within {distance:.1e} ({variant})")
    return Chosen(original, "preprocessor.ts itself: no variant in numpy equals it")


def difference(first: Features, second: Features) -> float:
    """Largest difference of two clips' features; infinite where the frames differ in number."""
    return float(np.abs(first - second).max()) if first.shape == second.shape else float("inf")


def load(preprocessor: Path) -> FrontEnd | None:
    """The TorchScript as a front end; None without torch or without the file."""
    if not preprocessor.is_file():
        return None
    try:
        import torch
    except ImportError:
        return None
    script = torch.jit.load(str(preprocessor), map_location="cpu")

    def features(samples: NDArray[np.int16]) -> Features:
        signal = torch.from_numpy(samples.astype(np.float32) / 32_768)[None]
        with torch.inference_mode():
            bands, frames = script(signal, torch.tensor([len(samples)]))
        result: Features = bands[0, :, : int(frames[0])].numpy()
        return result

    return features


def write(path: Path, variant: Variant = frontend.PUBLISHED) -> bool:
    """Write a preprocessor of the published form; False without torch."""
    try:
        import torch

        from lipika.alignment.nemo import Preprocessor
    except ImportError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(Preprocessor(variant)).save(str(path))
    return True


def _front_end_of(variant: Variant) -> FrontEnd:
    return lambda samples: frontend.log_mel(samples, variant)


def _trial() -> NDArray[np.int16]:
    """Two seconds with sound up to both edges, where variants differ; no whole number of hops."""
    noise = np.random.default_rng(1).normal(0, 2000, 2 * frontend.RATE_HZ + 77)
    return np.asarray(noise * (1.2 + np.sin(np.arange(len(noise)) / 3000)), np.int16)

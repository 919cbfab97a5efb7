"""Record what NeMo's arithmetic gives in torch, with librosa's filters, on sample speech; a test compares with it.

pip install torch librosa && python scripts/record_front_end.py
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import librosa
import numpy as np
import torch

from lipika.alignment.frontend import BANDS, FFT, RATE_HZ, Variant
from lipika.alignment.nemo import Preprocessor
from lipika.audio.codec import decode, resample_for_model

ROOT = Path(__file__).parents[1]
FIXTURE = ROOT / "tests" / "kits" / "fixtures" / "front_end.npz"
EVERY = 7  # frames kept
VARIANTS = {"plain": Variant(), "reflect_partial": Variant(reflect=True, partial_frame=True)}


def main() -> None:
    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=FFT, n_mels=BANDS, fmin=0, fmax=RATE_HZ / 2, norm="slaney"
    )
    recorded = {}
    for language in ("hi", "ta", "ur"):
        with tarfile.open(ROOT / "samples" / "tars" / f"{language}_sample.tar") as archive:
            name = min(name for name in archive.getnames() if name.endswith(".flac"))
            member = archive.extractfile(name)
            samples = resample_for_model(decode(member.read() if member else b"")).samples
        for title, variant in VARIANTS.items():
            module = torch.jit.script(Preprocessor(variant, torch.from_numpy(filters.astype(np.float32))))
            signal = torch.from_numpy(samples.astype(np.float32) / 32_768)[None]
            features, frames = module(signal, torch.tensor([len(samples)]))
            recorded[f"{language}:{name}:{title}"] = features[0, :, : int(frames[0])].numpy()[:, ::EVERY]
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **recorded)


if __name__ == "__main__":
    main()

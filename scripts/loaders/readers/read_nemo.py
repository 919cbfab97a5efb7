"""NeMo: its adapters sample by sample, and the data loader that a training uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from nemo.collections.common.data.lhotse import get_lhotse_dataloader_from_config
from nemo.collections.common.data.lhotse.cutset import read_cutset_from_config
from omegaconf import OmegaConf

from loaders.readers.heard import Heard, demand, serve

RATE = 16_000  # Hz, of a training


class Utterances(torch.utils.data.Dataset):
    """Batches of what there is to learn from."""

    def __getitem__(self, cuts: Any) -> list[tuple[str, str, int]]:
        return [(cut.id, cut.supervisions[0].text, cut.load_audio().shape[1]) for cut in cuts]


def tarred(folder: Path) -> Iterator[Heard]:
    """`input_cfg`, at each clip's own rate."""
    for config in _configs(folder):
        yield from _cuts(config)


def parquet(folder: Path) -> Iterator[Heard]:
    """`type: parquet`."""
    yield from _cuts(_parquet(folder))


def tarred_batches(folder: Path) -> Iterator[Heard]:
    """The data loader on `input_cfg`."""
    for config in _configs(folder):
        yield from _batches(config)


def parquet_batches(folder: Path) -> Iterator[Heard]:
    """The data loader on `type: parquet`."""
    yield from _batches(_parquet(folder))


def _configs(folder: Path) -> list[Any]:
    os.chdir(folder)  # paths in an input_cfg are relative to where the training is started
    return [path.name for path in sorted(folder.glob("input_cfg*.yaml"))]


def _parquet(folder: Path) -> list[dict[str, Any]]:
    return [{"type": "parquet", "manifest_filepath": sorted(map(str, folder.glob("data/**/*.parquet")))}]


def _cuts(input_cfg: Any) -> Iterator[Heard]:
    config = OmegaConf.create({"input_cfg": input_cfg, "force_finite": True, "shuffle": False})
    cuts, _ = read_cutset_from_config(config)
    for cut in cuts:
        samples = cut.load_audio()
        yield Heard(_id(cut.id), cut.supervisions[0].text, cut.sampling_rate, samples[0])


def _batches(input_cfg: Any) -> Iterator[Heard]:
    config = {
        "input_cfg": input_cfg,
        "sample_rate": RATE,
        "batch_size": 4,
        "num_workers": 0,
        "shuffle": False,
        "force_finite": True,
    }
    batches = get_lhotse_dataloader_from_config(OmegaConf.create(config), 0, 1, Utterances())
    for batch in batches:
        for name, text, frames in batch:
            demand(frames > 0, f"{name} is empty")
            yield Heard(_id(name), text, RATE)


def _id(name: str) -> str:
    return name.rpartition(".")[0] or name


if __name__ == "__main__":
    serve(
        {
            "tarred": tarred,
            "parquet": parquet,
            "tarred_batches": tarred_batches,
            "parquet_batches": parquet_batches,
        },
        ("nemo_toolkit", "lhotse", "torch"),
    )

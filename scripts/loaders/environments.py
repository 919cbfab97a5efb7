"""Environments that have the loaders, below `.loaders/`: the newest releases, but where a pin is said.

They are made once; `--anew` makes them again, of what is newest then. lipika's own environment has none of this but
`datasets`, pyarrow and webdataset.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".loaders"
_LOCK = Path(__file__).with_name("requirements-croissant.txt")
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
    "WANDB_MODE": "disabled",
}
_PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")

# Of NeMo, ESPnet and F5-TTS what their loaders import; all that they name does not install beside each other.
_NEMO_NEEDS = (
    "braceexpand", "cuda-bindings", "editdistance", "einops", "hydra-core", "jiwer", "kaldialign", "librosa",
    "lightning<=2.4", "nv-one-logger-core", "nv-one-logger-pytorch-lightning-integration",
    "nv-one-logger-training-telemetry", "omegaconf", "onnx", "pandas", "ruamel.yaml", "sacrebleu", "scikit-learn",
    "sentencepiece", "smart-open", "tensorboard", "text-unidecode", "torchmetrics", "transformers",
    "whisper_normalizer", "wrapt",
)  # fmt: skip
_ESPNET_NEEDS = ("configargparse", "humanfriendly", "kaldiio", "torch_complex", "typeguard")
_F5_NEEDS = (
    "accelerate", "cached_path", "ema_pytorch", "loguru", "pypinyin", "rjieba", "torch_einops_utils", "torchdiffeq",
    "vocos", "wandb", "x_transformers",
)  # fmt: skip


class NoEnvironment(Exception):
    """An environment cannot be made here; says why."""


@dataclass(frozen=True)
class Environment:
    """A folder with a Python of its own. `steps` are the arguments of one `pip install` each."""

    name: str
    steps: Sequence[Sequence[str]]
    beside: str = ""  # uses the Python of this one, and puts its packages before those

    @property
    def folder(self) -> Path:
        return FOLDER / self.name


TRAINING = Environment(
    "training",
    (
        ("torch", "torchaudio", "torchcodec", "datasets[audio]", "webdataset", "lhotse", "soundfile"),
        (*_NEMO_NEEDS, *_ESPNET_NEEDS, *_F5_NEEDS),
        ("--no-deps", "nemo_toolkit", "espnet", "f5-tts"),
    ),
)
"""NeMo, the released Lhotse, Hugging Face, ESPnet and F5-TTS: about 6 GB."""

LHOTSE_NEXT = Environment("lhotse-next", (("--no-deps", "--pre", "lhotse"),), beside="training")
"""The same with Lhotse's pre-release."""

CROISSANT = Environment("croissant", (("--no-deps", "--require-hashes", "--requirement", str(_LOCK)),))
"""mlcroissant, pinned: one of its packages comes as source alone, so it is in no lock of ours."""

HERE = Environment("", ())
"""The Python that runs this: `datasets`, pyarrow and webdataset as `requirements-dev.lock` pins them."""


def make(environment: Environment, *, anew: bool) -> None:
    """Install it, if it is not there.

    Raises:
        NoEnvironment: pip or venv failed.
    """
    ready = environment.folder / "ready"
    wanted = _fingerprint(environment)
    if environment is HERE or (ready.is_file() and ready.read_text() == wanted and not anew):
        return
    print(f"Installing {environment.name} (once) ...", flush=True)
    shutil.rmtree(environment.folder, ignore_errors=True)
    if environment.beside:
        target = ["--target", str(environment.folder)]
    else:
        target = []
        _run(sys.executable, "-m", "venv", str(environment.folder))
    for step in environment.steps:
        _run(str(_python(environment)), *_PIP, *target, *step)
    ready.write_text(wanted)


def start(
    environment: Environment, *arguments: str, work: Path, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run its Python to the end, in a folder, with a home of its own for what it caches."""
    with tempfile.TemporaryDirectory(dir=work) as home:
        environ = os.environ | _QUIET | dict.fromkeys(("HOME", "HF_HOME", "XDG_CACHE_HOME"), home)
        packages = [str(environment.folder)] if environment.beside else []
        environ["PYTHONPATH"] = os.pathsep.join((*packages, str(ROOT / "scripts")))
        return subprocess.run(
            [str(_python(environment)), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            cwd=folder or home,
            check=False,
        )


def _python(environment: Environment) -> Path:
    if environment is HERE:
        return Path(sys.executable)
    return FOLDER / (environment.beside or environment.name) / "bin" / "python"


def _fingerprint(environment: Environment) -> str:
    lock = _LOCK.read_bytes() if environment is CROISSANT else b""
    return hashlib.sha256(repr((environment.steps, sys.version)).encode() + lock).hexdigest()


def _run(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise NoEnvironment(f"{' '.join(arguments[1:5])}: {' '.join(told[-3:])}")

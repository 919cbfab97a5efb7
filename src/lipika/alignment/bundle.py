"""The published bundle of IndicConformer as files: found in a folder or on the hub, and its tables read.

Its Python file (`model_onnx.py`) is never loaded. Of the bundle the ONNX models are executed and, where torch is
installed, the TorchScript of its front end (`torchscript.py`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from lipika.errors import UsageError

MODEL = "ai4bharat/indic-conformer-600m-multilingual"
PIECES = 256  # per language; the column after them is the blank
BLANK = PIECES
ENCODER, CTC = "encoder.onnx", "ctc_decoder.onnx"
VOCABULARY, MASKS = "vocab.json", "language_masks.json"
TORCHSCRIPT = "preprocessor.ts"

_NOT_WANTED = ("assets/rnnt_decoder*", "assets/joint_*")  # the other decoder, 22 files of it
_HASHED_BYTES = 8 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle's folder, and its tables. `columns` are the head's 257 columns of a language: pieces, then blank."""

    folder: Path
    pieces: dict[str, tuple[str, ...]]
    columns: dict[str, NDArray[np.intp]]
    digest: str  # 8 hexadecimal digits: which bundle this is

    @property
    def assets(self) -> Path:
        return self.folder / "assets"

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.pieces)


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's tables and look whether its models are there.

    Raises:
        UsageError: something is missing or not of the published form.
    """
    assets = folder / "assets"
    missing = [name for name in (ENCODER, CTC, VOCABULARY, MASKS) if not (assets / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder}: no IndicConformer bundle: {', '.join(f'assets/{name}' for name in missing)} missing."
            f" Download {MODEL}, or set INDICCONFORMER_REVISION and HF_TOKEN and leave INDICCONFORMER_PATH empty"
        )
    try:
        vocabulary = orjson.loads((assets / VOCABULARY).read_bytes())
        masks = orjson.loads((assets / MASKS).read_bytes())
        pieces = {str(code): tuple(map(str, listed)) for code, listed in vocabulary.items()}
        columns = {str(code): np.flatnonzero(np.asarray(mask, bool)) for code, mask in masks.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"{assets}: {VOCABULARY} or {MASKS} cannot be read: {error}") from None
    _check(assets, pieces, columns)
    return Bundle(folder, pieces, columns, _digest(folder))


def _check(assets: Path, pieces: dict[str, tuple[str, ...]], columns: dict[str, NDArray[np.intp]]) -> None:
    if not pieces or set(pieces) != set(columns):
        raise UsageError(f"{assets}: {VOCABULARY} and {MASKS} do not name the same languages")
    for code, listed in pieces.items():
        if len(listed) != PIECES or len(columns[code]) != PIECES + 1:
            raise UsageError(
                f"{assets}: {code} has {len(listed)} pieces and {len(columns[code])} columns; the published"
                f" form is {PIECES} and {PIECES + 1}"
            )


def _digest(folder: Path) -> str:
    """Names and sizes of all files, and the content of the small ones: blobs of gigabytes are told by their size.

    The TorchScript counts whatever its size, since it is a program.
    """
    digest = hashlib.sha256()
    for path in sorted((folder / "assets").iterdir()):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if size <= _HASHED_BYTES or path.name == TORCHSCRIPT:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def download(revision: str, token: str | None, *, model: str = MODEL) -> Path:
    """The bundle from the hub, at one commit and no other; what has been downloaded before is used again.

    Raises:
        UsageError: the revision is no commit, huggingface_hub is missing, or the hub refuses.
    """
    if not _COMMIT.fullmatch(revision):
        raise UsageError(
            f"INDICCONFORMER_REVISION: {revision!r} will not do: the 40 hexadecimal digits of a commit of {model}"
            " are expected, so that every worker hears with the same model; or set INDICCONFORMER_PATH to a folder"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(
            "downloading IndicConformer takes huggingface_hub: pip install 'lipika-speech[hub]', or set"
            " INDICCONFORMER_PATH to a folder with the bundle"
        ) from None
    try:
        folder = snapshot_download(
            model, revision=revision, token=token, ignore_patterns=["*.py", "*.nemo", *_NOT_WANTED]
        )
    except Exception as error:  # whatever its HTTP client raises: all of it is for a person to read
        raise UsageError(
            f"{model} cannot be downloaded: {error}. It is gated: accept its terms on the hub and set HF_TOKEN"
        ) from error
    return Path(folder)

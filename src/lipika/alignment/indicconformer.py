"""IndicConformer on onnxruntime: many clips at once, each in its own language.

The language is a mask on what the head gives, so that clips of many languages share a batch. Clips of about the same
length go together, and lengths are rounded up to a few sizes: a GPU plans its convolutions anew for each it meets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lipika.alignment import torchscript
from lipika.alignment.bundle import CTC, ENCODER, TORCHSCRIPT, Bundle, open_bundle
from lipika.alignment.chunks import parts_of
from lipika.alignment.ctc import Ear, Scores, greedy_text, language_scores, separable_codes
from lipika.alignment.frontend import BANDS, RATE_HZ, Features
from lipika.alignment.word_times import Posteriors, join_parts
from lipika.errors import UsageError

Device = Literal["auto", "cuda", "cpu"]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
BUCKET_FRAMES = 160  # 1.6 s: ten sizes up to the longest part
BATCH_FRAMES = 32 * 1600  # 10 ms frames in one run, padding counted: 32 parts of 16 s


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """A clip to listen to: 16 kHz samples, and the language whose vocabulary it is written in."""

    samples: NDArray[np.int16]
    language: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The text heard in a clip, and its language. `spoken_language` is empty where it cannot be told."""

    text: str
    spoken_language: str
    posteriors: Posteriors | None = field(default=None, compare=False, repr=False)  # in the clip's language


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    clip: int
    start_ms: int  # in the clip
    features: Features

    @property
    def size(self) -> int:
        """Frames, rounded up to a bucket."""
        frames: int = self.features.shape[1]
        return -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES


class IndicConformer:
    """One loaded model. Not for several threads at a time."""

    def __init__(self, folder: Path, *, device: Device = "auto", threads: int = 1) -> None:
        """Load the bundle in `folder`; `threads` is what it may use of the CPU.

        Raises:
            UsageError: the folder holds no bundle, onnxruntime is missing, or the device is not to be had.
        """
        self.bundle: Bundle = open_bundle(folder)
        providers = _providers(device)
        self._encoder = _session(self.bundle.assets / ENCODER, providers, threads)
        self._head = _session(self.bundle.assets / CTC, providers, threads)
        self.device = "cuda" if providers[0][0] == _CUDA else "cpu"
        self._front_end = torchscript.choose(self.bundle.assets / TORCHSCRIPT)
        self._listened = {code: self.bundle.columns[code] for code in separable_codes(self.bundle.languages)}

    @property
    def front_end(self) -> str:
        """The degree to which the front end is known to be the bundle's, in words."""
        return self._front_end.known

    def hear(self, clips: Sequence[Speech]) -> list[Heard]:
        """The words said in each clip, in their order. Audio over 15.5 s is heard in parts.

        Raises:
            ValueError: a language that the bundle does not know.
        """
        strangers = {clip.language for clip in clips} - set(self.bundle.languages)
        if strangers:
            raise ValueError(f"IndicConformer does not know {', '.join(sorted(strangers))}")
        parts = [part for number, clip in enumerate(clips) for part in self._parts(number, clip)]
        texts: dict[int, str] = {}
        own: dict[int, Scores] = {}
        ears = [Ear() for _ in clips]
        for batch in _batches(parts):
            for index, scores in zip(batch, self._scores([parts[index] for index in batch]), strict=True):
                clip = parts[index].clip
                code = clips[clip].language
                texts[index] = greedy_text(scores, self.bundle.columns[code], self.bundle.pieces[code])
                own[index] = language_scores(scores, self.bundle.columns[code])
                ears[clip].add(scores, self._listened)
        joined: list[list[str]] = [[] for _ in clips]
        spans: list[list[tuple[int, Scores]]] = [[] for _ in clips]
        for index, part in enumerate(parts):
            joined[part.clip].append(texts[index])
            spans[part.clip].append((part.start_ms, own[index]))
        return [
            Heard(
                " ".join(filter(None, joined[number])),
                ears[number].guess_language(),
                join_parts(
                    spans[number], _milliseconds(len(clip.samples)), self.bundle.pieces[clip.language]
                ),
            )
            for number, clip in enumerate(clips)
        ]

    def _parts(self, number: int, clip: Speech) -> Iterator[_Part]:
        start = 0
        for samples in parts_of(clip.samples):
            yield _Part(number, _milliseconds(start), self._front_end.features(samples))
            start += len(samples)

    def _scores(self, parts: Sequence[_Part]) -> Iterator[Scores]:
        """Each part's log-probabilities, without those of the padding."""
        batch = np.zeros((len(parts), BANDS, max(part.size for part in parts)), np.float32)
        lengths = np.array([part.features.shape[1] for part in parts], np.int64)
        for row, part in zip(batch, parts, strict=True):
            row[:, : part.features.shape[1]] = part.features
        encoded, frames = self._encoder.run(
            ["outputs", "encoded_lengths"], {"audio_signal": batch, "length": lengths}
        )
        (scores,) = self._head.run(["logprobs"], {"encoder_output": encoded})
        for row, count in zip(scores, frames, strict=True):
            yield row[: int(count)]


def _milliseconds(samples: int) -> int:
    return samples * 1000 // RATE_HZ


def _batches(parts: Sequence[_Part]) -> Iterator[list[int]]:
    """Indices of parts that go together, short ones first."""
    batch: list[int] = []
    for index in sorted(range(len(parts)), key=lambda index: parts[index].size):
        if batch and (len(batch) + 1) * parts[index].size > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _providers(device: Device) -> list[tuple[str, dict[str, str]]]:
    """The devices to run on, best first.

    Raises:
        UsageError: CUDA is asked for and this onnxruntime has none; or there is no onnxruntime.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(
            "listening with IndicConformer takes onnxruntime: pip install 'lipika-speech[align]', and for a GPU"
            " onnxruntime-gpu in its place"
        ) from None
    has_cuda = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise UsageError(
            "ALIGN_DEVICE: 'cuda' will not do: this onnxruntime runs on the CPU only; pip install"
            " onnxruntime-gpu in its place, or set it to auto"
        )
    cpu = (_CPU, dict[str, str]())
    # The exhaustive search that is the default takes most of a minute for every new length.
    cuda = (_CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "cudnn_conv1d_pad_to_nc1d": "1"})
    return [cuda, cpu] if has_cuda and device != "cpu" else [cpu]


def _session(model: Path, providers: list[tuple[str, dict[str, str]]], threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores, too
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's own types tell no more than their text
        raise UsageError(f"{model} cannot be loaded: {error}") from error
    got = session.get_providers()[0]
    if got != providers[0][0]:
        raise UsageError(
            f"{providers[0][0]} cannot be used, onnxruntime fell back to {got}: its log says why (a missing CUDA or"
            " cuDNN library, as a rule); set ALIGN_DEVICE to cpu to go on without a GPU"
        )
    return session

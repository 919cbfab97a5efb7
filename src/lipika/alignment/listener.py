"""One recogniser and one romaniser at work: clips with their answers in, alignments out. Blocks; for any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lipika.alignment.bundle import download, open_bundle
from lipika.alignment.compare import (
    Pair,
    compare,
    excluded_alignment,
    language_of,
    reason_not_to_listen,
    version_of,
)
from lipika.alignment.indicconformer import Device, IndicConformer, Speech
from lipika.alignment.romanise import RomaniserName, open_romaniser
from lipika.audio.codec import decode, resample_for_model
from lipika.models import Alignment, Answer, Clip


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """A model, its device, and a way to romanise texts. Without `path` the bundle comes from the hub."""

    path: Path | None = None
    revision: str = ""
    token: str | None = field(default=None, repr=False)
    device: Device = "auto"
    threads: int = 1
    romaniser: RomaniserName = "auto"


@dataclass(frozen=True, slots=True)
class Task:
    """A clip to listen to: its audio as FLAC (what was sent, or what was packed), and its answer."""

    audio: bytes = field(repr=False)
    answer: Answer
    clip: Clip
    language_hint: str


def listener_version(options: ListenerOptions) -> str:
    """The version that the alignments of such a listener carry, without loading the model.

    Raises:
        UsageError: the bundle or the romaniser is not to be had.
    """
    return version_of(open_bundle(_folder(options)).digest, open_romaniser(options.romaniser))


def _folder(options: ListenerOptions) -> Path:
    return options.path or download(options.revision, options.token)


class Listener:
    """Opens the model when it is made; that takes seconds to minutes."""

    def __init__(self, options: ListenerOptions) -> None:
        """Load model and romaniser.

        Raises:
            UsageError: one of them is not to be had; says what to do.
        """
        self._romaniser = open_romaniser(options.romaniser)
        self._model = IndicConformer(_folder(options), device=options.device, threads=options.threads)
        self._name = self._model.bundle.digest

    @property
    def device(self) -> str:
        return self._model.device

    @property
    def front_end(self) -> str:
        """The degree to which the front end is known to be the bundle's, in words."""
        return self._model.front_end

    @property
    def version(self) -> str:
        """The version that every alignment of this listener carries."""
        return version_of(self._name, self._romaniser)

    def align(self, tasks: Sequence[Task]) -> list[Alignment]:
        """Every task's alignment, in their order.

        Raises:
            SegmentError: the audio of a task cannot be decoded.
        """
        done: dict[int, Alignment] = {}
        heard: list[int] = []
        for number, task in enumerate(tasks):
            language = language_of(task.answer, task.language_hint)
            reason = reason_not_to_listen(task.answer, task.clip, task.language_hint)
            if reason:
                done[number] = excluded_alignment(reason, language, self.version)
            else:
                heard.append(number)
        chosen = [tasks[number] for number in heard]
        alignments = self._compare(chosen)
        return [done[number] if number in done else alignments.pop(0) for number in range(len(tasks))]

    def _compare(self, tasks: Sequence[Task]) -> list[Alignment]:
        languages = [language_of(task.answer, task.language_hint) for task in tasks]
        clips = [
            Speech(np.asarray(resample_for_model(decode(task.audio)).samples, np.int16), language)
            for task, language in zip(tasks, languages, strict=True)
        ]
        pairs = [
            Pair(task.answer, task.clip.duration_ms, language, heard)
            for task, language, heard in zip(tasks, languages, self._model.hear(clips), strict=True)
        ]
        return compare(pairs, self._romaniser, self._name)

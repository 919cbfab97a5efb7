"""Readings of the CTC head's scores: the text in one language's vocabulary, and the likeliest language. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lipika.alignment.bundle import BLANK

Scores = NDArray[np.float32]
"""Log-probabilities of one clip, shape (frames, all pieces of all languages and the blank)."""

WORD_START = "\u2581"
UNKNOWN = "<unk>"

LEAST_FRAMES = 10  # with pieces; fewer say little about a language
LEAST_MARGIN = 0.15  # nats a frame between the first and the second language (chosen)
TOLD_APART = frozenset({"as", "bn", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"})
"""Languages that can be told by ear; Hindi stands for Urdu, which sounds the same."""


def greedy_text(scores: Scores, columns: NDArray[np.intp], pieces: Sequence[str]) -> str:
    """The best piece of every frame in one language; runs collapsed, blanks dropped."""
    best = scores[:, columns].argmax(axis=1)
    starts = np.concatenate([[True], best[1:] != best[:-1]]) if len(best) else np.zeros(0, bool)
    spoken = (pieces[index] for index in best[starts] if index != BLANK)
    text = "".join(piece for piece in spoken if piece != UNKNOWN)
    return " ".join(text.replace(WORD_START, " ").split())


def language_scores(scores: Scores, columns: NDArray[np.intp]) -> Scores:
    """Log-probabilities of one language's pieces and the blank alone: each frame's sum to 1 again. A copy."""
    own: Scores = scores[:, columns]
    own -= own.max(axis=1, keepdims=True)
    own -= np.log(np.exp(own).sum(axis=1, keepdims=True))
    return own


@dataclass(slots=True)
class Ear:
    """The recogniser's confidence in the pieces of each language. Those of the parts of a clip can be added."""

    sums: dict[str, float] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)

    def add(self, scores: Scores, columns: Mapping[str, NDArray[np.intp]]) -> None:
        """Count the frames in which a language's best is a piece, by that piece's share among its own."""
        for code, own in columns.items():
            part = scores[:, own]
            best = part.argmax(axis=1)
            spoken = best != BLANK
            if not spoken.any():
                continue
            part = part[spoken]
            top = part.max(axis=1)
            shares = -np.log(np.exp(part - top[:, None]).sum(axis=1))
            self.sums[code] = self.sums.get(code, 0.0) + float(shares.sum())
            self.frames[code] = self.frames.get(code, 0) + int(spoken.sum())

    def guess_language(self) -> str:
        """The language it sounds like; empty where two are too close or there is too little speech."""
        means = {
            code: self.sums[code] / frames for code, frames in self.frames.items() if frames >= LEAST_FRAMES
        }
        ranked = sorted(means, key=means.__getitem__, reverse=True)
        if len(ranked) > 1 and means[ranked[0]] - means[ranked[1]] < LEAST_MARGIN:
            return ""
        return ranked[0] if ranked else ""


def separable_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """Those of a bundle's languages that are told apart."""
    return tuple(code for code in codes if code in TOLD_APART)

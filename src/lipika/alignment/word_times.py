"""The words of an answer on the clip's clock: its text held against a recogniser's posteriors, frame by frame. Pure.

A Viterbi path through connectionist temporal classification (CTC): the pieces of the text in their order, a blank
before, between and after them. Words that the recogniser cannot write (Latin letters, digits, letters that its
vocabulary lacks) are a star, which takes any frames at a small cost; so are `[UNK]` and `[INAUDIBLE]`, which are no
words of the result. Their times are rougher, and they have no confidence.

The clock is the clip's: 0 is its first sample, so that its leading pad counts. A frame is 80 ms, eight hops of the
front end; frame n is taken for the time from 80 n to 80 n + 80.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lipika.alignment.bundle import BLANK
from lipika.alignment.ctc import WORD_START, Scores
from lipika.alignment.frontend import HOP, RATE_HZ
from lipika.models import WordTime
from lipika.validation.text import SCRIPT_OF, canonical_tag, normalise

FRAME_MS = 8 * HOP * 1000 // RATE_HZ  # the encoder makes eight of the front end's frames one
STAR = BLANK + 1
STAR_COST = 3.0  # nats a frame, at most
STAR_PAUSE = 0.15  # nats a frame beyond the blank's: pauses go to the blank, unless they lie within a star
PIECE_COST = 0.5  # nats: few pieces, unless the recogniser hardly gave the longer ones anywhere
JOINT_COST = 1.0  # nats more for a word that was joined to the one before: its first piece begins no word
MOST_TOKENS = 2000  # of a clip; 20 s have 250 frames
HIDDEN_LETTERS = 5  # of a marker, where it shares a stretch with words
MARGIN_FRAMES = 0.25  # of a pause, on either side of a word: measured on made speech
LEAST_PULL = 0.3  # posterior of a word's beginning, less where it is far from where it is expected

_TOKEN = re.compile(r"\[(?P<tag>[^\[\]\n]{0,40})\]|[^\s\[]+")
_HIDDEN = frozenset({"UNK", "INAUDIBLE"})


@dataclass(frozen=True, slots=True, eq=False)
class Posteriors:
    """The recogniser's scores of one clip in one language.

    `scores` are log-probabilities of shape (frames, 257), of the language's pieces and the blank, each row of sum 1.
    `edges_ms` has the beginning of each frame and the end of the last.
    """

    scores: Scores
    edges_ms: Sequence[int]
    pieces: tuple[str, ...]

    def time_ms(self, edge: float) -> int:
        """The time of an edge in frames; what is beyond the clip is its end."""
        frame = min(max(int(edge), 0), len(self.edges_ms) - 2)
        begin, end = self.edges_ms[frame : frame + 2]
        return round(begin + (end - begin) * min(max(edge - frame, 0.0), 1.0))


def join_parts(parts: Sequence[tuple[int, Scores]], end_ms: int, pieces: tuple[str, ...]) -> Posteriors:
    """The posteriors of a clip that was heard in parts: the beginning of each in milliseconds, and its scores."""
    edges = [begin + FRAME_MS * frame for begin, scores in parts for frame in range(len(scores))]
    last = edges[-1] + FRAME_MS if edges else 0
    return Posteriors(np.concatenate([scores for _, scores in parts]), [*edges, min(last, end_ms)], pieces)


@dataclass(frozen=True, slots=True)
class LocatedWords:
    """The words of a clip with their times. `score` is the geometric mean of the pieces' posteriors over the frames
    of all words that can be written; `missing` the reason why there are none: a stable code."""

    words: tuple[WordTime, ...] = ()
    score: float | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of the text, or a marker (`text` is empty). `forms` are its spellings to try; none of a star."""

    at: int
    text: str
    forms: tuple[str, ...]


@dataclass(slots=True)
class _Stretch:
    """One native word, or neighbouring stars, which share one label."""

    tokens: list[_Token]
    labels: list[int]


def locate_words(transcription: str, posteriors: Posteriors) -> LocatedWords:
    """The times and the confidence of every word of a transcription.

    None are given where the text has no words (`no_words`), none that can be written (`no_native_words`), or more
    pieces than there are frames (`too_many_pieces`).
    """
    frames = len(posteriors.scores)
    tokens = list(itertools.islice(_tokens(transcription), MOST_TOKENS))
    if not any(token.text for token in tokens):
        return LocatedWords(missing="no_words")
    letters = sum(len(token.forms[0]) for token in tokens if token.forms)
    longest = _index(posteriors.pieces)[1]
    if len(tokens) == MOST_TOKENS or letters > frames * longest:
        return LocatedWords(missing="too_many_pieces")
    stretches = _stretches(tokens, posteriors)
    labels = [label for stretch in stretches for label in stretch.labels]
    if all(label == STAR for label in labels):
        return LocatedWords(missing="no_native_words")
    if not fits(labels, frames):
        return LocatedWords(missing="too_many_pieces")
    emissions = emissions_of(posteriors.scores, labels)
    path = best_path(emissions, skips_of(labels))
    return _read_path(path, emissions, stretches, posteriors)


# ----------------------------------------------------------------------------- the text as labels


def _tokens(transcription: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(transcription):
        tag = match["tag"]
        if tag is not None:
            if canonical_tag(tag) in _HIDDEN:
                yield _Token(match.start(), "", ())
            continue
        first, last = match.span()
        while first < last and not _is_spoken(transcription[first]):
            first += 1
        while first < last and not _is_spoken(transcription[last - 1]):
            last -= 1
        if first < last:
            word = transcription[first:last]
            yield _Token(first, word, _forms(word))


@lru_cache(4096)
def _is_spoken(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


@lru_cache(4096)
def _is_foreign(character: str) -> bool:
    return character.isnumeric() or SCRIPT_OF[character] == "Latin"


def _forms(word: str) -> tuple[str, ...]:
    """Spellings of a native word to try; none of a word with Latin letters or digits."""
    if any(map(_is_foreign, word)):
        return ()
    plain = unicodedata.normalize("NFC", word)
    if not all(map(_is_spoken, plain)):
        plain = "".join(
            one if _is_spoken(one) else "" if unicodedata.category(one) == "Cf" else " " for one in plain
        )
    folded = normalise(word)
    return (plain,) if plain == folded else (plain, folded)


def _stretches(tokens: Sequence[_Token], posteriors: Posteriors) -> list[_Stretch]:
    index, longest, _ = _index(posteriors.pieces)
    behind = posteriors.scores.max(axis=1, keepdims=True, initial=-np.inf) - posteriors.scores
    costs: list[float] = (PIECE_COST + behind.min(axis=0, initial=np.inf)).tolist()
    stretches: list[_Stretch] = []
    for token in tokens:
        spelt = filter(None, (spell(form, index, longest, costs) for form in token.forms))
        cheapest = min(spelt, key=lambda one: one[0], default=None)
        if cheapest is not None:
            stretches.append(_Stretch([token], cheapest[1]))
        elif stretches and stretches[-1].labels == [STAR]:
            stretches[-1].tokens.append(token)
        else:
            stretches.append(_Stretch([token], [STAR]))
    return stretches


@lru_cache(64)
def _index(pieces: tuple[str, ...]) -> tuple[Mapping[str, int], int, list[int]]:
    """The pieces by their text, the length of the longest, and the numbers of those that begin a word."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    starts = [number for number, piece in enumerate(pieces) if piece.startswith(WORD_START)]
    return numbers, max(map(len, pieces), default=0), starts


def spell(
    form: str, index: Mapping[str, int], longest: int, costs: Sequence[float]
) -> tuple[float, list[int]] | None:
    """The pieces that make up a word, or several between spaces, and their cost; None where they cannot.

    Of all ways to cut it the cheapest is taken. A piece costs as much as it stays behind the likeliest one in its
    best frame of the clip, so that the word is cut as the recogniser cuts it.
    """
    total, labels = 0.0, list[int]()
    for word in form.split():
        text = WORD_START + word
        # the cost so far, the piece that ends here, and where it begins
        best: list[tuple[float, int, int]] = [(0.0, -1, 0), (JOINT_COST, -1, 0)]
        for end in range(1, len(text) + 1):
            found = best[1] if end == 1 else (np.inf, -1, 0)
            for start in range(max(0, end - longest), end):
                piece = index.get(text[start:end])
                if piece is not None and best[start][0] + costs[piece] < found[0]:
                    found = (best[start][0] + costs[piece], piece, start)
            best[end:] = [found]
        if best[-1][1] < 0:
            return None
        at, reverse = len(text), list[int]()
        while best[at][1] >= 0:
            reverse.append(best[at][1])
            at = best[at][2]
        labels += reversed(reverse)
        total += best[-1][0]
    return (total, labels) if labels else None


# ----------------------------------------------------------------------------- the path


def fits(labels: Sequence[int], frames: int) -> bool:
    """True if there are enough frames: one a label, and a blank between two that are the same."""
    return len(labels) + sum(map(int.__eq__, labels, labels[1:])) <= frames


def emissions_of(scores: Scores, labels: Sequence[int]) -> Scores:
    """The scores of the path's states, shape (frames, 2 labels + 1): a blank, the first label, a blank and so on.

    A star scores as all pieces together do but its neighbours', within limits. No two stars are neighbours.
    """
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels
    stars = np.flatnonzero(states == STAR)
    states[stars] = BLANK
    emissions: Scores = scores[:, states]
    for star in stars:
        near = {BLANK, *(int(states[state]) for state in (star - 2, star + 2) if 0 < state < len(states))}
        others = 1.0 - np.exp(scores[:, sorted(near)]).sum(axis=1)
        speech = np.log(np.maximum(others, np.exp(-STAR_COST)))
        emissions[:, star] = np.maximum(speech, emissions[:, star] - STAR_PAUSE)
    return emissions


def skips_of(labels: Sequence[int]) -> NDArray[np.float32]:
    """The cost of coming to a state from the last but one: nothing from a label to another one, else infinite."""
    skips = np.full(2 * len(labels) + 1, -np.inf, np.float32)
    numbers = np.asarray(labels)
    skips[3::2][numbers[1:] != numbers[:-1]] = 0.0
    return skips


def best_path(emissions: Scores, skips: NDArray[np.float32]) -> NDArray[np.intp]:
    """The likeliest path through all labels: the number of a state for each frame. There are enough frames."""
    frames, states = emissions.shape
    # A row before the first frame, and two states before the first, so that every state has all who come before it.
    totals = np.full((frames + 1, states + 2), -np.inf, np.float32)
    totals[0, 1] = 0.0  # the first frame is in one of the first two states
    costs = np.full(states, -np.inf, np.float32)
    costs[1] = 0.0
    best, skipping = np.empty(states, np.float32), np.empty(states, np.float32)
    before, now = totals[:-1], totals[1:, 2:]
    views = (before[:, 2:], before[:, 1:-1], before[:, :-2], now, emissions)
    for same, last, last_but_one, row, emission in zip(*views, strict=True):
        np.maximum(same, last, out=best)
        np.add(last_but_one, costs, out=skipping)
        np.maximum(best, skipping, out=best)
        np.add(best, emission, out=row)
        costs = skips
    return _trace(totals[1:, 2:], skips)


def _trace(totals: Scores, skips: NDArray[np.float32]) -> NDArray[np.intp]:
    """The path from its end back to its beginning."""
    frames, states = totals.shape
    total, may_skip = totals.item, (skips == 0.0).tolist()
    state = states - 1 if total(frames - 1, states - 1) >= total(frames - 1, states - 2) else states - 2
    path = np.empty(frames, np.intp)
    for frame in range(frames - 1, 0, -1):
        path[frame] = state
        best, came = total(frame - 1, state), state
        if state > 0 and total(frame - 1, state - 1) > best:
            best, came = total(frame - 1, state - 1), state - 1
        if may_skip[state] and total(frame - 1, state - 2) > best:
            came = state - 2
        state = came
    path[0] = state
    return path


# ----------------------------------------------------------------------------- the path as words


def _read_path(
    path: NDArray[np.intp], emissions: Scores, stretches: Sequence[_Stretch], posteriors: Posteriors
) -> LocatedWords:
    counts = np.cumsum([0, *(len(stretch.labels) for stretch in stretches)])
    begins = np.searchsorted(path, 2 * counts[:-1] + 1)
    ends = np.searchsorted(path, 2 * counts[1:] - 1, side="right")
    on_label = path % 2 == 1
    own = np.where(on_label, emissions[np.arange(len(path)), path], 0.0)
    sums = _differences(own, begins, ends)
    frames = _differences(on_label, begins, ends)
    native = np.array([stretch.labels != [STAR] for stretch in stretches])
    confidences = np.exp(sums / frames).tolist()
    words: list[WordTime] = []
    for stretch, bounds, confidence in zip(stretches, _bounds(begins, ends), confidences, strict=True):
        known = None if stretch.labels == [STAR] else round(confidence, 3)
        spans = [bounds] if len(stretch.tokens) == 1 else _divide(stretch.tokens, bounds, posteriors)
        for token, (first, last) in zip(stretch.tokens, spans, strict=True):
            if token.text:
                begin, end = posteriors.time_ms(first), posteriors.time_ms(last)
                words.append(WordTime(token.text, token.at, begin, end, known))
    score = float(np.exp(sums[native].sum() / frames[native].sum()))
    return LocatedWords(tuple(words), round(score, 4))


def _differences(
    values: NDArray[np.floating | np.bool_], begins: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The sums of values over spans."""
    sums: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    spans: NDArray[np.float64] = sums[ends] - sums[begins]
    return spans


def _bounds(begins: NDArray[np.intp], ends: NDArray[np.intp]) -> list[tuple[float, float]]:
    """First and last edges of stretches, in frames. Of the blank beside it each gets a little, as a piece is seen in
    its middle; a blank of one frame between two is halved."""
    first, last = begins.astype(np.float64), ends.astype(np.float64)
    gaps = first[1:] - last[:-1]
    share = np.where(gaps <= 1.0, gaps / 2, MARGIN_FRAMES)
    last[:-1] += share
    first[1:] -= share
    first[0] -= MARGIN_FRAMES
    last[-1] += MARGIN_FRAMES
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _divide(
    tokens: Sequence[_Token], bounds: tuple[float, float], posteriors: Posteriors
) -> list[tuple[float, float]]:
    """First and last edges of words that share a stretch: divided by their letters, moved to a frame near there in
    which a word begins, and the pause before it taken off."""
    length = bounds[1] - bounds[0]
    shares = np.cumsum([len(token.text) or HIDDEN_LETTERS for token in tokens])
    reach = length / len(tokens) / 2
    begun = np.exp(posteriors.scores[:, _index(posteriors.pieces)[2]]).sum(axis=1)
    is_blank = (posteriors.scores[:, BLANK] > np.log(0.5)).tolist()
    firsts, lasts = [bounds[0]], list[float]()
    for wanted in (bounds[0] + length * shares[:-1] / shares[-1]).tolist():
        least = max(firsts[-1] + min(1.0, reach), wanted - reach, 0.0)
        near = np.arange(math.ceil(least), math.ceil(min(wanted + reach, bounds[1], len(begun))))
        pull = begun[near] * (1.0 - 0.5 * np.abs(near - wanted) / reach)
        sure = len(near) > 0 and pull.max() >= LEAST_PULL
        cut = end = float(near[pull.argmax()]) if sure else max(wanted, firsts[-1])
        while end - 1 > firsts[-1] + 1 and is_blank[int(end) - 1]:
            end -= 1
        lasts.append(cut if cut - end <= 1 else end + MARGIN_FRAMES)
        firsts.append(cut)
    return list(zip(firsts, [*lasts, bounds[1]], strict=True))

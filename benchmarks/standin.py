"""A bundle in IndicConformer's form without its weights: the same files, names, inputs, outputs and tables.

Two encoders can go in. `whistled` has weights set by hand and understands `whistle`: every piece is a chord of three
tones, every language a chord of two, so that loading, batching, masks and decoding are checked to the character.
`conformer` is the published architecture with random weights at any size, for padding and speed.

Needs onnx, which nothing else does.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.graphs import Graph
from lipika.alignment import torchscript
from lipika.alignment.bundle import CTC, ENCODER, MASKS, PIECES, TORCHSCRIPT, VOCABULARY
from lipika.alignment.ctc import UNKNOWN, WORD_START
from lipika.alignment.frontend import BANDS, RATE_HZ, band_centre_hz
from lipika.languages import FIRST_CLASS, LANGUAGES

_DEVANAGARI, _ARABIC = "Devanagari", "Arabic"
_OTHER_SCRIPTS = {
    "brx": _DEVANAGARI, "doi": _DEVANAGARI, "kok": _DEVANAGARI, "mai": _DEVANAGARI, "ne": _DEVANAGARI,
    "sa": _DEVANAGARI, "ks": _ARABIC, "sd": _ARABIC, "mni": "Bengali", "sat": "Ol Chiki",
}  # fmt: skip
SCRIPTS = dict(sorted((_OTHER_SCRIPTS | {code: LANGUAGES[code].script for code in FIRST_CLASS}).items()))
"""The 22 codes in the published order, and what each is written in."""

_ARABIC_LETTERS = "ابپتٹثجچحخدڈذرڑزژسشصضطظعغفقکگلمنںوؤہھءئیےآۂۓٿڄڃڊڍڏڙڦڪڱڳڻۄۍۅۆٲٳ"

COLUMNS = len(SCRIPTS) * PIECES + 1  # 5633: the blank is the last


# ----------------------------------------------------------------------------- tables


@cache
def vocabulary(code: str) -> tuple[str, ...]:
    """256 pieces: unknown, the word's start, letters, letters that start a word, and pairs to fill up."""
    letters = _letters(SCRIPTS[code])
    singles = [UNKNOWN, WORD_START, *letters, *(WORD_START + letter for letter in letters)]
    pairs = (first + second for first in letters for second in letters)
    return tuple(singles + [next(pairs) for _ in range(PIECES - len(singles))])


def _letters(script: str) -> list[str]:
    if script == _ARABIC:
        return list(_ARABIC_LETTERS)
    name = script.upper()
    blocks = (range(0x0900, 0x0E00), range(0x1C50, 0x1C80))
    found = [
        chr(point)
        for block in blocks
        for point in block
        if unicodedata.category(chr(point))[0] in "LM" and unicodedata.name(chr(point), "").startswith(name)
    ]
    return found[:110]


def spell(text: str, code: str) -> list[int]:
    """The pieces that say `text`; characters that the vocabulary lacks are left out."""
    index = {piece: number for number, piece in enumerate(vocabulary(code))}
    pieces: list[int] = []
    for word in text.split():
        first, rest = (
            (WORD_START + word[0], word[1:]) if WORD_START + word[0] in index else (WORD_START, word)
        )
        pieces += [index[piece] for piece in (first, *rest) if piece in index]
    return pieces


# ----------------------------------------------------------------------------- the whistled language

_TONES = (*range(3, 27, 3), *range(28, 50, 3), *range(52, 80, 2))  # bands far enough apart to be told apart
_PIECE_TONES = (_TONES[:6], _TONES[6:13], _TONES[13:20])  # 6 x 7 x 7 chords
_LANGUAGE_TONES = (_TONES[20:25], _TONES[25:30])
SYMBOL_S, GAP_S = 0.2, 0.2
_TONE, _NOISE = 2_000.0, 300.0  # amplitudes in 16-bit units


def _chord(code: str, piece: int) -> list[int]:
    """Bands of a piece in a language. Pieces are spread over the chords, as neighbours are often heard together."""
    number = (piece * 131) % (6 * 7 * 7)
    low, middle, high = _PIECE_TONES
    language = list(SCRIPTS).index(code)
    return [
        low[number % 6],
        middle[number // 6 % 7],
        high[number // 42],
        _LANGUAGE_TONES[0][language % 5],
        _LANGUAGE_TONES[1][language // 5],
    ]


def whistle(text: str, code: str, *, lead_s: float = 0.3, seed: int = 0) -> NDArray[np.int16]:
    """16 kHz audio in which `whistled` hears `text`: 0.4 s a character."""
    random = np.random.default_rng(seed)
    pieces = spell(text, code)
    starts = [lead_s + number * (SYMBOL_S + GAP_S) for number in range(len(pieces))]
    length = int((lead_s * 2 + len(pieces) * (SYMBOL_S + GAP_S)) * RATE_HZ)
    sound = random.normal(0, _NOISE, length)
    time = np.arange(int(SYMBOL_S * RATE_HZ)) / RATE_HZ
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.02)
    for start, piece in zip(starts, pieces, strict=True):
        at = int(start * RATE_HZ)
        for band in _chord(code, piece):
            phase = random.uniform(0, 2 * np.pi)
            tone = np.sin(2 * np.pi * band_centre_hz(band) * time + phase)
            sound[at : at + len(time)] += _TONE * edge * tone
    return np.clip(np.rint(sound), -32_768, 32_767).astype(np.int16)


def _whistle_encoder(graph: Graph) -> str:
    """Eight frames to one by their mean, and how far each band stands out from its usual level, up to a limit."""
    usual = np.full((1, BANDS, 1), 1.0, np.float32)
    usual[:, [band for bands in _LANGUAGE_TONES for band in bands]] = 0.3  # these sound half of the time
    mean = graph.conv("audio_signal", np.full((BANDS, 1, 8), 0.125), stride=8, pads=(0, 7), group=BANDS)
    stands_out = graph.op("Sub", mean, graph.weight(usual))
    return graph.op("Clip", stands_out, graph.constant(0.0), graph.constant(1.5))


_PIECE_WEIGHT, _LANGUAGE_WEIGHT, _BLANK_SCORE = 1.0, 4.0, 9.0


def _whistle_head() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(weights (5633, 80), bias (5633,)): a piece wins by its chord and its language's, the blank in silence and
    where another language is whistled."""
    weights, bias = np.zeros((COLUMNS, BANDS), np.float32), np.zeros(COLUMNS, np.float32)
    for language, code in enumerate(SCRIPTS):
        for piece in range(PIECES):
            chord = _chord(code, piece)
            weights[language * PIECES + piece, chord[:3]] = _PIECE_WEIGHT
            weights[language * PIECES + piece, chord[3:]] = _LANGUAGE_WEIGHT
    bias[-1] = _BLANK_SCORE
    return weights, bias


# ----------------------------------------------------------------------------- the published architecture


@dataclass(frozen=True, slots=True)
class Size:
    """Of a Conformer. The published one has 24 layers of width 1024."""

    layers: int = 24
    width: int = 1024
    heads: int = 8
    kernel: int = 9
    subsampling: int = 256  # channels of the three convolutions that make 8 frames one


def _conformer_encoder(graph: Graph, size: Size, random: np.random.Generator) -> str:
    """Three strided convolutions, then feed-forward, attention, convolution, feed-forward in every layer; what lies
    beyond a clip's end is kept at zero, or out of sight, throughout."""
    x = graph.unsqueeze(graph.transpose("audio_signal", (0, 2, 1)), 1)
    channels, length = 1, "length"
    for _ in range(3):
        x = graph.op("Mul", x, graph.mask(x, length, axis=2, shape=(-1, 1, "n", 1)))
        kernel = random.normal(0, 1 / np.sqrt(9 * channels), (size.subsampling, channels, 3, 3))
        x = graph.op("Relu", graph.conv(x, kernel, stride=(2, 2), pads=(1, 1, 1, 1)))
        length, channels = graph.halve(length), size.subsampling
    x = graph.reshape(graph.transpose(x, (0, 2, 1, 3)), (0, 0, -1))
    x = graph.linear(x, random, size.subsampling * BANDS // 8, size.width)
    valid = graph.mask(x, length, axis=1, shape=(-1, "n", 1))
    bias = graph.attention_bias(valid)
    for _ in range(size.layers):
        x = _layer(graph, x, valid, bias, size, random)
    return graph.transpose(graph.op("Mul", x, valid), (0, 2, 1))


def _layer(graph: Graph, x: str, valid: str, bias: str, size: Size, random: np.random.Generator) -> str:
    half = graph.constant(0.5)
    x = graph.op("Add", x, graph.op("Mul", half, _feed_forward(graph, x, size, random)))
    x = graph.op("Add", x, _attention(graph, x, bias, size, random))
    x = graph.op("Add", x, _convolution(graph, x, valid, size, random))
    x = graph.op("Add", x, graph.op("Mul", half, _feed_forward(graph, x, size, random)))
    return graph.norm(x, size.width)


def _feed_forward(graph: Graph, x: str, size: Size, random: np.random.Generator) -> str:
    inner = graph.linear(graph.norm(x, size.width), random, size.width, 4 * size.width)
    return graph.linear(graph.swish(inner), random, 4 * size.width, size.width)


def _attention(graph: Graph, x: str, bias: str, size: Size, random: np.random.Generator) -> str:
    x, each = graph.norm(x, size.width), size.width // size.heads
    query, key, value = (
        graph.transpose(
            graph.reshape(graph.linear(x, random, size.width, size.width), (0, 0, size.heads, each)), order
        )
        for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    )
    scores = graph.op("Mul", graph.op("MatMul", query, key), graph.constant(each**-0.5))
    weights = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
    mixed = graph.transpose(graph.op("MatMul", weights, value), (0, 2, 1, 3))
    return graph.linear(graph.reshape(mixed, (0, 0, size.width)), random, size.width, size.width)


def _convolution(graph: Graph, x: str, valid: str, size: Size, random: np.random.Generator) -> str:
    x = graph.linear(graph.norm(x, size.width), random, size.width, 2 * size.width)
    first, gate = graph.split(x)
    x = graph.op("Mul", graph.op("Mul", first, graph.op("Sigmoid", gate)), valid)
    kernel = random.normal(0, 1 / np.sqrt(size.kernel), (size.width, 1, size.kernel))
    side = size.kernel // 2
    x = graph.conv(graph.transpose(x, (0, 2, 1)), kernel, stride=1, pads=(side, side), group=size.width)
    return graph.linear(graph.swish(graph.transpose(x, (0, 2, 1))), random, size.width, size.width)


# ----------------------------------------------------------------------------- files


def write_whistle_bundle(folder: Path) -> Path:
    """A bundle that understands `whistle`; under 2 MB. Returns `folder`."""
    graph = Graph(ENCODER, {"audio_signal": (None, BANDS, None)}, lengths=True)
    outputs = _whistle_encoder(graph)
    lengths = graph.divide(graph.op("Add", "length", graph.integers([7])), 8)
    graph.save(folder / "assets" / ENCODER, {"outputs": outputs, "encoded_lengths": lengths})
    return _write_rest(folder, *_whistle_head())


def write_conformer(folder: Path, size: Size, seed: int = 0) -> Path:
    """A bundle of the published architecture with random weights. Returns `folder`."""
    random = np.random.default_rng(seed)
    graph = Graph(ENCODER, {"audio_signal": (None, BANDS, None)}, lengths=True)
    outputs = _conformer_encoder(graph, size, random)
    lengths = graph.halve(graph.halve(graph.halve("length")))
    graph.save(folder / "assets" / ENCODER, {"outputs": outputs, "encoded_lengths": lengths}, blobs=True)
    weights = random.normal(0, size.width**-0.5, (COLUMNS, size.width)).astype(np.float32)
    return _write_rest(folder, weights, np.zeros(COLUMNS, np.float32))


def _write_rest(folder: Path, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> Path:
    assets = folder / "assets"
    head = Graph(CTC, {"encoder_output": (None, weights.shape[1], None)})
    scores = head.transpose(head.conv("encoder_output", weights[:, :, None], bias=bias), (0, 2, 1))
    head.save(assets / CTC, {"logprobs": head.op("LogSoftmax", scores, axis=-1)})
    _write_json(assets / VOCABULARY, {code: vocabulary(code) for code in SCRIPTS})
    _write_json(assets / MASKS, dict(_masks()))
    _write_json(folder / "config.json", {"model_type": "iasr", "BLANK_ID": PIECES, "stand_in": True})
    torchscript.write(assets / TORCHSCRIPT)
    (folder / "model_onnx.py").write_text('raise SystemExit("nobody should run what comes with a model")\n')
    return folder


def _masks() -> Iterator[tuple[str, list[bool]]]:
    for language, code in enumerate(SCRIPTS):
        own = range(language * PIECES, (language + 1) * PIECES)
        yield code, [column in own or column == COLUMNS - 1 for column in range(COLUMNS)]


def _write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), "utf-8")

"""Token counts as the API would bill them: audio by its length, text by its characters.

Text is counted by rule of thumb, not by the real tokenizer: 4 Latin characters a token (Google's own figure),
2 code points a token for everything outside ASCII (Gemini's vocabulary gives Indic scripts 1.3 to 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_ASCII_PER_TOKEN = 4
_OTHERS_PER_TOKEN = 2

THOUGHT_TOKENS: Mapping[str, int] = {"MINIMAL": 8, "LOW": 100, "MEDIUM": 400, "HIGH": 1200}
"""Thoughts of a typical clip by level; a single answer's lie between half and one and a half of it."""


def audio_tokens(duration_s: float, tokens_per_second: int) -> int:
    return math.ceil(duration_s * tokens_per_second)


def text_tokens(text: str) -> int:
    if not text:
        return 0
    plain = len(text.encode("ascii", "ignore"))
    return math.ceil(plain / _ASCII_PER_TOKEN + (len(text) - plain) / _OTHERS_PER_TOKEN)


prompt_tokens = lru_cache(maxsize=1024)(text_tokens)
"""For texts that come again and again: system prompts."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one request. `prompt` = text + audio, and includes the cached ones."""

    text: int
    audio: int
    cached: int
    candidates: int
    thoughts: int

    @property
    def prompt(self) -> int:
        return self.text + self.audio

    @property
    def output(self) -> int:
        return self.candidates + self.thoughts

    @property
    def total(self) -> int:
        return self.prompt + self.output

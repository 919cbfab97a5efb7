"""The characters that a model's tokens can write, and whether texts fit them. Reads one file, else pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lipika.dataset.letters import compose
from lipika.errors import UsageError
from lipika.languages import find_language

VOCABULARY = "vocabulary"
"""The reason for which a clip is dropped whose text does not fit."""

_WORD_START = "\u2581"  # SentencePiece's mark, which stands for a space
_SILENT = "'\u200c\u200d"
_SPECIAL = re.compile(r"<[^<>\s]+>|\[(?:UNK|CLS|SEP|PAD|MASK|BLANK|BOS|EOS)\]|##", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+?)[ \t]+(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text as the vocabulary can write it; `unfit` are the distinct characters that it lacks, in order."""

    text: str
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Characters by language code, in NFC and decomposed alike; under "" those of all other languages.

    Spaces always fit.
    """

    characters: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """A vocabulary file of a model.

        Lines: NeMo's `vocab.txt` (a token a line; WordPiece's `##` or SentencePiece's `▁`), `tokens.txt` and
        SentencePiece's `.vocab` (a token and its number). JSON: a list of tokens, a table of tokens to numbers, or
        either of these by language (IndicConformer's `vocab.json`). Special tokens such as `<unk>` are no characters.

        Raises:
            UsageError: it cannot be read, or holds no tokens.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--vocabulary {path}: cannot be read ({error}); it takes a model's tokens as UTF-8 text, one a line,"
                " or as JSON"
            ) from None
        tokens = _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else None
        found = {code: _characters_of(some) for code, some in (tokens or {"": _from_lines(text)}).items()}
        if not any(found.values()):
            raise UsageError(f"--vocabulary {path}: there are no tokens in it")
        return cls(found)

    def fit(self, text: str, language: str) -> Fitted:
        """A text in NFC, without apostrophes, ZWJ and ZWNJ that the vocabulary lacks: they are not heard.

        Raises:
            UsageError: the vocabulary is by language, and lacks this one.
        """
        own = self._own(language)
        text = compose(text)
        missing = set(text) - own
        if not missing:
            return Fitted(text)
        if missing & _SILENT_ONES:
            text = text.translate(dict.fromkeys(map(ord, missing & _SILENT_ONES)))
            missing -= _SILENT_ONES
        unfit = [one for one in dict.fromkeys(text) if one in missing and not _can_be_composed(one, own)]
        return Fitted(text, "".join(unfit))

    def _own(self, language: str) -> frozenset[str]:
        own = self.characters.get(language) or self.characters.get("")
        if own is None:
            known = " ".join(sorted(self.characters))
            raise UsageError(
                f"--vocabulary: there are no tokens for {language!r} in it, only for {known}; name those languages"
                " with --languages, or give the vocabulary of another model"
            )
        return own


_SILENT_ONES = frozenset(_SILENT)


def _can_be_composed(character: str, own: frozenset[str]) -> bool:
    """True if the vocabulary writes a character in its parts."""
    parts = unicodedata.normalize("NFD", character)
    return len(parts) > 1 and own.issuperset(parts)


@dataclass(slots=True)
class Misfits:
    """Characters that did not fit, over many texts: how many texts have each, and the first of them."""

    texts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, fitted: Fitted) -> None:
        for character in fitted.unfit:
            self.texts[character] += 1
            self.examples.setdefault(character, fitted.text)

    def join(self, other: Misfits) -> None:
        """Count the texts of another part, too."""
        self.texts.update(other.texts)
        for character, example in other.examples.items():
            self.examples.setdefault(character, example)

    def lines(self, most: int = 10) -> list[str]:
        """The most frequent ones in words: `"5" (U+0035 DIGIT FIVE) in 12 texts, such as: ...`."""
        return [
            f'"{one}" (U+{ord(one):04X} {unicodedata.name(one, "unnamed")}) in {count:,}'
            f" {'text' if count == 1 else 'texts'}, such as: {self.examples[one]}"
            for one, count in self.texts.most_common(most)
        ]


# ----------------------------------------------------------------------------- reading


def _from_json(text: str, path: Path) -> dict[str, Iterable[str]] | None:
    """Tokens by language, "" for those of all; None where it is no JSON after all but lines that begin like it."""
    try:
        held = json.loads(text)
    except json.JSONDecodeError as error:
        if path.suffix == ".json":
            raise UsageError(f"--vocabulary {path}: no JSON ({error})") from None
        return None
    if (
        not isinstance(held, dict)
        or not held
        or not all(isinstance(one, list | dict) for one in held.values())
    ):
        return {"": _tokens(held, path)}
    return {_code(name): _tokens(one, path) for name, one in held.items()}


def _code(name: str) -> str:
    language = find_language(name)
    return language.code if language else name


def _tokens(held: object, path: Path) -> list[str]:
    tokens = list(held) if isinstance(held, list | dict) else []
    if not tokens or not all(isinstance(one, str) for one in tokens):
        raise UsageError(
            f"--vocabulary {path}: the JSON should be a list of tokens, a table of tokens to numbers, or either by"
            ' language: {"hi": [...]}'
        )
    return tokens


def _from_lines(text: str) -> list[str]:
    """Tokens of lines; of `token number` lines, which all of them must be, the tokens."""
    lines = [line for line in text.splitlines() if line.strip()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(numbered):
        return [match[1] for match in numbered if match]
    return [line.strip() for line in lines]


def _characters_of(tokens: Iterable[str]) -> frozenset[str]:
    bare = {_SPECIAL.sub("", token) if len(token) > 1 else token for token in tokens}
    found = {one for token in bare for one in token + unicodedata.normalize("NFC", token)}
    return frozenset({*found, " "} - {_WORD_START}) if found else frozenset()

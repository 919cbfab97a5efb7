"""A person's own part of the prompt: instructions and a glossary, for all languages or single ones. From TOML."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lipika.errors import SettingsError
from lipika.languages import LANGUAGES, find_language

_MOST_LETTERS = 20_000  # of all that one language is given: some 5,000 to 20,000 tokens, paid with every clip
_KEYS = ("instructions", "glossary", "replace")


@dataclass(frozen=True, slots=True)
class PromptPart:
    """Instructions, and names and terms as they are spelled."""

    instructions: str = ""
    glossary: tuple[str, ...] = ()
    replace: bool = False


@dataclass(frozen=True, slots=True)
class OwnPrompt:
    """The whole of it; empty, nothing is added. `languages` are by code and come after what goes for all."""

    base: PromptPart = PromptPart()
    languages: Mapping[str, PromptPart] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.base != PromptPart() or bool(self.languages)

    def replaces(self, language: str | None) -> bool:
        """True where the instructions stand in the place of lipika's rules on what to write."""
        return any(part.replace for part in self._parts(language))

    def text(self, language: str | None) -> str:
        """What is added to the prompt of a language hint; empty: nothing."""
        parts = self._parts(language)
        told = [part.instructions for part in parts if part.instructions]
        words = list(dict.fromkeys(word for part in parts for word in part.glossary))
        if words:
            told.append(
                "Names and terms of these recordings, spelled so where they are heard, and never written where they"
                f" are not: {'; '.join(words)}"
            )
        return "\n".join(told)

    def version(self, language: str | None) -> str:
        """Part of the prompt's version: what is added names it, so that another text is another way of asking; empty
        where nothing is added.
        """
        text = self.text(language)
        if not text:
            return ""
        kind = "replace" if self.replaces(language) else "add"
        digest = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
        return f"+own-{digest[:8]}"

    def versions(self) -> frozenset[str]:
        """Those of all languages, and of none."""
        return frozenset(self.version(language) for language in (None, *LANGUAGES))

    def _parts(self, language: str | None) -> tuple[PromptPart, ...]:
        known = find_language(language)
        own = self.languages.get(known.code) if known else None
        return (self.base,) if own is None else (self.base, own)


NOTHING_OWN = OwnPrompt()


def load_own_prompt(path: Path | None) -> OwnPrompt:
    """The prompt of PROMPT_FILE; without one, nothing. Read once a process and state of the file.

    Raises:
        SettingsError: it cannot be read, or is not of the form; names the file and the place.
    """
    if path is None:
        return NOTHING_OWN
    try:
        state = path.stat()
        return _load(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise SettingsError(f"PROMPT_FILE={path}: cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=16)
def _load(path: Path, _changed_ns: int, _size: int) -> OwnPrompt:
    where = f"PROMPT_FILE={path}"
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where}: is not TOML: {error}") from None
    sections = {name: value for name, value in given.items() if isinstance(value, dict)}
    languages: dict[str, PromptPart] = {}
    for name, section in sections.items():
        language = find_language(name)
        if language is None or language.code in languages:
            why = "is no language of ours" if language is None else "is there twice"
            raise SettingsError(f"{where}: [{name}] {why}: {', '.join(LANGUAGES)}")
        languages[language.code] = _read_part(section, f"{where}: [{name}]")
    base = _read_part({name: value for name, value in given.items() if name not in sections}, where)
    own = OwnPrompt(base, languages)
    if not own:
        raise SettingsError(f"{where}: is empty: give instructions, or a glossary")
    for code in LANGUAGES:
        if len(own.text(code)) > _MOST_LETTERS:
            raise SettingsError(
                f"{where}: {len(own.text(code)):,} letters for {code}, which are paid for with every clip; at most"
                f" {_MOST_LETTERS:,}: keep the names that matter"
            )
    return own


def _read_part(given: Mapping[str, object], where: str) -> PromptPart:
    unknown = [name for name in given if name not in _KEYS]
    if unknown:
        raise SettingsError(
            f"{where}: {unknown[0]} is not known: {', '.join(_KEYS)}, or a section for a language"
        )
    instructions, glossary = given.get("instructions", ""), given.get("glossary", [])
    replace = given.get("replace", False)
    if not isinstance(instructions, str) or not isinstance(replace, bool):
        raise SettingsError(f"{where}: instructions is a text, and replace true or false")
    if not isinstance(glossary, list) or not all(isinstance(word, str) and word.strip() for word in glossary):
        raise SettingsError(f"{where}: glossary is a list of names and terms: ['Meenakshi', 'Aadhaar']")
    if replace and not instructions.strip():
        raise SettingsError(
            f"{where}: replace = true wants instructions, which take the place of lipika's rules"
        )
    return PromptPart(_tidy(instructions), tuple(" ".join(_tidy(word).split()) for word in glossary), replace)


def _tidy(text: str) -> str:
    """Without what is neither seen nor read, and without lines that are empty."""
    shown = "".join(letter if letter.isprintable() or letter in "\n\u200c\u200d" else " " for letter in text)
    return "\n".join(line.strip() for line in shown.splitlines() if line.strip())

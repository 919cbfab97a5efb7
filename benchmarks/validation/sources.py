"""Real sentences from folders and bare git folders, for `--from`: read, never kept.

Universal Dependencies (`hi_pud-ud-test.conllu`), stories with a folder for each language (`as/0001_name.md`) and
plain text with a sentence a line (`ta/any.txt`, `ta.txt`) are read; the language is that of the file's name or of its
folder. A git folder stands for its newest commit, which is named with the figures.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.transcript import compose_unicode
from lipika.validation.text import SCRIPT_OF

KEPT_APART = 5
"""One sentence in so many is kept apart: rules are made on the others."""

_SUFFIXES = (".conllu", ".md", ".txt")
_END = re.compile(r"(?<=[।॥.?!۔؟])\s+")
_CHARS = range(12, 201)
_OWN_SHARE = 0.85  # of the letters
_OPENING = "\"'“”‘’«•-–.,;!?।"
_NOT_SPEECH = re.compile(r"[<>{}\[\]()*_#|=/\\@:~•]|https?:|\d{5,}|\.{2}|…")
"""Marks of written pages, which the prompt does not ask for: lists, dialogue by name, links."""


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that was read. `commit` is empty where it is no git folder."""

    name: str
    commit: str
    sentences: int


@dataclass(frozen=True, slots=True)
class Text:
    """Distinct sentences by language; `apart` are those that no rule has seen."""

    known: dict[str, list[str]]
    apart: dict[str, list[str]]
    sources: tuple[Source, ...]


def read_sources(folders: Iterable[Path]) -> Text:
    """All sentences, each once, split by their digest.

    Raises:
        OSError: a folder cannot be read.
    """
    seen: set[str] = set()
    text = Text(defaultdict(list), defaultdict(list), ())
    sources = []
    for folder in folders:
        count = 0
        for language, sentence in _sentences(folder):
            if sentence not in seen and _is_usable(sentence, language):
                seen.add(sentence)
                digest = hashlib.sha256(sentence.encode()).digest()
                (text.apart if digest[0] % KEPT_APART == 0 else text.known)[language].append(sentence)
                count += 1
        sources.append(Source(_name_of(folder), _commit_of(folder), count))
    return Text(text.known, text.apart, tuple(sources))


def _sentences(folder: Path) -> Iterator[tuple[str, str]]:
    for path, data in _files(folder):
        language = _language_of(path)
        if language:
            for sentence in _split(path, data.decode("utf-8", "replace")):
                yield language, compose_unicode(" ".join(sentence.split()))


def _files(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    if not (folder / "HEAD").exists():
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                yield PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes()
        return
    for line in _git(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD").decode().split("\0"):
        path_in_tree = PurePosixPath(line)
        if path_in_tree.suffix in _SUFFIXES:
            try:
                yield path_in_tree, _git(folder, "show", f"HEAD:{line}")
            except subprocess.CalledProcessError:
                continue  # a large file that the copy lacks


def _git(folder: Path, *words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return done.stdout


def _commit_of(folder: Path) -> str:
    return _git(folder, "rev-parse", "HEAD").decode().strip() if (folder / "HEAD").exists() else ""


def _name_of(folder: Path) -> str:
    return folder.parent.name if (folder / "HEAD").exists() else folder.name


def _language_of(path: PurePosixPath) -> str:
    for part in (path.name.split("_")[0], path.stem, *reversed(path.parts[:-1])):
        if part in FIRST_CLASS:
            return part
    return ""


def _split(path: PurePosixPath, text: str) -> Iterator[str]:
    if path.suffix == ".conllu":
        for line in text.splitlines():
            if line.startswith("# text = "):
                yield line.removeprefix("# text = ")
        return
    for line in text.splitlines():
        if line.startswith(("#", "*", "-")):
            continue
        yield from _END.split(line.strip())


def _is_usable(sentence: str, language: str) -> bool:
    letters = [SCRIPT_OF[character] for character in sentence]
    own = letters.count(LANGUAGES[language].script)
    other = sum(script not in ("neutral", LANGUAGES[language].script) for script in letters)
    words = sentence.split()
    return (
        len(sentence) in _CHARS
        and own > _OWN_SHARE * (own + other)
        and len(words) >= 3
        and len(set(words)) > 0.6 * len(words)
        and not _NOT_SPEECH.search(sentence)
        and sentence[0] not in _OPENING
    )

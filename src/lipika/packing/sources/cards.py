"""The beginning of a dataset's README: which files are of which configuration and split. Pure, but for `read_card`.

It is YAML; what is read here is the part of it that the hub itself writes: lists and keys by indentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lipika.languages import find_language

_MOST_BYTES = 4 << 20
_KEY = re.compile(r"(?P<dash>(?:- )*)(?P<name>[A-Za-z_]+):(?:\s+(?P<value>.*))?$")


@dataclass(frozen=True, slots=True)
class CardFiles:
    """`files`: (configuration, split, pattern of paths) in their order; `language` of a set that has only one."""

    files: tuple[tuple[str, str | None, str], ...] = ()
    language: str | None = None


def read_card(path: Path) -> CardFiles:
    """The files of a README; nothing where there is none, or none that is understood."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return CardFiles()
    return parse_card(text)


def parse_card(text: str) -> CardFiles:
    """The front matter of a README."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return CardFiles()
    end = next((at for at, line in enumerate(lines[1:], start=1) if line.strip() == "---"), len(lines))
    blocks = _blocks(lines[1:end])
    languages = _words(blocks.get("language", []))
    known = [word for word in languages if find_language(word)]
    return CardFiles(
        tuple(_files(blocks.get("configs", []))), known[0] if len(known) == 1 == len(languages) else None
    )


def _blocks(lines: list[str]) -> dict[str, list[str]]:
    """The lines below each key that stands at the margin, with what stands behind it as the first."""
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        found = re.match(r"([A-Za-z_]+):\s*(.*)$", line)
        if found:
            name = found[1]
            blocks[name] = [found[2]] if found[2] else []
        elif name and line.strip() and not line.lstrip().startswith("#"):
            blocks[name].append(line)
    return blocks


def _words(lines: list[str]) -> list[str]:
    """A word, a list in brackets, or a list of lines with dashes."""
    text = " ".join(line.strip().removeprefix("- ") for line in lines)
    return [_unquote(word) for word in re.split(r"[\s,\[\]]+", text) if word.strip("[], ")]


def _files(lines: list[str]) -> list[tuple[str, str | None, str]]:
    found: list[tuple[str, str | None, str]] = []
    config, split, in_files = "default", None, False
    for line in lines:
        matched = _KEY.match(line.strip())
        if matched is None:
            if in_files and line.strip().startswith("- "):  # one more path
                found.append((config, split, _path(line.strip()[2:])))
            continue
        name, value = matched["name"], (matched["value"] or "").strip()
        if name == "config_name":
            config, split, in_files = _unquote(value), None, False
        elif name == "data_files":
            split, in_files = None, True
            found += [(config, None, _path(word)) for word in _words([value] if value else [])]
        elif name == "split":
            split = _unquote(value)
        elif name == "path" and in_files:
            found += [(config, split, _path(word)) for word in _words([value] if value else [])]
        elif name == "data_dir":
            found.append((config, None, f"{_path(value).strip('/')}/*"))
    return found


def _unquote(word: str) -> str:
    return word.strip().strip("\"'")


def _path(word: str) -> str:
    return _unquote(word).removeprefix("./").replace("**/", "*")

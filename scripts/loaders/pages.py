"""The code that people are given to copy: that of `docs/datasets.md`, and of an export's own README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MARKED = re.compile(
    r"<!-- runs: (?P<format>\w+)(?P<next> with lhotse-next)? -->\n```python\n(?P<code>.*?)```", re.DOTALL
)
_PLAIN = re.compile(r"```python\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Lines of Python. Those of the docs load an export called `my-dataset`, those of a README its own folder."""

    title: str
    format: str
    code: str
    of_docs: bool
    next_lhotse: bool = False


def blocks(page: Path) -> Iterator[Block]:
    """The code of a page; that of the docs only where a comment before it says on which format it runs."""
    text = page.read_text("utf-8")
    if page.name == "README.md":
        for found in _PLAIN.finditer(text):
            yield Block("README.md", page.parent.name, found["code"], of_docs=False)
        return
    for found in _MARKED.finditer(text):
        yield Block(page.name, found["format"], found["code"], of_docs=True, next_lhotse=bool(found["next"]))

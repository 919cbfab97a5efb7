"""Templates for paths, such as `{language}/{speaker}/{name}`: facts about a recording that its place tells. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lipika.errors import UsageError

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
KNOWN = ("language", "speaker", "split", "id")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A template over the last folders of a path and its name without the ending.

    Fields are `language`, `speaker`, `split` and `id`; others travel as columns, except `_` and `name`.
    """

    text: str
    _pattern: re.Pattern[str]
    _parts: int

    @classmethod
    def parse(cls, text: str) -> PathTemplate:
        """Raises UsageError: a field stands twice, two have nothing between them, or there is none."""
        fields = [name for name in _FIELD.findall(text) if name != "_"]
        plain = _FIELD.sub("", text)
        if not fields or len(set(fields)) < len(fields) or "{" in plain or "}" in plain or "}{" in text:
            raise UsageError(
                f"--template {text}: fields in braces, each once, with something between them, are expected,"
                " such as {language}/{speaker}/{name}"
            )
        parts = text.strip("/").split("/")
        pieces, at = [], 0
        whole = "/".join(parts)
        for match in _FIELD.finditer(whole):
            pieces.append(re.escape(whole[at : match.start()]))
            pieces.append("[^/]+?" if match[1] == "_" else f"(?P<{match[1]}>[^/]+?)")
            at = match.end()
        pieces.append(re.escape(whole[at:]))
        return cls(text, re.compile("".join(pieces)), len(parts))

    def read(self, path: str) -> dict[str, str] | None:
        """The fields of a path with slashes, without its ending; None where it does not fit."""
        parts = path.split("/")
        match = (
            self._pattern.fullmatch("/".join(parts[-self._parts :])) if len(parts) >= self._parts else None
        )
        return match.groupdict() if match else None

"""Named SQL. Each file in `sql/` holds queries under `-- name: xyz`, each with a line saying why it is so.

`{{answer.*}}` in a query is a group of columns, see `columns.py`; `{{name}}` a piece that its module gives, because
several of its queries have it in common.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from lipika.db.columns import insert_columns

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; parameters are `%(name)s`."""

    name: str  # area.name, for error messages
    sql: bytes


def load(area: str, **pieces: str) -> dict[str, Query]:
    """The queries of one file by name, with `pieces` where they name them.

    Raises:
        ValueError: the file names a query twice.
    """
    text = (files("lipika.db") / "sql" / f"{area}.sql").read_text(encoding="utf-8")
    for piece, body in pieces.items():
        text = text.replace("{{" + piece + "}}", body)
    _, *parts = _HEADER.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{area}.sql names a query twice")
    return {
        name: Query(f"{area}.{name}", insert_columns(body.strip()).encode())
        for name, body in zip(names, bodies, strict=True)
    }

"""Splits: shares as they are asked for, groups that must stay together, and small corpora."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from lipika.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Split:
    """A split and its share of the groups, 0 to 1."""

    name: str
    share: float


def parse_splits(given: str) -> tuple[Split, ...]:
    """Read `train=.98,dev=.01,test=.01`; a name alone is all.

    Raises:
        UsageError: it cannot be read, a name stands twice, or the shares are not 1 together.
    """
    splits = []
    for part in given.split(","):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share) if share else 1.0
        except ValueError:
            value = math.nan
        if not _NAME.fullmatch(name) or not 0 < value <= 1:
            raise UsageError(
                f"--split {given}: {part.strip()!r} is not name=share, such as train=.98,dev=.02"
            )
        splits.append(Split(name, value))
    if len({split.name for split in splits}) != len(splits):
        raise UsageError(f"--split {given}: a name stands there twice")
    total = sum(split.share for split in splits)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise UsageError(f"--split {given}: the shares are {total:g} together, not 1")
    return tuple(splits)


def components(values: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """Videos by the group they are in: those that share a value are together, directly or by way of others.

    A group is named by the least of its values, so that its name stays while it grows by larger ones.
    """
    parent: dict[str, str] = {}

    def find(value: str) -> str:
        root = value
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while parent[value] != root:
            parent[value], value = root, parent[value]
        return root

    videos = list(values)
    for _, found in videos:
        roots = sorted(find(value) for value in found)
        for other in roots[1:]:
            parent[find(other)] = find(roots[0])
    least: dict[str, str] = {}
    for value in sorted(parent):
        least.setdefault(find(value), value)
    return {video: least[find(found[0])] for video, found in videos if found}


def fill_empty_splits(connection: duckdb.DuckDBPyConnection, splits: Sequence[Split]) -> list[str]:
    """Give the smallest group to each split that would be empty, and say so. Table `splits` is changed.

    A group that is `held` where an earlier export has it stays there.
    """
    notes: list[str] = []
    for split in splits:
        rows = connection.execute("select split, count(*), count(*) filter (held) from splits group by split")
        counts = {str(name): (int(groups), int(held)) for name, groups, held in rows.fetchall()}
        if not counts:
            return []
        if split.name in counts:
            continue
        smallest = connection.execute(
            "select name, split from splits where not held and split in"
            " (select split from splits group by split having count(*) > 1) order by duration_ms, name limit 1"
        ).fetchone()
        if smallest is None:
            groups, held = (sum(count) for count in zip(*counts.values(), strict=True))
            kept = f", of which {held} stay where the earlier export has them" if held else ""
            notes.append(f"{split.name} is empty: there are {groups} groups for {len(splits)} splits{kept}")
            continue
        connection.execute("update splits set split = ? where name = ?", [split.name, smallest[0]])
        notes.append(
            f"{split.name} would be empty at its share of {split.share:g}: it gets {smallest[0]}, the smallest group,"
            f" from {smallest[1]}"
        )
    return notes

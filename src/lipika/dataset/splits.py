"""Splits: shares as they are asked for, groups that must stay together, and small corpora."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
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
    """Read `train=.98,dev=.01,test=.01`; a name alone is all; `theirs` is `THEIRS`.

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


THEIRS = (Split("theirs", 1.0),)
"""`--split theirs`: each clip is in the split that it had before it was packed."""

_SPELLINGS = {
    "train": ("training",),
    "dev": ("validation", "valid", "val", "development", "devel"),
    "test": ("testing", "eval", "evaluation"),
}
_NAMED = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def split_name(theirs: str) -> str:
    """The name here of a split as its owner spells it; of none: train."""
    plain = theirs.strip().lower()
    if not plain:
        return "train"
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = _NAMED.get(name, name)
    return name if _NAME.fullmatch(name) else f"split_{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def keep_their_splits(connection: duckdb.DuckDBPyConnection, group_by: str) -> list[str]:
    """Make the view `in_split` of the splits that clips had; says what leaks there, and moves nothing.

    Raises:
        UsageError: no clip had one.
    """
    query = (
        "select coalesce(k.source_split, ''), count(*) from clips c join known k on k.file_row_number = c.row"
        " where c.reason = '' group by all order by all"
    )
    clips = {str(split): int(count) for split, count in connection.execute(query).fetchall()}
    if clips and not any(clips):
        raise UsageError("--split theirs: no clip had a split before it was packed; give names and shares")
    names = {split: split_name(split) for split in clips}
    connection.execute("create table spelled (theirs varchar, split varchar)")
    if names:
        connection.executemany("insert into spelled values (?, ?)", list(names.items()))
    connection.execute(
        "create view in_split as select c.*, s.split from clips c join known k on k.file_row_number = c.row"
        " join spelled s on s.theirs = coalesce(k.source_split, '') where c.reason = ''"
    )
    notes = [
        f"their split {theirs} is {name} here" for theirs, name in names.items() if theirs not in ("", name)
    ]
    if none := clips.get("", 0):
        notes.append(f"{none:,} clip{'s' if none > 1 else ''} had no split: train")
    return [*notes, *_leaks(connection, group_by)]


_SPEAKERS = """
select count(*) from (
  select case when k.speaker = concat(k.video_id, '_', k.speaker_id) then k.speaker_id else k.speaker end as name
  from in_split i join known k on k.file_row_number = i.row
  where k.source_split is not null and k.speaker_id <> 'unknown' group by name having count(distinct i.split) > 1
)"""
_SENTENCES = """
select count(*) from (
  select said from in_split where said is not null group by said having count(distinct split) > 1
)"""
_GROUPS = """
select count(*) from (
  select g.name from in_split i join groups g using (video_id) group by g.name having count(distinct i.split) > 1
)"""


def _leaks(connection: duckdb.DuckDBPyConnection, group_by: str) -> Iterator[str]:
    """Sentences on what lies in several splits of theirs."""
    asked = [("speaker", "speakers", _SPEAKERS), ("sentence", "sentences", _SENTENCES)]
    if group_by:
        asked.append((f"value of {group_by}", f"values of {group_by}", _GROUPS))
    for one, many, query in asked:
        if found := connection.execute(query).fetchall()[0][0]:
            yield (
                f"{found:,} {one if found == 1 else many} in several of their splits: nothing was moved or dropped"
                " for it"
            )


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

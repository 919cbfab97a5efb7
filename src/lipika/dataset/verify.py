"""A dataset read again from beginning to end, whoever wrote it: what is in it, and what is wrong with it.

Portions are read by several processes. What one clip or one file shows is found there; what takes all clips (an id
that is there twice, a sentence in two splits) is found in the `ledger` when they have been read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lipika.dataset.clip_checks import check_clip, hashes_of
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Format, Portion
from lipika.dataset.hashing import SUMS, HashingTree
from lipika.dataset.ledger import ClipLedger, Match, PackedPage, Page, Trait
from lipika.dataset.model import Defect
from lipika.dataset.summary import Amount
from lipika.errors import UsageError
from lipika.processes import spread
from lipika.storage import Store, StoreSettings

FACTS = "dataset.json"
FIRST = 20
"""Of each kind, so many defects are told in full."""


@dataclass(slots=True)
class Verification:
    """All that was found. `amounts` are by language and split; `defects` are the first of each kind, `counts` all."""

    url: str
    format: str
    files: int
    bytes: int
    amounts: dict[tuple[str, str], Amount] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    defects: list[Defect] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.counts

    @property
    def clips(self) -> int:
        return sum(amount.clips for amount in self.amounts.values())

    @property
    def seconds(self) -> float:
        return sum(amount.seconds for amount in self.amounts.values())

    def note(self, counts: Mapping[str, int], defects: Sequence[Defect]) -> None:
        self.counts.update(counts)
        held = Counter(defect.code for defect in self.defects)
        for defect in defects:
            held[defect.code] += 1
            if held[defect.code] <= FIRST:
                self.defects.append(defect)

    def add(self, language: str, split: str, amount: Amount) -> None:
        held = self.amounts.get((language, split), Amount(0, 0.0))
        self.amounts[language, split] = Amount(held.clips + amount.clips, held.seconds + amount.seconds)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "url": self.url,
            "format": self.format,
            "files": self.files,
            "bytes": self.bytes,
            "clips": self.clips,
            "hours": round(self.seconds / 3600, 6),
            "tarsets": [
                {"language": language, "split": split, "clips": amount.clips, "hours": round(amount.hours, 6)}
                for (language, split), amount in sorted(self.amounts.items())
            ],
            "sound": self.is_sound,
            "defects": dict(sorted(self.counts.items())),
            "first": [
                {"place": defect.place, "code": defect.code, "message": defect.message}
                for defect in self.defects
            ],
        }


async def verify(
    store: Store,
    settings: StoreSettings,
    paths: Mapping[str, int],
    format_name: str | None,
    *,
    processes: int,
    listen: bool = True,
    scratch: Path | None = None,
    advance: Callable[[int, int], object] | None = None,
) -> Verification:
    """Read everything. `paths` are all files with their sizes; `advance` hears of clips and bytes that were read.

    Raises:
        UsageError: the format is not known, or cannot be told from the paths.
    """
    there = {path: size for path, size in paths.items() if not path.startswith(".")}
    facts = await _read_facts(store, there)
    chosen = find_format(there, format_name or facts.format or None, store.url)
    done = Verification(store.url, chosen.name, len(there), sum(there.values()))
    sums = await _read_sums(store, there)
    missing = [Defect(path, "missing_file", f"{SUMS} lists it") for path in sums if path not in there]
    done.note({"missing_file": len(missing)} if missing else {}, missing)
    noted: list[Defect] = []
    portions = list(chosen.portions(there, noted))
    done.note(Counter(defect.code for defect in noted), noted)
    task = _Task(store.url, settings, chosen.name, listen, whole_ids=facts.is_ours)

    async def units() -> AsyncIterator[_Unit]:
        rest = dict(sums)
        for portion in portions:
            sums_here = {path: rest.pop(path) for path in portion.paths if path in rest}
            yield _Unit(task, portion, sums_here)
        others = [path for path in rest if path in there]
        for start in range(0, len(others), _OTHERS):
            yield _Unit(task, None, {path: rest[path] for path in others[start : start + _OTHERS]})

    with ClipLedger(scratch) as ledger:
        async with aclosing(spread(_read_unit, units(), processes)) as outcomes:
            async for outcome in outcomes:
                done.note(outcome.counts, outcome.defects)
                for (language, split), amount in outcome.amounts.items():
                    done.add(language, split, amount)
                ledger.add(outcome.split, outcome.page)
                if advance is not None:
                    advance(outcome.page.clips, sum(there[path] for path in outcome.paths))
        _compare_clips(ledger, done, by_speaker=facts.by_speaker)
    if not done.clips:
        done.note({"no_clips": 1}, [Defect(store.url, "no_clips", "no clip could be read")])
    return done


def find_format(paths: Collection[str], name: str | None, url: str) -> Format:
    """The format of that name, else the one whose files these are.

    Raises:
        UsageError: there is none, or more than one.
    """
    if name is not None:
        if name not in FORMATS:
            raise UsageError(f"there is no format {name!r}: choose one of {', '.join(FORMATS)}")
        return FORMATS[name]
    found = [one for one in FORMATS.values() if one.recognises(paths)]
    for general in _GENERAL:
        if len(found) > 1:
            found = [one for one in found if one.name != general]
    if len(found) != 1:
        seen = (
            f"this could be {' or '.join(one.name for one in found)}" if found else "no format fits its files"
        )
        raise UsageError(f"{url}: {seen}; say --format ({', '.join(FORMATS)})")
    return found[0]


_GENERAL = ("webdataset", "f5")  # any tar will do for the one; the other's reader is that of LJSpeech, too
_OTHERS = 200  # files without clips, hashed at a time


async def _read_sums(store: Store, paths: Collection[str]) -> dict[str, str]:
    """SHA-256 by path; nothing where nobody has written it down."""
    if SUMS not in paths:
        return {}
    lines = (await store.get_bytes(SUMS)).decode("utf-8", "replace").splitlines()
    return {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines) if path}


@dataclass(frozen=True, slots=True)
class _Facts:
    """All that an export of ours says of itself."""

    format: str = ""
    by_speaker: bool = False  # that is how it was split
    is_ours: bool = False


async def _read_facts(store: Store, paths: Collection[str]) -> _Facts:
    if FACTS not in paths:
        return _Facts()
    try:
        facts = orjson.loads(await store.get_bytes(FACTS))
        stated, groups = facts["format"], str(facts["options"].get("group_by", ""))
        return _Facts(stated if stated in FORMATS else "", "speaker" in groups, is_ours=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Facts()


def _compare_clips(ledger: ClipLedger, done: Verification, *, by_speaker: bool) -> None:
    """Find what takes all clips."""
    count, matches = ledger.find_repeated(Trait.ID, FIRST)
    _note_matches(done, "duplicate_id", "its id is that of", count, matches)
    for trait in (Trait.TEXT, Trait.AUDIO, Trait.VIDEO, *([Trait.SPEAKER] if by_speaker else [])):
        count, matches = ledger.find_shared(trait, FIRST)
        what = "sentence" if trait is Trait.TEXT else trait.value
        _note_matches(done, f"leak_{trait}", f"its {what} is also that of", count, matches)


def _note_matches(done: Verification, code: str, words: str, count: int, matches: Sequence[Match]) -> None:
    if count:
        split = "" if code == "duplicate_id" else ", which is in {}"
        defects = [
            Defect(match.place, code, f"{words} {match.other_place}{split.format(match.other_split)}")
            for match in matches
        ]
        done.note({code: count}, defects)


# ----------------------------------------------------------------------------- one portion, in any process


@dataclass(frozen=True, slots=True)
class _Task:
    """The things that all units of a verification have in common."""

    url: str
    settings: StoreSettings
    format: str
    listen: bool
    whole_ids: bool  # unique in the whole export, not in their tarset alone


@dataclass(frozen=True, slots=True)
class _Unit:
    """A portion to read, and the SHA-256 of files to hold against; without a portion these alone."""

    task: _Task
    portion: Portion | None
    sums: Mapping[str, str]


@dataclass(slots=True)
class _Outcome:
    """All that reading a portion showed."""

    split: str
    paths: Collection[str]
    amounts: dict[tuple[str, str], Amount]
    counts: Counter[str]
    defects: list[Defect]  # the first of each kind
    page: PackedPage


def _read_unit(unit: _Unit) -> _Outcome:
    tree = HashingTree(Store.open(unit.task.url, unit.task.settings).open_read, unit.sums)
    notes, page = _Notes(), Page()
    amounts: dict[tuple[str, str], Amount] = {}
    portion = unit.portion or Portion("", "", ())
    if unit.portion is not None:
        task, found = unit.task, list[Defect]()
        for clip in FORMATS[task.format].read(tree, portion, found, listen=task.listen):
            known = {(defect.place, defect.code) for defect in found}  # some readers look at texts, too
            checked = check_clip(clip, portion.language)
            found += [defect for defect in checked if (defect.place, defect.code) not in known]
            notes.take(found)
            page.add(
                clip.place, hashes_of(clip, "" if task.whole_ids else f"{portion.language}/{portion.split}")
            )
            key = clip.language or portion.language, portion.split
            seconds = clip.audio_samples / clip.audio_rate_hz if clip.audio_rate_hz else 0.0
            held = amounts.get(key, Amount(0, 0.0))
            amounts[key] = Amount(held.clips + 1, held.seconds + seconds)
        notes.take(found)
    notes.take(list(tree.check()))
    paths = {*portion.paths, *unit.sums}
    return _Outcome(portion.split, paths, amounts, notes.counts, notes.first, page.pack())


class _Notes:
    """Defects counted, and the first of each kind kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first = list[Defect]()

    def take(self, defects: list[Defect]) -> None:
        """Empties the list."""
        for defect in defects:
            self.counts[defect.code] += 1
            if self.counts[defect.code] <= FIRST:
                self.first.append(defect)
        defects.clear()

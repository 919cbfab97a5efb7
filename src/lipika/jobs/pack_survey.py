"""A source looked at before it is packed: hours, rates, languages, what cannot be read, what it would cost."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from lipika.archive.sources import find_videos
from lipika.config import Settings, load_settings
from lipika.db.connection import Database
from lipika.errors import LipikaError
from lipika.jobs.expectation import Expectation, Load, expect
from lipika.jobs.pack import NO_LOSS, SKIPPED, PackOrder
from lipika.jobs.packed_queue import has_to_be_packed
from lipika.packing.fetch import Fetcher
from lipika.packing.items import PackSource, SourceItem, SourceRefusal
from lipika.packing.packer import PackTally
from lipika.packing.sound import OpenRecording
from lipika.packing.values import language_key
from lipika.services import open_database, store_settings

_LOOKED_AT = 2_000  # recordings whose headers are read
_BYTES_A_SECOND = 15_625  # of speech at 16 kHz as FLAC, as `expectation` takes it


@dataclass(frozen=True, slots=True)
class Survey:
    """A source as it looks. Lengths are what headers say; of many recordings the first are measured."""

    source: str
    kind: str
    recordings: int
    measured: int  # of those
    hours: float  # of all, by those that were measured
    longest_seconds: float
    rates: dict[str, int]  # Hz and channels -> recordings, of those measured
    languages: dict[str, int]  # recordings; "" where none is known
    speakers_unknown: int
    with_text: int
    refused: dict[str, int]
    examples: dict[str, str]
    other_files: int
    skipped: int  # by the source itself
    clips: int | None = None
    usd: float | None = None
    run_seconds: float | None = None
    basis: str = ""


class _Measure:
    """Headers of the first recordings."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self.count = 0
        self.seconds = 0.0
        self.longest = 0.0
        self.rates = Counter[str]()
        self._last: tuple[str, tuple[int, int, float]] | None = None

    def add(self, item: SourceItem) -> None:
        """Raises LipikaError: it cannot be read."""
        rate, channels, whole = self._header(item)
        self.count += 1
        self.rates[f"{rate} Hz, {channels} channel{'' if channels == 1 else 's'}"] += 1
        if item.labels:
            seconds = sum(label.end - label.start for label in item.labels)
        else:
            seconds = (item.end if item.end is not None else whole) - item.start
        self.seconds += max(seconds, 0.0)
        self.longest = max(self.longest, seconds)

    def _header(self, item: SourceItem) -> tuple[int, int, float]:
        place = item.audio
        if self._last and place.data is None and self._last[0] == place.place:
            return self._last[1]
        found = None
        if place.data is None and not place.offset and "://" not in place.place:
            with suppress(soundfile.LibsndfileError, OSError, ValueError, UnicodeError, RuntimeError):
                info = soundfile.info(place.place)
                found = (info.samplerate, info.channels, info.duration)
        if found is None:
            with self._fetcher.open(place) as fetched:
                sound = OpenRecording(fetched)
                found = (sound.rate, sound.channels, (sound.frames or 0) / sound.rate)
                sound.close()
        self._last = (place.place, found)
        return found


def survey(source: PackSource, order: PackOrder, fetcher: Fetcher) -> Survey:
    """Look at all that a source names, and at the headers of the first recordings. Blocks."""
    tally, measure = PackTally(), _Measure(fetcher)
    languages, unknown, texts = Counter[str](), 0, 0
    for item in source.items():
        if isinstance(item, SourceRefusal):
            tally.refuse(item)
            continue
        tally.items += 1
        languages[language_key(order.force_language or item.language or order.language)] += 1
        unknown += item.speaker is None and not any(label.speaker for label in item.labels)
        texts += bool(item.text) or any(label.text for label in item.labels)
        if measure.count < _LOOKED_AT:
            try:
                measure.add(item)
            except LipikaError as error:
                tally.refuse(SourceRefusal(item.name, getattr(error, "code", "unreadable_file"), str(error)))
    refused = {reason: n for reason, n in tally.refused.most_common() if reason not in NO_LOSS}
    return Survey(
        source=source.root,
        kind=source.kind,
        recordings=tally.items,
        measured=measure.count,
        hours=round(measure.seconds / max(measure.count, 1) * tally.items / 3600, 4),
        longest_seconds=round(measure.longest, 2),
        rates=dict(measure.rates.most_common()),
        languages=dict(languages.most_common()),
        speakers_unknown=unknown,
        with_text=texts,
        refused=refused,
        examples={reason: f"{one.name}: {one.detail}" for reason, one in tally.examples.items()},
        other_files=tally.refused["other_file"],
        skipped=tally.refused[SKIPPED],
    )


def survey_order(settings: Settings, order: PackOrder) -> Survey:
    """As `survey`. Raises UsageError: nothing of it can be packed."""
    return survey(order.open(), order, Fetcher(store_settings(settings)))


def expected_bytes(found: Survey) -> int:
    """The size of its archives, as `expectation` reckons: as if it were FLAC of 16 kHz."""
    return round(found.hours * 3600 * _BYTES_A_SECOND)


async def add_expectation(settings: Settings, database: Database, found: Survey) -> Survey:
    """With clips, dollars and time to be expected."""
    told = await expect(settings, database, Load(1, 1, expected_bytes(found)))
    return replace(found, clips=told.clips, usd=told.usd, run_seconds=told.seconds, basis=told.basis)


async def look_at(source: str, data_dir: Path | None) -> Survey | Expectation:
    """A source as it looks, with what a run of it would ask for and cost; of archives only that.

    Raises:
        UsageError: it is nothing that can be run or packed.
    """
    settings = load_settings(lipika_data_dir=data_dir)
    if has_to_be_packed(source):
        found = survey_order(settings, PackOrder(source, ""))
        async with open_database(settings) as database:
            return await add_expectation(settings, database, found)
    videos = await find_videos([source], "unused", store_settings(settings))
    async with open_database(settings) as database:
        return await expect(settings, database, Load.from_sizes(video.source_bytes for video in videos))

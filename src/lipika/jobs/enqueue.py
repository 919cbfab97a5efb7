"""Videos on their way into the queue of `lipika run`: which have work left, and what would be paid for again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from lipika.config import Settings
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.queue import Clash, Queue, QueuedVideo
from lipika.db.result_rows import StoredAnswer
from lipika.db.results import Results, WayRow
from lipika.embedded.postgres import default_data_dir
from lipika.errors import ObjectMissing, StorageError, Unavailable, UsageError
from lipika.jobs.wiring import reuse_conditions
from lipika.models import HintFrom, NewVideo, Was
from lipika.pipeline import reuse
from lipika.pipeline.known_answers import KnownAnswers
from lipika.pipeline.reuse import AskedAs, EarlierAnswers, Lost
from lipika.services import Stores, store_settings
from lipika.storage.store import Place


@dataclass(frozen=True, slots=True)
class Todo:
    """Videos with work left; clips of theirs whose answers are stored; what would be paid for again, in words."""

    videos: list[NewVideo]
    answered: int
    paid_again: str = ""


async def enqueue(
    settings: Settings,
    database: Database,
    videos: Sequence[NewVideo],
    simulated: bool | None,
    *,
    again: bool,
    dry_run: bool = False,
) -> Todo:
    """Add videos; returns those that have work left. With `dry_run` nothing is added or refused.

    Raises:
        UsageError: results cannot go where they should, a video is in the queue from elsewhere, or this would pay
            again; nothing has been added then.
    """
    stores = Stores(store_settings(settings))
    with suppress(StorageError, Unavailable):  # the worker tells a store's trouble from a video's, and waits
        for video in videos[:1]:
            stores.place(video.output_key, settings.output_url, create=True)
    queue = Queue(database)
    known = {row.video_id: row for row in await queue.find([video.video_id for video in videos])}
    _refuse_moved(settings, videos, known)
    for clash in (await queue.clashes(videos))[:1]:
        raise _refusal(clash)
    asked = reuse_conditions(settings, simulated)
    ways = defaultdict[str, list[WayRow]](list)
    for way in await Results(database).ways(list(known)):
        ways[way.video_id].append(way)
    finished, lost = set[str](), dict[str, Lost]()
    for video in () if again else videos:
        row = known.get(video.video_id)
        if row is None:
            continue
        given = ways[video.video_id]
        hint = _Hint.from_row(video, row)
        in_place = row.status == "done" and row.output_key == video.output_key
        done = in_place and hint.is_met(given, asked)
        if done and await _exists(stores.place(video.output_key, settings.output_url, create=True)):
            finished.add(video.video_id)
            continue
        paid = ((way, way.clips, way.usd) for way in given)
        if reuse.count_lost(paid, asked, hint.language, hint_known=hint.known).clips:
            would_cost = await _count_paid_again(database, video.video_id, asked, hint)
            if would_cost.clips:
                lost[video.video_id] = would_cost
    if lost and not dry_run:
        raise UsageError(_would_pay_again(lost))
    todo = [video for video in videos if video.video_id not in finished]
    told = _would_pay_again(lost) if lost else ""
    answered = sum(
        way.clips
        for video in todo
        for way in ways[video.video_id]
        if reuse.difference(way, asked, way.language_hint) is None
    )
    if dry_run:
        return Todo(todo, answered, told)
    await queue.add(videos, max_attempts=settings.max_attempts)
    for (language, given_by), ids in _group_by_hint(videos, finished).items():
        await queue.hint(ids, language, given_by)
    await queue.redo(todo)
    return Todo(todo, answered)


def _group_by_hint(
    videos: Sequence[NewVideo], finished: AbstractSet[str]
) -> dict[tuple[str, HintFrom], list[str]]:
    """The hints that a person gives to videos that have work left: those may be in the queue with another."""
    found = defaultdict[tuple[str, HintFrom], list[str]](list)
    for video in videos:
        if video.language is not None and video.video_id not in finished:
            found[video.language, video.language_from].append(video.video_id)
    return found


def _refuse_moved(settings: Settings, videos: Sequence[NewVideo], known: Mapping[str, QueuedVideo]) -> None:
    for video in videos:
        row = known.get(video.video_id)
        if row is not None and row.source_key != video.source_key:
            raise UsageError(
                f"video {video.video_id!r} is in the queue already, from {row.source_key}; this run names"
                f" {video.source_key}. Rename the archive, or take the old one out:"
                f" lipika queue remove {video.video_id}{_or_apart(settings)}"
            )


def _or_apart(settings: Settings) -> str:
    """The other way out of a conflict of names, where the database is one of the embedded ones."""
    if settings.database_url is not None:
        return ""
    folder = settings.lipika_data_dir or default_data_dir()
    return f". Or keep the two apart, each with a database of its own: --data-dir (this one is in {folder})"


@dataclass(frozen=True, slots=True)
class _Hint:
    """The language that a video's clips will be asked in, as far as it is known before the archive is opened."""

    language: str | None
    known: bool

    @classmethod
    def from_row(cls, video: NewVideo, row: QueuedVideo) -> _Hint:
        if video.language_from is HintFrom.FORCED:
            return cls(video.language, known=True)
        given = row.language is not None and not HintFrom(row.language_from or HintFrom.ROW).yields
        return cls(row.language, given)

    def is_met(self, ways: Sequence[Was], asked: AskedAs) -> bool:
        """True if the same was asked for in all that a person chooses. Our own versions do not undo what is done."""
        return all(
            reuse.chosen_difference(way, asked, self.language if self.known else way.language_hint) is None
            and (not self.known or way.language_hint == (self.language or ""))
            for way in ways
        )


async def _count_paid_again(database: Database, video_id: str, asked: AskedAs, hint: _Hint) -> Lost:
    """Answers of a video that are asked for in another way, and that this way has brought for none of its audio."""
    by_hint = defaultdict[str | None, dict[str, StoredAnswer]](dict)
    async for stored in Results(database).stored_answers(video_id):
        if stored.answer is not None:
            by_hint[hint.language if hint.known else stored.language_hint][stored.audio_digest] = stored
    known, lost = KnownAnswers(PaidAnswers(database).find, asked), Lost()
    for language, answers in by_hint.items():
        earlier = EarlierAnswers(answers, asked)
        earlier.replace(await known.find_many(earlier.list_outdated(language), language))
        lost.join(earlier.count_paid_again(language))
    return lost


def _would_pay_again(lost: Mapping[str, Lost]) -> str:
    """One sentence over all videos, before anything is asked."""
    whole = Lost()
    for one in lost.values():
        whole.join(one)
    names = ", ".join(list(lost)[:3]) + (", ..." if len(lost) > 3 else "")
    return (
        f"this run would pay again for {whole}, in {len(lost):,} of its videos ({names}). Nothing was asked. Ask as"
        " before, leave these videos out, or pay: --again"
    )


def _refusal(clash: Clash) -> UsageError:
    if clash.what == "erased":
        return UsageError(f"{clash}. Leave its archive out of this run")
    return UsageError(
        f"{clash}. Give another --out, rename an archive, or: lipika queue remove {clash.other}"
    )


async def _exists(place: Place) -> bool:
    try:
        await place.store.head(place.key)
    except ObjectMissing:
        return False
    return True

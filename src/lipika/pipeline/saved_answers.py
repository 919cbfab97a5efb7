"""Paid answers of unfinished videos, kept in the output store beside the rows in the database.

Each save is one object of its own, a line of JSON an answer, in the folder `partials/<result>/` next to the result:
R2 takes one write a second per key, and a worker that has lost its video can replace nothing. Rows alone survive the
loss of the store, these alone the loss of the database; the audio's digest says what an answer belongs to. They are
deleted once the result stands verified. When both are away as a worker ends, they wait on the worker's own disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from lipika.archive.documents import clip_result_from_json, clip_result_to_json, read_results
from lipika.db.result_rows import StoredAnswer
from lipika.errors import ArchiveError, LipikaError, ObjectMissing
from lipika.log import get_logger
from lipika.models import ClaimedVideo, ClipResult, TextSource
from lipika.storage import Store

log = get_logger(__name__)

FOLDER = "partials"

ResultPlace = Callable[[str], tuple[Store, str]]
"""The store and key of a video's result, from the queue's `output_key`."""


class Partials:
    """The partial objects of the videos one worker holds.

    Args:
        place: where a video's result goes.
        here: folder on this machine for what can be kept nowhere else; made when it is needed.
    """

    def __init__(self, place: ResultPlace, here: Path) -> None:
        self._place = place
        self._here = here
        self._keys: dict[str, list[str]] = {}  # claim token -> objects found or written under it
        self._numbers = itertools.count()

    async def load(self, video: ClaimedVideo) -> list[StoredAnswer]:
        """Answers that former attempts saved. What cannot be read is passed over: it is asked again, no more.

        Raises:
            StorageUnavailable: the store is away.
        """
        store, folder = self._folder(video)
        keys = [entry.key async for entry in store.list(folder)]
        self._keys.setdefault(video.claim_token, []).extend(keys)
        stored = [answer for key in sorted(keys) for answer in await _read(store, key)]
        return stored + await asyncio.to_thread(self._load_here, video)

    async def load_result(self, video: ClaimedVideo) -> list[StoredAnswer]:
        """Answers in a whole result that stands already: all there is when a database was lost after its videos
        were done. The archive is read through once.

        Raises:
            StorageUnavailable: the store is away.
        """
        store, key = self._place(video.output_key)
        try:
            return await asyncio.to_thread(_read_result, store, key)
        except ObjectMissing:
            return []
        except (ArchiveError, ValueError) as error:
            log.warning("result_unreadable", video=video.video_id, key=key, reason=str(error)[:200])
            return []

    async def save(self, video: ClaimedVideo, documents: Sequence[bytes]) -> None:
        """Store answers, as `clip_result_to_json` gives them, as one more object.

        Raises:
            Unavailable, StorageError: nothing was stored.
        """
        store, folder = self._folder(video)
        key = f"{folder}/{video.claim_token}-{next(self._numbers):06}.jsonl"
        self._keys.setdefault(video.claim_token, []).append(key)
        await store.put_bytes(key, b"".join(documents))

    def save_on_disk(self, video: ClaimedVideo, results: Sequence[ClipResult]) -> int:
        """Add answers to the video's file on this disk; returns how many. Never fails: it is the last resort."""
        if not results:
            return 0
        try:
            self._here.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._file_here(video).open("ab") as file:
                file.write(b"".join(map(clip_result_to_json, results)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.warning("answers_lost", video=video.video_id, answers=len(results), reason=str(error))
            return 0
        return len(results)

    def _load_here(self, video: ClaimedVideo) -> list[StoredAnswer]:
        path = self._file_here(video)
        try:
            return _parse_lines(path.read_bytes().splitlines(), str(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("partial_unreadable", key=str(path), reason=str(error))
            return []

    def _file_here(self, video: ClaimedVideo) -> Path:
        return self._here / file_here(video.video_id)

    async def look_again(self, video: ClaimedVideo) -> None:
        """Also find what former owners have saved since `load`: answers that were on their way when they lost the
        claim. To be called before the claim is checked, so that nothing of an owner after us is among it.
        Never fails.
        """
        store, folder = self._folder(video)
        known = self._keys.setdefault(video.claim_token, [])
        try:
            known += {entry.key async for entry in store.list(folder)} - set(known)
        except LipikaError as error:
            log.warning("partial_left_behind", video=video.video_id, reason=str(error))

    async def clear(self, video: ClaimedVideo) -> None:
        """Delete what is no longer needed; objects of an owner after us are left alone. Never fails."""
        try:
            self._file_here(video).unlink(missing_ok=True)
        except OSError as error:
            log.warning("partial_left_behind", video=video.video_id, reason=str(error))
        store, _ = self._place(video.output_key)
        for key in self._keys.pop(video.claim_token, ()):
            try:
                await store.delete(key)
            except LipikaError as error:
                log.warning("partial_left_behind", video=video.video_id, key=key, reason=str(error))

    def forget(self, video: ClaimedVideo) -> None:
        """The claim has ended; its objects stay for whoever comes next."""
        self._keys.pop(video.claim_token, None)

    def _folder(self, video: ClaimedVideo) -> tuple[Store, str]:
        store, key = self._place(video.output_key)
        parent, slash, name = key.rpartition("/")
        return store, f"{parent}{slash}{FOLDER}/{name}"


def file_here(video_id: str) -> str:
    """The name of a video's file on this machine."""
    return f"{quote(video_id, safe='')[:80]}-{hashlib.sha256(video_id.encode()).hexdigest()[:16]}.jsonl"


def _read_result(store: Store, key: str) -> list[StoredAnswer]:
    with closing(store.open_read(key)) as reader:
        return [as_stored_answer(result) for result in read_results(reader)]


async def _read(store: Store, key: str) -> list[StoredAnswer]:
    try:
        lines = (await store.get_bytes(key)).splitlines()
    except ObjectMissing:  # somebody finished the video meanwhile
        return []
    return _parse_lines(lines, key)


def _parse_lines(lines: Iterable[bytes], key: str) -> list[StoredAnswer]:
    answers = []
    for number, line in enumerate(lines, 1):
        try:
            answers.append(as_stored_answer(clip_result_from_json(line)))
        except ValueError as error:
            log.warning("partial_unreadable", key=key, line=number, reason=str(error)[:200])
    return answers


def as_stored_answer(result: ClipResult) -> StoredAnswer:
    """The result as one that is read back: the model's own answer, whatever a person has made of it since."""
    if result.text_source is TextSource.PERSON:
        own, source = result.model_answer, TextSource.MODEL
    else:
        own, source = result.answer, result.text_source
    return StoredAnswer(
        segment_file=result.segment_file,
        audio_digest=result.clip.audio_digest,
        trimmer_version=result.clip.trimmer_version,
        language_hint=result.language_hint,
        status=result.status,
        answer=own,
        failure=result.failure,
        usage=result.usage,
        cost_usd=result.cost_usd,
        provenance=result.provenance,
        alignment=result.alignment,
        text_source=source,
    )

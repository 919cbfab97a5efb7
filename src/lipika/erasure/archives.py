"""A result archive without erased clips: written anew from what stays, counted anew, and nobody in it is named."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from lipika.archive.erased import ERASED_NAME, REASON
from lipika.archive.references import recordings_of
from lipika.archive.results import block_of
from lipika.archive.rewrite import ClipDocument, Contents, read_contents
from lipika.archive.spool import Spool
from lipika.archive.video_documents import Summary, shrink_metadata
from lipika.errors import ArchiveError, ObjectMissing
from lipika.models import Accounting, ClipStatus, Discard
from lipika.storage.store import Place

Named = Callable[[str], bool]
"""True for the name of somebody who is erased, or of a file with such a voice."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """An archive after its clips have gone: how many went now, and what its row of the queue says of it."""

    clips: int
    counted: Mapping[str, object]


async def shrink_archive(
    place: Place, video_id: str, gone: AbstractSet[str], named: Named, spool_dir: Path | None
) -> Shrunk | None:
    """Write the archive anew without the files `gone`; None where there is none. Again, it changes nothing.

    Raises:
        ArchiveError: it is damaged, or none of this video.
        StorageError: it was replaced meanwhile, or the store refuses.
    """
    try:
        before = await place.store.head(place.key)
    except ObjectMissing:
        return None
    stems = {file.removesuffix(".flac") for file in gone}
    with Spool(spool_dir or Path(tempfile.gettempdir())) as spool:
        old = await asyncio.to_thread(
            read_contents, place.store, place.key, spool, lambda stem: stem not in stems and not named(stem)
        )
        if block_of(old.metadata).video_id != video_id:
            raise ArchiveError(
                "other_video", f"{place.key}: it is the archive of video {block_of(old.metadata).video_id}"
            )
        going, staying = list[ClipDocument](), list[ClipDocument]()
        for one in old.documents:
            (going if one.stem in stems or named(one.stem) else staying).append(one)
        block = orjson.loads(old.metadata)["transcription"]
        accounting = _accounting(block["accounting"], going, staying)
        discards = _discards(block["discards"], len(going), named)
        changed = bool(going) or discards != block["discards"]
        metadata = _compose(
            old, staying, accounting, discards, _or_said_of(old.metadata, going, named), spool
        )
        if not changed and metadata == old.metadata:
            return Shrunk(0, _count_for_queue(accounting, before.size, await _digest_of(place)))
        tar = spool.compose(metadata)
        stored = await place.store.replace_stream(before, tar.chunks(), tar.size)
        return Shrunk(len(going), _count_for_queue(accounting, stored.size, stored.sha256))


def _or_said_of(metadata: bytes, going: Sequence[ClipDocument], named: Named) -> Named:
    """Also the names under which the archive's owner has said something (`lipika pack`) of segments of clips that go,
    and of recordings of which nobody else's segment is left."""
    stems = {document.result.clip.segment.stem for document in going}
    said = recordings_of(metadata)
    of_others = {recording for stem, recording in said.items() if stem not in stems}
    words = stems | {said[stem] for stem in stems & said.keys() if said[stem] not in of_others}
    return lambda word: word in words or named(word)


def _compose(
    old: Contents,
    staying: Sequence[ClipDocument],
    accounting: Accounting,
    discards: Sequence[Mapping[str, Any]],
    named: Named,
    spool: Spool,
) -> bytes:
    summary = Summary()
    for document in staying:
        summary.add(document.result)
        spool.add_result(document.stem, document.content)
    digests = [document.result.clip.audio_digest for document in staying]
    return shrink_metadata(old.metadata, summary, accounting, discards, digests, spool.digests, named)


def _accounting(
    told: Mapping[str, Any], going: Sequence[ClipDocument], staying: Sequence[ClipDocument]
) -> Accounting:
    """The sums without what goes: a segment that loses all of its clips is discarded, another loses parts."""
    accounting = Accounting(**told)
    accounting.discard_reasons = dict(accounting.discard_reasons)
    left = {document.result.clip.segment for document in staying}
    emptied = {document.result.clip.segment for document in going} - left
    accounting.segments_polished -= len(emptied)
    accounting.segments_discarded += len(emptied)
    for document in going:
        status = document.result.status
        accounting.clips -= 1
        accounting.transcribed -= status is ClipStatus.TRANSCRIBED
        accounting.no_speech -= status is ClipStatus.NO_SPEECH
        accounting.failed -= status is ClipStatus.FAILED
        accounting.parts_discarded += document.result.clip.segment in left
        accounting.discard_reasons[REASON] = accounting.discard_reasons.get(REASON, 0) + 1
    return accounting


def _discards(listed: Sequence[Mapping[str, Any]], more: int, named: Named) -> list[Mapping[str, Any]]:
    """The archive's discards with nobody named, and so many more."""
    kept = [
        {**one, "segment_file": ERASED_NAME, "message": "", "start_ms": None, "end_ms": None}
        if named(str(one["segment_file"]))
        else one
        for one in listed
    ]
    erased = asdict(Discard(ERASED_NAME, REASON, "erased, and it does not come back", whole_segment=False))
    return [*kept, *[erased] * more]


def _count_for_queue(accounting: Accounting, size: int, sha256: str) -> Mapping[str, object]:
    reasons = orjson.dumps(accounting.discard_reasons).decode()
    counts = replace(accounting, discard_reasons={})
    return {
        **{name: getattr(counts, name) for name in Accounting.__slots__},
        "discard_reasons": reasons,
        "output_bytes": size,
        "output_digest": sha256,
    }


async def _digest_of(place: Place) -> str:
    """The SHA-256 of an archive that is as it should be: who was killed before its row said so."""

    def read() -> str:
        digest = hashlib.sha256()
        with closing(place.store.open_read(place.key)) as reader:
            while piece := reader.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    return await asyncio.to_thread(read)

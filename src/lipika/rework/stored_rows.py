"""Results held already: archives in folders and buckets, rows in Postgres. Found and read, never changed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from lipika.archive import members
from lipika.archive.documents import METADATA_NAME, VIDEO_FORMAT, read_results
from lipika.archive.metadata import Metadata
from lipika.archive.sources import OUTPUT_SUFFIX, is_url, object_url
from lipika.archive.tar import Source, entries
from lipika.db.stored import Stored, StoredClip
from lipika.errors import ArchiveError, StorageError, UsageError
from lipika.models import Answer, AudioFacts, ClipResult, SegmentName
from lipika.storage import ObjectReader, Store, StoreSettings, split_url
from lipika.validation.again import Held
from lipika.validation.catalogue import LaneName
from lipika.validation.compare import Judgement

_HASH_BYTES = 1 << 20
_PEEK_BYTES = 256 << 10  # more than nearly every metadata.json


# ----------------------------------------------------------------------------- result archives


@dataclass(frozen=True, slots=True)
class Archive:
    """A result archive: the root of its store and its key there."""

    root: str
    key: str

    @property
    def url(self) -> str:
        return object_url(self.root, self.key)


@dataclass(frozen=True, slots=True)
class Block:
    """The needed part of the block `transcription` in a result archive's metadata."""

    video_id: str
    validator_versions: frozenset[str]
    discarded: tuple[str, ...]  # file names of members that went no further
    answered: int  # clips with an answer
    aligner_versions: Mapping[str, int]  # of a second recogniser, where one has listened -> clips


async def find_results(sources: Sequence[str], settings: StoreSettings) -> AsyncIterator[Archive]:
    """Result archives by name: a tar is taken as it is, of a folder or prefix whatever ends in `_transcribed.tar`.

    Raises:
        UsageError: a source names nothing.
    """
    for source in sources:
        root, key = _root_and_key(source)
        if key:
            yield Archive(root, key)
            continue
        found = False
        async for entry in Store.open(root, settings).list():
            if entry.key.endswith(OUTPUT_SUFFIX):
                found = True
                yield Archive(root, entry.key)
        if not found:
            raise UsageError(f"{source}: no result archives (*{OUTPUT_SUFFIX}) there")


def _root_and_key(source: str) -> tuple[str, str]:
    """(store root, key of one tar or "" for all below the root)."""
    if is_url(source) and not source.startswith("file://"):
        return split_url(source) if source.endswith(".tar") else (source.rstrip("/"), "")
    root, key = split_url(source)
    if key and not (Path(root) / key).is_file():
        raise UsageError(f"{source}: there is no such file or folder")
    return root, key


def archive_on_record(output_key: str, output_url: str) -> Archive:
    """The archive that a queue row names; keys that are no URLs belong to `output_url`."""
    whole = is_url(output_key) or output_key.startswith("/")
    return Archive(*split_url(output_key if whole else object_url(output_url, output_key)))


def sha256_of(archive: Archive, settings: StoreSettings) -> tuple[int, str]:
    """Size and SHA-256 (hex) of an archive, read in pieces. Blocks."""
    digest = hashlib.sha256()
    with closing(Store.open(archive.root, settings).open_read(archive.key)) as reader:
        while piece := reader.read(_HASH_BYTES):
            digest.update(piece)
        return reader.size, digest.hexdigest()


def peek(archive: Archive, settings: StoreSettings) -> Block:
    """The metadata's block, reading little more than it. Blocks.

    Raises:
        ArchiveError: the archive is damaged, or none of ours.
    """
    store = Store.open(archive.root, replace(settings, read_bytes=_PEEK_BYTES))
    with closing(store.open_read(archive.key)) as reader:
        source = Source(reader)
        limits = members.DEFAULT_LIMITS
        for entry in entries(source, limits.max_headers, limits.max_extension_bytes):
            if entry.name != METADATA_NAME or entry.size > limits.max_member_bytes:
                break
            return block_of(source.take())
    raise not_ours("it does not begin with metadata.json")


def block_of(metadata: bytes) -> Block:
    """The block of a `metadata.json`. Raises ArchiveError if there is none of ours."""
    try:
        block = Metadata(metadata).fields()["transcription"]
        if block["format"] != VIDEO_FORMAT:
            raise not_ours(f"its format is {block['format']!r}, not {VIDEO_FORMAT!r}")
        return Block(
            video_id=str(block["video_id"]),
            validator_versions=frozenset(block["versions"]["validator"]),
            discarded=tuple(str(discard["segment_file"]) for discard in block["discards"]),
            answered=sum(int(clips) for status, clips in block["statuses"].items() if status != "failed"),
            aligner_versions=dict(block["versions"].get("aligner", {})),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise not_ours(f"metadata.json lacks what a run writes ({error!r})") from None


def not_ours(why: str) -> ArchiveError:
    return ArchiveError("no_result", f"this is no result archive: {why}")


def read_archive(archive: Archive, settings: StoreSettings) -> list[ClipResult]:
    """All results of an archive; the audio is passed over. Blocks.

    Raises:
        ArchiveError: the archive is damaged, or a document in it is not ours.
    """
    with closing(_open(archive, settings)) as reader:
        try:
            return list(read_results(reader))
        except ValueError as error:
            raise ArchiveError("bad_document", str(error)) from None


def _open(archive: Archive, settings: StoreSettings) -> ObjectReader:
    return Store.open(archive.root, settings).open_read(archive.key)


def segments_of(clips: Iterable[SegmentName], files: Iterable[str]) -> set[SegmentName]:
    """Names of a video's segments: `clips` and the file names `files`, as far as they are names of segments."""
    names = set(clips)
    for file in files:
        try:
            names.add(SegmentName.parse(file.rpartition(".")[0]))
        except ValueError:
            continue
    return names


def held_result(result: ClipResult) -> Held | None:
    """None for a clip that failed: nothing of it can be judged."""
    if result.answer is None or result.verdict is None:
        return None
    return Held(
        result.answer,
        result.clip,
        result.language_hint,
        result.verdict.findings,
        Judgement.of(result.verdict),
    )


# ----------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row whose answer can be judged again."""

    row: StoredClip
    held: Held


@dataclass(frozen=True, slots=True)
class VideoRows:
    """A video's rows. `silent` clips cannot be judged: what their audio is like is neither in row nor archive."""

    held: tuple[HeldRow, ...]
    segments: frozenset[SegmentName]
    silent: int


async def read_rows(stored: Stored, video_id: str, settings: StoreSettings, output_url: str) -> VideoRows:
    """A video's rows with the facts of their audio: from the row, else from the video's result archive.

    `output_url` is where keys of archives belong that are no URLs.
    """
    rows = await stored.clips(video_id)
    answered = [(row, answer) for row in rows if (answer := row.answer) is not None]
    facts = {row.segment_file: row.facts() for row, _answer in answered}
    if None in facts.values():
        facts |= await _facts_from_archive(await stored.output_key(video_id), rows, settings, output_url)
    held = tuple(
        HeldRow(row, _held_row(row, answer, known))
        for row, answer in answered
        if (known := facts[row.segment_file]) is not None
    )
    files = [*(row.source_segment for row in rows), *await stored.discarded(video_id)]
    segments = frozenset(segments_of((row.name for row in rows), files))
    return VideoRows(held, segments, silent=len(answered) - len(held))


async def _facts_from_archive(
    output_key: str | None, rows: Sequence[StoredClip], settings: StoreSettings, output_url: str
) -> dict[str, AudioFacts | None]:
    """By segment file; nothing where the archive is gone, damaged, or of other audio."""
    if output_key is None:
        return {}
    digests = {row.segment_file: row.audio_digest for row in rows}
    try:
        results = await asyncio.to_thread(read_archive, archive_on_record(output_key, output_url), settings)
    except (ArchiveError, StorageError):
        return {}
    return {
        result.segment_file: result.clip.audio
        for result in results
        if digests.get(result.segment_file) == result.clip.audio_digest
    }


def _held_row(row: StoredClip, answer: Answer, facts: AudioFacts) -> Held:
    findings = row.old_findings()
    open_lanes = zip(
        LaneName, (row.asr_eligible, row.tts_clean_eligible, row.tts_expressive_eligible), strict=True
    )
    before = Judgement(
        lanes=tuple(name for name, eligible in open_lanes if eligible),
        codes=frozenset(found.code for found in findings),
        quality_score=row.old_score,
    )
    return Held(answer, row.clip(facts), row.language_hint, findings, before)

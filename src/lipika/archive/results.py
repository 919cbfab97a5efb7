"""Result archives that are there already: found in folders and buckets, and read; never changed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from lipika.archive.documents import METADATA_NAME, VIDEO_FORMAT, clip_result_from_json, read_results
from lipika.archive.members import DEFAULT_LIMITS
from lipika.archive.metadata import Metadata
from lipika.archive.sources import OUTPUT_SUFFIX, is_url, object_url
from lipika.archive.tar import Entry, Source, entries
from lipika.errors import ArchiveError, UsageError
from lipika.models import ClipResult
from lipika.storage import ObjectReader, Store, StoreSettings, split_url

_HASH_BYTES = 1 << 20
_PEEK_BYTES = 256 << 10  # more than nearly every metadata.json


@dataclass(frozen=True, slots=True)
class ResultArchive:
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


async def find_results(sources: Sequence[str], settings: StoreSettings) -> AsyncIterator[ResultArchive]:
    """Result archives by name: a tar is taken as it is, of a folder or prefix whatever ends in `_transcribed.tar`.

    Raises:
        UsageError: a source names nothing.
    """
    for source in sources:
        root, key = _root_and_key(source)
        if key:
            yield ResultArchive(root, key)
            continue
        found = False
        async for entry in Store.open(root, settings).list():
            if entry.key.endswith(OUTPUT_SUFFIX):
                found = True
                yield ResultArchive(root, entry.key)
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


def archive_on_record(output_key: str, output_url: str) -> ResultArchive:
    """The archive that a queue row names; keys that are no URLs belong to `output_url`."""
    whole = is_url(output_key) or output_key.startswith("/")
    return ResultArchive(*split_url(output_key if whole else object_url(output_url, output_key)))


def sha256_of(archive: ResultArchive, settings: StoreSettings) -> tuple[int, str]:
    """Size and SHA-256 (hex) of an archive, read in pieces. Blocks."""
    digest = hashlib.sha256()
    with closing(Store.open(archive.root, settings).open_read(archive.key)) as reader:
        while piece := reader.read(_HASH_BYTES):
            digest.update(piece)
        return reader.size, digest.hexdigest()


def peek(archive: ResultArchive, settings: StoreSettings) -> Block:
    """The metadata's block, reading little more than it. Blocks.

    Raises:
        ArchiveError: the archive is damaged, or none of ours.
    """
    return block_of(read_metadata(archive, settings))


def read_metadata(archive: ResultArchive, settings: StoreSettings) -> bytes:
    """The `metadata.json`, reading little more than it. Blocks.

    Raises:
        ArchiveError: the archive is damaged, or none of ours.
    """
    store = Store.open(archive.root, replace(settings, read_bytes=_PEEK_BYTES))
    with closing(store.open_read(archive.key)) as reader:
        source = Source(reader)
        for entry in entries(source, DEFAULT_LIMITS.max_headers, DEFAULT_LIMITS.max_extension_bytes):
            if entry.name != METADATA_NAME or entry.size > DEFAULT_LIMITS.max_member_bytes:
                break
            return source.take()
    raise foreign_archive_error("it does not begin with metadata.json")


def block_of(metadata: bytes) -> Block:
    """The block of a `metadata.json`. Raises ArchiveError if there is none of ours."""
    try:
        block = Metadata(metadata).fields()["transcription"]
        if block["format"] != VIDEO_FORMAT:
            raise foreign_archive_error(f"its format is {block['format']!r}, not {VIDEO_FORMAT!r}")
        return Block(
            video_id=str(block["video_id"]),
            validator_versions=frozenset(block["versions"]["validator"]),
            discarded=tuple(str(discard["segment_file"]) for discard in block["discards"]),
            answered=sum(int(clips) for status, clips in block["statuses"].items() if status != "failed"),
            aligner_versions=dict(block["versions"].get("aligner", {})),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise foreign_archive_error(f"metadata.json lacks what a run writes ({error!r})") from None


def foreign_archive_error(why: str) -> ArchiveError:
    return ArchiveError("no_result", f"this is no result archive: {why}")


def read_archive(archive: ResultArchive, settings: StoreSettings) -> list[ClipResult]:
    """All results of an archive; the audio is passed over. Blocks.

    Raises:
        ArchiveError: the archive is damaged, or a document in it is not ours.
    """
    with closing(_open(archive, settings)) as reader:
        try:
            return list(read_results(reader))
        except ValueError as error:
            raise ArchiveError("bad_document", str(error)) from None


def _open(archive: ResultArchive, settings: StoreSettings) -> ObjectReader:
    return Store.open(archive.root, settings).open_read(archive.key)


def read_files(
    archive: ResultArchive, settings: StoreSettings, folder: str
) -> Generator[tuple[str, bytes], None, None]:
    """(name without its ending, content) of a folder's files, in the archive's order. Blocks.

    Raises:
        ArchiveError: the archive is damaged.
    """
    with closing(_open(archive, settings)) as reader:
        source = Source(reader)
        for entry in usable_entries(source):
            where, _, name = entry.name.rpartition("/")
            if where == folder:
                yield name.rpartition(".")[0], source.take()


def usable_entries(source: Source) -> Iterator[Entry]:
    """Every member; its content may be taken from `source` until the next one is asked for.

    Raises:
        ArchiveError: the archive is damaged.
    """
    for entry in entries(source, DEFAULT_LIMITS.max_headers, DEFAULT_LIMITS.max_extension_bytes):
        if entry.problem is not None or entry.size > DEFAULT_LIMITS.max_member_bytes:
            raise foreign_archive_error(f"{entry.shown} is damaged or larger than allowed")
        yield entry


def parse_result(document: bytes) -> ClipResult:
    """The result in a transcription document. Raises ArchiveError if it is none of ours."""
    try:
        return clip_result_from_json(document)
    except ValueError as error:
        raise foreign_archive_error(str(error)) from None

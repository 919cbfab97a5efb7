"""A result archive written anew: some values of its documents change, audio and all the rest stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import orjson

from lipika.archive.documents import METADATA_NAME, clip_result_to_json
from lipika.archive.results import foreign_archive_error, parse_result, usable_entries
from lipika.archive.spool import ComposedTar, Spool
from lipika.archive.tar import Source
from lipika.archive.video_documents import Summary, amend_metadata
from lipika.models import ClipResult
from lipika.storage import Store


@dataclass(frozen=True, slots=True)
class ChangedKeys:
    """The places a rewriting may change: keys of a clip's document, of the summary, some tiers' versions there; and
    with `endings` how many clips ended how, in the accounting.
    """

    document: Sequence[str]
    summary: Sequence[str]
    versions: Sequence[str]
    endings: bool = False


@dataclass(frozen=True, slots=True)
class ClipDocument:
    """A clip's document: the name of its file without the ending, its bytes, and what they say."""

    stem: str
    content: bytes
    result: ClipResult


@dataclass(frozen=True, slots=True)
class Contents:
    """A result archive without its audio."""

    metadata: bytes
    documents: tuple[ClipDocument, ...]


def read_contents(
    store: Store, key: str, spool: Spool | None, wanted: Callable[[str], bool] = lambda _stem: True
) -> Contents:
    """Read an archive; the audio of clips that are `wanted` goes to the spool, if there is one, byte by byte.
    Blocks.

    Raises:
        ArchiveError: it is damaged, or holds what no run has written and a rewriting would lose.
    """
    metadata: bytes | None = None
    documents: list[tuple[str, bytes]] = []
    with closing(store.open_read(key)) as reader:
        source = Source(reader)
        for entry in usable_entries(source):
            folder, _, name = entry.name.rpartition("/")
            stem, _, ending = name.rpartition(".")
            if entry.name == METADATA_NAME:
                metadata = source.take()
            elif (folder, ending) == ("segments", "flac"):
                if spool is not None and wanted(stem):
                    spool.add_clip(stem, source.take())
            elif (folder, ending) == ("transcriptions", "json"):
                documents.append((stem, source.take()))
            else:
                raise foreign_archive_error(f"{entry.shown} is no part of one, and would be lost")
    if metadata is None:
        raise foreign_archive_error("it has no metadata.json")
    return Contents(
        metadata, tuple(ClipDocument(stem, content, parse_result(content)) for stem, content in documents)
    )


def compose_again(
    old: Contents, results: Iterable[ClipResult], spool: Spool, keys: ChangedKeys
) -> ComposedTar:
    """The archive with new results, one for each of its documents in their order. The spool holds its audio already.

    A document whose result is the object that was read (`is`) is copied; in the others only `keys` change.
    """
    summary = Summary()
    for document, result in zip(old.documents, results, strict=True):
        summary.add(result)
        same = result is document.result
        content = document.content if same else _replace_values(document.content, result, keys.document)
        spool.add_result(document.stem, content)
    return spool.compose(
        amend_metadata(
            old.metadata, summary, keys.summary, keys.versions, spool.digests, endings=keys.endings
        )
    )


def _replace_values(document: bytes, result: ClipResult, keys: Iterable[str]) -> bytes:
    """The document with the result's values under `keys`; whatever else stands in it stays."""
    fresh, changed = orjson.loads(clip_result_to_json(result)), orjson.loads(document)
    for key in keys:
        if key in fresh:
            changed[key] = fresh[key]
        else:
            changed.pop(key, None)
    return orjson.dumps(changed, option=orjson.OPT_APPEND_NEWLINE)

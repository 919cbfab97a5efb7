"""One bucket, prefix or folder, and the few things done with it."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from lipika.errors import ObjectMissing, StorageError, StorageUnavailable
from lipika.storage.buckets import abort_upload, keys_below, list_page, open_uploads
from lipika.storage.errors import Patience, Translator, is_mute
from lipika.storage.folders import Odd, files_below, printable_path, staged_files
from lipika.storage.opening import StoreSettings, local_path, local_store, s3_parts, s3_store
from lipika.storage.transfers import FOLDER_BYTES, ObjectReader, UploadParts, part_size

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode

_PART_CONCURRENCY = 2  # R2 answers 500 to more parts of one upload at a time
_GET_LIMIT = 256 << 20
_LIST_PAGE = 1000
_FIRST_BYTE: GetOptions = {"range": (0, 1)}
_READ_RETRY = timedelta(seconds=10)  # of one try of a blocking read, so that `close` is noticed soon


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object. `key` is relative to the store's root; `sha256` (hex) is known after an upload only."""

    key: str
    size: int
    etag: str | None = None
    sha256: str = ""


class Store:
    """One bucket, prefix or folder. Keys are relative to it, with `/` between their parts."""

    def __init__(
        self, url: str, settings: StoreSettings, patient: LocalStore | S3Store, quick: LocalStore | S3Store
    ) -> None:
        self.url = url
        self._settings = settings
        self._store = patient
        self._has_etags = isinstance(patient, S3Store)  # a folder's are made of time and size
        self._quick = quick  # gives up soon, for readers, which retry themselves
        patience = Patience(settings.retry_s, settings.retry_wait_s)
        self._errors = Translator(url, settings.endpoint, patience, settings.secrets, settings.variables)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @classmethod
    def open(cls, url: str, settings: StoreSettings, *, create: bool = False) -> Self:
        """Open `s3://bucket/prefix`, `file:///folder` or a plain path; nothing is contacted yet.

        `create` makes a missing local folder.

        Raises:
            UsageError: the URL is none of these.
            SettingsError: keys or endpoint are missing.
            StorageError: there is no such local folder.
        """
        _settle_at_exit()
        if "://" in url and not url.startswith("file://"):
            bucket, prefix = s3_parts(url, settings.bucket)
            prefix = "/".join(filter(None, prefix.split("/")))
            retry = timedelta(seconds=settings.retry_s)
            patient = s3_store(bucket, prefix, settings, retry)
            quick = s3_store(bucket, prefix, settings, min(retry, _READ_RETRY))
            return cls(f"s3://{bucket}/{prefix}".rstrip("/"), settings, patient, quick)
        path = local_path(url)
        folder = local_store(path, create=create)
        return cls(str(path), settings, folder, folder)

    async def list(
        self, prefix: str = "", *, odd: Odd = lambda _sentence: None, unfinished: bool = False
    ) -> AsyncIterator[ObjectInfo]:
        """All objects below `prefix`, which is a folder (whole path components), in the store's own order.

        What cannot be read by its name, or not be looked into, is passed over, and `odd` is told. In a bucket
        `prefix` may also be `unfinished`: the beginning of keys.
        """
        closing = threading.Event()
        pages = self._pages(prefix, odd, closing, unfinished=unfinished)
        try:
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                for found in page:
                    yield found
        finally:
            closing.set()  # a thread that waits for the store would go on when nobody waits for it any more

    def _pages(
        self, prefix: str, odd: Odd, closing: threading.Event, *, unfinished: bool
    ) -> Iterator[Sequence[ObjectInfo]]:
        if isinstance(self._store, LocalStore):
            files = files_below(Path(self.url), prefix, odd)
            while page := [ObjectInfo(*file) for file in islice(files, _LIST_PAGE)]:
                yield page
            return
        bucket, root = s3_parts(self.url)
        root = f"{root}/" if root else ""
        below = root + (prefix if unfinished or not prefix else f"{prefix.rstrip('/')}/")
        more, doing = "", f"list {prefix or 'everything'}"
        while True:
            asked = partial(list_page, self._settings, bucket, below, more)
            answer = self._errors.retry(asked, doing, "", closing)
            usable = []
            for found, key, problem in keys_below(answer.objects, root):
                if problem:
                    odd(f"{printable_path(f's3://{bucket}/{found.key}')}: {problem}")
                else:
                    usable.append(ObjectInfo(key, found.size, found.etag))
            yield usable
            more = answer.more
            if not more:
                return

    async def head(self, key: str) -> ObjectInfo:
        """Size and etag.

        Raises:
            ObjectMissing: there is no such object.
        """
        with self._errors.translate("look at", key):
            try:
                return _info(await self._store.head_async(key), key)
            except BaseError as error:
                if is_mute(error):
                    await self._store.get_async(key, options=_FIRST_BYTE)  # the same, with the reason
                raise

    def open_read(self, key: str) -> ObjectReader:
        """A blocking reader for use in a thread; it holds one range of `read_bytes` at a time.

        It outlives cut connections and outages up to `retry_s`, and notices an object that is replaced.

        Raises:
            ObjectMissing: there is no such object.
        """
        closing = threading.Event()
        info = _info(self._errors.retry(lambda: self._look(key), "look at", key, closing), key)

        def fetch(start: int, end: int) -> memoryview:
            return self._errors.retry(lambda: self._range(info, start, end), "read", key, closing)

        step = self._settings.read_bytes
        return ObjectReader(info.size, step if self._has_etags else min(step, FOLDER_BYTES), fetch, closing)

    async def get_bytes(self, key: str, limit: int = _GET_LIMIT) -> bytes:
        """A small object as a whole.

        Raises:
            ObjectMissing: there is no such object.
            StorageError: it is larger than `limit` bytes.
        """
        with self._errors.translate("read", key):
            found = await self._store.get_async(key)
            if found.meta["size"] > limit:
                raise StorageError(
                    f"{self.url}/{key} has {found.meta['size']:,} bytes; at most {limit:,} were expected"
                )
            return bytes(await found.bytes_async())

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`; fewer where the object ends.

        Raises:
            ObjectMissing: there is no such object.
        """
        with self._errors.translate("read", key):
            return bytes(await self._store.get_range_async(key, start=start, end=end))

    async def put_bytes(self, key: str, data: bytes) -> ObjectInfo:
        """Store a small object in one request; an existing one is replaced at once or not at all."""
        with self._errors.translate("write", key):
            result = await self._store.put_async(key, data, use_multipart=False)
        return ObjectInfo(key, len(data), result["e_tag"], hashlib.sha256(data).hexdigest())

    async def put_stream(
        self, key: str, chunks: Iterator[bytes] | AsyncIterator[bytes], size: int, sha256: str | None = None
    ) -> ObjectInfo:
        """Store `size` bytes as they come, in equal parts, and verify what arrived.

        The object appears whole or not at all. A plain iterator is read in another thread, so it may block on disk.
        Verified are the source's size and, if given, its SHA-256 before the upload is completed; then the stored
        size and, in S3 and R2, the etag (MD5 of the parts), or the bytes themselves where the etag is another
        digest, as in buckets encrypted with KMS.

        Raises:
            StorageError: source or stored object differ from what was promised.
            Whatever `chunks` raises; nothing is stored then.
        """
        return await self._put(key, chunks, self._parts(size, sha256), None)

    async def replace_stream(self, old: ObjectInfo, chunks: Iterator[bytes], size: int) -> ObjectInfo:
        """The same in the place of `old`, unless another object has taken that place meanwhile.

        In S3 and R2 the store itself refuses where the object goes in one request. Elsewhere the place is looked at
        when all has been read, just before the upload is completed: what comes in that moment is not noticed.

        Raises:
            StorageError: it was replaced, and nothing is stored; or as `put_stream`.
            ObjectMissing: it is gone.
        """
        parts = self._parts(size, None)
        one_request = self._has_etags and parts.size <= parts.part_bytes
        mode: PutMode | None = {"e_tag": old.etag} if one_request else None
        return await self._put(old.key, self._check_not_replaced(old, chunks), parts, mode)

    async def _check_not_replaced(self, old: ObjectInfo, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk
        now = await self.head(old.key)
        if (now.size, now.etag) != (old.size, old.etag):
            raise StorageError(f"{self.url}/{old.key} was replaced meanwhile; the newer one stays")

    def _parts(self, size: int, sha256: str | None) -> UploadParts:
        part_bytes = part_size(size, self._settings.part_bytes) if self._has_etags else FOLDER_BYTES
        return UploadParts(size, part_bytes, sha256, with_etag=self._has_etags)

    async def _put(
        self,
        key: str,
        chunks: Iterator[bytes] | AsyncIterator[bytes],
        parts: UploadParts,
        mode: PutMode | None,
    ) -> ObjectInfo:
        with parts.own_error(), self._errors.translate("write", key):
            try:
                await self._upload(key, parts, chunks, mode)
            except FileNotFoundError as error:
                # The reply that the upload is complete was lost, and the retry finds no upload any more.
                if "NoSuchUpload" not in str(error):
                    raise
            except asyncio.CancelledError:
                parts.stop()  # a source read in another thread would not notice
                raise
        return await self._verify_upload(key, parts)

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is as good as deleted."""
        try:
            with self._errors.translate("delete", key):
                await self._store.delete_async(key)
        except ObjectMissing:
            return

    async def open_uploads(self, prefix: str = "") -> Sequence[str]:
        """Keys whose upload was begun and neither completed nor aborted: what a process left that was killed."""
        return sorted({key for key, _abort in await asyncio.to_thread(self._open_uploads, prefix)})

    async def abort_uploads(self, key: str) -> int:
        """Abort what others have left open of this one key, which must be the caller's to write; returns how many."""

        def abort() -> int:
            found = [abort for open_key, abort in self._open_uploads(key) if open_key == key]
            for one in found:
                with self._errors.translate("abort an upload of", key):
                    one()
            return len(found)

        return await asyncio.to_thread(abort)

    def _open_uploads(self, prefix: str) -> Sequence[tuple[str, Callable[[], object]]]:
        """(key, how to abort it) of what begins with `prefix`; in a folder only beside it. Blocks."""
        with self._errors.translate("list the open uploads of", prefix):
            if isinstance(self._store, LocalStore):
                files = staged_files(Path(self.url), prefix)
                return [(key, partial(path.unlink, missing_ok=True)) for key, path in files]
            bucket, root = s3_parts(self.url)
            root = f"{root}/" if root else ""
            return [
                (upload.key.removeprefix(root), partial(abort_upload, self._settings, bucket, upload))
                for upload in open_uploads(self._settings, bucket, root + prefix)
            ]

    async def _upload(
        self,
        key: str,
        parts: UploadParts,
        chunks: Iterator[bytes] | AsyncIterator[bytes],
        mode: PutMode | None,
    ) -> None:
        if parts.size > parts.part_bytes:
            source = parts.cut_async(chunks) if isinstance(chunks, AsyncIterator) else parts.cut(chunks)
            await self._store.put_async(
                key,
                source,
                use_multipart=True,
                chunk_size=parts.part_bytes,
                max_concurrency=_PART_CONCURRENCY,
            )
            return
        if isinstance(chunks, AsyncIterator):
            pieces = await parts.whole_async(chunks)
        else:
            pieces = await asyncio.to_thread(parts.whole, chunks)
        await self._store.put_async(key, iter(pieces), use_multipart=False, mode=mode)

    async def _verify_upload(self, key: str, parts: UploadParts) -> ObjectInfo:
        where = f"{self.url}/{key}"
        try:
            stored = await self.head(key)
        except ObjectMissing:
            raise StorageUnavailable(
                f"{where} is not there right after its upload; upload it again"
            ) from None
        if stored.size != parts.size:
            raise StorageError(f"{where} was stored with {stored.size:,} bytes of {parts.size:,}")
        digest = parts.sha256.hexdigest()
        if self._has_etags and (stored.etag or "").strip('"') != parts.etag():
            await self._read_back(key, digest)
        return ObjectInfo(key, stored.size, stored.etag, digest)

    async def _read_back(self, key: str, sha256: str) -> None:
        found = hashlib.sha256()
        with self._errors.translate("read back", key):
            async for piece in (await self._store.get_async(key)).stream():
                found.update(piece)
        if found.hexdigest() != sha256:
            raise StorageError(
                f"{self.url}/{key} was stored with other bytes than were sent; upload it again"
            )

    def _look(self, key: str) -> ObjectMeta:
        try:
            return self._quick.head(key)
        except BaseError as error:
            if is_mute(error):
                self._quick.get(key, options=_FIRST_BYTE)  # the same, with the reason
            raise

    def _range(self, info: ObjectInfo, start: int, end: int) -> memoryview:
        options: GetOptions = {"range": (start, end), "if_match": info.etag}
        data = memoryview(self._quick.get(info.key, options=options).bytes())
        if len(data) != end - start:
            raise StorageUnavailable(f"{self.url}/{info.key}: got {len(data):,} bytes of {end - start:,}")
        return data


def _info(meta: ObjectMeta, key: str) -> ObjectInfo:
    return ObjectInfo(key, meta["size"], meta["e_tag"])


@cache
def _settle_at_exit() -> None:
    """Let obstore's threads come to rest before the interpreter goes.

    An awaited operation is done for us a moment before its thread has let go of the last Python object. If the
    interpreter is shut down in that moment, the process aborts (PyO3/pyo3-async-runtimes#40); measured: up to two
    of three processes that end right after a request, and none that wait 20 ms.
    """
    atexit.register(time.sleep, 0.1)


@dataclass(frozen=True, slots=True)
class Place:
    """An object in a store."""

    store: Store
    key: str

"""obstore's errors in our own words: the object, the cause and the way out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from lipika.errors import LipikaError, ObjectMissing, StorageError, StorageUnavailable

T = TypeVar("T")

MAX_WAIT_S = 10.0

_TRANSIENT_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "OperationAborted")
_TRANSIENT_STATUS = (408, 429)
_ADVICE = {
    "InvalidAccessKeyId": "check R2_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check R2_SECRET_ACCESS_KEY",
    "AccessDenied": "the key's token must allow reading and writing objects of this bucket",
    "RequestTimeTooSkewed": "set this machine's clock",
    "NoSuchBucket": "check the bucket's name in the URL or R2_BUCKET, and R2_ACCOUNT_ID or S3_ENDPOINT_URL",
    "AuthorizationHeaderMalformed": "S3_ENDPOINT_URL must be that of the bucket's region",
}
_KEYS_ADVICE = "check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to retry, and how long to wait before the first retry; the wait doubles up to MAX_WAIT_S."""

    retry_s: float
    wait_s: float


class Translator:
    """Turns obstore's errors into ours, in words that name the object, the cause and the way out."""

    def __init__(self, url: str, endpoint: str, patience: Patience, secrets: tuple[str, ...]) -> None:
        self._url = url
        self._endpoint = endpoint
        self._patience = patience
        self._secrets = secrets

    @contextmanager
    def translated(self, doing: str, key: str = "") -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._error(error, doing, key) from None
        except ValueError as error:
            raise StorageError(f"cannot {doing} {key!r} in {self._url}: {short_text(error)}") from None

    def patiently(self, work: Callable[[], T], doing: str, key: str, closing: threading.Event) -> T:
        """Do blocking work until it succeeds, the time for retries is over or `closing` is set."""
        give_up, pause = time.monotonic() + self._patience.retry_s, self._patience.wait_s
        while True:
            try:
                with self.translated(doing, key):
                    return work()
            except StorageUnavailable:
                if time.monotonic() + pause > give_up or closing.wait(pause):
                    raise
            pause = min(2 * pause, MAX_WAIT_S)

    def _error(self, error: BaseError | OSError, doing: str, key: str) -> LipikaError:
        text = short_text(error)
        code = _found(r"<Code>(\w+)</Code>", text)
        status = int(_found(r"status code: (\d{3})", text) or 0)
        unanswered = not status and "HTTP error" in text
        what = f"cannot {doing} {self._url}{key and '/'}{key}"
        if isinstance(error, PreconditionError):
            since = "while it was being read" if doing == "read" else "meanwhile"
            return StorageError(f"{what}: the object was replaced {since}")
        if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
            return ObjectMissing(f"{what}: there is no such object")
        reason = self._clean(f"{self._endpoint}: {_cause(error)}" if unanswered else _reason(text))
        if code in _ADVICE or isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return StorageError(f"{what}: {reason}; {_ADVICE.get(code, _KEYS_ADVICE)}")
        if unanswered or status in _TRANSIENT_STATUS or status >= 500 or code in _TRANSIENT_CODES:
            return StorageUnavailable(f"{what}: {reason}; tried for up to {self._patience.retry_s:g} s")
        return StorageError(f"{what}: {reason}")

    def _clean(self, text: str) -> str:
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return text


def short_text(error: Exception) -> str:
    """The message without obstore's dump of its inner state."""
    return str(error).partition("\n\nDebug source")[0].strip()


def _reason(text: str) -> str:
    """The store's own words where there are some, else the last part of obstore's sentence."""
    code, message = _found(r"<Code>(\w+)</Code>", text), _found(r"<Message>([^<]*)</Message>", text)
    if code:
        return f"{code} ({message})" if message else code
    return text.rpartition(" - ")[2].rstrip(": ")[:300]


def _cause(error: Exception) -> str:
    """Why there was no answer; obstore tells only in its dump."""
    dump = str(error)
    if "dns error" in dump:
        return "the host name is not known"
    return _found(r'message: "([^"]+)"', dump) or _reason(short_text(error))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""

"""obstore's errors in our own words: the object, the cause and the way out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from lipika.errors import DiskFull, LipikaError, ObjectMissing, StorageError, StorageUnavailable

T = TypeVar("T")

MAX_WAIT_S = 10.0

_TRANSIENT_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "OperationAborted")
_TRANSIENT_STATUS = (408, 429)
_REFUSALS = (401, 403)
_CLOCK = "this machine's clock says {now} UTC: set it (NTP)"
_TOKEN_AGE = "fetch new temporary credentials and set {keys} and {token} to them"  # noqa: S105 - a sentence
_REGION = "S3_ENDPOINT_URL or AWS_REGION must be that of the bucket's region"
_ACCOUNT = "the store's account is closed to requests: look there"
_ADVICE = {
    "InvalidAccessKeyId": "check {key_id}",
    "SignatureDoesNotMatch": "check {secret}",
    "AccessDenied": "the key of {key_id} is known, but must be allowed {permission} in this bucket",
    "InvalidToken": "{token} does not belong to these keys, or they are temporary ones and it is missing",
    "ExpiredToken": _TOKEN_AGE,
    "ExpiredTokenException": _TOKEN_AGE,
    "TokenRefreshRequired": _TOKEN_AGE,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "InvalidObjectState": "the object is archived (Glacier, Deep Archive): restore it, or copy it to a storage class"
    " that is read at once",
    "NoSuchBucket": "check the bucket's name in the URL or R2_BUCKET, and R2_ACCOUNT_ID or S3_ENDPOINT_URL",
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "AccountProblem": _ACCOUNT,
    "AllAccessDisabled": _ACCOUNT,
    "NotSignedUp": _ACCOUNT,
}
_KEYS_ADVICE = "check {keys}"
_NO_REASON = "it gives no reason: check {keys}; a proxy or firewall in between may have refused it, too"
_PERMISSIONS = {
    "list": "to list objects (s3:ListBucket)",
    "write": "to write objects (s3:PutObject)",
    "delete": "to delete objects (s3:DeleteObject)",
}
_READING = "to read objects (s3:GetObject; without s3:ListBucket a missing object is refused like this, too)"

_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_MOUNT_AWAY = re.compile(
    r"Stale file handle|Transport endpoint is not connected|Input/output error|No such device|Host is down"
    r"|Connection timed out|Network is unreachable",
    re.IGNORECASE,
)
"""What a folder of another machine, or of a disk that was pulled, says: as a store that is away."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The time to go on retrying, and the wait before the first retry; the wait doubles up to MAX_WAIT_S."""

    retry_s: float
    wait_s: float


class Translator:
    """Turns obstore's errors into ours, in words that name the object, the cause and the way out."""

    def __init__(
        self, url: str, endpoint: str, patience: Patience, secrets: tuple[str, ...], variables: str = "R2"
    ) -> None:
        self._url = url
        self._endpoint = endpoint
        self._patience = patience
        self._secrets = secrets
        self._variables = variables

    @contextmanager
    def translate(self, doing: str, key: str = "") -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._error(error, doing, key) from None
        except ValueError as error:
            raise StorageError(f"cannot {doing} {key!r} in {self._url}: {short_text(error)}") from None

    def retry(self, work: Callable[[], T], doing: str, key: str, closing: threading.Event) -> T:
        """Do blocking work until it succeeds, the time for retries is over or `closing` is set.

        Not `network.patiently`: this waits in a thread, which nobody can cancel, hence `closing`.
        """
        give_up, pause = time.monotonic() + self._patience.retry_s, self._patience.wait_s
        while True:
            try:
                with self.translate(doing, key):
                    return work()
            except StorageUnavailable:
                if time.monotonic() + pause > give_up or closing.wait(pause):
                    raise
            pause = min(2 * pause, MAX_WAIT_S)

    def _error(self, error: BaseError | OSError, doing: str, key: str) -> LipikaError:
        text = short_text(error)
        code = _first_group(r"<Code>(\w+)</Code>", text)
        if "redirect without LOCATION" in text:  # obstore does not show such an answer's body
            code = "PermanentRedirect"
        status = int(_first_group(r"status code: (\d{3})", text) or 0)
        unanswered = not status and "HTTP error" in text
        what = f"cannot {doing} {self._url}{key and '/'}{key}"
        if isinstance(error, PreconditionError):
            since = "while it was being read" if doing == "read" else "meanwhile"
            return StorageError(f"{what}: the object was replaced {since}")
        if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
            return ObjectMissing(f"{what}: there is no such object")
        if not status and (full := _FULL.search(text)):
            return DiskFull(f"{what}: {full[0]}; free some space there")
        if not status and (away := _MOUNT_AWAY.search(text)):
            return StorageUnavailable(f"{what}: {away[0]}")
        reason = self._clean(f"{self._endpoint}: {_cause(error)}" if unanswered else _reason(text))
        refused = status in _REFUSALS or isinstance(error, PermissionDeniedError | UnauthenticatedError)
        if code in _ADVICE or refused:
            return StorageError(f"{what}: {reason}; {self._advice(code, doing)}")
        if unanswered or status in _TRANSIENT_STATUS or status >= 500 or code in _TRANSIENT_CODES:
            return StorageUnavailable(f"{what}: {reason}; tried for up to {self._patience.retry_s:g} s")
        return StorageError(f"{what}: {reason}")

    def _advice(self, code: str, doing: str) -> str:
        key_id, secret, token = (
            f"{self._variables}_{name}" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
        )
        return _ADVICE.get(code, _KEYS_ADVICE if code else _NO_REASON).format(
            key_id=key_id,
            secret=secret,
            keys=f"{key_id} and {secret}",
            token=token,
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            permission=_PERMISSIONS.get(doing.partition(" ")[0], _READING),
        )

    def _clean(self, text: str) -> str:
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return text


def is_mute(error: Exception) -> bool:
    """True if a refusal does not say why, as that of a HEAD request, whose answer has no body."""
    status = _first_group(r"status code: (\d{3})", str(error))
    return status.startswith("4") and status != "404" and not _first_group(r"<Code>(\w+)</Code>", str(error))


def short_text(error: Exception) -> str:
    """The message without obstore's dump of its inner state."""
    return str(error).partition("\n\nDebug source")[0].strip()


def _reason(text: str) -> str:
    """The store's own words where there are some, else the last part of obstore's sentence."""
    code, message = (
        _first_group(r"<Code>(\w+)</Code>", text),
        _first_group(r"<Message>([^<]*)</Message>", text),
    )
    if code:
        return f"{code} ({message})" if message else code
    return text.rpartition(" - ")[2].rstrip(": ")[:300]


def _cause(error: Exception) -> str:
    """The reason why there was no answer; obstore tells only in its dump."""
    dump = str(error)
    if "dns error" in dump:
        return "the host name is not known"
    return _first_group(r'message: "([^"]+)"', dump) or _reason(short_text(error))


def _first_group(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""

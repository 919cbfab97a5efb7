"""Listings of a bucket, asked for by ourselves: keys as they are, where obstore refuses a page for one odd key and
cannot tell `/a` and `a/` from `a`.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.parse import quote, unquote_plus, urlsplit

from lipika.storage.opening import StoreSettings, region_of

_TIMEOUT_S = 15
_MAX_PAGE_BYTES = 16 << 20  # a thousand keys of a kilobyte, percent-encoded, and room
_MAX_ERROR_BYTES = 1 << 16
_NO_BODY = hashlib.sha256(b"").hexdigest()
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object of a bucket. `key` is the whole one."""

    key: str
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class ListingPage:
    """Some of a bucket's objects; `more` asks for the next ones, "" after the last."""

    objects: list[Listed]
    more: str


def list_page(settings: StoreSettings, bucket: str, prefix: str, more: str) -> ListingPage:
    """Objects whose keys begin with `prefix`, a thousand at a time. Blocks.

    Raises:
        OSError: the store refuses, with `status code:` and its words, or there was no answer: `HTTP error`.
    """
    query = {"encoding-type": "url", "list-type": "2", "prefix": prefix}
    if more:
        query["continuation-token"] = more
    body = _request(settings, "GET", f"/{quote(bucket, safe='')}", query)
    try:
        return _page(body)
    except (ET.ParseError, ValueError) as error:
        raise OSError(f"HTTP error - the store's answer is no list of objects ({error})") from None


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that was begun and neither completed nor aborted: its parts are stored, and paid for."""

    key: str
    upload_id: str


def open_uploads(settings: StoreSettings, bucket: str, prefix: str) -> list[OpenUpload]:
    """Those of keys that begin with `prefix`, a thousand at most: who comes next finds the others. Blocks.

    Raises:
        OSError: as `list_page`.
    """
    query = {"encoding-type": "url", "prefix": prefix, "uploads": ""}
    body = _request(settings, "GET", f"/{quote(bucket, safe='')}", query)
    try:
        root = _tree(body, "ListMultipartUploadsResult")
    except (ET.ParseError, ValueError) as error:
        raise OSError(f"HTTP error - the store's answer is no list of uploads ({error})") from None
    encoded = root.findtext("EncodingType") == "url"
    return [
        OpenUpload(unquote_plus(key) if encoded else key, upload_id)
        for found in root.iterfind("Upload")
        if (key := found.findtext("Key")) and (upload_id := found.findtext("UploadId"))
    ]


def abort_upload(settings: StoreSettings, bucket: str, upload: OpenUpload) -> None:
    """Let the store forget its parts. Blocks. Raises OSError as `list_page`."""
    path = f"/{quote(bucket, safe='')}/{quote(upload.key, safe='-_.~/')}"
    _request(settings, "DELETE", path, {"uploadId": upload.upload_id})


def _tree(body: bytes, name: str) -> ET.Element:
    root = ET.fromstring(body)  # noqa: S314 - expat bounds what entities may become, and the page is bounded
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != name:
        raise ValueError(f"it begins with {root.tag[:40]!r}")
    return root


def _page(body: bytes) -> ListingPage:
    root = _tree(body, "ListBucketResult")
    encoded = root.findtext("EncodingType") == "url"
    objects = [
        Listed(
            unquote_plus(key) if encoded else key,
            int(found.findtext("Size") or 0),
            found.findtext("ETag"),
        )
        for found in root.iterfind("Contents")
        if (key := found.findtext("Key")) is not None
    ]
    truncated = root.findtext("IsTruncated") == "true"
    return ListingPage(objects, (root.findtext("NextContinuationToken") or "") if truncated else "")


# ----------------------------------------------------------------------------- one signed request


class _AsItIs(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: a signature holds for one host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _request(settings: StoreSettings, method: str, path: str, query: Mapping[str, str]) -> bytes:
    endpoint = urlsplit(settings.endpoint)
    path = quote(endpoint.path.rstrip("/"), safe="/%") + path
    asked = "&".join(f"{_quote_for_s3(key)}={_quote_for_s3(value)}" for key, value in sorted(query.items()))
    headers = signed_headers(settings, endpoint.netloc, path, asked, datetime.now(UTC), method)
    url = f"{endpoint.scheme}://{endpoint.netloc}{path}?{asked}"
    # Proxies are those of the environment, as for all other requests to the store; nobody's for this machine.
    proxies = urllib.request.ProxyHandler({} if endpoint.hostname in _LOOPBACK else None)
    opener = urllib.request.build_opener(proxies, _AsItIs)
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - the endpoint is http or https
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as reply:
            body: bytes = reply.read(_MAX_PAGE_BYTES)
            return body
    except urllib.error.HTTPError as error:
        text = error.read(_MAX_ERROR_BYTES).decode(errors="replace")
        raise OSError(f"status code: {error.code} {error.reason}: {text}") from None
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise OSError(f"HTTP error - {_connection_reason(error)}") from None


def _connection_reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "the host name is not known"
    return str(reason) or type(reason).__name__


def _quote_for_s3(text: str) -> str:
    return quote(text, safe="-_.~")


def signed_headers(
    settings: StoreSettings, host: str, path: str, query: str, now: datetime, method: str = "GET"
) -> dict[str, str]:
    """Headers of a request without a body, after AWS's Signature Version 4. `path` and `query` are encoded."""
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    if settings.session_token:
        signed["x-amz-security-token"] = settings.session_token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{_NO_BODY}"
    scope = f"{day}/{region_of(settings)}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + settings.secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {
        **{name: value for name, value in signed.items() if name != "host"},
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={settings.access_key_id}/{scope},"
            f" SignedHeaders={names}, Signature={signature}"
        ),
    }


# ----------------------------------------------------------------------------- keys


def keys_below(objects: list[Listed], root: str) -> Iterator[tuple[Listed, str, str]]:
    """(object, its key below `root`, what is odd about that or ""); markers of folders are passed over."""
    for found in objects:
        key = found.key.removeprefix(root)
        if not key or (key.endswith("/") and not found.size):
            continue
        yield found, key, _odd(key)


def _odd(key: str) -> str:
    parts = key.split("/")
    if "" in parts:
        return "its key has an empty part (two slashes, or one at an end)"
    if "." in parts or ".." in parts:
        return "its key has a part that is a dot or two"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in key):
        return "its key has control characters"
    return ""

"""Raw requests to a test's S3 server."""

from __future__ import annotations

import urllib.request


def call(url: str, method: str, body: bytes = b"") -> None:
    """A request by somebody else, with any signature: the server checks none unless told to."""
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
    headers["Content-Type"] = "application/octet-stream"
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)).close()  # noqa: S310

"""An S3 server of a test's own, and raw requests to it."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server on loopback that says nothing; its URL."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def call(url: str, method: str, body: bytes = b"") -> None:
    """A request by somebody else, with any signature: the server checks none unless told to."""
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
    headers["Content-Type"] = "application/octet-stream"
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)).close()  # noqa: S310

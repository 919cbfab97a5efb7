"""A strict S3 in front of moto: what R2 refuses is refused, misuse is remembered, and it can be away.

R2 takes one write a second per key (429 beyond that), wants all parts but the last of one size, and answers 500 to
more than two or three parts of one upload at a time.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from moto.server import ThreadedMotoServer


class StrictS3:
    """`url` is the endpoint; `away` answers 503 to everything; `complaints` should stay empty."""

    def __init__(self, target: str) -> None:
        self.away = False
        self.forbidden = ""  # a method that is answered 403; "POST complete": that of an upload alone
        self.complaints: list[str] = []
        self.writes: list[str] = []  # keys, in order
        self.refused = 0  # while it was away
        self._target = target.removeprefix("http://")
        self._written_at: dict[str, float] = {}
        self._parts: dict[str, dict[int, int]] = defaultdict(dict)
        self._lock = threading.Lock()
        strict = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                strict.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the names http.server wants

            def log_message(self, *_args: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        status = self._verdict(client.command, client.path, len(body))
        if status:
            client.send_response(status)
            client.send_header("Content-Length", "0")
            client.end_headers()
            return
        upstream = http.client.HTTPConnection(self._target)
        upstream.request(client.command, client.path, body, dict(client.headers))
        reply = upstream.getresponse()
        data = reply.read()
        upstream.close()
        client.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                client.send_header(name, value)
        client.end_headers()
        client.wfile.write(data)

    def _verdict(self, method: str, path: str, size: int) -> int:
        """The status to refuse with; 0 to let it pass."""
        with self._lock:
            if self.away:
                self.refused += 1
                return 503
            parts = urlsplit(path)
            query = parse_qs(parts.query)
            completes = method == "POST" and "uploadId" in query
            if method == self.forbidden or (completes and self.forbidden == "POST complete"):
                return 403
            if method == "PUT" and "partNumber" in query:
                self._parts[query["uploadId"][0]][int(query["partNumber"][0])] = size
            elif method == "POST" and "uploadId" in query:
                self._check_parts(parts.path, self._parts.pop(query["uploadId"][0], {}))
            elif method == "PUT":
                return self._check_pace(parts.path)
            return 0

    def _check_pace(self, key: str) -> int:
        now = time.monotonic()
        soon = now - self._written_at.get(key, -10.0) < 1.0
        self._written_at[key] = now
        self.writes.append(key)
        if soon:
            self.complaints.append(f"two writes of {key} within a second")
        return 429 if soon else 0

    def _check_parts(self, key: str, sizes: dict[int, int]) -> None:
        self.writes.append(key)
        ordered = [sizes[number] for number in sorted(sizes)]
        if len(set(ordered[:-1])) > 1 or (len(ordered) > 1 and ordered[-1] > ordered[0]):
            self.complaints.append(f"unequal parts of {key}: {ordered}")


@contextmanager
def strict_s3(bucket: str) -> Iterator[StrictS3]:
    """A server of its own with one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    target = f"http://{host}:{port}"
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
    urllib.request.urlopen(urllib.request.Request(f"{target}/{bucket}", b"", headers, method="PUT")).close()  # noqa: S310
    strict = StrictS3(target)
    try:
        yield strict
    finally:
        strict.close()
        moto.stop()

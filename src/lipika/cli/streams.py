"""Standard input, output and error as a command may rely on them, whatever stands at their other end.

    with standard_streams():
        app()

A log and a panel are there to be looked at; nothing may depend on whether somebody does. stderr is written by a
thread of its own out of a bounded store, so that a reader who stalls, a terminal paused with Ctrl-S, a full disk or a
pipe that nobody reads any more cost lines, which are counted, and no work. stdout carries results: its writes wait as
those of any program, a reader who has had enough (`| head -1`) is no failure, and a full disk is told at the end.
Streams that were closed at the start lead nowhere: the first files and sockets would take their numbers otherwise.
"""

from __future__ import annotations

import errno
import io
import locale
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_MOST_BYTES = 1 << 20
"""Waiting for a reader of stderr: some thousand lines."""

_LAST_WORDS_S = 2.0
"""How long the end of a process waits for a reader of stderr."""

_IN_ORDER_S = 0.3
"""How long a result on stdout waits for what was said before it on stderr."""

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_READER_GONE = {errno.EPIPE, errno.ECONNRESET, errno.EBADF}


class Beside(io.TextIOBase):
    """Text for a file descriptor, written by a thread. `write` never waits and never fails; what finds no room within
    `most_bytes` is dropped, and the next that is written says how many lines that were.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int, *, most_bytes: int = _MOST_BYTES) -> None:
        self.as_json = False
        self._fd = fd
        self._most_bytes = most_bytes
        self._is_terminal = os.isatty(fd)
        self._changed = threading.Condition()
        self._waiting = deque[bytes]()
        self._bytes = 0
        self._dropped = 0
        self._reader_gone = False
        self._writer: threading.Thread | None = None
        self._process = os.getpid()

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._is_terminal

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing: whoever flushes does not want to wait."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is wanted, not {type(text).__name__}")
        data = text.encode(self.encoding, self.errors)
        if not data:
            return 0
        if os.getpid() != self._process:  # a fork has no such thread
            self._put(data)
            return len(text)
        with self._changed:
            if self._reader_gone or self._bytes + len(data) > self._most_bytes:
                self._dropped += _lines(data)
                return len(text)
            self._waiting.append(data)
            self._bytes += len(data)
            self._changed.notify_all()
        self._begin()
        return len(text)

    def settle(self, seconds: float) -> None:
        """Wait until all is written, so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds if self._writer else 0)

    def _begin(self) -> None:
        if self._writer is not None:
            return
        self._writer = threading.Thread(target=self._write_on, name="stderr", daemon=True)
        try:
            self._writer.start()
        except RuntimeError:  # no more threads: then what is said is said from here
            self._writer = None
            while self._waiting:
                self._write_one()

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
            self._write_one()

    def _write_one(self) -> None:
        data = self._waiting[0]
        told = self._dropped
        whole = (not told or self._put(self._missing(told))) and self._put(data)
        with self._changed:
            self._waiting.popleft()
            self._bytes -= len(data)
            if whole:
                self._dropped -= told
            else:
                self._dropped += _lines(data)
            if self._reader_gone:
                self._waiting.clear()
                self._bytes = 0
            self._changed.notify_all()

    def _missing(self, lines: int) -> bytes:
        if self.as_json:
            import orjson

            return orjson.dumps({"event": "log_lines_dropped", "level": "warning", "lines": lines}) + b"\n"
        return f"[{lines:,} lines dropped: they could not be written here]\n".encode()

    def _put(self, data: bytes) -> bool:
        """True if all of it could be written. Waits as long as the reader lets it."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                with suppress(OSError):
                    select.select([], [self._fd], [], 1.0)
            except OSError as error:
                self._reader_gone = error.errno in _READER_GONE
                return False
        return True


class ResultStream(io.RawIOBase):
    """stdout without surprises: what cannot be written is remembered instead of raised into the middle of a job."""

    def __init__(self, fd: int, said_before: Beside | None = None) -> None:
        self.lost: OSError | None = None
        self._fd = fd
        self._said_before = said_before

    @property
    def reader_gone(self) -> bool:
        return self.lost is not None and self.lost.errno in _READER_GONE

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.lost is None:
            if self._said_before is not None:
                self._said_before.settle(_IN_ORDER_S)
            try:
                return self._put(data)
            except OSError as error:
                self.lost = error
        return len(data)

    def _put(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                select.select([], [self._fd], [], 1.0)


def nobody_reads() -> bool:
    """True if the reader of stdout has gone: what only prints may end."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, ResultStream) and raw.reader_gone


def log_as_json(*, json_logs: bool) -> None:
    """Note if stderr is for machines, which are told of dropped lines in JSON."""
    if isinstance(sys.stderr, Beside):
        sys.stderr.as_json = json_logs


@contextmanager
def standard_streams() -> Iterator[None]:
    """For the whole of a command; the exit code is 3 where all went well but the results could not be written."""
    speak_utf8()
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    said = Beside(_STDERR)
    results = ResultStream(_STDOUT, said)
    sys.stderr = cast("TextIO", said)
    out = io.BufferedWriter(results)
    sys.stdout = io.TextIOWrapper(out, "utf-8", "backslashreplace", line_buffering=results.isatty())
    code: object = 0
    try:
        yield
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = 130
    except BaseException as defect:
        code = 1
        sys.excepthook(type(defect), defect, defect.__traceback__)
    sys.stdout.flush()
    lost = None if results.reader_gone else results.lost
    if lost is not None:
        said.write(f"lipika: standard output could not be written: {lost.strerror}\n")
    said.settle(_LAST_WORDS_S)
    sys.stdout, sys.stderr = before
    raise SystemExit(code or (3 if lost is not None else 0))


def _open_closed_streams() -> None:
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(_STDIN, "r", encoding="utf-8", closefd=False)


def speak_utf8() -> None:
    """Under a locale that knows no Devanagari, start this command again in Python's UTF-8 mode: names of files, what
    is printed and what children print are UTF-8 then, as everywhere else.
    """
    if sys.flags.utf8_mode or locale.getpreferredencoding(do_setlocale=False).lower() in {"utf-8", "utf8"}:
        return
    if not sys.executable or len(sys.orig_argv) < 2:
        return
    os.environ["PYTHONUTF8"] = "1"  # for children
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def _lines(data: bytes) -> int:
    return max(data.count(b"\n"), 1)

"""Memory that processes share, for what is too large to go through a pipe: a clip crosses by one copy, not by four.

Measured with handfuls of eight clips of 125 KB, there and back: 0.14 ms of CPU a clip, 0.87 through the pipes of a
process pool. Not `multiprocessing.shared_memory`: its segments have names, outlive a process that is killed, and lie
in /dev/shm, of which a container has 64 MB. Only Linux has memory without a name; elsewhere all takes the pipe.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import weakref
from collections.abc import Callable
from enum import IntEnum
from multiprocessing import reduction
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")
U = TypeVar("U")

WORTH_SHARING = 4096
"""Bytes; what is smaller goes with the message."""


class Side(IntEnum):
    """Half of a place: what is asked lies on the one, what is answered on the other."""

    QUESTION = 0
    ANSWER = 1


class _Handle(Protocol):
    """A file descriptor on its way to a child process."""

    def detach(self) -> int: ...


class SharedPlaces:
    """So many places of `2 * half_bytes` each. It may be handed to a process only while that is started.

    A place belongs to one question and its answer at a time; that is for the caller to see to. Pages that nothing was
    ever put on take no memory.
    """

    def __init__(self, places: int, half_bytes: int) -> None:
        self.places = places
        self._half_bytes = half_bytes
        fd = os.memfd_create("lipika-places")
        os.ftruncate(fd, 2 * places * half_bytes)
        self._open(fd)

    @staticmethod
    def possible() -> bool:
        """True if this system has such memory."""
        return hasattr(os, "memfd_create")

    def _open(self, fd: int) -> None:
        self._fd = fd
        self._let_go = weakref.finalize(self, os.close, fd)
        self._memory = mmap.mmap(fd, 2 * self.places * self._half_bytes)

    def __getstate__(self) -> tuple[int, int, object]:
        return self.places, self._half_bytes, reduction.DupFd(self._fd)

    def __setstate__(self, state: tuple[int, int, _Handle]) -> None:
        self.places, self._half_bytes, handle = state
        self._open(handle.detach())

    def close(self) -> None:
        """Give the memory back; processes that have it keep it until they end."""
        self._memory.close()
        self._let_go()

    def put(self, place: int, side: Side, thing: object) -> bytes:
        """Put the large parts of `thing` there; returns the message that stands for the whole."""
        message = io.BytesIO()
        start = (2 * place + side) * self._half_bytes
        _Putter(message, self._memory, start, start + self._half_bytes).dump(thing)
        return message.getvalue()

    def take(self, message: bytes) -> Any:
        """The thing a message stands for. What is the same object there is the same object here."""
        return _Taker(io.BytesIO(message), self._memory).load()


class _Putter(pickle.Pickler):
    """Copies large bytes into shared memory as far as there is room; the rest goes with the message."""

    def __init__(self, message: io.BytesIO, memory: mmap.mmap, start: int, end: int) -> None:
        super().__init__(message, pickle.HIGHEST_PROTOCOL)
        self._memory = memory
        self._free, self._end = start, end
        self._put: dict[int, tuple[tuple[int, int], bytes]] = {}  # the bytes too, or an id might come again

    def persistent_id(self, thing: Any) -> tuple[int, int] | None:
        if type(thing) is not bytes or len(thing) < WORTH_SHARING:
            return None
        if id(thing) not in self._put:
            if len(thing) > self._end - self._free:
                return None
            self._put[id(thing)] = (self._free, len(thing)), thing
            self._memory[self._free : self._free + len(thing)] = thing
            self._free += len(thing)
        return self._put[id(thing)][0]


class _Taker(pickle.Unpickler):
    def __init__(self, message: io.BytesIO, memory: mmap.mmap) -> None:
        super().__init__(message)
        self._memory = memory
        self._taken: dict[tuple[int, int], bytes] = {}

    def persistent_load(self, span: Any) -> bytes:
        if span not in self._taken:
            start, length = span
            self._taken[span] = self._memory[start : start + length]
        return self._taken[span]


_here: list[SharedPlaces] = []


def take_over(shared: SharedPlaces) -> None:
    """In a new process: note the shared memory that `answer_in_process` works with."""
    _here[:] = [shared]


def answer_in_process(work: Callable[[T], U], place: int, message: bytes) -> bytes:
    """In that process: take the question, do the work, put the answer beside it; returns its message."""
    (shared,) = _here
    return shared.put(place, Side.ANSWER, work(cast("T", shared.take(message))))

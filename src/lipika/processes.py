"""Processes: what one that will run for long tells its interpreter and its allocator, and work spread over several.

Units go in as they are found, outcomes come out as they are ready; on this machine, or on a cluster of Ray's.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

from lipika.errors import UsageError

Unit = TypeVar("Unit")
Outcome = TypeVar("Outcome")

_WAITING_PER_JOB = 2  # units handed out ahead: enough to keep a process busy, few enough to stop soon


async def spread(
    work: Callable[[Unit], Outcome], units: AsyncIterator[Unit], jobs: int
) -> AsyncGenerator[Outcome, None]:
    """Outcomes in the order in which they come; with one job that is the order of the units.

    `work` is a function of a module, and units and outcomes can be pickled; with one job it runs in a thread. When
    the caller closes the generator, units under way are finished and the rest is dropped; what `work` raises stops
    everything.

    Raises:
        UsageError: a process was killed, most likely for want of memory.
    """
    pool: Executor = ThreadPoolExecutor(1, thread_name_prefix="unit") if jobs == 1 else executor(jobs)
    loop = asyncio.get_running_loop()
    pending: list[asyncio.Future[Outcome]] = []
    try:
        async for unit in units:
            pending.append(loop.run_in_executor(pool, work, unit))
            pending[-1].add_done_callback(_look_at)
            while len(pending) >= _WAITING_PER_JOB * jobs:
                for future in await _take_done(pending):
                    yield future.result()
        while pending:
            for future in await _take_done(pending):
                yield future.result()
    except BrokenExecutor as error:
        raise UsageError(
            f"a process was killed ({error}): is memory short? Try --jobs {jobs // 2 or 1}"
        ) from error
    finally:
        for future in pending:
            future.cancel()
        await asyncio.shield(asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True))


def _look_at(future: asyncio.Future[Any]) -> None:
    """Of several that fail only the first is raised; the loop would complain of the others."""
    if not future.cancelled():
        future.exception()


async def _take_done(pending: list[asyncio.Future[Outcome]]) -> list[asyncio.Future[Outcome]]:
    """Wait for one at least; those that are done, in the order in which they were begun, and no longer pending."""
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    taken = [future for future in pending if future in done]
    pending[:] = [future for future in pending if future not in done]
    return taken


async def spread_on_ray(
    work: Callable[[Unit], Outcome], units: AsyncIterator[Unit], actors: int, address: str = ""
) -> AsyncGenerator[Outcome, None]:
    """The same as tasks of Ray's, so many at a time. `address` is a running cluster's; "" starts Ray here.

    Raises:
        UsageError: ray is not installed.
        What `work` raises; tasks of machines that are lost are done again.
    """
    ray = await asyncio.to_thread(open_ray, address, actors, "--engine ray")
    remote = ray.remote(num_cpus=1, max_retries=3)(work)
    pending: list[Any] = []

    async def next_done() -> Outcome:
        done, pending[:] = await asyncio.to_thread(ray.wait, pending, num_returns=1)
        try:
            outcome: Outcome = await asyncio.to_thread(ray.get, done[0])
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        return outcome

    try:
        async for unit in units:
            pending.append(remote.remote(unit))
            while len(pending) >= _WAITING_PER_JOB * actors:
                yield await next_done()
        while pending:
            yield await next_done()
    finally:
        await asyncio.to_thread(ray.shutdown)


def open_ray(address: str, cpus: int, what: str) -> Any:
    """Ray, connected to a cluster; with "" as its address Ray is started here, on loopback only.

    Raises:
        UsageError: ray is not installed; `what` takes it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError(f"{what} takes Ray: pip install 'lipika-speech[ray]'") from None
    if address:
        ray.init(address=address, log_to_driver=False)
        return ray
    ray.init(
        address="local",
        num_cpus=max(os.cpu_count() or 1, cpus),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    return ray


async def group_items(items: AsyncIterator[Unit], size: int) -> AsyncIterator[list[Unit]]:
    """The items in lists of `size`, the last one shorter."""
    group: list[Unit] = []
    async for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def executor(jobs: int, prepare: Callable[[], object] | None = None) -> Executor:
    """So many processes, each started when there is work for it. They end with their parent, however it ends.

    `prepare` is called first in each of them.
    """
    # Not forked: event loops and the threads of the store do not survive that.
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=spawned, initializer=_begin, initargs=(prepare,))


def _begin(prepare: Callable[[], object] | None) -> None:
    """In a new process: Ctrl-C is the parent's business, and without the parent there is nobody to work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle_in()
    if prepare is not None:
        prepare()
    end_with_parent()


def end_with_parent() -> None:
    """In a process that `multiprocessing` started: end when its parent does, even when that is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


# ----------------------------------------------------------------------------- one process

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 64 << 20  # at the top of a heap, rather than given back
_FROM_HEAP_BYTES = 16 << 20  # such as a range of an archive; what is larger goes back to the system
_YOUNG_OBJECTS = 10_000  # before they are looked through for cycles


def settle_in() -> None:
    """Call when everything has been imported.

    What start-up made stays: looking through its hundred thousand objects for garbage costs 60 ms each time. And
    memory that was freed is kept for the next clip: glibc would give it back and get it again page by page, zeroed,
    which is 100 page faults or 0.3 ms a clip.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc; musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


async def give_memory_back(every_s: float = 10.0) -> None:
    """Again and again, give the system the memory that was freed between what is still in use.

    For a process with thousands of connections that wait: each was made while a request's body was in memory, and
    lies in the place of an earlier one, so that the next body finds none and takes new memory.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)


@contextmanager
def stop_signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `first`, each one after it `second`; both run in the running loop."""
    loop, seen = asyncio.get_running_loop(), 0

    def note_signal() -> None:
        nonlocal seen
        seen += 1
        (first if seen == 1 else second)()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, note_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

"""What a process that will run for long tells its interpreter and its allocator."""

from __future__ import annotations

import ctypes
import gc
import sys

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

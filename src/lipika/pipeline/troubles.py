"""Troubles with single clips and segments: noted where it happens, written beside the work.

One clip's trouble costs no other anything, not even time: whoever meets one leaves a note here, and the worker puts
the notes into `worker_errors` with its live figures.
"""

from __future__ import annotations

import traceback
from collections import Counter, deque
from dataclasses import dataclass

from lipika.log import get_logger, redact
from lipika.models import Mishap

log = get_logger(__name__)

_EACH_VIDEO = 20
"""Notes of one video; what is wrong with thousands of its clips is wrong with all of them in one way."""
_AT_ONCE = 500
"""Notes that wait, while Postgres is away."""


def mishap_of(error: BaseException) -> Mishap:
    text = "".join(traceback.format_exception(error))
    return Mishap(type(error).__name__, redact(str(error)), redact(text))


@dataclass(frozen=True, slots=True)
class Note:
    """A trouble and where it arose. `what` names the clip or segment."""

    video_id: str
    what: str
    trouble: Mishap

    @property
    def message(self) -> str:
        return f"{self.what}: {self.trouble.message}"


class Troubles:
    """Notes on their way to the database. Bounded: of one video only so many are taken, the rest is counted."""

    def __init__(self) -> None:
        self.waiting: deque[Note] = deque(maxlen=_AT_ONCE)
        self._noted: Counter[str] = Counter()

    def note(self, video_id: str, what: str, error: BaseException | Mishap) -> None:
        """Take one; never fails and never waits."""
        trouble = error if isinstance(error, Mishap) else mishap_of(error)
        self._noted[video_id] += 1
        log.error("clip_trouble", video=video_id, what=what, kind=trouble.kind, reason=trouble.message[:500])
        if self._noted[video_id] <= _EACH_VIDEO:
            self.waiting.append(Note(video_id, what, trouble))

    def forget(self, video_id: str) -> None:
        """The video has ended; should it come again, it may be noted anew."""
        self._noted.pop(video_id, None)

"""The exception tree, built around what a caller does next.

    LipikaError
    |-- UsageError              a person must change something          -> exit code 2
    |   `-- SettingsError       ... an environment variable
    |-- SegmentError            skip this segment, record why, go on
    |-- PackingError            skip this recording of a source, record why, go on
    |-- VideoError              give this video up, record why, go on
    |   |-- ArchiveError        ... its tar is damaged or hostile
    |   `-- AccountingError     ... the sums do not add up: never mark it done
    |-- WouldPayAgain           hold this video until a person agrees
    |-- LeaseLost               drop this video silently: somebody else owns it
    |-- Draining                the worker is stopping: hand the video back as it is
    |-- Unavailable             wait and try again
    |   |-- DatabaseUnavailable
    |   |-- StorageUnavailable
    |   |-- DiskFull            ... until somebody makes room
    |   `-- ErasedMeanwhile     ... at once: without what was erased while it was under way
    |-- DatabaseError           the database refused: a defect or a missing migration
    |   `-- RowRefused          ... what one row holds
    |-- StorageError            the store refused
    |   |-- OutputRefused       ... to take a result
    |   `-- ObjectMissing
    `-- WorkerStop              stop this worker (bad key, no credit, too many bad requests)

Every message names the thing, the cause and the way out. Failures of single requests to a model are
values (`models.Failure`), not exceptions: they are expected by the thousand.
"""

from __future__ import annotations


class LipikaError(Exception):
    """Root of everything lipika raises on purpose."""


class UsageError(LipikaError):
    """Something a person has to change; shown without a traceback."""


class SettingsError(UsageError):
    """A setting is missing or wrong; the message names variable, value and what is allowed."""


class SegmentError(LipikaError):
    """One segment cannot be used. `code` is a stable short reason (`bad_name`, `bad_audio`, ...)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PackingError(LipikaError):
    """One recording of a source cannot be packed, or no further. `code` is a short reason (`not_audio`, ...)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class VideoError(LipikaError):
    """One video cannot be finished. `code` is a stable short reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ArchiveError(VideoError):
    """The tar itself is damaged, hostile or empty."""


class AccountingError(VideoError):
    """Segments in and clips out do not add up; the video must not be marked done."""

    def __init__(self, message: str) -> None:
        super().__init__("accounting", message)


class WouldPayAgain(LipikaError):
    """Answers to this video's clips were paid for, and none of them fits how clips are asked now."""


class LeaseLost(LipikaError):
    """Another worker owns the video now; nothing more may be written for it."""


class Draining(LipikaError):
    """The worker is stopping and launches nothing more; what has been answered is kept."""


class Unavailable(LipikaError):
    """A service is away for the moment; nothing is wrong with the request."""


class DatabaseUnavailable(Unavailable):
    """Postgres cannot be reached, or is starting or stopping."""


class StorageUnavailable(Unavailable):
    """The object store cannot be reached or is overloaded."""


class DiskFull(Unavailable):
    """The disk for work in progress has no room; the same write succeeds once there is some."""


class ErasedMeanwhile(Unavailable):
    """Some of a video was erased while it was under way; it starts over, without."""


class DatabaseError(LipikaError):
    """Postgres refused a statement."""


class RowRefused(DatabaseError):
    """Postgres refused a statement for what a row of it holds; with other rows it would have passed."""


class StorageError(LipikaError):
    """The object store refused a request (credentials, bucket, permissions)."""


class OutputRefused(StorageError):
    """The object store refused to take a result: as likely as not it will take no other either."""


class ObjectMissing(StorageError):
    """The named object does not exist."""


class WorkerStop(LipikaError):
    """The worker must stop: going on would only burn money or quota."""

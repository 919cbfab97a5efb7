"""The name and the equipment of this machine, as far as it can be told without asking anybody."""

from __future__ import annotations

import errno
import getpass
import os
import platform
import resource
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping

_ASK_S = 10.0
SPARE_FILES = 256
"""Open files beside one for each request in flight."""
_NAMES = ("VAST_CONTAINERLABEL", "CONTAINER_ID")
"""Where vast.ai puts a container's label and number."""
_REFUSALS = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENXIO, errno.EFBIG),
    *(errno.ENODEV, errno.ETXTBSY, errno.ENOTEMPTY, errno.EXDEV, errno.EADDRINUSE, errno.EADDRNOTAVAIL),
}
"""A person can do something about these."""


def instance_name(given: str, environment: Mapping[str, str] = os.environ) -> str:
    """WORKER_INSTANCE_ID, else the container's label, else the host's name, else a name of our own."""
    names = (given, *(environment.get(name, "") for name in _NAMES), platform.node())
    return next((name for name in names if name), uuid.uuid4().hex[:12])


def user_name() -> str:
    """The name of the user whose process this is; empty where the machine knows none, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def gpu_type() -> str | None:
    """The GPUs as the driver names them, such as `2 x NVIDIA L4`; None where there is no driver or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - the driver's own program
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    kinds = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in kinds.items()) or None


def allow_open_files(wanted: int) -> int:
    """Raise this process's own limit on open files to so many, as far as the system lets it; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless or soft >= wanted:
        return wanted if soft == endless else soft
    raised = wanted if hard == endless else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def exhausted_resource(error: BaseException) -> str | None:
    """The thing that ran out, in words, where an exception comes of this machine's limits and not of ours."""
    return next((told for one in _all_of(error) if (told := _ran_out(one))), None)


def _ran_out(error: BaseException) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EAGAIN or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return (
            f"this user may start no more processes or threads here (ulimit -u: {_limit(resource.RLIMIT_NPROC)}; in a"
            " container, its pids limit). Raise it, end other programs, or set WORKER_PROCESSES=1"
        )
    if code in {errno.EMFILE, errno.ENFILE}:
        return f"no more files can be opened (ulimit -n: {_limit(resource.RLIMIT_NOFILE)}). Raise it"
    if code == errno.ENOMEM or isinstance(error, MemoryError):
        return "there is no memory left. Give it more, or set MAX_BUFFER_MB and WORKER_PROCESSES lower"
    return None


def refused_resource(error: BaseException) -> str | None:
    """The file or address that the system would not give, and why, where an exception says so."""
    if not isinstance(error, OSError) or error.errno not in _REFUSALS:
        return None
    reason = error.strerror or os.strerror(error.errno)
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([" and ".join(named), reason]) if named else reason


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """The exception, those it groups and those it comes of."""
    yield error
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _all_of(inner)
    if error.__cause__ is not None:
        yield from _all_of(error.__cause__)


def _limit(which: int) -> str:
    soft, _hard = resource.getrlimit(which)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"

"""An environment for each client, made once from its pinned requirements and kept in the user's cache folder.

The requirements are whole: the client itself in the first line, then everything it needs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
_NOT_MORE_S = 1800.0


class NoEnvironment(Exception):
    """A client cannot be installed here; says why."""


def interpreter(client: str) -> Path:
    """The Python that has this client; made now if there is none yet. lipika's own is this one.

    Raises:
        NoEnvironment: pip or venv failed.
    """
    requirements = HERE / f"requirements-{client}.txt"
    if not requirements.exists():
        return Path(sys.executable)
    pinned = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = platformdirs.user_cache_path("lipika") / "peers" / f"{client}-{pinned}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--requirement", str(requirements)),
        )
        ready.touch()
    return python


def version(client: str) -> str:
    """Which release is measured: what its requirements pin, or lipika's own."""
    requirements = HERE / f"requirements-{client}.txt"
    if requirements.exists():
        return requirements.read_text().split("==")[1].split()[0]
    from lipika import __version__

    return __version__


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NOT_MORE_S, check=False)
    except subprocess.TimeoutExpired:
        raise NoEnvironment(f"{' '.join(command[1:4])}: not within {_NOT_MORE_S:g} s") from None
    if done.returncode:
        raise NoEnvironment(f"{' '.join(command[1:4])}: {done.stderr.strip()[-400:]}")

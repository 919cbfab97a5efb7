"""Do the locks install whatever else the index has by now? `python scripts/prove_locks.py [PIP ...]`

Without a pip named, the oldest and the newest. A package index is made here that offers a newer release of everything
that is locked. Its packages are empty, but their requirements are the real ones, as they are installed beside this
script (`make test` puts them there). Then the Makefile's own targets set up an environment from it, with each pip:
what is installed must be what is locked and nothing else. Only pip itself and the build back end come from the usual
index.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "deploy/image/build.lock"
# The oldest that a supported Python may bring; it does not run on 3.12.
OLDEST = "22.3.1" if sys.version_info < (3, 12) else "23.2.1"
_NEWER = "99999"
# These want to resolve a lock that is complete, and cannot once there is a newer release.
_RESOLVES_IN_VAIN = {"22.3.1", "23.2.1"}


def main(pips: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="lipika-locks-") as name:
        work = Path(name)
        tools = work / "tools"
        _pip(
            "download",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-d",
            tools,
            "-r",
            ROOT / BUILD,
        )
        locks = _hostile_index(work, tools)
        for pip in pips or [OLDEST, ""]:
            _prove(work / f"pip-{pip or 'newest'}", pip, work / "index", locks)


def _prove(folder: Path, pip: str, index: Path, locks: dict[str, str]) -> None:
    """One environment, by the Makefile, with this pip ("" is the newest)."""
    _sources(folder, locks)
    python = folder / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    _pip("install", "--upgrade", f"pip=={pip}" if pip else "pip", python=python)
    environ = {name: value for name, value in os.environ.items() if not re.match("PIP_|MAKE|MFLAGS", name)}
    environ |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.as_uri(),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    if pip in _RESOLVES_IN_VAIN:
        _must_fail(python, folder / "requirements-dev.lock", environ)
    locked = set(_pins((ROOT / BUILD).read_text("utf-8")))
    for target, lock in ((".runtime", "requirements.lock"), (".dev", "requirements-dev.lock")):
        made = ["make", "--silent", f".venv/{target}", f"PYTHON={sys.executable}"]
        subprocess.run(made, cwd=folder, env=environ, check=True)
        locked |= set(_pins(locks[lock]))
        _compare(_installed(python), locked, lock)
    version = subprocess.run(
        [python, "-m", "pip", "--version"], capture_output=True, text=True, check=True
    ).stdout
    print(
        f"the locks install as they are with pip {version.split()[1]}, though everything has a newer release"
    )


def _must_fail(python: Path, lock: Path, environ: dict[str, str]) -> None:
    """The index is worth something only if resolving fails on it, as it did in the world."""
    resolved: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--dry-run",
        "--require-hashes",
        "-r",
        lock,
    ]
    done = subprocess.run(resolved, env=environ, capture_output=True, text=True, check=False)
    if "versions pinned with ==" not in done.stderr:
        sys.exit(f"the index proves nothing: resolving {lock.name} on it ends with {done.stderr[-400:]!r}")


def _compare(installed: dict[str, str], locked: set[tuple[str, str]], lock: str) -> None:
    if not installed.pop("lipika-speech", None):
        sys.exit("lipika-speech is not installed")
    here = {pin for pin in installed.items() if pin[0] not in {"pip", "setuptools"}}
    if here - locked:
        sys.exit(f"{lock}: installed, and not what is locked: {sorted(here - locked)}")
    missing = {name for name, _ in locked} & _here().keys() - installed.keys()
    if missing:
        sys.exit(f"{lock}: not installed: {sorted(missing)}")


def _installed(python: Path) -> dict[str, str]:
    listed: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    return {_normal(one["name"]): one["version"] for one in json.loads(done.stdout)}


def _sources(folder: Path, locks: dict[str, str]) -> None:
    """What the Makefile's targets read, with locks that know the empty packages' hashes."""
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE", BUILD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("src", "supabase", "samples/tars"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in locks.items():
        (folder / name).write_text(text, "utf-8")


# ----------------------------------------------------------------------------- the index


def _hostile_index(work: Path, tools: Path) -> dict[str, str]:
    """An index of empty packages, each once as locked and once newer; the locks with their hashes."""
    index, real = work / "index", dict(_pins((ROOT / BUILD).read_text("utf-8")))
    files = {_normal(path.name.split("-")[0]): path for path in tools.glob("*.whl")}
    for name, path in files.items():
        (index / name).mkdir(parents=True)
        shutil.copy(path, index / name)
    digests: dict[tuple[str, str], str] = {}
    for name, distribution in _here().items():
        (index / name).mkdir(parents=True, exist_ok=True)
        if name not in real:
            digests[name, distribution.version] = _empty_wheel(
                index / name, distribution, distribution.version
            )
        _empty_wheel(index / name, distribution, _NEWER)
    for name in real.keys() - _here().keys():
        (index / name / f"{name.replace('-', '_')}-{_NEWER}-py3-none-any.whl").write_bytes(
            b"never to be opened"
        )
    for folder in index.iterdir():
        links = (f'<a href="{path.name}">{path.name}</a>' for path in folder.iterdir())
        (folder / "index.html").write_text("\n".join(links), "utf-8")
    texts = {
        name: (ROOT / name).read_text("utf-8") for name in ("requirements.lock", "requirements-dev.lock")
    }
    return {name: _with_hashes(text, digests) for name, text in texts.items()}


def _with_hashes(text: str, digests: dict[tuple[str, str], str]) -> str:
    blocks = []
    for block in re.split(r"\n(?=\S)", text.strip()):
        digest = digests.get(_pin(block))
        first = block.split("\\\n")[0]
        blocks.append(f"{first}\\\n    --hash=sha256:{digest}" if digest else block)
    return "\n".join(blocks) + "\n"


def _empty_wheel(folder: Path, like: Distribution, version: str) -> str:
    """A wheel of nothing but this distribution's requirements; its SHA-256."""
    stem = f"{_normal(like.name).replace('-', '_')}-{version}"
    lines = [f"Metadata-Version: 2.1\nName: {like.name}\nVersion: {version}"]
    lines += [
        f"{key}: {value}"
        for key in ("Requires-Dist", "Provides-Extra")
        for value in like.metadata.get_all(key) or ()
    ]
    parts = {
        f"{stem}.dist-info/METADATA": "\n".join(lines) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_record_digest(text)},{len(text.encode())}" for name, text in parts.items()]
    parts[f"{stem}.dist-info/RECORD"] = "\n".join([*record, f"{stem}.dist-info/RECORD,,", ""])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _here() -> dict[str, Distribution]:
    """What is installed beside this script and locked: name to distribution, the first on the path."""
    locked = set(_pins((ROOT / "requirements-dev.lock").read_text("utf-8")))
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        if (_normal(distribution.name), distribution.version) in locked:
            found.setdefault(_normal(distribution.name), distribution)
    return found


def _pins(text: str) -> list[tuple[str, str]]:
    return [_pin(block) for block in re.split(r"\n(?=\S)", text.strip())]


def _pin(block: str) -> tuple[str, str]:
    name, _, version = block.split(maxsplit=1)[0].partition("==")
    return _normal(name), version


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(*words: str | Path, python: str | Path = sys.executable) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip {words[0]}: {done.stderr.strip()[-600:]}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""What every benchmark needs around it: a corpus, a simulator behind TLS, a database, child processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import TypeAdapter, ValidationError

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.demo import sample_folder
from lipika.simulator import FaultPlan, FlexQueue, Handle, Latency, SimulatorConfig, spawn

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

EIGHT_SECONDS = (7.4, 8.0)
"""Segments of 7.7 s in the mean: with their pads the clips are 8 s long."""

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Setting:
    """A simulator and an empty, migrated database; `folder` is for whatever else is needed."""

    folder: Path
    simulator: Handle
    database_url: str
    environment: Mapping[str, str]  # for a child process: reaches both, reads nothing of ours

    def child_environment(self, **more: object) -> dict[str, str]:
        return {**self.environment, **{name: str(value) for name, value in more.items()}}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone at the end. Open to all: as root, Postgres runs as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="lipika-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def setting(
    folder: Path,
    *,
    latency_s: float,
    tls: bool = True,
    flex: FlexQueue | None = None,
    faults: FaultPlan | None = None,
) -> AsyncIterator[Setting]:
    """Simulator (light profile) and embedded Postgres as processes of their own, gone at the end."""
    cert, key = certificate(folder)
    config = SimulatorConfig(
        light=True,
        latency=Latency(latency_s),
        flex=flex or FlexQueue(),
        faults=faults or FaultPlan(),
        tls_cert=cert if tls else None,
        tls_key=key if tls else None,
    )
    async with spawn(config) as simulator, EmbeddedPostgres(folder / "postgres") as server:
        url = await fresh_database(server.url, "benchmark")
        async with Database(url) as database:
            await migrate(database)
        environment = {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "src"), str(REPOSITORY))),
            "SSL_CERT_FILE": str(cert),
            "DATABASE_URL": url,
            "GEMINI_BASE_URL": simulator.url,
            "GEMINI_API_KEY": "a-key-of-the-benchmark",
            "WORKER_BATCH_SIZE": "100000",  # 1,667 launches a second: the pace is not what binds
            "MAX_IN_FLIGHT": "8000",
        }
        yield Setting(folder, simulator, url, environment)


def corpus(folder: Path, videos: int, segments: int) -> list[Path]:
    """Tars of 8-second segments, every clip a different one."""
    plan = CorpusPlan(videos=videos, segments=segments, seconds=EIGHT_SECONDS)
    return make_corpus(folder, plan, sample_folder())


async def in_child(
    module: str,
    *arguments: object,
    environment: Mapping[str, str],
    folder: Path,
    python: str = sys.executable,
) -> bytes:
    """Run `python -m module arguments` and return what it printed; it must end well."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        module,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd=folder,
    )
    try:
        printed, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}; what it said is above")
    return printed


# ----------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when figures were measured. `load` is the load average over a minute, before and after."""

    when: str
    cpu: str
    cores: int
    system: str
    python: str
    load: tuple[float, float]


def machine(load_before: float) -> Machine:
    return Machine(
        when=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        load=(round(load_before, 2), round(os.getloadavg()[0], 2)),
    )


def save(name: str, result: object) -> Path:
    """Write a result as JSON where `report` finds it."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


class Outdated(Exception):
    """A result was made by another version of its benchmark."""


def read(name: str, kind: type[T]) -> T | None:
    """A result, if it is there.

    Raises:
        Outdated: it does not have the form that its benchmark gives it today.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        raise Outdated(
            f"{path.name} is from another version ({error.errors()[0]['msg']}): measure it anew"
        ) from None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lipika benchmark")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file

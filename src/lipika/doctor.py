"""Is everything in place? Checks that cost nothing, before anything is spent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lipika import prompt
from lipika.app import open_database, store_settings
from lipika.capabilities import cache_note, load_capabilities
from lipika.config import Settings, load_settings, require_key
from lipika.db.migrate import check
from lipika.errors import LipikaError
from lipika.providers.base import text_tokens
from lipika.storage import Store

_FREE_GB = 5
_PROBE = "lipika-doctor-probe"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check. `message` says what was found, and the way out where it is not ok."""

    name: str
    ok: bool
    message: str


async def examine(data_dir: Path | None = None) -> list[Diagnosis]:
    """All checks, in the order in which they matter. None of them raises."""
    try:
        settings = load_settings(lipika_data_dir=data_dir)
    except LipikaError as error:
        return [Diagnosis("settings", False, str(error))]
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("database", _database),
        ("key and model", _model),
        ("spool disk", _disk),
    ]
    if settings.store_url:
        checks.append(("STORE_URL", lambda settings: _readable(settings, settings.store_url)))
    if settings.output_url:
        checks.append(("OUTPUT_URL", lambda settings: _writable(settings, settings.output_url)))
    return [Diagnosis("settings", True, "valid")] + [
        await _checked(name, work, settings) for name, work in checks
    ]


async def _checked(name: str, work: Callable[[Settings], Awaitable[str]], settings: Settings) -> Diagnosis:
    try:
        return Diagnosis(name, True, await work(settings))
    except (LipikaError, OSError, aiohttp.ClientError, TimeoutError) as error:
        return Diagnosis(name, False, str(error) or type(error).__name__)


async def _database(settings: Settings) -> str:
    async with open_database(settings) as database:
        report = await check(database)
    problems = report.problems()
    if problems:
        raise LipikaError(" ".join(problems))
    kind = "DATABASE_URL" if settings.database_url else "embedded"
    return f"{kind}, Postgres {report.server_version}, {len(report.applied)} migrations applied"


async def _model(settings: Settings) -> str:
    """A free call: the model's own description."""
    key = require_key(settings)
    model = load_capabilities(settings.model_id, settings.models_file)
    priced = (
        "" if model.known else "; its price is unknown here, the dearest known one is assumed (MODELS_FILE)"
    )
    note = cache_note(model, text_tokens(prompt.system_prompt("hi")))
    priced += f"; {note}" if note else ""
    if settings.provider != "aistudio":
        return f"{settings.provider}: nothing to check{priced}"
    url = f"{settings.gemini_base_url}/{settings.gemini_api_version}/models/{settings.model_id}"
    timeout = aiohttp.ClientTimeout(total=15)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, headers={"x-goog-api-key": key}, allow_redirects=False) as reply,
    ):
        if reply.status != 200:
            raise LipikaError(
                f"HTTP {reply.status} for model {settings.model_id} at {settings.gemini_base_url}:"
                " check GEMINI_API_KEY, MODEL_ID and GEMINI_BASE_URL"
            )
    return f"the key is accepted and {settings.model_id} is served{priced}"


async def _readable(settings: Settings, url: str) -> str:
    store = Store.open(url, store_settings(settings))
    async for _entry in store.list():
        return f"{url} can be listed"
    return f"{url} can be listed; it is empty"


async def _writable(settings: Settings, url: str) -> str:
    store = Store.open(url, store_settings(settings), create=True)
    await store.put_bytes(_PROBE, b"probe")
    if await store.get_bytes(_PROBE) != b"probe":
        raise LipikaError(f"{url}: what was written does not read back the same")
    await store.delete(_PROBE)
    return f"{url} can be written, read and deleted"


async def _disk(settings: Settings) -> str:
    folder = settings.spool_dir or Path(tempfile.gettempdir())
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < _FREE_GB:
        raise LipikaError(
            f"{folder}: {free_gb:.1f} GB free; {_FREE_GB} are wanted. Set SPOOL_DIR to a larger disk"
        )
    return f"{folder}: {free_gb:.0f} GB free"

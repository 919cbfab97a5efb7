"""Checks that everything is in place; they cost nothing, and are made before anything is spent."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import aiohttp

from lipika.config import Settings, load_settings, require_key
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.migrate import check, migrate
from lipika.errors import LipikaError
from lipika.forecast.limits import ALL, ALL_LIMITS, LIMITS
from lipika.jobs.wiring import at_step, check_cascade
from lipika.languages import LANGUAGES
from lipika.llm import prompt
from lipika.llm.capabilities import cache_note, load_capabilities
from lipika.llm.own_prompt import load_own_prompt
from lipika.llm.probes import Served, probe
from lipika.llm.provider import text_tokens
from lipika.machine import SPARE_FILES, gpu_type
from lipika.models import AnswerForm
from lipika.services import connect_database, store_settings
from lipika.storage import Store
from lipika.wording import duration, latency, money

_FREE_GB = 5
_MEMORY_FLOOR_MB = 512  # of a worker beyond its buffers: interpreter, libraries, what is being polished
_RETIRES_SOON_DAYS = 30
_LOW_CREDIT_USD = 5.0
_OWN_TOKENS_WARN = 400  # as many as the built-in prompt has: the text of each clip doubles
_CLOCK_WARN_S, _CLOCK_FAIL_S = 5.0, 300.0
"""Signatures of S3 requests are refused from 15 minutes on; leases are told apart by seconds."""
_PROBE = "lipika-doctor-probe"


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check: what was found, and what to do about it (empty where nothing is to be done)."""

    name: str
    level: Level
    message: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    message: str
    level: Level = Level.OK
    way_out: str = ""


@dataclass(slots=True)
class _Visit:
    """Things that the checks share: settings, and how far our clock is ahead of others'."""

    settings: Settings
    clocks: dict[str, float] = field(default_factory=dict)


_Check = Callable[[_Visit], Awaitable[_Found]]


async def examine(
    data_dir: Path | None = None, provider: str | None = None, *, gpu: bool = False
) -> list[Diagnosis]:
    """All checks, in the order in which they matter; `gpu` asks for one. None of them raises."""
    try:
        settings = load_settings(lipika_data_dir=data_dir, provider=provider)
    except LipikaError as error:
        return [Diagnosis("settings", Level.FAIL, str(error), "correct the variable, here or in .env")]
    visit = _Visit(settings)
    found = [Diagnosis("settings", Level.OK, "valid")]
    for name, work, way_out in _checks(settings, gpu=gpu or settings.enable_gpu_validation):
        found.append(await _run_check(name, work, visit, way_out))
    return found


def _checks(settings: Settings, *, gpu: bool) -> list[tuple[str, _Check, str]]:
    """(name, check, the way out where the check itself knows none)."""
    checks: list[tuple[str, _Check, str]] = [
        ("database", _database, "DATABASE_URL must reach Postgres 15 or newer; empty starts an embedded one"),
        ("budget", _budget, "see `lipika budget show`"),
        ("model", _model, "correct MODEL_ID or MODELS_FILE"),
        ("prompt", _prompt, "correct PROMPT_FILE (docs/providers.md)"),
        ("key", _primary, "correct the setting that is named"),
        ("second provider", _secondary, "correct the setting that is named, or take its key out"),
    ]
    if settings.store_url:
        checks.append(("STORE_URL", _readable, "correct STORE_URL, or the rights of its key"))
    if settings.output_url:
        checks.append(("OUTPUT_URL", _writable, "the key needs the rights to write, read and delete"))
    checks += [
        ("clock", _clock, "set the clock by NTP"),
        ("disk", _disk, "set SPOOL_DIR to a larger disk"),
        ("memory", _memory, "lower MAX_BUFFER_MB"),
        ("open files", _open_files, "raise the limit: ulimit -n"),
    ]
    if gpu:
        checks.append(("GPU", _gpu, "install the driver, or set ENABLE_GPU_VALIDATION=false"))
    return checks


async def _run_check(name: str, work: _Check, visit: _Visit, way_out: str) -> Diagnosis:
    try:
        found = await work(visit)
    except (LipikaError, OSError, aiohttp.ClientError, TimeoutError) as error:
        return Diagnosis(name, Level.FAIL, str(error) or type(error).__name__, way_out)
    return Diagnosis(name, found.level, found.message, found.way_out)


# ----------------------------------------------------------------------------- database and budget


async def _database(visit: _Visit) -> _Found:
    settings = visit.settings
    async with connect_database(settings) as database:
        if settings.database_url is None:
            await migrate(database)
        report = await check(database)
        trip_s = await _round_trip(visit, database)
    problems = report.problems()
    if problems:
        return _Found(" ".join(problems), Level.FAIL, "run `lipika db migrate` as the owner of the database")
    kind = "DATABASE_URL" if settings.database_url else "embedded"
    message = (
        f"{kind}, Postgres {report.server_version}, {len(report.applied)} migrations applied,"
        f" {latency(trip_s * 1000)} a round trip"
    )
    if trip_s > 1.0:
        return _Found(message, Level.WARN, "workers ask it every few seconds: choose one in the same region")
    return _Found(message)


async def _round_trip(visit: _Visit, database: Database) -> float:
    """Seconds of one small query; notes the server's clock at its middle."""
    started, before = time.perf_counter(), time.time()
    async with database.connection() as connection:
        cursor = await connection.execute("select extract(epoch from clock_timestamp())::float8")
        row = await cursor.fetchone()
    trip_s = time.perf_counter() - started
    if row is not None and visit.settings.database_url is not None:
        visit.clocks["the database"] = before + trip_s / 2 - row[0]
    return trip_s


async def _budget(visit: _Visit) -> _Found:
    provider = visit.settings.provider
    async with connect_database(visit.settings) as database:
        rows = [row for row in await Budgets(database).show() if row.provider in (provider, ALL)]
    for row in rows:
        if row.paused:
            whose = "every provider" if row.provider == ALL else provider
            return _Found(
                f"{whose} is paused: {row.pause_reason}", Level.WARN, f"lipika budget resume {row.provider}"
            )
    caps = [
        f"{money(cap)} {limit.span}"
        for row in rows
        for limit in (ALL_LIMITS if row.provider == ALL else LIMITS)
        if limit.cap and (cap := getattr(row, limit.column)) is not None
    ]
    if provider != "simulator" and not caps:
        return _Found(
            f"no dollar cap is set for {provider}: nothing but its own limits ends spending",
            Level.WARN,
            f"lipika budget set {provider} --usd-total 50",
        )
    return _Found(", ".join(caps) or "the simulator costs nothing")


# ----------------------------------------------------------------------------- model, keys


async def _model(visit: _Visit) -> _Found:
    """Facts about the model that are known without asking anybody; of a cascade, the first that is doubtful."""
    if not visit.settings.cascade:
        return _judge_model(visit.settings)
    check_cascade(visit.settings)
    found = [_judge_model(at_step(visit.settings, step)) for step in range(len(visit.settings.models))]
    doubtful = next((one for one in found if one.level is not Level.OK), None)
    return doubtful or _Found("a cascade: " + "; then ".join(one.message for one in found))


def _judge_model(settings: Settings) -> _Found:
    model = load_capabilities(settings.model_id, settings.models_file)
    if not model.known:
        return _Found(
            f"the price of {settings.model_id} is unknown here: the dearest known one is assumed",
            Level.WARN,
            "give its prices in MODELS_FILE (docs/providers.md)",
        )
    notes = [f"{settings.model_id} is known"]
    if settings.thinking_level not in model.thinking_levels:
        allowed = ", ".join(model.thinking_levels) or "none"
        return _Found(
            f"{settings.model_id} does not take THINKING_LEVEL={settings.thinking_level}: its own default is used",
            Level.WARN,
            f"THINKING_LEVEL is one of: {allowed}",
        )
    if settings.temperature is not None and not model.temperature:
        notes.append("it takes no temperature, none is sent")
    if (
        model.retires_on is not None
        and (model.retires_on - datetime.now(UTC).date()).days <= _RETIRES_SOON_DAYS
    ):
        instead = f"; its successor is {model.successor}" if model.successor else ""
        return _Found(
            f"{settings.model_id} may be gone from {model.retires_on} on, and be answered by another{instead}",
            Level.WARN,
            "plan for another MODEL_ID (lipika models lists them), with a canary of its own",
        )
    note = cache_note(model, text_tokens(_system_prompt(settings, "hi")))
    return _Found("; ".join([*notes, note] if note else notes))


async def _prompt(visit: _Visit) -> _Found:
    """The prompt with a person's own part, and what it weighs: it is paid for with every clip."""
    settings = visit.settings
    own, form = load_own_prompt(settings.prompt_file), AnswerForm(settings.answer)
    ours = text_tokens(prompt.system_prompt("hi", form))
    if not own:
        return _Found(
            f"version {prompt.prompt_version(form)}, about {ours:,} tokens; none of your own (PROMPT_FILE)"
        )
    sizes = {code: text_tokens(own.text(code)) for code in LANGUAGES}
    largest = max(sizes, key=lambda code: sizes[code])
    versions = {code: prompt.prompt_version(form, own=own, language=code) for code in LANGUAGES}
    told = (
        f"version {versions[largest]} for {largest}, {len(set(versions.values()))} in all: about {ours:,} tokens and"
        f" up to {sizes[largest]:,} of {settings.prompt_file}"
    )
    if sizes[largest] > _OWN_TOKENS_WARN:
        return _Found(told, Level.WARN, "it is paid for with every clip: keep the names that matter")
    return _Found(told)


def _system_prompt(settings: Settings, language: str) -> str:
    own = load_own_prompt(settings.prompt_file)
    return prompt.system_prompt(language, AnswerForm(settings.answer), own)


async def _primary(visit: _Visit) -> _Found:
    if visit.settings.provider == "simulator":
        return _Found("simulator: no key is needed")
    require_key(visit.settings)
    return _found_of_provider(visit, await probe(visit.settings, visit.settings.provider))


async def _secondary(visit: _Visit) -> _Found:
    settings = visit.settings
    if settings.provider == "simulator":
        return _Found("none is needed with the simulator")
    name = settings.other_provider
    if settings.key_of(name) is None:
        return _Found(f"{name} has no key: while the quota of {settings.provider} is gone, work waits")
    return _found_of_provider(visit, await probe(settings, name))


def _found_of_provider(visit: _Visit, served: Served) -> _Found:
    """A provider's word as a finding."""
    if served.clock_ahead_s is not None:
        visit.clocks[served.provider] = served.clock_ahead_s
    message = f"{served.provider} accepts the key and serves {served.model}"
    if served.credit_left_usd is not None:
        message += f"; {money(served.credit_left_usd)} of credit left"
        if served.credit_left_usd < _LOW_CREDIT_USD:
            level = Level.FAIL if served.credit_left_usd <= 0 else Level.WARN
            return _Found(message, level, "add credit, or raise the key's limit")
    if served.retires_at is None:
        return _Found(message + (f" (stage {served.stage})" if served.stage else ""))
    days = (served.retires_at - datetime.now(UTC)).total_seconds() / 86_400
    message += f"; it retires on {served.retires_at:%Y-%m-%d}"
    if days > _RETIRES_SOON_DAYS:
        return _Found(message)
    what = "requests may be answered by another model at another price" if days <= 0 else "plan the change"
    return _Found(message, Level.FAIL if days <= 0 else Level.WARN, f"set MODEL_ID to its successor: {what}")


# ----------------------------------------------------------------------------- stores


async def _readable(visit: _Visit) -> _Found:
    url = visit.settings.store_url
    store = Store.open(url, store_settings(visit.settings))
    async for entry in store.list():
        await store.head(entry.key)
        return _Found(f"{url} can be listed and read")
    return _Found(f"{url} is empty", Level.WARN, "put archives there, or correct STORE_URL")


async def _writable(visit: _Visit) -> _Found:
    url = visit.settings.output_url
    store = Store.open(url, store_settings(visit.settings), create=True)
    await store.put_bytes(_PROBE, b"probe")
    if await store.get_bytes(_PROBE) != b"probe":
        raise LipikaError(f"{url}: what was written does not read back the same")
    await store.delete(_PROBE)
    return _Found(f"{url} can be written, read and deleted")


# ----------------------------------------------------------------------------- this machine


async def _clock(visit: _Visit) -> _Found:
    if not visit.clocks:
        return _Found("nobody to compare it with")
    worst = max(visit.clocks, key=lambda name: abs(visit.clocks[name]))
    offset = visit.clocks[worst]
    direction = "ahead of" if offset > 0 else "behind"
    message = f"{duration(abs(offset))} {direction} {worst}, of {', '.join(visit.clocks)}"
    if abs(offset) < _CLOCK_WARN_S:
        return _Found(message)
    return _Found(message, Level.WARN if abs(offset) < _CLOCK_FAIL_S else Level.FAIL, "set the clock by NTP")


async def _disk(visit: _Visit) -> _Found:
    folder = visit.settings.spool_dir or Path(tempfile.gettempdir())
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < _FREE_GB:
        return _Found(
            f"{folder}: {free_gb:.1f} GB free, {_FREE_GB} are wanted",
            Level.FAIL,
            "set SPOOL_DIR to a larger disk",
        )
    return _Found(f"{folder}: {free_gb:.0f} GB free")


async def _memory(visit: _Visit) -> _Found:
    wanted_mb = 2 * visit.settings.max_buffer_mb + _MEMORY_FLOOR_MB
    there_mb = memory_mb()
    message = f"{there_mb:,.0f} MB, of which a worker wants up to {wanted_mb:,}"
    if there_mb < wanted_mb:
        return _Found(message, Level.WARN, "lower MAX_BUFFER_MB, or take a machine with more memory")
    return _Found(message)


def memory_mb(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> float:
    """This machine's memory, or the container's limit where that is less; MiB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = cgroup.read_text("ascii").strip()
    except OSError:
        limit = "max"
    return min(total, int(limit) if limit.isdecimal() else total) / 2**20


async def _open_files(visit: _Visit) -> _Found:
    """Each request in flight has a connection of its own. A worker raises its soft limit by itself."""
    wanted = visit.settings.max_in_flight + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, hard) if resource.RLIM_INFINITY not in (soft, hard) else wanted
    message = f"{most:,} may be open, {wanted:,} are wanted for MAX_IN_FLIGHT={visit.settings.max_in_flight}"
    if most < wanted:
        return _Found(
            message, Level.WARN, f"raise the hard limit (ulimit -Hn {wanted}), or lower MAX_IN_FLIGHT"
        )
    return _Found(message)


async def _gpu(_visit: _Visit) -> _Found:
    found = gpu_type()
    if found is None:
        raise LipikaError("a GPU is asked for, and no driver answers")
    return _Found(found)

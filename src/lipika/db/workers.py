"""The registry of workers: one row per process life, alive as long as its heartbeat is fresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load
from lipika.errors import WorkerStop
from lipika.meters import Sums

_QUERIES = load("workers")
FRESH_SECONDS = 30.0  # a heartbeat older than this counts as none: three of the default ones missed


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The identity of a worker. `worker_id` is new for every process life."""

    worker_id: str
    instance_id: str
    provider: str
    gpu_type: str | None
    config: Mapping[str, str | int | float | bool | None]  # versions and settings; no secrets


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """The content of a heartbeat: totals of this process life, and the work at hand."""

    provider: str  # the one in use at the moment
    current_video_id: str | None = None
    segments_remaining: int | None = None
    segments_sent: int = 0
    segments_completed: int = 0
    segments_failed: int = 0
    segments_429: int = 0
    cache_hits: int = 0
    batches_completed: int = 0
    avg_batch_latency_ms: float | None = None
    spend_usd: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # attempts, by kind
    alignment: Mapping[str, str | int | float | None] | None = (
        None  # how listening a second time goes, where it runs
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live workers of one provider, this one included, and what they do together."""

    registered: bool
    drain: bool  # somebody wants this worker to stop
    workers: int
    active_rpm: int
    active_tpm: int
    requests_in_flight: int


@dataclass(frozen=True, slots=True)
class OtherWay:
    """A model and a trimmer of other workers of this queue."""

    model_id: str
    trimmer_version: str | None
    workers: int
    live: bool  # one of them works at this moment; else their answers are in the corpus


_NOTHING = Sums()


@dataclass(frozen=True, slots=True)
class _Ours:
    ours: bool


class Workers:
    """`workers` and `worker_errors`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, info: WorkerInfo) -> None:
        """Enter a worker as online. May be repeated.

        Raises:
            WorkerStop: another process has entered itself under this id.
        """
        params = {
            "worker_id": info.worker_id,
            "key": self._database.key,
            "instance_id": info.instance_id,
            "provider": info.provider,
            "gpu_type": info.gpu_type,
            "config_json": to_json(info.config),
        }
        if not (await self._database.row(_QUERIES["register"], params, _Ours)).ours:
            raise WorkerStop(f"worker {info.worker_id} is another process already")

    async def other_ways(
        self, worker_id: str, *, within_seconds: float = FRESH_SECONDS
    ) -> Sequence[OtherWay]:
        """Models and trimmers of the other workers, those that are live first."""
        params = {"worker_id": worker_id, "within_seconds": within_seconds}
        return await self._database.rows(_QUERIES["other_ways"], params, OtherWay)

    async def heartbeat(self, worker_id: str, stats: WorkerStats) -> None:
        """Say that the worker lives.

        Raises:
            WorkerStop: its row is gone or was set offline: somebody has given the worker up.
        """
        params = {**self._speaking(worker_id), "told": to_json(asdict(stats))}
        if not (await self._database.row(_QUERIES["heartbeat"], params, _Ours)).ours:
            raise _no_longer_online(worker_id)

    async def live(
        self,
        worker_id: str,
        *,
        active_rpm: int,
        active_tpm: int,
        requests_in_flight: int,
        limited_by: str | None = None,
        minute: Sums = _NOTHING,
        draining: bool = False,
        within_seconds: float = FRESH_SECONDS,
    ) -> Fleet:
        """Say what the worker did in the last `minute`; returns what all live workers of its provider do.

        Raises:
            WorkerStop: as for `heartbeat`.
        """
        told = {
            "active_rpm": active_rpm,
            "active_tpm": active_tpm,
            "requests_in_flight": requests_in_flight,
            "limited_by": limited_by,
            "draining": draining,
            "usd": minute.usd,
            "clips": minute.clips,
            "prompt_tokens": minute.prompt_tokens,
            "cached_tokens": minute.cached_tokens,
            "failures": minute.failures,
            "latency_counts": list(minute.latency_counts),
            "rate_limited": minute.rate_limited,
            "errors": minute.errors,
        }
        params = {
            **self._speaking(worker_id),
            "told": to_json(told),
            "within_seconds": within_seconds,
        }
        fleet = await self._database.row(_QUERIES["live"], params, Fleet)
        if not fleet.registered:
            raise _no_longer_online(worker_id)
        return fleet

    async def offline(self, worker_id: str, *, failed: bool = False) -> None:
        """The worker ends, by itself or because of an error."""
        status = "error" if failed else "offline"
        await self._database.execute(_QUERIES["offline"], {**self._speaking(worker_id), "status": status})

    async def drain(self, worker_ids: Sequence[str] | None = None) -> int:
        """Ask workers (None: all online ones) to finish what is in flight and end; returns how many were asked."""
        ids = None if worker_ids is None else list(worker_ids)
        return await self._database.execute(_QUERIES["drain"], {"worker_ids": ids})

    async def record_error(
        self,
        worker_id: str,
        video_id: str | None,
        exception_type: str,
        message: str,
        traceback: str,
        *,
        again: bool = False,
    ) -> None:
        """Keep an exception. Texts must have had their secrets removed. `again`: this may have been kept already, and
        the answer was lost; then it is kept once.
        """
        params = {
            **self._speaking(worker_id),
            "video_id": video_id,
            "exception_type": exception_type,
            "message": clean_text(message),
            "traceback": clean_text(traceback),
            "summary": clean_text(f"{exception_type}: {message}")[:1000],
            "again": again,
        }
        await self._database.execute(_QUERIES["record_error"], params)

    def _speaking(self, worker_id: str) -> dict[str, object]:
        return {"worker_id": worker_id, "key": self._database.key}


def _no_longer_online(worker_id: str) -> WorkerStop:
    return WorkerStop(f"worker {worker_id} is no longer registered as online")

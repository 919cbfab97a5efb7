"""A fleet that is killed all the time: is everything done, once, by its owner, and nothing paid for twice?

    python -m benchmarks.chaos                 # 6 workers, 60 videos, 40 blows
    python -m benchmarks.chaos --seed 7        # the same blows again

Real worker processes on a real Postgres and the simulator over HTTP. Every few seconds a random worker gets SIGKILL,
SIGTERM, or SIGSTOP until its lease has run out and then SIGCONT; whoever ends is replaced. Meanwhile Postgres's clock
jumps over all leases, and archives are written again while they are read; audio is clipped and answers are doubted.
Videos are added for as long as blows are still to come, so that each falls while there is work. Afterwards request
log, tables and result archives are held against each other; exit code 1 where they do not fit, or no blow fell.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import math
import os
import random
import signal
import sys
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import orjson
import psycopg
from psycopg.rows import namedtuple_row

from benchmarks.setting import machine, save, scratch_folder
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.archive import documents
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queue import Queue
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.demo import sample_folder
from lipika.models import ClipResult, NewVideo
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Handle, Latency, SimulatorConfig, spawn

FLUSH_S = 5.0
"""An answer is durable this long after its arrival."""
_SLACK_S = 1.5  # of a busy machine, and between the simulator's clock and the arrival
_ANSWERED = ("answer", "straggler", "tag_mismatch")
_DOUBTFUL = (*_ANSWERED, "malformed")  # what may be followed by the one varied question
_BLOWS = ("kill", "term", "stop")
_FAULTS = FaultPlan(
    (
        FaultRule(FaultKind.RATE_MINUTE, probability=0.02, retry_after_s=0.5),
        FaultRule(FaultKind.INTERNAL, probability=0.03),
        FaultRule(FaultKind.OVERLOADED, probability=0.02),
        FaultRule(FaultKind.MALFORMED, probability=0.01),
        FaultRule(FaultKind.TAG_MISMATCH, probability=0.08, max_temperature=0.5),  # doubted
        FaultRule(FaultKind.STRAGGLER, probability=0.03, factor=5),
    )
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a fleet, how much work at least, how many blows. Seconds; clips a second are of the whole fleet."""

    workers: int = 6
    videos: int = 60
    segments: int = 30
    blows: int = 40
    every_s: tuple[float, float] = (2.0, 5.0)
    mishap_every_s: tuple[float, float] = (4.0, 9.0)
    clipped: float = 0.3  # of the segments
    heartbeat_s: float = 2.0
    lease_s: float = 8.0
    drain_s: float = 4.0
    clips_per_s: float = 8.0
    limit_s: float | None = None  # None: enough for its blows, on a busy machine too
    seed: int = 0

    @property
    def patience_s(self) -> float:
        return 300.0 + 30.0 * self.blows if self.limit_s is None else self.limit_s


@dataclass(frozen=True, slots=True)
class Blow:
    """What befell a worker, and when (Unix time)."""

    kind: str
    worker: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """One line of the simulator's request log. `varied`: without our temperature, as a clip is asked once more whose
    answer is doubted.
    """

    worker: str
    digest: str
    kind: str
    began: float
    ended: float
    varied: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run came to. `problems` is what should be empty."""

    seed: int
    seconds: float = 0.0
    blows: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    mishaps: Counter[str] = field(default_factory=Counter)
    videos: int = 0
    clips: int = 0
    answers: int = 0
    repeated: int = 0
    partials_left: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Fleet:
    """Worker processes by name; whoever ends is replaced until `closing`."""

    folder: Path
    environment: dict[str, str]
    database_url: str
    closing: bool = False
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    exits: Counter[str] = field(default_factory=Counter)
    blows: list[Blow] = field(default_factory=list)
    _started: int = 0
    _watching: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """One more worker. Its name is its API key and its application name, so that logs and triggers know it."""
        self._started += 1
        name = f"w{self._started:03}"
        log = (self.folder / f"{name}.log").open("wb")
        separator = "&" if urlsplit(self.database_url).query else "?"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lipika", "worker", "--json-logs"),
            env=self.environment
            | {
                "WORKER_INSTANCE_ID": name,
                "GEMINI_API_KEY": name,
                "DATABASE_URL": f"{self.database_url}{separator}application_name={name}",
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
        )
        log.close()
        self.processes[name] = process
        task = asyncio.create_task(self._replace(name, process))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _replace(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        del self.processes[name]
        blow = next((blow.kind for blow in reversed(self.blows) if blow.worker == name), "nothing")
        self.exits[f"{code} after {'close' if self.closing and blow == 'nothing' else blow}"] += 1
        if not self.closing:
            await self.start()

    async def strike(self, kind: str, name: str, asleep_s: float) -> None:
        """Let something happen to a worker; one that is stopped wakes after `asleep_s`."""
        process = self.processes[name]
        self.blows.append(Blow(kind, name, time.time()))
        match kind:
            case "kill":
                process.kill()
            case "term":
                process.terminate()
            case _:
                process.send_signal(signal.SIGSTOP)
                task = asyncio.create_task(self._wake(process, asleep_s))
                self._watching.add(task)
                task.add_done_callback(self._watching.discard)

    async def _wake(self, process: asyncio.subprocess.Process, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def targets(self) -> list[str]:
        """Workers that have spoken since whatever happened to them: they have registered, or slept and live on."""
        last = {blow.worker: blow for blow in self.blows}
        spoken = {row.instance_id: row.at for row in _rows(self.database_url, _SPOKEN)}
        return [
            name
            for name in self.processes
            if name in spoken and (name not in last or _lives_on(last[name], spoken[name]))
        ]

    async def close(self) -> None:
        """End all workers, politely; who does not within a while is killed.

        One that has been told already is not told again: it may be on its last steps, where a signal is an end.
        """
        self.closing = True
        last = {blow.worker: blow.kind for blow in self.blows}
        for name, process in self.processes.items():
            process.send_signal(signal.SIGCONT)
            if last.get(name) != "term":
                process.terminate()
        if self._watching:
            await asyncio.wait(self._watching, timeout=30)
        for name, process in self.processes.items():
            self.exits[f"{name} did not end"] += 1
            process.kill()
        if self._watching:
            await asyncio.wait(self._watching, timeout=10)


def _lives_on(blow: Blow, spoken: float) -> bool:
    return blow.kind == "stop" and spoken > blow.at + _SLACK_S


@dataclass(slots=True)
class Mishaps:
    """What befalls the surroundings: Postgres's clock jumps, archives are written again while they are read."""

    folder: Path
    database_url: str
    jumps: list[float] = field(default_factory=list)  # Unix times
    counts: Counter[str] = field(default_factory=Counter)

    def happen(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            self.counts["jump"] += 1
            self.jumps.append(time.time())
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                connection.execute(_JUMP)
            return
        at_work = _rows(self.database_url, "select source_key from video_queue where status = 'processing'")
        for row in at_work:
            self.counts["replaced"] += 1
            archive = Path(row.source_key)
            again = archive.with_suffix(".again")
            again.write_bytes(archive.read_bytes())
            again.rename(archive)


_JUMP: LiteralString = (
    "update video_queue set lease_expires_at = lease_expires_at - interval '1 hour'"
    " where status in ('claimed', 'processing')"
)


_SPOKEN: LiteralString = (
    "select instance_id, extract(epoch from last_heartbeat_at)::float8 as at from workers"
)


@dataclass(slots=True)
class Supply:
    """Puts videos into the queue, no two alike."""

    plan: Plan
    folder: Path
    queue: Queue
    videos: int = 0

    async def add(self, count: int) -> None:
        plan, given = self.plan, self.videos
        corpus = CorpusPlan(
            count, plan.segments, (2.2, 4.0), seed=plan.seed, first=given, clipped=plan.clipped
        )
        archives = await asyncio.to_thread(make_corpus, self.folder / "in", corpus, sample_folder())
        videos = [NewVideo(path.stem, str(path), str(result_of(self.folder, path.stem))) for path in archives]
        await self.queue.add(videos, max_attempts=1000)
        self.videos += count


async def run_chaos(plan: Plan, folder: Path, database_url: str) -> Outcome:
    """Work through the plan on an empty, migrated database; `folder` is for everything else."""
    log = folder / "requests.jsonl"
    config = SimulatorConfig(latency=Latency(0.6, 0.4), faults=_FAULTS, seed=plan.seed, request_log=log)
    _watch_writes(database_url)
    async with Database(database_url) as database, spawn(config) as simulator:
        supply = Supply(plan, folder, Queue(database))
        await supply.add(plan.videos)
        started = time.monotonic()
        fleet = Fleet(folder, _environment(plan, folder, simulator), database_url)
        mishaps = Mishaps(folder, database_url)
        try:
            for _ in range(plan.workers):
                await fleet.start()
            finished = await _rage(plan, fleet, supply, mishaps)
        finally:
            await fleet.close()
        await simulator.stats()  # flushes the request log
    outcome = Outcome(plan.seed, time.monotonic() - started)
    outcome.blows = Counter(blow.kind for blow in fleet.blows)
    outcome.exits = fleet.exits
    outcome.videos = supply.videos
    outcome.mishaps = mishaps.counts
    if len(fleet.blows) < plan.blows:
        outcome.problems.append(
            f"only {len(fleet.blows)} of {plan.blows} blows fell within {plan.patience_s:g} s"
        )
    if not finished:
        outcome.problems.append(f"not all videos were done within {plan.patience_s:g} s")
    examine(outcome, plan, folder, database_url, fleet, mishaps, read_log(log))
    return outcome


async def _rage(plan: Plan, fleet: Fleet, supply: Supply, mishaps: Mishaps) -> bool:
    """Blows until they are used up, with work enough for all of them, then peace until it is done."""
    chance = random.Random(plan.seed)
    deadline = time.monotonic() + plan.patience_s
    next_blow = time.monotonic() + chance.uniform(*plan.every_s) + 2.0  # the first workers are starting
    next_mishap = next_blow
    while time.monotonic() < deadline:
        counts = await supply.queue.counts()
        if time.monotonic() >= next_mishap and len(fleet.blows) < plan.blows:
            await asyncio.to_thread(mishaps.happen, chance)
            next_mishap = time.monotonic() + chance.uniform(*plan.mishap_every_s)
        if len(fleet.blows) >= plan.blows:
            if counts.done + counts.failed == supply.videos:
                return counts.failed == 0
        elif counts.pending < plan.workers:  # whoever starts next is to find a video too
            await supply.add(plan.workers)
        elif time.monotonic() >= next_blow and (alive := fleet.targets()):
            asleep_s = plan.lease_s * chance.uniform(1.05, 1.8)
            await fleet.strike(chance.choice(_BLOWS), chance.choice(alive), asleep_s)
            next_blow = time.monotonic() + chance.uniform(*plan.every_s)
        await asyncio.sleep(0.2)
    return False


def result_of(folder: Path, video_id: str) -> Path:
    return folder / "out" / f"{video_id}_transcribed.tar"


def _environment(plan: Plan, folder: Path, simulator: Handle) -> dict[str, str]:
    interval_s = 4.0
    (folder / "spool").mkdir(exist_ok=True)
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "GEMINI_BASE_URL": simulator.url,
        "OUTPUT_URL": str(folder / "out"),
        "SPOOL_DIR": str(folder / "spool"),
        "WORKER_BATCH_SIZE": str(max(round(plan.clips_per_s / plan.workers * interval_s), 1)),
        "BATCH_INTERVAL_SECONDS": str(interval_s),
        "HEARTBEAT_SECONDS": str(plan.heartbeat_s),
        "LEASE_SECONDS": str(plan.lease_s),
        "LIVE_SECONDS": "2",
        "DRAIN_SECONDS": str(plan.drain_s),
        "REQUEST_TIMEOUT_SECONDS": "20",
    }


# ----------------------------------------------------------------------------- afterwards

_WATCH_WRITES = """
create table chaos_writes (worker text, owner text, video_id text, at timestamptz default clock_timestamp());
create function chaos_note() returns trigger language plpgsql as $$
begin
  insert into chaos_writes (worker, owner, video_id)
  select current_setting('application_name'), q.claimed_by, q.video_id
  from video_queue q where q.video_id = new.video_id;
  return new;
end $$;
create trigger chaos_note before insert or update on transcription_results for each row execute function chaos_note();
create table chaos_done (video_id text, worker text, owner text);
create function chaos_note_done() returns trigger language plpgsql as $$
begin
  if new.status = 'done' and old.status <> 'done' then
    insert into chaos_done values (new.video_id, current_setting('application_name'), old.claimed_by);
  end if;
  return new;
end $$;
create trigger chaos_note_done before update on video_queue for each row execute function chaos_note_done();
"""


def _watch_writes(database_url: str) -> None:
    """Let the database itself note who writes for which video, and who owned it at that moment."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_WATCH_WRITES)


def read_log(path: Path) -> list[Asked]:
    """The simulator's request log, as far as requests reached a provider's logic."""
    asked = []
    for line in path.read_bytes().splitlines():
        entry = orjson.loads(line)
        if not entry["digest"]:
            continue
        began = entry["time"]
        ended = began + entry["latency_s"]
        varied = entry["temperature"] is None
        asked.append(Asked(entry["project"], entry["digest"], entry["kind"], began, ended, varied))
    return asked


def examine(
    outcome: Outcome,
    plan: Plan,
    folder: Path,
    database_url: str,
    fleet: Fleet,
    mishaps: Mishaps,
    asked: Sequence[Asked],
) -> None:
    """Hold archives, tables and log against each other; what does not fit becomes a problem."""
    videos = _rows(database_url, "select * from video_queue order by video_id")
    rows = _rows(
        database_url,
        "select video_id, segment_file, audio_digest, worker_id, attempts from transcription_results",
    )
    strangers = _rows(
        database_url, "select * from chaos_writes where owner is null or owner not like worker || '-%'"
    )
    dones = _rows(
        database_url,
        "select video_id, count(*) as times, bool_and(owner like worker || '-%') as own from chaos_done"
        " group by video_id",
    )
    left = _rows(database_url, "select worker_id from workers where status = 'online'")
    table: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        table[row.video_id][row.segment_file] = row.audio_digest
    for video in videos:
        if video.status != "done":
            outcome.problems.append(f"{video.video_id} is {video.status}: {video.error_message}")
            continue
        path = result_of(folder, video.video_id)
        outcome.problems += compare(path, video, table[video.video_id])
    outcome.clips = len(rows)
    outcome.problems += [f"{one.worker} wrote for {one.video_id}, owned by {one.owner}" for one in strangers]
    outcome.problems += [f"{one.video_id} became done {one.times} times" for one in dones if one.times != 1]
    outcome.problems += [f"{one.video_id} was finished by a stranger" for one in dones if not one.own]
    outcome.problems += list(_impolite(left, fleet))
    _hold_answers(outcome, plan, fleet, mishaps, asked, rows)
    outcome.partials_left = sum(path.is_file() for path in (folder / "out").rglob("*.jsonl"))


def _impolite(left: Sequence[Any], fleet: Fleet) -> Iterator[str]:
    """Workers that were ended politely and did not end so. `left` are those that are still online."""
    last = {blow.worker: blow.kind for blow in fleet.blows}
    rudely = {worker for worker, kind in last.items() if kind != "term"}
    for row in left:
        if row.worker_id.rpartition("-")[0] not in rudely:
            yield f"{row.worker_id} was ended politely and is still online"
    for exit_ in fleet.exits:
        if exit_.endswith(("term", "close", "end")) and not exit_.startswith("0 "):
            yield f"exit code {exit_} of a worker that was ended politely"


def _hold_answers(
    outcome: Outcome, plan: Plan, fleet: Fleet, mishaps: Mishaps, asked: Sequence[Asked], rows: Sequence[Any]
) -> None:
    """Hold what was asked, and how often, against the rows."""
    repeats = list(repeated_answers(asked))
    outcome.answers = sum(one.kind in _ANSWERED for one in asked)
    outcome.repeated = len(repeats)
    outcome.problems += list(unexplained(repeats, fleet.blows, plan.drain_s, mishaps.jumps, plan.heartbeat_s))
    outcome.problems += list(varied_without_cause(asked))
    struck = {blow.worker for blow in fleet.blows}  # may have begun their clips anew
    varied = {
        (one.worker, one.digest)
        for one in asked
        if one.varied and one.worker not in struck and not _amid(one, mishaps.jumps, plan.heartbeat_s)
    }
    plainly = Counter((one.worker, one.digest) for one in asked if not one.varied and one.kind in _DOUBTFUL)
    outcome.problems += [
        f"clip {row.audio_digest[:12]} was asked in two ways by {row.worker_id}, and counts one attempt"
        for row in rows
        for asker in ((row.worker_id.rpartition("-")[0], row.audio_digest),)
        if row.attempts < 2 and asker in varied and plainly[asker] == 1
    ]


def _rows(database_url: str, query: LiteralString) -> list[Any]:
    with psycopg.connect(database_url, row_factory=namedtuple_row) as connection:
        return list(connection.execute(query).fetchall())


def compare(path: Path, video: Any, rows: dict[str, str]) -> Iterator[str]:
    """One video's archive against its rows and its counters."""
    name = path.name
    results: list[ClipResult] = []
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != video.output_digest:
        yield f"{name}: its digest is not the one in the queue"
    with tarfile.open(path) as tar:
        names = tar.getnames()
        member = tar.extractfile("metadata.json")
        accounting = orjson.loads(member.read() if member else b"{}")["transcription"]["accounting"]
    with path.open("rb") as stream:
        results = list(documents.read_results(stream))
    if len(set(names)) != len(names):
        yield f"{name}: a member stands there twice"
    in_tar = {result.segment_file: result.clip.audio_digest for result in results}
    if in_tar != rows or len(results) != len(rows):
        alike = len(in_tar.items() & rows.items())
        yield f"{name}: {len(results)} results in the archive, {len(rows)} rows, {alike} alike"
    if accounting["segments"] != accounting["segments_polished"] + accounting["segments_discarded"]:
        yield f"{name}: segments do not add up: {accounting}"
    ended = accounting["transcribed"] + accounting["no_speech"] + accounting["failed"]
    if not accounting["clips"] == ended == len(results) == video.clip_count:
        yield f"{name}: clips do not add up: {accounting}, {len(results)} results"


def repeated_answers(asked: Sequence[Asked]) -> Iterator[tuple[Asked, Asked]]:
    """Pairs of answers to the same audio, each with the one before it; a worker's varied question after its plain one
    is asked on purpose (`varied_without_cause`)."""
    by_digest: dict[str, list[Asked]] = defaultdict(list)
    for one in sorted(asked, key=lambda one: one.began):
        if one.kind in _ANSWERED:
            by_digest[one.digest].append(one)
    for answers in by_digest.values():
        for first, second in itertools.pairwise(answers):
            if not (second.varied and not first.varied and first.worker == second.worker):
                yield first, second


def varied_without_cause(asked: Sequence[Asked]) -> Iterator[str]:
    """Varied questions of a worker that had got no answer before to the plain one, so had none to doubt."""
    answered: dict[tuple[str, str], float] = {}
    for one in sorted(asked, key=lambda one: one.ended):
        if not one.varied and one.kind in _DOUBTFUL:
            answered.setdefault((one.worker, one.digest), one.ended)
    for one in asked:
        if one.varied and one.began < answered.get((one.worker, one.digest), math.inf):
            yield f"clip {one.digest[:12]} was asked by {one.worker} in the varied way with no answer to doubt"


def _amid(one: Asked, jumps: Sequence[float], heartbeat_s: float) -> bool:
    """Whether it was in flight, or its answer younger than FLUSH_S, when a jump of the clock gave its video away; its
    worker learns of that with its next renewal.
    """
    return any(
        one.began < jump + heartbeat_s + _SLACK_S and one.ended > jump - FLUSH_S - _SLACK_S for jump in jumps
    )


def unexplained(
    repeats: Sequence[tuple[Asked, Asked]],
    blows: Sequence[Blow],
    drain_s: float,
    jumps: Sequence[float] = (),
    heartbeat_s: float = 0.0,
) -> Iterator[str]:
    """Repeats whose first answer was neither in flight nor younger than FLUSH_S when its worker was struck, or when
    the clock jumped."""
    struck = defaultdict[str, list[Blow]](list)
    for blow in blows:
        struck[blow.worker].append(blow)
    for first, second in repeats:
        told = struck[first.worker]
        if _amid(first, jumps, heartbeat_s) or any(_amid_blow(first, blow, drain_s) for blow in told):
            continue
        when = f"{first.ended - told[-1].at:+.1f} s from its {told[-1].kind}" if told else "never struck"
        yield (
            f"clip {first.digest[:12]} was answered to {first.worker} ({when}) and again"
            f" {second.began - first.ended:.1f} s later to {second.worker}"
        )


def _amid_blow(one: Asked, blow: Blow, drain_s: float) -> bool:
    """Whether it was in flight, or its answer younger than FLUSH_S, when its worker was struck."""
    grace_s = drain_s if blow.kind == "term" else 0.0
    return one.ended >= blow.at + grace_s - FLUSH_S - _SLACK_S


async def _main(plan: Plan) -> Outcome:
    with scratch_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres") as server:
            url = await fresh_database(server.url, "chaos")
            async with Database(url) as database:
                await migrate(database)
            return await run_chaos(plan, folder, url)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    for name in ("workers", "videos", "blows"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name))
    options = parser.parse_args()
    plan = Plan(seed=options.seed, workers=options.workers, videos=options.videos, blows=options.blows)
    load = os.getloadavg()[0]
    print(f"seed {plan.seed}", flush=True)
    outcome = asyncio.run(_main(plan))
    result = {
        **asdict(outcome),
        "blows": dict(outcome.blows),
        "exits": dict(outcome.exits),
        "mishaps": dict(outcome.mishaps),
        "plan": asdict(plan),
        "machine": asdict(machine(load)),
    }
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
    save("chaos", result)
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())

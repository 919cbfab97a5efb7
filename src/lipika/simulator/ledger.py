"""Counts that the server makes at its socket: requests, statuses, repeats, tokens, dollars, bytes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from lipika.simulator.exchange import Answered, Quota

_MAX_DIGESTS = 4_000_000  # about 100 bytes each; further ones are counted as untracked
_FLUSH_BYTES = 64 * 1024


@dataclass(slots=True)
class ServerCounts:
    """Counters since the start or the last reset. `requests` are posts to a model; `accepted` got HTTP 200."""

    started: float = field(default_factory=time.time)
    requests: int = 0
    accepted: int = 0
    abandoned: int = 0  # the client hung up before it had the reply
    in_flight: int = 0
    max_in_flight: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_quota: Counter[Quota] = field(default_factory=Counter)
    prompt_tokens: int = 0
    audio_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0
    cost_usd: float = 0.0
    shed: int = 0  # by Flex, for want of room
    answers_by_tier: Counter[str] = field(default_factory=Counter)
    usd_by_tier: dict[str, float] = field(default_factory=dict)
    repaid: int = 0
    untracked: int = 0
    _asked_at_least: Counter[int] = field(default_factory=Counter)  # so often -> clips
    _client_ports: set[int] = field(default_factory=set)
    _attempts: dict[int, int] = field(default_factory=dict)
    _answered: dict[int, int] = field(default_factory=dict)

    def begin(self, client_port: int) -> None:
        """A request came in on a connection from that port."""
        self._client_ports.add(client_port)
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def end(self, status: int) -> None:
        """A request was answered with an HTTP status; 0 means that it was not (a hang, a reset)."""
        self.in_flight -= 1
        self.by_status[status] += 1
        self.accepted += status == 200

    def attempt(self, digest: bytes) -> int:
        """Count a request for a clip; gives which one it is, from 1."""
        number = self._count(self._attempts, digest)
        self._asked_at_least[number] += 1
        return number

    def answer(self, answered: Answered, digest: bytes) -> None:
        """Count what an answer costs, whether or not it arrives: the real API bills it all the same."""
        tokens = answered.tokens
        self.prompt_tokens += tokens.prompt
        self.audio_tokens += tokens.audio
        self.cached_tokens += tokens.cached
        self.output_tokens += tokens.output
        self.thought_tokens += tokens.thoughts
        self.cost_usd += answered.cost_usd
        self.answers_by_tier[answered.tier] += 1
        self.usd_by_tier[answered.tier] = self.usd_by_tier.get(answered.tier, 0.0) + answered.cost_usd
        self.repaid += self._count(self._answered, digest) > 1

    def as_json(self, faults: dict[str, int]) -> bytes:
        """The body of `/stats`. `repeats` maps "asked n times" to so many clips; `repaid` are answers
        to clips that had been answered before; `client_ports` is about the number of connections made."""
        least = self._asked_at_least
        exactly = Counter({number: count - least[number + 1] for number, count in least.items()})
        return orjson.dumps(
            {
                "uptime_s": round(time.time() - self.started, 3),
                "client_ports": len(self._client_ports),
                "requests": self.requests,
                "accepted": self.accepted,
                "abandoned": self.abandoned,
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
                "by_status": _name_counts(self.by_status),
                "by_quota": _name_counts(self.by_quota),
                "digests": {
                    "distinct": len(self._attempts),
                    "answered": len(self._answered),
                    "repaid": self.repaid,
                    "repeats": _name_counts(+exactly),
                    "untracked": self.untracked,
                },
                "tokens": {
                    "prompt": self.prompt_tokens,
                    "audio": self.audio_tokens,
                    "cached": self.cached_tokens,
                    "output": self.output_tokens,
                    "thoughts": self.thought_tokens,
                },
                "cost_usd": round(self.cost_usd, 9),
                "tiers": {
                    str(tier): {"answers": count, "usd": round(self.usd_by_tier[tier], 9)}
                    for tier, count in sorted(self.answers_by_tier.items())
                },
                "shed": self.shed,
                "bytes": {"in": self.bytes_in, "out": self.bytes_out},
                "faults": faults,
            }
        )

    def _count(self, counts: dict[int, int], digest: bytes) -> int:
        key = int.from_bytes(digest[:8], "big")
        seen = counts.get(key, 0) + 1
        if seen == 1 and len(counts) >= _MAX_DIGESTS:
            self.untracked += 1
            return 1
        counts[key] = seen
        return seen


def _name_counts(counts: Counter[int] | Counter[Quota]) -> dict[str, int]:
    return {str(key): count for key, count in sorted(counts.items())}


@dataclass(slots=True)
class LogEntry:
    """One line of the request log. `kind` says what became of it: answer, a refusal's or a fault's kind."""

    began: float  # Unix time
    status: int = 0  # 0: no reply was sent
    kind: str = ""
    digest: bytes = b""
    project: str = ""
    model: str = ""
    temperature: float | None = None  # as asked; None: the model's own


class RequestLog:
    """One JSON line per request, written in blocks; whoever opened it closes it."""

    def __init__(self, path: Path | None):
        self._file: BinaryIO | None = path.open("ab", buffering=_FLUSH_BYTES) if path else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file:
            self._file.close()

    def write(self, entry: LogEntry) -> None:
        if not self._file:
            return
        line = {
            "time": round(entry.began, 4),
            "latency_s": round(time.time() - entry.began, 4),
            "status": entry.status,
            "kind": entry.kind,
            "digest": entry.digest.hex(),
            "project": entry.project,
            "model": entry.model,
            "temperature": entry.temperature,
        }
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        if self._file:
            self._file.flush()

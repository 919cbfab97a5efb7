"""Service tiers: what becomes of a request at Flex, whose queue takes minutes and sheds what it has no room for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lipika.models import ServiceTier
from lipika.simulator.config import FlexQueue
from lipika.simulator.exchange import Question


@dataclass(frozen=True, slots=True)
class Placed:
    """The fate of one request: whether it is shed, how long it waits, and the tier that it is served at."""

    shed: bool
    wait_s: float
    tier: ServiceTier


AT_ONCE = Placed(False, 0.0, ServiceTier.STANDARD)


def place(queue: FlexQueue, question: Question, attempt: int, seed: int) -> Placed:
    """Decide by clip and attempt alone, whatever the order of arrival."""
    if question.tier is not ServiceTier.FLEX:
        return AT_ONCE
    shed, wait, served = (
        _draw(question, attempt, seed, purpose) for purpose in (b"shed", b"wait", b"served")
    )
    if shed < queue.shed:
        return Placed(True, 0.0, ServiceTier.FLEX)
    if served < queue.served_standard:
        return AT_ONCE
    return Placed(
        False, (queue.least_s + (queue.most_s - queue.least_s) * wait) * queue.scale, ServiceTier.FLEX
    )


def _draw(question: Question, attempt: int, seed: int, purpose: bytes) -> float:
    mark = b"%d/%d/%b/" % (seed, attempt, purpose) + question.digest
    return int.from_bytes(hashlib.blake2b(mark, digest_size=8).digest(), "big") / 2**64

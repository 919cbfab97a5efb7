"""The models of a cascade, each with its own routes and the clips that wait for them; mostly there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lipika.engine.batches import Windows
from lipika.engine.choice import IDLE_S, RouteChoice
from lipika.engine.escalation import Escalation
from lipika.engine.ledger import SlotSupply
from lipika.engine.next_step import NextStep
from lipika.engine.outcome import EngineOptions
from lipika.engine.route import Route
from lipika.engine.tickets import Ticket
from lipika.engine.waiting import Turn, Waiting
from lipika.errors import WorkerStop


@dataclass(frozen=True, slots=True)
class Stage:
    """One model: who can be asked for it, which clips wait, and what follows from an answer."""

    choice: RouteChoice
    waiting: Waiting
    next_step: NextStep
    slots: SlotSupply
    is_last: bool  # else a better model is asked for what is doubted, instead of this one a second time

    @property
    def model_id(self) -> str:
        return self.choice.first.capabilities.model_id


@dataclass(frozen=True, slots=True)
class StageParts:
    """The parts of the engine that all models share."""

    windows: Windows
    options: EngineOptions
    escalation: Escalation
    clock: Callable[[], float]
    give_up: Callable[[Ticket], None]
    on_answer: Callable[[], object]
    on_broken: Callable[[WorkerStop], object]


class Stages:
    """All models in their order: `routes` are the providers of each, in order of preference."""

    def __init__(self, routes: Sequence[Sequence[Route]], parts: StageParts):
        self._stages = tuple(self._stage(each, parts, is_last=each is routes[-1]) for each in routes)

    def _stage(self, routes: Sequence[Route], parts: StageParts, *, is_last: bool) -> Stage:
        choice = RouteChoice(routes, parts.windows)
        waiting = Waiting(choice, parts.windows, parts.give_up, parts.escalation, lambda: self.fresh > 0)
        return Stage(
            choice=choice,
            waiting=waiting,
            next_step=NextStep(choice, replace(parts.options.retry, goes_up=not is_last)),
            slots=SlotSupply(
                choice,
                waiting,
                parts.windows,
                clock=parts.clock,
                on_answer=parts.on_answer,
                on_broken=parts.on_broken,
            ),
            is_last=is_last,
        )

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages)

    def __len__(self) -> int:
        """Clips that wait for a slot or a retry."""
        return sum(len(stage.waiting) for stage in self._stages)

    @property
    def is_cascade(self) -> bool:
        return len(self._stages) > 1

    def __getitem__(self, step: int) -> Stage:
        return self._stages[step]

    @property
    def first(self) -> Stage:
        return self._stages[0]

    @property
    def fresh(self) -> int:
        """Clips that were never asked."""
        return sum(stage.waiting.fresh for stage in self._stages)

    @property
    def in_flight(self) -> int:
        return sum(stage.choice.in_flight for stage in self._stages)

    def live(self, now: float) -> tuple[int, int]:
        """Requests and prompt tokens of the last minute."""
        each = [stage.choice.live(now) for stage in self._stages]
        return sum(requests for requests, _ in each), sum(tokens for _, tokens in each)

    def limited_by(self, now: float) -> str:
        """The reasons that hold the models back for which clips wait; empty where one is held by nothing."""
        wanted = [stage for stage in self._stages if len(stage.waiting)]
        reasons = [reason for stage in wanted if (reason := stage.choice.limited_by(now))]
        return "; ".join(dict.fromkeys(reasons)) if len(reasons) == len(wanted) else ""

    def take_next(self, now: float) -> tuple[float, Turn | None]:
        """The clip that may go now, else the seconds until the next look. Those that have gone up go first: the
        sooner they end, the less is held."""
        wait_s = IDLE_S
        for stage in reversed(self._stages):
            delay, turn = stage.waiting.take_next(now)
            if turn is not None:
                return 0.0, turn
            wait_s = min(wait_s, delay)
        return wait_s, None

    def asks_in_s(self, now: float) -> float:
        """Seconds until the ledger should be asked again because of a dollar cap; infinite without one."""
        return min((stage.slots.asks_in_s(now) for stage in self._stages), default=math.inf)

    def take_all(self) -> list[Ticket]:
        """Take out everything that waits."""
        return [ticket for stage in self._stages for ticket in stage.waiting.take_all()]

"""A fleet on vast.ai: as many machines as wanted, each with a label of its own, dead ones replaced.

The account is the only memory: a machine belongs to the fleet by its label, `<fleet>-07`, and there is one label
for each place in the fleet. Whoever wants to rent for a place looks first whether its label is there. Two launchers
on one machine wait for each other at a lock; two on different machines may both rent for a place in the same second,
and then each looks again and gives its own back unless it has the lowest number.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from lipika.errors import Unavailable, UsageError
from lipika.log import get_logger
from lipika.vast.client import Instance, Offer, Vast, VastRefused, Wish
from lipika.wording import duration

log = get_logger(__name__)

_DEAD = {"exited", "stopped", "offline", "frozen"}
"""`unknown` is left alone: the host is silent for the moment, and the leases in the queue see to its videos."""
_START_S = 1200.0
"""An image of 350 MB is pulled in a minute or two; what has not started after this never will."""
_OFFERS_PER_PLACE = 4
_SETTLE_S = 3.0
"""Until an instance that was just rented is listed."""
_RETURNS = 4
"""So often an instance is given back until it is no longer listed; the waits between are 3, 9 and 27 s."""
_LOCK_S = 0.2
"""Between looks whether another launcher has ended."""
MOST = 99


@dataclass(frozen=True, slots=True)
class Buy:
    """An offer for a place in the fleet."""

    label: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The changes that would bring the fleet to its size. `destroy` gives a reason with each."""

    keep: tuple[Instance, ...]
    destroy: tuple[tuple[Instance, str], ...]
    buy: tuple[Buy, ...]
    short: int  # places for which there is no offer

    @property
    def usd_hour(self) -> float:
        """Of the whole fleet, traffic of the new ones included."""
        return sum(instance.usd_hour for instance in self.keep) + sum(buy.offer.usd_busy for buy in self.buy)


@dataclass(slots=True)
class FleetOutcome:
    """The changes that were made."""

    rented: dict[str, int] = field(default_factory=dict)  # label -> instance
    destroyed: list[int] = field(default_factory=list)  # and no longer listed
    left: dict[int, str] = field(default_factory=dict)  # should be given back, and why it is still there
    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # labels that stayed without a machine


def labels(fleet: str, workers: int) -> list[str]:
    """The labels of the fleet's places.

    Raises:
        UsageError: the name or the number will not do.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", fleet):
        raise UsageError(f"--fleet {fleet}: small letters, digits and dashes are expected")
    if not 0 <= workers <= MOST:
        raise UsageError(
            f"--workers {workers}: 0 to {MOST} are expected; further ones go into another --fleet"
        )
    return [f"{fleet}-{place:02d}" for place in range(1, workers + 1)]


def members(fleet: str, instances: Iterable[Instance]) -> list[Instance]:
    """Those that carry a label of the fleet, the oldest of each label first."""
    pattern = re.compile(rf"{re.escape(fleet)}-\d\d")
    return sorted(
        (one for one in instances if pattern.fullmatch(one.label)), key=lambda one: (one.label, one.id)
    )


def ailment(instance: Instance) -> str:
    """The reason why it should be replaced; empty: it is well."""
    if instance.status in _DEAD:
        return f"{instance.status}{f': {instance.message}' if instance.message else ''}"
    if instance.intended != "running":
        return f"meant to be {instance.intended}"
    if instance.status != "running" and instance.status != "unknown" and instance.age_s > _START_S:
        return f"did not start within {duration(instance.age_s)}: {instance.message or 'no reason given'}"
    return ""


def plan(fleet: str, workers: int, instances: Sequence[Instance], offers: Sequence[Offer]) -> FleetPlan:
    """Pure: what to keep, to give back and to rent. A machine for each place, and none that has just failed."""
    places = labels(fleet, workers)
    keep: dict[str, Instance] = {}
    destroy: list[tuple[Instance, str]] = []
    for instance in members(fleet, instances):
        reason = ailment(instance)
        if not reason and instance.label not in places:
            reason = "more than wanted"
        elif not reason and instance.label in keep:
            reason = f"{instance.label} was rented twice"
        if reason:
            destroy.append((instance, reason))
        else:
            keep[instance.label] = instance
    taken = {one.machine_id for one in keep.values()} | {one.machine_id for one, _reason in destroy}
    free = list(_one_a_machine(offers, taken))
    empty = [label for label in places if label not in keep]
    buy = tuple(Buy(label, offer) for label, offer in zip(empty, free, strict=False))
    return FleetPlan(tuple(keep.values()), tuple(destroy), buy, len(empty) - len(buy))


def _one_a_machine(offers: Sequence[Offer], taken: set[int]) -> Iterator[Offer]:
    seen = set(taken)
    for offer in offers:
        if offer.machine_id not in seen:
            seen.add(offer.machine_id)
            yield offer


class RentedFleet:
    """One fleet of an account."""

    def __init__(
        self,
        vast: Vast,
        name: str,
        wish: Wish,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        labels(name, 0)
        self._vast = vast
        self._name = name
        self._wish = wish
        self._sleep = sleep

    async def members(self) -> list[Instance]:
        """As they are now."""
        return members(self._name, await self._vast.instances())

    async def plan(self, workers: int) -> FleetPlan:
        """The changes to be made; none is made here."""
        labels(self._name, workers)
        instances = await self._vast.instances()
        return plan(self._name, workers, instances, await self._offers(workers, instances))

    async def empty_places(self, workers: int) -> int:
        """The number of machines that would have to be rented."""
        return plan(self._name, workers, await self._vast.instances(), ()).short

    async def _offers(self, workers: int, instances: Sequence[Instance]) -> list[Offer]:
        """Some for each empty place, as many are gone when they are asked for. Searches are rationed: one a pass."""
        empty = plan(self._name, workers, instances, ()).short
        return await self._vast.offers(self._wish, max(empty * _OFFERS_PER_PLACE, 20)) if empty else []

    async def reconcile(self, workers: int) -> FleetOutcome:
        """Bring the fleet to its size: dead ones out, missing ones in. Another launcher here is waited for.

        Raises:
            UsageError: the key is refused.
            Unavailable: vast.ai is away.
        """
        async with _alone(self._name):
            outcome = FleetOutcome()
            instances = await self._vast.instances()
            offers = await self._offers(workers, instances)
            todo = plan(self._name, workers, instances, offers)
            for instance, reason in todo.destroy:
                log.info("destroy", instance=instance.id, label=instance.label, reason=reason)
            await self._give_back([instance.id for instance, _reason in todo.destroy], outcome)
            if todo.buy or todo.short:
                taken = {one.machine_id for one in members(self._name, instances)}
                kept = {one.label for one in todo.keep}
                empty = [label for label in labels(self._name, workers) if label not in kept]
                await self._fill(empty, _one_a_machine(offers, taken), outcome)
                await self._sleep(_SETTLE_S)
                await self._give_back_doubles(outcome)
            return outcome

    async def _fill(self, empty: Sequence[str], offers: Iterator[Offer], outcome: FleetOutcome) -> None:
        """Rent for each place that has no machine, from the cheapest offer up; each offer is tried once."""
        gone = set(outcome.destroyed)
        for label in empty:
            while not await self._is_taken(label, gone, outcome):
                offer = next(offers, None)
                if offer is None:
                    outcome.missing.append(label)
                    break
                await self._rent(offer, label, outcome)

    async def _rent(self, offer: Offer, label: str, outcome: FleetOutcome) -> None:
        try:
            number = await self._vast.rent(offer, label, self._wish)
        except (VastRefused, Unavailable) as error:  # the next look tells whether it was rented all the same
            log.warning("not_rented", label=label, offer=offer.id, reason=str(error))
            outcome.refused.append(str(error))
            await self._sleep(_SETTLE_S)
        else:
            log.info("rented", label=label, instance=number, offer=offer.id, usd_hour=offer.usd_hour)
            outcome.rented[label] = number

    async def _is_taken(self, label: str, gone: set[int], outcome: FleetOutcome) -> bool:
        """Looks again before each renting: another launcher may have been faster, or a lost reply was a yes."""
        if label in outcome.rented:
            return True
        there = await self.members()
        return any(one.label == label and one.id not in gone and not ailment(one) for one in there)

    async def _give_back_doubles(self, outcome: FleetOutcome) -> None:
        """Of several machines with one label the lowest number stays; we give back what is ours."""
        now = await self.members()
        doubles = []
        for label, mine in list(outcome.rented.items()):
            if any(one.label == label and one.id < mine and not ailment(one) for one in now):
                log.info("destroy", label=label, instance=mine, reason="another launcher was faster")
                doubles.append(mine)
                del outcome.rented[label]
        await self._give_back(doubles, outcome)

    async def _give_back(self, numbers: Sequence[int], outcome: FleetOutcome) -> None:
        """Only the list of instances tells that one is gone: what is still on it is given back again.

        One that cannot be given back keeps none of the others.
        """
        left = dict.fromkeys(numbers, "")
        for attempt in range(_RETURNS):
            if not left:
                return
            if attempt:
                await self._sleep(_SETTLE_S * 3 ** (attempt - 1))
            left = {number: await self._destroy(number) for number in left}
            try:
                listed = {one.id for one in await self._vast.instances()}
            except (VastRefused, Unavailable) as error:
                left = {number: reason or str(error) for number, reason in left.items()}
                continue
            outcome.destroyed += [number for number in left if number not in listed]
            left = {number: reason for number, reason in left.items() if number in listed}
        for number, reason in left.items():
            outcome.left[number] = reason or "it is still listed"
            log.warning("not_given_back", instance=number, reason=outcome.left[number])

    async def _destroy(self, number: int) -> str:
        """Give a machine back, and say why it was not; empty: it was, as far as vast.ai says."""
        try:
            await self._vast.destroy(number)
        except (VastRefused, Unavailable) as error:
            return str(error)
        return ""

    async def stop(self) -> FleetOutcome:
        """Give all machines of the fleet back; `left` names those that would not go.

        Raises:
            UsageError: the key is refused.
            Unavailable: vast.ai is away.
        """
        async with _alone(self._name):
            outcome = FleetOutcome()
            await self._give_back([instance.id for instance in await self.members()], outcome)
            return outcome

    async def watch(
        self,
        workers: int,
        finished: Callable[[], Awaitable[bool]],
        report: Callable[[FleetOutcome], None],
        every_s: float = 60.0,
    ) -> None:
        """Keep the fleet at its size until the work is finished, then give it back. Trouble is waited out.

        It ends when a look at the account finds no machine of the fleet.
        """
        while not await _ask(finished):
            try:
                report(await self.reconcile(workers))
            except (VastRefused, Unavailable) as error:
                log.warning("vast_waits", reason=str(error))
            await asyncio.sleep(every_s)
        while True:
            try:
                outcome = await self.stop()
            except (VastRefused, Unavailable) as error:
                log.warning("vast_waits", reason=str(error))
            else:
                if not outcome.destroyed and not outcome.left:
                    return
                report(outcome)
                if not outcome.left:
                    continue
            await asyncio.sleep(every_s)


async def _ask(finished: Callable[[], Awaitable[bool]]) -> bool:
    """A queue that cannot be asked is not finished."""
    try:
        return await finished()
    except Unavailable as error:
        log.warning("queue_waits", reason=str(error))
        return False


@asynccontextmanager
async def _alone(fleet: str) -> AsyncIterator[None]:
    """One launcher at a time on this machine, for each fleet."""
    folder = Path(platformdirs.user_state_path("lipika"))
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - no disk so slow would be noticed
    with (folder / f"vast-{fleet}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOCK_S)
            else:
                break
        yield

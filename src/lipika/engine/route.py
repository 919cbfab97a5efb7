"""One provider as the engine sees it: when it may be asked, and what an attempt there costs and tells.

A route joins four limits: slots reserved out of the fleet's budget, adaptive concurrency, the gate (open, shut until
a time, ajar for a probe), and the estimate that turns clips into tokens and dollars. It sends nothing itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from lipika.engine.escalation import FlexLane
from lipika.engine.evidence import Evidence
from lipika.engine.pacing import AdaptiveConcurrency, Gate, Probing
from lipika.errors import Unavailable
from lipika.forecast.budget import GUESS_MARGIN
from lipika.forecast.limits import ALL_LIMITS, LIMITS
from lipika.llm.capabilities import Capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse, estimate_prompt
from lipika.llm.transport import NEVER_SENT
from lipika.meters import RateMeter
from lipika.models import Effect, Failure, FailureKind, ServiceTier
from lipika.wording import duration

_PACIFIC_STANDARD = timezone(timedelta(hours=-8))
_SPEND_PARK_S = 600.0
_UNNAMED_IS_SPEND_AFTER_S = 60.0
_OVERLOADS_THAT_SHUT = 10
_FAILURES_THAT_SHUT = 20
_FEW_FAILURES, _QUIET_S = 3, 20.0
"""Few failures prove an outage only when there has been no answer for a while."""
_SOON_S = 60.0
_SLOT_KEEPS_S = 2.0
"""A reserved slot that could not be used for this long is given up: late launches would crowd."""
_MOST_PROMPT_TOKENS, _MOST_OUTPUT_TOKENS = 700, 4096
"""Before any request is known: what none of ours exceeds by much."""


@dataclass(frozen=True, slots=True)
class Need:
    """The wish of a route to the fleet's ledger, and what has become of what it got."""

    provider: str
    wanted: int
    tokens_each: float
    usd_each: float
    tokens_over: float
    usd_over: float
    usd_metered: float
    reserved_usd: float
    usd_most: float = 0.0  # of one request whose answer runs on to its limit


@dataclass(frozen=True, slots=True)
class Slots:
    """The ledger's answer: the i-th request may go `start_in_s + i * step_s` from now."""

    granted: int
    start_in_s: float = 0.0
    step_s: float = 0.0
    binds: str = ""
    retry_in_s: float = 0.0
    unlimited: bool = False  # nobody has set a limit: no slots are counted for a while


Reserve = Callable[[Need], Awaitable[Slots]]
"""Asks the fleet's ledger; raises Unavailable while it cannot be reached."""


async def reserve_unlimited(need: Need) -> Slots:
    """A ledger without limits, for a single process that nobody else shares a quota with."""
    return Slots(need.wanted, unlimited=True)


@dataclass(frozen=True, slots=True)
class _Slot:
    """One reserved launch, with what was reserved for it."""

    time: float
    tokens: float
    usd: float  # as guessed
    most_usd: float  # as reserved


@dataclass(frozen=True, slots=True)
class Permit:
    """One launched attempt, as the route accounts for it."""

    launched_at: float
    first_asked_at: float  # when its clip was sent for the first time
    clip_id: str
    slot: _Slot
    plain_tokens: int  # of this very request's prompt, by arithmetic alone
    tokens: float  # ... corrected by what was metered, for the live figures
    tier: ServiceTier = ServiceTier.STANDARD


def _no_restraint() -> str:
    return ""


class Route:
    """One provider's state. `now` is the engine's monotonic clock, in seconds.

    Args:
        restraint: the reason that nothing may be sent at the moment, whatever the provider says, in words; empty
            while it may.
    """

    def __init__(
        self,
        provider: BaseProvider,
        capabilities: Capabilities,
        *,
        max_in_flight: int,
        reserve: Reserve = reserve_unlimited,
        probing: Probing | None = None,
        restraint: Callable[[], str] = _no_restraint,
        tier: ServiceTier = ServiceTier.STANDARD,
        label: str = "",  # for people, where several routes have one name
    ):
        self.provider = provider
        self.name = provider.get_provider_name()
        self.label = label or self.name
        self.capabilities = capabilities
        self.tier = tier
        self.concurrency = AdaptiveConcurrency(max_in_flight)
        self.gate = Gate(probing)
        self.flex = FlexLane(probing)  # Flex alone may have no room while the service has
        self.storming = False  # a flood of 429s sent the rest of a window elsewhere
        self.closed = False  # no credit or no valid key: not asked again in this life
        self.parked_kind: FailureKind | None = None
        self.in_flight = 0
        self.rpm, self.tpm = RateMeter(), RateMeter()
        self.binds = ""  # which of the fleet's limits decided last
        self._reserve = reserve
        self._restraint = restraint
        self._slots: deque[_Slot] = deque()
        self._free_until = -math.inf
        self._ask_again_at = -math.inf
        self._asking = False
        self._estimate = _Estimate(capabilities)
        self._settled = _Settlement()
        self._refused_since: float | None = None
        self.answers = 0  # since the start
        self.put_off = 0  # 429s and 503s since the start
        self.is_down = False  # shut because it fails for everybody
        self._overloads = 0  # in a row
        self._trouble = Evidence()
        self._refusals = Evidence()  # of key, model or region
        self._closed_because = ""

    # ------------------------------------------------------------------------- may it go?

    def delay(self, now: float, *, escalated: bool = False) -> float:
        """Seconds until one more attempt may be launched; infinite when only an event can tell."""
        if self._restraint() or self.closed or self.in_flight >= self.concurrency.limit:
            return math.inf
        self._note_taken(now)
        shut_s = self.gate.delay(now)
        if self.asks_at(escalated=escalated) is ServiceTier.FLEX:
            shut_s = max(shut_s, self.flex.gate.delay(now))
        if shut_s > 0:
            return shut_s
        while self._slots and self._slots[0].time < now - _SLOT_KEEPS_S:
            self._settled.return_slot(self._slots.popleft())
        if self._slots:
            return max(self._slots[0].time - now, 0.0)
        return 0.0 if now < self._free_until else math.inf

    def asks_at(self, *, escalated: bool) -> ServiceTier:
        """The tier at which a clip is asked for here."""
        return ServiceTier.STANDARD if escalated else self.tier

    def is_open(self, *, escalated: bool) -> bool:
        """True if such a clip would be no probe."""
        flex = self.asks_at(escalated=escalated) is ServiceTier.FLEX
        return self.gate.is_open and (self.flex.gate.is_open or not flex)

    def launch(
        self,
        request: TranscriptionRequest,
        now: float,
        *,
        first_asked_at: float | None = None,
        escalated: bool = False,
    ) -> Permit:
        """Use the next slot. `first_asked_at`: when this clip was sent here before, for the first time."""
        slot = self._slots.popleft() if self._slots else _Slot(now, 0.0, 0.0, 0.0)
        self.gate.note_launch(now)
        self.in_flight += 1
        self.rpm.add(1, now)
        plain = self._estimate.expect(request)
        if slot.most_usd:  # a longer clip has come since the slot was reserved
            longer = max(self._estimate.usd_most - slot.most_usd, 0.0)
            slot = replace(slot, most_usd=slot.most_usd + longer)
            self._settled.reserved_usd += longer
        tokens = self._estimate.tokens(plain)
        self.tpm.add(tokens, now)
        first = now if first_asked_at is None else first_asked_at
        tier = self.asks_at(escalated=escalated)
        permit = Permit(now, first, request.clip_id, slot, plain, tokens, tier)
        if tier is ServiceTier.FLEX:
            self.flex.note_launch(id(permit), now)
        return permit

    def _note_taken(self, now: float) -> None:
        while (launched_at := self.flex.take(now)) is not None:
            self._overloads = 0
            self._trouble.note_answer(now)
            self._open_gates(launched_at)

    def _open_gates(self, launched_at: float) -> None:
        if self.gate.note_good_reply(launched_at):
            self.storming, self.parked_kind, self.is_down = False, None, False
        if self.gate.is_open:
            self._refused_since = None
        self.flex.note_good_reply(launched_at)

    def expect(self, request: TranscriptionRequest) -> None:
        """A request will come: no slot is reserved at less than it may cost."""
        self._estimate.expect(request)

    def may_ask(self, now: float) -> bool:
        """True if the ledger may be asked at all now: not while a question is out, nor too often."""
        return not self._asking and not self.closed and now >= self._ask_again_at

    def asks_in_s(self, now: float) -> float:
        """Seconds until the ledger should be asked again because of a dollar cap: each answer may leave some more."""
        may = self.binds in _MONEY and not self._asking and not self.closed
        return max(self._ask_again_at - now, 0.0) if may else math.inf

    def wants_slots(self, now: float, demand: int) -> bool:
        """True if the ledger should be asked: there is work, or something to settle, and few slots are left."""
        if not self.may_ask(now):
            return False
        if self._settled.due(now):
            return True
        if now < self._free_until:
            return now > self._free_until - _FREE_S / 2
        ahead_s = self._slots[-1].time - now if self._slots else 0.0
        return demand > len(self._slots) and ahead_s < _ASK_AHEAD_S and self.gate.delay(now) < _ASK_AHEAD_S

    def give_back(self) -> None:
        """Let go of slots that will not be used; the next question tells the ledger."""
        while self._slots:
            self._settled.return_slot(self._slots.popleft())

    async def ask(self, now: Callable[[], float], demand: int) -> None:
        """Ask the ledger for slots and tell it what has been used.

        Raises:
            Unavailable: the ledger is away; nothing is lost, ask again.
        """
        self._asking = True
        try:
            started = now()
            statement = self._settled.snapshot()
            need = self._need(demand, statement)
            slots = await self._reserve(need)
            self._settled.acknowledge(statement, started)
            self._take(need, slots, now())
        except Unavailable:
            self._ask_again_at = now() + _OUTAGE_RETRY_S
            raise
        finally:
            self._asking = False

    def _need(self, demand: int, statement: _Statement) -> Need:
        wanted = min(max(demand - len(self._slots), 0), max(self.concurrency.limit, 1) * 2)
        if not self.gate.is_open:
            wanted = min(wanted, 1)  # a probe
        return Need(
            provider=self.name,
            wanted=wanted,
            tokens_each=self._estimate.tokens_each,
            usd_each=self._estimate.usd_each,
            tokens_over=statement.tokens_over,
            usd_over=statement.usd_over,
            usd_metered=statement.usd_metered,
            reserved_usd=max(statement.reserved_usd, 0.0),
            usd_most=self._estimate.usd_most,
        )

    def _take(self, need: Need, slots: Slots, now: float) -> None:
        self.binds = slots.binds
        soon_s = _ASK_SOON_S if slots.granted and slots.binds in _MONEY else _ASK_EVERY_S
        self._ask_again_at = now + max(slots.retry_in_s, soon_s)
        if slots.unlimited:
            self._free_until = now + _FREE_S
            return
        self._free_until = -math.inf
        first, tokens, usd = now + slots.start_in_s, need.tokens_each, need.usd_each
        most = max(need.usd_most, usd)
        self._slots.extend(
            _Slot(first + number * slots.step_s, tokens, usd, most) for number in range(slots.granted)
        )
        self._settled.reserved_usd += slots.granted * most

    # ------------------------------------------------------------------------- what came back?

    def note_end(self, permit: Permit, response: TranscriptionResponse, now: float, unix_s: float) -> float:
        """Account for an attempt, whatever came of it; returns its dollars."""
        self.in_flight -= 1
        self.flex.note_end(id(permit))
        usage = response.usage
        cost = self.capabilities.cost_usd(usage, response.tier)
        self._settled.add(permit.slot, usage.prompt, cost)
        if self.binds in _MONEY:  # this answer may have left enough for another one
            self._ask_again_at = min(self._ask_again_at, now + _ASK_SOON_S)
        if usage.prompt:
            self.tpm.add(usage.prompt - permit.tokens, now)
        if usage.prompt and response.failure is None:  # what failed may have been estimated itself
            self._estimate.learn(permit.plain_tokens, usage.prompt, cost)
        if response.failure is None:
            if permit.tier is ServiceTier.FLEX:
                self.flex.record.note_answer(response.latency_ms / 1000)
            self._on_good_sign(permit, now)
        else:
            self._on_failure(permit, response.failure, now, unix_s)
        return cost

    def note_loss(self, permit: Permit, now: float) -> float:
        """The attempt was cancelled: nobody knows what it cost, so the guess is taken for it. Returns that."""
        self.in_flight -= 1
        self.flex.note_end(id(permit))
        self._settled.add(permit.slot, round(permit.slot.tokens), permit.slot.usd)
        self.gate.probe_lost(now, permit.launched_at)
        return permit.slot.usd

    def _on_good_sign(self, permit: Permit, now: float) -> None:
        self.answers += 1
        self.concurrency.on_success(now)
        self._overloads = 0
        self._trouble.note_answer(now)
        self._refusals.note_answer(now)
        self._open_gates(permit.launched_at)

    def _on_failure(self, permit: Permit, failure: Failure, now: float, unix_s: float) -> None:
        rule = failure.follows(answered=self.answers > 0)
        match rule.effect:
            case Effect.SHUT:
                self._on_rate_minute(permit, failure, now)
            case Effect.PARKED_TO_RESET:
                missing = failure.retry_after_s is None
                wait_s = seconds_to_pacific_midnight(unix_s) if missing else failure.retry_after_s
                self._park(permit, now, wait_s or 0.0, failure, rule.words)
            case Effect.PARKED:
                wait_s = max(failure.retry_after_s or 0, _SPEND_PARK_S)
                self._park(permit, now, wait_s, failure, rule.words)
            case Effect.CLOSED:
                self._close(failure)
            case Effect.DOUBTED:
                self._on_refusal(permit, failure, now)
            case Effect.CROWDED:
                self._on_overloaded(permit, failure, now)
            case Effect.SUSPECT:
                self._on_transport_failure(permit, failure, now)
            case Effect.ANSWERED:
                self._on_good_sign(permit, now)

    def _on_rate_minute(self, permit: Permit, failure: Failure, now: float) -> None:
        self.put_off += 1
        if self._refused_since is None:
            self._refused_since = now
        unnamed = not failure.code and failure.retry_after_s is None
        if unnamed and now - self._refused_since > _UNNAMED_IS_SPEND_AFTER_S:
            named = replace(failure, kind=FailureKind.SPEND)
            self._park(permit, now, _SPEND_PARK_S, named, "a 429 that names no quota and does not clear")
            return
        self.concurrency.on_push_back(permit.launched_at, now)
        self._shut(permit, failure, now, failure.rule.words)

    def _on_transport_failure(self, permit: Permit, failure: Failure, now: float) -> None:
        """Nothing but failures for a while, of several clips, is an outage: then one probe goes at a time."""
        trouble = self._trouble
        if failure.code in NEVER_SENT:
            trouble.note_unsent()
        else:
            trouble.note_failure(permit.clip_id, permit.first_asked_at, permit.launched_at, now)
        lasting = trouble.failures >= _FEW_FAILURES and trouble.quiet_s(now) > _QUIET_S
        if trouble.is_the_services and (lasting or trouble.failures >= _FAILURES_THAT_SHUT):
            self.is_down = True
            self._shut(permit, failure, now, f"it fails or cannot be reached ({failure.message})")
        else:
            self.gate.probe_lost(now, permit.launched_at)

    def _on_overloaded(self, permit: Permit, failure: Failure, now: float) -> None:
        self.put_off += 1
        if permit.tier is ServiceTier.FLEX:
            self._on_no_room(permit, failure, now)
            return
        self.concurrency.on_overload(now)
        self._overloads += 1
        self._trouble.note_failure(permit.clip_id, permit.first_asked_at, permit.launched_at, now)
        if self._overloads >= _OVERLOADS_THAT_SHUT and self._trouble.is_the_services:
            self._shut(permit, failure, now, failure.rule.words)
        else:
            self.gate.probe_lost(now, permit.launched_at)

    def _on_no_room(self, permit: Permit, failure: Failure, now: float) -> None:
        """Flex sheds as a matter of course. Where it takes hardly any, one probe goes at a time."""
        self.flex.record.note_shed()
        self._overloads += 1
        self._trouble.note_failure(permit.clip_id, permit.first_asked_at, permit.launched_at, now)
        self.gate.probe_lost(now, permit.launched_at)
        many = self._overloads >= _OVERLOADS_THAT_SHUT and self.flex.takes_none(self._overloads)
        if many and self._trouble.is_the_services:
            self.flex.shut(now, failure.retry_after_s, permit.launched_at)
        else:
            self.flex.gate.probe_lost(now, permit.launched_at)

    def _on_refusal(self, permit: Permit, failure: Failure, now: float) -> None:
        """A key, model or region that is refused gets a second look, by another clip where there is one."""
        refusals = self._refusals
        refusals.note_failure(permit.clip_id, permit.first_asked_at, permit.launched_at, now)
        if refusals.looked_again or refusals.is_a_crowd:
            self._close(failure)
        elif refusals.innocent:
            self.gate.shut(now, 0.0, f"it refused a request ({failure.message})", permit.launched_at)
        else:
            self.gate.probe_lost(now, permit.launched_at)

    @property
    def usual_tokens(self) -> float:
        """Prompt tokens of a request, as metered."""
        return self._estimate.tokens_each / GUESS_MARGIN

    @property
    def usual_usd(self) -> float:
        """Dollars of a request, as metered at whichever tiers were served."""
        return self._estimate.usd_each / GUESS_MARGIN

    def answers_soon(self, now: float) -> bool:
        """True if it can be asked, or will be within a minute as far as one can tell."""
        return not (self.closed or self.is_down) and self.gate.shut_until - now <= _SOON_S

    @property
    def fails_for_everybody(self) -> bool:
        """True if what fails now fails for several clips that have no cause to."""
        return self._trouble.is_the_services

    def _close(self, failure: Failure) -> None:
        """Not asked again in this life."""
        self.closed, self.parked_kind = True, failure.kind
        words, message = failure.rule.words, failure.message
        self._closed_because = (
            f"{words} ({message})" if failure.rule.closes else message
        )  # a `Trouble` says it all

    def _shut(self, permit: Permit, failure: Failure, now: float, reason: str) -> None:
        self.gate.shut(now, failure.retry_after_s, reason, permit.launched_at)

    def _park(self, permit: Permit, now: float, wait_s: float, failure: Failure, reason: str) -> None:
        reason = f"{reason}: {failure.message}" if failure.stands else reason
        self.gate.shut(now, wait_s, reason, permit.launched_at)
        self.parked_kind = failure.kind

    # ------------------------------------------------------------------------- words

    @property
    def usable(self) -> bool:
        """True if it is asked normally, rather than parked, probed or closed."""
        return not self.closed and self.gate.is_open

    def limited_by(self, now: float) -> str:
        """The reason that holds this route back, in words; empty when nothing does."""
        restraint = self._restraint()
        if restraint:
            return f"{self.label}: {restraint}"
        if self.closed:
            return f"{self.label}: {self._closed_because}"
        if not self.gate.is_open:
            left_s = max(self.gate.shut_until - now, 0.0)
            until = f"for {duration(left_s)} more" if left_s else "a probe is out"
            return f"{self.label}: {self.gate.reason}, {until}"
        if self.in_flight >= self.concurrency.limit:
            return f"{self.label}: {self.concurrency.limit} requests in flight"
        if not self.flex.gate.is_open:
            return f"{self.label}: {self.flex.gate.reason}"
        return f"{self.label}: {_BINDS.get(self.binds, self.binds)}" if self.binds else ""


_ASK_AHEAD_S = 1.0
_ASK_EVERY_S = 0.25
_ASK_SOON_S = 0.05
_MONEY = {*(limit.name for limit in (*LIMITS, *ALL_LIMITS) if limit.cap), "canary_cap"}
_OUTAGE_RETRY_S = 1.0
_FREE_S = 4.0
"""Without limits, how long the ledger's word holds: a limit that is set is obeyed within this time."""
_BINDS = {
    **{limit.name: limit.waiting for limit in (*LIMITS, *ALL_LIMITS)},
    "paused": "paused by a person (lipika budget resume)",
}


class _Estimate:
    """Tokens and dollars of a request before it is sent: arithmetic, corrected by what was metered.

    On the high side: a rate that is guessed too low breaks a budget, one guessed too high is settled in a second.
    """

    def __init__(self, capabilities: Capabilities):
        self._price = capabilities
        self._ratio = 1.0  # metered prompt tokens over the arithmetic
        self._tokens = 0.0
        self._usd = 0.0
        self._most_prompt, self._most_output = _MOST_PROMPT_TOKENS, 0

    def expect(self, request: TranscriptionRequest) -> int:
        """Take note of a request's size; returns the tokens of its prompt by arithmetic alone."""
        plain = estimate_prompt(request, self._price.audio_tokens_per_second)
        self._most_prompt = max(self._most_prompt, plain)
        self._most_output = max(
            self._most_output, min(request.max_output_tokens, self._price.max_output_tokens)
        )
        return plain

    def tokens(self, plain_tokens: int) -> float:
        return plain_tokens * self._ratio * 1.02

    @property
    def tokens_each(self) -> float:
        return self._tokens * GUESS_MARGIN or 700.0

    @property
    def usd_each(self) -> float:
        """The usual cost of a request; before anything has been metered, the most that there may be."""
        return self._usd * GUESS_MARGIN or self.usd_most

    @property
    def usd_most(self) -> float:
        """The most that the longest request so far may cost: its answer runs to the limit, nothing is cached."""
        prompt = math.ceil(self._most_prompt * max(self._ratio, 1.0) * GUESS_MARGIN)
        output = self._most_output or _MOST_OUTPUT_TOKENS
        dearest = max(self._price.text_usd, self._price.audio_usd)
        at_most = (prompt * dearest + output * self._price.output_usd) / 1e6
        return max(at_most, self._usd * GUESS_MARGIN)

    def learn(self, plain_tokens: int, metered_tokens: int, cost: float) -> None:
        self._ratio += 0.05 * (metered_tokens / max(plain_tokens, 1) - self._ratio)
        self._tokens += (metered_tokens - self._tokens) * (0.05 if self._tokens else 1.0)
        self._usd += (cost - self._usd) * (0.05 if self._usd else 1.0)


@dataclass(slots=True)
class _Statement:
    """The use of one worker, as it tells the ledger."""

    tokens_over: float
    usd_over: float
    usd_metered: float
    reserved_usd: float


class _Settlement:
    """The use since the ledger was last told. Money is told as the sum of this process's life, so that a
    question whose reply was lost does not count twice; the ledger, with one clock for all, tells the days apart."""

    def __init__(self) -> None:
        self.reserved_usd = 0.0
        self._tokens_over = 0.0
        self._usd_over = 0.0
        self._usd_metered = 0.0
        self._dirty = False
        self._told_at = -math.inf

    def add(self, slot: _Slot, prompt_tokens: int, cost: float) -> None:
        self._usd_metered += cost
        self._usd_over += cost - slot.usd
        self._tokens_over += prompt_tokens - slot.tokens
        self.reserved_usd -= slot.most_usd
        self._dirty = True

    def return_slot(self, slot: _Slot) -> None:
        self._usd_over -= slot.usd
        self._tokens_over -= slot.tokens
        self.reserved_usd -= slot.most_usd
        self._dirty = True

    def due(self, now: float) -> bool:
        return self._dirty and now - self._told_at > _SETTLE_EVERY_S

    def snapshot(self) -> _Statement:
        return _Statement(self._tokens_over, self._usd_over, self._usd_metered, self.reserved_usd)

    def acknowledge(self, statement: _Statement, now: float) -> None:
        self._tokens_over -= statement.tokens_over
        self._usd_over -= statement.usd_over
        self._dirty = self._usd_metered != statement.usd_metered
        self._told_at = now


_SETTLE_EVERY_S = 2.0


def seconds_to_pacific_midnight(unix_s: float) -> float:
    """Until Google's daily quotas begin anew: midnight Pacific, taken as standard time (an hour late in summer)."""
    now = datetime.fromtimestamp(unix_s, _PACIFIC_STANDARD)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()

"""The engine against the simulator over real HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from asking import a_request, accept, an_engine, digest, quick
from fleet_kit import until
from lipika.engine.engine import Engine
from lipika.engine.outcome import Accept, Circumstances, Outcome, Review
from lipika.errors import Draining, WorkerStop
from lipika.models import Advice, BatchReport, Failure, FailureKind
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Latency, Quotas, SimulatorConfig, running


def config(*rules: FaultRule, quotas: Quotas | None = None, latency_s: float = 0.02) -> SimulatorConfig:
    return SimulatorConfig(
        latency=Latency(latency_s, 0.1), faults=FaultPlan(rules), quotas=quotas or Quotas(), light=True
    )


async def ask_all(engine: Engine, count: int, *, video: str = "v") -> list[Outcome]:
    return await asyncio.gather(
        *(engine.transcribe(a_request(number, video=video), accept) for number in range(count))
    )


async def test_every_clip_is_answered_metered_and_accounted_to_a_batch() -> None:
    reports: list[BatchReport] = []
    async with running(config()) as sim, an_engine(sim.url, on_batch=reports.append) as engine:
        outcomes = await ask_all(engine, 60)
    assert all(outcome.judged and outcome.attempts == 1 for outcome in outcomes)
    assert sum(outcome.cost_usd for outcome in outcomes) == pytest.approx(engine.totals.cost_usd)
    assert sum(report.segments_sent for report in reports) == 60
    assert sum(report.segments_returned for report in reports) == 60
    assert sum(report.usage.prompt for report in reports) == engine.totals.usage.prompt
    assert {outcome.batch_id for outcome in outcomes} == {report.batch_id for report in reports}
    assert all(report.provider_used == "aistudio" for report in reports)
    assert engine.totals.model_versions == {"simulated": 60}
    assert engine.in_flight == engine.queued == 0


async def test_a_window_takes_no_more_first_attempts_than_its_size() -> None:
    reports: list[BatchReport] = []
    options = quick(batch_size=10, interval_s=0.5)
    async with (
        running(config()) as sim,
        an_engine(sim.url, options=options, on_batch=reports.append) as engine,
    ):
        await ask_all(engine, 35)
    assert sum(report.segments_sent for report in reports) == 35
    assert max(report.segments_sent for report in reports) <= 10
    assert len(reports) >= 4


async def test_burst_fires_the_whole_window_at_once() -> None:
    options = quick(batch_size=40, interval_s=30, burst=True)
    async with running(config(latency_s=0.5)) as sim, an_engine(sim.url, options=options) as engine:
        asking = asyncio.gather(*(engine.transcribe(a_request(n), accept) for n in range(40)))
        await asyncio.sleep(0.3)
        assert engine.in_flight == 40
        await asking


@pytest.mark.parametrize("kind", [FaultKind.INTERNAL, FaultKind.DEADLINE, FaultKind.RESET, FaultKind.HTML])
async def test_transient_failures_are_retried(kind: FaultKind) -> None:
    rule = FaultRule(kind, attempts=2)
    async with running(config(rule)) as sim, an_engine(sim.url) as engine:
        outcomes = await ask_all(engine, 5)
    assert [outcome.attempts for outcome in outcomes] == [3] * 5
    assert all(outcome.judged for outcome in outcomes)
    assert engine.totals.errors == 10


async def test_after_three_retries_the_clip_has_failed_and_says_why() -> None:
    """While others are answered; if nobody is, it is an outage."""
    broken = FaultRule(FaultKind.INTERNAL, digests=(digest(a_request(0))[:12],))
    async with running(replace(config(broken), light=False)) as sim, an_engine(sim.url) as engine:
        outcome, *others = await ask_all(engine, 40)
    assert all(other.judged for other in others)
    assert outcome.attempts == 4
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.http_status) == (FailureKind.SERVER, 500)


async def test_a_hang_ends_at_the_deadline() -> None:
    rule = FaultRule(FaultKind.HANG, attempts=1)
    async with running(config(rule)) as sim, an_engine(sim.url, timeout_s=0.4) as engine:
        (outcome,) = await ask_all(engine, 1)
    assert outcome.judged
    assert engine.totals.failure_kinds == {"timeout": 1}


@pytest.mark.parametrize(
    "kind", [FaultKind.MALFORMED, FaultKind.EMPTY, FaultKind.MAX_TOKENS, FaultKind.PROSE]
)
async def test_an_unusable_answer_gets_one_varied_retry_and_is_paid_for(kind: FaultKind) -> None:
    async with running(config(FaultRule(kind, attempts=1))) as sim, an_engine(sim.url) as engine:
        (outcome,) = await ask_all(engine, 1)
        async with an_engine(sim.url) as other:
            clean = await other.transcribe(a_request(0), accept)
    assert outcome.judged
    assert outcome.attempts == 2
    assert outcome.cost_usd > clean.cost_usd


async def test_a_blocked_clip_fails_without_a_second_try() -> None:
    async with running(config(FaultRule(FaultKind.RECITATION))) as sim, an_engine(sim.url) as engine:
        (outcome,) = await ask_all(engine, 1)
    assert outcome.attempts == 1
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.BLOCKED


async def test_waiting_for_quota_fails_nobody() -> None:
    """More 429s than a clip has retries, and each says how long to wait."""
    rule = FaultRule(FaultKind.RATE_MINUTE, count=40, retry_after_s=0.05)
    async with running(config(rule)) as sim, an_engine(sim.url) as engine:
        outcomes = await ask_all(engine, 8)
    assert all(outcome.judged for outcome in outcomes)
    assert engine.totals.rate_limited == 40
    assert engine.totals.failed == 0


async def test_a_refused_key_stops_everybody_at_once() -> None:
    async with running(SimulatorConfig(keys=("right",))) as sim, an_engine(sim.url, key="wrong") as engine:
        ends = await asyncio.gather(
            *(engine.transcribe(a_request(number), accept) for number in range(20)), return_exceptions=True
        )
        assert all(isinstance(end, WorkerStop) for end in ends)
        with pytest.raises(WorkerStop, match="API key"):
            await engine.transcribe(a_request(99), accept)
    assert engine.totals.requests < 25


async def test_many_malformed_requests_in_a_row_stop_the_worker() -> None:
    options = quick(batch_size=100, bad_requests_in_a_row=5)
    async with (
        running(config(FaultRule(FaultKind.BAD_REQUEST))) as sim,
        an_engine(sim.url, options=options) as engine,
    ):
        ends = await asyncio.gather(
            *(engine.transcribe(a_request(number), accept) for number in range(200)), return_exceptions=True
        )
    assert any(isinstance(end, WorkerStop) for end in ends)


async def test_draining_lets_answers_in_flight_come_back_and_sends_the_rest_away() -> None:
    options = quick(batch_size=10, interval_s=60, burst=True)
    async with running(config(latency_s=0.3)) as sim, an_engine(sim.url, options=options) as engine:
        asking = [asyncio.create_task(engine.transcribe(a_request(n), accept)) for n in range(25)]
        await asyncio.sleep(0.1)
        assert engine.in_flight == 10
        engine.drain()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(end, Outcome) for end in ends) == 10
    assert sum(isinstance(end, Draining) for end in ends) == 15


async def test_no_clip_is_ever_in_flight_and_queued() -> None:
    """Whatever the faults, the server never sees one clip twice at the same time."""
    rules = (
        FaultRule(FaultKind.INTERNAL, probability=0.3, attempts=2),
        FaultRule(FaultKind.RATE_MINUTE, probability=0.2, count=30, retry_after_s=0.02),
        FaultRule(FaultKind.MALFORMED, probability=0.2, attempts=1),
    )
    async with running(config(*rules)) as sim, an_engine(sim.url) as engine:
        outcomes = await ask_all(engine, 100)
        stats = json.loads(sim.simulation.ledger.as_json({}))
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    assert sum(outcome.attempts for outcome in outcomes) == engine.totals.requests == stats["requests"]


async def test_an_answer_the_caller_refuses_counts_as_malformed() -> None:
    def refuse(_text: str, _asked: Circumstances) -> Review | Failure:
        return Failure(FailureKind.MALFORMED, "a loop", code="loop")

    async with running(config()) as sim, an_engine(sim.url) as engine:
        outcome = await engine.transcribe(a_request(), refuse)
    assert outcome.attempts == 2
    assert outcome.failure is not None
    assert outcome.failure.code == "loop"


async def test_an_outage_fails_no_clip_however_long_it_lasts() -> None:
    """Found by a run against a dead address: after four attempts each, every clip had failed."""
    dead = FaultRule(FaultKind.RESET)
    async with running(config(dead)) as sim, an_engine(sim.url) as engine:
        asking = asyncio.gather(*(engine.transcribe(a_request(number), accept) for number in range(6)))
        await asyncio.sleep(2.0)
        assert not asking.done()
        assert engine.totals.requests < 60, "one probe at a time"
        assert "cannot be reached" in engine.limited_by()
        sim.simulation.set_faults(FaultPlan())
        outcomes = await asyncio.wait_for(asking, 10)
    assert all(outcome.judged for outcome in outcomes)


def doubtful(advice: Advice, *, acceptable: bool = True, good_when_varied: bool = False) -> Accept:
    """A reviewer that is not content with the first answer."""

    def review(text: str, asked: Circumstances) -> Review | Failure:
        plain = accept(text)
        if isinstance(plain, Failure) or (asked.varied and good_when_varied):
            return plain
        verdict = replace(plain.judged.verdict, quality_score=0.2)
        return Review(replace(plain.judged, verdict=verdict), advice, acceptable)

    return review


async def test_a_doubtful_answer_gets_a_varied_retry_and_the_better_one_is_kept() -> None:
    async with running(config()) as sim, an_engine(sim.url) as engine:
        better = await engine.transcribe(a_request(0), doubtful(Advice.VARY, good_when_varied=True))
        same = await engine.transcribe(a_request(1), doubtful(Advice.VARY))
    assert (better.attempts, same.attempts) == (2, 2)
    assert better.judged is not None
    assert same.judged is not None
    assert better.judged.verdict.quality_score > same.judged.verdict.quality_score


async def test_a_paid_answer_survives_a_varied_retry_that_brings_none() -> None:
    rule = FaultRule(FaultKind.MALFORMED, skip=1)
    async with running(config(rule)) as sim, an_engine(sim.url) as engine:
        outcome = await engine.transcribe(a_request(), doubtful(Advice.VARY))
    assert outcome.attempts == 2
    assert outcome.judged is not None


async def test_a_doubted_answer_is_given_before_it_is_asked_for_again() -> None:
    given: list[Outcome] = []
    rule = FaultRule(FaultKind.STRAGGLER, skip=1, factor=20)
    async with running(config(rule)) as sim, an_engine(sim.url) as engine:
        asking = asyncio.create_task(engine.transcribe(a_request(), doubtful(Advice.VARY), given.append))
        await until(lambda: bool(given))
        assert engine.totals.returned == 0
        last = await asking
    (first,) = given
    assert (first.attempts, last.attempts) == (1, 2)
    assert first.judged is not None
    assert 0 < first.cost_usd < last.cost_usd


async def test_an_answer_that_no_clip_may_end_with_is_not_given() -> None:
    given: list[Outcome] = []
    async with running(config()) as sim, an_engine(sim.url) as engine:
        await engine.transcribe(a_request(), doubtful(Advice.VARY, acceptable=False), given.append)
    assert given == []


@pytest.mark.parametrize("how", ["drained", "closed"])
async def test_a_doubted_answer_ends_its_clip_when_no_better_one_can_come(how: str) -> None:
    """Its second attempt waits for the next window, half a minute away, and will not be made."""
    given: list[Outcome] = []
    options = quick(batch_size=1, interval_s=30)
    async with running(config()) as sim, an_engine(sim.url, options=options) as engine:
        doubted = asyncio.create_task(engine.transcribe(a_request(0), doubtful(Advice.VARY), given.append))
        fresh = asyncio.create_task(engine.transcribe(a_request(1), accept))
        await until(lambda: bool(given))
        if how == "drained":
            engine.drain()
    outcome, end = await asyncio.gather(doubted, fresh, return_exceptions=True)
    assert isinstance(end, Draining)
    assert isinstance(outcome, Outcome)
    assert outcome.judged is not None
    assert outcome.attempts == engine.totals.returned == 1


async def test_a_doubted_answer_ends_its_clip_when_the_key_is_refused() -> None:
    refusal = FaultRule(FaultKind.KEY_INVALID, skip=1)
    async with running(config(refusal)) as sim, an_engine(sim.url) as engine:
        outcome = await engine.transcribe(a_request(0), doubtful(Advice.VARY))
        with pytest.raises(WorkerStop):
            await engine.transcribe(a_request(1), accept)
    assert outcome.judged is not None
    assert outcome.attempts == 2


async def test_a_doubted_answer_ends_its_clip_when_it_is_drained_on_its_second_attempt() -> None:
    rules = (FaultRule(FaultKind.INTERNAL, skip=1), FaultRule(FaultKind.STRAGGLER, skip=1, factor=20))
    given: list[Outcome] = []
    async with running(config(*rules)) as sim, an_engine(sim.url) as engine:
        asking = asyncio.create_task(engine.transcribe(a_request(0), doubtful(Advice.VARY), given.append))
        await until(lambda: bool(given) and engine.in_flight == 1)
        engine.drain()
        outcome = await asking
    assert outcome.judged is not None
    assert outcome.attempts == 2


async def test_a_window_is_reported_again_when_an_answer_is_taken_after_its_report() -> None:
    """The answer is doubted, its window ends, and only then does the second attempt fail and the first one count."""
    reports: list[BatchReport] = []
    rule = FaultRule(FaultKind.MALFORMED, skip=1)
    async with running(config(rule)) as sim, an_engine(sim.url, on_batch=reports.append) as engine:
        outcome = await engine.transcribe(a_request(), doubtful(Advice.VARY))
    assert outcome.judged is not None
    of_answer = [report for report in reports if report.batch_id == outcome.batch_id]
    assert [report.segments_returned for report in of_answer] == [0, 1]
    assert [report.validation_scores["count"] for report in of_answer] == [0, 1]
    assert {report.usage for report in of_answer} == {of_answer[0].usage}, "paid for once"
    assert engine.totals.batches == len({report.batch_id for report in reports}) == 2
    last = {report.batch_id: report for report in reports}
    assert sum(report.segments_sent for report in last.values()) == 2
    assert sum(report.segments_returned for report in last.values()) == engine.totals.returned == 1


async def test_an_unacceptable_answer_never_ends_a_clip() -> None:
    async with running(config()) as sim, an_engine(sim.url) as engine:
        outcome = await engine.transcribe(a_request(), doubtful(Advice.VARY, acceptable=False))
    assert outcome.judged is None
    assert outcome.failure is not None
    assert engine.totals.failed == 1


async def test_a_cancelled_clip_is_never_sent() -> None:
    options = quick(batch_size=1, interval_s=5)
    async with running(config()) as sim, an_engine(sim.url, options=options) as engine:
        await engine.transcribe(a_request(0), accept)
        waiting = asyncio.create_task(engine.transcribe(a_request(1), accept))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert engine.totals.requests == 1


async def test_an_answer_whose_caller_is_cancelled_in_the_same_turn_of_the_loop_is_handed_over() -> None:
    """It had ended the clip, and nobody had been woken yet: paid for, and lost to the cancellation otherwise."""
    kept: list[Outcome] = []

    def cancel_next(text: str, asked: Circumstances) -> Review | Failure:
        asyncio.get_running_loop().call_soon(waiting.cancel)  # comes before whoever the answer wakes
        return accept(text, asked)

    async with running(config()) as sim, an_engine(sim.url) as engine:
        waiting = asyncio.create_task(engine.transcribe(a_request(), cancel_next, kept.append))
        await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert engine.totals.returned == 1
    assert [outcome.judged is not None for outcome in kept] == [True]


async def test_a_failure_whose_caller_is_cancelled_in_the_same_turn_of_the_loop_is_no_answer() -> None:
    kept: list[Outcome] = []

    def cancel_next(text: str, asked: Circumstances) -> Review | Failure:
        asyncio.get_running_loop().call_soon(waiting.cancel)
        return Failure(FailureKind.DEFECT, "not to be judged")

    async with running(config()) as sim, an_engine(sim.url) as engine:
        waiting = asyncio.create_task(engine.transcribe(a_request(), cancel_next, kept.append))
        await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert kept == []


def test_digests_of_test_clips_differ() -> None:
    assert len({digest(a_request(number)) for number in range(50)}) == 50

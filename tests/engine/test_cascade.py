"""A cascade: what is doubted of the cheap model goes up; the better answer is kept, and each dollar counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import a_request
from benchmarks.virtual import run
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, EngineOptions, Events, Outcome, Review
from lipika.engine.route import Route
from lipika.errors import LipikaError, WorkerStop
from lipika.llm import transcript
from lipika.llm.capabilities import load_capabilities
from lipika.models import Advice, BatchReport, Failure, FailureKind, Judged, Lane, Usage, Verdict
from scripted import GOOD, Asked, Says, Scripted, http

CHEAP, DEAR = "gemini-3.5-flash-lite", "gemini-3-flash-preview"
DOUBTED = GOOD.replace('"neutral"', '"sad"')  # what the reviewer below doubts
WORSE = GOOD.replace('"neutral"', '"angry"')
LOOP = GOOD.replace('"neutral"', '"happy"')  # and what it never accepts
KINDS = {"sad": 0.5, "angry": 0.3, "happy": 0.1}


def review(text: str, asked: Circumstances) -> Review | Failure:
    """As validation does: doubts are worth one varied try, a loop is never accepted."""
    answer = transcript.parse_answer(text)
    if isinstance(answer, Failure):
        return answer
    score = KINDS.get(answer.speaker_emotion, 0.9)
    lane = Lane(eligible=score > 0.4)
    verdict = Verdict((), score, {}, lane, lane, lane, False, False, 0, 0, 0, 10.0, "test")
    doubted = score < 0.9 and not asked.varied
    return Review(
        Judged(answer, verdict), Advice.VARY if doubted else Advice.KEEP, answer.speaker_emotion != "happy"
    )


class Ran:
    """Clips that were asked for in a cascade, and all that was said of them."""

    def __init__(self, *models: Sequence[Scripted]) -> None:
        self.models = models
        self.ends: dict[int, Outcome | LipikaError] = {}
        self.doubts: list[Outcome] = []
        self.batches: dict[str, BatchReport] = {}
        self.engine: Engine

    def ask(self, clips: int, *, step: int = 0, before: Judged | None = None) -> Ran:
        routes = [
            [
                Route(each, load_capabilities(model), max_in_flight=100, label=f"{model} of {number}")
                for number, each in enumerate(providers)
            ]
            for model, providers in zip((CHEAP, DEAR), self.models, strict=True)
        ]

        async def job() -> None:
            loop = asyncio.get_running_loop()
            self.engine = Engine(
                routes[0],
                worker_id="w",
                options=EngineOptions(),
                events=Events(on_batch=lambda report: self.batches.update({report.batch_id: report})),
                clock=loop.time,
                above=routes[1:],
            )

            async def one(number: int) -> None:
                request = replace(a_request(0), clip_id=f"v/{number}")
                try:
                    self.ends[number] = await self.engine.transcribe(
                        request, review, self.doubts.append, step=step, before=before
                    )
                except LipikaError as error:
                    self.ends[number] = error

            async with self.engine, asyncio.timeout(86_400):
                await asyncio.gather(*map(one, range(clips)))

        run(job, 1_790_000_000.0)
        return self

    def outcome(self, number: int = 0) -> Outcome:
        end = self.ends[number]
        assert isinstance(end, Outcome)
        return end


def cascade(cheap: Says, dear: Says = lambda _asked: None, clips: int = 1) -> tuple[Ran, Scripted, Scripted]:
    first, second = Scripted(cheap), Scripted(dear)
    return Ran([first], [second]).ask(clips), first, second


def test_an_answer_that_is_not_doubted_ends_at_the_cheap_model() -> None:
    ran, first, second = cascade(lambda _asked: None, clips=5)
    assert (len(first.asked), len(second.asked)) == (5, 0)
    assert {ran.outcome(number).model_id for number in range(5)} == {CHEAP}
    assert ran.outcome().cascade == ()
    assert (ran.engine.totals.models[CHEAP].answers, ran.engine.totals.models[CHEAP].went_up) == (5, 0)


def test_a_doubted_answer_goes_up_instead_of_being_asked_for_again() -> None:
    ran, first, second = cascade(lambda _asked: DOUBTED)
    assert (len(first.asked), len(second.asked)) == (1, 1)
    end = ran.outcome()
    assert end.model_id == DEAR
    assert [(one.model_id, one.answered) for one in end.cascade] == [(CHEAP, True), (DEAR, True)]
    (kept,) = end.aside
    assert (kept.model_id, kept.judged and kept.judged.answer.speaker_emotion) == (CHEAP, "sad")
    assert [paid.model_id for paid in ran.doubts] == [CHEAP], "what was paid for is handed over before"
    (batch,) = ran.batches.values()
    assert (batch.segments_sent, batch.segments_returned) == (2, 1), "one clip has ended"
    assert batch.failure_kinds == {"went_up": 1}
    assert {name: sums.answers for name, sums in batch.models.items()} == {CHEAP: 1, DEAR: 1}


def test_the_better_of_the_two_is_kept_by_todays_rule() -> None:
    ran, _, second = cascade(lambda _asked: DOUBTED, lambda _asked: WORSE)
    end = ran.outcome()
    assert len(second.asked) == 2, "the last model is asked again in other words, as a single one is"
    assert end.model_id == CHEAP
    assert [kept.model_id for kept in end.aside] == [DEAR]


@pytest.mark.parametrize(
    "bad",
    [LOOP, "no JSON", "", Failure(FailureKind.BLOCKED, "safety", http_status=200),
     Failure(FailureKind.TRUNCATED, "cut", http_status=200)],
)  # fmt: skip
def test_what_the_cheap_model_cannot_answer_goes_up_at_once(bad: Failure | str) -> None:
    ran, first, second = cascade(lambda _asked: bad)
    assert (len(first.asked), len(second.asked)) == (1, 1)
    end = ran.outcome()
    assert (end.model_id, end.aside) == (DEAR, ())
    assert end.cost_usd == pytest.approx(sum(one.usd for one in end.cascade))
    assert ran.engine.totals.failed == 0


def test_a_defect_of_ours_goes_nowhere() -> None:
    ran, _, second = cascade(lambda _asked: Failure(FailureKind.DEFECT, "ours"))
    failure = ran.outcome().failure
    assert failure is not None
    assert failure.kind is FailureKind.DEFECT
    assert second.asked == []


def test_the_cheap_answer_stands_where_the_dear_model_has_none() -> None:
    refused = Failure(FailureKind.BLOCKED, "safety", http_status=200)
    ran, _, _ = cascade(lambda _asked: DOUBTED, lambda _asked: refused)
    end = ran.outcome()
    assert (end.model_id, end.failure, end.aside) == (CHEAP, None, ())
    assert [one.because for one in end.cascade] == ["", "blocked"]
    assert ran.engine.totals.returned == 1


def test_a_quota_of_the_dear_model_holds_nobody_else_up() -> None:
    def dear(asked: Asked) -> Failure | None:
        return http(429, FailureKind.RATE_MINUTE, 30.0) if asked.now < 20 else None

    ran, _, _ = cascade(lambda asked: DOUBTED if asked.clip == 0 else None, dear, clips=20)
    assert {ran.outcome(number).model_id for number in range(1, 20)} == {CHEAP}
    assert ran.outcome(0).model_id == DEAR


def test_a_model_that_refuses_the_key_stops_the_worker_and_is_named() -> None:
    ran, _, _ = cascade(lambda _asked: LOOP, lambda _asked: http(404, FailureKind.AUTH), clips=2)
    assert isinstance(ran.ends[0], WorkerStop)
    assert DEAR in str(ran.ends[0])


def test_with_two_providers_a_refusal_goes_up_and_the_last_model_tries_both() -> None:
    refused = Failure(FailureKind.BLOCKED, "safety", http_status=200)
    cheap = [Scripted(lambda _asked: refused), Scripted(lambda _asked: None, name="openrouter")]
    dear = [Scripted(lambda _asked: refused), Scripted(lambda _asked: None, name="openrouter")]
    ran = Ran(cheap, dear).ask(1)
    assert [len(each.asked) for each in (*cheap, *dear)] == [1, 0, 1, 1]
    assert (ran.outcome().model_id, ran.outcome().provider) == (DEAR, "openrouter")


def test_a_clip_may_begin_with_the_second_model() -> None:
    first, second = Scripted(lambda _asked: None), Scripted(lambda _asked: None)
    ran = Ran([first], [second]).ask(3, step=1)
    assert (len(first.asked), len(second.asked)) == (0, 3)
    (batch,) = ran.batches.values()
    assert (batch.segments_retried, batch.segments_returned) == (0, 3), "a first attempt of its window"


SAID = st.sampled_from(["good", "doubted", "worse", "loop", "cut", "blocked", "5xx", "429"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(SAID, max_size=3), st.lists(SAID, max_size=4)), min_size=1, max_size=8))
def test_every_dollar_is_in_one_place(script: list[tuple[list[str], list[str]]]) -> None:
    """The sum over outcomes and answers aside is what was billed, in all and for each model and window."""
    texts = {"doubted": DOUBTED, "worse": WORSE, "loop": LOOP, "cut": "{"}
    failures = {
        "blocked": Failure(FailureKind.BLOCKED, "safety", http_status=200),
        "5xx": http(500, FailureKind.SERVER),
        "429": http(429, FailureKind.RATE_MINUTE, 1.0),
    }

    def says(which: int) -> Says:
        def say(asked: Asked) -> Failure | str | Usage | None:
            words = script[asked.clip][which]
            word = words[asked.asks - 1] if asked.asks <= len(words) else "good"
            return failures.get(word) or texts.get(word)

        return say

    ran, first, second = cascade(says(0), says(1), clips=len(script))
    ends = [ran.outcome(number) for number in range(len(script))]
    totals = ran.engine.totals
    each = [end.cost_usd for end in ends] + [aside.cost_usd for end in ends for aside in end.aside]
    assert sum(each) == pytest.approx(totals.cost_usd, abs=1e-12)
    assert sum(sums.usd for sums in totals.models.values()) == pytest.approx(totals.cost_usd, abs=1e-12)
    assert sum(batch.cost_usd for batch in ran.batches.values()) == pytest.approx(totals.cost_usd, abs=1e-12)
    assert sum(batch.segments_returned for batch in ran.batches.values()) == totals.returned
    assert totals.returned + totals.failed == len(script)
    assert sum(batch.segments_sent for batch in ran.batches.values()) == len(first.asked) + len(second.asked)
    gone_up = sum(len(end.cascade) > 1 for end in ends)
    assert totals.models[CHEAP].went_up >= gone_up
    for end in ends:
        assert (end.judged is None) == (end.failure is not None)
        if end.cascade:
            paid = end.cost_usd + sum(aside.cost_usd for aside in end.aside)
            assert sum(one.usd for one in end.cascade) == pytest.approx(paid, abs=1e-12)

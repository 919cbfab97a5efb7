"""Every fault the simulator can be told to make, as a client sees it, and when rules apply."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest

from lipika.errors import SettingsError
from lipika.llm.capabilities import load_capabilities
from lipika.llm.transcript import parse_answer
from lipika.models import Answer
from lipika.simulator import (
    FaultKind,
    FaultPlan,
    FaultRule,
    Latency,
    Listening,
    SimulatorConfig,
    Wire,
    gemini,
    running,
)
from lipika.simulator.audio import ear
from lipika.simulator.config import Caching, read
from lipika.simulator.exchange import Question
from lipika.simulator.faults import OF_SEVERAL_CLIPS, Faults
from simulator_kit import (
    INSTANT,
    MODEL,
    QUICK,
    ask_gemini,
    ask_openrouter,
    chat_body,
    flac,
    gemini_body,
    text_of,
)

CLIP = flac(4.0)


@pytest.fixture
async def sim() -> AsyncIterator[Listening]:
    async with running(QUICK) as listening:
        yield listening


def _plan(sim: Listening, *rules: FaultRule) -> None:
    sim.simulation.set_faults(FaultPlan(rules))


# ----------------------------------------------------------------------------- refusals

REFUSALS = {
    FaultKind.RATE_MINUTE: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.RATE_TOKENS: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.RATE_DAY: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.RATE_SEVERAL: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.RATE_BARE: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.RATE_MESSAGE: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.SPEND: (429, "RESOURCE_EXHAUSTED", 429),
    FaultKind.OVERLOADED: (503, "UNAVAILABLE", 503),
    FaultKind.INTERNAL: (500, "INTERNAL", 500),
    FaultKind.DEADLINE: (504, "DEADLINE_EXCEEDED", 504),
    FaultKind.BUSY: (529, "UNAVAILABLE", 529),
    FaultKind.BAD_REQUEST: (400, "INVALID_ARGUMENT", 400),
    FaultKind.KEY_INVALID: (400, "INVALID_ARGUMENT", 401),
    FaultKind.PERMISSION: (403, "PERMISSION_DENIED", 403),
    FaultKind.REGION: (400, "FAILED_PRECONDITION", 403),
    FaultKind.MODEL_GONE: (404, "NOT_FOUND", 404),
    FaultKind.PAYMENT: (403, "PERMISSION_DENIED", 402),
    FaultKind.MODERATION: (403, "PERMISSION_DENIED", 403),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_refusals_on_both_wires(sim: Listening, kind: FaultKind) -> None:
    gemini_status, word, openrouter_status = REFUSALS[kind]
    _plan(sim, FaultRule(kind))
    status, reply = await ask_gemini(sim.url, gemini_body(CLIP))
    assert (status, reply["error"]["code"], reply["error"]["status"]) == (gemini_status, gemini_status, word)
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    assert (status, reply["error"]["code"]) == (openrouter_status, openrouter_status)
    assert reply["error"]["metadata"]["error_type"]
    assert sim.simulation.ledger.cost_usd == 0


async def _details(sim: Listening, rule: FaultRule) -> tuple[str, dict[str, dict[str, Any]]]:
    _plan(sim, rule)
    _, reply = await ask_gemini(sim.url, gemini_body(CLIP))
    details = {entry["@type"].rpartition(".")[2]: entry for entry in reply["error"].get("details", [])}
    return reply["error"]["message"], details


async def test_429s_with_details(sim: Listening) -> None:
    message, details = await _details(sim, FaultRule(FaultKind.RATE_MINUTE))
    assert message.endswith("Please retry in 34.07s.")
    assert details["RetryInfo"]["retryDelay"] == "34.07s"
    (violation,) = details["QuotaFailure"]["violations"]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-PaidTier"
    assert violation["quotaDimensions"] == {"location": "global", "model": MODEL}
    _, details = await _details(sim, FaultRule(FaultKind.RATE_SEVERAL))
    quota_ids = [violation["quotaId"] for violation in details["QuotaFailure"]["violations"]]
    for part in ("RequestsPerMinute", "InputTokensPerModelPerMinute", "RequestsPerDay"):
        assert any(part in quota_id for quota_id in quota_ids)
    assert details["RetryInfo"]["retryDelay"] == "25200s"
    _, details = await _details(sim, FaultRule(FaultKind.RATE_MINUTE, retry_after_s=1.68))
    assert details["RetryInfo"]["retryDelay"] == "1.68s"


async def test_429s_without_details(sim: Listening) -> None:
    for kind in (FaultKind.RATE_BARE, FaultKind.SPEND):
        message, details = await _details(sim, FaultRule(kind))
        assert (message, details) == ("Resource has been exhausted (e.g. check quota).", {})
    message, details = await _details(sim, FaultRule(FaultKind.RATE_MESSAGE))
    assert message.endswith("Please retry in 1.68s.")
    assert not details
    message, _ = await _details(sim, FaultRule(FaultKind.RATE_MESSAGE, retry_after_s=0.35))
    assert message.endswith("Please retry in 350ms.")


# ----------------------------------------------------------------------------- the connection


async def _raw(sim: Listening, timeout_s: float = 5.0) -> tuple[int, str, bytes]:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(
            f"{sim.url}/v1beta/models/{MODEL}:generateContent",
            data=orjson.dumps(gemini_body(CLIP)),
            headers={"x-goog-api-key": "k"},
        ) as reply,
    ):
        return reply.status, reply.content_type, await reply.read()


async def test_hang(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.HANG))
    with pytest.raises(TimeoutError):
        await _raw(sim, timeout_s=0.3)
    for _ in range(100):  # until the server, too, has seen that the client is gone
        if sim.simulation.ledger.abandoned:
            break
        await asyncio.sleep(0.01)
    assert (sim.simulation.ledger.abandoned, sim.simulation.ledger.in_flight) == (1, 0)
    assert sim.simulation.ledger.accepted == 0
    _plan(sim, FaultRule(FaultKind.HANG, delay_s=0.0))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await _raw(sim)


async def test_reset(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.RESET))
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await _raw(sim)
    assert sim.simulation.ledger.by_status[0] == 1
    assert sim.simulation.ledger.cost_usd > 0, "it was answered, and is billed"


async def test_cut_body(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.CUT_BODY))
    with pytest.raises(aiohttp.ClientPayloadError):
        await _raw(sim)


async def test_slow_body_and_straggler_take_longer() -> None:
    async with running(SimulatorConfig(latency=Latency(median_s=0.001, sigma=0))) as sim:
        loop = asyncio.get_running_loop()
        times = []
        for rule in (FaultRule(FaultKind.SLOW_BODY, delay_s=0.3), FaultRule(FaultKind.STRAGGLER, factor=300)):
            _plan(sim, rule)
            began = loop.time()
            status, _, body = await _raw(sim)
            times.append(loop.time() - began)
            assert status == 200
            assert orjson.loads(body)["candidates"]
        assert min(times) >= 0.28


async def test_html_from_a_proxy(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.HTML))
    status, kind, body = await _raw(sim)
    assert (status, kind) == (502, "text/html")
    assert body.startswith(b"<html>")


CONNECTION = {
    FaultKind.HANG,
    FaultKind.RESET,
    FaultKind.CUT_BODY,
    FaultKind.SLOW_BODY,
    FaultKind.STRAGGLER,
    FaultKind.HTML,
}

# ----------------------------------------------------------------------------- HTTP 200


def _finish(reply: dict[str, Any]) -> str:
    (candidate,) = reply["candidates"]
    return str(candidate["finishReason"])


def _answer(reply: dict[str, Any]) -> Answer:
    answer = parse_answer(text_of(reply))
    assert isinstance(answer, Answer)
    return answer


def _unusable(reply: dict[str, Any]) -> bool:
    return _finish(reply) == "STOP" and not isinstance(parse_answer(text_of(reply)), Answer)


Sight = Callable[[dict[str, Any], dict[str, Any]], bool]
"""From the reply with the fault and the one without to whether the fault shows."""

AS_GEMINI: dict[FaultKind, Sight] = {
    FaultKind.ERROR_IN_200: lambda bad, _: bad["error"]["code"] == 500,
    FaultKind.ERROR_IN_CHOICE: lambda bad, _: bad["error"]["code"] == 500,
    FaultKind.BLOCKED_PROMPT: lambda bad, _: (
        "candidates" not in bad and bad["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    ),
    FaultKind.SAFETY: lambda bad, _: _finish(bad) == "SAFETY" and "content" not in bad["candidates"][0],
    FaultKind.RECITATION: lambda bad, _: _finish(bad) == "RECITATION",
    FaultKind.PROHIBITED: lambda bad, _: _finish(bad) == "PROHIBITED_CONTENT",
    FaultKind.OTHER: lambda bad, _: _finish(bad) == "OTHER",
    FaultKind.MAX_TOKENS: lambda bad, good: (
        _finish(bad) == "MAX_TOKENS" and text_of(good).startswith(text_of(bad))
    ),
    FaultKind.RUNAWAY: lambda bad, _: (
        _finish(bad) == "MAX_TOKENS"
        and bad["usageMetadata"]["totalTokenCount"] - bad["usageMetadata"]["promptTokenCount"] == 4096
    ),
    FaultKind.EMPTY: lambda bad, _: _finish(bad) == "STOP" and text_of(bad) == "",
    FaultKind.NO_PARTS: lambda bad, _: "parts" not in bad["candidates"][0]["content"],
    FaultKind.THOUGHTS_ONLY: lambda bad, _: (
        [part["thought"] for part in bad["candidates"][0]["content"]["parts"]] == [True]
    ),
    FaultKind.MALFORMED: lambda bad, _: _unusable(bad),
    FaultKind.PROSE: lambda bad, _: _unusable(bad) and "{" not in text_of(bad),
    FaultKind.MISSING_FIELDS: lambda bad, _: _unusable(bad) and len(orjson.loads(text_of(bad))) == 3,
    FaultKind.DUPLICATE_ANSWER: lambda bad, good: text_of(bad) == f"{text_of(good)}\n{text_of(good)}",
    FaultKind.SPLIT_PARTS: lambda bad, good: (
        len(bad["candidates"][0]["content"]["parts"]) == 4 and text_of(bad) == text_of(good)
    ),
    FaultKind.FENCED: lambda bad, good: (
        text_of(bad).startswith("```json\n") and _answer(bad) == _answer(good)
    ),
    FaultKind.NO_USAGE: lambda bad, good: "usageMetadata" not in bad and text_of(bad) == text_of(good),
    FaultKind.PARTIAL_USAGE: lambda bad, good: (
        "thoughtsTokenCount" not in bad["usageMetadata"]
        and bad["usageMetadata"]["totalTokenCount"] == good["usageMetadata"]["totalTokenCount"]
    ),
    FaultKind.VERSION_DRIFT: lambda bad, good: bad["modelVersion"] != good["modelVersion"],
    FaultKind.LOOP: lambda bad, good: (
        _answer(bad).transcription.split() == _answer(good).transcription.split()[:3] * 12
    ),
    FaultKind.WRONG_LANGUAGE: lambda bad, _: (
        not any("\u0900" <= letter <= "\u0963" for letter in text_of(bad))
    ),
    FaultKind.MARKUP: lambda bad, _: "<ctrl46>" in _answer(bad).transcription,
    FaultKind.PROMPT_ECHO: lambda bad, _: _answer(bad).transcription == "Language hint: Hindi (hi)",
    FaultKind.OTHER_CLIP: lambda bad, good: _answer(bad).transcription != _answer(good).transcription,
    FaultKind.TAG_MISMATCH: lambda bad, _: (
        _answer(bad).tagged.replace("[laugh]", "").split() != _answer(bad).transcription.split()
    ),
    FaultKind.INVENTED_SPEECH: lambda bad, good: (
        len(_answer(bad).transcription) > 2 * len(_answer(good).transcription)
    ),
    FaultKind.FALSE_NO_SPEECH: lambda bad, _: _answer(bad).no_speech,
    FaultKind.EMPTY_TRANSCRIPTION: lambda bad, _: (
        _unusable(bad) and orjson.loads(text_of(bad))["transcription"] == " "
    ),
    FaultKind.TIMESTAMPS: lambda bad, _: _answer(bad).transcription.startswith("[00:00]"),
    FaultKind.OTHER_WORDING: lambda bad, good: (
        len(_answer(bad).transcription) == len(_answer(good).transcription)
        and _answer(bad).transcription != _answer(good).transcription
    ),
}


@pytest.mark.parametrize("kind", AS_GEMINI)
async def test_spoiled_answers(sim: Listening, kind: FaultKind) -> None:
    _, good = await ask_gemini(sim.url, gemini_body(CLIP))
    _plan(sim, FaultRule(kind))
    status, bad = await ask_gemini(sim.url, gemini_body(CLIP))
    assert status == 200
    assert AS_GEMINI[kind](bad, good)
    assert sim.simulation.faults.count_uses() == {str(kind): 1}


def test_every_kind_of_fault_is_looked_at() -> None:
    looked_at = REFUSALS.keys() | CONNECTION | AS_GEMINI.keys()
    assert looked_at == set(FaultKind) - OF_SEVERAL_CLIPS  # which test_several_clips looks at


async def test_speech_invented_for_silence(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.INVENTED_SPEECH))
    _, bad = await ask_gemini(sim.url, gemini_body(flac(3, level=0)))
    assert not _answer(bad).no_speech


AS_OPENROUTER: dict[FaultKind, tuple[str, str]] = {
    FaultKind.BLOCKED_PROMPT: ("content_filter", "PROHIBITED_CONTENT"),
    FaultKind.SAFETY: ("content_filter", "SAFETY"),
    FaultKind.RECITATION: ("content_filter", "RECITATION"),
    FaultKind.MAX_TOKENS: ("length", "MAX_TOKENS"),
    FaultKind.OTHER: ("error", "OTHER"),
    FaultKind.EMPTY: ("stop", "STOP"),
}


@pytest.mark.parametrize("kind", AS_OPENROUTER)
async def test_finish_reasons_at_openrouter(sim: Listening, kind: FaultKind) -> None:
    _plan(sim, FaultRule(kind))
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    (choice,) = reply["choices"]
    assert status == 200
    assert (choice["finish_reason"], choice["native_finish_reason"]) == AS_OPENROUTER[kind]
    assert not isinstance(parse_answer(choice["message"]["content"]), Answer)


async def test_failures_inside_http_200_at_openrouter(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.ERROR_IN_200, count=1), FaultRule(FaultKind.ERROR_IN_CHOICE))
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    assert (status, reply["error"]["code"], "choices" in reply) == (200, 502, False)
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    (choice,) = reply["choices"]
    assert (status, choice["error"]["code"], choice["finish_reason"]) == (200, 502, "error")


@pytest.mark.parametrize("kind", [FaultKind.NO_PARTS, FaultKind.THOUGHTS_ONLY])
async def test_no_content_at_openrouter(sim: Listening, kind: FaultKind) -> None:
    _plan(sim, FaultRule(kind))
    _, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    assert reply["choices"][0]["message"]["content"] is None


async def test_usage_left_out_at_openrouter(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.NO_USAGE, count=1), FaultRule(FaultKind.PARTIAL_USAGE))
    assert "usage" not in (await ask_openrouter(sim.url, chat_body(CLIP)))[1]
    usage = (await ask_openrouter(sim.url, chat_body(CLIP)))[1]["usage"]
    assert usage["completion_tokens_details"] == {}


# ----------------------------------------------------------------------------- when a rule applies


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def question() -> Question:
    return gemini.read(
        orjson.dumps(gemini_body(CLIP)),
        model=load_capabilities(MODEL),
        project="k",
        hear=ear(light=False, silence_peak_dbfs=-50),
    )


def _picks(rule: FaultRule, questions: list[Question], attempt: int = 1) -> list[bool]:
    faults = Faults(FaultPlan((rule,)), seed=0, clock=_Clock())
    return [faults.pick(question, attempt).main is not None for question in questions]


OVERLOADED = FaultRule(FaultKind.OVERLOADED)


def test_conditions(question: Question) -> None:
    digest = question.digest.hex()
    for change, expected in (
        ({}, True),
        ({"languages": ("hi", "ta")}, True),
        ({"languages": ("ta",)}, False),
        ({"digests": (digest[:6],)}, True),
        ({"digests": ("zz", digest)}, True),
        ({"digests": ("zz",)}, False),
        ({"models": (MODEL,)}, True),
        ({"models": ("other",)}, False),
        ({"projects": ("k",)}, True),
        ({"projects": ("j",)}, False),
        ({"wire": Wire.GEMINI}, True),
        ({"wire": Wire.OPENROUTER}, False),
    ):
        rule = replace(OVERLOADED, **change)
        assert _picks(rule, [question]) == [expected], change


def test_counts_and_attempts(question: Question) -> None:
    assert _picks(replace(OVERLOADED, skip=2, count=2), [question] * 6) == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    once = replace(OVERLOADED, attempts=2)
    assert [_picks(once, [question], attempt=attempt)[0] for attempt in (1, 2, 3)] == [True, True, False]


def test_time_windows(question: Question) -> None:
    clock = _Clock()
    faults = Faults(FaultPlan((replace(OVERLOADED, from_s=10, until_s=70),)), seed=0, clock=clock)
    hits = []
    for clock.now in (1000.0, 1009.9, 1010.0, 1069.9, 1070.0):
        hits.append(faults.pick(question, 1).main is not None)
    assert hits == [False, False, True, True, False]


def test_probability_goes_by_clip_and_attempt_not_by_order(question: Question) -> None:
    questions = [replace(question, digest=number.to_bytes(32, "big")) for number in range(1000)]
    rule = replace(OVERLOADED, probability=0.3)
    forward = _picks(rule, questions)
    assert _picks(rule, questions[::-1])[::-1] == forward
    assert 250 < sum(forward) < 350
    assert _picks(rule, questions, attempt=2) != forward


def test_the_first_rule_wins_and_timing_comes_on_top(question: Question) -> None:
    rules = (
        replace(OVERLOADED, languages=("ta",)),
        FaultRule(FaultKind.STRAGGLER),
        FaultRule(FaultKind.LOOP, name="loops"),
        FaultRule(FaultKind.SLOW_BODY),
        FaultRule(FaultKind.EMPTY),
    )
    faults = Faults(FaultPlan(rules), seed=0, clock=_Clock())
    picked = faults.pick(question, 1)
    assert (picked.main, picked.timing) == (rules[2], rules[1])
    assert faults.count_uses() == {"overloaded": 0, "straggler": 1, "loops": 1, "slow_body": 0, "empty": 0}


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"faults": [{"kind": "none"}]}, "faults.0.kind"),
        ({"faults": [{"kind": "hang", "probabilty": 1}]}, "probabilty"),
        ({"fault": []}, "fault"),
    ],
)
def test_a_plan_with_a_mistake_is_refused(fields: dict[str, object], cause: str) -> None:
    with pytest.raises(SettingsError, match=f"plan.toml: .*{cause}"):
        read(FaultPlan, fields, "plan.toml")


async def test_a_fault_that_refuses_uses_no_quota_and_no_money() -> None:
    config = SimulatorConfig(latency=INSTANT, faults=FaultPlan((replace(OVERLOADED, count=3),)))
    async with running(config) as sim:
        statuses = [(await ask_gemini(sim.url, gemini_body(CLIP)))[0] for _ in range(5)]
        assert statuses == [503, 503, 503, 200, 200]
        assert sim.simulation.ledger.accepted == 2
        assert sim.simulation.ledger.prompt_tokens % 2 == 0


# ----------------------------------------------------------------------------- what a canary should find


async def test_a_fault_may_depend_on_the_temperature(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.EMPTY, max_temperature=0.5))
    _, cold = await ask_gemini(sim.url, gemini_body(CLIP, temperature=0))
    _, usual = await ask_gemini(sim.url, gemini_body(CLIP, temperature=None))
    _, warm = await ask_gemini(sim.url, gemini_body(CLIP, temperature=1.0))
    assert text_of(cold) == ""
    assert text_of(usual) == text_of(warm) != ""
    _, chat, _ = await ask_openrouter(sim.url, chat_body(CLIP, temperature=0))
    _, chat_usual, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    assert chat["choices"][0]["message"]["content"] == ""
    assert chat_usual["choices"][0]["message"]["content"] == text_of(usual)


async def test_a_fault_may_depend_on_the_thinking_level(sim: Listening) -> None:
    _plan(sim, FaultRule(FaultKind.EMPTY, thinking=("MINIMAL",)))
    _, minimal = await ask_gemini(sim.url, gemini_body(CLIP, thinkingConfig={"thinkingLevel": "MINIMAL"}))
    _, low = await ask_gemini(sim.url, gemini_body(CLIP))
    assert (text_of(minimal), bool(text_of(low))) == ("", True)


async def test_one_api_may_word_things_otherwise_by_a_planted_share(sim: Listening) -> None:
    """Without the rule both say the same; with it letters differ, and nothing else of the answer does."""
    clips = [flac(4.0, seed=seed) for seed in range(30)]
    _plan(sim, FaultRule(FaultKind.OTHER_WORDING, wire=Wire.OPENROUTER, share=0.2))
    letters = changed = 0
    for clip in clips:
        _, one = await ask_gemini(sim.url, gemini_body(clip))
        _, other, _ = await ask_openrouter(sim.url, chat_body(clip))
        first, second = parse_answer(text_of(one)), parse_answer(other["choices"][0]["message"]["content"])
        assert isinstance(first, Answer)
        assert isinstance(second, Answer)
        pairs = list(zip(first.transcription, second.transcription, strict=True))
        assert second.detected_language == first.detected_language
        letters += sum(unicodedata.category(mine)[0] == "L" for mine, _ in pairs)
        changed += sum(mine != theirs for mine, theirs in pairs)
    assert changed / letters == pytest.approx(0.2, abs=0.04)


async def test_the_cache_may_hold_whole_blocks_only() -> None:
    config = replace(QUICK, caching=Caching(min_tokens=100, block_tokens=256))
    system = "Language hint: Hindi (hi)\n" + "word " * 300  # 382 tokens
    async with running(config) as sim:
        _, first = await ask_gemini(sim.url, gemini_body(CLIP, system=system))
        _, second = await ask_gemini(sim.url, gemini_body(flac(3.0), system=system))
    assert "cachedContentTokenCount" not in first["usageMetadata"]
    assert second["usageMetadata"]["cachedContentTokenCount"] == 256


async def test_a_model_may_be_about_to_retire() -> None:
    config = replace(QUICK, retirement_time="2027-01-31T00:00:00Z")
    async with running(config) as sim, aiohttp.ClientSession(headers={"x-goog-api-key": "k"}) as session:
        async with session.get(f"{sim.url}/v1beta/models/{MODEL}") as reply:
            told = await reply.json()
    assert told["modelStatus"]["retirementTime"] == "2027-01-31T00:00:00Z"

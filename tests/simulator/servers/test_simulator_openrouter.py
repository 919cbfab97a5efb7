"""The OpenRouter side of the simulator: what it accepts, refuses and answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from lipika.llm.lean import KEYS
from lipika.llm.transcript import parse_answer, response_schema
from lipika.models import Answer, AnswerForm
from lipika.simulator import Caching, Listening, Quotas, SimulatorConfig, running
from lipika.simulator.tokens import text_tokens
from simulator_kit import (
    INSTANT,
    MODEL,
    QUICK,
    ask_gemini,
    ask_openrouter,
    chat_body,
    flac,
    gemini_body,
    post,
    text_of,
)

CLIP = flac(4.0)


@pytest.fixture
async def sim() -> AsyncIterator[Listening]:
    async with running(QUICK) as listening:
        yield listening


async def test_both_wires_give_the_same_answer_and_the_same_usage(sim: Listening) -> None:
    _, gemini = await ask_gemini(sim.url, gemini_body(CLIP))
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP))
    choice, usage, metered = reply["choices"][0], reply["usage"], gemini["usageMetadata"]
    assert status == 200
    assert isinstance(parse_answer(choice["message"]["content"]), Answer)
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "STOP")
    assert usage["prompt_tokens"] == metered["promptTokenCount"]
    assert usage["prompt_tokens_details"]["audio_tokens"] == 128
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] > 0
    text = usage["prompt_tokens"] - 128
    expected_usd = (text * 0.5 + 128 * 1.0 + usage["completion_tokens"] * 3.0) / 1e6
    assert usage["cost"] == pytest.approx(expected_usd)
    assert reply["model"] == "simulated"


async def test_a_lean_answer_says_the_same_on_both_wires_in_half_the_tokens(sim: Listening) -> None:
    lean = response_schema(AnswerForm.LEAN)
    _, full = await ask_gemini(sim.url, gemini_body(CLIP))
    _, gemini = await ask_gemini(sim.url, gemini_body(CLIP, responseJsonSchema=lean))
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": lean}}
    _, chat, _ = await ask_openrouter(sim.url, chat_body(CLIP, response_format=form))
    text = chat["choices"][0]["message"]["content"]
    assert text == text_of(gemini)
    assert list(orjson.loads(text)) == list(KEYS)
    assert isinstance(parse_answer(text), Answer)
    assert parse_answer(text) == parse_answer(text_of(full))
    told, lean_told = full["usageMetadata"], gemini["usageMetadata"]
    assert lean_told["candidatesTokenCount"] == text_tokens(text)
    assert lean_told["candidatesTokenCount"] <= 0.55 * told["candidatesTokenCount"]
    assert lean_told["thoughtsTokenCount"] == told["thoughtsTokenCount"]
    assert chat["usage"]["total_tokens"] == lean_told["totalTokenCount"]


async def test_bare_text_content_and_no_schema(sim: Listening) -> None:
    body = chat_body(CLIP, messages=[{"role": "user", "content": "hello"}], response_format=None)
    status, reply, _ = await ask_openrouter(sim.url, body)
    assert (status, reply["usage"]["prompt_tokens_details"]["audio_tokens"]) == (200, 0)
    _, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP, response_format={"type": "json_object"}))
    assert isinstance(parse_answer(reply["choices"][0]["message"]["content"]), Answer)


async def test_an_openai_compatible_client_finds_its_path(sim: Listening) -> None:
    body = chat_body(CLIP, model=MODEL)
    status, reply, _ = await post(
        f"{sim.url}/v1/chat/completions", body, headers={"Authorization": "Bearer k"}
    )
    assert (status, reply["object"]) == (200, "chat.completion")


def _audio_message(**audio: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": audio}]}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "google/none"}, "google/none is not a valid model ID"),
        ({"messages": []}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x" * 65}}}, "name"),
        ({"stream": True}, "stream"),
        (_audio_message(data="AAAA"), "format"),
        (_audio_message(data="AAAA", format="flac"), "unreadable audio"),
        (_audio_message(data="data:audio/flac;base64,AAAA", format="flac"), "not base64"),
    ],
)
async def test_bad_requests(sim: Listening, changes: dict[str, Any], message: str) -> None:
    status, reply, _ = await ask_openrouter(sim.url, chat_body(CLIP, **changes))
    assert status == 400
    assert reply["error"]["code"] == 400
    assert message in reply["error"]["message"]
    assert reply["error"]["metadata"]["error_type"] == "invalid_request"


async def test_a_parameter_that_no_endpoint_takes(sim: Listening) -> None:
    body = chat_body(
        CLIP, model="google/gemini-3.6-flash", temperature=0, provider={"require_parameters": True}
    )
    status, reply, _ = await ask_openrouter(sim.url, body)
    assert (status, reply["error"]["code"]) == (404, 404)
    assert (await ask_openrouter(sim.url, body | {"provider": {"require_parameters": False}}))[0] == 200


async def test_keys_credit_and_models() -> None:
    config = SimulatorConfig(latency=INSTANT, keys=("right",), quotas=Quotas(credit_usd=0.001))
    async with running(config) as sim, aiohttp.ClientSession() as session:
        assert (await ask_openrouter(sim.url, chat_body(CLIP), key="wrong"))[0] == 401
        assert (await ask_openrouter(sim.url, chat_body(CLIP), key=""))[0] == 401
        statuses = [(await ask_openrouter(sim.url, chat_body(CLIP), key="right"))[0] for _ in range(4)]
        assert statuses[0] == 200
        assert statuses[-1] == 402
        async with session.get(
            f"{sim.openrouter_url}/key", headers={"Authorization": "Bearer right"}
        ) as reply:
            facts = (await reply.json())["data"]
            assert facts["limit"] == 0.001
            assert facts["limit_remaining"] == 0
            assert facts["usage_daily"] == pytest.approx(sim.simulation.ledger.cost_usd)
        async with session.get(f"{sim.openrouter_url}/key") as reply:
            assert reply.status == 401
        async with session.get(f"{sim.openrouter_url}/models") as reply:
            assert f"google/{MODEL}" in [entry["id"] for entry in (await reply.json())["data"]]


async def test_a_rate_limit_comes_with_its_headers() -> None:
    async with running(SimulatorConfig(latency=INSTANT, quotas=Quotas(rpm=1))) as sim:
        await ask_openrouter(sim.url, chat_body(CLIP))
        status, reply, headers = await ask_openrouter(sim.url, chat_body(CLIP))
    assert status == 429
    assert reply["error"]["metadata"]["error_type"] == "rate_limit_exceeded"
    assert 0 < reply["error"]["availability"]["retry_after"] <= 60
    assert 0 < int(headers["Retry-After"]) <= 60
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("1", "0")


async def test_cached_tokens_are_listed() -> None:
    messages = chat_body(CLIP)["messages"]
    messages[0]["content"] += "\nword" * 1000
    async with running(SimulatorConfig(latency=INSTANT, caching=Caching(min_tokens=1024))) as sim:
        replies = [(await ask_openrouter(sim.url, chat_body(CLIP, messages=messages)))[1] for _ in range(2)]
    cached = [reply["usage"]["prompt_tokens_details"]["cached_tokens"] for reply in replies]
    assert cached[0] == 0
    assert cached[1] > 1024
    assert replies[1]["usage"]["cost"] < replies[0]["usage"]["cost"]


async def test_too_large_a_body_and_broken_json() -> None:
    async with running(SimulatorConfig(latency=INSTANT, max_body_bytes=1000)) as sim:
        assert (await ask_openrouter(sim.url, chat_body(CLIP)))[0] == 413
        assert (await ask_openrouter(sim.url, b"{"))[0] == 400


async def test_text_of_the_two_wires_is_the_same(sim: Listening) -> None:
    _, gemini = await ask_gemini(sim.url, gemini_body(CLIP))
    _, chat, _ = await ask_openrouter(sim.url, chat_body(CLIP, model=MODEL))
    assert chat["choices"][0]["message"]["content"] == text_of(gemini)

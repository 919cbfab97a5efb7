"""Flex on the wire: what is asked for, what was served, and what is billed for it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from asking import MODEL, a_request, aistudio
from client_kit import OPTIONS
from client_kit import openrouter as openrouter_client
from http_kit import listening
from lipika.llm.aistudio import AIStudioProvider, read_tier
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import ModelOptions, TranscriptionRequest
from lipika.llm.replies import Reply
from lipika.llm.transcript import response_schema
from lipika.models import FailureKind, ServiceTier, Usage
from lipika.simulator import FaultKind, FaultPlan, FaultRule, FlexQueue, Latency, SimulatorConfig, running
from simulator_kit import ask_gemini, flac, gemini_body

FLASH = load_capabilities(MODEL)
QUEUE = FlexQueue(scale=0.001, shed=0.0)


def flex(number: int = 0) -> TranscriptionRequest:
    return replace(a_request(number), tier=ServiceTier.FLEX)


def config(queue: FlexQueue = QUEUE, *rules: FaultRule) -> SimulatorConfig:
    return SimulatorConfig(latency=Latency(0.0), flex=queue, faults=FaultPlan(rules))


@dataclass(slots=True)
class Service:
    """Says the same to everybody, and notes the headers of what it is asked."""

    url: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)


@asynccontextmanager
async def saying(answer: object) -> AsyncIterator[Service]:
    service = Service()

    async def say(request: web.Request) -> web.Response:
        service.headers.append(request.headers)
        return web.json_response(answer)

    app = web.Application()
    app.add_routes([web.post("/{path:.*}", say)])
    async with listening(app) as url:
        service.url = url
        yield service


def vertex(url: str) -> AIStudioProvider:
    return AIStudioProvider(
        base_url=url,
        api_key="a-key",
        options=OPTIONS,
        capabilities=FLASH,
        response_schema=response_schema(),
        api_version="v1",
        models_path="publishers/google/models",
    )


def body_of(client: Any, request: TranscriptionRequest) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(client.encode(request))
    return sent


# ----------------------------------------------------------------------------- asked for


def test_the_tier_is_a_field_in_lower_case_and_nothing_at_the_standard_tier() -> None:
    client = aistudio("http://127.0.0.1")
    asked = body_of(client, flex())
    assert asked.pop("service_tier") == "flex"
    assert asked == body_of(client, a_request())


def test_openrouter_has_the_same_field_and_a_gateway_in_its_place_is_not_asked_for_what_it_may_not_know() -> (
    None
):
    client = openrouter_client("http://127.0.0.1")
    asked = body_of(client, flex())
    assert asked.pop("service_tier") == "flex"
    assert asked == body_of(client, a_request())
    gateway = OpenRouterProvider(
        base_url="http://127.0.0.1",
        api_key="a-key",
        options=OPTIONS,
        capabilities=FLASH,
        response_schema=response_schema(),
        prompt_version="1",
    )
    assert (client.has_tiers, gateway.has_tiers) == (True, False)
    assert body_of(gateway, flex()) == body_of(gateway, a_request())


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ("flex", ServiceTier.FLEX),
        ("default", ServiceTier.STANDARD),
        ("standard", ServiceTier.STANDARD),
        ("priority", ServiceTier.STANDARD),  # no price of ours is as high; nothing counts as cheaper
        (None, ServiceTier.STANDARD),
        (["flex"], ServiceTier.STANDARD),
    ],
)
async def test_openrouter_bills_the_tier_that_it_says(said: object, tier: ServiceTier) -> None:
    answer = {
        "model": "google/gemini",
        "choices": [{"message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600},
        "service_tier": said,
    }
    async with saying(answer) as service, openrouter_client(service.url) as client:
        assert (await client.transcribe(flex())).tier is tier


async def test_the_simulators_openrouter_has_the_tier_too_and_its_bill_is_ours() -> None:
    quick = replace(QUEUE, least_s=0.01, most_s=0.02, shed=0.0)
    async with running(config(quick)) as sim, openrouter_client(sim.url) as client:
        answers = [await client.transcribe(one) for one in (flex(), a_request())]
        assert [answer.tier for answer in answers] == [ServiceTier.FLEX, ServiceTier.STANDARD]
        at_flex, plain = (FLASH.cost_usd(answer.usage, answer.tier) for answer in answers)
        assert at_flex == pytest.approx(plain / 2, rel=0.2)


def test_vertex_has_the_tier_in_a_header() -> None:
    client = vertex("http://127.0.0.1")
    assert body_of(client, flex()) == body_of(client, a_request())


@pytest.mark.parametrize(("make", "tier"), [(aistudio, None), (vertex, "flex")], ids=["aistudio", "vertex"])
async def test_the_service_is_told_how_long_we_wait(make: Any, tier: str | None) -> None:
    async with saying({}) as service, make(service.url) as client:
        await client.transcribe(a_request())
        await client.transcribe(flex())
        await client.transcribe(replace(flex(), deadline_s=90.0))
    plain, at_flex, short = service.headers
    assert "X-Server-Timeout" not in plain
    assert "X-Vertex-AI-LLM-Shared-Request-Type" not in plain
    assert (at_flex["X-Server-Timeout"], short["X-Server-Timeout"]) == ("1195", "85")
    assert at_flex.get("X-Vertex-AI-LLM-Shared-Request-Type") == tier


async def test_an_answer_at_flex_may_take_longer_than_the_usual_deadline() -> None:
    queue = replace(QUEUE, least_s=1000.0, most_s=1000.0)
    options = ModelOptions(MODEL, 0.0, "low", 0.2, flex_timeout_s=30.0)
    async with (
        running(config(queue)) as sim,
        AIStudioProvider(
            base_url=sim.url,
            api_key="a-key",
            options=options,
            capabilities=FLASH,
            response_schema=response_schema(),
        ) as client,
    ):
        answered = await client.transcribe(flex())
    assert answered.failure is None
    assert answered.latency_ms >= 900


async def test_what_does_not_come_in_time_is_want_of_room() -> None:
    """The server's own deadline and ours alike; at the standard tier it stays what it was."""
    queue = replace(QUEUE, scale=1.0)
    async with running(config(queue)) as sim, aistudio(sim.url) as client:
        server = await client.transcribe(replace(flex(), deadline_s=6.0))
        assert (server.failure and server.failure.kind, server.failure and server.failure.http_status) == (
            FailureKind.OVERLOADED,
            504,
        )
        assert server.usage == Usage()
        assert sim.simulation.ledger.cost_usd == 0.0
        await ask_nothing_in_time(sim.url)


async def ask_nothing_in_time(url: str) -> None:
    async with aistudio(url, timeout_s=0.3) as client:
        ours = await client.transcribe(replace(flex(1), deadline_s=0.3))
    assert ours.failure is not None
    assert (ours.failure.kind, ours.failure.code) == (FailureKind.OVERLOADED, "deadline")


# ----------------------------------------------------------------------------- served


@pytest.mark.parametrize(
    ("header", "meta", "tier"),
    [
        ("flex", {}, "flex"),
        ("FLEX", {}, "flex"),
        ("standard", {"serviceTier": "flex"}, "standard"),
        (None, {"serviceTier": "flex"}, "flex"),
        (None, {"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        (None, {"trafficType": "ON_DEMAND"}, None),
        ("priority", {}, None),
        (None, {"serviceTier": 7}, None),
        (None, "no object", None),
    ],
)
def test_the_tier_that_was_served(header: str | None, meta: object, tier: str | None) -> None:
    assert read_tier(Reply(200, b"", service_tier=header), meta) == tier


async def test_the_bill_follows_what_was_served() -> None:
    """A fifth is shed, a third is served at the full price: to the cent what the service bills, by tier."""
    queue = replace(QUEUE, scale=0.0001, shed=0.2, served_standard=0.3)
    async with running(config(queue)) as sim, aistudio(sim.url) as client:
        answers = [response async for response in client.send_batch(flex(number) for number in range(60))]
        ledger = sim.simulation.ledger
    for tier in ServiceTier:
        served = [one for one in answers if one.failure is None and one.tier is tier]
        assert len(served) == ledger.answers_by_tier[tier] > 0
        paid = sum(FLASH.cost_usd(one.usage, one.tier) for one in served)
        assert paid == pytest.approx(ledger.usd_by_tier[tier], abs=1e-9)
    assert sum(one.failure is not None for one in answers) == ledger.shed > 0


async def test_what_says_nothing_of_its_tier_is_not_cheaper() -> None:
    answer = {
        "candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 500, "totalTokenCount": 600},
    }
    async with saying(answer) as service, aistudio(service.url) as client:
        assert (await client.transcribe(flex())).tier is ServiceTier.STANDARD


@given(
    prompt=st.integers(0, 10**6),
    audio=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
    cached=st.integers(0, 10**6),
)
def test_flex_is_half_of_every_price(prompt: int, audio: int, output: int, cached: int) -> None:
    usage = Usage(prompt + audio, prompt, audio, min(cached, prompt + audio), output)
    assert FLASH.cost_usd(usage, ServiceTier.FLEX) == pytest.approx(FLASH.cost_usd(usage) / 2)


def test_a_model_that_nobody_knows_is_not_cheaper_at_flex() -> None:
    unknown = load_capabilities("somebody/else")
    usage = Usage(1000, 600, 400, 0, 100)
    assert unknown.cost_usd(usage, ServiceTier.FLEX) == unknown.cost_usd(usage)


# ----------------------------------------------------------------------------- the simulator


@pytest.mark.parametrize("name", ["service_tier", "serviceTier"])
async def test_the_simulator_reads_both_spellings_and_lower_case_alone(name: str) -> None:
    async with running(config()) as sim:
        status, reply = await ask_gemini(sim.url, {**gemini_body(flac(2.0)), name: "flex"})
        assert (status, reply["usageMetadata"]["serviceTier"]) == (200, "flex")
        status, reply = await ask_gemini(sim.url, {**gemini_body(flac(2.0)), name: "FLEX"})
        assert status == 400
        assert "FLEX" in reply["error"]["message"]


async def test_faults_may_befall_one_tier() -> None:
    rule = FaultRule(FaultKind.OVERLOADED, tiers=("flex",))
    async with running(config(QUEUE, rule)) as sim, aistudio(sim.url) as client:
        shed, answered = await client.transcribe(flex()), await client.transcribe(a_request())
    assert shed.failure is not None
    assert (shed.failure.kind, answered.failure) == (FailureKind.OVERLOADED, None)


async def test_a_wait_is_one_to_fifteen_minutes_and_the_same_for_the_same_clip() -> None:
    config_ = config(FlexQueue(shed=0.2))
    clips = [base64.b64encode(bytes([number])) for number in range(200)]
    waits = [[place_of(config_, digest) for digest in clips] for _ in range(2)]
    assert waits[0] == waits[1]
    shed = [wait for wait in waits[0] if wait is None]
    taken = [wait for wait in waits[0] if wait is not None]
    assert 20 <= len(shed) <= 60
    assert 60 <= min(taken) < 120
    assert 840 < max(taken) <= 900


def place_of(config: SimulatorConfig, digest: bytes) -> float | None:
    from lipika.simulator.exchange import Question, Wire
    from lipika.simulator.tiers import place

    question = Question(
        Wire.GEMINI, "p", FLASH, "", "", None, digest, "hi", True, None, "LOW", None, tier=ServiceTier.FLEX
    )
    placed = place(config.flex, question, 1, config.seed)
    return None if placed.shed else placed.wait_s

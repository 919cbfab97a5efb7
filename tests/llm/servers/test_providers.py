"""What every provider promises, on both wires: order, failures as values, connections, deadlines, keys."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from asking import a_request
from client_kit import ANSWERS, KEY, MODEL, OPTIONS, Make, aistudio, both, openrouter
from lipika.errors import SettingsError
from lipika.llm import provider
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import (
    AUDIO_MARK,
    TranscriptionRequest,
    TranscriptionResponse,
)
from lipika.llm.transcript import response_schema
from lipika.models import FailureKind, Usage
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Latency, Listening, SimulatorConfig, running
from recorder import Page, Request, recording


def request(number: int = 0, *, audio: bytes = b"fLaC") -> TranscriptionRequest:
    return TranscriptionRequest(f"v/{number}", "v", "hi", "Transcribe.", f"Clip {number}.", audio, 8000, 3000)


@asynccontextmanager
async def simulator(*kinds: FaultKind, first: int = 0) -> AsyncIterator[Listening]:
    """A simulator in which these faults happen, after so many good answers."""
    rules = tuple(FaultRule(kind, skip=first) for kind in kinds)
    async with running(SimulatorConfig(latency=Latency(median_s=0.0), faults=FaultPlan(rules))) as listening:
        yield listening


clip = a_request
"""A request that the simulator takes."""


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the other side must notice first."""
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


# ----------------------------------------------------------------------------- send_batch


@both
async def test_responses_come_in_their_order_of_arrival(make: Make) -> None:
    gates = {number: asyncio.Event() for number in range(4)}

    async def answer(asked: Request) -> Page:
        await next(gate for number, gate in gates.items() if f"Clip {number}." in asked.body.decode()).wait()
        return Page.of(ANSWERS[make])

    order = [2, 0, 3, 1]
    arrived: list[str] = []
    async with recording(answer) as server, make(server.url) as client:
        responses = client.send_batch(map(request, range(4)))
        for number in order:
            gates[number].set()
            arrived.append((await anext(responses)).request.clip_id)
        with pytest.raises(StopAsyncIteration):
            await anext(responses)
    assert arrived == [f"v/{number}" for number in order]


@both
async def test_a_failure_is_a_response_like_any_other(make: Make) -> None:
    async def answer(asked: Request) -> Page:
        text = asked.body.decode()
        if "Clip 1." in text:
            return Page.of(b"<html>", status=500)
        return Page.of(b"nonsense") if "Clip 2." in text else Page.of(ANSWERS[make])

    async with recording(answer) as server, make(server.url) as client:
        responses = [response async for response in client.send_batch(map(request, range(4)))]
    kinds = {response.request.clip_id: response.failure and response.failure.kind for response in responses}
    assert kinds == {"v/0": None, "v/1": FailureKind.SERVER, "v/2": FailureKind.SERVER, "v/3": None}


@both
async def test_no_requests_no_responses(make: Make) -> None:
    async with make("http://127.0.0.1:9") as client:
        assert [response async for response in client.send_batch([])] == []


@both
async def test_who_stops_early_cancels_the_rest(make: Make) -> None:
    """Closing the iterator raises nothing, and every connection that waits is closed."""
    async with simulator(FaultKind.HANG, first=1) as sim, make(sim.url) as client:
        async with aclosing(client.send_batch(map(clip, range(5)))) as responses:
            async for response in responses:
                assert response.failure is None
                await until(lambda: sim.simulation.ledger.in_flight == 4)
                break
        await until(lambda: sim.simulation.ledger.in_flight == 0)
        assert sim.simulation.ledger.abandoned == 4
        assert sim.simulation.ledger.requests == 5


# ----------------------------------------------------------------------------- connections


@both
async def test_cancellation_is_raised_and_closes_the_connection(make: Make) -> None:
    async with simulator(FaultKind.HANG) as sim, make(sim.url) as client:
        asking = asyncio.create_task(client.transcribe(clip()))
        await until(lambda: sim.simulation.ledger.in_flight == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: sim.simulation.ledger.abandoned == 1)
        sim.simulation.set_faults(FaultPlan())
        assert (await client.transcribe(clip())).failure is None


@both
async def test_two_hundred_requests_in_a_row_take_one_connection(make: Make) -> None:
    async with recording(Page.of(ANSWERS[make])) as server, make(server.url) as client:
        for number in range(200):
            assert (await client.transcribe(request(number))).text == "{}"
    assert len(server.requests) == 200
    assert len({asked.port for asked in server.requests}) == 1


@both
async def test_connections_that_a_rush_has_left_behind_are_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds 0.6 MB; seen in half an hour at a steady pace: their number only ever rose."""
    monkeypatch.setattr(provider, "_KEEPALIVE_S", 0.5)
    together = asyncio.Barrier(20)

    async def answer(_: Request) -> Page:
        if len(server.requests) <= 20:
            await together.wait()
        return Page.of(ANSWERS[make])

    async with recording(answer) as server, make(server.url) as client:
        await asyncio.gather(*(client.transcribe(request(number)) for number in range(20)))
        pool = client._session.connector if client._session else None
        assert pool is not None

        def idle() -> int:
            return sum(map(len, pool._conns.values()))

        async def one_is_left() -> None:
            while idle() > 1:
                await client.transcribe(request())
                await asyncio.sleep(0.02)

        assert idle() == 20
        await asyncio.wait_for(one_is_left(), 10)
        assert len({asked.port for asked in server.requests[20:]}) == 1


@both
async def test_failures_keep_the_connection_too(make: Make) -> None:
    async with recording(Page.of({"error": {"code": 429, "message": "m"}}, status=429)) as server:
        async with make(server.url) as client:
            for number in range(20):
                await client.transcribe(request(number))
        assert len({asked.port for asked in server.requests}) == 1


@both
async def test_as_many_connections_as_requests_at_once(make: Make) -> None:
    """No limit of the pool's own (aiohttp's default is 100): how many are in flight is the engine's to say."""
    all_here = asyncio.Event()

    async def answer(_: Request) -> Page:
        if len(server.requests) == 110:
            all_here.set()
        await all_here.wait()
        return Page.of(ANSWERS[make])

    async with recording(answer) as server, make(server.url) as client:
        responses = [response async for response in client.send_batch(map(request, range(110)))]
        assert all(response.failure is None for response in responses)
        assert len({asked.port for asked in server.requests}) == 110


@both
@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.CUT_BODY])
async def test_a_broken_connection_is_never_tried_again_here(make: Make, kind: FaultKind) -> None:
    """Neither on a fresh connection nor on one that has served before: counted by the server."""
    async with simulator(kind) as sim, make(sim.url) as client:
        for number in range(3):
            response = await client.transcribe(clip(number))
            assert response.failure is not None
            assert (response.failure.kind, response.failure.code) == (FailureKind.SERVER, "connection")
        assert sim.simulation.ledger.requests == 3
    async with simulator(kind, first=1) as sim, make(sim.url) as client:
        assert (await client.transcribe(clip())).failure is None
        assert (await client.transcribe(clip())).failure is not None
        assert sim.simulation.ledger.requests == 2


@both
async def test_a_kept_connection_that_hangs_up_is_a_failure_not_a_second_request(make: Make) -> None:
    rules = (FaultRule(FaultKind.HANG, skip=1, delay_s=0.0),)
    config = SimulatorConfig(latency=Latency(median_s=0.0), faults=FaultPlan(rules))
    async with running(config) as sim, make(sim.url) as client:
        failures = [(await client.transcribe(clip())).failure for _ in range(2)]
        assert failures[0] is None
        assert failures[1]
        assert failures[1].code == "connection"
        assert sim.simulation.ledger.requests == 2


# ----------------------------------------------------------------------------- deadlines


@both
@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.SLOW_BODY])
async def test_the_deadline_covers_waiting_and_reading(make: Make, kind: FaultKind) -> None:
    async with simulator(kind) as sim, make(sim.url, replace(OPTIONS, timeout_s=0.25)) as client:
        response = await client.transcribe(clip())
        assert response.failure is not None
        assert (response.failure.kind, response.failure.code) == (FailureKind.TIMEOUT, "deadline")
        assert response.failure.message == "no answer within 0.25 s"
        assert response.usage.total > 0, "it may well have been answered, and billed"
        assert sim.simulation.ledger.requests == 1


@both
async def test_connecting_has_a_deadline_of_its_own(make: Make) -> None:
    """A host that takes the connection and never says a word of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        options = replace(OPTIONS, connect_timeout_s=0.2, timeout_s=60)
        async with make(url, options) as client:
            response = await client.transcribe(request())
    assert response.failure is not None
    assert (response.failure.kind, response.failure.code) == (FailureKind.SERVER, "unreachable")


@both
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
async def test_nobody_there_costs_nothing(make: Make, url: str) -> None:
    async with make(url) as client:
        response = await client.transcribe(request())
    assert response.failure is not None
    assert (response.failure.kind, response.failure.code) == (FailureKind.SERVER, "unreachable")
    assert response.failure.message.startswith("no connection: ")
    assert response.usage == Usage(), "what was never sent is not billed"


# ----------------------------------------------------------------------------- life, names, usage


@both
async def test_a_provider_is_used_inside_its_context(make: Make) -> None:
    client = make("http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="async with"):
        await client.transcribe(request())
    async with client:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await client.transcribe(request())
    await client.close()  # once more does no harm


def test_names() -> None:
    assert aistudio("http://x").get_provider_name() == "aistudio"
    assert openrouter("http://x").get_provider_name() == "openrouter"
    capabilities, schema = load_capabilities(MODEL), response_schema()
    named = AIStudioProvider(
        base_url="http://x",
        api_key="k",
        options=OPTIONS,
        capabilities=capabilities,
        response_schema=schema,
        name="simulator",
    )
    assert named.get_provider_name() == "simulator"


@both
async def test_usage_and_cache_hits_are_those_of_the_response(make: Make) -> None:
    client = make("http://x")
    response = TranscriptionResponse(request(), "p", "{}", None, Usage(10, 6, 4, 5, 3, 1), "v", 1.0)
    assert client.get_token_usage(response) == Usage(10, 6, 4, 5, 3, 1)
    assert client.verify_cache_hit(response)
    assert not client.verify_cache_hit(replace(response, usage=Usage(10)))


# ----------------------------------------------------------------------------- keys and surroundings


@both
async def test_the_key_is_in_one_header_and_in_nothing_that_is_kept(make: Make) -> None:
    echo = Page.of({"error": {"code": 401, "message": "wrong"}}, status=401)
    async with recording(echo) as server, make(server.url) as client:
        response = await client.transcribe(request())
    (asked,) = server.requests
    assert len([name for name, text in asked.headers.items() if KEY in text]) == 1
    assert KEY not in asked.target
    assert KEY.encode() not in asked.body
    assert KEY not in repr(response)
    assert KEY not in repr(client)


@both
@pytest.mark.parametrize("key", ["", " ", "two words", "line\nbreak", "कुंजी"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(make: Make, key: str) -> None:
    with pytest.raises(SettingsError, match=r"the key of \w+ is empty or holds"):
        make("http://x", OPTIONS, key)


@both
async def test_a_redirect_is_not_followed_with_the_key(make: Make) -> None:
    async with recording(Page.of(ANSWERS[make])) as elsewhere:
        moved = Page.of(b"", status=307, Location=f"{elsewhere.url}/x")
        async with recording(moved) as server, make(server.url) as client:
            response = await client.transcribe(request())
    assert elsewhere.requests == []
    assert response.failure is not None
    assert (response.failure.kind, response.failure.http_status) == (FailureKind.SERVER, 307)


@both
async def test_no_proxy_or_cookie_of_the_surroundings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    page = Page.of(ANSWERS[make], Set_Cookie="track=me; Path=/")
    async with recording(page) as server, make(server.url) as client:
        for _ in range(2):
            assert (await client.transcribe(request())).failure is None
    assert all("cookie" not in asked.headers for asked in server.requests)


@both
async def test_a_compressed_reply_is_read(make: Make) -> None:
    plain = Page.of(ANSWERS[make])
    page = Page(200, gzip.compress(plain.body), {**plain.headers, "Content-Encoding": "gzip"})
    async with recording(page) as server, make(server.url) as client:
        assert (await client.transcribe(request())).text == "{}"


@both
async def test_blanks_before_the_json_are_waited_through(make: Make) -> None:
    """OpenRouter keeps a slow reply's connection alive with them."""
    page = Page.of(b"\n  \n\n" + Page.of(ANSWERS[make]).body)
    async with recording(page) as server, make(server.url) as client:
        assert (await client.transcribe(request())).text == "{}"


# ----------------------------------------------------------------------------- bytes


@both
@pytest.mark.parametrize(
    "text",
    ["\\u0000audio\\u0000", "audio", '"data":"', "\\", "\u2028", AUDIO_MARK.strip("\x00"), "\x00audio"],
)
async def test_no_text_is_taken_for_the_place_of_the_audio(make: Make, text: str) -> None:
    asked = replace(request(audio=b"\xff" * 10), system_prompt=text, clip_prompt=text)
    body = make("http://x").encode(asked)
    assert body.count(b"/////////////w==") == 1
    assert AUDIO_MARK.encode() not in body


@both
async def test_frames_do_not_pile_up(make: Make) -> None:
    client = make("http://x")
    for number in range(5000):
        client.encode(request(number))
    assert len(client._frames._frames) <= 4096
    assert client.encode(request(1)) == client.encode(request(1))

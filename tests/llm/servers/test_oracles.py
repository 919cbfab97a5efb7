"""The official SDKs as oracles: what they send, we send; what they read in a reply, we read in it.

google-genai is the oracle for AI Studio, openai for OpenRouter. Requests are written down by a recorder before the
simulator; a reply that one client got is then given to the other, byte for byte.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import errors, types
from pydantic.alias_generators import to_camel

from asking import a_request
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import HttpProvider, ModelOptions, TranscriptionRequest, TranscriptionResponse
from lipika.llm.transcript import response_schema
from lipika.models import FailureKind, Usage
from lipika.simulator import Caching, FaultKind, FaultPlan, FaultRule, Listening, SimulatorConfig, running
from recorder import Page, Recorder, Request, recording_before
from simulator_kit import INSTANT

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The SDK's own doing.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]

MODEL = "gemini-3-flash-preview"
KEY = "oracle-key"
CLIP = a_request(1)
OPTIONS = ModelOptions(MODEL, 0.0, "low", 10.0)


# ----------------------------------------------------------------------------- the four clients


def aistudio(url: str, options: ModelOptions = OPTIONS) -> AIStudioProvider:
    return AIStudioProvider(
        base_url=url,
        api_key=KEY,
        options=options,
        capabilities=load_capabilities(options.model_id),
        response_schema=response_schema(),
    )


def openrouter(url: str, options: ModelOptions = OPTIONS) -> OpenRouterProvider:
    return OpenRouterProvider(
        base_url=f"{url}/api/v1",
        api_key=KEY,
        options=options,
        capabilities=load_capabilities(options.model_id),
        response_schema=response_schema(),
        prompt_version="1",
        routed=True,
    )


@dataclass(frozen=True, slots=True)
class Lab:
    """A simulator, a recorder before it, and the four clients at the recorder. An SDK takes its time to start."""

    sim: Listening
    recorder: Recorder
    aistudio: AIStudioProvider
    openrouter: OpenRouterProvider
    google: genai.client.AsyncClient
    openai: openai.AsyncOpenAI

    def faults(self, *kinds: FaultKind) -> None:
        """From now on this goes wrong."""
        rules = (FaultRule(kind, delay_s=0.0 if kind is FaultKind.SLOW_BODY else None) for kind in kinds)
        self.sim.simulation.set_faults(FaultPlan(tuple(rules)))

    async def reply_to(self, client: HttpProvider, kind: FaultKind | None) -> TranscriptionResponse:
        """What our client makes of a reply; the very same reply is then what the SDK gets."""
        self.faults(*([kind] if kind else []))
        response = await client.transcribe(CLIP)
        self.recorder.replay = self.recorder.pages[-1]
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Lab]:
    caching = Caching(min_tokens=1024)  # longer than the usual prompt
    async with (
        running(SimulatorConfig(latency=INSTANT, caching=caching)) as sim,
        recording_before(sim.url) as recorder,
        aistudio(recorder.url) as first,
        openrouter(recorder.url) as second,
        openai.AsyncOpenAI(api_key=KEY, base_url=f"{recorder.url}/api/v1", max_retries=0) as other,
    ):
        options = types.HttpOptions(base_url=recorder.url, api_version="v1beta")
        google = genai.Client(api_key=KEY, http_options=options).aio
        yield Lab(sim, recorder, first, second, google, other)
        await google.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def lab(shared: Lab) -> Lab:
    """The same for every test, with nothing left over from the one before."""
    shared.recorder.requests.clear()
    shared.recorder.pages.clear()
    shared.recorder.replay = None
    shared.sim.simulation.reset()
    shared.faults()
    return shared


async def ask_google(
    sdk: genai.client.AsyncClient,
    request: TranscriptionRequest,
    *,
    model: str = MODEL,
    temperature: float | None = 0.0,
    thinking: types.ThinkingLevel | None = types.ThinkingLevel.LOW,
) -> types.GenerateContentResponse:
    """Our request as a user of the SDK would write it."""
    safety = [
        types.SafetySetting(category=category, threshold=types.HarmBlockThreshold.OFF)
        for category in (
            types.HarmCategory.HARM_CATEGORY_HARASSMENT,
            types.HarmCategory.HARM_CATEGORY_HATE_SPEECH,
            types.HarmCategory.HARM_CATEGORY_SEXUALLY_EXPLICIT,
            types.HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT,
        )
    ]
    audio = types.Part.from_bytes(data=request.audio, mime_type="audio/flac")
    return await sdk.models.generate_content(
        model=model,
        contents=types.Content(role="user", parts=[types.Part(text=request.clip_prompt), audio]),
        config=types.GenerateContentConfig(
            system_instruction=request.system_prompt,
            temperature=temperature,
            max_output_tokens=request.max_output_tokens,
            response_mime_type="application/json",
            response_json_schema=response_schema(),
            thinking_config=types.ThinkingConfig(thinking_level=thinking) if thinking else None,
            safety_settings=safety,
        ),
    )


async def ask_openai(
    sdk: openai.AsyncOpenAI,
    request: TranscriptionRequest,
    *,
    model: str = f"google/{MODEL}",
    session: str = "lipika-1-hi",
    **sampling: Any,
) -> Any:
    """Our request as a user of the SDK would write it; OpenRouter's own fields go into `extra_body`."""
    data = base64.b64encode(request.audio).decode()
    messages: Any = [
        {"role": "system", "content": request.system_prompt},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": request.clip_prompt},
                {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}},
            ],
        },
    ]
    routing = {
        "only": ["google-ai-studio", "google-vertex"],
        "require_parameters": True,
        "allow_fallbacks": True,
    }
    form: Any = {"name": "transcript", "strict": True, "schema": response_schema()}
    return await sdk.chat.completions.create(
        model=model,
        messages=messages,
        max_tokens=request.max_output_tokens,
        response_format={"type": "json_schema", "json_schema": form},
        extra_body={
            "provider": routing,
            "session_id": session,
            "reasoning": {"effort": "low", "exclude": True},
            **sampling,
        },
    )


# ----------------------------------------------------------------------------- requests


def normal(value: Any, key: str = "") -> Any:
    """A request's JSON without spelling: camelCase for Google's fields, bytes for base64 of either alphabet."""
    if key == "responseJsonSchema" or isinstance(value, int | float | bool) or value is None:
        return value
    if isinstance(value, str):
        return base64.b64decode(value.translate(_URL_SAFE) + "==") if key == "data" else value
    if isinstance(value, list):
        return [normal(inner, key) for inner in value]
    return {to_camel(name): normal(inner, to_camel(name)) for name, inner in value.items()}


_URL_SAFE = str.maketrans("-_", "+/")


def surplus(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Paths that only the other request has; fails on any field of ours that is not the same there."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() <= theirs.keys(), at
        more = [f"{at}.{name}" for name in theirs.keys() - ours.keys()]
        return more + [path for name in ours for path in surplus(ours[name], theirs[name], f"{at}.{name}")]
    if isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), at
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [path for number, (one, other) in pairs for path in surplus(one, other, f"{at}[{number}]")]
    assert ours == theirs, at
    return []


def compared(recorder: Recorder) -> tuple[Request, Request, list[str]]:
    ours, theirs = recorder.requests
    assert [page.status for page in recorder.pages] == [200, 200], "the simulator takes both"
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    return ours, theirs, surplus(normal(ours.json()), normal(theirs.json()))


@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        (OPTIONS, {}),
        (replace(OPTIONS, temperature=0.7), {"temperature": 0.7}),
        (replace(OPTIONS, temperature=None), {"temperature": None}),
        (replace(OPTIONS, thinking_level="high"), {"thinking": types.ThinkingLevel.HIGH}),
        (replace(OPTIONS, thinking_level=None), {"thinking": None}),
        (replace(OPTIONS, model_id="gemini-3.6-flash"), {"model": "gemini-3.6-flash", "temperature": None}),
        (
            replace(OPTIONS, model_id="gemini-3.8-flash", thinking_level="minimal"),
            {"model": "gemini-3.8-flash", "temperature": None, "thinking": None},
        ),
        (replace(OPTIONS, model_id=f"google/{MODEL}"), {}),
        (replace(OPTIONS, model_id=f"models/{MODEL}"), {}),
    ],
)
async def test_we_send_what_google_genai_sends(
    lab: Lab, options: ModelOptions, oracle: dict[str, Any]
) -> None:
    async with aistudio(lab.recorder.url, options) as client:
        await client.transcribe(CLIP)
    await ask_google(lab.google, CLIP, **oracle)
    ours, theirs, more = compared(lab.recorder)
    assert ours.headers["x-goog-api-key"] == theirs.headers["x-goog-api-key"] == KEY
    assert more == [".systemInstruction.role"], "the SDK gives the system prompt a role, which means nothing"


@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        (OPTIONS, {"temperature": 0.0}),
        (replace(OPTIONS, temperature=0.7), {"temperature": 0.7}),
        (replace(OPTIONS, temperature=None), {}),
        (replace(OPTIONS, model_id=f"google/{MODEL}"), {"temperature": 0.0}),
        (replace(OPTIONS, model_id="gemini-3.6-flash"), {"model": "google/gemini-3.6-flash"}),
    ],
)
async def test_we_send_what_openai_sends(lab: Lab, options: ModelOptions, oracle: dict[str, Any]) -> None:
    async with openrouter(lab.recorder.url, options) as client:
        await client.transcribe(CLIP)
    await ask_openai(lab.openai, CLIP, **oracle)
    ours, theirs, more = compared(lab.recorder)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == f"Bearer {KEY}"
    assert more == []


async def test_a_difference_would_be_noticed() -> None:
    """The comparison itself: another prompt, another byte of audio and a missing field are all seen."""
    body = json.loads(aistudio("http://127.0.0.1:9").encode(CLIP))
    other = json.loads(aistudio("http://127.0.0.1:9").encode(replace(CLIP, audio=CLIP.audio[:-1] + b"\x00")))
    with pytest.raises(AssertionError, match="data"):
        surplus(normal(body), normal(other))
    del other["generationConfig"]["temperature"]
    with pytest.raises(AssertionError, match="generationConfig"):
        surplus(normal(body["generationConfig"]), normal(other["generationConfig"]), "generationConfig")


# ----------------------------------------------------------------------------- replies: kinds of faults

# What each fault of the simulator is to us: at AI Studio, at OpenRouter.
REFUSALS = {
    FaultKind.RATE_MINUTE: ("rate_minute", "rate_minute"),
    FaultKind.RATE_TOKENS: ("rate_minute", "rate_minute"),
    FaultKind.RATE_DAY: ("rate_day", "rate_day"),
    FaultKind.RATE_SEVERAL: ("rate_day", "rate_day"),
    FaultKind.RATE_BARE: ("rate_minute", "rate_minute"),
    FaultKind.RATE_MESSAGE: ("rate_minute", "rate_minute"),
    FaultKind.SPEND: ("rate_minute", "rate_minute"),  # its body names nothing; the route tells by its lasting
    FaultKind.OVERLOADED: ("overloaded", "overloaded"),
    FaultKind.INTERNAL: ("server", "server"),
    FaultKind.DEADLINE: ("timeout", "timeout"),
    FaultKind.BUSY: ("overloaded", "overloaded"),
    FaultKind.BAD_REQUEST: ("bad_request", "bad_request"),
    FaultKind.KEY_INVALID: ("auth", "auth"),
    FaultKind.PERMISSION: ("auth", "auth"),
    FaultKind.REGION: ("auth", "auth"),
    FaultKind.MODEL_GONE: ("auth", "auth"),
    FaultKind.PAYMENT: ("payment", "payment"),
    FaultKind.MODERATION: ("auth", "blocked"),
}
TRANSPORT = {
    FaultKind.HANG: ("timeout", "timeout"),
    FaultKind.RESET: ("server", "server"),
    FaultKind.CUT_BODY: ("server", "server"),
    FaultKind.HTML: ("server", "overloaded"),
}
IN_200 = {
    FaultKind.ERROR_IN_200: ("server", "overloaded"),
    FaultKind.ERROR_IN_CHOICE: ("server", "overloaded"),
}
UNFINISHED = {
    FaultKind.BLOCKED_PROMPT: ("blocked", "blocked"),
    FaultKind.SAFETY: ("blocked", "blocked"),
    FaultKind.RECITATION: ("blocked", "blocked"),
    FaultKind.PROHIBITED: ("blocked", "blocked"),
    FaultKind.OTHER: ("blocked", "blocked"),
    FaultKind.MAX_TOKENS: ("truncated", "truncated"),
    FaultKind.RUNAWAY: ("truncated", "truncated"),
    FaultKind.EMPTY: ("empty", "empty"),
    FaultKind.NO_PARTS: ("empty", "empty"),
    FaultKind.THOUGHTS_ONLY: ("empty", "empty"),
}
ANSWERS = sorted(set(FaultKind) - REFUSALS.keys() - TRANSPORT.keys() - IN_200.keys() - UNFINISHED.keys())
"""What is said may be wrong, but it is said: for validation to see."""


@pytest.mark.parametrize("kind", TRANSPORT)
@pytest.mark.parametrize("wire", [0, 1])
async def test_faults_of_the_connection(lab: Lab, kind: FaultKind, wire: int) -> None:
    """Without the recorder in between, which would not pass a reset on."""
    lab.faults(kind)
    options = replace(OPTIONS, timeout_s=0.3 if kind is FaultKind.HANG else 10.0)
    client: HttpProvider = (aistudio, openrouter)[wire](lab.sim.url, options)
    async with client:
        response = await client.transcribe(CLIP)
    assert response.failure is not None
    assert response.failure.kind == TRANSPORT[kind][wire]
    assert lab.sim.simulation.ledger.requests == 1, "nothing is sent twice below the engine"


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FaultKind.HANG, openai.APITimeoutError), (FaultKind.RESET, openai.APIConnectionError)],
)
async def test_openai_sees_the_connection_fail_as_we_do(
    lab: Lab, kind: FaultKind, error: type[Exception]
) -> None:
    lab.faults(kind)
    direct = lab.openai.with_options(base_url=f"{lab.sim.url}/api/v1", timeout=0.3)
    with pytest.raises(error):
        await ask_openai(direct, CLIP)


# ----------------------------------------------------------------------------- replies: AI Studio


def google_usage(reply: types.GenerateContentResponse) -> Usage:
    meta = reply.usage_metadata
    assert meta
    audio = sum(
        detail.token_count or 0
        for detail in meta.prompt_tokens_details or ()
        if detail.modality is types.MediaModality.AUDIO
    )
    prompt = meta.prompt_token_count or 0
    return Usage(
        prompt=prompt,
        prompt_text=prompt - audio,
        prompt_audio=audio,
        cached=meta.cached_content_token_count or 0,
        output=(meta.total_token_count or 0) - prompt,
        thoughts=meta.thoughts_token_count or 0,
    )


@pytest.mark.parametrize("kind", [None, *ANSWERS])
async def test_google_genai_reads_the_same_answer(lab: Lab, kind: FaultKind | None) -> None:
    response = await lab.reply_to(lab.aistudio, kind)
    reply = await ask_google(lab.google, CLIP)
    assert response.failure is None
    assert response.text == reply.text
    assert response.model_version == reply.model_version
    assert reply.candidates
    assert reply.candidates[0].finish_reason is types.FinishReason.STOP
    if kind is FaultKind.NO_USAGE:
        assert reply.usage_metadata is None
        assert response.usage.total > 0, "estimated: it counts against the cap all the same"
    else:
        assert response.usage == google_usage(reply)


@pytest.mark.parametrize("kind", UNFINISHED)
async def test_google_genai_sees_why_there_is_no_answer(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.aistudio, kind)
    reply = await ask_google(lab.google, CLIP)
    assert response.failure is not None
    assert (response.text, response.failure.kind, response.failure.http_status) == (
        "",
        UNFINISHED[kind][0],
        200,
    )
    if reply.candidates:
        reason = reply.candidates[0].finish_reason
    else:
        assert reply.prompt_feedback
        reason = reply.prompt_feedback.block_reason  # type: ignore[assignment]
    assert reason
    assert response.failure.code == reason.value
    assert response.usage == google_usage(reply)


@pytest.mark.parametrize("kind", REFUSALS)
async def test_google_genai_raises_the_same_error(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.aistudio, kind)
    failure = response.failure
    assert failure is not None
    with pytest.raises(errors.APIError) as caught:
        await ask_google(lab.google, CLIP)
    error = caught.value
    assert failure.kind == REFUSALS[kind][0]
    assert failure.http_status == error.code
    assert failure.message == " ".join((error.message or "").split())[:500]
    assert isinstance(error, errors.ServerError) is (failure.kind in GOOGLES_FAULT)
    if error.code != 429:
        assert failure.code == error.status
    details = json.loads(lab.recorder.pages[-1].body)["error"].get("details", [])
    quota_ids = [one["quotaId"] for detail in details for one in detail.get("violations", ())]
    if error.code == 429:
        assert failure.code == ",".join(quota_ids)
    assert response.usage == Usage()


GOOGLES_FAULT = {FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.TIMEOUT}


@pytest.mark.parametrize("kind", sorted(IN_200))
async def test_an_error_inside_http_200_of_google(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.aistudio, kind)
    assert response.failure is not None
    assert (response.failure.kind, response.failure.http_status) == (FailureKind.SERVER, 500)


@pytest.mark.parametrize("reason", types.FinishReason)
async def test_every_finish_reason_the_sdk_knows_has_a_kind(lab: Lab, reason: types.FinishReason) -> None:
    """A text under another reason than STOP is never taken for an answer."""
    body = {"candidates": [{"content": {"parts": [{"text": "text"}]}, "finishReason": reason.value}]}
    lab.recorder.replay = Page.of(body)
    response = await lab.aistudio.transcribe(CLIP)
    assert (response.text == "text") is (reason is types.FinishReason.STOP)
    if response.failure:
        assert response.failure.kind == FINISHES.get(reason.value, "malformed")


FINISHES = {
    **dict.fromkeys(("MAX_TOKENS", "CONTINUATION"), "truncated"),
    **dict.fromkeys(("SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST"), "blocked"),
    **dict.fromkeys(("PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR"), "blocked"),
    "PUP_LIMITED_DISABLED": "auth",
}


# ----------------------------------------------------------------------------- replies: OpenRouter


def openai_usage(usage: openai.types.CompletionUsage) -> Usage:
    details = usage.prompt_tokens_details
    assert details
    audio, thoughts = details.audio_tokens or 0, usage.completion_tokens_details
    return Usage(
        prompt=usage.prompt_tokens,
        prompt_text=usage.prompt_tokens - audio,
        prompt_audio=audio,
        cached=details.cached_tokens or 0,
        output=usage.completion_tokens,
        thoughts=(thoughts.reasoning_tokens if thoughts else 0) or 0,
    )


@pytest.mark.parametrize("kind", [None, *ANSWERS])
async def test_openai_reads_the_same_answer(lab: Lab, kind: FaultKind | None) -> None:
    response = await lab.reply_to(lab.openrouter, kind)
    reply = await ask_openai(lab.openai, CLIP)
    assert response.failure is None
    assert response.text == reply.choices[0].message.content
    assert response.model_version == reply.model
    assert reply.choices[0].finish_reason == "stop"
    if kind is FaultKind.NO_USAGE:
        assert reply.usage is None
        assert response.usage.total > 0
    else:
        assert response.usage == openai_usage(reply.usage)


@pytest.mark.parametrize("kind", UNFINISHED)
async def test_openai_sees_why_there_is_no_answer(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.openrouter, kind)
    (choice,) = (await ask_openai(lab.openai, CLIP)).choices
    assert response.failure is not None
    assert (response.text, response.failure.kind) == ("", UNFINISHED[kind][1])
    assert response.failure.code == f"{choice.finish_reason}/{choice.native_finish_reason}"


OPENAI_ERRORS: Mapping[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
    529: openai.InternalServerError,
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_openai_raises_the_same_error(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.openrouter, kind)
    failure = response.failure
    assert failure is not None
    with pytest.raises(openai.APIStatusError) as caught:
        await ask_openai(lab.openai, CLIP)
    error = caught.value
    assert failure.kind == REFUSALS[kind][1]
    assert type(error) is OPENAI_ERRORS[error.status_code]
    assert failure.http_status == error.status_code
    assert isinstance(error.body, dict)
    assert failure.message == error.body["message"]
    assert failure.code == error.body["metadata"]["error_type"]
    assert response.usage == Usage()


@pytest.mark.parametrize("kind", IN_200)
async def test_openai_sees_the_error_inside_http_200(lab: Lab, kind: FaultKind) -> None:
    response = await lab.reply_to(lab.openrouter, kind)
    reply = await ask_openai(lab.openai, CLIP)
    error = (reply.choices[0] if reply.choices else reply).error
    assert response.failure is not None
    assert response.failure.kind == IN_200[kind][1]
    assert (response.failure.http_status, response.failure.message) == (error["code"], error["message"])


# ----------------------------------------------------------------------------- both wires


async def test_every_kind_of_failure_comes_up() -> None:
    tables = (REFUSALS, TRANSPORT, IN_200, UNFINISHED)
    seen = {kind for table in tables for kinds in table.values() for kind in kinds}
    # The simulator's 429 for money names none; `malformed` is an answer that stopped oddly (finish reasons, above).
    assert seen | {"spend", "malformed", "defect"} == set(FailureKind)


async def test_cached_tokens_are_read_as_the_sdks_read_them(lab: Lab) -> None:
    long = replace(CLIP, system_prompt=f"{CLIP.system_prompt}\n{'word ' * 1200}")
    missed = await lab.aistudio.transcribe(long)
    assert not lab.aistudio.verify_cache_hit(missed)
    hit = await lab.aistudio.transcribe(long)
    assert lab.aistudio.verify_cache_hit(hit)
    lab.recorder.replay = lab.recorder.pages[-1]
    assert hit.usage == google_usage(await ask_google(lab.google, long))
    lab.recorder.replay = None
    await lab.openrouter.transcribe(long)
    hit = await lab.openrouter.transcribe(long)
    assert lab.openrouter.verify_cache_hit(hit)
    lab.recorder.replay = lab.recorder.pages[-1]
    assert hit.usage == openai_usage((await ask_openai(lab.openai, long)).usage)

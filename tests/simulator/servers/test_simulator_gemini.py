"""The Gemini side of the simulator: what it accepts, refuses and answers; the official SDK as the oracle."""

from __future__ import annotations

import base64
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from google import genai
from google.genai import errors, types

from lipika.archive.members import Member, MemberKind, read_members
from lipika.audio.polish import polish_segment
from lipika.languages import FIRST_CLASS
from lipika.llm.prompt import system_prompt
from lipika.llm.transcript import FIELDS, parse_answer, response_schema
from lipika.models import Answer, SegmentName, Severity
from lipika.simulator import Caching, FaultKind, FaultPlan, FaultRule, Listening, SimulatorConfig, running
from lipika.validation import validate
from places import SAMPLES
from simulator_kit import INSTANT, MODEL, QUICK, ask_gemini, flac, gemini_body, text_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"  # the SDK's own doing
)

CLIP = flac(3.0)


@pytest.fixture
async def sim() -> AsyncIterator[Listening]:
    async with running(QUICK) as listening:
        yield listening


# ----------------------------------------------------------------------------- answers and usage


async def test_answer_follows_the_schema_and_the_hint(sim: Listening) -> None:
    status, reply = await ask_gemini(sim.url, gemini_body(flac(8.0), system=system_prompt("ta")))
    answer = parse_answer(text_of(reply))
    assert status == 200
    assert isinstance(answer, Answer)
    assert answer.detected_language == "ta"
    assert list(orjson.loads(text_of(reply))) == list(FIELDS)
    assert reply["modelVersion"] == "simulated"
    assert reply["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("language", FIRST_CLASS)
async def test_answers_for_real_clips_pass_lipikas_own_validation(sim: Listening, language: str) -> None:
    with (SAMPLES / f"{language}_sample.tar").open("rb") as stream:
        members = [member for member in read_members(stream) if isinstance(member, Member)]
    segments = [member for member in members if member.kind is MemberKind.SEGMENT][:2]
    clips = [
        clip
        for segment in segments
        for clip in polish_segment(SegmentName.parse(Path(segment.name).stem), segment.data).clips
    ]
    assert clips
    for clip in clips:
        body = gemini_body(clip.sent, system=system_prompt(language))
        _, reply = await ask_gemini(sim.url, body)
        answer = parse_answer(text_of(reply))
        assert isinstance(answer, Answer)
        findings = validate(answer, clip.clip, language).findings
        assert not [found for found in findings if found.severity is Severity.FAIL]


async def test_usage_is_counted_as_the_api_counts_it(sim: Listening) -> None:
    _, reply = await ask_gemini(sim.url, gemini_body(flac(7.37)))
    usage = reply["usageMetadata"]
    by_modality = {entry["modality"]: entry["tokenCount"] for entry in usage["promptTokensDetails"]}
    assert by_modality["AUDIO"] == math.ceil(7.37 * 32)
    assert usage["promptTokenCount"] == sum(by_modality.values())
    assert usage["totalTokenCount"] == (
        usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    )
    assert "cachedContentTokenCount" not in usage


async def test_more_thinking_costs_more_thoughts(sim: Listening) -> None:
    thoughts = []
    for level in ("MINIMAL", "LOW", "MEDIUM", "HIGH"):
        _, reply = await ask_gemini(sim.url, gemini_body(CLIP, thinkingConfig={"thinkingLevel": level}))
        thoughts.append(reply["usageMetadata"]["thoughtsTokenCount"])
    assert thoughts == sorted(thoughts)
    assert thoughts[0] < thoughts[-1]


async def test_the_output_limit_counts_thoughts_and_cuts_the_text(sim: Listening) -> None:
    _, reply = await ask_gemini(sim.url, gemini_body(flac(12.0), maxOutputTokens=200))
    usage = reply["usageMetadata"]
    assert reply["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert usage["candidatesTokenCount"] + usage["thoughtsTokenCount"] <= 200
    assert not isinstance(parse_answer(text_of(reply)), Answer)


async def test_the_same_audio_gets_the_same_answer_from_the_same_seed() -> None:
    texts = []
    for seed in (1, 1, 2):
        async with running(SimulatorConfig(seed=seed, latency=INSTANT)) as sim:
            texts += [text_of((await ask_gemini(sim.url, gemini_body(CLIP)))[1]) for _ in range(2)]
    assert len(set(texts[:4])) == 1
    assert texts[4] != texts[0]


@pytest.mark.parametrize("level", [0.0, 0.0005], ids=["digital", "below -50 dBFS"])
async def test_silence_is_no_speech(sim: Listening, level: float) -> None:
    _, reply = await ask_gemini(sim.url, gemini_body(flac(4.0, level=level)))
    answer = parse_answer(text_of(reply))
    assert isinstance(answer, Answer)
    assert answer.no_speech
    assert answer.detected_language == "none"


async def test_plain_text_without_a_schema_and_words_without_audio(sim: Listening) -> None:
    body = gemini_body(CLIP, responseMimeType=None, responseJsonSchema=None)
    _, reply = await ask_gemini(sim.url, body)
    assert not text_of(reply).startswith("{")
    status, reply = await ask_gemini(sim.url, {"contents": {"parts": {"text": "hello"}}})
    assert status == 200
    assert [entry["modality"] for entry in reply["usageMetadata"]["promptTokensDetails"]] == ["TEXT"]


async def test_implicit_cache_needs_a_long_prefix_and_a_second_request() -> None:
    long_prompt = "Language hint: Hindi (hi)\n" + "word " * 1000
    async with running(SimulatorConfig(latency=INSTANT, caching=Caching(min_tokens=1024))) as sim:
        cached = []
        for system, seed in ((long_prompt, 1), (long_prompt, 2), ("short", 3), ("short", 4)):
            _, reply = await ask_gemini(sim.url, gemini_body(flac(2.5, seed=seed), system=system))
            cached.append(reply["usageMetadata"].get("cachedContentTokenCount", 0))
        assert cached == [0, math.ceil(len(long_prompt) / 4), 0, 0]
        assert sim.simulation.ledger.cached_tokens == cached[1]


# ----------------------------------------------------------------------------- what is accepted


def _snake_case(body: dict[str, Any]) -> dict[str, Any]:
    config = body["generationConfig"]
    return {
        "system_instruction": body["systemInstruction"],
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Transcribe this clip."},
                    {
                        "inline_data": {
                            "mime_type": "audio/flac",
                            "data": body["contents"][0]["parts"][1]["inlineData"]["data"],
                        }
                    },
                ],
            }
        ],
        "generation_config": {
            "temperature": 0,
            "max_output_tokens": 4096,
            "response_mime_type": "application/json",
            "response_json_schema": config["responseJsonSchema"],
            "thinking_config": {"thinking_level": "LOW"},
        },
    }


def _url_safe(body: dict[str, Any]) -> dict[str, Any]:
    inline = body["contents"][0]["parts"][1]["inlineData"]
    inline["data"] = base64.urlsafe_b64encode(CLIP).decode().rstrip("=")
    return body


def _singles_and_nulls(body: dict[str, Any]) -> dict[str, Any]:
    body["contents"] = body["contents"][0]
    body["systemInstruction"]["parts"] = body["systemInstruction"]["parts"][0]
    return body | {"safetySettings": None, "cachedContent": None}


@pytest.mark.parametrize("change", [_snake_case, _url_safe, _singles_and_nulls])
async def test_every_spelling_of_protobuf_json_is_the_same_request(
    sim: Listening, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    _, expected = await ask_gemini(sim.url, gemini_body(CLIP))
    status, reply = await ask_gemini(sim.url, change(gemini_body(CLIP)))
    assert (status, reply) == (200, expected)


async def test_escaped_slashes_in_base64_are_the_same_request(sim: Listening) -> None:
    plain = orjson.dumps(gemini_body(CLIP))
    _, expected = await ask_gemini(sim.url, plain)
    assert await ask_gemini(sim.url, plain.replace(b"/", b"\\/")) == (200, expected)


async def test_the_older_schema_and_unknown_json_schema_keywords(sim: Listening) -> None:
    older = {
        "type": "OBJECT",
        "properties": {"count": {"type": "INTEGER"}, "transcription": {"type": "STRING"}},
        "propertyOrdering": ["transcription", "count"],
    }
    body = gemini_body(CLIP, responseJsonSchema=None, responseSchema=older)
    _, reply = await ask_gemini(sim.url, body)
    assert list(orjson.loads(text_of(reply))) == ["transcription", "count"]
    newer = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3, "pattern": "x"}}}
    status, _ = await ask_gemini(sim.url, gemini_body(CLIP, responseJsonSchema=newer))
    assert status == 200


@pytest.mark.parametrize("format", ["WAV", "OGG"])
async def test_other_audio_formats(sim: Listening, format: str) -> None:  # noqa: A002
    body = gemini_body(flac(2.0, format=format))
    body["contents"][0]["parts"][1]["inlineData"]["mimeType"] = f"audio/{format.lower()}"
    status, reply = await ask_gemini(sim.url, body)
    assert status == 200
    assert reply["usageMetadata"]["promptTokensDetails"][1] == {"modality": "AUDIO", "tokenCount": 64}


# ----------------------------------------------------------------------------- what is refused

Change = Callable[[dict[str, Any]], object]

REFUSED: dict[str, tuple[Change, str]] = {
    "unknown at the top": (
        lambda body: body.update(foo=1),
        'Invalid JSON payload received. Unknown name "foo": Cannot find field.',
    ),
    "unknown below": (
        lambda body: body["generationConfig"].update(foo=1),
        "Invalid JSON payload received. Unknown name \"foo\" at 'generation_config': Cannot find field.",
    ),
    "unknown in a list": (
        lambda body: body["contents"][0]["parts"][1]["inlineData"].update(mimetype="x"),
        "Unknown name \"mimetype\" at 'contents[0].parts[1].inline_data': Cannot find field.",
    ),
    "bad enum": (
        lambda body: body["generationConfig"].update(thinkingConfig={"thinkingLevel": "SOME"}),
        'google.ai.generativelanguage.v1beta.ThinkingConfig.ThinkingLevel), "SOME"',
    ),
    "bad number": (
        lambda body: body["generationConfig"].update(temperature="warm"),
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"warm\"",
    ),
    "bad base64": (
        lambda body: body["contents"][0]["parts"][1]["inlineData"].update(data="*" * 5000),
        "Invalid value at 'contents[0].parts[1].inline_data.data' (TYPE_BYTES), Base64 decoding failed",
    ),
    "a list for a single field": (
        lambda body: body.update(generationConfig=[{}]),
        'Unknown name "generation_config": Proto field is not repeating, cannot start list.',
    ),
    "not audio": (
        lambda body: body["contents"][0]["parts"][1]["inlineData"].update(data="AAAA"),
        "Request contains an invalid argument.",
    ),
    "MIME type": (
        lambda body: body["contents"][0]["parts"][1]["inlineData"].update(mimeType="audio/none"),
        "Unsupported MIME type: audio/none",
    ),
    "no contents": (lambda body: body.update(contents=[]), "contents is not specified"),
    "no parts": (
        lambda body: body["contents"][0].update(parts=[]),
        "contents[0].parts: contents.parts must not be empty.",
    ),
    "an empty part": (
        lambda body: body["contents"][0]["parts"].append({}),
        "contents[0].parts[2].data: required oneof field 'data' must have one initialized field",
    ),
    "role": (lambda body: body["contents"][0].update(role="me"), "Please use a valid role: user, model."),
    "temperature": (
        lambda body: body["generationConfig"].update(temperature=2.5),
        "temperature must be in the range [0.0, 2.0]",
    ),
    "top_p": (
        lambda body: body["generationConfig"].update(topP=-0.1),
        "* GenerateContentRequest.generation_config.top_p: top_p must be in the range [0.0, 1.0].\n",
    ),
    "output tokens": (
        lambda body: body["generationConfig"].update(maxOutputTokens=0),
        "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n",
    ),
    "candidates": (
        lambda body: body["generationConfig"].update(candidateCount=2),
        "Multiple candidates is not enabled for this model",
    ),
    "all ranges at once": (
        lambda body: body["generationConfig"].update(
            candidateCount=2, maxOutputTokens=0, topP=2, temperature="NaN", responseMimeType="text/html"
        ),
        "temperature must be in the range [0.0, 2.0]",
    ),
    "contents before ranges": (
        lambda body: body.update(contents=[], generationConfig={"temperature": 3}),
        "contents is not specified",
    ),
    "types before contents": (
        lambda body: body.update(contents=[], generationConfig={"temperature": 3, "topP": "low"}),
        "Invalid value at 'generation_config.top_p' (TYPE_FLOAT), \"low\"",
    ),
    "two ways to think": (
        lambda body: body["generationConfig"]["thinkingConfig"].update(thinkingBudget=100),
        "thinking budget and thinking level",
    ),
    "two schemas": (
        lambda body: body["generationConfig"].update(responseSchema={"type": "STRING"}),
        "response_schema and response_json_schema",
    ),
    "schema without JSON": (
        lambda body: body["generationConfig"].pop("responseMimeType"),
        "needs response_mime_type application/json",
    ),
    "answer's MIME type": (
        lambda body: body["generationConfig"].update(responseMimeType="text/html"),
        "allowed mimetypes are",
    ),
    "older schema's keywords": (
        lambda body: body["generationConfig"].update(
            responseJsonSchema=None, responseSchema={"type": "OBJECT", "additionalProperties": False}
        ),
        "Unknown name \"additionalProperties\" at 'generation_config.response_schema'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_bad_requests_are_refused_in_the_apis_words(sim: Listening, name: str) -> None:
    change, message = REFUSED[name]
    body = gemini_body(CLIP)
    change(body)
    status, reply = await ask_gemini(sim.url, body)
    assert status == 400
    assert reply["error"]["code"] == 400
    assert reply["error"]["status"] == "INVALID_ARGUMENT"
    assert message in reply["error"]["message"]


async def test_all_unknown_fields_are_named_with_their_places(sim: Listening) -> None:
    body = gemini_body(CLIP, foo=1, bar=2)
    _, reply = await ask_gemini(sim.url, body)
    (detail,) = reply["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [violation["field"] for violation in detail["fieldViolations"]] == ["generation_config"] * 2
    assert reply["error"]["message"].count("Cannot find field.") == 2


async def test_broken_json_and_too_large_a_body() -> None:
    async with running(SimulatorConfig(latency=INSTANT, max_body_bytes=1000)) as sim:
        status, reply = await ask_gemini(sim.url, b'{"contents": [')
        assert (status, reply["error"]["status"]) == (400, "INVALID_ARGUMENT")
        status, reply = await ask_gemini(sim.url, gemini_body(CLIP))
        assert (status, reply["error"]["message"]) == (
            400,
            "Request payload size exceeds the limit: 1000 bytes.",
        )


async def test_a_level_that_the_model_does_not_think_at(sim: Listening) -> None:
    body = gemini_body(CLIP, thinkingConfig={"thinkingLevel": "MINIMAL"})
    assert (await ask_gemini(sim.url, body))[0] == 200
    status, reply = await ask_gemini(sim.url, body, model="gemini-3.8-flash")
    assert status == 400
    assert "MINIMAL is not supported" in reply["error"]["message"]


async def test_keys_and_models() -> None:
    config = SimulatorConfig(latency=INSTANT, keys=("right", "other=project"))
    async with running(config) as sim, aiohttp.ClientSession() as session:
        status, reply = await ask_gemini(sim.url, gemini_body(CLIP), key="wrong")
        assert (status, reply["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
        assert (await ask_gemini(sim.url, gemini_body(CLIP), key=""))[0] == 403
        status, reply = await ask_gemini(sim.url, gemini_body(CLIP), key="right", model="gemini-0")
        assert (status, reply["error"]["status"]) == (404, "NOT_FOUND")
        assert "models/gemini-0 is not found for API version v1beta" in reply["error"]["message"]
        async with session.get(f"{sim.url}/v1beta/models?key=other") as listed:
            names = [entry["name"] for entry in (await listed.json())["models"]]
            assert f"models/{MODEL}" in names
        async with session.get(f"{sim.url}/v1beta/{names[0]}", headers={"x-goog-api-key": "right"}) as one:
            assert (await one.json())["supportedGenerationMethods"] == ["generateContent"]
        for path, expected in (
            ("models/none?key=right", 404),
            ("models", 403),
            ("models?key=no", 400),
            ("x", 404),
        ):
            async with session.get(f"{sim.url}/v1/{path}") as refused:
                assert refused.status == expected
                assert (await refused.json())["error"]["code"] == expected


# ----------------------------------------------------------------------------- the official SDK


@pytest.fixture
async def sdk(sim: Listening) -> AsyncIterator[genai.client.AsyncClient]:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=sim.url)).aio
    yield client
    await client.aclose()


def _sdk_config() -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        system_instruction=system_prompt("hi"),
        temperature=0,
        max_output_tokens=4096,
        response_mime_type="application/json",
        response_json_schema=response_schema(),
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        safety_settings=[
            types.SafetySetting(
                category=types.HarmCategory.HARM_CATEGORY_HARASSMENT, threshold=types.HarmBlockThreshold.OFF
            )
        ],
    )


async def test_the_official_sdk_works_unchanged(sdk: genai.client.AsyncClient) -> None:
    reply = await sdk.models.generate_content(
        model=MODEL,
        contents=types.Content(
            parts=[
                types.Part.from_bytes(data=flac(5.0), mime_type="audio/flac"),
                types.Part.from_text(text="Transcribe this clip."),
            ]
        ),
        config=_sdk_config(),
    )
    assert isinstance(reply.parsed, dict)
    assert isinstance(parse_answer(reply.text or ""), Answer)
    assert reply.parsed["detected_language"] == "hi"
    assert reply.model_version == "simulated"
    assert reply.candidates
    assert reply.candidates[0].finish_reason is types.FinishReason.STOP
    usage = reply.usage_metadata
    assert usage
    assert usage.prompt_tokens_details
    assert usage.prompt_tokens_details[1].token_count == 160
    assert usage.total_token_count == sum(
        count or 0
        for count in (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    )


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        (FaultKind.RATE_MINUTE, errors.ClientError, 429),
        (FaultKind.RATE_BARE, errors.ClientError, 429),
        (FaultKind.KEY_INVALID, errors.ClientError, 400),
        (FaultKind.OVERLOADED, errors.ServerError, 503),
        (FaultKind.INTERNAL, errors.ServerError, 500),
        (FaultKind.DEADLINE, errors.ServerError, 504),
    ],
)
async def test_errors_surface_as_the_sdks_own(
    sim: Listening,
    sdk: genai.client.AsyncClient,
    kind: FaultKind,
    error: type[errors.APIError],
    code: int,
) -> None:
    sim.simulation.set_faults(FaultPlan((FaultRule(kind),)))
    with pytest.raises(error) as caught:
        await sdk.models.generate_content(model=MODEL, contents="hello")
    assert caught.value.code == code
    assert caught.value.message


async def test_a_blocked_prompt_reaches_the_sdk_without_candidates(
    sim: Listening, sdk: genai.client.AsyncClient
) -> None:
    sim.simulation.set_faults(FaultPlan((FaultRule(FaultKind.BLOCKED_PROMPT),)))
    reply = await sdk.models.generate_content(model=MODEL, contents="hello")
    assert not reply.candidates
    assert reply.prompt_feedback
    assert reply.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT

"""The AI Studio client's translation and classification, on bodies shaped like the real ones."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.llm.aistudio import AIStudioProvider, classify_error, read_candidate, read_usage
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import ModelOptions, TranscriptionRequest
from lipika.llm.replies import Reply
from lipika.llm.transcript import response_schema
from lipika.models import FailureKind, Usage


def reply(status: int, body: Any, retry_after: str | None = None) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, raw, retry_after)


def error(code: int, status: str, message: str = "m", details: list[dict[str, Any]] | None = None) -> Any:
    return {"error": {"code": code, "status": status, "message": message, "details": details or []}}


def quota(*quota_ids: str, delay: Any = None) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota_id, "quotaValue": "10"} for quota_id in quota_ids],
        }
    ]
    if delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return details


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-PaidTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-PaidTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-PaidTier"
METRIC_ONLY = [{"violations": [{"quotaMetric": "x.googleapis.com/generate_requests_per_model_per_day"}]}]


@pytest.mark.parametrize(
    ("details", "message", "kind", "wait"),
    [
        (quota(PER_MINUTE, delay="34s"), "m", "rate_minute", 34.0),
        (quota(TOKENS, delay="1.68s"), "m", "rate_minute", 1.68),
        (quota(PER_MINUTE, PER_DAY, delay="34s"), "m", "rate_day", 34.0),
        (quota(PER_DAY, delay="51234s"), "m", "rate_day", 51234.0),
        (quota(PER_MINUTE, delay="7200s"), "m", "rate_day", 7200.0),
        (quota(PER_MINUTE, delay={"seconds": 3, "nanos": 500_000_000}), "m", "rate_minute", 3.5),
        ([], "You exceeded your current quota. Please retry in 1.68s.", "rate_minute", 1.68),
        ([], "Please retry in 350ms", "rate_minute", 0.35),
        ([], "Please retry in 14h2m3.5s.", "rate_day", 14 * 3600.0 + 123.5),
        ([], "You exceeded your current quota, please check your plan and billing.", "rate_minute", None),
        ([], "Resource has been exhausted (e.g. check quota).", "rate_minute", None),
        ([], "You have reached your daily limit", "rate_day", None),
        ([], "Your project has exceeded its spend limit", "spend", None),
        ([], "Your project has exceeded its monthly spending cap. Please go to AI Studio", "spend", None),
        ([], "Your prepayment credits are depleted. Please go to AI Studio", "payment", None),
        (quota(PER_MINUTE), "Your prepayment credits are depleted.", "payment", None),
        (METRIC_ONLY, "m", "rate_day", None),
        ([], "* Quota exceeded for metric: generate_requests_per_model_per_day, limit: 0", "rate_day", None),
        ([], "x " * 400 + "generate_requests_per_model_per_day", "rate_day", None),
        ([{"reason": "MODEL_CAPACITY_EXHAUSTED"}], "No capacity available for model", "overloaded", None),
        (quota(PER_DAY, delay="0s"), "Please retry in 8.386476ms.", "rate_day", 0.008386476),
        (quota(PER_MINUTE, delay="0s"), "Please retry in 42.5s.", "rate_minute", 42.5),
        (quota(PER_MINUTE, delay="0s"), "m", "rate_minute", 0.0),
        (quota(PER_MINUTE, delay="soon"), "Please retry in 2s.", "rate_minute", 2.0),
        (quota(PER_MINUTE, delay=7), "m", "rate_minute", None),
        (quota(PER_DAY, delay="9999999s"), "m", "rate_day", 86_400.0),
    ],
)
def test_429_kinds(details: list[dict[str, Any]], message: str, kind: str, wait: float | None) -> None:
    failure = classify_error(reply(429, error(429, "RESOURCE_EXHAUSTED", message, details)))
    assert failure.kind == kind
    assert failure.retry_after_s == (None if wait is None else pytest.approx(wait))


def test_429_without_a_body_obeys_the_header() -> None:
    assert classify_error(reply(429, b"", "17")).retry_after_s == 17
    assert classify_error(reply(429, b"<html>slow down</html>")).kind is FailureKind.RATE_MINUTE


INVALID_KEY = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error(400, "INVALID_ARGUMENT", "Invalid value at 'contents'"), "bad_request"),
        (400, error(400, "INVALID_ARGUMENT", "API key not valid.", INVALID_KEY), "auth"),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported"), "auth"),
        (400, error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), "auth"),
        (401, error(401, "UNAUTHENTICATED"), "auth"),
        (402, error(402, "X"), "payment"),
        (403, error(403, "PERMISSION_DENIED"), "auth"),
        (403, error(403, "PERMISSION_DENIED", "Billing has been disabled for this project."), "payment"),
        (403, error(403, "PERMISSION_DENIED", "m", [{"reason": "BILLING_DISABLED"}]), "payment"),
        (403, b"<html>Forbidden</html>", "auth"),
        (404, error(404, "NOT_FOUND", "models/gone is not found"), "auth"),
        (408, b"", "timeout"),
        (409, error(409, "ABORTED"), "server"),
        (413, b"<html>413</html>", "bad_request"),
        (499, error(499, "CANCELLED", "The operation was cancelled."), "server"),
        (500, error(500, "INTERNAL"), "server"),
        (502, b"<html><h1>Bad gateway</h1></html>", "server"),
        (503, error(503, "UNAVAILABLE", "The model is overloaded."), "overloaded"),
        (504, error(504, "DEADLINE_EXCEEDED"), "timeout"),
        (529, b"", "overloaded"),
        (418, error(418, "TEAPOT"), "bad_request"),
        (302, b"", "server"),
        (500, b'[{"error": {"code": 500, "status": "INTERNAL", "message": "x"}}]', "server"),
        (503, b'{"error": "not an object"}', "overloaded"),
        (400, b'{"error": {"details": ["odd", null]}}', "bad_request"),
        (400, b'{"error": {"details": {"a": 1}, "message": 5, "status": []}}', "bad_request"),
        (
            429,
            b'{"error": {"details": [{"violations": [null, 3, {"quotaId": 5}], "retryDelay": []}]}}',
            "rate_minute",
        ),
        (429, b"[]", "rate_minute"),
        (429, b"[3]", "rate_minute"),
    ],
)
def test_other_errors(status: int, body: Any, kind: str) -> None:
    failure = classify_error(reply(status, body))
    assert failure.kind == kind
    assert failure.http_status == status
    assert failure.message


def test_a_message_is_one_short_line_that_a_row_can_hold() -> None:
    """Google repeats a value it cannot take: a whole clip in base64."""
    body = error(400, "INVALID_ARGUMENT", "Base64 decoding\nfailed\x00 for " + "A" * 500_000)
    message = classify_error(reply(400, body)).message
    assert message.startswith("Base64 decoding failed for AAA")
    assert len(message) == 500


def candidate(**fields: Any) -> dict[str, Any]:
    return {"candidates": [fields]}


def test_thoughts_are_not_the_answer_and_pieces_are_joined() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": '{"a":'}, {}, {"text": "1}"}]
    assert read_candidate(candidate(content={"parts": parts}, finishReason="STOP")) == ('{"a":1}', None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "empty"),
        ({"candidates": []}, "empty"),
        ({"candidates": [None]}, "malformed"),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "blocked"),
        (candidate(finishReason="STOP"), "empty"),
        (candidate(finishReason="STOP", content={}), "empty"),
        (candidate(finishReason="STOP", content={"parts": [{"text": "t", "thought": True}]}), "empty"),
        (candidate(finishReason="MAX_TOKENS", content={"parts": [{"text": '{"tr'}]}), "truncated"),
        (candidate(finishReason="SAFETY"), "blocked"),
        (candidate(finishReason="RECITATION"), "blocked"),
        (candidate(finishReason="OTHER"), "blocked"),
        (candidate(finishReason="SOMETHING_NEW", content={"parts": [{"text": "x"}]}), "malformed"),
        (candidate(content={"parts": [{"text": "x"}]}), "malformed"),
        (candidate(finishReason="CONTINUATION", content={"parts": [{"text": "x"}]}), "truncated"),
        (candidate(finishReason="PUP_LIMITED_DISABLED"), "auth"),
        (candidate(finishReason="STOP", content={"parts": {"text": "x"}}), "empty"),
        (candidate(finishReason="STOP", content="x"), "empty"),
        (candidate(finishReason="STOP", content={"parts": [{"text": 5}, 7]}), "empty"),
        (candidate(finishReason=["STOP"], content={"parts": [{"text": "x"}]}), "malformed"),
        ({"candidates": "x", "promptFeedback": "x"}, "empty"),
    ],
)
def test_anything_but_stop_with_text_is_no_answer(body: dict[str, Any], kind: str) -> None:
    text, failure = read_candidate(body)
    assert text == ""
    assert failure is not None
    assert failure.kind == kind


def test_output_is_total_minus_prompt_so_that_thoughts_are_never_missed() -> None:
    meta = {
        "promptTokenCount": 700,
        "promptTokensDetails": [
            {"modality": "AUDIO", "tokenCount": 256},
            {"modality": "TEXT", "tokenCount": 444},
        ],
        "cachedContentTokenCount": 100,
        "candidatesTokenCount": 50,
        "totalTokenCount": 1000,
    }
    assert read_usage(meta) == Usage(700, 444, 256, cached=100, output=300, thoughts=0)
    assert read_usage({"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 9}) == Usage(
        5, 5, 0, output=11, thoughts=9
    )
    assert read_usage({}) is None
    assert read_usage(None) is None
    assert read_usage("odd") is None
    assert read_usage({"promptTokenCount": 0, "totalTokenCount": 0}) is None


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        # The sum of the modalities stands in for a missing prompt count; audio is never more than the prompt.
        ({"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 256}]}, Usage(256, 0, 256)),
        (
            {"promptTokenCount": 100, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 256}]},
            Usage(100, 0, 100),
        ),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 99}, Usage(10, 10, 0, cached=10)),
        ({"promptTokenCount": "10", "totalTokenCount": "15"}, Usage(10, 10, 0, output=5)),
        ({"promptTokenCount": 10, "totalTokenCount": 4}, Usage(10, 10)),
        (
            {"promptTokenCount": 10, "totalTokenCount": None, "candidatesTokenCount": 3},
            Usage(10, 10, output=3),
        ),
        ({"promptTokenCount": -5, "totalTokenCount": 1e300}, Usage(output=1_000_000_000)),
        ({"promptTokenCount": 10, "promptTokensDetails": [None, "x", {"modality": "AUDIO"}]}, Usage(10, 10)),
    ],
)
def test_odd_usage(meta: Any, expected: Usage) -> None:
    assert read_usage(meta) == expected


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (error(503, "UNAVAILABLE", "The model is overloaded."), "overloaded", 503),
        (error(429, "RESOURCE_EXHAUSTED", "m", quota(PER_DAY, delay="34s")), "rate_day", 429),
        ({"error": "in words"}, "server", 500),
        ({"error": {"code": 3}}, "server", 500),
        (b"", "server", 200),
        (b"<html>hotel wifi</html>", "server", 200),
        (b'{"candidates": [{"content', "server", 200),
        (b'[{"candidates": []}]', "server", 200),
    ],
)
def test_failures_inside_http_200(body: Any, kind: str, status: int) -> None:
    failure = provider()._read(reply(200, body)).failure
    assert failure is not None
    assert (failure.kind, failure.http_status) == (kind, status)
    assert failure.message


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
NAMES = st.sampled_from(
    [
        *("error", "code", "status", "message", "details", "violations", "quotaId", "retryDelay", "reason"),
        *("candidates", "content", "parts", "text", "thought", "finishReason", "finishMessage", "modality"),
        *("promptFeedback", "blockReason", "usageMetadata", "promptTokenCount", "promptTokensDetails"),
        *("tokenCount", "cachedContentTokenCount", "candidatesTokenCount", "totalTokenCount", "modelVersion"),
    ]
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@given(st.sampled_from([200, 200, 200, 400, 403, 429, 500]), BODIES, st.none() | st.text(max_size=6))
def test_no_body_however_odd_raises(status: int, body: Any, retry_after: str | None) -> None:
    reading = provider()._read(reply(status, body, retry_after))
    assert (reading.failure is None) == bool(reading.text)
    if reading.usage:
        assert reading.usage.prompt == reading.usage.prompt_text + reading.usage.prompt_audio
        assert min(reading.usage.prompt_text, reading.usage.output, reading.usage.cached) >= 0


def test_prices_of_the_default_model() -> None:
    model = load_capabilities("gemini-3-flash-preview")
    usage = Usage(prompt=656, prompt_text=400, prompt_audio=256, output=220, thoughts=100)
    # 400 text at $0.50, 256 audio at $1.00, 220 output at $3.00 per million
    assert model.cost_usd(usage) == pytest.approx((200 + 256 + 660) / 1e6)
    half_cached = Usage(prompt=656, prompt_text=400, prompt_audio=256, cached=400)
    assert model.cost_usd(half_cached) == pytest.approx((400 * 0.05 + 256) / 1e6)
    assert load_capabilities("google/gemini-3-flash-preview").output_usd == 3.0


def test_an_unknown_model_gets_the_dearest_prices_and_says_so() -> None:
    model = load_capabilities("gemini-99-ultra")
    assert not model.known
    assert model.output_usd >= load_capabilities("gemini-3-flash-preview").output_usd


def provider(model_id: str = "gemini-3-flash-preview", temperature: float | None = 0.0) -> AIStudioProvider:
    return AIStudioProvider(
        base_url="http://127.0.0.1:9",
        api_key="k",
        options=ModelOptions(model_id, temperature, "low", 5.0),
        capabilities=load_capabilities(model_id),
        response_schema=response_schema(),
    )


def request(audio: bytes = b"fLaC\x00audio", *, varied: bool = False) -> TranscriptionRequest:
    return TranscriptionRequest(
        "v/c", "v", "hi", 'Prompt with "quotes" and देवनागरी', "Clip.", audio, 8000, 3000, varied
    )


def test_the_body_is_the_documented_request_with_the_audio_spliced_in() -> None:
    body = json.loads(provider().encode(request(bytes(range(256)))))
    assert body["systemInstruction"]["parts"][0]["text"] == 'Prompt with "quotes" and देवनागरी'
    text, audio = body["contents"][0]["parts"]
    assert text == {"text": "Clip."}
    assert audio["inlineData"]["mimeType"] == "audio/flac"
    assert base64.b64decode(audio["inlineData"]["data"]) == bytes(range(256))
    config = body["generationConfig"]
    assert config["temperature"] == 0.0
    assert config["thinkingConfig"] == {"thinkingLevel": "LOW"}
    assert config["responseJsonSchema"]["required"][0] == "transcription"


def test_a_parameter_the_model_does_not_take_is_not_sent() -> None:
    assert "temperature" not in json.loads(provider("gemini-3.6-flash").encode(request()))["generationConfig"]
    assert "temperature" not in json.loads(provider(temperature=None).encode(request()))["generationConfig"]
    varied = json.loads(provider().encode(request(varied=True)))
    assert "temperature" not in varied["generationConfig"]


@pytest.mark.parametrize("model_id", ["gemini-3-flash-preview", "google/gemini-3-flash-preview"])
def test_openrouters_name_of_a_model_will_do(model_id: str) -> None:
    assert provider(model_id)._url.endswith("/v1beta/models/gemini-3-flash-preview:generateContent")


async def test_a_refused_connection_is_a_failure_not_an_exception() -> None:
    async with provider() as client:
        response = await client.transcribe(request())
    assert response.failure is not None
    assert (response.failure.kind, response.failure.code) == (FailureKind.SERVER, "unreachable")

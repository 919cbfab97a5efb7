"""The OpenRouter client's translation and classification, on bodies shaped like the real ones.

Shapes: OpenRouter's pages on errors and limits (October 2026), bodies in public issue threads, vLLM and OpenAI.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.errors import SettingsError
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider, classify_error, read_choice, read_usage
from lipika.llm.provider import ModelOptions, TranscriptionRequest
from lipika.llm.replies import Reply, parse_json
from lipika.llm.transcript import response_schema
from lipika.models import Failure, FailureKind, Usage
from recorder import Page, recording

MODEL = "gemini-3-flash-preview"
KEY = "sk-or-v1-0123456789abcdef"


def reply(status: int, body: Any, retry_after: str | None = None, **more: Any) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, raw, retry_after, **more)


def classified(status: int, body: Any, retry_after: str | None = None, **more: Any) -> Failure:
    """The failure that is in a reply."""
    got = reply(status, body, retry_after, **more)
    parsed = parse_json(got.body)
    failure = classify_error(got, parsed if isinstance(parsed, dict) else {})
    assert failure is not None
    return failure


def error(code: Any, message: Any = "m", **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


# ----------------------------------------------------------------------------- error types and statuses

# Every value of OpenRouter's APIErrorType, with the status that its pages give it.
ERROR_TYPES = {
    "rate_limit_exceeded": (429, "rate_minute"),
    "provider_overloaded": (503, "overloaded"),
    "provider_unavailable": (502, "overloaded"),
    "server": (500, "server"),
    "timeout": (504, "timeout"),
    "unmapped": (500, "server"),
    "authentication": (401, "auth"),
    "permission_denied": (403, "auth"),
    "payment_required": (402, "payment"),
    "token_limit_exceeded": (400, "payment"),
    "content_policy_violation": (400, "blocked"),
    "refusal": (400, "blocked"),
    "max_tokens_exceeded": (400, "truncated"),
    "context_length_exceeded": (400, "bad_request"),
    "string_too_long": (400, "bad_request"),
    "invalid_request": (400, "bad_request"),
    "invalid_prompt": (400, "bad_request"),
    "not_found": (404, "auth"),
    "precondition_failed": (412, "bad_request"),
    "payload_too_large": (413, "bad_request"),
    "unprocessable": (422, "bad_request"),
    "invalid_image": (400, "bad_request"),
    "image_too_large": (400, "bad_request"),
    "image_too_small": (400, "bad_request"),
    "unsupported_image_format": (400, "bad_request"),
    "image_not_found": (404, "auth"),
    "image_download_failed": (400, "bad_request"),
}


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_every_error_type_with_its_status_and_inside_http_200(error_type: str) -> None:
    status, kind = ERROR_TYPES[error_type]
    body = error(status, error_type=error_type)
    failure = classified(status, body)
    assert (failure.kind, failure.http_status, failure.code) == (kind, status, error_type)
    within = classified(200, body)
    assert (within.kind, within.http_status) == (kind, status)
    in_choice = {"choices": [{"message": {"content": "half"}, "finish_reason": "error", **body}]}
    assert classified(200, in_choice).kind == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_request"),
        (401, "auth"),
        (402, "payment"),
        (403, "auth"),
        (404, "auth"),
        (408, "timeout"),
        (409, "bad_request"),
        (413, "bad_request"),
        (422, "bad_request"),
        (429, "rate_minute"),
        (499, "server"),
        (500, "server"),
        (501, "server"),
        (502, "overloaded"),
        (503, "overloaded"),
        (504, "timeout"),
        (524, "timeout"),
        (529, "overloaded"),
        (302, "server"),
        (204, "server"),
    ],
)
def test_a_status_alone_is_enough(status: int, kind: str) -> None:
    for body in NO_ERROR_OBJECTS:
        failure = classified(status, body)
        assert (failure.kind, failure.http_status) == (kind, status), body
        assert failure.message


NO_ERROR_OBJECTS = (
    b"",
    b"<html><h1>nginx</h1></html>",
    b"null",
    b"[1]",
    b'{"error": "in words"}',
    b'{"detail": "Not here"}',
)


def test_the_status_decides_where_the_type_says_little() -> None:
    assert classified(404, error(404, "No endpoints found", error_type="invalid_request")).kind == "auth"
    assert classified(429, error(429, error_type="unmapped")).kind == "rate_minute"
    assert classified(400, error(400, error_type="unmapped")).kind == "bad_request"
    assert classified(503, error(503, error_type="invented_tomorrow")).kind == "overloaded"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "No endpoints found that can handle the requested parameters."),
        (404, "No allowed providers are available for the selected model."),
        (404, "No endpoints found for google/gone."),
        (400, "google/gemini-0 is not a valid model ID"),
    ],
)
def test_a_model_that_nobody_serves_like_this_stops_the_provider(status: int, message: str) -> None:
    assert classified(status, {"error": {"message": message, "code": status}}).kind == "auth"


# ----------------------------------------------------------------------------- 402 and 403

IN_FLIGHT = {"reason": "in_flight_budget_exhausted", "limit_source": "openrouter_in_flight_budget"}
TOO_DEAR = {"reason": "weight_exceeds_budget", "limit_source": "openrouter_credits"}
KEY_LIMIT = {"limit_source": "openrouter_key_limit", "limit_usd": 5, "spend_usd": 5.01}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (402, error(402, "Insufficient credits"), "payment"),
        (402, error(402, "This request requires more credits, or fewer max_tokens."), "payment"),
        (402, error(402, "Retry after in-flight requests settle", **IN_FLIGHT), "rate_minute"),
        (402, error(402, "too dear", **TOO_DEAR), "payment"),
        (402, error(402, "limit", **KEY_LIMIT), "spend"),
        (403, error(403, "Budget limit exceeded", **KEY_LIMIT), "spend"),
        (403, error(403, "Budget", limit_source="openrouter_workspace_budget"), "spend"),
        (403, error(403, "Budget", limit_source="openrouter_guardrail_budget"), "spend"),
        (
            403,
            error(403, "Key limit exceeded (total limit). Manage it using https://openrouter.ai/"),
            "spend",
        ),
        (403, error(403, "flagged", reasons=["violence"], flagged_input="…", provider_name="P"), "blocked"),
        (403, error(403, "flagged", error_type="permission_denied", reasons=["hate"]), "blocked"),
        (403, error(403, "Request blocked: prompt injection patterns detected", patterns=["x"]), "auth"),
        (403, error(403, "The key has no permission", error_type="permission_denied"), "auth"),
        (403, error(403, "Only management keys can perform this operation"), "auth"),
        (403, b"<html>Attention Required! | Cloudflare</html>", "auth"),
        (401, error(401, "User not found."), "auth"),
    ],
)
def test_money_moderation_and_keys_are_told_apart(status: int, body: Any, kind: str) -> None:
    assert classified(status, body).kind == kind


def test_the_in_flight_budget_is_waited_for_as_long_as_it_says() -> None:
    failure = classified(402, error(402, **IN_FLIGHT), "7")
    assert (failure.kind, failure.retry_after_s, failure.code) == (
        FailureKind.RATE_MINUTE,
        7.0,
        "openrouter_in_flight_budget",
    )


# ----------------------------------------------------------------------------- waits

NOW = 1_790_000_000.0
UPSTREAM = "google/gemini is temporarily rate-limited upstream. Please retry in 4.5s, or add your own key"


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        ({"error": {"code": 429, "availability": {"retryable": True, "retry_after": 12.5}}}, {}, 12.5),
        (error(429, availability={"retry_after": 3}), {}, 3.0),
        (error(429, availability={"retry_after": "3.5"}), {}, 3.5),
        (error(429, retry_after_seconds=17, headers={"Retry-After": "18"}), {}, 17.0),
        (error(429), {"retry_after": "21"}, 21.0),
        (error(429, availability={"retry_after": 2}), {"retry_after": "21"}, 2.0),
        (error(429, "Rate limit exceeded. Please retry in 1.68s."), {}, 1.68),
        (error(429, "Provider returned error", raw=UPSTREAM), {}, 4.5),
        (error(429), {"rate_reset": f"{(NOW + 30) * 1000:.0f}"}, 30.0),
        (error(429, headers={"X-RateLimit-Reset": f"{(NOW + 40) * 1000:.0f}"}), {}, 40.0),
        (error(429), {"rate_reset": f"{(NOW - 5) * 1000:.0f}"}, 0.0),
        (error(429), {"rate_reset": "30", "retry_after": "1"}, 1.0),
        (error(429), {"rate_reset": f"{(NOW + 40) * 1000:.0f}", "retry_after": "0"}, 0.0),
        (error(429, "Please retry in 640ms."), {"retry_after": "0"}, 0.64),
        (error(429, availability={"retry_after": -4}), {}, 0.0),
        (error(429), {"rate_reset": "30"}, None),
        (error(429), {"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        (error(429), {"retry_after": "-3"}, None),
        (error(429, availability={"retry_after": None}), {}, None),
        (error(429, availability=[1]), {}, None),
        (error(429), {}, None),
        (b"", {"retry_after": "17"}, 17.0),
    ],
)
def test_waits_are_obeyed_wherever_they_stand(body: Any, headers: dict[str, str], wait: float | None) -> None:
    failure = classified(429, body, received_at=NOW, **headers)
    assert failure.kind is FailureKind.RATE_MINUTE
    assert failure.retry_after_s == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (error(429, "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 a day"), {}),
        (error(429), {"retry_after": "7200"}),
        (error(429), {"rate_reset": f"{(NOW + 50_000) * 1000:.0f}"}),
    ],
)
def test_a_limit_that_lasts_a_day(body: Any, headers: dict[str, str]) -> None:
    failure = classified(429, body, received_at=NOW, **headers)
    assert failure.kind is FailureKind.RATE_DAY
    assert (failure.retry_after_s or 0) <= 86_400


def test_no_wait_is_longer_than_a_day() -> None:
    assert classified(429, error(429), "999999999").retry_after_s == 86_400


# ----------------------------------------------------------------------------- what a failure says


def test_what_the_provider_behind_it_said_is_kept() -> None:
    failure = classified(
        502, error(502, "Provider returned error", raw="error code: 1015", provider_name="G")
    )
    assert failure.message == "Provider returned error: error code: 1015"


def test_a_message_is_one_short_line_that_a_row_can_hold() -> None:
    message = classified(400, error(400, "a\x00b\n\tc" + "A" * 100_000)).message
    assert message.startswith("ab c")
    assert len(message) == 500


def other_error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "param": None, **fields}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        # vLLM, before and since it put errors into an object
        (
            400,
            {"object": "error", "message": "too long", "type": "BadRequestError"},
            "bad_request",
            "too long",
        ),
        (404, other_error("no such model", type="NotFoundError", code=404), "auth", "no such model"),
        (401, {"error": "Unauthorized"}, "auth", "Unauthorized"),
        # OpenAI
        (429, other_error("quota", type="insufficient_quota", code="insufficient_quota"), "payment", "quota"),
        (429, other_error("slow", type="requests", code="rate_limit_exceeded"), "rate_minute", "slow"),
        (401, other_error("bad", type="invalid_request_error", code="invalid_api_key"), "auth", "bad"),
        (404, other_error("gone", type="invalid_request_error", code="model_not_found"), "auth", "gone"),
        (400, other_error("filtered", code="content_filter"), "blocked", "filtered"),
    ],
)
def test_errors_of_other_compatible_servers(status: int, body: Any, kind: str, message: str) -> None:
    failure = classified(status, body)
    assert (failure.kind, failure.message) == (kind, message)


# ----------------------------------------------------------------------------- HTTP 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"error": {"code": 502, "message": "x"}}, "overloaded", 502),
        ({"error": {"code": "503", "message": "x"}}, "overloaded", 503),
        ({"error": {"message": "x"}, "choices": []}, "server", 500),
        ({"error": "x"}, "server", 500),
        ({"error": {"code": 7}}, "server", 500),
        ({"choices": [{"error": {"code": 429, "message": "x"}}]}, "rate_minute", 429),
        ({"choices": [{"error": True}]}, "server", 500),
        (b"", "server", 200),
        (b"{}", "server", 200),
        (b"<html>hotel wifi</html>", "server", 200),
        (b'{"choices": [{"message": {"cont', "server", 200),
        (b"[]", "server", 200),
    ],
)
def test_failures_inside_http_200(body: Any, kind: str, status: int) -> None:
    failure = classified(200, body)
    assert (failure.kind, failure.http_status) == (kind, status)
    assert failure.message


def test_an_answer_is_no_failure() -> None:
    body = {"error": None, "choices": [{"error": None, "finish_reason": "stop"}]}
    assert classify_error(reply(200, body), body) is None


def choice(content: Any, finish: Any = "stop", native: Any = None, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    return {"choices": [{"message": said, "finish_reason": finish, "native_finish_reason": native}]}


@pytest.mark.parametrize(
    "body",
    [
        choice('{"a":1}'),
        choice('{"a":1}', native="STOP"),
        choice('{"a":1}', native="stop"),
        choice([{"type": "text", "text": '{"a"'}, {"type": "text", "text": ":1}"}]),
        choice([{"type": "reasoning"}, None, {"text": '{"a":1}'}]),
        choice('{"a":1}', refusal=None, reasoning="thinking"),
    ],
)
def test_text_in_all_its_forms(body: dict[str, Any]) -> None:
    assert read_choice(body) == ('{"a":1}', None)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({}, "empty", "no_choices"),
        ({"choices": []}, "empty", "no_choices"),
        ({"choices": {"0": 1}}, "empty", "no_choices"),
        ({"choices": [None]}, "empty", "no_choices"),
        ({"choices": [{"finish_reason": "stop"}]}, "empty", "stop"),
        ({"choices": [{"finish_reason": "stop", "message": "text"}]}, "empty", "stop"),
        (choice(None), "empty", "stop"),
        (choice("  \n"), "empty", "stop"),
        (choice([]), "empty", "stop"),
        (choice(None, native="STOP"), "empty", "stop/STOP"),
        (choice(None, refusal="I will not transcribe this."), "blocked", "refusal"),
        (choice("half", "length", "MAX_TOKENS"), "truncated", "length/MAX_TOKENS"),
        (choice("half", "length"), "truncated", "length"),
        (choice("half", "stop", "MAX_TOKENS"), "truncated", "stop/MAX_TOKENS"),
        (choice("half", "length", "max_tokens"), "truncated", "length/max_tokens"),
        (choice("", "content_filter", "SAFETY"), "blocked", "content_filter/SAFETY"),
        (choice("", "content_filter"), "blocked", "content_filter"),
        (choice("song", "stop", "RECITATION"), "blocked", "stop/RECITATION"),
        (choice("", "error", "OTHER"), "blocked", "error/OTHER"),
        (choice("", "error", "PROHIBITED_CONTENT"), "blocked", "error/PROHIBITED_CONTENT"),
        (choice("", "error"), "server", "error"),
        (choice("half", "error", "STOP"), "server", "error/STOP"),
        (choice("text", "tool_calls"), "malformed", "tool_calls"),
        (choice("text", None), "malformed", "absent"),
        (choice("text", "something_new"), "malformed", "something_new"),
    ],
)
def test_anything_but_stop_with_text_is_no_answer(body: dict[str, Any], kind: str, code: str) -> None:
    text, failure = read_choice(body)
    assert text == ""
    assert failure is not None
    assert (failure.kind, failure.code, failure.http_status) == (kind, code, 200)
    assert failure.message


# ----------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 700,
                "completion_tokens": 300,
                "total_tokens": 1000,
                "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 0, "audio_tokens": 256},
                "completion_tokens_details": {"reasoning_tokens": 120},
                "cost": 0.0021,
            },
            Usage(700, 444, 256, cached=100, output=300, thoughts=120),
        ),
        # reasoning left out of the list, and out of completion_tokens too
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 16}, Usage(5, 5, 0, output=11)),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 9}},
            Usage(5, 5, 0, output=11, thoughts=9),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 5, 0, output=2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"audio_tokens": 9}}, Usage(5, 0, 5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 5, 0, cached=5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None, "completion_tokens": None}, Usage(5, 5)),
        ({"prompt_tokens": "5", "completion_tokens": -3, "total_tokens": "x"}, Usage(5, 5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": [1], "completion_tokens_details": "x"}, Usage(5, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({}, None),
        (None, None),
        ("12", None),
    ],
)  # fmt: skip
def test_usage(usage: Any, expected: Usage | None) -> None:
    assert read_usage(usage) == expected


# ----------------------------------------------------------------------------- nothing raises

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
NAMES = st.sampled_from(
    [
        *("error", "code", "message", "metadata", "error_type", "reasons", "raw", "limit_source", "headers"),
        *(
            "availability",
            "retry_after",
            "choices",
            "finish_reason",
            "native_finish_reason",
            "content",
            "refusal",
        ),
        *("text", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"),
        *("cached_tokens", "audio_tokens", "completion_tokens_details", "reasoning_tokens", "model", "type"),
    ]
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@given(st.sampled_from([200, 200, 200, 400, 402, 403, 429, 500]), BODIES, st.none() | st.text(max_size=6))
def test_no_body_however_odd_raises(status: int, body: Any, retry_after: str | None) -> None:
    reading = provider()._read(reply(status, body, retry_after))
    assert (reading.failure is None) == bool(reading.text)
    if reading.usage:
        assert reading.usage.prompt == reading.usage.prompt_text + reading.usage.prompt_audio
        assert min(reading.usage.prompt_text, reading.usage.output, reading.usage.cached) >= 0


# ----------------------------------------------------------------------------- what is sent


def provider(
    model_id: str = MODEL,
    *,
    base_url: str = "https://openrouter.ai/api/v1",
    routed: bool | None = None,
    temperature: float | None = 0.0,
    thinking: str | None = "low",
    prompt_version: str = "3",
    key: str = KEY,
) -> OpenRouterProvider:
    return OpenRouterProvider(
        base_url=base_url,
        api_key=key,
        options=ModelOptions(model_id, temperature, thinking, 5.0),
        capabilities=load_capabilities(model_id),
        response_schema=response_schema(),
        prompt_version=prompt_version,
        routed=routed,
    )


def request(
    language: str | None = "hi", *, audio: bytes = b"fLaC", varied: bool = False
) -> TranscriptionRequest:
    return TranscriptionRequest(
        "v/c", "v", language, 'Prompt with "quotes" and देवनागरी', "Clip.", audio, 8000, 3000, varied
    )


def body_of(client: OpenRouterProvider, asked: TranscriptionRequest | None = None) -> Any:
    return json.loads(client.encode(asked or request()))


def test_the_body_is_the_documented_request_with_the_audio_spliced_in() -> None:
    body = body_of(provider(), request(audio=bytes(range(256))))
    system, user = body["messages"]
    assert system == {"role": "system", "content": 'Prompt with "quotes" and देवनागरी'}
    text, audio = user["content"]
    assert text == {"type": "text", "text": "Clip."}
    assert (audio["type"], audio["input_audio"]["format"]) == ("input_audio", "flac")
    assert base64.b64decode(audio["input_audio"]["data"]) == bytes(range(256))
    assert body["max_tokens"] == 3000
    form = body["response_format"]["json_schema"]
    assert (body["response_format"]["type"], form["name"], form["strict"]) == (
        "json_schema",
        "transcript",
        True,
    )
    assert 1 <= len(form["name"]) <= 64
    assert form["schema"] == response_schema()
    assert body["temperature"] == 0.0
    assert body["reasoning"] == {"effort": "low", "exclude": True}
    assert body["provider"] == {
        "only": ["google-ai-studio", "google-vertex"],
        "require_parameters": True,
        "allow_fallbacks": True,
    }
    assert not body.keys() & {"stream", "plugins", "usage", "transforms", "models", "order"}


def test_a_session_is_one_language_hint_and_prompt_version() -> None:
    """What shares a byte-identical system prompt shares a session, and nothing else does."""

    def session(language: str | None, version: str = "3") -> str:
        return str(body_of(provider(prompt_version=version), request(language))["session_id"])

    assert session("hi") == session("Hindi") == session(" HI ")
    assert session(None) == session("Klingon") == session("x" * 5000)
    assert len({session("hi"), session("ta"), session(None), session("hi", "4")}) == 4
    assert all(len(session(language)) <= 256 for language in ("hi", None, "x" * 5000))


@pytest.mark.parametrize(
    ("model_id", "slug"),
    [
        (MODEL, f"google/{MODEL}"),
        (f"google/{MODEL}", f"google/{MODEL}"),
        ("mistralai/voxtral-small-24b-2507", "mistralai/voxtral-small-24b-2507"),
    ],
)
def test_the_model_goes_by_its_slug(model_id: str, slug: str) -> None:
    body = body_of(provider(model_id))
    assert body["model"] == slug
    assert ("only" in body["provider"]) is slug.startswith("google/"), (
        "Google's endpoints serve Google's models"
    )


def test_a_parameter_the_model_does_not_take_is_not_sent() -> None:
    assert "temperature" not in body_of(provider("gemini-3.6-flash"))
    assert "temperature" not in body_of(provider(temperature=None))
    assert "temperature" not in body_of(provider(), request(varied=True))
    assert body_of(provider(temperature=0.7))["temperature"] == 0.7
    assert "reasoning" not in body_of(provider("gemini-3.8-flash", thinking="minimal"))
    assert "reasoning" not in body_of(provider(thinking=None))
    assert body_of(provider(thinking="high"))["reasoning"]["effort"] == "high"


ONLY_OPENROUTERS = {"provider", "session_id", "reasoning"}


@pytest.mark.parametrize(
    ("base_url", "routed"),
    [
        ("https://openrouter.ai/api/v1", True),
        ("https://openrouter.ai/api/v1/", True),
        ("https://eu.openrouter.ai/api/v1", True),
        ("https://OpenRouter.ai/api/v1", True),
        ("https://notopenrouter.ai/api/v1", False),
        ("https://openrouter.ai.example.org/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://gpu-box:8000/v1", False),
    ],
)
def test_another_host_gets_nothing_that_only_openrouter_knows(base_url: str, routed: bool) -> None:
    body = body_of(provider("Qwen/Qwen3-Omni-30B", base_url=base_url))
    assert (body.keys() & ONLY_OPENROUTERS != set()) is routed
    if not routed:
        assert body.keys() == {"model", "messages", "max_tokens", "response_format"}
        assert body_of(provider(base_url=base_url))["model"] == MODEL, "no vendor prefix is put before a name"


# ----------------------------------------------------------------------------- over the wire

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "Qwen/Qwen3-Omni-30B",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"a": 1}'}}
    ],
    "usage": {
        "prompt_tokens": 500,
        "completion_tokens": 40,
        "total_tokens": 540,
        "prompt_tokens_details": None,
    },
}


async def test_a_self_hosted_server_is_asked_and_read() -> None:
    """As vLLM answers: no native finish reason, no details of the prompt's tokens."""
    async with (
        recording(Page.of(ANSWER)) as server,
        provider("Qwen/Qwen3-Omni-30B", base_url=f"{server.url}/v1", key="none") as client,
    ):
        response = await client.transcribe(request())
        assert await client.daily_spend_usd() is None
    (asked,) = server.requests
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.headers["content-type"] == "application/json"
    assert (response.text, response.failure, response.model_version) == (
        '{"a": 1}',
        None,
        "Qwen/Qwen3-Omni-30B",
    )
    assert response.usage == Usage(500, 244, 256, output=40), "8 s of audio at 32 tokens a second"


async def test_the_key_is_in_one_header_and_nowhere_else() -> None:
    async with (
        recording(Page.of({"data": {"usage_daily": 1.5}})) as server,
        provider(base_url=f"{server.url}/api/v1", routed=True) as client,
    ):
        await client.transcribe(request())
        assert await client.daily_spend_usd() == 1.5
    assert [(asked.method, asked.target) for asked in server.requests] == [
        ("POST", "/api/v1/chat/completions"),
        ("GET", "/api/v1/key"),
    ]
    for asked in server.requests:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert [name for name, text in asked.headers.items() if KEY in text] == ["authorization"]
        assert KEY.encode() not in asked.body
        assert KEY not in asked.target


@pytest.mark.parametrize(
    "page",
    [
        Page.of({"data": {}}),
        Page.of({"data": {"usage_daily": None}}),
        Page.of({"data": [1]}),
        Page.of(b"<html>"),
        Page.of({"data": {"usage_daily": 1}}, status=401),
    ],
)
async def test_no_word_about_spending_is_none(page: Page) -> None:
    async with recording(page) as server, provider(base_url=server.url, routed=True) as client:
        assert await client.daily_spend_usd() is None


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel", "tab\tbed"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(SettingsError, match="the key of openrouter") as caught:
        provider(key=key)
    assert not key.strip() or key not in str(caught.value)
    provider(key=f" {KEY}\n")  # as a file or a copy may bring it

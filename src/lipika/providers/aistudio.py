"""Google AI Studio: `generateContent` over aiohttp. Translates and classifies; see docs/providers.md.

Wire format: Google's Gemini API reference (v1beta) as of November 2026.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from lipika.capabilities import Capabilities
from lipika.models import Failure, FailureKind, Usage
from lipika.providers.base import (
    AUDIO_MARK,
    FrameCache,
    HttpProvider,
    ModelOptions,
    Reply,
    TranscriptionRequest,
    TranscriptionResponse,
    estimate_usage,
    excerpt,
    header_seconds,
)

_BLOCKED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "OTHER"}

_SAFETY_CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)
"""Switched off: speech is transcribed as it was said, and a filter would bias the corpus."""


class AIStudioProvider(HttpProvider):
    """Gemini through AI Studio. The key travels in `x-goog-api-key`, never in a URL.

    `name` is what rows and budgets call it; a simulator behind the same wire format has its own.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        options: ModelOptions,
        capabilities: Capabilities,
        response_schema: Mapping[str, Any],
        api_version: str = "v1beta",
        name: str = "aistudio",
    ):
        super().__init__(options, {"x-goog-api-key": api_key, "Content-Type": "application/json"})
        self._url = f"{base_url.rstrip('/')}/{api_version}/models/{options.model_id}:generateContent"
        self._name = name
        self._capabilities = capabilities
        self._response_schema = response_schema
        self._frames = FrameCache(self._payload)

    def get_provider_name(self) -> str:
        return self._name

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        started = time.perf_counter()
        reply = await self._post(self._url, self.encode(request))
        latency_ms = (time.perf_counter() - started) * 1000
        if isinstance(reply, Failure):
            return TranscriptionResponse(request, self._name, "", reply, Usage(), "", latency_ms)
        text, failure, usage, version = self._read(request, reply)
        return TranscriptionResponse(request, self._name, text, failure, usage, version, latency_ms)

    def encode(self, request: TranscriptionRequest) -> bytes:
        """The request's bytes: a cached JSON frame with the audio's base64 spliced in."""
        return self._frames.encode(request)

    def _payload(self, request: TranscriptionRequest) -> dict[str, Any]:
        return {
            "systemInstruction": {"parts": [{"text": request.system_prompt}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": request.clip_prompt},
                        {"inlineData": {"mimeType": f"audio/{request.audio_format}", "data": AUDIO_MARK}},
                    ],
                }
            ],
            "generationConfig": self._generation_config(request),
            "safetySettings": [{"category": category, "threshold": "OFF"} for category in _SAFETY_CATEGORIES],
        }

    def _generation_config(self, request: TranscriptionRequest) -> dict[str, Any]:
        options, model = self._options, self._capabilities
        config: dict[str, Any] = {
            "maxOutputTokens": min(request.max_output_tokens, model.max_output_tokens),
            "responseMimeType": "application/json",
            "responseJsonSchema": self._response_schema,
        }
        if options.temperature is not None and model.temperature and not request.varied:
            config["temperature"] = options.temperature
        if options.thinking_level in model.thinking_levels:
            config["thinkingConfig"] = {"thinkingLevel": str(options.thinking_level).upper()}
        return config

    def _read(self, request: TranscriptionRequest, reply: Reply) -> tuple[str, Failure | None, Usage, str]:
        failure: Failure | None
        if reply.status != 200:
            return "", classify_error(reply), Usage(), ""
        try:
            body = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            failure = Failure(FailureKind.SERVER, f"HTTP 200 with {excerpt(reply.body)}", http_status=200)
            return "", failure, Usage(), ""
        text, failure = read_candidate(body)
        usage = read_usage(body.get("usageMetadata"))
        if usage is None:
            usage = estimate_usage(request, text, self._capabilities.audio_tokens_per_second)
        return text, failure, usage, str(body.get("modelVersion") or "")


# ----------------------------------------------------------------------------- reading a 200


def read_candidate(body: Mapping[str, Any]) -> tuple[str, Failure | None]:
    """The first candidate's text, or why it is no answer. Thoughts are not the answer; text may be in pieces."""
    candidates = body.get("candidates") or []
    if not candidates:
        reason = (body.get("promptFeedback") or {}).get("blockReason")
        if reason:
            return "", Failure(
                FailureKind.BLOCKED, f"the prompt was blocked: {reason}", None, 200, str(reason)
            )
        return "", Failure(FailureKind.EMPTY, "no candidates in the reply", None, 200, "no_candidates")
    candidate = candidates[0] or {}
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part.get("text") or "" for part in parts if part and not part.get("thought"))
    finish = str(candidate.get("finishReason") or "absent")
    if finish == "STOP":
        if text.strip():
            return text, None
        return "", Failure(FailureKind.EMPTY, "the answer has no text", None, 200, finish)
    message = str(candidate.get("finishMessage") or f"finish reason {finish}")
    if finish == "MAX_TOKENS":
        return "", Failure(FailureKind.TRUNCATED, "the answer was cut at the output limit", None, 200, finish)
    kind = FailureKind.BLOCKED if finish in _BLOCKED else FailureKind.MALFORMED
    return "", Failure(kind, message, None, 200, finish)


def read_usage(meta: Mapping[str, Any] | None) -> Usage | None:
    """Tokens from `usageMetadata`; None when it is absent. Output is total - prompt, so thoughts always count."""
    if not meta:
        return None
    prompt = int(meta.get("promptTokenCount") or 0)
    thoughts = int(meta.get("thoughtsTokenCount") or 0)
    listed = int(meta.get("candidatesTokenCount") or 0) + thoughts
    audio = sum(
        int(detail.get("tokenCount") or 0)
        for detail in meta.get("promptTokensDetails") or ()
        if detail.get("modality") == "AUDIO"
    )
    return Usage(
        prompt=prompt,
        prompt_text=max(prompt - audio, 0),
        prompt_audio=audio,
        cached=int(meta.get("cachedContentTokenCount") or 0),
        output=max(int(meta.get("totalTokenCount") or 0) - prompt, listed, 0),
        thoughts=thoughts,
    )


# ----------------------------------------------------------------------------- classifying an error

_RETRY_IN = re.compile(r"retry in ((?:\d+(?:\.\d+)?(?:ms|s|m|h))+)", re.IGNORECASE)
_DURATION = re.compile(r"(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_A_DAYS_WAIT_S = 3600.0
"""A wait of an hour or more is no minute's quota, whatever the body calls it."""


def classify_error(reply: Reply) -> Failure:
    """A failure from an HTTP error: by status, then by the body's code and details, and by its text last."""
    error = _error_object(reply.body)
    message = str(error.get("message") or excerpt(reply.body))
    code = str(error.get("status") or "")
    status = reply.status
    if status == 429:
        return _classify_429(reply, error, message)
    kind = _KIND_BY_STATUS.get(status)
    if kind is None:
        kind = FailureKind.SERVER if status >= 500 or not error else FailureKind.BAD_REQUEST
    if status == 400 and ("API_KEY_INVALID" in _reasons(error) or code == "FAILED_PRECONDITION"):
        kind = FailureKind.AUTH
    if "BILLING_DISABLED" in _reasons(error) or (status == 403 and "billing" in message.lower()):
        kind = FailureKind.PAYMENT
    return Failure(kind, message, _retry_after_s(reply, error, message), status, code)


_KIND_BY_STATUS = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.PAYMENT,
    403: FailureKind.AUTH,
    404: FailureKind.AUTH,  # a retired or misspelt model: going on would fail every clip
    408: FailureKind.TIMEOUT,
    413: FailureKind.BAD_REQUEST,
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}


def _classify_429(reply: Reply, error: Mapping[str, Any], message: str) -> Failure:
    """Which quota is gone. Several may be named at once: the one that lasts longest decides."""
    quota_ids = [
        str(violation.get("quotaId") or violation.get("quotaMetric") or "")
        for detail in _details(error)
        for violation in detail.get("violations") or ()
    ]
    wait_s = _retry_after_s(reply, error, message)
    named = " ".join(quota_ids) or message
    if (
        "PerDay" in named
        or (wait_s or 0) >= _A_DAYS_WAIT_S
        or re.search(r"\b(per day|daily)\b", named, re.IGNORECASE)
    ):
        kind = FailureKind.RATE_DAY
    elif re.search(r"spend|budget|credit", named, re.IGNORECASE):  # every quota 429 speaks of "billing"
        kind = FailureKind.SPEND
    else:
        kind = FailureKind.RATE_MINUTE
    return Failure(kind, message, wait_s, 429, ",".join(quota_ids))


def _retry_after_s(reply: Reply, error: Mapping[str, Any], message: str) -> float | None:
    """What the server asks us to wait: RetryInfo in the body, then the header, then its own words."""
    for detail in _details(error):
        if "retryDelay" in detail:
            return _duration_s(detail["retryDelay"])
    from_header = header_seconds(reply.retry_after)
    if from_header is not None:
        return from_header
    said = _RETRY_IN.search(message)
    return _duration_s(said[1].lower()) if said else None


def _duration_s(value: Any) -> float | None:
    """`34s`, `1.68s`, `1h2m3s`, or protobuf's {seconds, nanos}."""
    if isinstance(value, Mapping):
        return float(value.get("seconds") or 0) + float(value.get("nanos") or 0) / 1e9
    pieces = list(_DURATION.finditer(str(value)))
    return sum(float(piece["value"]) * _UNIT_S[piece["unit"]] for piece in pieces) if pieces else None


def _error_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [detail for detail in error.get("details") or () if isinstance(detail, dict)]


def _reasons(error: Mapping[str, Any]) -> set[str]:
    return {str(detail.get("reason")) for detail in _details(error)}

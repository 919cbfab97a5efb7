"""OpenRouter, or any OpenAI-compatible server with audio input: `chat/completions` over aiohttp.

Wire format: OpenRouter's API reference as of August 2026. Failures may arrive inside HTTP 200, so the body is
looked at before the status is trusted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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

_KIND_BY_ERROR_TYPE = {
    "rate_limit_exceeded": FailureKind.RATE_MINUTE,
    "provider_overloaded": FailureKind.OVERLOADED,
    "provider_unavailable": FailureKind.OVERLOADED,
    "timeout": FailureKind.TIMEOUT,
    "payment_required": FailureKind.PAYMENT,
    "content_policy_violation": FailureKind.BLOCKED,
    "refusal": FailureKind.BLOCKED,
    "invalid_request": FailureKind.BAD_REQUEST,
    "server": FailureKind.SERVER,
    "unmapped": FailureKind.SERVER,
}

_KIND_BY_STATUS = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.PAYMENT,
    403: FailureKind.BLOCKED,  # moderation of this clip, not of the key
    404: FailureKind.AUTH,  # no endpoint serves this model with these parameters
    408: FailureKind.TIMEOUT,
    413: FailureKind.BAD_REQUEST,
    422: FailureKind.BAD_REQUEST,
    429: FailureKind.RATE_MINUTE,
    502: FailureKind.OVERLOADED,  # the provider behind it is down
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}

_NATIVE_BLOCKED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "OTHER"}


class OpenRouterProvider(HttpProvider):
    """Gemini through OpenRouter, or another model behind the same wire format.

    What only OpenRouter understands (routing, sessions, reasoning) is left out for any other host.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        options: ModelOptions,
        capabilities: Capabilities,
        response_schema: Mapping[str, Any],
        prompt_version: str,
        routed: bool | None = None,
        name: str = "openrouter",
    ):
        super().__init__(options, {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"})
        self._base_url = base_url.rstrip("/")
        self._name = name
        self._capabilities = capabilities
        self._response_schema = response_schema
        self._prompt_version = prompt_version
        host = urlsplit(base_url).hostname or ""
        self._routed = host.endswith("openrouter.ai") if routed is None else routed
        self._frames = FrameCache(self._payload)

    def get_provider_name(self) -> str:
        return self._name

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        started = time.perf_counter()
        reply = await self._post(f"{self._base_url}/chat/completions", self.encode(request))
        latency_ms = (time.perf_counter() - started) * 1000
        if isinstance(reply, Failure):
            return TranscriptionResponse(request, self._name, "", reply, Usage(), "", latency_ms)
        text, failure, usage, version = self._read(request, reply)
        return TranscriptionResponse(request, self._name, text, failure, usage, version, latency_ms)

    def encode(self, request: TranscriptionRequest) -> bytes:
        """The request's bytes: a cached JSON frame with the audio's base64 spliced in."""
        return self._frames.encode(request)

    async def daily_spend_usd(self) -> float | None:
        """What OpenRouter says this key has used today (UTC day), dollars; None where it does not say."""
        reply = await self._get(f"{self._base_url}/key")
        if isinstance(reply, Failure) or reply.status != 200:
            return None
        data = _object(reply.body).get("data")
        value = data.get("usage_daily") if isinstance(data, dict) else None
        return float(value) if isinstance(value, int | float) else None

    # ------------------------------------------------------------------------- writing

    def _payload(self, request: TranscriptionRequest) -> dict[str, Any]:
        audio = {"type": "input_audio", "input_audio": {"data": AUDIO_MARK, "format": request.audio_format}}
        return {
            "model": self._model_slug(),
            "messages": [
                {"role": "system", "content": request.system_prompt},
                {"role": "user", "content": [{"type": "text", "text": request.clip_prompt}, audio]},
            ],
            "max_tokens": min(request.max_output_tokens, self._capabilities.max_output_tokens),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "transcript", "strict": True, "schema": self._response_schema},
            },
            **self._sampling(request),
            **(self._routing(request) if self._routed else {}),
        }

    def _model_slug(self) -> str:
        model = self._options.model_id
        return f"google/{model}" if self._routed and "/" not in model else model

    def _sampling(self, request: TranscriptionRequest) -> dict[str, Any]:
        options, model = self._options, self._capabilities
        if options.temperature is None or not model.temperature or request.varied:
            return {}
        return {"temperature": options.temperature}

    def _routing(self, request: TranscriptionRequest) -> dict[str, Any]:
        """`only` keeps sticky routing on (`order` would not); the session keeps a language's prefix on one cache."""
        routing: dict[str, Any] = {
            "provider": {
                "only": ["google-ai-studio", "google-vertex"],
                "require_parameters": True,
                "allow_fallbacks": True,
            },
            "session_id": f"lipika-{self._prompt_version}-{request.language or 'unknown'}",
        }
        if self._options.thinking_level in self._capabilities.thinking_levels:
            routing["reasoning"] = {"effort": self._options.thinking_level, "exclude": True}
        return routing

    # ------------------------------------------------------------------------- reading

    def _read(self, request: TranscriptionRequest, reply: Reply) -> tuple[str, Failure | None, Usage, str]:
        body = _object(reply.body)
        failure = classify_error(reply, body)
        if failure is not None:
            return "", failure, read_usage(body.get("usage")) or Usage(), str(body.get("model") or "")
        text, failure = read_choice(body)
        usage = read_usage(body.get("usage"))
        if usage is None:
            usage = estimate_usage(request, text, self._capabilities.audio_tokens_per_second)
        return text, failure, usage, str(body.get("model") or "")


def classify_error(reply: Reply, body: Mapping[str, Any]) -> Failure | None:
    """The failure in a reply, wherever it stands; None when there is an answer to read."""
    choices = body.get("choices") or []
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    error = body.get("error") or choice.get("error")
    if reply.status == 200 and not error:
        if body:
            return None
        return Failure(FailureKind.SERVER, f"HTTP 200 with {excerpt(reply.body)}", None, 200, "not_json")
    error = error if isinstance(error, dict) else {"message": error}
    given = error.get("metadata")
    metadata: dict[str, Any] = given if isinstance(given, dict) else {}
    status = _status(error, reply.status)
    error_type = str(metadata.get("error_type") or "")
    kind = _KIND_BY_ERROR_TYPE.get(error_type) or _KIND_BY_STATUS.get(status)
    if kind is None:
        kind = FailureKind.SERVER if status >= 500 or status < 400 else FailureKind.BAD_REQUEST
    message = str(error.get("message") or excerpt(reply.body))
    return Failure(
        kind, message, _retry_after_s(reply, metadata), status, error_type or str(error.get("code") or "")
    )


def read_choice(body: Mapping[str, Any]) -> tuple[str, Failure | None]:
    """The first choice's text, or why it is no answer."""
    choices = body.get("choices") or []
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    if not choice:
        return "", Failure(FailureKind.EMPTY, "no choices in the reply", None, 200, "no_choices")
    finish = str(choice.get("finish_reason") or "absent")
    native = str(choice.get("native_finish_reason") or "")
    if finish == "stop" and native not in _NATIVE_BLOCKED:
        text = _text((choice.get("message") or {}).get("content"))
        if text.strip():
            return text, None
        return "", Failure(FailureKind.EMPTY, "the answer has no text", None, 200, finish)
    code = f"{finish}/{native}" if native else finish
    if finish == "length":
        return "", Failure(FailureKind.TRUNCATED, "the answer was cut at the output limit", None, 200, code)
    blocked = finish == "content_filter" or native in _NATIVE_BLOCKED
    kind = FailureKind.BLOCKED if blocked else FailureKind.MALFORMED
    return "", Failure(kind, f"finish reason {code}", None, 200, code)


def read_usage(usage: Mapping[str, Any] | None) -> Usage | None:
    """Tokens from `usage`; None when it is absent. Reasoning is part of the output, whether listed or not."""
    if not usage:
        return None
    prompt = int(usage.get("prompt_tokens") or 0)
    details = usage.get("prompt_tokens_details") or {}
    audio = min(int(details.get("audio_tokens") or 0), prompt)
    thoughts = int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0)
    listed = int(usage.get("completion_tokens") or 0)
    return Usage(
        prompt=prompt,
        prompt_text=prompt - audio,
        prompt_audio=audio,
        cached=int(details.get("cached_tokens") or 0),
        output=max(int(usage.get("total_tokens") or 0) - prompt, listed, 0),
        thoughts=thoughts,
    )


def _text(content: Any) -> str:
    """A message's content: a string, or a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _status(error: Mapping[str, Any], status: int) -> int:
    """The error's own code where the failure came inside HTTP 200."""
    code = error.get("code")
    if status == 200 and isinstance(code, int) and 400 <= code < 600:
        return code
    return status if status != 200 else 500


def _retry_after_s(reply: Reply, metadata: Mapping[str, Any]) -> float | None:
    availability = metadata.get("availability")
    if isinstance(availability, dict) and isinstance(availability.get("retry_after"), int | float):
        return float(availability["retry_after"])
    return header_seconds(reply.retry_after)


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}

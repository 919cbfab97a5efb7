"""Google AI Studio: `generateContent` over aiohttp. Translates and classifies; see docs/providers.md.

Wire format: Google's Gemini API reference (v1beta) as of November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lipika.llm.capabilities import Capabilities
from lipika.llm.provider import (
    AUDIO_MARK,
    HttpProvider,
    ModelOptions,
    ReadReply,
    TranscriptionRequest,
    header_key,
)
from lipika.llm.replies import (
    GEMINI_KIND_BY_FINISH,
    Reply,
    as_count,
    as_list,
    as_number,
    as_object,
    as_text,
    body_object,
    duration_s,
    excerpt,
    first_object,
    first_wait,
    header_wait_s,
    is_whole,
    lasts_a_day,
    names_zero,
    one_line,
    worded_wait_s,
    zero_quota,
)
from lipika.models import Failure, FailureKind, ServiceTier, Trouble, Usage, is_made_up
from lipika.network import Network

_SAFETY_CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)
"""Switched off: speech is transcribed as it was said, and a filter would bias the corpus."""


_SERVER_ENDS_FIRST_S = 5.0


class AIStudioProvider(HttpProvider):
    """Gemini through AI Studio. The key travels in `x-goog-api-key`, never in a URL.

    Vertex AI in express mode has the same wire format under another path, `models_path`, and an API key as well.
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
        models_path: str = "models",
        name: str = "aistudio",
        network: Network | None = None,
    ):
        model = options.model_id.rpartition("/")[2]  # OpenRouter's `google/...` and Google's own `models/...`
        super().__init__(
            name=name,
            url=f"{base_url.rstrip('/')}/{api_version}/{models_path.strip('/')}/{model}:generateContent",
            headers={"x-goog-api-key": header_key(name, api_key)},
            setting="GEMINI_BASE_URL",
            options=options,
            capabilities=capabilities,
            network=network,
        )
        self._response_schema = response_schema
        self._is_vertex = models_path.startswith(("publishers/", "projects/"))

    @property
    def has_tiers(self) -> bool:
        """Google has; Vertex AI by a header of its own."""
        return True

    async def says_simulated(self) -> bool | None:
        """By `models.get`: the version that its replies carry as `modelVersion`, too."""
        entry = await self._describes(self._url.removesuffix(":generateContent"))
        if entry is None or "name" not in entry:
            return None
        return any(is_made_up(as_text(entry.get(name))) for name in ("version", "modelVersion"))

    def _payload(self, request: TranscriptionRequest) -> dict[str, Any]:
        audio = {"inlineData": {"mimeType": f"audio/{request.audio_format}", "data": AUDIO_MARK}}
        parts = [audio if part == AUDIO_MARK else {"text": part} for part in request.parts()]
        return {
            "systemInstruction": {"parts": [{"text": request.system_prompt}]},
            "contents": [{"role": "user", "parts": parts}],
            "generationConfig": self._generation_config(request),
            "safetySettings": [{"category": category, "threshold": "OFF"} for category in _SAFETY_CATEGORIES],
            **self._tier(request),
        }

    def _tier(self, request: TranscriptionRequest) -> dict[str, Any]:
        """The tier, in lower case: `FLEX` is refused. Vertex AI has it in a header."""
        if request.tier is ServiceTier.STANDARD or self._is_vertex:
            return {}
        return {"service_tier": str(request.tier)}

    def _headers_of(self, request: TranscriptionRequest, deadline_s: float) -> Mapping[str, str]:
        if request.tier is ServiceTier.STANDARD:
            return {}
        # A moment before ours: then the service ends what nobody will wait for.
        least_s = max(int(deadline_s - _SERVER_ENDS_FIRST_S), 1)
        tier = {"X-Vertex-AI-LLM-Shared-Request-Type": str(request.tier)} if self._is_vertex else {}
        return {"X-Server-Timeout": str(least_s), **tier}

    def _generation_config(self, request: TranscriptionRequest) -> dict[str, Any]:
        options, model = self._options, self._capabilities
        config: dict[str, Any] = {
            "maxOutputTokens": min(request.max_output_tokens, model.max_output_tokens),
            "responseMimeType": "application/json",
            "responseJsonSchema": request.several.schema if request.several else self._response_schema,
        }
        if options.temperature is not None and model.temperature and not request.varied:
            config["temperature"] = options.temperature
        if options.thinking_level in model.thinking_levels:
            config["thinkingConfig"] = {"thinkingLevel": str(options.thinking_level).upper()}
        return config

    def _read(self, reply: Reply) -> ReadReply:
        if reply.status != 200:
            return ReadReply(failure=classify_error(reply))
        body = body_object(reply.body)
        if not body:
            message = f"HTTP 200 with {excerpt(reply.body)}"
            return ReadReply(failure=Failure(FailureKind.SERVER, message, None, 200, "not_json"))
        meta = body.get("usageMetadata")
        usage, version, tier = read_usage(meta), one_line(body.get("modelVersion")), read_tier(reply, meta)
        if body.get("error") and not body.get("candidates"):
            failure = classify_error(replace(reply, status=_status_within(body)))
            return ReadReply(failure=failure, usage=usage, model_version=version, tier=tier)
        text, refused = read_candidate(body)
        return ReadReply(text, refused, usage, version, tier)


# ----------------------------------------------------------------------------- reading a 200


def read_candidate(body: Mapping[str, Any]) -> tuple[str, Failure | None]:
    """The first candidate's text, or why it is no answer. Thoughts are not the answer; text may be in pieces."""
    if not as_list(body.get("candidates")):
        reason = one_line(as_object(body.get("promptFeedback")).get("blockReason"))
        if reason:
            message = f"the prompt was blocked: {reason}"
            return "", Failure(FailureKind.BLOCKED, message, None, 200, reason)
        return "", Failure(FailureKind.EMPTY, "no candidates in the reply", None, 200, "no_candidates")
    candidate = first_object(body.get("candidates"))
    finish = one_line(candidate.get("finishReason")) or "absent"
    text, kind = _answer_text(candidate), GEMINI_KIND_BY_FINISH.get(finish, FailureKind.MALFORMED)
    if kind is FailureKind.TRUNCATED and is_whole(text):
        return text, None
    if finish == "STOP":
        if text.strip():
            return text, None
        return "", Failure(FailureKind.EMPTY, "the answer has no text", None, 200, finish)
    message = one_line(candidate.get("finishMessage")) or f"finish reason {finish}"
    return "", Failure(kind, message, None, 200, finish)


def _answer_text(candidate: Mapping[str, Any]) -> str:
    parts = [as_object(part) for part in as_list(as_object(candidate.get("content")).get("parts"))]
    return "".join(as_text(part.get("text")) for part in parts if not part.get("thought"))


def read_usage(meta: object) -> Usage | None:
    """Tokens from `usageMetadata`; None when it counts none. Output is total - prompt, so thoughts always count."""
    counts = as_object(meta)
    details = [as_object(detail) for detail in as_list(counts.get("promptTokensDetails"))]
    prompt = as_count(counts.get("promptTokenCount")) or sum(
        as_count(detail.get("tokenCount")) for detail in details
    )
    audio = sum(as_count(detail.get("tokenCount")) for detail in details if detail.get("modality") == "AUDIO")
    audio = min(audio, prompt)
    thoughts = as_count(counts.get("thoughtsTokenCount"))
    listed = as_count(counts.get("candidatesTokenCount")) + thoughts
    usage = Usage(
        prompt=prompt,
        prompt_text=prompt - audio,
        prompt_audio=audio,
        cached=min(as_count(counts.get("cachedContentTokenCount")), prompt),
        output=max(as_count(counts.get("totalTokenCount")) - prompt, listed),
        thoughts=thoughts,
    )
    return usage if usage.total else None


def read_tier(reply: Reply, meta: object) -> ServiceTier | None:
    """The tier that was served: the header's word, then the body's, then Vertex AI's; None where nobody says, or at a
    tier that has no price here."""
    counts = as_object(meta)
    named = reply.service_tier or as_text(counts.get("serviceTier"))
    if named:
        return ServiceTier.read(named)
    return ServiceTier.FLEX if as_text(counts.get("trafficType")).upper().endswith("FLEX") else None


# ----------------------------------------------------------------------------- classifying an error

KIND_BY_STATUS = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.PAYMENT,
    403: FailureKind.AUTH,
    404: FailureKind.AUTH,  # a retired or misspelt model: going on would fail every clip
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER,  # ABORTED
    413: FailureKind.BAD_REQUEST,
    499: FailureKind.SERVER,  # CANCELLED, by them
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}
"""By HTTP status, but for 429. Any other 5xx, or page that is not Google's, is `server`, the rest `bad_request`."""

KIND_BY_REASON = {
    "API_KEY_INVALID": FailureKind.AUTH,  # comes as a 400
    "BILLING_DISABLED": FailureKind.PAYMENT,  # as a 403
    "MODEL_CAPACITY_EXHAUSTED": FailureKind.OVERLOADED,  # as a 429
}
"""By the reason in the details, before the status."""

_NO_CREDIT = re.compile(r"credits? (?:is|are) depleted|billing has been disabled", re.IGNORECASE)
_BAD_KEY = re.compile(r"\bAPI key\b", re.IGNORECASE)
_SPEND = re.compile(r"spend|budget|credit", re.IGNORECASE)  # not "billing": every quota's 429 speaks of that


def classify_error(reply: Reply) -> Failure:
    """A failure from an HTTP error: by status, then by the body's code and details, and by its text last."""
    error = _error_object(reply.body)
    words = as_text(error.get("message")) or excerpt(reply.body)
    quota_ids, wait_s = _quota_ids(error), _wait_s(reply, error)
    code = ",".join(quota_ids) if reply.status == 429 else error.get("status")
    kind = _kind_by_reason(error, words)
    if kind is None and reply.status == 429:
        kind = _kind_of_429(" ".join(quota_ids) or words, wait_s)
        if names_zero(words) or _grants_nothing(error):
            return Failure(kind, zero_quota(words), wait_s, reply.status, Trouble.LIMIT_ZERO)
    return Failure(
        kind or _kind_by_status(reply.status, error), one_line(words), wait_s, reply.status, one_line(code)
    )


def _kind_by_reason(error: Mapping[str, Any], words: str) -> FailureKind | None:
    for detail in _details(error):
        kind = KIND_BY_REASON.get(as_text(detail.get("reason")))
        if kind is not None:
            return kind
    return FailureKind.PAYMENT if _NO_CREDIT.search(words) else None


def _kind_by_status(status: int, error: Mapping[str, Any]) -> FailureKind:
    precondition = error.get("status") == "FAILED_PRECONDITION"  # a region that is not served, say
    if status == 400 and (precondition or _BAD_KEY.search(as_text(error.get("message")))):
        return FailureKind.AUTH
    kind = KIND_BY_STATUS.get(status)
    if kind is not None:
        return kind
    return FailureKind.SERVER if status >= 500 or not error else FailureKind.BAD_REQUEST


def _kind_of_429(named: str, wait_s: float | None) -> FailureKind:
    """The quota that is gone. Several may be named at once: the one that lasts longest decides."""
    if lasts_a_day(named, wait_s):
        return FailureKind.RATE_DAY
    return FailureKind.SPEND if _SPEND.search(named) else FailureKind.RATE_MINUTE


def _quota_ids(error: Mapping[str, Any]) -> list[str]:
    named = (as_text(one.get("quotaId")) or as_text(one.get("quotaMetric")) for one in _violations(error))
    return [name for name in named if name]


def _grants_nothing(error: Mapping[str, Any]) -> bool:
    """True if a quota that is named is zero; one whose value is left out is not known to be."""
    return any(as_number(one.get("quotaValue")) == 0 for one in _violations(error))


def _violations(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        as_object(violation) for detail in _details(error) for violation in as_list(detail.get("violations"))
    ]


def _wait_s(reply: Reply, error: Mapping[str, Any]) -> float | None:
    """The wait that the server asks for: RetryInfo in the body, then the header, then its own words."""
    return first_wait(
        *(duration_s(detail.get("retryDelay")) for detail in _details(error)),
        header_wait_s(reply.retry_after),
        worded_wait_s(as_text(error.get("message"))),
    )


def _error_object(body: bytes) -> Mapping[str, Any]:
    return as_object(body_object(body).get("error"))


def _status_within(body: Mapping[str, Any]) -> int:
    """The status of an error that came inside HTTP 200."""
    code = as_count(as_object(body.get("error")).get("code"))
    return code if 400 <= code < 600 else 500


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [as_object(detail) for detail in as_list(error.get("details"))]

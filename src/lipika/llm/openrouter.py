"""OpenRouter, or any OpenAI-compatible server with audio input: `chat/completions` over aiohttp.

Wire format: OpenRouter's API reference as of October 2026; see docs/providers.md. Failures may arrive inside HTTP
200, so the body is looked at before the status is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lipika.languages import find_language
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
    excerpt,
    first_object,
    first_wait,
    header_wait_s,
    is_whole,
    lasts_a_day,
    names_zero,
    one_line,
    parse_json,
    reset_wait_s,
    worded_wait_s,
    zero_quota,
)
from lipika.models import Failure, FailureKind, ServiceTier, Trouble, Usage, is_made_up
from lipika.network import Network

_GOOGLE = "google/"
_GOOGLE_ENDPOINTS = ("google-ai-studio", "google-vertex")


class OpenRouterProvider(HttpProvider):
    """Gemini through OpenRouter, or another model behind the same wire format.

    What only OpenRouter understands (routing, sessions, reasoning) is left out for any other host, unless `routed`
    says that it is OpenRouter all the same.
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
        network: Network | None = None,
    ):
        base_url = base_url.rstrip("/")
        super().__init__(
            name=name,
            url=f"{base_url}/chat/completions",
            headers={"Authorization": f"Bearer {header_key(name, api_key)}"},
            setting="OPENROUTER_BASE_URL",
            options=options,
            capabilities=capabilities,
            network=network,
        )
        self._key_url, self._models_url = f"{base_url}/key", f"{base_url}/models"
        self._response_schema = response_schema
        self._prompt_version = prompt_version
        self._routed = _is_openrouter(base_url) if routed is None else routed

    async def says_simulated(self) -> bool | None:
        """By the list of models: a simulator gives the version there that its replies carry as `model`, too."""
        listed = await self._describes(self._models_url)
        for entry in map(as_object, as_list((listed or {}).get("data"))):
            if as_text(entry.get("id")).removeprefix(_GOOGLE) == self._options.model_id.removeprefix(_GOOGLE):
                return is_made_up(as_text(entry.get("version")))
        return None

    @property
    def has_tiers(self) -> bool:
        """OpenRouter has, since 2026, for Google's endpoints; whatever else speaks its wire need not."""
        return self._routed

    async def daily_spend_usd(self) -> float | None:
        """The dollars that this key has used today (UTC day), as OpenRouter says; None where nobody says.

        For scripts: lipika goes by its own count.
        """
        if not self._routed:
            return None
        reply = await self._send("GET", self._key_url)
        if isinstance(reply, Failure) or reply.status != 200:
            return None
        return as_number(as_object(as_object(parse_json(reply.body)).get("data")).get("usage_daily"))

    # ------------------------------------------------------------------------- writing

    def _payload(self, request: TranscriptionRequest) -> dict[str, Any]:
        audio = {"type": "input_audio", "input_audio": {"data": AUDIO_MARK, "format": request.audio_format}}
        parts = [audio if part == AUDIO_MARK else {"type": "text", "text": part} for part in request.parts()]
        schema = request.several.schema if request.several else self._response_schema
        return {
            "model": self._model_slug(),
            "messages": [
                {"role": "system", "content": request.system_prompt},
                {"role": "user", "content": parts},
            ],
            "max_tokens": min(request.max_output_tokens, self._capabilities.max_output_tokens),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "transcript", "strict": True, "schema": schema},
            },
            **self._sampling(request),
            **(self._routing(request) if self._routed else {}),
            **({"service_tier": "flex"} if self.has_tiers and request.tier is ServiceTier.FLEX else {}),
        }

    def _model_slug(self) -> str:
        """Google's models may go by their bare name at OpenRouter; elsewhere a name is taken as it is."""
        model = self._options.model_id
        return f"{_GOOGLE}{model}" if self._routed and "/" not in model else model

    def _sampling(self, request: TranscriptionRequest) -> dict[str, Any]:
        options, model = self._options, self._capabilities
        if options.temperature is None or not model.temperature or request.varied:
            return {}
        return {"temperature": options.temperature}

    def _routing(self, request: TranscriptionRequest) -> dict[str, Any]:
        """`only` keeps sticky routing on (`order` would not); the session keeps one prompt's prefix on one cache."""
        google = self._model_slug().startswith(_GOOGLE)
        language = find_language(request.language)
        routing: dict[str, Any] = {
            "provider": {
                **({"only": _GOOGLE_ENDPOINTS} if google else {}),
                "require_parameters": True,
                "allow_fallbacks": True,
            },
            "session_id": f"lipika-{self._prompt_version}-{language.code if language else 'unknown'}",
        }
        if self._options.thinking_level in self._capabilities.thinking_levels:
            routing["reasoning"] = {"effort": self._options.thinking_level, "exclude": True}
        return routing

    # ------------------------------------------------------------------------- reading

    def _read(self, reply: Reply) -> ReadReply:
        body = body_object(reply.body)
        usage, version = read_usage(body.get("usage")), one_line(body.get("model"))
        failure = classify_error(reply, body)
        if failure is not None:
            return ReadReply(failure=failure, usage=usage, model_version=version)
        text, failure = read_choice(body)
        return ReadReply(text, failure, usage, version, ServiceTier.read(as_text(body.get("service_tier"))))


def _is_openrouter(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")


# ----------------------------------------------------------------------------- classifying an error

KIND_BY_LIMIT_SOURCE = {
    "openrouter_in_flight_budget": FailureKind.RATE_MINUTE,  # a 402 that clears as requests settle
    "openrouter_credits": FailureKind.PAYMENT,
    "openrouter_key_limit": FailureKind.SPEND,
    "openrouter_guardrail_budget": FailureKind.SPEND,
    "openrouter_workspace_budget": FailureKind.SPEND,
}
"""By `metadata.limit_source`, which tells the kinds of 402 and 403 apart."""

KIND_BY_ERROR_TYPE = {
    "rate_limit_exceeded": FailureKind.RATE_MINUTE,
    "provider_overloaded": FailureKind.OVERLOADED,
    "provider_unavailable": FailureKind.OVERLOADED,
    "server": FailureKind.SERVER,
    "timeout": FailureKind.TIMEOUT,
    "authentication": FailureKind.AUTH,
    "permission_denied": FailureKind.AUTH,
    "not_found": FailureKind.AUTH,  # no such model
    "payment_required": FailureKind.PAYMENT,
    "token_limit_exceeded": FailureKind.PAYMENT,  # a token budget that follows the credit
    "content_policy_violation": FailureKind.BLOCKED,
    "refusal": FailureKind.BLOCKED,
    "max_tokens_exceeded": FailureKind.TRUNCATED,
    "context_length_exceeded": FailureKind.BAD_REQUEST,
    "string_too_long": FailureKind.BAD_REQUEST,
    "invalid_prompt": FailureKind.BAD_REQUEST,
    "precondition_failed": FailureKind.BAD_REQUEST,
    "payload_too_large": FailureKind.BAD_REQUEST,
    "unprocessable": FailureKind.BAD_REQUEST,
    # Of other OpenAI-compatible servers, which put them into `error.code` or `error.type`.
    "insufficient_quota": FailureKind.PAYMENT,
    "invalid_api_key": FailureKind.AUTH,
    "model_not_found": FailureKind.AUTH,
    "content_filter": FailureKind.BLOCKED,
}
"""By error type. `invalid_request` and `unmapped` say less than the status, and those of images never come."""

KIND_BY_STATUS = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.PAYMENT,
    403: FailureKind.AUTH,  # moderation says so in its metadata
    404: FailureKind.AUTH,  # no endpoint serves this model with these parameters
    408: FailureKind.TIMEOUT,
    413: FailureKind.BAD_REQUEST,
    422: FailureKind.BAD_REQUEST,
    429: FailureKind.RATE_MINUTE,
    499: FailureKind.SERVER,  # cancelled, by them
    502: FailureKind.OVERLOADED,  # the provider behind it is down
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}
"""By HTTP status, or the error's own code inside HTTP 200. Any other 4xx is `bad_request`, the rest `server`."""

_RATES = {FailureKind.RATE_MINUTE, FailureKind.RATE_DAY}
_NO_SUCH_MODEL = "is not a valid model ID"  # a 400
_KEY_LIMIT = "key limit exceeded"  # a 403


def classify_error(reply: Reply, body: Mapping[str, Any]) -> Failure | None:
    """The failure in a reply, wherever it stands; None when there is an answer to read."""
    given = body.get("error") or first_object(body.get("choices")).get("error")
    if reply.status == 200 and not given:
        if body:
            return None
        return Failure(FailureKind.SERVER, f"HTTP 200 with {excerpt(reply.body)}", None, 200, "not_json")
    error = as_object(given)
    metadata = as_object(error.get("metadata"))
    words = _words(error, metadata) or as_text(given) or as_text(body.get("message")) or excerpt(reply.body)
    status = _status(error, reply.status)
    error_type = (
        as_text(metadata.get("error_type")) or as_text(error.get("code")) or as_text(error.get("type"))
    )
    wait_s = _wait_s(reply, error, metadata, words)
    kind = _kind_by_metadata(metadata) or KIND_BY_ERROR_TYPE.get(error_type) or _kind_by_status(status, words)
    if kind is FailureKind.RATE_MINUTE and lasts_a_day(words, wait_s):
        kind = FailureKind.RATE_DAY
    if status == 429 and kind in _RATES and names_zero(words):
        return Failure(kind, zero_quota(words), wait_s, status, Trouble.LIMIT_ZERO)
    code = as_text(metadata.get("limit_source")) or error_type or str(status)
    return Failure(kind, one_line(words), wait_s, status, one_line(code))


def _kind_by_metadata(metadata: Mapping[str, Any]) -> FailureKind | None:
    """Limits of money, and moderation of this input; a guardrail names `patterns` instead, and blocks every clip."""
    source = KIND_BY_LIMIT_SOURCE.get(as_text(metadata.get("limit_source")))
    if source is not None:
        return source
    return FailureKind.BLOCKED if metadata.get("reasons") or metadata.get("flagged_input") else None


def _kind_by_status(status: int, words: str) -> FailureKind:
    if status == 400 and _NO_SUCH_MODEL in words:
        return FailureKind.AUTH
    if status == 403 and _KEY_LIMIT in words.lower():
        return FailureKind.SPEND
    kind = KIND_BY_STATUS.get(status)
    if kind is not None:
        return kind
    return FailureKind.BAD_REQUEST if 400 <= status < 500 else FailureKind.SERVER


def _words(error: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The message, and what the provider behind OpenRouter said, since `Provider returned error` says nothing."""
    message, raw = as_text(error.get("message")), as_text(metadata.get("raw"))
    return f"{message}: {raw}" if message and raw else message or raw


def _status(error: Mapping[str, Any], status: int) -> int:
    """The error's own code where the failure came inside HTTP 200."""
    if status != 200:
        return status
    code = as_count(error.get("code"))
    return code if 400 <= code < 600 else 500


def _wait_s(reply: Reply, error: Mapping[str, Any], metadata: Mapping[str, Any], words: str) -> float | None:
    """The wait that the server asks for, the most exact first; the reset of a limit only where all else is silent."""
    asked = first_wait(
        as_number(as_object(error.get("availability")).get("retry_after")),
        as_number(as_object(metadata.get("availability")).get("retry_after")),
        as_number(metadata.get("retry_after_seconds")),
        header_wait_s(reply.retry_after),
        worded_wait_s(words),
    )
    if asked is not None:
        return asked
    return first_wait(
        reset_wait_s(reply.rate_reset, reply.received_at),
        reset_wait_s(as_object(metadata.get("headers")).get("X-RateLimit-Reset"), reply.received_at),
    )


# ----------------------------------------------------------------------------- reading a 200

KIND_BY_FINISH = {
    "length": FailureKind.TRUNCATED,
    "content_filter": FailureKind.BLOCKED,
    "error": FailureKind.SERVER,  # broken off while it was generated
}
"""Finish reasons that are no answer; any other than `stop` and these is `malformed`."""


def read_choice(body: Mapping[str, Any]) -> tuple[str, Failure | None]:
    """The first choice's text, or why it is no answer."""
    choice = first_object(body.get("choices"))
    if not choice:
        return "", Failure(FailureKind.EMPTY, "no choices in the reply", None, 200, "no_choices")
    finish = one_line(choice.get("finish_reason")) or "absent"
    native = one_line(choice.get("native_finish_reason"))
    code = f"{finish}/{native}" if native else finish
    kind = _kind_by_finish(finish, native.upper())
    text = _text(as_object(choice.get("message")).get("content"))
    if kind is FailureKind.TRUNCATED and is_whole(text):
        return text, None
    if kind is not None:
        return "", Failure(kind, f"finish reason {code}", None, 200, code)
    if text.strip():
        return text, None
    refusal = one_line(as_object(choice.get("message")).get("refusal"))
    if refusal:
        return "", Failure(FailureKind.BLOCKED, refusal, None, 200, "refusal")
    return "", Failure(FailureKind.EMPTY, "the answer has no text", None, 200, code)


def _kind_by_finish(finish: str, native: str) -> FailureKind | None:
    """The reason why a choice is no answer; None when it stopped where it should. Gemini's own word goes first."""
    kind = GEMINI_KIND_BY_FINISH.get(native)
    if kind is not None or finish == "stop":
        return kind
    return KIND_BY_FINISH.get(finish, FailureKind.MALFORMED)


def read_usage(usage: object) -> Usage | None:
    """Tokens from `usage`; None when it counts nothing. Reasoning is part of the output, whether listed or not."""
    counts = as_object(usage)
    details = as_object(counts.get("prompt_tokens_details"))
    prompt = as_count(counts.get("prompt_tokens"))
    audio = min(as_count(details.get("audio_tokens")), prompt)
    thoughts = as_count(as_object(counts.get("completion_tokens_details")).get("reasoning_tokens"))
    listed = as_count(counts.get("completion_tokens"))
    listed += thoughts if thoughts > listed else 0  # then they cannot be part of it
    tokens = Usage(
        prompt=prompt,
        prompt_text=prompt - audio,
        prompt_audio=audio,
        cached=min(as_count(details.get("cached_tokens")), prompt),
        output=max(as_count(counts.get("total_tokens")) - prompt, listed),
        thoughts=thoughts,
    )
    return tokens if tokens.total else None


def _text(content: object) -> str:
    """A message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(as_text(as_object(part).get("text")) for part in as_list(content))

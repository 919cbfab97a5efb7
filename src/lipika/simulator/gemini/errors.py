"""Refusals of the Gemini API: google.rpc errors, before the model and instead of it.

Sources: Google's error model and error bodies in public issue threads, as of November 2026.
"""

from __future__ import annotations

import orjson
from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from pydantic_core import ErrorDetails

from lipika.simulator.exchange import Details, Quota, Refusal, RefusalKind, Violation, WholeReply, WireError

_TYPES = "type.googleapis.com"
_PACKAGE = f"{_TYPES}/google.ai.generativelanguage.v1beta"
_SERVICE = "generativelanguage.googleapis.com"
_MAX_ECHO = 200  # characters of a wrong value repeated in the error


def invalid(message: str) -> WireError:
    """400 INVALID_ARGUMENT."""
    return WireError(_error_page(400, "INVALID_ARGUMENT", message))


def missing_key() -> WireError:
    """403: neither header nor parameter holds a key."""
    message = (
        "Method doesn't allow unregistered callers (callers without established identity)."
        " Please use API Key or other form of API consumer identity to call this API."
    )
    return WireError(_error_page(403, "PERMISSION_DENIED", message))


def wrong_key() -> WireError:
    """400 with ErrorInfo: the key is not accepted."""
    return WireError(refusal_page(Refusal(RefusalKind.KEY_INVALID), ""))


def unknown_model(model: str) -> WireError:
    """404."""
    return WireError(refusal_page(Refusal(RefusalKind.MODEL_GONE), model))


def unknown_path() -> WireError:
    """404 for a path that the API does not have."""
    return WireError(_error_page(404, "NOT_FOUND", "Requested entity was not found."))


def too_large(limit_bytes: int) -> WireError:
    """400: the body is over the limit."""
    return invalid(f"Request payload size exceeds the limit: {limit_bytes} bytes.")


def cached_content_missing() -> WireError:
    """403: explicit caches are not simulated."""
    return WireError(_error_page(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)"))


def bad_fields(error: ValidationError) -> WireError:
    """400 with a description of every field that is unknown or has a wrong value."""
    return _field_errors([_describe_error(one) for one in error.errors(include_url=False)])


def bad_base64(at: str, data: bytes) -> WireError:
    """400: the bytes field at that path is not base64."""
    echo = _echo(data[:_MAX_ECHO].decode(errors="replace"))
    return _field_errors([(at, f"Invalid value at '{at}' (TYPE_BYTES), Base64 decoding failed for {echo}")])


def _field_errors(violations: list[tuple[str, str]]) -> WireError:
    """400 with a BadRequest detail: (path of the message, description) of each."""
    detail: dict[str, object] = {
        "@type": f"{_TYPES}/google.rpc.BadRequest",
        "fieldViolations": [
            {"field": field, "description": text} if field else {"description": text}
            for field, text in violations
        ],
    }
    message = "\n".join(text for _, text in violations)
    return WireError(_error_page(400, "INVALID_ARGUMENT", message, [detail]))


_PROTO_TYPES = {
    "string": "TYPE_STRING",
    "int": "TYPE_INT32",
    "float": "TYPE_FLOAT",
    "bool": "TYPE_BOOL",
    "model": f"{_PACKAGE}.Message",
    "tuple": "repeated",
}


def _describe_error(error: ErrorDetails) -> tuple[str, str]:
    """A pydantic error in the API's words: (path, description)."""
    if error["type"] == "extra_forbidden":
        parent = _path(error["loc"][:-1])
        at = f" at '{parent}'" if parent else ""
        name = error["loc"][-1]
        return parent, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    path = _path(error["loc"])
    if error["type"] == "enum":
        kind = _ENUM_OF_FIELD.get(path.rpartition(".")[2], "Enum")
        return path, f"Invalid value at '{path}' ({_PACKAGE}.{kind}), {_echo(error['input'])}"
    kind = _PROTO_TYPES.get(error["type"].partition("_")[0], "message")
    if isinstance(error["input"], list) and kind != "repeated":
        parent, _, name = path.rpartition(".")
        at = f" at '{parent}'" if parent else ""
        text = f'Unknown name "{name}"{at}: Proto field is not repeating, cannot start list.'
        return path, f"Invalid JSON payload received. {text}"
    return path, f"Invalid value at '{path}' ({kind}), {_echo(error['input'])}"


_ENUM_OF_FIELD = {
    "thinking_level": "ThinkingConfig.ThinkingLevel",
    "category": "HarmCategory",
    "threshold": "SafetySetting.HarmBlockThreshold",
    "type": "Type",
    "service_tier": "ServiceTier",
}


def _path(loc: tuple[int | str, ...]) -> str:
    """`contents[0].parts[1].inline_data` from a pydantic location."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{to_snake(step)}" if text else to_snake(step)
    return text


def _echo(value: object) -> str:
    text = orjson.dumps(value[:_MAX_ECHO] if isinstance(value, str) else value).decode()
    return text if len(text) <= _MAX_ECHO + 2 else f"{text[:_MAX_ECHO]}..."


def _error_page(
    status: int, code: str, message: str, details: list[dict[str, object]] | None = None
) -> WholeReply:
    error: dict[str, object] = {"code": status, "message": message, "status": code}
    if details:
        error["details"] = details
    return WholeReply(status, orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2))


# ----------------------------------------------------------------------------- refusals

_QUOTA_NAMES = {
    Quota.REQUESTS_PER_MINUTE: (
        "generate_content_paid_tier_requests",
        "GenerateRequestsPerMinutePerProjectPerModel-PaidTier",
    ),
    Quota.TOKENS_PER_MINUTE: (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    Quota.REQUESTS_PER_DAY: (
        "generate_requests_per_model_per_day",
        "GenerateRequestsPerDayPerProjectPerModel-PaidTier",
    ),
}
"""Metric (below the service's name) and quota id."""

_GONE = (
    "models/{model} is not found for API version v1beta, or is not supported for generateContent."
    " Call ListModels to see the list of available models and their supported methods."
)
_EXHAUSTED = "Resource has been exhausted (e.g. check quota)."

_STATUSES: dict[RefusalKind, tuple[int, str, str]] = {
    RefusalKind.RATE: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.SPEND: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.QPS: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.OVERLOADED: (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    RefusalKind.INTERNAL: (500, "INTERNAL", "An internal error has occurred. Please retry."),
    RefusalKind.DEADLINE: (504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    RefusalKind.BUSY: (529, "UNAVAILABLE", "The service is overloaded."),
    RefusalKind.BAD_REQUEST: (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    RefusalKind.KEY_INVALID: (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    RefusalKind.PERMISSION: (403, "PERMISSION_DENIED", "The caller does not have permission"),
    RefusalKind.REGION: (
        400,
        "FAILED_PRECONDITION",
        "User location is not supported for the API use.",
    ),
    RefusalKind.MODEL_GONE: (
        404,
        "NOT_FOUND",
        _GONE,
    ),
    RefusalKind.PAYMENT: (403, "PERMISSION_DENIED", "Billing has been disabled for this project."),
    RefusalKind.MODERATION: (403, "PERMISSION_DENIED", "The caller does not have permission"),
}


def refusal_page(refusal: Refusal, model: str) -> WholeReply:
    """The error status of a refusal, with as many details as it is to have."""
    status, code, message = _STATUSES[refusal.kind]
    message = message.replace("{model}", model)
    if refusal.kind is RefusalKind.KEY_INVALID:
        info: dict[str, object] = {
            "@type": f"{_TYPES}/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": _SERVICE},
        }
        return _error_page(status, code, message, [info])
    if refusal.kind is RefusalKind.RATE and refusal.details is not Details.BARE:
        message = _quota_message(refusal, model)
    return _error_page(status, code, message, _rate_details(refusal, model))


def _quota_message(refusal: Refusal, model: str) -> str:
    lines = ["You exceeded your current quota, please check your plan and billing details."]
    if refusal.details is Details.FULL:
        lines += [
            f"* Quota exceeded for metric: {_SERVICE}/{_QUOTA_NAMES[violation.quota][0]},"
            f" limit: {violation.limit:.0f}, model: {model}"
            for violation in refusal.violations
        ]
    delay_s = refusal.retry_after_s
    if delay_s is not None:
        delay = f"{delay_s * 1000:.0f}ms" if delay_s < 1 else f"{delay_s:.9g}s"
        lines.append(f"Please retry in {delay}.")
    return "\n".join(lines)


def _rate_details(refusal: Refusal, model: str) -> list[dict[str, object]]:
    if refusal.details is not Details.FULL:
        return []
    details: list[dict[str, object]] = []
    if refusal.kind is RefusalKind.RATE and refusal.violations:
        details.append(
            {
                "@type": f"{_TYPES}/google.rpc.QuotaFailure",
                "violations": [_violation(one, model) for one in refusal.violations],
            }
        )
    if refusal.retry_after_s is not None:
        delay = f"{refusal.retry_after_s:.9g}s"
        details.append({"@type": f"{_TYPES}/google.rpc.RetryInfo", "retryDelay": delay})
    return details


def _violation(violation: Violation, model: str) -> dict[str, object]:
    metric, quota_id = _QUOTA_NAMES[violation.quota]
    return {
        "quotaMetric": f"{_SERVICE}/{metric}",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": f"{violation.limit:.0f}",
    }

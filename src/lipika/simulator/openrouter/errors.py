"""Refusals of OpenRouter.

Source: OpenRouter's documentation as of August 2026.
"""

from __future__ import annotations

import math
import time

import orjson

from lipika.simulator.exchange import Details, Refusal, RefusalKind, WholeReply, WireError


def invalid(message: str) -> WireError:
    """400."""
    return _error(400, message, "invalid_request")


def no_key() -> WireError:
    """401: no bearer token."""
    return _error(401, "No auth credentials found", "authentication")


def wrong_key() -> WireError:
    """401: the token is not accepted."""
    return _error(401, "User not found.", "authentication")


def no_endpoint() -> WireError:
    """404: `require_parameters` asks for one that no endpoint takes."""
    return _error(404, "No endpoints found that can handle the requested parameters.", "invalid_request")


def too_large(limit_bytes: int) -> WireError:
    """413: the body is over the limit."""
    return _error(413, f"Request body is larger than {limit_bytes} bytes", "invalid_request")


def _error(status: int, message: str, error_type: str) -> WireError:
    return WireError(WholeReply(status, _error_body(status, message, error_type)))


def _error_body(status: int, message: str, error_type: str, **more: object) -> bytes:
    error: dict[str, object] = {"code": status, "message": message}
    if error_type:
        error["metadata"] = {"error_type": error_type, **more}
    return orjson.dumps({"error": error})


_STATUSES: dict[RefusalKind, tuple[int, str, str]] = {
    RefusalKind.RATE: (429, "Rate limit exceeded", "rate_limit_exceeded"),
    RefusalKind.SPEND: (429, "Provider returned error", "rate_limit_exceeded"),
    RefusalKind.QPS: (429, "Too many requests", "rate_limit_exceeded"),
    RefusalKind.OVERLOADED: (503, "Provider is overloaded", "provider_overloaded"),
    RefusalKind.INTERNAL: (500, "Internal Server Error", "server"),
    RefusalKind.DEADLINE: (504, "The provider took too long to answer", "timeout"),
    RefusalKind.BUSY: (529, "Provider returned error", "provider_overloaded"),
    RefusalKind.BAD_REQUEST: (400, "Provider returned error", "invalid_request"),
    RefusalKind.KEY_INVALID: (401, "User not found.", "authentication"),
    RefusalKind.PERMISSION: (403, "The key has no permission for this model", "permission_denied"),
    RefusalKind.REGION: (403, "The provider does not serve this region", "permission_denied"),
    RefusalKind.MODEL_GONE: (404, "No endpoints found for this model.", "invalid_request"),
    RefusalKind.PAYMENT: (402, "Insufficient credits. Add more to go on.", "payment_required"),
    RefusalKind.MODERATION: (403, "Your input was flagged", "content_policy_violation"),
}


def refusal_page(refusal: Refusal) -> WholeReply:
    """The error status of a refusal, with as many details as it is to have."""
    status, message, error_type = _STATUSES[refusal.kind]
    if refusal.kind is RefusalKind.MODERATION:
        body = _error_body(status, message, error_type, reasons=["violence"], provider_name="Simulator")
        return WholeReply(status, body)
    delay_s = refusal.retry_after_s
    if refusal.kind is not RefusalKind.RATE or delay_s is None or refusal.details is Details.BARE:
        return WholeReply(status, _error_body(status, message, error_type))
    if refusal.details is Details.MESSAGE:
        return WholeReply(
            status, _error_body(status, f"{message}. Please retry in {delay_s:.9g}s.", error_type)
        )
    limit = min((violation.limit for violation in refusal.violations), default=0)
    headers = {
        "Retry-After": str(math.ceil(delay_s)),
        "X-RateLimit-Limit": f"{limit:.0f}",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": f"{(time.time() + delay_s) * 1000:.0f}",
    }
    error = {
        "code": status,
        "message": message,
        "metadata": {"error_type": error_type},
        "availability": {"retryable": True, "retry_after": round(delay_s, 3)},
    }
    return WholeReply(status, orjson.dumps({"error": error}), headers)

"""Free calls to providers: on the key, on the model and how long it is served, on the credit that is left.

Nothing here costs anything: `models.get` at Google, `GET /key` and `GET /models` at OpenRouter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from lipika.config import Settings
from lipika.errors import LipikaError, SettingsError
from lipika.llm.replies import Reply, names_zero, one_line, zero_quota
from lipika.llm.transport import Address, failure_of, interception
from lipika.network import Network

_TIMEOUT_S = 15.0
_MAX_REPLY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Served:
    """A provider's word about key and model. Money is US dollars; None where it does not say."""

    provider: str
    url: str
    model: str
    retires_at: datetime | None = None
    stage: str = ""
    credit_left_usd: float | None = None
    clock_ahead_s: float | None = None  # of ours over the server's; its Date header counts whole seconds
    reply_s: float = 0.0


async def probe(settings: Settings, provider: str) -> Served:
    """Ask one provider about its key and MODEL_ID.

    Raises:
        LipikaError: it cannot be reached or refuses; says which setting to look at.
    """
    if provider == "openrouter":
        return await _openrouter(settings)
    return await _aistudio(settings)


async def _aistudio(settings: Settings) -> Served:
    key = settings.gemini_api_key
    if key is None:
        raise SettingsError("GEMINI_API_KEY is not set")
    model = settings.model_id.rpartition("/")[2]
    path = settings.gemini_models_path.strip("/")
    url = f"{settings.gemini_base_url}/{settings.gemini_api_version}/{path}/{model}"
    network = Network.from_settings(settings)
    reply = await _get(url, {"x-goog-api-key": key.get_secret_value().strip()}, "GEMINI_BASE_URL", network)
    if reply.status != 200:
        raise LipikaError(_refusal(reply, f"model {model}", "GEMINI_API_KEY", "GEMINI_BASE_URL"))
    _must_be_object(reply, url, "GEMINI_BASE_URL")
    status = _object(_object(reply.body).get("modelStatus"))
    return Served(
        provider="aistudio",
        url=settings.gemini_base_url,
        model=model,
        retires_at=_moment(status.get("retirementTime")),
        stage=str(status.get("modelStage") or ""),
        clock_ahead_s=reply.clock_ahead_s,
        reply_s=reply.seconds,
    )


async def _openrouter(settings: Settings) -> Served:
    key = settings.openrouter_api_key
    if key is None:
        raise SettingsError("OPENROUTER_API_KEY is not set")
    base, network = settings.openrouter_base_url, Network.from_settings(settings)
    headers = {"Authorization": f"Bearer {key.get_secret_value().strip()}"}
    reply = await _get(f"{base}/key", headers, "OPENROUTER_BASE_URL", network)
    if reply.status != 200:
        raise LipikaError(_refusal(reply, "the key", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"))
    _must_be_object(reply, f"{base}/key", "OPENROUTER_BASE_URL")
    left = _object(_object(reply.body).get("data")).get("limit_remaining")
    model = settings.model_id if "/" in settings.model_id else f"google/{settings.model_id}"
    listed = await _get(f"{base}/models", headers, "OPENROUTER_BASE_URL", network)
    models = _object(listed.body).get("data")
    names = {_object(entry).get("id") for entry in models} if isinstance(models, list) else set()
    if names and model not in names:
        raise LipikaError(f"{model} is not among the {len(names)} models of {base}: check MODEL_ID")
    return Served(
        provider="openrouter",
        url=base,
        model=model,
        credit_left_usd=float(left) if isinstance(left, int | float) else None,
        clock_ahead_s=reply.clock_ahead_s,
        reply_s=reply.seconds,
    )


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    body: object
    clock_ahead_s: float | None
    seconds: float


async def _get(url: str, headers: Mapping[str, str], setting: str, network: Network) -> _Got:
    started, address = time.perf_counter(), Address(url, setting, network.proxy_host(url))
    connector, proxy = aiohttp.TCPConnector(ssl=network.trust(url)), network.proxy_for(url)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(url, headers=headers, proxy=proxy, allow_redirects=False) as reply,
        ):
            content = await reply.content.read(_MAX_REPLY_BYTES)
            told = Reply(reply.status, b"", location=reply.headers.get("Location"))
            away = interception(told, address)
            if away is not None:
                raise LipikaError(away.message)
            return _Got(
                reply.status,
                _parse_or_none(content),
                _clock_ahead_s(reply.headers.get("Date")),
                time.perf_counter() - started,
            )
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        failure = failure_of(error, address, _TIMEOUT_S)
        raise LipikaError(
            f"{url}: {failure.message}{'' if failure.stands else f': check {setting}'}"
        ) from None


def _refusal(reply: _Got, what: str, key: str, base: str) -> str:
    error = _object(_object(reply.body).get("error"))
    message = one_line(error.get("message"))
    if reply.status == 429 and names_zero(message):
        return f"HTTP 429 for {what}: {zero_quota(message)}"
    words = f" ({message})" if message else ""
    look_at = {401: key, 403: key, 404: f"MODEL_ID and {base}"}.get(
        reply.status, f"{key}, MODEL_ID and {base}"
    )
    return f"HTTP {reply.status} for {what}{words}: check {look_at}"


def _must_be_object(reply: _Got, url: str, setting: str) -> None:
    if not isinstance(reply.body, dict):
        raise LipikaError(
            f"{url}: HTTP 200 without JSON: another service answers there, such as a network's sign-in page:"
            f" check {setting}, or sign in"
        )


def _parse_or_none(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(value: object) -> datetime | None:
    """A time as Google writes it (RFC 3339); None for anything else."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _clock_ahead_s(date: str | None) -> float | None:
    """Our clock minus the server's; a Date header is cut to the second, so half of one is added."""
    if not date:
        return None
    try:
        return time.time() - parsedate_to_datetime(date).timestamp() - 0.5
    except ValueError:
        return None

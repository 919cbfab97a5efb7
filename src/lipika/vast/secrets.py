"""Secrets on their way to vast.ai: into the account's environment variables, which every container is given.

Not as `--env` of an instance, nor through the command line of `vastai create env-var`: both would show them to
whoever may run `ps`, and the former to whoever lists the instances. They travel in the body of an HTTPS request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

from lipika.config import KEY_VARIABLES, Settings
from lipika.errors import Unavailable, UsageError
from lipika.network import Network

_KEPT_BACK = {"DASHBOARD_TOKEN"}  # no worker needs it
_ALSO_SECRET = {"R2_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"}
_BASE = "https://console.vast.ai"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_CALL = aiohttp.ClientTimeout(total=30)
_KEY_FILES = ("~/.config/vastai/vast_api_key", "~/.vast_api_key")
_LOCAL_ONLY = {
    "LIPIKA_DATA_DIR",
    "SPOOL_DIR",
    "HEALTH_FILE",
    "WORKER_INSTANCE_ID",
    "MODELS_FILE",
    "METRICS_PORT",
    "METRICS_HOST",
    "CALIBRATION_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
}
"""Paths, names and the network of this machine mean nothing on another."""


def secrets_of(settings: Settings) -> dict[str, str]:
    """The secrets that are set here."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in _settings_given(settings).items()
        if _is_secret(name, value) and value and name not in _KEPT_BACK
    }


def open_settings(settings: Settings) -> dict[str, str]:
    """The settings here that are no secrets, as a worker elsewhere should have them."""
    return {
        name: _as_variable(value)
        for name, value in _settings_given(settings).items()
        if not _is_secret(name, value)
        and name not in _LOCAL_ONLY
        and (value is not None or name == "TEMPERATURE")
    }


def _settings_given(settings: Settings) -> dict[str, object]:
    """Keys of AWS_ names that lipika has no use for are another tool's: they stay here."""
    return {
        name.upper(): getattr(settings, name)
        for name in sorted(settings.model_fields_set)
        if settings.has_aws_keys or not name.startswith("aws_")
    }


def _is_secret(name: str, value: object) -> bool:
    return isinstance(value, SecretStr) or name in _ALSO_SECRET


def _as_variable(value: object) -> str:
    """As an environment variable says it."""
    if value is None:
        return "default"
    return str(value).lower() if isinstance(value, bool) else str(value)


def missing(settings: Settings, there: Collection[str]) -> list[str]:
    """Secrets without which a worker could not start, and that the account does not have."""
    needed = ["DATABASE_URL"]
    if settings.provider != "simulator":
        needed.append(KEY_VARIABLES[settings.provider])
    if any(url.startswith("s3://") for url in (settings.store_url, settings.output_url)):
        names = "AWS" if settings.has_aws_keys else "R2"
        needed += [f"{names}_ACCESS_KEY_ID", f"{names}_SECRET_ACCESS_KEY"]
    return [name for name in needed if name not in there]


def check_places(settings: Settings) -> None:
    """Refuse places that a rented machine cannot reach, or that are lost with it.

    Raises:
        UsageError: names the setting.
    """
    if not settings.output_url.startswith("s3://"):
        raise UsageError(
            f"OUTPUT_URL: {settings.output_url or 'not set'}: a rented machine's own disk is lost with it, and"
            " what the transcripts cost, too: set it to s3://BUCKET/PREFIX"
        )
    if settings.store_url and not settings.store_url.startswith("s3://"):
        raise UsageError(
            f"STORE_URL: {settings.store_url}: a rented machine cannot reach it: set it to s3://BUCKET/PREFIX"
        )


async def store(secrets: Mapping[str, str], there: Collection[str], network: Network | None = None) -> None:
    """Write them into the account; those that are there get the new value.

    Raises:
        UsageError: no key, or it is refused; VAST_URL is not encrypted.
        Unavailable: vast.ai cannot be reached.
    """
    base, network = _base_url(), network or Network()
    connector, proxy = aiohttp.TCPConnector(ssl=network.trust(base)), network.proxy_for(base)
    headers = {"Authorization": f"Bearer {await asyncio.to_thread(_api_key)}"}
    try:
        async with aiohttp.ClientSession(timeout=_CALL, connector=connector, proxy=proxy) as session:
            for name, value in secrets.items():
                method = "PUT" if name in there else "POST"
                body = {"key": name, "value": value}
                # The headers of a session would go to a proxy, too.
                async with session.request(
                    method, f"{base}/api/v0/secrets/", json=body, headers=headers, allow_redirects=False
                ) as reply:
                    if reply.status in {401, 403}:
                        raise UsageError("vast.ai refuses the key: vastai set api-key KEY, or VAST_API_KEY")
                    if reply.status >= 300:  # a redirect would take the secret to another host
                        raise Unavailable(f"vast.ai does not take {name}: HTTP {reply.status}")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"{base} cannot be reached: {str(error) or type(error).__name__}") from None


def _base_url() -> str:
    base = (os.environ.get("VAST_URL") or _BASE).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError("VAST_URL: secrets travel through https:// only, or to this machine itself")
    return base


def _api_key() -> str:
    """VAST_API_KEY, else what `vastai set api-key` has written."""
    if key := os.environ.get("VAST_API_KEY", "").strip():
        return key
    for name in _KEY_FILES:
        file = Path(name).expanduser()
        if file.is_file() and (key := file.read_text("utf-8").strip()):
            return key
    raise UsageError("no key of vast.ai: vastai set api-key KEY, or VAST_API_KEY in the environment")

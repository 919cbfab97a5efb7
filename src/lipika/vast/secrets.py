"""Secrets on their way to vast.ai: into the account's environment variables, which every container is given.

Not as settings of an instance, which whoever lists the instances sees, nor in the words of a command, which `ps`
shows. They travel in the body of an HTTPS request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import SecretStr

from lipika.config import KEY_VARIABLES, Settings
from lipika.errors import UsageError
from lipika.vast.client import Vast

_KEPT_BACK = {"DASHBOARD_TOKEN", "DASHBOARD_TOKENS", "VAST_API_KEY"}  # no worker needs them
_ALSO_SECRET = {"R2_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"}
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
    "VAST_URL",
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


async def store(secrets: Mapping[str, str], there: Collection[str], vast: Vast) -> None:
    """Write them into the account; those that are there get the new value.

    Raises:
        UsageError: the key is refused.
        VastRefused: the service will not have one of them.
        Unavailable: vast.ai cannot be reached.
    """
    for name, value in secrets.items():
        await vast.put_secret(name, value, replace=name in there)

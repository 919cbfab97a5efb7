"""From URLs and settings to open stores; nothing is contacted here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from lipika.errors import SettingsError, StorageError, UsageError
from lipika.storage.errors import MAX_WAIT_S, short_text

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings for reaching S3 or R2, and the patience for it. Local folders use the byte sizes only."""

    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)  # of temporary credentials
    variables: str = "R2"  # the keys come from R2_ACCESS_KEY_ID and so on, or from AWS_...
    r2_account_id: str = ""
    endpoint_url: str = ""  # wins over r2_account_id
    region: str = "auto"
    bucket: str = ""  # of URLs that name none
    retry_s: float = 180.0  # an outage this long is waited out before StorageUnavailable
    retry_wait_s: float = 0.2  # before the first retry; doubled from then on, up to MAX_WAIT_S
    part_bytes: int = 8 << 20  # of uploads; larger where 10,000 parts would not suffice
    read_bytes: int = 8 << 20  # what a reader fetches and holds at a time

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.secret_access_key, self.access_key_id, self.session_token)))

    @property
    def endpoint(self) -> str:
        """The endpoint's URL; "" if none is set."""
        if self.endpoint_url or not self.r2_account_id:
            return self.endpoint_url.rstrip("/")
        return f"https://{self.r2_account_id}.r2.cloudflarestorage.com"


def split_url(url: str) -> tuple[str, str]:
    """Split where something is into the root to open and the key (or prefix, ending in `/`, or "") in it.

    `s3://b/x/y.tar` -> `s3://b`, `x/y.tar`; `tars/y.tar` -> `/here/tars`, `y.tar`; a folder -> itself, "".
    """
    if "://" in url and not url.startswith("file://"):
        bucket, key = s3_parts(url)
        return f"s3://{bucket}", key
    path = local_path(url)
    return (str(path), "") if path.is_dir() else (str(path.parent), path.name)


def s3_parts(url: str, default_bucket: str = "") -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme != "s3":
        raise UsageError(
            f"cannot use {scheme}:// as a store: give s3://bucket/prefix, file:///folder or a path"
        )
    bucket, _, key = rest.partition("/")
    return bucket or default_bucket, key


def local_path(url: str) -> Path:
    if url.startswith("file://"):
        host, slash, path = url.removeprefix("file://").partition("/")
        if host not in ("", "localhost") or not slash:
            raise UsageError(
                f"{url} names no folder of this machine: write file:///folder, with three slashes"
            )
        return Path("/" + unquote(path))
    return Path(url).expanduser().absolute()


def local_store(folder: Path, *, create: bool) -> LocalStore:
    if not create and not folder.is_dir():
        raise StorageError(f"there is no folder {folder}")
    try:
        return LocalStore(folder, automatic_cleanup=create, mkdir=create)
    except (BaseError, OSError) as error:
        raise StorageError(f"cannot open the folder {folder}: {short_text(error)}") from None


def s3_store(bucket: str, prefix: str, settings: StoreSettings, retry_for: timedelta) -> S3Store:
    if not bucket:
        raise SettingsError("s3:// URLs need a bucket: write s3://bucket/prefix or set R2_BUCKET")
    endpoint = _endpoint(settings)
    config: S3Config = {
        "endpoint": endpoint,
        "region": region_of(settings),
        "virtual_hosted_style_request": False,
        "disable_bulk_delete": True,
        # Said explicitly because obstore otherwise takes them from AWS_* variables.
        "skip_signature": False,
        "unsigned_payload": False,
    }
    retry: RetryConfig = {
        "max_retries": 1000,  # the time decides
        "retry_timeout": retry_for,
        "backoff": {
            "init_backoff": timedelta(seconds=settings.retry_wait_s),
            "max_backoff": timedelta(seconds=MAX_WAIT_S),
            "base": 2,
        },
    }
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(seconds=300),  # of one request: a part of 8 MiB at 30 KB/s
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=client,
        retry_config=retry,
        credential_provider=_credentials(settings),
    )


def _credentials(settings: StoreSettings) -> Callable[[], S3Credential]:
    for value, name in (
        (settings.access_key_id, f"{settings.variables}_ACCESS_KEY_ID"),
        (settings.secret_access_key, f"{settings.variables}_SECRET_ACCESS_KEY"),
    ):
        if not value:
            raise SettingsError(
                f"s3:// URLs need {name}: set it to the key of an R2 or S3 API token, or give AWS_ACCESS_KEY_ID,"
                " AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN if there is one. Profiles and roles are not read:"
                ' eval "$(aws configure export-credentials --format env)" turns them into these'
            )
    return lambda: {
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
        "token": settings.session_token or None,
        "expires_at": None,
    }


def _endpoint(settings: StoreSettings) -> str:
    if not settings.endpoint:
        raise SettingsError(
            "s3:// URLs need R2_ACCOUNT_ID (Cloudflare R2) or S3_ENDPOINT_URL (any other); for Amazon's own,"
            " AWS_REGION is enough"
        )
    parts = urlsplit(settings.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SettingsError("S3_ENDPOINT_URL must look like https://host, without user or password")
    return settings.endpoint


def region_of(settings: StoreSettings) -> str:
    """AWS itself accepts no `auto`, but its endpoints name their region; R2 accepts nothing else."""
    if ".r2.cloudflarestorage.com" in settings.endpoint:
        return "auto"
    named = re.search(r"//s3[.-]([a-z0-9-]+)\.amazonaws\.com", settings.endpoint)
    return named[1] if named else settings.region


def amazon_endpoint(region: str) -> str:
    """Of Amazon's own S3; "" without a region."""
    if not region:
        return ""
    return f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")

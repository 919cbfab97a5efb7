"""Settings in, database and stores out: the two doors of every command. Knows no worker, engine or provider.

What only one of the doors needs is imported behind it: who asks for the database loads no object store.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from lipika.config import Settings
from lipika.db.connection import Database
from lipika.errors import DatabaseUnavailable, Unavailable
from lipika.log import get_logger, hide
from lipika.network import patiently

if TYPE_CHECKING:
    from lipika.storage import Store, StoreSettings
    from lipika.storage.store import Place

log = get_logger(__name__)

_START_RETRY_S = 2.0
WORKER_WAIT_S = 300.0
"""Who finds Postgres away before or after the work waits so long for it; during the work, as long as it takes."""

T = TypeVar("T")


def saved_answers_folder(settings: Settings) -> Path:
    """Folder for answers that neither the database nor the store could take before a worker had to end."""
    import platformdirs

    return (settings.spool_dir or platformdirs.user_state_path("lipika")) / "kept-answers"


@asynccontextmanager
async def connect_database(settings: Settings, *, wait_s: float = 0.0) -> AsyncIterator[Database]:
    """DATABASE_URL, or the embedded Postgres; as it is, perhaps without tables. An outage is waited out so long."""
    hide(*settings.secrets())
    if settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value())
        try:
            await wait_out(database.open, wait_s)
            yield database
        finally:
            await database.close()
        return
    from lipika.embedded.postgres import EmbeddedPostgres

    async with (
        EmbeddedPostgres(settings.lipika_data_dir) as server,
        Database(lambda: server.url) as database,
    ):
        yield database


async def wait_out(work: Callable[[], Awaitable[T]], wait_s: float = WORKER_WAIT_S) -> T:
    """Do `work` until Postgres is there, for so long at most; returns its value. It must bear to be repeated.

    Raises:
        DatabaseUnavailable: it stayed away.
    """
    deadline = time.monotonic() + wait_s

    def say(reason: Unavailable, pause_s: float) -> None:
        left_s = deadline - time.monotonic() - pause_s
        log.warning("database_waits", reason=str(reason), tries_for_s=round(left_s))

    return await patiently(
        work,
        say,
        first_s=_START_RETRY_S,
        most_s=_START_RETRY_S,
        give_up_s=wait_s,
        away=DatabaseUnavailable,
    )


@asynccontextmanager
async def open_database(settings: Settings, *, wait_s: float = 0.0) -> AsyncIterator[Database]:
    """As `connect_database`; the embedded one is migrated, another is left to `lipika db migrate`."""
    async with connect_database(settings, wait_s=wait_s) as database:
        if settings.database_url is None:
            from lipika.db.migrate import migrate

            await migrate(database)
        yield database


def store_settings(settings: Settings) -> StoreSettings:
    """The settings for reaching object stores."""
    from lipika.storage import StoreSettings, amazon_endpoint

    hide(*settings.secrets())
    if settings.has_aws_keys:
        region = settings.aws_region or settings.aws_default_region
        endpoint = settings.s3_endpoint_url
        if not endpoint and not settings.r2_account_id:
            endpoint = settings.aws_endpoint_url_s3 or settings.aws_endpoint_url or amazon_endpoint(region)
        return StoreSettings(
            access_key_id=settings.aws_access_key_id,
            secret_access_key=_reveal_secret(settings.aws_secret_access_key),
            session_token=_reveal_secret(settings.aws_session_token),
            variables="AWS",
            endpoint_url=endpoint,
            r2_account_id=settings.r2_account_id,
            region=region or "auto",
            bucket=settings.r2_bucket,
        )
    return StoreSettings(
        access_key_id=settings.r2_access_key_id,
        secret_access_key=_reveal_secret(settings.r2_secret_access_key),
        session_token=_reveal_secret(settings.r2_session_token),
        endpoint_url=settings.s3_endpoint_url,
        r2_account_id=settings.r2_account_id,
        bucket=settings.r2_bucket,
    )


def _reveal_secret(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


class Stores:
    """Stores by their root, each opened once."""

    def __init__(self, settings: StoreSettings):
        self._settings = settings
        self._open: dict[str, Store] = {}

    def place(self, key: str, base: str, *, create: bool = False) -> Place:
        """The object that a queue row names: a full URL or path, or a key below `base`.

        `create` makes a missing local folder.
        """
        from lipika.archive.sources import is_url, object_url
        from lipika.storage import Store, split_url
        from lipika.storage.store import Place

        root, name = split_url(key if is_url(key) or key.startswith("/") else object_url(base, key))
        if root not in self._open:
            self._open[root] = Store.open(root, self._settings, create=create)
        return Place(self._open[root], name)

"""Messages to people who do not watch: caps that are reached, providers parked, workers dead, a queue that is done.

What is to be told is found in the database, where each event is told once, whoever sees it first: a worker, or the
board, which is there when all workers are dead. It goes to NOTIFY_URL in Slack's form, `{"text": ...}`, which
Mattermost, Rocket.Chat and (with `/slack` at its URL's end) Discord take as well.
"""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson

from lipika.config import Settings
from lipika.db.connection import Database
from lipika.db.notices import Notice, Notices
from lipika.errors import LipikaError, SettingsError
from lipika.log import get_logger, redact
from lipika.network import Network

log = get_logger(__name__)

EVERY_S = 30.0
_TIMEOUT_S = 10.0
_NAMED = 20  # events in one message
_MOST_BYTES = 64 << 10


class Notifier:
    """Tells what there is to tell. Trouble in it is logged once for each cause, and holds nothing up.

    Args:
        url: where to: a webhook that takes `{"text": ...}`.
        notices: what all tellers of the database share.
        network: the way out.
        name: what the messages begin with, so that two fleets can share a channel.
    """

    def __init__(self, url: str, notices: Notices, network: Network, name: str = "lipika") -> None:
        self._url = url
        self._notices = notices
        self._network = network
        self._name = name
        self._trouble = ""

    async def tell(self) -> None:
        """Claim what is new and send it; what could not be sent is anybody's again.

        Raises:
            DatabaseUnavailable: Postgres is away.
        """
        notices = await self._notices.claim()
        if not notices:
            return
        told = False
        try:
            told = await self._post(notices)
        finally:
            await asyncio.shield(self._notices.end(notices, told=told))

    async def _post(self, notices: Sequence[Notice]) -> bool:
        lines = [f"{self._name}: {notice.message}" for notice in notices[:_NAMED]]
        if len(notices) > _NAMED:
            lines.append(f"... and {len(notices) - _NAMED:,} more")
        body = orjson.dumps({"text": redact("\n".join(lines))})
        trouble = await asyncio.to_thread(_post, self._url, body, self._network)
        if trouble and trouble != self._trouble:  # said once; the URL is a secret, and an error may name it
            log.warning("notices_not_sent", reason=f"NOTIFY_URL: {trouble}")
        self._trouble = trouble
        return not trouble


def open_notifier(settings: Settings, database: Database, teller: str) -> Notifier | None:
    """None where nobody is to be told."""
    if settings.notify_url is None:
        return None
    url = settings.notify_url.get_secret_value()
    if urlsplit(url).scheme not in {"http", "https"}:
        raise SettingsError("NOTIFY_URL is no address of a webhook: it must begin with https:// (or http://)")
    return Notifier(url, Notices(database, teller), Network.from_settings(settings), settings.notify_name)


async def keep_telling(notifier: Notifier, every_s: float = EVERY_S) -> None:
    """Tell again and again, until it is cancelled: for whoever has no loop of its own, as the board."""
    said = ""
    while True:
        try:
            await notifier.tell()
            said = ""
        except LipikaError as error:
            if str(error) != said:
                said = str(error)
                log.warning("notices_wait", reason=said)
        await asyncio.sleep(every_s)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever answers with another address would get the message there."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(url: str, body: bytes, network: Network) -> str:
    """Send it; the trouble in words, without the URL, and empty where there was none."""
    try:
        proxy, trust = network.proxy_for(url), network.trust(url)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({urlsplit(url).scheme: proxy} if proxy else {}),
            urllib.request.HTTPSHandler(context=None if isinstance(trust, bool) else trust),
            _NoRedirect,
        )
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return f"it answers {error.code}"
    except (OSError, LipikaError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        return type(cause).__name__ if isinstance(cause, BaseException) else "it cannot be reached"
    return ""

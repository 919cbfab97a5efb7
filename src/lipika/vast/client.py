"""vast.ai by its REST API: offers, instances, renting, giving back, and the account's environment variables.

Routes and bodies as its documentation and its own client have them (August 2026). Errors are JSON with `msg`, or
plain text; calls of one kind are to be three to five seconds apart, and there is no Retry-After.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from lipika.config import Settings
from lipika.errors import LipikaError, Unavailable, UsageError
from lipika.log import redact
from lipika.network import Network, is_loopback

_BASE = "https://console.vast.ai"
_KEY_FILES = ("~/.config/vastai/vast_api_key", "~/.vast_api_key")
"""Where the service's own command line keeps the key."""
_CALL = aiohttp.ClientTimeout(total=120)
_WAITS_S = (4.0, 8.0, 16.0)
"""Before a call is made again that came too soon, or a question that had no answer."""
_PAGE = 25
"""Instances: the service gives no more at a time."""
_MOST_PAGES = 400
_MOST_BYTES = 32 << 20
_GB_DOWN_PER_HOUR = 10.0
"""Archives read by a worker at 1,000 clips a minute of 8 s: 164 KB each."""
_GB_UP_PER_HOUR = 23.0
"""The same clips as base64 to the model, and once more in result archives."""
_DAY_S = 86_400.0


class VastRefused(LipikaError):
    """vast.ai said no: an offer that is gone, no credit, a wrong key."""


class VastGone(VastRefused):
    """There is no such thing, or no longer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A machine that is looked for, and its work. Prices in US dollars an hour, network in Mbit/s, sizes in GB."""

    image: str
    command: tuple[str, ...] = ("worker", "--json-logs")
    settings: Mapping[str, str] = field(default_factory=dict)  # no secrets: who lists instances sees them
    max_usd_hour: float = 0.30
    gpus: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    min_reliability: float = 0.98
    min_down: float = 300.0
    min_up: float = 300.0
    min_cores: float = 4.0
    min_ram: float = 8.0
    min_days: float = 4.0
    min_cuda: float = 0.0
    disk: float = 40.0
    interruptible: bool = False

    def query(self) -> str:
        """In words for people."""
        wanted = [
            "num_gpus=1",
            f"dph<={self.max_usd_hour:g}",
            f"reliability>={self.min_reliability:g}",
            f"inet_down>={self.min_down:g}",
            f"inet_up>={self.min_up:g}",
            f"cpu_cores_effective>={self.min_cores:g}",
            f"cpu_ram>={self.min_ram:g}",
            f"disk_space>={self.disk:g}",
            f"duration>={self.min_days:g}",
            "cpu_arch=amd64",
        ]
        if self.min_cuda:
            wanted.append(f"cuda_vers>={self.min_cuda:g}")
        if self.gpus:
            wanted.append(f"gpu_name in [{','.join(name.replace(' ', '_') for name in self.gpus)}]")
        if self.countries:
            wanted.append(f"geolocation in [{','.join(self.countries)}]")
        return " ".join(wanted)

    def filters(self) -> dict[str, dict[str, object]]:
        """As the search takes it: memory in MB, duration in seconds."""
        wanted: dict[str, dict[str, object]] = {
            "verified": {"eq": True},
            "external": {"eq": False},
            "rentable": {"eq": True},
            "rented": {"eq": False},
            "num_gpus": {"eq": 1},
            "dph_total": {"lte": self.max_usd_hour},
            "reliability": {"gte": self.min_reliability},
            "inet_down": {"gte": self.min_down},
            "inet_up": {"gte": self.min_up},
            "cpu_cores_effective": {"gte": self.min_cores},
            "cpu_ram": {"gte": self.min_ram * 1000},
            "disk_space": {"gte": self.disk},
            "duration": {"gte": self.min_days * _DAY_S},
            "cpu_arch": {"eq": "amd64"},
        }
        if self.min_cuda:
            wanted["cuda_max_good"] = {"gte": self.min_cuda}
        if self.gpus:
            wanted["gpu_name"] = {"in": [name.replace("_", " ") for name in self.gpus]}
        if self.countries:
            wanted["geolocation"] = {"in": list(self.countries)}
        return wanted


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine for rent."""

    id: int
    machine_id: int
    gpu: str
    usd_hour: float
    usd_traffic: float  # an hour, at the traffic of a busy worker
    min_bid: float
    reliability: float
    down: float  # Mbit/s
    up: float
    place: str

    @property
    def usd_busy(self) -> float:
        """The cost of an hour of work: many hosts charge more for traffic than for the machine."""
        return self.usd_hour + self.usd_traffic


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine that is rented. `status` is the container's: None while it is provisioned."""

    id: int
    machine_id: int
    label: str
    status: str | None
    intended: str
    gpu: str
    usd_hour: float
    age_s: float
    message: str


class Vast:
    """One account. Every call opens a connection of its own: there are few, seconds apart."""

    def __init__(
        self,
        base: str,
        key: str,
        network: Network | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where the key would travel unencrypted."""
        parts = urlsplit(base)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise UsageError(
                "VAST_URL: secrets travel through https:// only, or to this machine itself; leave it empty for"
                f" {_BASE}"
            )
        self._base = base.rstrip("/")
        self._key = key
        self._network = network or Network()
        self._sleep = sleep

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The account of VAST_API_KEY, else of the key that vast.ai's own command line has kept.

        Raises:
            UsageError: there is no key, or VAST_URL will not do.
        """
        key = settings.vast_api_key.get_secret_value().strip() if settings.vast_api_key else _kept_key()
        if not key:
            raise UsageError("no key of vast.ai: set VAST_API_KEY, in the environment or in .env")
        return cls(settings.vast_url or _BASE, key, Network.from_settings(settings))

    # ------------------------------------------------------------------------- what there is

    async def offers(self, wish: Wish, limit: int) -> list[Offer]:
        """Offers within the wish, those first whose hour of work is cheapest."""
        body = {
            **wish.filters(),
            "type": "bid" if wish.interruptible else "on-demand",
            "order": [["dph_total", "asc"]],
            "limit": limit,
            "allocated_storage": wish.disk,
        }
        found = await self._call("search offers", "POST", "/api/v0/bundles/", body, is_question=True)
        offers = [_offer(row, wish) for row in _rows(found, "offers")]
        within = [offer for offer in offers if 0 < offer.usd_hour <= wish.max_usd_hour]
        return sorted(within, key=lambda offer: (offer.usd_busy, offer.id))

    async def instances(self) -> list[Instance]:
        """All instances of the account, however many pages they fill."""
        found: dict[int, Instance] = {}
        query = {"limit": str(_PAGE), "order_by": '[{"col":"id","dir":"asc"}]', "select_filters": "{}"}
        for _ in range(_MOST_PAGES):
            page = await self._call(
                "show instances", "GET", "/api/v1/instances/", query=query, is_question=True
            )
            found |= {one.id: one for one in map(_instance, _rows(page, "instances"))}
            token = page.get("next_token")
            if not token or token == query.get("after_token"):
                break
            query["after_token"] = str(token)
        return list(found.values())

    async def secrets(self) -> set[str]:
        """Names of the account's environment variables, which vast.ai gives to every container."""
        found = await self._call("show env-vars", "GET", "/api/v0/secrets/", is_question=True)
        there = found.get("secrets")
        return {str(name) for name in there} if isinstance(there, Mapping) else set()

    # ------------------------------------------------------------------------- what is done

    async def rent(self, offer: Offer, label: str, wish: Wish) -> int:
        """Rent an offer, once: whoever gets Unavailable looks for the label before trying another.

        Returns the instance's number.

        Raises:
            VastRefused: not to be had.
            Unavailable: no telling whether it was rented.
        """
        body: dict[str, object] = {
            "client_id": "me",
            "image": wish.image,
            "label": label,
            "disk": wish.disk,
            "env": dict(wish.settings),
            "runtype": "args",
            "args": list(wish.command),
            "cancel_unavail": True,
        }
        if wish.interruptible:
            body["price"] = round(min(offer.min_bid * 1.15, wish.max_usd_hour), 4)
        answer = await self._call(f"rent offer {offer.id}", "PUT", f"/api/v0/asks/{offer.id}/", body)
        if not answer.get("success") or type(answer.get("new_contract")) is not int:
            raise VastRefused(f"offer {offer.id}: {_message(answer)}")
        return int(answer["new_contract"])

    async def destroy(self, instance: int) -> None:
        """Give an instance back, with all that lies on it; one that is gone is as good as given back. Asked once.

        Raises:
            VastRefused: it stays.
            Unavailable: no telling whether it is gone.
        """
        try:
            what, path = f"destroy instance {instance}", f"/api/v0/instances/{instance}/"
            answer = await self._call(what, "DELETE", path, {}, waits_s=())
        except VastGone:
            return
        if not answer.get("success"):
            raise VastRefused(f"instance {instance}: {_message(answer)}")

    async def put_secret(self, name: str, value: str, *, replace: bool) -> None:
        """Write an environment variable of the account. It travels in the body, and nowhere else.

        Raises:
            VastRefused, Unavailable: it may not be there.
        """
        method = "PUT" if replace else "POST"
        await self._call(f"write {name}", method, "/api/v0/secrets/", {"key": name, "value": value})

    # ------------------------------------------------------------------------- the wire

    async def _call(
        self,
        what: str,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        is_question: bool = False,
        waits_s: Sequence[float] = _WAITS_S,
    ) -> dict[str, Any]:
        """One call. What came too soon (429) was not done, and is made again; so is a question without an answer.

        Raises:
            UsageError: the key is refused.
            VastGone, VastRefused: the service's word is no.
            Unavailable: no telling.
        """
        for wait_s in (*waits_s, None):
            try:
                status, text = await self._send(method, path, body, query)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if wait_s is None or not is_question:
                    reason = redact(str(error) or type(error).__name__)
                    raise Unavailable(f"vast.ai: {what}: cannot be reached: {reason}") from None
            else:
                again = status == HTTPStatus.TOO_MANY_REQUESTS or (is_question and status >= 500)
                if wait_s is None or not again:
                    return _read(what, status, text)
            await self._sleep(wait_s)
        raise AssertionError("the last wait is none")

    async def _send(
        self, method: str, path: str, body: Mapping[str, object] | None, query: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        connector = aiohttp.TCPConnector(ssl=self._network.trust(self._base))
        async with (
            aiohttp.ClientSession(
                timeout=_CALL,
                connector=connector,
                proxy=self._network.proxy_for(self._base),
                middlewares=(_send_once,),
            ) as session,
            # The headers of a session would go to a proxy, too; a redirect would take key and secret elsewhere.
            session.request(
                method,
                self._base + path,
                params=query,
                json=body,
                headers={"Authorization": f"Bearer {self._key}"},
                allow_redirects=False,
            ) as reply,
        ):
            text = bytearray()
            async for piece in reply.content.iter_chunked(1 << 16):
                text += piece
                if len(text) > _MOST_BYTES:
                    raise aiohttp.ClientPayloadError("an answer of more than 32 MB")
            return reply.status, bytes(text)


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Give a lost connection another name: of its own accord aiohttp sends a PUT again, and that rents twice."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientError(str(error) or type(error).__name__) from error


def settings_fit(settings: Mapping[str, str]) -> None:
    """Refuse values that are torn apart on their way into a container, where they become words of a command.

    Raises:
        UsageError: names the setting.
    """
    for name, value in settings.items():
        if any(character in value for character in " '\"\n\t"):
            raise UsageError(
                f"{name}: vast.ai cannot pass on a value with blanks or quotes; set it in the account"
            )


def _kept_key() -> str:
    for name in _KEY_FILES:
        try:
            if key := Path(name).expanduser().read_text("utf-8").strip():
                return key
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def _read(what: str, status: int, text: bytes) -> dict[str, Any]:
    """The answer, or the error that it is."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    said = found if isinstance(found, dict) else {}
    reason = _message(said) if said else _first_words(text)
    if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and "ask_id" not in said):
        raise UsageError(
            f"vast.ai refuses the key ({reason}): set VAST_API_KEY to one of this account that may {what}"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
        raise Unavailable(f"vast.ai: {what}: HTTP {status}: {reason}")
    if 300 <= status < 400:
        raise Unavailable(
            f"vast.ai: {what}: HTTP {status}: it sends elsewhere, and no key goes there: VAST_URL"
        )
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise VastGone(f"vast.ai: {what}: {reason}")
    if status != HTTPStatus.OK:
        raise VastRefused(f"vast.ai: {what}: HTTP {status}: {reason}")
    if not isinstance(found, dict):
        raise VastRefused(f"vast.ai: {what}: the answer is no JSON object: {_first_words(text)}")
    return found


def _message(said: Mapping[str, Any]) -> str:
    words = (said.get(name) for name in ("msg", "message", "detail", "error"))
    return redact(str(next((one for one in words if one), "no reason given")))[:300]


def _first_words(text: bytes) -> str:
    return redact(text.decode("utf-8", "replace").strip()[:300]) or "it said nothing"


def _rows(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = found.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise VastRefused(f"vast.ai gave no list of {name}, but {type(rows).__name__}")
    return rows


def _offer(row: dict[str, Any], wish: Wish) -> Offer:
    number = _number(row)
    traffic = _GB_DOWN_PER_HOUR * number("inet_down_cost") + _GB_UP_PER_HOUR * number("inet_up_cost")
    return Offer(
        id=int(row["id"]),
        machine_id=int(row.get("machine_id") or 0),
        gpu=str(row.get("gpu_name") or "?"),
        usd_hour=number("min_bid") if wish.interruptible else number("dph_total"),
        usd_traffic=traffic,
        min_bid=number("min_bid"),
        reliability=number("reliability") or number("reliability2"),
        down=number("inet_down"),
        up=number("inet_up"),
        place=str(row.get("geolocation") or "?"),
    )


def _instance(row: dict[str, Any]) -> Instance:
    number = _number(row)
    status = row.get("actual_status")
    started = number("start_date")
    return Instance(
        id=int(row["id"]),
        machine_id=int(row.get("machine_id") or 0),
        label=str(row.get("label") or ""),
        status=str(status) if status else None,
        intended=str(row.get("intended_status") or "running"),
        gpu=str(row.get("gpu_name") or "?"),
        usd_hour=number("dph_total"),
        age_s=max(time.time() - started, 0.0) if started else 0.0,
        message=redact(str(row.get("status_msg") or "").strip()),
    )


def _number(row: dict[str, Any]) -> Callable[[str], float]:
    return lambda name: float(row.get(name) or 0.0)

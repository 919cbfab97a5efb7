"""The way out of this machine: proxies, authorities to trust, connections that silent networks keep, and patience
with a service that is away.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from lipika.config import Settings
from lipika.errors import SettingsError, Unavailable

T = TypeVar("T")

_LOOPBACK_NAMES = "localhost,127.0.0.1,::1"
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 6}
"""Seconds; times. Address translators forget silent connections, some within a minute; an answer takes two."""


@dataclass(frozen=True, slots=True)
class Network:
    """The way to other hosts. The default goes straight there and trusts whom the system trusts.

    It is handed to clients piece by piece: told to trust the environment, they would read `~/.netrc` too, and send
    what is there in the key's place.
    """

    http_proxy: str = ""
    https_proxy: str = ""
    all_proxy: str = ""
    no_proxy: str = ""
    authorities: tuple[tuple[str, Path], ...] = ()  # (setting, file or folder of PEM), in the system's place

    @classmethod
    def from_settings(cls, settings: Settings) -> Network:
        """As the settings say."""
        given = {"SSL_CERT_FILE": settings.ssl_cert_file, "REQUESTS_CA_BUNDLE": settings.requests_ca_bundle}
        return cls(
            settings.http_proxy,
            settings.https_proxy,
            settings.all_proxy,
            settings.no_proxy,
            tuple((name, path) for name, path in given.items() if path is not None),
        )

    def proxy_for(self, url: str) -> str | None:
        """The proxy's URL for this address, user and password in it; None for the straight way.

        Raises:
            SettingsError: it is of a kind that is not spoken; names the setting.
        """
        to = urlsplit(url)
        own = ("HTTPS_PROXY", self.https_proxy) if to.scheme == "https" else ("HTTP_PROXY", self.http_proxy)
        setting, proxy = own if own[1] else ("ALL_PROXY", self.all_proxy)
        if not proxy.strip() or is_loopback(to.hostname or "") or bypasses_proxy(to, self.no_proxy):
            return None
        return _check_proxy(setting, proxy.strip())

    def proxy_host(self, url: str) -> str:
        """`host:port` of that proxy, as it may be shown; empty for the straight way."""
        return urlsplit(self.proxy_for(url) or "").netloc.rpartition("@")[2]

    def trust(self, url: str) -> ssl.SSLContext | bool:
        """Whom to trust there: True for the system's own choice.

        Raises:
            SettingsError: a file of authorities cannot be read; names the setting.
        """
        if not self.authorities or urlsplit(url).scheme != "https":
            return True
        return _trusting(self.authorities, tuple(_version(path) for _, path in self.authorities))


@functools.lru_cache(4)
def _trusting(authorities: tuple[tuple[str, Path], ...], _versions: tuple[object, ...]) -> ssl.SSLContext:
    """A client's context that trusts these alone. Each version is read once: a system's bundle takes 8 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for setting, path in authorities:
        try:
            context.load_verify_locations(**{"capath" if path.is_dir() else "cafile": str(path)})
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingsError(f"{setting}: {path} is no file of certificates in PEM: {reason}") from None
    return context


def _version(path: Path) -> object:
    """Another value once the file or folder has changed; None where it cannot be seen."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def spare_loopback(environ: MutableMapping[str, str]) -> None:
    """Let no library of this process, and no child of it, reach this machine's own services through a proxy."""
    if not any(name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name in environ):
        return
    for name in ("NO_PROXY", "no_proxy"):
        given = environ.get(name, "")
        if given.strip() != "*" and _LOOPBACK_NAMES not in given:
            environ[name] = f"{given},{_LOOPBACK_NAMES}" if given else _other(environ, name)


def _other(environ: MutableMapping[str, str], name: str) -> str:
    """The value of the other spelling of NO_PROXY, and loopback."""
    said = environ.get("no_proxy" if name == "NO_PROXY" else "NO_PROXY", "")
    return said if _LOOPBACK_NAMES in said or said.strip() == "*" else f"{said},{_LOOPBACK_NAMES}".lstrip(",")


# ----------------------------------------------------------------------------- which hosts


def is_loopback(host: str) -> bool:
    """True if a host is this machine by its very name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def bypasses_proxy(to: SplitResult, no_proxy: str) -> bool:
    """True if NO_PROXY names this address: a host, a domain with or without a dot, an address, a network, `*`."""
    host = (to.hostname or "").rstrip(".")
    address, port = _address(host), to.port or {"https": 443}.get(to.scheme, 80)
    return any(_names(entry, host, address, port) for entry in no_proxy.lower().replace(",", " ").split())


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _names(entry: str, host: str, address: _Address | None, port: int) -> bool:
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, said_port = entry.rpartition(":")
    if colon and said_port.isdigit() and (":" not in name or name.startswith("[")):
        entry, said = name, int(said_port)
        if said != port:
            return False
    entry = entry.strip("[]").removeprefix("*").lstrip(".").rstrip(".")
    if address is not None:
        return _address(entry) == address
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _check_proxy(setting: str, proxy: str) -> str:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(url)
        well_formed = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise SettingsError(f"{setting}: no address of a proxy: write http://host:port")
    if parts.scheme not in {"http", "https"}:
        raise SettingsError(
            f"{setting}: a proxy of kind {parts.scheme}:// is not spoken here: give an http:// or https:// one,"
            " or name the host in NO_PROXY"
        )
    return url


# ----------------------------------------------------------------------------- connections


def keep_alive_socket(address: Any) -> socket.socket:
    """A TCP socket whose silence the kernel fills with probes: a connection that a network dropped is noticed."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)  # macOS has another name for the first, Windows none
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


# ----------------------------------------------------------------------------- outages


async def patiently(
    work: Callable[[], Awaitable[T]],
    on_wait: Callable[[Unavailable, float], object],
    *,
    first_s: float,
    most_s: float,
    give_up_s: float = math.inf,
    away: type[Unavailable] = Unavailable,
) -> T:
    """Do `work` until the service that it needs is there; returns its value. It must bear to be repeated.

    The first wait takes `first_s`, each one after it twice as long, up to `most_s`. Nothing is logged here: `on_wait`
    gets the reason and the length of each wait before it begins, and may end the waiting by raising something.

    Raises:
        Unavailable: the next wait would end later than `give_up_s` after the start; or it is not of the kind `away`.
    """
    give_up, wait_s = time.monotonic() + give_up_s, first_s
    while True:
        try:
            return await work()
        except away as reason:
            if time.monotonic() + wait_s > give_up:
                raise
            on_wait(reason, wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, most_s)

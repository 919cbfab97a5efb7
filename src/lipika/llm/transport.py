"""Failures between us and a service; they name the cause and the way out.

Nothing here is about a clip: a connection, a certificate, a name, a redirect, a header.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp

from lipika.llm.replies import Reply, one_line
from lipika.models import Failure, FailureKind, Trouble

UNREACHABLE = "unreachable"
"""Code of a failure to connect at all: the request was never sent."""

NEVER_SENT = frozenset({UNREACHABLE, Trouble.CERTIFICATE, Trouble.NAME, Trouble.TLS, Trouble.PROXY})
"""Codes of failures before a request was on its way: nothing can have been billed."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a request, and the setting that says so; `proxy` is the host in between, if there is one."""

    url: str
    setting: str
    proxy: str = ""

    @property
    def host(self) -> str:
        """`host` or `host:port`, without path and password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


# ----------------------------------------------------------------------------- below HTTP


def failure_of(error: Exception, address: Address, timeout_s: float) -> Failure:
    """The failure of a request without reply, from what the HTTP client raised."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _server(_trust_message(error.certificate_error, address), Trouble.CERTIFICATE)
    if isinstance(error, aiohttp.ClientConnectorDNSError | UnicodeError):
        return _server(_name_lookup_message(error, address), Trouble.NAME)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _tls_failure(error, address)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        reason = _error_text(error)
        message = f"no connection to the proxy {address.proxy}: {reason}: look at HTTPS_PROXY and NO_PROXY"
        return _server(message, UNREACHABLE)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _server(f"no connection: {_error_text(error)}", UNREACHABLE)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_failure(error.status, error.message, address)
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TIMEOUT, f"no answer within {timeout_s:g} s", code="deadline")
    if isinstance(error, aiohttp.ClientResponseError):
        return _head_failure(error, address)
    return _server(f"connection lost: {_error_text(error)}", "connection")


def _server(message: str, code: str) -> Failure:
    return Failure(FailureKind.SERVER, one_line(message), code=code)


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


_CLOCK_CODES = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, ..._HAS_EXPIRED
_HOST_CODES = {62, 64}  # ..._HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH


def _trust_message(error: Exception, address: Address) -> str:
    code, reason = getattr(error, "verify_code", None), getattr(error, "verify_message", None) or str(error)
    if code in _CLOCK_CODES:
        way_out = "look at this machine's clock; if it is right, the certificate has to be renewed"
    elif code in _HOST_CODES:
        way_out = f"set {address.setting} to the name that the certificate is made out to"
    else:
        way_out = (
            "if that authority is your own, or that of a proxy which looks into TLS, set SSL_CERT_FILE to a PEM"
            " file that holds its certificate; a machine without any authorities lacks the package ca-certificates"
        )
    return f"the certificate of {address.host} is not trusted ({reason}): {way_out}"


def _name_lookup_message(error: Exception, address: Address) -> str:
    cause = getattr(error, "os_error", None)
    reason = getattr(cause, "strerror", None) or str(cause or error)
    host = getattr(error, "host", None) or address.host
    if address.proxy and host != urlsplit(address.url).hostname:
        return f"the name of the proxy {host} cannot be resolved ({reason}): look at HTTPS_PROXY, and at DNS here"
    return (
        f"the name {host} cannot be resolved ({reason}): look at {address.setting} and at this machine's DNS;"
        " where names are resolved by a proxy, set HTTPS_PROXY"
    )


_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER|PACKET_LENGTH", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"EOF", re.IGNORECASE)


def _tls_failure(error: aiohttp.ClientConnectorSSLError, address: Address) -> Failure:
    cause = error.os_error
    reason = getattr(cause, "reason", None) or str(cause)
    if isinstance(cause, ssl.SSLEOFError) or _BROKEN_OFF.search(reason):
        return _server(f"no connection: {_error_text(error)}", UNREACHABLE)
    if _NO_TLS.search(reason):
        way_out = f"{address.setting} should begin with http://, or name another port"
        message = f"{address.host} does not speak TLS ({reason}): {way_out}"
    else:
        message = (
            f"no TLS with {address.host} ({reason}): look at {address.setting}; a proxy may be in between"
        )
    return _server(message, Trouble.TLS)


def _proxy_failure(status: int, reason: str, address: Address) -> Failure:
    """The word of a proxy instead of letting us through; 502 to 504 are the service's absence, seen from there."""
    way = (
        f"the proxy {address.proxy} answers HTTP {status} ({reason}) instead of connecting to {address.host}"
    )
    if status >= 500:
        return _server(way, UNREACHABLE)
    if status == 407:
        return _server(
            f"{way}: put user and password into HTTPS_PROXY (http://user:password@host)", Trouble.PROXY
        )
    return _server(f"{way}: it must allow that host, or NO_PROXY must name it", Trouble.PROXY)


def interception(reply: Reply, address: Address) -> Failure | None:
    """A reply that is not the service's own, as a failure: it sends elsewhere, or the proxy wants a password."""
    if reply.status == 407 and address.proxy:
        return _proxy_failure(reply.status, "Proxy Authentication Required", address)
    return redirect(reply, address)


# ----------------------------------------------------------------------------- the head of a reply

MAX_HEADER_BYTES = 65_536
"""Of one line of a reply's head; the client's own limit of 8 KB has been met by cookies and policies of proxies."""
MAX_HEADERS = 512
HEADER_TOO_LONG = "header_too_long"
"""Code of a reply whose head is longer than anything sensible: it says nothing about other replies."""

_TOO_LONG = re.compile(r"Got more than|Too many headers", re.IGNORECASE)
_NO_STATUS = re.compile(r"status line|Expected HTTP", re.IGNORECASE)


def _head_failure(error: aiohttp.ClientResponseError, address: Address) -> Failure:
    if _TOO_LONG.search(error.message):
        message = (
            f"a reply of {address.host} with a header over {MAX_HEADER_BYTES >> 10} KB, or over {MAX_HEADERS}"
            f" headers: it is not read ({error.message})"
        )
        return Failure(FailureKind.MALFORMED, one_line(message), code=HEADER_TOO_LONG)
    if _NO_STATUS.search(error.message):
        message = (
            f"{address.host} does not answer in HTTP: {address.setting} should begin with https://,"
            f" or name another port ({error.message})"
        )
        return _server(message, Trouble.NOT_HTTP)
    return _server(f"connection lost: {_error_text(error)}", "connection")


REPLY_TOO_LONG = "reply_too_long"
"""Code of a body without end: that clip's alone, too."""


def reply_too_long(address: Address, most_bytes: int) -> Failure:
    message = f"a reply of {address.host} of more than {most_bytes >> 20} MB: it is not read to its end"
    return Failure(FailureKind.MALFORMED, message, None, 200, REPLY_TOO_LONG)


def redirect(reply: Reply, address: Address) -> Failure | None:
    """A reply that sends elsewhere, as a failure; None for any other reply."""
    if not 300 <= reply.status < 400:
        return None
    message = (
        f"HTTP {reply.status}: {address.host} sends on to {_target(reply, address)}. Redirects are not followed,"
        f" for the key would travel along: set {address.setting} to the address where the service itself answers"
    )
    return Failure(FailureKind.SERVER, one_line(message), None, reply.status, Trouble.REDIRECT)


def _target(reply: Reply, address: Address) -> str:
    """The target of a redirect: what a query or a password could hold is left out."""
    try:
        to = urlsplit(urljoin(address.url, reply.location or ""))
    except ValueError:
        return "an address that cannot be read"
    if not reply.location or not to.netloc:
        return "an address that it does not name"
    return f"{to.scheme}://{to.netloc.rpartition('@')[2]}{to.path}"

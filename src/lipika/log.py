"""Structured logs on stderr: human lines on a terminal, JSON where a machine reads. Secrets are redacted."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

_SECRETS = re.compile(
    r"(?P<head>AIza|hf_|sk-or-(?:v1-)?|Bearer\s+|(?:key|token|password|secret)=)[A-Za-z0-9_\-]{6,}",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+]*://[^/\s:@]+:)[^@\s]+@")


_known: set[str] = set()
_SHORTEST = 6
"""Characters: a shorter secret would blot out ordinary words."""


def hide(*secrets: str) -> None:
    """From now on `redact` knows these secrets of this process by heart, whatever they look like."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def redact(text: str) -> str:
    """`text` without the secrets of this process, and without anything that looks like a key or a URL's password."""
    for secret in _known:
        text = text.replace(secret, "***")
    return _URL_PASSWORD.sub(r"\g<head>***@", _SECRETS.sub(r"\g<head>***", text))


def _redact_event(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
    return event


class _Stderr:
    """Whatever stderr is at the moment: a live panel puts itself in its place and keeps lines above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(*, json_logs: bool = False, level: str = "info") -> None:
    """Set structlog up for this process; call once, at the edge."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_logs
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
    )
    # The pool's own lines about each attempt to connect: the errors that reach us say it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json_logs else structlog.processors.StackInfoRenderer(),
            _redact_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose events carry the module's short name."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name.removeprefix("lipika."))
    return logger

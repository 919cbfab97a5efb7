"""Structured logs on stderr: human lines on a terminal, JSON where a machine reads. Secrets are redacted."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import structlog

from lipika.redaction import hide, redact

__all__ = ["configure", "get_logger", "hide", "redact"]


class _Stderr:
    """A stream to what stderr is at the moment: a live panel puts itself in its place and keeps lines above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _redacting(render: Callable[[Any, str, MutableMapping[str, Any]], str | bytes]) -> Any:
    """Redacts the finished line: whatever an event holds, a traceback or a nested value, goes through."""

    def line(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        text = render(logger, name, event)
        return redact(text if isinstance(text, str) else text.decode("utf-8", "replace"))

    return line


def configure(*, json_logs: bool = False, level: str = "info") -> None:
    """Set structlog up for this process; call once, at the edge."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_logs
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=28,
            # The default shows the local variables of every frame: requests, headers, keys.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    # The pool's own lines about each attempt to connect: the errors that reach us say it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json_logs else structlog.processors.StackInfoRenderer(),
            _redacting(renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose events carry the module's short name."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name.removeprefix("lipika."))
    return logger

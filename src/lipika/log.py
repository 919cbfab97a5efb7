"""Structured logs on stderr: human lines on a terminal, JSON where a machine reads. Secrets are redacted.

structlog is loaded with the first line: a command that says nothing does without it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

from lipika.redaction import hide, redact

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

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


_waiting: list[Callable[[], None]] = []
"""How structlog is to be set up once somebody loads it: none or one."""


def configure(*, json_logs: bool = False, level: str = "info") -> None:
    """Set structlog up for this process; call once, at the edge."""
    # The pool's own lines about each attempt to connect: the errors that reach us say it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    _waiting[:] = [partial(_configure, json_logs, level)]
    if "structlog" in sys.modules:
        _settle()


def _settle() -> None:
    while _waiting:
        _waiting.pop()()


def _configure(json_logs: bool, level: str) -> None:
    import structlog

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


class _Logger:
    """A logger of structlog that is made anew for each line."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, method: str) -> Any:
        import structlog

        _settle()
        return getattr(structlog.get_logger(module=self._module), method)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose events carry the module's short name."""
    return cast("FilteringBoundLogger", _Logger(name.removeprefix("lipika.")))

"""The course of every command: its coroutine on a loop, and its endings as a sentence and an exit code.

Nothing heavy is imported before it is used: `lipika --help` passes through here, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from lipika.errors import LipikaError, UsageError
from lipika.machine import exhausted_resource, refused_resource
from lipika.redaction import redact

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from lipika.db.connection import Database

T = TypeVar("T")


def run(
    job: Callable[[], Coroutine[Any, Any, T]], *, log_level: str = "warning", json_logs: bool = False
) -> T:
    """Run a command's coroutine on the fastest loop there is; our own errors become a sentence and a code."""
    import asyncio

    from lipika import log
    from lipika.cli.streams import log_as_json
    from lipika.network import spare_loopback

    log.configure(level=log_level, json_logs=json_logs)
    spare_loopback(os.environ)
    log_as_json(json_logs=json_logs)
    with ending_in_a_line(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(job())


async def on_database(data_dir: Path | None, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Do some work on the database that the settings name, or on the embedded one."""
    from lipika.config import load_settings
    from lipika.services import open_database

    async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
        return await work(database)


@contextmanager
def ending_in_a_line() -> Iterator[None]:
    """Turn what a person did wrong, or can mend, into a sentence and an exit code; a defect keeps its traceback."""
    try:
        yield
    except UsageError as error:
        _end_early(2, error)
    except LipikaError as error:
        _end_early(3, error)
    except KeyboardInterrupt:
        _end_early(130, "interrupted")
    except Exception as error:
        if told := exhausted_resource(error):
            _end_early(3, told)
        if told := refused_resource(error):
            _end_early(2, told)
        raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


def _end_early(code: int, reason: object) -> NoReturn:
    """The end of a command without its result; whoever asked for JSON gets some in every ending."""
    from lipika.cli.options import json_is_wanted, print_json

    if json_is_wanted():
        print_json({"error": redact(str(reason)), "exit_code": code})
    die(code, reason)


def die(code: int, reason: object) -> NoReturn:
    """The end of a command with a sentence on stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(
        f"lipika: {redact(str(reason))}", markup=False, soft_wrap=True
    )
    raise SystemExit(code)

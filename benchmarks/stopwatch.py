"""CPU time of this process by step."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """CPU seconds (user and system, all threads of this process) by the name of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.process_time() - started

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which from now on counts for a step whenever it is called."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.process_time() - started

        return wrapper

    @contextmanager
    def watching(self, owner: object, attribute: str, name: str) -> Iterator[None]:
        """Count a function that another module calls by this name: the step as it is in the real code."""
        original = getattr(owner, attribute)
        setattr(owner, attribute, self.timed(name, original))
        try:
            yield
        finally:
            setattr(owner, attribute, original)

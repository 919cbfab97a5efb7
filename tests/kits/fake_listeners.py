"""What a stage's process may run in a listener's place. Imports little: the process starts anew every time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from lipika.alignment.listener import ListenerOptions, Task
from lipika.alignment.stage import Opened
from lipika.models import Agreement, Alignment


def fake_open(_options: ListenerOptions) -> Opened:
    return Opened("cpu", "none", f"test+{os.getpid()}")


def fake_align(tasks: Sequence[Task]) -> list[Alignment]:
    return [agreed(f"nice {os.nice(0)}") for _task in tasks]


def slow_align(tasks: Sequence[Task]) -> list[Alignment]:
    time.sleep(1.5)
    return fake_align(tasks)


def dying_align(_tasks: Sequence[Task]) -> list[Alignment]:
    os._exit(9)


def failing_open(_options: ListenerOptions) -> Opened:
    raise OSError("no such driver")


def agreed(heard: str) -> Alignment:
    return Alignment(1.0, Agreement.AGREE, "", heard, "hi", "hi", "", "test")

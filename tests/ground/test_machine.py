"""What a process may take of its machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = "from lipika.machine import allow_open_files as f; import resource; print(f({}), resource.getrlimit(7)[0])"


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "told"),
    [(64, 300, 200, 200), (64, 300, 15_256, 300), (250, 300, 200, 250)],
    ids=["raised", "as far as it may be", "enough already"],
)
def test_the_limit_on_open_files_is_raised_as_far_as_the_system_lets_it(
    soft: int, hard: int, wanted: int, told: int
) -> None:
    """Containers begin with 1,024, of which a worker at Flex would run out at once."""
    limited = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {sys.executable} -c '{ASK.format(wanted)}'"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(told), str(told)]

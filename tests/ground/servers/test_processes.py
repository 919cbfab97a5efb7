"""A process that has settled in, seen from inside one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_CHILD = """
import gc, json, resource
import numpy as np
from lipika.processes import settle_in

settle_in()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def clip():
    for kilobytes in (120, 250, 1000, 2000):
        np.ones(kilobytes << 10, np.uint8)

clip()
before = faults()
for _ in range(50):
    clip()
print(json.dumps([gc.get_freeze_count(), gc.get_threshold()[0], (faults() - before) / 50]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_memory_is_kept_for_the_next_clip_and_start_up_is_not_looked_through_again() -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, check=True, text=True)
    frozen, threshold, faults_per_clip = json.loads(done.stdout)
    assert frozen > 1_000
    assert threshold == 10_000
    assert faults_per_clip < 5

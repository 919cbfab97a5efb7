"""The guard for CI: what the whole chain costs as a multiple of the floor of the same run.

    python -m benchmarks.guard

A ratio and not a time, since machines and their neighbours differ. Floor and chain take turns, and each counts at its
best of several rounds, since other load only ever adds. All work is done in one process, so that none is started.
"""

from __future__ import annotations

import asyncio

from benchmarks.steps import measure

LIMIT = 1.8
VIDEOS, ROUNDS = 4, 4  # 160 clips: about 10 seconds on two quiet cores


def cpu_ratio() -> float:
    """CPU of the chain per clip over that of the floor; for use outside a running event loop."""
    return asyncio.run(measure(videos=VIDEOS, rounds=ROUNDS, with_steps=False)).ratio


def main() -> None:
    print(f"{cpu_ratio():.2f}")


if __name__ == "__main__":
    main()

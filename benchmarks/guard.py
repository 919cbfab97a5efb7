"""The guard for CI: what the whole chain costs as a multiple of the floor of the same run.

A ratio and not a time, since machines and their neighbours differ. Each is taken at its best of several rounds.
"""

from __future__ import annotations

import asyncio

from benchmarks.steps import measure

VIDEOS, ROUNDS = 6, 4  # 240 clips: 10 to 15 seconds on two quiet cores


def cpu_ratio() -> float:
    """CPU of the chain per clip over that of the floor; for use outside a running event loop."""
    return asyncio.run(measure(videos=VIDEOS, rounds=ROUNDS, with_steps=False)).ratio


def main() -> None:
    print(f"{cpu_ratio():.2f}")


if __name__ == "__main__":
    main()

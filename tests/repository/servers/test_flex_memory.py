"""What a request that waits at Flex holds: connections over TLS, and nothing that grows with the clip."""

from __future__ import annotations

from benchmarks.flex_memory import measure

MOST_KB = 200
"""It is about 140, most of it TLS; with a body's buffer for each it was 285."""


async def test_a_request_that_waits_holds_little_of_the_memory() -> None:
    """A real worker, with clips of 8 s; long enough for what was freed to have been given back."""
    run = await measure(700, watch_s=12)
    assert run.in_flight == 700
    assert run.kb_per_request < MOST_KB, run

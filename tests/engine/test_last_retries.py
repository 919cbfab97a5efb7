"""Clips that are asked again when nothing else is left: none waits for a window that has nothing to account for."""

from __future__ import annotations

from lipika.engine.outcome import EngineOptions
from lipika.models import Failure
from scripted import Asked, Scripted, ask

CLIPS = 48  # at 960 a minute: three seconds of first attempts


def doubted(*clips: int) -> Scripted:
    def says(asked: Asked) -> Failure | str | None:
        return "{" if asked.clip in clips and asked.asks == 1 else None

    return Scripted(says)


def again_at(provider: Scripted) -> dict[int, float]:
    """When the second asking of each clip was, in seconds."""
    return {asked.clip: asked.now for asked in provider.asked if asked.asks == 2}


def test_a_retry_that_was_put_off_goes_as_soon_as_nothing_else_is_left() -> None:
    """It came due while first attempts waited, and they are gone long before the window ends."""
    provider = doubted(0, 7)
    told = ask(provider, range(CLIPS), options=EngineOptions(960), every_s=0.0)
    last_first = max(asked.now for asked in provider.asked if asked.asks == 1)
    assert again_at(provider).keys() == {0, 7}
    assert all(last_first <= when < last_first + 1.0 for when in again_at(provider).values())
    assert told.seconds < last_first + 2.0
    assert not told.failed()


def test_while_first_attempts_wait_a_retry_goes_to_a_later_window() -> None:
    """Two windows of ten clips each, and one that is half full."""
    provider = doubted(0)
    ask(provider, range(25), options=EngineOptions(10, interval_s=20.0, burst=True))
    assert 20.0 <= again_at(provider)[0] < 21.0


def test_a_retry_that_was_put_off_is_given_up_with_its_video() -> None:
    provider = doubted(0)
    told = ask(provider, range(CLIPS), options=EngineOptions(960), give_up_at_s=1.5, linger_s=70.0)
    assert again_at(provider) == {}
    assert told.seconds < 90.0

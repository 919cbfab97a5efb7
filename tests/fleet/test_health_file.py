"""The sign of life that health checks look at."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lipika.errors import SettingsError
from lipika.fleet.health_file import pulse


async def test_the_file_is_fresh_while_the_loop_turns_and_gone_after(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    async with pulse(file, every_s=0.01):
        assert file.exists()
        os.utime(file, (0, 0))
        async with asyncio.timeout(10):
            while file.stat().st_mtime < 1:
                await asyncio.sleep(0.01)
    assert not file.exists()


async def test_no_file_is_no_pulse() -> None:
    async with pulse(None):
        assert [task.get_name() for task in asyncio.all_tasks()].count("pulse") == 0


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"HEALTH_FILE: .*nowhere"):
        async with pulse(tmp_path / "nowhere" / "alive"):
            raise AssertionError("must not come so far")


async def test_a_folder_is_no_file_to_touch(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HEALTH_FILE"):
        async with pulse(tmp_path):
            pass

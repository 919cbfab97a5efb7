"""The demo: the main job on the sample archives, from a clean slate each time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from lipika.archive.sources import OUTPUT_SUFFIX, find_videos
from lipika.config import Settings, load_settings
from lipika.db.admin import another_database, fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.errors import UsageError
from lipika.jobs.transcribe import RunSummary, run_videos
from lipika.services import store_settings

_DATABASE = "lipika_demo"
_BATCH_SECONDS = 10.0
"""Shorter than the usual minute: the samples are few and the simulator has no quota."""


def sample_folder() -> Path:
    """The sample archives: in the wheel, else in the checkout that this file lies in."""
    packaged = Path(__file__).parents[1] / "samples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "samples" / "tars"
    if not any(folder.glob("*.tar")):
        raise UsageError(f"no sample archives in {folder}: install lipika from a wheel or a full checkout")
    return folder


async def run_demo(out: Path, data_dir: Path | None, console: Console) -> RunSummary:
    """Run the samples through the whole flow against the simulator. Earlier demo results in `out` are replaced."""
    settings = _settings(out, data_dir)
    await asyncio.to_thread(_empty, out)
    console.print(
        "lipika demo: sample speech in 12 languages, embedded Postgres, simulated model", style="bold"
    )
    videos = await find_videos([str(sample_folder())], str(out), store_settings(settings))
    async with EmbeddedPostgres(settings.lipika_data_dir) as server:
        await fresh_database(server.url, _DATABASE)
        async with Database(lambda: another_database(server.url, _DATABASE)) as database:
            await migrate(database)
            return await run_videos(settings, database, videos, console, title="lipika demo")


def _empty(out: Path) -> None:
    """Make the folder, without the results of earlier demos; whatever else is in it stays."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"*{OUTPUT_SUFFIX}"):
        old.unlink()


def _settings(out: Path, data_dir: Path | None) -> Settings:
    return load_settings(
        provider="simulator",
        lipika_data_dir=data_dir,
        output_url=str(out),
        batch_interval_seconds=_BATCH_SECONDS,
        live_seconds=1.0,
    )

"""The rate limits that a fleet judges by, as people and machines read them; behind `lipika calibrate --show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lipika.config import load_settings
from lipika.db.calibrations import REGISTRY, calibration_line
from lipika.rework.limits import InForce, read_for_people
from lipika.services import open_database
from lipika.validation.bands import RateBand

LIMITS = ("low fail", "low warn", "stopped", "high warn", "high fail", "chars warn", "chars fail")


def figures(band: RateBand) -> tuple[float, ...]:
    """The limits in the order of LIMITS."""
    return (
        band.syllables_low_fail,
        band.syllables_low_warn,
        band.syllables_stopped,
        band.syllables_high_warn,
        band.syllables_high_fail,
        band.chars_high_warn,
        band.chars_high_fail,
    )


async def show_in_force(data_dir: Path | None) -> InForce:
    """The calibration that the fleet judges by."""
    async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
        return await read_for_people(database)


def make_document(found: InForce) -> dict[str, object]:
    """For `--json`."""
    return {
        "version": found.bands.version or REGISTRY,
        "row": found.row and found.row.document(),
        "limits": {code: asdict(band) for code, band in found.calibration.bands.items()},
        "unreadable": found.unreadable,
    }


def print_in_force(found: InForce, out: Console) -> None:
    """A line on their origin, and a table of those that were learned."""
    out.print(calibration_line(found.row), soft_wrap=True, markup=False)
    for number, reason in found.unreadable:
        out.print(f"Passed over: calibration {number}: {reason}", soft_wrap=True, markup=False)
    if found.calibration.bands:
        table = Table("language", *LIMITS, "sound clips", box=None)
        for code, band in found.calibration.bands.items():
            clips = found.calibration.clips.get(code, 0)
            table.add_row(code, *(f"{limit:g}" for limit in figures(band)), f"{clips:,}")
        out.print(table)

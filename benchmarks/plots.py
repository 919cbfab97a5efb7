"""The plots of `docs/performance.md`, as SVG that is the same for the same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import scaling, soak, steps
from benchmarks.peers import __main__ as peers
from benchmarks.setting import read

_BLUE, _GREY, _ORANGE = "#2563a8", "#9aa5b1", "#c2571a"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lipika",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_all(folder: Path) -> None:
    """Draw what there are results for."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        _steps(folder)
        _peers(folder)
        _fleets(folder)
        _soak(folder)


def _steps(folder: Path) -> None:
    result = read("steps", steps.StepsResult)
    if result is None:
        return
    best = result.best
    bars = {
        **{steps.STEPS[name]: value for name, value in best.steps.items()},
        "the difference": best.chain - sum(best.steps.values()),
        "the whole chain": best.chain,
        "the floor": best.floor,
    }
    colours = [_BLUE] * (len(bars) - 2) + [_ORANGE, _GREY]
    _bars(folder / "performance-steps.svg", bars, colours, "CPU ms per clip of 8 s")


def _peers(folder: Path) -> None:
    result = read("peers", peers.PeersResult)
    if result is None:
        return
    bars = {peers.CLIENTS[peer.client]: peer.cpu_ms for peer in result.peers if peer.cpu_ms is not None}
    colours = [_ORANGE] + [_BLUE] * (len(bars) - 1)
    _bars(folder / "performance-peers.svg", bars, colours, "client CPU ms per request")


def _bars(path: Path, bars: dict[str, float], colours: list[str], label: str) -> None:
    figure, axes = _figure(0.8 + 0.3 * len(bars))
    drawn = axes.barh(list(bars), list(bars.values()), color=colours)
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    _save(figure, path)


def _fleets(folder: Path) -> None:
    result = read("scaling", scaling.ScalingResult)
    if result is None or not result.fleets:
        return
    figure, axes = _figure(3.2)
    paced = [each for each in result.fleets if each.paced]
    for name, colour in (("claim", _BLUE), ("live", _GREY), ("results", _ORANGE)):
        points = [(each.workers, each.p99_ms[name]) for each in paced if name in each.p99_ms]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name)
    axes.set_xlabel(f"workers that share {scaling.CLIPS_A_MINUTE:,} clips a minute")
    axes.set_ylabel("p99 of a call, ms")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _save(figure, folder / "performance-fleets.svg")


def _soak(folder: Path) -> None:
    result = read("soak", soak.SoakResult)
    if result is None:
        return
    figure, axes = _figure(3.2)
    minutes = [look.at_s / 60 for look in result.looks]
    axes.plot(minutes, [look.rss_mb for look in result.looks], color=_ORANGE, label="memory, MB")
    axes.plot(minutes, [look.open_files for look in result.looks], color=_BLUE, label="file descriptors")
    axes.plot(minutes, [look.tasks for look in result.looks], color=_GREY, label="asyncio tasks")
    axes.set_xlabel("minutes")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _save(figure, folder / "performance-soak.svg")


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, path: Path) -> None:
    figure.patch.set_facecolor("white")  # readable on a dark page too
    figure.savefig(path, metadata={"Date": None})
    # Its lines end in blanks, which tools that look after white space would keep changing.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text("utf-8").splitlines()), "utf-8")

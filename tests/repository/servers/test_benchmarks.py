"""The benchmarks in their smallest form: that they measure what they say, not how fast anything is."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmarks import polish, simulated_fleet, soak
from benchmarks.memory import segments
from benchmarks.peers import environments
from benchmarks.peers.__main__ import CLIENTS
from benchmarks.peers.clients import google_genai, lipika_engine
from benchmarks.peers.drive import Client, OneByOne, Task, measure
from benchmarks.setting import Machine
from lipika.simulator import SimulatorConfig
from lipika.simulator.server import running
from simulator_kit import INSTANT, flac


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    polish.write(folder, [flac(2.0, seed=seed) for seed in range(3)])
    return folder


@pytest.mark.parametrize("make", [google_genai.client, lipika_engine.client])
async def test_clients_ask_for_every_clip(clips: Path, database_url: str, make: type[Client]) -> None:
    async with running(SimulatorConfig(light=True, latency=INSTANT)) as server:
        told = await measure(make(Task(server.url, str(clips), 2, 7, 3, database_url=database_url)))
        stats = server.simulation.ledger
    assert (told.requests, told.gave_up) == (7, 0), told.last_error
    assert stats.accepted == 9, "with those that warm up"
    assert told.cpu_s > 0
    assert told.rss_mb >= told.rss_mb_before > 10


async def test_what_a_client_gives_up_is_counted_and_asked_again(clips: Path) -> None:
    class Clumsy(OneByOne):
        asked = 0

        async def open(self) -> None:
            self.asked = 0

        async def ask(self, flac: bytes) -> str:
            self.asked += 1
            if self.asked == 2:
                raise TimeoutError("too slow")
            return f"{len(flac)}"

    clumsy = Clumsy(Task("", str(clips), 0, 3, 1))
    told = await measure(clumsy)
    assert (told.gave_up, clumsy.asked) == (1, 4)
    assert told.last_error == "TimeoutError: too slow"


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_has_a_version_and_pins_all_it_needs(client: str) -> None:
    assert environments.version(client)
    requirements = environments.HERE / f"requirements-{client}.txt"
    if client == "lipika_engine":
        assert not requirements.exists()
        return
    assert all("==" in line for line in requirements.read_text().splitlines())


async def test_simulated_workers_do_the_rounds_of_real_ones(database_url: str) -> None:
    from lipika.db.connection import Database
    from lipika.db.queue import Queue
    from lipika.models import NewVideo, VideoStatus

    async with Database(database_url) as database:
        await Queue(database).add(
            NewVideo(f"v{number}", "in.tar", f"out{number}.tar") for number in range(500)
        )
        told = await simulated_fleet.simulate(database_url, psutil.Process(), 2, 1.5, 0, warm_up_s=0)
        done = await Queue(database).list_videos(VideoStatus.DONE)
    rows, times = told["rows"], told["times"]
    assert isinstance(rows, int)
    assert isinstance(times, dict)
    assert rows >= len(done) * simulated_fleet.CLIPS_A_VIDEO > 0
    assert {"claim", "start", "results", "finish", "slots"} <= set(times)


def test_polishing_counts_audio_and_cpu(tmp_path: Path) -> None:
    polish.write(tmp_path / "audio", segments(2, 3.0))
    told = polish.polish_folder(tmp_path / "audio")
    assert told["audio_s"] == pytest.approx(6.0)
    assert 0 < told["cpu_s"] < 6


def test_a_slope_is_told_from_noise() -> None:
    def look(second: int) -> soak.Look:
        return soak.Look(second, 100 + second / 36, 50, 20 + min(second, 1200), 10, 80 * second, 5)

    result = soak.result_of([look(second) for second in range(0, 1800, 2)], 600.0, 30, _MACHINE)
    assert result.rss_mb.per_hour == pytest.approx(100, abs=0.1)
    assert result.rss_mb.last_per_hour == pytest.approx(100, abs=0.1)
    assert result.open_files.per_hour == 0
    assert result.tasks.per_hour > 2000
    assert result.tasks.last_per_hour == 0
    assert result.clips_per_minute == 4800
    assert "+100.0" in soak.table(result)


_MACHINE = Machine("now", "a processor", 2, "Linux", "3.11", (0.0, 0.0))

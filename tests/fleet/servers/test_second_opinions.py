"""Second opinions beside the work of a worker: asked, stored, metered, and no harm to it whatever becomes of them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
from rich.console import Console

from benchmarks import standin
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from board_kit import a_visitor
from command_kit import lipika
from fleet_kit import Stage, a_stage, change, results_of, rows, until
from lipika.canary.opinions import open_opinions
from lipika.db import Database
from lipika.db.stats import Stats
from lipika.fleet.status import read_status, render_status
from lipika.jobs.demo import sample_folder
from lipika.jobs.vote import OpinionCounts, VoteOrder, vote_on_stored
from lipika.jobs.wiring import Running
from lipika.models import ClipResult, Tier, VoterKind
from lipika.pipeline.opinion_desk import OpinionTally
from lipika.pipeline.opinions import OpinionPlan, wants_opinion
from lipika.simulator import Latency, SimulatorConfig, running
from lipika.simulator.config import write_json

OTHER = "google/gemini-3.6-flash"


@dataclass(slots=True)
class Two:
    """The stage of the work, and a simulator of its own for the second model."""

    work: Stage
    url: str

    async def asked(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/stats") as reply:
            found: dict[str, Any] = orjson.loads(await reply.read())
            return found

    async def control(self, what: str, body: object) -> None:
        url = f"{self.url}/control/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, data=orjson.dumps(body)) as reply:
            reply.raise_for_status()

    async def slow_down(self, median_s: float) -> None:
        await self.control("latency", orjson.loads(write_json(Latency(median_s, 0.0))))

    def results(self) -> list[ClipResult]:
        return [result for tar in sorted(self.work.out.rglob("*.tar")) for result in results_of(tar)]

    def statuses(self) -> set[str]:
        return {row.status for row in rows(self.work.database_url, "select status from video_queue")}

    def stored(self) -> int:
        return len(rows(self.work.database_url, "select from transcription_answers"))

    async def vote(self) -> OpinionCounts:
        """What a later `lipika vote --ask` finds and asks."""
        settings = self.work.settings()
        async with (
            Database(self.work.database_url) as database,
            open_opinions(settings, database, None) as opinions,
        ):
            await vote_on_stored(VoteOrder([str(self.work.out)], (), rows=False, data_dir=None), opinions.ask)
        return opinions.counts


@pytest.fixture
async def two(tmp_path: Path, database_url: str) -> AsyncIterator[Two]:
    async with two_stages(tmp_path, database_url) as found:
        yield found


@asynccontextmanager
async def two_stages(folder: Path, database_url: str) -> AsyncIterator[Two]:
    async with (
        a_stage(folder, database_url) as stage,
        running(SimulatorConfig(latency=Latency(0.02, 0.1))) as other,
    ):
        stage.defaults = {
            "openrouter_api_key": "another-key",
            "openrouter_base_url": other.openrouter_url,
            "second_opinion_model": OTHER,
            "second_opinion_provider": "openrouter",
            "second_opinion": 1.0,
            "align_romaniser": "builtin",
            "retry_seconds": 0.05,
            "probe_seconds": 0.1,
            "least_wait_seconds": 0.05,
        }
        yield Two(stage, other.url)


def counts_of(worker: Running) -> OpinionTally:
    assert worker.tools.opinions is not None
    counts = worker.tools.opinions.counts
    assert counts.wanted == counts.stored_before + counts.answered + counts.failed + counts.left
    assert counts.late <= counts.left
    return counts


def a_plan(share: float) -> OpinionPlan:
    return OpinionPlan(OTHER, 0.0, "low", share)


# ----------------------------------------------------------------------------- as it should be


async def test_another_model_is_asked_beside_the_work_and_paid_once(two: Two) -> None:
    """Documents, rows and metering of a run; done again, and in a vote afterwards, nothing is asked any more."""
    await two.work.queue(2, 8)
    worker = await two.work.work()
    counts = counts_of(worker)
    answered = [result for result in two.results() if result.answer is not None]
    with_voters = [result for result in answered if result.voters]
    assert counts.answered == len(with_voters) > 0
    assert (counts.failed, counts.left, counts.stored_before) == (0, 0, 0)
    for result in with_voters:
        (voter,) = result.voters
        assert (voter.name, voter.kind) == (OTHER, VoterKind.MODEL)
        assert result.consensus is not None
        assert result.consensus.voters == 2
    url = two.work.database_url
    aside = rows(url, "select video_id, segment_file, voters, tier from transcription_voters")
    assert {(row.video_id, row.segment_file): (row.voters[0]["text"], row.tier) for row in aside} == {
        (one.video_id, one.segment_file): (one.voters[0].text, one.consensus.tier if one.consensus else None)
        for one in with_voters
    }
    await tiers_are_shown(url, with_voters[0])
    told = await two.asked()
    assert told["digests"]["answered"] == two.stored() == counts.answered
    assert worker.tools.opinions is not None
    retries = worker.tools.opinions.engine.totals.retries  # of answers that are doubted, in other words
    assert told["digests"]["repaid"] == retries
    assert worker.tools.opinions.usd == pytest.approx(told["cost_usd"], rel=0.05)
    (spent,) = rows(url, "select sum(usd) as usd from provider_spend where provider = 'openrouter'")
    (window,) = rows(
        url, "select sum(cost_usd) as usd from transcription_batches where provider_used = 'openrouter'"
    )
    (life,) = rows(url, "select spend_usd from workers")
    assert spent.usd == pytest.approx(worker.tools.opinions.usd)
    assert window.usd == pytest.approx(worker.tools.opinions.usd)
    async with Database(url) as database:
        summary = await Stats(database).spend.summary()
    assert summary.usd_opinions == pytest.approx(worker.tools.opinions.usd)
    assert summary.usd_simulated == pytest.approx(
        summary.usd_total
    )  # its model says that it makes answers up
    assert life.spend_usd == pytest.approx(worker.engine.totals.cost_usd + spent.usd)

    before = (await two.asked())["requests"]
    change(url, "update video_queue set status = 'pending', claim_token = null, attempts = 0")
    again = counts_of(await two.work.work())
    assert (again.stored_before, again.answered) == (counts.answered, 0)
    assert [one.consensus for one in two.results()] == [one.consensus for one in two.results()]
    assert sum(bool(one.voters) for one in two.results()) == counts.answered
    voted = await two.vote()
    assert (voted.asked, voted.stored_before) == (0, 0)  # they are voters already
    assert (await two.asked())["requests"] == before


async def tiers_are_shown(url: str, clip: ClipResult) -> None:
    """In `lipika status`, on the board's Quality page, and on the page of a clip with what others say."""
    async with Database(url) as database:
        report = await read_status(database)
    counted = rows(url, "select tier, count(*) as clips from transcription_voters group by 1")
    found = {row.tier: row.clips for row in counted}
    told = Console(width=200)
    with told.capture() as shown:
        told.print(render_status(report))
    whole = ", ".join(f"{found.get(tier, 0)} {tier}" for tier in Tier)
    assert f"Tiers: {whole} (" in shown.get()
    async with a_visitor(url) as visitor:
        page = await visitor.get("/quality")
        one = await visitor.get(
            f"/review/clip?{urlencode({'video': clip.video_id, 'clip': clip.segment_file})}"
        )
    assert "How far others agree" in page.plain
    assert re.findall(
        r'<tr data-language="(\w+)"', page.text.partition('id="tiers"')[2].partition("</table>")[0]
    )
    assert clip.consensus is not None
    assert f"{clip.consensus.tier}: {' and '.join(clip.consensus.between)} disagree most" in one.plain
    assert clip.voters[0].text in one.plain


async def test_without_a_second_model_nothing_changes(two: Two) -> None:
    await two.work.queue(1, 4)
    worker = await two.work.work(second_opinion_model="")
    assert worker.tools.opinions is None
    assert (await two.asked())["requests"] == 0
    assert not any(one.voters or one.consensus for one in two.results())
    names = rows(two.work.database_url, "select distinct worker_id from provider_spend")
    assert [row.worker_id for row in names] == [worker.worker_id]


async def test_the_sample_is_that_of_a_later_vote(two: Two) -> None:
    await two.work.queue(2, 12)
    counts = counts_of(await two.work.work(second_opinion=0.4))
    plan = a_plan(0.4)
    asked = {one.clip.audio_digest for one in two.results() if one.voters}
    from_scratch = [one for one in two.results() if wants_opinion(_without_voters(one), plan)]
    assert {one.clip.audio_digest for one in from_scratch} == asked
    assert 0 < counts.answered < sum(one.answer is not None for one in two.results())


def _without_voters(result: ClipResult) -> ClipResult:
    return replace(result, voters=(), consensus=None)


async def test_what_the_recogniser_doubts_is_asked_for_and_weighed_with_its_words(
    two: Two, tmp_path: Path
) -> None:
    """No sample at all: only clips with a finding of the recogniser, or bronze by its words, want an opinion."""
    bundle = standin.write_whistle_bundle(tmp_path / "bundle")
    await two.work.queue(1, 10)
    listening: dict[str, Any] = {
        "enable_gpu_validation": True,
        "indicconformer_path": bundle,
        "align_device": "cpu",
    }
    async with two.work.worker(second_opinion=0.0, align_seconds=60.0, **listening) as worker:
        aligner = worker.worker.aligner
        assert aligner is not None
        await until(lambda: aligner.opened is not None, 60)
        await worker.worker.run(until_empty=True)
    counts = counts_of(worker)
    plan = a_plan(0.0)
    heard = [one for one in two.results() if one.alignment is not None and one.alignment.score is not None]
    doubted = [one for one in heard if wants_opinion(_without_voters(one), plan) or one.voters]
    assert counts.wanted == len(doubted) > 0
    assert {one.segment_file for one in two.results() if one.voters} == {one.segment_file for one in doubted}
    for one in doubted:
        assert one.consensus is not None
        assert one.consensus.voters == 3
    (block,) = [
        orjson.loads(metadata)["transcription"]
        for metadata in await asyncio.to_thread(_metadata, two.work.out)
    ]
    tiers = [one.consensus.tier.value for one in two.results() if one.consensus is not None]
    assert block["tiers"] == {tier: tiers.count(tier) for tier in set(tiers)}


def _metadata(folder: Path) -> list[bytes]:
    found = []
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as tar:
            member = tar.extractfile("metadata.json")
            assert member is not None
            found.append(member.read())
    return found


def test_a_run_says_what_second_opinions_came_to(tmp_path: Path, database_url: str) -> None:
    """On a line of their own, as text and JSON; beside a simulator one is asked, too, and no provider for money."""
    (archive,) = make_corpus(tmp_path / "in", CorpusPlan(1, 6, (2.2, 2.8)), sample_folder())
    env = {
        "DATABASE_URL": database_url,
        "SECOND_OPINION_MODEL": OTHER,
        "SECOND_OPINION": "1",
        "SECOND_OPINION_PROVIDER": "openrouter",
        "ALIGN_ROMANISER": "builtin",
        "BATCH_INTERVAL_SECONDS": "1",
        "WORKER_PROCESSES": "0",
        **{key: value for key, value in os.environ.items() if key == "PYTHONPATH"},
    }
    command = ("run", str(archive), "--out", str(tmp_path / "out"), "--provider", "simulator")
    told = orjson.loads(lipika(*command, "--json", env=env).stdout)
    opinions = told["second_opinions"]
    assert (opinions["model_id"], opinions["provider"]) == (OTHER, "simulator")
    assert opinions["wanted"] == opinions["answered"] > 0
    assert opinions["cost_usd"] > 0
    (spent,) = rows(database_url, "select sum(usd) as usd from provider_spend")
    assert spent.usd == pytest.approx(told["cost_usd"] + opinions["cost_usd"])
    (archive,) = make_corpus(tmp_path / "more", CorpusPlan(1, 6, (2.2, 2.8), first=1), sample_folder())
    text = lipika(*command[:1], str(archive), *command[2:], "--again", env=env).stdout
    assert "second opinions" in text
    same = lipika(*command, "--json", env=env | {"SECOND_OPINION_MODEL": "gemini-3-flash-preview"})
    assert same.returncode == 2
    assert "SECOND_OPINION_MODEL: name another model" in orjson.loads(same.stdout)["error"]


# ----------------------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize(
    "kind", ["key_invalid", "payment", "rate_day", "bad_request", "malformed", "hang", "html"]
)
async def test_a_second_provider_in_trouble_leaves_the_work_unharmed(two: Two, kind: str) -> None:
    await two.control("faults", {"faults": [{"kind": kind}]})
    await two.work.queue(2, 12)
    wait_s = 10.0 if kind in ("key_invalid", "payment") else 0.3  # these are told at once, and believed
    worker = await two.work.work(second_opinion_seconds=wait_s, max_retries=1)
    assert two.statuses() == {"done"}
    assert not worker.worker.tally.errors
    counts = counts_of(worker)
    assert (counts.answered, two.stored()) == (0, 0)
    assert counts.wanted == counts.failed + counts.left > 0
    assert all(one.answer is not None for one in two.results())
    assert worker.engine.totals.providers.keys() == {"aistudio"}
    desk = worker.tools.opinions
    assert desk is not None
    alerts = rows(
        two.work.database_url,
        "select message from worker_errors where exception_type = 'Alert:second_opinions_off'",
    )
    assert [row.message.startswith(desk.off_because) for row in alerts] == [True] * bool(desk.off_because)
    if kind in ("key_invalid", "payment"):
        assert desk.off_because
        assert (await two.asked())["requests"] < counts.wanted


async def test_a_database_that_takes_no_opinions_leaves_the_work_unharmed(two: Two) -> None:
    """Such as one that another release has migrated: it is said once, and nothing more is bought."""
    change(two.work.database_url, "drop function lipika_keep_opinions(text, text, jsonb)")
    await two.work.queue(2, 12)
    worker = await two.work.work(second_opinion_seconds=3.0)
    assert two.statuses() == {"done"}
    desk = worker.tools.opinions
    assert desk is not None
    assert "lipika db migrate" in desk.off_because
    alerts = rows(
        two.work.database_url, "select from worker_errors where exception_type = 'Alert:second_opinions_off'"
    )
    assert len(alerts) == 1
    assert two.stored() == 0


async def test_late_ones_wait_for_the_vote_afterwards(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk outlives its videos: what is under way when they go on comes yet, and a vote finds it."""
    await two.slow_down(1.5)
    await two.work.queue(1, 6)
    async with two.work.worker(second_opinion_seconds=0.7) as worker:
        desk = worker.tools.opinions
        assert desk is not None
        await worker.worker.run(until_empty=True)
        await until(lambda: not desk.engine.in_flight)
        await until(lambda: not desk.unstored)
    counts = counts_of(worker)
    assert counts.late == two.stored() > 0
    assert not any(one.voters for one in two.results())
    before = (await two.asked())["requests"]
    for name, value in two.work.defaults.items():
        monkeypatch.setenv(name.upper(), str(value))
    voted = await two.vote()
    assert voted.stored_before == counts.late
    assert (await two.asked())["requests"] == before + voted.asked


async def test_the_cap_holds_for_all_workers_together(two: Two) -> None:
    """Two workers at once; what is under way is reserved at the most that it may cost, and so counted."""
    await two.work.queue(4, 12)
    await two.work.work(second_opinion_model="")
    (dear,) = rows(two.work.database_url, "select count(*) as clips from transcription_results")
    change(
        two.work.database_url, "update video_queue set status = 'pending', claim_token = null, attempts = 0"
    )
    cap = 0.05
    changes: dict[str, Any] = {"second_opinion_usd": cap, "second_opinion_seconds": 2.0, "max_videos": 2}
    async with two.work.worker(**changes) as first, two.work.worker(**changes) as second:
        await asyncio.gather(first.worker.run(until_empty=True), second.worker.run(until_empty=True))
    assert two.statuses() == {"done"}
    told = await two.asked()
    both = [counts_of(first), counts_of(second)]
    assert sum(one.answered for one in both) < dear.clips
    assert sum(one.left for one in both) > 0
    assert 0 < told["cost_usd"] <= 1.1 * cap
    (spent,) = rows(
        two.work.database_url,
        "select sum(usd) as usd from provider_spend where worker_id like '%%/second-opinions'",
    )
    assert spent.usd == pytest.approx(told["cost_usd"], rel=0.05)


# ----------------------------------------------------------------------------- stopping


async def test_a_drain_awaits_opinions_under_way(two: Two) -> None:
    """They are in the rows when the videos go back; whoever takes these finds them, and none is bought twice."""
    await two.slow_down(0.5)
    await two.work.queue(2, 20)
    async with two.work.worker(worker_batch_size=6) as worker:  # a window: of a second
        task = asyncio.create_task(worker.worker.run())
        desk = worker.tools.opinions
        assert desk is not None
        await until(lambda: desk.engine.in_flight >= 2)
        worker.worker.drain()
        await task
        assert desk.engine.in_flight == 0
    assert two.stored() == (await two.asked())["digests"]["answered"] > 0
    await two.slow_down(0.0)
    rest = await two.work.work()
    assert two.statuses() == {"done"}
    counts = counts_of(rest)
    assert counts.stored_before > 0
    assert (await two.asked())["digests"]["answered"] == two.stored()
    assert sum(bool(one.voters) for one in two.results()) == two.stored()


async def test_a_video_lost_to_another_worker_takes_its_opinions_along_once_they_come(two: Two) -> None:
    await two.slow_down(0.5)
    await two.work.queue(1, 8)
    url = two.work.database_url
    async with two.work.worker() as worker:
        task = asyncio.create_task(worker.worker.run(until_empty=True))
        desk = worker.tools.opinions
        assert desk is not None
        await until(lambda: desk.engine.in_flight >= 3)
        change(url, "update video_queue set claim_token = gen_random_uuid(), claimed_by = 'another'")
        await until(lambda: worker.worker.tally.lost == 1)
        await until(lambda: not desk.engine.in_flight)
        await until(lambda: two.stored() > 0 and not desk.unstored)
        assert two.stored() == (await two.asked())["digests"]["answered"]
        assert not rows(
            url, "select from transcription_voters"
        )  # without the claim nothing is written for the video
        worker.worker.drain()
        await task
    assert two.stored() > 0
    assert not list(two.work.out.glob("*.tar"))


async def test_a_killed_worker_has_what_was_stored_and_buys_no_more_than_was_under_way(
    two: Two, tmp_path: Path
) -> None:
    """`lipika worker`, as a process, and kill -9 with opinions under way."""
    await two.slow_down(0.3)
    await two.work.queue(3, 20)
    own = {
        key: value
        for key, value in os.environ.items()
        if key in {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH"}
    }
    settings = {
        "DATABASE_URL": two.work.database_url,
        "GEMINI_API_KEY": "a-key",
        "GEMINI_BASE_URL": two.work.url,
        "OUTPUT_URL": str(two.work.out),
        "BATCH_INTERVAL_SECONDS": "1",
        "HEARTBEAT_SECONDS": "0.3",
        "LEASE_SECONDS": "3",
        "LIVE_SECONDS": "0.2",
        "WORKER_PROCESSES": "0",
        **{name.upper(): str(value) for name, value in two.work.defaults.items()},
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lipika", "worker", "--until-empty"),
        env=own | settings,
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: two.stored() >= 3, 60)
        process.send_signal(signal.SIGKILL)
    finally:
        await process.wait()
    stored = two.stored()
    at_the_end = await two.asked()
    await two.slow_down(0.0)
    rest = await two.work.work(worker_processes=0)
    assert two.statuses() == {"done"}
    counts = counts_of(rest)
    now = await two.asked()
    under_way = at_the_end["digests"]["distinct"] - stored
    assert rest.tools.opinions is not None
    retries = rest.tools.opinions.engine.totals.retries  # of answers that are doubted, in other words
    assert now["digests"]["repaid"] - at_the_end["digests"]["repaid"] <= under_way + retries
    assert counts.stored_before > 0
    assert sum(bool(one.voters) for one in two.results()) == two.stored() >= stored

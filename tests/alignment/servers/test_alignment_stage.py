"""Listening beside the batch cycle: sampling, deadlines, switching off, and what ends up in rows and archives."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from alignment_kit import CLIP, HINDI, answer, opened
from benchmarks import standin
from fake_listeners import agreed, dying_align, failing_open, fake_align, fake_open, slow_align
from fleet_kit import a_stage, results_of, rows
from lipika.alignment.listener import ListenerOptions, Task
from lipika.alignment.sampling import BAD_WINDOWS, FIRST_BATCH, MOST_EVERY, Sampler
from lipika.alignment.stage import AlignmentStage
from lipika.archive.documents import clip_result_from_json, clip_result_to_json
from lipika.audio.codec import Audio, encode_flac
from lipika.dashboard.metrics import fleet_exposition
from lipika.db import Database, Stats
from lipika.fleet.exposition import exposition
from lipika.fleet.metrics import WorkerView, worker_metrics
from lipika.models import Agreement
from stored_kit import made

DEADLINE_S = 15.0


# ----------------------------------------------------------------------------- sampling, an hour in a moment


@dataclass(slots=True)
class Listening:
    """A listener that takes `each_s` for a clip, and a sampler that learns it; `now` goes on from call to call."""

    sampler: Sampler
    now: float = 0.0
    busy_until: float = 0.0
    waiting: int = 0

    def hear(self, seconds: float, per_second: float, each_s: float) -> int:
        """Offer clips at a rate; returns how many were taken."""
        taken, until = 0, self.now + seconds
        while self.now < until:
            self.now += 1 / per_second
            while self.waiting and self.busy_until <= self.now:
                self.waiting -= 1
                self.sampler.note_batch(1, each_s, self.busy_until)
                self.busy_until += each_s
            if self.sampler.wants(self.now):
                taken, self.waiting = taken + 1, self.waiting + 1
                if self.waiting == 1:
                    self.busy_until = self.now + each_s
        return taken


def test_a_fast_listener_hears_every_clip() -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    assert Listening(sampler).hear(300, 1000 / 60, 0.015) == pytest.approx(5000, abs=1)
    assert sampler.every == 1


@pytest.mark.parametrize(("each_s", "every"), [(0.1, 3), (0.5, 11), (1.0, 21)])
def test_sampling_settles_where_the_listener_keeps_up(each_s: float, every: int) -> None:
    """1000 clips a minute; 80 % of the listener's time is planned for."""
    sampler = Sampler(DEADLINE_S, 0.0)
    listening = Listening(sampler)
    listening.hear(300, 1000 / 60, each_s)
    assert sampler.every == pytest.approx(every, abs=1)
    taken = listening.hear(600, 1000 / 60, each_s)
    assert 0.5 < taken * each_s / 600 <= 1.0
    assert not sampler.off_because


def test_sampling_comes_back_when_the_listener_gets_faster() -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    listening = Listening(sampler)
    listening.hear(300, 1000 / 60, 1.0)
    slow = sampler.every
    listening.hear(600, 1000 / 60, 0.01)
    assert (slow, sampler.every) == (21, 1)


def test_little_is_taken_before_the_speed_is_known() -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    assert sum(sampler.wants(0.01 * number) for number in range(100)) == FIRST_BATCH


def test_a_listener_that_needs_the_whole_deadline_for_one_clip_is_switched_off() -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    sampler.wants(0.0)
    sampler.note_batch(1, 14.0, 14.0)
    assert not sampler.wants(16.0)
    assert "14.0 s" in sampler.off_because


@pytest.mark.parametrize("why", ["late", "slipped"])
def test_when_even_a_thin_sample_is_too_much_it_is_switched_off(why: str) -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    now, seen = 0.0, []
    while not sampler.off_because and now < 1000:
        sampler.wants(now)
        if why == "late":
            sampler.late(now)
        else:
            sampler.note_slip(now)
        now += DEADLINE_S
        sampler.wants(now)
        seen.append(sampler.every)
    assert seen[:4] == [2, 4, 8, 16]
    assert max(seen) == MOST_EVERY
    assert len(seen) > BAD_WINDOWS
    assert f"1 clip in {MOST_EVERY}".removeprefix("1 clip in ") in sampler.off_because
    assert ("held up" if why == "slipped" else "not heard in time") in sampler.off_because
    assert not sampler.wants(now)


def test_one_bad_window_is_forgiven() -> None:
    sampler = Sampler(DEADLINE_S, 0.0)
    sampler.note_slip(1.0)
    Listening(sampler, now=2.0).hear(100, 10, 0.01)
    assert sampler.every == 1
    assert not sampler.off_because


# ----------------------------------------------------------------------------- the stage, in its process


TASK = Task(b"", answer(HINDI), CLIP, "hi")
NOTHING = ListenerOptions()


async def test_clips_are_heard_in_another_process_that_gives_way() -> None:
    async with AlignmentStage(NOTHING, open_=fake_open, align=fake_align) as stage:
        assert stage.words() == "alignment: the model is being loaded"
        assert stage.offer(TASK) is None
        await opened(stage)
        first = stage.offer(TASK)
        assert first is not None
        alignment = await first
        assert alignment is not None
        assert alignment.heard == f"nice {min(os.nice(0) + 10, 19)}"
        assert stage.opened is not None
        assert stage.opened.version != f"test+{os.getpid()}"
        silent = stage.offer(replace(TASK, answer=answer("NO_SPEECH", "none")))
        assert silent is not None
        aside = await silent
        assert aside is not None
        assert (aside.excluded, aside.version) == ("no_speech", stage.opened.version)
        figures = stage.figures()
        assert (figures["offered"], figures["compared"], figures["agree"], figures["off_because"]) == (
            2,
            1,
            1,
            None,
        )
        assert stage.words() == "alignment: every clip, 1 compared, 0 in doubt, 0 too late"


async def test_what_takes_longer_than_the_deadline_is_let_go_and_the_next_is_not() -> None:
    async with AlignmentStage(NOTHING, deadline_s=1.0, open_=fake_open, align=slow_align) as stage:
        await opened(stage)
        first = stage.offer(TASK)
        assert first is not None
        assert await first is None
        assert stage.figures()["late"] == 1


@pytest.mark.parametrize(
    ("open_", "align", "why"),
    [(fake_open, dying_align, "terminated abruptly"), (failing_open, fake_align, "no such driver")],
)
async def test_a_stage_that_breaks_is_switched_off_and_nobody_waits(open_, align, why: str) -> None:  # type: ignore[no-untyped-def]
    told: list[str] = []
    async with AlignmentStage(NOTHING, open_=open_, align=align, on_off=told.append) as stage:
        async with asyncio.timeout(60):
            while not told:
                waiting = stage.offer(TASK)
                assert waiting is None or await waiting is None
                await asyncio.sleep(0.05)
        assert stage.offer(TASK) is None
        assert why in stage.words()
        assert why in told[0]
        assert "lipika align" in told[0]
        assert len(told) == 1


async def test_leaving_does_not_wait_for_the_model() -> None:
    async with AlignmentStage(NOTHING, open_=fake_open, align=slow_align) as stage:
        await opened(stage)
        waiting = stage.offer(TASK)
        await asyncio.sleep(0.1)
    assert waiting is not None
    assert await waiting is None


async def test_a_folder_without_a_bundle_switches_it_off_with_the_reason(tmp_path: Path) -> None:
    told: list[str] = []
    async with AlignmentStage(ListenerOptions(path=tmp_path), on_off=told.append), asyncio.timeout(60):
        while not told:
            await asyncio.sleep(0.05)
    assert "no IndicConformer bundle" in told[0]


async def test_the_listener_hears_what_is_whistled(tmp_path: Path) -> None:
    """The real thing: FLAC in, the answer beside what the stand-in heard, in one process."""
    options = ListenerOptions(path=standin.write_whistle_bundle(tmp_path), device="cpu", romaniser="builtin")
    async with AlignmentStage(options, deadline_s=100) as stage:
        await opened(stage)
        said = "मैं कल बाजार गया था और"
        right = stage.offer(task(said, said))
        wrong = stage.offer(task(said, "यह किताब मेरी बहन"))
        assert right is not None
        assert wrong is not None
        first, second = await right, await wrong
        assert first is not None
        assert second is not None
        assert (first.score, first.agreement, first.heard) == (1.0, Agreement.AGREE, said)
        assert first.spoken_language == "hi"
        assert second.agreement is Agreement.REJECT


def task(said: str, whistled: str) -> Task:
    samples = np.pad(standin.whistle(whistled, "hi"), 2400)
    return Task(encode_flac(Audio(samples, 16_000, 16)), answer(said), CLIP, "hi")


# ----------------------------------------------------------------------------- in a run


async def test_a_run_stores_what_was_heard_and_uses_it_again(database_url: str, tmp_path: Path) -> None:
    """Rows, archive and heartbeat of a run with the stand-in; on a second run nothing is heard again."""
    bundle = standin.write_whistle_bundle(tmp_path / "bundle")
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 10)
        changes: dict[str, Any] = {
            "enable_gpu_validation": True,
            "indicconformer_path": bundle,
            "align_seconds": 60.0,
            "align_device": "cpu",
        }
        async with stage.worker(**changes) as running:
            assert running.worker.aligner is not None
            await opened(running.worker.aligner)
            await running.worker.run(until_empty=True)
            counted = running.worker.aligner.counts.agreements
            view = WorkerView(running.worker_id, "the-model", running.worker, running.engine, running.room)
            told = exposition(worker_metrics(view)).decode()
        async with Database(database_url) as database:
            of_the_fleet = (await fleet_exposition(Stats(database))).decode()
        assert {"lipika_alignment_enabled 1.0", "lipika_alignment_sample_ratio 1.0"} <= set(told.splitlines())
        for agreement in Agreement:
            clips = f'alignment_clips_total{{agreement="{agreement}"}} {float(counted[agreement])}'
            assert f"lipika_{clips}" in told
            assert f"lipika_fleet_{clips}" in of_the_fleet
        stored = rows(
            database_url,
            "select segment_file, alignment_score, alignment, findings from transcription_results order by 1",
        )
        assert stored
        heard = [row for row in stored if row[2] is not None]
        assert heard
        (tar,) = stage.out.rglob("*.tar")
        in_tar = {result.segment_file: result for result in results_of(tar)}
        for segment_file, score, alignment, _findings in heard:
            document = in_tar[segment_file].alignment
            assert document is not None
            assert (document.score, document.agreement) == (alignment["score"], alignment["agreement"])
            assert (score is None) == (document.score is None)
        weighed = {name: one.consensus.tier for name, one in in_tar.items() if one.consensus is not None}
        assert weighed.keys() == {row[0] for row in heard if row[1] is not None}
        tiers = rows(
            database_url, "select segment_file, tier from transcription_voters where tier is not null"
        )
        assert {row.segment_file: row.tier for row in tiers} == weighed
        (figures,) = rows(database_url, "select alignment from workers")
        assert figures[0]["off_because"] is None
        assert figures[0]["device"] == "cpu"


def test_a_result_keeps_its_alignment_through_json() -> None:
    result = replace(made(0), alignment=agreed("मैं"))
    document = clip_result_to_json(result)
    assert clip_result_from_json(document) == result
    older = orjson.loads(document)
    del older["alignment"]  # a document of an earlier version
    assert clip_result_from_json(orjson.dumps(older)) == replace(result, alignment=None)

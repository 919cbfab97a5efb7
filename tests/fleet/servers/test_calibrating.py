"""Rate limits that a fleet learns from its own corpus: by itself, once, the same for every worker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from fleet_kit import Stage, a_stage, change, rows, until
from lipika.config import Settings
from lipika.db import Database, Queue
from lipika.db.calibrations import Calibrations, NewCalibration
from lipika.db.clip_samples import ClipSamples
from lipika.jobs.demo import sample_folder
from lipika.jobs.wiring import Running
from lipika.models import NewVideo
from lipika.rework.limits import as_new, find_bands, learn_language, read_in_force
from lipika.validation import DEFAULT_BANDS, VALIDATOR_VERSION
from lipika.validation.bands import RateBand
from lipika.validation.calibrate import LEAST_CLIPS, Calibration, from_json

FEW = 50
MADE_UP = {"simulated": True}  # as the simulator says of its answers


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        stage.defaults = {"calibrate_clips": FEW}
        yield stage


def versions(stage: Stage, videos: list[str]) -> set[str]:
    """Of the verdicts on these videos."""
    found = rows(
        stage.database_url,
        "select distinct validator_version as version from transcription_results"
        " where video_id = any(%s) and status = 'transcribed'",
        videos,
    )
    return {row.version for row in found}


def stored(stage: Stage) -> list[Any]:
    return rows(stage.database_url, "select * from calibrations order by id")


async def speak(stage: Stage, first: int, videos: int, segments: int) -> list[str]:
    """Put archives of Hindi into the queue, from that number on."""
    plan = CorpusPlan(videos, segments, (2.2, 2.8), ("hi",), first=first)
    paths = await asyncio.to_thread(make_corpus, stage.folder / "in", plan, sample_folder())
    async with Database(stage.database_url) as database:
        await Queue(database).add(
            [NewVideo(path.stem, str(path), f"{stage.out}/{path.stem}_transcribed.tar") for path in paths]
        )
    return [path.stem for path in paths]


async def test_it_starts_by_itself_and_all_workers_judge_alike(stage: Stage) -> None:
    first = await speak(stage, 0, 6, 12)
    async with stage.worker() as one, stage.worker() as other:
        lives = [asyncio.create_task(found.worker.run()) for found in (one, other)]
        await until(lambda: bool(stored(stage)), 60)
        (made,) = stored(stage)
        assert made.made_by in (one.worker_id, other.worker_id)
        learned = from_json(made.content)
        assert made.version == learned.version
        assert learned.clips["hi"] >= FEW
        for found in (one, other):
            await until(lambda found=found: found.tools.limits.bands.version == made.version)  # type: ignore[misc]
        assert one.tools.limits.bands.by_language == other.tools.limits.bands.by_language
        later = await speak(stage, 6, 8, 4)
        await until(lambda: one.worker.tally.done + other.worker.tally.done == len(first) + len(later), 60)
        assert one.worker.tally.done
        assert other.worker.tally.done
        for found in (one, other):
            found.worker.drain()
        await asyncio.gather(*lives)
    assert versions(stage, later) == {f"{VALIDATOR_VERSION}+{made.version}"}


async def transcribed(stage: Stage, videos: int = 6, segments: int = 12) -> list[str]:
    """A corpus that nobody has calibrated."""
    done = await speak(stage, 0, videos, segments)
    await stage.work(calibrate="off")
    assert stored(stage) == []
    return done


async def idle_until(stage: Stage, condition: Callable[[], bool], **changes: Any) -> Running:
    """A worker with nothing to transcribe, until something is so."""
    async with stage.worker(**changes) as found:
        life = asyncio.create_task(found.worker.run())
        await until(condition, 60)
        found.worker.drain()
        await life
        return found


async def test_a_worker_that_is_killed_in_the_middle_leaves_it_to_another(stage: Stage) -> None:
    await transcribed(stage)
    settings = stage.settings()
    environment = {
        "GEMINI_BASE_URL": stage.url,
        "GEMINI_API_KEY": "a-key",
        "DATABASE_URL": stage.database_url,
        "OUTPUT_URL": str(stage.out),
        "HEARTBEAT_SECONDS": str(settings.heartbeat_seconds),
        "CALIBRATE_CLIPS": str(FEW),
    }
    with psycopg.connect(stage.database_url) as holding:
        holding.execute("lock table transcription_results in access exclusive mode")
        killed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lipika", "worker", "--quiet"), env=os.environ | environment
        )
        try:
            await until(lambda: bool(turns(stage)), 60)
            (turn,) = turns(stage)
            assert turn.language == "hi"
        finally:
            killed.kill()
            await killed.wait()
    async with Database(stage.database_url) as database:
        asking = Calibrations(database)
        told = await asking.ask("somebody", ["hi"], **MADE_UP, least=FEW, lease_s=60)
        assert (told.newest, told.turn) == (None, None), "the lease of the dead one has not run out"
    assert stored(stage) == []
    change(stage.database_url, "update calibration_turns set expires_at = now()")  # time passes
    heir = await idle_until(stage, lambda: bool(stored(stage)))
    (made,) = stored(stage)
    assert made.made_by == heir.worker_id
    assert turns(stage) == []


def turns(stage: Stage) -> list[Any]:
    """Those that somebody has at the moment."""
    return rows(stage.database_url, "select * from calibration_turns where expires_at > now()")


async def test_nothing_is_learned_where_it_is_switched_off_or_a_file_says_the_limits(
    stage: Stage, tmp_path: Path
) -> None:
    await transcribed(stage)
    await idle_until(stage, lambda: bool(stored(stage)))
    (made,) = stored(stage)
    file = tmp_path / "calibration.json"
    other = a_calibration()
    file.write_text(other.to_json(), "utf-8")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"calibrate": "off"}, ""),
        ({"calibration_file": file}, other.version),
        ({}, made.version),
    ]
    for number, (changes, version) in enumerate(cases):
        videos = await speak(stage, 100 + number, 1, 3)
        async with stage.worker(**changes) as found:
            await found.worker.run(until_empty=True)
            assert found.tools.limits.bands.version == version
        expected = f"{VALIDATOR_VERSION}+{version}" if version else VALIDATOR_VERSION
        assert versions(stage, videos) == {expected}
        (registered,) = rows(
            stage.database_url,
            "select config_json ->> 'validator_version' as version from workers where worker_id = %s",
            found.worker_id,
        )
        assert registered.version == expected
    assert len(stored(stage)) == 1


async def test_too_few_clips_change_nothing(stage: Stage) -> None:
    """As in a demo: nothing is looked at, so nothing is learned."""
    videos = await speak(stage, 0, 2, 12)
    await stage.work()
    assert versions(stage, videos) == {VALIDATOR_VERSION}
    async with Database(stage.database_url) as database:
        for least, turn in ((LEAST_CLIPS, None), (25, None), (24, "hi")):
            told = await Calibrations(database).ask("w", ["hi"], **MADE_UP, least=least, lease_s=0)
            assert (told.turn and told.turn.language) == turn
    assert Settings.model_fields["calibrate_clips"].default == LEAST_CLIPS


async def test_what_cannot_be_read_is_an_alert_and_no_stop(stage: Stage) -> None:
    """The newest that can be read is in force, for those that come and for those that are there."""
    good = a_calibration()
    async with Database(stage.database_url) as database:
        calibrations = Calibrations(database)
        await calibrations.put(as_new(good), "a person", **MADE_UP)
        await calibrations.put(NewCalibration("cal-broken", {}, "{"), "a mishap", **MADE_UP)
        loose = replace(good, bands={"hi": replace(good.bands["hi"], syllables_high_fail=1e6)})
        await calibrations.put(as_new(loose), "a rogue", **MADE_UP)
        found = await read_in_force(calibrations, **MADE_UP)
        assert found.calibration == good
        assert [number for number, _ in found.unreadable] == [3, 2]
    videos = await speak(stage, 0, 1, 4)
    await stage.work()
    assert versions(stage, videos) == {f"{VALIDATOR_VERSION}+{good.version}"}
    alerts = rows(stage.database_url, "select exception_type as kind, message from worker_errors order by id")
    assert [alert.kind for alert in alerts] == ["Alert:calibration_unreadable"] * 2
    assert "calibrate again" in alerts[0].message


async def test_trouble_with_its_tables_stops_nobody(stage: Stage) -> None:
    change(stage.database_url, "drop function lipika_calibration_turn")
    videos = await speak(stage, 0, 2, 12)
    async with stage.worker() as found:
        life = asyncio.create_task(found.worker.run())
        await until(lambda: bool(rows(stage.database_url, "select from worker_errors")))
        await until(lambda: found.worker.tally.done == len(videos))
        found.worker.drain()
        await life
    told = rows(stage.database_url, "select exception_type as kind, message from worker_errors")
    assert [alert.kind for alert in told] == ["Alert:calibration_trouble"]
    assert "lipika db migrate" in told[0].message
    assert versions(stage, videos) == {VALIDATOR_VERSION}


async def test_limits_are_learned_again_with_ten_times_the_clips(stage: Stage) -> None:
    """And where a look gave none, with a quarter more, or an hour later."""
    await transcribed(stage)
    async with Database(stage.database_url) as database:
        calibrations = Calibrations(database)

        async def due() -> bool:
            return (await calibrations.ask("w", ["hi"], **MADE_UP, least=FEW, lease_s=0)).turn is not None

        async def look(new: NewCalibration | None) -> bool:
            told = await calibrations.ask("w", ["hi"], **MADE_UP, least=FEW, lease_s=60)
            assert told.turn is not None
            return await calibrations.end(told.turn, new, **MADE_UP, after=told.newest)

        def grow(clips: int) -> None:
            """To so many, by the counters that a trigger keeps."""
            change(
                stage.database_url,
                "update clip_counts set clips = case shard when (select min(shard) from clip_counts"
                " where language = 'hi' and kind = 'status' and key = 'transcribed') then %s else 0 end"
                " where language = 'hi' and kind = 'status' and key = 'transcribed'",
                clips,
            )

        assert await look(None)
        assert not await due()
        change(
            stage.database_url,
            "update calibration_turns set looks = jsonb_set(looks, '{hi,at}', to_jsonb(now() - interval '61 min'))",
        )
        assert await due()
        grow(100)
        assert await look(None)
        grow(124)
        assert not await due()
        grow(125)
        assert await look(as_new(a_calibration()))
        grow(1249)
        assert not await due()
        grow(1250)
        assert await due()


async def test_a_calibration_goes_on_from_the_newest_or_not_at_all(stage: Stage) -> None:
    await transcribed(stage)
    async with Database(stage.database_url) as database:
        calibrations = Calibrations(database)
        told = await calibrations.ask("w", ["hi"], **MADE_UP, least=FEW, lease_s=60)
        assert told.turn is not None
        await calibrations.put(as_new(a_calibration()), "a person", **MADE_UP)
        assert not await calibrations.end(told.turn, as_new(a_calibration()), **MADE_UP, after=told.newest)
        assert [row.made_by for row in stored(stage)] == ["a person"]
        assert turns(stage) == []
        assert (await calibrations.ask("w", ["hi"], **MADE_UP, least=FEW, lease_s=60)).turn is None, (
            "it is learned"
        )


async def test_made_up_answers_teach_nothing_about_real_ones(stage: Stage) -> None:
    await transcribed(stage)
    async with Database(stage.database_url) as database:
        calibrations, clips = Calibrations(database), ClipSamples(database)
        made_up = await learn_language(clips, "hi", FEW, simulated=True)
        real = await learn_language(clips, "hi", FEW, simulated=False)
        assert set(made_up.bands) == {"hi"}
        assert real.bands == {}
        await calibrations.put(as_new(made_up), "a worker", simulated=True)
        settings = stage.settings()
        assert (await find_bands(settings, database)).version == made_up.version, "there is no other"
        real = a_calibration()
        await calibrations.put(as_new(real), "a person", simulated=False)
        assert (await find_bands(settings, database)).version == real.version
        assert (await read_in_force(calibrations, simulated=True)).calibration == made_up
        off = settings.model_copy(update={"calibrate": "off"})
        assert await find_bands(off, database) == await find_bands(settings, None) == DEFAULT_BANDS


async def test_a_row_that_no_run_has_written_teaches_nothing(stage: Stage) -> None:
    await transcribed(stage)
    change(
        stage.database_url,
        "update transcription_results set source_segment = 'not a segment' where ctid in"
        " (select ctid from transcription_results order by segment_file limit 10)",
    )
    async with Database(stage.database_url) as database:
        learned = await learn_language(ClipSamples(database), "hi", FEW, simulated=True)
    assert learned.clips == {"hi": 62}


def a_calibration() -> Calibration:
    return Calibration({"hi": RateBand(syllables_high_warn=10.5)}, {"hi": 1000}, {"hi": (0.5,) * 5})

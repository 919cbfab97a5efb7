"""Clips asked for again: which are chosen, which answer is kept, what is paid, and what stops in between."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import pytest

from fleet_kit import Stage, a_stage, change, results_of, rows, until
from gateway_kit import TEXTS, Gateway, a_gateway
from lipika.answers.pairing import settings_of_row
from lipika.db import Database
from lipika.db.clip_search import ClipKey
from lipika.db.redos import RedoneAnswer, RedoOrder, Redos
from lipika.db.ways import Ways
from lipika.errors import UsageError
from lipika.models import Answer, TextSource, Usage
from lipika.people.edits import Edits
from lipika.people.rules import accept
from lipika.redo.job import RedoRequest, price_of, redo_clips, redo_queued
from lipika.redo.order import read_choice, read_scores, way_of
from lipika.simulator import Latency, SimulatorConfig, running

HINDI: LiteralString = "update video_queue set language = 'hi', language_from = 'forced'"
LATIN = "aaj mausam bahut accha hai"
WARM = {"temperature": 0.7}
ROMANISED = RedoRequest(read_choice({"finding": "romanised", "language": "hi"}), WARM)


class Voice:
    """Writes every second clip in Latin letters while it is `cold`; later only the first of these that it hears."""

    def __init__(self) -> None:
        self.cold = True
        self.heard: list[str] = []
        self.stubborn = ""

    def __call__(self, digest: str, _temperature: float | None) -> str:
        if digest not in self.heard:
            self.heard.append(digest)
        if self.heard.index(digest) % 2:
            return TEXTS["hi"]
        if not self.cold:
            self.stubborn = self.stubborn or digest
        return LATIN if self.cold or digest == self.stubborn else TEXTS["hi"]


@pytest.fixture
def voice() -> Voice:
    return Voice()


@pytest.fixture
async def gateway(voice: Voice) -> AsyncIterator[Gateway]:
    async with a_gateway(says=voice) as found:
        yield found


@pytest.fixture
async def stage(gateway: Gateway, voice: Voice, tmp_path: Path, database_url: str) -> Stage:
    """Two videos of four clips; half of the clips are in Latin letters."""
    found = Stage(tmp_path, gateway.url, database_url, {"calibrate": "off", "max_retries": 1})
    await found.queue(2, 4)
    change(database_url, HINDI)
    await found.work()
    voice.cold = False
    return found


def result_rows(url: str) -> dict[tuple[str, str], Any]:
    found = rows(url, "select * from transcription_results order by video_id, segment_file")
    return {(row.video_id, row.segment_file): row for row in found}


async def test_the_better_answer_becomes_the_result_and_both_are_kept(
    stage: Stage, gateway: Gateway, database: Database
) -> None:
    before, settings = result_rows(stage.database_url), stage.settings()
    latin = [key for key, row in before.items() if row.transcription == LATIN]
    tars = {tar: tar.read_bytes() for tar in stage.out.glob("*.tar")}
    assert len(latin) == 4
    person = latin[0]
    await Edits(database).save_edit(*person, None, accept(), "asha")
    price = await price_of(settings, database, ROMANISED)
    assert (price.clips, price.to_ask, price.by_person, price.answered) == (4, 3, 1, 0)
    assert price.audio_s == pytest.approx(
        sum(before[key].duration_ms for key in latin if key != person) / 1000
    )
    assert price.usd == pytest.approx(3 * price.usd_each)
    assert price.usd > 0

    gateway.asked_as.clear()
    done = await redo_clips(settings, database, ROMANISED)
    assert done is not None
    assert done.states == {"replaced": 2, "kept": 1, "person": 1}
    assert (done.asked, done.left, done.stopped) == (3, 0, "")
    assert {audio for audio, _, _ in gateway.asked_as}
    assert len({one[0] for one in gateway.asked_as}) == 3
    assert done.usd == pytest.approx(
        sum(row.usd for row in rows(stage.database_url, "select usd from redo_clips"))
    )
    after = result_rows(stage.database_url)
    replaced = {key for key in after if after[key].transcription != before[key].transcription}
    assert len(replaced) == 2
    assert replaced < set(latin)
    assert person not in replaced
    assert {round(after[key].temperature, 1) for key in replaced} == {0.7}
    kept = rows(stage.database_url, "select audio_digest, temperature, is_result from transcription_answers")
    assert len(kept) == 2 + 3 + 1  # what was replaced, what was asked for, and what the person was shown
    assert sum(row.is_result for row in kept) == 2
    # Only what changed was written, and rows and tars say the same.
    changed = {tar for tar, content in tars.items() if tar.read_bytes() != content}
    assert {f"{video}_transcribed.tar" for video, _ in replaced} == {tar.name for tar in changed}
    for tar in tars:
        for result in results_of(tar):
            row = after[result.video_id, result.segment_file]
            if (result.video_id, result.segment_file) != person:
                assert result.answer is not None
                assert result.answer.transcription == row.transcription
    spent = rows(
        stage.database_url, "select sum(usd)::float8 as usd from provider_spend where worker_id ~ '^redo-'"
    )
    assert spent[0].usd == pytest.approx(done.usd)

    # Again: what is so yet has its answer, and nothing is asked.
    gateway.asked.clear()
    again = await redo_clips(settings, database, ROMANISED)
    assert again is not None
    assert again.states == {"kept": 1, "person": 1}
    assert (gateway.requests, again.stored_before, again.usd) == (0, 1, 0.0)


async def test_keep_both_changes_no_result_and_orders_of_the_board_are_carried_out(
    stage: Stage, gateway: Gateway, database: Database
) -> None:
    before = result_rows(stage.database_url)
    tars = {tar: tar.read_bytes() for tar in stage.out.glob("*.tar")}
    gateway.asked.clear()
    done = await redo_clips(stage.settings(), database, replace(ROMANISED, keep_both=True, limit=2))
    assert done is not None
    assert done.states == {"kept": 2}
    assert result_rows(stage.database_url) == before
    assert {tar: tar.read_bytes() for tar in tars} == tars
    paid = gateway.requests

    keys = [ClipKey(*key) for key in before]
    await Redos(database).order(
        RedoOrder("", {"model_id": "no-such", "service_tier": "flex"}, False, "otto"), keys
    )
    await Redos(database).order(RedoOrder("finding=romanised", WARM, False, "otto"), keys)
    first, second = [one async for one in redo_queued(stage.settings(), database, None)]
    assert "flex" in first.refused
    assert second.refused == ""
    assert second.states["replaced"] == 3
    assert second.states.get("waiting", 0) == 0
    assert second.stored_before == 2
    assert gateway.requests > paid
    (last, refused, _) = await Redos(database).list_progress(10)
    assert (last.state, last.ordered_by, last.left) == ("done", "otto", 0)
    assert (refused.state, "flex" in refused.note) == ("failed", True)
    everything = await Ways(database).rows(next(iter(before))[0])
    assert {settings_of_row(row).temperature for row in everything} <= {0.0, 0.7}
    assert {row.text_source for row in everything} == {TextSource.MODEL}


async def test_two_at_once_ask_for_each_audio_once(
    stage: Stage, gateway: Gateway, database: Database
) -> None:
    gateway.asked_as.clear()
    gateway.latency_s = 0.3
    other = replace(ROMANISED, limit=7)  # the same clips, as another order
    settings = stage.settings()
    one, two = await asyncio.gather(
        redo_clips(settings, database, ROMANISED), redo_clips(settings, database, other)
    )
    assert one is not None
    assert two is not None
    assert one.left == two.left == 0
    assert {
        clip for (clip, _, warmth), times in gateway.asked_as.items() if warmth == 0.7 and times > 1
    } == set()
    assert one.asked + two.asked == 4
    assert sum(row.transcription == LATIN for row in result_rows(stage.database_url).values()) == 1


async def test_ctrl_c_lets_answers_come_in_and_the_next_call_goes_on(
    stage: Stage, gateway: Gateway, database: Database
) -> None:
    gateway.asked_as.clear()
    gateway.latency_s = 0.5
    everything = RedoRequest(read_choice({"language": "hi"}), WARM)
    settings = stage.settings(worker_batch_size=8, batch_interval_seconds=4.0)
    task = asyncio.create_task(redo_clips(settings, database, everything))
    await until(lambda: any(warmth == 0.7 for _, _, warmth in gateway.asked_as))
    os.kill(os.getpid(), signal.SIGINT)
    done = await task
    assert done is not None
    assert done.interrupted
    assert 0 < done.states["waiting"] < 8
    assert done.states["answered"] == done.asked  # what was on its way has come in
    (listed,) = await Redos(database).list_progress(1)
    assert (listed.state, listed.note) == ("queued", "interrupted")
    done = await redo_clips(stage.settings(), database, everything)
    assert done is not None
    assert (done.id, done.left) == (listed.id, 0)
    assert {times for (_, _, warmth), times in gateway.asked_as.items() if warmth == 0.7} == {1}
    assert sum(times for (_, _, warmth), times in gateway.asked_as.items() if warmth == 0.7) == 8


async def test_what_is_held_waits_and_a_cap_ends_it(stage: Stage, database: Database) -> None:
    settings = stage.settings()
    capped = await redo_clips(settings, database, replace(ROMANISED, max_usd=1e-9))
    assert capped is not None
    assert capped.capped
    assert capped.left == 4
    change(
        stage.database_url,
        "update video_queue set status = 'processing', claim_token = gen_random_uuid(), claimed_by = 'w',"
        " lease_expires_at = now() + interval '1 hour'",
    )
    held = await redo_clips(settings, database, ROMANISED)
    assert held is not None
    assert held.id == capped.id
    assert held.left == 4
    assert {why for _, why in held.left_alone} == {"a worker holds it"}
    change(
        stage.database_url,
        "update video_queue set status = 'done', claim_token = null, claimed_by = null, lease_expires_at = null",
    )
    await Redos(database).claim("somebody-else", 60, held.id)
    with pytest.raises(UsageError, match="somebody-else has it in hand"):
        await redo_clips(settings, database, ROMANISED)
    assert await Redos(database).drop(held.id)
    done = await redo_clips(settings, database, ROMANISED)
    assert done is not None
    assert done.id != held.id
    assert done.left == 0


async def test_kill_9_pays_for_no_answer_twice(tmp_path: Path, database_url: str, database: Database) -> None:
    """Killed amid its answers, it is asked for nothing that was stored: by the ledger of the service."""
    async with a_stage(tmp_path, database_url, seed=3) as stage:
        await stage.queue(2, 6)
        change(database_url, HINDI)
        await stage.work(calibrate="off")
    config = SimulatorConfig(latency=Latency(0.05, 0.1))
    async with running(config) as fresh:
        second = Stage(tmp_path, fresh.url, database_url)
        env = {
            "DATABASE_URL": database_url,
            "GEMINI_BASE_URL": fresh.url,
            "GEMINI_API_KEY": "k" * 20,
            "OUTPUT_URL": str(stage.out),
            "BATCH_INTERVAL_SECONDS": "4",
            "WORKER_BATCH_SIZE": "12",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(sys.path),
            "HOME": str(tmp_path),
        }
        words = ("redo", "--language", "hi", "--temperature", "0.7", "--json")

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lipika", *words), env=env, stdout=asyncio.subprocess.PIPE
            )

        def kept() -> int:
            return len(rows(database_url, "select from transcription_answers where temperature = 0.7::real"))

        process = await start()
        await until(lambda: kept() >= 3, 60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        stored = kept()
        before = await second.asked()
        assert before["digests"]["repaid"] == 0
        assert 3 <= stored < 12
        lost = (
            before["digests"]["answered"] - stored
        )  # on its way when it died: in no hands but the service's
        change(database_url, "update redos set lease_expires_at = now()")
        process = await start()
        await process.communicate()
        assert process.returncode == 0
        after = await second.asked()
        assert after["digests"]["distinct"] == after["digests"]["answered"] == 12
        assert after["digests"]["repaid"] <= lost
    states = rows(database_url, "select state, count(*)::int as clips from redo_clips group by state")
    assert sum(row.clips for row in states) == 12
    assert {row.state for row in states} <= {"kept", "replaced"}
    assert rows(database_url, "select from redo_turns") == []


async def test_what_is_made_up_takes_no_paid_answer_s_place(database: Database, database_url: str) -> None:
    answer = RedoneAnswer(
        "ab" * 32, "aistudio", "m", "", 0.0, "low", "1", "1", "hi", Answer("सच", "सच", "hi", "", "", "", ""),
        Usage(), 0.01, "", 1, 5, "standard", "w",
    )  # fmt: skip
    for version, kept in (
        ("simulated", "simulated"),
        ("real", "real"),
        ("simulated", "real"),
        ("new", "new"),
    ):
        given = replace(answer, model_version=version)
        await Redos(database).keep(1, ClipKey("v", "c.flac"), given, paid=0.0, final=True)
        (row,) = rows(database_url, "select model_version from transcription_answers")
        assert row.model_version == kept


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"lane": "tts"},
        {"finding": "loops"},
        {"language": "xx"},
        {"from": "3"},
        {"nonsense": "1"},
        {"tier": "tin"},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        read_choice(given)


def test_scores_and_ways_are_read() -> None:
    assert read_choice(read_scores("..0.6")).to_score == 0.6
    assert read_choice(read_scores("0.2..0.6")).from_score == 0.2
    for wrong in ("0.6", "..", "a..b", "0.1..7"):
        with pytest.raises(UsageError):
            read_scores(wrong)
    from lipika.config import load_settings

    settings = load_settings(cascade="gemini-3.1-flash-lite-preview,gemini-2.5-pro", gemini_api_key="k" * 20)
    assert way_of(settings, {}).settings.models == ("gemini-2.5-pro",)
    assert way_of(settings, {"model_id": "gemini-2.5-flash"}).settings.models == ("gemini-2.5-flash",)
    with pytest.raises(UsageError):
        way_of(settings, {"database_url": "x"})

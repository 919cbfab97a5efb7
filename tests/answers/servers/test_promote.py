"""Kept answers made the results again, on the command line: rows, tars, sums and counters are as a run leaves them,
nothing is asked, and whatever stops it half way, the end is the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import change, results_of, rows, until
from gateway_kit import TEXTS, Gateway, a_gateway
from lipika.answers import promote as promoting
from lipika.db import Database
from lipika.db.ways import Promotion, Ways
from lipika.jobs.demo import sample_folder
from lipika.models import ClipResult, ClipStatus

CLIPS = 4
WARM = {"TEMPERATURE": "0.7"}
OTHER = TEXTS["hi"].replace("बहुत", "काफ़ी")


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Asked warmly, it says another word; of some clips it then says that nobody speaks."""
    async with a_gateway() as found:
        found.says = lambda _digest, temperature: OTHER if temperature else TEXTS["hi"]
        yield found


@pytest.fixture
def archives(tmp_path: Path) -> Sequence[Path]:
    return make_corpus(tmp_path / "in", CorpusPlan(3, CLIPS, (2.2, 2.8)), sample_folder())


class Place:
    """Archives, where their results go, and the environment of a command."""

    def __init__(self, gateway: Gateway, folder: Path, url: str, archives: Sequence[Path]) -> None:
        self.gateway, self.folder, self.url, self.archives = gateway, folder, url, archives

    async def run(self, *arguments: str, **env: str) -> dict[str, Any]:
        words = ("run", *map(str, self.archives), "--out", str(self.folder / "out"), "--force-language", "hi")
        done = await lipika_beside(*words, "--json", *arguments, env=self.env(**env))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    async def answers(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        done = await lipika_beside("answers", *arguments, "--json", env=self.env())
        assert done.returncode == code, done.stderr
        return dict(json.loads(done.stdout))

    def env(self, **env: str) -> dict[str, str]:
        return self.gateway.settings(self.folder, self.url, **env)

    def tars(self) -> list[Path]:
        return sorted((self.folder / "out").glob("*.tar"))

    def results(self) -> dict[tuple[str, str], ClipResult]:
        return {(one.video_id, one.segment_file): one for tar in self.tars() for one in results_of(tar)}


@pytest.fixture
def place(gateway: Gateway, tmp_path: Path, database_url: str, archives: Sequence[Path]) -> Place:
    return Place(gateway, tmp_path, database_url, archives)


ROWS: LiteralString = """
    select video_id, segment_file, status, transcription, tagged, detected_language, temperature, model_id, provider,
      attempts, batch_id, latency_ms, cost_usd, token_usage_json, quality_score, findings, lane_reasons, asr_eligible,
      tts_clean_eligible, tts_expressive_eligible, lang_mismatch_flag, validator_version, text_source, failure_kind,
      flags
    from transcription_results order by 1, 2
"""
QUEUE: LiteralString = """
    select video_id, status, claim_token is null as free, attempts, segment_count, clip_count, segments_transcribed,
      segments_no_speech, segments_failed, output_bytes, output_digest
    from video_queue order by 1
"""
ROLLUP: LiteralString = """
    select array[
        sum(clips), sum(transcribed), sum(no_speech), sum(failed), sum(asr_eligible), sum(tts_clean)
      ]::int[] as clips,
      round(sum(score_sum)::numeric, 3) as score, round(sum(cost_usd)::numeric, 9) as usd
    from quality_rollup
"""
ROLLUP_ANEW: LiteralString = """
    select array[
        count(*), count(*) filter (where status = 'transcribed'), count(*) filter (where status = 'no_speech'),
      count(*) filter (where status = 'failed'), count(*) filter (where asr_eligible),
      count(*) filter (where tts_clean_eligible)
      ]::int[] as clips,
      round(sum(quality_score::float8)::numeric, 3) as score, round(sum(cost_usd)::numeric, 9) as usd
    from transcription_results
"""
COUNTED: LiteralString = """
    select way, place, language, provider, service_tier, made_up, sum(clips)::int as clips,
      round(sum(cost_usd)::numeric, 9) as usd, sum(prompt_tokens)::int as prompt, sum(output_tokens)::int as output
    from way_counts group by 1, 2, 3, 4, 5, 6 having sum(clips) <> 0 order by 1, 2, 3, 4, 5
"""
COUNTED_ANEW: LiteralString = """
    select way, place, language, provider, service_tier, made_up, count(*)::int as clips,
      round(sum(cost_usd)::numeric, 9) as usd, sum((usage ->> 'prompt')::int)::int as prompt,
      sum((usage ->> 'output')::int)::int as output
    from (
      select lipika_way_name(model_id, temperature, thinking_level, prompt_version, schema_version) as way,
        'result' as place, coalesce(nullif(expected_language_hint, ''), detected_language) as language, provider,
        coalesce(service_tier, 'standard') as service_tier, starts_with(model_version, 'simulated') as made_up,
        cost_usd, token_usage_json as usage
      from transcription_results where transcription is not null and attempts > 0 and text_source = 'model'
      union all
      select way, 'kept', coalesce(nullif(language_hint, ''), answer ->> 'detected_language'), provider,
        coalesce(service_tier, 'standard'), starts_with(model_version, 'simulated'), cost_usd, usage
      from transcription_answers where not is_result
    ) there
    group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5
"""


def check_sums(place: Place) -> None:
    """Counters say what the rows say, and the queue what the tars are."""
    assert rows(place.url, COUNTED) == rows(place.url, COUNTED_ANEW)
    assert rows(place.url, ROLLUP) == rows(place.url, ROLLUP_ANEW)
    held = place.results()
    for row in rows(place.url, QUEUE):
        (tar,) = (one for one in place.tars() if one.name == f"{row.video_id}_transcribed.tar")
        content = tar.read_bytes()
        assert (row.output_bytes, row.output_digest) == (len(content), hashlib.sha256(content).hexdigest())
        ended = Counter(str(result.status) for (video, _), result in held.items() if video == row.video_id)
        told = {"transcribed": row.segments_transcribed, "no_speech": row.segments_no_speech}
        assert {**told, "failed": row.segments_failed} == {name: ended[name] for name in ClipStatus}
        block = metadata_of(tar)
        assert {name: block["accounting"][name] for name in ClipStatus} == {
            name: ended[name] for name in ClipStatus
        }
    for row in rows(place.url, ROWS):
        result = held[row.video_id, row.segment_file]
        assert (row.status, row.transcription) == (
            result.status,
            result.answer and result.answer.transcription,
        )
        assert row.quality_score == pytest.approx(result.verdict.quality_score if result.verdict else None)
        assert (row.temperature, row.attempts) == (
            pytest.approx(result.provenance.temperature),
            result.provenance.attempts,
        )


def metadata_of(tar: Path) -> dict[str, Any]:
    with tarfile.open(tar) as archived:
        file = archived.extractfile("metadata.json")
        assert file is not None
        return dict(json.loads(file.read())["transcription"])


def as_first_asked(result: ClipResult) -> ClipResult:
    """Without what tells that it is used again."""
    return replace(result, reused=False, provenance=replace(result.provenance, worker_id=""))


async def test_a_way_is_promoted_and_both_stay_paid(place: Place) -> None:
    await place.run()
    first, stored, queue = place.results(), rows(place.url, ROWS), rows(place.url, QUEUE)
    await place.run("--again", **WARM)
    ways = {way["settings"]["temperature"]: way for way in (await place.answers())["ways"]}
    assert (ways[0.7]["results"]["clips"], ways[0]["kept"]["clips"]) == (3 * CLIPS, 3 * CLIPS)
    asked = place.gateway.requests
    planned = await place.answers("promote", "TEMPERATURE=0", "--dry-run")
    assert rows(place.url, ROWS)[0].transcription == OTHER, "a dry run changes nothing"
    done = await place.answers("promote", ways[0]["name"][:5])
    assert done["report"] == planned["report"] | {"archives": done["report"]["archives"]}
    assert (done["report"]["clips"], len(done["report"]["archives"])) == (3 * CLIPS, 3)

    assert rows(place.url, ROWS) == stored
    assert {key: as_first_asked(one) for key, one in place.results().items()} == {
        key: as_first_asked(one) for key, one in first.items()
    }
    assert [row[:9] for row in rows(place.url, QUEUE)] == [row[:9] for row in queue]
    check_sums(place)
    again = await place.answers("promote", "TEMPERATURE=0")
    assert (again["report"]["clips"], again["report"]["already"]) == (0, 3 * CLIPS)
    back = await place.run("--again", **WARM)
    assert (back["requests"], back["reused"]) == (0, 3 * CLIPS)
    check_sums(place)
    home = await place.run("--again")
    assert (home["requests"], home["reused"]) == (0, 3 * CLIPS)
    assert place.gateway.requests == asked == 2 * 3 * CLIPS
    check_sums(place)


async def test_clips_that_failed_or_were_silent_come_out_as_they_were(place: Place) -> None:
    place.archives = place.archives[:1]
    await place.run()
    silent = sorted(place.gateway.asked)[:1]
    place.gateway.heard = lambda digest: "none" if digest in silent else "hi"
    place.gateway.blocks_first = True
    for digest in sorted(place.gateway.asked)[1:3]:
        del place.gateway.asked[digest]  # its next request is its first
    await place.run("--again", **WARM)
    ended = Counter(row.status for row in rows(place.url, ROWS))
    assert ended == {"failed": 2, "no_speech": 1, "transcribed": CLIPS - 3}
    check_sums(place)
    await place.answers("promote", "TEMPERATURE=0")
    assert {row.transcription for row in rows(place.url, ROWS)} == {TEXTS["hi"]}
    assert not rows(
        place.url, "select from transcription_flags where not resolved and flag_type like 'failed:%%'"
    )
    check_sums(place)
    back = await place.answers("promote", "TEMPERATURE=0.7")
    assert back["report"]["clips"] == CLIPS - 2, "of what failed nothing is kept"
    assert Counter(row.status for row in rows(place.url, ROWS)) == {"transcribed": CLIPS - 1, "no_speech": 1}
    check_sums(place)


async def test_what_is_held_is_left_alone_with_a_reason(place: Place) -> None:
    await place.run()
    await place.run("--again", **WARM)
    held, gone, edited = sorted(row.video_id for row in rows(place.url, QUEUE))
    change(
        place.url,
        "update video_queue set status = 'processing', claimed_by = 'w', claim_token = gen_random_uuid(),"
        " lease_expires_at = now() + interval '1 hour' where video_id = %s",
        held,
    )
    (place.folder / "out" / f"{gone}_transcribed.tar").rename(place.folder / "elsewhere.tar")
    person = (
        "update transcription_results set text_source = 'person', transcription = 'मैं' where segment_file = %s"
    )
    clip = next(row.segment_file for row in rows(place.url, ROWS) if row.video_id == edited)
    change(place.url, person + " and video_id = %s", clip, edited)
    kept = rows(place.url, "select audio_digest, way_digest from transcription_answers order by 1, 2")
    done = (await place.answers("promote", "TEMPERATURE=0", code=1))["report"]
    assert {video: why.partition(":")[0] for video, why in done["left_alone"]}.keys() == {held, gone}
    assert "a worker holds it" in dict(done["left_alone"])[held]
    assert "--rows-only" in dict(done["left_alone"])[gone]
    assert (done["clips"], done["persons"]) == (CLIPS - 1, 1)
    texts = {(row.video_id, row.segment_file): row.transcription for row in rows(place.url, ROWS)}
    assert texts[edited, clip] == "मैं"
    assert {text for (video, _), text in texts.items() if video in (held, gone)} == {OTHER}
    now = rows(place.url, "select audio_digest, way_digest from transcription_answers order by 1, 2")
    assert len(now) == len(kept) + CLIPS - 1, "a person's text is no paid answer"
    only = (await place.answers("promote", "TEMPERATURE=0", "--rows-only", "--videos", gone))["report"]
    assert (only["clips"], only["left_alone"]) == (CLIPS, [])
    assert len(only["archives"]) == 1


async def test_only_the_language_that_is_named(place: Place) -> None:
    await place.run()
    await place.run("--again", **WARM)
    assert (await place.answers("promote", "TEMPERATURE=0", "--language", "ta"))["report"]["clips"] == 0
    assert (await place.answers("promote", "TEMPERATURE=0", "--language", "Hindi"))["report"][
        "clips"
    ] == 3 * CLIPS


# ----------------------------------------------------------------------------- stopped half way


def end_state(place: Place) -> list[Any]:
    return [rows(place.url, ROWS), rows(place.url, QUEUE), [tar.read_bytes() for tar in place.tars()]]


async def test_stopped_between_tar_and_rows_it_ends_the_same(
    place: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.run()
    await place.run("--again", **WARM)
    way = next(way for way in (await place.answers())["ways"] if way["settings"]["temperature"] == 0)

    async def stop(*_given: object) -> Promotion:
        raise ValueError("stopped here")

    with monkeypatch.context() as patched:
        patched.setattr(Ways, "promote", stop)
        plan = await plan_of(place, database, way["name"])
        async for part in promoting.promote(plan, database, 1):
            assert {why for _, why in part.left_alone} == {"stopped here"}
    assert {one.answer and one.answer.transcription for one in place.results().values()} == {TEXTS["hi"]}
    assert {row.transcription for row in rows(place.url, ROWS)} == {OTHER}
    tars = [tar.read_bytes() for tar in place.tars()]
    await place.answers("promote", way["name"])
    assert [tar.read_bytes() for tar in place.tars()] == tars
    check_sums(place)


async def plan_of(place: Place, database: Database, name: str) -> promoting.PromotePlan:
    from lipika.answers.ways import find_way, group_ways
    from lipika.storage import StoreSettings
    from lipika.validation import DEFAULT_BANDS

    way = find_way(group_ways(await Ways(database).counts()), name)
    return promoting.PromotePlan(
        way, DEFAULT_BANDS, StoreSettings(), spool_dir=place.folder, database_url=place.url
    )


async def test_killed_at_any_time_it_ends_the_same(place: Place) -> None:
    await place.run()
    await place.run("--again", **WARM)
    await place.answers("promote", "TEMPERATURE=0")
    wanted = end_state(place)
    await place.answers("promote", "TEMPERATURE=0.7")
    kills = 0
    for tars in (1, 2):
        process = await start(place)
        await until(partial(is_written, process, place, tars), 60)
        if process.returncode is None:
            process.kill()
            kills += 1
        await process.communicate()
    assert kills >= 1
    await place.answers("promote", "TEMPERATURE=0")
    found = end_state(place)
    assert found[0] == wanted[0]
    assert found[2] == wanted[2]
    assert found[1] == wanted[1]
    check_sums(place)
    assert place.gateway.requests == 2 * 3 * CLIPS


def is_written(process: asyncio.subprocess.Process, place: Place, tars: int) -> bool:
    there = {tar: results_of(tar) for tar in place.tars()}
    texts = [found[0].answer for found in there.values() if found and found[0].answer]
    return process.returncode is not None or sum(one.transcription != OTHER for one in texts) >= tars


async def start(place: Place) -> asyncio.subprocess.Process:
    ours = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lipika", "answers", "promote", "TEMPERATURE=0", "--jobs", "1"),
        env=ours | place.env(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


# ----------------------------------------------------------------------------- compared


async def test_two_ways_are_compared_over_the_clips_that_have_both(place: Place) -> None:
    await place.run()
    await place.run("--again", **WARM)
    found = await place.answers("compare", "TEMPERATURE=0", "TEMPERATURE=0.7")
    told = found["comparison"]
    assert (told["clips"], told["all_looked_at"]) == (3 * CLIPS, True)
    (hindi,) = told["languages"]
    assert hindi["cer"]["value"] == pytest.approx(4 / 21, abs=0.06)
    assert hindi["identical"] == 0
    assert {(one["first"], one["second"]) for one in told["worst"]} == {(TEXTS["hi"], OTHER)}
    assert {(one["video_id"], one["segment_file"]) for one in told["worst"]} == set(place.results())
    turned = (await place.answers("compare", "TEMPERATURE=0.7", "TEMPERATURE=0", "--clips", "5"))[
        "comparison"
    ]
    assert (turned["clips"], turned["all_looked_at"]) == (5, False)
    assert {(one["first"], one["second"]) for one in turned["worst"]} == {(OTHER, TEXTS["hi"])}
    # Asked in a third way, both are kept aside.
    await place.run("--again", MODEL_ID="gemini-2.5-flash")
    both_kept = (
        await place.answers("compare", "TEMPERATURE=0 MODEL_ID=gemini-3-flash-preview", "TEMPERATURE=0.7")
    )["comparison"]
    assert both_kept["languages"] == told["languages"]

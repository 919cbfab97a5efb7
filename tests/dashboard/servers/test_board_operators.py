"""What operators look for on the board: what is serious, what was left out and how it sounds, what is held."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import numpy as np
import orjson
import pytest
import pytest_asyncio

from board_kit import Answer, Visitor, a_board
from fleet_kit import Stage, a_stage, change, rows
from lipika.audio.codec import Audio, decode, encode_flac
from lipika.db import Database
from lipika.fleet.status import _lines, read_status
from lipika.wording import money
from postgres_kit import TEMPLATE, fresh_database

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class Scene:
    """A video that was done by a worker, of which two segments were left out, and a board over it."""

    stage: Stage
    visitor: Visitor
    video: str
    archive: Path
    short: Audio  # what the segment that is too short sounds like

    @property
    def database_url(self) -> str:
        return self.stage.database_url

    async def hear(self, path: str) -> tuple[str, Answer]:
        """What the player's piece of a page says, and the audio that it plays."""
        piece = await self.visitor.get(path)
        link = re.search(r'src="(/review/audio[^"]+)"', piece.text)
        assert link is not None, piece.plain
        return piece.text, await self.visitor.get(unescape(link[1]))


@pytest.fixture(scope="module")
def database_url_of_module(postgres_url: str) -> Iterator[str]:
    yield from fresh_database(postgres_url, TEMPLATE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    database_url_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("operators")
    short = Audio(np.random.default_rng(3).integers(-9000, 9000, 6_400, np.int16), 16_000, 16)
    async with a_stage(folder, database_url_of_module) as stage:
        (video,) = await stage.queue(1, segments=4)
        archive = folder / "in" / f"{video}.tar"
        with tarfile.open(archive, "a") as tar:
            for name, data in {
                "segments/speaker7_90000_90040.flac": encode_flac(short),
                "segments/speaker7_91000_91500.flac": b"fLaC and no more",
            }.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        await stage.work()
        async with (
            a_board(database_url_of_module, output_url=str(stage.out)) as url,
            Visitor(url) as visitor,
        ):
            yield Scene(stage, visitor, video, archive, short)


@contextmanager
def moved_away(file: Path) -> Iterator[None]:
    aside = file.rename(file.with_suffix(".aside"))
    try:
        yield
    finally:
        aside.rename(file)


def flag(url: str, number: int, severity: str, kind: str = "rate_high", minutes: int = 0) -> None:
    change(
        url,
        "insert into transcription_flags (video_id, segment_file, flag_type, severity, created_at)"
        " values ('w', %s, %s, %s, now() - make_interval(mins => %s))",
        f"speaker0_{number:05}_{number + 100:05}.flac",
        kind,
        severity,
        minutes,
    )


# ----------------------------------------------------------------------------- what was left out


async def test_a_video_lists_what_was_left_out_and_each_can_be_heard(scene: Scene) -> None:
    page = await scene.visitor.get(f"/queue/video?video={scene.video}")
    left_out = page.text[page.text.index('id="left-out"') :]
    assert left_out.count(">Hear<") == 2
    assert all(said in left_out for said in ("too short", "bad audio", "15:00.00 to 15:00.40"))
    links = [unescape(link) for link in re.findall(r'href="(/review/clip\?[^"]+raw=[^"]+)"', left_out)]
    for link in links:
        page = await scene.visitor.get(link)
        piece = unescape(re.findall(r'hx-get="(/review/wave[^"]+)"', page.text)[0])
        if "91500" in link:
            assert "It cannot be heard: " in (await scene.visitor.get(piece)).plain
            continue
        wave, sound = await scene.hear(piece)
        assert "As it lies in the input archive." in wave
        assert 'class="left-out"' in wave
        assert np.array_equal(decode(sound.data).samples, scene.short.samples)


async def test_audio_of_what_was_left_out_goes_through_the_same_door(scene: Scene) -> None:
    query = f"video={scene.video}&clip=speaker7_90000_90040.flac"
    wave = await scene.visitor.get(f"/review/wave?{query}&raw=900000")
    signed = unescape(re.findall(r'src="([^"]+)"', wave.text)[0])
    assert (await scene.visitor.get(signed)).status == 200
    for forged in (signed.replace("raw=900000", "raw=1"), re.sub(r"&?raw=\d+", "", signed), signed[:-3]):
        assert (await scene.visitor.get(forged)).status == 403
    # Only what a flag says was left out, not whatever lies in the archive.
    (clip,) = rows(scene.database_url, "select source_segment as name from transcription_results limit 1")
    inside = await scene.visitor.get(f"/review/wave?video={scene.video}&clip={clip.name}&raw=0")
    assert "Nothing of this name was left out" in inside.plain


async def test_where_the_archive_is_gone_a_sentence_says_so(scene: Scene) -> None:
    query = f"video={scene.video}&clip=speaker7_90000_90040.flac&raw=900000"
    with moved_away(scene.archive):
        said = (await scene.visitor.get(f"/review/wave?{query}")).plain
    assert said.startswith("It cannot be heard: ")
    assert str(scene.archive) in said


# ----------------------------------------------------------------------------- what can be heard while it waits


async def test_clips_of_a_video_that_was_put_back_still_play(scene: Scene) -> None:
    url = scene.database_url
    (clip,) = rows(
        url,
        "select *, trimmed_end_ms - trimmed_start_ms as kept_ms from transcription_results"
        " order by segment_file limit 1",
    )
    wave = f"/review/wave?video={scene.video}&clip={clip.segment_file}"
    result = Path(rows(url, "select output_key from video_queue")[0].output_key)
    page, before = await scene.hear(wave)
    assert "sound-note" not in page
    await scene.visitor.get("/queue")
    said = await scene.visitor.send(
        "/queue/requeue", video=scene.video, also_done="yes", back=f"/queue/video?video={scene.video}"
    )
    assert "stored answers are used again" in said.plain
    change(url, "update video_queue set status = 'done', completed_at = now()")
    said = await scene.visitor.send("/queue/requeue", video=scene.video, back="/queue")
    assert "a done one starts over by “Do again” on its page" in said.plain
    change(url, "update video_queue set status = 'pending'")
    page, again = await scene.hear(wave)
    assert "result of its last time" in page
    assert again.data == before.data

    with moved_away(result):
        page, cut = await scene.hear(wave)
        assert "cut from the input archive" in page
        assert decode(cut.data).duration_ms == pytest.approx(clip.kept_ms, abs=1)
        with moved_away(scene.archive):
            said = await scene.visitor.get(wave)
    assert "no result archive yet, and the input archive gives no audio either: " in said.plain
    change(url, "update video_queue set status = 'done', completed_at = now()")


# ----------------------------------------------------------------------------- what comes first


async def test_serious_flags_come_first_and_what_was_left_out_is_counted(scene: Scene) -> None:
    url = scene.database_url
    for number in range(45):
        flag(url, number, "warn", "discard:too_short")
    flag(url, 100, "warn", minutes=1)
    flag(url, 101, "fail", minutes=60)
    flag(url, 102, "info")
    page = await scene.visitor.get("/review")
    order = re.findall(r'tr data-severity="(\w+)"', page.text)
    assert order == sorted(order, key=["fail", "warn", "info"].index)
    assert {"fail", "warn", "info"} <= set(order)
    assert "left out: too short" not in page.text[: page.text.index('id="left-out"')].partition("</form>")[2]
    ((short,),) = rows(url, "select count(*) from transcription_flags where flag_type = 'discard:too_short'")
    line = re.search(r'<tr data-reason="too_short">.*?</tr>', page.text, re.DOTALL)
    assert line is not None
    assert f">{short}<" in line[0]
    ((clips,),) = rows(url, "select count(*) from transcription_flags where flag_type not like 'discard:%%'")
    assert f'id="open-flags">{clips}<' in page.text
    listed = await scene.visitor.get("/review?type=discard:too_short")
    assert listed.text.count("Hear what was left out") == 40
    change(url, "delete from transcription_flags where video_id = 'w'")


async def test_pages_of_serious_flags_have_neither_gap_nor_double(scene: Scene) -> None:
    url = scene.database_url
    for number in range(95):
        flag(url, number, ("fail", "warn", "info")[number % 3], minutes=number % 7)
    found, path = [], "/review?video=w"
    while path:
        page = await scene.visitor.get(path)
        found += re.findall(r'class="mono soft break">(\S+)<', page.text)
        more = re.search(r'<a href="([^"]+)" rel="next"', page.text)
        path = unescape(more[1]) if more else ""
    assert len(found) == len(set(found)) == 95
    change(url, "delete from transcription_flags where video_id = 'w'")


# ----------------------------------------------------------------------------- what is held, spent, in use


async def test_held_videos_are_said_with_why_and_the_way_out(scene: Scene) -> None:
    url = scene.database_url
    change(
        url,
        "insert into video_queue (video_id, source_key, output_key, held, error_code, error_message)"
        " select 'held-' || n, '/in/' || n, '/out/' || n, true, case when n > 1 then 'would_pay_again' end,"
        " case when n > 1 then 'this would pay again for 3 clips' end from generate_series(1, 3) n",
    )
    truth = rows(
        url,
        "select error_code, count(*) from video_queue where status = 'pending' and held group by 1 order by 2",
    )
    assert [tuple(row) for row in truth] == [(None, 1), ("would_pay_again", 2)]
    for path in ("/", "/queue"):
        said = (await scene.visitor.get(path)).plain
        assert "2 videos are held by workers: their answers were paid for under other settings" in said
        assert "1 video is held by a person. The way out: lipika queue release VIDEO" in said
    listed = await scene.visitor.get("/queue?show=held")
    assert re.findall(r'tr data-video="(held-\d)"', listed.text) == ["held-1", "held-2", "held-3"]
    assert listed.plain.count("this would pay again for 3 clips") == 2
    metrics = (await scene.visitor.get("/metrics")).text
    assert 'lipika_queue_held_videos{reason="would_pay_again"} 2.0' in metrics
    async with Database(url) as database:
        told = "\n".join(_lines(await read_status(database)))
    assert "Held: 2 by workers: their answers" in told
    assert "PAY_AGAIN=1 for workers, then lipika queue release" in told
    await scene.visitor.send("/queue/release", video="held-1", back="/queue")
    assert "held by a person" not in (await scene.visitor.get("/queue")).plain
    change(url, "delete from video_queue where video_id like 'held-%%'")


async def test_dollars_of_canaries_are_apart_wherever_spending_is_shown(scene: Scene) -> None:
    url = scene.database_url
    change(url, "update provider_spend set usd = 0")
    spend = (
        "insert into provider_spend (provider, worker_id, day, usd, asked_at)"
        " values ('aistudio', %s, now(), %s, 0)"
    )
    change(url, spend, "host-ab12cd", 7.25)
    change(url, spend, "canary-20261128-101500-ab12-0", 3.5)
    ((production, canary),) = rows(
        url,
        "select sum(usd) filter (where worker_id !~ '^canary-') p, sum(usd) filter (where worker_id ~ '^canary-') c"
        " from provider_spend",
    )
    fleet = (await scene.visitor.get("/")).text
    assert f'id="spent">{money(production)}<' in fleet
    assert f'id="spent-canaries">{money(canary)}<' in fleet
    page = (await scene.visitor.get("/spend")).text
    assert f'id="usd-total">{money(production)}<' in page
    assert f'id="usd-canary">{money(canary)}<' in page
    metrics = (await scene.visitor.get("/metrics")).text
    for window in ("day", "total"):
        assert f'lipika_fleet_canary_spend_dollars{{window="{window}"}} {canary}' in metrics
    async with Database(url) as database:
        told = "\n".join(_lines(await read_status(database)))
    assert f"Spent: {money(production)}, " in told
    assert f"Canaries: {money(canary)}, apart from that" in told
    change(url, "delete from provider_spend where usd in (7.25, 3.5)")


async def test_the_last_error_of_a_worker_ages_and_goes(scene: Scene) -> None:
    url = scene.database_url
    for age, shown in (("3 minutes", "new"), ("3 hours", "old"), ("2 days", None)):
        change(
            url,
            "update workers set last_error = 'it [broke]', last_error_at = now() - %s::interval, live_at = now()",
            age,
        )
        page = await scene.visitor.get("/")
        found = re.search(r'data-error-age="(\w+)">it \[broke\] \(([^)]*) ago\)', page.text)
        assert (found and found[1]) == shown
    assert "it [broke]" not in page.text


async def test_what_is_used_now_stands_beside_each_limit(scene: Scene) -> None:
    url = scene.database_url
    change(
        url,
        "insert into provider_budgets (provider, requests_per_minute, tokens_per_minute, spend_10min_usd,"
        " spend_day_usd, spend_total_usd) values ('aistudio', 1000, 2000000, 5, 20, 100)"
        " on conflict (provider, project) do update set requests_per_minute = 1000, tokens_per_minute = 2000000,"
        " spend_10min_usd = 5, spend_day_usd = 20, spend_total_usd = 100",
    )
    change(
        url,
        "update workers set status = 'online', live_at = now(), last_heartbeat_at = now(), active_rpm = 120,"
        " active_tpm = 50000, active_usd = 0.2",
    )
    change(url, "update provider_spend set usd = 12.5, day = (now() at time zone 'utc')::date")
    ((spent,),) = rows(url, "select sum(usd) from provider_spend where provider = 'aistudio'")
    page = await scene.visitor.get("/")
    meters = {
        name: " ".join(re.sub(r"<[^>]+>", " ", text).split())
        for name, text in re.findall(
            r'class="small meter" data-limit="(\w+)">(.*?)</div>', page.text, re.DOTALL
        )
    }
    assert meters == {
        "rpm": "requests 120 of 1,000 12.0 %",
        "tpm": "tokens 50 k of 2 M 2.5 %",
        "spend_10min": "$ in 10 min $2.00 of $5.00 40.0 %",
        "spend_day": f"$ today {money(spent)} of $20.00 62.5 %",
        "spend_total": f"$ in all {money(spent)} of $100.00 12.5 %",
    }
    form = (await scene.visitor.get("/fleet/budget?provider=aistudio")).plain
    assert "in use now: 120" in form


async def test_charts_begin_with_the_first_worker(scene: Scene) -> None:
    page = await scene.visitor.get("/")
    assert page.status == 200
    ((minutes,),) = rows(scene.database_url, "select count(distinct minute) from worker_minutes")
    async with aiohttp.ClientSession() as session, session.get(f"{scene.visitor.url}/fleet/live") as live:
        await live.content.readline()
        news = orjson.loads((await live.content.readline()).removeprefix(b"data: "))
    assert minutes <= len(news["series"]["at"]) <= max(minutes + 3, 2)  # an hour has 61


# ----------------------------------------------------------------------------- finding, and what failed


async def test_a_video_is_found_by_a_part_of_its_id(scene: Scene) -> None:
    url = scene.database_url
    change(
        url,
        "insert into video_queue (video_id, source_key, output_key)"
        " select id, '/in/' || id, '/out/' || id"
        " from unnest(array['dQw4w9WgXcQ', 'a100%%b', 'a100_b', 'Äpfel/7']) id",
    )
    found: dict[str, list[str]] = {}
    for part in ("w9Wg", "100%", "0_b", "fel/", "dQw4", "w9wg", "nothing"):
        page = await scene.visitor.get(f"/queue?{urlencode({'find': part})}")
        found[part] = re.findall(r'tr data-video="([^"]+)"', page.text)
    assert found == {
        "w9Wg": ["dQw4w9WgXcQ"],
        "100%": ["a100%b"],
        "0_b": ["a100_b"],
        "fel/": ["Äpfel/7"],
        "dQw4": ["dQw4w9WgXcQ"],
        "w9wg": [],
        "nothing": [],
    }
    whole = await scene.visitor.get("/queue?find=dQw4w9WgXcQ", follow=False)
    assert whole.headers["location"] == "/queue/video?video=dQw4w9WgXcQ"
    change(url, "delete from video_queue where source_key = '/in/' || video_id")


async def test_a_failed_clip_says_what_happened_what_is_done_and_what_one_can_do(scene: Scene) -> None:
    url = scene.database_url
    (clip,) = rows(url, "select segment_file from transcription_results order by 1 desc limit 1")
    change(
        url,
        "update transcription_results set status = 'failed', failure_kind = 'blocked', failure_message = 'SAFETY',"
        " transcription = null where segment_file = %s",
        clip.segment_file,
    )
    page = (await scene.visitor.get(f"/review/clip?video={scene.video}&clip={clip.segment_file}")).plain
    for said in (
        "a filter of its own blocked the answer",
        "What is done",
        "type the text yourself",
        "SAFETY",
    ):
        assert said in page

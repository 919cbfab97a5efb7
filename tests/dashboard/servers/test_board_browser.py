"""The board in a real browser over a real run: a worker process, the simulator, the embedded Postgres."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from board_kit import a_board
from fleet_kit import Stage, a_stage, change, rows, until
from lipika.db import Database, Queue
from lipika.db.datasets import (
    Datasets,
    DefectRecord,
    ExportCounts,
    PlannedExport,
    TarsetRecord,
    VerificationRecord,
)
from lipika.models import NewVideo
from places import KITS

CHROMIUM = shutil.which("chromium")
AXE = (KITS / "vendor" / "axe.min.js").read_text("utf-8")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = (
    "/",
    "/queue",
    "/queue?show=failed",
    "/queue?show=done",
    "/queue?show=held",
    "/queue?find=0",
    "/quality",
    "/spend",
    "/review",
    "/datasets",
    "/errors",
)
LIVE_S = 1.0
expect.set_options(timeout=15_000)  # a busy machine draws slowly

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]


@dataclass(slots=True)
class Run:
    """A finished part of a corpus, one worker still alive, the board over it."""

    stage: Stage
    url: str
    browser: Browser
    worker: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)  # what browsers complained about

    async def page(self, *, dark: bool = False, width: int = 1360) -> Page:
        context = await self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page = await context.new_page()
        page.on("console", lambda message: self._console(message))  # noqa: PLW0108 - it would hang itself on the method's owner
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.text} ({message.location})")

    def one(self, query: str) -> Any:
        """The one value that a query gives."""
        ((value,),) = rows(self.stage.database_url, query)
        return value


@pytest.fixture(scope="module")
def database_url_of_module(postgres_url: str) -> Any:
    from postgres_kit import TEMPLATE, fresh_database

    yield from fresh_database(postgres_url, TEMPLATE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(database_url_of_module: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """Five videos done by a worker process that stays; one that fails; then a browser."""
    folder = tmp_path_factory.mktemp("board")
    url = database_url_of_module
    async with a_stage(folder, url) as stage:
        await stage.queue(videos=5, segments=8)
        async with Database(url) as database:
            await Queue(database).add(
                [NewVideo("gone", str(folder / "no such.tar"), f"{stage.out}/gone.tar", "hi")], max_attempts=1
            )
        worker = await _worker(stage)
        try:
            await until(lambda: _ended(url) == 6 and _counted(url), seconds=60)
            await _export(url)
            async with (
                a_board(url, output_url=str(stage.out), live_s=LIVE_S) as board_url,
                async_playwright() as playwright,
            ):
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
                yield Run(stage, board_url, browser, worker)
                await browser.close()
        finally:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()


async def _export(url: str) -> None:
    """Two exports on record: one that was found damaged, one on its way."""
    tarsets = (
        TarsetRecord("hi", "train", 3, 900, 7_200.0),
        TarsetRecord("hi", "dev", 1, 100, 900.0),
        TarsetRecord("ta", "train", 1, 50, 450.0),
    )
    counts = ExportCounts(1_100, 1_050, {"lane": 40, "marker": 10})
    plan = PlannedExport(
        dest="/data/corpus",
        format="nemo",
        options={"view": "native", "languages": ["hi", "ta"], "seed": 7},
        plan_digest="a" * 64,
        counts=counts,
        tarsets=tarsets,
        jobs_total=4,
    )
    async with Database(url) as database:
        datasets = Datasets(database)
        done = await datasets.start(plan)
        await datasets.finish(done.id, counts, tarsets, size=3_210_000_000, seconds=75.0)
        defects = (DefectRecord("hi/train/audio_1.tar", "truncated", "ends in the middle of a member"),)
        await datasets.put_verification(plan.dest, VerificationRecord("bad", 1_049, 1, defects))
        begun = await datasets.start(replace(plan, dest="s3://bucket/corpus", format="parquet"))
        await datasets.progress(begun.id, jobs_done=1, size=800_000_000, seconds=20.0)


async def _worker(stage: Stage) -> asyncio.subprocess.Process:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    settings = {
        "DATABASE_URL": stage.database_url,
        "GEMINI_BASE_URL": stage.url,
        "GEMINI_API_KEY": "k",
        "OUTPUT_URL": str(stage.out),
        "BATCH_INTERVAL_SECONDS": "2",
        "LIVE_SECONDS": "0.5",
        "HEARTBEAT_SECONDS": "1",
        "WORKER_INSTANCE_ID": "box",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lipika", "worker", env=kept | settings, stderr=asyncio.subprocess.DEVNULL
    )


def _ended(url: str) -> int:
    return len(rows(url, "select 1 from video_queue where status in ('done', 'failed')"))


def _counted(url: str) -> bool:
    """Whether the ledger and the worker's row have what the batches have: each is told on a beat of its own."""
    ((spent, cost, started, sent),) = rows(
        url,
        "select (select sum(usd) from provider_spend) s, (select sum(cost_usd) from transcription_batches) c,"
        " (select sum(total_segments_sent) from workers) t, (select sum(segments_sent) from transcription_batches) b",
    )
    return bool(spent and cost) and spent == pytest.approx(cost) and started == sent


def _number(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


# ----------------------------------------------------------------------------- figures


async def test_figures_on_the_pages_are_those_of_the_database(run: Run) -> None:
    page = await run.page()
    await page.goto(run.url)
    await expect(page.locator("#beat")).to_contain_text("live")
    assert await page.locator("#videos-done").inner_text() == str(
        run.one("select count(*) from video_queue where status = 'done'")
    )
    assert await page.locator("#videos-all").inner_text() == str(run.one("select count(*) from video_queue"))
    spent = run.one("select sum(usd) from provider_spend")
    assert _number(await page.locator("#spent").inner_text()) == pytest.approx(spent, abs=1e-4)
    worker = page.locator("tr[data-worker]")
    assert await worker.get_attribute("data-worker") == run.one("select worker_id from workers")
    assert await worker.get_attribute("data-state") == "live"
    assert str(run.one("select total_segments_sent from workers")) in await worker.inner_text()

    await page.goto(f"{run.url}/queue")
    assert await page.locator("#failed").inner_text() == "1"
    for language, videos in rows(
        run.stage.database_url, "select coalesce(language, 'unknown'), count(*) from video_queue group by 1"
    ):
        cells = page.locator(f"tr[data-language={language}] td[data-label=Videos]")
        assert await cells.inner_text() == str(videos)

    await page.goto(f"{run.url}/quality")
    assert await page.locator("#clips").inner_text() == str(
        run.one("select count(*) from transcription_results")
    )
    found = rows(
        run.stage.database_url,
        "select f ->> 'code', count(distinct (video_id, segment_file)) from transcription_results,"
        " jsonb_array_elements(findings) f group by 1",
    )
    for code, clips in found:
        assert await page.locator(f"tr[data-code={code}] td[data-label=Clips]").inner_text() == str(clips)

    await page.goto(f"{run.url}/spend")
    assert _number(await page.locator("#usd-total").inner_text()) == pytest.approx(spent, abs=1e-4)
    requests = page.locator("tr[data-day] td[data-label=Requests]").first
    assert await requests.inner_text() == str(run.one("select sum(segments_sent) from transcription_batches"))

    await page.goto(f"{run.url}/datasets")
    assert await page.locator("#datasets tbody tr").count() == run.one("select count(*) from datasets")
    begun, done = await page.locator("#datasets tbody tr").all_inner_texts()
    assert all(
        said in begun for said in ("s3://bucket/corpus", "parquet", "being written", "800 MB", "not yet")
    )
    assert all(
        said in done for said in ("/data/corpus", "nemo", "written", "3.2 GB", "1,050", "2.4 h", "1 defect")
    )
    await page.get_by_role("link", name="/data/corpus").click()
    hindi = page.locator("tr[data-language=hi]")
    assert [
        await hindi.locator(f"td[data-label={name}]").inner_text() for name in ("train", "dev", "All")
    ] == [
        "2.0 h",
        "15.0 min",
        "2.2 h",
    ]
    assert await page.locator("#dropped tbody tr").all_inner_texts() == ["lane\t40\t", "marker\t10\t"]
    assert "hi/train/audio_1.tar" in await page.locator("#defects").inner_text()
    assert '["hi", "ta"]' in await page.locator("#options").inner_text()

    await page.goto(f"{run.url}/review")
    flags = run.one(
        "select count(*) from transcription_flags where not resolved and left(flag_type, 8) <> 'discard:'"
    )
    assert await page.locator("#open-flags").inner_text() == str(flags)
    assert await page.locator("#flags tbody tr").count() == min(flags, 40)


# ----------------------------------------------------------------------------- a clip


async def test_a_clip_can_be_heard_and_seen(run: Run) -> None:
    video, clip, text, milliseconds = rows(
        run.stage.database_url,
        "select video_id, segment_file, transcription, duration_ms from transcription_results"
        " where status = 'transcribed' order by video_id limit 1",
    )[0]
    page = await run.page()
    await page.goto(f"{run.url}/queue/video?video={video}")
    await page.get_by_role("link", name=clip.removesuffix(".flac")).click()
    assert await page.locator("#transcription").inner_text() == " ".join(text.split())
    await page.locator("#wave .shape").wait_for()
    length = await page.evaluate(
        """async () => {
          const player = document.getElementById("player");
          if (player.readyState < 1) await new Promise((ready) => player.addEventListener("loadedmetadata", ready));
          return player.duration;
        }"""
    )
    assert length * 1000 == pytest.approx(milliseconds, abs=2)
    await page.locator("#wave").click(position={"x": 400, "y": 40})
    await page.wait_for_function("() => document.getElementById('player').currentTime > 0")


# ----------------------------------------------------------------------------- verbs


async def test_a_failed_video_is_requeued_and_held_and_let_go(run: Run) -> None:
    page = await run.page()
    change(run.stage.database_url, "update workers set status = status")  # a write of another does no harm
    await page.goto(f"{run.url}/queue?show=failed")
    await page.locator("tr[data-video=gone]").get_by_role("button", name="Requeue").click()
    await expect(page.locator("#said")).to_contain_text("1 of 1 put back")
    await until(lambda: _ended(run.stage.database_url) == 6)  # the worker takes it, and it fails again
    await page.goto(f"{run.url}/queue/video?video=gone")
    await expect(page.locator("#content")).to_contain_text("failed")


async def test_a_flag_is_resolved_with_a_note_and_opened_again(run: Run) -> None:
    change(
        run.stage.database_url,
        "insert into transcription_flags (video_id, segment_file, flag_type, severity, details)"
        " select video_id, segment_file, 'rate_high', 'warn', 'too quick' from transcription_results limit 1",
    )
    page = await run.page()
    await page.goto(f"{run.url}/review?type=rate_high")
    await page.locator("#flags tbody th a").first.click()
    await page.get_by_label("Note").first.fill("listened to it: <fine>")
    await page.get_by_role("button", name="Resolve").first.click()
    await expect(page.locator("#said")).to_contain_text("Resolved")
    query = "select resolved, resolved_by, note from transcription_flags where flag_type = 'rate_high'"
    assert rows(run.stage.database_url, query) == [(True, "operator", "listened to it: <fine>")]
    await page.get_by_role("button", name="Open again").first.click()
    await expect(page.locator("#said")).to_contain_text("Opened again")
    assert rows(run.stage.database_url, query)[0].resolved is False


async def test_limits_and_pause_reach_the_budget(run: Run) -> None:
    page = await run.page()
    await page.goto(f"{run.url}/fleet/budget?provider=aistudio")
    await page.get_by_label("Requests a minute").fill("many")
    await page.get_by_role("button", name="Set").click()
    await expect(page.get_by_role("alert")).to_contain_text("'many' will not do")
    await page.get_by_label("Requests a minute").fill("18,000")
    await page.get_by_label("Dollars in all").fill("90000,5")
    await page.get_by_role("button", name="Set").click()
    await expect(page.get_by_role("alert")).to_contain_text("decimals take a point")
    await page.get_by_label("Dollars in all").fill("123456.75")
    await page.get_by_role("button", name="Set").click()
    await expect(page.locator("#said")).to_contain_text("Limits changed")
    await page.goto(f"{run.url}/fleet/budget?provider=aistudio")  # what stands there is what is saved again
    await expect(page.get_by_label("Requests a minute")).to_have_value("18,000")
    await expect(page.get_by_label("Dollars in all")).to_have_value("123,456.75")
    await page.get_by_role("button", name="Set").click()
    await expect(page.locator("#said")).to_contain_text("Limits changed")
    query = "select requests_per_minute, spend_total_usd, paused from provider_budgets where provider = 'aistudio'"
    assert rows(run.stage.database_url, query) == [(18_000, 123_456.75, False)]
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("AI Studio is paused.")).to_be_visible()
    assert rows(run.stage.database_url, query)[0].paused is True
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("AI Studio is paused.")).to_be_hidden()


async def test_filters_work_by_keyboard_and_change_the_address(run: Run) -> None:
    page = await run.page()
    await page.goto(run.url)
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()
    await page.goto(f"{run.url}/review")
    await page.locator("#severity").select_option("fail")
    await page.wait_for_url("**/review?*severity=fail*")
    await expect(page.locator("#severity")).to_have_value("fail")


# ----------------------------------------------------------------------------- for everybody


@pytest.mark.parametrize(("dark", "width"), [(False, 1360), (True, 375)], ids=["light, wide", "dark, phone"])
async def test_axe_finds_nothing_serious_and_no_page_is_wider_than_the_screen(
    run: Run, dark: bool, width: int
) -> None:
    page = await run.page(dark=dark, width=width)
    ((video, clip),) = rows(
        run.stage.database_url,
        "select video_id, segment_file from transcription_results order by 1, 2 limit 1",
    )
    clip_page = f"/review/clip?video={video}&clip={clip}"
    first = run.one("select min(id) from datasets")
    export = f"/datasets?id={first}"
    for path in (*PAGES, export, f"/queue/video?video={video}", clip_page, "/fleet/budget?provider=aistudio"):
        await page.goto(run.url + path)
        if path == clip_page:
            await page.locator("#player").wait_for()
        await page.evaluate(f"{AXE}; 0")
        problems = await page.evaluate(
            """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
              .filter((found) => ["serious", "critical"].includes(found.impact))
              .map((found) => [found.id, found.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3)])"""
        )
        assert problems == [], path
        sizes = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert sizes[0] <= sizes[1], path
        if width < 500:  # nothing is cut off, or has to be pushed aside to be seen
            cut = """[...document.querySelectorAll('.card, .scroll, .nav')]
              .filter((box) => box.scrollWidth > box.clientWidth + 1).map((box) => box.outerHTML.slice(0, 200))"""
            assert await page.evaluate(cut) == [], path


async def test_the_theme_can_be_switched_and_stays(run: Run) -> None:
    page = await run.page()
    await page.goto(f"{run.url}/queue")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.get_by_role("button", name="Switch between light and dark").click()
    dark = await page.evaluate(ground)
    assert dark != light
    await page.goto(f"{run.url}/errors")
    assert await page.evaluate(ground) == dark


# ----------------------------------------------------------------------------- the end of workers


async def test_a_worker_that_is_told_to_go_goes_and_one_that_is_killed_shows_as_silent(run: Run) -> None:
    page = await run.page()
    await page.goto(run.url)
    await page.get_by_role("button", name="Drain").click()
    await expect(page.locator("#said")).to_contain_text("Told to stop")
    await asyncio.wait_for(run.worker.wait(), 20)
    assert run.worker.returncode == 0
    await expect(page.locator("tr[data-state=offline]")).to_have_count(1)

    second = await _worker(run.stage)
    await expect(page.locator("tr[data-state=live]")).to_have_count(1, timeout=20_000)
    second.send_signal(signal.SIGKILL)
    await second.wait()
    # Within 15 s: 12 of silence, then the next look.
    await expect(page.locator("tr[data-state=stale]")).to_have_count(1, timeout=15_000)
    await expect(page.locator("#beat")).to_contain_text("live")


async def test_no_browser_had_anything_to_complain_about(run: Run) -> None:
    # A limit that is refused answers 400, which the console reports.
    assert [text for text in run.said if "400" not in text] == []

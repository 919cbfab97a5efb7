"""Clips are corrected in a real browser, by keyboard alone, over a slow line, while others correct the same ones."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from board_kit import a_board
from fleet_kit import a_stage, change, rows
from lipika.dashboard.people import Person, Role, User
from lipika.db import Database
from lipika.people.edits import Edits, Saved
from lipika.people.rules import edit_text
from places import KITS

CHROMIUM = shutil.which("chromium")
AXE = (KITS / "vendor" / "axe.min.js").read_text("utf-8")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]  # fmt: skip
LATENCY_S = 0.3
PEOPLE = (
    Person(User("vera", Role.REVIEWER), "a-token-of-a-reviewer"),
    Person(User("rita", Role.READER), "a-token-of-a-reader"),
    Person(User("otto", Role.OPERATOR), "a-token-of-an-operator"),
)
expect.set_options(timeout=20_000)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
]


@dataclass(slots=True)
class Desk:
    """A finished corpus of real clips, the board over it, a browser."""

    database_url: str
    url: str
    browser: Browser
    said: list[str] = field(default_factory=list)  # what browsers complained about

    async def page(self, token: str, *, slow: bool = False, **options: Any) -> Page:
        """Signed in; `slow`: every request takes as long as over a bad line."""
        context = await self.browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        page = await context.new_page()
        page.on(
            "console", lambda message: self.said.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.goto(f"{self.url}/login")
        await page.get_by_label("Your token").fill(token)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{self.url}/")
        if slow:
            await page.route("**/*", _late)
        return page

    def one(self, query: Any, *parameters: object) -> Any:
        ((value,),) = rows(self.database_url, query, *parameters)
        return value

    async def other(self, video: str, clip: str, text: str) -> None:
        """A second reviewer, elsewhere, is quicker."""
        async with Database(self.database_url) as database:
            saved = await Edits(database).save_edit(video, clip, None, edit_text(text), "ravi")
        assert isinstance(saved, Saved)


async def _late(route: Route) -> None:
    await asyncio.sleep(LATENCY_S)
    await route.continue_()


@pytest.fixture(scope="module")
def database_url_of_module(postgres_url: str) -> Any:
    from postgres_kit import TEMPLATE, fresh_database

    yield from fresh_database(postgres_url, TEMPLATE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(database_url_of_module: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    url = database_url_of_module
    async with a_stage(folder, url) as stage:
        await stage.queue(videos=5, segments=9)
        await stage.work()
        change(
            url,
            "update transcription_results set transcription = %s, tagged = %s, detected_language = 'ur'"
            " where (video_id, segment_file) = (select video_id, segment_file from transcription_results"
            " where status = 'transcribed' order by 1 desc, 2 desc limit 1)",
            *["یہ ایک جملہ ہے <b>اور</b> نشان"] * 2,
        )
        async with (
            a_board(url, people=PEOPLE, output_url=str(stage.out)) as board_url,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
            yield Desk(url, board_url, browser)
            await browser.close()


SHOWN = """() => {
  const row = document.querySelector("#clips [aria-current]"), title = document.querySelector("#panel h2");
  if (!row || !title || document.getElementById("panel").ariaBusy) return null;
  return row.dataset.clip.startsWith(title.textContent) ? [row.dataset.video, row.dataset.clip] : null;
}"""


async def _shown(page: Page) -> tuple[str, str]:
    """The clip that is looked at, once its text is there."""
    found = await (await page.wait_for_function(SHOWN)).json_value()
    return found[0], found[1]


async def test_thirty_clips_are_corrected_by_keyboard_over_a_slow_line_and_none_overwrites_another(
    desk: Desk,
) -> None:
    page = await desk.page("a-token-of-a-reviewer", slow=True)
    await page.goto(f"{desk.url}/clips?status=transcribed")
    done: dict[tuple[str, str], str] = {}
    beaten: dict[tuple[str, str], str] = {}
    first = await _shown(page)
    await page.keyboard.press("e")
    for number in range(30):
        clip = first if number == 0 else await _shown(page)
        assert clip not in done and clip not in beaten  # noqa: PT018 - one thing
        await expect(page.locator("#edit-text")).to_be_focused()
        await page.keyboard.press("Control+End")
        await page.keyboard.type(f" ठीक {number}")
        typed = await page.locator("#edit-text").input_value()
        if number % 10 == 5:
            await desk.other(*clip, f"रवि का पाठ {number}")
            beaten[clip] = typed
        else:
            done[clip] = typed
        await page.keyboard.press("Control+Enter")
    await expect(page.locator("#clips .state.info, #clips .state.warn")).to_have_count(0)
    for (video, file), typed in done.items():
        text = desk.one(
            "select transcription from transcription_results where video_id = %s and segment_file = %s",
            video,
            file,
        )
        assert " ".join(text.split()[-2:]) == " ".join(typed.split()[-2:])
        row = page.locator(f"#clips [data-video='{video}'][data-clip='{file}'] .state")
        await expect(row).to_have_text("saved")
    for video, file in beaten:
        text = desk.one(
            "select transcription from transcription_results where video_id = %s and segment_file = %s",
            video,
            file,
        )
        assert text.startswith("रवि का पाठ")
        row = page.locator(f"#clips [data-video='{video}'][data-clip='{file}'] .state")
        await expect(row).to_contain_text("not saved: ravi has changed it")
    assert desk.one("select count(*) from transcription_edits where edited_by = 'vera' and not refused") == 27
    assert desk.one("select count(*) from transcription_edits where edited_by = 'vera' and refused") == 3

    # What was typed lies with the clip, beside what stands; nothing of it is lost, and it can be put over it.
    (video, file), typed = next(iter(beaten.items()))
    await page.locator(f"#clips [data-video='{video}'][data-clip='{file}']").click()
    await expect(page.locator("#conflict")).to_contain_text("रवि का पाठ")
    assert await page.locator("#edit-text").input_value() == typed
    await page.reload()
    await _shown(page)
    await page.locator(f"#clips [data-video='{video}'][data-clip='{file}']").click()
    await expect(page.locator("#edit-text")).to_have_value(typed)
    await expect(page.locator("#conflict")).to_contain_text("रवि का पाठ")
    await page.get_by_role("button", name="Save mine over it").focus()
    await page.keyboard.press("Enter")
    row = page.locator(f"#clips [data-video='{video}'][data-clip='{file}'] .state")
    await expect(row).to_have_text("saved")
    text = desk.one(
        "select transcription from transcription_results where video_id = %s and segment_file = %s",
        video,
        file,
    )
    assert text.split()[-2:] == typed.split()[-2:]


async def test_keys_play_go_on_accept_condemn_and_take_back(desk: Desk) -> None:
    page = await desk.page("a-token-of-a-reviewer")
    await page.goto(f"{desk.url}/clips?source=model&status=transcribed")
    clip = await _shown(page)
    await page.locator("#player").wait_for()
    await page.keyboard.press(" ")
    await page.wait_for_function("() => document.getElementById('player').currentTime > 0")
    await page.keyboard.press("5")
    await page.keyboard.press("l")
    assert await page.evaluate("[player.playbackRate, player.loop]") == [1.5, True]
    await page.keyboard.press("l")
    await page.keyboard.press("3")
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("ArrowDown")
    second = await _shown(page)
    assert second != clip
    await page.keyboard.press("ArrowUp")
    assert await _shown(page) == clip
    await page.keyboard.press("a")
    await expect(page.locator(f"#clips [data-clip='{clip[1]}'][data-video='{clip[0]}'] .state")).to_have_text(
        "accepted"
    )
    kinds = "select kind from transcription_edits where (video_id, segment_file) = (%s, %s) order by id"
    assert [row.kind for row in rows(desk.database_url, kinds, *clip)] == ["accepted"]
    assert await _shown(page) == second
    await page.keyboard.press("u")
    await page.keyboard.type("<i>two</i> people")
    await page.keyboard.press("Enter")
    state = page.locator(f"#clips [data-clip='{second[1]}'][data-video='{second[0]}'] .state")
    await expect(state).to_have_text("unusable, saved")
    assert (
        desk.one(
            "select count(*) from transcription_results where (video_id, segment_file) = (%s, %s)"
            ' and not asr_eligible and findings @> \'[{"code": "unusable"}]\'',
            *second,
        )
        == 1
    )
    await _shown(page)
    await page.keyboard.press("ArrowUp")
    assert await _shown(page) == second
    await expect(page.locator("#found")).to_contain_text("<i>two</i> people")
    await page.keyboard.press("z")
    await expect(state).to_have_text("taken back")
    assert [row.kind for row in rows(desk.database_url, kinds, *second)] == ["unusable", "undone"]


async def test_an_operator_orders_a_clip_to_be_asked_again_by_a_key(desk: Desk) -> None:
    page = await desk.page("a-token-of-an-operator")
    await page.goto(f"{desk.url}/clips?source=model&status=transcribed")
    video, clip = await _shown(page)
    await page.keyboard.press("r")
    await page.keyboard.type("gemini-2.5-pro")
    await page.keyboard.press("Enter")
    state = page.locator(f"#clips [data-clip='{clip}'][data-video='{video}'] .state")
    await expect(state).to_have_text("redo ordered")
    (ordered,) = rows(desk.database_url, "select query, asked, ordered_by from redos")
    assert tuple(ordered) == (f"clip={video}/{clip}", {"model_id": "gemini-2.5-pro"}, "otto")
    await page.goto(f"{desk.url}/redos")
    await expect(page.locator("#redos tbody tr")).to_contain_text(clip)


async def test_remarks_come_while_one_types_and_the_difference_is_shown(desk: Desk) -> None:
    page = await desk.page("a-token-of-a-reviewer")
    await page.goto(f"{desk.url}/clips?status=transcribed&source=model")
    await _shown(page)
    await page.keyboard.press("e")
    await page.keyboard.press("Control+End")
    await page.keyboard.type(" [laff] <script>alert(1)</script> ")
    await expect(page.locator("#remarks")).to_contain_text("[laff]")
    await expect(page.locator("#difference ins").first).to_be_visible()
    assert await page.locator("#difference script").count() == 0
    await page.keyboard.press("Escape")
    await expect(page.locator("#clips [aria-current]")).to_be_focused()
    await expect(page.locator("#clips [aria-current] .state")).to_have_text("draft")


async def test_what_is_typed_is_kept_while_the_board_is_away(desk: Desk) -> None:
    page = await desk.page("a-token-of-a-reviewer")
    await page.goto(f"{desk.url}/clips?status=transcribed&seed=4")
    video, clip = await _shown(page)
    await page.locator("#player").wait_for()
    await page.route("**/clips/edit", lambda route: route.abort())
    await page.keyboard.press("e")
    await page.keyboard.press("Control+End")
    await page.keyboard.type(" बना रहे")
    await page.keyboard.press("Control+Enter")
    state = page.locator(f"#clips [data-clip='{clip}'][data-video='{video}'] .state")
    await expect(state).to_contain_text("not saved yet")
    await page.unroute("**/clips/edit")
    await expect(state).to_have_text("saved")
    assert desk.one(
        "select transcription from transcription_results where (video_id, segment_file) = (%s, %s)",
        video,
        clip,
    ).endswith("बना रहे")
    desk.said[:] = [text for text in desk.said if "ERR_FAILED" not in text]


async def test_urdu_runs_from_the_right_and_markup_in_it_stays_text(desk: Desk) -> None:
    video, clip = next(
        iter(
            rows(
                desk.database_url,
                "select video_id, segment_file from transcription_results where position('<b>' in transcription) > 0",
            )
        )
    )
    page = await desk.page("a-token-of-a-reader")
    await page.goto(f"{desk.url}/clips?video={video}#{video}/{clip}")
    assert await _shown(page) == (video, clip)
    assert (
        await page.evaluate(
            "getComputedStyle(document.querySelector('#clips [aria-current] .line')).direction"
        )
        == "rtl"
    )
    assert await page.evaluate("getComputedStyle(document.getElementById('clip-text')).direction") == "rtl"
    assert "<b>" in await page.locator("#clip-text").inner_text()
    assert await page.locator("#clip-text b").count() == 0
    assert await page.locator("#edit-text").count() == 0  # a reader looks


@pytest.mark.parametrize(("dark", "width"), [(False, 1360), (True, 390)], ids=["light, wide", "dark, phone"])
async def test_axe_finds_nothing_serious_and_the_page_fits(desk: Desk, dark: bool, width: int) -> None:
    page = await desk.page(
        "a-token-of-a-reviewer",
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
    )
    for path in (
        "/clips",
        "/clips?finding=nothing",
        "/clips?language=hi&words=x&tier=gold",
        "/clips/all?status=transcribed",
    ):
        await page.goto(desk.url + path)
        if path == "/clips":
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


async def test_figures_of_quality_lead_to_as_many_clips(desk: Desk) -> None:
    page = await desk.page("a-token-of-a-reader")
    for place in ("#findings tbody tr", "#lanes tbody tr", ".columns a"):
        await page.goto(f"{desk.url}/quality")
        link = (
            page.locator(place).first
            if place == ".columns a"
            else page.locator(f"{place} td[data-label=Clips] a, {place} th a").first
        )
        said = await (
            page.locator(f"{place} td[data-label=Clips]").first.inner_text()
            if place != ".columns a"
            else link.get_attribute("aria-label")
        )
        await page.goto(desk.url + str(await link.get_attribute("href")))
        await expect(page.locator("#count")).to_have_text(
            f"{str(said).split()[0]} {'clip' if str(said).split()[0] == '1' else 'clips'}"
        )


async def test_no_browser_had_anything_to_complain_about(desk: Desk) -> None:
    assert desk.said == []

"""The page of samples in a real browser, opened from disk as people open it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from lipika.dataset.card import Sample, card_files
from lipika.languages import FIRST_CLASS
from places import KITS
from summary_kit import a_plan_row, a_summary, an_utterance

CHROMIUM = shutil.which("chromium")
AXE = (KITS / "vendor" / "axe.min.js").read_text("utf-8")
LONG = "w" * 400
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        one = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield one
        await one.close()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples in all languages; one has hostile text, one a word without an end."""
    folder = tmp_path_factory.mktemp("export")
    audio = an_utterance().audio
    samples = [Sample(a_plan_row(number, one), audio) for one in FIRST_CLASS for number in range(2)]
    samples += [Sample(a_plan_row(7, text=EVIL, verbatim=EVIL, speaker=EVIL), audio)]
    samples += [Sample(a_plan_row(8, text=LONG, tagged=LONG, speaker=LONG, findings=f"{LONG} b"), audio)]
    for path, content in card_files(a_summary(FIRST_CLASS, title=LONG), samples, []):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize(("dark", "width"), [(False, 360), (True, 1280)])
async def test_axe_finds_nothing_serious_and_the_page_is_no_wider_than_the_screen(
    browser: Browser, export: Path, dark: bool, width: int
) -> None:
    context = await browser.new_context(
        bypass_csp=True,  # for axe
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
    )
    page = await context.new_page()
    await page.goto((export / "samples.html").as_uri())
    await page.evaluate(f"{AXE}; 0")
    problems = await page.evaluate(
        """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
          .filter((found) => ["serious", "critical"].includes(found.impact))
          .map((found) => [found.id, found.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3)])"""
    )
    assert problems == []
    sizes = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert sizes[0] <= sizes[1]
    await context.close()


async def test_clips_play_from_disk_and_hostile_text_stays_text(browser: Browser, export: Path) -> None:
    page = await browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto((export / "samples.html").as_uri())
    seconds = await page.evaluate(
        """async () => { const one = document.querySelector("audio"); one.preload = "auto"; one.load();
          return await new Promise((done) => { one.onloadedmetadata = () => done(one.duration);
            one.onerror = () => done(one.error.message); }) }"""
    )
    assert seconds == pytest.approx(2.0)
    assert await page.title() == f"Samples: {LONG}"
    assert await page.locator("#hi .text").nth(2).inner_text() == EVIL
    assert await page.locator("#ur .text").first.evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert await page.locator("article").count() == 26
    assert said == []
    await page.close()


@pytest.mark.parametrize("name", ["hours", "lanes", "scores", "durations"])
async def test_charts_keep_their_words_within_the_picture(browser: Browser, export: Path, name: str) -> None:
    page = await browser.new_page()
    await page.goto((export / "card" / f"{name}.svg").as_uri())
    beyond = await page.evaluate(
        """() => [...document.querySelectorAll("text")].map((one) => [one.textContent, one.getBBox()])
          .filter(([, box]) => box.x < 0 || box.x + box.width > 720).map(([words]) => words)"""
    )
    assert beyond == []
    await page.close()

"""An audit heard on the board: by HTTP as pages ask, and in a browser by keyboard alone, with real audio."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from audit_kit import make_clips, store_clips
from board_kit import Answer, Visitor, a_board
from fleet_kit import a_stage, change, rows, until
from lipika.audit.draw import DrawOrder, draw
from lipika.dashboard.people import Person, Role, User
from lipika.db import Database
from lipika.db.audits import Audits
from places import KITS

CHROMIUM = shutil.which("chromium")
AXE = (KITS / "vendor" / "axe.min.js").read_text("utf-8")
ORDER = DrawOrder(seed=5, drawn_by="mira", per_language=10, double_share=0.2)
PEOPLE = tuple(
    Person(User(name, role), f"the-token-of-{name}")
    for name, role in (("mira", Role.REVIEWER), ("anil", Role.REVIEWER), ("ravi", Role.READER))
)
expect.set_options(timeout=15_000)


async def take(visitor: Visitor, **fields: str) -> dict[str, list[dict[str, object]]]:
    answer = await visitor.send("/audit/take", audit="1", **fields)
    assert answer.status == 200, answer.text
    taken: dict[str, list[dict[str, object]]] = json.loads(answer.text)
    return taken


async def judge(visitor: Visitor, place: object, usable: str, text: str = "") -> Answer:
    return await visitor.send(
        "/audit/judge", audit="1", place=str(place), usable=usable, text=text, seconds="7.5"
    )


@pytest.fixture
async def drawn(database_url: str, database: Database) -> str:
    """An audit of twenty clips in two languages."""
    store_clips(database_url, make_clips([10] * 6, languages=("hi", "ta")))
    await draw(Audits(database), ORDER)
    return database_url


async def test_two_people_hear_an_audit_side_by_side(drawn: str) -> None:
    async with (
        a_board(drawn, people=PEOPLE) as url,
        Visitor(url) as mira,
        Visitor(url) as anil,
    ):
        await mira.enter("the-token-of-mira")
        await anil.enter("the-token-of-anil")
        assert "0 of 24 judgements" in (await mira.get("/audit")).plain

        async def listen(visitor: Visitor) -> None:
            await visitor.get("/audit/hear?audit=1")
            while clips := (await take(visitor))["clips"]:
                clip = clips[0]
                answer = await judge(visitor, clip["place"], "yes", str(clip["text"]))
                assert json.loads(answer.text)["kept"]

        await asyncio.gather(listen(mira), listen(anil))
        page = await mira.get("/audit")
        assert "24 of 24 judgements" in page.plain
        assert "/audit/hear" not in page.text
    given = Counter(
        rows(
            drawn, "select place, c.doubled from audit_judgements join audit_clips c using (audit_id, place)"
        )
    )
    assert all(count == 1 + clip.doubled for clip, count in given.items())
    people = rows(drawn, "select distinct reviewer from audit_judgements")
    assert {row.reviewer for row in people} == {"mira", "anil"}
    assert rows(drawn, "select count(*) as n from audit_judgements where text is not null")[0].n == 0


async def test_what_was_said_can_be_said_again_and_is_kept_at_once(drawn: str) -> None:
    async with a_board(drawn, people=PEOPLE) as url, Visitor(url) as mira:
        await mira.enter("the-token-of-mira")
        await mira.get("/audit/hear?audit=1&language=ta")
        clips = (await take(mira, language="ta"))["clips"]
        assert [clip["language"] for clip in clips] == ["ta", "ta"]
        place = clips[0]["place"]
        kept = "select usable, text, seconds from audit_judgements where judged_at is not null"
        await judge(mira, place, "yes", f" {clips[0]['text']}  வேறு ")
        assert rows(drawn, kept) == [(True, f"{clips[0]['text']} வேறு", 7.5)]
        (again,) = (await take(mira, place=str(place)))["clips"]
        assert (again["usable"], again["corrected"]) == (True, f"{clips[0]['text']} வேறு")
        await judge(mira, place, "no")
        assert rows(drawn, kept) == [(False, None, 7.5)]
        await judge(mira, place, "pass")
        assert rows(drawn, kept) == [(None, None, 7.5)]
        assert place not in [clip["place"] for clip in (await take(mira, language="ta"))["clips"]]


async def test_what_is_not_a_judgement_is_refused(drawn: str) -> None:
    async with a_board(drawn, people=PEOPLE) as url, Visitor(url) as mira, Visitor(url) as ravi:
        await mira.enter("the-token-of-mira")
        await mira.get("/audit/hear?audit=1")
        place = (await take(mira))["clips"][0]["place"]
        for fields in (
            {"usable": "perhaps"},
            {"usable": "yes", "text": " "},
            {"usable": "yes", "text": "x" * 9_000},
            {"usable": "yes", "text": "x", "place": "-1"},
        ):
            answer = await mira.send("/audit/judge", **({"audit": "1", "place": str(place)} | fields))
            assert answer.status == 400, fields
        drawn_places = {row.place for row in rows(drawn, "select place from audit_clips where look > 0")}
        given = {row.place for row in rows(drawn, "select place from audit_judgements")}
        others = min(drawn_places - given)
        assert (await judge(mira, others, "yes", "x")).status == 409
        assert (await mira.send("/audit/take", audit="9")).status == 404
        assert (await mira.get("/audit/hear?audit=9")).status == 404
        assert (await mira.get("/audit/hear?audit=1&language=or")).status == 404
        await ravi.enter("the-token-of-ravi")
        assert "takes a reviewer" in (await ravi.get("/audit/hear?audit=1")).plain
        assert (await ravi.send("/audit/take", audit="1")).status == 403


async def test_nothing_drawn_shows_what_to_do(database_url: str) -> None:
    async with a_board(database_url) as url, Visitor(url) as visitor:
        assert "lipika audit draw" in (await visitor.get("/audit")).plain


# ----------------------------------------------------------------------------- in a browser


@dataclass(slots=True)
class Heard:
    """A page with a session of an audit, over real archives."""

    page: Page
    url: str
    said: list[str]

    async def key(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)


@asynccontextmanager
async def a_session(
    database_url: str, folder: Path, *, width: int = 1280, dark: bool = False
) -> AsyncIterator[Heard]:
    """A worker has finished two videos; an audit is drawn of their clips; a browser hears it."""
    async with a_stage(folder, database_url) as stage:
        await stage.queue(videos=2, segments=6)
        await stage.work()
        async with Database(database_url) as database:
            await draw(Audits(database), ORDER)
        async with a_board(database_url, output_url=str(stage.out)) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
            )
            context = await browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
            )
            page = await context.new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            yield Heard(page, url, said)
            await browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium")
async def test_a_session_by_keyboard_alone(database_url: str, tmp_path: Path) -> None:
    async with a_session(database_url, tmp_path) as heard:
        page = heard.page
        await page.goto(f"{heard.url}/audit")
        await page.locator("a", has_text="Hear all languages").focus()
        await heard.key("Enter")
        await expect(page.locator("#hear-usable")).to_be_focused()
        # What a model heard is not seen before one's own ears have.
        await expect(page.locator("#hear-text")).to_be_hidden()
        await page.wait_for_function("() => document.getElementById('hear-player').currentTime > 0")
        title = await page.locator("#hear-title").inner_text()
        await heard.key("1")
        await expect(page.locator("#hear-text")).to_be_focused()
        assert re.search(r"\w", await page.locator("#hear-text").input_value())
        await heard.key("Enter")
        await expect(page.locator("#hear-progress")).to_contain_text("1 of ")
        await expect(page.locator("#hear-usable")).to_be_focused()
        kept = "select usable, text from audit_judgements where judged_at is not null order by judged_at"
        assert rows(database_url, kept) == [(True, None)]

        await expect(page.locator("#hear[data-step=first]")).to_be_visible()
        await heard.key("1", "End")
        await page.keyboard.type(" और")
        await heard.key("Enter")
        await expect(page.locator("#hear-progress")).to_contain_text("2 of ")
        assert rows(database_url, kept)[1].text.endswith(" और")
        await expect(page.locator("#hear[data-step=first]")).to_be_visible()
        await heard.key("2")
        await expect(page.locator("#hear-progress")).to_contain_text("3 of ")
        assert rows(database_url, kept)[2] == (False, None)

        await expect(page.locator("#hear-usable")).to_be_focused()
        await expect(page.locator("#hear[data-step=first]")).to_be_visible()
        await heard.key("Alt+b")  # the clip before, to be judged again
        await expect(page.locator("#hear[data-step=first]")).to_be_visible()
        await heard.key("1", "Enter")
        await until(lambda: rows(database_url, kept)[-1].usable is True)
        assert len(rows(database_url, kept)) == 3

        await page.reload()  # gone on with where it was
        await expect(page.locator("#hear-progress")).to_contain_text("3 of ")
        await expect(page.locator("#hear-usable")).to_be_focused()
        assert title
        await page.evaluate(f"{AXE}; 0")
        problems = await page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
            ".filter((found) => ['serious', 'critical'].includes(found.impact)).map((found) => found.id)"
        )
        assert problems == []
        assert heard.said == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium")
async def test_all_that_was_drawn_can_be_heard_and_urdu_runs_from_the_right_on_a_phone(
    database_url: str, tmp_path: Path
) -> None:
    async with a_session(database_url, tmp_path, width=390, dark=True) as heard:
        page = heard.page
        urdu = "update audit_clips set language = 'ur', transcription = 'یہ ایک جملہ ہے', doubled = false"
        change(database_url, urdu)
        await page.goto(f"{heard.url}/audit/hear?audit=1")
        clips = rows(database_url, "select count(*) as n from audit_clips where look > 0")[0].n
        for number in range(clips):
            await expect(page.locator("#hear[data-step=first]")).to_be_visible()
            await heard.key("1")
            if number == 0:
                direction = "getComputedStyle(document.getElementById('hear-text')).direction"
                assert await page.evaluate(direction) == "rtl"
                sizes = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
                assert sizes[0] <= sizes[1]
            await heard.key("Enter")
            await expect(page.locator("#hear-progress")).to_contain_text(f"{number + 1} of {clips}")
        await expect(page.locator("#hear-title")).to_have_text("Nothing is left to hear here")
        assert heard.said == []

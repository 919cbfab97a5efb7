"""Blind votes on the board: clips drawn by seed, no word of which text is whose, every vote kept."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from audit_kit import make_clips, store_clips
from board_kit import Visitor, a_board
from command_kit import lipika_beside
from fleet_kit import a_stage, change, rows, until
from lipika.answers.ballot import BallotOrder, Ballots
from lipika.dashboard.people import Person, Role, User
from lipika.db import Database
from places import KITS
from ways_kit import OTHER, keep_other_answers, names_of_ways

CHROMIUM = shutil.which("chromium")
AXE = (KITS / "vendor" / "axe.min.js").read_text("utf-8")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
PEOPLE = tuple(
    Person(User(name, role), f"the-token-of-{name}")
    for name, role in (("mira", Role.REVIEWER), ("anil", Role.REVIEWER), ("ravi", Role.READER))
)
VOTES = "select choice, count(*)::int as n from comparison_votes where choice is not null group by 1"
expect.set_options(timeout=15_000)


@pytest.fixture
def answered(database_url: str) -> str:
    """Eighty clips in two languages with answers of two ways; two thirds of those differ."""
    store_clips(database_url, make_clips([10] * 8, languages=("hi", "ta")))
    keep_other_answers(database_url)
    return database_url


async def ask(visitor: Visitor, verb: str, **fields: str) -> dict[str, Any]:
    answer = await visitor.send(f"/compare/{verb}", comparison="1", **fields)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


async def enter(visitor: Visitor, name: str) -> Visitor:
    await visitor.enter(f"the-token-of-{name}")
    await visitor.get("/compare")
    return visitor


async def test_two_people_vote_without_knowing_which_is_which(answered: str) -> None:
    first, second = names_of_ways(answered)
    async with (
        a_board(answered, people=PEOPLE) as url,
        Visitor(url) as mira,
        Visitor(url) as anil,
        Visitor(url) as ravi,
    ):
        await enter(mira, "mira")
        fields = {"first": first, "second": second, "language": "hi", "clips": "30", "seed": "7"}
        page = await mira.send("/compare/draw", **fields)
        assert (page.status, "26 clips drawn" in page.plain or "27 clips drawn" in page.plain) == (200, True)
        clips = rows(answered, "select * from comparison_clips order by place")
        assert {clip.language for clip in clips} == {"hi"}
        assert all(clip.differing > 0 and clip.first_text != clip.second_text for clip in clips)
        again = await mira.send("/compare/draw", **fields)
        assert "Nothing drawn" in again.plain

        # Not a word of the ways in what a session is sent.
        sent = [page.text]
        await enter(anil, "anil")

        async def vote_on_all(visitor: Visitor) -> None:
            while clips := (answer := await ask(visitor, "take", language="hi"))["clips"]:
                sent.append(json.dumps(answer))
                for choice in ("left", "equal", "right"):
                    if clips:
                        place = str(clips.pop(0)["place"])
                        sent.append(json.dumps(await ask(visitor, "vote", place=place, choice=choice)))

        await asyncio.gather(vote_on_all(mira), vote_on_all(anil))
        for text in sent:
            assert not re.search(
                rf"{first}|{second}|\bfirst|\bsecond\b|usd|model|{re.escape(OTHER)}", text, re.IGNORECASE
            )
        given = Counter(row.place for row in rows(answered, "select place from comparison_votes"))
        assert given == {clip.place: 1 + clip.doubled for clip in clips}
        assert {row.first_left for row in rows(answered, "select first_left from comparison_votes")} == {
            True,
            False,
        }

        await enter(ravi, "ravi")
        figures = await ravi.get("/compare/figures?comparison=1")
        assert "<script>alert" not in figures.text
        assert OTHER in figures.plain.replace("&lt;", "<")
        assert "/compare/hear" not in (await ravi.get("/compare")).text
        assert "takes a reviewer" in (await ravi.get("/compare/hear?comparison=1")).plain
    told = await lipika_beside("answers", "votes", second, first, "--json", env={"DATABASE_URL": answered})
    assert told.returncode == 0, told.stderr
    (line,) = json.loads(told.stdout)["lines"]
    by_sql = rows(
        answered,
        "select count(*) filter (where choice = 'first')::int as first,"
        " count(*) filter (where choice = 'second')::int as second, count(*)::int as clips"
        " from (select distinct on (place) choice from comparison_votes order by place, voted_at, voter) v",
    )[0]
    assert (line["second"], line["first"], line["clips"]) == (by_sql.first, by_sql.second, by_sql.clips)
    assert line["usd_per_hour"][0] == pytest.approx(2 * line["usd_per_hour"][1])


async def test_a_vote_is_one_persons_own_and_can_be_taken_back(answered: str) -> None:
    first, second = names_of_ways(answered)
    async with a_board(answered, people=PEOPLE) as url, Visitor(url) as mira, Visitor(url) as anil:
        await enter(mira, "mira")
        await enter(anil, "anil")
        await mira.send("/compare/draw", first=second, second=first, clips="40", same="yes")
        change(answered, "update comparison_clips set doubled = true")
        own = (await ask(mira, "take"))["clips"]
        others = (await ask(anil, "take"))["clips"]
        assert [one["place"] for one in own] == [one["place"] for one in others]
        place = str(own[0]["place"])
        choice = "bad" if own[0]["left"] == own[0]["right"] else "right"
        await ask(mira, "vote", place=place, choice=choice)
        await ask(mira, "vote", place=place, choice=choice)  # a repeat of the same call does no harm
        assert (await mira.send("/compare/vote", comparison="1", place=place, choice="equal")).status == 409
        await ask(anil, "vote", place=place, choice="equal")
        kept = "select voter, choice from comparison_votes where choice is not null order by 1"
        before = rows(answered, kept)
        assert [row.voter for row in before] == ["anil", "mira"]
        assert before[0].choice == "equal"
        taken = (await ask(mira, "undo"))["clips"]
        assert taken == [own[0]]  # each text on the side where it was
        assert rows(answered, kept) == before[:1]
        assert (await ask(mira, "undo"))["clips"] == []
        await ask(mira, "vote", place=place, choice="skip")
        assert place not in [str(one["place"]) for one in (await ask(mira, "take"))["clips"]]

        same = rows(answered, "select place from comparison_clips where first_text = second_text limit 1")[
            0
        ].place
        change(answered, "insert into comparison_votes (comparison_id, place, voter) values (1, %s, 'mira')"
               " on conflict do nothing", same)  # fmt: skip
        for fields, status in (
            ({"place": str(same), "choice": "left"}, 409),
            ({"place": "999", "choice": "left"}, 409),
            ({"place": "-1", "choice": "left"}, 400),
            ({"place": place, "choice": "first"}, 400),
            ({"place": place, "choice": "left", "comparison": "9"}, 404),
        ):
            assert (await mira.send("/compare/vote", **({"comparison": "1"} | fields))).status == status, (
                fields
            )
        assert (await mira.send("/compare/draw", first=first, second=first, clips="5")).status == 422
        assert (await mira.send("/compare/draw", first="zz", second=first, clips="5")).status == 422
        assert (await mira.get("/compare/hear?comparison=9")).status == 404


async def test_a_seed_draws_the_same_clips_again_wherever_their_answers_lie(answered: str) -> None:
    first, second = names_of_ways(answered)
    drawn = "select audio_digest from comparison_clips order by place"

    async def draw(seed: int, *sizes: int) -> list[str]:
        async with Database(answered) as database:
            ballots = Ballots(database)
            ways = {way.name: way for way in await ballots.list_ways()}
            for clips in sizes or (20,):
                await ballots.draw(BallotOrder(ways[first], ways[second], clips, "mira", seed))
        found = [row.audio_digest for row in rows(answered, drawn)]
        change(answered, "delete from comparisons")
        return found

    before = await draw(1)
    assert len(before) == 20
    # A third model's answers become the results of a video: both that are compared are kept aside there.
    change(
        answered,
        "update transcription_results set model_id = 'third', batch_id = 'b2' where video_id = 'video-0001'",
    )
    assert await draw(1) == before
    assert await draw(2) != before
    assert await draw(1, 5, 15) == before  # a further draw goes on behind the first
    everything = await draw(3, 500)
    assert len(everything) == len(set(everything)) == 54  # 80 less those of the same words
    change(answered, "update video_queue set status = 'pending' where video_id = 'video-0001'")
    assert len(await draw(3, 500)) < 54  # what cannot be heard is not drawn


# ----------------------------------------------------------------------------- in a browser


async def sign_in(context: BrowserContext, url: str, name: str, said: list[str]) -> Page:
    page = await context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{url}/login")
    await page.get_by_label("Your token").fill(f"the-token-of-{name}")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{url}/")
    return page


async def press(page: Page, keys: str) -> None:
    """Each of these keys on a clip of its own, once its sound is there."""
    for key in keys:
        await expect(page.locator("#ballot[data-step=choose]")).to_be_visible()
        await page.wait_for_function("() => document.getElementById('player')?.currentTime > 0")
        await page.keyboard.press(key)


async def check(page: Page) -> None:
    """Nothing serious for those who do not see it, and nothing that runs out of the window."""
    await page.evaluate(f"{AXE}; 0")
    problems = await page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        ".filter((found) => ['serious', 'critical'].includes(found.impact)).map((found) => found.id)"
    )
    assert problems == []
    sizes = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert sizes[0] <= sizes[1]


@pytest.mark.skipif(CHROMIUM is None, reason="needs the system package chromium")
async def test_ten_votes_by_keyboard_alone(database_url: str, tmp_path: Path) -> None:
    said: list[str] = []
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(videos=2, segments=9)
        await stage.work()
        keep_other_answers(database_url)
        async with (
            a_board(database_url, people=PEOPLE, output_url=str(stage.out)) as url,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
            phone: Any = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
            mira = await sign_in(await browser.new_context(), url, "mira", said)
            anil = await sign_in(await browser.new_context(**phone), url, "anil", said)
            await mira.goto(f"{url}/compare")
            await mira.get_by_role("button", name="Draw and vote").focus()
            await mira.keyboard.press("Enter")
            await expect(mira.locator("#said")).to_contain_text("12 clips drawn")
            await press(mira, "1")
            await expect(mira.locator("#ballot-progress")).to_contain_text("1 of ")
            change(database_url, "update comparison_clips set doubled = false")

            await anil.goto(f"{url}/compare/hear?comparison=1")
            await press(anil, "2x")
            await press(mira, "20")
            await press(mira, "u")  # the last one back, and said otherwise
            await expect(mira.locator("#ballot-progress")).to_contain_text("3 of ")
            assert await mira.locator("#ballot mark").count() > 0
            await check(mira)
            await check(anil)
            await press(mira, "1n")
            await press(anil, "=21")
            await press(mira, "21")
            await until(lambda: rows(database_url, "select count(*)::int as n from comparison_votes"
                                     " where choice <> 'skip'")[0].n == 10)  # fmt: skip
            assert rows(database_url, "select voter, count(*)::int from comparison_votes where choice <> 'skip'"
                        " group by 1 order by 1") == [("anil", 5), ("mira", 5)]  # fmt: skip

            await anil.goto(f"{url}/compare/figures?comparison=1")
            for name in ("first", "second"):
                counted = rows(
                    database_url, "select count(*)::int as n from comparison_votes where choice = %s", name
                )
                await expect(anil.locator(f"#figures tr[data-line] .{name}").first).to_have_text(
                    str(counted[0].n)
                )
            await expect(anil.locator("#checks .votes").first).to_have_text("10")
            await check(anil)
            await mira.goto(f"{url}/compare")
            await check(mira)
            await browser.close()
    assert said == []

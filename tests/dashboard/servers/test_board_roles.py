"""Each verb of the board asked by each role; and whose name stands beside what is changed."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from board_kit import Visitor, a_board
from fleet_kit import change, rows
from lipika.config import load_settings
from lipika.dashboard.app import create_app
from lipika.dashboard.board import PAGES
from lipika.dashboard.people import Access, Person, Role, User
from lipika.dashboard.serve import make_board
from lipika.db import Database

TOKENS = {role: f"token-of-a-{role.word}" for role in Role}
PEOPLE = tuple(Person(User(f"a {role.word}", role), token) for role, token in TOKENS.items())
VERBS = {
    "/fleet/drain": (Role.OPERATOR, {"worker": "w"}),
    "/fleet/pause": (Role.OPERATOR, {"provider": "aistudio"}),
    "/fleet/resume": (Role.OPERATOR, {"provider": "aistudio"}),
    "/fleet/budget": (Role.OPERATOR, {}),
    "/queue/{verb}": (Role.OPERATOR, {"video": "v"}),
    "/queue/of-clips/{verb}": (Role.OPERATOR, {"query": "video=v", "clips": "0"}),
    "/redos/order": (Role.OPERATOR, {"query": "video=v", "clips": "1"}),
    "/redos/drop": (Role.OPERATOR, {"id": "1"}),
    "/audit/take": (Role.REVIEWER, {"audit": "1"}),
    "/compare/draw": (Role.REVIEWER, {"first": "a", "second": "b", "clips": "5"}),
    "/compare/take": (Role.REVIEWER, {"comparison": "1"}),
    "/compare/vote": (Role.REVIEWER, {"comparison": "1", "place": "1", "choice": "left"}),
    "/compare/undo": (Role.REVIEWER, {"comparison": "1"}),
    "/audit/judge": (Role.REVIEWER, {"audit": "1", "place": "0", "usable": "yes", "text": "x"}),
    "/review/resolve": (Role.REVIEWER, {"video": "v", "clip": "c"}),
    "/clips/check": (Role.REVIEWER, {"text": "x"}),
    "/clips/edit": (Role.REVIEWER, {"video": "v", "clip": "c", "do": "accept", "expected": "0.x"}),
    "/clips/filters": (Role.REVIEWER, {"query": "video=v", "name": "mine"}),
    "/clips/resolve": (Role.REVIEWER, {"query": "video=v", "clips": "0"}),
}
"""Every path of the board that changes something: the least role, and a form."""
QUEUE_VERBS = ("requeue", "requeue-failed", "hold", "release", "take-back", "priority")
FLAG = (
    "insert into transcription_flags (video_id, segment_file, flag_type, severity, details)"
    " values ('v', 'c', 'rate_high', 'warn', 'too quick')"
)


async def test_every_change_that_the_board_knows_has_a_role_here(database_url: str) -> None:
    async with Database(database_url) as database:
        app = create_app(make_board(load_settings(), database, Access()))
    posts = {
        route.path for route in app.routes if isinstance(route, Route) and "POST" in (route.methods or ())
    }
    assert posts - {"/login", "/logout"} == set(VERBS)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
async def test_a_role_changes_what_is_its_own_and_nothing_else(database_url: str, role: Role) -> None:
    async with a_board(database_url, people=PEOPLE) as url, Visitor(url) as visitor:
        assert (await visitor.enter(TOKENS[role])).status == 200
        for path, (needed, fields) in VERBS.items():
            for asked in [path.format(verb=verb) for verb in QUEUE_VERBS] if "{" in path else [path]:
                await visitor.get("/queue")
                answer = await visitor.send(asked, **fields)
                if role >= needed:
                    assert answer.status != 403, asked
                else:
                    article = "an" if needed is Role.OPERATOR else "a"
                    said = f"a {role.word} is a {role.word} here: this takes {article} {needed.word}.\n"
                    assert (answer.status, answer.text) == (403, said), asked
    if role < Role.OPERATOR:
        assert rows(database_url, "select * from provider_budgets") == []


@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
async def test_every_role_sees_every_page_and_is_offered_only_what_it_may(
    database_url: str, role: Role
) -> None:
    change(database_url, FLAG)
    change(
        database_url,
        "insert into video_queue (video_id, source_key, output_key, status) values ('v', 's', 'o', 'failed')",
    )
    async with a_board(database_url, people=PEOPLE) as url, Visitor(url) as visitor:
        await visitor.enter(TOKENS[role])
        for path, _ in PAGES:
            answer = await visitor.get(path)
            assert answer.status == 200, path
            assert f"a {role.word} · {role.word}" in answer.plain
        offered = ("/review/resolve" in (await visitor.get("/review")).text,
                   "/queue/requeue" in (await visitor.get("/queue?show=failed")).text)  # fmt: skip
        assert offered == (role >= Role.REVIEWER, role >= Role.OPERATOR)
        bearer = {"authorization": f"Bearer {TOKENS[role]}"}
        async with Visitor(url) as scraper:
            assert (await scraper.get("/metrics", headers=bearer, html=False)).status == 200


async def test_the_name_of_whoever_deals_with_a_flag_stands_beside_it(database_url: str) -> None:
    change(database_url, FLAG)
    async with a_board(database_url, people=PEOPLE) as url, Visitor(url) as visitor:
        await visitor.enter(TOKENS[Role.REVIEWER])
        await visitor.get("/review")
        assert (await visitor.send("/review/resolve", video="v", clip="c", note="heard")).status == 200
        assert rows(database_url, "select resolved_by from transcription_flags") == [("a reviewer",)]
        assert "by a reviewer" in (await visitor.get("/review/clip?video=v&clip=c")).plain


async def test_read_only_holds_for_operators_too(database_url: str) -> None:
    async with a_board(database_url, people=PEOPLE, read_only=True) as url, Visitor(url) as visitor:
        await visitor.enter(TOKENS[Role.OPERATOR])
        await visitor.get("/queue")
        answer = await visitor.send("/queue/hold", video="v")
        assert (answer.status, answer.text) == (403, "This board is read-only.\n")
        assert "/queue/requeue" not in (await visitor.get("/queue?show=failed")).text


async def test_one_person_s_session_is_not_another_s(database_url: str) -> None:
    """Signing in anew, as somebody else, changes the role at once."""
    async with a_board(database_url, people=PEOPLE) as url, Visitor(url) as visitor:
        await visitor.enter(TOKENS[Role.OPERATOR])
        await visitor.get("/queue")
        assert (await visitor.send("/queue/hold", video="v")).status == 200
        assert (await visitor.send("/logout")).status == 200
        await visitor.enter(TOKENS[Role.READER])
        await visitor.get("/queue")
        assert (await visitor.send("/queue/hold", video="v")).status == 403

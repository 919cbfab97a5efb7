"""The page Clips: what its filters find, what leads to it, what may be done with all that a filter finds."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import psycopg
import pytest

from board_kit import Visitor, a_visitor
from clips_kit import CLIPS
from fleet_kit import change, rows
from lipika.dashboard.people import Person, Role, User
from lipika.db import Database
from lipika.db.clip_search import ClipSearch

PEOPLE = (
    Person(User("rita", Role.READER), "a-token-of-a-reader"),
    Person(User("vera", Role.REVIEWER), "a-token-of-a-reviewer"),
    Person(User("otto", Role.OPERATOR), "a-token-of-an-operator"),
)


@pytest.fixture
def corpus_url(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CLIPS)
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key, status, segment_count, clip_count,"
            " segments_polished, segments_transcribed, completed_at)"
            " select distinct video_id, video_id, 'out/' || video_id, 'done', 0, 0, 0, 0, now()"
            " from transcription_results"
        )
        connection.execute(
            "insert into transcription_flags (video_id, segment_file, flag_type, severity)"
            " select video_id, segment_file, 'loop', 'fail' from transcription_results"
            ' where findings @> \'[{"code": "loop"}]\''
        )
    return database_url


@pytest.fixture
async def visitor(corpus_url: str) -> AsyncIterator[Visitor]:
    async with a_visitor(corpus_url) as visitor:
        yield visitor


def shown(text: str) -> list[str]:
    return re.findall(r'data-clip="([^"]+)"', text)


async def counted(visitor: Visitor, query: str) -> str:
    return (await visitor.get(f"/clips/count?{query}")).plain


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("finding=loop", 'findings @> \'[{"code": "loop"}]\''),
        (
            "finding=boundary&language=hi",
            "'hi' = coalesce(nullif(expected_language_hint, ''), detected_language) and findings::text ~ 'boundary'",
        ),
        ("lane=asr&status=failed", "asr_eligible and status = 'failed'"),
        ("from=0.5&to=0.55", "quality_score >= 0.5::real and quality_score < 0.55::real"),
        ("words=sure_1", "transcription like '%Sure_1%'"),
        ("text=0%25%20S", "transcription like '%0\\% S%'"),
        ("source=person&video=v3", "text_source = 'person' and video_id = 'v3'"),
        ("hint=hi&heard=en", "expected_language_hint = 'hi' and detected_language = 'en'"),
        ("hint=none&heard=ta", "expected_language_hint = '' and detected_language = 'ta'"),
        ("failure=blocked", "failure_kind = 'blocked'"),
        ("", "true"),
        ("lane=nonsense&from=x&seed=-1&status=%27", "true"),
    ],
)
async def test_the_count_is_that_of_the_database(
    visitor: Visitor, corpus_url: str, query: str, condition: str
) -> None:
    with psycopg.connect(corpus_url) as connection:
        (clips,) = connection.execute(
            f"select count(*) from transcription_results where {condition}".encode()  # noqa: S608 - the test's own
        ).fetchone() or (0,)
    assert await counted(visitor, query) == f"{clips:,} {'clip' if clips == 1 else 'clips'}"
    page = await visitor.get(f"/clips?{query}")
    assert page.status == 200
    assert len(shown(page.text)) == min(clips, 50)


async def test_every_page_is_reached_once_and_the_filter_stays_in_the_address(visitor: Visitor) -> None:
    found: list[str] = []
    path = "/clips?finding=loop&seed=3"
    while path:
        page = await visitor.get(path)
        found += shown(page.text)
        after = re.search(r'href="(/clips\?[^"]+)" rel="next"', page.text)
        path = after[1].replace("&amp;", "&") if after else ""
        assert "finding=loop" in path or not path
    assert len(found) == len(set(found)) == 4000 // 13


@pytest.mark.parametrize(
    "after", ["x", "W10", "WzEsMl0", "W251bGxd", "WzEwMDAwMDAwMDAwMDAwMDAwMCwiYSIsImIiXQ"]
)
async def test_a_place_that_is_none_shows_the_first_page(visitor: Visitor, after: str) -> None:
    assert len(shown((await visitor.get(f"/clips?after={after}")).text)) == 50


async def test_text_that_looks_like_markup_stays_text(visitor: Visitor, corpus_url: str) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{7*7}}'
    change(
        corpus_url,
        "update transcription_results set transcription = %s, tagged = %s, speaker_id = %s,"
        " findings = jsonb_build_array("
        "   jsonb_build_object('code', %s::text, 'severity', 'fail', 'evidence', %s::text))"
        " where segment_file = '000001.flac'",
        *[evil] * 5,
    )
    for path in (
        "/clips?video=v0",
        f"/clips?{urlencode({'video': evil, 'speaker': evil, 'finding': evil, 'words': evil, 'model': evil})}",
        "/clips/clip?video=v0&clip=000001.flac",
        f"/clips/all?{urlencode({'text': evil, 'language': evil})}",
        f"/clips/count?{urlencode({'text': evil})}",
    ):
        answer = await visitor.get(path)
        assert answer.status == 200, path
        assert "<script>" not in answer.text, path
        assert "<img src=x" not in answer.text, path
    assert "&lt;script&gt;alert(1)" in (await visitor.get("/clips/clip?video=v0&clip=000001.flac")).text


async def test_a_filter_is_saved_under_a_name_shared_and_forgotten(corpus_url: str) -> None:
    async with a_visitor(corpus_url, people=PEOPLE) as visitor:
        await visitor.enter("a-token-of-a-reviewer")
        await visitor.get("/clips?finding=loop&language=hi")
        saved = await visitor.send(
            "/clips/filters",
            name="<loops>",
            query="language=hi&finding=loop&bogus=1",
            back="/clips?finding=loop",
        )
        assert "Filter saved" in saved.plain
        page = await visitor.get("/clips?finding=loop&language=hi")
        assert "&lt;loops&gt;" in page.text
        assert "Forget this filter" in page.plain
        assert [
            tuple(row) for row in rows(corpus_url, "select name, query, saved_by from saved_filters")
        ] == [("<loops>", "language=hi&finding=loop", "vera")]
        assert (await visitor.send("/clips/filters", name=" ", query="", back="/")).status == 400
        await visitor.send("/clips/filters", do="forget", name="<loops>", back="//evil.example/")
    assert rows(corpus_url, "select name from saved_filters") == []


async def test_all_of_a_filter_is_changed_by_whoever_may_and_only_what_was_counted(corpus_url: str) -> None:
    loops = 4000 // 13
    still = "select count(*) as flags from transcription_flags where not resolved"
    async with a_visitor(corpus_url, people=PEOPLE) as visitor:
        await visitor.enter("a-token-of-a-reader")
        page = await visitor.get("/clips/all?finding=loop")
        assert f"{loops} clips of" in page.plain
        assert "lipika export plan nemo FOLDER --with-finding loop" in page.plain
        assert "/clips/resolve" not in page.text
        assert (await visitor.send("/clips/resolve", query="finding=loop", clips=str(loops))).status == 403
        await visitor.send("/logout")
        await visitor.enter("a-token-of-a-reviewer")
        assert "/queue/of-clips" not in (await visitor.get("/clips/all?finding=loop")).text
        refused = await visitor.send("/queue/of-clips/requeue", query="finding=loop", clips=str(loops))
        assert refused.status == 403
        other = await visitor.send("/clips/resolve", query="finding=loop", clips="17")
        assert "other clips than those that were counted" in other.plain
        assert rows(corpus_url, still)[0].flags == loops
        done = await visitor.send("/clips/resolve", query="finding=loop", clips=str(loops), note="<heard>")
        assert f"{loops} flags resolved" in done.plain
        said = rows(corpus_url, "select distinct resolved_by, note from transcription_flags")
        assert [tuple(row) for row in said] == [("vera", "<heard>")]
        await visitor.send("/logout")
        await visitor.enter("a-token-of-an-operator")
        await visitor.get("/clips/all?video=v3")
        done = await visitor.send("/queue/of-clips/requeue", query="video=v3", clips="40")
        assert "1 of 1 put back" in done.plain
        await visitor.send("/queue/of-clips/hold", query="video=v3", clips="40")
        await _order_and_drop_redos(visitor, loops)
        assert (await visitor.send("/queue/of-clips/drop", query="video=v3", clips="40")).status == 404
        change(corpus_url, "update redos set query = '(erased)' where id = 1")
        page = await visitor.get("/redos")
        assert "clips that were erased" in page.plain
        assert "every clip" not in page.plain
    (row,) = rows(corpus_url, "select status, held from video_queue where video_id = 'v3'")
    assert (row.status, row.held) == ("pending", True)


async def _order_and_drop_redos(visitor: Visitor, loops: int) -> None:
    """Asked again: all that were counted, or one clip; listed with how far they are."""
    assert "Nothing has been asked for again" in (await visitor.get("/redos")).plain
    assert "gemini-2.5-pro" in (await visitor.get("/clips/all?finding=loop")).text
    other = await visitor.send("/redos/order", query="finding=loop", clips="17")
    assert "other clips than those that were counted" in other.plain
    given = {"model": "gemini-2.5-pro", "temperature": "0.7", "keep_both": "yes"}
    done = await visitor.send("/redos/order", query="finding=loop", clips=str(loops), **given)
    assert f"{loops} clips to be asked for again: lipika redo --queued" in done.plain
    assert "model id gemini-2.5-pro, temperature 0.7, both answers kept" in done.plain
    assert 'data-state="queued"' in done.text
    assert (await visitor.send("/redos/order", video="v3", clip="no-such.flac")).status == 404
    assert (await visitor.send("/redos/order", video="v3", clip="x", temperature="hot")).status == 400
    clip = shown((await visitor.get("/clips?video=v3&source=model")).text)[0]
    assert "v3/<" not in (await visitor.send("/redos/order", video="v3", clip=clip)).text
    assert "0 of 1" in (await visitor.get("/redos?id=3")).plain
    assert (await visitor.get("/redos?id=99")).status == 404
    assert "Nobody goes on with it" in (await visitor.send("/redos/drop", id="3")).plain


async def test_too_many_are_not_changed_at_once(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipika.db.clip_search.COUNTED", 100)
    page = await visitor.get("/clips/all?lane=asr")
    assert "too many to change from here" in page.plain
    assert "/clips/resolve" not in page.text


async def test_nothing_can_be_changed_without_the_page_s_token_or_on_a_read_only_board(
    corpus_url: str,
) -> None:
    async with a_visitor(corpus_url) as visitor:
        await visitor.get("/clips")
        for path in ("/clips/filters", "/clips/resolve", "/queue/of-clips/hold"):
            assert (await visitor.send(path, csrf="x", query="", clips="1", name="n")).status == 403
    async with a_visitor(corpus_url, read_only=True) as visitor:
        await visitor.get("/clips?finding=loop")
        assert (await visitor.send("/clips/filters", query="", name="n")).status == 403


async def test_a_large_corpus_without_the_index_says_how_to_make_it(
    visitor: Visitor, corpus_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipika.db.clip_search._MOST_WITHOUT_INDEX", 100)
    change(corpus_url, "drop index transcription_results_marks")
    assert "lipika db migrate" in (await visitor.get("/clips?language=hi")).plain
    assert len(shown((await visitor.get("/clips?video=v3")).text)) == 40


async def test_words_without_their_index_say_how_to_make_it(visitor: Visitor, corpus_url: str) -> None:
    assert "lipika db index-words" in (await visitor.get("/clips?words=sure_1")).plain
    async with Database(corpus_url) as database:
        await ClipSearch(database).index_words()
    assert "lipika db index-words" not in (await visitor.get("/clips?words=sure_1")).plain

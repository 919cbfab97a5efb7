"""Clips by what they are: whatever the filter, its pages together are what SQL finds, each clip once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from clips_kit import CLIPS
from fleet_kit import change, rows
from lipika.db import Database
from lipika.db import clip_search as searching
from lipika.db.clip_search import ClipPlace, ClipSearch, ClipSelection, words_of
from lipika.db.migrate import migrate
from postgres_kit import TEMPLATE, on_database

TRUTH: LiteralString = """
    select r.video_id, r.segment_file from transcription_results r
    left join transcription_voters v using (video_id, segment_file)
    where (%(language)s = '' or coalesce(nullif(r.expected_language_hint, ''), r.detected_language) = %(language)s)
      and (%(lane)s = '' or (%(lane)s = 'asr' and asr_eligible) or (%(lane)s = 'tts_clean' and tts_clean_eligible)
        or (%(lane)s = 'tts_expressive' and tts_expressive_eligible))
      and (%(finding)s = '' or findings @> jsonb_build_array(jsonb_build_object('code', %(finding)s::text)))
      and (%(status)s = '' or status = %(status)s) and (%(failure)s = '' or failure_kind = %(failure)s)
      and (%(speaker)s = '' or speaker_id = %(speaker)s) and (%(model)s = '' or model_id = %(model)s)
      and (%(video)s = '' or r.video_id = %(video)s) and (%(text_source)s = '' or text_source = %(text_source)s)
      and (%(from_score)s::real is null or quality_score >= %(from_score)s::real)
      and (%(to_score)s::real is null or quality_score < %(to_score)s::real or %(to_score)s = 1 and quality_score = 1)
      and (%(heard)s = '' or detected_language = %(heard)s
        and coalesce(nullif(expected_language_hint, ''), 'none') = coalesce(nullif(%(hint)s, ''), 'none'))
      and (%(text)s = '' or position(lower(%(text)s) in lower(transcription)) > 0)
      and (%(words)s::text[] = '{}'
        or string_to_array(replace(lower(transcription), ',', ''), ' ') @> %(words)s::text[])
      and (%(tier)s = '' or v.tier = %(tier)s)
"""


@pytest.fixture(scope="module")
def corpus_url(postgres_url: str) -> Iterator[str]:
    """Four thousand clips of every kind."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        names = (sql.Identifier("a_corpus_of_kinds"), sql.Identifier(TEMPLATE))
        connection.execute(sql.SQL("create database {} template {}").format(*names))
        url = on_database(postgres_url, "a_corpus_of_kinds")
        with psycopg.connect(url, autocommit=True) as ours:
            ours.execute(CLIPS)
            ours.execute(
                "insert into transcription_voters (video_id, segment_file, audio_digest, tier)"
                " select video_id, segment_file, audio_digest, case when original_start_ms % 4 = 0 then 'gold' else"
                " 'bronze' end from transcription_results where original_start_ms % 2 = 0"
            )
            ours.execute("vacuum analyze transcription_results")
        yield url
        connection.execute(sql.SQL("drop database {} with (force)").format(names[0]))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if four thousand clips were a hundred million."""
    monkeypatch.setattr(searching, "_ROWS", 40)
    monkeypatch.setattr(searching, "_FEW", 20)
    monkeypatch.setattr(searching, "_FEW_READ", 200)


async def all_pages(search: ClipSearch, wanted: ClipSelection, limit: int = 50) -> list[tuple[str, str]]:
    """The clips of all pages, however far each of them got."""
    found: list[tuple[str, str]] = []
    after: ClipPlace | None = None
    for _ in range(3000):
        page = await search.page(wanted, limit=limit, after=after)
        assert len(page.clips) <= limit
        found += [(clip.video_id, clip.segment_file) for clip in page.clips]
        if page.next is None:
            return found
        after = page.next
    raise AssertionError("the pages have no end")


def truth(url: str, wanted: ClipSelection) -> set[tuple[str, str]]:
    params: dict[str, Any] = {
        name: getattr(wanted, name) for name in ClipSelection.__dataclass_fields__ if name != "seed"
    }
    params["words"] = list(wanted.words)
    params["hint"] = params["hint"] if params["hint"] != "none" else ""
    with psycopg.connect(url) as connection:
        return {(str(video), str(clip)) for video, clip in connection.execute(TRUTH, params).fetchall()}


SOME = st.builds(
    ClipSelection,
    language=st.sampled_from(["", "hi", "ta", "xx"]),
    lane=st.sampled_from(["", "", "asr", "tts_clean", "tts_expressive"]),
    from_score=st.sampled_from([None, None, 0.0, 0.33, 0.5, 0.951]),
    to_score=st.sampled_from([None, None, 0.05, 0.34, 1.0]),
    finding=st.sampled_from(["", "", "loop", "rate_high", "boundary", "nothing"]),
    tier=st.sampled_from(["", "", "", "gold", "bronze"]),
    speaker=st.sampled_from(["", "", "speaker3"]),
    video=st.sampled_from(["", "", "", "v7"]),
    model=st.sampled_from(["", "", "other"]),
    status=st.sampled_from(["", "", "transcribed", "failed", "no_speech"]),
    failure=st.sampled_from(["", "", "", "blocked"]),
    text_source=st.sampled_from(["", "", "model", "person"]),
    hint=st.sampled_from(["none", "hi", "ta"]),
    heard=st.sampled_from(["", "", "hi", "en"]),
    words=st.sampled_from([(), (), ("शब्द3",), ("sure_1", "है"), ("शब्द",)]),
    text=st.sampled_from(["", "", "0% s", "sure_2", "ब्द4", "\\"]),
    seed=st.sampled_from([None, None, 1, 2]),
)


@pytest.mark.parametrize("big", [False, True], ids=["looked at whole", "place after place"])
def test_pages_together_are_what_sql_finds(
    corpus_url: str, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, read, looked_at = (20, 200, 40) if big else (10_000, 10_000, 4_000)
    monkeypatch.setattr(searching, "_FEW", few)
    monkeypatch.setattr(searching, "_FEW_READ", read)
    monkeypatch.setattr(searching, "_ROWS", looked_at)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @example(wanted=ClipSelection(to_score=0.34), limit=300)  # in the middle of a twentieth
    @example(wanted=ClipSelection(to_score=1.0), limit=300)  # clips without a score have none below 1
    @example(wanted=ClipSelection(from_score=0.951), limit=300)
    @given(wanted=SOME, limit=st.sampled_from([30, 300]))
    def check(wanted: ClipSelection, limit: int) -> None:
        async def look() -> tuple[list[tuple[str, str]], searching.ClipCount]:
            async with Database(corpus_url) as database:
                search = ClipSearch(database)
                return await all_pages(search, wanted, limit), await search.count(wanted)

        found, count = asyncio.run(look())
        expected = truth(corpus_url, wanted)
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert (count.clips, count.more) in {(len(expected), False), (None, False)}
        if not big:
            assert count.clips == len(expected), wanted

    check()


async def test_an_order_by_chance_is_the_same_for_the_same_seed(corpus_url: str) -> None:
    async with Database(corpus_url) as database:
        search = ClipSearch(database)
        first, again, other = [
            [clip.segment_file for clip in (await search.page(ClipSelection(seed=seed))).clips]
            for seed in (5, 5, 6)
        ]
    assert first == again
    assert len(set(first) & set(other)) < 25


async def test_a_part_of_a_text_is_looked_for_no_longer_than_the_budget_and_the_page_says_how_far(
    corpus_url: str, small_steps: None
) -> None:
    async with Database(corpus_url) as database:
        search = ClipSearch(database)
        page = await search.page(ClipSelection(text="nowhere"), budget_s=0.0)
        assert (page.clips, page.next is not None) == ([], True)
        assert page.looked_at is not None
        assert 0 < page.looked_at < 0.2
        assert await all_pages(search, ClipSelection(text="nowhere")) == []


async def test_more_than_ten_thousand_are_said_to_be_more(
    corpus_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "COUNTED", 1000)
    async with Database(corpus_url) as database:
        search = ClipSearch(database)
        assert await search.count(ClipSelection()) == searching.ClipCount(1000, more=True)
        assert await search.count(ClipSelection(lane="asr")) == searching.ClipCount(1000, more=True)
        assert await search.keys(ClipSelection(lane="asr")) is None
        monkeypatch.setattr(searching, "_SURE", 1500)
        assert await search.count(ClipSelection(lane="asr")) == searching.ClipCount(1000, more=True)
        keys = await search.keys(ClipSelection(finding="loop")) or []
    assert len(keys) == 4000 // 13


async def test_the_index_of_words_is_made_and_dropped_beside_the_work(
    corpus_url: str, small_steps: None
) -> None:
    async with Database(corpus_url) as database:
        search = ClipSearch(database)
        for drop in (False, False, True):
            await search.index_words(drop=drop)
            assert (await search.corpus()).worded is not drop
            wanted = ClipSelection(words=words_of("Sure_1, है"))
            assert set(await all_pages(search, wanted)) == truth(corpus_url, wanted)


@pytest.mark.parametrize(
    "text",
    ["यह एक “वाक्य” है।", "மிகவும் நல்லது!", "یہ، ایک جملہ۔", "Don't [laugh] stop—now", "", "  ", "क़िला (१२) 5G"],
)
async def test_words_are_the_same_to_the_page_and_to_the_index(corpus_url: str, text: str) -> None:
    with psycopg.connect(corpus_url) as connection:
        (found,) = connection.execute("select lipika_words(%s)", (text,)).fetchone() or ([],)
    assert sorted(found) == sorted(words_of(text))


async def test_a_large_table_s_index_of_marks_is_made_by_migrating_and_small_ones_need_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CLIPS)
    (as_migrated,) = rows(
        database_url, "select indexdef from pg_indexes where indexname = 'transcription_results_marks'"
    )
    change(database_url, "drop index transcription_results_marks")
    async with Database(database_url) as database:
        search = ClipSearch(database)
        assert (await search.corpus()).marked is False
        wanted = ClipSelection(language="hi", finding="loop", from_score=0.5)
        assert set(await all_pages(search, wanted)) == truth(database_url, wanted)
        monkeypatch.setattr(searching, "_MOST_WITHOUT_INDEX", 3000)
        assert await search.page(wanted) == searching.ClipPage([])
        assert await search.count(wanted) == searching.ClipCount(None)
        assert len((await search.page(ClipSelection(video="v7"))).clips) == 40
        assert await migrate(database) == ["transcription_results_marks, an index"]
        assert (await search.corpus()).marked is True
    assert rows(
        database_url, "select indexdef from pg_indexes where indexname = 'transcription_results_marks'"
    ) == [as_migrated]


async def test_filters_are_kept_by_name(database_url: str) -> None:
    async with Database(database_url) as database:
        search = ClipSearch(database)
        await search.save("loops", "finding=loop", by="mira")
        await search.save("loops", "finding=loop&language=hi", by="ravi")
        (saved,) = await search.list_saved()
        assert (saved.name, saved.query, saved.saved_by) == ("loops", "finding=loop&language=hi", "ravi")
        assert await search.forget("loops") == 1
        assert await search.list_saved() == []


async def test_the_index_of_marks_is_small(corpus_url: str) -> None:
    """Of a corpus of so few, each of whose places holds a clip or none, most of it is places: an upper bound."""
    (size,) = rows(corpus_url, "select pg_relation_size('transcription_results_marks') as bytes")
    assert size.bytes < 4000 * 400

"""Tables beside the results: what others heard and say, and answers that were replaced."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import psycopg
import pytest
from psycopg import sql

from lipika.db import Database, Queue, Results
from lipika.db.migrate import migrations
from lipika.db.stats import Stats
from lipika.db.voters import SecondAnswer, Voters
from lipika.errors import LeaseLost
from lipika.models import (
    Agreement,
    Alignment,
    ClaimedVideo,
    ClipResult,
    ClipStatus,
    Consensus,
    NewVideo,
    Tier,
    Voter,
    VoterKind,
    WordTime,
)
from result_kit import ANSWER, USAGE, result, table

WORDS = (WordTime("नमस्ते", 0, 190, 720, 0.93), WordTime("दुनिया", 7, 760, 1210, None))
ALIGNMENT = Alignment(
    0.98, Agreement.AGREE, "", "नमस्ते दुनिया", "hi", "hi", "", "2+bundle+builtin", WORDS, 0.93, "", 0.1
)
COLUMN = asdict(ALIGNMENT) | {"words": [["नमस्ते", 0, 190, 720, 0.93], ["दुनिया", 7, 760, 1210, None]]}
KEPT = {"agreement": "agree", "score": 0.98, "version": "2+bundle+builtin"}
VOTER = Voter("whisper", VoterKind.HYPOTHESES, "नमस्ते दुनिया जी", "0123")
CONSENSUS = Consensus(Tier.SILVER, 0.12, ("gemini-3-flash-preview", "whisper"), 2, "1+builtin")
ASIDE = "select * from transcription_voters order by segment_file"
WAY = ("model_id", "temperature", "thinking_level", "prompt_version", "schema_version")
ANSWERS = "select * from transcription_answers order by audio_digest, way_digest"


@pytest.fixture
async def claim(database: Database) -> ClaimedVideo:
    await Queue(database).add([NewVideo("v", "in.tar", "out.tar", "hi")])
    (claim,) = await Queue(database).claim("w1", 60, 1)
    return claim


@pytest.fixture
def results(database: Database) -> Results:
    return Results(database)


async def let_go(database: Database, claim: ClaimedVideo) -> None:
    await Queue(database).release(claim)


def answered(number: int, text: str, **changes: object) -> ClipResult:
    made = result(number)
    made = replace(made, answer=replace(ANSWER, transcription=text, tagged=text))
    return replace(made, provenance=replace(made.provenance, **changes))  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- what was heard


async def test_what_was_heard_lies_aside_and_comes_back_whole(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    excluded = replace(
        ALIGNMENT, agreement=Agreement.EXCLUDED, score=None, excluded="too_long", heard="", words=()
    )
    given = [replace(result(0), alignment=ALIGNMENT), replace(result(1), alignment=excluded), result(2)]
    await results.write(claim, given)
    rows = table(
        database_url, "select alignment, alignment_score from transcription_results order by segment_file"
    )
    assert rows[0]["alignment"] == KEPT
    assert rows[0]["alignment_score"] == pytest.approx(0.98)
    assert rows[2]["alignment"] is None
    (aside,) = table(database_url, ASIDE)
    assert aside["alignment"] == COLUMN
    stored = [answer async for answer in results.stored_answers("v")]
    assert [answer.alignment for answer in stored] == [ALIGNMENT, excluded, None]


async def test_a_tier_by_the_recogniser_alone_comes_with_what_it_heard(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    weighed = replace(result(0), alignment=ALIGNMENT, consensus=replace(CONSENSUS, tier=Tier.GOLD))
    await results.write(claim, [weighed])
    (aside,) = table(database_url, ASIDE)
    assert (aside["tier"], aside["alignment"]) == ("gold", COLUMN)
    other = replace(ALIGNMENT, score=0.5, agreement=Agreement.FLAG)
    anew = replace(answered(0, "दूसरा"), alignment=other, consensus=replace(CONSENSUS, tier=Tier.BRONZE))
    await results.write(claim, [anew])
    (aside,) = table(database_url, ASIDE)
    assert (aside["tier"], aside["alignment"]) == ("bronze", COLUMN | {"score": 0.5, "agreement": "flag"})
    await results.write(claim, [replace(anew, alignment=replace(other, score=0.6), consensus=None)])
    (aside,) = table(database_url, ASIDE)
    assert (aside["tier"], aside["consensus"]) == (None, None)


async def test_words_lie_aside_where_nothing_was_heard_too(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    silent = replace(ALIGNMENT, agreement=Agreement.EXCLUDED, score=None, excluded="nothing_heard", heard="")
    await results.write(claim, [replace(result(0), alignment=silent)])
    (row,) = table(database_url, "select alignment from transcription_results")
    assert row["alignment"] == KEPT | {"agreement": "excluded", "score": None}
    (stored,) = [answer async for answer in results.stored_answers("v")]
    assert stored.alignment == silent


async def test_an_alignment_written_again_changes_nothing_and_another_takes_its_place(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    query = "select xmin::text, * from transcription_results"
    aside = "select xmin::text, * from transcription_voters"
    await results.write(claim, [replace(result(0), alignment=ALIGNMENT)])
    before = (table(database_url, query), table(database_url, aside))
    await results.write(claim, [replace(result(0), alignment=ALIGNMENT)])
    assert (table(database_url, query), table(database_url, aside)) == before
    other = replace(ALIGNMENT, score=0.5, heard="नमस्ते", agreement=Agreement.FLAG)
    await results.write(claim, [replace(result(0), alignment=other)])
    (stored,) = [answer async for answer in results.stored_answers("v")]
    assert stored.alignment == other
    assert table(database_url, query)[0]["alignment_score"] == 0.5


async def test_what_an_earlier_release_wrote_is_read_as_it_is(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    await results.write(claim, [result(0)])
    with psycopg.connect(database_url) as connection:
        connection.execute("alter table transcription_results disable trigger put_alignment_aside")
        connection.execute(
            "update transcription_results set alignment = %s::jsonb",
            [json.dumps({key: value for key, value in asdict(ALIGNMENT).items() if "word" not in key})],
        )
    (stored,) = [answer async for answer in results.stored_answers("v")]
    assert stored.alignment == replace(ALIGNMENT, words=(), word_score=None)


# ----------------------------------------------------------------------------- voters


async def test_voters_lie_beside_the_clip_whose_text_was_weighed(
    results: Results, claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    weighed = replace(result(0), alignment=ALIGNMENT, voters=(VOTER,), consensus=CONSENSUS)
    await results.write(claim, [weighed, result(1), result(2, ClipStatus.FAILED)])
    voters = Voters(database)
    assert (await voters.write("v", [weighed])).busy  # its worker may be writing it anew
    await let_go(database, claim)
    other_text = replace(
        result(1), answer=replace(ANSWER, transcription="other"), voters=(VOTER,), consensus=CONSENSUS
    )
    outcome = await voters.write("v", [weighed, other_text, result(2, ClipStatus.FAILED)])
    assert (outcome.written, outcome.busy) == (1, False)
    (aside,) = table(database_url, ASIDE)
    assert aside["alignment"] == COLUMN
    assert aside["voters"] == [asdict(VOTER)]
    assert (aside["tier"], aside["consensus"]) == (
        "silver",
        {
            "tier": "silver",
            "distance": 0.12,
            "between": ["gemini-3-flash-preview", "whisper"],
            "voters": 2,
            "version": "1+builtin",
        },
    )


async def test_a_tier_goes_with_the_text_and_voters_with_the_audio(
    results: Results, claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    first, second = answered(0, "एक"), answered(1, "दो")
    await results.write(claim, [first, second])
    await let_go(database, claim)
    await Voters(database).write(
        "v", [replace(one, voters=(VOTER,), consensus=CONSENSUS) for one in (first, second)]
    )
    (again,) = await Queue(database).claim("w2", 60, 1)
    other_audio = replace(second, clip=replace(second.clip, audio_digest="f" * 64))
    await results.write(again, [answered(0, "एक और"), other_audio])
    (aside,) = table(database_url, ASIDE)
    assert (aside["segment_file"], aside["tier"], aside["consensus"]) == (first.segment_file, None, None)
    assert aside["voters"] == [asdict(VOTER)]
    await results.remove(again, [first.segment_file])
    assert table(database_url, ASIDE) == []


# ----------------------------------------------------------------------------- answers


async def test_an_answer_that_is_replaced_by_another_way_of_asking_is_kept(
    results: Results, claim: ClaimedVideo, database: Database, database_url: str
) -> None:
    await results.write(claim, [answered(0, "पहला")])
    assert table(database_url, ANSWERS) == []
    await results.write(claim, [answered(0, "दूसरा", temperature=1.0)])
    (kept,) = await Voters(database).replaced_answers(result(0).clip.audio_digest)
    assert kept.answer["transcription"] == "पहला"
    assert (kept.temperature, kept.model_id, kept.language_hint) == (0.0, "gemini-3-flash-preview", "hi")
    assert (kept.usage, kept.cost_usd) == (asdict(USAGE), 0.0005)
    await results.write(claim, [answered(0, "तीसरा")])  # the first way again
    texts = [
        answer.answer["transcription"]
        for answer in await Voters(database).replaced_answers(result(0).clip.audio_digest)
    ]
    assert sorted(texts) == ["दूसरा", "पहला"]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, 0),
        ({"worker_id": "w9", "latency_ms": 3, "model_version": "another"}, 0),
        ({"model_id": "google/gemini-3-flash-preview", "provider": "openrouter"}, 0),
        ({"model_id": "gemini-4"}, 1),
        ({"temperature": None}, 1),
        ({"thinking_level": "high"}, 1),
        ({"prompt_version": "p2"}, 1),
        ({"schema_version": "s2"}, 1),
    ],
)
async def test_a_way_is_what_reuse_compares(
    results: Results, claim: ClaimedVideo, database_url: str, change: dict[str, object], kept: int
) -> None:
    await results.write(claim, [answered(0, "पहला")])
    await results.write(claim, [answered(0, "दूसरा", **change)])
    assert len(table(database_url, ANSWERS)) == kept


async def test_other_audio_and_failures_replace_an_answer_too_and_a_failure_is_none(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    await results.write(claim, [answered(0, "पहला"), answered(1, "एक"), result(2, ClipStatus.FAILED)])
    other_audio = replace(answered(0, "दूसरा"), clip=replace(result(0).clip, audio_digest="f" * 64))
    await results.write(claim, [other_audio, result(1, ClipStatus.FAILED), answered(2, "दो")])
    rows = table(
        database_url, "select answer ->> 'transcription' as text from transcription_answers order by 1"
    )
    assert [row["text"] for row in rows] == ["एक", "पहला"]


async def test_an_answer_handed_in_again_under_another_hint_is_not_replaced(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    await results.write(claim, [result(0)])
    await results.write(claim, [replace(result(0), language_hint="mr")])
    assert table(database_url, ANSWERS) == []


async def test_a_second_look_at_the_verdict_keeps_no_answer(
    results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    await results.write(claim, [result(0)])
    with psycopg.connect(database_url) as connection:
        connection.execute("update transcription_results set quality_score = 0.1, findings = '[]'")
    assert table(database_url, ANSWERS) == []


# ----------------------------------------------------------------------------- second opinions beside the work


OPINION = SecondAnswer(
    *("digest-0", "openrouter", "other", "other-1", 0.0, "low", "1", "1", "hi"), ANSWER, USAGE, 0.002
)


async def test_opinions_are_kept_once_and_no_other_worker_replaces_them(
    database: Database, database_url: str
) -> None:
    """Through a function that asks for the worker's key: what another has brought stays, unless it was made up."""
    voters = Voters(database)
    better = replace(OPINION, answer=replace(ANSWER, transcription="दूसरा"))
    await voters.keep_opinions("w1/second-opinions", [OPINION])
    await voters.keep_opinions("w1/second-opinions", [better])
    said = (
        "select language_hint, answer ->> 'transcription' as text, worker_id from transcription_answers"
        " order by 1"
    )
    (kept,) = table(database_url, said)
    assert (kept["text"], kept["worker_id"]) == ("दूसरा", "w1/second-opinions")
    await voters.keep_opinions("w2/second-opinions", [OPINION, replace(OPINION, language_hint="ta")])
    texts = {row["language_hint"]: row["text"] for row in table(database_url, said)}
    assert texts == {"hi": "दूसरा", "ta": ANSWER.transcription}

    made_up = replace(OPINION, audio_digest="digest-1", model_version="simulated")
    await voters.keep_opinions("w1/second-opinions", [made_up])
    way = {name: getattr(OPINION, name) for name in WAY}
    real = replace(result(1), language_hint="hi", clip=replace(result(1).clip, audio_digest="digest-1"))
    rehearsed = replace(real, provenance=replace(real.provenance, model_version="simulated"))
    assert await voters.find_answers([real], way) == {}  # made-up words are no opinion of a real answer
    assert list(await voters.find_answers([rehearsed], way)) == [real.segment_file]
    await voters.keep_opinions("w2/second-opinions", [replace(made_up, model_version="other-1")])
    assert list(await voters.find_answers([real], way)) == [real.segment_file]


async def test_voters_are_written_with_the_claim_and_beside_what_others_said_before(
    database: Database, results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    said = Voter("other", VoterKind.MODEL, "नमस्ते", "9876")
    bare = answered(0, "नमस्ते दुनिया")
    await results.write(claim, [replace(bare, voters=(VOTER,), consensus=CONSENSUS)])
    gold = replace(CONSENSUS, tier=Tier.GOLD, distance=0.0)
    await results.write(claim, [replace(bare, voters=(said,), consensus=gold)])
    (row,) = table(
        database_url,
        "select voters #>> '{0,name}' as first, voters #>> '{1,name}' as second, tier from transcription_voters",
    )
    assert row == {"first": "other", "second": "whisper", "tier": "gold"}
    before = table(database_url, "select xmin::text from transcription_voters")
    await results.write(claim, [replace(bare, voters=(said,), consensus=gold)])
    assert table(database_url, "select xmin::text from transcription_voters") == before
    lost = replace(claim, claim_token="00000000-0000-0000-0000-000000000000")
    with pytest.raises(LeaseLost):
        await results.write(lost, [replace(bare, voters=(VOTER,), consensus=CONSENSUS)])
    assert table(database_url, "select xmin::text from transcription_voters") == before


# ----------------------------------------------------------------------------- tiers, counted

TRUTH = """
    select coalesce(nullif(r.expected_language_hint, ''), r.detected_language, 'unknown') as language, v.tier,
      count(*) as clips
    from transcription_voters v join transcription_results r using (video_id, segment_file)
    where v.tier is not null
    group by 1, 2 order by 1, 2
"""
COUNTED = """
    select language, tier, sum(clips)::bigint as clips from tier_counts
    group by 1, 2 having sum(clips) <> 0 order by 1, 2
"""


async def test_tiers_are_counted_by_language_through_rewrites(
    database: Database, results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    """By whomever they are written: with what was heard, with what others say, by a vote afterwards."""

    def counts_hold() -> dict[tuple[str, str], int]:
        counted = table(database_url, COUNTED)
        assert counted == table(database_url, TRUTH)
        return {(str(row["language"]), str(row["tier"])): int(str(row["clips"])) for row in counted}

    gold, bronze = replace(CONSENSUS, tier=Tier.GOLD), replace(CONSENSUS, tier=Tier.BRONZE)
    heard = replace(result(0), alignment=ALIGNMENT, consensus=gold)
    said = [replace(answered(number, "एक"), voters=(VOTER,), consensus=bronze) for number in (1, 2)]
    tamil = replace(answered(3, "ஒன்று"), language_hint="ta", voters=(VOTER,), consensus=gold)
    await results.write(claim, [heard, *said, tamil])
    hint = heard.language_hint or ANSWER.detected_language
    assert counts_hold() == {(hint, "gold"): 1, (hint, "bronze"): 2, ("ta", "gold"): 1}
    await results.write(claim, [heard, *said])  # again: nothing moves
    assert counts_hold()[hint, "bronze"] == 2
    await results.write(claim, [answered(1, "दो")])  # its tier was of the text that is gone
    assert counts_hold()[hint, "bronze"] == 1
    await let_go(database, claim)
    assert (await Voters(database).write("v", [replace(said[1], consensus=gold)])).written == 1
    assert counts_hold()[hint, "gold"] == 2
    tiers = await Stats(database).quality.tiers()
    assert {(row.language, row.tier): row.clips for row in tiers} == counts_hold()
    (claim,) = await Queue(database).claim("w1", 60, 1)
    await results.remove(claim, [heard.segment_file, tamil.segment_file])
    assert counts_hold() == {(hint, "gold"): 1}


async def test_tiers_from_before_are_counted_once(
    database: Database, results: Results, claim: ClaimedVideo, database_url: str
) -> None:
    """A database with voters, in which the counting begins."""
    await results.write(claim, [replace(answered(0, "एक"), voters=(VOTER,), consensus=CONSENSUS)])
    counted = table(database_url, COUNTED)
    (made,) = [file.sql for file in migrations() if file.name == "tiers"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("count_insert", "count_update", "count_delete", "count_truncate", "find_language"):
            connection.execute(
                sql.SQL("drop trigger {} on transcription_voters").format(sql.Identifier(name))
            )
        connection.execute("update transcription_voters set language = null")
        connection.execute("update tier_counts set clips = 77")
        connection.execute(made)
        assert table(database_url, COUNTED) == counted == table(database_url, TRUTH)
        connection.execute(made)
    assert table(database_url, COUNTED) == counted

"""The whole way of an audit over rows of a real Postgres: drawn fairly, heard by people, estimated, judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from audit_kit import MadeClip, make_clips, store_clips
from fleet_kit import change, rows
from lipika.alignment.romanise import open_romaniser
from lipika.audit.draw import DrawOrder, choose_more, draw
from lipika.audit.figures import AuditFigures, count_errors, make_figures
from lipika.audit.verdicts import Acceptance
from lipika.config import load_settings
from lipika.db import Database
from lipika.db.audits import Audits, HeardClip
from lipika.errors import UsageError
from lipika.jobs.audit_edits import apply_corrections
from lipika.jobs.export_audit import find_audit

ORDER = DrawOrder(seed=20261130, drawn_by="mira", per_language=200)
BUILTIN = open_romaniser("builtin")


async def hear(audits: Audits, audit_id: int, clips: list[MadeClip], *reviewers: str) -> None:
    """Everybody hears what they are given, and says what is said."""
    known = {(clip.video_id, clip.segment_file): clip for clip in clips}
    for reviewer in reviewers:
        while taken := await audits.take(audit_id, reviewer, None, 10):
            for clip in taken:
                true = known[clip.video_id, clip.segment_file].true
                text = None if true in (None, clip.transcription) else true
                assert await audits.judge(
                    audit_id, clip.place, reviewer, usable=true is not None, text=text, seconds=12.0
                )


async def figures_of(audits: Audits, audit_id: int) -> AuditFigures:
    audit = await audits.one(audit_id)
    assert audit is not None
    return make_figures(audit, await audits.clips(audit_id), BUILTIN)


# ----------------------------------------------------------------------------- the draw


async def test_a_clip_s_chance_does_not_hang_on_its_video(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chi-square: as often from videos of one clip as from those of hundreds, whatever page they came with."""
    monkeypatch.setattr("lipika.audit.draw._PAGE_ROWS", 150)
    clips = [
        replace(clip, asr=True, tts=True, tier="", score=None)
        for clip in make_clips([1] * 400 + [20] * 20 + [400])
    ]
    store_clips(database_url, clips)
    audits, drawn = Audits(database), Counter[str]()
    for seed in range(20):
        number = await draw(audits, replace(ORDER, seed=seed, per_language=120))
        drawn.update(clip.video_id for clip in await audits.clips(number))
    by_size = [
        sum(count for video, count in drawn.items() if low <= int(video[-4:]) < high)
        for low, high in ((0, 400), (400, 420), (420, 421))
    ]
    assert sum(by_size) == 20 * 120
    chi_square = sum((count - 800) ** 2 / 800 for count in by_size)
    assert chi_square < 9.21  # 2 degrees of freedom, 1 %
    singles = [drawn[f"video-{number:04d}"] for number in range(400)]
    spread = sum((count - 2) ** 2 for count in singles) / (2 * (1 - 0.1))
    assert 300 < spread < 500  # 399 degrees of freedom: each clip by itself, too


async def test_the_same_seed_draws_the_same_clips_and_another_draws_others(
    database_url: str, database: Database
) -> None:
    store_clips(database_url, make_clips([30] * 30))
    audits = Audits(database)
    first, again, other = [
        [
            (clip.video_id, clip.segment_file, clip.doubled)
            for clip in await audits.clips(await draw(audits, replace(ORDER, seed=seed, per_language=50)))
        ]
        for seed in (1, 1, 2)
    ]
    assert first == again
    assert len(set(first) & set(other)) < 15


async def test_strata_are_the_corpus_and_every_one_of_them_is_heard(
    database_url: str, database: Database
) -> None:
    clips = make_clips([60] * 40, languages=("hi", "ta"))
    store_clips(database_url, clips)
    change(
        database_url,
        "update transcription_results set status = 'failed', transcription = null where random() < 0.1",
    )
    audits = Audits(database)
    told: list[tuple[int, int]] = []
    number = await draw(audits, ORDER, lambda passed, of: told.append((passed, of)))
    audit = await audits.one(number)
    assert audit is not None
    expected = rows(
        database_url,
        "select coalesce(nullif(r.expected_language_hint, ''), r.detected_language) as language, count(*) as clips,"
        " sum(least(1 - alignment_score, 0.6) * length(replace(transcription, ' ', '')))::float8 as errors,"
        " sum(length(replace(transcription, ' ', '')))::float8 as letters"
        " from transcription_results r where status = 'transcribed' group by 1 order by 1",
    )
    for language, count, errors, letters in expected:
        of = [stratum for stratum in audit.strata if stratum.language == language]
        assert sum(stratum.clips for stratum in of) == count
        assert sum(stratum.proxy_errors for stratum in of) == pytest.approx(errors, rel=1e-6)
        assert sum(stratum.proxy_letters for stratum in of) == letters
    heard = await audits.clips(number)
    assert Counter(clip.language for clip in heard) == {"hi": 200, "ta": 200}
    assert {clip.stratum for clip in heard} == set(range(len(audit.strata)))
    assert Counter(clip.language for clip in heard if clip.doubled) == {"hi": 20, "ta": 20}
    assert told[-1][0] == sum(row.clips for row in expected)
    languages = [clip.language for clip in heard]
    assert languages != sorted(languages)  # a random order


async def test_only_what_is_asked_for_is_drawn_from(database_url: str, database: Database) -> None:
    store_clips(database_url, make_clips([40] * 10, languages=("hi", "ta")))
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, languages=("ta",), lane="tts_clean"))
    audit = await audits.one(number)
    assert audit is not None
    assert audit.languages == ["ta"]
    assert all("tts_clean" in stratum.open_lanes for stratum in audit.strata)
    with pytest.raises(UsageError, match="no transcribed clips of or in lane asr"):
        await draw(audits, replace(ORDER, languages=("or",), lane="asr"))


# ----------------------------------------------------------------------------- hearing


async def test_two_people_hear_different_clips_unless_both_are_wanted(
    database_url: str, database: Database
) -> None:
    clips = make_clips([20] * 30)
    store_clips(database_url, clips)
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=60, double_share=0.2))
    names = ("mira", "anil", "sunita", "ravi")
    given: list[tuple[str, int]] = []

    async def listen(reviewer: str) -> None:
        while taken := await audits.take(number, reviewer, ["hi"], 2):
            for clip in taken:
                given.append((reviewer, clip.place))
                await audits.judge(number, clip.place, reviewer, usable=True)

    await asyncio.gather(*map(listen, names))
    assert len(given) == len(set(given))
    times = Counter(place for _, place in given)
    heard = await audits.clips(number)
    assert {clip.place: 1 + clip.doubled for clip in heard} == times


async def test_a_person_goes_on_where_they_were_and_clips_of_those_who_left_come_back(
    database_url: str, database: Database
) -> None:
    store_clips(database_url, make_clips([20] * 10))
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=4, double_share=0.0))
    first = await audits.take(number, "mira", None, 3)
    assert await audits.take(number, "mira", None, 3) == first
    assert len(await audits.take(number, "anil", None, 10)) == 1
    change(
        database_url,
        "update audit_judgements set claimed_at = now() - interval '16 minutes' where reviewer = 'mira'",
    )
    back = await audits.take(number, "anil", None, 10)
    assert {clip.place for clip in first} < {clip.place for clip in back}
    assert await audits.judge(number, first[0].place, "anil", usable=True)
    assert not await audits.judge(number, first[0].place, "mira", usable=False)  # too late
    assert await audits.judge(number, first[1].place, "anil", usable=None)  # passed over
    assert first[1].place not in {clip.place for clip in await audits.take(number, "anil", None, 10)}
    assert first[1].place in {clip.place for clip in await audits.take(number, "mira", None, 10)}
    assert not await audits.judge(number, 999, "mira", usable=True)


async def test_what_is_judged_is_the_text_at_the_draw(database_url: str, database: Database) -> None:
    clips = make_clips([10] * 10)
    store_clips(database_url, clips)
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=30))
    change(database_url, "update transcription_results set transcription = 'something else'")
    known = {(clip.video_id, clip.segment_file): clip.text for clip in clips}
    for clip in await audits.take(number, "mira", None, 10):
        assert clip.transcription == known[clip.video_id, clip.segment_file]


# ----------------------------------------------------------------------------- figures


async def test_planted_errors_are_found_and_a_verdict_is_given(database_url: str, database: Database) -> None:
    clips = make_clips([50] * 60, languages=("hi", "ta"), wrong=0.04, unusable=0.03)
    store_clips(database_url, clips)
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=300, limit_cer=0.10, limit_unusable=0.005))
    before = await figures_of(audits, number)
    assert not before.complete
    assert before.languages[0].cer_verdict is not None
    assert before.languages[0].cer_verdict.acceptance is Acceptance.UNDECIDED
    await hear(audits, number, clips, "mira", "anil")
    figures = await figures_of(audits, number)
    assert figures.complete
    assert figures.made == figures.wanted == 660
    for part in figures.languages:
        usable = [clip for clip in clips if clip.language == part.language and clip.true is not None]
        found = [count_errors(clip.text, clip.true or "") for clip in usable]
        truth = sum(errors for errors, _ in found) / sum(letters for _, letters in found)
        assert part.cer.estimate.low <= truth <= part.cer.estimate.high
        assert part.cer.estimate.high - part.cer.estimate.low < 0.02
        assert part.cer.gain >= 1
        unusable = 1 - len(usable) / sum(clip.language == part.language for clip in clips)
        assert part.unusable.estimate.low <= unusable <= part.unusable.estimate.high
        assert part.cer_verdict is not None
        assert part.unusable_verdict is not None
        assert part.cer_verdict.acceptance is Acceptance.ACCEPT
        assert part.unusable_verdict.acceptance is Acceptance.REJECT
    assert {part.lane for part in figures.lanes} == {"asr", "tts_clean"}
    assert {part.tier for part in figures.tiers} == {"gold", "silver", "bronze"}
    assert figures.agreement.clips == 60
    assert figures.agreement.cer == 0.0


async def test_what_cannot_be_decided_is_heard_on_at_a_smaller_chance_of_error(
    database_url: str, database: Database
) -> None:
    clips = make_clips([50] * 40, wrong=0.05)
    store_clips(database_url, clips)
    audits = Audits(database)
    found = [count_errors(clip.text, clip.true or "") for clip in clips]
    limit = 1.1 * sum(errors for errors, _ in found) / sum(letters for _, letters in found)
    number = await draw(audits, replace(ORDER, per_language=40, limit_cer=limit, limit_unusable=0.05))
    await hear(audits, number, clips, "mira", "anil")
    first = await figures_of(audits, number)
    verdict = first.languages[0].cer_verdict
    assert verdict is not None
    assert verdict.acceptance is Acceptance.UNDECIDED
    audit, heard = first.audit, await audits.clips(number)
    places, doubled = choose_more(audit, heard, await audits.reserve(number), {"hi": 100})
    assert len(places) == 100
    assert await audits.draw_more(audit, places, sorted(doubled)) == 100
    assert await audits.draw_more(audit, places, sorted(doubled)) == 0  # somebody has drawn since
    between = await figures_of(audits, number)
    assert not between.complete
    await hear(audits, number, clips, "mira", "anil")
    second = await figures_of(audits, number)
    assert second.complete
    assert second.audit.looks == 2
    assert second.languages[0].heard == 140


async def test_agreement_is_of_people_not_of_the_model(database_url: str, database: Database) -> None:
    store_clips(database_url, make_clips([20] * 10))
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=40, double_share=1.0))
    heard: list[HeardClip] = await audits.clips(number)
    for clip in heard:
        await audits.judge(number, clip.place, "mira", usable=clip.place % 4 != 0, text="कल मिलते हैं")
        await audits.judge(number, clip.place, "anil", usable=clip.place % 8 != 0, text="कल मिलते हो")
    agreement = (await figures_of(audits, number)).agreement
    assert agreement.clips == 40
    assert agreement.same_usability == pytest.approx(0.875)
    # Expected alike by chance: 0.75 * 0.875 + 0.25 * 0.125.
    assert agreement.kappa == pytest.approx((0.875 - 0.6875) / (1 - 0.6875))
    errors, letters = count_errors("कल मिलते हैं", "कल मिलते हो")
    assert agreement.cer == pytest.approx(errors / letters)


async def test_without_a_second_listener_people_alone_are_heard(
    database_url: str, database: Database
) -> None:
    clips = make_clips([50] * 20, proxy=False)
    store_clips(database_url, clips)
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=150))
    await hear(audits, number, clips, "mira", "anil")
    part = (await figures_of(audits, number)).languages[0]
    assert part.cer.gain == 1
    assert part.cer.estimate.low < part.cer.estimate.value < part.cer.estimate.high


async def test_the_card_of_an_export_has_the_newest_audit_that_is_heard(
    database_url: str, database: Database
) -> None:
    clips = make_clips([30] * 10)
    store_clips(database_url, clips)
    audits, settings = Audits(database), load_settings(align_romaniser="builtin")
    assert await find_audit(database, "asr", settings) is None
    assert await find_audit(None, "asr", settings) is None
    heard = await draw(audits, replace(ORDER, per_language=50))
    assert await find_audit(database, "asr", settings) is None
    await hear(audits, heard, clips, "mira")
    await draw(audits, ORDER)  # nobody has heard it yet
    found = await find_audit(database, "asr", settings)
    assert found is not None
    assert (found.number, found.lane) == (heard, "asr")
    figures = await figures_of(audits, heard)
    of_lane = next(part for part in figures.lanes if part.lane == "asr")
    assert [one.cer for one in found.languages] == [of_lane.cer.estimate.value]
    whole = await find_audit(database, "tts_expressive", settings)
    assert whole is not None
    assert (whole.lane, whole.languages[0].heard) == ("", 50)


async def test_a_database_of_an_earlier_release_has_no_audit(database_url: str, database: Database) -> None:
    change(database_url, "drop table audit_judgements, audit_clips, audits")
    assert await find_audit(database, "asr", load_settings()) is None


async def test_corrections_become_edits_of_those_who_made_them_once(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    clips = make_clips([20] * 5, unusable=0.2)
    store_clips(database_url, clips)
    audits = Audits(database)
    number = await draw(audits, replace(ORDER, per_language=60, double_share=0.0))
    await hear(audits, number, clips, "mira")
    heard = [clip for clip in await audits.clips(number) if clip.judgements]
    corrected = [clip for clip in heard if clip.judgements[0].text is not None]
    unusable = [clip for clip in heard if not clip.judgements[0].usable]
    other, tagged = corrected[0], corrected[1]
    change(
        database_url,
        "update transcription_results set transcription = 'anew', tagged = 'anew'"
        " where (video_id, segment_file) = (%s, %s)",
        *(other.video_id, other.segment_file),
    )
    change(
        database_url,
        "update transcription_results set tagged = '[laugh] ' || tagged where (video_id, segment_file) = (%s, %s)",
        *(tagged.video_id, tagged.segment_file),
    )
    foreseen = await apply_corrections(number, None, dry_run=True)
    done = await apply_corrections(None, None)
    assert done == foreseen
    assert done.document() == {
        "audit": number, "corrected": len(corrected) - 2, "unusable": len(unusable), "already": 0,
        "changed_since": 1, "with_events": 1, "gone": 0,
    }  # fmt: skip
    last = corrected[2]
    row = rows(
        database_url,
        "select transcription, text_source from transcription_results where (video_id, segment_file) = (%s, %s)",
        *(last.video_id, last.segment_file),
    )
    assert row == [(last.judgements[0].text, "person")]
    by = rows(database_url, "select distinct edited_by from transcription_edits")
    assert [one.edited_by for one in by] == ["mira"]
    again = await apply_corrections(number, None)
    assert (again.corrected, again.unusable) == (0, 0)
    assert again.already == len(corrected) - 2 + len(unusable)

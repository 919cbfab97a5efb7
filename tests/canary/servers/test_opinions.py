"""Second opinions: who is asked for, within which dollars, and that none is paid for twice."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_kit import a_stage, results_of
from lipika.archive.results import ResultArchive
from lipika.canary.opinions import OpinionOptions, SecondOpinions, open_opinions
from lipika.config import load_settings
from lipika.db import Database
from lipika.db.voters import Voters
from lipika.engine.outcome import EngineOptions
from lipika.engine.pacing import Probing
from lipika.engine.route import reserve_unlimited
from lipika.errors import SegmentError, UsageError
from lipika.jobs.vote import VoteOrder, vote_on_stored
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.models import Consensus, Tier, VoterKind
from lipika.pipeline.opinions import wants_opinion
from lipika.storage import StoreSettings
from lipika.validation import add_findings
from lipika.validation.bands import DEFAULT_BANDS
from lipika.validation.catalogue import finding
from result_kit import table
from scripted import GOOD, METERED
from stored_kit import documents, made, write_archive

OTHER_MODEL = "gemini-2.5-pro"
OPTIONS = OpinionOptions(
    model_id=OTHER_MODEL,
    temperature=0.0,
    thinking_level="low",
    share=1.0,
    max_usd=100.0,
    stores=StoreSettings(),
    bands=DEFAULT_BANDS,
    engine=EngineOptions(interval_s=0.05, burst=True),
    probing=Probing(),
)


class Service(BaseProvider):
    """Says the same to everybody, and counts."""

    def __init__(self) -> None:
        self.requests: list[TranscriptionRequest] = []

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        self.requests.append(request)
        return TranscriptionResponse(request, "openrouter", GOOD, None, METERED, "m-2", 1.0)

    def get_provider_name(self) -> str:
        return "openrouter"


@asynccontextmanager
async def opinions_of(
    service: Service, database: Database, options: OpinionOptions = OPTIONS
) -> AsyncIterator[SecondOpinions]:
    model = load_capabilities(OTHER_MODEL)
    async with SecondOpinions(options, service, model, reserve_unlimited, Voters(database)) as opinions:
        yield opinions


async def some_archives(tmp_path: Path, database_url: str, videos: int, clips: int) -> Path:
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(videos, clips)
        await stage.work()
        return stage.out


def an_order(out: Path) -> VoteOrder:
    return VoteOrder([str(out)], (), rows=False, data_dir=None)


async def test_a_second_model_is_a_voter_and_is_paid_once(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGN_ROMANISER", "builtin")
    out = await some_archives(tmp_path, database_url, 2, 4)
    before = {tar: tar.read_bytes() for tar in out.rglob("*.tar")}
    clips = [result for tar in before for result in results_of(tar) if result.answer is not None]
    service = Service()
    async with opinions_of(service, database) as opinions:
        done = await vote_on_stored(an_order(out), opinions.ask)
    wanted = sum(wants_opinion(result, OPTIONS) for result in clips)
    assert wanted == len({request.clip_id for request in service.requests}) > 0
    assert (opinions.counts.asked, opinions.counts.answered, opinions.counts.ended) == (wanted, wanted, "")
    assert opinions.counts.usd == pytest.approx(
        len(service.requests) * load_capabilities(OTHER_MODEL).cost_usd(METERED)
    )
    assert done.tiers.total() > 0
    voters = [voter for tar in before for document in documents(tar) for voter in document["voters"]]
    assert {(voter["name"], voter["kind"], voter["text"]) for voter in voters} == {
        (OTHER_MODEL, str(VoterKind.MODEL), "ठीक है")
    }
    kept = table(database_url, "select * from transcription_answers")
    assert len(kept) == wanted
    assert kept[0]["answer"]["transcription"] == "ठीक है"  # type: ignore[index]
    assert {(row["provider"], row["model_version"]) for row in kept} == {("openrouter", "m-2")}

    for tar, content in before.items():  # as if all had been stopped before an archive was written
        tar.write_bytes(content)
    again = Service()
    async with opinions_of(again, database) as opinions:
        await vote_on_stored(an_order(out), opinions.ask)
        assert (len(again.requests), opinions.counts.stored_before) == (0, wanted)
        await vote_on_stored(an_order(out), opinions.ask)
        assert (len(again.requests), opinions.counts.stored_before) == (0, wanted)  # they are voters by now


async def test_its_cap_is_its_own_and_what_was_answered_stays(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    out = await some_archives(tmp_path, database_url, 1, 8)
    one = load_capabilities(OTHER_MODEL).cost_usd(METERED)
    service = Service()
    async with opinions_of(service, database, replace(OPTIONS, max_usd=one * 2.5)) as opinions:
        await vote_on_stored(an_order(out), opinions.ask)
    assert "SECOND_OPINION_USD" in opinions.counts.ended
    assert opinions.counts.usd <= one * 2.5 * 1.1
    assert opinions.counts.answered == len(table(database_url, "select from transcription_answers"))


async def test_what_goes_wrong_with_an_archive_is_told_as_it_is(database: Database, tmp_path: Path) -> None:
    """Its audio is no audio: the archive stays as it is, and the others have their turn."""
    tar = write_archive(tmp_path / "v_transcribed.tar", [made(0), made(1)])
    before = tar.read_bytes()
    async with opinions_of(Service(), database) as opinions:
        with pytest.raises(SegmentError):
            await opinions.ask(ResultArchive(str(tmp_path), tar.name), [made(0), made(1)])
        done = await vote_on_stored(an_order(tmp_path), opinions.ask)
    assert len(done.problems) == 1
    assert tar.read_bytes() == before


def test_a_sample_is_the_same_every_time_and_doubt_is_always_asked() -> None:
    tenth = replace(OPTIONS, share=0.1)
    clips = [made(number) for number in range(400)]
    spread = [
        replace(
            one, clip=replace(one.clip, audio_digest=f"{zlib.crc32(str(number).encode()):08x}" + "0" * 56)
        )
        for number, one in enumerate(clips)
    ]
    sampled = [one for one in spread if wants_opinion(one, tenth)]
    assert 15 < len(sampled) < 80
    assert sampled == [one for one in spread if wants_opinion(one, tenth)]
    none = replace(OPTIONS, share=0.0)
    (calm,) = clips[:1]
    assert calm.verdict is not None
    doubted = replace(calm, verdict=add_findings(calm.verdict, [finding("words_differ", "-")]))
    bronze = replace(calm, consensus=Consensus(Tier.BRONZE, 0.5, ("a", "b"), 2, "1"))
    assert [wants_opinion(one, none) for one in (calm, doubted, bronze)] == [False, True, True]
    has_one = replace(doubted, voters=(none.voter("x"),))
    english = replace(doubted, answer=replace(calm.answer, detected_language="en"))  # type: ignore[type-var]
    failed = replace(doubted, answer=None)
    assert not any(wants_opinion(one, none) for one in (has_one, english, failed))


@pytest.mark.parametrize("model", ["", "gemini-3-flash-preview"])
async def test_its_model_has_to_be_another(
    database: Database, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("SECOND_OPINION_MODEL", model)
    with pytest.raises(UsageError, match="SECOND_OPINION_MODEL"):
        async with open_opinions(load_settings(), database, None):
            pass

"""A canary asks the very question that the pipeline asks, and thinks of the answer what the pipeline thinks of it."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from asking import MODEL
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.audio.codec import decode, encode_flac
from lipika.canary.arms import Arm, ArmKind
from lipika.canary.asking import AskOptions, Way, ask_all
from lipika.canary.records import Asked
from lipika.canary.sample import Desk, SampleArchive, take_sample
from lipika.engine.engine import Engine
from lipika.engine.outcome import EngineOptions
from lipika.engine.pacing import Probing
from lipika.engine.route import Route, reserve_unlimited
from lipika.jobs.demo import sample_folder
from lipika.llm.capabilities import load_capabilities
from lipika.llm.prompt import system_prompt
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.llm.transcript import NO_SPEECH
from lipika.models import Accounting, AnswerForm, ClaimedVideo, ClipResult, SendFormat
from lipika.pipeline.byte_budget import ByteBudget
from lipika.pipeline.known_answers import KnownAnswers, look_nowhere
from lipika.pipeline.polishers import Polishers, polish_members
from lipika.pipeline.reuse import AskedAs
from lipika.pipeline.tools import Counts, Tools
from lipika.pipeline.video import transcribe_video
from lipika.storage import Store, StoreSettings
from lipika.storage.store import Place
from lipika.validation.bands import DEFAULT_BANDS
from scripted import GOOD, METERED

SEGMENTS = 8
OPTIONS = EngineOptions(interval_s=0.05, burst=True)


class Service(BaseProvider):
    """Writes down what it is asked. Some answers say that nobody speaks, some cannot be read at first."""

    def __init__(self) -> None:
        self.requests: list[TranscriptionRequest] = []

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        # A pipeline's audio lies in its spool, from which it is read each time that it is sent.
        sent = request.audio if request.source is None else request.source.read()
        self.requests.append(replace(request, audio=sent, source=None))
        kind = zlib.crc32(request.clip_id.encode()) % 3
        silent = GOOD.replace("ठीक है", NO_SPEECH)
        text = "{" if kind == 2 and not request.varied else silent if kind == 1 else GOOD
        return TranscriptionResponse(request, "aistudio", text, None, METERED, "m", 1.0)

    def get_provider_name(self) -> str:
        return "aistudio"


@dataclass
class Kept:
    """A keeper that keeps results in memory: the last one of each clip."""

    results: dict[str, ClipResult] = field(default_factory=dict)

    async def keep(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        self.take(video, result, document)

    def take(self, _video: ClaimedVideo, result: ClipResult, _document: bytes) -> None:
        self.results[result.segment_file] = result

    async def settle(self, _video: ClaimedVideo) -> Mapping[str, ClipResult]:
        return {}


@pytest.fixture
async def threads() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CorpusPlan(1, SEGMENTS, (2.4, 5.0))
    return make_corpus(tmp_path_factory.mktemp("question"), plan, sample_folder())[0]


async def by_pipeline(
    archive: Path, out: Path, threads: ThreadPoolExecutor, send_format: SendFormat, form: AnswerForm
) -> tuple[Service, dict[str, ClipResult]]:
    service, kept = Service(), Kept()
    route = Route(service, load_capabilities(MODEL), max_in_flight=100)
    async with (
        Engine([route], worker_id="w", options=OPTIONS) as engine,
        Polishers(threads, 0, 2, work=lambda members: polish_members(members, send_format)) as polishers,
    ):
        tools = Tools(
            worker_id="w",
            engine=engine,
            keeper=kept,
            room=ByteBudget(64 << 20),
            threads=threads,
            polishers=polishers,
            spool_dir=out,
            asked_as=AskedAs(MODEL, None, "low", answer=form),
            known=KnownAnswers(look_nowhere, AskedAs(MODEL, None, "low", answer=form)),
            counts=Counts(),
        )
        video = ClaimedVideo("v", "token", archive.name, "v.tar", archive.stem[:2], 1)
        target = Store.open(str(out), StoreSettings(), create=True)
        await transcribe_video(video, place_of(archive), Place(target, "v.tar"), tools, {}, Accounting())
    return service, kept.results


async def by_canary(
    archive: Path, out: Path, threads: ThreadPoolExecutor, send_format: SendFormat, form: AnswerForm
) -> tuple[Service, dict[str, Asked]]:
    service, model = Service(), load_capabilities(MODEL)
    candidate = SampleArchive("v", archive.name, archive.stem[:2])
    desk = Desk(lambda _key: place_of(archive), threads, out, send_format)
    sample = await take_sample([candidate], 10 * SEGMENTS, 1, desk)
    arm = Arm("baseline", ArmKind.BASELINE, "aistudio", None, "low", form)
    options = AskOptions(
        max_usd=100.0,
        max_seconds=60.0,
        engine=OPTIONS,
        probing=Probing(),
        max_in_flight=100,
        bands=DEFAULT_BANDS,
    )
    done = await ask_all(sample.clips, [Way(arm, service, model, reserve_unlimited)], options)
    return service, {row.segment_file: row for row in done.asked}


def place_of(archive: Path) -> Place:
    return Place(Store.open(str(archive.parent), StoreSettings()), archive.name)


def as_compared(requests: Iterable[TranscriptionRequest]) -> set[TranscriptionRequest]:
    """An Ogg stream has a serial number of chance: there only the length of the audio is compared."""
    return {
        replace(request, audio=bytes(len(request.audio)))
        if request.audio_format == SendFormat.OGG
        else request
        for request in requests
    }


@pytest.mark.parametrize(
    ("send_format", "form"),
    [*((one, AnswerForm.FULL) for one in SendFormat), (SendFormat.FLAC, AnswerForm.LEAN)],
)
async def test_a_canary_asks_what_the_pipeline_asks_and_judges_as_it_does(
    archive: Path, tmp_path: Path, threads: ThreadPoolExecutor, send_format: SendFormat, form: AnswerForm
) -> None:
    asked, results = await by_pipeline(archive, tmp_path, threads, send_format, form)
    asked_too, rows = await by_canary(archive, tmp_path, threads, send_format, form)

    assert as_compared(asked.requests) == as_compared(asked_too.requests)
    assert len(asked.requests) == len(asked_too.requests) > len(results)
    assert {request.system_prompt for request in asked.requests} == {system_prompt(archive.stem[:2], form)}
    assert {request.varied for request in asked.requests} == {False, True}
    assert results.keys() == rows.keys()
    for file, result in results.items():
        row = rows[file]
        assert row.status == str(result.status)
        assert row.requests == result.provenance.attempts
        assert row.quality_score == (result.verdict and result.verdict.quality_score)
        assert row.findings == (
            tuple(found.code for found in result.verdict.findings) if result.verdict else ()
        )
    assert len({result.status for result in results.values()}) > 1


@pytest.mark.parametrize("ask_silence", [False, True])
async def test_a_canary_asks_nobody_for_silence(
    archive: Path, tmp_path: Path, threads: ThreadPoolExecutor, ask_silence: bool
) -> None:
    quiet = with_silence(archive, tmp_path / "quiet.tar", every=2)
    desk = Desk(lambda _key: place_of(quiet), threads, tmp_path, ask_silence=ask_silence)
    sample = await take_sample([SampleArchive("v", quiet.name, "hi")], 10 * SEGMENTS, 1, desk)
    (video,) = sample.videos
    heard = [one for one in sample.clips if decode(one.audio.read_bytes()).samples.any()]

    assert len(heard) == SEGMENTS // 2
    assert len(sample.clips) == (SEGMENTS if ask_silence else SEGMENTS // 2) == video.clips_made
    assert sample.not_asked == video.not_asked == (0 if ask_silence else SEGMENTS // 2)


def with_silence(archive: Path, copy: Path, every: int) -> Path:
    """The same archive with every second, third, … segment as digital silence."""
    with tarfile.open(archive) as old, tarfile.open(copy, "w") as new:
        segments = 0
        for member in old.getmembers():
            file = old.extractfile(member)
            data = file.read() if file else b""
            if member.name.endswith(".flac"):
                segments += 1
                sound = decode(data)
                if segments % every == 0:
                    data = encode_flac(replace(sound, samples=np.zeros_like(sound.samples)))
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return copy

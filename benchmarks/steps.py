"""CPU per clip by step, beside the floor of the same run.

Each round runs the floor, then the product's own functions one step after the other over the same clips, then the
whole chain (what `lipika run` calls). Simulator and Postgres are other processes. Of several
rounds the best is reported for each step: other people's load only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import resource
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import uvloop
from rich.console import Console

from benchmarks.floor import Floor
from benchmarks.setting import Machine, corpus, in_child, machine, save, scratch_folder, setting
from benchmarks.stopwatch import Stopwatch
from lipika import log, services, validation
from lipika.archive import documents, video_documents
from lipika.archive.members import Member, MemberKind, read_members
from lipika.archive.sources import find_videos
from lipika.archive.spool import Spool
from lipika.audio import polish
from lipika.config import Settings, load_settings
from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.db.results import Results
from lipika.db.workers import Workers
from lipika.jobs import transcribe, wiring
from lipika.llm import prompt, transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.models import (
    Accounting,
    ClaimedVideo,
    ClipResult,
    ClipStatus,
    Failure,
    Judged,
    NewVideo,
    PolishedClip,
    Provenance,
)
from lipika.processes import settle_in
from lipika.storage import Store, StoreSettings

VIDEOS, SEGMENTS, ROUNDS = 8, 40, 10
LATENCY_S = 0.05
_ROWS = 500  # a write of the sink
_IN_FLIGHT = 64  # as the floor

STEPS = {
    "read": "read the tar from the store",
    "decode": "decode FLAC",
    "plan": "plan: energy profile, split, trim",
    "pad": "pad",
    "facts": "measure facts",
    "encode": "encode FLAC",
    "sha256": "SHA-256 of the clip",
    "polish": "polish, the rest",
    "request": "base64, request bytes",
    "http": "HTTP over TLS, reply read",
    "check": "parse and validate the answer",
    "spool": "result JSON, spool",
    "rows": "rows to Postgres",
    "store": "compose the result tar, store it",
}


@dataclass(frozen=True, slots=True)
class Round:
    """CPU milliseconds per clip."""

    floor: float
    steps: dict[str, float]
    chain: float


@dataclass(frozen=True, slots=True)
class StepsResult:
    """`best` are the least values over all rounds; `ratio` is chain over floor, each at its best."""

    machine: Machine
    clips: int
    clip_seconds: float
    clip_bytes: int
    best: Round
    ratio: float
    rounds: tuple[Round, ...]


# ----------------------------------------------------------------------------- from outside


async def measure(*, videos: int = VIDEOS, rounds: int = ROUNDS, with_steps: bool = True) -> StepsResult:
    """Measure in a child process."""
    load_before = os.getloadavg()[0]
    with scratch_folder() as folder:
        corpus(folder / "in", videos, SEGMENTS)
        async with setting(folder, latency_s=LATENCY_S) as place:
            options = ["--folder", folder, "--rounds", rounds, *(["--steps"] if with_steps else [])]
            printed = await in_child(
                "benchmarks.steps",
                *options,
                environment=place.child_environment(WORKER_PROCESSES=0),
                folder=folder,
            )
    told = orjson.loads(printed)
    every = tuple(Round(**each) for each in told["rounds"])
    best = Round(
        floor=min(each.floor for each in every),
        steps={name: min(each.steps[name] for each in every) for name in every[0].steps},
        chain=min(each.chain for each in every),
    )
    return StepsResult(
        machine=machine(load_before),
        clips=told["clips"],
        clip_seconds=round(told["clip_seconds"], 2),
        clip_bytes=told["clip_bytes"],
        best=best,
        ratio=best.chain / best.floor,
        rounds=every,
    )


def main() -> None:
    result = asyncio.run(measure())
    save("steps", result)
    print(table(result))


def table(result: StepsResult) -> str:
    """The result as Markdown."""
    best = result.best
    named = sum(best.steps.values())
    lines = ["| step | CPU ms per clip | of the floor |", "|---|---:|---:|"]
    rows = [(STEPS[name], value) for name, value in best.steps.items()]
    rows += [
        ("**sum of the steps**", named),
        ("event loop, threads, engine, heartbeats (the difference)", best.chain - named),
        ("**the whole chain** (`lipika run`)", best.chain),
        ("**the floor**", best.floor),
    ]
    lines += [f"| {label} | {value:.3f} | {value / best.floor:.0%} |" for label, value in rows]
    return "\n".join([*lines, "", f"Ratio of the chain to the floor: **{result.ratio:.2f}**."])


# ----------------------------------------------------------------------------- inside the child


def child() -> None:
    """Measure all rounds and print them as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--steps", action="store_true")
    options = parser.parse_args()
    log.configure(level="warning")
    settle_in()  # both as the command line does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(_rounds(options.folder, options.rounds, options.steps))
    sys.stdout.buffer.write(orjson.dumps(told))


async def _rounds(folder: Path, rounds: int, with_steps: bool) -> dict[str, object]:
    settings = load_settings(output_url=str(folder / "out"))
    tar_files = sorted((folder / "in").glob("*.tar"))
    done = []
    async with services.open_database(settings) as database, _provider(settings) as provider:
        walk = StepByStep(settings, database, provider, folder)
        await walk.prepare(tar_files)
        async with Floor(settings.gemini_base_url) as floor:
            await floor.cpu_ms(walk.flacs)  # connections are made, caches are warm
            await _chain_ms(settings, database, folder, tar_files[:1], len(walk.flacs))
            for _ in range(rounds):
                floor_ms = await floor.cpu_ms(walk.flacs)
                steps = await walk.cpu_ms() if with_steps else {}
                chain_ms = await _chain_ms(settings, database, folder, tar_files, walk.clips)
                done.append(Round(floor_ms, steps, chain_ms))
    return {
        "rounds": done,
        "clips": walk.clips,
        "clip_seconds": walk.seconds / walk.clips,
        "clip_bytes": walk.bytes // walk.clips,
    }


async def _chain_ms(
    settings: Settings, database: Database, folder: Path, tar_files: Sequence[Path], clips: int
) -> float:
    """CPU of the real thing: queue, claim, transcribe, finish. Child processes count, Postgres and simulator not."""
    out = str(folder / f"out{next(_outs)}")  # a result is never written over another video's
    videos = [
        replace(video, video_id=f"{next(_numbers)}")
        for video in await find_videos(
            [str(path) for path in tar_files], out, services.store_settings(settings)
        )
    ]
    quiet = Console(file=sys.stderr)
    before = _cpu_s()
    summary = await transcribe.run_videos(settings, database, videos, quiet, quiet=True)
    spent = _cpu_s() - before
    shutil.rmtree(out)  # or each round would be paid for memory that the machine has never used before
    if summary.done != len(videos) or summary.failed:
        raise RuntimeError(f"the chain did not do its work: {summary}")
    return spent / clips * 1000


_numbers, _outs = itertools.count(), itertools.count()


def _cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _provider(settings: Settings) -> AIStudioProvider:
    return AIStudioProvider(
        base_url=settings.gemini_base_url,
        api_key=_key(settings),
        options=wiring.model_options(settings),
        capabilities=load_capabilities(settings.model_id),
        response_schema=transcript.response_schema(),
    )


def _key(settings: Settings) -> str:
    return settings.gemini_api_key.get_secret_value() if settings.gemini_api_key else ""


class StepByStep:
    """The steps of one video after another, each over all of its clips, by the product's own functions."""

    def __init__(
        self, settings: Settings, database: Database, provider: AIStudioProvider, folder: Path
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._database = database
        self._folder = folder
        self._source = Store.open(str(folder / "in"), StoreSettings())
        self._target = Store.open(str(folder / "out"), StoreSettings(), create=True)
        self._worker = wiring.worker_info(settings)
        self._tar_files: Sequence[Path] = ()
        self.flacs: list[bytes] = []
        self.clips = self.bytes = 0
        self.seconds = 0.0

    async def prepare(self, tar_files: Sequence[Path]) -> None:
        """Register a worker, and look at the corpus once."""
        self._tar_files = tar_files
        await Workers(self._database).register(self._worker)
        for path in tar_files:
            for member in self._read(path.name):
                self.flacs.append(member.data)
                for polished in polish.polish_segment(member.segment, member.data).clips:
                    self.clips += 1
                    self.bytes += len(polished.sent)
                    self.seconds += polished.clip.duration_ms / 1000

    async def cpu_ms(self) -> dict[str, float]:
        """CPU milliseconds per clip, by step."""
        watch = Stopwatch()
        for path in self._tar_files:
            await self._one_video(watch, path)
        clear = {
            **watch.seconds,
            "polish": watch.seconds["polish"]
            - sum(watch.seconds[part] for part in ("decode", "plan", "pad", "facts", "encode", "sha256")),
            "http": watch.seconds["http"] - watch.seconds["request"],
        }
        return {name: clear[name] / self.clips * 1000 for name in STEPS}

    async def _one_video(self, watch: Stopwatch, path: Path) -> None:
        video = await self._claim(path)
        language = path.name[:2]
        with watch.step("read"):
            members = self._read(path.name)
        clips = self._polish(watch, members)
        requests = [self._request(video.video_id, language, clip) for clip in clips]
        with watch.watching(self._provider, "encode", "request"), watch.step("http"):
            responses = await self._send(requests)
        with watch.step("check"):
            judged = [
                _judged(response, clip, language) for response, clip in zip(responses, clips, strict=True)
            ]
        results = [
            self._result(video, language, clip, response, each)
            for clip, response, each in zip(clips, responses, judged, strict=True)
        ]
        with watch.step("rows"):
            for start in range(0, len(results), _ROWS):
                await Results(self._database).write(video, results[start : start + _ROWS])
        await self._store(watch, video, language, clips, results)

    async def _claim(self, path: Path) -> ClaimedVideo:
        queue, name = Queue(self._database), f"step {next(_numbers)}"
        await queue.add([NewVideo(name, str(path), f"{name}.tar")])
        (video,) = await queue.claim(self._worker.worker_id, 3600, 1, only=[name])
        return video

    def _read(self, key: str) -> list[Member]:
        with self._source.open_read(key) as reader:
            return [
                member
                for member in read_members(reader)
                if isinstance(member, Member) and member.kind is MemberKind.SEGMENT
            ]

    def _polish(self, watch: Stopwatch, members: Sequence[Member]) -> list[PolishedClip]:
        with ExitStack() as watched:
            for owner, attribute, name in (
                (polish, "read", "decode"),
                (polish, "plan", "plan"),
                (polish, "add_pads", "pad"),
                (polish, "measure", "facts"),
                (polish, "encode_padded", "encode"),
                (hashlib, "sha256", "sha256"),
            ):
                watched.enter_context(watch.watching(owner, attribute, name))
            with watch.step("polish"):
                segments = [polish.polish_segment(member.segment, member.data) for member in members]
        return [clip for segment in segments for clip in segment.clips]

    def _request(self, video_id: str, language: str, polished: PolishedClip) -> TranscriptionRequest:
        clip = polished.clip
        return TranscriptionRequest(
            clip_id=f"{video_id}/{clip.name.stem}",
            video_id=video_id,
            language=language,
            system_prompt=prompt.system_prompt(language),
            clip_prompt=prompt.clip_prompt(clip.duration_ms),
            audio=polished.sent,
            audio_ms=clip.duration_ms,
            max_output_tokens=prompt.max_output_tokens(clip.duration_ms, language),
        )

    async def _send(self, requests: Sequence[TranscriptionRequest]) -> list[TranscriptionResponse]:
        """All answers, in the order of the requests; as many at a time as the floor sends."""
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(request: TranscriptionRequest) -> TranscriptionResponse:
            async with slots:
                return await self._provider.transcribe(request)

        return await asyncio.gather(*map(one, requests))

    def _result(
        self,
        video: ClaimedVideo,
        language: str,
        polished: PolishedClip,
        response: TranscriptionResponse,
        judged: Judged,
    ) -> ClipResult:
        return ClipResult(
            video_id=video.video_id,
            clip=polished.clip,
            language_hint=language,
            status=ClipStatus.NO_SPEECH if judged.answer.no_speech else ClipStatus.TRANSCRIBED,
            answer=judged.answer,
            verdict=judged.verdict,
            failure=None,
            usage=response.usage,
            cost_usd=0.001,
            provenance=Provenance(
                provider=response.provider,
                model_id=self._settings.model_id,
                model_version=response.model_version,
                prompt_version=prompt.PROMPT_VERSION,
                schema_version=transcript.SCHEMA_VERSION,
                temperature=self._settings.temperature,
                thinking_level=self._settings.thinking_level,
                worker_id=self._worker.worker_id,
                batch_id="00000000-0000-0000-0000-000000000000",
                attempts=1,
                latency_ms=round(response.latency_ms),
            ),
        )

    async def _store(
        self,
        watch: Stopwatch,
        video: ClaimedVideo,
        language: str,
        clips: Sequence[PolishedClip],
        results: Sequence[ClipResult],
    ) -> None:
        summary, accounting = video_documents.Summary(), Accounting(segments=len(clips))
        with Spool(self._folder / "spool") as spool:
            with watch.step("spool"):
                for clip, result in zip(clips, results, strict=True):
                    spool.add_clip(clip.clip.name.stem, clip.packed)
                    summary.add(result)
                    spool.add_result(clip.clip.name.stem, documents.clip_result_to_json(result))
            with watch.step("store"):
                metadata = video_documents.result_metadata(
                    {}, video.video_id, language, accounting, [], summary
                )
                tar = spool.compose(metadata)
                await self._target.put_stream(video.output_key, tar.chunks(), tar.size)


def _judged(response: TranscriptionResponse, polished: PolishedClip, language: str) -> Judged:
    answer = transcript.read_answer(response.text)
    if response.failure or isinstance(answer, Failure):
        raise RuntimeError(f"the simulator failed: {response.failure or answer}")
    return Judged(answer, validation.validate(answer, polished.clip, language))


if __name__ == "__main__":
    child()

"""The product meets replies that it did not make; the server's ledger is the judge.

Every clip is accounted for, none is paid for more often than docs/providers.md says, and the run has an end.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fleet_kit import rows
from lipika.archive import members
from world_kit import rounds, run
from world_replies import AUDIO_TOKENS, OUTPUT_TOKENS, PROMPT_TOKENS, Ledger, Weather, a_world

MOST_PAID = 5
"""One first question, three more after transient failures, and one in other words: docs/providers.md."""

MOST_IN_A_STORM = 100
"""What is on the wire when the first refusal comes, and then one probe at a time, ever further apart."""

QUICK = {
    "WORKER_PROCESSES": "0",
    "BATCH_INTERVAL_SECONDS": "1",
    "REQUEST_TIMEOUT_SECONDS": "1",
    "RETRY_SECONDS": "0.05",
    "PROBE_SECONDS": "0.2",
    "LEAST_WAIT_SECONDS": "0.05",
}

WEATHERS = {
    "a good day": (Weather(), 100),
    "what models write": (Weather(inner=0.4), 800),
    "what bodies hold": (Weather(outer=0.35), 500),
    "what services answer": (Weather(status=0.1, inner=0.05, outer=0.05), 300),
    "what wires do": (Weather(wire=0.05, inner=0.05), 300),
    "poison": (Weather(inner=0.05, poisoned=0.05), 300),
    "for now": (Weather(slow=0.02), 300),
    "a storm of zeros": (Weather(storm_s=3), 100),
    "OpenRouter's words": (Weather(inner=0.3), 300),
    "all of it through OpenRouter": (Weather(0.1, 0.1, 0.03, 0.03, 0.003, poisoned=0.01), 300),
    "what models write of lean answers": (Weather(inner=0.5), 400),
    "all of it in lean answers": (Weather(0.2, 0.1, 0.03, 0.03, 0.003, poisoned=0.01), 300),
    "lean answers through OpenRouter": (Weather(inner=0.3, outer=0.1), 300),
    "all of it": (Weather(inner=0.1, outer=0.1, status=0.03, wire=0.03, slow=0.003, poisoned=0.01), 300),
}
"""Weathers and how many clips they meet: over 3,000 replies with what is asked again. `make world` goes on."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of 100 segments of two seconds, with speech all through, so that a good answer is never doubted."""
    folder = tmp_path_factory.mktemp("corpus")
    for video in range(15):
        with (folder / f"video_{video:02d}.tar").open("wb") as file:
            metadata = b'{"language": "hi"}'
            file.write(
                members.member_header("metadata.json", len(metadata))
                + metadata
                + members.padding(len(metadata))
            )
            for number in range(100):
                flac = two_seconds(video * 100 + number)
                name = f"segments/sp_{number * 300:05d}_{number * 300 + 200:05d}.flac"
                file.write(members.member_header(name, len(flac)) + flac + members.padding(len(flac)))
            file.write(members.END_OF_ARCHIVE)
    return folder


def two_seconds(seed: int) -> bytes:
    """Noise that swells and ebbs like syllables, without a pause."""
    times = np.arange(32_000) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.1, 32_000) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * times))
    file = io.BytesIO()
    soundfile.write(file, noise.clip(-1, 1), 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.parametrize("name", WEATHERS)
def test_replies_of_the_world(name: str, corpus: Path, tmp_path: Path, database_url: str) -> None:
    weather, clips = WEATHERS[name]
    provider = (
        {"PROVIDER": "openrouter", "OPENROUTER_API_KEY": "key-of-the-world"}
        if "OpenRouter" in name
        else {"PROVIDER": "aistudio", "GEMINI_API_KEY": "key-of-the-world"}
    )
    answer = "lean" if "lean answers" in name else "full"
    for seed in rounds(1 / len(WEATHERS)):
        folder = tmp_path / f"in {seed}"
        folder.mkdir()
        archives = random.Random(f"{seed} {name}").sample(sorted(corpus.iterdir()), clips // 100)
        for archive in archives:
            (folder / f"s{seed}_{archive.name}").symlink_to(archive)
        with a_world(seed, weather) as world:
            ended = run(
                folder,
                tmp_path / f"out {seed}",
                database_url,
                ANSWER=answer,
                **world.urls,
                **provider,
                **QUICK,
            )
        assert ended.summary["done"] == len(archives), ended.said
        assert world.ledger.lean == (world.ledger.requests if answer == "lean" else 0)
        problems = list(_problems(world.ledger, database_url, f"s{seed}_%", weather))
        assert not problems, "\n".join([*problems, str(world.ledger.kinds)])


def _problems(ledger: Ledger, database_url: str, videos: str, weather: Weather) -> Iterator[str]:
    query = (
        "select audio_digest, status, failure_kind, failure_message,"
        " (token_usage_json->>'prompt')::int as prompt_tokens, (token_usage_json->>'output')::int as output_tokens"
        " from transcription_results where video_id like %s"
    )
    clips = rows(database_url, query, videos)
    if {clip.audio_digest for clip in clips} != set(ledger.asked):
        yield f"{len(clips)} clips in the database, {len(ledger.asked)} asked for"
    for clip in clips:
        digest = clip.audio_digest
        if clip.status == "failed" and not (clip.failure_kind and clip.failure_message):
            yield f"{digest[:8]} failed without a reason ({ledger.last[digest]})"
        if ledger.paid[digest] > MOST_PAID:
            yield f"{digest[:8]} paid for {ledger.paid[digest]} times ({ledger.last[digest]})"
        if ledger.last[digest] == "good" and clip.status == "failed":
            yield f"{digest[:8]} failed after a good answer: {clip.failure_kind}: {clip.failure_message}"
    if ledger.stormed > MOST_IN_A_STORM:
        yield f"{ledger.stormed} requests in {weather.storm_s:g} s while everything was refused"
    if ledger.again:
        yield f"asked again after a complete answer: {ledger.again}"
    if weather == Weather(inner=weather.inner):  # then every reply says what it cost
        spent = sum(clip.prompt_tokens for clip in clips), sum(clip.output_tokens for clip in clips)
        told = ledger.whole * PROMPT_TOKENS, ledger.whole * OUTPUT_TOKENS
        if spent != told:
            yield f"metered {spent} tokens, and the server told of {told} ({AUDIO_TOKENS=})"

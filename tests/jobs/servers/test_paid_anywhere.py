"""Nothing is paid twice over ways of asking that come back, over videos of the same audio, over `kill -9`: real
processes, judged by what the service was asked."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import shutil
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import change, results_of, rows, until
from gateway_kit import Gateway, a_gateway
from lipika.audio.codec import Audio, decode, encode_flac, encode_wav
from lipika.audio.polish import polish_segment
from lipika.jobs.demo import sample_folder
from lipika.models import SegmentName

CLIPS = 4


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with a_gateway() as found:
        yield found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (path,) = make_corpus(tmp_path / "in", CorpusPlan(1, CLIPS, (2.2, 2.8)), sample_folder())
    return path


async def run(
    gateway: Gateway, folder: Path, database_url: str, *arguments: str, code: int = 0, **env: str
) -> dict[str, Any]:
    given = gateway.settings(folder, database_url, **env)
    done = await lipika_beside("run", *arguments, "--out", str(folder / "out"), "--json", env=given)
    assert done.returncode == code, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def as_wav(archive: Path, copy: Path) -> Path:
    """The same archive with its segments as WAV."""
    with tarfile.open(archive) as old, tarfile.open(copy, "w") as new:
        for member in old.getmembers():
            file = old.extractfile(member)
            data = file.read() if file else b""
            if member.name.endswith(".flac"):
                data = encode_wav(decode(data))
                member.name = member.name.removesuffix(".flac") + ".wav"
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return copy


def segments_of(archive: Path) -> Iterator[tuple[SegmentName, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if member.name.endswith(".flac") and file is not None:
                yield SegmentName.parse(Path(member.name).stem), file.read()


async def test_a_way_that_comes_back_is_paid_once(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    first = await run(gateway, tmp_path, database_url, str(archive))
    (tar,) = (tmp_path / "out").glob("*.tar")
    before = results_of(tar)
    await run(gateway, tmp_path, database_url, str(archive), "--again", TEMPERATURE="0.7")
    assert gateway.requests == 2 * CLIPS
    third = await run(gateway, tmp_path, database_url, str(archive))  # nothing would be paid: no --again
    assert gateway.requests == 2 * CLIPS
    assert (third["requests"], third["reused"]) == (0, CLIPS)
    after = results_of(tar)
    assert [result.answer for result in after] == [result.answer for result in before]
    assert [result.provenance.temperature for result in after] == [0.0] * CLIPS
    assert first["transcribed"] == third["transcribed"] == CLIPS
    fourth = await run(gateway, tmp_path, database_url, str(archive), TEMPERATURE="0.7")
    assert fourth["reused"] == CLIPS
    assert set(gateway.asked_as.values()) == {1}


@pytest.mark.parametrize("twin_of", [shutil.copy, as_wav])
async def test_two_videos_of_the_same_audio_are_paid_once(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str, twin_of: Any
) -> None:
    """Both in flight at the same moment, and a third one later."""
    gateway.latency_s = 0.3
    twins = [archive, Path(twin_of(archive, archive.with_name("twin.tar")))]
    both = await run(gateway, tmp_path, database_url, *map(str, twins), "--language", "hi")
    assert (both["clips"], both["requests"], both["reused"]) == (2 * CLIPS, CLIPS, CLIPS)
    assert gateway.requests == CLIPS
    later = Path(twin_of(archive, archive.with_name("later.tar")))
    third = await run(gateway, tmp_path, database_url, str(later), "--language", "hi")
    assert (third["requests"], third["reused"]) == (0, CLIPS)
    assert gateway.requests == CLIPS
    told = [
        [(result.clip.audio_digest, result.answer) for result in results_of(tar)]
        for tar in (tmp_path / "out").glob("*.tar")
    ]
    assert len(told) == 3
    assert told[0] == told[1] == told[2]


async def test_where_the_first_fails_its_twin_asks_for_itself(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    gateway.latency_s = 0.2
    gateway.blocks_first = True
    twin = shutil.copy(archive, archive.with_name("twin.tar"))
    done = await run(gateway, tmp_path, database_url, str(archive), str(twin), "--language", "hi", code=4)
    assert done["transcribed"] == 2 * CLIPS - done["failed"]
    assert done["failed"] == CLIPS
    assert gateway.requests == 2 * CLIPS


async def test_rows_of_earlier_releases_are_found_by_their_own_digest(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    """They hold that of the bytes sent. What people have said of a clip goes by it, so it stays."""
    await run(gateway, tmp_path, database_url, str(archive))
    shutil.rmtree(tmp_path / "out")
    old = {
        polished.clip.audio_digest: polished.other_digest
        for name, data in segments_of(archive)
        for polished in polish_segment(name, data).clips
    }
    for new, by_bytes in old.items():
        change(
            database_url,
            "update transcription_results set audio_digest = %s where audio_digest = %s",
            by_bytes,
            new,
        )
    again = await run(gateway, tmp_path, database_url, str(archive))
    assert again["reused"] == CLIPS
    kept = rows(database_url, "select audio_digest from transcription_results")
    assert {row.audio_digest for row in kept} == set(old.values())
    twin = shutil.copy(archive, archive.with_name("twin.tar"))
    of_twin = await run(gateway, tmp_path, database_url, str(twin), "--language", "hi")
    assert of_twin["reused"] == CLIPS
    assert gateway.requests == CLIPS


# ----------------------------------------------------------------------------- any order, any end

WAYS = ({"TEMPERATURE": "0"}, {"TEMPERATURE": "0.7"}, {"MODEL_ID": "gemini-2.5-flash"})
STORED: LiteralString = """
    select audio_digest, model_id, temperature from transcription_results where transcription is not null
    union select audio_digest, model_id, temperature from transcription_answers
"""


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_that_was_stored_is_asked_for_again(
    gateway: Gateway, tmp_path: Path, database_url: str, seed: int
) -> None:
    """Ways of asking and videos in any order; every other run is killed after some rows were written."""
    chance = random.Random(seed)
    one, two = make_corpus(tmp_path / "in", CorpusPlan(2, 6, (2.2, 2.8)), sample_folder())
    videos = [one, two, Path(shutil.copy(one, one.with_name("twin.tar")))]
    gateway.latency_s = 0.1
    lost = killed = 0
    for step in range(7):
        process = await start(
            gateway,
            tmp_path,
            database_url,
            chance.sample(videos, chance.choice([1, 2, 3])),
            chance.choice(WAYS),
        )
        before, stored = gateway.requests, len(rows(database_url, STORED))
        if step % 2 == 0:
            await until(partial(is_under_way, process, gateway, before, database_url, stored), 60)
        if step % 2 == 0 and process.returncode is None:
            process.kill()
            await process.communicate()
            killed += 1
            lost += len(gateway.asked_as) - len(
                rows(database_url, STORED)
            )  # asked for, and on the way when it died
        else:
            _, told = await asyncio.wait_for(process.communicate(), 100)
            assert process.returncode == 0, told.decode()
    assert killed >= 1
    assert sum(count - 1 for count in gateway.asked_as.values()) <= lost < gateway.requests / 2


def is_under_way(
    process: asyncio.subprocess.Process, gateway: Gateway, before: int, database_url: str, stored: int
) -> bool:
    if process.returncode is not None:
        return True
    return gateway.requests >= before + 5 and len(rows(database_url, STORED)) > stored


async def start(
    gateway: Gateway, folder: Path, database_url: str, videos: Sequence[Path], way: Mapping[str, str]
) -> asyncio.subprocess.Process:
    quick = {
        "WORKER_BATCH_SIZE": "3",
        "BATCH_INTERVAL_SECONDS": "1",
        "LEASE_SECONDS": "3",
        "HEARTBEAT_SECONDS": "0.5",
    }
    ours = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lipika", "run", *map(str, videos), "--out", str(folder / "out"), "--again"),
        *("--language", "hi", "--json"),
        env=ours | gateway.settings(folder, database_url, **quick) | dict(way),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


# ----------------------------------------------------------------------------- silence


def with_silence(archive: Path, copy: Path, seconds: int) -> Path:
    """The archive with so many seconds of digital silence after its segments."""
    silence = encode_flac(Audio(np.zeros(seconds * 16_000, np.int16), 16_000, 16))
    shutil.copy(archive, copy)
    with tarfile.open(copy, "a") as tar:
        member = tarfile.TarInfo(f"segments/speaker0_90000_{90_000 + 100 * seconds}.flac")
        member.size = len(silence)
        tar.addfile(member, io.BytesIO(silence))
    return copy


async def test_silence_is_not_asked_for_unless_it_is_wanted(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    silent = with_silence(archive, archive.with_name("silent.tar"), 120)
    done = await run(gateway, tmp_path, database_url, str(silent), "--language", "hi")
    unasked = done["not_asked"]
    assert unasked >= 10
    assert (done["clips"], done["requests"]) == (CLIPS + unasked, CLIPS)
    assert done["no_speech"] == unasked
    assert gateway.requests == CLIPS
    (tar,) = (tmp_path / "out").glob("*.tar")
    told = [result for result in results_of(tar) if not result.provenance.asked]
    assert len(told) == unasked
    for result in told:
        assert result.answer is not None
        assert result.verdict is not None
        assert result.answer.no_speech
        assert {found.code for found in result.verdict.findings} == {"no_speech", "not_asked"}
        assert not result.verdict.asr.eligible
        assert (result.cost_usd, result.provenance.attempts) == (0.0, 0)
    with tarfile.open(tar) as archived:
        file = archived.extractfile("metadata.json")
        assert file is not None
        block = json.loads(file.read())["transcription"]
    assert (block["not_asked"], block["clips"]) == (unasked, CLIPS + unasked)
    assert block["accounting"]["no_speech"] == unasked
    env = gateway.settings(tmp_path, database_url)
    status = await lipika_beside("status", "--json", env=env)
    assert json.loads(status.stdout)["not_asked"] == unasked
    assert f"Not asked: {unasked} clips" in (await lipika_beside("status", env=env)).stdout
    again = await run(gateway, tmp_path, database_url, str(silent), "--language", "hi")
    assert again["already_done"] == 1
    spoken = set(gateway.asked)
    gateway.heard = lambda digest: "hi" if digest in spoken else "none"
    asked = await run(
        gateway, tmp_path, database_url, str(silent), "--language", "hi", "--again", ASK_SILENCE="true"
    )
    assert asked["not_asked"] == 0
    assert asked["reused"] >= CLIPS
    assert gateway.requests > CLIPS
    assert set(gateway.asked.values()) == {1}, "silence of the same length is the same audio"
    back = await run(gateway, tmp_path, database_url, str(silent), "--language", "hi", "--again")
    assert (back["requests"], back["not_asked"]) == (0, 0), "what was paid for is used"

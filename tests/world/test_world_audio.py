"""The product meets audio that it did not make; `flac -t`, libsndfile and ffmpeg judge what it packs."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.archive import members
from world_audio import Right, Sound, a_sound
from world_judges import problems_of, stem_of, write_video
from world_kit import rounds, run

VIDEOS, SEGMENTS = 10, 11  # the last of each is a good one
_GOOD = "speaker9_90000_90600"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """One good segment."""
    (path,) = make_corpus(tmp_path_factory.mktemp("good"), CorpusPlan(1, 1, (5.9, 6.0)), Path("samples/tars"))
    with path.open("rb") as stream:
        data = next(
            member.data
            for member in members.read_members(stream)
            if isinstance(member, members.Member) and member.kind is members.MemberKind.SEGMENT
        )
    return Sound("a good segment", data, 6.0, Right.READ)


@pytest.fixture(scope="module", autouse=True)
def judges() -> None:
    for tool in ("flac", "ffmpeg"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


# ----------------------------------------------------------------------------- the test


def test_audio_of_the_world(good: Sound, tmp_path: Path, database_url: str) -> None:
    """Every segment becomes clips or is discarded with a reason; what is packed decodes to what was meant."""
    for seed in rounds(0.5):
        chance = random.Random(seed)
        folder = tmp_path / f"in {seed}"
        folder.mkdir()
        videos: dict[str, dict[str, Sound]] = {}
        for number in range(VIDEOS):
            sounds = [a_sound(chance) for _ in range(SEGMENTS - 1)]
            named = {stem_of(place, sound): sound for place, sound in enumerate(sounds)}
            named[_GOOD] = good
            name = f"world_{seed}_{number:02d}"
            write_video(folder / f"{name}.tar", {stem: sound.data for stem, sound in named.items()})
            videos[name] = named
        out = tmp_path / f"out {seed}"
        ended = run(folder, out, database_url, PROVIDER="simulator")
        assert ended.summary["failed_videos"] == 0, ended.said
        assert ended.summary["failed"] == 0, ended.said  # no clip: every request is answered
        assert ended.code == 0, ended.said
        problems = [
            problem for name, sounds in videos.items() for problem in problems_of(out, name, sounds, tmp_path)
        ]
        assert not problems, "\n".join(problems)

"""PROMPT_FILE on the command line: what is sent, what is stored, what is paid; and as an arm of the canary."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import rows
from gateway_kit import Gateway, a_gateway
from lipika.jobs.demo import sample_folder

CLIPS = 3


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with a_gateway() as found:
        yield found


@pytest.fixture
def glossary(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.toml"
    path.write_text("[hi]\nglossary = ['मीनाक्षी']\n[ta]\nglossary = ['மதுரை']\n", "utf-8")
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


async def test_it_is_sent_stored_and_another_way_of_asking(
    gateway: Gateway, tmp_path: Path, database_url: str, glossary: Path
) -> None:
    (archive,) = make_corpus(tmp_path / "in", CorpusPlan(1, CLIPS, (2.2, 2.8)), sample_folder())

    async def run(*more: str, **env: str) -> dict[str, int]:
        words = (
            "run",
            str(archive),
            "--out",
            str(tmp_path / "out"),
            "--force-language",
            "hi",
            "--json",
            *more,
        )
        done = await lipika_beside(*words, env=gateway.settings(tmp_path, database_url, **env))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    await run()
    ours = dict(gateway.systems)
    again = await run("--again", PROMPT_FILE=str(glossary))
    assert again["requests"] == CLIPS
    (sent,) = set(gateway.systems) - set(ours)
    assert sent.startswith(next(iter(ours)))
    assert "मीनाक्षी" in sent
    assert "மதுரை" not in sent
    (version,) = {
        row.prompt_version for row in rows(database_url, "select prompt_version from transcription_results")
    }
    assert version.startswith("1+own-")
    write(glossary, "[hi]\nglossary = ['मीनाक्षी']\n[ta]\nglossary = ['கோவை']\n")
    other_language = await run("--again", PROMPT_FILE=str(glossary))
    assert (other_language["requests"], other_language["reused"]) == (0, CLIPS), (
        "a change for Tamil costs no Hindi"
    )
    back = await run("--again")
    assert (back["requests"], back["reused"]) == (0, CLIPS)
    listed = await lipika_beside("answers", "--json", env=gateway.settings(tmp_path, database_url))
    prompts = {
        way["settings"]["prompt_version"]: way["results"]["clips"]
        for way in json.loads(listed.stdout)["ways"]
    }
    assert prompts == {"1": CLIPS, version: 0}
    assert gateway.requests == 2 * CLIPS


async def test_doctor_says_what_it_weighs_and_what_is_wrong(
    gateway: Gateway, tmp_path: Path, database_url: str, glossary: Path
) -> None:
    async def told() -> tuple[str, str]:
        env = gateway.settings(tmp_path, database_url, PROMPT_FILE=str(glossary))
        done = await lipika_beside("doctor", "--json", env=env)
        found = json.loads(done.stdout)
        checks = found if isinstance(found, list) else found["checks"]
        (one,) = (check for check in checks if check["name"] == "prompt")
        return one["level"], one["message"]

    level, message = await told()
    assert level == "ok"
    assert "1+own-" in message
    write(glossary, f"glossary = {json.dumps(['मीनाक्षी' * 3] * 1 + [f'नाम{k}' for k in range(300)])}")
    assert (await told())[0] == "warn"
    write(glossary, "glossary = 3")
    level, message = await told()
    assert level == "fail"
    assert "glossary is a list" in message


async def test_the_canary_tries_it_as_an_arm(
    gateway: Gateway, tmp_path: Path, database_url: str, glossary: Path
) -> None:
    archives = make_corpus(tmp_path / "in", CorpusPlan(12, 2, (2.2, 2.8)), sample_folder())
    (hindi,) = (archive for archive in archives if archive.name.startswith("hi"))
    words = (
        "canary",
        str(hindi),
        "--baseline-only",
        "--clips",
        "2",
        "--out",
        str(tmp_path / "canary"),
        "--json",
    )
    env = gateway.settings(tmp_path, database_url)
    done = await lipika_beside(*words, "--try", f"PROMPT_FILE={glossary}", env=env)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)["report"]
    assert [arm["prompt_file"] for arm in report["arms"]] == ["", str(glossary)]
    assert sorted(("मीनाक्षी" in text, count) for text, count in gateway.systems.items()) == [
        (False, 2),
        (True, 2),
    ]
    twice = await lipika_beside(*words, "--try", "PROMPT_FILE=none", env=env)
    assert twice.returncode == 2
    assert "asks as the arm" in twice.stderr
    missing = await lipika_beside(*words, "--try", "PROMPT_FILE=nowhere.toml", env=env)
    assert "cannot be read" in missing.stderr

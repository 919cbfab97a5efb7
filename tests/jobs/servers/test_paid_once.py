"""What was paid for under one way of asking is not paid for again unless a person has agreed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import Stage, a_stage, change, results_of, rows
from gateway_kit import Gateway, a_gateway
from lipika.audio import polish
from lipika.jobs.demo import sample_folder
from lipika.models import AnswerForm, Was
from lipika.pipeline.reuse import AskedAs, chosen_difference, count_lost, difference

ASKED = AskedAs("gemini-3-flash-preview", 0.7, "low", simulated=False)


def was(**changes: Any) -> Was:
    from lipika.llm import prompt, transcript

    given: dict[str, Any] = {
        "model_id": "gemini-3-flash-preview",
        "model_version": "gemini-3-flash-preview",
        "temperature": 0.7,
        "thinking_level": "low",
        "prompt_version": prompt.PROMPT_VERSION,
        "schema_version": transcript.SCHEMA_VERSION,
        "trimmer_version": polish.TRIMMER_VERSION,
        "language_hint": "hi",
        "detected_language": "hi",
        "no_speech": False,
    }
    return Was(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "language", "what"),
    [
        ({}, "hi", ""),
        ({"model_id": "google/gemini-3-flash-preview"}, "hi", ""),
        ({"model_id": "gemini-3-pro"}, "hi", "model"),
        ({"temperature": 0.699999988079071}, "hi", ""),  # as single precision keeps it
        ({"temperature": None}, "hi", "temperature"),
        ({"thinking_level": "high"}, "hi", "thinking level"),
        ({"prompt_version": "0"}, "hi", "prompt version"),
        ({"schema_version": "0"}, "hi", "schema version"),
        ({"schema_version": "2", "prompt_version": "1+lean"}, "hi", "answer"),
        ({"model_version": "simulated"}, "hi", "simulated"),
        ({}, "ta", "language hint"),
        ({"detected_language": "ta"}, "ta", ""),  # heard right in spite of the hint
        ({"detected_language": "en"}, "ta", "language hint"),
        ({"detected_language": "none"}, "ta", "language hint"),  # words, in whatever language
        ({"detected_language": "none", "no_speech": True}, "ta", ""),
        ({}, None, ""),
        ({"detected_language": "ta"}, None, "language hint"),
        ({"language_hint": ""}, "hi", ""),
    ],
)
def test_what_forbids_to_use_an_answer_again(
    changes: dict[str, Any], language: str | None, what: str
) -> None:
    found = difference(was(**changes), ASKED, language)
    assert (found.what if found else "") == what


def test_the_form_of_an_answer_is_part_of_the_way_it_was_asked() -> None:
    lean = AskedAs("gemini-3-flash-preview", 0.7, "low", simulated=False, answer=AnswerForm.LEAN)
    now = {"schema_version": "2", "prompt_version": "1+lean"}
    assert difference(was(**now), lean, "hi") is None
    assert str(difference(was(), lean, "hi")) == "answer full then, lean now"
    assert str(chosen_difference(was(**now), ASKED, "hi")) == "answer lean then, full now"
    for changes in ({"prompt_version": "1"}, {"schema_version": "0"}):
        found = difference(was(**(now | changes)), lean, "hi")
        assert found is not None
        assert found.what.endswith("version")


def test_made_up_answers_cost_nothing_where_real_ones_are_asked_for() -> None:
    simulated = was(model_version="simulated-next")
    assert simulated.made_up
    assert count_lost([(simulated, 5, 1.0)], ASKED, "hi").clips == 0
    rehearsal = AskedAs("gemini-3-flash-preview", 0.7, "low", simulated=True)
    assert count_lost([(was(), 5, 1.0)], rehearsal, "hi").clips == 5
    unknown = AskedAs("gemini-3-flash-preview", 0.7, "low")
    assert count_lost([(was(), 5, 1.0), (simulated, 2, 0.0)], unknown, "hi").clips == 0
    cut = count_lost([(was(trimmer_version="0"), 3, 0.5)], ASKED, "hi")
    assert (cut.clips, cut.usd) == (3, 0.5)
    assert "trimmer version 0 then" in str(cut)


# ----------------------------------------------------------------------------- lipika run


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (path,) = make_corpus(tmp_path / "in", CorpusPlan(1, 4, (2.2, 2.8)), sample_folder())
    return path


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with a_gateway() as found:
        yield found


async def test_a_run_says_what_would_be_paid_again_and_refuses_until_told(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    async def run(out: str, *more: str, **env: str) -> Any:
        given = gateway.settings(tmp_path, database_url, **env)
        return await lipika_beside(
            "run", str(archive), "--out", str(tmp_path / out), "--json", *more, env=given
        )

    first = await run("a")
    assert first.returncode == 0, first.stderr
    paid = gateway.requests
    for out in ("a", "b"):  # in place, and elsewhere
        for env in (
            {"TEMPERATURE": "0.7"},
            {"MODEL_ID": "gemini-2.5-flash"},
            {"THINKING_LEVEL": "high"},
            {"ANSWER": "lean"},
        ):
            refused = await run(out, **env)
            assert refused.returncode == 2, refused.stderr
            assert "this run would pay again for 4 answers that cost $0.0" in refused.stderr
            assert "--again" in refused.stderr
            assert next(iter(env.values())) in refused.stderr
    elsewhere = await run("b")  # asked as before: nothing is paid, and it lies in both places
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert json.loads(elsewhere.stdout)["reused"] == 4
    assert gateway.requests == paid
    agreed = await run("b", "--again", TEMPERATURE="0.7")
    assert agreed.returncode == 0, agreed.stderr
    assert gateway.requests > paid
    paid = gateway.requests
    third = await run("a")  # the first way again: its answers have been kept
    assert third.returncode == 0, third.stderr
    assert json.loads(third.stdout)["reused"] == 4
    refused = await run("b", THINKING_LEVEL="high")
    assert refused.returncode == 2
    assert "thinking level low then, high now" in refused.stderr
    assert (await run("b", TEMPERATURE="0.7")).returncode == 0
    assert gateway.requests == paid


async def test_lean_answers_become_the_same_rows_and_documents(
    gateway: Gateway, archive: Path, tmp_path: Path, database_url: str
) -> None:
    kept: list[dict[str, tuple[Any, Any]]] = []
    for answer, more in (("full", ()), ("lean", ("--again",))):
        env = gateway.settings(tmp_path, database_url, ANSWER=answer)
        command = ("run", str(archive), "--out", str(tmp_path / answer), "--json", *more)
        done = await lipika_beside(*command, env=env)
        assert done.returncode == 0, done.stderr
        (tar,) = (tmp_path / answer).glob("*.tar")
        results = results_of(tar)
        kept.append({one.segment_file: (one.answer, one.verdict) for one in results})
        versions = {(one.provenance.prompt_version, one.provenance.schema_version) for one in results}
        assert versions == {("1", "1") if answer == "full" else ("1+lean", "2")}
        stored = rows(
            database_url, "select distinct prompt_version, schema_version from transcription_results"
        )
        assert {(row.prompt_version, row.schema_version) for row in stored} == versions
        paid = gateway.requests
        again = await lipika_beside("run", str(archive), "--out", str(tmp_path / "b"), "--json", env=env)
        assert json.loads(again.stdout)["reused"] == len(results)
        assert gateway.requests == paid
    assert kept[0] == kept[1]


async def test_a_refused_run_leaves_the_queue_as_it_was(
    gateway: Gateway, tmp_path: Path, database_url: str
) -> None:
    one, two = make_corpus(tmp_path / "in", CorpusPlan(2, 3, (2.2, 2.8)), sample_folder())
    command = ("run", "--out", str(tmp_path / "out"), "--json")
    env = gateway.settings(tmp_path, database_url)
    assert (await lipika_beside(*command, str(one), env=env)).returncode == 0
    refused = await lipika_beside(*command, str(one), str(two), env={**env, "MODEL_ID": "gemini-2.5-flash"})
    assert refused.returncode == 2
    assert [row.video_id for row in rows(database_url, "select video_id from video_queue")] == [one.stem]


# ----------------------------------------------------------------------------- a worker


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    """A video of eight clips, of which some have been answered."""
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 8)
        await stage.work_until(4)
        yield stage


HELD = "select status, held, attempts, error_code, error_message, claim_token from video_queue"


@pytest.mark.parametrize("lose_rows", [False, True])
async def test_a_worker_holds_a_video_that_would_be_paid_again(stage: Stage, lose_rows: bool) -> None:
    if lose_rows:  # answers that only the store has kept
        change(stage.database_url, "delete from transcription_results")
    worker = await stage.work(temperature=0.7)
    assert worker.engine.totals.requests == 0
    (row,) = rows(stage.database_url, HELD)
    assert (row.status, row.held, row.attempts, row.error_code) == ("pending", True, 0, "would_pay_again")
    assert "temperature 0 then, 0.7 now" in row.error_message
    assert "PAY_AGAIN=1" in row.error_message
    assert row.claim_token is None
    assert await stage.repaid() == 0
    change(stage.database_url, "update video_queue set held = false")
    await stage.work(temperature=0.7, pay_again=True)
    assert [row.status for row in rows(stage.database_url, HELD)] == ["done"]
    assert await stage.repaid() >= 4
    (tar,) = stage.out.glob("*.tar")
    assert {result.provenance.temperature for result in results_of(tar)} == {0.7}


async def test_asked_as_before_nothing_is_held(stage: Stage) -> None:
    await stage.work()
    assert [(row.status, row.held) for row in rows(stage.database_url, HELD)] == [("done", False)]
    assert await stage.repaid() == 0


# ----------------------------------------------------------------------------- two of a kind on one queue

ALERTS = "select exception_type, message from worker_errors order by 1"


@pytest.mark.parametrize(
    ("changes", "code"), [({"model_id": "gemini-2.5-flash"}, "two_models"), ({}, "two_trimmers"), ({}, "")]
)
async def test_two_models_or_trimmers_on_one_queue_are_an_alert(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: str
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        await stage.queue(1, 3)
        await stage.work()
        assert rows(database_url, ALERTS) == []
        if code == "two_trimmers":
            monkeypatch.setattr(polish, "TRIMMER_VERSION", "another")
        await stage.work(**changes)
        found = {row.exception_type for row in rows(database_url, ALERTS)}
        assert found == ({f"Alert:{code}"} if code else set())


async def test_held_videos_and_their_reasons_are_listed(stage: Stage) -> None:
    await stage.work(temperature=0.7)
    env = {"DATABASE_URL": stage.database_url}
    for command in (("queue", "status"), ("queue", "list")):
        listed = await lipika_beside(*command, env=env)
        assert "would pay again for" in listed.stdout, listed.stderr
    told = json.loads((await lipika_beside("queue", "status", "--json", env=env)).stdout)
    assert [row["code"] for row in told["held_videos"]] == ["would_pay_again"]

"""No key and no password in what is shown or kept, wherever a server repeats them and wherever a text is cut."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from asking import a_request
from client_kit import Make, aistudio, both, openrouter
from command_kit import lipika
from lipika.llm.replies import excerpt, one_line
from lipika.models import Failure, FailureKind
from lipika.redaction import hide, redact, redact_start
from places import SAMPLES
from recorder import Page, Request, recording

KEY = "Zq7~made.up/key+of=the_tests-0123456789"
hide(KEY)
SAMPLE = SAMPLES / "hi_sample.tar"


def in_every_text(value: Any) -> Any:
    """The same document with the key in every text of it."""
    if isinstance(value, dict):
        return {name: in_every_text(held) for name, held in value.items()}
    if isinstance(value, list):
        return [in_every_text(held) for held in value]
    return f"{value} {KEY} {value}" if isinstance(value, str) else value


GOOGLES: list[tuple[int, dict[str, Any]]] = [
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid"}}),
    (429, {"error": {"message": "limit: 0", "details": [{"violations": [{"quotaId": "PerDay"}]}]}}),
    (200, {"error": {"code": 500, "status": "INTERNAL", "message": "m"}}),
    (200, {"candidates": [{"finishReason": "SAFETY", "finishMessage": "m"}], "modelVersion": "v"}),
    (200, {"promptFeedback": {"blockReason": "OTHER"}, "modelVersion": "v"}),
]
ROUTED: list[tuple[int, dict[str, Any]]] = [
    (401, {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided", "type": "t"}}),
    (
        429,
        {"error": {"message": "m", "metadata": {"raw": "limit: 0", "limit_source": "s", "error_type": "e"}}},
    ),
    (200, {"error": {"code": 502, "message": "m"}, "model": "v"}),
    (200, {"choices": [{"finish_reason": "odd", "native_finish_reason": "odder"}], "model": "v"}),
    (200, {"choices": [{"finish_reason": "stop", "message": {"refusal": "no"}}], "model": "v"}),
]
REPLIES = [(aistudio, *one) for one in GOOGLES] + [(openrouter, *one) for one in ROUTED]


@pytest.mark.parametrize(("make", "status", "body"), REPLIES)
async def test_a_key_that_a_reply_repeats_goes_nowhere(make: Make, status: int, body: dict[str, Any]) -> None:
    async with (
        recording(Page.of(in_every_text(body), status=status)) as server,
        make(server.url, key=KEY) as client,
    ):
        response = await client.transcribe(a_request())
    assert response.failure is not None
    told = repr((response.failure, response.model_version, response.provider))
    assert KEY not in told
    assert KEY[:12] not in told
    assert "***" in told


@both
@pytest.mark.parametrize(
    "page",
    [
        Page(502, f"<html>{'x' * 150}{KEY}</html>".encode()),
        Page(200, f"<html>{'x' * 170}{KEY}</html>".encode()),
        Page(302, b"", {"Location": f"https://elsewhere.example/{KEY}?key={KEY}"}),
    ],
)
async def test_pages_and_redirects_keep_it_too(make: Make, page: Page) -> None:
    async with recording(page) as server, make(server.url, key=KEY) as client:
        response = await client.transcribe(a_request())
    assert KEY[:8] not in repr((response.failure, response.model_version))


@given(st.integers(0, 11_000), st.sampled_from(["x", " ", "ab ", "\n"]))
def test_no_cut_leaves_a_part_of_a_secret(before: int, filler: str) -> None:
    text = (filler * (before // len(filler) + 1))[:before] + KEY + filler * 700
    for shown in (one_line(text), excerpt(text.encode()), redact_start(text, 500)):
        assert KEY[:6] not in shown


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"https://x.example/v1?key={KEY}&alt=json",
        "Zq7~made.up%2Fkey%2Bof%3Dthe_tests-0123456789",
        f'{{"x-goog-api-key": "{KEY}"}}',
        "x-goog-api-key: AQ.Ab8RN6LzzzzzzzzzX",
        '"api_key":"0123456789abcdef"',
        "Bearer 0123456789abcdef.0123",
        "sk-proj0123456789abcdef",
        "http://user:0123456789abcdef@proxy.example:3128",
    ],
)
def test_in_whatever_spelling(text: str) -> None:
    shown = redact(text)
    assert "***" in shown
    assert not {"0123456789", "Ab8RN6Lzzz", KEY[:8]} & {shown[i : i + 10] for i in range(len(shown))}


@pytest.mark.parametrize(
    "text",
    [
        "API key not valid. Please pass a valid API key.",
        "Quota exceeded for metric: generate_content_input_token_count, limit: 0, model: gemini-3-flash",
        "risk-averse task-oriented tokens: 123456",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_a_failure_is_redacted_wherever_it_is_made() -> None:
    failure = Failure(FailureKind.SERVER, f"defect: {KEY}", code=f"x{KEY}")
    assert KEY not in repr(failure)
    assert failure == Failure(FailureKind.SERVER, "defect: ***", code="x***")


@pytest.mark.parametrize("json_logs", [False, True])
def test_no_log_shows_local_variables_or_secrets(json_logs: bool) -> None:
    """A process of its own: an exception beside a local variable, a nested field and a known secret."""
    code = textwrap.dedent(f"""
        from lipika import log
        log.configure(json_logs={json_logs})
        log.hide("{KEY}")
        def ask():
            headers = dict(local="only-a-local-variable")
            raise ValueError("refused: {KEY}")
        try:
            ask()
        except ValueError:
            log.get_logger("lipika.x").exception("broken", deep=dict(held=["{KEY}"]))
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError" in done.stderr
    assert "in ask" in done.stderr, "the traceback is there"
    assert "only-a-local-variable" not in done.stderr.replace(code, "")
    assert KEY not in done.stderr
    assert json_logs == done.stderr.startswith("{")
    if json_logs:
        assert json.loads(done.stderr)["event"] == "broken"


def in_rows(url: str) -> list[str]:
    tables = ("transcription_results", "transcription_flags", "video_queue", "workers", "worker_errors")
    with psycopg.connect(url) as connection:
        every = [sql.SQL("select * from {}").format(sql.Identifier(table)) for table in tables]
        return [str(connection.execute(query).fetchall()) for query in every]


def in_tars(folder: Path) -> list[str]:
    return [tar.read_bytes().decode("latin-1") for tar in folder.rglob("*.tar")]


async def test_no_trace_of_it_after_a_whole_run(database_url: str, tmp_path: Path) -> None:
    """Rows, flags, result tar, summary and log of a run whose provider repeats the key in every refusal."""

    async def refuse(asked: Request) -> Page:
        if asked.method == "GET":
            return Page.of({"error": {"code": 404, "message": f"no {KEY}"}}, status=404)
        return Page.of(
            {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": f"odd {KEY}"}}, status=400
        )

    async with recording(refuse) as server:
        env = {"DATABASE_URL": database_url, "GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": KEY}
        arguments = ("run", str(SAMPLE), "--out", str(tmp_path / "out"), "--json")
        ran = await asyncio.to_thread(lipika, *arguments, env=env)
    assert len(server.requests) > 5
    kept = [*in_rows(database_url), ran.stdout, ran.stderr, *in_tars(tmp_path)]
    assert "odd ***" in kept[0]
    assert [place for place, text in enumerate(kept) if KEY[:8] in text] == []

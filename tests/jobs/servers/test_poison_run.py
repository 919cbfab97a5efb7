"""`lipika run` as a process, against a service that somebody else wrote and that misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from http_kit import listening
from places import SAMPLES
from scripted import GOOD
from tls_kit import server_tls

SAMPLE = SAMPLES / "hi_sample.tar"
CLIPS = 9


@dataclass(slots=True)
class Service:
    """A Gemini of its own making. `says` gets the clip's number in order of arrival, and its asks so far."""

    says: Callable[[int, int], web.Response | None]
    url: str = ""
    requests: int = 0
    clips: list[str] = field(default_factory=list)
    asks: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":  # the model, asked for what it says of itself
            return web.json_response({"name": "models/gemini-3-flash-preview"})
        body = await request.json()
        parts = body["contents"][0]["parts"]
        clip = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
        if clip not in self.clips:
            self.clips.append(clip)
        self.requests += 1
        self.asks[clip] += 1
        return self.says(self.clips.index(clip), self.asks[clip]) or good()


def good() -> web.Response:
    usage = {"promptTokenCount": 700, "candidatesTokenCount": 120, "totalTokenCount": 880}
    candidate = {"content": {"parts": [{"text": GOOD}]}, "finishReason": "STOP"}
    return web.json_response(
        {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3-flash-preview"}
    )


def refusal(status: int, **error: object) -> web.Response:
    return web.json_response({"error": {"code": status, "message": "No.", **error}}, status=status)


@asynccontextmanager
async def serving(
    says: Callable[[int, int], web.Response | None], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Service]:
    service = Service(says)
    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{path:.*}", service.answer)
    async with listening(app, tls) as service.url:
        yield service


def results(folder: Path) -> int:
    return len(list(folder.glob("*.tar")))


async def lipika(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lipika",
        *arguments,
        env=clean | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def run(service: Service, out: Path, database_url: str, **more: str) -> tuple[int, dict[str, Any], str]:
    """`lipika run --json`, with waits of hundredths: exit code, what it printed, and its log."""
    code, printed, log = await lipika(
        "run",
        str(SAMPLE),
        "--out",
        str(out),
        "--json",
        "-q",
        DATABASE_URL=database_url,
        GEMINI_API_KEY="key",
        GEMINI_BASE_URL=service.url,
        BATCH_INTERVAL_SECONDS="1",
        WORKER_PROCESSES="0",
        RETRY_SECONDS="0.1",
        PROBE_SECONDS="0.1",
        LEAST_WAIT_SECONDS="0.05",
        ASK_SILENCE="true",  # one of the sample's clips is silent
        **more,
    )
    return code, json.loads(printed), log


@pytest.mark.parametrize("status", [500, 403, 503])
async def test_one_poison_clip_ends_as_failed_and_its_video_is_done(
    status: int, tmp_path: Path, database_url: str
) -> None:
    """It kept the run going for ever, `done 0`, with no result tar."""
    async with serving(lambda clip, _asks: refusal(status) if clip == 0 else None) as service:
        code, summary, _log = await run(service, tmp_path, database_url)
    assert code == 0
    assert (summary["done"], summary["transcribed"], summary["failed"]) == (1, CLIPS - 1, 1)
    assert results(tmp_path) == 1
    assert service.requests < 40


async def test_a_redirect_stops_the_run_with_where_it_points_to(tmp_path: Path, database_url: str) -> None:
    away = "https://elsewhere.example/v1beta/models/x:generateContent"

    def says(_clip: int, _asks: int) -> web.Response:
        return web.Response(status=301, headers={"Location": away})

    async with serving(says) as service:
        code, summary, log = await run(service, tmp_path, database_url)
    assert code == 3
    for told in (summary["stopped"], log):
        assert "HTTP 301" in told
        assert away in told
        assert "GEMINI_BASE_URL" in told
    assert service.requests <= CLIPS


async def test_a_certificate_that_is_not_trusted_stops_the_run_and_is_named_by_doctor(
    tmp_path: Path, database_url: str
) -> None:
    """With what to do; done, it runs."""
    tls, authority = server_tls(tmp_path, "127.0.0.1")
    async with serving(lambda _clip, _asks: None, tls) as service:
        code, summary, log = await run(service, tmp_path / "out", database_url)
        assert (code, service.requests) == (3, 0)
        ours = {"GEMINI_BASE_URL": service.url, "GEMINI_API_KEY": "key", "DATABASE_URL": database_url}
        examined, found, _ = await lipika("doctor", **ours)
        assert examined == 1
        (line,) = (line for line in found.splitlines() if "FAIL" in line)
        for told in (summary["stopped"], log, line):
            assert "the certificate of 127.0.0.1" in told
            assert "is not trusted" in told
            assert "SSL_CERT_FILE" in told
            assert "ca-certificates" in told  # to its end
        trusting = {"SSL_CERT_FILE": str(authority)}
        assert (await lipika("doctor", **ours, **trusting))[0] == 0
        code, summary, log = await run(service, tmp_path / "out", database_url, **trusting)
    assert (code, summary["transcribed"]) == (0, CLIPS), log


async def test_a_daily_429_with_a_wait_of_zero_parks_nobody_until_midnight(
    tmp_path: Path, database_url: str
) -> None:
    daily = [
        {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
        {"retryDelay": "0s"},
    ]
    async with serving(
        lambda clip, asks: refusal(429, details=daily) if (clip, asks) == (2, 1) else None
    ) as service:
        code, summary, _log = await run(service, tmp_path, database_url)
    assert (code, summary["transcribed"], summary["rate_limited"]) == (0, CLIPS, 1)


async def test_json_is_printed_in_every_ending(tmp_path: Path) -> None:
    """Also where there is nothing to sum up."""
    code, printed, log = await lipika("run", str(SAMPLE), "--out", str(tmp_path), "--json")
    assert code == 2
    told = json.loads(printed)
    assert told["exit_code"] == 2
    assert "GEMINI_API_KEY" in told["error"]
    assert told["error"] in log
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    code, printed, _log = await lipika("status", "--json", DATABASE_URL=nowhere)
    assert (code, json.loads(printed)["exit_code"]) == (3, 3)

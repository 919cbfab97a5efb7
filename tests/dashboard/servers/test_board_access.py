"""Who may see the board and who may change things; and that nothing hostile in the data gets out of its place."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest

from board_kit import TOKEN, Visitor, a_board, a_visitor
from fleet_kit import change, rows
from lipika.dashboard.board import PAGES, local_path
from lipika.dashboard.cursor import pack
from lipika.dashboard.people import Access
from lipika.dashboard.serve import Listen, check_access, proxies
from lipika.dashboard.signing import LINK_S, SESSION_S, Attempts, Signer
from lipika.errors import UsageError

EVERY_PAGE = [href for href, _ in PAGES]
HOSTILE = "<script>alert(1)</script>'\"; drop table video_queue; --{{ 7*7 }}${x}"


class Clock:
    """A clock that goes when told to."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


# ----------------------------------------------------------------------------- without a token: this machine only


async def test_without_a_token_the_board_answers_to_names_of_this_machine_only(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        port = visitor.url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "LOCALHOST"):
            assert (await visitor.get("/", headers={"host": host})).status == 200
        for host in (f"evil.example:{port}", "127.0.0.1.evil.example", "", "[", "127.0.0.1@evil.example:80"):
            answer = await visitor.get("/", headers={"host": host})
            assert answer.status in (400, 421), host


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        (Listen("0.0.0.0"), "DASHBOARD_TOKEN"),  # noqa: S104 - the point of the test
        (Listen("::"), "DASHBOARD_TOKEN"),
        (Listen("board.example"), "DASHBOARD_TOKEN"),
        (Listen(tls_cert=Path("x")), "belong together"),
    ],
)
def test_what_others_can_reach_needs_a_token(listen: Listen, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_access(listen, Access())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    check_access(Listen(host), Access())


# ----------------------------------------------------------------------------- with a token


async def test_nobody_sees_a_page_without_the_token(database_url: str) -> None:
    async with a_visitor(database_url, token=TOKEN) as visitor:
        for path in (
            *EVERY_PAGE,
            "/review/clip?video=x&clip=y",
            "/fleet/budget?provider=aistudio",
            "/nosuch",
        ):
            answer = await visitor.get(path, follow=False)
            assert (answer.status, answer.headers["location"][:12]) == (303, "/login?next=")
            assert (await visitor.get(path, headers={"hx-request": "true"})).status == 401
        for path in ("/fleet/live", "/review/audio", "/review/wave"):
            assert (await visitor.get(path, html=False)).status == 401
        await visitor.get("/login")
        assert (await visitor.send("/queue/requeue-failed")).status == 401
        assert (await visitor.get("/healthz")).text == "ok\n"
        assert (await visitor.get("/static/board.css")).status == 200


async def test_the_token_opens_the_board_and_signing_out_ends_the_session_everywhere(
    database_url: str,
) -> None:
    async with a_board(database_url, token=TOKEN) as url, Visitor(url) as visitor, Visitor(url) as thief:
        await visitor.get("/login")
        first = await visitor.ask("POST", "/login", follow=False, data={
            "csrf": visitor.csrf, "token": TOKEN, "next": "/queue?show=failed",
        })  # fmt: skip
        assert (first.status, first.headers["location"]) == (303, "/queue?show=failed")
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Secure" not in cookie  # plain HTTP
        held = {"cookie": cookie.partition(";")[0]}
        assert (await visitor.get("/")).status == 200
        assert (await thief.get("/", headers=held)).status == 200
        assert (await visitor.send("/logout")).status == 200
        assert (await thief.get("/", headers=held, follow=False)).status == 303
        assert (await visitor.get("/", follow=False)).status == 303


async def test_a_wrong_token_opens_nothing_and_trying_is_slowed_down(database_url: str) -> None:
    async with a_visitor(database_url, token=TOKEN) as visitor:
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "ü" * 30):
            answer = await visitor.enter(wrong)
            assert answer.status == 401
            assert "not the token" in answer.text
        answer = await visitor.enter("y")
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert (await visitor.get("/", follow=False)).status == 303


async def test_the_owner_is_never_locked_out_by_others_tries(database_url: str) -> None:
    """Neither from the same address, as behind a proxy, nor where the whole world tries."""
    async with a_board(database_url, token=TOKEN) as url, Visitor(url) as stranger, Visitor(url) as owner:
        for number in range(60):
            wrong = {"authorization": f"Bearer wrong-{number}"}
            await stranger.get("/metrics", headers=wrong)
        assert (await stranger.get("/metrics", headers={"authorization": "Bearer x"})).status == 429
        assert (await stranger.enter("wrong")).status == 429
        assert (await owner.enter(TOKEN)).status == 200
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert (await owner.get("/metrics", headers=bearer)).status == 200


@pytest.mark.parametrize("trusted", [(), ("10.9.8.0/24",)])
async def test_what_a_client_writes_about_itself_is_not_believed(
    database_url: str, trusted: tuple[str, ...]
) -> None:
    """Else each try would come from an address of its own, and a page over HTTP would pass for one over TLS."""
    async with a_board(database_url, token=TOKEN, trusted=trusted) as url, Visitor(url) as visitor:
        for number in range(6):
            claims = {"x-forwarded-for": f"192.0.2.{number}", "x-forwarded-proto": "https"}
            answer = await visitor.get("/metrics", headers={"authorization": "Bearer x", **claims})
            assert "Secure" not in answer.headers.get("set-cookie", "")
        assert answer.status == 429


async def test_a_proxy_that_is_trusted_is_believed(database_url: str) -> None:
    trusted = proxies(" 127.0.0.0/8, ::1 ")
    async with a_board(database_url, token=TOKEN, trusted=trusted) as url, Visitor(url) as visitor:
        for number in range(6):
            claims = {"x-forwarded-for": f"192.0.2.{number}", "x-forwarded-proto": "https"}
            answer = await visitor.get("/metrics", headers={"authorization": "Bearer x", **claims})
        assert answer.status == 401
        assert "Secure" in (await visitor.get("/login", headers=claims)).headers["set-cookie"]
    with pytest.raises(UsageError, match=r"proxy\.example"):
        proxies("127.0.0.1,proxy.example")


@pytest.mark.parametrize("after_one", [False, True])
async def test_a_request_that_never_ends_its_header_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, after_one: bool
) -> None:
    """However slowly it drips, on a new connection or on one that has been served; others are served meanwhile."""
    monkeypatch.setattr("lipika.dashboard.serve._HEADER_S", 0.6)
    async with a_visitor(database_url) as visitor:
        host, _, port = visitor.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        if after_one:
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            await reader.readuntil(b"ok\n")

        async def drip() -> None:
            writer.write(b"GET / HTTP/1.1\r\n")
            while True:
                writer.write(b"X-Slow: 1\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
        assert (await visitor.get("/healthz")).status == 200
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(dripping, 20)
        silent, held = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(silent.read(), 20) == b""
        held.close()


async def test_a_body_that_never_comes_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipika.dashboard.guard._BODY_S", 0.3)
    async with a_visitor(database_url) as visitor:
        host, _, port = visitor.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /queue/hold HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\nvideo".encode()
        )
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 20)
        writer.close()


async def test_numbers_that_no_column_holds_are_400(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        await visitor.get("/queue")
        for number in ("9" * 10, "-" + "9" * 12, "9" * 30, "0" * 20 + "9" * 30, "9" * 5000, "²", "1.5", "x"):
            assert (await visitor.get(f"/errors?{urlencode({'id': number})}")).status in (400, 404), number
            start = await visitor.send("/review/resolve", video="v", clip="c", start=number)
            assert start.status == 400, number
            assert (await visitor.send("/queue/priority", video="v", priority=number)).status == 400, number
            form = await visitor.send("/fleet/budget?provider=aistudio", requests_per_minute=number)
            assert form.status == 400, number
        for number in ("9" * 19, "9" * 30, "0" * 20 + "9" * 30, "-1"):
            assert (await visitor.get(f"/errors?{urlencode({'id': number})}")).status == 400, number
        for word in (
            pack((datetime(2026, 1, 1, tzinfo=UTC), "v", "c", "t", 2**40, "fail")),
            pack((datetime(1, 1, 2, tzinfo=UTC), "v", "c", "t", -(2**40), "fail")),
        ):
            assert (await visitor.get(f"/review?after={word}")).status == 400
        assert (await visitor.get(f"/errors?after={pack((2**63 - 1,))}")).status == 400


def test_the_pause_ends_and_one_address_does_not_shut_out_others() -> None:
    clock = Clock()
    attempts = Attempts(limit=3, per_s=60, clock=clock)
    for _ in range(3):
        attempts.note_failure("a")
    assert attempts.wait_s("a") == 60
    assert attempts.wait_s("b") == 0
    clock.at += 61
    assert attempts.wait_s("a") == 0
    for number in range(30):
        attempts.note_failure(f"address {number}")
    assert attempts.wait_s("another") > 0


def test_a_session_ends_and_cannot_be_made_up() -> None:
    clock = Clock()
    signer = Signer(clock=clock)
    session = signer.new_session("mira")
    cookie = signer.cookie(session)
    assert signer.session(cookie) == session
    value, _, mac = cookie.rpartition(".")
    for forged in (f"{value[:-1]}0.{mac}", f"{value}.{mac[:-2]}xx", value, "", "...", f"{value}.", "é.1.1.x"):
        assert signer.session(forged) is None
    assert Signer(clock=clock).session(cookie) is None
    clock.at += SESSION_S
    assert signer.session(cookie) is None


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "", "x"],
)
def test_a_login_leads_back_to_this_board_only(to: str) -> None:
    assert local_path(to) == "/"


async def test_a_scraper_shows_the_token_with_each_request(database_url: str) -> None:
    async with a_visitor(database_url, token=TOKEN) as visitor:
        assert (await visitor.get("/metrics", html=False)).status == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert (await visitor.get("/metrics", headers=bearer)).status != 401
        assert (await visitor.get("/queue", headers=bearer, follow=False)).status == 303


# ----------------------------------------------------------------------------- changes are meant


async def test_a_change_needs_the_session_s_own_token_and_our_own_page(database_url: str) -> None:
    change(
        database_url,
        "insert into video_queue (video_id, source_key, output_key, status) values ('v', 's', 'o', 'failed')",
    )
    async with a_board(database_url) as url, Visitor(url) as visitor, Visitor(url) as other:
        await visitor.get("/")
        await other.get("/")
        form = {"video": "v"}
        assert (await visitor.send("/queue/requeue", csrf="", **form)).status == 403
        assert (await visitor.send("/queue/requeue", csrf="x" * 43, **form)).status == 403
        assert (await visitor.send("/queue/requeue", csrf=other.csrf, **form)).status == 403
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
        ):
            data = {"csrf": visitor.csrf, **form}
            assert (await visitor.ask("POST", "/queue/requeue", headers=headers, data=data)).status == 403
        json = {"csrf": visitor.csrf, **form}
        assert (await visitor.ask("POST", "/queue/requeue", json=json)).status == 403
        assert (await visitor.ask("GET", "/queue/requeue")).status == 405
        assert rows(database_url, "select status from video_queue") == [("failed",)]
        done = await visitor.send("/queue/requeue", back="/queue?show=failed", **form)
        assert "1 of 1 put back" in done.plain
        assert rows(database_url, "select status from video_queue") == [("pending",)]


async def test_every_change_is_refused_read_only_and_without_its_token(database_url: str) -> None:
    changes = {
        "/queue/requeue": {"video": "v"},
        "/queue/requeue-failed": {},
        "/queue/hold": {"video": "v"},
        "/queue/release": {"video": "v"},
        "/queue/take-back": {"video": "v"},
        "/queue/priority": {"video": "v", "priority": "9"},
        "/fleet/drain": {"worker": "w"},
        "/fleet/pause": {"provider": "aistudio"},
        "/fleet/resume": {"provider": "aistudio"},
        "/fleet/budget?provider=aistudio": {"requests_per_minute": "5"},
        "/review/resolve": {"video": "v", "clip": "c"},
    }
    async with a_visitor(database_url, read_only=True) as visitor:
        page = await visitor.get("/queue")
        assert "read-only" in page.text
        for path, fields in changes.items():
            answer = await visitor.send(path, **fields)
            assert (answer.status, answer.text) == (403, "This board is read-only.\n"), path
    async with a_visitor(database_url) as visitor:
        await visitor.get("/")
        for path, fields in changes.items():
            assert (await visitor.send(path, csrf="", **fields)).status == 403, path
    assert rows(database_url, "select * from provider_budgets") == []


async def test_a_body_is_bounded(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        await visitor.get("/")
        assert (await visitor.send("/queue/hold", video="x" * 100_000)).status == 413


async def test_every_answer_carries_the_headers_that_browsers_obey(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        for path in (*EVERY_PAGE, "/static/board.js", "/nosuch", "/healthz", "/login"):
            headers = (await visitor.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "server" not in headers


async def test_no_page_holds_inline_code_or_styles_or_foreign_addresses(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        for path in EVERY_PAGE:
            text = (await visitor.get(path)).text
            assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text) == []
            assert re.findall(r'(?:src|href|action)="(?!/|#)[^"]*"', text) == []


async def test_static_files_stay_in_their_folder(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        for path in (
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/static/..%2fapp.py",
            "/static//etc/passwd",
        ):
            assert (await visitor.get(path)).status == 404


# ----------------------------------------------------------------------------- hostile data


@pytest.fixture
def hostile_url(database_url: str) -> str:
    """Every text that comes from outside is hostile."""
    change(
        database_url,
        "insert into video_queue (video_id, source_key, output_key, status, error_code, error_message, language)"
        " values (%s, %s, '../../etc/passwd', 'failed', 'x', %s, 'hi')",
        *(HOSTILE,) * 3,
    )
    change(
        database_url,
        "insert into workers (worker_id, instance_id, provider, last_error, limited_by, alignment)"
        " values (%s, 'i', 'aistudio', %s, %s, jsonb_build_object('off_because', %s::text))",
        *(HOSTILE,) * 4,
    )
    change(
        database_url,
        "insert into worker_errors (worker_id, video_id, exception_type, message, traceback)"
        " values (%s, %s, %s, %s, %s)",
        *(HOSTILE,) * 5,
    )
    change(
        database_url,
        "insert into transcription_flags (video_id, segment_file, flag_type, severity, details)"
        " values (%s, %s, %s, 'fail', %s)",
        *(HOSTILE,) * 4,
    )
    change(
        database_url,
        "insert into transcription_results (video_id, segment_file, source_segment, speaker_id, status,"
        " original_start_ms, original_end_ms, trimmed_start_ms, trimmed_end_ms, leading_pad_ms, trailing_pad_ms,"
        " duration_ms, audio_digest, transcription, tagged, detected_language, speaker_emotion, findings,"
        " prompt_version, schema_version, trimmer_version, provider, model_id, model_version, thinking_level,"
        " worker_id, batch_id, attempts, latency_ms, cache_hit, token_usage_json, cost_usd)"
        " values (%s, %s, %s, %s, 'transcribed', 0, 1000, 0, 1000, 0, 0, 1000, 'd', %s, %s, %s, %s,"
        " jsonb_build_array(jsonb_build_object('code', %s::text, 'severity', 'fail', 'evidence', %s::text,"
        " 'span', jsonb_build_array(-5, 900))),"
        " '1', '1', '1', %s, %s, %s, 'low', %s, 'b', 1, 1, false, '{}', 0)",
        *(HOSTILE,) * 14,
    )
    change(
        database_url,
        "insert into datasets (dest, format, options, plan_digest, state, counts, tarsets, jobs_total, error,"
        " verified_at, verification)"
        " values (%s, %s, jsonb_build_object(%s::text, %s::text), %s, 'failed',"
        " jsonb_build_object('candidates', 3, 'exported', 1, 'dropped', jsonb_build_object(%s::text, 1)),"
        " jsonb_build_array(jsonb_build_object('language', %s::text, 'split', %s::text, 'shards', 1, 'clips', 1,"
        " 'seconds', 1)), 1, %s, now(), jsonb_build_object('state', 'bad', 'clips', 0, 'defects_total', 1, 'defects',"
        " jsonb_build_array(jsonb_build_object('place', %s::text, 'code', %s::text, 'message', %s::text))))",
        *(HOSTILE,) * 12,
    )
    return database_url


async def test_hostile_text_is_shown_as_text(hostile_url: str) -> None:
    clip = urlencode({"video": HOSTILE, "clip": HOSTILE})
    (error,) = rows(hostile_url, "select id from worker_errors")
    (export,) = rows(hostile_url, "select id from datasets")
    pages = [
        *EVERY_PAGE,
        "/queue?show=failed",
        f"/queue/video?{clip}",
        f"/review/clip?{clip}",
        f"/errors?id={error.id}",
        f"/datasets?id={export.id}",
        f"/review?{urlencode({'type': HOSTILE, 'language': HOSTILE, 'video': HOSTILE})}",
        f"/errors?{urlencode({'worker': HOSTILE, 'type': HOSTILE})}",
        f"/queue?{urlencode({'show': HOSTILE, 'reason': HOSTILE, 'after': HOSTILE, 'did': HOSTILE})}",
    ]
    shown = 0
    async with a_visitor(hostile_url) as visitor:
        for path in pages:
            answer = await visitor.get(path)
            assert answer.status == 200, path
            assert "<script>alert" not in answer.text, path
            assert "49" not in re.findall(r"table video_queue; --(..)", answer.plain), path
            shown += "&lt;script&gt;alert(1)" in answer.text
            assert re.findall(r"=[\"'][^\"'>]*<script", answer.text) == []
    assert shown >= 11
    assert len(rows(hostile_url, "select * from video_queue")) == 1


async def test_hostile_parameters_break_nothing(hostile_url: str) -> None:
    names = (
        "after",
        "video",
        "clip",
        "provider",
        "until",
        "n",
        "did",
        "language",
        "type",
        "reason",
        "worker",
    )
    detail = ("/queue/video", "/review/clip", "/review/wave", "/review/audio", "/fleet/budget")
    async with a_visitor(hostile_url) as visitor:
        for value in ("'", "\0", "%00", "../../x", "9" * 40, "-1", "🦜" * 50, "WzFd", "bnVsbA", "W10"):
            query = urlencode(dict.fromkeys(names, value))
            paths = [f"{path}?{query}" for path in (*EVERY_PAGE, *detail)]
            for path in (*paths, f"/errors?{urlencode({'id': value})}"):
                answer = await visitor.get(path)
                assert answer.status < 500, path


async def test_audio_needs_a_signed_link_that_has_not_expired(hostile_url: str) -> None:
    clock = Clock()
    signer = Signer(clock=clock)

    def link(of_video: str, of_clip: str, **changes: str) -> str:
        until, signature = signer.link(of_video, of_clip)
        query = {"video": of_video, "clip": of_clip, "until": str(until), "sig": signature} | changes
        return f"/review/audio?{urlencode(query)}"

    async with a_visitor(hostile_url, signer=signer) as visitor:
        for forged in (
            link("v", "c", sig=""),
            link("v", "c", sig="é"),
            link("v", "c", clip="d"),
            link("v", "c", video="w"),
            link("v", "c", until="99999999999"),
            link("v", "c", until="x"),
            link("vc", "", video="v", clip="c"),
        ):
            assert (await visitor.get(forged)).status == 403, forged
        for video, clip in (
            ("../../../etc/passwd", "x"),
            (HOSTILE, "../../../etc/passwd"),
            (HOSTILE, HOSTILE),
        ):
            answer = await visitor.get(link(video, clip))
            assert answer.status == 404
            assert "root:" not in answer.text
        old = link(HOSTILE, HOSTILE)
        clock.at += LINK_S + 61
        assert (await visitor.get(old)).status == 403


# ----------------------------------------------------------------------------- TLS


async def test_under_tls_the_cookie_is_secure(database_url: str, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    await asyncio.to_thread(_certify, cert, key)
    async with a_board(database_url, token=TOKEN, tls=(cert, key)) as url, Visitor(url) as visitor:
        assert url.startswith("https://")
        assert "Secure" in (await visitor.get("/login", ssl=False)).headers["set-cookie"]


def _certify(cert: Path, key: Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    where = ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", "req", "-x509", *kind, *where], check=True, capture_output=True)

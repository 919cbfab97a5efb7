"""The simulator as a server and as a process: statistics, control, log, TLS, start and end."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from lipika.errors import LipikaError, SettingsError
from lipika.simulator import (
    Caching,
    Details,
    FaultKind,
    FaultPlan,
    FaultRule,
    Latency,
    Quotas,
    SimulatorConfig,
    Wire,
    running,
    spawn,
)
from lipika.simulator.__main__ import main
from lipika.simulator.config import read_json, write_json
from simulator_kit import INSTANT, MODEL, QUICK, ask_gemini, flac, gemini_body, text_of

CLIP = flac(3.0)


async def _get(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url, raise_for_status=True) as reply:
        return await reply.json()


async def _control(url: str, body: str | dict[str, object]) -> tuple[int, Any]:
    data = body if isinstance(body, str) else orjson.dumps(body)
    async with aiohttp.ClientSession() as session, session.post(url, data=data) as reply:
        return reply.status, await reply.json()


# ----------------------------------------------------------------------------- statistics and control


async def test_stats_count_what_happened_at_the_socket() -> None:
    rule = FaultRule(FaultKind.RATE_MINUTE, count=1)
    async with running(SimulatorConfig(latency=INSTANT, faults=FaultPlan((rule,)))) as sim:
        bodies = [gemini_body(flac(2, seed=seed)) for seed in (1, 2, 1, 1)]
        replies = [await ask_gemini(sim.url, body) for body in bodies]
        await ask_gemini(sim.url, {"foo": 1})
        stats = await _get(f"{sim.url}/stats")
    usages = [reply["usageMetadata"] for status, reply in replies if status == 200]
    assert stats["requests"] == 5
    assert stats["accepted"] == 3
    assert stats["by_status"] == {"200": 3, "400": 1, "429": 1}
    assert stats["digests"] == {
        "distinct": 2,
        "answered": 2,
        "repaid": 1,
        "repeats": {"1": 1, "3": 1},
        "untracked": 0,
    }
    assert stats["tokens"]["prompt"] == sum(usage["promptTokenCount"] for usage in usages)
    assert stats["tokens"]["output"] == sum(
        usage["totalTokenCount"] - usage["promptTokenCount"] for usage in usages
    )
    assert stats["cost_usd"] > 0
    assert stats["bytes"]["in"] == sum(len(orjson.dumps(body)) for body in [*bodies, {"foo": 1}])
    assert stats["faults"] == {"rate_minute": 1}
    assert (stats["in_flight"], stats["max_in_flight"]) == (0, 1)


async def test_in_flight_is_counted_and_limited() -> None:
    config = SimulatorConfig(latency=Latency(median_s=0.2, sigma=0), quotas=Quotas(in_flight=3))
    async with running(config) as sim:
        replies = await asyncio.gather(*(ask_gemini(sim.url, gemini_body(CLIP)) for _ in range(6)))
        assert sorted(status for status, _ in replies) == [200, 200, 200, 503, 503, 503]
        stats = await _get(f"{sim.url}/stats")
        assert stats["max_in_flight"] == 6
        assert stats["client_ports"] == 6
        assert stats["by_quota"] == {"in_flight": 3}


async def test_quota_variants_on_the_wire() -> None:
    async with running(SimulatorConfig(latency=INSTANT, quotas=Quotas(rpm=1))) as sim:
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 200
        status, reply = await ask_gemini(sim.url, gemini_body(CLIP))
        assert (status, len(reply["error"]["details"])) == (429, 2)
        assert (await ask_gemini(sim.url, gemini_body(CLIP), key="another"))[0] == 200
        assert (await ask_gemini(sim.url, gemini_body(CLIP), model="gemini-3.6-flash"))[0] == 200
        for details in (Details.BARE, Details.MESSAGE):
            await _control(f"{sim.url}/control/quotas", {"rpm": 0, "details": details})
            status, reply = await ask_gemini(sim.url, gemini_body(CLIP))
            assert (status, "details" in reply["error"]) == (429, False)


async def test_keys_of_one_project_share_its_quota() -> None:
    config = SimulatorConfig(latency=INSTANT, quotas=Quotas(rpm=2), keys=("a=p", "b=p", "c=q"))
    async with running(config) as sim:
        statuses = [(await ask_gemini(sim.url, gemini_body(CLIP), key=key))[0] for key in "abac"]
        assert statuses == [200, 200, 429, 200]


async def test_quotas_latency_and_faults_change_while_it_runs() -> None:
    async with running(QUICK) as sim:
        control = f"{sim.url}/control"
        assert await _control(f"{control}/quotas?project=k", {"rpm": 0}) == (200, {"ok": True})
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 429
        assert (await ask_gemini(sim.url, gemini_body(CLIP), key="other"))[0] == 200
        await _control(f"{control}/quotas?project=k", {})
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 200
        await _control(f"{control}/faults", '[[faults]]\nkind = "internal"\ncount = 1\n')
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 500
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 200
        await _control(f"{control}/faults", {"faults": [{"kind": "busy"}]})
        assert (await ask_gemini(sim.url, gemini_body(CLIP)))[0] == 529
        await _control(f"{control}/faults", {})
        await _control(f"{control}/latency", {"median_s": 30, "sigma": 0})
        with pytest.raises(TimeoutError):
            await ask_gemini(sim.url, gemini_body(CLIP), timeout_s=0.2)


async def test_reset_begins_anew() -> None:
    rule = FaultRule(FaultKind.INTERNAL, count=1)
    config = SimulatorConfig(latency=INSTANT, quotas=Quotas(rpm=1), faults=FaultPlan((rule,)))
    async with running(config) as sim:
        for _ in range(2):
            statuses = [(await ask_gemini(sim.url, gemini_body(CLIP)))[0] for _ in range(3)]
            assert statuses == [500, 200, 429]
            await _control(f"{sim.url}/control/reset", "")
            assert (await _get(f"{sim.url}/stats"))["requests"] == 0


@pytest.mark.parametrize(
    ("path", "body", "cause"),
    [
        ("quotas", '{"rpn": 5}', "rpn"),
        ("quotas", "nonsense", "JSON"),
        ("latency", '{"median_s": "long"}', "median_s"),
        ("faults", '{"faults": [{"kind": "none"}]}', "kind"),
        ("faults", "[[faults", "end of an array"),
        ("faults", "{", "unexpected end"),
    ],
)
async def test_a_control_call_with_a_mistake_says_so(path: str, body: str, cause: str) -> None:
    async with running(QUICK) as sim:
        status, reply = await _control(f"{sim.url}/control/{path}", body)
        assert status == 400
        assert cause in reply["error"]


async def test_the_request_log_has_a_line_for_every_request(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    rules = (FaultRule(FaultKind.INTERNAL, count=1), FaultRule(FaultKind.LOOP, count=1))
    config = SimulatorConfig(latency=INSTANT, request_log=log, faults=FaultPlan(rules), quotas=Quotas(rpm=2))
    async with running(config) as sim:
        for temperature in (0.0, 0.0, None, 0.0):
            await ask_gemini(sim.url, gemini_body(CLIP, temperature=temperature))
        await ask_gemini(sim.url, {})
        await _get(f"{sim.url}/stats")  # flushes
        lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [(line["status"], line["kind"]) for line in lines] == [
        (500, "internal"),
        (200, "loop"),
        (200, "answer"),
        (429, "rate"),
        (400, "invalid"),
    ]
    assert len({line["digest"] for line in lines[:4]}) == 1
    assert len(lines[0]["digest"]) == 64
    assert lines[0]["model"] == MODEL
    assert [line["temperature"] for line in lines] == [0.0, 0.0, None, 0.0, None]


async def test_the_light_profile_answers_alike() -> None:
    async with running(SimulatorConfig(latency=INSTANT, light=True)) as sim:
        for level, silent in ((0.1, False), (0.0, True)):
            status, reply = await ask_gemini(sim.url, gemini_body(flac(4, level=level)))
            assert status == 200
            assert (orjson.loads(text_of(reply))["transcription"] == "NO_SPEECH") is silent
            assert reply["usageMetadata"]["promptTokensDetails"][1]["tokenCount"] == 128


# ----------------------------------------------------------------------------- configuration


@given(
    st.builds(
        SimulatorConfig,
        seed=st.integers(0, 99),
        light=st.booleans(),
        keys=st.lists(st.text("ab=", min_size=1), max_size=2).map(tuple),
        latency=st.builds(Latency, median_s=st.floats(0, 9)),
        quotas=st.builds(
            Quotas, rpm=st.none() | st.integers(0, 9), window=st.sampled_from(["sliding", "bucket"])
        ),
        caching=st.builds(Caching, min_tokens=st.none() | st.integers(0, 9)),
        request_log=st.none() | st.just(Path("log.jsonl")),
        faults=st.builds(
            FaultPlan,
            st.lists(
                st.builds(
                    FaultRule,
                    st.sampled_from(FaultKind),
                    count=st.none() | st.integers(0, 9),
                    languages=st.sampled_from([(), ("hi", "ta")]),
                    wire=st.none() | st.sampled_from(Wire),
                ),
                max_size=2,
            ).map(tuple),
        ),
    )
)
def test_a_configuration_survives_its_way_to_the_child(config: SimulatorConfig) -> None:
    assert read_json(SimulatorConfig, write_json(config), "config") == config


async def test_a_port_that_is_taken_is_named() -> None:
    async with running(QUICK) as sim:
        with pytest.raises(SettingsError, match=f"127.0.0.1:{sim.port} cannot be bound"):
            async with running(SimulatorConfig(port=sim.port)):
                pass


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--faults", "none.toml"], "none.toml cannot be read"),
        (["--tls-key", "none.pem"], "certificate"),
        (["--tls-cert", "none.pem"], "none.pem"),
        (["--request-log", "none/log"], "none/log"),
    ],
)
def test_an_option_that_will_not_do(
    arguments: list[str],
    cause: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert cause in printed.err
    assert not printed.out


# ----------------------------------------------------------------------------- processes


async def test_spawn_serves_and_stops() -> None:
    config = SimulatorConfig(latency=INSTANT, keys=("only",), seed=5)
    async with spawn(config) as handle:
        assert (await ask_gemini(handle.url, gemini_body(CLIP), key="only"))[0] == 200
        assert (await ask_gemini(handle.url, gemini_body(CLIP), key="none"))[0] == 400
        assert (await handle.stats())["requests"] == 2
        os.kill(handle.pid, 0)
    assert await _gone(handle.pid)


async def test_spawn_says_why_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(LipikaError, match=r"did not start: .*none\.pem"):
        async with spawn(SimulatorConfig(tls_cert=tmp_path / "none.pem")):
            pass


_PARENT = """
import asyncio
from lipika.simulator import SimulatorConfig, spawn

async def main():
    async with spawn(SimulatorConfig()) as handle:
        print(handle.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_spawned_simulator_does_not_outlive_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    await parent.wait()
    assert await _gone(pid)


async def _gone(pid: int) -> bool:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def _is_zombie(pid: int) -> bool:
    """Ended, but its new parent has not collected it (some containers' first process never does)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


async def test_the_command_prints_one_line_and_ends_on_sigterm(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lipika.simulator", "--port", "0", "--light", "--latency", "0"),
        *("--tls-cert", str(cert), "--tls-key", str(key), "--rpm", "1"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    facts = orjson.loads(await process.stdout.readline())
    assert facts["url"] == f"https://127.0.0.1:{facts['port']}"
    trust = ssl.create_default_context(cafile=str(cert))
    url = f"{facts['url']}/v1beta/models/{MODEL}:generateContent"
    async with aiohttp.ClientSession(headers={"x-goog-api-key": "k"}) as session:
        for expected in (200, 429):
            async with session.post(url, json=gemini_body(CLIP), ssl=trust) as reply:
                assert reply.status == expected
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert await process.stdout.read() == b""


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file

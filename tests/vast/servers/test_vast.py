"""A fleet on vast.ai, against a stand-in for its command line that speaks its formats."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from lipika.cli import main
from lipika.config import Settings, load_settings
from lipika.errors import Unavailable, UsageError
from lipika.vast.client import Instance, Offer, Vast, VastRefused, Wish, settings_fit
from lipika.vast.fleet import FleetOutcome, RentedFleet, ailment, plan
from lipika.vast.secrets import missing, open_settings, secrets_of, store
from places import KITS

FAKE = KITS / "fake_vastai.py"
WISH = Wish(image="registry.example.com/lipika:1", settings={"PROVIDER": "aistudio"})
SECRET = "postgresql://worker:hunter2@db.example.com:6543/postgres"

GO_ALONG = {"OUTPUT_URL": "s3://corpus/out", "STORE_URL": "s3://corpus/raw", "TEMPERATURE": "default"}


class Account:
    """The fake's account, and a program that shows it as `vastai` would."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "account.json"
        self.program = folder / "vastai"
        script = (
            f"#!/bin/sh\nVAST_FAKE={shlex.quote(str(self.file))} "
            f'exec {shlex.quote(sys.executable)} -S -I {shlex.quote(str(FAKE))} "$@"\n'
        )
        self.program.write_text(script)
        self.program.chmod(0o755)
        self.write(
            offers=[],
            instances=[],
            secrets=["DATABASE_URL", "GEMINI_API_KEY"],
            trouble={},
            destroyed=[],
            calls=[],
            next_id=7835600,
        )

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def write(self, **changes: Any) -> None:
        known = self.read() if self.file.exists() else {}
        self.file.write_text(json.dumps({**known, **changes}))

    def set(self, number: int, **changes: Any) -> None:
        rows = self.read()["instances"]
        self.write(instances=[{**row, **changes} if row["id"] == number else row for row in rows])

    def bought(self) -> Counter[int]:
        """How often each offer was asked for."""
        return Counter(int(words[2]) for words in self.read()["calls"] if words[:2] == ["create", "instance"])

    @property
    def running(self) -> dict[str, int]:
        rows = [row for row in self.read()["instances"] if row["actual_status"] == "running"]
        assert len({row["label"] for row in rows}) == len(rows), "a place was rented for twice"
        return {row["label"]: row["id"] for row in rows}


def offer_row(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": 21_000_000 + number,
        "ask_contract_id": 21_000_000 + number,
        "machine_id": 5_000 + number,
        "host_id": 900 + number // 3,
        "gpu_name": "RTX 3060",
        "num_gpus": 1,
        "cpu_arch": "amd64",
        "cpu_cores_effective": 8.0,
        "cpu_ram": 32_000,
        "cuda_max_good": 12.8,
        "disk_space": 200.0,
        "dph_total": 0.05 + number / 1000,
        "min_bid": 0.02,
        "duration": 2_000_000.0,
        "geolocation": "India, IN",
        "inet_down": 800.0,
        "inet_up": 700.0,
        "inet_down_cost": 0.0,
        "inet_up_cost": 0.0,
        "reliability": 0.995,
        "rentable": True,
        "verification": "verified",
    }
    return {**row, **changes}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr(platformdirs, "user_state_path", lambda _name: tmp_path / "state")
    account = Account(tmp_path)
    account.write(offers=[offer_row(number) for number in range(40)])
    return account


def fleet(account: Account, wish: Wish = WISH, name: str = "lipika") -> RentedFleet:
    return RentedFleet(Vast(str(account.program)), name, wish, sleep=lambda _seconds: None)


# ----------------------------------------------------------------------------- renting


def test_eighteen_are_rented_one_is_refused_one_dies_and_both_are_replaced(account: Account) -> None:
    gone, dying = 21_000_003, 21_000_007
    account.write(trouble={str(gone): "gone", str(dying): "dies"})
    launched = fleet(account)
    first = launched.reconcile(18)
    assert len(first.rented) == 18
    assert "no_such_ask" in first.refused[0]
    assert len(account.running) == 17
    second = launched.reconcile(18)
    assert len(second.destroyed) == len(second.rented) == 1
    assert sorted(account.running) == [f"lipika-{place:02d}" for place in range(1, 19)]
    assert set(account.bought().values()) == {1}, "an offer was asked for twice"
    machines = [row["machine_id"] for row in account.read()["instances"]]
    assert len(set(machines)) == 18
    assert 5_007 not in machines
    assert launched.reconcile(18) == FleetOutcome()


def test_two_launchers_at_once_rent_one_fleet(account: Account) -> None:
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _n: fleet(account).reconcile(9), range(2)))
    assert len(account.running) == 9
    assert sorted(len(outcome.rented) for outcome in done) == [0, 9]
    assert set(account.bought().values()) == {1}


def test_of_two_launchers_on_different_machines_one_gives_back(account: Account) -> None:
    """Neither sees the other's lock: another's lower number shows up under the label just rented."""
    mine = fleet(account)
    outcome = FleetOutcome()
    outcome.rented["lipika-01"] = Vast(str(account.program)).rent(_first(account), "lipika-01", WISH)
    (row,) = account.read()["instances"]
    account.write(instances=[row, {**row, "id": row["id"] - 1, "machine_id": 77}])
    mine._give_back_doubles(outcome)
    assert outcome.rented == {}
    assert account.read()["destroyed"] == [row["id"]]
    assert account.running == {"lipika-01": row["id"] - 1}


def test_a_lost_reply_is_not_paid_for_twice(account: Account) -> None:
    account.write(trouble={"21000000": "reply lost"})
    outcome = fleet(account).reconcile(3)
    assert len(account.running) == 3
    assert len(outcome.rented) == 2
    assert "Read timed out" in outcome.refused[0]
    assert sum(account.bought().values()) == 3


def test_a_smaller_fleet_gives_back_and_stop_gives_all_back(account: Account) -> None:
    launched = fleet(account)
    launched.reconcile(5)
    stranger = {**account.read()["instances"][0], "id": 1, "label": "somebody-else"}
    account.write(instances=[*account.read()["instances"], stranger])
    assert len(launched.reconcile(2).destroyed) == 3
    assert len(launched.stop().destroyed) == 2
    assert [row["id"] for row in account.read()["instances"]] == [1]


def test_too_few_offers_are_said_and_none_is_dearer_than_wanted(account: Account) -> None:
    account.write(offers=[offer_row(1), offer_row(2, dph_total=0.9), offer_row(3, reliability=0.5)])
    outcome = fleet(account).reconcile(3)
    assert len(outcome.rented) == 1
    assert outcome.missing == ["lipika-02", "lipika-03"]


def test_dear_traffic_moves_an_offer_back(account: Account) -> None:
    account.write(offers=[offer_row(1, inet_up_cost=0.02), offer_row(2)])
    (first, second) = Vast(str(account.program)).offers(WISH, 20)
    assert (first.id, second.id) == (21_000_002, 21_000_001)
    assert second.usd_traffic == pytest.approx(0.46)


def test_a_spot_machine_is_bid_for_within_the_price(account: Account) -> None:
    fleet(account, replace(WISH, interruptible=True, max_usd_hour=0.022)).reconcile(1)
    (create,) = [words for words in account.read()["calls"] if words[0] == "create"]
    assert create[create.index("--bid_price") + 1] == "0.0220"


async def test_the_watch_replaces_until_the_queue_is_done_and_gives_back(account: Account) -> None:
    launched, passes = fleet(account), 0

    async def finished() -> bool:
        nonlocal passes
        passes += 1
        if passes == 2:
            account.set(account.running["lipika-02"], actual_status="offline")
        if passes == 3:
            assert len(account.running) == 3
            raise Unavailable("the queue cannot be asked")
        return passes > 4

    seen: list[FleetOutcome] = []
    await launched.watch(3, finished, seen.append, every_s=0)
    assert [len(outcome.rented) for outcome in seen] == [3, 1, 0, 0, 0]
    assert account.read()["instances"] == []


async def test_the_watch_ends_only_when_no_machine_is_left(account: Account) -> None:
    launched = fleet(account)
    stuck, slow, _well = launched.reconcile(3).rented.values()
    account.write(trouble={str(stuck): "429", str(slow): "once 500"})
    seen: list[FleetOutcome] = []

    async def finished() -> bool:
        return True

    def report(outcome: FleetOutcome) -> None:
        seen.append(outcome)
        account.write(trouble={})

    await launched.watch(3, finished, report, every_s=0)
    assert [list(outcome.left) for outcome in seen] == [[stuck], []]
    assert account.read()["instances"] == []


async def test_the_watch_outlives_a_vast_that_is_away_at_the_end(account: Account) -> None:
    launched, passes = fleet(account), 0
    launched.reconcile(2)
    stop = launched.stop

    def away() -> FleetOutcome:
        nonlocal passes
        passes += 1
        if passes == 1:
            raise Unavailable("vastai show instances: HTTP 502")
        return stop()

    async def finished() -> bool:
        return True

    launched.stop = away  # type: ignore[method-assign]
    await launched.watch(2, finished, lambda _outcome: None, every_s=0)
    assert account.read()["instances"] == []
    assert passes == 3


# ----------------------------------------------------------------------------- giving back


@pytest.mark.parametrize("trouble", ["429", "500", "400", "kept"])
def test_what_is_still_there_is_not_called_given_back(account: Account, trouble: str) -> None:
    launched = fleet(account)
    first, second, third = launched.reconcile(3).rented.values()
    account.write(trouble={str(first): trouble})
    outcome = launched.stop()
    assert outcome.destroyed == [second, third]
    assert list(outcome.left) == [first]
    assert outcome.left[first]
    assert [row["id"] for row in account.read()["instances"]] == [first]
    account.write(trouble={})
    assert launched.reconcile(0).destroyed == [first]


@pytest.mark.parametrize("trouble", ["once 429", "once 503", "once kept"])
def test_a_refusal_for_the_moment_is_tried_again(account: Account, trouble: str) -> None:
    launched = fleet(account)
    rented = list(launched.reconcile(2).rented.values())
    account.write(trouble={str(rented[0]): trouble})
    outcome = launched.stop()
    assert sorted(outcome.destroyed) == rented
    assert outcome.left == {}


def test_an_instance_that_is_gone_is_as_good_as_given_back(account: Account) -> None:
    Vast(str(account.program)).destroy(4711)


@pytest.mark.parametrize("stream", [1, 2])
def test_an_error_is_one_on_either_stream(tmp_path: Path, stream: int) -> None:
    program = _program(tmp_path, '{"error": true, "status_code": 429, "msg": "slow down"}', stream)
    with pytest.raises(Unavailable, match="destroy instance 7: HTTP 429: slow down"):
        Vast(program).destroy(7)


@pytest.mark.parametrize("complaint", ["[1, 2]", '"no"', "7", "null"])
def test_a_complaint_that_is_no_object_is_a_refusal(tmp_path: Path, complaint: str) -> None:
    with pytest.raises(VastRefused):
        Vast(_program(tmp_path, complaint, 2)).instances()


def _program(folder: Path, says: str, stream: int) -> str:
    program = folder / "vastai"
    program.write_text(f"#!/bin/sh\necho {shlex.quote(says)} >&{stream}\n")
    program.chmod(0o755)
    return str(program)


# ----------------------------------------------------------------------------- the plan, on paper


def instance(number: int, place: int, **changes: Any) -> Instance:
    base = Instance(number, number, f"lipika-{place:02d}", "running", "running", "RTX 3060", 0.1, 60.0, "")
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"status": None}, ""),
        ({"status": "unknown"}, ""),
        ({"status": "loading", "age_s": 600.0}, ""),
        (
            {"status": "loading", "age_s": 4000.0, "message": "pulling"},
            "did not start within 1 h 7 min: pulling",
        ),
        ({"status": "exited", "message": "oom"}, "exited: oom"),
        ({"status": "offline"}, "offline"),
        ({"intended": "stopped"}, "meant to be stopped"),
    ],
)
def test_what_ails_a_machine(changes: dict[str, Any], reason: str) -> None:
    assert ailment(instance(1, 1, **changes)) == reason


def test_the_plan_keeps_the_oldest_of_a_place_and_one_machine_a_place() -> None:
    there = [instance(9, 1), instance(4, 1), instance(5, 2, status="exited"), instance(6, 7)]
    offers = [
        Offer(n, machine, "g", 0.1, 0.0, 0.0, 1, 1, 1, "IN") for n, machine in enumerate((4, 5, 50, 50, 51))
    ]
    found = plan("lipika", 3, there, offers)
    assert [one.id for one in found.keep] == [4]
    assert {one.id: reason for one, reason in found.destroy} == {
        9: "lipika-01 was rented twice",
        5: "exited",
        6: "more than wanted",
    }
    assert [(buy.label, buy.offer.machine_id) for buy in found.buy] == [("lipika-02", 50), ("lipika-03", 51)]
    assert found.short == 0


# ----------------------------------------------------------------------------- trouble


def test_no_output_is_an_error_with_its_reason(account: Account) -> None:
    account.write(trouble={"21000000": "no credit"})
    with pytest.raises(VastRefused, match="lacks credit"):
        Vast(str(account.program)).rent(_first(account), "x-01", WISH)


def test_a_refused_key_and_a_missing_program_are_said(tmp_path: Path) -> None:
    program = tmp_path / "vastai"
    program.write_text(
        '#!/bin/sh\necho \'{"error": true, "status_code": 401, "msg": "Invalid user key"}\' >&2\n'
    )
    program.chmod(0o755)
    with pytest.raises(UsageError, match="refuses the key"):
        Vast(str(program)).instances()
    with pytest.raises(UsageError, match="pip install vastai"):
        Vast(str(tmp_path / "nowhere")).instances()


def test_values_that_would_be_torn_apart_are_refused() -> None:
    settings_fit({"MODEL_ID": "gemini-3-flash-preview"})
    with pytest.raises(UsageError, match="STORE_URL"):
        settings_fit({"STORE_URL": "s3://my bucket/raw"})


def _first(account: Account) -> Offer:
    return Vast(str(account.program)).offers(WISH, 20)[0]


# ----------------------------------------------------------------------------- secrets


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": SECRET,
        "GEMINI_API_KEY": "AIzaNotToBeSeen",
        "STORE_URL": "s3://corpus/raw",
        "OUTPUT_URL": "s3://corpus/out",
        "TEMPERATURE": "default",
        "SPOOL_DIR": "/mine",
    }.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_settings_go_along_and_secrets_do_not(settings: Settings) -> None:
    assert open_settings(settings) == GO_ALONG
    assert secrets_of(settings) == {"DATABASE_URL": SECRET, "GEMINI_API_KEY": "AIzaNotToBeSeen"}
    assert missing(settings, {"DATABASE_URL"}) == [
        "GEMINI_API_KEY",
        "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY",
    ]


async def test_secrets_travel_in_the_body_of_a_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, dict[str, str]]] = []

    async def take(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer the-key":
            return web.Response(status=401)
        seen.append((request.method, request.path_qs, await request.json()))
        return web.json_response({"success": True})

    application = web.Application()
    application.router.add_route("*", "/api/v0/secrets/", take)
    async with TestServer(application) as server:
        monkeypatch.setenv("VAST_URL", str(server.make_url("/")))
        monkeypatch.setenv("VAST_API_KEY", "the-key")
        await store(secrets_of(settings), {"DATABASE_URL"})
        monkeypatch.setenv("VAST_API_KEY", "another")
        with pytest.raises(UsageError, match="refuses the key"):
            await store({"X": "y"}, ())
    assert seen == [
        ("PUT", "/api/v0/secrets/", {"key": "DATABASE_URL", "value": SECRET}),
        ("POST", "/api/v0/secrets/", {"key": "GEMINI_API_KEY", "value": "AIzaNotToBeSeen"}),
    ]
    with pytest.raises(Unavailable, match="cannot be reached"):
        await store({"X": "y"}, ())


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_takes_no_secret_to_another_host(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(await request.text())
        return web.json_response({"success": True})

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": str(other.make_url("/api/v0/secrets/"))})

    away, here = web.Application(), web.Application()
    away.router.add_route("*", "/api/v0/secrets/", elsewhere)
    here.router.add_route("*", "/api/v0/secrets/", redirect)
    monkeypatch.setenv("VAST_API_KEY", "the-key")
    async with TestServer(away) as other, TestServer(here) as server:
        monkeypatch.setenv("VAST_URL", str(server.make_url("/")))
        with pytest.raises(Unavailable, match=f"does not take DATABASE_URL: HTTP {status}"):
            await store({"DATABASE_URL": SECRET}, ())
    assert seen == []


@pytest.mark.parametrize("url", ["http://console.vast.ai", "http://127.0.0.1.example.com", "ftp://localhost"])
async def test_secrets_go_nowhere_unencrypted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("VAST_API_KEY", "the-key")
    monkeypatch.setenv("VAST_URL", url)
    with pytest.raises(UsageError, match="https:// only"):
        await store({"DATABASE_URL": SECRET}, ())


# ----------------------------------------------------------------------------- the command


def command(account: Account, *words: str) -> Any:
    return CliRunner().invoke(main.app, ["deploy", "vast", *words, "--vastai", str(account.program)])


def test_the_command_is_dry_unless_told(
    account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipika.vast.fleet._SETTLE_S", 0.0)
    vast = ("--workers", "2", "--image", "r/lipika:1")
    dry = command(account, *vast)
    assert dry.exit_code == 0, dry.output
    assert "2 would be rented" in dry.output
    assert account.read()["instances"] == []
    refused = subprocess.run(
        [sys.executable, "-m", "lipika", "deploy", "vast", *vast, "--yes", "--vastai", str(account.program)],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert "the vast.ai account has no R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY" in refused.stderr
    account.write(secrets=["DATABASE_URL", "GEMINI_API_KEY", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"])
    done = command(account, *vast, "--yes")
    assert done.exit_code == 0, done.output
    (first, _second) = account.read()["instances"]
    assert first["extra_env"] == GO_ALONG
    assert first["image_args"] == ["worker", "--json-logs"]
    assert "lipika-02" in command(account, "list").output
    assert "nothing was given back" in command(account, "stop").output
    account.write(trouble={str(first["id"]): "429"})
    stopped = command(account, "stop", "--yes")
    assert stopped.exit_code == 1
    assert f"NOT given back, and it costs money: instance {first['id']}" in stopped.output
    account.write(trouble={})
    assert f"given back: {first['id']}" in command(account, "stop", "--yes").output
    assert "hunter2" not in account.file.read_text()
    assert "AIza" not in account.file.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OUTPUT_URL", ""), ("OUTPUT_URL", "out"), ("OUTPUT_URL", "file:///out"), ("STORE_URL", "raw")],
)
def test_places_of_this_machine_are_refused_before_anything_is_rented(
    account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for words in ((), ("--yes",)):
        refused = command(account, "--workers", "2", "--image", "r/lipika:1", *words)
        assert refused.exit_code == 2
        assert f"{name}: {value or 'not set'}" in refused.stderr
        assert "s3://BUCKET/PREFIX" in refused.stderr
    assert account.read()["instances"] == []


def test_made_up_transcripts_are_said(
    account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER", "simulator")
    dry = command(account, "--workers", "1", "--image", "r/lipika:1")
    assert dry.exit_code == 0, dry.output
    assert "transcripts will be made up" in dry.stderr


def test_giving_back_needs_no_secrets_and_no_places(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet(account).reconcile(3)
    account.write(secrets=[])
    monkeypatch.delenv("OUTPUT_URL", raising=False)
    monkeypatch.chdir(account.file.parent)
    fewer = ("--workers", "1", "--image", "r/lipika:1")
    dry = command(account, *fewer)
    assert dry.exit_code == 0, dry.output
    assert "1 stay, 2 go" in dry.output
    done = command(account, *fewer, "--yes")
    assert done.exit_code == 0, done.output
    assert list(account.running) == ["lipika-01"]


def test_a_name_that_is_no_label_is_refused(account: Account) -> None:
    with pytest.raises(UsageError, match="small letters"):
        fleet(account, name="My Fleet")
    with pytest.raises(UsageError, match="0 to 99"):
        asyncio.run(asyncio.to_thread(fleet(account).plan, 100))

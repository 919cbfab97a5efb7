"""A fleet on vast.ai, against a service on loopback that speaks its formats and errs as it does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
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
from vast_kit import KEY, PAGE, Account, a_vast

WISH = Wish(image="registry.example.com/lipika:1", settings={"PROVIDER": "aistudio"})
SECRET = "postgresql://worker:hunter2@db.example.com:6543/postgres"

GO_ALONG = {"OUTPUT_URL": "s3://corpus/out", "STORE_URL": "s3://corpus/raw", "TEMPERATURE": "default"}


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
        "rented": False,
        "verified": True,
        "external": False,
        "verification": "verified",
    }
    return {**row, **changes}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr(platformdirs, "user_state_path", lambda _name: tmp_path / "state")
    with a_vast() as account:
        account.write(offers=[offer_row(number) for number in range(40)])
        yield account


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def vast(account: Account, key: str = KEY) -> Vast:
    return Vast(account.url, key, sleep=no_sleep)


def fleet(account: Account, wish: Wish = WISH, name: str = "lipika") -> RentedFleet:
    return RentedFleet(vast(account), name, wish, sleep=no_sleep)


# ----------------------------------------------------------------------------- renting


async def test_eighteen_are_rented_one_is_refused_one_dies_and_both_are_replaced(account: Account) -> None:
    gone, dying = 21_000_003, 21_000_007
    account.write(trouble={str(gone): "gone", str(dying): "dies"})
    launched = fleet(account)
    first = await launched.reconcile(18)
    assert len(first.rented) == 18
    assert "no_such_ask" in first.refused[0]
    assert len(account.running) == 17
    second = await launched.reconcile(18)
    assert len(second.destroyed) == len(second.rented) == 1
    assert sorted(account.running) == [f"lipika-{place:02d}" for place in range(1, 19)]
    assert set(account.bought().values()) == {1}, "an offer was asked for twice"
    machines = [row["machine_id"] for row in account.read()["instances"]]
    assert len(set(machines)) == 18
    assert 5_007 not in machines
    assert await launched.reconcile(18) == FleetOutcome()


async def test_two_launchers_at_once_rent_one_fleet(account: Account) -> None:
    done = await asyncio.gather(*(fleet(account).reconcile(9) for _ in range(2)))
    assert len(account.running) == 9
    assert sorted(len(outcome.rented) for outcome in done) == [0, 9]
    assert set(account.bought().values()) == {1}


async def test_of_two_launchers_on_different_machines_one_gives_back(account: Account) -> None:
    """Neither sees the other's lock: another's lower number shows up under the label just rented."""
    mine = fleet(account)
    outcome = FleetOutcome()
    outcome.rented["lipika-01"] = await vast(account).rent(await _first(account), "lipika-01", WISH)
    (row,) = account.read()["instances"]
    account.write(instances=[row, {**row, "id": row["id"] - 1, "machine_id": 77}])
    await mine._give_back_doubles(outcome)
    assert outcome.rented == {}
    assert account.read()["destroyed"] == [row["id"]]
    assert account.running == {"lipika-01": row["id"] - 1}


async def test_a_lost_reply_is_not_paid_for_twice(account: Account) -> None:
    account.write(trouble={"21000000": "reply lost"})
    outcome = await fleet(account).reconcile(3)
    assert len(account.running) == 3
    assert len(outcome.rented) == 2
    assert "cannot be reached" in outcome.refused[0]
    assert sum(account.bought().values()) == 3


async def test_a_smaller_fleet_gives_back_and_stop_gives_all_back(account: Account) -> None:
    launched = fleet(account)
    await launched.reconcile(5)
    stranger = {**account.read()["instances"][0], "id": 1, "label": "somebody-else"}
    account.write(instances=[*account.read()["instances"], stranger])
    assert len((await launched.reconcile(2)).destroyed) == 3
    assert len((await launched.stop()).destroyed) == 2
    assert [row["id"] for row in account.read()["instances"]] == [1]


async def test_too_few_offers_are_said_and_none_is_dearer_than_wanted(account: Account) -> None:
    account.write(offers=[offer_row(1), offer_row(2, dph_total=0.9), offer_row(3, reliability=0.5)])
    outcome = await fleet(account).reconcile(3)
    assert len(outcome.rented) == 1
    assert outcome.missing == ["lipika-02", "lipika-03"]


async def test_dear_traffic_moves_an_offer_back(account: Account) -> None:
    account.write(offers=[offer_row(1, inet_up_cost=0.02), offer_row(2)])
    first, second = await vast(account).offers(WISH, 20)
    assert (first.id, second.id) == (21_000_002, 21_000_001)
    assert second.usd_traffic == pytest.approx(0.46)


async def test_a_spot_machine_is_bid_for_within_the_price(account: Account) -> None:
    await fleet(account, replace(WISH, interruptible=True, max_usd_hour=0.022)).reconcile(1)
    (body,) = account.bodies("PUT", "/api/v0/asks/")
    assert body["price"] == 0.022
    assert account.bodies("POST", "/api/v0/bundles/")[0]["type"] == "bid"


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
    stuck, slow, _well = (await launched.reconcile(3)).rented.values()
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
    await launched.reconcile(2)
    stop = launched.stop

    async def away() -> FleetOutcome:
        nonlocal passes
        passes += 1
        if passes == 1:
            raise Unavailable("vast.ai: show instances: HTTP 502")
        return await stop()

    async def finished() -> bool:
        return True

    launched.stop = away  # type: ignore[method-assign]
    await launched.watch(2, finished, lambda _outcome: None, every_s=0)
    assert account.read()["instances"] == []
    assert passes == 3


# ----------------------------------------------------------------------------- giving back


@pytest.mark.parametrize("trouble", ["429", "500", "400", "kept"])
async def test_what_is_still_there_is_not_called_given_back(account: Account, trouble: str) -> None:
    launched = fleet(account)
    first, second, third = (await launched.reconcile(3)).rented.values()
    account.write(trouble={str(first): trouble})
    outcome = await launched.stop()
    assert outcome.destroyed == [second, third]
    assert list(outcome.left) == [first]
    assert outcome.left[first]
    assert [row["id"] for row in account.read()["instances"]] == [first]
    account.write(trouble={})
    assert (await launched.reconcile(0)).destroyed == [first]


@pytest.mark.parametrize("trouble", ["once 429", "once 503", "once kept"])
async def test_a_refusal_for_the_moment_is_tried_again(account: Account, trouble: str) -> None:
    launched = fleet(account)
    rented = list((await launched.reconcile(2)).rented.values())
    account.write(trouble={str(rented[0]): trouble})
    outcome = await launched.stop()
    assert sorted(outcome.destroyed) == rented
    assert outcome.left == {}


async def test_an_instance_that_is_gone_is_as_good_as_given_back(account: Account) -> None:
    await vast(account).destroy(4711)


# ----------------------------------------------------------------------------- the wire


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_question_is_asked_again_until_there_is_an_answer(account: Account, status: int) -> None:
    account.write(trouble={"GET instances": f"once {status}", "POST bundles": f"once {status}"})
    assert await vast(account).instances() == []
    assert len(await vast(account).offers(WISH, 20)) == 20


@pytest.mark.parametrize("status", [429, 502])
async def test_a_service_that_stays_away_is_said_with_its_words(account: Account, status: int) -> None:
    account.write(trouble={"GET instances": str(status)})
    with pytest.raises(Unavailable, match=f"show instances: HTTP {status}: .*(too frequent|Bad Gateway)"):
        await vast(account).instances()
    assert len(account.calls) == 4


@pytest.mark.parametrize(("trouble", "asked"), [("once 429", 2), ("once 502", 1), ("reply lost", 1)])
async def test_a_renting_is_repeated_only_where_it_was_surely_not_done(
    account: Account, trouble: str, asked: int
) -> None:
    account.write(trouble={"21000000": trouble})
    offer = await _first(account)
    if asked == 2:
        await vast(account).rent(offer, "x-01", WISH)
    else:
        with pytest.raises(Unavailable, match="rent offer 21000000"):
            await vast(account).rent(offer, "x-01", WISH)
    assert account.bought() == {21_000_000: asked}


async def test_all_pages_of_instances_are_read(account: Account) -> None:
    rows = [
        {"id": number, "label": f"lipika-{number:02d}", "actual_status": "running"}
        for number in range(1, 2 * PAGE + 2)
    ]
    account.write(instances=rows)
    assert [one.id for one in await vast(account).instances()] == [row["id"] for row in rows]
    assert len(account.calls) == 3


@pytest.mark.parametrize(
    "body", ["[1, 2]", '"no"', "7", "null", "{}", '{"instances": 5}', '{"instances": [7]}', ""]
)
async def test_an_answer_that_is_no_list_of_instances_is_a_refusal(body: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/api/v1/instances/", answer)
    async with TestServer(application) as server:
        with pytest.raises(VastRefused):
            await Vast(str(server.make_url("/")), KEY).instances()


async def test_a_refused_key_and_no_key_are_said(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"refuses the key \(Invalid user key\): set VAST_API_KEY"
    ) as refused:
        await vast(account, "another-key").instances()
    assert "another-key" not in str(refused.value)
    account.write(trouble={"GET instances": "403"})
    with pytest.raises(UsageError, match="that may show instances"):
        await vast(account).instances()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no key of vast\.ai"):
        Vast.from_settings(load_settings())
    kept = tmp_path / ".config" / "vastai" / "vast_api_key"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept\n")
    assert Vast.from_settings(load_settings())._key == "kept"


async def test_an_offer_that_is_somebody_elses_is_no_fault_of_the_key(account: Account) -> None:
    account.write(trouble={"21000000": "not mine"})
    outcome = await fleet(account).reconcile(1)
    assert "not your own" in outcome.refused[0]
    assert list(outcome.rented) == ["lipika-01"]


async def test_key_and_place_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"VAST_API_KEY={KEY}\nVAST_URL={account.url}\n")
    settings = load_settings()
    assert await Vast.from_settings(settings).secrets() == {"DATABASE_URL", "GEMINI_API_KEY"}
    assert secrets_of(settings) == {}
    assert open_settings(settings) == {}


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


async def test_a_refusal_is_said_with_its_reason(account: Account) -> None:
    account.write(trouble={"21000000": "no credit"})
    with pytest.raises(VastRefused, match="lacks credit"):
        await vast(account).rent(await _first(account), "x-01", WISH)


def test_values_that_would_be_torn_apart_are_refused() -> None:
    settings_fit({"MODEL_ID": "gemini-3-flash-preview"})
    with pytest.raises(UsageError, match="STORE_URL"):
        settings_fit({"STORE_URL": "s3://my bucket/raw"})


async def _first(account: Account) -> Offer:
    return (await vast(account).offers(WISH, 20))[0]


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


async def test_secrets_travel_in_the_body_of_a_request(settings: Settings, account: Account) -> None:
    account.write(secrets={"DATABASE_URL": "*****"})
    await store(secrets_of(settings), {"DATABASE_URL"}, vast(account))
    assert account.calls == [
        ("PUT", "/api/v0/secrets/", {"key": "DATABASE_URL", "value": SECRET}),
        ("POST", "/api/v0/secrets/", {"key": "GEMINI_API_KEY", "value": "AIzaNotToBeSeen"}),
    ]
    with pytest.raises(UsageError, match="refuses the key"):
        await store({"X": "y"}, (), vast(account, "another"))
    with pytest.raises(Unavailable, match="write X: cannot be reached"):
        await store({"X": "y"}, (), Vast("http://127.0.0.1:9", KEY))


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_takes_no_secret_to_another_host(status: int) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(await request.text())
        return web.json_response({"success": True})

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": str(other.make_url("/api/v0/secrets/"))})

    away, here = web.Application(), web.Application()
    away.router.add_route("*", "/api/v0/secrets/", elsewhere)
    here.router.add_route("*", "/api/v0/secrets/", redirect)
    async with TestServer(away) as other, TestServer(here) as server:
        with pytest.raises(Unavailable, match=f"write DATABASE_URL: HTTP {status}"):
            await store({"DATABASE_URL": SECRET}, (), Vast(str(server.make_url("/")), KEY))
    assert seen == []


@pytest.mark.parametrize("url", ["http://console.vast.ai", "http://127.0.0.1.example.com", "ftp://localhost"])
def test_secrets_go_nowhere_unencrypted(url: str) -> None:
    with pytest.raises(UsageError, match="https:// only"):
        Vast(url, KEY)


# ----------------------------------------------------------------------------- the command


def account_settings(account: Account) -> dict[str, str]:
    return {"VAST_URL": account.url, "VAST_API_KEY": KEY}


def command(account: Account, *words: str) -> Any:
    return CliRunner(env=account_settings(account)).invoke(main.app, ["deploy", "vast", *words])


def test_the_command_is_dry_unless_told(
    account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipika.vast.fleet._SETTLE_S", 0.0)
    words = ("--workers", "2", "--image", "r/lipika:1")
    dry = command(account, *words)
    assert dry.exit_code == 0, dry.output
    assert "2 would be rented" in dry.output
    assert account.read()["instances"] == []
    refused = subprocess.run(
        [sys.executable, "-m", "lipika", "deploy", "vast", *words, "--yes"],
        env=dict(os.environ) | account_settings(account),
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert "the vast.ai account has no R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY" in refused.stderr
    names = ("DATABASE_URL", "GEMINI_API_KEY", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")
    account.write(secrets=dict.fromkeys(names, "*****"))
    done = command(account, *words, "--yes")
    assert done.exit_code == 0, done.output
    (first, _second) = account.read()["instances"]
    assert dict(first["extra_env"]) == GO_ALONG
    assert first["image_args"] == ["worker", "--json-logs"]
    assert "lipika-02" in command(account, "list").output
    assert "nothing was given back" in command(account, "stop").output
    account.write(trouble={str(first["id"]): "429"})
    stopped = command(account, "stop", "--yes")
    assert stopped.exit_code == 1
    assert f"NOT given back, and it costs money: instance {first['id']}" in stopped.output
    account.write(trouble={})
    assert f"given back: {first['id']}" in command(account, "stop", "--yes").output
    assert not {"hunter2", "AIza"} & {word for word in ("hunter2", "AIza") if word in repr(account.state)}


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
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asyncio.run(fleet(account).reconcile(3))
    account.write(secrets={})
    monkeypatch.delenv("OUTPUT_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    fewer = ("--workers", "1", "--image", "r/lipika:1")
    dry = command(account, *fewer)
    assert dry.exit_code == 0, dry.output
    assert "1 stay, 2 go" in dry.output
    done = command(account, *fewer, "--yes")
    assert done.exit_code == 0, done.output
    assert list(account.running) == ["lipika-01"]


async def test_a_name_that_is_no_label_is_refused(account: Account) -> None:
    with pytest.raises(UsageError, match="small letters"):
        fleet(account, name="My Fleet")
    with pytest.raises(UsageError, match="0 to 99"):
        await fleet(account).plan(100)

"""Metrics of a worker and of the fleet: figures that are true, names that alerts and dashboards use rightly."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from board_kit import a_visitor
from fleet_kit import Stage, a_stage, change, until
from lipika.dashboard.metrics import fleet_exposition
from lipika.db import Budgets, Database, Stats
from lipika.db.budgets import Limits
from lipika.errors import SettingsError
from lipika.fleet.exposition import exposition
from lipika.fleet.metrics import WorkerView, worker_metrics
from lipika.fleet.metrics_server import serving_metrics
from lipika.jobs.wiring import Running
from places import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
GRAFANA = ROOT / "deploy" / "grafana"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        yield stage


def read(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def view(found: Running) -> WorkerView:
    return WorkerView(found.worker_id, "the-model", found.worker, found.engine, found.room)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def get(url: str) -> tuple[int, str, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return reply.status, reply.headers["Content-Type"], await reply.read()


async def test_a_worker_tells_what_it_did(stage: Stage, database: Database) -> None:
    await stage.queue(2, 8)
    await stage.control("faults", {"faults": [{"kind": "rate_minute", "count": 1, "retry_after_s": 0.2}]})
    await Budgets(database).set_limits("aistudio", Limits(90_000, spend_total_usd=50.0))
    await Budgets(database).change("all", {"spend_total_usd": 25.0})
    port = free_port()
    async with stage.worker() as found, serving_metrics(view(found), "127.0.0.1", port):
        await found.worker.run(until_empty=True)
        status, kind, body = await get(f"http://127.0.0.1:{port}/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert (await get(f"http://127.0.0.1:{port}/healthz"))[0] == 200
    told, totals, counts = read(body), found.engine.totals, found.worker.counts
    assert of(told, "lipika_requests_total", provider="aistudio") == totals.requests
    assert of(told, "lipika_request_failures_total", kind="rate_minute") == 1
    assert of(told, "lipika_answers_total") == totals.returned
    assert of(told, "lipika_clips_total", status="transcribed") == counts.transcribed
    assert of(told, "lipika_videos_total", outcome="done") == 2
    assert of(told, "lipika_spend_dollars_total") == pytest.approx(totals.cost_usd)
    prompts = [of(told, "lipika_prompt_tokens_total", modality=modality) for modality in ("text", "audio")]
    assert (sum(prompts), prompts[1]) == (totals.usage.prompt, totals.usage.prompt_audio)
    assert of(told, "lipika_request_duration_seconds_count") == totals.requests
    assert of(told, "lipika_request_duration_seconds_bucket", le="+Inf") == totals.requests
    assert of(told, "lipika_request_duration_seconds_sum") == pytest.approx(totals.latency_ms / 1000)
    assert of(told, "lipika_buffer_limit_bytes") == found.room.limit

    fleet = read(await fleet_exposition(Stats(database)))
    assert of(fleet, "lipika_fleet_requests_total") == totals.requests
    assert of(fleet, "lipika_fleet_request_failures_total", kind="rate_minute") == 1
    assert of(fleet, "lipika_fleet_workers", state="live") == 0
    assert of(fleet, "lipika_queue_videos", state="done") == 2
    assert of(fleet, "lipika_queue_eta_seconds") == 0
    assert of(fleet, "lipika_fleet_requests_per_minute_limit", provider="aistudio") == 90_000
    spent = of(fleet, "lipika_fleet_spend_dollars", provider="aistudio", window="total")
    assert spent == pytest.approx(totals.cost_usd)
    used = of(fleet, "lipika_fleet_budget_used_ratio", provider="aistudio", limit="spend_total")
    assert of(fleet, "lipika_fleet_budget_used_ratio", provider="all", limit="spend_total") == 2 * used
    assert of(fleet, "lipika_fleet_spend_limit_dollars", provider="all", window="total") == 25.0
    assert (
        'lipika_fleet_spend_dollars{provider="all"' not in (await fleet_exposition(Stats(database))).decode()
    )
    assert used == pytest.approx(totals.cost_usd / 50)
    clips = sum(value for (name, _), value in fleet.items() if name == "lipika_corpus_clips")
    assert clips == counts.transcribed + counts.no_speech + counts.failed


async def test_no_port_serves_nothing_and_a_taken_one_is_explained(stage: Stage) -> None:
    async with stage.worker() as found:
        async with serving_metrics(view(found), "127.0.0.1", 0):
            pass
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(SettingsError, match=r"METRICS_PORT: 127\.0\.0\.1:\d+ cannot be had"):
                async with serving_metrics(view(found), "127.0.0.1", taken.getsockname()[1]):
                    pass


async def test_health_ends_when_the_worker_should_have_ended(stage: Stage) -> None:
    port = free_port()
    async with stage.worker(lease_seconds=1.0, heartbeat_seconds=0.3) as found:
        async with serving_metrics(view(found), "127.0.0.1", port):  # it never runs: nothing renews the lease

            async def is_ill() -> bool:
                return (await get(f"http://127.0.0.1:{port}/healthz"))[0] == 503

            await until(is_ill)


async def test_the_board_tells_of_the_fleet(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        answer = await visitor.get("/metrics")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert of(read(answer.data), "lipika_fleet_workers", state="live") == 0


# ---- names


@pytest.fixture
async def known(stage: Stage, database: Database) -> set[str]:
    """Every metric there is, by the name that a query uses."""
    await stage.queue(1, 4)
    await Budgets(database).set_limits("aistudio", Limits(1, 1, 1.0, 1.0, 1.0))
    change(
        stage.database_url,
        "insert into video_queue (video_id, source_key, output_key) values ('w', 'in', 'out')",
    )
    async with stage.worker() as found:
        bodies = [exposition(worker_metrics(view(found)))]
        bodies.append(await fleet_exposition(Stats(database)))
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for body in bodies
        for family in text_string_to_metric_families(body.decode())
    }
    return names | {f"{name}_bucket" for name in names if name.endswith("_seconds")}


def expressions() -> Iterator[str]:
    """Every PromQL expression in the rules and dashboards."""
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in json.loads((GRAFANA / "lipika-prometheus.json").read_text("utf-8"))["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


async def test_alerts_and_dashboards_name_metrics_that_exist(known: set[str]) -> None:
    used = {name for expression in expressions() for name in re.findall(r"\blipika_\w+", expression)}
    # Known once a video is done: there is no estimate before.
    late = {"lipika_queue_eta_seconds", "lipika_queue_clips_left", "lipika_queue_projected_dollars"}
    assert len(used) > 25
    assert used - known - late == set()


async def test_the_operations_page_names_metrics_that_exist(known: set[str]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    named = set(re.findall(r"\blipika_(?:fleet|queue|corpus|requests?|answers|spend|alignment)_\w+", page))
    late = {"lipika_queue_eta_seconds", "lipika_queue_clips_left", "lipika_queue_projected_dollars"}
    assert named
    assert named - known - late == set()


def test_every_alert_says_what_and_why() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "warn", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
    promtool = shutil.which("promtool")
    if promtool is not None:  # it checks more than we can; CI need not have it
        subprocess.run([promtool, "check", "rules", str(ALERTS)], check=True, capture_output=True)


def test_the_dashboards_are_those_that_the_script_makes() -> None:
    made: dict[Path, str] = runpy.run_path(str(ROOT / "scripts" / "make_grafana.py"))["dashboards"]()
    assert {path.name: path.read_text("utf-8") for path in GRAFANA.glob("*.json")} == {
        path.name: text for path, text in made.items()
    }
    for text in made.values():
        panels: list[dict[str, Any]] = json.loads(text)["panels"]
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        assert len(set(places)) == len(places)
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_the_sql_of_the_dashboard_runs(database_url: str) -> None:
    panels = json.loads((GRAFANA / "lipika-postgres.json").read_text("utf-8"))["panels"]
    queries = [target["rawSql"] for panel in panels for target in panel["targets"]]
    assert len(queries) == len(panels)
    with psycopg.connect(database_url) as connection:
        for query in queries:
            connection.execute(re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > now() - interval '1 day'", query))

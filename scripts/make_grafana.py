"""Write the Grafana dashboards in deploy/grafana: `python scripts/make_grafana.py`; `--check` only compares."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
_COLUMNS = 24
_HEIGHT = 8

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` are (legend, expression): PromQL, or SQL that gives the columns its form needs."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    form: str = "timeseries"  # timeseries, stat, table, bargauge
    width: int = 8


_SPENT = (
    'sum(lipika_fleet_spend_dollars{window="total"}) - sum(lipika_fleet_canary_spend_dollars{window="total"})'
)

PROMETHEUS = (
    Panel("Live workers", [("", 'sum(lipika_fleet_workers{state="live"})')], form="stat", width=4),
    Panel("Stale workers", [("", 'sum(lipika_fleet_workers{state="stale"})')], form="stat", width=4),
    Panel("Clips a minute", [("", "lipika_fleet_clips_per_minute")], form="stat", width=4),
    Panel("Ready in", [("", "lipika_queue_eta_seconds")], "s", "stat", 4),
    Panel("Spent, canaries apart", [("", _SPENT)], "currencyUSD", "stat", 4),
    Panel("In the end", [("", "lipika_queue_projected_dollars")], "currencyUSD", "stat", 4),
    Panel(
        "Requests a minute",
        [
            ("{{provider}}", "lipika_fleet_requests_per_minute"),
            ("{{provider}} limit", "lipika_fleet_requests_per_minute_limit"),
        ],
    ),
    Panel(
        "Prompt tokens a minute",
        [
            ("{{provider}}", "lipika_fleet_tokens_per_minute"),
            ("{{provider}} limit", "lipika_fleet_tokens_per_minute_limit"),
        ],
    ),
    Panel("Dollars a minute", [("{{provider}}", "lipika_fleet_dollars_per_minute")], "currencyUSD"),
    Panel(
        "Share of each limit in use",
        [("{{provider}} {{limit}}", "lipika_fleet_budget_used_ratio")],
        "percentunit",
    ),
    Panel(
        "Failed attempts a minute, by kind",
        [("{{kind}}", "sum by (kind) (rate(lipika_fleet_request_failures_total[5m])) * 60")],
    ),
    Panel("Latency", [("p{{quantile}}", "lipika_fleet_request_duration_seconds")], "s"),
    Panel("Requests in flight", [("{{provider}}", "lipika_fleet_requests_in_flight")]),
    Panel(
        "Share of prompt tokens from the cache",
        [("", "rate(lipika_fleet_cached_tokens_total[15m]) / rate(lipika_fleet_prompt_tokens_total[15m])")],
        "percentunit",
    ),
    Panel(
        "Dollars against caps",
        [
            ("{{provider}} {{window}}", "lipika_fleet_spend_dollars"),
            ("{{provider}} {{window}} cap", "lipika_fleet_spend_limit_dollars"),
        ],
        "currencyUSD",
    ),
    Panel("Videos", [("{{state}}", "lipika_queue_videos")]),
    Panel("Why videos failed", [("{{reason}}", "lipika_queue_failed_videos")], form="bargauge"),
    Panel("Clips left", [("", "lipika_queue_clips_left")]),
    Panel(
        "Audio in each lane", [("{{lane}}", "sum by (lane) (lipika_corpus_lane_seconds)")], "s", "bargauge"
    ),
    Panel(
        "Clips by language", [("{{language}}", "sum by (language) (lipika_corpus_clips)")], form="bargauge"
    ),
    Panel("Open flags", [("{{type}}", "sum by (type) (lipika_flags_open)")], form="bargauge"),
    Panel(
        "Each worker: answers a minute", [("{{instance}}", "rate(lipika_answers_total[5m]) * 60")], width=12
    ),
    Panel("Each worker: audio in memory", [("{{instance}}", "lipika_buffer_bytes")], "bytes", width=12),
)

_MINUTES = """
select minute as time, sum({column}) as "{name}"
from worker_minutes
where $__timeFilter(minute)
group by 1
order by 1
"""


def _minutes(column: str, name: str) -> str:
    return _MINUTES.format(column=column, name=name).strip()


_DAYS = """
select day::timestamptz as time, provider, cost_usd
from spend_by_day
where $__timeFilter(day)
order by 1
"""
_FINDINGS = """
select key as finding, substr(kind, 9) as severity, sum(clips) as clips
from clip_counts
where kind like 'finding:%'
group by 1, 2
having sum(clips) > 0
order by 3 desc
limit 30
"""
_ERRORS = """
select occurred_at, worker_id, video_id, exception_type, message
from worker_errors
order by id desc
limit 50
"""

POSTGRES = (
    Panel(
        "Live workers", [("", "select count(*) from fleet_live where state = 'live'")], form="stat", width=4
    ),
    Panel(
        "Stale workers", [("", "select count(*) from fleet_live where state = 'stale'")], form="stat", width=4
    ),
    Panel("Videos done", [("", "select sum(done) from queue_progress")], form="stat", width=4),
    Panel("Videos failed", [("", "select sum(failed) from queue_progress")], form="stat", width=4),
    Panel("Spent", [("", "select sum(usd) from provider_spend")], "currencyUSD", "stat", 4),
    Panel(
        "Open flags", [("", "select sum(flags) from flag_counts where not resolved")], form="stat", width=4
    ),
    Panel("Requests a minute", [("", _minutes("rpm", "requests"))]),
    Panel("Prompt tokens a minute", [("", _minutes("tpm", "tokens"))]),
    Panel("Dollars a minute", [("", _minutes("usd", "dollars"))], "currencyUSD"),
    Panel("Clips a minute", [("", _minutes("clips", "clips"))]),
    Panel("429s a minute", [("", _minutes("rate_limited", "429s"))]),
    Panel("Requests in flight", [("", _minutes("in_flight", "in flight"))]),
    Panel("Dollars by day", [("", _DAYS.strip())], "currencyUSD", width=12),
    Panel("The queue", [("", "select * from queue_progress")], form="table", width=12),
    Panel("Quality by language", [("", "select * from quality_by_language")], form="table", width=12),
    Panel("Findings", [("", _FINDINGS.strip())], form="table", width=12),
    Panel("Workers", [("", "select * from fleet_live limit 500")], form="table", width=24),
    Panel("Last errors", [("", _ERRORS.strip())], form="table", width=24),
)


def dashboard(uid: str, title: str, source: str, panels: Sequence[Panel]) -> Json:
    """A dashboard for one kind of data source, which is chosen when it is opened."""
    drawn, x, y = [], 0, 0
    for number, panel in enumerate(panels):
        height = 4 if panel.form == "stat" else _HEIGHT
        if x + panel.width > _COLUMNS:
            x, y = 0, y + (4 if panels[number - 1].form == "stat" else _HEIGHT)
        drawn.append(_panel(number + 1, panel, source, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    variable = {"name": "datasource", "label": "Source", "type": "datasource", "query": source}
    return {
        "uid": uid,
        "title": title,
        "tags": ["lipika"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [variable]},
        "panels": drawn,
    }


def _panel(number: int, panel: Panel, source: str, place: Json) -> Json:
    from_source = {"type": source, "uid": "${datasource}"}
    targets = [
        {"refId": chr(ord("A") + place), "datasource": from_source, **_target(panel, source, legend, query)}
        for place, (legend, query) in enumerate(panel.queries)
    ]
    options: Json = (
        {"reduceOptions": {"calcs": ["lastNotNull"]}} if panel.form in {"stat", "bargauge"} else {}
    )
    return {
        "id": number,
        "title": panel.title,
        "type": panel.form,
        "datasource": from_source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _target(panel: Panel, source: str, legend: str, query: str) -> Json:
    if source == "prometheus":
        return {"expr": query, "legendFormat": legend or panel.title, "instant": panel.form != "timeseries"}
    form = "time_series" if panel.form == "timeseries" else "table"
    return {"rawSql": query, "rawQuery": True, "editorMode": "code", "format": form}


def dashboards() -> dict[Path, str]:
    """Every file, by where it belongs."""
    made = {
        "lipika-prometheus.json": dashboard("lipika-prometheus", "lipika", "prometheus", PROMETHEUS),
        "lipika-postgres.json": dashboard("lipika-postgres", "lipika (Postgres)", "postgres", POSTGRES),
    }
    return {FOLDER / name: json.dumps(body, indent=1) + "\n" for name, body in made.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 when a file is out of step")
    check = parser.parse_args().check
    stale = [
        path for path, text in dashboards().items() if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in stale:
        print(f"{path.name}: {'out of step' if check else 'written'}")
        if not check:
            path.write_text(dashboards()[path], "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

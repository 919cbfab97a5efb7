"""`lipika budget` and `lipika status`, as a person and a script use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import psycopg
import pytest
from typer.testing import CliRunner

from command_kit import lipika as in_its_own_process
from fleet_kit import rows
from lipika.cli.main import app

Lipika = Callable[..., SimpleNamespace]


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "COLUMNS": "200"}


@pytest.fixture
def lipika(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Lipika:
    """The commands in this process; to start one takes longer than all that a command does."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> SimpleNamespace:
        done = CliRunner().invoke(app, arguments)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return run


def test_limits_are_set_one_at_a_time_and_shown(env: dict[str, str]) -> None:
    assert "none set" in in_its_own_process("budget", "show", env=env).stdout
    in_its_own_process("budget", "set", "aistudio", "--rpm", "18_000", "--usd-total", "90000", env=env)
    in_its_own_process("budget", "set", "aistudio", "--tpm", "5000000", "--usd-total", "none", env=env)
    shown = json.loads(in_its_own_process("budget", "show", "--json", env=env).stdout)
    (budget,) = shown["budgets"]
    assert (budget["requests_per_minute"], budget["tokens_per_minute"]) == (18_000, 5_000_000)
    assert budget["spend_total_usd"] is None
    assert "18,000" in in_its_own_process("budget", "show", env=env).stdout


def test_pause_says_why_and_resume_says_whether(lipika: Lipika) -> None:
    lipika("budget", "pause", "openrouter", "--reason", "invoice is late")
    assert "PAUSED: invoice is late" in lipika("budget", "show").stdout
    assert "is resumed" in lipika("budget", "resume", "openrouter").stdout
    assert "was not paused" in lipika("budget", "resume", "openrouter").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "vertex", "--rpm", "5"), "vertex"),
        (("set", "aistudio", "--rpm", "many"), "many"),
        (("set", "aistudio", "--rpm", "-5"), "at least 0"),
        (("set", "aistudio", "--usd-total", "inf"), "inf"),
        (("set", "aistudio", "--usd-total", "1,50"), "1.50"),
        (("set", "aistudio", "--usd-total", "1,2345"), "commas"),
        (("set", "aistudio", "--usd-total", "1e17"), "1,000,000,000"),
        (("set", "aistudio", "--rpm", "3000000000"), "2,147,483,647"),
        (("set", "aistudio", "--tpm", "99999999999999999999"), "9,223,372,036,854,775,807"),
        (("set", "aistudio"), "--rpm"),
        (("set", "all", "--rpm", "5"), "each provider has limits of its own"),
        (("set", "all", "--usd-total", "5", "--tpm", "5"), "--tpm"),
    ],
)
def test_wrong_limits_are_explained(
    arguments: tuple[str, ...], said: str, lipika: Lipika, database_url: str
) -> None:
    done = lipika("budget", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(database_url, "select * from provider_budgets") == []


def test_a_cap_over_all_providers_is_set_shown_and_told_where_it_is_below_what_is_spent(
    lipika: Lipika, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into provider_spend (provider, worker_id, day, usd, asked_at) select *, 0 from (values"
            " ('aistudio', 'w', (now() at time zone 'utc')::date, 7.0),"
            " ('openrouter', 'w/second-opinions', (now() at time zone 'utc')::date, 2.0),"
            " ('aistudio', 'v', (now() at time zone 'utc')::date - 1, 3.0),"
            " ('simulator', 's', (now() at time zone 'utc')::date, 100.0)) as spent"
        )
    assert "nothing more is sent" not in lipika("budget", "set", "all", "--usd-total", "50").stdout
    lowered = lipika("budget", "set", "all", "--usd-day", "8.5").stdout
    assert "all providers: $9.00 have been spent today, and the cap is $8.50: nothing more is sent" in lowered
    shown = json.loads(lipika("budget", "show", "--json").stdout)
    assert shown["spent_over_all"]["usd_total"] == 12.0
    assert shown["budgets"][0]["spend_total_usd"] == 50.0
    status = json.loads(lipika("status", "--json").stdout)["fleet"]
    assert [row["provider"] for row in status["providers"]] == [], "it is no provider, and sums leave it out"
    assert status["overall"]["used"] == {"spend_day": 9 / 8.5, "spend_total": 12 / 50}
    (line,) = [line for line in lipika("status").stdout.splitlines() if "$12.00 of $50.00" in line]
    assert line.split()[1] == "all"
    assert "paused: the bill" in lipika("budget", "pause", "all", "--reason", "the bill").stdout


def test_commas_group_thousands(lipika: Lipika) -> None:
    lipika("budget", "set", "aistudio", "--rpm", "18,000", "--usd-total", "90,000.50")
    (budget,) = json.loads(lipika("budget", "show", "--json").stdout)["budgets"]
    assert (budget["requests_per_minute"], budget["spend_total_usd"]) == (18_000, 90_000.5)


def test_status_of_an_empty_fleet(lipika: Lipika) -> None:
    found = json.loads(lipika("status", "--json").stdout)
    assert found["queue"]["pending"] == 0
    assert found["workers"] == found["errors"] == []
    text = lipika("status").stdout
    assert "none in the last hour" in text

"""Each group of commands loads the rooms and libraries it needs, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer

from lipika.cli.main import COMMANDS as LISTED
from lipika.cli.main import CommandsOnDemand, app, commands_of

HEAVY = {
    "aiohttp",
    "asyncio",
    "jinja2",
    "numpy",
    "obstore",
    "orjson",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "rich",
    "soundfile",
    "starlette",
    "structlog",
    "uvicorn",
}
"""Libraries that take time to load, and are told apart here."""

READS = {"asyncio", "orjson", "psycopg", "pydantic_settings", "rich"}
"""What it takes to ask the database and print a table."""

FLAT = {"config", "errors", "log", "machine", "models", "network", "redaction", "services"}
COMMANDS = {
    "--help": ({"cli", "errors", "machine", "redaction"}, set()),
    "status": ({"cli", "db", "fleet", "forecast", "meters", "wording", *FLAT}, READS),
    "workers": ({"cli", "db", "fleet", "forecast", "meters", "wording", *FLAT}, READS),
    "errors": ({"cli", "db", "fleet", "forecast", "meters", "wording", *FLAT}, READS),
    "flags": ({"cli", "db", *FLAT}, READS),
    "budget show": ({"cli", "db", "forecast", "wording", *FLAT}, READS),
    "queue list": ({"cli", "db", *FLAT}, READS),
    "queue status": ({"cli", "db", *FLAT}, READS),
    "db check": ({"cli", "db", *FLAT}, READS),
}
BOARD = {
    "answers",
    "archive",
    "cli",
    "dashboard",
    "db",
    "fleet",
    "forecast",
    "languages",
    "meters",
    "people",
    "storage",
    "validation",
    "wording",
}

ENDING = """
import atexit, json, sys
report = sys.stderr
atexit.register(lambda: print("LOADED", json.dumps(sorted(sys.modules)), file=report))
"""


def loaded_by(code: str, *words: str) -> tuple[set[str], set[str]]:
    """(rooms of lipika, heavy libraries) that a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING + code, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("LOADED "))
    names = json.loads(line.removeprefix("LOADED "))
    rooms = {name.split(".")[1] for name in names if name.startswith("lipika.")}
    return rooms, HEAVY & {name.split(".")[0] for name in names}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_loads_no_more_than_it_needs(
    words: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    code = "sys.argv[0] = 'lipika'\nfrom lipika.cli.main import main\nmain()"
    assert loaded_by(code, *words.split()) == COMMANDS[words]


def test_the_board_starts_without_numpy_engine_and_providers() -> None:
    rooms, libraries = loaded_by("import lipika.cli.dashboard, lipika.dashboard.serve")
    assert rooms <= BOARD | FLAT | {"llm"}, "of `llm` only what judges a stored answer, see the contract"
    assert libraries <= READS | {"jinja2", "obstore", "prometheus_client", "starlette", "uvicorn"}


def test_the_help_of_all_commands_says_what_each_of_them_says() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, CommandsOnDemand)
    context = typer.Context(group)
    for name, (module, told) in LISTED.items():
        assert group.get_command(context, name).get_short_help_str(1000) == told, name
        assert set(commands_of(module).commands) <= set(LISTED), (
            f"{module} holds a command that is not listed"
        )

"""Write the reference pages of docs/ from the code: `python scripts/make_docs.py`; `--check` only compares."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import AfterValidator
from typer.core import TyperGroup

from lipika.cli.main import app
from lipika.config import HttpUrl, PostgresUrl, Settings
from lipika.dataset.candidates import COLUMNS as CANDIDATE_COLUMNS
from lipika.dataset.selection import REASONS
from lipika.models import FAILURE_RULES
from lipika.simulator.__main__ import _parser as simulator_parser

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "<!-- Written by scripts/make_docs.py from {source}. Change that, then run it again. -->\n"
WIDTH = 80

Schema = Mapping[str, Any]


# ----------------------------------------------------------------------------- settings

SETTINGS_HEAD = """
# Settings

Every setting is an environment variable. `.env` in the working folder is read too; the environment wins over it, and
an option on the command line wins over both. [`.env.template`](../.env.template) is a `.env` with every default in
it. An empty value means "not set". A wrong value ends the command with a sentence that names the variable, the value
and what is allowed; the value of a secret is never shown.
"""

SETTINGS_TAIL = """
## Rules beyond a single value

- `LEASE_SECONDS` must be at least three times `HEARTBEAT_SECONDS`: otherwise the videos of a live worker would be
  taken from it.
- `PROVIDER=aistudio` needs `GEMINI_API_KEY`, `PROVIDER=openrouter` needs `OPENROUTER_API_KEY`;
  `PROVIDER=simulator` needs no key.
- `ENABLE_GPU_VALIDATION=true` needs `INDICCONFORMER_PATH`, or `INDICCONFORMER_REVISION` and `HF_TOKEN`; without
  them it is switched off with a warning, and the work goes on ([alignment.md](alignment.md)).
"""

_URL_KINDS = {
    get_args(HttpUrl)[1]: "an `http://` or `https://` URL",
    get_args(PostgresUrl)[1]: "a `postgresql://` URL; secret",
}


def settings_page() -> str:
    """All settings in the sections of `.env.template`: default, range, meaning."""
    properties: Mapping[str, Schema] = Settings.model_json_schema()["properties"]
    parts = [NOTICE.format(source="lipika.config.Settings"), SETTINGS_HEAD.lstrip()]
    for section, names in _sections():
        rows = [
            (f"`{name.upper()}`", _default(name), _range(name, properties[name]), _meaning(name))
            for name in names
        ]
        parts.append(f"## {section[:1].upper()}{section[1:]}\n")
        parts.append(_table(("variable", "default", "range", "meaning"), rows))
    return "\n".join([*parts, SETTINGS_TAIL.lstrip()])


def _sections() -> Iterator[tuple[str, list[str]]]:
    """(title, fields) in the order of `.env.template`, which names each setting once."""
    for block in (ROOT / ".env.template").read_text("utf-8").split("# ---- ")[1:]:
        yield (
            block.partition("\n")[0],
            [name.lower() for name in re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=", block)],
        )


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _range(name: str, schema: Schema) -> str:
    """What is allowed, in words."""
    for note in Settings.model_fields[name].metadata:
        if isinstance(note, AfterValidator):
            return _URL_KINDS[note]
    schema = next((kind for kind in schema.get("anyOf", ()) if kind["type"] != "null"), schema)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] in {"integer", "number"}:
        low = (
            f"over {schema['exclusiveMinimum']:g} and up"
            if "exclusiveMinimum" in schema
            else f"{schema['minimum']:g}"
        )
        whole = "whole number, " if schema["type"] == "integer" else ""
        return f"{whole}{low} to {_plain(schema['maximum'])}"
    if "pattern" in schema:
        return f"`{schema['pattern']}`"
    kinds = {"boolean": "`true`, `false`", "path": "a path", "password": "text; secret"}
    return kinds.get(schema.get("format", schema["type"]), "text")


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


def _meaning(name: str) -> str:
    return Settings.model_fields[name].description or ""


# ----------------------------------------------------------------------------- commands

CLI_HEAD = """
# Commands

Results go to stdout, progress and messages to stderr. Exit codes:

| code | meaning |
|---|---|
| 0 | everything is done; for checks: all is well |
| 1 | some video failed; for checks: something is not as it should be |
| 2 | something to change: an argument, a setting, a source |
| 3 | stopped early: the provider refuses, the database or a store is away |
| 4 | `run`: everything is done, and nothing is left of some video: all of its audio was discarded, or failed |
| 5 | `run`: it ended at a cap on dollars, its own (`--max-usd`) or one in all (`lipika budget`) |
| 130 | interrupted |

What a variable such as [OUTPUT_URL] in a help text means is told in [configuration.md](configuration.md).
"""

SIMULATOR_OPTIONS = """
Its options (`lipika simulator --help` lists them too); the port is 8700 unless `--port` names another:
"""


def commands() -> Iterator[tuple[str, typer.Context]]:
    """(words, context) of `lipika` and every command below it, in the order of the help."""
    command = typer.main.get_command(app)
    yield from _walk("lipika", typer.Context(command, info_name="lipika", terminal_width=WIDTH))


def _walk(words: str, context: typer.Context) -> Iterator[tuple[str, typer.Context]]:
    yield words, context
    if isinstance(context.command, TyperGroup):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is None:
                continue
            child = typer.Context(command, info_name=name, parent=context, terminal_width=WIDTH)
            yield from _walk(f"{words} {name}", child)


def cli_page() -> str:
    """The help of every command."""
    parts = [NOTICE.format(source="lipika.cli.main"), CLI_HEAD.lstrip()]
    for words, context in commands():
        parts.append(f"## {words}\n\n```text\n{_help(context)}\n```\n")
        if words == "lipika simulator":
            parts.append(f"{SIMULATOR_OPTIONS.lstrip()}\n{_simulator_options()}")
    return "\n".join(parts)


def _help(context: typer.Context) -> str:
    return "\n".join(line.rstrip() for line in context.get_help().rstrip().splitlines())


def _simulator_options() -> str:
    """As a table: argparse words its help differently in each version of Python."""
    actions = simulator_parser()._actions  # noqa: SLF001 - argparse offers no other way to list them
    rows = [
        (f"`{action.option_strings[-1]}`", _option_default(action), action.help or "")
        for action in actions
        if action.help != argparse.SUPPRESS and action.dest not in {"help", "port"}
    ]
    return _table(("option", "default", "meaning"), rows)


def _option_default(action: argparse.Action) -> str:
    value = action.default
    return "" if value is None or value is False or value == [] else f"`{value}`"


# ----------------------------------------------------------------------------- failures

_FAILURES = re.compile(r"(<!-- begin failures: .* -->\n).*?(<!-- end failures -->)", re.DOTALL)


def architecture_page() -> str:
    """The page as it is, with the table of failures as the code has it."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return _FAILURES.sub(lambda found: f"{found[1]}{_failures()}{found[2]}", page)


def _failures() -> str:
    head = (
        "kind",
        "what it is",
        "429",
        "an attempt",
        "the clip",
        "waits in vain if",
        "the provider",
        "the worker stops",
    )
    rows = [
        (
            f"`{rule.kind}`",
            rule.meaning,
            "yes" if rule.is_429 else "",
            "yes" if rule.counts else "no",
            str(rule.remedy),
            str(rule.in_vain),
            str(rule.effect),
            str(rule.stops),
        )
        for rule in FAILURE_RULES.values()
    ]
    return _table(head, rows)


_TO_DO = re.compile(r"(?m)^\| `(\w+)` \| .* \| (.*) \|$")


def runbook_page() -> str:
    """The page as it is, with what follows from each failure as the code has it; what to do stands in the page."""
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    return _FAILURES.sub(lambda found: f"{found[1]}{_consequences(found[0])}{found[2]}", page)


def _consequences(written: str) -> str:
    to_do = dict(_TO_DO.findall(written))
    head = ("kind", "the clip", "the provider", "the worker stops", "what to do")
    rows = [
        (f"`{rule.kind}`", str(rule.remedy), str(rule.effect), str(rule.stops), to_do.get(rule.kind, ""))
        for rule in FAILURE_RULES.values()
    ]
    return _table(head, rows)


# ----------------------------------------------------------------------------- files


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


# ----------------------------------------------------------------------------- columns of an export

_COLUMNS = re.compile(r"(<!-- begin columns: .* -->\n).*?(<!-- end columns -->)", re.DOTALL)


def datasets_page() -> str:
    """The page as it is, with the columns of candidates and the reasons to drop one as the code has them."""
    page = (ROOT / "docs" / "datasets.md").read_text("utf-8")
    columns = [(f"`{column.name}`", column.meaning) for column in CANDIDATE_COLUMNS]
    reasons = [(f"`{reason}`", meaning) for reason, meaning in REASONS.items()]
    told = f"{_table(('column', 'meaning'), columns)}\n{_table(('dropped as', 'because'), reasons)}"
    return _COLUMNS.sub(lambda found: f"{found[1]}{told}{found[2]}", page)


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": settings_page,
    "docs/cli.md": cli_page,
    "docs/architecture.md": architecture_page,
    "docs/runbook.md": runbook_page,
    "docs/datasets.md": datasets_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages; with `--check` say which are out of step instead, and return 1 if any is."""
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
    for name in stale:
        print(
            f"{name}: {'out of step; run python scripts/make_docs.py' if '--check' in arguments else 'written'}"
        )
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The documentation is held to the code: pages that are generated, links, commands, modules; and no loose ends."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from typer.core import TyperGroup

from lipika.cli.main import app
from lipika.simulator.__main__ import _parser as simulator_parser
from places import ROOT

FOLDERS = ("src", "tests", "docs", "scripts", "samples", "benchmarks", "deploy", "supabase", ".ci")
"""Where our files are in a copy without git, beside those at the root."""


@cache
def _files() -> tuple[Path, ...]:
    """Every text file of ours that is in git or about to be; in an unpacked source archive, all there are."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        paths = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    ours = (path for path in sorted(set(paths)) if "vendor" not in path.relative_to(ROOT).parts)
    return tuple(path for path in ours if path.is_file() and not _is_binary(path))


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(4096)


def _pages() -> list[Path]:
    return [path for path in _files() if path.suffix == ".md"]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^```.*?^```", "", text))


# ----------------------------------------------------------------------------- pages made from code


def test_the_reference_pages_are_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    make_docs = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))
    assert make_docs["main"](["--check"]) == 0, capsys.readouterr().out


def _rooms() -> list[str]:
    """As the page on architecture lists them, from the top."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.split("## Modules")[1].split("## Data")[0]
    first_cells = re.findall(r"(?m)^\| (`.+?) \|", table)
    return [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_architecture_names_every_room_and_no_other() -> None:
    package = ROOT / "src" / "lipika"
    there = {
        path.relative_to(package).parts[0].removesuffix(".py")
        for path in _files()
        if path.is_relative_to(package) and path.suffix == ".py"
    }
    named = _rooms()
    assert sorted(named) == sorted(there - {"__init__", "__main__"})


def test_the_architecture_has_the_order_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (flow,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["lipika"]
    )
    assert flow["exhaustive"]
    rungs = {name: rung for rung, names in enumerate(flow["layers"]) for name in names.split(" | ")}
    named = _rooms()
    assert [rungs[name] for name in named] == sorted(rungs[name] for name in named)


def test_few_modules_lie_outside_of_rooms() -> None:
    flat = [path.name for path in (ROOT / "src" / "lipika").glob("*.py") if not path.name.startswith("__")]
    assert len(flat) <= 12, flat


# ----------------------------------------------------------------------------- links, targets, commands


def _links() -> Iterator[tuple[Path, str]]:
    for page in _pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", target):
                yield page, target


@pytest.mark.parametrize(
    ("page", "target"), [pytest.param(*link, id=f"{_name(link[0])}-{link[1]}") for link in _links()]
)
def test_links_lead_somewhere(page: Path, target: str) -> None:
    name, _, anchor = unquote(target).partition("#")
    goal = (page.parent / name).resolve() if name else page
    assert goal.exists()
    if anchor:
        headings = re.findall(r"(?m)^#+ (.+)$", goal.read_text("utf-8"))
        assert anchor in {
            re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
        }


def _code(page: Path) -> Iterator[str]:
    """Lines of code blocks (fenced or indented) and the code within sentences."""
    text = page.read_text("utf-8")
    for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text):
        yield from block.splitlines()
    yield from re.findall(r"(?m)^ {4}(\S.*)$", text)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))


def test_make_targets_exist_and_the_readme_names_the_two_that_matter() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):", makefile))
    named = {page: set(re.findall(r"\bmake ([a-z]+)", "\n".join(_code(page)))) for page in _pages()}
    assert {"demo", "test"} <= named[ROOT / "README.md"]
    assert {_name(page): names - targets for page, names in named.items() if names - targets} == {}


def _command_lines() -> Iterator[tuple[str, str]]:
    """(page, line) of everything that is shown as a call of lipika."""
    for page in _pages():
        for line in _code(page):
            called = re.match(r"(?:\$ )?(?:[A-Z][A-Z0-9_]*=\S* )*(?:\S*/)?lipika(?= |$)(.*)", line.strip())
            if called:
                yield _name(page), called[1].strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(_command_lines())))
def test_command_lines_parse(page: str, line: str) -> None:
    _parse(shlex.split(line, comments=True))


def test_the_readme_shows_commands_and_a_wrong_one_would_be_noticed() -> None:
    assert {"run", "doctor"} <= {line.split()[0] for page, line in _command_lines() if page == "README.md"}
    for wrong in ("nosuch", "run x --bogus", "run x --limit none", "db nosuch", "simulator --bogus"):
        with pytest.raises((typer.TyperException, AssertionError, SystemExit)):
            _parse(wrong.split())


def _parse(words: list[str]) -> None:
    """Parse as the command line does, without running anything. A command may be named without its arguments."""
    named: tuple[str, ...] = ()
    while isinstance(_command(named), TyperGroup) and words and not words[0].startswith("-"):
        named, words = (*named, words[0]), words[1:]
    command = _command(named)
    words = [word for word in words if word != "--help"]
    if command.name == "simulator":
        simulator_parser().parse_args(words)
    elif words:
        command.make_context(command.name, words)


@cache
def _command(names: tuple[str, ...]) -> Any:
    """The command of these names, one below the other: made once, since hundreds of lines are parsed."""
    if not names:
        return typer.main.get_command(app)
    above = _command(names[:-1])
    found = above.get_command(typer.Context(above), names[-1])
    assert found is not None, f"there is no command {names[-1]}"
    return found


# ----------------------------------------------------------------------------- no loose ends

LOOSE_ENDS = {
    "unfinished work": r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b",
    # `sql.Placeholder` is psycopg's, `placeholder=` an attribute of HTML forms
    "a place that something should fill": r"(?i)(?<!sql\.)\bplace[h]olders?\b(?!=)",
    "a package registry": r"(?i)\b(pypi[.]org|pythonhosted[.]org|npmjs[.](org|com)|yarnpkg[.]com|crates[.]io"
    r"|proxy[.]golang[.]org|anaconda[.]org|rubygems[.]org)\b|--(extra-)?index-url",
}
ALLOWED = {
    # Its method: long texts are put aside and something short stands for them.
    ("a place that something should fill", "src/lipika/simulator/lifting.py"),
}


@pytest.mark.parametrize("what", LOOSE_ENDS)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(LOOSE_ENDS[what])
    found = [
        f"{_name(path)}:{number}: {line.strip()[:100]}"
        for path in _files()
        if (what, _name(path)) not in ALLOWED
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "stub"),
    [
        ("def f():\n    pass", True),
        ("def f():\n    '''Says something.'''\n    ...", True),
        ("async def f():\n    raise NotImplementedError('later')", True),
        ("class A(Protocol):\n    def f(self): ...", False),
        ("@abstractmethod\ndef f(self):\n    '''What it should do.'''\n    ...", False),
        ("@overload\ndef f(x: int) -> int: ...", False),
        ("def f():\n    with open(x):\n        pass", False),
        ("def f():\n    '''An empty body with a reason.'''\n    return", False),
    ],
)
def test_stubs_are_told_from_declarations(code: str, stub: bool) -> None:
    assert bool(list(_stubs(ast.parse(code)))) is stub


def test_no_function_is_a_stub() -> None:
    found = [
        f"{_name(path)}:{line}"
        for path in _files()
        if path.suffix == ".py"
        for line in _stubs(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def _stubs(tree: ast.AST) -> Iterator[int]:
    """Lines of functions that do nothing, unless they are declarations: of a protocol, abstract, or overloads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _does_nothing(node):
            yield node.lineno
        yield from _stubs(node)


def _does_nothing(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if any(re.search(r"\b(abstractmethod|overload)$", ast.unparse(mark)) for mark in function.decorator_list):
        return False
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return bool(body) and all(
        isinstance(step, ast.Pass)
        or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is ...)
        or (
            isinstance(step, ast.Raise)
            and step.exc is not None
            and "NotImplementedError" in ast.unparse(step.exc)
        )
        for step in body
    )

"""One thing, one name: whoever looks for a public class by name finds one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import lipika


def test_no_public_class_name_is_used_twice() -> None:
    root = Path(lipika.__file__).parent
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(root)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}

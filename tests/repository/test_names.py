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


NO_BEGINNING = {
    *("what", "who", "whose", "how", "where", "whether", "why", "when", "which"),
    *(
        "of",
        "by",
        "for",
        "in",
        "with",
        "about",
        "between",
        "until",
        "since",
        "after",
        "before",
        "under",
        "over",
    ),
}
IDIOMS = {"in_flight", "in_flight_of", "in_vain_alone"}
PARTICIPLES = {
    *(
        "told",
        "said",
        "kept",
        "held",
        "heard",
        "found",
        "sent",
        "made",
        "gone",
        "lost",
        "paid",
        "met",
        "spent",
    ),
    *("meant", "shown", "known", "taken", "seen", "done", "built", "given", "written", "left", "chosen"),
}


def is_verb_or_noun(name: str) -> bool:
    plain = name.strip("_")
    words = plain.split("_")
    alone = len(words) == 1 and (
        plain in PARTICIPLES or (plain.endswith("ed") and plain not in {"need", "feed"})
    )
    return plain in IDIOMS or not (words[0] in NO_BEGINNING or alone)


def test_functions_are_called_by_verbs_and_nouns() -> None:
    """No question, no preposition, no lone participle; a property says how something is, and may be one."""
    root = Path(lipika.__file__).parent
    odd = set()
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_verb_or_noun(node.name):
                continue
            shown_as = {ast.unparse(decorator) for decorator in node.decorator_list}
            if "property" not in shown_as:
                odd.add(f"{file.relative_to(root)}: {node.name}")
    assert odd == set()

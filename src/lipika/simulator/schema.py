"""A valid instance of a JSON schema (or of the older OpenAPI subset), with known fields filled in.

Understands what the Gemini API documents: type, enum, const, format, items, prefixItems, minItems, minimum,
maximum, anyOf/oneOf/allOf, properties, required, propertyOrdering, nullable, $ref/$defs. Other keywords are
ignored, as the API ignores them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from lipika.models import JsonObject

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "nobody@example.org",
    "uri": "https://example.org/",
}
_MAX_DEPTH = 12  # a schema may refer to itself


def instance(schema: JsonObject, known: Mapping[str, Json], rng: random.Random) -> Json:
    """Any valid instance. A property named in `known` takes that value where its type and enum allow it.

    Properties come in the order of `required` (the order in which Gemini emits them), then the others.
    """
    return _Maker(schema, known, rng).make(schema, 0)


class _Maker:
    def __init__(self, root: JsonObject, known: Mapping[str, Json], rng: random.Random):
        self._root = root
        self._known = known
        self._rng = rng

    def make(self, schema: JsonObject, depth: int) -> Json:
        schema = self._resolve_references(schema)
        if "const" in schema:
            return _json(schema["const"])
        if schema.get("enum"):
            return _json(self._rng.choice(list(schema["enum"])))
        kind = _type(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._rng.random() < 0.5
        return None if kind == "null" else _FORMATS.get(str(schema.get("format", "")), "text")

    def _resolve_references(self, schema: JsonObject) -> JsonObject:
        """The schema behind references and alternatives: the first alternative, all parts of `allOf`."""
        for _ in range(_MAX_DEPTH):
            if "$ref" in schema:
                schema = {**self._target(str(schema["$ref"])), **_without(schema, "$ref")}
                continue
            choices = schema.get("anyOf") or schema.get("oneOf")
            if choices:
                schema = {**_without(schema, "anyOf", "oneOf"), **choices[0]}
                continue
            parts = schema.get("allOf")
            if not parts:
                return schema
            merged = _without(schema, "allOf")
            for part in parts:
                merged = {**merged, **self._resolve_references(part)}
            schema = merged
        return {"type": "null"}

    def _target(self, reference: str) -> JsonObject:
        node: JsonObject = self._root
        for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            node = node.get(step) or {}
        return node

    def _object(self, schema: JsonObject, depth: int) -> Json:
        properties: Mapping[str, JsonObject] = schema.get("properties") or {}
        required: Sequence[str] = schema.get("propertyOrdering") or schema.get("required") or ()
        names = [name for name in required if name in properties]
        if depth < _MAX_DEPTH // 2:
            names += [name for name in properties if name not in names]
        return {name: self._property(name, properties[name], depth) for name in names}

    def _property(self, name: str, schema: JsonObject, depth: int) -> Json:
        if name in self._known:
            resolved = self._resolve_references(schema)
            value = self._known[name]
            choices = resolved.get("enum")
            if (value in choices) if choices else _fits(value, _type(resolved)):
                return value
        return self.make(schema, depth + 1)

    def _array(self, schema: JsonObject, depth: int) -> Json:
        items = [self.make(item, depth + 1) for item in schema.get("prefixItems") or ()]
        wanted = max(int(schema.get("minItems") or 0), 0 if items or depth > _MAX_DEPTH // 2 else 1)
        most = schema.get("maxItems")
        wanted = wanted if most is None else min(wanted, int(most))
        rest = schema.get("items")
        while isinstance(rest, Mapping) and len(items) < wanted:
            items.append(self.make(rest, depth + 1))
        return items

    def _number(self, schema: JsonObject, *, whole: bool) -> Json:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is None:
            low = 0 if high is None else min(0, high)
        if high is None:
            high = low + 10
        return self._rng.randint(int(-(-low // 1)), int(high // 1)) if whole else self._rng.uniform(low, high)


def _type(schema: JsonObject) -> str:
    """The schema's type in lower case; the first but null where there are several; guessed where missing."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind:
        return str(kind).lower()
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _fits(value: Json, kind: str) -> bool:
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    return isinstance(value, kinds.get(kind, ()))


def _without(schema: JsonObject, *names: str) -> dict[str, object]:
    return {key: value for key, value in schema.items() if key not in names}


def _json(value: object) -> Json:
    """A value that came out of parsed JSON."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    raise TypeError(f"{value!r} cannot come from JSON")

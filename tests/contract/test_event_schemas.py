"""The committed JSON Schemas are what the code speaks, and what was released stays readable."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from shared.events.export import SCHEMAS, breaks, drift, main, read_committed, schemas
from shared.events.topics import EVENT_TYPES
from tests.support.events import example

RELEASED = Path(__file__).parents[1] / "data" / "events" / "released"
Document = dict[str, Any]


def test_the_code_still_produces_the_committed_schemas() -> None:
    assert drift() == [], "if the change is compatible: python -m shared.events.export"
    assert len(schemas()) == 10


def test_a_schema_that_moved_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(schemas())
    for name, text in schemas().items():
        (tmp_path / name).write_text(text)
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_text("{}\n")
    assert drift(tmp_path) == [f"{names[0]} is not committed", f"{names[1]} is not what the code produces"]
    monkeypatch.setattr("sys.argv", ["export", "--check"])
    assert main() == 0
    monkeypatch.setattr("shared.events.export.read_committed", lambda _: read_committed(tmp_path))
    assert main() == 1


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_released_goes_with_what_is(path: Path) -> None:
    assert breaks(json.loads(path.read_text()), json.loads((SCHEMAS / path.name).read_text())) == []


def test_every_event_was_released_once() -> None:
    assert {path.name for path in RELEASED.glob("*.json")} <= set(read_committed())
    assert len(list(RELEASED.glob("*.json"))) == 10


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_what_is_sent_satisfies_its_schema(name: str) -> None:
    schema = json.loads(read_committed()[f"{name}.v1.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(json.loads(example(name).body()))
    assert not validator.is_valid({})


def with_field(name: str, spec: Document, *, required: bool) -> Callable[[Document], None]:
    def change(schema: Document) -> None:
        schema["properties"][name] = spec
        if required:
            schema["required"] = [*schema.get("required", []), name]

    return change


def _rename(schema: Document) -> None:
    work = schema["$defs"]["WorkBody"]
    work["properties"]["since"] = work["properties"].pop("from")
    work["required"] = ["portfolios", "since", "to"]


COMPATIBLE: dict[str, Callable[[Document], None]] = {
    "nothing": lambda _: None,
    "an optional field": with_field("note", {"type": "string", "default": ""}, required=False),
    "other words": lambda schema: schema.update(description="Said differently.", title="Other"),
    "a definition renamed": lambda schema: (
        schema["$defs"].__setitem__("Area", schema["$defs"].pop("WorkBody")),
        schema["properties"]["work"].__setitem__("$ref", "#/$defs/Area"),
    )[0],
}
BREAKING: dict[str, tuple[Callable[[Document], None], str]] = {
    "a new required field": (with_field("note", {"type": "string"}, required=True), "/note became required"),
    "a field removed": (
        lambda schema: schema["properties"].__delitem__("phase"),
        "/phase was removed",
    ),
    "a field renamed": (_rename, "/work/from was removed"),
    "a field of another type": (
        lambda schema: schema["$defs"]["WorkBody"]["properties"]["from"].update(type="integer"),
        "/work/from changed its type from 'string' to 'integer'",
    ),
    "a field of another format": (
        lambda schema: schema["$defs"]["WorkBody"]["properties"]["to"].update(format="date-time"),
        "/work/to changed its format",
    ),
    "elements of another format": (
        lambda schema: schema["$defs"]["WorkBody"]["properties"]["portfolios"]["items"].pop("format"),
        "/work/portfolios/* changed its format",
    ),
    "a tighter limit": (
        lambda schema: schema["$defs"]["WorkBody"]["properties"]["portfolios"].update(maxItems=10),
        "/work/portfolios changed its maxItems from 250 to 10",
    ),
    "a value gone": (
        lambda schema: schema["$defs"]["Phase"]["enum"].remove("risk"),
        "/phase changed its values: risk",
    ),
    "null no longer allowed": (
        lambda schema: schema["properties"].update(phase={"$ref": "#/$defs/Phase"}),
        "/phase may have other types than before",
    ),
    "an optional field made required": (
        lambda schema: schema.update(required=["work", "phase"]),
        "/phase became required",
    ),
    "a required field made optional": (lambda schema: schema.update(required=[]), "/work is no longer always there"),
    "unknown fields refused": (
        lambda schema: schema.update(additionalProperties=False),
        "the body no longer ignores unknown fields",
    ),
}


def _changed(change: Callable[[Document], None]) -> tuple[Document, Document]:
    old = json.loads(read_committed()["DateDue.v1.json"])
    new = copy.deepcopy(old)
    change(new)
    return old, new


@pytest.mark.parametrize("kind", COMPATIBLE)
def test_compatible_changes_pass(kind: str) -> None:
    assert breaks(*_changed(COMPATIBLE[kind])) == []


@pytest.mark.parametrize("kind", BREAKING)
def test_breaking_changes_are_named(kind: str) -> None:
    change, sentence = BREAKING[kind]
    found = breaks(*_changed(change))
    assert any(problem.startswith(sentence) for problem in found), found

"""Examples of the API's document fit the schemas they stand beside, and generators of clients find a name for everything."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from services.coordinator.api.examples import EXAMPLES

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
REGISTRY = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(DOCUMENT))


def shown(at: Any, path: str = "#") -> Iterator[tuple[str, Any]]:
    """(pointer of the schema, example) of the whole document: of schemas, of their fields, of bodies."""
    if isinstance(at, list):
        for index, item in enumerate(at):
            yield from shown(item, f"{path}/{index}")
    if not isinstance(at, dict):
        return
    own = "schema" in at and not path.endswith("/properties")
    examples = [at["example"]] if "example" in at else []
    if isinstance(at.get("examples"), list):
        examples += at["examples"]
    for example in examples:
        yield (f"{path}/schema" if own else path), example
    for key, value in at.items():
        if key not in {"example", "examples"}:
            yield from shown(value, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")


FOUND = list(shown(DOCUMENT))


def validator(pointer: str) -> OAS31Validator:
    return OAS31Validator({"$ref": f"urn:openapi{pointer}"}, registry=REGISTRY)


@pytest.mark.parametrize(("pointer", "example"), FOUND, ids=[pointer for pointer, _ in FOUND])
def test_an_example_fits_its_schema(pointer: str, example: Any) -> None:
    assert [error.message for error in validator(pointer).iter_errors(example)] == []


def test_every_example_is_found_and_a_wrong_one_is_noticed() -> None:
    pointers = {pointer for pointer, _ in FOUND}
    assert {f"#/components/schemas/{name}" for name in EXAMPLES} <= pointers
    assert len(FOUND) > 25
    wrong = EXAMPLES["Status"] | {"state": "done"}
    assert not validator("#/components/schemas/Status").is_valid(wrong)


def undeclared(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """Keys of an example, at any depth, that its schema does not know."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [list(undeclared(option, value, path)) for option in schema["anyOf"] if _is_of(option, value)]
        yield from min(found, key=len, default=())
    elif isinstance(value, dict):
        fields, free = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            if key not in fields and not isinstance(free, dict):
                yield f"{path}.{key}"
            else:
                yield from undeclared(fields.get(key, free), item, f"{path}.{key}")
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            yield from undeclared(schema["items"], item, f"{path}[]")


def _is_of(option: dict[str, Any], value: Any) -> bool:
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else None
    return kind is None or "$ref" in option or option.get("type") == kind


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_has_no_field_that_its_model_does_not_know(name: str) -> None:
    assert sorted(set(undeclared(DOCUMENT["components"]["schemas"][name], EXAMPLES[name], name))) == []


def test_no_field_of_an_answer_is_without_form() -> None:
    """A field that may be anything tells nobody what to read."""

    def formless(schema: Any) -> bool:
        if schema in ({}, True) or not {"type", "$ref", "anyOf", "allOf", "enum", "const"} & set(schema):
            return True
        parts = [*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("prefixItems", ())]
        if schema.get("type") == "array" and "prefixItems" not in schema:
            parts.append(schema.get("items", {}))
        if schema.get("type") == "object" and "properties" not in schema:
            parts.append(schema.get("additionalProperties", {}))
        return any(formless(part) for part in parts)

    found = [
        f"{name}.{field}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, stated in schema.get("properties", {}).items()
        if formless(stated)
    ]
    assert found == []
    assert formless({"type": "array", "items": {"additionalProperties": True, "type": "object"}})


def test_generators_find_a_name_for_each_operation_and_model() -> None:
    """Names that differ in their case alone, or that no language takes, are one file or none."""
    operations = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    assert len(operations) == sum(
        method in {"get", "put", "post", "patch", "delete"} for item in DOCUMENT["paths"].values() for method in item
    )
    for names in (operations, list(DOCUMENT["components"]["schemas"])):
        folded = Counter(re.sub(r"[^a-z0-9]", "", name.lower()) for name in names)
        assert [name for name, count in folded.items() if count > 1] == []
        assert [name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)] == []


def test_every_reference_leads_somewhere() -> None:
    def references(at: Any) -> Iterator[str]:
        if isinstance(at, dict):
            if isinstance(at.get("$ref"), str):
                yield at["$ref"]
            for value in at.values():
                yield from references(value)
        elif isinstance(at, list):
            for value in at:
                yield from references(value)

    found = set(references(DOCUMENT))
    assert len(found) > 50
    for reference in found:
        part: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            part = part[step.replace("~1", "/").replace("~0", "~")]

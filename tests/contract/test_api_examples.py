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


def test_an_example_says_every_field_that_its_model_requires_and_none_that_it_does_not_know() -> None:
    for name, example in EXAMPLES.items():
        assert set(example) <= set(DOCUMENT["components"]["schemas"][name]["properties"]), name


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

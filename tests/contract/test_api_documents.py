"""The documents of the interfaces: complete, current, and true of what is answered."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from deploy import acls, export_docs
from services.coordinator.api.problem_codes import CODES, KNOWN
from shared.db.roles import role_of
from shared.events.asyncapi import SENDS
from shared.events.coordinator import PhaseRequested
from shared.events.services import COMPLETION
from shared.events.topics import EVENT_TYPES, TOPIC_OF

ROOT = Path(__file__).parents[2]
COORDINATOR = ROOT / "services" / "coordinator"


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return dict(json.loads((ROOT / "docs" / "openapi.json").read_text()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_the_committed_documents_are_what_the_code_says() -> None:
    assert export_docs.drift() == []


def test_the_document_is_valid(openapi: dict[str, Any]) -> None:
    validate(openapi)


def test_every_operation_says_what_it_answers(openapi: dict[str, Any]) -> None:
    """A body has a model with fields, or is of another kind than JSON, or there is none."""
    for name, operation in operations(openapi):
        good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
        assert good, name
        for status, answer in good.items():
            content = answer.get("content", {})
            assert content or status == "204", name
            schema = content.get("application/json", {}).get("schema", {"$ref": "none"})
            assert schema != {}, name
            assert name.endswith("/asyncapi") or "$ref" in schema or "anyOf" in schema, (name, schema)


def test_every_refusal_is_a_problem_document(openapi: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in openapi["components"]["schemas"]
    for name, operation in operations(openapi):
        if " /api/" not in name:
            continue
        assert operation["security"] == [{"bearer": []}, {}], name
        for status in ("400", "401", "404", "421", "422", "500", "503"):
            assert operation["responses"][status] == {"$ref": f"#/components/responses/Problem{status}"}, name
    for status, answer in openapi["components"]["responses"].items():
        assert list(answer["content"]) == ["application/problem+json"], status
    assert openapi["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def raised_codes() -> set[str]:
    """Codes of refusals in the coordinator's source: of the classes, and those given where one is raised."""
    found = set()
    for path in COORDINATOR.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "code=" in text or path.name == "errors.py" else ():
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                if name in ("Invalid", "NotFound", "Conflict", "Contradictory", "NotAcceptable", "TooLarge", "problem"):
                    found |= {
                        keyword.value.value
                        for keyword in node.keywords
                        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
                    }
            if isinstance(node, ast.ClassDef) and path.name == "errors.py":
                found |= {
                    one.value.value
                    for one in node.body
                    if isinstance(one, ast.Assign)
                    and isinstance(one.targets[0], ast.Name)
                    and one.targets[0].id == "code"
                    and isinstance(one.value, ast.Constant)
                }
    return {str(code) for code in found}


def test_every_code_of_a_refusal_is_explained() -> None:
    codes = raised_codes()
    assert len(codes) > 15
    assert sorted(codes - KNOWN) == []
    assert len(KNOWN) == len(CODES)


@pytest.mark.parametrize("service", sorted(SENDS))
def test_a_service_says_what_it_sends_and_reads(service: str) -> None:
    document = json.loads((ROOT / "docs" / "asyncapi" / f"{service}.json").read_text())
    assert document["asyncapi"].startswith("3.")
    actions = {"send": set(), "receive": set()}  # type: dict[str, set[str]]
    for operation in document["operations"].values():
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        actions[operation["action"]].add(channel["address"])
        for message in operation["messages"]:
            # Every reference leads somewhere.
            part: Any = document
            for step in message["$ref"].removeprefix("#/").split("/"):
                part = part[step.replace("~1", "/")]
    assert actions["send"] == {TOPIC_OF[EVENT_TYPES[name]] for name in SENDS[service]}
    assert actions["receive"] <= set(TOPIC_OF.values())
    assert actions["receive"]


def test_each_event_is_sent_by_the_service_whose_code_names_it() -> None:
    """All ten, each by one, but `PhaseRequested`: a phase asks itself for what a run leaves. Completions and that are made in shared code,
    by phase, and have the phase's name there."""
    by_all = [PhaseRequested.name] * len(COMPLETION)
    assert sorted(name for sent in SENDS.values() for name in sent) == sorted([*EVENT_TYPES, *by_all])
    for phase, kind in COMPLETION.items():
        assert {kind.name, PhaseRequested.name} <= set(SENDS[phase.value])
    for service, sent in SENDS.items():
        named = set()
        for path in (ROOT / "services" / service).rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if "shared.events" in text else ():
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared.events."):
                    named |= {alias.name for alias in node.names} & set(EVENT_TYPES)
        assert named <= set(sent), service
        if service == "coordinator":
            assert named == set(sent)


@pytest.mark.parametrize("phase", [phase.value for phase in COMPLETION])
def test_what_a_phase_may_announce_its_relay_may_send(phase: str) -> None:
    """Row policies of the outbox, the broker's rights and the documents name the same topics."""
    schema = (ROOT / "shared" / "db" / "schema.sql").read_text()
    [policy] = re.findall(rf"CREATE POLICY own_topics\w* ON bus\.outbox [^;]*TO {role_of(phase)}\b[^;]*;", schema)
    assert sorted(re.findall(r"'(leadline\.[a-z-]+)'", policy)) == sorted(acls.SENDS[phase])

"""Messages of every version that was ever sent still parse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import UnreadableMessage
from shared.events.envelope import WorkEvent
from shared.events.topics import EVENT_TYPES
from shared.messaging.retry_middleware import parse_message
from tests.support.events import example

STORED = sorted((Path(__file__).parents[1] / "data" / "events" / "v1").glob("*.json"))


def _load(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    document = json.loads(path.read_text())
    return document["headers"], document["body"]


def test_all_ten_are_stored() -> None:
    assert {path.stem for path in STORED} == set(EVENT_TYPES)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_message_parses(path: Path) -> None:
    headers, body = _load(path)
    name, document = parse_message(headers, json.dumps(body).encode())
    assert name == path.stem
    assert EVENT_TYPES[name].model_validate(document) == example(name)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_fields_of_the_future_are_ignored(path: Path) -> None:
    headers, body = _load(path)
    body["priority"] = {"of": ["tomorrow", 1]}
    if "work" in body:
        body["work"]["region"] = "eu"
    name, document = parse_message({**headers, "ce_dataschema": "urn:new"}, json.dumps(body).encode())
    assert EVENT_TYPES[name].model_validate(document) == example(name)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_handlers_read_every_work_event_as_their_base(path: Path) -> None:
    """Handlers subscribe several topics with one type, `WorkEvent`; what they see must not depend on it."""
    _, body = _load(path)
    full = EVENT_TYPES[path.stem].model_validate(body)
    if not isinstance(full, WorkEvent):
        with pytest.raises(ValidationError):
            WorkEvent.model_validate(body)
        return
    base = WorkEvent.model_validate(body)
    assert (base.work, base.phase) == (full.work, full.phase)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_another_major_version_is_not_for_us(path: Path) -> None:
    headers, body = _load(path)
    with pytest.raises(UnreadableMessage) as caught:
        parse_message({**headers, "ce_type": headers["ce_type"].replace(".v1", ".v2")}, json.dumps(body).encode())
    assert caught.value.code == "unknown_version"

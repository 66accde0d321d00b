"""Headers, types and subjects of the ten events."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from pydantic import ValidationError

from shared.events.coordinator import DateDue, PhaseRequested, PortfolioDeleted
from shared.events.envelope import Envelope, WorkBody, major_of
from shared.events.services import COMPLETION
from shared.events.topics import EVENT_TYPES, TOPIC_OF, TOPICS
from shared.messaging.retry_middleware import parse_message
from shared.work import MAX_PORTFOLIOS, Phase, Work
from tests.support.events import example

NAMES = {
    "PortfolioCreated",
    "PortfolioChanged",
    "PortfolioDeleted",
    "DateDue",
    "PricesIngested",
    "PricesRestated",
    "FactorsComputed",
    "SnapshotsBuilt",
    "RiskComputed",
    "PhaseRequested",
}
P = UUID(int=7)


def test_there_are_the_contracts_ten_events_each_with_a_topic_of_its_own() -> None:
    assert set(EVENT_TYPES) == NAMES
    assert len(set(TOPICS)) == len(TOPICS) == 10
    assert {COMPLETION[phase].name for phase in Phase} == {
        "PricesIngested",
        "FactorsComputed",
        "SnapshotsBuilt",
        "RiskComputed",
    }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_event_survives_the_wire(name: str) -> None:
    event = example(name)
    kind = type(event)
    envelope = Envelope.new(event, source="coordinator", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    headers = envelope.headers()
    found, document = parse_message(headers, event.body().encode())
    assert found == name
    assert kind.model_validate(document) == event
    assert {key: headers[key] for key in ("ce_specversion", "ce_type", "ce_source", "content-type")} == {
        "ce_specversion": "1.0",
        "ce_type": f"leadline.{name}.v1",
        "ce_source": "/leadline/coordinator",
        "content-type": "application/json",
    }
    assert UUID(headers["ce_id"]) == envelope.id
    assert headers["ce_time"].endswith("Z")
    assert abs((datetime.fromisoformat(headers["ce_time"]) - datetime.now(UTC)).total_seconds()) < 60
    assert headers["ce_subject"] == event.subject()
    assert headers["traceparent"].startswith("00-aaaa")
    assert len(event.body()) < 65_536
    assert TOPIC_OF[kind].startswith("leadline.")


def test_a_first_event_correlates_with_itself_and_names_no_cause() -> None:
    headers = Envelope.new(PortfolioDeleted(portfolio_id=P), source="coordinator").headers()
    assert headers["correlation_id"] == headers["ce_id"]
    assert "causation_id" not in headers
    assert "traceparent" not in headers


def test_what_an_event_causes_is_traced_back_to_it() -> None:
    headers = Envelope.new(
        PortfolioDeleted(portfolio_id=P), source="risk", correlation_id="first", causation_id="last"
    ).headers()
    assert (headers["correlation_id"], headers["causation_id"]) == ("first", "last")
    assert headers["ce_id"] not in {"first", "last"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leadline.DateDue.v1", ("DateDue", 1)),
        ("leadline.DateDue.v12", ("DateDue", 12)),
        ("leadline.a.b.v2", ("a.b", 2)),
        ("leadline.DateDue", None),
        ("leadline.DateDue.v", None),
        ("leadline.DateDue.v1.5", None),
        ("leadline.DateDue.v-1", None),
        ("leadline.DateDue.v²", None),
        ("leadline.DateDue.v٣", None),
        ("leadline.DateDue.v1234567", None),
        ("leadline..v1", None),
        ("other.DateDue.v1", None),
        ("", None),
    ],
)
def test_the_type_header_is_taken_apart(text: str, expected: tuple[str, int] | None) -> None:
    assert major_of(text) == expected


def test_the_rectangle_of_a_body_is_the_work_it_was_made_of() -> None:
    work = Work((P, UUID(int=8)), date(2024, 1, 2), date(2024, 1, 5))
    body = WorkBody.of(work)
    assert body.rectangle() == work
    assert body.model_dump_json(by_alias=True) == (
        '{"portfolios":["00000000-0000-0000-0000-000000000007","00000000-0000-0000-0000-000000000008"],'
        '"from":"2024-01-02","to":"2024-01-05"}'
    )


@pytest.mark.parametrize(
    "work",
    [
        {"portfolios": [], "from": "2024-01-02", "to": "2024-01-02"},
        {"portfolios": [str(UUID(int=n)) for n in range(MAX_PORTFOLIOS + 1)], "from": "2024-01-02", "to": "2024-01-02"},
        {"portfolios": ["x"], "from": "2024-01-02", "to": "2024-01-02"},
        {"portfolios": [str(P)], "from": "2024-01-03", "to": "2024-01-02"},
        {"portfolios": [str(P)], "from": "2024-02-30", "to": "2024-03-02"},
        {"portfolios": [str(P)], "from": "2024-01-02"},
        "everything",
    ],
)
def test_work_that_is_none_is_refused(work: object) -> None:
    with pytest.raises(ValidationError):
        DateDue.model_validate({"work": work})


def test_the_largest_event_fits_into_the_outbox() -> None:
    """The outbox refuses payloads over 64 KB: no rectangle of ours may be that large."""
    work = WorkBody(portfolios=[UUID(int=n) for n in range(MAX_PORTFOLIOS)], first=date(1990, 1, 2), last=date.max)
    assert len(DateDue(work=work).body()) < 16_384


@pytest.mark.parametrize("phase", Phase)
def test_an_event_for_one_phase_concerns_no_other(phase: Phase) -> None:
    work = WorkBody(portfolios=[P], first=date(2024, 1, 2), last=date(2024, 1, 2))
    assert DateDue(work=work).concerns(phase)
    asked = PhaseRequested(work=work, phase=Phase.RISK)
    assert asked.concerns(phase) == (phase is Phase.RISK)

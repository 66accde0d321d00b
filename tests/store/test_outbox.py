"""The outbox and the dead letters as tables: nothing without a commit, nothing too large, nothing twice."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import SERVICES, role_of
from shared.errors import PermanentError
from shared.events.coordinator import DateDue, PhaseRequested, PortfolioDeleted
from shared.events.services import COMPLETION
from shared.events.topics import EVENT_TYPES, TOPIC_OF
from shared.messaging import dead_letters, outbox
from shared.work import MAX_PORTFOLIOS, Phase, UnitKey, Work
from tests.support.databases import act_as
from tests.support.events import example
from tests.support.ledger import SESSIONS

P = [UUID(int=n) for n in range(1, 5)]


async def rows(db: AsyncConnection) -> list[dict[str, object]]:
    found = await db.execute(text("SELECT * FROM bus.outbox ORDER BY id"))
    return [dict(row) for row in found.mappings()]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_announces(db: AsyncConnection, service: str) -> None:
    await act_as(db, service)
    # A phase's role sends its own completions; what the coordinator sends is everything.
    names = EVENT_TYPES if service == "coordinator" else [COMPLETION[Phase(service)].name, PhaseRequested.name]
    events = [example(name) for name in names]
    await outbox.publish(db, events, source=service)
    stored = await rows(db)
    assert len(stored) == len(names)
    for row, event in zip(stored, events, strict=True):
        headers = row["headers"]
        assert isinstance(headers, dict)
        assert row["topic"] == TOPIC_OF[type(event)]
        assert row["type"] == headers["ce_type"] == event.type_name()
        assert row["key"] == headers["ce_subject"] == event.subject()
        assert str(row["event_id"]) == headers["ce_id"]
        assert headers["ce_source"] == f"/leadline/{service}"
        assert type(event).model_validate_json(str(row["payload"])) == event
        assert (row["sent_at"], row["failed_at"]) == (None, None)
    assert len({row["event_id"] for row in stored}) == len(names)
    assert {row["written_by"] for row in stored} == {role_of(service)}


async def test_what_is_rolled_back_was_never_announced(db: AsyncConnection) -> None:
    savepoint = await db.begin_nested()
    await outbox.publish(db, [PortfolioDeleted(portfolio_id=P[0])], source="coordinator")
    await savepoint.rollback()
    await outbox.publish(db, [], source="coordinator")
    assert await rows(db) == []


async def test_an_event_remembers_what_caused_it(db: AsyncConnection) -> None:
    first, last = outbox.correlation.set("the first"), outbox.causation.set("the last")
    try:
        with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
            await outbox.publish(db, [PortfolioDeleted(portfolio_id=P[0])], source="coordinator")
    finally:
        outbox.correlation.reset(first)
        outbox.causation.reset(last)
    headers = (await rows(db))[0]["headers"]
    assert isinstance(headers, dict)
    assert (headers["correlation_id"], headers["causation_id"]) == ("the first", "the last")
    assert headers["traceparent"].split("-")[1] == f"{span.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("phase", Phase)
async def test_completions_are_announced_as_rectangles(db: AsyncConnection, phase: Phase) -> None:
    keys = {UnitKey(p, session) for p in P[:2] for session in SESSIONS[:4]} | {UnitKey(P[2], SESSIONS[6])}
    assert await outbox.publish_completions(db, phase, keys, SESSIONS) == 2
    told = [COMPLETION[phase].model_validate_json(str(row["payload"])) for row in await rows(db)]
    assert {
        UnitKey(p, session)
        for event in told
        for p in event.work.portfolios
        for session in SESSIONS
        if event.work.first <= session <= event.work.last
    } == keys


async def test_work_for_one_phase_says_which(db: AsyncConnection) -> None:
    keys = {UnitKey(P[0], SESSIONS[0])}
    await outbox.publish_work(db, PhaseRequested, keys, SESSIONS, source="coordinator", phase=Phase.RISK)
    await outbox.publish_work(db, DateDue, keys, SESSIONS, source="coordinator")
    asked, due = await rows(db)
    assert json.loads(str(asked["payload"]))["phase"] == "risk"
    assert json.loads(str(due["payload"]))["phase"] is None


async def test_what_a_run_leaves_to_the_next_is_within_the_limits_of_events(db: AsyncConnection) -> None:
    """Who reads several partitions takes more at once than one event names."""
    many = tuple(UUID(int=number) for number in range(1, 2 * MAX_PORTFOLIOS + 2))
    await outbox.publish_request(db, Phase.RISK, Work(many, SESSIONS[0], SESSIONS[1]))
    asked = [PhaseRequested.model_validate_json(str(row["payload"])).work for row in await rows(db)]
    assert [len(work.portfolios) for work in asked] == [MAX_PORTFOLIOS, MAX_PORTFOLIOS, 1]
    assert {portfolio for work in asked for portfolio in work.portfolios} == set(many)


async def test_a_payload_over_64_kb_is_refused_where_it_is_made(db: AsyncConnection) -> None:
    insert = text("""INSERT INTO bus.outbox (event_id, topic, type, payload)
                     VALUES (:id, 't', 't', repeat('x', :size))""")
    await db.execute(insert, {"id": uuid4(), "size": 65_536})
    with pytest.raises(IntegrityError, match="payload_is_small"):
        await db.execute(insert, {"id": uuid4(), "size": 65_537})


async def test_a_row_is_not_both_sent_and_failed(db: AsyncConnection) -> None:
    await outbox.publish(db, [PortfolioDeleted(portfolio_id=P[0])], source="coordinator")
    with pytest.raises(IntegrityError, match="sent_or_failed"):
        await db.execute(text("UPDATE bus.outbox SET sent_at = now(), failed_at = now()"))


# --- dead letters ----------------------------------------------------------------------------------------------------

HEADERS = {"ce_type": "leadline.DateDue.v1", "ce_id": "1"}


async def _record(db: AsyncConnection, *, offset: int = 5, body: bytes | None = b"{}", **changed: object) -> None:
    letter: dict[str, object] = {
        "consumer": "risk",
        "topic": "leadline.date-due",
        "partition": 0,
        "key": b"\xff\x00",
        "headers": HEADERS,
        "reason": "not_json",
        "error": "the body is not JSON",
    }
    await dead_letters.record(db, offset=offset, body=body, **(letter | changed))  # type: ignore[arg-type]


async def test_the_same_message_again_is_the_same_dead_letter(db: AsyncConnection) -> None:
    await act_as(db, "risk")
    await _record(db)
    await _record(db)
    await _record(db, offset=6)
    # A broker that lost its log numbers again from zero: another body at the same place is another message.
    await _record(db, body=b"{")
    assert [(letter.offset, letter.body) for letter in await dead_letters.page(db)] == [
        (5, b"{"),
        (6, b"{}"),
        (5, b"{}"),
    ]


@pytest.mark.parametrize(
    "value", ["plain", "nul \x00 inside", "back\\u0000slash", "\\", '"', "�", "😀", "\\\x00"], ids=ascii
)
async def test_any_header_and_error_can_be_kept(db: AsyncConnection, value: str) -> None:
    await _record(db, headers={"ce_type": value, value: "x"}, error=value * 3)
    letter = (await dead_letters.page(db))[0]
    kept = value.replace("\x00", "\\0")
    assert letter.headers == {"ce_type": kept, kept: "x"}
    assert letter.error == kept * 3
    assert letter.body == b"{}"


@pytest.mark.parametrize("body", [None, b"", bytes(range(256)), b"\x00", b"x" * 2_000_000], ids=lambda b: repr(b)[:12])
async def test_any_body_can_be_kept(db: AsyncConnection, body: bytes | None) -> None:
    await _record(db, body=body)
    # Of what could not be sent again anyway, the beginning.
    assert (await dead_letters.page(db))[0].body == (body and body[:65_537])


async def test_a_dead_letter_is_replayed_once_through_the_outbox(db: AsyncConnection) -> None:
    await _record(db, body='{"a": "ü"}'.encode())
    await act_as(db, "coordinator")
    letter = (await dead_letters.page(db))[0]
    assert await dead_letters.replay(db, letter.id)
    assert not await dead_letters.replay(db, letter.id)
    assert not await dead_letters.purge(db, letter.id)
    sent = (await rows(db))[0]
    assert len(await rows(db)) == 1
    assert (sent["topic"], sent["payload"], sent["type"]) == ("leadline.date-due", '{"a": "ü"}', HEADERS["ce_type"])
    assert sent["headers"] == HEADERS | {"replay_for": letter.consumer}
    assert await dead_letters.page(db) == []
    again = await dead_letters.get(db, letter.id)
    assert again is not None
    assert again.replayed_at is not None


@pytest.mark.parametrize("body", [None, b"", b"\xff", b"{\x00}", b"x" * 65_537], ids=lambda b: repr(b)[:12])
async def test_what_the_outbox_cannot_carry_is_not_replayed_as_something_else(
    db: AsyncConnection, body: bytes | None
) -> None:
    await _record(db, body=body)
    letter = (await dead_letters.page(db))[0]
    savepoint = await db.begin_nested()
    with pytest.raises(PermanentError, match="purge it") as caught:
        await dead_letters.replay(db, letter.id)
    await savepoint.rollback()
    assert caught.value.code == "not_replayable"
    assert await rows(db) == []
    assert [open_.id for open_ in await dead_letters.page(db)] == [letter.id]


async def test_purging_keeps_the_row_and_drops_the_body(db: AsyncConnection) -> None:
    await _record(db)
    letter = (await dead_letters.page(db))[0]
    assert await dead_letters.purge(db, letter.id)
    assert not await dead_letters.purge(db, letter.id)
    assert not await dead_letters.replay(db, letter.id)
    assert await dead_letters.page(db) == []
    kept = await dead_letters.get(db, letter.id)
    assert kept is not None
    assert (kept.body, kept.reason) == (None, "not_json")
    assert await dead_letters.get(db, letter.id + 1_000) is None
    assert not await dead_letters.replay(db, letter.id + 1_000)


async def test_dead_letters_are_paged_newest_first(db: AsyncConnection) -> None:
    for offset in range(5):
        await _record(db, offset=offset)
    first = await dead_letters.page(db, limit=2)
    second = await dead_letters.page(db, limit=2, before=first[-1].id)
    assert [letter.offset for letter in [*first, *second]] == [4, 3, 2, 1]


async def test_of_a_huge_message_the_beginning_is_kept_and_the_hash_of_all(db: AsyncConnection) -> None:
    """A record of 200 kB can unpack to 200 MB; the letter is for people to see what it was, and it cannot be sent again anyway."""
    body = b"x" * 1_000_000
    headers = {f"h{number}": "v" * 10_000 for number in range(5_000)} | HEADERS
    await _record(db, body=body, headers=headers)
    await _record(db, body=body, headers=headers)
    [letter] = await dead_letters.page(db)
    assert letter.body == body[:65_537]
    assert "1000000 bytes" in letter.error
    assert len(letter.headers) == 64
    assert {name: letter.headers[name] for name in HEADERS} == HEADERS
    assert max(map(len, letter.headers.values())) == 8_192
    assert await db.scalar(text("SELECT body_hash FROM bus.dead_letters")) == hashlib.sha256(body).hexdigest()
    with pytest.raises(PermanentError, match="too large"):
        await dead_letters.replay(db, letter.id)

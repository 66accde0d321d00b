"""What the guard does with every kind of bad message and failing handler, on a real broker and a real database."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.errors import TransientError
from shared.events.envelope import WorkEvent
from shared.messaging import dead_letters, retry_middleware
from shared.messaging.letter_bounds import bounded_body
from shared.messaging.retry_middleware import MAX_BODY_BYTES
from shared.phase.runner import PhaseRunner
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.toy import Wire, Worker

pytestmark = pytest.mark.kafka

GOOD_TYPE = ("ce_type", b"leadline.DateDue.v1")
GOOD_BODY = (
    b'{"work": {"portfolios": ["00000000-0000-0000-0000-000000000001"], "from": "2024-12-20", "to": "2024-12-20"}}'
)
Header = tuple[str, bytes | None]

# What is sent, and the reason it is set aside with.
MALFORMED: dict[str, tuple[bytes | None, list[Header], str]] = {
    "no headers": (GOOD_BODY, [], "no_type"),
    "truncated": (GOOD_BODY[:40], [GOOD_TYPE], "not_json"),
    "binary": (bytes(range(256)), [GOOD_TYPE], "not_json"),
    "tombstone": (None, [GOOD_TYPE], "empty_body"),
    "oversized": (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', [GOOD_TYPE], "oversized"),
    "list": (b"[1, 2]", [GOOD_TYPE], "not_an_object"),
    "unknown type": (GOOD_BODY, [("ce_type", b"leadline.Nonsense.v1")], "unknown_type"),
    "unknown version": (GOOD_BODY, [("ce_type", b"leadline.DateDue.v2")], "unknown_version"),
    "superscript version": (GOOD_BODY, [("ce_type", "leadline.DateDue.v²".encode())], "unknown_type"),
    "header not utf-8": (GOOD_BODY, [("ce_type", b"\xff\xfe\xfa")], "unknown_type"),
    "null header": (GOOD_BODY, [("ce_type", None)], "unknown_type"),
    "nul in a header": (GOOD_BODY, [("ce_type", b"lead\x00line")], "unknown_type"),
    "backslash in a header": (b"{", [GOOD_TYPE, ("note", b"\\u0000")], "not_json"),
    "nan": (GOOD_BODY[:-1] + b', "weight": NaN}', [GOOD_TYPE], "not_json"),
    "deep": (b'{"a":' * 100_000, [GOOD_TYPE], "not_json"),
    "work of another type": (b'{"work": "everything"}', [GOOD_TYPE], "invalid_body"),
    "no work": (b"{}", [GOOD_TYPE], "invalid_body"),
    "portfolios that are none": (GOOD_BODY.replace(b"0001", b"000x"), [GOOD_TYPE], "invalid_body"),
    "lone surrogate": (GOOD_BODY.replace(b"0001", b"\\ud800"), [GOOD_TYPE], "invalid_body"),
    "backwards": (GOOD_BODY.replace(b'"from": "2024-12-20"', b'"from": "2024-12-21"'), [GOOD_TYPE], "invalid_body"),
}
# Odd, but nothing that a handler needs is missing.
TOLERATED: dict[str, dict[str, bytes | None]] = {
    "an unrelated header that is not utf-8": {"note": b"\xff\xfe"},
    "an unrelated null header": {"note": None},
    "somebody wants an answer": {"reply_to": b"nowhere"},
    "a correlation id with a nul": {"correlation_id": b"a\x00b"},
    "a trace that is none": {"traceparent": b"00-zz-zz-01"},
}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_middleware, "FIRST_DELAY_SECONDS", 0.01)


async def results(admin: AsyncEngine) -> dict[UUID, list[int]]:
    """How often each session of each portfolio was written."""
    async with admin.connect() as conn:
        rows = await conn.execute(text("SELECT portfolio_id, times FROM ingest.toy ORDER BY portfolio_id, session"))
        found: dict[UUID, list[int]] = {}
        for portfolio, times in rows:
            found.setdefault(portfolio, []).append(times)
        return found


async def letters(admin: AsyncEngine) -> list[dead_letters.DeadLetter]:
    async with admin.connect() as conn:
        return sorted(await dead_letters.page(conn), key=lambda letter: letter.offset)


async def one(admin: AsyncEngine, statement: str) -> object:
    async with admin.connect() as conn:
        value: object = await conn.scalar(text(statement))
        return value


async def test_bad_messages_are_set_aside_and_good_ones_beside_them_processed(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    portfolios = await toy.prepare(admin, len(MALFORMED) + len(TOLERATED))
    expected: dict[int, tuple[str, bytes | None]] = {}
    good = iter(portfolios)
    for body, headers, reason in MALFORMED.values():
        expected[await wire.send(body, headers, key=b"\xff\x00")] = (reason, body)
        await wire.announce(next(good))
    for odd in TOLERATED.values():
        await wire.announce(next(good), headers=odd)

    async with toy.running(settings, Worker()) as service:
        end = await wire.drained()
        assert service.problems() == []

    assert end == 2 * len(MALFORMED) + len(TOLERATED)
    found = {letter.offset: (letter.reason, letter.body) for letter in await letters(admin)}
    assert {offset: reason for offset, (reason, _) in found.items()} == {o: r for o, (r, _) in expected.items()}
    for offset, (_, body) in expected.items():
        assert (found[offset][1] or None) == (bounded_body(body, "")[0] or None), "kept, as much as may be"
    assert await results(admin) == {portfolio: [1, 1] for portfolio in portfolios}
    assert await one(admin, "SELECT count(*) FROM ledger.units WHERE phase = 'ingest' AND completed_revision = 0") == 0
    first = (await letters(admin))[0]
    assert (first.consumer, first.topic, first.partition) == ("ingest", "leadline.date-due", 0)


async def test_a_dead_letter_that_was_mended_is_replayed_into_its_topic_and_for_nobody_else(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    [portfolio] = await toy.prepare(admin, 1)

    calls, handled = [], asyncio.Event()

    async def fails_once(event: WorkEvent, runner: PhaseRunner) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise ValueError("a bug, mended before the second time")
        await toy.run_event(event, runner)
        handled.set()

    async with toy.running(settings, Worker(), fails_once) as service:
        await wire.announce(portfolio)
        await wire.drained()
        [letter] = await letters(admin)
        async with admin.begin() as conn:
            await toy.replay(conn, letter.id)
        service.wake_relay()
        await asyncio.wait_for(handled.wait(), 40)
        # Replays of what another consumer of the topic could not handle: this one has done it, or has a letter of its own.
        await wire.announce(portfolio, headers={"replay_for": b"risk"})
        await wire.send(b"nonsense", [("replay_for", b"risk")])
        assert await wire.drained() == 4
    assert calls == [calls[0]] * 2
    assert await results(admin) == {portfolio: [1, 1]}
    assert await letters(admin) == []


async def test_a_transient_error_is_retried_until_it_succeeds(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    portfolios = await toy.prepare(admin, 2)
    errors = [TransientError("the vendor is down"), ConnectionResetError("the server restarts"), TimeoutError()]

    def fails_three_times(_: object) -> None:
        if errors:
            raise errors.pop(0)

    async with toy.running(settings, Worker(on_load=fails_three_times)):
        await wire.announce(portfolios[0])
        await wire.announce(portfolios[1])
        await wire.drained()
    assert errors == []
    assert await letters(admin) == []
    assert await results(admin) == {portfolio: [1, 1] for portfolio in portfolios}
    assert await one(admin, "SELECT max(runs) FROM ledger.schedule") == 0, "waiting is not failing"
    assert await one(admin, "SELECT count(*) FROM ledger.schedule WHERE lease_owner IS NOT NULL") == 0


async def test_when_the_budget_is_used_up_the_unit_stays_missing_and_the_partition_moves_on(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_middleware, "BUDGET_SECONDS", 0.2)
    down, up = await toy.prepare(admin, 2)

    def fails_for_one(batch: object) -> None:
        if down in getattr(batch, "portfolios", ()):
            raise TransientError("still down")

    async with toy.running(settings, Worker(on_load=fails_for_one)):
        await wire.announce(down)
        await wire.announce(up)
        await wire.drained()
    assert await results(admin) == {up: [1, 1]}
    assert await letters(admin) == []
    assert await one(admin, "SELECT count(*) FROM ledger.units WHERE phase = 'ingest' AND completed_revision = 0") == 2


async def test_a_permanent_error_of_a_handler_is_set_aside_once(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    poison, good = await toy.prepare(admin, 2)
    calls = []

    async def fails_for_one(event: WorkEvent, runner: PhaseRunner) -> None:
        calls.append(event.work.portfolios)
        if poison in event.work.portfolios:
            raise KeyError("a bug")
        await toy.run_event(event, runner)

    async with toy.running(settings, Worker(), fails_for_one):
        offset = await wire.announce(poison)
        await wire.announce(good)
        await wire.drained()
    assert calls == [[poison], [good]]
    assert [(letter.offset, letter.reason, letter.error) for letter in await letters(admin)] == [
        (offset, "handler_failed", "KeyError: 'a bug'")
    ]
    assert await results(admin) == {good: [1, 1]}


async def test_one_bad_portfolio_of_a_rectangle_fails_alone(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    portfolios = await toy.prepare(admin, 5)
    bad = portfolios[2]

    def fails_for_one(batch: object) -> None:
        if bad in getattr(batch, "portfolios", ()):
            raise ZeroDivisionError("no equity")

    async with toy.running(settings, Worker(on_load=fails_for_one)):
        await wire.announce(*portfolios)
        await wire.drained()
    assert await results(admin) == {portfolio: [1, 1] for portfolio in portfolios if portfolio != bad}
    assert await one(admin, "SELECT string_agg(last_error, '') FROM ledger.schedule WHERE runs = 1") == (
        "ZeroDivisionError: no equity"
    )
    assert await letters(admin) == [], "the message was fine; the unit is what failed, and the ledger knows"


async def test_a_dead_letter_waits_for_the_database(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    [portfolio] = await toy.prepare(admin, 1)
    record, attempts = dead_letters.record, []

    async def away_at_first(*args: object, **values: object) -> None:
        attempts.append(values)
        if len(attempts) < 4:
            raise ConnectionRefusedError("the database restarts")
        await record(*args, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letters, "record", away_at_first)
    async with toy.running(settings, Worker()):
        await wire.send(b"{", [GOOD_TYPE])
        await wire.announce(portfolio)
        await wire.drained()
    assert len(attempts) == 4
    assert [letter.reason for letter in await letters(admin)] == ["not_json"]
    assert await results(admin) == {portfolio: [1, 1]}


async def test_the_same_event_again_in_any_number_changes_nothing(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    portfolios = await toy.prepare(admin, 3)
    async with toy.running(settings, Worker()):
        for _ in range(4):
            for portfolio in portfolios[::-1]:
                await wire.announce(portfolio)
            await wire.announce(*portfolios)
        await wire.drained()
    assert await results(admin) == {portfolio: [1, 1] for portfolio in portfolios}
    announced = await one(
        admin, "SELECT sum(jsonb_array_length(payload::jsonb #> '{work,portfolios}')) FROM bus.outbox"
    )
    assert announced == len(portfolios), "each completion is announced once"


async def test_an_event_for_a_portfolio_that_is_gone_does_nothing(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    await toy.prepare(admin, 1)
    async with toy.running(settings, Worker()):
        await wire.announce(UUID(int=99))
        await wire.drained()
    assert await results(admin) == {}
    assert await letters(admin) == []


async def test_nothing_is_acknowledged_while_it_is_being_handled(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """The framework's default commits on a timer of five seconds, handled or not; whoever is killed then has lost the message."""
    [portfolio] = await toy.prepare(admin, 1)
    entered, proceed = asyncio.Event(), asyncio.Event()

    async def takes_its_time(event: WorkEvent, runner: PhaseRunner) -> None:
        entered.set()
        await proceed.wait()
        await toy.run_event(event, runner)

    async with toy.running(settings, Worker(), takes_its_time):
        await wire.announce(portfolio)
        await asyncio.wait_for(entered.wait(), 40)
        await asyncio.sleep(6.5)
        assert await wire.position() == (0, 1)
        proceed.set()
        await wire.drained()
    assert await results(admin) == {portfolio: [1, 1]}


@pytest.mark.parametrize("point", [pytest.param("H5", marks=pytest.mark.long), "H7"])
async def test_a_consumer_killed_before_it_acknowledges_gets_the_message_again(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, point: str
) -> None:
    """H5: results written, nothing committed. H7: committed, not acknowledged; what comes again finds nothing to do."""
    [portfolio] = await toy.prepare(admin, 1)
    await wire.announce(portfolio)
    await toy.killed(settings, point)
    assert await wire.position() == (0, 1), "it was not acknowledged"
    assert await results(admin) == ({} if point == "H5" else {portfolio: [1, 1]})
    await toy.forget_leases(admin)
    worker = Worker()
    async with toy.running(settings, worker):
        await wire.drained()
    assert await results(admin) == {portfolio: [1, 1]}
    assert len(worker.batches) == (1 if point == "H5" else 0)
    assert await one(admin, "SELECT count(*) FROM bus.outbox") == 1
    assert await letters(admin) == []


class _RawName(str):
    """A header's name that goes out as other bytes than its own. The client library encodes names strictly, too."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe" + super().encode()


async def test_a_record_whose_headers_name_is_no_utf_8_is_set_aside_and_holds_up_nobody(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    portfolios = await toy.prepare(admin, 4)
    await wire.announce(portfolios[0])
    with monkeypatch.context() as patch:
        # The builder in C would refuse such a name before it is sent.
        for module in (message_accumulator, producer):
            patch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
        bad = await wire.send(b"{}", [(_RawName("x"), b"1")])
        odd = await wire.announce(portfolios[1], headers={_RawName("y"): b"\xff"})
    await wire.announce(portfolios[2])
    async with toy.running(settings, Worker()) as service:
        assert await wire.drained() == 4
        await wire.announce(portfolios[3])
        assert await wire.drained() == 5
        assert service.problems() == []
    assert [(letter.offset, letter.body) for letter in await letters(admin)] == [(bad, b"{}")]
    assert odd == bad + 1, "beside a name that cannot be read the event itself can, and counts"
    assert await results(admin) == {portfolio: [1, 1] for portfolio in portfolios}

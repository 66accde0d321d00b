"""Thousands of symbols without a price are completed in parts: nobody waits long for the commit-order lock, and nothing is lost."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.workflow import complete, quality
from shared.db.engine import acquire_commit_order_lock
from shared.ledger import completion
from tests.store.ingest.conftest import DAYS, LAST, Ingest

FIRST = DAYS.back(LAST, 9)
UNKNOWN = ("U1", "U2", "U3")


@pytest.fixture(autouse=True)
def six_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of three lots that have no price."""
    monkeypatch.setattr(complete, "MAX_SHORT", 6)
    monkeypatch.setattr(complete, "MAX_AT_ONCE", 6)


async def transactions(ingest: Ingest, portfolio: UUID) -> list[int]:
    """How many units each transaction has completed."""
    rows = await ingest.rows(
        "SELECT count(*) AS units FROM ledger.units WHERE portfolio_id = :id AND phase = 'ingest'"
        " AND completed_revision >= required_revision GROUP BY xmin ORDER BY min(session)",
        id=portfolio,
    )
    return [row.units for row in rows]


async def test_so_many_reasons_are_written_at_once_and_no_more(ingest: Ingest) -> None:
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    assert await transactions(ingest, portfolio) == [2] * 5
    units = (await ingest.units(portfolio)).values()
    assert {unit.coverage for unit in units} == {0.0}
    assert {tuple(each["symbol"] for each in unit.reasons) for unit in units} == {UNKNOWN}


async def test_what_has_prices_is_completed_at_once_however_much_it_is(ingest: Ingest) -> None:
    ingest.market.quote("P1", "P2", "P3")
    portfolio = await ingest.portfolio(("P1", FIRST), ("P2", FIRST), ("P3", FIRST))
    [done] = await ingest.run(portfolio)
    assert len(done.keys) == 10, "and whoever asked is told of all of it"
    assert await transactions(ingest, portfolio) == [10]


async def test_what_is_known_already_is_completed_in_parts_too(ingest: Ingest) -> None:
    await ingest.run(await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN)))
    second = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    [done] = await ingest.run(second)
    assert len(done.keys) == 10
    assert await transactions(ingest, second) == [2] * 5


async def test_what_a_part_completed_is_sent_before_the_next(ingest: Ingest) -> None:
    await ingest.run(await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN)))
    ingest.woken.clear()
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    await ingest.run(portfolio)
    parts = len(await transactions(ingest, portfolio))
    assert parts == 5
    assert len(ingest.woken) >= parts, "the other services begin with what they may, beside what is completed next"


async def test_a_death_between_two_parts_loses_nothing(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    commits = iter(range(100))

    def dies_at_the_third(name: str) -> None:
        if name == "phase.before_commit" and next(commits) == 2:
            raise RuntimeError("the process is gone")

    monkeypatch.setattr(complete, "failpoint", dies_at_the_third)
    with pytest.raises(RuntimeError):
        await ingest.run(portfolio)
    assert await transactions(ingest, portfolio) == [2, 2]
    assert len(await ingest.missing(portfolio)) == 6
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    events = await ingest.rows(
        "SELECT CAST(payload AS text) AS body FROM bus.outbox WHERE type = 'leadline.PricesIngested.v1'"
    )
    assert len(events) == 5, "each part says so, and each once"


@pytest.mark.parametrize(("most", "parts"), [(6, 5), (30, 1)])
async def test_what_units_say_is_worked_out_and_encoded_before_the_lock(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, most: int, parts: int
) -> None:
    monkeypatch.setattr(complete, "MAX_SHORT", most)
    ingest.market.quote("P1")
    await ingest.run(await ingest.portfolio(("P1", FIRST)))  # proxies are known: the write is one transaction
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    steps: list[str] = []

    def note(module: object, name: str, step: str) -> None:
        original = getattr(module, name)

        def noted(*given: object) -> object:
            steps.append(step)
            return original(*given)

        monkeypatch.setattr(module, name, noted)

    note(quality, "_outcomes", "work")
    note(completion, "_encode_once", "encode")
    note(complete, "acquire_commit_order_lock", "lock")
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    assert steps == ["work", "encode", "lock"] * parts


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE ingest.gaps SET reason = 'delisted' WHERE symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = 'U2')",
         (0.25, ["not_found", "delisted", "not_found"])),
        ("UPDATE coordinator.positions SET entry_price = 500 WHERE symbol = 'P1'",
         (0.625, ["not_found", "not_found", "not_found"])),
    ],
)  # fmt: skip
async def test_what_changed_before_the_lock_is_worked_out_again_behind_it(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, statement: str, said: tuple[float, list[str]]
) -> None:
    ingest.market.quote("P1")
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in (*UNKNOWN, "P1")))
    lock = acquire_commit_order_lock
    waiting = [statement]

    async def change_first(conn: AsyncConnection) -> None:
        while waiting:
            async with ingest.admin.begin() as other:
                await lock(other)
                assert (await other.execute(text(waiting.pop()))).rowcount == 1
        await lock(conn)

    monkeypatch.setattr(complete, "acquire_commit_order_lock", change_first)
    await ingest.run(portfolio)
    units = await ingest.units(portfolio)
    assert {(unit.coverage, *(each["reason"] for each in unit.reasons)) for unit in units.values()} == {
        (said[0], *said[1])
    }


async def test_what_brings_no_prices_asks_for_nothing_about_them_behind_the_lock(ingest: Ingest) -> None:
    """Of fourteen statements a write of unknown symbols behind the lock, five were for rows that it does not have."""
    ingest.market.quote("P1")
    await ingest.run(await ingest.portfolio(("P1", FIRST)))  # and of the proxies, which have prices
    portfolio = await ingest.portfolio(*((symbol, FIRST) for symbol in UNKNOWN))
    statements: list[str] = []
    engine = ingest.worker._engine.sync_engine

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", note)
    await ingest.run(portfolio)
    [write] = [at for at, statement in enumerate(statements) if statement.startswith("INSERT INTO ingest.gaps")]
    begun = max(at for at in range(write) if "order_lock" in statements[at])
    ended = min(at for at in range(write, len(statements)) if "order_lock" in statements[at])
    behind = statements[begun + 1 : ended]
    assert "UPDATE ingest.symbols" in " ".join(behind)
    assert [statement for statement in behind if "staged" in statement or "symbol_profiles" in statement] == []
    assert "leadline.ordered" not in " ".join(behind)

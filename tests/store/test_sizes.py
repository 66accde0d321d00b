"""How large portfolios are: the numbers that work is cut by, against counting the lots one at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import sizes
from shared.market.calendar import calendar
from shared.phase import batches
from shared.work import MAX_ROWS, MissingUnit, Phase, Size, cut, group_units, rows_per_session
from tests.support.plans import plan_of, sent

SESSION = date(2020, 12, 30)
PORTFOLIOS = [UUID(int=number) for number in range(1, 9)]
SYMBOLS = [f"Z{number}" for number in range(12)]
# Prices of the others are too old, too new, or there are none.
PRICED = dict.fromkeys(SYMBOLS[:6], SESSION) | {
    "Z6": SESSION - timedelta(days=400), "Z7": SESSION - timedelta(days=401), "Z8": SESSION + timedelta(days=1),
}  # fmt: skip


async def fill(db: AsyncConnection) -> dict[UUID, list[tuple[str, str | None]]]:
    """Portfolios of shares and options, some of a symbol twice; answers their living lots as (symbol, underlying of an option)."""
    for symbol in SYMBOLS[:9]:
        symbol_id = await db.scalar(
            text("INSERT INTO ingest.symbols (symbol) VALUES (:symbol) RETURNING id"), {"symbol": symbol}
        )
        await db.execute(
            text("""INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
                    VALUES (:id, :day, 10, 'as_traded', 'file', now(), 1)"""),
            {"id": symbol_id, "day": PRICED[symbol]},
        )
    draw = random.Random(5)
    held: dict[UUID, list[tuple[str, str | None]]] = {}
    for portfolio in PORTFOLIOS:
        await db.execute(
            text(
                "INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance) VALUES (:id, 'p', 'taxable', 1)"
            ),
            {"id": portfolio},
        )
        lots = [(draw.choice(SYMBOLS), draw.choice([None, None, "Z1", "Z11"])) for _ in range(draw.randint(1, 15))]
        for number, (symbol, underlying) in enumerate(lots):
            await db.execute(
                text("""INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                            investment_class, underlying_symbol, stated_quantity, stated_entry_price, deleted_at)
                        VALUES (:id, :symbol, 1, :day, :day, 1, :kind, :underlying, 1, 1,
                                CASE WHEN CAST(:gone AS boolean) THEN now() END)"""),
                {"id": portfolio, "symbol": symbol, "day": SESSION, "kind": "OPTIONS" if underlying else "PUBLIC",
                 "underlying": underlying, "gone": number == 3},
            )  # fmt: skip
        held[portfolio] = [lot for number, lot in enumerate(lots) if number != 3]
    return held


@pytest.mark.parametrize("phase", [Phase.RISK, Phase.SNAPSHOTS])
async def test_sizes_are_those_of_the_lots(db: AsyncConnection, phase: Phase) -> None:
    held = await fill(db)
    found = await sizes.read(db, phase, PORTFOLIOS, SESSION, SESSION)

    rows = await db.execute(text("SELECT s, hashtext(s) FROM unnest(CAST(:symbols AS text[])) s"), {"symbols": SYMBOLS})
    hashes = {row.s: row.hashtext for row in rows}
    near = {symbol for symbol, day in PRICED.items() if SESSION - timedelta(days=400) <= day <= SESSION}
    expected = {}
    for portfolio, lots in held.items():
        symbols = {underlying or symbol for symbol, underlying in lots}
        priced = len(symbols & near) if phase is Phase.RISK else 0
        if lots:
            expected[portfolio] = Size(len(lots), frozenset(hashes[symbol] for symbol in symbols), priced)
    assert found == expected
    assert {size.priced for size in found.values()} != {0} or phase is not Phase.RISK


async def test_prices_are_looked_for_once_a_symbol(db: AsyncConnection) -> None:
    """Whoever holds it: how often is counted by the database."""
    held = await fill(db)
    with sent(db) as asked:
        await sizes.read(db, Phase.RISK, PORTFOLIOS, SESSION, SESSION)
    # Looks are counted, so by nested loops, over what is there now, whatever the statistics of the day would choose.
    await db.exec_driver_sql("ANALYZE coordinator.positions, ingest.symbols, ingest.prices")
    for other_way in ("seqscan", "hashjoin", "mergejoin"):
        await db.exec_driver_sql(f"SET LOCAL enable_{other_way} = off")
    looked = max(loops(await plan_of(db, asked)))
    pairs = sum(len({underlying or symbol for symbol, underlying in lots}) for lots in held.values())
    assert 0 < looked <= len(SYMBOLS) < pairs


@pytest.mark.parametrize(("most", "looks"), [(10**6, [False]), (10, [False, True])])
async def test_prices_are_looked_for_only_where_a_batch_might_not_fit(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch, most: int, looks: list[bool]
) -> None:
    """And what is cut is the same: the bound says of all that they fit, or is not gone by."""
    await fill(db)
    units = [MissingUnit(portfolio, SESSION, 1) for portfolio in PORTFOLIOS]
    exact = rows_per_session(Phase.RISK, await sizes.read(db, Phase.RISK, PORTFOLIOS, SESSION, SESSION))
    monkeypatch.setattr(batches, "MAX_ROWS", {**MAX_ROWS, Phase.RISK: most})
    with sent(db) as asked:
        found = await batches.next_batch(db, Phase.RISK, group_units(units), calendar(), (), 0)
    looked = [value for _, parameters in asked for value in parameters if isinstance(value, bool)]
    assert looked == looks
    assert found is not None
    assert found[0] == cut(group_units(units), [SESSION], rows=exact, max_rows=most)[0]
    assert found[1] >= exact(found[0].portfolios) / most


def loops(node: dict[str, Any]) -> Iterator[int]:
    """How often each part of the plan that looks for prices was run."""
    if str(node.get("Relation Name", "")).startswith("prices"):
        yield int(node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from loops(child)


@pytest.mark.parametrize(
    ("phase", "held_by", "sessions"), [(Phase.FACTORS, 1, 4), (Phase.FACTORS, 2, 10), (Phase.RISK, 1, 10)]
)
async def test_risk_begins_before_all_facts_of_a_long_history_are_there(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch, phase: Phase, held_by: int, sessions: int
) -> None:
    await fill(db)
    monkeypatch.setattr(batches, "FACTS_AT_A_TIME", 4)
    days = calendar().between(calendar().back(SESSION, 9), SESSION)
    units = [MissingUnit(portfolio, day, 1) for portfolio in PORTFOLIOS[:held_by] for day in days]
    found = await batches.next_batch(db, phase, group_units(units), calendar(), (), 0)
    assert found is not None
    assert (list(found[0].sessions), len(found[0].portfolios)) == (days[:sessions], held_by)

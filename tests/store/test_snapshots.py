"""The snapshots worker on a real database: what is loaded, what is stored, and that the chain goes on from the rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import pyxirr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk.store.inputs import return_histories
from services.snapshots.compute import ChainBroken
from services.snapshots.workflow import SnapshotsWorker
from shared.db.bulk import copy
from shared.ledger import Completed
from shared.market.calendar import calendar
from shared.work import Batch, UnitKey
from tests.support.databases import act_as

SESSIONS = calendar().between(date(2019, 11, 4), date(2020, 2, 14))
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")


async def market(conn: AsyncConnection, sessions: Sequence[date], symbols: Sequence[str] = SYMBOLS) -> None:
    """Prices for `symbols` but the last one, which is not found; AAA splits and pays, BBB has a hole, CCC only adjusted closes."""
    chance = random.Random(7)
    ids = {
        row.symbol: row.id
        for row in await conn.execute(
            text("INSERT INTO ingest.symbols (symbol) SELECT unnest(CAST(:symbols AS text[])) RETURNING id, symbol"),
            {"symbols": list(symbols)},
        )
    }
    now = datetime(2020, 6, 1, tzinfo=UTC)
    rows = []
    for symbol in symbols[:-1]:
        for place, session in enumerate(sessions):
            if symbol == "BBB" and 20 <= place < 28:
                continue
            close = None if symbol == "CCC" else round(chance.uniform(20, 200), 2)
            rows.append((ids[symbol], session, close, round(chance.uniform(20, 200), 6), "as_traded", "file", now, 1))
    columns = ("symbol_id", "session", "close", "adj_close", "basis", "provider", "fetched_at", "change")
    await copy(conn, "prices", columns, rows, schema="ingest")
    await conn.execute(
        text("""
            INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
            SELECT :symbol, d, t, v, d, 'file', now(), 1 FROM unnest(CAST(:days AS date[]), CAST(:types AS text[]),
                CAST(:values AS float8[])) AS a (d, t, v)
        """),
        {
            "symbol": ids[symbols[0]],
            "days": [sessions[10], sessions[30], sessions[31]],
            "types": ["split", "dividend", "split"],
            "values": [4.0, 0.82, 0.125],
        },
    )
    await conn.execute(
        text("""
            INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
            VALUES (:missing, '1990-01-02', '2030-01-02', 'not_found', true, 'file', now()),
                   (:halted, :from, :to, 'no_trade', true, 'file', now())
        """),
        {"missing": ids[symbols[-1]], "halted": ids[symbols[1]], "from": sessions[20], "to": sessions[27]},
    )


async def portfolio(
    conn: AsyncConnection, lots: Sequence[tuple[Any, ...]], flows: Sequence[tuple[date, float]] = ()
) -> UUID:
    """lots : (symbol, quantity, entry date, entry price, exit date, exit price, class)."""
    days = calendar()
    identity = uuid4()
    await conn.execute(
        text("""
            INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
            VALUES (:id, 'p', 'taxable', 100000, :first)
        """),
        {"id": identity, "first": min(days.on_or_after(lot[2]) for lot in lots)},
    )
    for symbol, quantity, entry, price, out, out_price, investment_class in lots:
        await conn.execute(
            text("""
                INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price, exit_date,
                    exit_session, exit_price, investment_class, stated_quantity, stated_entry_price)
                VALUES (:portfolio, :symbol, :quantity, :entry, :entry_session, :price, :out, :out_session, :out_price, :class,
                    :quantity, :price)
            """),
            {
                "portfolio": identity, "symbol": symbol, "quantity": quantity, "entry": entry, "price": price, "out": out,
                "entry_session": days.on_or_after(entry), "out_session": out and days.on_or_after(out), "out_price": out_price,
                "class": investment_class,
            },
        )  # fmt: skip
    for day, amount in flows:
        await conn.execute(
            text(
                "INSERT INTO coordinator.flows (portfolio_id, date, session, amount) VALUES (:p, :day, :session, :amount)"
            ),
            {"p": identity, "day": day, "session": days.on_or_after(day), "amount": amount},
        )
    return identity


async def everything(conn: AsyncConnection, sessions: Sequence[date] = SESSIONS) -> list[UUID]:
    """A market and two portfolios of all kinds of lots."""
    await market(conn, sessions)
    weekend = date(2019, 12, 28)
    one = [
        ("AAA", 100, sessions[0], 60, None, None, "PUBLIC"),
        ("AAA", -7, weekend, 61, sessions[50], 50, "PUBLIC"),
        ("BBB", "12.3456", sessions[0], 80, sessions[35], 90, "PUBLIC"),
        ("CCC", 30, sessions[3], 55, None, None, "PUBLIC"),
        ("DDD", 10, sessions[4], 10, None, None, "PUBLIC"),
        ("AAA200619C00100000", -2, sessions[5], 3.5, None, None, "OPTIONS"),
        ("HOME_EQUITY", 1, sessions[5], 20000, None, None, "PRIVATE"),
    ]
    flows = [(date(2019, 11, 30), 500), (sessions[40], -250.5)]
    return sorted(
        [
            await portfolio(conn, one, flows),
            await portfolio(conn, [*one[1:3], ("AAA", 1, sessions[0], 1, None, None, "PUBLIC")]),
        ]
    )


async def complete(conn: AsyncConnection, ids: Sequence[UUID], sessions: Sequence[date], revision: int = 1) -> None:
    """One batch of the worker, with the rights of its service."""
    worker = SnapshotsWorker()
    batch = Batch(tuple(ids), tuple(sessions), ((revision,) * len(sessions),) * len(ids))
    await act_as(conn, "snapshots")
    results = worker.compute(await worker.load(conn, batch))
    await worker.save(conn, results, Completed(dict.fromkeys(results.outcomes, revision)))
    await conn.execute(text("DROP TABLE IF EXISTS new_snapshots, new_holdings"))
    await act_as(conn, None)


async def stored(conn: AsyncConnection, table: str) -> dict[UnitKey, tuple[Any, ...]]:
    """Rows of a table, without what tells when and for which revision they were written."""
    result = await conn.execute(text(f"SELECT * FROM snapshots.{table}"))
    hidden = {"portfolio_id", "session", "revision", "computed_at"}
    return {
        UnitKey(row.portfolio_id, row.session): tuple(
            value for name, value in row._mapping.items() if name not in hidden
        )
        for row in result
    }


async def test_stored_rows_satisfy_the_nav_identity(db: AsyncConnection) -> None:
    ids = await everything(db)
    await complete(db, ids, SESSIONS)
    assert len(await stored(db, "snapshots")) == len(await stored(db, "holdings")) == 2 * len(SESSIONS)
    wrong = await db.scalar(
        text("""
            SELECT count(*) FROM (
                SELECT s.*, lag(nav, 1, 100000) OVER (PARTITION BY portfolio_id ORDER BY session) AS before,
                       (SELECT coalesce(sum(p.market_value), 0) FROM snapshots.positions p
                        WHERE p.portfolio_id = s.portfolio_id AND p.session = s.session) AS held
                FROM snapshots.snapshots s) x
            WHERE nav <> before + daily_pnl + flow OR nav <> cash + held OR cumulative_pnl <> realized_pnl + unrealized_pnl + dividends
               OR cumulative_pnl <> nav - 100000 - cumulative_flow
        """)
    )
    assert wrong == 0


async def test_batches_of_any_cut_store_the_same_digits(db: AsyncConnection) -> None:
    ids = await everything(db)
    await complete(db, ids, SESSIONS)
    whole = await stored(db, "snapshots"), await stored(db, "holdings")
    await db.execute(text("DELETE FROM snapshots.snapshots"))
    await db.execute(text("DELETE FROM snapshots.holdings"))
    for portfolio_id, width in zip(ids, (1, 13), strict=True):
        for low in range(0, len(SESSIONS), width):
            await complete(db, [portfolio_id], SESSIONS[low : low + width])
    assert (await stored(db, "snapshots"), await stored(db, "holdings")) == whole


async def test_days_on_which_an_account_was_empty_are_no_observations(db: AsyncConnection) -> None:
    """Emptied with a gain on the sixth session, funded anew on the hundredth: by three batches, the second within the stretch."""
    days = calendar().between(date(2018, 1, 2), date(2019, 12, 31))
    lots = [
        ("HOUSE", 1, days[0], 100_000, days[5], 101_000, "PRIVATE"),
        ("BARN", 1, days[99], 50_000, days[-1], 55_000, "PRIVATE"),
    ]
    identity = await portfolio(db, lots, [(days[5], -101_000), (days[99], 50_000)])
    for part in (days[:40], days[40:200], days[200:]):
        await complete(db, [identity], part)
    rows = (
        await db.execute(text("SELECT session, nav, xirr, reasons FROM snapshots.snapshots ORDER BY session"))
    ).all()
    empty = (days[99] - days[5]).days
    assert [float(row.nav) for row in rows[5:99]] == [0.0] * 94
    first = next(row for row in rows if row.xirr is not None)
    assert (first.session - days[0]).days - empty == 365
    assert [reason["reason"] for reason in rows[300].reasons if reason["figure"] == "xirr"] == ["short_history"]
    theirs = pyxirr.xirr([days[0], days[5], days[99], days[-1]], [-100_000.0, 101_000.0, -50_000.0, 55_000.0])
    assert rows[-1].xirr == pytest.approx(theirs, abs=1e-8)
    history = (await return_histories(db, [identity], days[-1]))[identity]
    assert np.isnan(history.daily_return).tolist() == [5 < k < 99 for k in range(len(days))]


async def test_reasons_and_bases_are_told(db: AsyncConnection) -> None:
    ids = await everything(db)
    await complete(db, ids, SESSIONS)
    rows = await db.execute(
        text("""
            SELECT DISTINCT symbol, price_basis, reason FROM snapshots.positions WHERE session = :session AND quantity <> 0
        """),
        {"session": SESSIONS[27]},
    )
    assert set(map(tuple, rows)) == {
        ("AAA", "close", None), ("BBB", "close", "unpriceable"), ("CCC", "adj_close", None), ("DDD", "stated", "unpriceable"),
        ("AAA200619C00100000", "stated", "unpriceable"), ("HOME_EQUITY", "stated", None),
    }  # fmt: skip
    reasons = await db.scalar(
        text("SELECT reasons FROM snapshots.snapshots WHERE session = :session ORDER BY positions DESC LIMIT 1"),
        {"session": SESSIONS[27]},
    )
    assert {"figure": "price", "symbol": "DDD", "reason": "not_found"} in reasons
    assert {"figure": "price", "symbol": "BBB", "reason": "no_trade"} in reasons
    assert {"figure": "xirr", "symbol": None, "reason": "short_history"} in reasons


async def test_a_higher_revision_replaces_rows_and_keeps_the_old_ones(db: AsyncConnection) -> None:
    ids = await everything(db)
    await complete(db, ids, SESSIONS[:20])
    before = await stored(db, "snapshots")
    await db.execute(text("UPDATE ingest.prices SET close = close + 1 WHERE session = :day"), {"day": SESSIONS[12]})
    await complete(db, ids, SESSIONS[12:20], revision=2)
    after = await stored(db, "snapshots")
    assert {key.session for key in before if before[key] != after[key]} <= set(SESSIONS[12:20])
    assert all(before[UnitKey(i, SESSIONS[12])] != after[UnitKey(i, SESSIONS[12])] for i in ids)
    kept = await db.scalar(text("SELECT count(*) FROM snapshots.snapshots_history WHERE revision = 1"))
    assert kept == 8 * len(ids)


async def test_a_chain_without_its_previous_row_is_refused(db: AsyncConnection) -> None:
    ids = await everything(db)
    with pytest.raises(ChainBroken, match="no snapshot of the session before"):
        await complete(db, ids, SESSIONS[5:7])


async def test_a_lot_that_the_previous_row_does_not_know_is_refused(db: AsyncConnection) -> None:
    """Entered earlier, and nothing was raised for it: going on would lose its cost."""
    ids = await everything(db)
    await complete(db, ids, SESSIONS[:5])
    await db.execute(
        text(
            "UPDATE snapshots.holdings SET position_ids = array_fill(CAST(:other AS uuid), ARRAY[cardinality(position_ids)])"
        ),
        {"other": uuid4()},
    )
    with pytest.raises(ChainBroken, match="not in the holdings"):
        await complete(db, ids, SESSIONS[5:7])


async def test_a_deleted_portfolio_has_no_outcome(db: AsyncConnection) -> None:
    ids = await everything(db)
    await db.execute(text("UPDATE coordinator.portfolios SET deleted_at = now() WHERE id = :id"), {"id": ids[0]})
    await complete(db, ids, SESSIONS[:3])
    assert {key.portfolio_id for key in await stored(db, "snapshots")} == {ids[1]}


async def test_an_option_filed_under_a_share_is_not_valued_at_its_price(db: AsyncConnection) -> None:
    await market(db, SESSIONS)
    identity = await portfolio(db, [("AAA", 1, SESSIONS[0], 2, None, None, "OPTIONS")])
    await complete(db, [identity], SESSIONS[:3])
    values = await db.execute(text("SELECT DISTINCT market_value, reason FROM snapshots.positions"))
    assert [(int(value), reason) for value, reason in values] == [(200, "unpriceable")]


async def test_an_option_is_settled_at_what_exercise_is_worth_and_a_stated_exit_stands(db: AsyncConnection) -> None:
    """On the last session on or before its expiration, at the underlying's close of it, in whatever batches; and its delivery is
    remarked on."""
    await market(db, SESSIONS)
    end = SESSIONS[8]
    price = "SELECT close FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id WHERE s.symbol = 'BBB' AND session = :end"
    close = float(await db.scalar(text(price), {"end": end}) or 0)
    strike = int(close) + 2
    put, call = (f"BBB{end:%y%m%d}{side}{strike * 1000:08d}" for side in "PC")
    lots = [
        (put, -2, SESSIONS[5], 3.5, None, None, "OPTIONS"),
        (call, 1, SESSIONS[5], 1, None, None, "OPTIONS"),
        (put, 1, SESSIONS[5], 3, SESSIONS[7], 2, "OPTIONS"),
        ("BBB", 10, SESSIONS[7], strike, None, None, "PUBLIC"),
    ]
    identity = await portfolio(db, lots)
    for part in (SESSIONS[5:7], SESSIONS[7:9], SESSIONS[9:12]):
        await complete(db, [identity], part)
    rows = await db.execute(
        text("""SELECT session, symbol, quantity, realized_pnl FROM snapshots.positions
                WHERE session = ANY (CAST(:days AS date[])) AND symbol <> 'BBB' ORDER BY session, symbol, quantity, realized_pnl"""),
        {"days": [SESSIONS[7], end, SESSIONS[11]]},
    )
    found = [(row.session, row.symbol, float(row.quantity), float(row.realized_pnl)) for row in rows]
    paid = round(-200 * (strike - close - 3.5), 4)
    settled = [(call, 0.0, -100.0), *sorted([(put, 0.0, -100.0), (put, 0.0, paid)])]
    assert found == [
        (SESSIONS[7], call, 1.0, 0.0), (SESSIONS[7], put, -2.0, 0.0), (SESSIONS[7], put, 0.0, -100.0),
        *((end, *lot) for lot in settled), *((SESSIONS[11], *lot) for lot in settled),
    ]  # fmt: skip
    said = "SELECT reasons FROM snapshots.snapshots WHERE session = :day"
    reasons = await db.scalar(text(said), {"day": SESSIONS[11]})
    assert {"figure": "entry_price", "symbol": "BBB", "reason": "assignment"} in reasons
    assert "expired" not in {reason["reason"] for reason in reasons}


async def test_nothing_is_computed_on_an_undecided_basis(db: AsyncConnection) -> None:
    """One lot of which it is not known whether its numbers are as traded keeps its portfolio out, from its entry on."""
    ids = await everything(db)
    await db.execute(
        text("""
            UPDATE coordinator.positions SET basis_assumed = true, basis_awaits = entry_session
            WHERE portfolio_id = :id AND symbol = 'CCC'
        """),
        {
            "id": (
                undecided := await db.scalar(
                    text("SELECT portfolio_id FROM coordinator.positions WHERE symbol = 'CCC'")
                )
            )
        },
    )
    await complete(db, ids, SESSIONS[:3])
    assert {key.portfolio_id for key in await stored(db, "snapshots")} == set(ids), "the lot is entered on the fourth"
    await complete(db, ids, SESSIONS[3:5])
    later = {key.portfolio_id for key in await stored(db, "snapshots") if key.session >= SESSIONS[3]}
    assert later == set(ids) - {undecided}
    await complete(db, [undecided], SESSIONS[3:5])
    assert {key.portfolio_id for key in await stored(db, "holdings") if key.session >= SESSIONS[3]} == later

    # Settled without a close, it may be computed; not once there is one it has not been compared with.
    await db.execute(
        text("UPDATE coordinator.positions SET basis_assumed = false, basis_reason = 'no_close' WHERE basis_assumed")
    )
    await complete(db, [undecided], SESSIONS[3:5])
    assert {key.portfolio_id for key in await stored(db, "snapshots") if key.session >= SESSIONS[3]} == later
    await db.execute(
        text(
            "DELETE FROM ingest.prices p USING ingest.symbols s WHERE s.id = p.symbol_id AND s.symbol = 'CCC' AND session = :day"
        ),
        {"day": SESSIONS[3]},
    )
    await complete(db, [undecided], SESSIONS[3:5])
    assert {key.portfolio_id for key in await stored(db, "snapshots") if key.session >= SESSIONS[3]} == set(ids)


async def test_what_goes_on_from_a_provisional_session_is_provisional(db: AsyncConnection) -> None:
    """A price of the fourth session is waited for: the first three are final; all that is chained on it is not, over batches too."""
    [one, other] = await everything(db)
    await db.execute(
        text("""
            INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, provisional)
            VALUES (:p, :s, 'ingest', 1, 1, true)
        """),
        {"p": one, "s": SESSIONS[3]},
    )
    await complete(db, [one, other], SESSIONS[:6])
    await complete(db, [one, other], SESSIONS[6:8])
    for table in ("snapshots", "holdings"):
        rows = await db.execute(text(f"SELECT portfolio_id, session FROM snapshots.{table} WHERE provisional"))
        assert {tuple(row) for row in rows} == {(one, session) for session in SESSIONS[3:8]}, table
    # A higher revision clears it, and nothing else does.
    await db.execute(text("UPDATE ledger.units SET provisional = false"))
    await complete(db, [one, other], SESSIONS[3:8], revision=2)
    assert await db.scalar(text("SELECT count(*) FROM snapshots.snapshots WHERE provisional")) == 0
    assert await db.scalar(text("SELECT count(*) FROM snapshots.snapshots_history WHERE provisional")) == 5

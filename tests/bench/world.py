"""A database as the risk phase finds it: prices and exposures of a made-up market, and snapshots of a few portfolios."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.factors.workflow import FactorsWorker
from shared.db import bulk
from shared.ledger import Completed
from shared.market import registry
from shared.market.calendar import calendar
from shared.work import Batch
from tests.support.databases import act_as

LAST = date(2020, 12, 30)
SYMBOLS = tuple(f"S{number:02d}" for number in range(60))
HELD_AT_NIGHT = 30


@dataclass(frozen=True)
class World:
    sessions: tuple[date, ...]
    steady: UUID
    """Holds the first thirteen symbols on all of the sessions."""
    night: tuple[UUID, ...]
    """Hold thirty symbols each, on the last session."""


async def build(admin: AsyncEngine, sessions: int, portfolios: int) -> World:
    """Everything up to and including the factors phase and the snapshots."""
    days = calendar().between(calendar().back(LAST, registry.LOOKBACK + sessions), LAST)
    held, draw = tuple(days[-sessions:]), random.Random(1)
    steady, night = UUID(int=1), tuple(UUID(int=2 + number) for number in range(portfolios))
    async with admin.begin() as db:
        await _market(db, days)
        await _snapshots(db, steady, held, SYMBOLS[:13])
        for portfolio in night:
            await _snapshots(db, portfolio, held[-1:], sorted(draw.sample(SYMBOLS, HELD_AT_NIGHT)))
    # Each symbol's exposures are needed by one portfolio or another; one that holds them all asks for them in one batch.
    async with admin.begin() as db:
        await act_as(db, "factors")
        worker = FactorsWorker()
        for portfolio, asked in ((steady, held), *((of, held[-1:]) for of in night)):
            batch = Batch((portfolio,), asked, ((1,) * len(asked),))
            await worker.lock_inputs(db, batch)
            await worker.save(db, worker.compute(await worker.load(db, batch)), Completed({}))
    async with admin.connect() as db:
        await (await db.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))
    return World(held, steady, night)


async def _market(db: AsyncConnection, days: Sequence[date]) -> None:
    rng = np.random.default_rng(8)
    market = 0.01 * rng.standard_t(5, len(days))
    stamp = calendar().due_at(LAST)
    columns = (
        "symbol_id", "session", "close", "adj_close", "total_return", "return_basis", "basis", "provider", "fetched_at", "change",
    )  # fmt: skip
    for k, symbol in enumerate((*registry.PROXY_SYMBOLS, *SYMBOLS)):
        own = market * (0.6 + 0.1 * (k % 9)) + 0.008 * rng.standard_normal(len(days)) * (symbol != "SPY")
        symbol_id = await db.scalar(
            text(
                """INSERT INTO ingest.symbols (symbol, covered_from, covered_to) VALUES (:symbol, :first, :last) RETURNING id"""
            ),
            {"symbol": symbol, "first": days[0], "last": LAST},
        )
        await db.execute(
            text("""INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, asset_type, sector, fetched_at)
                    VALUES (:id, '-infinity', 'file', 'stock', 'Technology', now())"""),
            {"id": symbol_id},
        )
        close = 50.0 * np.cumprod(1.0 + own)
        rows = [
            (symbol_id, day, price, price, change, "adjusted", "as_traded", "file", stamp, 10)
            for day, price, change in zip(days, close.tolist(), own.tolist(), strict=True)
        ]
        await bulk.copy(db, "prices", columns, rows, schema="ingest")


async def _snapshots(db: AsyncConnection, portfolio: UUID, sessions: Sequence[date], symbols: Sequence[str]) -> None:
    await db.execute(
        text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
                VALUES (:id, 'bench', 'taxable', 10000)"""),
        {"id": portfolio},
    )
    n = len(symbols)
    ids = [UUID(int=(portfolio.int << 16) + i) for i in range(n)]
    await db.execute(
        text("""INSERT INTO coordinator.positions (id, portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                    investment_class, stated_quantity, stated_entry_price)
                SELECT lot, :id, symbol, 1, :day, :day, 10, 'PUBLIC', 1, 10
                FROM unnest(CAST(:lots AS uuid[]), CAST(:symbols AS text[])) AS l (lot, symbol)"""),
        {"id": portfolio, "lots": ids, "symbols": list(symbols), "day": sessions[0]},
    )
    value = [int(1e4 * (100 + 7 * i)) * (-1 if i % 5 == 0 else 1) for i in range(n)]
    up, down = sum(v for v in value if v > 0) / 1e4, sum(v for v in value if v < 0) / 1e4
    money: Mapping[str, float] = {
        "nav": 10_000.0, "cash": 10_000.0 - up - down, "long_value": up, "short_value": down, "gross_exposure": up - down,
        "net_exposure": up + down, "daily_pnl": 0.0, "cumulative_pnl": 0.0, "realized_pnl": 0.0, "unrealized_pnl": 0.0,
        "dividends": 0.0, "flow": 0.0, "cumulative_flow": 0.0, "drawdown": 0.0, "coverage": 1.0,
    }  # fmt: skip
    await db.execute(
        text(f"""INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, positions, long_positions,
                     short_positions, quality, daily_return, {", ".join(money)})
                 SELECT :id, session, 1, '1', {n}, {n}, 0, 'complete', 0.001, {", ".join(f"CAST(:{x} AS float8)" for x in money)}
                 FROM unnest(CAST(:sessions AS date[])) AS session"""),
        {"id": portfolio, "sessions": list(sessions), **money},
    )
    await bulk.copy(
        db, "holdings",
        ("portfolio_id", "session", "revision", "position_ids", "symbols", "quantity", "price", "price_session", "price_basis",
         "stale", "market_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "dividends", "reason"),
        [(portfolio, session, 1, ids, list(symbols), [1.0] * n, [1.0] * n, [session] * n, ["close"] * n, [0] * n, value,
          [0] * n, [0] * n, [0] * n, [0] * n, [""] * n) for session in sessions],
        schema="snapshots",
    )  # fmt: skip

"""A portfolio's trades matched anew, with splits that are known since."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Issues
from services.coordinator.importer.trades import NOT_PLACED
from services.coordinator.portfolios import lot_store, trade_lots, trade_plans, trade_store, validation
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.telemetry import logger

log = logger(__name__)


async def match_anew(conn: AsyncConnection, clock: Clock, before: Portfolio, symbols: Collection[str]) -> int:
    """Match the trades of these symbols with the splits known now; returns how many lots changed. Needs the commit-order lock."""
    issues = Issues()
    trades = [trade for trade in await trade_store.trades(conn, before.id) if trade.symbol in symbols]
    wanted = await trade_lots.derive(conn, trades, clock, issues)
    validation.refuse(issues)
    plan = await trade_plans.make(await lot_store.whole_positions(conn, before.id), wanted, symbols)
    decisions = await validation.decide_price_basis(conn, [lot for lot, _ in plan.added], clock, issues)
    await trade_plans.stage(conn, before.id, plan, decisions)
    await trade_plans.write(conn, clock, before, plan)
    await trade_store.record_matching(conn, before.id, symbols)
    log.info(
        "trades_matched_anew", symbols=sorted(symbols), removed=len(plan.removed), added=len(plan.added),
        not_placed=sum(issue.code == NOT_PLACED for issue in issues.warnings),
    )  # fmt: skip
    return len(plan.added) + len(plan.removed)

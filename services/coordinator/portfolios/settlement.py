"""What prices and actions that arrive settle of a portfolio's lots: which trades opened and closed them, and what their numbers
mean. Level-triggered: an event about prices and the reconciler's turn call the same function, which reads what is not settled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.portfolios import store, trade_matching, trade_store
from services.coordinator.portfolios.price_basis import decide_price_basis
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, is_transient
from shared.errors import LeadlineError
from shared.telemetry import log_context, logger

log = logger(__name__)


async def settle(
    engine: AsyncEngine, clock: Clock, portfolios: Sequence[UUID] | None = None, *, wake: Callable[[], None]
) -> int:
    """Settle what can be, of these portfolios or of all; returns how many lots were. Transient errors are the caller's."""
    moved = await _match_trades_anew(engine, clock, portfolios, wake=wake)
    return moved + await decide_price_basis(engine, clock, portfolios, wake=wake)


async def _match_trades_anew(
    engine: AsyncEngine, clock: Clock, portfolios: Sequence[UUID] | None, *, wake: Callable[[], None]
) -> int:
    """Match trades again where a split between two of them became known later than their lots, and shares sold after it are
    others; or where closes came that tell whether the source knows of a split that it does not list.

    A transaction a portfolio; one that cannot be matched holds up no other.
    """
    async with engine.connect() as conn:
        waiting = sorted(await trade_store.to_match_anew(conn, portfolios))
    moved = 0
    for portfolio in waiting:
        with log_context(portfolio=portfolio):
            try:
                async with engine.begin() as conn:
                    await acquire_commit_order_lock(conn)
                    await load_closures(conn)
                    before = await store.get(conn, portfolio)
                    symbols = (await trade_store.to_match_anew(conn, [portfolio])).get(portfolio)
                    if before is None or not symbols:
                        continue
                    moved += await trade_matching.match_anew(conn, clock, before, symbols)
            except (DBAPIError, LeadlineError, ArithmeticError) as error:
                if is_transient(error):
                    raise
                log.exception("trades_not_matched", remedy="import the trades again, or take the import back")
            else:
                wake()
    return moved

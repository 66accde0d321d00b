"""Files into portfolios: new, again, corrected, taken back. Each function runs inside the caller's transaction, after the
commit-order lock unless it says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict
from services.coordinator.importer.account import Account
from services.coordinator.importer.model import Position
from services.coordinator.importer.parse import Parsed
from services.coordinator.portfolios import (
    entry_prices,
    import_store,
    lot_store,
    service,
    trade_lots,
    trade_matching,
    trade_store,
    validation,
)
from services.coordinator.portfolios.import_records import File, record, stated_of_fresh
from services.coordinator.portfolios.limits import Limits
from services.coordinator.portfolios.service import DEFAULTS, Imported, get_existing
from services.coordinator.portfolios.trade_store import SplitsRead
from services.coordinator.portfolios.validation import Draft
from shared.clock import Clock

# --- a new portfolio -------------------------------------------------------------------------------------------------


async def resolve(conn: AsyncConnection, clock: Clock, draft: Draft) -> Draft:
    """The draft with its lots: those of a list of trades, and the prices a file leaves to the day. Raises `Invalid`."""
    validation.refuse(draft.issues)
    if draft.trades is not None:
        lots = await trade_lots.derive(conn, draft.trades, clock, draft.issues)
        draft = replace(draft, positions=tuple(lots))
    else:
        draft = replace(draft, positions=await entry_prices.fill(conn, draft.positions, clock, draft.issues))
    validation.refuse(draft.issues)
    await asyncio.to_thread(warn_of_cost, draft)
    return draft


def cost_against_equity(account: Account, lots: Sequence[Position]) -> dict[str, float]:
    """What the lots of the first session cost, in money, beside the equity that pays for them."""
    first = min((lot.entry_session for lot in lots), default=None)
    cost = sum(
        (lot.quantity * lot.entry_price * lot.multiplier for lot in lots if lot.entry_session == first), Decimal(0)
    )
    return {"cost": float(cost), "equity": float(account.equity_balance)}


def warn_of_cost(draft: Draft) -> None:
    """Lots of the first session that cost more than the equity start with borrowed cash."""
    figures = cost_against_equity(draft.account, draft.positions)
    cost, equity = figures["cost"], figures["equity"]
    if cost > equity:
        draft.issues.warn(
            None, "equity_balance", "cost_over_equity",
            f"The lots of {draft.first_session} cost {cost:,.2f}, more than the equity of {equity:,.2f}: cash starts at "
            f"{equity - cost:,.2f}. Raise equity_balance if that money was there.", str(equity),
        )  # fmt: skip


async def refuse_second(conn: AsyncConnection, name: str, *, other_than: UUID | None = None) -> None:
    """A second portfolio of one name is usually the first one, imported again. Raises `Conflict`."""
    found = await lot_store.id_of_name(conn, name, other_than=other_than)
    if found is not None:
        raise Conflict(
            f"There is a portfolio named {name!r} already ({found}). Add to it with POST /portfolios/{found}/import "
            f"(leadline import --into {found}), or say allow_duplicate_name (--allow-duplicate-name) for a second one.",
            code="duplicate_name",
        )


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A new portfolio from a file, written with its lots and what the file says of them in the transaction at hand."""

    new: service.Prepared
    import_id: UUID
    splits: SplitsRead
    allow_duplicate_name: bool


async def prepare(
    conn: AsyncConnection, clock: Clock, draft: Draft, file: File, limits: Limits, *, allow_duplicate_name: bool
) -> PreparedFile:
    """Check a file and bring it to the database. Before the commit-order lock, which `create` needs."""
    validation.refuse(draft.issues)
    if not allow_duplicate_name:
        await refuse_second(conn, draft.account.name)
    splits = await trade_store.read_splits(conn, draft.trades or ())
    draft = await resolve(conn, clock, draft)
    new = await service.prepare(conn, clock, draft, limits, from_trades=draft.trades is not None)
    parsed = Parsed(draft.positions, draft.issues, draft.trades, draft.reading)
    import_id = await record(conn, new.portfolio_id, parsed, file)
    if draft.trades is None:
        await import_store.insert_statements(conn, import_id, stated_of_fresh(draft.positions, new.ids))
    else:
        await trade_store.insert_trades(conn, new.portfolio_id, import_id, draft.trades)
    return PreparedFile(new, import_id, splits, allow_duplicate_name)


async def create(conn: AsyncConnection, clock: Clock, prepared: PreparedFile) -> Imported:
    """Finish a new portfolio from a file: all of it or nothing."""
    draft = prepared.new.draft
    if not prepared.allow_duplicate_name:
        # Another may have been written since.
        await refuse_second(conn, draft.account.name, other_than=prepared.new.portfolio_id)
    result = await service.create(conn, clock, prepared.new)
    if changed := await trade_store.find_changed_splits(conn, prepared.splits):
        made = await get_existing(conn, prepared.new.portfolio_id)
        await trade_matching.match_anew(conn, clock, made, changed)
    return replace(result, import_id=prepared.import_id, reading=draft.reading)


async def preview(conn: AsyncConnection, clock: Clock, draft: Draft, limits: Limits = DEFAULTS) -> Imported:
    """What `create` would do, without doing it."""
    draft = await resolve(conn, clock, draft)
    if await lot_store.id_of_name(conn, draft.account.name) is not None:
        draft.issues.warn(
            None, "name", "duplicate_name",
            f"There is a portfolio named {draft.account.name!r} already. Add to it with --into, or say --allow-duplicate-name.",
            draft.account.name,
        )  # fmt: skip
    return replace(await service.preview(conn, clock, draft, limits), reading=draft.reading)

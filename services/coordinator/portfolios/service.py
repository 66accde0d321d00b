"""Create, import, edit, delete. Each function runs inside the caller's transaction, after the commit-order lock unless it says
otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.importer import account, content, parse
from services.coordinator.importer.basis import STATED, Decision
from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.model import Difference, Issues, Position
from services.coordinator.portfolios import (
    extents,
    flows,
    ledger_effects,
    lot_edits,
    price_basis,
    store,
    validation,
)
from services.coordinator.portfolios.ledger_effects import SERVICE, Change
from services.coordinator.portfolios.limits import Extent, Limits, refuse_growth
from services.coordinator.portfolios.lot_edits import Proposal
from services.coordinator.portfolios.price_basis import Lot
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.portfolios.validation import Draft
from shared import ledger
from shared.clock import Clock
from shared.events.coordinator import PortfolioDeleted
from shared.messaging import outbox
from shared.work import Phase

DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of creating or adding: what was stored and what deserves a look."""

    portfolio_id: UUID | None
    name: str
    positions: int
    unchanged: int
    change: Change
    issues: Issues
    decisions: Sequence[tuple[Position, Decision]]
    position_id: UUID | None = None
    """Of the one lot added or changed."""
    import_id: UUID | None = None
    reading: Mapping[str, object] | None = None
    """How the file was understood."""
    changed: int = 0
    would_change: Sequence[Difference[Any]] = ()
    """Stored lots and trades of which the file says something else, and which stay as they are."""


async def get_existing(conn: AsyncConnection, portfolio: UUID) -> Portfolio:
    found = await store.get(conn, portfolio)
    if found is None:
        raise NotFound(f"There is no portfolio {portfolio}. It may have been deleted.")
    return found


async def preview(conn: AsyncConnection, clock: Clock, draft: Draft, limits: Limits = DEFAULTS) -> Imported:
    """What `create` would do, without doing it."""
    validation.refuse(draft.issues)
    refuse_growth(Extent(), Extent.of(draft.positions), limits, clock)
    decisions = await validation.decide_price_basis(conn, draft.positions, clock, draft.issues)
    validation.refuse(draft.issues)
    sessions = [] if draft.first_session is None else clock.calendar().between(draft.first_session, clock.last_due())
    change = Change(draft.first_session, sessions[-1] if sessions else None, None)
    pairs = list(zip(draft.positions, decisions, strict=True))
    return Imported(None, draft.account.name, len(draft.positions), 0, change, draft.issues, pairs)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new portfolio that was checked, and written with its lots in the transaction at hand; what it requires is not."""

    portfolio_id: UUID
    draft: Draft
    decisions: Sequence[Decision]
    ids: Sequence[UUID]
    """Of its lots."""


async def prepare(
    conn: AsyncConnection, clock: Clock, draft: Draft, limits: Limits = DEFAULTS, *, from_trades: bool = False
) -> Prepared:
    """All of a creation that needs no commit-order lock, so that nobody waits while fifty thousand lots are checked and sent.

    Closes that arrive after this are compared when the lots are settled, as those that arrive after the creation.
    """
    validation.refuse(draft.issues)
    refuse_growth(Extent(), Extent.of(draft.positions), limits, clock)
    decisions = await validation.decide_price_basis(conn, draft.positions, clock, draft.issues)
    validation.refuse(draft.issues)
    keys = await asyncio.to_thread(content.content_keys, draft.positions)
    rows = zip(draft.positions, decisions, keys, strict=True)
    portfolio = await store.insert_unseen(conn, draft.account, draft.first_session)
    ids = await store.insert_positions(conn, portfolio, rows, from_trades=from_trades)
    return Prepared(portfolio, draft, decisions, ids)


async def create(conn: AsyncConnection, clock: Clock, prepared: Prepared) -> Imported:
    """Finish a new portfolio with its flows, units, run and event: all of it or nothing."""
    draft, portfolio = prepared.draft, prepared.portfolio_id
    if draft.flows:
        await flows.insert(conn, portfolio, draft.flows)
    change = await ledger_effects.record_creation(conn, clock, portfolio, draft.first_session)
    pairs = list(zip(draft.positions, prepared.decisions, strict=True))
    return Imported(portfolio, draft.account.name, len(draft.positions), 0, change, draft.issues, pairs)


async def add_position(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, body: Mapping[str, Any], limits: Limits = DEFAULTS
) -> Imported:
    """Add one lot. Two identical calls are two lots; `Idempotency-Key` makes a repeated call safe."""
    parsed = parse.parse_items([body], validation.rules_now(clock))
    validation.refuse(parsed.issues)
    before = await get_existing(conn, portfolio)
    held = await extents.read(conn, portfolio)
    refuse_growth(held, held + Extent.of(parsed.positions), limits, clock)
    decisions = await validation.decide_price_basis(conn, parsed.positions, clock, parsed.issues)
    validation.refuse(parsed.issues)
    position = parsed.positions[0]
    known, digest, occurrence = await store.content_keys(conn, portfolio), content.content(position), 1
    while f"{digest}:{occurrence}" in known:
        occurrence += 1
    key = f"{digest}:{occurrence}"
    (added,) = await store.insert_positions(conn, portfolio, [(position, decisions[0], key)])
    change = await ledger_effects.record_change(conn, clock, before, position.entry_session, Phase.INGEST)
    return Imported(portfolio, before.name, 1, 0, change, parsed.issues, [(position, decisions[0])], added)


async def edit_position(
    conn: AsyncConnection,
    clock: Clock,
    portfolio: UUID,
    position_id: UUID,
    body: Mapping[str, Any],
    limits: Limits = DEFAULTS,
) -> Imported:
    """Change fields of a lot; null clears an optional one. Numbers mean what the lot's basis says, unless it is changed too."""
    before = await get_existing(conn, portfolio)
    row = await store.position(conn, portfolio, position_id)
    if row is None:
        raise NotFound(f"Portfolio {portfolio} has no position {position_id}.")
    issues = Issues()
    position = lot_edits.parse_proposed_lot(row, body, clock, issues)
    validation.refuse(issues)
    assert position is not None
    others = await extents.read(conn, portfolio, without=[position_id])
    refuse_growth(await extents.read(conn, portfolio), others + Extent.of([position]), limits, clock)
    proposals = [Proposal(row, body, position)]
    decisions = await lot_edits.decide(conn, clock, proposals, issues)
    await lot_edits.stage(conn, proposals, decisions)
    [done] = await lot_edits.write(conn, proposals, decisions)
    # A label changes no number, so nothing starts.
    change = (
        as_it_was(before, clock)
        if done.affected is None
        else await ledger_effects.record_change(conn, clock, before, *done.affected)
    )
    if not done.changed:
        return Imported(portfolio, before.name, 0, 1, change, issues, [], position_id)
    return Imported(portfolio, before.name, 1, 0, change, issues, [(position, done.decision)], position_id)


def as_it_was(portfolio: Portfolio, clock: Clock) -> Change:
    """The portfolio's sessions as they were, and no run."""
    first, last = portfolio.first_session, clock.last_due()
    return Change(first, last if first is not None and first <= last else None, None)


async def remove_position(conn: AsyncConnection, clock: Clock, portfolio: UUID, position_id: UUID) -> Change:
    before = await get_existing(conn, portfolio)
    row = await store.position(conn, portfolio, position_id)
    if row is None:
        raise NotFound(f"Portfolio {portfolio} has no position {position_id}.")
    await store.delete_position(conn, position_id)
    return await ledger_effects.record_change(conn, clock, before, row["entry_session"], Phase.INGEST)


async def add_flows(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, items: Sequence[Mapping[str, Any]]
) -> tuple[list[UUID], Change]:
    issues = Issues()
    new = parse.parse_flows(items, validation.rules_now(clock), issues)
    validation.refuse(issues)
    before = await get_existing(conn, portfolio)
    validation.check_flows(new, before.first_session, issues)
    validation.refuse(issues)
    ids = await flows.insert(conn, portfolio, new)
    change = await ledger_effects.record_change(conn, clock, before, min(flow.session for flow in new), Phase.SNAPSHOTS)
    return ids, change


async def remove_flow(conn: AsyncConnection, clock: Clock, portfolio: UUID, flow: UUID) -> Change:
    before = await get_existing(conn, portfolio)
    session = await flows.delete(conn, portfolio, flow)
    if session is None:
        raise NotFound(f"Portfolio {portfolio} has no flow {flow}.")
    return await ledger_effects.record_change(conn, clock, before, session, Phase.SNAPSHOTS)


async def edit(conn: AsyncConnection, clock: Clock, portfolio: UUID, body: Mapping[str, Any]) -> Change | None:
    """Change the header. Only the equity moves numbers: it is the capital at the start of the chain."""
    before = await get_existing(conn, portfolio)
    issues = Issues()
    values: dict[str, object] = {}
    checks = {"name": account.name, "account_type": account.account_type, "currency": account.currency}
    for field, check in checks.items():
        if field in body:
            values[field] = check(parse.cell_text(body[field]), issues)
    if "equity_balance" in body:
        values["equity_balance"] = account.equity(parse.cell_text(body["equity_balance"]), issues)
    validation.refuse(issues)
    if values:
        await store.update(conn, portfolio, values)
    if (
        "equity_balance" not in values
        or values["equity_balance"] == before.equity_balance
        or before.first_session is None
    ):
        return None
    return await ledger_effects.record_change(conn, clock, before, before.first_session, Phase.SNAPSHOTS)


async def delete(conn: AsyncConnection, portfolio: UUID) -> None:
    """Gone at once: its units leave the ledger, so work in flight lands nowhere. The rows themselves stay, marked."""
    await get_existing(conn, portfolio)
    await store.delete(conn, portfolio)
    await ledger.remove_units(conn, portfolio)
    await outbox.publish(conn, [PortfolioDeleted(portfolio_id=portfolio)], source=SERVICE)


async def settle_basis(conn: AsyncConnection, clock: Clock, portfolio: UUID, wanted: str, *, dry_run: bool) -> Imported:
    """Decide the price basis again, from what the user stated. Lots about which nothing new is known stay untouched.

    wanted : 'auto' to compare with the closes, or the basis the user says all lots are on
    """
    before = await get_existing(conn, portfolio)
    rows = [row for row in await store.positions(conn, portfolio) if row["investment_class"] == "PUBLIC"]
    items = [
        {
            **{column: row[column] for column in COLUMNS},
            "quantity": row["stated_quantity"],
            "entry_price": row["stated_entry_price"],
            "exit_price": row["stated_exit_price"],
            "price_basis": wanted,
        }
        for row in rows
    ]
    parsed = await asyncio.to_thread(parse.parse_items, items, validation.rules_now(clock))
    validation.refuse(parsed.issues)
    files = [row["created_at"] for row in rows]
    decisions = await validation.decide_price_basis(conn, parsed.positions, clock, parsed.issues, files=files)
    validation.refuse(parsed.issues)
    lots = [
        Lot(row, position, decision)
        for row, position, decision in zip(rows, parsed.positions, decisions, strict=True)
        # Without a close the comparison says no more than it did when the lot was written; what the user says now is more.
        if not decision.assumed or decision.reason == STATED
    ]
    moved = [lot for lot in lots if lot.moved]
    last = clock.last_due()
    change = Change(before.first_session, last if before.first_session else None, None)
    if not dry_run:
        change = await price_basis.apply(conn, clock, before, lots, source="settings") or change
    pairs = [(lot.position, lot.decision) for lot in moved]
    return Imported(portfolio, before.name, len(moved), len(rows) - len(moved), change, parsed.issues, pairs)

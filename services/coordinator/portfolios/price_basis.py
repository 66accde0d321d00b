"""What the numbers of a lot mean, settled once its entry day's closes are known. Until then snapshots leave its portfolio out.

Level-triggered: an event about prices and the reconciler's turn call the same function, which reads what is not settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.importer import basis, rules
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Issues, Position
from services.coordinator.portfolios import ledger_effects, store, undecided_lots, validation
from services.coordinator.portfolios.ledger_effects import SERVICE, Change
from services.coordinator.portfolios.store import Portfolio
from shared import ledger
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, is_transient, snapshot
from shared.errors import LeadlineError
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import WorkBody
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.telemetry import log_context, logger
from shared.work import Phase

log = logger(__name__)

# Of one transaction: others wait for the commit-order lock while so many rows are written, a tenth of a second.
LOTS_A_WRITE = 2_000
_DECIDED = (*basis.BY_THE_USER, basis.COMPARED, basis.AMBIGUOUS, basis.MISMATCH)


@dataclass(frozen=True, slots=True)
class Lot:
    """A stored row, what the user stated, and what is decided about it now."""

    row: RowMapping
    position: Position
    decision: Decision

    @property
    def moved(self) -> bool:
        """Whether a number differs from the stored one."""
        now = self.decision
        return (now.price_basis, now.quantity, now.entry_price, now.exit_price) != tuple(
            self.row[column] for column in ("price_basis", "quantity", "entry_price", "exit_price")
        )

    @property
    def restates(self) -> bool:
        """Whether published snapshots of it say something else now: a number, or that its numbers are doubtful."""
        reasons = self.row["basis_reason"], self.decision.reason
        doubted = reasons[0] != reasons[1] and not basis.DOUBTFUL.isdisjoint(reasons)
        return self.moved or (doubted and not self.row["basis_assumed"])

    @property
    def settled(self) -> bool:
        """Whether more is known about it than was stored."""
        now = self.decision
        return (now.assumed, now.reason, now.awaits) != tuple(
            self.row[column] for column in ("basis_assumed", "basis_reason", "basis_awaits")
        )


# --- on an edit ------------------------------------------------------------------------------------------------------


def with_kept_basis(row: RowMapping, edited: Position) -> Position:
    """An edited lot whose edit does not name a basis: on the one it has, or None to compare with the closes again.

    The user's word stands. A comparison stands while what was compared does: of another symbol or day it says nothing.
    'adjusted' is what the prices force, not what a user can state.
    """
    kept = row["basis_reason"] in basis.BY_THE_USER or (row["basis_reason"] in _DECIDED and _same_entry(row, edited))
    return replace(edited, price_basis=row["price_basis"] if kept and row["price_basis"] in rules.BASES else None)


def keep_decision(row: RowMapping, edited: Position, decision: Decision) -> Decision:
    """The stored decision on what the edit leaves alone: splits since then were in neither the file nor the decision.

    Where no number is edited it stands whatever it is: closes that came since are for the settlement to compare with, not for a label.
    """
    same_entry, same_exit = _same_entry(row, edited), _same_exit(row, edited)
    applies = basis.applies(edited)
    decided = row["basis_reason"] in _DECIDED and not row["basis_assumed"] and applies
    untouched = same_exit and applies == basis.applies(_stated_position(edited.row, row))
    if not same_entry or not (decided or untouched):
        return decision
    if same_exit:
        exit_price = row["exit_price"]
    else:
        exit_price = decision.exit_price if row["price_basis"] == decision.price_basis else edited.exit_price
    return replace(
        decision,
        price_basis=row["price_basis"],
        quantity=row["quantity"],
        entry_price=row["entry_price"],
        exit_price=exit_price,
        reason=row["basis_reason"],
        assumed=row["basis_assumed"],
        # A stated one is still to be compared, whatever its exit is by then.
        awaits=row["basis_awaits"] if untouched or row["basis_reason"] in basis.BY_THE_USER else None,
    )


def _same_exit(row: RowMapping, edited: Position) -> bool:
    return (edited.exit_date, edited.exit_price) == (row["exit_date"], row["stated_exit_price"])


def _same_entry(row: RowMapping, edited: Position) -> bool:
    return (edited.symbol, edited.quantity, edited.entry_date, edited.entry_price) == (
        row["symbol"],
        row["stated_quantity"],
        row["entry_date"],
        row["stated_entry_price"],
    )


# --- once prices are there -------------------------------------------------------------------------------------------


async def decide_price_basis(
    engine: AsyncEngine, clock: Clock, portfolios: Sequence[UUID] | None = None, *, wake: Callable[[], None]
) -> int:
    """Settle what can be, of these portfolios or of all; returns how many lots were. Nothing to do costs one indexed query.

    A portfolio in slices, each written in a few transactions. One that cannot be settled does not hold up the others: it is logged, stays
    unpublished, and is tried again at the next turn. Transient errors are the caller's.
    """
    async with engine.connect() as conn:
        waiting = sorted(await undecided_lots.waiting_portfolios(conn, portfolios))
    settled = 0
    for portfolio in waiting:
        with log_context(portfolio=portfolio):
            try:
                after = ""
                while lots := await _compare(engine, clock, portfolio, after):
                    after = lots[-1].position.symbol
                    for some in _in_writes(lots):
                        if written := await _write(engine, clock, portfolio, some):
                            failpoint("settlement.after_commit")
                            settled += written
                            wake()
            except (DBAPIError, LeadlineError, ArithmeticError) as error:
                if is_transient(error):
                    raise
                log.exception("price_basis_not_settled", remedy="correct the lot: PATCH its quantity or price")
    return settled


async def _compare(engine: AsyncEngine, clock: Clock, portfolio: UUID, after: str) -> list[Lot]:
    """Some lots that can be settled, of the symbols that follow, with what is decided of them. Before the commit-order lock: of fifty
    thousand it takes seconds, and what it reads is one view, as if it were done at that instant."""
    async with snapshot(engine) as conn:
        await load_closures(conn)
        rows = await undecided_lots.read_slice(conn, portfolio, after)
        if not rows:
            return []
        # The rest of the same files, decided earlier: their days were ingested before.
        others = await undecided_lots.decided_positions(conn, portfolio, rows)
        every = [*rows, *others]
        # Of some thousand lots that is long for the event loop; so is what was decided of them.
        positions = await asyncio.to_thread(
            lambda: [_stated_position(number, row) for number, row in enumerate(every, start=1)]
        )
        decisions = await validation.decide_price_basis(
            conn,
            positions,
            clock,
            Issues(),
            files=[row["created_at"] for row in every],
            decided=[*[None] * len(rows), *[row["price_basis"] for row in others]],
            final=True,
        )

    def settle() -> list[Lot]:
        # Ingest has asked every provider, and there is none: no later answer is being waited for.
        return [
            Lot(
                row, position, replace(decision, assumed=False, reason=basis.NO_CLOSE) if decision.assumed else decision
            )
            for row, position, decision in zip(rows, positions, decisions, strict=False)
        ]

    return await asyncio.to_thread(settle)


def _in_writes(lots: Sequence[Lot]) -> Iterator[list[Lot]]:
    """Whole symbols, up to so many lots: what was decided together is written together."""
    part: list[Lot] = []
    for _, group in groupby(lots, key=lambda lot: lot.position.symbol):
        of_symbol = list(group)
        if part and len(part) + len(of_symbol) > LOTS_A_WRITE:
            yield part
            part = []
        part += of_symbol
    if part:
        yield part


async def _write(engine: AsyncEngine, clock: Clock, portfolio: UUID, lots: Sequence[Lot]) -> int:
    """Store what was decided; returns how many lots were. None where one is no longer what was compared: the next turn reads anew."""
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        await load_closures(conn)
        before = await store.get(conn, portfolio)
        if before is None or not await undecided_lots.are_unchanged(conn, [lot.row for lot in lots]):
            return 0
        await apply(conn, clock, before, lots, source="onboarding")
        failpoint("settlement.before_commit")
    doubts = {basis.NO_CLOSE, *basis.DOUBTFUL}
    doubtful = {lot.position.symbol for lot in lots if lot.decision.reason in doubts}
    log.info("price_basis_settled", lots=len(lots), converted=sum(lot.moved for lot in lots), doubtful=sorted(doubtful))
    return len(lots)


async def apply(
    conn: AsyncConnection, clock: Clock, before: Portfolio, lots: Sequence[Lot], *, source: str
) -> Change | None:
    """Store decisions. If a number or a doubt moved, raise snapshots from there on and return the change; else only wake who waited:
    for a lot that was settled before, without a close, nobody does."""
    fresh = [lot for lot in lots if lot.moved or lot.settled]
    if not fresh:
        return None
    await store.record_decisions(conn, [(lot.row["id"], lot.decision) for lot in fresh])
    # Turns that found nothing to compute, because of this, delay nothing from now on: a raise sees to that itself.
    restated = [lot.position.entry_session for lot in fresh if lot.restates]
    if restated:
        return await ledger_effects.record_change(conn, clock, before, min(restated), Phase.SNAPSHOTS, source=source)
    # Snapshots leave out what is to be compared as well, as soon as there is a close to compare it with.
    waited_for = [
        lot.position.entry_session
        for lot in fresh
        if lot.row["basis_assumed"]
        or (lot.row["basis_reason"] in basis.BY_THE_USER and lot.row["basis_awaits"] is not None)
    ]
    if not waited_for:
        return None
    await ledger.record_progress(conn, Phase.SNAPSHOTS, [before.id])
    first = min(waited_for)
    body = WorkBody(portfolios=[before.id], first=first, last=max(first, clock.last_due()))
    await outbox.publish(conn, [PhaseRequested(work=body, phase=Phase.SNAPSHOTS)], source=SERVICE)
    return None


def _stated_position(number: int, row: RowMapping) -> Position:
    """The lot as the user wrote it."""
    return Position(
        row=number,
        symbol=row["symbol"],
        quantity=row["stated_quantity"],
        entry_date=row["entry_date"],
        entry_session=row["entry_session"],
        entry_price=row["stated_entry_price"],
        investment_class=row["investment_class"],
        investment_subtype=row["investment_subtype"],
        underlying_symbol=row["underlying_symbol"],
        strike_price=row["strike_price"],
        expiration_date=row["expiration_date"],
        option_type=row["option_type"],
        exit_date=row["exit_date"],
        exit_session=row["exit_session"],
        exit_price=row["stated_exit_price"],
        name=row["name"],
        sector=row["sector"],
        price_basis=row["price_basis"] if row["basis_reason"] in basis.BY_THE_USER else None,
    )

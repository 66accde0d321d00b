"""Options at the end of their contract: settled at what exercise is worth, where the underlying's close of that session is stored.

A stated exit stands. Nothing is stored of it: every batch settles the same lots, since a close that changes raises its session anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.snapshots import store
from services.snapshots.store import Rows
from shared.market.calendar import calendar
from shared.market.symbols import Occ, parse_occ

ASSIGNMENT_SESSIONS = 3


class Position(NamedTuple):
    """A lot as `store.positions` reads it."""

    portfolio_id: UUID
    id: UUID
    symbol: str
    investment_class: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal | None
    entry_date: date
    exit_date: date | None
    entry_session: date
    exit_session: date | None
    investment_subtype: str | None
    basis_reason: str | None
    underlying_symbol: str | None


def intrinsic(contract: Occ, close: float) -> Decimal:
    """What exercise is worth at a close of the underlying, of one share."""
    apart = Decimal(str(close)) - contract.strike
    return max(Decimal(0), apart if contract.option_type == "CALL" else -apart)


async def settle(conn: AsyncConnection, positions: Rows, last: date) -> Sequence[Any]:
    """The lots, with the exit that those have whose contract ended by `last`. Their order stays."""
    ended = [(at, *of) for at, row in enumerate(positions) if (of := _ended_contract(row, last)) is not None]
    if not ended:
        return positions
    closes = await store.closes_at_expiry(
        conn, [(root, session, positions[at].entry_date) for at, _, root, session in ended]
    )
    rows: list[Any] = list(positions)
    for (at, contract, _, session), close in zip(ended, closes, strict=True):
        if close is not None:
            rows[at] = Position(*rows[at])._replace(
                exit_date=session, exit_session=session, exit_price=intrinsic(contract, close)
            )
    return rows


def _ended_contract(row: Any, last: date) -> tuple[Occ, str, date] | None:
    """(contract, underlying, last session) of an option without a stated exit. Not of an adjusted contract: its shares are not 100."""
    contract = parse_occ(row.symbol)
    if contract is None or contract.expiration > last:
        return None
    if row.exit_session is not None or row.investment_class == "PRIVATE":
        return None
    if not row.symbol.startswith(f"{contract.underlying}{contract.expiration:%y%m%d}"):
        return None
    session = calendar().on_or_before(contract.expiration)
    return None if session < row.entry_session else (contract, row.underlying_symbol or contract.underlying, session)


def find_assigned_lots(positions: Sequence[Any]) -> Collection[UUID]:
    """Lots that look like the delivery of an option of their portfolio: entered at its strike within three sessions of its end. The
    option's settlement and such a lot say the same money twice, unless the option has its exit stated."""
    ends = {(row.portfolio_id, *of) for row in positions for of in _deliveries(row)}
    if not ends:
        return ()
    days = calendar()
    return {
        row.id
        for row in positions
        for portfolio, root, strike, session in ends
        if (row.portfolio_id, row.symbol, row.entry_price) == (portfolio, root, strike)
        and len(days.between(*sorted((session, row.entry_session)))) - 1 <= ASSIGNMENT_SESSIONS
    }


def _deliveries(row: Any) -> Iterator[tuple[str, Decimal, date]]:
    """(underlying, strike, last session) of an option that was settled; never of one whose exit is before its end."""
    contract = parse_occ(row.symbol)
    if contract is not None and row.exit_session is not None:
        session = calendar().on_or_before(contract.expiration)
        if row.exit_session == session:
            yield row.underlying_symbol or contract.underlying, contract.strike, session

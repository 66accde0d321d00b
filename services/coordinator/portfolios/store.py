"""SQL of `coordinator.portfolios` and `coordinator.positions`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.account import Account
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Position
from services.coordinator.portfolios import quotas
from shared.db.bulk import insert_staged_rows, stage, stage_rows
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_CONTENT_COLUMNS = (
    "symbol", "quantity", "entry_date", "entry_session", "entry_price", "exit_date", "exit_session", "exit_price",
    "investment_class", "investment_subtype", "underlying_symbol", "strike_price", "expiration_date", "option_type", "name",
    "sector", "price_basis", "basis_assumed", "basis_reason", "basis_awaits", "stated_quantity", "stated_entry_price",
    "stated_exit_price",
)  # fmt: skip
"""What a lot says; `_content` has the values."""
_FEW = 100
_POSITION_COLUMNS = ("id", "portfolio_id", *_CONTENT_COLUMNS, "content_key", "from_trades")


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The header row of a portfolio that is not deleted."""

    id: UUID
    name: str
    account_type: str
    currency: str
    equity_balance: Decimal
    first_session: date | None
    created_at: datetime
    updated_at: datetime


_PORTFOLIO = "p.id, p.name, p.account_type, p.currency, p.equity_balance, p.first_session, p.created_at, p.updated_at"


async def insert_unseen(conn: AsyncConnection, account: Account, first_session: date | None) -> UUID:
    """A new portfolio, before the commit-order lock: until the transaction commits nobody sees it, and its lots may follow."""
    portfolio_id = await conn.scalar(text("SELECT ledger.begin_unseen()"))
    await conn.execute(
        text("""
            INSERT INTO coordinator.portfolios (id, tenant_id, name, account_type, currency, equity_balance, first_session)
            VALUES (:id, :tenant, :name, :account_type, :currency, :equity, :first)
        """),
        {
            "id": portfolio_id,
            "tenant": own_tenant(),
            "name": account.name,
            "account_type": account.account_type,
            "currency": account.currency,
            "equity": account.equity_balance,
            "first": first_session,
        },
    )
    assert isinstance(portfolio_id, UUID)
    return portfolio_id


async def get(conn: AsyncConnection, portfolio: UUID) -> Portfolio | None:
    row = (
        await conn.execute(
            text(f"""
                SELECT {_PORTFOLIO} FROM coordinator.portfolios p
                WHERE p.id = :id AND p.deleted_at IS NULL AND {only_own("p")}
            """),
            {"id": portfolio, "tenant": tenant_filter()},
        )
    ).one_or_none()
    return Portfolio(*row) if row else None


async def update(conn: AsyncConnection, portfolio: UUID, values: Mapping[str, object]) -> None:
    """Set columns of the header; the names are ours, never a user's."""
    assignments = "".join(f"{column} = :{column}, " for column in values)
    await conn.execute(
        text(f"UPDATE coordinator.portfolios SET {assignments}updated_at = now() WHERE id = :id"),
        {"id": portfolio, **values},
    )


async def delete(conn: AsyncConnection, portfolio: UUID) -> None:
    await conn.execute(
        text("UPDATE coordinator.portfolios SET deleted_at = now(), updated_at = now() WHERE id = :id"),
        {"id": portfolio},
    )


# --- lots ------------------------------------------------------------------------------------------------------------


def _content(position: Position, decision: Decision) -> tuple[object, ...]:
    return (
        position.symbol, decision.quantity, position.entry_date, position.entry_session, decision.entry_price,
        position.exit_date, position.exit_session, decision.exit_price, position.investment_class,
        position.investment_subtype, position.underlying_symbol, position.strike_price, position.expiration_date,
        position.option_type, position.name, position.sector, decision.price_basis, decision.assumed, decision.reason,
        decision.awaits, position.quantity, position.entry_price, position.exit_price,
    )  # fmt: skip


async def insert_positions(
    conn: AsyncConnection, portfolio: UUID, rows: Iterable[tuple[Position, Decision, str]], *, from_trades: bool = False
) -> list[UUID]:
    """Add lots, many at once: a file may have 50,000. Content keys must be new to the portfolio. Returns their ids."""
    ids = await stage_positions(conn, portfolio, list(rows), from_trades=from_trades)
    if ids:
        await insert_staged_positions(conn)
    return ids


async def stage_positions(
    conn: AsyncConnection, portfolio: UUID, rows: Sequence[tuple[Position, Decision, str]], *, from_trades: bool = False
) -> list[UUID]:
    """Bring lots to the database, for `insert_staged_positions` in the same transaction. Returns the ids they will have."""
    drawn = await conn.scalars(text("SELECT uuidv7() FROM generate_series(1, :count)"), {"count": len(rows)})
    ids = list(drawn)
    # One by one, as they are sent: the event loop has others to answer.
    records = (
        (id_, portfolio, *_content(position, decision), key, from_trades)
        for id_, (position, decision, key) in zip(ids, rows, strict=True)
    )
    await stage_rows(conn, "coordinator.positions", _POSITION_COLUMNS, records)
    return ids


async def insert_staged_positions(conn: AsyncConnection) -> None:
    await insert_staged_rows(conn, "coordinator.positions", _POSITION_COLUMNS)
    await quotas.refuse_excess(conn)


async def content_keys(conn: AsyncConnection, portfolio: UUID) -> set[str]:
    keys = await conn.scalars(
        text("""
            SELECT content_key FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND content_key IS NOT NULL
        """),
        {"id": portfolio},
    )
    return set(keys)


async def positions(conn: AsyncConnection, portfolio: UUID) -> Sequence[RowMapping]:
    rows = await conn.execute(
        text("""
            SELECT id, symbol, quantity, entry_date, entry_session, entry_price, exit_date, exit_session, exit_price,
                   investment_class, investment_subtype, underlying_symbol, strike_price, expiration_date, option_type,
                   name, sector, price_basis, basis_assumed, basis_reason, basis_awaits,
                   stated_quantity, stated_entry_price, stated_exit_price, created_at
            FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL ORDER BY entry_session, id
        """),
        {"id": portfolio},
    )
    return rows.mappings().all()


async def position(conn: AsyncConnection, portfolio: UUID, position_id: UUID) -> RowMapping | None:
    rows = await conn.execute(
        text("""
            SELECT * FROM coordinator.positions
            WHERE portfolio_id = :portfolio AND id = :id AND deleted_at IS NULL
        """),
        {"portfolio": portfolio, "id": position_id},
    )
    return rows.mappings().one_or_none()


async def stage_edits(conn: AsyncConnection, edits: Sequence[tuple[UUID, Position, Decision]]) -> None:
    """Bring lots' new content to the database, for `update_staged_positions` in the same transaction."""
    records = ((id_, *_content(position, decision)) for id_, position, decision in edits)
    await conn.execute(text("DROP TABLE IF EXISTS edited_positions"))
    columns = ("id", *_CONTENT_COLUMNS)
    # Of one lot, as a person edits it, statistics cost more than they save.
    await stage(conn, "edited_positions", "coordinator.positions", columns, records, analyze=len(edits) > _FEW)


async def update_staged_positions(conn: AsyncConnection) -> dict[UUID, RowMapping]:
    """Replace lots' content; their ids and content keys stay, so a file imported again still knows them. Returns those that differ
    from before, as they are now."""
    columns = ", ".join(_CONTENT_COLUMNS)
    rows = await conn.execute(
        text(f"""
            UPDATE coordinator.positions x SET ({columns}) = ROW({_of("e")}), updated_at = now() FROM edited_positions e
            WHERE x.id = e.id AND ({_of("x")}) IS DISTINCT FROM ({_of("e")}) RETURNING x.*
        """)
    )
    return await asyncio.to_thread(lambda: {row["id"]: row for row in rows.mappings()})


def _of(table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in _CONTENT_COLUMNS)


async def record_decisions(conn: AsyncConnection, decisions: Sequence[tuple[UUID, Decision]]) -> None:
    """Replace how lots are stored; what the user stated stays."""
    await conn.execute(
        text("""
            UPDATE coordinator.positions x
            SET price_basis = d.price_basis, quantity = d.quantity, entry_price = d.entry_price, exit_price = d.exit_price,
                basis_assumed = d.assumed, basis_reason = d.reason, basis_awaits = d.awaits
            FROM unnest(CAST(:ids AS uuid[]), CAST(:bases AS text[]), CAST(:quantities AS numeric[]), CAST(:entries AS numeric[]),
                        CAST(:exits AS numeric[]), CAST(:assumed AS boolean[]), CAST(:reasons AS text[]), CAST(:awaits AS date[]))
                AS d (id, price_basis, quantity, entry_price, exit_price, assumed, reason, awaits)
            WHERE x.id = d.id
        """),
        {
            "ids": [identity for identity, _ in decisions],
            "bases": [decision.price_basis for _, decision in decisions],
            "quantities": [decision.quantity for _, decision in decisions],
            "entries": [decision.entry_price for _, decision in decisions],
            "exits": [decision.exit_price for _, decision in decisions],
            "assumed": [decision.assumed for _, decision in decisions],
            "reasons": [decision.reason for _, decision in decisions],
            "awaits": [decision.awaits for _, decision in decisions],
        },
    )


async def delete_position(conn: AsyncConnection, position_id: UUID) -> None:
    await conn.execute(text("UPDATE coordinator.positions SET deleted_at = now() WHERE id = :id"), {"id": position_id})


async def first_entry(conn: AsyncConnection, portfolio: UUID) -> date | None:
    first = await conn.scalar(
        text("SELECT min(entry_session) FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL"),
        {"id": portfolio},
    )
    return first if isinstance(first, date) else None

"""SQL of trades: `coordinator.trades`, the splits and dividends they are matched with, and when they are to be matched anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.fifo import SPLIT_DAYS
from services.coordinator.importer.trades import Trade
from shared.db.bulk import insert_staged_rows, stage_rows

_TRADE = (
    "row",
    "kind",
    "symbol",
    "day",
    "time",
    "sequence",
    "quantity",
    "price",
    "broker_id",
    "name",
    "price_basis",
    "opens_rest",
)


_COLUMNS = ("portfolio_id", "import_id", *_TRADE, "trade_key")


async def insert_trades(conn: AsyncConnection, portfolio: UUID, import_id: UUID, trades: Iterable[Trade]) -> None:
    await stage_trades(conn, portfolio, import_id, trades)
    await insert_staged_trades(conn)


async def stage_trades(conn: AsyncConnection, portfolio: UUID, import_id: UUID, trades: Iterable[Trade]) -> None:
    """Bring them to the database, for `insert_staged_trades` in the same transaction."""
    # One by one, as they are sent: the event loop has others to answer.
    records = (
        (portfolio, import_id, *(getattr(trade, column) for column in _TRADE), trade.key)
        for trade in trades
        if trade.kind != "dividend"
    )
    await stage_rows(conn, "coordinator.trades", _COLUMNS, records)


async def insert_staged_trades(conn: AsyncConnection) -> None:
    await insert_staged_rows(conn, "coordinator.trades", _COLUMNS)


async def trades(conn: AsyncConnection, portfolio: UUID, *, without: UUID | None = None) -> list[Trade]:
    """The trades of all imports that count, each once and as the newest of them says it, oldest first. without : an import"""
    said = ", ".join("t." + column for column in _TRADE if column != "sequence")
    rows = await conn.execute(
        text(f"""
            SELECT {", ".join(_TRADE)}, trade_key FROM (
                SELECT DISTINCT ON (t.trade_key) {said}, t.trade_key,
                       first_value(t.import_id) OVER oldest AS first_import, first_value(t.sequence) OVER oldest AS sequence
                FROM coordinator.trades t JOIN coordinator.imports i ON i.id = t.import_id AND i.undone_at IS NULL
                WHERE t.portfolio_id = :id AND t.import_id IS DISTINCT FROM CAST(:without AS uuid)
                WINDOW oldest AS (PARTITION BY t.trade_key ORDER BY t.import_id)
                ORDER BY t.trade_key, t.import_id DESC
            ) once ORDER BY day, time, first_import, sequence
        """),
        {"id": portfolio, "without": without},
    )
    return [
        Trade(
            row,
            kind,
            symbol,
            day,
            _decimal(quantity),
            _decimal(price),
            time,
            sequence,
            broker_id,
            name,
            None,
            basis,
            opens_rest,
            key=key,
        )
        for row, kind, symbol, day, time, sequence, quantity, price, broker_id, name, basis, opens_rest, key in rows
    ]


async def to_match_anew(conn: AsyncConnection, portfolios: Sequence[UUID] | None) -> dict[UUID, set[str]]:
    """Symbols by portfolio whose trades may be other lots by what is stored since."""
    # Where there are none, as of most portfolios, planning the two statements takes longer than this one.
    some = "SELECT EXISTS (SELECT FROM coordinator.trades WHERE CAST(:of AS uuid[]) IS NULL OR portfolio_id = ANY(:of))"
    if not await conn.scalar(text(some), {"of": None if portfolios is None else list(portfolios)}):
        return {}
    found = await splits_after_matching(conn, portfolios)
    for portfolio, symbol in await _closes_beside_unlisted_splits(conn, portfolios):
        found.setdefault(portfolio, set()).add(symbol)
    return found


async def _closes_beside_unlisted_splits(conn: AsyncConnection, portfolios: Sequence[UUID] | None) -> Sequence[Any]:
    """Symbols of which the trades list a split, and closes came since they were matched, or that the lots were not compared with."""
    rows = await conn.execute(
        text("""
            SELECT DISTINCT x.portfolio_id, x.symbol FROM coordinator.positions x
            JOIN coordinator.portfolios p ON p.id = x.portfolio_id AND p.deleted_at IS NULL
            JOIN ingest.symbols y ON y.symbol = x.symbol
            JOIN ingest.prices q ON q.symbol_id = y.id AND q.session = coalesce(x.basis_awaits, x.entry_session)
            JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.entry_session AND u.phase = 'ingest'
                AND u.completed_revision >= u.required_revision
            WHERE x.from_trades AND x.deleted_at IS NULL AND (x.basis_awaits IS NOT NULL OR q.known_from > x.created_at)
              AND (CAST(:portfolios AS uuid[]) IS NULL OR x.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
              AND EXISTS (
                  SELECT 1 FROM coordinator.trades t JOIN coordinator.imports i ON i.id = t.import_id AND i.undone_at IS NULL
                  WHERE t.portfolio_id = x.portfolio_id AND t.symbol = x.symbol AND t.kind IN ('split', 'receive'))
        """),
        {"portfolios": None if portfolios is None else list(portfolios)},
    )
    return rows.all()


async def splits_after_matching(conn: AsyncConnection, portfolios: Sequence[UUID] | None) -> dict[UUID, set[str]]:
    """Symbols by portfolio of which a split between an opening and a closing trade was stored after the lots were.

    Lots of numbers that are stated as split-adjusted are none of them: their splits are in the numbers.
    """
    rows = await conn.execute(
        text("""
            SELECT x.portfolio_id, x.symbol FROM (
                SELECT portfolio_id, symbol, max(created_at) AS matched_at FROM coordinator.positions
                WHERE from_trades AND deleted_at IS NULL
                  AND (CAST(:portfolios AS uuid[]) IS NULL OR portfolio_id = ANY (CAST(:portfolios AS uuid[])))
                GROUP BY portfolio_id, symbol HAVING bool_and(price_basis <> 'split_adjusted')
            ) x
            JOIN coordinator.portfolios p ON p.id = x.portfolio_id AND p.deleted_at IS NULL
            JOIN (
                SELECT t.portfolio_id, t.symbol,
                       min(t.day - CASE t.kind WHEN 'receive' THEN :apart ELSE 0 END)
                           FILTER (WHERE t.kind IN ('buy', 'short', 'receive') OR t.opens_rest) AS opened,
                       -- A broker books a split some days from its ex-date.
                       max(t.day + CASE WHEN t.kind IN ('split', 'receive') THEN :apart ELSE 0 END)
                           FILTER (WHERE t.kind NOT IN ('buy', 'short')) AS closed
                FROM coordinator.trades t JOIN coordinator.imports i ON i.id = t.import_id AND i.undone_at IS NULL
                WHERE CAST(:portfolios AS uuid[]) IS NULL OR t.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                GROUP BY t.portfolio_id, t.symbol
            ) t ON t.portfolio_id = x.portfolio_id AND t.symbol = x.symbol
            WHERE EXISTS (
                SELECT 1 FROM ingest.actions a JOIN ingest.symbols s ON s.id = a.symbol_id
                WHERE s.symbol = x.symbol AND a.type = 'split' AND a.known_from > x.matched_at
                  AND a.ex_session > t.opened AND a.ex_session <= t.closed)
        """),
        {"portfolios": None if portfolios is None else list(portfolios), "apart": SPLIT_DAYS},
    )
    found: dict[UUID, set[str]] = {}
    for portfolio, symbol in rows:
        found.setdefault(portfolio, set()).add(symbol)
    return found


async def record_matching(conn: AsyncConnection, portfolio: UUID, symbols: Iterable[str]) -> None:
    """The lots of these symbols are what the trades and the splits known now say."""
    await conn.execute(
        text("""
            UPDATE coordinator.positions SET created_at = clock_timestamp()
            WHERE portfolio_id = :portfolio AND from_trades AND deleted_at IS NULL AND symbol = ANY (CAST(:symbols AS text[]))
        """),
        {"portfolio": portfolio, "symbols": sorted(symbols)},
    )


def _decimal(value: Decimal | None) -> Decimal | None:
    return None if value is None else Decimal(value)


class SplitsRead(NamedTuple):
    """Splits that were stored when trades of the symbols began to be matched."""

    symbols: frozenset[str]
    found: Mapping[str, Sequence[tuple[date, Decimal]]]


async def read_splits(conn: AsyncConnection, trades: Iterable[Trade]) -> SplitsRead:
    symbols = frozenset(trade.symbol for trade in trades)
    return SplitsRead(symbols, await splits(conn, symbols))


async def find_changed_splits(conn: AsyncConnection, read: SplitsRead) -> set[str]:
    """Symbols of which other splits are stored now. Behind the commit-order lock, under which they are written: one that was being
    written when they were read has an earlier instant than the lots that are made without it, so nobody would find it later."""
    now = await splits(conn, read.symbols)
    return {symbol for symbol in read.symbols if now.get(symbol) != read.found.get(symbol)}


async def splits(conn: AsyncConnection, symbols: Iterable[str]) -> dict[str, list[tuple[date, Decimal]]]:
    """Stored splits by symbol, by date."""
    found: dict[str, list[tuple[date, Decimal]]] = {}
    for symbol, day, value in await _actions(conn, symbols, "split"):
        found.setdefault(symbol, []).append((day, Decimal(repr(value))))
    return found


async def dividends(conn: AsyncConnection, symbols: Iterable[str]) -> dict[str, list[tuple[date, float]]]:
    """Stored dividends by symbol, by ex-date, in money a share as paid."""
    found: dict[str, list[tuple[date, float]]] = {}
    for symbol, day, value in await _actions(conn, symbols, "dividend"):
        found.setdefault(symbol, []).append((day, float(value)))
    return found


async def _actions(conn: AsyncConnection, symbols: Iterable[str], kind: str) -> Sequence[Any]:
    rows = await conn.execute(
        text("""
            SELECT s.symbol, a.ex_session, a.value FROM ingest.actions a JOIN ingest.symbols s ON s.id = a.symbol_id
            WHERE a.type = :kind AND s.symbol = ANY (CAST(:symbols AS text[])) ORDER BY s.symbol, a.ex_session
        """),
        {"kind": kind, "symbols": sorted(set(symbols))},
    )
    return rows.all()

"""The lots that follow from a portfolio's trades, and what of the trades they leave over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import fifo, rules
from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.trades import NOT_PLACED, Trade
from services.coordinator.portfolios import import_store, validation
from shared.clock import Clock

# From the ex-date to the payment a month may pass, at some foreign companies two.
_PAID_WITHIN = 75
_TOLERANCE = 0.02
_KEPT = Decimal(1).scaleb(-10)


async def derive(
    conn: AsyncConnection, trades: Sequence[Trade], clock: Clock, price_basis: str, issues: Issues
) -> list[Position]:
    """The lots, first in, first out. What cannot be placed becomes a warning, a lot that breaks a rule an error."""
    ordered = sorted(trades, key=lambda trade: (trade.day, trade.time, trade.kind in ("sell", "cover", "expire")))
    splits = await import_store.splits(conn, {trade.symbol for trade in ordered})
    book = fifo.match(ordered, splits)
    for left in book.unplaced:
        issues.warn(
            left.trade.row, "quantity", NOT_PLACED,
            f"{left.trade.kind} of {_text(left.quantity)} {left.trade.symbol} on {left.trade.day} (row {left.trade.row}) is not "
            f"placed: {left.why}. Import the file with the earlier trades too.", _text(left.quantity),
        )  # fmt: skip
    await _compare_dividends(conn, book.dividends, issues)
    context = validation.rules_now(clock)
    lots = (rules.position(lot.opened.row, _cells(lot, price_basis), context, issues) for lot in book.lots)
    return [replace(lot, class_stated=False) for lot in lots if lot is not None]


def _cells(lot: fifo.Lot, price_basis: str) -> dict[str, str]:
    opened, closed = lot.opened, lot.closed
    return {
        "symbol": opened.symbol,
        "quantity": _text(lot.quantity),
        "entry_date": opened.day.isoformat(),
        "entry_price": _text(opened.price),
        "exit_date": "" if closed is None else closed.day.isoformat(),
        "exit_price": "" if closed is None else _text(closed.price),
        "name": opened.name or "",
        # A confirmation of a trade says what was paid on its day.
        "price_basis": price_basis if price_basis not in ("", "auto") else "as_traded",
    }


async def _compare_dividends(conn: AsyncConnection, paid: Sequence[fifo.Dividend], issues: Issues) -> None:
    """Only the price source's actions pay; the broker's rows are compared with them, and never stored."""
    if not paid:
        return
    listed = await import_store.dividends(conn, {dividend.trade.symbol for dividend in paid})
    unknown: list[str] = []
    for dividend in paid:
        trade = dividend.trade
        own = listed.get(trade.symbol)
        if own is None:
            unknown.append(trade.symbol)
            continue
        if not trade.amount or not dividend.shares:
            continue
        each = abs(float(trade.amount) / float(dividend.shares))
        near = [value for day, value in own if _paid(day, trade.day)]
        if not any(abs(value - each) <= _TOLERANCE * max(value, each) for value in near):
            known = f"lists {', '.join(f'{value:g}' for value in near)}" if near else "lists none near that day"
            issues.warn(
                trade.row, "amount", "dividend_differs",
                f"Row {trade.row}: the broker paid {each:.4f} a share of {trade.symbol} on {trade.day}; the price source {known}. "
                "Only the price source's dividends count.", str(trade.amount),
            )  # fmt: skip
    if unknown:
        names = ", ".join(sorted(set(unknown))[:10])
        issues.warn(
            None, "amount", "dividends_not_compared",
            f"{len(unknown)} dividend rows ({names}) are not compared: no actions are stored of them yet. They are not imported; "
            "the price source's dividends count.", str(len(unknown)),
        )  # fmt: skip


def _paid(ex: date, paid: date) -> bool:
    return -3 <= (paid - ex).days <= _PAID_WITHIN


def _text(value: Decimal | None) -> str:
    return "" if value is None else format(value.normalize(), "f")


def together(stored: Iterable[Trade], new: Iterable[Trade]) -> list[Trade]:
    """All trades, each once: one that both have is the one stored."""
    known = list(stored)
    keys = {trade.key for trade in known}
    return known + [trade for trade in new if trade.key not in keys]

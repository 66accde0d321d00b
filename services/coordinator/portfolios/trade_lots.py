"""The lots that follow from a portfolio's trades, and what of the trades they leave over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from math import prod

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import fifo, rules
from services.coordinator.importer.basis_model import AS_TRADED, SPLIT_ADJUSTED
from services.coordinator.importer.cells import plain_text
from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.presets import ADDING
from services.coordinator.importer.trades import NOT_PLACED, Trade, place
from services.coordinator.portfolios import trade_store, unlisted_splits, validation
from shared.clock import Clock

# From the ex-date to the payment a month may pass, at some foreign companies two.
_PAID_WITHIN = 75
_TOLERANCE = 0.02
_KEPT = Decimal(1).scaleb(-10)


async def derive(conn: AsyncConnection, trades: Sequence[Trade], clock: Clock, issues: Issues) -> list[Position]:
    """The lots, first in, first out. What cannot be placed becomes a warning, a lot that breaks a rule an error.

    Of many trades each step takes long, so none is the event loop's.
    """
    splits = await trade_store.splits(conn, {trade.symbol for trade in trades})
    ordered, adjusted = await asyncio.to_thread(lambda: on_one_basis(sorted(trades, key=place), splits))
    listed = {symbol: own for symbol, own in splits.items() if symbol not in adjusted}
    book = await asyncio.to_thread(fifo.match, ordered, listed)
    if in_prices := await unlisted_splits.in_the_closes(conn, ordered, book.received, clock):
        ordered = unlisted_splits.on_their_shares(ordered, in_prices)
        book = await asyncio.to_thread(fifo.match, ordered, listed)
        unlisted_splits.warn(in_prices, issues)
    for left in book.unplaced:
        issues.warn(
            left.trade.row, "quantity", NOT_PLACED,
            f"{left.trade.kind} of {plain_text(left.quantity)} {left.trade.symbol} on {left.trade.day} (row {left.trade.row}) is not "
            f"placed: {left.why}. Import the file with the earlier trades too.", plain_text(left.quantity),
        )  # fmt: skip
    paid = [
        replace(each, shares=each.shares / _factor(splits, each.trade)) if each.trade.symbol in adjusted else each
        for each in book.dividends
    ]
    await _compare_dividends(conn, paid, issues)
    _say_received([each.trade for each in book.received], issues)
    return await asyncio.to_thread(_positions, book.lots, validation.rules_now(clock), issues)


def _say_received(received: Sequence[Trade], issues: Issues) -> None:
    """Shares that the file alone knows of: right as long as the price source's closes are as traded and know nothing of them."""
    for trade in received:
        issues.warn(
            trade.row, "quantity", "shares_received",
            f"Row {trade.row}: {plain_text(trade.quantity)} {trade.symbol} came on {trade.day} without money, and no split of the price "
            "source near that day is stored. They enter at 0, and their value is gain on that day, as the fall of the shares that were "
            "held is loss. Once the source lists the split, that counts instead, by itself. If it lists a spin-off as a split of the "
            "parent company, or its prices are adjusted for a small stock dividend that it does not list, take the import back and "
            "import the file without this row.",
            plain_text(trade.quantity),
        )  # fmt: skip


def _positions(lots: Sequence[fifo.Lot], context: rules.Rules, issues: Issues) -> list[Position]:
    found = (_position(lot, context, issues) for lot in lots)
    return [replace(lot, class_stated=False) for lot in found if lot is not None]


def _position(lot: fifo.Lot, context: rules.Rules, issues: Issues) -> Position | None:
    found = Issues()
    position = rules.position(lot.opened.row, _cells(lot), context, found)
    if lot.opened.kind in ADDING:
        # Said once for all lots that its shares came beside.
        found.warnings = [each for each in found.warnings if (each.column, each.code) != ("entry_price", "zero_price")]
    issues.extend(found)
    return None if position is None else replace(position, written=_numbers_as_written(lot))


def _numbers_as_written(lot: fifo.Lot) -> tuple[tuple[str, str], ...]:
    """The numbers of a lot as the file at hand writes them in its rows; of rows of earlier files nothing is kept."""
    opened, closed = dict(lot.opened.written), {} if lot.closed is None else dict(lot.closed.written)
    texts = {"quantity": opened.get("quantity"), "entry_price": opened.get("price"), "exit_price": closed.get("price")}
    return tuple((column, text) for column, text in texts.items() if text)


def _cells(lot: fifo.Lot) -> dict[str, str]:
    opened, closed = lot.opened, lot.closed
    return {
        "symbol": opened.symbol,
        "quantity": plain_text(lot.quantity),
        "entry_date": opened.day.isoformat(),
        "entry_price": plain_text(opened.price),
        "exit_date": "" if closed is None else closed.day.isoformat(),
        "exit_price": "" if closed is None else plain_text(closed.price),
        "name": opened.name or "",
        # A confirmation of a trade says what was paid on its day.
        "price_basis": opened.price_basis or AS_TRADED,
    }


def on_one_basis(trades: Sequence[Trade], splits: fifo.Splits) -> tuple[list[Trade], frozenset[str]]:
    """The trades so that those of a symbol can be matched, and the symbols whose trades are all split-adjusted.

    On today's shares a split is no event: neither the source's nor the file's counts. Where a symbol's trades are on both bases, the
    adjusted ones are converted with the splits known now.
    """
    bases: dict[str, set[str]] = {}
    for trade in trades:
        if trade.kind not in (*ADDING, "dividend"):
            bases.setdefault(trade.symbol, set()).add(trade.price_basis or AS_TRADED)
    adjusted = frozenset(symbol for symbol, found in bases.items() if found == {SPLIT_ADJUSTED})
    result: list[Trade] = []
    held: set[str] = set()
    for trade in trades:
        # What a holding brought is in numbers of today; what came of another company is not.
        if trade.symbol in adjusted and (trade.kind == "split" or (trade.kind == "receive" and trade.symbol in held)):
            continue
        held.add(trade.symbol)
        if trade.symbol not in adjusted and trade.price_basis == SPLIT_ADJUSTED:
            factor = _factor(splits, trade)
            trade = replace(  # noqa: PLW2901 (the same trade in other numbers)
                trade,
                quantity=None if trade.quantity is None else (trade.quantity / factor).quantize(_KEPT),
                price=None if trade.price is None else (trade.price * factor).quantize(_KEPT),
                price_basis=None,
            )
        result.append(trade)
    return result, adjusted


def _factor(splits: fifo.Splits, trade: Trade) -> Decimal:
    """New shares per share of the trade's day."""
    return prod((ratio for day, ratio in splits.get(trade.symbol, ()) if day > trade.day), start=Decimal(1))


async def _compare_dividends(conn: AsyncConnection, paid: Sequence[fifo.Dividend], issues: Issues) -> None:
    """Only the price source's actions pay; the broker's rows are compared with them, and never stored."""
    if not paid:
        return
    listed = await trade_store.dividends(conn, {dividend.trade.symbol for dividend in paid})
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
        near = [value for day, value in own if _is_payment_of(day, trade.day)]
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


def _is_payment_of(ex: date, paid: date) -> bool:
    return -3 <= (paid - ex).days <= _PAID_WITHIN


def merge_trades(stored: Iterable[Trade], new: Iterable[Trade]) -> list[Trade]:
    """All trades, each once: one that both have is as the new ones say it, in its place among the stored ones."""
    merged = {trade.key: trade for trade in stored}
    for trade in new:
        kept = merged.get(trade.key)
        merged[trade.key] = trade if kept is None else replace(trade, sequence=kept.sequence)
    return list(merged.values())

"""Trades to lots, first in, first out. Pure; exact decimals."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from services.coordinator.importer.presets import ADDING
from services.coordinator.importer.trades import Trade
from shared.market.split_ratio import ratio

Splits = Mapping[str, Sequence[tuple[date, Decimal]]]
"""By symbol: (ex-date, new shares per old), by date."""
_KEPT = Decimal(1).scaleb(-10)
_BROKERS_DIGIT = Fraction(1, 10**6)
# A broker books a split around its ex-date; a listed one within these days is the same.
SPLIT_DAYS = 10


@dataclass(frozen=True, slots=True)
class Lot:
    """A purchase or short sale, or the part of one that was closed at once. `quantity` is signed, in shares of the entry day."""

    opened: Trade
    quantity: Decimal
    closed: Trade | None = None


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A trade, or the part of one, for which there is no lot."""

    trade: Trade
    quantity: Decimal
    why: str


@dataclass(frozen=True, slots=True)
class Dividend:
    """A dividend the broker paid, with the shares held on its day."""

    trade: Trade
    shares: Decimal


@dataclass(frozen=True, slots=True)
class Received:
    """Shares that came without money and that the price source does not list, with the shares that were held before."""

    trade: Trade
    held: Fraction

    @property
    def ratio(self) -> Fraction:
        """Shares of after per share of before; 0 where none were held."""
        return (self.held + Fraction(self.trade.quantity or 0)) / self.held if self.held else Fraction(0)


@dataclass(frozen=True, slots=True)
class Book:
    """received : splits, stock dividends and spin-offs that the file alone has, whose shares entered for nothing"""

    lots: tuple[Lot, ...]
    unplaced: tuple[Unplaced, ...]
    dividends: tuple[Dividend, ...]
    received: tuple[Received, ...] = ()


@dataclass(slots=True)
class _Open:
    trade: Trade
    left: Decimal
    """In shares of the entry day, as lots are kept."""
    exact: Fraction
    """The same without rounding: what is sold in parts after a split of three for two leaves nothing over at the end."""
    factor: Fraction = Fraction(1)
    """New shares per share of the entry day, by now."""
    sign: int = 1

    @property
    def available(self) -> Fraction:
        return self.exact * self.factor

    @property
    def rounding_tolerance(self) -> Fraction:
        """What a broker may have rounded of what a split made of a fraction of a share: it closes the lot all the same."""
        return _BROKERS_DIGIT if self.factor.denominator > 1 else Fraction(0)


def match(trades: Sequence[Trade], splits: Splits) -> Book:
    """All lots of all symbols. A sale closes long lots only, a cover short ones; what finds none is listed, never a short.

    trades : oldest first, as `trades.in_order` leaves them
    splits : known from the price source. Shares that only the broker's file adds enter at 0 on its day: prices of a source that
             lists no split go on as they were traded, so that shares of before at their price and new ones at none are worth what
             was held.
    """
    lots: list[Lot] = []
    unplaced: list[Unplaced] = []
    dividends: list[Dividend] = []
    received: list[Received] = []
    by_symbol: dict[str, list[Trade]] = {}
    for trade in trades:
        by_symbol.setdefault(trade.symbol, []).append(trade)
    for symbol, own in by_symbol.items():
        _match_symbol(own, list(splits.get(symbol, ())), lots, unplaced, dividends, received)
    lots.sort(key=lambda lot: (lot.opened.day, lot.opened.time, lot.opened.sequence))
    return Book(tuple(lots), tuple(unplaced), tuple(dividends), tuple(received))


def _match_symbol(
    trades: Sequence[Trade],
    listed: list[tuple[date, Decimal]],
    lots: list[Lot],
    unplaced: list[Unplaced],
    dividends: list[Dividend],
    received: list[Received],
) -> None:
    books: dict[int, deque[_Open]] = {1: deque(), -1: deque()}
    known = list(listed)
    for trade in trades:
        while listed and listed[0][0] <= trade.day:
            _, value = listed.pop(0)
            for book in books.values():
                for lot in book:
                    lot.factor *= ratio(float(value))
        if trade.kind in ("buy", "short"):
            sign = 1 if trade.kind == "buy" else -1
            assert trade.quantity is not None
            books[sign].append(_Open(trade, trade.quantity, Fraction(trade.quantity), sign=sign))
        elif trade.kind in ADDING:
            # What splits may be short; what is received beside a short position is owed by it, and no split.
            short = trade.kind == "split" and not books[1]
            _add_shares(trade, books[-1 if short else 1], known, unplaced, received)
        elif trade.kind == "dividend":
            held = sum((lot.available * lot.sign for book in books.values() for lot in book), Fraction(0))
            dividends.append(Dividend(trade, _decimal(held)))
        else:
            _close(trade, books, lots, unplaced)
    for book in books.values():
        lots.extend(Lot(lot.trade, (lot.sign * lot.left).quantize(_KEPT)) for lot in book if _is_kept(lot.left))


def _close(trade: Trade, books: dict[int, deque[_Open]], lots: list[Lot], unplaced: list[Unplaced]) -> None:
    side = -1 if trade.kind == "cover" or (trade.kind == "expire" and not books[1]) else 1
    book = books[side]
    assert trade.quantity is not None
    wanted = Fraction(trade.quantity)
    while wanted > 0 and book:
        lot = book[0]
        whole = abs(lot.available - wanted) <= lot.rounding_tolerance
        taken = lot.available if whole else min(lot.available, wanted)
        # All that is left, without a division: shares of the entry day stay as they were bought.
        part = lot.left if taken == lot.available else min(lot.left, _decimal(taken / lot.factor))
        if _is_kept(part):
            lots.append(Lot(lot.trade, side * part, trade))
        lot.left -= part
        lot.exact -= taken / lot.factor
        wanted = Fraction(0) if whole else wanted - taken
        if not lot.exact or not _is_kept(lot.left):
            book.popleft()
    # Of a fill that closes and opens: where nothing was there to close, the history is not whole, and how much it opened is not known.
    if trade.opens_rest and wanted < trade.quantity and _is_kept(_decimal(wanted)):
        rest = replace(trade, kind="buy" if side < 0 else "short", quantity=_decimal(wanted))
        books[-side].append(_Open(rest, _decimal(wanted), wanted, sign=-side))
    elif _is_kept(_decimal(wanted)):
        what = "no short lot to cover" if side < 0 else "no lot to sell"
        unplaced.append(
            Unplaced(
                trade, _decimal(wanted), f"there is {what}: it was opened before the file begins, or a split is missing"
            )
        )


def _add_shares(
    trade: Trade,
    book: deque[_Open],
    listed: Sequence[tuple[date, Decimal]],
    unplaced: list[Unplaced],
    received: list[Received],
) -> None:
    """Shares that came without money, each part beside the lot it came of: sold first in, first out, the two leave together."""
    assert trade.quantity is not None
    same = any(abs((day - trade.day).days) <= SPLIT_DAYS for day, _ in listed)
    held = sum((lot.available for lot in book), Fraction(0))
    if not held and (same or trade.kind == "split"):
        unplaced.append(Unplaced(trade, trade.quantity, "nothing was held that could split"))
        return
    if same:
        return
    received.append(Received(trade, held))
    free = replace(trade, price=Decimal(0))
    if not held:
        book.append(_Open(free, trade.quantity, Fraction(trade.quantity)))
        return
    sign = book[0].sign
    before, left = list(book), trade.quantity
    book.clear()
    for lot in before:
        part = Fraction(trade.quantity) * lot.available / held
        # What rounding leaves is the last one's: all parts together are what came.
        rounded = left if lot is before[-1] else _decimal(part)
        left -= rounded
        book.extend((lot, _Open(free, rounded, part, sign=sign)))


def _decimal(quantity: Fraction) -> Decimal:
    return (Decimal(quantity.numerator) / Decimal(quantity.denominator)).quantize(_KEPT)


def _is_kept(quantity: Decimal) -> bool:
    return quantity.quantize(_KEPT) != 0

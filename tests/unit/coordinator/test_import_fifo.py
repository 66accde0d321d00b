"""Trades to lots, first in, first out, against a ledger that knows nothing of lots."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import log, prod

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordinator.importer.basis_model import SPLIT_ADJUSTED
from services.coordinator.importer.fifo import Lot, match
from services.coordinator.importer.trades import Trade, assign_keys, in_order
from services.coordinator.portfolios.trade_lots import on_one_basis
from services.coordinator.portfolios.unlisted_splits import on_their_shares, told_by
from tests.support.examples import examples

FIRST = date(2020, 3, 2)
SIDE = {"buy": 1, "cover": 1, "sell": -1, "short": -1}
MARK = {"KO": Decimal("51.25"), "PEP": Decimal("140.5")}


def trade(kind: str, day: int, quantity: str, price: str | None = "10", symbol: str = "KO", row: int = 1) -> Trade:
    return Trade(
        row, kind, symbol, FIRST + timedelta(days=day), Decimal(quantity), None if price is None else Decimal(price)
    )


def told(lots: tuple[Lot, ...]) -> list[tuple[int, object, int | None]]:
    return [
        ((lot.opened.day - FIRST).days, lot.quantity, None if lot.closed is None else (lot.closed.day - FIRST).days)
        for lot in lots
    ]


def test_the_oldest_lot_is_sold_first_and_split_where_it_must_be() -> None:
    book = match([trade("buy", 0, "10"), trade("buy", 1, "5"), trade("sell", 2, "12")], {})
    assert sorted(told(book.lots)) == [(0, 10, 2), (1, 2, 2), (1, 3, None)]
    assert book.unplaced == ()


def test_a_sale_without_a_lot_is_listed_and_never_a_short() -> None:
    book = match([trade("buy", 0, "10"), trade("sell", 1, "25"), trade("buy", 2, "5")], {})
    assert told(book.lots) == [(0, 10, 1), (2, 5, None)]
    [left] = book.unplaced
    assert (left.quantity, left.trade.kind) == (Decimal(15), "sell")
    assert all(lot.quantity > 0 for lot in book.lots)


def test_shorts_are_covered_by_what_covers() -> None:
    book = match([trade("short", 0, "10"), trade("buy", 1, "4"), trade("cover", 2, "6"), trade("cover", 3, "9")], {})
    assert sorted(told(book.lots)) == [(0, -6, 2), (0, -4, 3), (1, 4, None)]
    assert [left.quantity for left in book.unplaced] == [5]


def test_what_expires_closes_either_side_at_nothing() -> None:
    for opening, sign in (("buy", 1), ("short", -1)):
        book = match([trade(opening, 0, "2"), trade("expire", 9, "2", "0")], {})
        assert told(book.lots) == [(0, Decimal(2) * sign, 9)]
        assert book.lots[0].closed is not None
        assert book.lots[0].closed.price == 0


def test_a_split_between_is_counted_once_from_the_source_or_the_file() -> None:
    """100 bought, 4 for 1, 300 of the 400 sold: 75 of the shares that were bought."""
    sale = [trade("buy", 0, "100", "400"), trade("sell", 30, "300", "110")]
    source = {"KO": [(FIRST + timedelta(days=10), Decimal(4))]}
    in_file = [sale[0], trade("split", 11, "300", None), sale[1]]
    for trades in (sale, in_file):
        assert sorted(told(match(trades, source).lots)) == [(0, 25, None), (0, 75, 30)]
    late = match([trade("buy", 12, "100"), trade("sell", 30, "100")], source)
    assert told(late.lots) == [(12, 100, 30)], "a split before the purchase is none of its business"


def test_shares_that_the_file_alone_adds_enter_at_nothing_beside_those_they_came_of() -> None:
    """100 at 400 and 4 for 1 in the file: prices of a source that lists no split fall to 100, and 300 shares at 0 make up for it. Of
    the 100 shares alone three quarters would be gone."""
    for kind in ("split", "receive"):
        trades = [trade("buy", 0, "60", "400"), trade("buy", 1, "40", "410"), trade(kind, 11, "300", None)]
        book = match([*trades, trade("sell", 30, "240", "110")], {})
        assert [each.trade.kind for each in book.received] == [kind]
        lots = [(float(lot.opened.price or 0), float(lot.quantity), lot.closed is not None) for lot in book.lots]
        assert sorted(lots) == [(0, 120, False), (0, 180, True), (400, 60, True), (410, 40, False)], (
            "the first 60, with theirs"
        )
        assert sum(lot.quantity for lot in book.lots if lot.closed is None) == 160
    thirds = match([trade("buy", day, "1") for day in range(3)] + [trade("split", 5, "1", None)], {})
    assert sum(lot.quantity for lot in thirds.lots) == 4, "to the last digit"


def test_a_stock_dividend_counts_once_and_a_spin_off_is_a_lot_of_its_own() -> None:
    bought, listed = trade("buy", 0, "100", "50"), {"KO": [(FIRST + timedelta(days=8), Decimal("1.05"))]}
    book = match([bought, trade("receive", 11, "5", None), trade("sell", 30, "105", "49")], listed)
    assert (told(book.lots), book.received, book.unplaced) == ([(0, 100, 30)], (), ()), "the source lists it as a split"
    book = match(
        [bought, trade("receive", 11, "20", None, symbol="PEP"), trade("sell", 30, "20", "9", symbol="PEP")], listed
    )
    [spun] = [lot for lot in book.lots if lot.opened.symbol == "PEP"]
    assert spun.closed is not None
    assert [spun.quantity, spun.opened.price, spun.closed.price] == [20, 0, 9]
    [left] = match([trade("receive", 11, "5", None)], listed).unplaced
    assert "nothing was held" in left.why, "a split of what was bought before the file begins"
    today = [replace(each, price_basis=SPLIT_ADJUSTED) for each in (bought, trade("receive", 11, "5", None))]
    assert [each.kind for each in on_one_basis(today, {})[0]] == ["buy"], "numbers of today have it"


def test_closes_that_are_adjusted_for_a_split_of_the_file_alone_tell_so() -> None:
    """Two splits, 2 and 3 for 1: of a source adjusted for both, the later or none; and one too small to be told from a day's move."""
    trades = assign_keys([
        trade("buy", 0, "10", "60"), trade("split", 5, "10", None), trade("buy", 6, "10", "31"), trade("split", 9, "60", None),
        trade("buy", 12, "1", "10.2"), trade("receive", 20, "1", None),
    ])  # fmt: skip
    splits = match(trades, {}).received
    assert [each.ratio for each in splits] == [2, 3, Fraction(92, 91)]

    def distances(*closes: float) -> list[tuple[str, date, float]]:
        return [
            ("KO", each.day, log(float(each.price or 0) / close))
            for each, close in zip([trades[0], trades[2]], closes, strict=True)
        ]

    for closes, found in (((10.1, 10.0), [3, 2]), ((20.2, 10.0), [3]), ((59.0, 30.0), [])):
        assert [each.ratio for each in told_by(splits, distances(*closes))] == found
    both = on_their_shares(trades, told_by(splits, distances(10.1, 10.0)))
    assert [(each.kind, str(each.quantity), str(each.price)) for each in both] == [
        ("buy", "60.0000000000", "10.0000000000"), ("buy", "30.0000000000", "10.3333333333"), ("buy", "1", "10.2"), ("receive", "1", "None")
    ]  # fmt: skip


def test_what_is_sold_in_parts_after_an_odd_split_leaves_nothing_over() -> None:
    """Neither a sale without a lot nor a lot of the last digit: 10 of 15, then 5; a third of 9; and what a broker rounded."""
    on = FIRST + timedelta(days=1)
    odd = {"KO": [(on, Decimal("1.5"))]}
    book = match([trade("buy", 0, "10"), trade("sell", 5, "10"), trade("sell", 6, "5")], odd)
    assert (sum(lot.quantity for lot in book.lots), book.unplaced) == (10, ())
    third = {"KO": [(on, Decimal("0.3333333333333333"))]}
    book = match([trade("buy", 0, "9"), trade("sell", 5, "3")], third)
    assert (told(book.lots), book.unplaced) == ([(0, 9, 5)], ())
    book = match([trade("buy", 0, "10"), trade("sell", 5, "2"), trade("sell", 6, "1.333333")], third)
    assert (told(book.lots), book.unplaced) == ([(0, 6, 5), (0, 4, 6)], ())


def test_files_come_in_both_orders_and_trades_of_a_day_by_the_clock() -> None:
    rows = [trade("buy", 0, "1", row=2), trade("sell", 0, "1", row=3), trade("buy", 3, "2", row=4)]
    assert [each.row for each in in_order(rows)] == [each.row for each in in_order(rows[::-1])] == [2, 3, 4]
    timed = [replace(rows[1], time="150000"), replace(rows[0], time="093000"), replace(rows[0], time="160000", row=9)]
    assert [each.row for each in in_order(timed)] == [2, 3, 9]


def test_equal_fills_have_keys_of_their_own_and_the_same_in_the_next_file() -> None:
    twice = assign_keys([trade("buy", 0, "1"), trade("buy", 0, "1"), trade("buy", 1, "1")])
    assert len({each.key for each in twice}) == 3
    assert [each.key for each in assign_keys(twice[:2])] == [each.key for each in twice[:2]]


amounts = st.decimals(min_value="0.01", max_value=500, places=2)
fills = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "short", "cover"]),
        st.integers(0, 40),
        amounts,
        amounts,
        st.sampled_from(sorted(MARK)),
    ),
    max_size=40,
)


@settings(max_examples=examples(100), deadline=None)
@given(fills)
def test_any_trades_give_lots_with_the_profit_of_a_plain_ledger(
    rows: list[tuple[str, int, Decimal, Decimal, str]],
) -> None:
    """What the lots gain, realised and not, is what the cash account and the shares held say; nothing is lost on the way."""
    trades = in_order(
        [trade(kind, day, str(quantity), str(price), symbol) for kind, day, quantity, price, symbol in rows]
    )
    book = match(trades, {})
    cash, held = Decimal(0), defaultdict[str, Decimal](Decimal)
    left = defaultdict[int, Decimal](Decimal)
    for missing in book.unplaced:
        left[missing.trade.sequence] += missing.quantity
    for each in trades:
        assert each.quantity is not None
        assert each.price is not None
        placed = (each.quantity - left[each.sequence]) * SIDE[each.kind]
        cash -= placed * each.price
        held[each.symbol] += placed
    ledger = cash + sum(shares * MARK[symbol] for symbol, shares in held.items())
    gained = Decimal(0)
    for lot in book.lots:
        assert lot.opened.price is not None
        out = MARK[lot.opened.symbol] if lot.closed is None else lot.closed.price
        assert out is not None
        gained += lot.quantity * (out - lot.opened.price)
        assert lot.closed is None or lot.closed.day >= lot.opened.day
    assert gained == ledger
    for symbol, shares in held.items():
        assert sum(lot.quantity for lot in book.lots if lot.opened.symbol == symbol and lot.closed is None) == shares


additions = st.lists(
    st.tuples(st.sampled_from(["split", "receive"]), st.integers(0, 40), amounts, st.sampled_from(sorted(MARK))),
    max_size=4,
)


@settings(max_examples=examples(100), deadline=None)
@given(fills, additions)
def test_shares_that_came_without_money_are_gain_of_what_they_are_worth(
    rows: list[tuple[str, int, Decimal, Decimal, str]], came: list[tuple[str, int, Decimal, str]]
) -> None:
    """A ledger of cash and shares knows no splits: shares come, and no money goes. Of a short position alone a split makes more owed."""
    trades = [trade(kind, day, str(quantity), str(price), symbol) for kind, day, quantity, price, symbol in rows]
    trades = in_order(trades + [trade(kind, day, str(quantity), None, symbol) for kind, day, quantity, symbol in came])
    book = match(trades, {})
    left = defaultdict[int, Decimal](Decimal)
    for missing in book.unplaced:
        left[missing.trade.sequence] += missing.quantity
    ledger, held, owned = Decimal(0), defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    for each in trades:
        assert each.quantity is not None
        owes = each.kind == "split" and abs(owned[each.symbol]) < Decimal("0.000001")
        shares = (each.quantity - left[each.sequence]) * (-1 if owes else SIDE.get(each.kind, 1))
        held[each.symbol] += shares
        owned[each.symbol] += 0 if owes or each.kind in ("short", "cover") else shares
        ledger += shares * (MARK[each.symbol] - (each.price or 0))
    gained = Decimal(0)
    for lot in book.lots:
        assert lot.opened.price is not None
        out = MARK[lot.opened.symbol] if lot.closed is None else lot.closed.price
        assert out is not None
        gained += lot.quantity * (out - lot.opened.price)
    assert abs(gained - ledger) < Decimal("0.0001")
    for symbol, shares in held.items():
        kept = sum((lot.quantity for lot in book.lots if lot.opened.symbol == symbol and not lot.closed), Decimal(0))
        assert abs(kept - shares) < Decimal("0.000001")


ratios = st.sampled_from([Decimal(2), Decimal(4), Decimal("1.5"), Decimal("0.5"), Decimal("0.1")])
splits_of = st.dictionaries(
    st.sampled_from(sorted(MARK)),
    st.lists(st.tuples(st.integers(1, 40), ratios), max_size=3, unique_by=lambda each: each[0]),
)


@settings(max_examples=examples(100), deadline=None)
@given(fills, splits_of)
def test_with_splits_between_the_profit_is_a_plain_ledgers_and_the_basis_is_of_no_account(
    rows: list[tuple[str, int, Decimal, Decimal, str]], listed: dict[str, list[tuple[int, Decimal]]]
) -> None:
    """Shares held grow at each split; and the same trades, stated on the shares after all splits, are the same lots."""
    splits = {
        symbol: sorted((FIRST + timedelta(days=day), ratio) for day, ratio in of) for symbol, of in listed.items()
    }
    trades = in_order(
        [trade(kind, day, str(quantity), str(price), symbol) for kind, day, quantity, price, symbol in rows]
    )
    book = match(trades, splits)
    left = defaultdict[int, Decimal](Decimal)
    for missing in book.unplaced:
        left[missing.trade.sequence] += missing.quantity

    def factor(symbol: str, after: date, until: date = date.max) -> Decimal:
        return prod((ratio for day, ratio in splits.get(symbol, ()) if after < day <= until), start=Decimal(1))

    ledger = Decimal(0)
    for each in trades:
        assert each.quantity is not None
        assert each.price is not None
        shares = (each.quantity - left[each.sequence]) * SIDE[each.kind]
        ledger += shares * (factor(each.symbol, each.day) * MARK[each.symbol] - each.price)
    gained = Decimal(0)
    for lot in book.lots:
        opened, closed = lot.opened, lot.closed
        assert opened.price is not None
        out = MARK[opened.symbol] if closed is None else closed.price
        assert out is not None
        grown = factor(opened.symbol, opened.day, date.max if closed is None else closed.day)
        gained += lot.quantity * (grown * out - opened.price)
    assert abs(gained - ledger) < Decimal("0.0001")

    adjusted = [
        replace(
            each, price_basis=SPLIT_ADJUSTED, quantity=(each.quantity or 0) * factor(each.symbol, each.day),
            price=(each.price or 0) / factor(each.symbol, each.day),
        )
        for each in trades
    ]  # fmt: skip
    same, of_today = on_one_basis(adjusted, splits)
    assert of_today == {each.symbol for each in trades}
    lots = match(same, {}).lots
    assert [(lot.opened.sequence, lot.closed and lot.closed.sequence) for lot in lots] == [
        (lot.opened.sequence, lot.closed and lot.closed.sequence) for lot in book.lots
    ]
    for lot, other in zip(book.lots, lots, strict=True):
        assert abs(lot.quantity * factor(lot.opened.symbol, lot.opened.day) - other.quantity) < Decimal("0.000001")


def test_trades_on_both_bases_are_matched_as_traded() -> None:
    """100 at 400 stated as traded, 4 for 1, 40 at 100 stated on today's shares: 10 of the shares of their day."""
    splits = {"KO": [(FIRST + timedelta(days=10), Decimal(4))]}
    stated = replace(trade("buy", 1, "40", "100"), price_basis=SPLIT_ADJUSTED)
    trades, of_today = on_one_basis([trade("buy", 0, "100", "400"), stated, trade("sell", 30, "420", "110")], splits)
    assert of_today == frozenset()
    book = match(trades, splits)
    assert [lot for lot in told(book.lots) if lot[2]] == [(0, 100, 30), (1, 5, 30)]
    assert [lot for lot in told(book.lots) if not lot[2]] == [(1, 5, None)]
    assert {lot.opened.price for lot in book.lots} == {400}

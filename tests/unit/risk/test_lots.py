"""Lots of many sessions, merged by symbol from the arrays that the database packs."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Mapping
from datetime import date
from uuid import UUID

import numpy as np
import pytest

from services.risk.compute.inputs import Kind
from services.risk.store.holdings import HeldRow, LotList, UserClassification
from services.risk.workflow import lots as workflow
from services.risk.workflow.lots import LotTable, Merged, merge_lots
from shared.market.calendar import calendar
from shared.market.symbols import classify, is_cash_like, parse_occ

DAY = date(2020, 12, 31)
CONTRACT = "AAPL210115C00120000"
SAID = (
    None,
    UserClassification("PUBLIC", "Tech", None),
    UserClassification("PUBLIC", "Energy", None, "MONEY_MARKET"),
    UserClassification("PRIVATE", "", None),
    UserClassification("OPTIONS", "Cars", "AAPL"),
    UserClassification("OPTIONS", None, None),
    UserClassification("OPTIONS", "Tech", "MSFT"),
)


def lot_by_lot(row: HeldRow, said: Mapping[bytes, UserClassification]) -> list[Merged]:
    """The definition: each open lot added to its symbol and class, in whole numbers."""
    kinds = {"OPTIONS": Kind.OPTION, "OPTION": Kind.OPTION, "PRIVATE": Kind.PRIVATE}
    found: dict[tuple[str, Kind], list[Merged]] = {}
    figures = zip(
        row.lots.read_ids(), row.lots.read_symbols(), row.quantity.tolist(), row.market_value.tolist(), strict=True
    )
    for at, (lot, symbol, quantity, value) in enumerate(figures):
        if quantity == 0.0:
            continue
        of = said.get(lot)
        kind = kinds.get(of.investment_class if of else classify(symbol).value, Kind.PUBLIC)
        kind = Kind.CASH if kind == Kind.PUBLIC and of is not None and is_cash_like(of.subtype) else kind
        root = of.underlying if of is not None and kind == Kind.OPTION and of.underlying else ""
        own = Merged(
            (symbol, kind), max(value, 0), min(value, 0), at in row.no_evidence, (of and of.sector) or None, root
        )
        found.setdefault(own.row, []).append(own)
    return [
        Merged(
            (symbol, kind),
            sum(lot.long for lot in lots),
            sum(lot.short for lot in lots),
            any(lot.unpriceable for lot in lots),
            min((lot.sector for lot in lots if lot.sector), default=None),
            min((lot.root for lot in lots if lot.root), default=None)
            or (contract.underlying if kind == Kind.OPTION and (contract := parse_occ(symbol)) else symbol),
        )
        for (symbol, kind), lots in sorted(found.items())
    ]


def book(chance: random.Random, count: int) -> tuple[HeldRow, dict[bytes, UserClassification]]:
    ids = [UUID(int=chance.getrandbits(128)) for _ in range(count)]
    symbols = [chance.choice(["AAPL", "MSFT", "ZÜRN", CONTRACT, "EQ_FUND", ""]) for _ in ids]
    said = {lot.bytes: of for lot in ids if (of := chance.choice(SAID)) is not None}
    row = HeldRow(
        UUID(int=1),
        DAY,
        1.0,
        LotList.of(ids, symbols),
        np.array([chance.choice([0.0, 1.5, -2.0]) for _ in ids], dtype=np.float64),
        np.array([chance.choice([0, 7, -(2**60), 2**58 + 1]) for _ in ids], dtype=np.int64),
        sorted(chance.sample(range(count), count // 3)),
    )
    return row, said


@pytest.mark.parametrize("seed", range(20))
def test_a_session_is_merged_as_lot_by_lot_to_the_last_digit(seed: int) -> None:
    row, said = book(random.Random(seed), seed * 2 % 13)
    assert merge_lots(row, said) == lot_by_lot(row, said)


def test_an_earlier_session_that_lists_the_first_lots_is_merged_by_the_same_table() -> None:
    row, said = book(random.Random(5), 40)
    table = LotTable.of(row.lots, said)
    ids, symbols = [UUID(bytes=lot) for lot in row.lots.read_ids()], row.lots.read_symbols()
    for count in (0, 1, 17, 40):
        first = [at for at in row.no_evidence if at < count]
        earlier = HeldRow(
            row.portfolio_id, DAY, 1.0, LotList.of(ids[:count], symbols[:count]),
            row.quantity[:count], row.market_value[:count], first,
        )  # fmt: skip
        assert row.lots.begins_with(earlier.lots)
        assert table.merge(earlier) == lot_by_lot(earlier, said)
    moved = LotList.of(ids[1:3], symbols[1:3])
    renamed = LotList.of(ids[:2], ["OTHER", *symbols[1:2]])
    assert not row.lots.begins_with(moved)
    assert not row.lots.begins_with(renamed)


def test_a_range_is_read_in_pieces_of_so_many_lots_that_cover_each_day_once() -> None:
    days = calendar()
    first, last = date(2020, 1, 2), date(2020, 3, 31)
    pieces = list(workflow._spans(first, last, workflow.LOTS_AT_ONCE // 10))
    assert all(len(days.between(low, high)) <= 10 for low, high in pieces)
    assert (pieces[0][1], pieces[-1][0]) == (last, first)
    covered = sorted(day for low, high in pieces for day in range(low.toordinal(), high.toordinal() + 1))
    assert covered == list(range(first.toordinal(), last.toordinal() + 1))
    assert list(workflow._spans(first, last, 0)) == [(first, last)]
    assert list(workflow._spans(first, first, 10**9)) == [(first, first)]


def test_the_next_session_of_many_lots_costs_bytes_and_no_objects() -> None:
    """Fifty thousand lots over two hundred sessions were gigabytes of Python's own."""
    count = 20_000
    ids = [UUID(int=n + 1) for n in range(count)]
    listed = LotList.of(ids, [f"S{n % 50}" for n in range(count)])
    row = HeldRow(UUID(int=1), DAY, 1.0, listed, np.ones(count), np.arange(count, dtype=np.int64))
    table = LotTable.of(listed, {})
    table.merge(row)
    tracemalloc.start()
    try:
        merged = table.merge(row)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(merged) == 50
    assert peak < 60 * count, "some arrays of eight bytes a lot"

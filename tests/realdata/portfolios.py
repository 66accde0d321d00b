"""Portfolios of CSV files as the importer stores them, and a price grid as a world of the ledger."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np

from services.coordinator.importer.basis import Decision, Market, decide
from services.coordinator.importer.model import PUBLIC, Issues, Position
from shared.market.calendar import calendar
from tests.support.pricefiles import Grid
from tests.support.worlds import Lot, Portfolio, Symbol, World


def positions(path: Path) -> list[Position]:
    """The rows of a CSV as they stand there."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        Position(
            row=k + 2,
            symbol=row["symbol"],
            quantity=Decimal(row["quantity"]),
            entry_date=date.fromisoformat(row["entry_date"]),
            entry_session=calendar().on_or_after(date.fromisoformat(row["entry_date"])),
            entry_price=Decimal(row["entry_price"]),
            investment_class=PUBLIC,
            exit_date=date.fromisoformat(row["exit_date"]) if row["exit_date"] else None,
            exit_price=Decimal(row["exit_price"]) if row["exit_price"] else None,
        )
        for k, row in enumerate(rows)
    ]


def decided(of: Position, grid: Grid) -> Decision:
    """What the importer makes of a position once the grid's prices are stored."""
    column = grid.column(of.symbol)
    row = int(np.searchsorted(grid.sessions, np.datetime64(of.entry_date, "D"), side="right")) - 1
    splits = tuple(
        (grid.sessions[t].item(), float(grid.splits[t, column]))
        for t in np.flatnonzero(grid.splits[:, column] != 1.0).tolist()
        if grid.sessions[t].item() > of.entry_date
    )
    close, adjusted = (float(figure[row, column]) for figure in (grid.close, grid.adj_close))
    market = Market(None if np.isnan(close) else close, None if np.isnan(adjusted) else adjusted, splits)
    issues = Issues()
    decision = decide(of, market, issues)
    assert not issues.refused
    assert issues.warnings == [], "every entry price is a close of its day"
    return decision


def lot(of: Position, decision: Decision, number: int) -> Lot:
    return Lot(
        of.symbol,
        decision.quantity,
        of.entry_date,
        decision.entry_price,
        of.exit_date,
        decision.exit_price,
        number=number,
    )


def world(grid: Grid, first: date, portfolios: Sequence[Sequence[Lot]], equity: Decimal) -> World:
    """The sessions from `first` to the grid's last, and everything stored of its symbols."""
    start = grid.row(first)
    sessions = tuple(day.item() for day in grid.sessions[start:])
    symbols = {}
    for column, name in enumerate(grid.symbols):
        known: dict[str, dict[date, float]] = {
            what: {day: float(v) for day, v in zip(sessions, figure[start:, column], strict=True) if np.isfinite(v) and v != empty}
            for what, figure, empty in (
                ("close", grid.close, 0.0), ("adj_close", grid.adj_close, 0.0), ("dividends", grid.dividends, 0.0),
                ("splits", grid.splits, 1.0),
            )
        }  # fmt: skip
        symbols[name] = Symbol(
            name,
            known["close"],
            known["adj_close"],
            known["dividends"],
            known["splits"],
            from_file=bool(grid.from_file[:, column].any()),
        )
    made = tuple(Portfolio(equity, tuple(lots), {}, p + 1) for p, lots in enumerate(portfolios))
    return World(sessions, symbols, made)

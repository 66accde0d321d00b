"""Arrays to rows: labels are attached here, once. Runs in the computation's thread, for it is most of a batch's Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.snapshots.compute import (
    Basis,
    Inputs,
    LotTable,
    Reason,
    Shortfall,
    Snapshots,
    figure_reasons,
    lot_reasons,
)
from services.snapshots.store import HOLDINGS_COLUMNS, SNAPSHOT_COLUMNS, SNAPSHOT_FIGURES
from shared.ledger import Outcome
from shared.work import Key

_BASES = np.array([basis.name.lower() for basis in Basis], dtype=object)
_REASONS = np.array(["" if reason is Reason.NONE else reason.name.lower() for reason in Reason], dtype=object)
# What follows (portfolio_id, session, revision) in each row.
assert SNAPSHOT_COLUMNS[3:] == ("quality", "reasons", *SNAPSHOT_FIGURES)
assert HOLDINGS_COLUMNS[3:5] == ("position_ids", "symbols")


@dataclass(frozen=True, slots=True)
class UnitRow:
    outcome: Outcome
    snapshot: tuple[Any, ...]
    holdings: tuple[Any, ...]


def unit_rows(inputs: Inputs, table: LotTable, snapshots: Snapshots) -> Mapping[Key, UnitRow]:
    """One row of each table for every portfolio and session; the lots of a row are those entered by then."""
    days = inputs.market.days[1:]
    sessions = days.astype("datetime64[D]").tolist()
    figures = [_nullable(getattr(snapshots, figure)) for figure in SNAPSHOT_FIGURES]
    lots = _lot_columns(table)
    count = len(inputs.portfolios.portfolio_id)
    starts = np.searchsorted(inputs.lots.portfolio, np.arange(count + 1), side="left").tolist()
    rows: dict[Key, UnitRow] = {}
    for portfolio, portfolio_id in enumerate(inputs.portfolios.portfolio_id):
        start, end = starts[portfolio], starts[portfolio + 1]
        entered = np.searchsorted(inputs.lots.entry_session[start:end], days, side="right").tolist()
        for row, session in enumerate(sessions):
            of_portfolio = slice(start, start + entered[row])
            short = lot_reasons(inputs, table, row, of_portfolio)
            reasons = short + figure_reasons(inputs, snapshots, row, portfolio)
            outcome = _outcome(short, float(snapshots.coverage[row, portfolio]))
            rows[Key(portfolio_id, session)] = UnitRow(
                outcome,
                (outcome.quality, json.dumps(reasons), *(figure[row][portfolio] for figure in figures)),
                (
                    inputs.lots.position_id[of_portfolio],
                    inputs.lots.symbol[of_portfolio],
                    *(column[row][of_portfolio] for column in lots),
                ),
            )
    return rows


def _outcome(short: list[Shortfall], coverage: float) -> Outcome:
    return Outcome("partial" if short else "complete", coverage, [dict(reason) for reason in short])


def _lot_columns(table: LotTable) -> list[list[list[Any]]]:
    """The columns of `HOLDINGS_COLUMNS` after the symbols, as lists over sessions of lists over lots."""
    return [
        table.quantity.tolist(),
        table.price.tolist(),
        table.price_day.astype("datetime64[D]").tolist(),
        _BASES[table.basis].tolist(),
        table.stale.tolist(),
        table.market_value.tolist(),
        table.daily_pnl.tolist(),
        table.cumulative_pnl.tolist(),
        table.realized_pnl.tolist(),
        table.dividends.tolist(),
        _REASONS[table.reason].tolist(),
    ]


def _nullable(values: NDArray[np.int64] | NDArray[np.float64]) -> list[list[Any]]:
    """Numbers as Python's, null where a figure is unknown."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    rows: list[list[Any]] = plain.tolist()
    return rows

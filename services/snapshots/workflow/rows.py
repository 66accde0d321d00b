"""Arrays to rows: labels are attached here, once. Runs in the computation's thread, for it is most of a batch's Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.snapshots.compute import (
    Basis,
    Doubts,
    Inputs,
    LotTable,
    Reason,
    Shortfall,
    Snapshots,
    figure_reasons,
    lot_reasons,
)
from services.snapshots.store import HOLDINGS_COLUMNS, SNAPSHOT_COLUMNS, SNAPSHOT_FIGURES
from shared import progress
from shared.db import binary
from shared.ledger import Outcome
from shared.work import UnitKey

_BASES = [basis.name.lower() for basis in Basis]
_REASONS = ["" if reason is Reason.NONE else reason.name.lower() for reason in Reason]
assert [*map(int, Basis)] == [*range(len(Basis))]
assert [*map(int, Reason)] == [*range(len(Reason))]
# What follows (portfolio_id, session, revision) in each row.
assert SNAPSHOT_COLUMNS[3:] == ("quality", "reasons", "provisional", *SNAPSHOT_FIGURES)
assert HOLDINGS_COLUMNS[3:] == (
    "position_ids", "symbols", "quantity", "price", "price_session", "price_basis", "stale",
    "market_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "dividends", "reason",
)  # fmt: skip


# Lots times sessions whose columns are encoded before they are joined to rows.
LOTS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class UnitRow:
    outcome: Outcome
    snapshot: tuple[Any, ...]
    holdings: bytes
    """The columns after the key, in the binary form of COPY."""


def unit_rows(inputs: Inputs, table: LotTable, snapshots: Snapshots) -> Mapping[UnitKey, UnitRow]:
    """One row of each table for every portfolio and session; the lots of a row are those entered by then."""
    days = inputs.market.days[1:]
    sessions = days.astype("datetime64[D]").tolist()
    figures = [_nullable(getattr(snapshots, figure)) for figure in SNAPSHOT_FIGURES]
    count = len(inputs.portfolios.portfolio_id)
    starts = np.searchsorted(inputs.lots.portfolio, np.arange(count + 1), side="left").tolist()
    doubts = Doubts(inputs, table)
    rows: dict[UnitKey, UnitRow] = {}
    for portfolio, portfolio_id in enumerate(inputs.portfolios.portfolio_id):
        start, end = starts[portfolio], starts[portfolio + 1]
        entered = np.searchsorted(inputs.lots.entry_session[start:end], days, side="right").tolist()
        holdings = _holdings(inputs, table, start, entered)
        for row, session in enumerate(sessions):
            of_portfolio = slice(start, start + entered[row])
            short = lot_reasons(inputs, table, row, of_portfolio) + doubts.shortfalls(row, of_portfolio)
            reasons = short + doubts.remarks(row, of_portfolio) + figure_reasons(snapshots, row, portfolio)
            provisional = inputs.provisional is not None and bool(inputs.provisional[row, portfolio])
            outcome = _outcome(short, float(snapshots.coverage[row, portfolio]), provisional=provisional)
            rows[UnitKey(portfolio_id, session)] = UnitRow(
                outcome,
                (outcome.quality, json.dumps(reasons), provisional, *(figure[row][portfolio] for figure in figures)),
                holdings[row],
            )
        progress.report()
    return rows


def _outcome(short: list[Shortfall], coverage: float, *, provisional: bool) -> Outcome:
    return Outcome("partial" if short else "complete", coverage, [dict(reason) for reason in short], provisional)


def _holdings(inputs: Inputs, table: LotTable, start: int, counts: Sequence[int]) -> list[bytes]:
    """Rows of `HOLDINGS_COLUMNS` after the key, encoded, of one portfolio and each session: the first so many of its lots.

    A portfolio at a time, and column by column: as Python's numbers a batch would need twenty times the memory, and making
    them holds the interpreter for seconds. Of large portfolios some sessions at a time, because columns lie beside the rows that
    they are joined to.
    """
    most = max(counts, default=0)
    lots = range(start, start + most)
    ids = binary.uuid_prefixes([inputs.lots.position_id[lot] for lot in lots], counts)
    symbols = binary.text_prefixes([inputs.lots.symbol[lot] for lot in lots], counts)
    rows: list[bytes] = []
    step = max(1, LOTS_AT_ONCE // max(1, most))
    for low in range(0, len(counts), step):
        piece = counts[low : low + step]

        def whole(values: NDArray[Any], low: int = low, piece: Sequence[int] = piece) -> list[NDArray[Any]]:
            return [values[row, start : start + count] for row, count in enumerate(piece, low)]

        columns = [
            ids[low : low + step],
            symbols[low : low + step],
            binary.float8_arrays(whole(table.quantity)),
            binary.float8_arrays(whole(table.price)),
            binary.date_arrays(whole(table.price_day)),
            binary.label_arrays(_BASES, whole(table.basis)),
            binary.int2_arrays(whole(table.stale)),
            *(binary.int8_arrays(whole(getattr(table, name))) for name in HOLDINGS_COLUMNS[10:15]),
            binary.label_arrays(_REASONS, whole(table.reason)),
        ]
        rows += [b"".join(row) for row in zip(*columns, strict=True)]
    return rows


def _nullable(values: NDArray[np.int64] | NDArray[np.float64]) -> list[list[Any]]:
    """Numbers as Python's, null where a figure is unknown."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    rows: list[list[Any]] = plain.tolist()
    return rows

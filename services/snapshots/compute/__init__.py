"""The equity roll-forward of docs/methods.md §6, over the sessions and lots of many portfolios at once. Pure.

`roll_forward(Inputs)` continues from the stored row before the first session. Cutting the sessions into batches, or putting other
portfolios beside, changes no digit: money is integers, and every float is a function of the lot's or portfolio's own numbers.
"""

from __future__ import annotations

from services.snapshots.compute.doubts import AMBIGUOUS, ASSIGNMENT, MISMATCH, Doubts
from services.snapshots.compute.lots import lot_table
from services.snapshots.compute.model import (
    GAP_REASONS,
    NEVER,
    Basis,
    ChainBroken,
    Inputs,
    Lots,
    LotState,
    LotTable,
    Market,
    Portfolios,
    Reason,
    Snapshots,
)
from services.snapshots.compute.money import UNITS, AmountTooLarge, exact, from_units, stored_units, to_units
from services.snapshots.compute.portfolios import snapshots
from services.snapshots.compute.quality import Shortfall, figure_reasons, lot_reasons
from shared.market.internal_rate import xirr

__all__ = [
    "AMBIGUOUS", "ASSIGNMENT", "GAP_REASONS", "MISMATCH", "NEVER", "UNITS", "AmountTooLarge", "Basis", "ChainBroken", "Doubts", "Inputs",
    "LotState", "LotTable", "Lots", "Market", "Portfolios", "Reason", "Shortfall", "Snapshots", "exact",
    "figure_reasons", "from_units", "lot_reasons", "roll_forward",
    "stored_units", "to_units", "xirr",
]  # fmt: skip


def roll_forward(inputs: Inputs) -> tuple[LotTable, Snapshots]:
    """Lots and snapshots of every session, (T, n) and (T, P)."""
    table = lot_table(inputs)
    return table, snapshots(inputs, table)

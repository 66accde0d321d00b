"""What money would have cost and earned, which the ledger leaves out (docs/methods.md §16): an option, and in no other figure. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatVector
from shared.market.registry import SESSIONS_A_YEAR


@dataclass(frozen=True, slots=True)
class Carry:
    """Money over the range, and the return with it; NaN where a session is unknown."""

    interest: float
    """On a credit balance, at the bill's rate."""
    margin: float
    """Of a debit balance, at the bill's rate and the spread; at most 0."""
    borrow: float
    """Of what is borrowed to be short; at most 0."""
    total_return: float


def carry(
    returns: FloatVector,
    capital: FloatVector,
    cash: FloatVector,
    short: FloatVector,
    bill: FloatVector,
    *,
    margin_spread: float,
    borrow_rate: float,
) -> Carry:
    """All (n,) of consecutive sessions; a year's rates as decimals.

    capital : what the session's return is of; cash, short (<= 0) : at the close before, short of what is borrowed: a written option is
    not; bill : the session's risk-free return. The balance is cash less what is short: proceeds of a short sale are the lender's
    collateral and earn nothing here, while the premium of a written option is the writer's. Nothing is reinvested, and a session's
    amounts count within its own return.
    """
    balance = cash + short
    interest = np.maximum(balance, 0.0) * bill
    margin = np.minimum(balance, 0.0) * (bill + margin_spread / SESSIONS_A_YEAR)
    borrow = short * (borrow_rate / SESSIONS_A_YEAR)
    whole = interest + margin + borrow
    with np.errstate(invalid="ignore", divide="ignore"):
        added = np.where(whole == 0.0, 0.0, whole / capital)
    return Carry(
        float(interest.sum()), float(margin.sum()), float(borrow.sum()), float(np.prod(1.0 + returns + added) - 1.0)
    )

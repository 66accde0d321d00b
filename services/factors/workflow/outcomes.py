"""Outcome of a factors unit: quality, coverage, and the held symbols without joint betas."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.factors.store import Holding
from shared.ledger import Outcome
from shared.market.reasons import ReasonCode
from shared.work import Batch, UnitKey

UNKNOWN_SYMBOL = ReasonCode.NOT_FOUND.value


def held_slice(holding: Holding, sessions: Sequence[date]) -> slice:
    """The batch's sessions on which the lot is held."""
    first = bisect.bisect_left(sessions, holding.entry)
    last = len(sessions) if holding.exit is None else bisect.bisect_right(sessions, holding.exit)
    return slice(first, last)


def unit_outcomes(
    batch: Batch, holdings: Sequence[Holding], symbols: Sequence[str], missing_reason: NDArray[np.object_]
) -> dict[UnitKey, Outcome]:
    """A unit is partial where a symbol held has no joint betas. Coverage is the share of symbols that have them: weights
    are not known here, risk weighs them by value."""
    column = {symbol: i for i, symbol in enumerate(symbols)}
    sessions = batch.sessions
    held: dict[UUID, dict[str, NDArray[np.bool_]]] = {portfolio: {} for portfolio in batch.portfolios}
    for holding in holdings:
        mask = held[holding.portfolio_id].setdefault(holding.symbol, np.zeros(len(sessions), np.bool_))
        mask[held_slice(holding, sessions)] = True
    out: dict[UnitKey, Outcome] = {}
    for portfolio, own in held.items():
        count = np.zeros(len(sessions), dtype=np.int64)
        for mask in own.values():
            count += mask
        short: list[list[tuple[str, str]]] = [[] for _ in sessions]
        for symbol, mask in sorted(own.items()):
            reasons = (
                missing_reason[:, column[symbol]]
                if symbol in column
                else np.full(len(sessions), UNKNOWN_SYMBOL, object)
            )
            for k in np.flatnonzero(mask & (reasons != np.array(None))).tolist():
                short[k].append((symbol, reasons[k]))
        for k, session in enumerate(sessions):
            out[UnitKey(portfolio, session)] = _quality(short[k], int(count[k]))
    return out


def _quality(short: list[tuple[str, str]], count: int) -> Outcome:
    if not short:
        return Outcome()
    return Outcome(
        quality="partial",
        coverage=1.0 - len(short) / count,
        reasons=[{"figure": "factors", "symbol": symbol, "reason": reason} for symbol, reason in short],
    )

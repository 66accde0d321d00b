"""Outcome of a factors unit: quality, coverage, and the held symbols without joint betas."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.factors.store import Holding
from shared.ledger import Outcome
from shared.market.reasons import ReasonCode
from shared.work import Batch, UnitKey

UNKNOWN_SYMBOL = ReasonCode.NOT_FOUND.value


def held_slices(holdings: Sequence[Holding], sessions: Sequence[date]) -> dict[tuple[date, date | None], slice]:
    """By entry and exit, the batch's sessions on which a lot is held."""
    return {
        (entry, leave): slice(
            bisect.bisect_left(sessions, entry),
            len(sessions) if leave is None else bisect.bisect_right(sessions, leave),
        )
        for entry, leave in {(holding.entry, holding.exit) for holding in holdings}
    }


def unit_outcomes(
    batch: Batch, holdings: Sequence[Holding], symbols: Sequence[str], missing_reason: NDArray[np.object_]
) -> dict[UnitKey, Outcome]:
    """A unit is partial where a symbol held has no joint betas. Coverage is the share of symbols that have them: weights
    are not known here, risk weighs them by value."""
    column = {symbol: i for i, symbol in enumerate(symbols)}
    short = {symbols[i] for i in np.flatnonzero((missing_reason != np.array(None)).any(axis=0)).tolist()}
    on = held_slices(holdings, batch.sessions)
    held: dict[UUID, dict[str, list[slice]]] = {portfolio: {} for portfolio in batch.portfolios}
    for holding in holdings:
        held[holding.portfolio_id].setdefault(holding.symbol, []).append(on[holding.entry, holding.exit])
    out: dict[UnitKey, Outcome] = {}
    nothing = np.full(len(batch.sessions), UNKNOWN_SYMBOL, object)
    for portfolio, own in held.items():
        lacking: list[list[tuple[str, str]]] = [[] for _ in batch.sessions]
        for symbol in sorted(symbol for symbol in own if symbol in short or symbol not in column):
            reasons = missing_reason[:, column[symbol]] if symbol in column else nothing
            mask = _mask(own[symbol], len(batch.sessions))
            for k in np.flatnonzero(mask & (reasons != np.array(None))).tolist():
                lacking[k].append((symbol, reasons[k]))
        for session, of, count in zip(batch.sessions, lacking, _count(own.values(), len(batch.sessions)), strict=True):
            out[UnitKey(portfolio, session)] = _quality(of, count)
    return out


def _mask(spans: Sequence[slice], sessions: int) -> NDArray[np.bool_]:
    mask = np.zeros(sessions, np.bool_)
    for span in spans:
        mask[span] = True
    return mask


def _count(symbols: Iterable[Sequence[slice]], sessions: int) -> list[int]:
    """How many symbols are held on each session: one more where its only lot begins, one less where it ends."""
    steps, several = [0] * (sessions + 1), np.zeros(sessions, dtype=np.int64)
    for spans in symbols:
        if len(spans) > 1:
            several += _mask(spans, sessions)
        elif spans[0].start < spans[0].stop:
            steps[spans[0].start] += 1
            steps[spans[0].stop] -= 1
    counts: list[int] = (np.cumsum(steps[:-1]) + several).tolist()
    return counts


def _quality(short: list[tuple[str, str]], count: int) -> Outcome:
    if not short:
        return Outcome()
    return Outcome(
        quality="partial",
        coverage=1.0 - len(short) / count,
        reasons=[{"figure": "factors", "symbol": symbol, "reason": reason} for symbol, reason in short],
    )

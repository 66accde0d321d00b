"""Outcomes of factors units, against the definition: lot by lot, session by session."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from services.factors.store import Holding
from services.factors.workflow.outcomes import unit_outcomes
from shared.ledger import Outcome
from shared.work import Batch, UnitKey

FIRST = date(2020, 1, 1)


def by_definition(
    batch: Batch, holdings: Sequence[Holding], symbols: Sequence[str], missing: NDArray[np.object_]
) -> dict[UnitKey, Outcome]:
    found = {}
    for portfolio in batch.portfolios:
        for k, session in enumerate(batch.sessions):
            held = sorted(
                {
                    lot.symbol
                    for lot in holdings
                    if lot.portfolio_id == portfolio
                    and lot.entry <= session
                    and (lot.exit is None or session <= lot.exit)
                }
            )
            why = [(of, missing[k, symbols.index(of)] if of in symbols else "not_found") for of in held]
            short = [(of, reason) for of, reason in why if reason is not None]
            found[UnitKey(portfolio, session)] = (
                Outcome(
                    quality="partial",
                    coverage=1.0 - len(short) / len(held),
                    reasons=[{"figure": "factors", "symbol": of, "reason": reason} for of, reason in short],
                )
                if short
                else Outcome()
            )
    return found


@pytest.mark.parametrize("seed", range(40))
def test_outcomes_are_those_of_each_lot_and_session(seed: int) -> None:
    """Several lots of a symbol that overlap or not, lots outside the batch, symbols that nobody knows, portfolios without any."""
    drawn = random.Random(seed)
    count = drawn.choice([1, 1, 5, 30])
    sessions = tuple(FIRST + timedelta(days=k) for k in range(count))
    portfolios = tuple(UUID(int=number + 1) for number in range(drawn.randint(1, 6)))
    symbols = [f"S{number}" for number in range(12)]
    missing = np.full((count, len(symbols)), None, dtype=object)
    for _ in range(drawn.choice([0, 3, 40])):
        missing[drawn.randrange(count), drawn.randrange(len(symbols))] = drawn.choice(["no_trade", "short_history"])
    holdings = []
    for _ in range(drawn.choice([0, 20, 60])):
        entry = FIRST + timedelta(days=drawn.randint(-5, count + 2))
        leave = None if drawn.random() < 0.5 else entry + timedelta(days=drawn.randint(0, 12))
        holdings.append(Holding(drawn.choice(portfolios), drawn.choice([*symbols, "NOBODY"]), entry, leave))
    batch = Batch(portfolios, sessions, tuple((1,) * count for _ in portfolios))
    assert unit_outcomes(batch, holdings, symbols, missing) == by_definition(batch, holdings, symbols, missing)

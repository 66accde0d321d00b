"""What an edit of a lot makes necessary, and nothing else."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from services.coordinator.portfolios.edit_scope import edit_scope
from shared.work import Phase

ENTRY, EARLY, LATE = date(2019, 1, 2), date(2020, 6, 1), date(2020, 12, 28)
LOT: dict[str, Any] = {
    "symbol": "AAPL", "quantity": 10, "entry_date": ENTRY, "entry_session": ENTRY, "entry_price": 40,
    "exit_date": LATE, "exit_session": LATE, "exit_price": 136, "investment_class": "PUBLIC", "investment_subtype": "STOCK",
    "underlying_symbol": None, "strike_price": None, "expiration_date": None, "option_type": None, "name": "Apple",
    "sector": "Information Technology", "price_basis": "as_traded", "basis_assumed": False, "basis_reason": "compared",
    "basis_awaits": None, "stated_quantity": 10, "stated_entry_price": 40, "stated_exit_price": 136,
}  # fmt: skip
OPEN = {"exit_date": None, "exit_session": None, "exit_price": None}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, None),
        ({}, {"name": "Apple Inc."}, None),
        ({}, {"investment_subtype": "ETF", "basis_reason": "stated"}, None),
        ({}, {"investment_subtype": "MONEY_MARKET"}, (ENTRY, Phase.INGEST)),
        ({"investment_subtype": "CASH"}, {"investment_subtype": "MONEY_MARKET"}, None),
        ({}, {"basis_reason": "mismatch"}, (ENTRY, Phase.SNAPSHOTS)),
        ({"basis_reason": "ambiguous"}, {"basis_reason": "stated", "exit_price": 140}, (ENTRY, Phase.INGEST)),
        ({"basis_reason": "ambiguous"}, {"basis_reason": "stated", "sector": "Energy"}, (ENTRY, Phase.INGEST)),
        ({}, {"sector": "Energy"}, (ENTRY, Phase.RISK)),
        ({}, {"sector": "Energy", "name": "Exxon"}, (ENTRY, Phase.RISK)),
        ({}, {"exit_price": 140, "stated_exit_price": 140}, (LATE, Phase.SNAPSHOTS)),
        ({}, {"exit_date": date(2020, 12, 27)}, (LATE, Phase.SNAPSHOTS)),
        ({}, {"exit_date": EARLY, "exit_session": EARLY}, (EARLY, Phase.INGEST)),
        ({}, OPEN, (LATE, Phase.INGEST)),
        (OPEN, {}, (LATE, Phase.INGEST)),
        ({"exit_date": EARLY, "exit_session": EARLY}, {}, (EARLY, Phase.INGEST)),
        ({}, {"quantity": 11, "stated_quantity": 11}, (ENTRY, Phase.INGEST)),
        ({}, {"symbol": "MSFT"}, (ENTRY, Phase.INGEST)),
        ({}, {"sector": "Energy", "exit_price": 140}, (ENTRY, Phase.INGEST)),
        ({}, {"entry_date": EARLY, "entry_session": EARLY}, (ENTRY, Phase.INGEST)),
        ({}, {"basis_assumed": True, "basis_awaits": ENTRY}, (ENTRY, Phase.INGEST)),
    ],
)
def test_exactly_what_differs(before: dict[str, Any], after: dict[str, Any], expected: object) -> None:
    assert edit_scope(LOT | before, LOT | after) == expected

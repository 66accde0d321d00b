"""The page of positions shows a part of the lots, however many there are, and every lot is in one of the parts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.coordinator.web.views import positions as views

PORTFOLIO = str(UUID(int=1))


def held(number: int, symbol: str, value: float) -> dict[str, Any]:
    return {
        "position_id": str(UUID(int=number)),
        "symbol": symbol,
        "quantity": 1.0,
        "entry_date": "2020-01-02",
        "entry_price": 1.0,
        "price": value,
        "price_session": "2020-12-31",
        "market_value": value,
        "weight": 0.1,
        "daily_pnl": 0.0,
        "cumulative_pnl": 0.0,
        "reason": None,
    }


def lot(number: int, symbol: str) -> dict[str, Any]:
    return {"id": str(UUID(int=number)), "symbol": symbol, "stated_quantity": 1.0, "stated_entry_price": 1.0}


def shown(lots: int, later: int = 0, **asked: Any) -> dict[str, Any]:
    items = [held(n, f"S{n % 2}", float(n)) for n in range(1, lots + 1)]
    stated = [lot(n, f"S{n % 2}") for n in range(1, lots + later + 1)]
    return views.view(PORTFOLIO, {"session": "2020-12-31", "items": items}, stated, [], **asked)


def numbers(view: dict[str, Any]) -> list[int]:
    return [UUID(row["id"]).int for row in (*view["rows"], *view["later"])]


def test_a_small_portfolio_is_shown_whole() -> None:
    view = shown(3, later=1)
    assert numbers(view) == [3, 2, 1, 4]
    assert (view["lots"]["before"], view["lots"]["after"]) == (None, None)


def test_every_lot_is_in_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SHOWN_LOTS", 3)
    parts = [shown(5, later=3, part=part) for part in (1, 2, 3)]
    assert [numbers(part) for part in parts] == [[5, 4, 3], [2, 1, 6], [7, 8]]
    assert [(part["lots"]["first"], part["lots"]["last"], part["lots"]["count"]) for part in parts] == [
        (1, 3, 8),
        (4, 6, 8),
        (7, 8, 8),
    ]
    assert [(part["lots"]["before"], part["lots"]["after"]) for part in parts] == [(None, 2), (1, 3), (2, None)]
    # One beyond the last is the last.
    assert numbers(shown(5, later=3, part=99)) == [7, 8]


def test_the_lots_of_one_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SHOWN_LOTS", 2)
    assert numbers(shown(5, later=3, symbol=" s1 ")) == [5, 3]
    assert numbers(shown(5, later=3, symbol="S1", part=2)) == [1, 7]
    assert shown(5, symbol="NONE")["lots"]["count"] == 0


@pytest.mark.timeout(10)
def test_twenty_thousand_lots_are_a_part_like_any_other() -> None:
    """A look through all of them for each of them would take minutes."""
    view = shown(20_000, later=10, part=101)
    assert len(view["rows"]) == 0
    assert len(view["later"]) == 10
    assert len(shown(20_000)["rows"]) == views.SHOWN_LOTS

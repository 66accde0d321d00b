"""Positions: what is held, lot by lot, with a bar for weight and one for profit and loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figures
from services.coordinator.web.views.risk import bar

Document = Mapping[str, Any]


# A portfolio may have fifty thousand lots, of which no browser shows a table.
SHOWN_LOTS = 200


def view(
    portfolio: str,
    positions: Document,
    lots: Sequence[Document],
    flows: Sequence[Document],
    *,
    symbol: str = "",
    part: int = 1,
) -> dict[str, Any]:
    """One part of the lots, the largest first, and those that are not entered yet last.

    lots : as the user stated them; flows : money in and out; symbol : of this one alone; part : from 1
    """
    of = Figures(portfolio, positions["session"])
    meant = symbol.strip().upper()
    stated = {lot["id"]: lot for lot in lots}
    held = [item for item in positions["items"] if not meant or item["symbol"] == meant]
    held.sort(key=lambda item: (item["quantity"] == 0, -abs(item["market_value"])))
    entered = {item["position_id"] for item in positions["items"]}
    later = [lot for lot in lots if lot["id"] not in entered and (not meant or lot["symbol"] == meant)]
    count = len(held) + len(later)
    parts = max(1, -(-count // SHOWN_LOTS))
    first = SHOWN_LOTS * (min(part, parts) - 1)
    items = held[first : first + SHOWN_LOTS]
    weights = charts.scale([item["weight"] for item in held], 0, 60, zero=True)
    gains = charts.scale([item["cumulative_pnl"] for item in held], 0, 60, zero=True)
    return {
        "rows": [
            {
                "id": item["position_id"],
                "symbol": item["symbol"],
                "closed": item["quantity"] == 0,
                "entry_date": item["entry_date"],
                "quantity": of.of(_name(item, "quantity"), item["quantity"], formats.quantity),
                "price": of.of(_name(item, "price"), item["price"], formats.price, reason=item["reason"]),
                "price_session": item["price_session"],
                "old_price": item["price_session"] not in (None, positions["session"]) and item["quantity"] != 0,
                "value": of.money(_name(item, "market_value"), item["market_value"]),
                "weight": of.percent(_name(item, "weight"), item["weight"], 1),
                "day": of.money(_name(item, "daily_pnl"), item["daily_pnl"], signed=True, toned=True),
                "gain": of.money(_name(item, "cumulative_pnl"), item["cumulative_pnl"], signed=True, toned=True),
                "weight_bar": bar(weights, item["weight"]),
                "gain_bar": bar(gains, item["cumulative_pnl"]),
                "reason": item["reason"],
                "lot": stated.get(item["position_id"]),
            }
            for item in items
        ],
        # A lot that is not entered yet on the session has no line, and can be changed all the same.
        "later": later[max(0, first - len(held)) : max(0, first + SHOWN_LOTS - len(held))],
        "lots": {
            "symbol": meant,
            "count": count,
            "first": first + 1,
            "last": min(first + SHOWN_LOTS, count),
            "before": min(part, parts) - 1 or None,
            "after": part + 1 if part < parts else None,
        },
        "flows": list(flows),
        "weight_zero": weights(0.0),
        "gain_zero": gains(0.0),
    }


def _name(item: Document, column: str) -> str:
    return f"positions.{item['position_id']}.{column}"

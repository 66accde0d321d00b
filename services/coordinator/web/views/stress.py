"""Stress: every scenario as a bar, and of each what moved it, by factor and by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figure, Figures, at
from services.coordinator.web.views.names import label
from services.coordinator.web.views.risk import bar

Document = Mapping[str, Any]
WIDTH = 320.0


def view(portfolio: str, stress: Document, chosen: str | None) -> dict[str, Any]:
    of = Figures(portfolio, stress["session"])
    scenarios = stress["scenarios"]
    over = charts.scale([at(item, "propagated", "fraction") for item in scenarios], 0, WIDTH, zero=True)
    rows = [_row(of, item, over) for item in scenarios]
    known = [item for item in scenarios if item["reason"] is None]
    opened = next((item for item in scenarios if item["id"] == chosen), None)
    if opened is None and known:
        # Without a choice the worst one is opened: it is what a reader looks for.
        opened = min(known, key=lambda item: at(item, "propagated", "fraction") or 0.0)
    return {
        "width": WIDTH,
        "rows": [row for row in rows if not row["reason"]],
        "unmeasured": _group_unmeasured(rows),
        "opened": None if opened is None else opened["id"],
        "detail": None if opened is None or opened["reason"] else _detail(of, opened),
    }


def _group_unmeasured(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(reason, names of scenarios): what one cause keeps from being measured is said once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"]:
            found.setdefault(row["reason"], []).append(row["name"])
    return list(found.items())


def _row(of: Figures, item: Document, over: charts.Scale) -> dict[str, Any]:
    name = f"stress.{item['id']}"
    fraction = at(item, "propagated", "fraction")
    return {
        "id": item["id"],
        "name": item["name"],
        "reason": item["reason"],
        "capped": [label(factor) for factor in item["capped"]],
        "money": of.money(
            f"{name}.propagated.money", at(item, "propagated", "money"), reason=item["reason"], signed=True, toned=True
        ),
        "fraction": of.percent(f"{name}.propagated.fraction", fraction, reason=item["reason"], signed=True, toned=True),
        "direct": of.percent(
            f"{name}.direct.fraction", at(item, "direct", "fraction"), reason=item["reason"], signed=True
        ),
        "bar": bar(over, fraction),
        "zero": over(0.0),
        "uncovered": item["uncovered_value"],
    }


def _detail(of: Figures, item: Document) -> dict[str, Any]:
    name = f"stress.{item['id']}.propagated"
    leg = item["propagated"]
    shocks = leg["shocks"]
    factors = [
        (label(factor), of.money(f"{name}.by_factor.{factor}", value, signed=True, toned=True), shocks.get(factor))
        for factor, value in leg["by_factor"].items()
    ]
    positions = sorted(
        (
            (symbol, of.money(f"{name}.by_position.{symbol}", value, signed=True, toned=True))
            for symbol, value in leg["by_position"].items()
            if value is not None
        ),
        key=lambda pair: pair[1].value or 0.0,
    )
    return {
        "name": item["name"],
        "total": of.money(f"{name}.money", leg["money"], signed=True, toned=True),
        "fraction": of.percent(f"{name}.fraction", leg["fraction"], signed=True, toned=True),
        "factors": _waterfall([(title, figure) for title, figure, _shock in factors]),
        "shocks": [formats.percent(shock, 1, signed=True) for _title, _figure, shock in factors],
        "positions": _bars(positions),
    }


def _waterfall(items: list[tuple[str, Figure]]) -> list[dict[str, Any]]:
    """Each bar begins where the one before it ended."""
    ends = [0.0]
    for _name, figure in items:
        ends.append(ends[-1] + (figure.value or 0.0))
    over = charts.scale(ends, 0, 240, zero=True)
    return [
        {
            "name": name,
            "figure": figure,
            "bar": (min(over(start), over(end)), max(1.0, round(abs(over(end) - over(start)), 2)), figure.tone),
            "zero": over(0.0),
        }
        for (name, figure), start, end in zip(items, ends[:-1], ends[1:], strict=True)
    ]


def _bars(items: list[tuple[str, Figure]]) -> list[dict[str, Any]]:
    over = charts.scale([figure.value for _symbol, figure in items], 0, 240, zero=True)
    return [
        {"name": symbol, "figure": figure, "bar": bar(over, figure.value), "zero": over(0.0)}
        for symbol, figure in items
    ]

"""A stretch of the past once more, with what is held: by the factors' returns, and by the holdings' own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.names import label
from services.coordinator.web.views.reasons import by_figure, of_part
from shared.market.reasons import ReasonCode

Document = Mapping[str, Any]
_UNLINKED = Figures("", None, linked=False)


def windows(first: date, last: date) -> list[tuple[str, str, str]]:
    """(name, from, to) of stretches that are known by a name, of those within [first, last]."""
    known = (
        (_("Sell-off of 2018"), date(2018, 9, 20), date(2018, 12, 24)),
        (_("COVID crash"), date(2020, 2, 19), date(2020, 3, 23)),
        (_("Rise of rates of 2022"), date(2022, 1, 3), date(2022, 10, 12)),
    )
    return [(name, begin.isoformat(), end.isoformat()) for name, begin, end in known if first <= begin and end <= last]


def view(document: Document) -> dict[str, Any]:
    why = by_figure(document["reasons"])
    items = sorted(document["items"], key=_worst)
    return {
        "from": document["from"],
        "to": document["to"],
        "sessions": document["sessions"],
        "legs": [
            _leg(_("By the factors' returns"), document["factors"], why.get("replay.factors.market")),
            _leg(_("By the holdings' own returns"), document["positions"], why.get("replay.positions")),
        ],
        "factors": _factors(document, why),
        "rows": [
            {
                "symbol": item["symbol"],
                "value": formats.money(item["market_value"]),
                "factor_return": _share(item["factor_return"], why.get("replay.factors.market")),
                "factor_money": _money(item["factor_money"], why.get("replay.factors.market")),
                "own_return": _share(item["own_return"], item["reason"] or why.get("replay.positions")),
                "own_money": _money(item["own_money"], item["reason"] or why.get("replay.positions")),
            }
            for item in items
        ],
        "unknown": of_part(document["reasons"], "replay."),
    }


def _worst(item: Document) -> float:
    known = item["own_money"] if item["own_money"] is not None else item["factor_money"]
    return float("inf") if known is None else known


def _leg(name: str, leg: Document | None, reason: str | None) -> dict[str, Any]:
    of = leg or {"money": None, "fraction": None, "uncovered_value": None}
    return {
        "name": name,
        "money": _money(of["money"], reason),
        "fraction": _share(of["fraction"], reason if leg is None else ReasonCode.NAV_NOT_POSITIVE.value),
        "uncovered": _UNLINKED.money("uncovered", of["uncovered_value"], reason=reason),
    }


def _factors(document: Document, why: Mapping[str, str]) -> list[dict[str, Any]]:
    by_factor = (document["factors"] or {}).get("by_factor", {})
    return [
        {
            "name": label(item["factor"]),
            "proxy": item["proxy"],
            "return": _share(item["return"], why.get(f"replay.factors.{item['factor']}")),
            "money": _money(by_factor.get(item["factor"]), why.get(f"replay.factors.{item['factor']}")),
        }
        for item in document["proxies"]
    ]


def _share(value: Any, reason: str | None = None) -> Figure:
    return _UNLINKED.percent("share", value, reason=reason, signed=True, toned=True)


def _money(value: Any, reason: str | None = None) -> Figure:
    return _UNLINKED.money("money", value, reason=reason, signed=True, toned=True)

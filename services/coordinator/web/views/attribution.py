"""Where the return of a range came from: by position, sector and factor, each adding up to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figures
from services.coordinator.web.views.names import label
from services.coordinator.web.views.reasons import by_figure, of_part
from services.coordinator.web.views.risk import bar

Document = Mapping[str, Any]


def view(portfolio: str, document: Document) -> dict[str, Any]:
    # Of one session the parts are explained; those of a longer range are sums of them.
    of = Figures(portfolio, document["to"], linked=document["from"] == document["to"])
    why = by_figure(document["reasons"])
    total = why.get("total_return")
    return {
        "from": document["from"],
        "to": document["to"],
        "sessions": document["sessions"],
        "stale": document["stale"],
        "pnl": of.money("attribution.pnl", document["pnl"], signed=True, toned=True),
        "total": of.percent(
            "attribution.total_return", document["total_return"], reason=total, signed=True, toned=True
        ),
        "positions": _lines(of, document["items"], "positions", "symbol", dict.fromkeys(_names(document), total)),
        "sectors": _lines(of, document["sectors"], "sectors", "sector", {}, total),
        "factors": _lines(of, document["factors"], "factors", "factor", _of_factors(why), total),
        "brinson": _brinson(document["brinson"]),
        "unknown": of_part(document["reasons"], ""),
    }


def _names(document: Document) -> list[str]:
    return [item["symbol"] for item in document["items"]]


def _of_factors(why: Mapping[str, str]) -> dict[str, str | None]:
    return {name.removeprefix("factors."): code for name, code in why.items() if name.startswith("factors.")}


def _lines(
    of: Figures,
    items: Sequence[Document],
    part: str,
    key: str,
    why: Mapping[str, str | None],
    otherwise: str | None = None,
) -> list[dict[str, Any]]:
    """Those that earned most first; factors in their own order."""
    rows = list(items) if key == "factor" else sorted(items, key=lambda item: -item["pnl"])
    over = charts.scale([item["contribution"] for item in rows], 0, 240, zero=True)
    return [
        {
            "name": _title(item[key]) if key == "factor" else item[key],
            "pnl": of.money(
                f"attribution.{part}.{item[key]}.pnl", item["pnl"], reason=why.get(item[key]), signed=True, toned=True
            ),
            "contribution": of.percent(
                f"attribution.{part}.{item[key]}.contribution",
                item["contribution"],
                reason=why.get(item[key]) or otherwise,
                signed=True,
                toned=True,
            ),
            "sessions": item.get("sessions"),
            "bar": bar(over, item["contribution"]),
            "zero": over(0.0),
        }
        for item in rows
    ]


def _title(factor: str) -> str:
    known = {"specific_and_trading": _("Single names and trades"), "untold": _("Without exposures")}
    return known[factor] if factor in known else label(factor)


def _brinson(found: Document | None) -> dict[str, Any] | None:
    if found is None:
        return None
    of = Figures("", None, linked=False)

    def share(value: Any) -> Any:
        return of.percent("brinson", value, signed=True, toned=True)

    return {
        "benchmark": found["benchmark"],
        "return": share(found["return"]),
        "active": share(found["active_return"]),
        "sectors": [
            {
                "name": _("Cash") if item["sector"] == "cash" else item["sector"],
                "allocation": share(item["allocation"]),
                "selection": share(item["selection"]),
            }
            for item in found["sectors"]
        ],
    }

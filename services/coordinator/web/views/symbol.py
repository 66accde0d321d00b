"""A symbol: its price, returns, factors, actions, gaps, and who holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.charts import Line
from services.coordinator.web.views.figures import Figure, symbol_link, tone
from services.coordinator.web.views.names import label

Document = Mapping[str, Any]
SHOWN_PRICES = 20
Z95 = 1.96


def view(
    facts: Document, prices: Document, metrics: Document | None, factors: Document | None, holders: Sequence[Document]
) -> dict[str, Any]:
    items = prices["items"]
    closes = [item["close"] if item["close"] is not None else item["adj_close"] for item in items]
    sessions = [item["session"] for item in items]
    return {
        "facts": facts,
        "chart": charts.draw(sessions, [Line(_("Close"), "own", closes)], formats.price, title=_("Price as traded"))
        if items
        else None,
        "prices": [_price(facts["symbol"], item) for item in reversed(items[-SHOWN_PRICES:])],
        "prices_total": len(items),
        "actions": list(reversed(prices["actions"])),
        "gaps": prices["gaps"],
        "metrics": None if metrics is None else _metrics(metrics),
        "factors": None if factors is None else _factors(factors),
        "holders": holders,
    }


def _of(symbol: str, session: str | None) -> Any:
    def figure(name: str, value: Any, form: Any, *, reason: str | None = None, toned: bool = False) -> Figure:
        known = value if isinstance(value, int | float) else None
        return Figure(known, form(known), symbol_link(symbol, name, session), reason, tone(known) if toned else "")

    return figure


def _price(symbol: str, item: Document) -> dict[str, Any]:
    of = _of(symbol, item["session"])
    return {
        "session": item["session"],
        "close": of("prices.close", item["close"], formats.price),
        "adj_close": of("prices.adj_close", item["adj_close"], formats.price),
        "total_return": of(
            "prices.total_return", item["total_return"], lambda x: formats.percent(x, signed=True), toned=True
        ),
        "return_basis": item["return_basis"],
        "basis": item["basis"],
        "provider": item["provider"],
        "fetched_at": item["fetched_at"],
    }


def _metrics(metrics: Document) -> dict[str, Any]:
    of = _of(metrics["symbol"], metrics["session"])
    why = {item["figure"]: item["reason"] for item in metrics["reasons"]}

    def returns(kind: str) -> list[tuple[str, Figure]]:
        return [
            (
                horizon.upper(),
                of(
                    f"metrics.{kind}.{horizon}",
                    value,
                    lambda x: formats.percent(x, 1, signed=True),
                    reason=why.get(f"{kind}.{horizon}"),
                    toned=True,
                ),
            )
            for horizon, value in metrics[kind].items()
        ]

    return {
        "session": metrics["session"],
        "price": of("metrics.price", metrics["price"], formats.price),
        "total": returns("total_return"),
        "plain": returns("price_return"),
        "volatility": [
            (window, of(f"metrics.volatility.{window}", value, lambda x: formats.percent(x, 1)))
            for window, value in metrics["volatility"].items()
        ],
    }


def _factors(factors: Document) -> dict[str, Any]:
    of = _of(factors["symbol"], factors["session"])
    joint = factors["joint"]
    rows = [*_joint_rows(of, factors), _market_row(of, factors), *_spread_rows(of, factors)]
    ends = [
        end
        for row in rows
        if row["beta"].known
        for end in (row["beta"].value - Z95 * (row["error"] or 0.0), row["beta"].value + Z95 * (row["error"] or 0.0))
    ]
    over = charts.scale(ends, 8, 312, zero=True)
    for row in rows:
        value, error = row["beta"].value, row["error"]
        row["x"] = None if value is None else over(value)
        row["interval"] = (
            None if value is None or error is None else (over(value - Z95 * error), over(value + Z95 * error))
        )
    return {
        "session": factors["session"],
        "rows": rows,
        "zero": over(0.0),
        "r2": of("factors.joint.r2", joint["r2"], formats.number),
        "n_obs": joint["n_obs"],
    }


def _joint_rows(of: Any, factors: Document) -> list[dict[str, Any]]:
    joint = factors["joint"]
    return [
        {
            "name": label(name),
            "proxy": factors["proxies"].get(name),
            "beta": of(
                f"factors.joint.betas.{name}",
                value,
                lambda x: formats.number(x, signed=True),
                reason=joint["reasons"].get(name) or joint["reasons"].get("joint"),
            ),
            "error": None,
        }
        for name, value in joint["betas"].items()
    ]


def _market_row(of: Any, factors: Document) -> dict[str, Any]:
    beta = factors["market_beta"]
    return {
        "name": label("market_beta"),
        "proxy": factors["proxies"].get("market"),
        "beta": of(
            "factors.market_beta.beta",
            beta["beta"],
            lambda x: formats.number(x, signed=True),
            reason=beta["reason"],
        ),
        "error": beta["stderr_hac"],
    }


def _spread_rows(of: Any, factors: Document) -> list[dict[str, Any]]:
    return [
        {
            "name": label(f"spread_{name}"),
            "proxy": None,
            "beta": of(
                f"factors.spreads.{name}.beta",
                spread["beta"],
                lambda x: formats.number(x, signed=True),
                reason=spread["reason"],
            ),
            "error": spread["stderr_hac"],
        }
        for name, spread in factors["spreads"].items()
    ]

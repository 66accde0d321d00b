"""Factors: one dot a factor on a common axis; what could not be measured is a hollow row with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figures
from services.coordinator.web.views.names import label
from shared.market.registry import proxy_legs

Document = Mapping[str, Any]
WIDTH = 520.0
LEAST_T = 2.0


def view(portfolio: str, exposures: Document) -> dict[str, Any]:
    of = Figures(portfolio, exposures["session"])
    items = exposures["factors"]
    over = charts.scale([item["beta"] for item in items], 8, WIDTH - 8, zero=True)
    proxies = exposures["proxies"]
    rows = [
        {
            "name": _label_of(item),
            "set": item["set"],
            # A difference of two funds has a page for each.
            "funds": [fund for fund in proxy_legs(proxies.get(item["factor"]) or "") if fund],
            "beta": of.number(
                f"exposures.factors.{item['factor']}.beta", item["beta"], reason=item["reason"], signed=True
            ),
            "t": of.number(f"exposures.factors.{item['factor']}.t_hac", item["t_hac"], 1, signed=True),
            # Not told from 0: shown, and quieter.
            "weak": item["t_hac"] is not None and abs(item["t_hac"]) < LEAST_T,
            "money": of.money(
                f"exposures.factors.{item['factor']}.money", item["money"], reason=item["reason"], signed=True
            ),
            "covered": of.percent(f"exposures.factors.{item['factor']}.covered_weight", item["covered_weight"], 0),
            "x": None if item["beta"] is None else over(item["beta"]),
            "limited": item["quality"] == "limited",
            "reason": item["reason"],
        }
        for item in items
    ]
    joint = [item for item in items if item["set"] == "joint"]
    factors = [item["factor"] for item in joint]
    return {
        "width": WIDTH,
        "zero": over(0.0),
        "joint": [row for row in rows if row["set"] == "joint"],
        "reported": [row for row in rows if row["set"] == "reported"],
        "columns": [_label_of(item) for item in joint],
        "positions": None
        if exposures["positions"] is None
        else [
            {
                "symbol": item["symbol"],
                "weight": of.percent(f"exposures.positions.{item['symbol']}.weight", item["weight"], 1),
                "cells": [
                    (
                        of.number(f"exposures.positions.{item['symbol']}.betas.{name}", beta),
                        charts.shade(beta, 2.0),
                    )
                    for name, beta in ((name, item["betas"].get(name)) for name in factors)
                ],
                "reason": item["reason"],
            }
            for item in exposures["positions"]
        ],
    }


def _label_of(item: Mapping[str, Any]) -> str:
    """What the answer calls the factor, where that is not its own name: size may be a tilt of large and mid caps."""
    return label(item["factor"] if item["label"] == item["factor"].replace("_", " ") else item["label"])

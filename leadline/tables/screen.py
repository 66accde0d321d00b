"""What `leadline show` begins with: one screen of 25 lines at 80 columns that says how the portfolio stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from leadline.tables.text import DASH, count, money, number, percent, words

LOTS = ("positions", "long_positions", "short_positions")
Pairs = Sequence[tuple[str, str]]


def screen(console: Console, document: Mapping[str, Any]) -> None:
    """NAV, P&L, exposures, and the few figures of risk that are read first."""
    row = document["snapshot"]
    if row is not None:
        _pairs(console, _values(row), _exposures(row))
    if document["risk"]:
        _pairs(console, *_risk(document["risk"], document["stress"]))


def _values(row: Mapping[str, Any]) -> Pairs:
    return [
        ("NAV", money(row["nav"])),
        ("Cash", money(row["cash"])),
        ("P&L, day", money(row["daily_pnl"])),
        ("P&L, total", money(row["cumulative_pnl"])),
        ("  realized", money(row["realized_pnl"])),
        ("  unrealized", money(row["unrealized_pnl"])),
        ("  dividends", money(row["dividends"])),
        ("Flow, day", money(row.get("flow"))),
        ("Flow, total", money(row.get("cumulative_flow"))),
    ]


def _exposures(row: Mapping[str, Any]) -> Pairs:
    return [
        ("Long", money(row["long_value"])),
        ("Short", money(row["short_value"])),
        ("Gross", money(row["gross_exposure"])),
        ("Net", money(row["net_exposure"])),
        ("Return, day / all", f"{percent(row['daily_return'])} / {percent(row['cumulative_return'])}"),
        ("Month / year", f"{percent(row['mtd_return'])} / {percent(row['ytd_return'])}"),
        ("Drawdown", percent(row["drawdown"])),
        ("Money-weighted p.a.", percent(row.get("xirr"))),
        ("Coverage; lots", f"{percent(row['coverage'], 1)}; {' / '.join(count(row.get(kind)) for kind in LOTS)}"),
    ]


def _risk(of: Mapping[str, Any], stress: Mapping[str, Any] | None) -> tuple[Pairs, Pairs]:
    volatility, beta = of["volatility"] or {}, of["beta"] or {}
    forecast = (volatility.get("forecast_21") or {}).get("value")
    tails = [tail for tail in of.get("var") or () if tail["level"] == 0.95]
    tail = next((each for each in tails if each["method"] == "historical"), tails[0] if tails else {})
    name, worst = _worst(stress)
    return (
        [
            ("Vol. forecast", percent(forecast, 1)),
            ("Vol. of a year", percent(volatility.get("realized_252"), 1)),
            ("Beta", number(beta.get("aggregated"))),
        ],
        [
            ("VaR 95 %, day", percent(tail.get("var"))),
            ("Worst stress", percent(worst, 1)),
            ("  which is", name),
        ],
    )


def _worst(stress: Mapping[str, Any] | None) -> tuple[str, float | None]:
    """The scenario that costs most, by what it would cost with everything that moves along."""
    found = [
        (leg["fraction"], scenario["id"])
        for scenario in (stress or {}).get("scenarios") or ()
        if (leg := scenario.get("propagated") or scenario.get("direct")) and leg.get("fraction") is not None
    ]
    if not found:
        return DASH, None
    worst, identity = min(found)
    return words(identity)[:22], worst


def _pairs(console: Console, left: Pairs, right: Pairs) -> None:
    """Beside each other where the page is wide enough, else one below the other: a number is never cut."""
    sides = [max(len(name) for name, _ in side) + 2 + max(len(value) for _, value in side) for side in (left, right)]
    grid = Table.grid(padding=(0, 2))
    if sum(sides) + 4 <= console.width:
        for justify in ("left", "right", "left", "right"):
            grid.add_column(justify=justify, no_wrap=True)
        for one, other in zip(left, right, strict=True):
            grid.add_row(*one, *other)
    else:
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        for pair in (*left, *right):
            grid.add_row(*pair)
    console.print(grid)

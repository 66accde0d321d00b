"""Performance: value over time, drawdown, returns by month, time-weighted beside money-weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.charts import Line
from services.coordinator.web.views.figures import Figure, Figures

PERIODS = ("1m", "ytd", "1y", "max")
_SESSIONS = {"1m": 21, "1y": 252}
FULL_SHADE = 0.08


def view(
    portfolio: str,
    rows: Sequence[Mapping[str, Any]],
    period: str,
    benchmark: str | None,
    closes: Mapping[str, float | None],
) -> dict[str, Any]:
    """rows: snapshots up to the session that is looked at, oldest first, at least one; closes: of the benchmark, by session."""
    last = rows[-1]
    shown = snapshots_within(rows, period)
    of = Figures(portfolio, last["session"])
    sessions = [row["session"] for row in shown]
    nav = [row["nav"] for row in shown]
    same = same_money(shown, closes)
    drawdown = [row["drawdown"] for row in shown]
    flows = [
        (index, "in" if row["flow"] > 0 else "out", f"{row['session']}: {formats.money(row['flow'], signed=True)}")
        for index, row in enumerate(shown)
        if row["flow"]
    ]
    lines = [Line(_("Net asset value"), "own", nav)]
    compared = benchmark if benchmark and any(value is not None for value in same) else None
    if compared:
        lines.append(Line(_("The same money in {symbol}").format(symbol=compared), "other", same))
    return {
        "period": period,
        "periods": [(key, {"1m": _("1M"), "ytd": _("YTD"), "1y": _("1Y"), "max": _("Max")}[key]) for key in PERIODS],
        "benchmark": compared,
        "chart": charts.draw(sessions, lines, formats.whole, title=_("Net asset value"), marks=flows),
        "drawdown_chart": charts.draw(
            sessions,
            [Line(_("Drawdown"), "loss", drawdown)],
            lambda x: formats.percent(x, 0),
            title=_("Drawdown"),
            height=100,
            zero=True,
            filled=True,
        ),
        "data": {
            "sessions": sessions,
            "nav": nav,
            "benchmark": same if compared else None,
            "drawdown": drawdown,
            "flows": [[index, words] for index, _style, words in flows],
            "labels": {
                "session": _("Session"),
                "nav": _("NAV"),
                "benchmark": _("The same money in {symbol}").format(symbol=compared) if compared else "",
                "drawdown": _("Drawdown"),
            },
        },
        "figures": _figures(of, last),
        "months": months(portfolio, rows),
    }


def snapshots_within(rows: Sequence[Mapping[str, Any]], period: str) -> Sequence[Mapping[str, Any]]:
    """The snapshots of a period that ends with the last one, with the one before it: a change needs two."""
    if period == "ytd":
        year = rows[-1]["session"][:4]
        inside = sum(1 for row in rows if row["session"][:4] == year)
        return rows[-(inside + 1) :]
    return rows[-(_SESSIONS[period] + 1) :] if period in _SESSIONS else rows


def same_money(rows: Sequence[Mapping[str, Any]], closes: Mapping[str, float | None]) -> list[float | None]:
    """What the first value and every flow since would be worth, held in the benchmark. Not known where a close is missing."""
    worth: list[float | None] = []
    before: float | None = None
    value: float | None = None
    for row in rows:
        close = closes.get(row["session"])
        if close is None:
            worth.append(None)
            continue
        value = row["nav"] if value is None or before is None else value * close / before + row["flow"]
        before = close
        worth.append(value)
    return worth


def _figures(of: Figures, row: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Figure]]]]:
    return [
        (
            _("Return"),
            [
                (_("Day"), of.percent("snapshots.daily_return", row["daily_return"], signed=True, toned=True)),
                (_("Month"), of.percent("snapshots.mtd_return", row["mtd_return"], signed=True, toned=True)),
                (_("Year"), of.percent("snapshots.ytd_return", row["ytd_return"], signed=True, toned=True)),
                (
                    _("Since start, time-weighted"),
                    of.percent("snapshots.cumulative_return", row["cumulative_return"], signed=True, toned=True),
                ),
                (_("A year, money-weighted"), of.percent("snapshots.xirr", row["xirr"], signed=True, toned=True)),
                (_("Drawdown"), of.percent("snapshots.drawdown", row["drawdown"])),
            ],
        ),
        (
            _("Profit and loss"),
            [
                (_("Day"), of.money("snapshots.daily_pnl", row["daily_pnl"], signed=True, toned=True)),
                (
                    _("Since start"),
                    of.money("snapshots.cumulative_pnl", row["cumulative_pnl"], signed=True, toned=True),
                ),
                (_("Realized"), of.money("snapshots.realized_pnl", row["realized_pnl"], signed=True, toned=True)),
                (_("Unrealized"), of.money("snapshots.unrealized_pnl", row["unrealized_pnl"], signed=True, toned=True)),
                (_("Dividends"), of.money("snapshots.dividends", row["dividends"])),
                (_("Money in and out"), of.money("snapshots.cumulative_flow", row["cumulative_flow"], signed=True)),
            ],
        ),
        (
            _("Exposure"),
            [
                (_("Cash"), of.money("snapshots.cash", row["cash"])),
                (_("Long"), of.money("snapshots.long_value", row["long_value"])),
                (_("Short"), of.money("snapshots.short_value", row["short_value"])),
                (_("Gross"), of.money("snapshots.gross_exposure", row["gross_exposure"])),
                (_("Net"), of.money("snapshots.net_exposure", row["net_exposure"])),
                (_("Coverage"), of.percent("snapshots.coverage", row["coverage"], 1)),
            ],
        ),
    ]


def months(portfolio: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Years, newest first, each with twelve months and the year: the figure of the last session there is of it."""
    ends: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        ends[row["session"][:4], row["session"][5:7]] = row
    years = sorted({year for year, _month in ends}, reverse=True)
    table = []
    for year in years:
        cells = []
        for month in range(1, 13):
            end = ends.get((year, f"{month:02d}"))
            cells.append(None if end is None else _cell(portfolio, end, "mtd_return"))
        last = ends[max(key for key in ends if key[0] == year)]
        table.append({"year": year, "months": cells, "whole": _cell(portfolio, last, "ytd_return", FULL_SHADE * 4)})
    return table


def _cell(portfolio: str, row: Mapping[str, Any], field: str, full: float = FULL_SHADE) -> tuple[Figure, int]:
    figure = Figures(portfolio, row["session"]).percent(f"snapshots.{field}", row[field], 1)
    return figure, charts.shade(row[field], full)


def summarize_day(row: Mapping[str, Any], var: float | None) -> str:
    """One sentence about the day, made of numbers that exist."""
    gained = row["daily_return"]
    if gained is None:
        return ""
    moved = formats.percent(abs(gained), 1)
    said = _("It gained {move}").format(move=moved) if gained >= 0 else _("It lost {move}").format(move=moved)
    if var is None:
        return said + "."
    limit = formats.percent(var, 1)
    if gained < -var:
        return _("{said}: more than its VaR 95 of {limit}, as one day in twenty does.").format(said=said, limit=limit)
    return _("{said}, as a day like this should: VaR 95 is {limit}.").format(said=said, limit=limit)

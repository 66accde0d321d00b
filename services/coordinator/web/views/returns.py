"""Returns of a range: the figures of its returns, a benchmark beside them, the deepest drawdowns, a calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.reasons import by_figure, of_part

Document = Mapping[str, Any]
Named = list[tuple[str, Figure]]
FULL_SHADE = 0.08
# These are ratios or moments; the others are shares.
_NUMBERS = frozenset({"sharpe", "sortino", "calmar", "skew", "kurtosis"})
_SIGNED = frozenset({"total_return", "annual_return", "money_weighted_return", "money_weighted_annual"})


def view(portfolio: str, document: Document, *, whole: bool) -> dict[str, Any]:
    """whole : from the portfolio's first session on: of such a range every figure is explained"""
    of = Figures(portfolio, document["to"], linked=whole)
    why = by_figure(document["reasons"])
    compared = document["benchmark"]
    return {
        "from": document["from"],
        "to": document["to"],
        "sessions": document["sessions"],
        "n_obs": document["n_obs"],
        "stale": document["stale"],
        "symbol": None if compared is None else compared["symbol"],
        "figures": _groups(of, document, why),
        "benchmark": [] if compared is None else _benchmark(compared, why),
        "no_drawdowns": why.get("max_drawdown"),
        "drawdowns": [_fall(item) for item in document["drawdowns"]],
        "years": _calendar(document, why),
        "unknown": of_part(document["reasons"], ""),
    }


def _groups(of: Figures, document: Document, why: Mapping[str, str]) -> list[tuple[str, Named]]:
    def said(name: str) -> Figure:
        figure, value, reason = f"performance.{name}", document[name], why.get(name)
        if name in _NUMBERS:
            return of.number(figure, value, reason=reason)
        signed = name in _SIGNED
        return of.percent(figure, value, reason=reason, signed=signed, toned=signed)

    return [
        (
            _("Return"),
            [
                (_("Time-weighted"), said("total_return")),
                (_("A year, time-weighted"), said("annual_return")),
                (_("Money-weighted"), said("money_weighted_return")),
                (_("A year, money-weighted"), said("money_weighted_annual")),
                (_("Risk-free, a year"), said("risk_free")),
                (_("Sessions that gained"), said("positive_share")),
            ],
        ),
        (
            _("Return for risk"),
            [
                (_("Sharpe"), said("sharpe")),
                (_("Sortino"), said("sortino")),
                (_("Calmar"), said("calmar")),
                (_("Skew"), said("skew")),
                (_("Excess kurtosis"), said("kurtosis")),
                *_days(of.portfolio, document),
            ],
        ),
        (
            _("Risk"),
            [
                (_("Volatility"), said("volatility")),
                (_("Semi-deviation"), said("semi_deviation")),
                (_("Downside deviation"), said("downside_deviation")),
                (_("Deepest drawdown"), said("max_drawdown")),
                (_("Conditional drawdown, 95 %"), said("cdar_95")),
            ],
        ),
    ]


def _days(portfolio: str, document: Document) -> Named:
    """The best and the worst session: stored figures, so each links to its own explanation."""
    return [
        (
            f"{title}, {day['session']}",
            Figures(portfolio, day["session"]).percent(
                "snapshots.daily_return", day["return"], signed=True, toned=True
            ),
        )
        for title, day in ((_("Best"), document["best_day"]), (_("Worst"), document["worst_day"]))
        if day is not None
    ]


def _benchmark(compared: Document, why: Mapping[str, str]) -> list[tuple[str, Named]]:
    of = Figures("", None, linked=False)

    def reason(name: str) -> str | None:
        return why.get(f"benchmark.{name}")

    def share(name: str, *, signed: bool = False) -> Figure:
        return of.percent(name, compared[name], reason=reason(name), signed=signed, toned=signed)

    def number(name: str) -> Figure:
        return of.number(name, compared[name], reason=reason(name))

    return [
        (
            _("Beside {symbol}").format(symbol=compared["symbol"]),
            [
                (_("Its return"), share("return", signed=True)),
                (_("Active return"), share("active_return", signed=True)),
                (_("Tracking error"), share("tracking_error")),
                (_("Information ratio"), number("information_ratio")),
            ],
        ),
        (
            _("Alpha and beta"),
            [
                (_("Alpha, a year"), share("alpha", signed=True)),
                (_("Standard error of alpha"), share("alpha_stderr_hac")),
                (_("t of alpha"), number("alpha_t_hac")),
                (_("Beta"), number("beta")),
            ],
        ),
        (
            _("Fit and capture"),
            [
                (_("R²"), number("r2")),
                (_("Capture of gains"), number("up_capture")),
                (_("Capture of losses"), number("down_capture")),
            ],
        ),
    ]


def _fall(item: Document) -> dict[str, Any]:
    of = Figures("", None, linked=False)
    return {**item, "depth": of.percent("depth", item["depth"])}


def _calendar(document: Document, why: Mapping[str, str]) -> list[dict[str, Any]]:
    """Years, newest first, with twelve months and the year; of a benchmark a line beneath each."""
    months = {item["month"]: item for item in document["items"]}
    table = []
    for year in reversed(document["years"]):
        items = [months.get(f"{year['year']}-{month:02d}") for month in range(1, 13)]
        table.append(
            {
                "year": year["year"],
                "own": _line([*items, year], "return", why.get("total_return")),
                "beside": None
                if document["benchmark"] is None
                else _line([*items, year], "benchmark", why.get("benchmark.return")),
            }
        )
    return table


def _line(items: Sequence[Document | None], key: str, reason: str | None) -> list[tuple[Figure, int] | None]:
    of = Figures("", None, linked=False)
    full = [FULL_SHADE] * 12 + [FULL_SHADE * 4]
    return [
        None if item is None else (of.percent(key, item[key], 1, reason=reason), charts.shade(item[key], scale))
        for item, scale in zip(items, full, strict=True)
    ]

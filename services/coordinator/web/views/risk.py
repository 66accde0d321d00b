"""Risk: volatility and its forecast, tail, contributions, concentration, sectors, and how far the forecasts could be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.charts import Line
from services.coordinator.web.views.figures import Figure, Figures, at
from services.coordinator.web.views.names import label

Document = Mapping[str, Any]


# What is drawn over time.
OVER_TIME = tuple(
    f"risk.volatility.{name}"
    for name in (
        "realized_21",
        "realized_63",
        "realized_252",
        "forecast_21.value",
        "forecast_21.low",
        "forecast_21.high",
    )
)


def view(portfolio: str, risk: Document, series: Document, exceeded: Document, scorecard: Document) -> dict[str, Any]:
    of = Figures(portfolio, risk["session"])
    return {
        "figures": _figures(of, risk),
        "volatility": _volatility(series),
        "tail": _tail(of, risk),
        "exceeded": _var_exceedances(of, scorecard),
        "exceedances": _exceedances(exceeded),
        "forecasts": _forecasts(of, scorecard),
        "by_position": _contributions(of, risk),
        "by_factor": _factor_shares(of, risk),
        "excluded": [(item["symbol"], item["reason"]) for item in risk["decomposition"]["excluded"]],
        "sectors": _sectors(of, risk),
        "compared": risk.get("benchmark"),
    }


def _figures(of: Figures, risk: Document) -> list[tuple[str, list[tuple[str, Figure]]]]:
    volatility, beta, decomposition = risk["volatility"], risk["beta"], risk["decomposition"]
    concentration, drawdown = risk["concentration"], risk["drawdown"]

    def percent(name: str, *path: str) -> Figure:
        return of.percent(f"risk.{name}", at(risk, *path))

    return [
        (
            _("Volatility, a year"),
            [
                (_("Realized, 21 sessions"), of.percent("risk.volatility.realized_21", volatility["realized_21"])),
                (_("Realized, 63"), of.percent("risk.volatility.realized_63", volatility["realized_63"])),
                (_("Realized, 252"), of.percent("risk.volatility.realized_252", volatility["realized_252"])),
                (
                    _("Forecast, 21 ahead"),
                    percent("volatility.forecast_21.value", "volatility", "forecast_21", "value"),
                ),
                (_("From holdings"), of.percent("risk.decomposition.volatility", decomposition["volatility"])),
                (_("From factors"), of.percent("risk.decomposition.model_vol", decomposition["model_vol"])),
            ],
        ),
        (
            _("Market and diversification"),
            [
                (_("Beta, from holdings"), of.number("risk.beta.aggregated", beta["aggregated"])),
                (_("Beta, realized"), of.number("risk.beta.realized", beta["realized"])),
                (_("R²"), of.number("risk.beta.r2", beta["r2"])),
                (_("Specific share"), of.percent("risk.decomposition.specific_share", decomposition["specific_share"])),
                (
                    _("Diversification ratio"),
                    of.number("risk.decomposition.diversification_ratio", decomposition["diversification_ratio"]),
                ),
                (_("Effective bets"), of.number("risk.decomposition.effective_bets", decomposition["effective_bets"])),
            ],
        ),
        (
            _("Concentration and drawdown"),
            [
                (_("Effective positions"), of.number("risk.concentration.effective", concentration["effective"])),
                (_("HHI"), of.number("risk.concentration.hhi", concentration["hhi"], 0)),
                (_("HHI of risk"), of.number("risk.concentration.risk_hhi", concentration["risk_hhi"], 0)),
                (_("Top 3"), of.percent("risk.concentration.top_3", concentration["top_3"], 1)),
                (_("Top 10"), of.percent("risk.concentration.top_10", concentration["top_10"], 1)),
                (_("Deepest drawdown"), of.percent("risk.drawdown.max", drawdown["max"])),
            ],
        ),
        *_covered_only(of, risk.get("covered_only")),
    ]


def _covered_only(of: Figures, known: Document | None) -> list[tuple[str, list[tuple[str, Figure]]]]:
    """Only where something is not covered: else it repeats what stands beside it."""
    names = ("coverage_252", "coverage_var")
    if known is None or all(known[name] is not None and known[name] >= 1.0 for name in names):
        return []
    var = [line["var"] for line in known["var"] if (line["method"], line["level"]) == ("historical", 0.95)]

    def percent(name: str) -> Figure:
        return of.percent(f"risk.covered_only.{name}", known[name])

    return [
        (
            _("Of covered value alone"),
            [
                (_("Realized, 252"), percent("realized_252")),
                (_("Forecast, 21 ahead"), percent("forecast_21")),
                (_("Beta, realized"), of.number("risk.covered_only.beta", known["beta"])),
                *((_("VaR 95"), of.percent("risk.covered_only.var.historical.0.95", value)) for value in var),
                (_("Covered, 252 sessions"), percent("coverage_252")),
                (_("Covered, of VaR"), percent("coverage_var")),
            ],
        )
    ]


def _volatility(series: Document) -> charts.Drawing:
    figures = series["figures"]

    def line(name: str, style: str, words: str) -> Line:
        return Line(words, style, figures[f"risk.volatility.{name}"])

    return charts.draw(
        series["sessions"],
        [
            line("realized_252", "faint", _("Realized, 252")),
            line("realized_63", "other", _("Realized, 63")),
            line("realized_21", "own", _("Realized, 21")),
            line("forecast_21.value", "forecast", _("Forecast, 21 ahead")),
        ],
        lambda x: formats.percent(x, 0),
        title=_("Volatility"),
        zero=True,
        between=(line("forecast_21.low", "forecast", ""), line("forecast_21.high", "forecast", "")),
    )


def _exceedances(of: Document) -> charts.Drawing:
    """Every session's return, and the VaR 95 that was said the evening before: what fell through is ticked."""
    realized, said = of["realized"], of["var"]
    limit = [None if value is None else -value for value in said]
    fell = [
        (index, "loss", f"{session}: {formats.percent(came, 2)} / {formats.percent(floor, 2)}")
        for index, (session, came, floor) in enumerate(zip(of["sessions"], realized, limit, strict=True))
        if came is not None and floor is not None and came < floor
    ]
    return charts.draw(
        of["sessions"],
        [Line(_("Return of the day"), "faint", realized), Line(_("VaR 95 said the evening before"), "loss", limit)],
        lambda x: formats.percent(x, 0),
        title=_("Daily returns and value at risk"),
        height=180,
        zero=True,
        marks=fell,
    )


def _level(level: float) -> str:
    """95 % and 97.5 %: with a decimal where there is one."""
    return formats.percent(level, 0 if (100 * level).is_integer() else 1)


def _tail(of: Figures, risk: Document) -> list[dict[str, Any]]:
    return [
        {
            "method": label(item["method"]),
            "level": _level(item["level"]),
            "var": of.percent(f"risk.var.{item['method']}.{item['level']}", item["var"]),
            "es": of.percent(f"risk.var.{item['method']}.{item['level']}.es", item["es"]),
            "n_obs": of.number(f"risk.var.{item['method']}.{item['level']}.n_obs", item["n_obs"], 0),
        }
        for item in risk["var"]
    ]


def _var_exceedances(of: Figures, scorecard: Document) -> list[dict[str, Any]]:
    """The product shows its own misses: how often VaR was exceeded, how often it should have been."""
    return [
        {
            "method": f"{label(item['method'])}, {_level(item['level'])}",
            "count": of.number(f"scorecard.var.{item['method']}.{item['level']}.exceedances", item["exceedances"], 0),
            "n": of.number(f"scorecard.var.{item['method']}.{item['level']}.n", item["n"], 0),
            "expected": of.number(f"scorecard.var.{item['method']}.{item['level']}.expected", item["expected"], 0),
            "p": of.number(f"scorecard.var.{item['method']}.{item['level']}.p", item["p"]),
            "verdict": _verdict(item),
        }
        for item in scorecard["var"]
        if item["n"]
    ]


def _verdict(item: Document) -> str:
    if item["p"] is None:
        return ""
    if item["p"] >= 0.05:
        return _("in line with what was said")
    return _("too low: exceeded too often") if item["exceedances"] > item["expected"] else _("too high")


def _forecasts(of: Figures, scorecard: Document) -> list[dict[str, Any]]:
    return [
        {
            "method": label(item["method"]),
            "n": of.number(f"scorecard.forecasts.{item['method']}.n", item["n"], 0),
            "qlike": of.number(f"scorecard.forecasts.{item['method']}.qlike", item["qlike"], 3),
            "error": of.percent(f"scorecard.forecasts.{item['method']}.mean_error", item["mean_error"], signed=True),
        }
        for item in scorecard["forecasts"]
    ]


def _contributions(of: Figures, risk: Document) -> list[dict[str, Any]]:
    items = sorted(risk["decomposition"]["contributions"], key=lambda item: -(item["share"] or 0.0))
    over = charts.scale([item["share"] for item in items] + [item["weight"] for item in items], 0, 240, zero=True)
    return [
        {
            "symbol": item["symbol"],
            "weight": of.percent(f"risk.decomposition.contributions.{item['symbol']}.weight", item["weight"], 1),
            "share": of.percent(f"risk.decomposition.contributions.{item['symbol']}.share", item["share"], 1),
            "contribution": of.percent(
                f"risk.decomposition.contributions.{item['symbol']}.contribution", item["contribution"]
            ),
            "bar": bar(over, item["share"]),
            "tick": None if item["weight"] is None else over(item["weight"]),
            "zero": over(0.0),
        }
        for item in items
    ]


def _factor_shares(of: Figures, risk: Document) -> list[dict[str, Any]]:
    decomposition = risk["decomposition"]
    items = [
        (label(item["factor"]), of.percent(f"risk.decomposition.factors.{item['factor']}", item["share"], 1))
        for item in decomposition["factors"]
    ]
    items.append((_("Specific"), of.percent("risk.decomposition.specific_share", decomposition["specific_share"], 1)))
    over = charts.scale([figure.value for _name, figure in items], 0, 240, zero=True)
    return [
        {"name": name, "share": figure, "bar": bar(over, figure.value), "zero": over(0.0)} for name, figure in items
    ]


def _sectors(of: Figures, risk: Document) -> list[dict[str, Any]]:
    items: Sequence[Document] = sorted(risk["sectors"], key=lambda item: -(item["net"] or 0.0))
    over = charts.scale(
        [value for item in items for value in (item["long"], item["short"], item["benchmark"])], 0, 240, zero=True
    )
    return [
        {
            "sector": item["sector"],
            **{
                key: of.percent(f"risk.sectors.{item['sector']}.{key}", item[key], 1)
                for key in ("long", "short", "net", "benchmark", "active")
            },
            "bars": [bar(over, item["long"]), bar(over, item["short"])],
            "tick": None if item["benchmark"] is None else over(item["benchmark"]),
            "zero": over(0.0),
        }
        for item in items
    ]


def bar(over: charts.Scale, value: float | None) -> tuple[float, float, str]:
    """(x, width, tone) of a bar that begins at zero."""
    if value is None:
        return (over(0.0), 0.0, "")
    start, end = over(0.0), over(value)
    return (min(start, end), round(abs(end - start), 2), "up" if value >= 0 else "down")

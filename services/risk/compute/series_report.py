"""The parts of the risk document that come from return series: volatility, realised beta, VaR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.compute import volatility
from services.risk.compute.aggregation import Exposures
from services.risk.compute.beta import realized_beta
from services.risk.compute.inputs import Panel, PortfolioGroup
from services.risk.compute.reasons import (
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_PROXY,
    SHORT_HISTORY,
    ZERO_VARIANCE,
    Document,
    Reasons,
    nullable,
)
from services.risk.compute.scorecard import scored_forecasts
from services.risk.compute.series import masked
from services.risk.compute.tail import NavVolatility, tails
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import (
    BETA_WINDOW,
    COVERAGE_GATE,
    LOOKBACK,
    PERCENTILE_HISTORY,
    TREND_WINDOW,
    VAR_LEVELS,
    VOLATILITY_WINDOWS,
)

YEAR = 252
PERCENTILE_WINDOW = PERCENTILE_HISTORY + TREND_WINDOW
WINDOWS = (*VOLATILITY_WINDOWS, PERCENTILE_WINDOW, LOOKBACK)


@dataclass(frozen=True, slots=True)
class SeriesFigures:
    """One document a unit of the stack."""

    volatility: list[Document]
    beta: list[Document]
    var: list[list[Document]]
    forecasts: list[FloatVector]
    """What the scorecard will judge, in the order of `layouts.FORECASTS`; NaN where there is no such forecast."""


def gate(values: FloatVector, covered: FloatVector) -> FloatVector:
    """The values, NaN where less than 80 % of gross value is covered."""
    return np.where(covered >= COVERAGE_GATE, values, np.nan)


def market_of(panel: Panel, stack: PortfolioGroup) -> tuple[FloatMatrix, BoolMatrix]:
    """(market returns, which are there), both (g, LOOKBACK); 0 where there is none."""
    row = panel.proxies[stack.sessions, 0]
    windows = panel.windows()[np.maximum(row, 0), stack.sessions]
    valid = np.isfinite(windows) & (row >= 0)[:, None]
    return masked(windows, valid), valid


def series_figures(
    panel: Panel,
    stack: PortfolioGroup,
    series: FloatMatrix,
    joint: Exposures,
    covered: dict[int, FloatVector],
    nav_volatility: NavVolatility,
    reasons: list[Reasons],
) -> SeriesFigures:
    """Figures of the stack's series (g, LOOKBACK), each withheld below its own window's coverage and then named in `reasons`."""
    market, valid = market_of(panel, stack)
    slope = realized_beta(series, market, valid)
    z = nullable(gate(volatility.trend(series, valid), covered[YEAR]))
    columns = {
        f"realized_{window}": nullable(gate(volatility.realized(series, valid, window), covered[window]))
        for window in VOLATILITY_WINDOWS
    } | {
        "realized_nav_252": nullable(nav_volatility.values),
        "percentile_252": nullable(gate(volatility.percentile(series, valid), covered[PERCENTILE_WINDOW])),
    }
    of = volatility.forecast(series, valid)
    forecasts = _forecasts(of, covered[LOOKBACK])
    aggregated, beta = nullable(joint.beta[:, 0]), nullable(gate(slope.beta, covered[YEAR]))
    r2, n_obs = nullable(gate(slope.r2, covered[YEAR])), slope.n_obs.tolist()
    losses = tails(series, valid, VAR_LEVELS)
    lines = [
        (
            tail.method,
            tail.level,
            nullable(gate(tail.var, covered[LOOKBACK])),
            nullable(gate(tail.es, covered[LOOKBACK])),
            tail.n_obs.tolist(),
        )
        for tail in losses
    ]
    result = SeriesFigures([], [], [], scored_forecasts(of, losses, covered[LOOKBACK]))
    for i in range(len(stack.units)):
        document: Document = {name: column[i] for name, column in columns.items()}
        document["trend"] = {"z": z[i], "direction": volatility.direction(z[i])}
        document["forecast_21"] = forecasts[i]
        result.volatility.append(document)
        result.beta.append({"aggregated": aggregated[i], "realized": beta[i], "r2": r2[i], "n_obs": n_obs[i]})
        result.var.append(
            [
                {"method": method, "level": level, "var": var[i], "es": es[i], "n_obs": count[i]}
                for method, level, var, es, count in lines
            ]
        )
    asked = (
        *((f"volatility.realized_{w}", columns[f"realized_{w}"], w, SHORT_HISTORY) for w in VOLATILITY_WINDOWS),
        ("volatility.percentile_252", columns["percentile_252"], PERCENTILE_WINDOW, SHORT_HISTORY),
        ("volatility.trend", z, YEAR, ZERO_VARIANCE),
        ("volatility.forecast_21", [forecast["value"] for forecast in forecasts], LOOKBACK, SHORT_HISTORY),
        ("beta.aggregated", aggregated, BETA_WINDOW, LOW_COVERAGE),
        ("beta.realized", beta, BETA_WINDOW, SHORT_HISTORY),
        ("beta.r2", r2, BETA_WINDOW, ZERO_VARIANCE),
        ("var", lines[0][2], LOOKBACK, SHORT_HISTORY),
    )
    market_row, nav = panel.proxies[stack.sessions, 0].tolist(), stack.nav.tolist()
    for figure, values, window, otherwise in asked:
        for i, value in enumerate(values):
            if value is None:
                general = NAV_NOT_POSITIVE if not nav[i] > 0.0 else NO_PROXY if market_row[i] < 0 else None
                low = LOW_COVERAGE if covered[window][i] < COVERAGE_GATE else otherwise
                reasons[i].add(general or low, figure=figure)
    for i, value in enumerate(columns["realized_nav_252"]):
        if value is None:
            why = LOW_COVERAGE if nav_volatility.uncovered[i] else SHORT_HISTORY
            reasons[i].add(why, figure="volatility.realized_nav_252")
    return result


def _forecasts(of: volatility.Forecast, covered: FloatVector) -> list[Document]:
    columns = (of.value, of.low, of.high, of.variance, of.ewma_variance)
    table = nullable(np.stack([gate(column, covered) for column in columns], axis=-1))
    return [
        {
            "value": value,
            "low": low,
            "high": high,
            "variance": variance,
            "method": None if value is None else "har" if har else "ewma",
            "n_obs": n_obs,
            "ewma_variance": ewma,
        }
        for (value, low, high, variance, ewma), har, n_obs in zip(
            table, of.har.tolist(), of.n_obs.tolist(), strict=True
        )
    ]

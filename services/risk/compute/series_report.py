"""The parts of the risk document that come from return series: volatility, realised beta, VaR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.risk.compute import volatility
from services.risk.compute.aggregation import Exposures
from services.risk.compute.beta import RealizedBeta, realized_beta
from services.risk.compute.depth import Depth
from services.risk.compute.forecast_weights import ewma_path
from services.risk.compute.inputs import OPTION, PUBLIC, Panel, PortfolioGroup
from services.risk.compute.reasons import (
    BEYOND_HOLDINGS,
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
from services.risk.compute.series import mask_unused
from services.risk.compute.tail import NavVolatility, Tail, tails, ten_days, withhold_impossible
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import (
    BETA_WINDOW,
    COVERAGE_GATE,
    ES_LEVEL,
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
    var_10d: list[list[Document]]
    forecasts: list[FloatVector]
    """What the scorecard will judge, in the order of `layouts.FORECASTS`; NaN where there is no such forecast."""
    shortfall: tuple[FloatVector, FloatVector]
    """(VaR, ES), historical, of one day at `ES_LEVEL`; NaN where they are withheld."""


def gate(values: FloatVector, covered: FloatVector) -> FloatVector:
    """The values, NaN where less than 80 % of gross value is covered."""
    return np.where(covered >= COVERAGE_GATE, values, np.nan)


def market_of(panel: Panel, stack: PortfolioGroup) -> tuple[FloatMatrix, BoolMatrix]:
    """(market returns, which are there), both (g, LOOKBACK); 0 where there is none."""
    row = panel.proxies[stack.sessions, 0]
    windows = panel.windows()[np.maximum(row, 0), stack.sessions]
    valid = np.isfinite(windows) & (row >= 0)[:, None]
    return mask_unused(windows, valid), valid


def series_figures(
    panel: Panel,
    stack: PortfolioGroup,
    series: FloatMatrix,
    in_full: FloatMatrix,
    joint: Exposures,
    covered: dict[int, FloatVector],
    depth: Depth,
    nav_volatility: NavVolatility,
    reasons: list[Reasons],
) -> SeriesFigures:
    """Figures of the stack's series (g, LOOKBACK), each withheld below its own window's coverage and then named in `reasons`.

    in_full : the series with options revalued in full, which value at risk is of; all else has them by their deltas
    """
    market, valid = market_of(panel, stack)
    betas = _betas(stack, joint, realized_beta(series, market, valid), covered, panel.kinds[stack.rows] == OPTION)
    z = nullable(gate(volatility.trend(series, valid), covered[YEAR]))
    columns = _volatilities(series, valid, covered, nav_volatility)
    since = depth.of(valid)
    path = ewma_path(series, since)
    of = volatility.forecast(series, since, path=path)
    forecasts = _forecasts(of, depth.covered)
    most = most_to_lose(panel, stack)
    losses = tails(in_full, since, VAR_LEVELS, path if in_full is series else ewma_path(in_full, since))
    later = possible(ten_days(in_full, since, losses), most, "var_10d", depth.covered, reasons)
    losses = possible(losses, most, "var", depth.covered, reasons)
    lines, later_lines = ([_lines(tail, depth.covered) for tail in of_days] for of_days in (losses, later))
    tail = next(tail for tail in losses if (tail.method, tail.level) == ("historical", ES_LEVEL))
    shortfall = gate(tail.var, depth.covered), gate(tail.es, depth.covered)
    result = SeriesFigures([], [], [], [], scored_forecasts(of, losses, depth.covered), shortfall)
    for i in range(len(stack.units)):
        document: Document = {name: column[i] for name, column in columns.items()}
        document["trend"] = {"z": z[i], "direction": volatility.direction(z[i])}
        document["forecast_21"] = forecasts[i]
        result.volatility.append(document)
        result.beta.append({name: column[i] for name, column in betas.items()})
        result.var.append([line[i] for line in lines])
        result.var_10d.append([line[i] for line in later_lines])
    _record_missing_bounds(lines, reasons)
    asked = (
        *(
            (f"volatility.realized_{w}", columns[f"realized_{w}"], covered[w], SHORT_HISTORY)
            for w in VOLATILITY_WINDOWS
        ),
        ("volatility.percentile_252", columns["percentile_252"], covered[PERCENTILE_WINDOW], SHORT_HISTORY),
        ("volatility.trend", z, covered[YEAR], ZERO_VARIANCE),
        ("volatility.forecast_21", [forecast["value"] for forecast in forecasts], depth.covered, SHORT_HISTORY),
        ("beta.aggregated", betas["aggregated"], covered[BETA_WINDOW], LOW_COVERAGE),
        ("beta.aggregated_filled", betas["aggregated_filled"], covered[BETA_WINDOW], LOW_COVERAGE),
        ("beta.realized", betas["realized"], covered[BETA_WINDOW], SHORT_HISTORY),
        ("beta.r2", betas["r2"], covered[BETA_WINDOW], ZERO_VARIANCE),
        ("var", [line["var"] for line in lines[0]], depth.covered, SHORT_HISTORY),
        ("var_10d", [line["var"] for line in later_lines[-1]], depth.covered, SHORT_HISTORY),
    )
    _record_missing(panel, stack, asked, reasons)
    for i, value in enumerate(columns["realized_nav_252"]):
        if value is None:
            why = LOW_COVERAGE if nav_volatility.uncovered[i] else SHORT_HISTORY
            reasons[i].add(why, figure="volatility.realized_nav_252")
    return result


def most_to_lose(panel: Panel, stack: PortfolioGroup) -> FloatVector:
    """(g,) fraction of NAV that is lost where everything held is worth nothing; infinite where something is short."""
    kinds = panel.kinds[stack.rows]
    moving = np.where((kinds == PUBLIC) | (kinds == OPTION), stack.weight, 0.0)
    return np.where((moving < 0.0).any(axis=1), np.inf, moving.sum(axis=1))


def possible(
    of: Sequence[Tail], most: FloatVector, section: str, covered: FloatVector, reasons: Sequence[Reasons]
) -> list[Tail]:
    """The tails without losses of more than `most`; each that is withheld is named, as are filtered ones of too few returns."""
    found, withheld = withhold_impossible(of, most)
    for tail, beyond in zip(of, withheld, strict=True):
        if tail.method == "filtered":
            for i in np.flatnonzero(np.isnan(tail.var) & np.isfinite(of[0].var) & (covered >= COVERAGE_GATE)).tolist():
                reasons[i].add(SHORT_HISTORY, figure=f"{section}.filtered.{tail.level:g}")
        for i in np.flatnonzero(beyond & (covered >= COVERAGE_GATE)).tolist():
            reasons[i].add(BEYOND_HOLDINGS, figure=f"{section}.{tail.method}.{tail.level:g}")
    return found


def _volatilities(
    series: FloatMatrix, valid: BoolMatrix, covered: dict[int, FloatVector], nav_volatility: NavVolatility
) -> dict[str, list[float | None]]:
    """Annual, as decimals; a value a unit, null below its window's coverage."""
    return {
        f"realized_{window}": nullable(gate(volatility.realized_volatility(series, valid, window), covered[window]))
        for window in VOLATILITY_WINDOWS
    } | {
        "realized_nav_252": nullable(nav_volatility.values),
        "percentile_252": nullable(gate(volatility.percentile(series, valid), covered[PERCENTILE_WINDOW])),
    }


def _betas(
    stack: PortfolioGroup,
    joint: Exposures,
    slope: RealizedBeta,
    covered: dict[int, FloatVector],
    option: BoolMatrix,
) -> dict[str, list[Any]]:
    """To the market: of the holdings, of the holdings with 1 for those without one, and of the series; a value a unit.

    `option` (g, K): an option without a beta adds nothing, for it does not move as the market does: a put would raise the beta.
    """
    without = np.where(np.isfinite(joint.betas[:, :, 0]) | option, 0.0, stack.weight)
    return {
        "aggregated": nullable(joint.beta[:, 0]),
        "aggregated_filled": nullable(joint.beta[:, 0] + without.sum(axis=-1)),
        "realized": nullable(gate(slope.beta, covered[YEAR])),
        "r2": nullable(gate(slope.r2, covered[YEAR])),
        "n_obs": slope.n_obs.tolist(),
    }


def _record_missing_bounds(lines: list[list[Document]], reasons: list[Reasons]) -> None:
    """Of a value at risk that is known and has no upper bound: even the worst return may lie within the interval, there are too few."""
    for i, why in enumerate(reasons):
        for line in lines:
            of_unit = line[i]
            if of_unit["var"] is not None and of_unit.get("var_high", 0.0) is None:
                why.add(SHORT_HISTORY, figure=f"var.{of_unit['method']}.{of_unit['level']:g}.var_high")


def _record_missing(
    panel: Panel,
    stack: PortfolioGroup,
    asked: Sequence[tuple[str, Sequence[Any], FloatVector, str]],
    reasons: list[Reasons],
) -> None:
    """asked : figure, its value of each unit, the coverage behind it, and the reason that is left where coverage is good"""
    market_row, nav = panel.proxies[stack.sessions, 0].tolist(), stack.nav.tolist()
    for figure, values, backed, otherwise in asked:
        for i, value in enumerate(values):
            if value is None:
                general = NAV_NOT_POSITIVE if not nav[i] > 0.0 else NO_PROXY if market_row[i] < 0 else None
                low = LOW_COVERAGE if backed[i] < COVERAGE_GATE else otherwise
                reasons[i].add(general or low, figure=figure)


# Of what is no order statistic of single days there is no interval of order statistics.
_UNBOUNDED = ("normal", "scaled", "overlapping")


def _lines(tail: Tail, covered: FloatVector) -> list[Document]:
    """By unit."""
    table = nullable(np.stack([gate(of, covered) for of in (tail.var, tail.es, tail.low, tail.high)], axis=-1))
    bounded = tail.method not in _UNBOUNDED
    return [
        {"method": tail.method, "level": tail.level, "var": var, "es": es, "n_obs": count}
        | ({"var_low": low, "var_high": high} if bounded else {})
        for (var, es, low, high), count in zip(table, tail.n_obs.tolist(), strict=True)
    ]


def _forecasts(of: volatility.Forecast, covered: FloatVector) -> list[Document]:
    columns = (of.value, of.low, of.high, of.variance, of.ewma_variance, of.weight)
    table = nullable(np.stack([gate(column, covered) for column in columns], axis=-1))
    return [
        {
            "value": value,
            "low": low,
            "high": high,
            "variance": variance,
            "method": None if value is None else "combined" if har else "ewma",
            "har_weight": weight,
            "n_obs": n_obs,
            "ewma_variance": ewma,
        }
        for (value, low, high, variance, ewma, weight), har, n_obs in zip(
            table, of.har.tolist(), of.n_obs.tolist(), strict=True
        )
    ]

"""Volatility, beta and tail of covered value alone, beside those in which the market stands in for a missing return (docs/methods.md §7).

A hole is one thing in one figure and another in the next unless both readings stand side by side: here what a holding lacks adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.risk.compute import volatility
from services.risk.compute.beta import realized_beta
from services.risk.compute.depth import Depth
from services.risk.compute.forecast_weights import ewma_path
from services.risk.compute.inputs import Panel, PortfolioGroup
from services.risk.compute.reasons import (
    BEYOND_HOLDINGS,
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_PROXY,
    SHORT_HISTORY,
    Document,
    Reasons,
    nullable,
)
from services.risk.compute.series import Filled
from services.risk.compute.series_report import YEAR, SeriesFigures, gate, market_of, most_to_lose, possible
from services.risk.compute.tail import FILTERED_MIN_OBS, tails
from services.risk.compute.tail_parts import ReturnsOf
from shared.arrays import BoolCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import COVERAGE_GATE, LOOKBACK, VAR_LEVELS, VOLATILITY_WINDOWS

RealOf = Callable[[IntVector], BoolCube]
"""By units of a stack: (units, K, LOOKBACK) whether a holding's return is its own."""


@dataclass(frozen=True, slots=True)
class CoveredSeries:
    """Of the m units of a stack in which anything stands in for a return."""

    units: IntVector
    """(m,) their places in the stack, ascending."""
    series: FloatMatrix
    """(m, LOOKBACK) with options by their deltas."""
    in_full: FloatMatrix
    """(m, LOOKBACK) with options revalued in full."""


def real_returns(filled: Filled, stack: PortfolioGroup) -> RealOf:
    """Of units with holes."""
    index = filled.find(stack.sessions[:, None], stack.source)
    return lambda units: filled.real[index[units]]


def covered_series(
    stack: PortfolioGroup, counted: FloatMatrix, real: RealOf | None, returns: ReturnsOf, in_full: ReturnsOf
) -> CoveredSeries:
    """Weights of the session on the returns that are a holding's own, at prices that are evidence; what is not adds 0.

    counted : (g, K) 0 where a price is no evidence. real : None where every return is the holdings' own.
    returns, in_full : of the holdings, filled; the same object where no option is revalued.
    """
    weight = stack.exposure_weight
    found: list[tuple[int, FloatVector, FloatVector]] = []
    for unit in range(len(stack.units)) if real is not None else np.flatnonzero((counted == 0.0).any(axis=1)).tolist():
        at = np.array([unit])
        there = np.broadcast_to((counted[unit] > 0.0)[:, None], returns(at)[0].shape)
        if real is not None:
            there = there & real(at)[0]
        if there.all():
            continue
        plain = _weighted_sum(weight[unit], returns(at)[0], there)
        found.append((unit, plain, plain if in_full is returns else _weighted_sum(weight[unit], in_full(at)[0], there)))
    return CoveredSeries(
        np.array([unit for unit, _, _ in found], dtype=np.int64),
        np.array([plain for _, plain, _ in found]).reshape(len(found), LOOKBACK),
        np.array([full for _, _, full in found]).reshape(len(found), LOOKBACK),
    )


def _weighted_sum(weight: FloatVector, returns: FloatMatrix, there: Any) -> FloatVector:
    """(LOOKBACK,) an accumulation over holdings in their sorted order."""
    total = np.zeros(returns.shape[1])
    for own, each, known in zip(weight.tolist(), returns, there, strict=True):
        total += own * np.where(known, each, 0.0)
    return total


def covered_only(
    panel: Panel,
    stack: PortfolioGroup,
    whole: SeriesFigures,
    alone: CoveredSeries,
    covered: dict[int, FloatVector],
    depth: Depth,
    reasons: Sequence[Reasons],
) -> list[Document]:
    """A document a unit of the stack: under the gates of `series_figures`, and equal to it where nothing stands in for a return."""
    backed = {f"coverage_{window}": covered[window].tolist() for window in VOLATILITY_WINDOWS}
    backed["coverage_var"] = depth.covered.tolist()
    documents = [_as_measured(whole, i) for i in range(len(stack.units))]
    for i, document in zip(alone.units.tolist(), _measure(panel, stack, alone, covered, depth, reasons), strict=True):
        documents[i] = document
    market = panel.proxies[stack.sessions, 0] >= 0
    for i in sorted(set(range(len(documents))) - set(alone.units.tolist())):
        # As measured: what is withheld there is here.
        for line in whole.var[i]:
            if line["var"] is None and whole.var[i][0]["var"] is not None:
                few = line["method"] == "filtered" and line["n_obs"] < FILTERED_MIN_OBS
                why = SHORT_HISTORY if few else BEYOND_HOLDINGS
                reasons[i].add(why, figure=f"covered_only.var.{line['method']}.{line['level']:g}")
    for i, document in enumerate(documents):
        document |= {name: column[i] for name, column in backed.items()}
        if any(value is None for value in (*document.values(), document["var"][0]["var"])):
            low = min(document[name] for name in backed) < COVERAGE_GATE
            why = LOW_COVERAGE if low else SHORT_HISTORY
            reasons[i].add(
                NAV_NOT_POSITIVE if not stack.nav[i] > 0.0 else why if market[i] else NO_PROXY, figure="covered_only"
            )
    return documents


def _as_measured(whole: SeriesFigures, i: int) -> Document:
    of = whole.volatility[i]
    return {f"realized_{window}": of[f"realized_{window}"] for window in VOLATILITY_WINDOWS} | {
        "forecast_21": of["forecast_21"]["value"],
        "beta": whole.beta[i]["realized"],
        "var": [{name: line[name] for name in ("method", "level", "var", "es")} for line in whole.var[i]],
    }


def _measure(
    panel: Panel,
    stack: PortfolioGroup,
    alone: CoveredSeries,
    covered: dict[int, FloatVector],
    depth: Depth,
    reasons: Sequence[Reasons],
) -> list[Document]:
    """Of the units of `alone`, in their order."""
    if not len(alone.units):
        return []
    at = alone.units
    whole_market, there = market_of(panel, stack)
    market, valid, since = whole_market[at], there[at], depth.of(there)[at]
    deep = depth.covered[at]
    columns = {
        f"realized_{window}": nullable(
            gate(volatility.realized_volatility(alone.series, valid, window), covered[window][at])
        )
        for window in VOLATILITY_WINDOWS
    }
    columns["forecast_21"] = nullable(
        gate(volatility.forecast(alone.series, since, path=ewma_path(alone.series, since)).value, deep)
    )
    columns["beta"] = nullable(gate(realized_beta(alone.series, market, valid).beta, covered[YEAR][at]))
    own = [reasons[unit] for unit in at.tolist()]
    most = most_to_lose(panel, stack)[at]
    losses = [
        (of.method, of.level, nullable(gate(of.var, deep)), nullable(gate(of.es, deep)))
        for of in possible(tails(alone.in_full, since, VAR_LEVELS), most, "covered_only.var", deep, own)
    ]
    return [
        {name: column[i] for name, column in columns.items()}
        | {"var": [{"method": method, "level": level, "var": var[i], "es": es[i]} for method, level, var, es in losses]}
        for i in range(len(at))
    ]

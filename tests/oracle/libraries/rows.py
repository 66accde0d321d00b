"""Which figure is compared with what, how near they must be, and why they differ where they do. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatVector
from tests.oracle.libraries import ours
from tests.oracle.libraries.ours import Figure

SUMS = 1e-10  # sums and products of a few hundred floats in another order
QUOTIENTS = 1e-5  # theirs are difference quotients with a step of 1e-7


@dataclass(frozen=True)
class Row:
    figure: str
    library: str
    call: str
    tolerance: float = SUMS
    """Relative; of a list, of its largest element."""
    theirs: Callable[[Mapping[str, Figure]], Figure] | None = None
    """The library's definition worked out from ours or from the same returns, where the two differ."""
    why: str = ""

    @property
    def key(self) -> str:
        return f"{self.figure} {self.library}"


def _shortfall(losses: FloatVector, level: float) -> float:
    """Rockafellar and Uryasev's: the order statistic at the level, and what is beyond it over the whole tail, in part."""
    ordered = np.sort(losses)[::-1]
    share = (1.0 - level) * len(ordered)
    whole = math.ceil(share) - 1
    return float((ordered[:whole].sum() + (share - whole) * ordered[whole]) / share)


def _order(level: float) -> float:
    return float(np.sort(-ours.OWN)[::-1][math.ceil((1.0 - level) * len(ours.OWN)) - 1])


def _drawdowns() -> FloatVector:
    index = np.concatenate([[1.0], np.cumprod(1.0 + ours.OWN)])
    return np.asarray(1.0 - (index / np.maximum.accumulate(index))[1:], dtype=np.float64)


def _of_components() -> list[float]:
    """Their CVaR by holding: the same days, the last one in part."""
    names = sorted(ours.HELD)
    own = np.column_stack([ours.RETURNS[name] for name in names])
    days = np.argsort(own @ ours.WEIGHTS, kind="stable")
    share = 0.025 * len(own)
    whole = math.ceil(share) - 1
    total = own[days[:whole]].sum(axis=0) + (share - whole) * own[days[whole]]
    return [float(part) for part in -ours.WEIGHTS * total / share]


def _order_at(level: float) -> Callable[[Mapping[str, Figure]], Figure]:
    return lambda _: _order(level)


def _shortfall_at(level: float) -> Callable[[Mapping[str, Figure]], Figure]:
    return lambda _: _shortfall(-ours.OWN, level)


def _number(of: Mapping[str, Figure], name: str) -> float:
    value = of[name]
    assert isinstance(value, float)
    return value


N = len(ours.OWN)
_ADJUSTED = "adjusted for the sample's size; ours is of the moments, as scipy's"
_IN_PART = (
    "Rockafellar and Uryasev: the last loss counts in part; ours is the mean at or beyond the interpolated quantile"
)
_RANK = "an order statistic; ours lies between two, as numpy's `linear` quantile"
ROWS: tuple[Row, ...] = (
    Row("total_return", "quantstats", "comp(r)"),
    Row("annual_return", "quantstats", "cagr(r, periods=252)"),
    Row("volatility", "quantstats", "volatility(r)"),
    Row("volatility", "skfolio", "standard_deviation(r) · √252"),
    Row("sharpe", "quantstats", "sharpe(r, rf=0.02)"),
    Row("sortino", "quantstats", "sortino(r, rf=0.02)"),
    Row("downside_deviation", "pyfolio", "timeseries.downside_risk(r, required_return=f)"),
    Row("semi_deviation", "skfolio", "semi_deviation(r) · √252"),
    Row("max_drawdown", "quantstats", "max_drawdown(r)"),
    Row("max_drawdown", "skfolio", "-max_drawdown(get_drawdowns(r, compounded=True))"),
    Row("max_drawdown", "riskfolio", "-MDD_Rel(r)"),
    Row("calmar", "quantstats", "calmar(r)"),
    Row("calmar", "pyfolio", "timeseries.calmar_ratio(r)"),
    Row("drawdowns.depth", "pyfolio", "timeseries.gen_drawdown_table(r, 5), net drawdown"),
    Row("drawdowns.trough", "pyfolio", "timeseries.gen_drawdown_table(r, 5), valley date"),
    Row("best_day", "quantstats", "best(r)"),
    Row("worst_day", "quantstats", "worst(r)"),
    Row("positive_share", "quantstats", "win_rate(r)"),
    Row("months", "quantstats", "monthly_returns(r)"),
    Row("skew", "skfolio", "skew(r)"),
    Row("skew", "quantstats", "skew(r)", theirs=lambda of: _number(of, "skew") * math.sqrt(N * (N - 1)) / (N - 2), why=_ADJUSTED),
    Row("kurtosis", "skfolio", "kurtosis(r)", theirs=lambda of: _number(of, "kurtosis") + 3.0, why="a normal's is 3; ours is the excess"),
    Row(
        "kurtosis", "quantstats", "kurtosis(r)", why=_ADJUSTED,
        theirs=lambda of: (N - 1) / ((N - 2) * (N - 3)) * ((N + 1) * _number(of, "kurtosis") + 6.0),
    ),
    Row("cdar_95", "skfolio", "cdar(get_drawdowns(r, compounded=True))", theirs=lambda _: _shortfall(_drawdowns(), 0.95), why=_IN_PART),
    Row("cdar_95", "riskfolio", "CDaR_Rel(r, 0.05)", theirs=lambda _: _shortfall(_drawdowns(), 0.95), why=_IN_PART),
    Row("benchmark.beta", "quantstats", "greeks(r - f, b - f).beta"),
    Row("benchmark.alpha", "quantstats", "greeks(r - f, b - f).alpha"),
    Row("benchmark.r2", "quantstats", "r_squared(r, b)"),
    Row("benchmark.tracking_error", "skfolio", "standard_deviation(r - b) · √252"),
    Row(
        "benchmark.information_ratio", "quantstats", "information_ratio(r, b)", why="of a day; ours is √252 times that",
        theirs=lambda of: _number(of, "benchmark.information_ratio") / math.sqrt(252.0),
    ),
    Row("beta.realized", "quantstats", "greeks(r, b).beta over 252 returns"),
    *(Row(f"var.normal.{level:g}", "quantstats", f"-value_at_risk(r, confidence={level:g})") for level in ours.LEVELS),
    *(Row(f"es.normal.{level:g}", "quantstats", f"-cvar(r, confidence={level:g})") for level in ours.LEVELS),
    *(Row(f"es.historical.{level:g}", "quantstats", f"-cvar(r, confidence={level:g}, method='historical')") for level in ours.LEVELS),
    *(
        Row(f"var.historical.{level:g}", library, call.format(level, 1 - level), theirs=_order_at(level), why=_RANK)
        for level in ours.LEVELS
        for library, call in (("skfolio", "value_at_risk(r, {:g})"), ("riskfolio", "VaR_Hist(r, {1:.2f})"))
    ),
    *(
        Row(
            f"es.historical.{level:g}", library, call.format(level, 1 - level), why=_IN_PART,
            theirs=_shortfall_at(level),
        )
        for level in ours.LEVELS
        for library, call in (("skfolio", "cvar(r, {:g})"), ("riskfolio", "CVaR_Hist(r, {1:.2f})"))
    ),
    Row("decomposition.contributions", "riskfolio", "Risk_Contribution(w, r, cov, rm='MV')", tolerance=QUOTIENTS),
    Row(
        "es_975.component", "riskfolio", "Risk_Contribution(w, r, rm='CVaR', alpha=0.025)", tolerance=QUOTIENTS, why=_IN_PART,
        theirs=lambda _: _of_components(),
    ),
    Row("concentration.effective", "skfolio", "effective_number_assets(|w| / Σ|w|)"),
    Row("attribution.factors", "pyfolio", "perf_attrib: return by factor, added up"),
    Row("attribution.rest", "pyfolio", "perf_attrib: specific_returns"),
    Row("liquidity.days", "pyfolio", "capacity.days_to_liquidate_positions(…, 0.2, mean_volume_window=63), price constant"),
)  # fmt: skip


def expected(row: Row, of: Mapping[str, Figure]) -> Figure:
    """What the library says if its definition is understood."""
    return of[row.figure] if row.theirs is None else row.theirs(of)


def apart(one: Figure, other: Figure) -> float:
    """The largest difference over the largest element."""
    a, b = np.atleast_1d(np.asarray(one, dtype=np.float64)), np.atleast_1d(np.asarray(other, dtype=np.float64))
    if a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-300))

"""What the libraries say: calls of theirs on the fixed returns. Imported only where they are installed."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

import numpy as np

from tests.oracle.libraries import ours
from tests.oracle.libraries.ours import Figure

DISTRIBUTIONS = {
    "quantstats": "quantstats",
    "skfolio": "skfolio",
    "pyfolio": "pyfolio-reloaded",
    "riskfolio": "riskfolio-lib",
}


def versions() -> dict[str, str]:
    return {name: version(distribution) for name, distribution in DISTRIBUTIONS.items()}


def figures() -> dict[str, Figure]:
    """By `Row.key`."""
    found = _quantstats() | _skfolio() | _pyfolio() | _riskfolio()
    return {key: np.asarray(value, dtype=np.float64).tolist() for key, value in found.items()}


def _series(values: Any) -> Any:
    # By name, as in the other libraries: this module is checked where none of them is installed.
    pandas: Any = importlib.import_module("pandas")
    return pandas.Series(values, index=pandas.DatetimeIndex(ours.SESSIONS))


def _quantstats() -> dict[str, Any]:
    q: Any = importlib.import_module("quantstats.stats")
    r, b = _series(ours.OWN), _series(ours.MARKET)
    raw = {"prepare_returns": False}
    excess = q.greeks(r - ours.FREE, b - ours.FREE, **raw)
    months = q.monthly_returns(r, eoy=False, prepare_returns=False)
    ends = sorted({(day.year, day.month) for day in r.index})
    # Their table has a column a month by its English name.
    of_months = [float(months.loc[str(year)].iloc[month - 1]) for year, month in ends]
    found = {
        "total_return": q.comp(r), "annual_return": q.cagr(r, periods=252), "volatility": q.volatility(r, **raw),
        "sharpe": q.sharpe(r, rf=ours.BILL), "sortino": q.sortino(r, rf=ours.BILL), "max_drawdown": q.max_drawdown(r),
        "calmar": q.calmar(r, **raw), "best_day": q.best(r, **raw), "worst_day": q.worst(r, **raw), "positive_share": q.win_rate(r, **raw),
        "months": of_months, "skew": q.skew(r, **raw), "kurtosis": q.kurtosis(r, **raw),
        "benchmark.beta": excess["beta"], "benchmark.alpha": excess["alpha"], "benchmark.r2": q.r_squared(r, b, **raw),
        "benchmark.information_ratio": q.information_ratio(r, b, **raw),
        "beta.realized": q.greeks(r.iloc[-252:], b.iloc[-252:], **raw)["beta"],
    }  # fmt: skip
    for level in ours.LEVELS:
        found[f"var.normal.{level:g}"] = -q.value_at_risk(r, confidence=level, **raw)
        found[f"es.normal.{level:g}"] = -q.cvar(r, confidence=level, **raw)
        found[f"es.historical.{level:g}"] = -q.cvar(r, confidence=level, method="historical", **raw)
    return {f"{figure} quantstats": value for figure, value in found.items()}


def _skfolio() -> dict[str, Any]:
    m: Any = importlib.import_module("skfolio.measures")
    r, year = ours.OWN, np.sqrt(252.0)
    falls = m.get_drawdowns(r, compounded=True)
    gross = np.abs(ours.WEIGHTS)
    found = {
        "volatility": m.standard_deviation(r) * year, "semi_deviation": m.semi_deviation(r) * year, "max_drawdown": -m.max_drawdown(falls),
        "skew": m.skew(r), "kurtosis": m.kurtosis(r), "cdar_95": m.cdar(falls, beta=0.95),
        "benchmark.tracking_error": m.standard_deviation(r - ours.MARKET) * year,
        "concentration.effective": m.effective_number_assets(gross / gross.sum()),
    }  # fmt: skip
    for level in ours.LEVELS:
        found[f"var.historical.{level:g}"] = m.value_at_risk(r, beta=level)
        found[f"es.historical.{level:g}"] = m.cvar(r, beta=level)
    return {f"{figure} skfolio": value for figure, value in found.items()}


def _pyfolio() -> dict[str, Any]:
    pandas: Any = importlib.import_module("pandas")
    timeseries: Any = importlib.import_module("pyfolio.timeseries")
    r = _series(ours.OWN)
    table = timeseries.gen_drawdown_table(r, 5)
    position = {day: float(i) for i, day in enumerate(r.index)}
    attribution: Any = importlib.import_module("pyfolio.perf_attrib")
    days, names = r.index[: len(ours.FACTOR_RETURNS)], ["a", "b", "c"]
    # One position of all the money, whose loadings are the book's exposures of the close before.
    loadings = pandas.DataFrame(
        ours.FACTOR_EXPOSURES,
        columns=names,
        index=pandas.MultiIndex.from_product([days, ["BOOK"]], names=["dt", "ticker"]),
    )
    positions = pandas.DataFrame({"BOOK": 1.0, "cash": 0.0}, index=days)
    _, parts = attribution.perf_attrib(
        pandas.Series(ours.BOOK_RETURNS, index=days),
        positions,
        pandas.DataFrame(ours.FACTOR_RETURNS, columns=names, index=days),
        loadings,
    )
    found = {
        "downside_deviation": timeseries.downside_risk(r, required_return=ours.FREE),
        "calmar": timeseries.calmar_ratio(r),
        "drawdowns.depth": [-float(depth) / 100.0 for depth in table["Net drawdown in %"]],
        "drawdowns.trough": [position[pandas.Timestamp(day)] for day in table["Valley date"]],
        "attribution.factors": parts[names].sum().to_numpy(),
        "attribution.rest": parts["specific_returns"].to_numpy(),
        "liquidity.days": _days_to_liquidate(pandas),
    }
    return {f"{figure} pyfolio": value for figure, value in found.items()}


def _days_to_liquidate(pandas: Any) -> list[float]:
    """Of a day after 63 of volumes, at a price of 10 throughout."""
    capacity: Any = importlib.import_module("pyfolio.capacity")
    days, names = pandas.DatetimeIndex(ours.SESSIONS[:64]), ["A", "B", "C"]
    volumes = pandas.DataFrame(ours.VOLUMES.T, index=days, columns=names)
    market = pandas.concat({"volume": volumes, "price": volumes * 0.0 + 10.0}).swaplevel().sort_index()
    held = pandas.DataFrame([ours.QUANTITY * 10.0] * 64, index=days, columns=names)
    found = capacity.days_to_liquidate_positions(
        held.assign(cash=0.0),
        market,
        max_bar_consumption=0.2,
        capital_base=float(ours.QUANTITY.sum() * 10.0),
        mean_volume_window=63,
    )
    return [float(value) for value in found[names].iloc[-1]]


def _riskfolio() -> dict[str, Any]:
    f: Any = importlib.import_module("riskfolio.src.RiskFunctions")
    own = np.column_stack([ours.RETURNS[name] for name in sorted(ours.HELD)])
    weights = ours.WEIGHTS[:, None]
    found = {
        "max_drawdown": -f.MDD_Rel(ours.OWN), "cdar_95": f.CDaR_Rel(ours.OWN, alpha=0.05),
        "decomposition.contributions": np.ravel(f.Risk_Contribution(weights, own, cov=ours.covariance(), rm="MV")),
        "es_975.component": np.ravel(f.Risk_Contribution(weights, own, rm="CVaR", alpha=0.025)),
    }  # fmt: skip
    for level in ours.LEVELS:
        found[f"var.historical.{level:g}"] = f.VaR_Hist(ours.OWN, alpha=1.0 - level)
        found[f"es.historical.{level:g}"] = f.CVaR_Hist(ours.OWN, alpha=1.0 - level)
    return {f"{figure} riskfolio": value for figure, value in found.items()}

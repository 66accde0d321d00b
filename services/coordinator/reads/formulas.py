"""One registry of every figure: what it is, its parameters, what stands beside it, what it was computed from. Pure.

Formulas are those of docs/methods.md, in a line; windows and gates come from `shared.market.registry`, never from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.coordinator.reads.figures import Name
from shared.market import registry


class Source(StrEnum):
    """What a figure was computed from."""

    LOTS = "lot"
    FLOWS = "flow"
    EQUITY = "equity"
    PRICES = "price"
    PROXIES = "proxy_price"
    JUMPS = "jump"
    ACTIONS = "action"
    FACTS = "fact"
    SNAPSHOTS = "snapshot"
    BENCHMARK = "benchmark"


@dataclass(frozen=True, slots=True)
class Formula:
    """pattern : the name, `*` for what differs by symbol, factor or scenario, a last `**` for anything below
    window  : how many sessions of prices or snapshots enter, ending at the figure's
    steps   : figures of the same answer that lead to it; `*` stands for what the name has there
    own     : the figure is about the symbol in its name, and only that symbol's data enters
    """

    pattern: Name
    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    window: int = 1
    steps: tuple[str, ...] = ()
    own: bool = False


_HOLDINGS = (Source.LOTS, Source.PRICES, Source.ACTIONS)
_CHAIN = (*_HOLDINGS, Source.FLOWS, Source.SNAPSHOTS)
_SERIES = (Source.SNAPSHOTS, Source.PRICES, Source.PROXIES, Source.FACTS)
_COVERAGE = {"coverage_gate": registry.COVERAGE_GATE}
_YEAR = {"sessions_a_year": registry.SESSIONS_A_YEAR}
_CORRELATION = {"window": registry.CORRELATION_WINDOW, "min_obs": registry.CORRELATION_MIN_OBS}
_JOINT = {"window": registry.BETA_WINDOW, "min_obs": registry.BETA_MIN_OBS, "penalty": registry.JOINT_PENALTY}
_HAR = {
    "horizon": registry.HAR_HORIZON,
    "week": registry.HAR_WEEK,
    "month": registry.HAR_MONTH,
    "min_rows": registry.HAR_MIN_ROWS,
    "window": registry.LOOKBACK,
    "ewma_decay": registry.EWMA_DECAY,
    "interval_z": registry.HAR_INTERVAL_Z,
}
_STRESS = {
    "window": registry.STRESS_WINDOW,
    "half_life": registry.STRESS_HALF_LIFE,
    "cap_sigmas": registry.STRESS_CAP_SIGMAS,
    "cap_sessions": registry.STRESS_CAP_SESSIONS,
}


def _f(pattern: str, text: str, *sources: Source, **more: Any) -> Formula:
    return Formula(tuple(pattern.split("/")), text, sources=sources, **more)


def _snapshot(name: str, text: str, *sources: Source, **more: Any) -> Formula:
    return _f(f"snapshots/{name}", text, *(sources or _CHAIN), **more)


def _lot(name: str, text: str, **more: Any) -> Formula:
    return _f(f"positions/*/{name}", text, *_HOLDINGS, own=True, **more)


FORMULAS: tuple[Formula, ...] = (
    # --- snapshots ---
    _snapshot("nav", "NAV_t = NAV_{t-1} + pnl_t + flow_t = cash_t + sum of signed market values; before the first session the "
              "equity balance", *_CHAIN, Source.EQUITY, steps=("cash", "net_exposure", "daily_pnl", "flow")),
    _snapshot("cash", "cash_{t-1} + trades + dividends + flow_t; may be negative", *_CHAIN, Source.EQUITY, steps=("flow", "dividends")),
    _snapshot("long_value", "sum of the market values above zero", *_HOLDINGS),
    _snapshot("short_value", "sum of the market values below zero (at most 0)", *_HOLDINGS),
    _snapshot("gross_exposure", "long_value - short_value", *_HOLDINGS, steps=("long_value", "short_value")),
    _snapshot("net_exposure", "long_value + short_value", *_HOLDINGS, steps=("long_value", "short_value")),
    _snapshot("daily_pnl", "sum over lots of m q_t P_t - m q_{t-1} P_{t-1} + m q_t D_t; from the entry price on the first session, "
              "to the exit price on the last", parameters={"option_multiplier": registry.OPTION_MULTIPLIER}, window=2),
    _snapshot("daily_return", "pnl_t / (NAV_{t-1} + max(flow_t, 0)); null where that is not above zero", window=2,
              steps=("daily_pnl", "flow")),
    _snapshot("cumulative_pnl", "NAV - equity - cumulative flow", *_CHAIN, Source.EQUITY, steps=("nav", "cumulative_flow")),
    _snapshot("realized_pnl", "sum over closed lots of (exit price - entry price) times quantity, without dividends", *_HOLDINGS),
    _snapshot("unrealized_pnl", "cumulative P&L of open lots without what was realised and without dividends", *_HOLDINGS,
              steps=("cumulative_pnl", "realized_pnl", "dividends")),
    _snapshot("dividends", "sum of cash dividends since entry, on the shares of each ex-date; shorts pay them", *_HOLDINGS),
    _snapshot("flow", "money in (positive) or out dated since the session before", Source.FLOWS),
    _snapshot("cumulative_flow", "sum of flows up to the session", Source.FLOWS, Source.SNAPSHOTS, steps=("flow",)),
    _snapshot("mtd_return", "product of (1 + daily return) over the month's sessions - 1", steps=("daily_return",)),
    _snapshot("ytd_return", "product of (1 + daily return) over the year's sessions - 1", steps=("daily_return",)),
    _snapshot("cumulative_return", "product of (1 + daily return) over all sessions - 1", steps=("daily_return",)),
    _snapshot("drawdown", "I_t / peak_t - 1, I = 1 + cumulative return, its peak at least 1", steps=("cumulative_return",)),
    _snapshot("xirr", "annual rate at which equity and flows grow to NAV, ACT/365; null in the first 365 days",
              Source.FLOWS, Source.EQUITY, Source.SNAPSHOTS, steps=("nav", "cumulative_flow")),
    _snapshot("positions", "number of lots with a quantity other than zero", Source.LOTS, Source.ACTIONS),
    _snapshot("long_positions", "number of lots with a quantity above zero", Source.LOTS, Source.ACTIONS),
    _snapshot("short_positions", "number of lots with a quantity below zero", Source.LOTS, Source.ACTIONS),
    # --- lots ---
    _lot("quantity", "entry quantity times the splits since entry; 0 once closed"),
    _lot("price", "close as traded of the session; the last one where there is none, chained by adjusted closes where only these are "
         "there", parameters={"stale_sessions": registry.STALE_SESSIONS}, window=registry.STALE_SESSIONS + 1),
    _lot("price_session", "the session whose price was used", parameters={"stale_sessions": registry.STALE_SESSIONS}),
    _lot("market_value", "quantity times multiplier times price", parameters={"option_multiplier": registry.OPTION_MULTIPLIER},
         steps=("quantity", "price")),
    _lot("weight", "market value / NAV; null with NAV at or below zero", steps=("market_value",)),
    _lot("daily_pnl", "m q_t P_t - m q_{t-1} P_{t-1} + m q_t D_t; from the entry price on the first session, to the exit price on the "
         "last", window=2),
    _lot("cumulative_pnl", "realized + unrealized + dividends", steps=("realized_pnl", "unrealized_pnl", "dividends")),
    _lot("realized_pnl", "(exit price - entry price) times quantity, once closed"),
    _lot("unrealized_pnl", "cumulative P&L without what was realised and without dividends", steps=("cumulative_pnl",)),
    _lot("dividends", "sum of cash dividends since entry, on the shares of each ex-date"),
    _lot("**", "as the user stated it, as traded on its date"),
    # --- exposures ---
    _f("exposures/proxies/*", "the first of the factor's proxies with all returns of the window", Source.PROXIES,
       parameters=_JOINT, window=registry.BETA_WINDOW + 1),
    _f("exposures/factors/*/**", "beta = sum of weight_i beta_i; money = sum of value_i beta_i; covered_weight = gross value with a beta "
       "/ gross value; joint: ridge on the market and the residuals of the other proxies; reported: single regressions",
       Source.SNAPSHOTS, Source.FACTS, Source.PRICES, Source.PROXIES, parameters=_JOINT | _COVERAGE, window=registry.BETA_WINDOW + 1,
       steps=("covered_weight",)),
    _f("exposures/positions/*/betas/*", "ridge of the symbol's returns on the market and the residuals of the other proxies",
       Source.FACTS, Source.PRICES, Source.PROXIES, parameters=_JOINT, window=registry.BETA_WINDOW + 1, own=True),
    *(_f(f"exposures/positions/*/greeks{below}", "Black-Scholes without dividends, at the volatility that the option's own close implies; "
         "delta and gamma of one share, vega a point of volatility, theta a calendar day", Source.PRICES, own=True,
         parameters={"rate": registry.OPTION_RATE, "days_a_year": registry.OPTION_DAYS_A_YEAR}) for below in ("", "/*")),
    _f("exposures/positions/*/exposure_value", "signed market value; of an option delta times quantity times 100 times the underlying's "
       "close", Source.SNAPSHOTS, Source.PRICES, own=True),
    _f("exposures/positions/*/**", "signed market value; weight: over NAV", Source.SNAPSHOTS, Source.PRICES, own=True),
    # --- volatility ---
    _f("risk/volatility/realized_nav_252", "standard deviation of the snapshots' daily returns, times the root of 252",
       Source.SNAPSHOTS, parameters=_YEAR | {"window": 252, "min_share": registry.VOLATILITY_MIN_SHARE}, window=252),
    *(_f(f"risk/volatility/realized_{window}", "standard deviation of the series of constant weights of the session, times the root "
         "of 252", *_SERIES, parameters=_YEAR | _COVERAGE | {"window": window, "min_share": registry.VOLATILITY_MIN_SHARE},
         window=window) for window in registry.VOLATILITY_WINDOWS),
    _f("risk/volatility/percentile_252", "share of the earlier rolling-21 standard deviations strictly below today's", *_SERIES,
       parameters=_COVERAGE | {"history": registry.PERCENTILE_HISTORY}, window=registry.PERCENTILE_HISTORY + 21),
    _f("risk/volatility/trend/**", "z = ln(RMS now / RMS of the month before) / root((kurtosis - 1) / 42)", *_SERIES,
       parameters=_COVERAGE | {"window": registry.TREND_WINDOW, "z": registry.TREND_Z}, window=252, steps=("z",)),
    _f("risk/volatility/forecast_21/**", "HAR in volatility form (Corsi 2009): RMS of the next 21 returns on |r|, RMS 5 and RMS 22; the "
       "EWMA of squared returns where there are too few rows", *_SERIES, parameters=_COVERAGE | _HAR, window=registry.LOOKBACK,
       steps=("method", "n_obs", "variance")),
    _f("risk/positions/*/realized_252", "standard deviation of the symbol's returns, times the root of 252", Source.PRICES,
       parameters=_YEAR | {"window": 252}, window=252, own=True),
    _f("risk/positions/*/**", "HAR in volatility form on the symbol's returns; the EWMA where there are too few", Source.PRICES,
       parameters=_HAR, window=registry.LOOKBACK, own=True, steps=("method",)),
    # --- beta, decomposition ---
    _f("risk/beta/aggregated", "sum of weight_i times the joint market beta_i", Source.SNAPSHOTS, Source.FACTS, Source.PRICES,
       Source.PROXIES, parameters=_JOINT | _COVERAGE, window=registry.BETA_WINDOW + 1),
    _f("risk/beta/**", "OLS of the series of constant weights on the market", *_SERIES,
       parameters=_COVERAGE | {"window": registry.BETA_WINDOW}, window=registry.BETA_WINDOW, steps=("n_obs", "r2")),
    _f("risk/decomposition/factors/*", "share of b'Fb + sum of w_i^2 resid_i^2 that falls to the factor", Source.SNAPSHOTS,
       Source.FACTS, Source.PROXIES, Source.PRICES, parameters=_JOINT, window=registry.BETA_WINDOW),
    *(_f(f"risk/decomposition/{name}", "b'Fb + sum of w_i^2 resid_i^2: model_vol its root, specific_share the second part of it",
         Source.SNAPSHOTS, Source.FACTS, Source.PROXIES, Source.PRICES, parameters=_JOINT, window=registry.BETA_WINDOW)
      for name in ("model_vol", "specific_share")),
    _f("risk/decomposition/**", "sigma = root(w'Sw) with Ledoit-Wolf shrinkage of the correlations; contribution_i = w_i (Sw)_i / sigma, "
       "share its part; diversification ratio = sum |w| sigma_i / sigma; effective bets = exp(-sum p ln p) over eigenvectors", *_SERIES,
       parameters=_CORRELATION, window=registry.CORRELATION_WINDOW, steps=("volatility", "shrinkage", "n_obs")),
    # --- tail ---
    *(_f(f"risk/var/historical/*{tail}", "historical: minus the quantile (linear) of the series of constant weights; es: minus the mean "
         "of the returns at or below it", *_SERIES,
         parameters=_COVERAGE | {"window": registry.LOOKBACK, "min_obs": registry.VAR_MIN_OBS}, window=registry.LOOKBACK,
         steps=("n_obs",)) for tail in ("", "/**")),
    *(_f(f"risk/var/normal/*{tail}", "normal: VaR = -(mean + z s), ES = -mean + s phi(z) / (1 - level)", *_SERIES,
         parameters=_COVERAGE | {"window": registry.LOOKBACK, "min_obs": registry.VAR_MIN_OBS}, window=registry.LOOKBACK,
         steps=("n_obs",)) for tail in ("", "/**")),
    _f("risk/drawdown/**", "from the snapshots' return index: now, the deepest, and the sessions of its peak and trough",
       Source.SNAPSHOTS, window=0, steps=("peak", "trough")),
    _f("risk/concentration/risk_hhi", "sum of squared shares of |contribution| to the volatility, times 10,000", *_SERIES,
       parameters=_CORRELATION, window=registry.CORRELATION_WINDOW),
    _f("risk/concentration/**", "HHI = 10,000 times the sum of squared shares of gross value by underlying; effective = 10,000 / HHI; "
       "top: the largest shares", Source.SNAPSHOTS, Source.PRICES, steps=("hhi",)),
    _f("risk/sectors/*/benchmark", "the sector's weight in the benchmark's newest table dated on or before the session, rescaled to a sum "
       "of 1; 0 where it has nothing of the sector", Source.BENCHMARK),
    _f("risk/sectors/*/active", "net - benchmark", Source.SNAPSHOTS, Source.LOTS, Source.PRICES, Source.BENCHMARK,
       steps=("net", "benchmark")),
    _f("risk/sectors/*/**", "signed market values of the sector's holdings over NAV; a symbol's own sector, else the stated one",
       Source.SNAPSHOTS, Source.LOTS, Source.PRICES),
    _f("risk/benchmark", "code of the benchmark that sectors are compared with; null where it has no table yet", Source.BENCHMARK),
    _f("risk/benchmark_date", "date of its newest table on or before the session", Source.BENCHMARK),
    _f("risk/scorecard/mean_error", "mean of forecast less realised volatility, over the forecasts whose 21 sessions have passed",
       Source.SNAPSHOTS, Source.PRICES, parameters={"horizon": registry.HAR_HORIZON}, window=0),
    _f("risk/scorecard/var_95/**", "historical VaR of a session against the next session's return of its weights; Kupiec: lr = 2 ln of the "
       "likelihoods with x/n and with 5 %, p from chi-squared(1)", Source.SNAPSHOTS, Source.PRICES,
       parameters={"level": registry.SCORED_LEVEL}, window=0, steps=("n", "exceedances")),
    _f("risk/scorecard/*", "mean of x - ln x - 1, x = realised variance of the 21 sessions after over forecast variance (QLIKE)",
       Source.SNAPSHOTS, Source.PRICES, parameters={"horizon": registry.HAR_HORIZON}, window=0),
    # --- correlations, stress ---
    _f("correlations/factors/**", "correlation of the market and the residuals of the other proxies", Source.PROXIES,
       parameters=_CORRELATION, window=registry.CORRELATION_WINDOW),
    _f("correlations/matrix/*/*", "Ledoit-Wolf shrunk correlation of total returns; null with too few joint returns",
       Source.PRICES, Source.PROXIES, Source.FACTS, parameters=_CORRELATION, window=registry.CORRELATION_WINDOW, steps=("shrinkage",)),
    _f("correlations/**", "of the matrix: shrinkage intensity, mean of absolute values, joint observations", Source.PRICES,
       Source.PROXIES, Source.FACTS, parameters=_CORRELATION, window=registry.CORRELATION_WINDOW),
    _f("stress/*/direct/**", "sum of value_i (beta_m s_m + sum of beta_k e_k), e_k = s_k - b_k s_m; unscripted shocks are zero; a "
       "holding loses at most all", Source.SNAPSHOTS, Source.FACTS, Source.PRICES, Source.PROXIES, parameters=_JOINT,
       window=registry.BETA_WINDOW, steps=("uncovered_value",)),
    _f("stress/*/**", "as direct, with the unscripted factors at their mean given the scripted ones (EWMA covariance), capped",
       Source.SNAPSHOTS, Source.FACTS, Source.PRICES, Source.PROXIES, parameters=_JOINT | _STRESS, window=registry.STRESS_WINDOW,
       steps=("uncovered_value",)),
)  # fmt: skip


def formula_of(name: Name) -> Formula | None:
    """The first formula whose pattern fits the name; the more particular ones stand first."""
    return next((formula for formula in FORMULAS if _fits(formula.pattern, name)), None)


def _fits(pattern: Name, name: Name) -> bool:
    if pattern[-1] == "**":
        return len(name) >= len(pattern) and _fits(pattern[:-1], name[: len(pattern) - 1])
    return len(pattern) == len(name) and all(want in ("*", have) for want, have in zip(pattern, name, strict=True))

"""Formulas of what is worked out when it is asked for (docs/methods.md §16): performance and attribution. Pure."""

from __future__ import annotations

from services.coordinator.explain.formulas.model import Formula, Source, Span, formula
from shared.market import registry

_YEAR = {"sessions_a_year": registry.SESSIONS_A_YEAR}
_GATE = {
    "min_obs": registry.PERFORMANCE_MIN_OBS,
    "min_share": registry.PERFORMANCE_MIN_SHARE,
    "coverage_gate": registry.COVERAGE_GATE,
}
_LONG = {"min_sessions": registry.PERFORMANCE_YEAR}
_KNOWN = "over the returns between two sessions whose coverage is at least coverage_gate"
_EXCESS = (
    "excess = daily return less (1 + y)^(1/252) - 1, y the 3-month par yield dated before the session, 0 without one"
)
_VOLUME = {"window": registry.ADV_WINDOW, "min_obs": registry.ADV_MIN_OBS, "share": registry.ADV_SHARE}
_BEFORE = "exposure in money at the close before"


def _chain(name: str, text: str, *sources: Source, **parameters: object) -> Formula:
    return formula(
        f"performance/{name}", text, *(sources or (Source.HISTORY,)), parameters=parameters, window=Span.CHAIN
    )


_WITH_BILLS = (Source.HISTORY, Source.BILLS)
_MONEY = (Source.HISTORY, Source.FLOWS, Source.EQUITY)

ANALYTICS: tuple[Formula, ...] = (
    _chain("total_return", "product of (1 + daily return) - 1, from the portfolio's first session on"),
    _chain("annual_return", "(1 + total return)^(252 / sessions) - 1", **_YEAR, **_LONG),
    _chain("money_weighted_return", "r with the sum of amount (1 + r)^(days left / days in all) = NAV; amounts: the opening equity and "
      "every flow since; days with less than empty_below in the account do not count", *_MONEY, lowest=registry.XIRR_LOWEST,
      highest=registry.XIRR_HIGHEST, empty_below=registry.EMPTY_BELOW),
    _chain("money_weighted_annual", "r with the sum of amount (1 + r)^(days left / 365) = NAV; days with less than empty_below in the "
      "account do not count", *_MONEY, lowest=registry.XIRR_LOWEST, highest=registry.XIRR_HIGHEST, year_days=registry.XIRR_YEAR_DAYS,
      empty_below=registry.EMPTY_BELOW),
    _chain("volatility", f"standard deviation (ddof=1) of the daily returns times the root of 252, {_KNOWN}", **_YEAR, **_GATE),
    _chain("semi_deviation", "root of 252 times the root of the sum of squares of what returns lie below their mean, over n - 1; "
      f"{_KNOWN}", **_YEAR, **_GATE, **_LONG),
    _chain("downside_deviation", f"root of 252 times the root of the mean of min(excess, 0)², over all n; {_EXCESS}; {_KNOWN}",
      *_WITH_BILLS, **_YEAR, **_GATE),
    _chain("sharpe", f"root of 252 times mean over standard deviation (ddof=1) of the excess; {_EXCESS}; {_KNOWN}", *_WITH_BILLS,
      **_YEAR, **_GATE),
    _chain("sortino", f"252 times the mean excess over the downside deviation; {_EXCESS}; {_KNOWN}", *_WITH_BILLS, **_YEAR, **_GATE),
    _chain("calmar", "annual return over the deepest drawdown", **_LONG),
    _chain("skew", f"third central moment over the second's power of 3/2, not corrected for n; {_KNOWN}", **_GATE),
    _chain("kurtosis", f"fourth central moment over the square of the second, less 3, not corrected for n; {_KNOWN}", **_GATE),
    _chain("positive_share", f"share of returns above 0, {_KNOWN}", **_GATE),
    _chain("max_drawdown", "lowest of index / highest so far - 1; the index is 1 before the first session; sessions below coverage_gate "
      "are looked through", coverage_gate=registry.COVERAGE_GATE),
    _chain("cdar_95", "mean of the drawdowns at or beyond their quantile at level (numpy linear), as a positive fraction",
      level=registry.CDAR_LEVEL, **_LONG),
    _chain("risk_free", "product of (1 + risk-free return) to the power of 252 / n, less 1, of the n sessions that have one",
      Source.BILLS, **_YEAR),
    formula("attribution/pnl", "P&L of the session", Source.SNAPSHOT),
    formula("attribution/total_return", "P&L over the capital: NAV at the close before and what came in at the open", Source.SNAPSHOT,
      Source.EARLIER, window=2),
    formula("attribution/factors/specific_and_trading/*", "P&L less that of the factors", Source.SNAPSHOT, Source.EARLIER, Source.PRICES,
      Source.PROXIES, Source.FACTS, window=registry.BETA_WINDOW + 1),
    formula("attribution/factors/untold/*", "P&L of a session without exposures at the close before, or without a market return",
      Source.SNAPSHOT, Source.EARLIER, window=2),
    formula("attribution/factors/*/*", f"{_BEFORE} times the proxy's return, of a style or rates less slope times the market's; "
      "contribution: over the capital", Source.SNAPSHOT, Source.EARLIER, Source.PRICES, Source.PROXIES, Source.FACTS,
      window=registry.BETA_WINDOW + 1),
    formula("attribution/sectors/*/*", "P&L of the sector's positions; contribution: over the capital", Source.SNAPSHOT, Source.EARLIER,
      Source.PROFILES, window=2),
    formula("attribution/positions/*/sector", "as vendors said it last by the session, else as the user says", Source.PROFILES,
      Source.LOTS, own=True),
    formula("attribution/positions/*/*", "P&L of the symbol's lots; contribution: over the capital", Source.SNAPSHOT, Source.EARLIER,
      Source.PRICES, window=2, own=True),
    formula("liquidity/days", "the longest of the holdings' days that are known", Source.SNAPSHOT, Source.PRICES, parameters=_VOLUME,
      window=registry.ADV_WINDOW),
    formula("liquidity/within/*", "share of gross value that is sold within so many sessions, each holding in equal parts", Source.SNAPSHOT,
      Source.PRICES, parameters=_VOLUME, window=registry.ADV_WINDOW),
    formula("liquidity/unknown_share", "share of gross value whose days are unknown", Source.SNAPSHOT, Source.PRICES, parameters=_VOLUME,
      window=registry.ADV_WINDOW),
    formula("liquidity/positions/*/n_obs", "sessions of the window with a volume above 0", Source.PRICES, parameters=_VOLUME,
      window=registry.ADV_WINDOW, own=True),
    formula("liquidity/positions/*/adv", "mean of the volumes above 0 as traded, times the new shares per old of every later split",
      Source.PRICES, Source.ACTIONS, parameters=_VOLUME, window=registry.ADV_WINDOW, own=True),
    formula("liquidity/positions/*/days", "quantity / (share times adv); 0 for money", Source.SNAPSHOT, Source.PRICES, Source.ACTIONS,
      parameters=_VOLUME, window=registry.ADV_WINDOW, own=True),
)  # fmt: skip

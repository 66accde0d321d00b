"""Formulas of snapshots and lots (docs/methods.md §6). Pure."""

from __future__ import annotations

from typing import Any

from services.coordinator.explain.formulas.model import Formula, Source, Span, formula
from shared.market import registry

_TRADED = (Source.LOTS, Source.ACTIONS)
_HOLDINGS = (Source.LOTS, Source.PRICES, Source.ACTIONS)
_CHAIN = (*_HOLDINGS, Source.FLOWS, Source.EARLIER, Source.EQUITY)
_OPTIONS = {"option_multiplier": registry.OPTION_MULTIPLIER}
_STALE = {"stale_sessions": registry.STALE_SESSIONS}
_XIRR = {
    "empty_below": registry.EMPTY_BELOW,
    "year_days": registry.XIRR_YEAR_DAYS,
    "lowest": registry.XIRR_LOWEST,
    "highest": registry.XIRR_HIGHEST,
}
_COVERED = (
    "share of gross value whose lots have a price of the session, or one no more than stale_sessions old; 1 where nothing "
    "is held"
)


def _snapshot(name: str, text: str, *sources: Source, **more: Any) -> Formula:
    return formula(f"snapshots/{name}", text, *sources, **more)


def _lot(name: str, text: str, *sources: Source, **more: Any) -> Formula:
    return formula(f"positions/*/{name}", text, *sources, own=True, **more)


LEDGER: tuple[Formula, ...] = (
    # --- snapshots ---
    _snapshot("nav", "NAV_t = NAV_{t-1} + pnl_t + flow_t = cash_t + sum of signed market values; before the first session the "
              "equity balance", *_CHAIN, parameters=_OPTIONS, window=Span.CHAIN,
              steps=("cash", "net_exposure", "daily_pnl", "flow")),
    _snapshot("cash", "cash_{t-1} + trades + dividends + flow_t, before the first session the equity balance; may be negative",
              *_TRADED, Source.FLOWS, Source.EARLIER, Source.EQUITY, parameters=_OPTIONS, window=Span.CHAIN,
              steps=("flow", "dividends")),
    _snapshot("long_value", "sum of the market values above zero", *_HOLDINGS, parameters=_OPTIONS),
    _snapshot("short_value", "sum of the market values below zero (at most 0)", *_HOLDINGS, parameters=_OPTIONS),
    _snapshot("gross_exposure", "long_value - short_value", *_HOLDINGS, parameters=_OPTIONS, steps=("long_value", "short_value")),
    _snapshot("net_exposure", "long_value + short_value", *_HOLDINGS, parameters=_OPTIONS, steps=("long_value", "short_value")),
    _snapshot("daily_pnl", "sum over lots of m q_t P_t - m q_{t-1} P_{t-1} + m q_t D_t; from the entry price on the first session, "
              "to the exit price on the last", *_HOLDINGS, Source.EARLIER, parameters=_OPTIONS, window=2),
    _snapshot("daily_return", "pnl_t / (NAV_{t-1} + max(flow_t, 0)); null where that is not above zero", *_HOLDINGS, Source.FLOWS,
              Source.EARLIER, Source.EQUITY, window=2, steps=("daily_pnl", "flow")),
    _snapshot("cumulative_pnl", "NAV - equity - cumulative flow, which is the sum of the daily P&L", *_CHAIN, window=Span.CHAIN,
              steps=("nav", "cumulative_flow")),
    _snapshot("realized_pnl", "sum over closed lots of (exit price - entry price) times quantity, without dividends", *_TRADED,
              parameters=_OPTIONS, window=Span.CHAIN),
    _snapshot("unrealized_pnl", "cumulative P&L without what was realised and without dividends", *_CHAIN, window=Span.CHAIN,
              steps=("cumulative_pnl", "realized_pnl", "dividends")),
    _snapshot("dividends", "sum of cash dividends since entry, on the shares of each ex-date; shorts pay them", *_TRADED,
              window=Span.CHAIN),
    _snapshot("flow", "money in (positive) or out dated since the session before", Source.FLOWS, window=2),
    _snapshot("cumulative_flow", "sum of flows up to the session", Source.FLOWS, Source.EARLIER, window=Span.CHAIN, steps=("flow",)),
    _snapshot("mtd_return", "(1 + mtd_{t-1}) (1 + daily return) - 1, from 0 where the month or the portfolio begins", *_CHAIN,
              window=Span.MONTH, steps=("daily_return",)),
    _snapshot("ytd_return", "(1 + ytd_{t-1}) (1 + daily return) - 1, from 0 where the year or the portfolio begins", *_CHAIN,
              window=Span.YEAR, steps=("daily_return",)),
    _snapshot("cumulative_return", "product of (1 + daily return) over all sessions - 1", *_CHAIN, window=Span.CHAIN,
              steps=("daily_return",)),
    _snapshot("drawdown", "I_t / peak_t - 1, I = 1 + cumulative return, its peak since the first session at least 1", *_CHAIN,
              window=Span.CHAIN, steps=("cumulative_return",)),
    _snapshot("xirr", "annual rate at which equity and flows grow to NAV, ACT/365; null with fewer than year_days on which at "
              "least empty_below was in the account, and without a root in [lowest, highest]", *_CHAIN,
              parameters=_XIRR, window=Span.CHAIN, steps=("nav", "cumulative_flow")),
    _snapshot("positions", "number of lots with a quantity other than zero", *_TRADED),
    _snapshot("long_positions", "number of lots with a quantity above zero", *_TRADED),
    _snapshot("short_positions", "number of lots with a quantity below zero", *_TRADED),
    _snapshot("coverage", _COVERED, Source.LOTS, Source.PRICES, parameters=_STALE, window=registry.STALE_SESSIONS + 1),
    # --- lots ---
    formula("positions/coverage", _COVERED, Source.LOTS, Source.PRICES, parameters=_STALE, window=registry.STALE_SESSIONS + 1),
    _lot("quantity", "entry quantity times the splits since entry; 0 once closed", *_TRADED),
    _lot("price", "close as traded of the session; the last one where there is none, chained by adjusted closes where only these are "
         "there", *_HOLDINGS, parameters=_STALE, window=registry.STALE_SESSIONS + 1),
    _lot("price_session", "the session whose price was used", *_HOLDINGS, parameters=_STALE, window=registry.STALE_SESSIONS + 1),
    _lot("price_basis", "where the price comes from: close, file, chained, adj_close or stated", *_HOLDINGS,
         window=registry.STALE_SESSIONS + 1),
    _lot("market_value", "quantity times multiplier times price, rounded to four decimals", *_HOLDINGS, parameters=_OPTIONS,
         steps=("quantity", "price")),
    _lot("weight", "market value / NAV; null with NAV at or below zero", *_HOLDINGS, Source.SNAPSHOT, steps=("market_value",)),
    _lot("daily_pnl", "m q_t P_t - m q_{t-1} P_{t-1} + m q_t D_t; from the entry price on the first session, to the exit price on the "
         "last", *_HOLDINGS, parameters=_OPTIONS, window=2),
    _lot("cumulative_pnl", "sum of the daily P&L since entry = realized + unrealized + dividends", *_HOLDINGS, parameters=_OPTIONS,
         window=Span.CHAIN, steps=("realized_pnl", "unrealized_pnl", "dividends")),
    _lot("realized_pnl", "(exit price - entry price) times quantity, once closed", *_TRADED, parameters=_OPTIONS),
    _lot("unrealized_pnl", "cumulative P&L without what was realised and without dividends", *_HOLDINGS, window=Span.CHAIN,
         steps=("cumulative_pnl", "realized_pnl", "dividends")),
    _lot("dividends", "sum of cash dividends since entry, on the shares of each ex-date", *_TRADED),
    _lot("quality", "partial where the lot fell short, with the reason beside it", *_HOLDINGS, parameters=_STALE, steps=("reason",)),
    _lot("reason", "why the lot fell short", *_HOLDINGS, parameters=_STALE),
    _lot("entry_price", "as the user stated it, as traded on its date: a split-adjusted one is converted once", *_TRADED),
    _lot("**", "as the user stated it", Source.LOTS),
)  # fmt: skip

"""Examples of answers that are worked out when they are asked for, by model."""

from __future__ import annotations

from typing import Any, Final

from shared.market.reasons import ReasonCode

_ID: Final = "0198c0de-0000-7000-8000-000000000001"
_REASON: Final = {
    "figure": "risk_free",
    "symbol": None,
    "reason": ReasonCode.NO_RISK_FREE.value,
    "severity": "figure",
    "acts": "you",
    "until": None,
    "provider": None,
    "remedy": "Let the yield curve be fetched (`LEADLINE_REFERENCE_PROVIDERS`)",
}
_ENVELOPE: Final = {
    "portfolio_id": _ID,
    "session": "2020-12-30",
    "revision": 7,
    "model_version": "7",
    "computed_at": "2020-12-30T21:35:00Z",
    "quality": "complete",
    "coverage": 1.0,
    "provisional": False,
    "reasons": [],
    "stale": False,
}
_SIDE: Final = {
    "nav": 100000.0,
    "cash": 20000.0,
    "long_value": 80000.0,
    "short_value": 0.0,
    "gross_exposure": 80000.0,
    "net_exposure": 80000.0,
    "volatility": {"realized_21": 0.14, "realized_63": 0.16, "realized_252": 0.28},
    "var": [{"method": "historical", "level": 0.95, "var": 0.021, "es": 0.034, "n_obs": 504}],
    "factors": [{"factor": "market", "beta": 0.86, "money": 86000.0}],
    "hedge": {"symbol": "SPY", "quantity": -230.0, "money": -86000.0},
    "covered_weight": 1.0,
    "coverage": 1.0,
    "concentration": {"hhi": 1250.0, "effective": 8.0, "top_3": 0.52, "top_10": 1.0},
}

_FUND: Final = {
    "symbol": "SPY",
    "date": "2020-12-15",
    "told": 0.0667,
    "holdings": [{"symbol": "AAPL", "weight": 0.0667, "sector": "Information Technology"}],
    "loaded_at": "2020-12-30T21:15:00Z",
}

ANALYTICS: Final[dict[str, dict[str, Any]]] = {
    "PerformanceAnswer": {
        "portfolio_id": _ID, "from": "2019-01-02", "to": "2020-12-30", "sessions": 503, "n_obs": 503, "stale": False,
        "total_return": 0.31, "annual_return": 0.145, "money_weighted_return": 0.28, "money_weighted_annual": 0.132,
        "volatility": 0.21, "semi_deviation": 0.16, "downside_deviation": 0.15, "sharpe": 0.69, "sortino": 0.95, "calmar": 0.5,
        "skew": -0.6, "kurtosis": 9.1, "positive_share": 0.56, "max_drawdown": -0.29, "cdar_95": 0.24, "risk_free": None,
        "best_day": {"session": "2020-03-24", "return": 0.071}, "worst_day": {"session": "2020-03-16", "return": -0.094},
        "drawdowns": [{"rank": 1, "depth": -0.29, "peak": "2020-02-19", "trough": "2020-03-23", "recovered": "2020-08-10", "length": 120,
                       "decline": 23, "recovery": 97}],
        "benchmark": {"symbol": "SPY", "n_obs": 503, "return": 0.55, "active_return": -0.24, "tracking_error": 0.08,
                      "information_ratio": -0.9, "beta": 0.86, "alpha": -0.03, "alpha_stderr_hac": 0.05, "alpha_t_hac": -0.6, "r2": 0.9,
                      "up_capture": 0.84, "down_capture": 0.91},
        "carry": {"margin_spread": 0.015, "borrow_rate": 0.003, "interest": 310.0, "margin": 0.0, "borrow": -42.0, "total_return": 0.3127},
        "years": [{"year": "2020", "sessions": 251, "return": 0.11, "benchmark": 0.17}],
        "items": [{"month": "2020-12", "sessions": 21, "return": 0.03, "benchmark": 0.035}],
        "reasons": [_REASON],
    },
    "AttributionAnswer": {
        "portfolio_id": _ID, "from": "2020-12-30", "to": "2020-12-30", "sessions": 1, "stale": False, "linking": "carino",
        "pnl": 1000.0, "total_return": 0.01,
        "items": [{"symbol": "AAPL", "sector": "Information Technology", "pnl": 1000.0, "contribution": 0.01}],
        "sectors": [{"sector": "Information Technology", "pnl": 1000.0, "contribution": 0.01}],
        "factors": [
            {"factor": "market", "pnl": 600.0, "contribution": 0.006, "sessions": 1},
            {"factor": "specific_and_trading", "pnl": 400.0, "contribution": 0.004, "sessions": 1},
            {"factor": "untold", "pnl": 0.0, "contribution": 0.0, "sessions": 0},
        ],
        "brinson": {"benchmark": "SP500", "return": 0.006, "active_return": 0.004,
                    "sectors": [{"sector": "Information Technology", "allocation": 0.001, "selection": 0.003}]},
        "reasons": [],
    },
    "Replay": {
        **_ENVELOPE, "from": "2020-02-19", "to": "2020-03-23", "sessions": 23,
        "proxies": [{"factor": "market", "proxy": "SPY", "return": -0.337}],
        "sector_funds": [{"sector": "Energy", "fund": "XLE", "return": -0.561}],
        "factors": {"money": -30330.0, "fraction": -0.3033, "uncovered_value": 0.0, "by_factor": {"market": -30330.0}},
        "positions": {"money": -27900.0, "fraction": -0.279, "uncovered_value": 0.0},
        "items": [{"symbol": "AAPL", "market_value": 90000.0, "factor_return": -0.337, "factor_money": -30330.0, "own_return": -0.31,
                   "own_money": -27900.0, "reason": None}],
    },
    "Liquidity": {
        **_ENVELOPE, "share": 0.2, "days": 0.02, "within": [{"sessions": 1, "share": 1.0}], "unknown_share": 0.0,
        "items": [{"symbol": "AAPL", "quantity": 700.0, "market_value": 93600.0, "weight": 0.72, "adv": 110000000.0,
                   "adv_value": 14709200000.0, "share_of_adv": 0.0000063636, "days": 0.0000318182, "n_obs": 63, "reason": None}],
    },
    "LookThrough": {
        **_ENVELOPE, "looked_through": 0.98, "names": 503,
        "funds": [{"symbol": "SPY", "market_value": 37199.0, "weight": 0.37199, "as_of": "2020-12-15", "holdings": 502, "told": 0.98,
                   "reason": None}],
        "sectors": [{"sector": "Information Technology", "direct": 0.13, "through": 0.1, "long": 0.23, "short": 0.0, "net": 0.23,
                     "gross": 0.23}],
        "concentration": {"hhi": 310.0, "effective": 32.26, "top_3": 0.21, "top_10": 0.37},
        "items": [{"symbol": "AAPL", "sector": "Information Technology", "direct": 13372.0, "through": 2500.0, "money": 15872.0,
                   "weight": 0.15872}],
    },
    "SectorExposures": {
        **_ENVELOPE, "market": "SPY", "covered_weight": 1.0,
        "items": [{"sector": "Energy", "fund": "XLE", "beta": -0.08, "stderr_hac": 0.03, "t_hac": -2.7, "r2": 0.91, "n_obs": 252,
                   "money": -8000.0, "reason": None}],
    },
    "FundLists": {"items": [_FUND]},
    "FundOutcome": _FUND | {"changed": True},
    "WhatIf": {
        **_ENVELOPE, "trades": [{"symbol": "SPY", "quantity": -100.0, "price": 371.99, "money": 37199.0}],
        "before": _SIDE, "after": _SIDE | {"cash": 57199.0, "short_value": -37199.0, "net_exposure": 42801.0, "gross_exposure": 117199.0},
        "positions": [{"symbol": "SPY", "quantity_before": 0.0, "quantity_after": -100.0, "value_after": -37199.0, "weight_before": 0.0,
                       "weight_after": -0.37199}],
    },
}  # fmt: skip

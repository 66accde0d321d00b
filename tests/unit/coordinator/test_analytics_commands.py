"""Commands for figures that are worked out when they are asked for: what is asked of the server, and what is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leadline.client import Client
from tests.unit.coordinator.test_portfolio_commands import ID, Server

REASON = {"figure": "sharpe", "symbol": None, "reason": "short_history"}
PERFORMANCE: dict[str, Any] = {
    "from": "2020-01-02", "to": "2020-12-30", "sessions": 252, "n_obs": 252,
    **dict.fromkeys(
        ("total_return", "annual_return", "money_weighted_return", "money_weighted_annual", "volatility", "semi_deviation",
         "downside_deviation", "sortino", "calmar", "skew", "kurtosis", "positive_share", "max_drawdown", "cdar_95", "risk_free"),
        0.12345,
    ),
    "sharpe": None,
    "best_day": {"session": "2020-03-24", "return": 0.0715}, "worst_day": None,
    "drawdowns": [{"rank": 1, "depth": -0.3162, "peak": "2020-02-19", "trough": "2020-03-23", "recovered": None, "length": 218,
                   "decline": 23, "recovery": None}],
    "benchmark": {"symbol": "SPY", "n_obs": 251, "return": 0.1, "active_return": 0.0234, "tracking_error": 0.04, "alpha": 0.02,
                  "alpha_stderr_hac": 0.01, "up_capture": 1.07, "down_capture": None, "information_ratio": 0.58, "beta": 0.9,
                  "alpha_t_hac": 2.0, "r2": 0.95},
    "years": [{"year": "2020", "sessions": 252, "return": 0.1877, "benchmark": 0.1}],
    "items": [{"month": "2020-03", "sessions": 22, "return": -0.0987, "benchmark": None}],
    "reasons": [REASON],
}  # fmt: skip
ATTRIBUTION: dict[str, Any] = {
    "from": "2020-01-02", "to": "2020-12-30", "total_return": 0.05, "pnl": 5000.5,
    "items": [{"symbol": "A[red]", "sector": "Energy", "pnl": 5000.5, "contribution": 0.05}],
    "sectors": [{"sector": "Energy", "pnl": 5000.5, "contribution": 0.05}],
    "factors": [{"factor": "low_volatility", "pnl": None, "contribution": None, "sessions": 0}],
    "brinson": {"benchmark": "SP500", "return": 0.04, "active_return": 0.0123,
                "sectors": [{"sector": "Energy", "allocation": 0.0011, "selection": 0.0112}]},
    "reasons": [],
}  # fmt: skip
REPLAY: dict[str, Any] = {
    "session": "2020-12-30", "from": "2020-02-19", "to": "2020-03-23",
    "proxies": [{"factor": "market", "proxy": "SPY", "return": -0.337}],
    "factors": {"money": -31234.5, "fraction": -0.31, "uncovered_value": 0.0, "by_factor": {"market": -30000.25}},
    "positions": None,
    "items": [{"symbol": "AAPL", "market_value": 9000.0, "factor_return": -0.3, "factor_money": -2700.0, "own_return": None,
               "own_money": None, "reason": "not_fetched"}],
    "reasons": [],
}  # fmt: skip
LIQUIDITY: dict[str, Any] = {
    "session": "2020-12-30", "share": 0.1, "days": 3.25, "unknown_share": 0.125,
    "within": [{"sessions": 1, "share": 0.5}, {"sessions": 5, "share": None}],
    "items": [{"symbol": "AAPL", "quantity": 100.0, "market_value": 9000.0, "adv": 123456.0, "share_of_adv": 0.325, "days": 3.25,
               "reason": None}],
    "reasons": [],
}  # fmt: skip
SIDE: dict[str, Any] = {
    "cash": 1.0, "long_value": 2.0, "short_value": 0.0, "gross_exposure": 2.0, "net_exposure": 2.0,
    "volatility": {"realized_252": 0.2468}, "var": [{"level": 0.95, "var": 0.0135, "es": None}],
    "factors": [{"factor": "market", "beta": 1.09}], "concentration": {"effective": 4.5, "top_3": 0.6},
}  # fmt: skip
WHAT_IF: dict[str, Any] = {
    "session": "2020-12-30", "trades": [{"symbol": "SPY", "quantity": -100.0, "price": 371.5, "money": 37150.0}],
    "before": SIDE, "after": SIDE, "reasons": [],
}  # fmt: skip
ROOT = f"/api/v1/portfolios/{ID}"


@pytest.mark.parametrize(
    ("command", "path", "answer", "asked", "words"),
    [
        (["performance", ID, "--from", "2020-01-02", "--benchmark", "SPY"], "performance", PERFORMANCE,
         {"from": "2020-01-02", "benchmark": "SPY"},
         ["12.35 %", "7.15 % on 2020-03-24", "Beside SPY", "107.00 %", "-31.62 %", "218", "-9.9 %", "18.8 %", "short history: sharpe"]),
        (["attribution", ID, "--to", "2020-12-30"], "attribution", ATTRIBUTION, {"to": "2020-12-30"},
         ["A[red]", "5,000.50", "low volatility", "Beside SP500: 1.23 %", "1.12 %"]),
        (["replay", ID, "--from", "2020-02-19", "--to", "2020-03-23"], "stress/replay", REPLAY,
         {"from": "2020-02-19", "to": "2020-03-23"}, ["-31,234.50", "-33.7 %", "-30,000.25", "not fetched"]),
        (["liquidity", ID, "--share", "0.1"], "liquidity", LIQUIDITY, {"share": "0.1"},
         ["123,456", "32.50 %", "3.25", "50.0 % within 1", "unknown 12.5 %"]),
    ],
)  # fmt: skip
def test_a_command_asks_and_prints(
    monkeypatch: pytest.MonkeyPatch, command: list[str], path: str, answer: Any, asked: dict[str, str], words: list[str]
) -> None:
    server = Server(monkeypatch, **{f"GET {ROOT}/{path}": answer})
    shown = server.run(*command)
    assert shown.exit_code == 0, shown.output
    assert server.sent[-1][2] == asked
    assert [word for word in words if word not in shown.output] == []
    assert json.loads(server.run(*command, "--json").output) == answer


def test_trades_are_sent_and_both_sides_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, **{f"POST {ROOT}/what-if": WHAT_IF})
    shown = server.run("what-if", ID, "--trade", "SPY=-100", "--trade", "AAPL = 1,000")
    assert shown.exit_code == 0, shown.output
    assert server.sent[-1][3] == {
        "trades": [{"symbol": "SPY", "quantity": -100.0}, {"symbol": "AAPL", "quantity": 1000.0}], "session": None,
    }  # fmt: skip
    for word in ("37,150.00", "24.68 %", "VaR 95.0 %", "1.35 %", "1.09", "4.50"):
        assert word in shown.output


@pytest.mark.parametrize("given", ["SPY", "=5", "SPY=", "SPY=many", "SPY=inf", "SPY=nan"])
def test_what_is_no_trade_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    server = Server(monkeypatch)
    refused = server.run("what-if", ID, "--trade", given)
    assert refused.exit_code == 2
    assert "SYMBOL=QUANTITY" in refused.output
    assert server.sent == []


def test_the_client_has_a_method_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        f"GET {ROOT}/performance": PERFORMANCE, f"GET {ROOT}/attribution": ATTRIBUTION, f"GET {ROOT}/stress/replay": REPLAY,
        f"GET {ROOT}/liquidity": LIQUIDITY, f"POST {ROOT}/what-if": WHAT_IF,
    }  # fmt: skip
    server = Server(monkeypatch, **answers)
    import httpx2

    with Client("http://test", transport=httpx2.MockTransport(server.handle)) as client:
        assert client.performance(ID, benchmark="SPY")["sharpe"] is None
        assert client.attribution(ID, first="2020-01-02")["pnl"] == 5000.5
        assert client.replay(ID, "2020-02-19", "2020-03-23")["positions"] is None
        assert client.liquidity(ID, share=0.1)["days"] == 3.25
        assert client.what_if(ID, {"SPY": -100})["trades"][0]["money"] == 37150.0
    assert [sent[2:] for sent in server.sent] == [
        ({"benchmark": "SPY"}, None), ({"from": "2020-01-02"}, None), ({"from": "2020-02-19", "to": "2020-03-23"}, None),
        ({"share": "0.1"}, None), ({}, {"trades": [{"symbol": "SPY", "quantity": -100}], "session": None}),
    ]  # fmt: skip

"""Examples of answers in the OpenAPI document, by model. A test holds each against its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from services.coordinator.api.examples_analytics import ANALYTICS
from services.coordinator.api.examples_operations import OPERATIONS
from shared.market.reasons import ReasonCode

_ID: Final = "0198c0de-0000-7000-8000-000000000001"
_NOT_FOUND: Final = {
    "figure": None,
    "symbol": "TWTR",
    "reason": ReasonCode.NOT_FOUND.value,
    "severity": "nav",
    "acts": "you",
    "until": None,
    "provider": "file",
    "remedy": "Correct the symbol, or add a source that has it",
}
_REFUSAL: Final = {
    "provider": "yahoo",
    "reason": ReasonCode.RATE_LIMITED.value,
    "until": "2020-12-30T19:50:00+00:00",
    "said": "yahoo: limit reached (429)",
    "said_at": "2020-12-30T19:35:00+00:00",
}
_LISTED: Final = {
    "id": _ID,
    "name": "Long-term",
    "account_type": "taxable",
    "currency": "USD",
    "equity_balance": 100000.0,
    "first_session": "2020-01-02",
    "created_at": "2020-12-30T15:00:00+00:00",
    "updated_at": "2020-12-30T15:00:00+00:00",
    "positions": 2,
    "state": "partial",
    "complete_to": "2020-12-30",
    "session": "2020-12-30",
    "nav": 131250.25,
    "daily_pnl": 412.5,
    "daily_return": 0.003153,
    "ytd_return": 0.3125,
    "return_1y": None,
    "drawdown": -0.0123,
    "coverage": 0.93,
    "risk_session": "2020-12-30",
    "volatility": 0.3461,
    "forecast_21": 0.2817,
    "var_95": 0.0312,
    "coverage_min": 0.93,
    "coverage_gate": 0.8,
    "needs_you": 1,
}

# Of the sample portfolio, as it was answered: `python -m tests.record_examples`.
_RECORDED: Final[dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("recorded_examples.json").read_text(encoding="utf-8")
)

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    **_RECORDED,
    **ANALYTICS,
    **OPERATIONS,
    "PortfolioList": {"items": [_LISTED], "next": None, "refusals": [_REFUSAL]},
    "Status": {
        "id": _ID,
        "state": "partial",
        "processed": 1.0,
        "coverage_min": 0.93,
        "coverage_gate": 0.8,
        "needs_you": [_NOT_FOUND],
        "as_of": "2020-12-30",
        "first_session": "2020-01-02",
        "last_session": "2020-12-30",
        "complete_to": "2020-12-30",
        "expected": 1008,
        "completed": 1008,
        "partial": 504,
        "phases": {phase: {"expected": 252, "completed": 252} for phase in ("ingest", "factors", "snapshots", "risk")},
        "holes": [],
        "holes_total": 0,
        "partials": [
            {"from": "2020-01-02", "to": "2020-12-30", "phase": "snapshots", "coverage": 0.93, "reasons": [_NOT_FOUND]}
        ],
        "partials_total": 1,
        "price_basis": [],
        "refusals": [_REFUSAL],
        "curve": {
            "date": "2020-12-29",
            "provider": "treasury",
            "fetched_at": "2020-12-29T22:00:00+00:00",
            "asked_at": "2020-12-30T19:00:00+00:00",
            "fault": None,
        },
    },
    "Completeness": {
        "sessions": ["2020-12-28", "2020-12-29", "2020-12-30"],
        "portfolios": [
            {"id": _ID, "name": "Long-term", "runs": [["ingest", "complete", 0, 2], ["risk", "waiting", 2, 2]]}
        ],
        "totals": {"complete": 3, "partial": 0, "waiting": 1, "running": 0, "retrying": 0, "blocked": 0},
        "pending": 0,
    },
    "Providers": {
        "items": [
            {
                "provider": "yahoo",
                "rank": 0,
                "metered": True,
                "windows": [
                    {"calls": 60, "seconds": 60.0, "used": 12},
                    {"calls": 2000, "seconds": 3600.0, "used": 240},
                ],
                "state": "paused",
                "closed_until": "2020-12-30T19:50:00+00:00",
                "closed_by": ReasonCode.RATE_LIMITED.value,
                "failures": 1,
                "last_fault": "yahoo: limit reached (429)",
                "last_fault_at": "2020-12-30T19:35:00+00:00",
                "last_success_at": "2020-12-30T19:34:58+00:00",
            }
        ]
    },
}

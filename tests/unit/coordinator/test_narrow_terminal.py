"""Eighty columns: every number whole, and a first screen of at most 25 lines."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from leadline.tables import overview
from leadline.tables.grid import table
from leadline.tables.imports import render_preview
from leadline.tables.text import SafeConsole
from tests.unit.coordinator.test_console import ANSWERS, ID, NEED, SIDES, STATUS, answering

BIG = -1_234_567_890.12
SHOWN = "-1,234,567,890.12"
WIDTH = 80
ROW = ANSWERS[f"/portfolios/{ID}/snapshots"]["items"][0]
MONEY = [key for key, value in ROW.items() if isinstance(value, float)]
FRACTIONS = ("daily_return", "cumulative_return", "mtd_return", "ytd_return", "drawdown", "xirr")
SCENARIO: dict[str, Any] = {
    "id": "covid_2020", "name": "Hypothetical: a fall of everything at once, as wide as its name", "reason": None, "capped": [],
    "direct": {"fraction": -0.31, "money": BIG}, "propagated": {"fraction": -0.42, "money": BIG}, "uncovered_value": BIG,
}  # fmt: skip
TAIL = {"level": 0.95, "var": 0.0234, "es": 0.0345, "n_obs": 252}


def wide_answers() -> dict[str, Any]:
    position = {
        "symbol": "BRK.B", "quantity": 12_345_678.1234, "price": 654_321.5, "market_value": BIG, "weight": -0.123, "daily_pnl": BIG,
        "cumulative_pnl": BIG, "reason": "return_remark",
    }  # fmt: skip
    risk = ANSWERS[f"/portfolios/{ID}/risk"]
    exposures = ANSWERS[f"/portfolios/{ID}/factor-exposures"]
    factors = [factor | {"money": BIG} for factor in exposures["factors"]]
    needs = [NEED | {"symbol": f"SYM{n}", "remedy": "Correct the symbol, or add a source " * 2} for n in range(9)]
    return ANSWERS | {
        f"/portfolios/{ID}": ANSWERS[f"/portfolios/{ID}"] | {"name": "A book whose name is as long as names of books are"},
        f"/portfolios/{ID}/status": STATUS | {"state": "partial", "coverage_min": 0.5, "needs_you": needs},
        f"/portfolios/{ID}/snapshots": {
            "items": [
                ROW | dict.fromkeys(MONEY, BIG) | dict.fromkeys(FRACTIONS, -0.12345)
                | {"flow": BIG, "cumulative_flow": BIG, "positions": 5000, "long_positions": 4000, "short_positions": 1000}
            ]
        },
        f"/portfolios/{ID}/positions": ANSWERS[f"/portfolios/{ID}/positions"] | {"items": [position]},
        f"/portfolios/{ID}/factor-exposures": exposures | {"factors": factors},
        f"/portfolios/{ID}/risk": risk
        | {"var": [{"method": "historical", **TAIL}], "sectors": [{"sector": "Communication Services", **SIDES}]},
        f"/portfolios/{ID}/stress": {"scenarios": [SCENARIO]},
    }  # fmt: skip


def rendered(width: int = WIDTH) -> list[str]:
    out = io.StringIO()
    with answering(wide_answers())() as client:
        overview.render_risk_overview(SafeConsole(file=out, width=width), client, ID)
    return out.getvalue().splitlines()


def test_at_80_columns_no_number_is_cut_or_broken() -> None:
    lines = rendered()
    tabular = [line for line in lines if line.startswith(("│", "┃"))]
    assert tabular
    assert not [line for line in tabular if "…" in line]
    assert not [line for line in tabular if len(line) > WIDTH]
    shown = "\n".join(lines)
    # Snapshot: every amount of it; positions: value, P&L of the day and in total; factors and stress.
    assert (
        shown.count(SHOWN)
        >= len(MONEY) + 2 + 3 + len(wide_answers()[f"/portfolios/{ID}/factor-exposures"]["factors"]) + 1
    )
    for whole in ("12,345,678.1234", "654,321.50", "-12.3 %", "-42.0 %"):
        assert whole in shown, whole


def test_the_first_screen_says_how_the_portfolio_stands() -> None:
    lines = rendered()
    screen = lines[: lines.index("", 1)]
    assert len(screen) <= 25
    state = ("partial, coverage 50.0 %", "Needs you", "SYM2", "and 6 more")
    figures = ("NAV", SHOWN, "Drawdown", "VaR 95 %", "2.34 %", "-42.0 %")
    for words in (*state, *figures):
        assert any(words in line for line in screen), words
    assert not [line for line in screen[2:] if len(line) > WIDTH]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_table_is_continued_below_where_it_is_too_wide(width: int) -> None:
    columns = [f"figure {n}" for n in range(12)]
    rows = table("Wide", "symbol", *columns, "remark")
    rows.columns[-1].justify = "left"
    rows.add_row("BRK.B", *(f"{n},234,567.89" for n in range(12)), "words that may take several lines")
    rows.add_section()
    rows.add_row("KO", *("–" for _ in range(12)), "")
    out = io.StringIO()
    Console(file=out, width=width).print(rows)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert len(re.findall(r"\d+,234,567\.89", shown)) == 12
    assert shown.count("Wide") == shown.count("BRK.B") > 1


def test_a_table_that_fits_is_as_it_was() -> None:
    rows = table("Narrow", "symbol", "value")
    rows.add_row("KO", "1.00")
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(rows)
    assert "│ KO     │  1.00 │" in out.getvalue()


def test_a_preview_keeps_its_numbers_at_80_columns() -> None:
    line = {
        "symbol": "KO", "company": "The Coca-Cola Company, of Atlanta", "investment_class": "PUBLIC", "entry_session": "2020-12-22",
        "price_basis": "split_adjusted", "price_basis_known": False, "quantity": 1234567.25, "entry_price": 654321.25,
        "written": {"quantity": "1.234.567,25", "entry_price": "654.321,25"}, "close_as_traded": 654320.75, "close_split_adjusted": 54.321,
    }  # fmt: skip
    out = io.StringIO()
    render_preview(Console(file=out, width=WIDTH), {"name": "Mine", "positions": 1, "preview": [line]})
    for whole in ("1,234,567.25", "654,321.25", "654,320.75", "54.32", "1.234.567,25"):
        assert whole in out.getvalue(), whole
    assert "…" not in out.getvalue()

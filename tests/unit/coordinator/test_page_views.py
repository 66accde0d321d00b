"""View models of the page: numbers as text, states in words, geometry, and files of brokers."""

from __future__ import annotations

from typing import Any

import pytest

from services.coordinator.web import formats
from services.coordinator.web.views import (
    charts,
    data,
    explain,
    home,
    importing,
    operations,
    performance,
    reasons,
    state,
)
from services.coordinator.web.views.figures import Figures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.money(877108.65), "877,108.65"),
        (formats.money(-1218.0, signed=True), "-1,218.00"),
        (formats.money(30000, signed=True), "+30,000.00"),
        (formats.money(0.0, signed=True), "0.00"),
        (formats.money(-0.001), "0.00"),
        (formats.money(None), "–"),
        (formats.percent(0.01630508), "1.63%"),
        (formats.percent(-0.00000001, signed=True), "0.00%"),
        (formats.percent(0.3238, 1, signed=True), "+32.4%"),
        (formats.quantity(1200.0), "1,200"),
        (formats.quantity(0.125), "0.125"),
        (formats.price(3164.679932), "3,164.6799"),
        (formats.day("2020-12-31"), "31 Dec 2020"),
        (formats.instant("2026-11-28T20:22:32.177342Z"), "28 Nov 2026, 20:22 UTC"),
    ],
)
def test_numbers_and_dates_as_text(text: str, expected: str) -> None:
    assert text == expected


def test_a_figure_keeps_its_value_and_names_its_explanation() -> None:
    figure = Figures("id", "2020-12-31").percent("risk.var.historical.0.95", 0.01630508694670148)
    assert figure.value == 0.01630508694670148
    assert figure.text == "1.63%"
    assert figure.href == "/p/id/explain?figure=risk.var.historical.0.95&session=2020-12-31"
    unknown = Figures("id", None).money("snapshots.nav", None, reason="unpriceable")
    assert not unknown.known
    assert unknown.text == "–"


def status(**changes: Any) -> dict[str, Any]:
    return {
        "state": "complete",
        "processed": 1.0,
        "coverage_min": 1.0,
        "needs_you": [],
        "complete_to": "2020-12-31",
        "expected": 8,
        "completed": 8,
        "partial": 0,
        "last_session": "2020-12-31",
        "holes": [],
        "partials": [],
    } | changes


def need(symbol: str, reason: str) -> dict[str, Any]:
    return {"symbol": symbol, "reason": reason, "remedy": "Say which."}


def test_a_holding_without_a_price_is_not_complete_to_a_reader() -> None:
    found = state.of_status(status(state="partial", coverage_min=0.036, needs_you=[need("TWTR", "not_found")]))
    assert found.name == state.PARTIAL
    assert found.needs_somebody
    assert found.coverage_min == 0.036
    assert [(of.symbol, of.code, of.remedy) for of in found.needs_you] == [("TWTR", "not_found", "Say which.")]
    assert found.sentence == "partial to 31 Dec 2020 · TWTR needs you"


def test_remarks_that_need_nobody_take_nothing_from_complete() -> None:
    found = state.of_status(status(partial=2))
    assert found.name == state.COMPLETE
    assert not found.needs_somebody
    assert found.sentence == "complete to 31 Dec 2020"


def test_almost_done_is_never_rounded_up_to_done() -> None:
    hole = {"next_at": "2026-11-28T18:40:00Z", "reason": "rate_limited", "symbols": ["JPM"]}
    found = state.of_status(status(state="healing", processed=0.99999, complete_to=None, holes=[hole]))
    assert "99.9% done" in found.sentence
    assert "18:40 UTC" in found.sentence
    assert found.complete_to is None


def line(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "currency": "USD",
        "positions": 1,
        "session": "2020-12-31",
        "risk_session": "2020-12-31",
        "nav": 1.0,
        "daily_return": 0.001,
        "ytd_return": 0.1,
        "volatility": 0.2,
        "var_95": 0.016,
        "trail": [0.0, 0.1],
        "reasons": [],
        "state": "complete",
        "needs_you": [],
        "processed": 1.0,
        "partial": 0,
        "complete_to": "2020-12-31",
        "coverage_min": 1.0,
        "next_at": None,
    } | changes


def test_what_needs_you_stands_first() -> None:
    rows = home.rows(
        [
            line("Calm"),
            line("Healing", state="healing", processed=0.5, next_at="2026-11-28T18:40:00Z"),
            line("Blocked", state="blocked", processed=0.75),
            line("Untradable", state="partial", needs_you=[need("TWTR", "not_found")]),
        ]
    )
    assert [row.name for row in rows] == ["Blocked", "Untradable", "Healing", "Calm"]
    said = [part.text for part in home.sentence(rows)]
    assert said == ["1 complete to 31 Dec 2020", "1 healing (next try 18:40 UTC)", "2 need you"]


def test_the_day_in_one_sentence() -> None:
    row = {"daily_return": -0.004}
    assert performance.summarize_day(row, 0.016) == "It lost 0.4%, as a day like this should: VaR 95 is 1.6%."
    assert "more than its VaR 95" in performance.summarize_day({"daily_return": -0.03}, 0.016)
    assert performance.summarize_day({"daily_return": None}, 0.016) == ""


def test_a_period_begins_with_the_session_before_it() -> None:
    rows = [{"session": f"20{year}-0{month}-15"} for year in (19, 20) for month in range(1, 4)]
    assert next(row["session"] for row in performance.snapshots_within(rows, "ytd")) == "2019-03-15"
    assert len(performance.snapshots_within(rows, "max")) == 6


def test_the_same_money_in_the_benchmark_takes_flows_along() -> None:
    rows = [
        {"session": "a", "nav": 100.0, "flow": 0.0},
        {"session": "b", "nav": 90.0, "flow": 50.0},
        {"session": "c", "nav": 95.0, "flow": 0.0},
    ]
    assert performance.same_money(rows, {"a": 10.0, "b": 11.0, "c": 22.0}) == [100.0, 160.0, 320.0]
    # A session without a close is a hole in the line, not a step.
    assert performance.same_money(rows, {"a": 10.0, "c": 20.0}) == [100.0, None, 200.0]


def test_a_line_is_broken_where_nothing_is_known() -> None:
    drawn = charts.path([1.0, 2.0, None, 1.0, 2.0], 4.0, 10.0)
    assert drawn.count("M") == 2
    assert charts.path([None, None], 4.0, 10.0) == ""


def test_ticks_are_round_and_inside() -> None:
    assert charts.ticks(0.0, 0.93, 4) == [0.0, 0.25, 0.5, 0.75]
    assert charts.ticks(-18.2, 3.0, 3) == [-10.0, 0.0]
    assert charts.ticks(5.0, 5.0) == [5.0]


@pytest.mark.parametrize(("value", "step"), [(0.0, 0), (1.0, 4), (-1.0, -4), (9.0, 4), (None, 0), (0.3, 1)])
def test_shades_have_nine_steps(value: float | None, step: int) -> None:
    assert charts.shade(value, 1.0) == step


@pytest.mark.parametrize(
    ("column", "cell", "repair"),
    [
        ("entry_date", "01/02/2020", "2020-01-02"),
        ("entry_date", "02.01.2020", "2020-01-02"),
        ("entry_date", "20200102", "2020-01-02"),
        ("entry_date", "soon", None),
        ("quantity", "1,200", "1200"),
        ("quantity", "(500)", "-500"),
        ("quantity", "1.234,5", "1234.5"),
        ("entry_price", "$85.964", "85.964"),
        ("entry_price", "cheap", None),
        ("symbol", "brk/b ", "BRK-B"),
        ("name", "x", None),
    ],
)
def test_repairs_are_offered_where_a_cell_has_one_meaning(column: str, cell: str, repair: str | None) -> None:
    assert importing.repair_of(column, cell) == repair


def test_a_brokers_file_is_read_with_its_own_columns() -> None:
    text = "# export\nTicker;Shares;Trade Date;Price;Fees\n\nAAPL;1;2020-01-02;75.5;0\n"
    found = importing.sheet(text)
    mapping = importing.columns(found, {})
    assert [column.chosen for column in mapping] == ["symbol", "quantity", "entry_date", "entry_price", ""]
    assert importing.missing_columns(mapping) == []
    lines = importing.rewrite_for_importer(text, found, mapping).split("\n")
    # Lines stay where they were: an error names a line of the file.
    assert lines[1] == "symbol,quantity,entry_date,entry_price,Fees"
    assert lines[3] == "AAPL,1,2020-01-02,75.5,0"


def test_a_cell_is_put_right_in_the_file_as_it_came() -> None:
    text = 'Ticker;Shares\nAAPL;"a\nb"\nMSFT;x\n'
    repaired = importing.with_cells(text, [(4, "quantity", "7"), (99, "quantity", "8"), (4, "exit_date", "9")])
    assert repaired == 'Ticker;Shares\nAAPL;"a\nb"\nMSFT;7\n'


def test_a_file_whose_quotes_do_not_match_is_left_to_the_importer() -> None:
    text = 'symbol,quantity\n"AAPL,1\n'
    found = importing.sheet(text)
    assert found.header is None
    assert importing.rewrite_for_importer(text, found, importing.columns(found, {})) == text


def test_a_column_that_was_chosen_is_taken_from_nobody_else() -> None:
    found = importing.sheet("Ticker,Symbol,Price\nAAPL,Apple,1\n")
    mapping = importing.columns(found, {0: "symbol"})
    assert [column.chosen for column in mapping] == ["symbol", "", "entry_price"]


def test_every_code_of_the_methods_is_put_into_words() -> None:
    import re
    from pathlib import Path

    methods = (Path(__file__).parents[3] / "docs" / "methods.md").read_text()
    section = methods.split("## 12. Reasons", 1)[1].split("## 13.", 1)[0]
    codes = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    assert len(codes) > 25
    assert [code for code in codes if reasons.reason(code).means == code.replace("_", " ")] == []
    assert [code for code in codes if not reasons.reason(code).remedy] == []


def test_names_of_figures_as_words() -> None:
    assert explain.words("risk.var.historical.0.95.es") == "var · historical · 0.95 · es"
    assert explain.words("positions.abc.market_value", {"abc": "JPM"}) == "JPM · market value"


def test_windows_and_ages_in_words() -> None:
    assert operations.span(60.0) == "minute"
    assert operations.span(86_400.0) == "day"
    assert operations.age(7_300.0) == "2 h"


LINE: dict[str, Any] = {
    "symbol": "AAPL", "investment_class": "PUBLIC", "price_basis": "as_traded", "price_basis_known": True, "entry_price": 100.0,
    "close_as_traded": 101.0, "close_split_adjusted": 101.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "verdict", "doubt"),
    [
        ({}, "fits the close", False),
        ({"close_as_traded": 80.0}, "differs by 25% from the close", True),
        ({"price_basis": "split_adjusted", "close_as_traded": 404.0}, "converted 4:1", False),
        ({"investment_class": "PRIVATE", "close_as_traded": None}, "as stated", False),
        (
            {"price_basis_known": False, "close_as_traded": None, "close_split_adjusted": None},
            "not compared yet: no price of the session is stored",
            True,
        ),
        # Nothing is stored, and the price source has said what the closes are.
        ({"price_basis_known": False}, "fits the close", False),
        ({"price_basis_known": False, "close_as_traded": 404.0}, "fits the split-adjusted close", False),
        ({"price_basis_known": False, "close_as_traded": 804.0, "close_split_adjusted": 201.0}, "differs by 50% from the close", True),
        ({"symbol": "APPL", "price_basis_known": False}, "no price source has it; AAPL, APLE?", True),
        ({"symbol": "ZZZZ", "price_basis_known": False}, "no price source has it", True),
    ],
)  # fmt: skip
def test_a_row_of_a_preview_is_judged_in_words(line: dict[str, Any], verdict: str, doubt: bool) -> None:
    unknown = [{"symbol": "APPL", "suggestions": ["AAPL", "APLE"]}, {"symbol": "ZZZZ", "suggestions": []}]
    [row] = importing.preview({"preview": [LINE | line], "unknown_symbols": unknown})
    assert (row["verdict"], row["doubt"]) == (verdict, doubt)


def test_the_page_of_data_puts_into_words_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def noted(code: str | None) -> reasons.Reason:
        asked.append(code)
        return reasons.reason(code)

    monkeypatch.setattr(data, "reason", noted)
    lacking = [{"symbol": f"S{number}", "reason": "not_found"} for number in range(100)]
    span = {"phase": "risk", "from": "2020-12-30", "to": "2020-12-30", "coverage": 0.5, "reasons": lacking}
    document = status(partials=[span] * 100, holes_total=0, partials_total=100)
    found = data.view("id", document, {"items": [], "next": None}, {"items": []})
    assert len(found["partials"]) == data.PARTIALS
    assert all(
        [symbol for symbol, _ in each["reasons"]] == ["S0", "S1", "S2", "S3", "S4", "S5"] for each in found["partials"]
    )
    assert len(asked) == data.PARTIALS * data.REASONS

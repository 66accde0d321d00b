"""From rows to arrays, and the worker's own part."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from services.risk.compute import risk_report
from services.risk.compute.inputs import Gap, Kind
from services.risk.compute.report import build_reports
from services.risk.compute.scenarios import BadScenarios
from services.risk.compute.sectors import VendorSector
from services.risk.store import inputs as store
from services.risk.store.holdings import HeldRow, LotList, UserClassification
from services.risk.store.inputs import Facts, ReturnHistory
from services.risk.store.results import FIGURE_COLUMNS
from services.risk.workflow import RiskWorker, load_scenarios
from services.risk.workflow.assemble import Inputs, build_panel
from services.risk.workflow.book import build_book
from services.risk.workflow.lots import Held, merge_lots
from shared.market.calendar import calendar
from shared.market.registry import FACTOR_NAMES, LOOKBACK
from tests.unit.risk import cases

ONE, TWO = UUID(int=1), UUID(int=2)
DAY = date(2020, 12, 30)


def held(
    symbols: list[str], values: list[int], *, portfolio: UUID = ONE, no_evidence: bool = False, closed: int = -1
) -> HeldRow:
    quantity = np.array([0.0 if k == closed else 1.0 for k in range(len(symbols))])
    lots = LotList.of([UUID(int=100 + k) for k in range(len(symbols))], symbols)
    return HeldRow(portfolio, DAY, 100.0, lots, quantity, np.array(values), range(len(symbols)) if no_evidence else ())


def test_lots_merge_by_symbol_and_closed_ones_are_left_out() -> None:
    merged = merge_lots(held(["B", "A", "B", "C", "B", "B"], [100, 50, -30, 0, 7, -4], closed=3), {})
    assert [(lot.row[0], lot.long, lot.short) for lot in merged] == [("A", 50, 0), ("B", 107, -34)]


def test_an_unpriceable_lot_marks_its_symbol() -> None:
    assert merge_lots(held(["A"], [1], no_evidence=True), {})[0].unpriceable
    assert not merge_lots(held(["A"], [1]), {})[0].unpriceable


def test_each_lot_has_its_own_class_and_only_open_lots_of_the_book_speak() -> None:
    book = held(["A", "A", "A", "O", "AAPL210115C00120000", "EQ_FUND"], [1, 2, 4, 8, 16, 32], closed=2)
    said = [
        UserClassification("PUBLIC", "Tech", None), UserClassification("PRIVATE", "Energy", None),
        UserClassification("PRIVATE", "Cars", None),
        UserClassification("OPTIONS", None, "A"),
    ]  # fmt: skip
    merged = merge_lots(book, dict(zip(book.lots.read_ids(), said, strict=False)))
    assert [(lot.row, lot.long, lot.sector, lot.root) for lot in merged] == [
        (("A", Kind.PUBLIC), 1, "Tech", "A"),
        (("A", Kind.PRIVATE), 2, "Energy", "A"),
        # Nothing is stated of these two.
        (("AAPL210115C00120000", Kind.OPTION), 16, None, "AAPL"),
        (("EQ_FUND", Kind.PRIVATE), 32, None, "EQ_FUND"),
        (("O", Kind.OPTION), 8, None, "A"),
    ]


def test_of_what_lots_of_one_symbol_say_the_first_by_name_stands_in_any_order() -> None:
    for sectors in (["Tech", None, "Cars"], ["Cars", "Tech", None]):
        book = held(["A"] * 3, [1, 2, 4])
        said = {
            lot: UserClassification("PUBLIC", sector, None)
            for lot, sector in zip(book.lots.read_ids(), sectors, strict=True)
        }
        assert [lot.sector for lot in merge_lots(book, said)] == ["Cars"]


def window(first: date, last: date) -> list[date]:
    days = calendar()
    return days.between(days.back(first, LOOKBACK - 1), last)


def test_returns_facts_and_gaps_fall_where_they_belong() -> None:
    sessions = (date(2020, 12, 29), DAY)
    days = window(*sessions)
    axis = np.array(days, dtype="datetime64[D]")
    values = np.arange(2 * (store.LIMITED + 1), dtype=np.float64).reshape(2, -1)
    values[:, store.LIMITED] = [0.0, 1.0]
    panel = build_panel(
        sessions,
        axis,
        [("A", Kind.PUBLIC), ("A", Kind.PRIVATE), ("SPY", Kind.PUBLIC)],
        {"A": 7, "SPY": 9},
        {sessions[1]: (["SPY", *[None] * 7], [1.0, *[float("nan")] * 7])},
        returns={7: (axis[[0, -1]], np.array([0.1, 0.2]))},
        facts={7: Facts(np.array(sessions, dtype="datetime64[D]"), values)},
        missing=[(9, DAY, "zero_variance")],
        gaps=[(7, date(2000, 1, 1), days[3], "not_yet_listed"), (7, days[-2], date(2030, 1, 1), "delisted")],
    )
    assert panel.returns.shape == (3, LOOKBACK + 1) == (3, len(days))
    assert (panel.returns[0, 0], panel.returns[0, -1]) == (0.1, 0.2)
    assert np.isnan(panel.returns[0, 1:-1]).all()
    assert np.isnan(panel.returns[1:]).all()
    assert panel.shrunk[:, 0].tolist() == values[:, 1].tolist()
    assert panel.joint[1, 0].tolist() == values[1, store.JOINT].tolist()
    assert panel.reported[1, 0].tolist() == values[1, store.REPORTED].tolist()
    assert panel.resid_sd[:, 0].tolist() == values[:, store.RESIDUAL_SD].tolist()
    assert panel.limited[:, 0].tolist() == [False, True]
    assert panel.proxies.tolist() == [[-1] * 8, [2, *[-1] * 7]]
    assert panel.fact_reasons == {(0, 2): "no_proxy", (1, 2): "zero_variance"}, "what is stored counts first"
    assert panel.gaps == {0: (Gap(0, 3, "not_yet_listed"), Gap(LOOKBACK - 1, LOOKBACK, "delisted"))}


@pytest.mark.parametrize(
    ("market", "slope", "gap", "reason"),
    [
        (None, math.nan, "not_found", "no_proxy"),
        ("SPY", math.nan, "not_found", "zero_variance"),
        ("SPY", 1.0, "not_found", "not_found"),
        ("SPY", 1.0, None, "short_history"),
    ],
)
def test_a_symbol_without_prices_has_no_facts_and_still_its_reason(
    market: str | None, slope: float, gap: str | None, reason: str
) -> None:
    """What its facts said when they were stored: no market first, then the gap of the session."""
    days = np.array(window(DAY, DAY), dtype="datetime64[D]")
    other = [] if gap is None else [(7, date(2000, 1, 1), DAY, gap)]
    panel = build_panel(
        (DAY,),
        days,
        [("A", Kind.PUBLIC), ("B", Kind.PUBLIC), ("SPY", Kind.PUBLIC)],
        {"A": 7, "B": 8, "SPY": 9},
        {DAY: ([market, *[None] * 7], [slope, *[math.nan] * 7])},
        returns={8: (days[[-1]], np.array([0.1])), 9: (days[[-1]], np.array([0.1]))},
        facts={},
        missing=[],
        gaps=[(7, date(1990, 1, 2), date(1999, 1, 1), "not_yet_listed"), *other],
    )
    assert panel.fact_reasons == {(0, 0): reason}, "of those that have a price nothing is said here"


def test_before_the_calendar_begins_there_are_no_returns() -> None:
    first = calendar().first
    days = window(first, first)
    assert len(days) == 1
    panel = build_panel(
        (first,),
        np.array(days, dtype="datetime64[D]"),
        [("A", Kind.PUBLIC)],
        {"A": 7},
        {},
        returns={7: (np.array(days, dtype="datetime64[D]"), np.array([0.5]))},
        facts={},
        missing=[],
        gaps=[],
    )
    assert panel.returns.shape == (1, LOOKBACK)
    assert panel.returns[0, -1] == 0.5
    assert np.isnan(panel.returns[0, :-1]).all()


def test_an_option_stands_in_its_underlyings_sector_and_name() -> None:
    panel = cases.panel(["AAPL", "AAPL210115C00120000"], kinds={"AAPL210115C00120000": Kind.OPTION})
    listed = LotList.of([TWO], ["AAPL210115C00120000"])
    unit = HeldRow(ONE, panel.sessions[0], 10.0, listed, np.ones(1), np.array([50_000]))
    lots = merge_lots(unit, {TWO.bytes: UserClassification("OPTIONS", None, "AAPL")})
    book = build_book(
        panel,
        [ONE],
        [Held(ONE, unit.session, unit.nav, lots)],
        [],
        {"AAPL": [VendorSector(date.min, "stock", "Technology")]},
        {
            ONE: ReturnHistory(
                np.array(panel.sessions, dtype="datetime64[D]"), np.array([0.0]), np.array([0.0]), np.array([1.0])
            )
        },
    )
    assert (book.sectors, book.underlyings) == (("Information Technology",), ("AAPL",))
    assert (book.long.tolist(), book.short.tolist()) == ([5.0], [0.0])
    assert book.history[0].daily_return.tolist() == [0.0]


def test_the_worker_computes_an_outcome_and_a_row_for_every_unit() -> None:
    stocks = ["S1", "S2"]
    panel = cases.panel(stocks, 2)
    book = cases.equal_book(panel, stocks, sessions=2)
    results = RiskWorker(cases.SCENARIOS).compute(Inputs(panel, book))
    assert [key.session for key in results.outcomes] == list(panel.sessions) == [key.session for key in results.rows]
    assert {(outcome.quality, outcome.coverage) for outcome in results.outcomes.values()} == {("complete", 1.0)}
    for picture in build_reports(panel, book, cases.SCENARIOS):
        assert set(picture.columns) == {*FIGURE_COLUMNS, "shocks", "factor_names", "factor_matrix"}
        lengths = {"betas": 2 * 8, "correlations": 1, "correlation_n_obs": 3, "factor_matrix": 28}
        lengths |= {
            "exposures": 3 * (8 + 7),
            "shocks": 3 * 24 * 8 * 8,
            "exposure_errors": 8,
            "tail_parts": 2 * 2,
        }
        assert {name: len(picture.columns[name]) for name in lengths} == lengths


def test_a_document_with_a_nan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = cases.panel(["S1"])
    monkeypatch.setattr(risk_report, "_sectors", lambda *_: [{"long": float("nan")}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        RiskWorker(cases.SCENARIOS).compute(Inputs(panel, cases.equal_book(panel, ["S1"])))


def test_a_users_scenario_file_is_read_beside_the_built_in_one(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("scenarios:\n  - {id: mine, name: My own, shocks: {momentum: -0.2}}\n")
    assert {s.id for s in load_scenarios(own).scenarios} - {s.id for s in load_scenarios().scenarios} == {"mine"}


@pytest.mark.parametrize("text", ["scenarios: [", "scenarios: 1", "scenarios: " + "[" * 400 + "]" * 400, "#" * 300_000])
def test_a_scenario_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(text)
    with pytest.raises(BadScenarios, match=r"mine\.yaml"):
        load_scenarios(own)


def test_the_columns_of_the_facts_follow_the_registry() -> None:
    assert store.JOINT.stop - store.JOINT.start == len(FACTOR_NAMES)
    assert store.JOINT.stop == store.RESIDUAL_SD

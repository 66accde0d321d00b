"""Below its gate a figure is withheld with its reason, and the holdings that are to blame are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from services.risk.compute.depth import of_shares
from services.risk.compute.inputs import History, Kind
from services.risk.compute.report import build_reports
from shared.arrays import FloatVector
from shared.market.registry import STRESS_DURATION_DAYS
from tests.support import chain
from tests.support.chain import SCENARIOS, Unit
from tests.support.risk import Answered, answered

STOCKS = [f"S{i}" for i in range(10)]
RETURNS = chain.market(21, 504, STOCKS)
EVEN = Unit(1000.0, dict.fromkeys(STOCKS, 100.0))


def picture(
    returns: Mapping[str, FloatVector],
    unit: Unit = EVEN,
    *,
    unpriceable: Sequence[str] = (),
    history: tuple[FloatVector, FloatVector, FloatVector] | None = None,
    label: date | None = None,
) -> Answered:
    """history : daily returns, drawdowns and coverage of the snapshots up to the session"""
    panel = chain.panel(returns, labels=None if label is None else [label])
    book = chain.book(panel, [unit], unpriceable=unpriceable)
    if history is not None:
        last = np.datetime64(panel.sessions[-1], "D")
        days = np.arange(last - np.timedelta64(len(history[0]) - 1, "D"), last + np.timedelta64(1, "D"))
        book = replace(book, history={0: History(days, *history)})
    return answered(build_reports(panel, book, SCENARIOS)[0], SCENARIOS)


def reasons(of: Answered, figure: str) -> set[str]:
    return {reason["reason"] for reason in of.reasons if reason["figure"] == figure}


def culprits(of: Answered) -> dict[str, str]:
    return {reason["symbol"]: reason["reason"] for reason in of.reasons if reason["symbol"]}


def without(count: int, last: int = 504) -> dict[str, FloatVector]:
    """Of the first stocks only the last returns are known."""
    gone = {symbol: np.where(np.arange(504) < 504 - last, np.nan, RETURNS[symbol]) for symbol in STOCKS[:count]}
    return RETURNS | gone


def of_the_matrix(of: Answered) -> list[Any]:
    part = of.risk["decomposition"]
    return [
        of.correlations["mean_abs"], of.correlations["shrinkage"], of.correlations["clusters"], part["volatility"],
        part["shrinkage"], part["n_obs"], part["diversification_ratio"], part["effective_bets"],
        of.risk["concentration"]["risk_hhi"],
    ]  # fmt: skip


def of_value(of: Answered) -> list[Any]:
    by_sector = [row[figure] for row in of.risk["sectors"] for figure in ("long", "short", "net", "gross")]
    return [of.risk["concentration"][figure] for figure in ("hhi", "effective", "top_3", "top_10")] + by_sector


@pytest.mark.parametrize("gone", [3, 8, 9])
def test_below_the_gate_of_prices_nothing_is_answered(gone: int) -> None:
    of = picture(RETURNS, unpriceable=STOCKS[:gone])
    assert of.coverage == pytest.approx(1.0 - gone / 10)
    assert set(map(str, of_the_matrix(of) + of_value(of))) == {"None"}
    for figure in (
        "correlations.mean_abs", "correlations.shrinkage", "correlations.clusters", "decomposition", "concentration",
        "concentration.risk_hhi", "sectors",
    ):  # fmt: skip
        assert reasons(of, figure) >= {"low_coverage"}, figure
    assert culprits(of) == dict.fromkeys(STOCKS[:gone], "unpriceable")
    assert [row["sector"] for row in of.risk["sectors"]] == ["Unclassified"], "what is held stays named"


def test_at_the_gate_everything_is_answered() -> None:
    of = picture(RETURNS, unpriceable=STOCKS[:2])
    assert None not in of_the_matrix(of) + of_value(of)


@pytest.mark.parametrize(
    ("known", "method", "var"),
    [
        (504, "combined", True),
        (300, "combined", True),
        (252, "combined", True),
        (251, "ewma", False),
        (63, "ewma", False),
    ],
)
def test_a_book_is_measured_over_the_sessions_that_there_are(known: int, method: str, *, var: bool) -> None:
    """Coverage was counted over 504 sessions whether the book's prices existed or not: 403 were needed, and the EWMA never stood."""
    of = picture(without(10, known))
    forecast = of.risk["volatility"]["forecast_21"]
    assert (forecast["method"], forecast["n_obs"]) == (method, known)
    assert {line["n_obs"] for line in of.risk["var"] if line["method"] != "filtered"} == {known}
    assert {line["var"] is not None for line in of.risk["var"]} == {var}
    assert reasons(of, "var") == (set() if var else {"short_history"})
    assert reasons(of, "volatility.forecast_21") == set()
    assert {row["forecast_21"] is not None for row in of.risk["positions"]} == {True}


def test_a_month_of_prices_is_a_short_history_and_not_low_coverage() -> None:
    of = picture(without(10, 62))
    assert of.risk["volatility"]["forecast_21"]["value"] is None
    assert reasons(of, "volatility.forecast_21") == reasons(of, "var") == {"short_history"}


def test_the_window_begins_where_four_fifths_of_the_value_have_returns_and_counts_what_lacks_since() -> None:
    """Two of ten have 300 returns, two more only 280: the 300 count, and of them a fifteenth of a fifth is filled."""
    two = {symbol: without(10, 300)[symbol] for symbol in STOCKS[:2]}
    young = {symbol: without(10, 280)[symbol] for symbol in STOCKS[2:4]}
    of = picture(RETURNS | two | young)
    assert of.risk["volatility"]["forecast_21"]["n_obs"] == 300
    share = np.ones((1, 504))
    share[0, :204], share[0, 204:224] = 0.6, 0.8
    depth = of_shares(share)
    assert depth.first.tolist() == [204]
    assert depth.covered[0] == pytest.approx(1.0 - 0.2 * 20 / 300)


def test_where_less_than_four_fifths_ever_had_returns_the_reason_is_coverage() -> None:
    of = picture(without(3, 0))
    assert of.risk["volatility"]["forecast_21"]["value"] is None
    assert reasons(of, "var") == reasons(of, "volatility.forecast_21") == {"low_coverage"}


@pytest.mark.parametrize("known", [0, 70])
def test_what_is_priced_has_a_size_without_a_history_and_no_structure(known: int) -> None:
    """Five of ten holdings are young. With 70 returns they are in the matrix, but hardly what it rests on."""
    of = picture(without(5, known))
    assert of.coverage == pytest.approx((5 + 5 * known / 252) / 10)
    assert set(map(str, of_the_matrix(of))) == {"None"}
    assert reasons(of, "decomposition") == {"low_coverage"}
    assert None not in of_value(of)
    assert of.risk["concentration"]["hhi"] == pytest.approx(1000.0)
    assert culprits(of) == dict.fromkeys(STOCKS[:5], "short_history")
    pair = of.correlations["matrix"][-1][-2]
    assert pair is not None, "a pair has a gate of its own"


def test_a_holding_that_stands_still_is_covered_and_named_where_the_matrix_lacks_it() -> None:
    still = dict.fromkeys(STOCKS[:3], np.zeros(504))
    of = picture(RETURNS | still)
    assert None not in of_the_matrix(of), "its part of the risk is known: none"
    assert culprits(of) == {}
    assert of.correlations["excluded"] == [{"symbol": symbol, "reason": "zero_variance"} for symbol in STOCKS[:3]]
    assert of.quality == "complete"


def track(low: Sequence[int] = ()) -> tuple[FloatVector, FloatVector, FloatVector]:
    daily = np.random.default_rng(4).normal(0.0, 0.01, 300)
    index = np.cumprod(1.0 + daily)
    coverage = np.ones(300)
    coverage[list(low)] = 0.5
    return daily, index / np.maximum.accumulate(np.maximum(index, 1.0)) - 1.0, coverage


def test_days_without_prices_are_not_in_the_volatility_of_nav() -> None:
    low = [100, 200, 201]
    history = track(low)
    of = picture(RETURNS, history=history)
    # The day after has all that was missed.
    used = [t for t in range(48, 300) if t not in {100, 101, 200, 201, 202}]
    expected = history[0][used].std(ddof=1) * np.sqrt(252)
    assert of.risk["volatility"]["realized_nav_252"] == pytest.approx(expected, rel=1e-12)


def test_a_year_with_too_many_days_without_prices_has_no_volatility_of_nav() -> None:
    of = picture(RETURNS, history=track(range(48, 100)))
    assert of.risk["volatility"]["realized_nav_252"] is None
    assert reasons(of, "volatility.realized_nav_252") == {"low_coverage"}
    young = picture(RETURNS, history=tuple(values[-100:] for values in track()))  # type: ignore[arg-type]
    assert reasons(young, "volatility.realized_nav_252") == {"short_history"}


def test_a_drawdown_is_measured_on_days_with_prices_only() -> None:
    daily, depth, coverage = track()
    deepest = int(depth.argmin())
    coverage[deepest] = 0.79
    of = picture(RETURNS, history=(daily, depth, coverage))
    rest = np.delete(depth, deepest)
    assert of.risk["drawdown"]["max"] == rest.min() > depth[deepest]
    coverage[-1] = 0.79
    of = picture(RETURNS, history=(daily, depth, coverage))
    assert set(of.risk["drawdown"].values()) == {None}
    assert reasons(of, "drawdown") == {"low_coverage"}
    depth[-1] = np.nan
    assert reasons(picture(RETURNS, history=(daily, depth, coverage)), "drawdown") == {"no_capital"}


def test_a_reader_can_recompute_the_contributions_of_options_too() -> None:
    day, option = date(2020, 12, 30), "AAPL210618C00130000"
    returns = chain.market(5, 504, ["AAPL", "KO"])
    panel = chain.panel(returns | {option: np.full(504, np.nan)}, labels=[day], kinds={option: Kind.OPTION})
    share, contract = panel.symbols.index("AAPL"), panel.symbols.index(option)
    closes = {share: np.array([133.0, 133.72]), contract: np.array([13.0, 13.5])}
    panel = replace(panel, closes=closes, close_days=(day - timedelta(days=1), day))
    book = chain.book(panel, [Unit(100_000.0, {"KO": 50_000.0, "AAPL": 20_000.0, option: 13_500.0})])
    held = book.rows.tolist().index(contract)
    book = replace(book, underlying_rows={held: share}, underlyings=("AAPL", "AAPL", "KO"))
    of = answered(build_reports(panel, book, SCENARIOS)[0], SCENARIOS)
    parts = of.risk["decomposition"]["contributions"]
    exposure = {row["symbol"]: row["exposure_value"] for row in of.exposures["positions"]}
    weight = np.array([part["weight"] for part in parts])
    assert weight[0] == pytest.approx((exposure["AAPL"] + exposure[option]) / 100_000.0)
    own = {row["symbol"]: row["realized_252"] for row in of.risk["positions"]}
    sd = np.array([own[label] for label in of.correlations["labels"]])
    marginal = np.array(of.correlations["matrix"], dtype=np.float64) * np.outer(sd, sd) @ weight
    volatility = np.sqrt(weight @ marginal)
    assert volatility == pytest.approx(of.risk["decomposition"]["volatility"], rel=1e-9)
    assert [part["contribution"] for part in parts] == pytest.approx(
        (weight * marginal / volatility).tolist(), rel=1e-9
    )


def test_a_pair_that_never_moved_together_is_in_no_cluster() -> None:
    """Both follow the market, one in the first half of the year and the other in the second."""
    returns = chain.market(5, 504, list("ABCDEFGH"))
    late = np.arange(504) >= 504 - 126
    returns["A"] = np.where(late, 1.2 * returns["SPY"], np.nan)
    returns["B"] = np.where(late, np.nan, 1.2 * returns["SPY"])
    of = picture(returns, Unit(1000.0, {**dict.fromkeys("CDEFGH", 150.0), "A": 50.0, "B": 50.0}))
    labels = of.correlations["labels"]
    i, j = labels.index("A"), labels.index("B")
    assert (of.correlations["matrix"][i][j], of.correlations["n_obs"][i][j]) == (None, 0)
    assert not [cluster for cluster in of.correlations["clusters"] if {"A", "B"} <= set(cluster)]


@pytest.mark.parametrize(
    ("age", "stale"), [(STRESS_DURATION_DAYS, set()), (STRESS_DURATION_DAYS + 1, {"stale_duration"})]
)
def test_a_duration_is_answered_with_its_date_and_an_old_one_with_a_remark(age: int, stale: set[str]) -> None:
    as_of = SCENARIOS.durations[-1].as_of
    of = picture(RETURNS, label=as_of + timedelta(days=age))
    scenarios = {scenario["id"]: scenario for scenario in of.stress["scenarios"]}
    assert scenarios["rates_up_100"]["duration_as_of"] == as_of.isoformat()
    assert scenarios["market_down_10"]["duration_as_of"] is None
    assert scenarios["rates_up_100"]["direct"]["money"] is not None
    assert reasons(of, "stress.rates_up_100") == stale
    assert reasons(of, "stress.market_down_10") == set()
    assert of.quality == "complete", "no holding falls short"


def test_before_the_first_duration_a_move_of_yields_is_withheld() -> None:
    of = picture(RETURNS, label=SCENARIOS.durations[0].as_of - timedelta(days=1))
    [scenario] = [scenario for scenario in of.stress["scenarios"] if scenario["id"] == "rates_up_100"]
    assert (scenario["duration_as_of"], scenario["reason"], scenario["direct"]) == (None, "no_duration", None)


def test_the_matrix_has_the_holdings_of_largest_exposure_and_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of ten; of equal ones the first. What they are worth is 87 % of all, so what is said of the matrix stands."""
    monkeypatch.setattr("services.risk.compute.matrix_members.MAX_MATRIX", 7)
    values = dict(zip(STOCKS, (50, 200, 50, 200, -200, 100, 100, 50, 100, 100), strict=True))
    of = picture(RETURNS, Unit(1000.0, {symbol: float(value) for symbol, value in values.items()}))
    assert of.correlations["excluded"] == [{"symbol": symbol, "reason": "too_many"} for symbol in ("S0", "S2", "S7")]
    assert of.correlations["labels"] == [symbol for symbol in STOCKS if symbol not in ("S0", "S2", "S7")]
    assert None not in of_the_matrix(of)


def test_a_matrix_of_too_few_of_too_many_says_nothing_of_the_portfolio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.risk.compute.matrix_members.MAX_MATRIX", 7)
    of = picture(RETURNS)
    assert len(of.correlations["labels"]) == 7
    assert set(map(str, of_the_matrix(of))) == {"None"}, "seven tenths are less than the gate"
    assert reasons(of, "decomposition") == {"low_coverage"}
    assert None not in of_value(of)

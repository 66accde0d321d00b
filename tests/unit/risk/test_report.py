"""The whole picture: gates, shapes, and that no digit depends on the batch."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.risk.compute import correlations, report, series, stress_report
from services.risk.compute.inputs import Book, History, Kind, Panel
from services.risk.compute.report import build_reports
from shared.market.registry import LOOKBACK
from tests.support.risk import Answered, answered
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

STOCKS = [f"S{i}" for i in range(10)]


def pictured(panel: Panel, book: Book) -> list[Answered]:
    return [answered(of, cases.SCENARIOS) for of in build_reports(panel, book, cases.SCENARIOS)]


def only(panel: Panel, *units: Unit) -> Answered:
    return pictured(panel, cases.book(panel, units))[0]


def even(nav: float = 1000.0) -> Unit:
    return Unit(nav, tuple(Lot(symbol, 100.0) for symbol in STOCKS))


def text(of: Answered) -> str:
    """Every digit of a unit's answers."""
    return json.dumps(
        [of.quality, of.coverage, of.reasons, of.exposures, of.risk, of.correlations, of.stress], allow_nan=False
    )


def reasons(of: Answered) -> set[tuple[str | None, str | None, str]]:
    return {(reason["figure"], reason["symbol"], reason["reason"]) for reason in of.reasons}


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


# --- batches -----------------------------------------------------------------------------------------------------------


def crowd(panel: Panel, portfolios: int, sessions: int) -> list[Unit]:
    """Portfolios of differing sizes, one growing within the range, with shorts, a private holding and one without NAV."""
    draw = random.Random(1)
    units = []
    names = [symbol for symbol in panel.symbols if symbol.startswith("S") and symbol != "SPY"]
    for p in range(portfolios):
        symbols = draw.sample(names, 1 + p % len(names))
        values = {symbol: draw.uniform(-300, 900) for symbol in symbols}
        for s in range(sessions):
            held = symbols[:-1] if s == 0 and len(symbols) > 1 else symbols
            nav = -10.0 if p == 3 else 2500.0
            units.append(Unit(nav, tuple(Lot(x, values[x] * (1 + s / 50)) for x in held), portfolio=p, session=s))
    return units


@pytest.fixture(scope="module")
def market() -> Panel:
    panel = cases.panel(STOCKS, 6, kinds={"S7": Kind.PRIVATE})
    return cases.forget(cases.forget(panel, "S3", 0, 120, "not_yet_listed"), "S4", 300, 302)


@pytest.fixture(scope="module")
def together(market: Panel) -> dict[tuple[int, int], str]:
    units = crowd(market, 12, 6)
    return {
        (unit.portfolio, unit.session): text(of)
        for unit, of in zip(units, pictured(market, cases.book(market, units)), strict=True)
    }


def test_each_unit_alone_has_the_digits_of_the_batch(market: Panel, together: dict[tuple[int, int], str]) -> None:
    for unit in crowd(market, 12, 6)[::5]:
        (alone,) = pictured(market, cases.book(market, [unit]))
        assert text(alone) == together[unit.portfolio, unit.session]


@pytest.mark.parametrize("s", range(6))
def test_a_batch_of_one_session_has_the_digits_of_the_range(
    market: Panel, together: dict[tuple[int, int], str], s: int
) -> None:
    narrow = cases.one_session(market, s)
    units = [replace(unit, session=0) for unit in crowd(market, 12, 6) if unit.session == s]
    for unit, of in zip(units, pictured(narrow, cases.book(narrow, units)), strict=True):
        assert text(of) == together[unit.portfolio, s]


def test_the_order_of_portfolios_and_lots_changes_no_digit(market: Panel, together: dict[tuple[int, int], str]) -> None:
    units = [replace(unit, lots=unit.lots[::-1]) for unit in crowd(market, 12, 6)]
    random.Random(2).shuffle(units)
    for unit, of in zip(units, pictured(market, cases.book(market, units)), strict=True):
        assert text(of) == together[unit.portfolio, unit.session]


def test_other_symbols_in_the_panel_change_no_digit(market: Panel, together: dict[tuple[int, int], str]) -> None:
    wide = cases.panel([*STOCKS, "AAA", "S33", "ZZZ"], 6, kinds={"S7": Kind.PRIVATE})
    wide = cases.forget(cases.forget(wide, "S3", 0, 120, "not_yet_listed"), "S4", 300, 302)
    units = crowd(market, 12, 6)
    for unit, of in zip(units, pictured(wide, cases.book(wide, units)), strict=True):
        assert text(of) == together[unit.portfolio, unit.session]


def test_the_size_of_the_chunks_changes_no_digit(
    market: Panel, together: dict[tuple[int, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_PAIRS", 20)
    monkeypatch.setattr(report, "MOST_HOLDINGS", 7)
    monkeypatch.setattr(correlations, "MOST_CELLS", 3000)
    monkeypatch.setattr(stress_report, "MOST_CELLS", 3000)
    monkeypatch.setattr(series, "BLOCK", 7)
    units = crowd(market, 12, 6)
    for unit, of in zip(units, pictured(market, cases.book(market, units)), strict=True):
        assert text(of) == together[unit.portfolio, unit.session]


# --- gates -------------------------------------------------------------------------------------------------------------


def test_prices_dropped_from_two_of_ten_holdings_lower_coverage_to_what_it_is() -> None:
    panel = cases.panel(STOCKS)
    for symbol in STOCKS[:2]:
        panel = cases.forget(panel, symbol, 0, LOOKBACK - 1, "provider_down")
    of = only(panel, even())
    assert of.quality == "partial"
    assert of.coverage == pytest.approx(0.8)
    assert {reason for reason in reasons(of) if reason[1]} == {
        (None, "S0", "provider_down"),
        (None, "S1", "provider_down"),
    }
    # Four fifths is enough, so the figures stand, with the culprits named.
    assert of.risk["volatility"]["realized_252"] is not None
    assert of.risk["decomposition"]["volatility"] is not None
    assert [x["symbol"] for x in of.correlations["excluded"]] == ["S0", "S1"]
    assert [x["reason"] for x in of.correlations["excluded"]] == ["provider_down", "provider_down"]


def test_below_the_gate_figures_are_withheld_and_the_culprits_named() -> None:
    panel = cases.panel(STOCKS)
    for symbol in STOCKS[:3]:
        panel = cases.forget(panel, symbol, 0, LOOKBACK - 1, "not_found")
    of = only(panel, even())
    assert of.coverage == pytest.approx(0.7)
    volatility = of.risk["volatility"]
    assert [volatility[f"realized_{w}"] for w in (21, 63, 252)] == [None] * 3
    assert volatility["percentile_252"] is volatility["trend"]["z"] is volatility["forecast_21"]["value"] is None
    assert of.risk["beta"]["realized"] is of.risk["decomposition"]["volatility"] is None
    assert all(line["var"] is line["es"] is None for line in of.risk["var"])
    found = reasons(of)
    for figure in ("volatility.realized_21", "volatility.forecast_21", "beta.realized", "decomposition", "var"):
        assert (figure, None, "low_coverage") in found
    assert {symbol for _, symbol, _ in found if symbol} == {"S0", "S1", "S2"}
    # Exposures rest on the factors phase's own facts, which are all there.
    assert of.risk["beta"]["aggregated"] is not None


def test_a_gap_withholds_only_the_windows_it_falls_into() -> None:
    panel = cases.panel(STOCKS)
    for symbol in STOCKS[:5]:
        panel = cases.forget(panel, symbol, LOOKBACK - 21, LOOKBACK - 1)
    of = only(panel, even())
    assert of.risk["volatility"]["realized_21"] is None
    assert of.risk["volatility"]["realized_63"] is not None
    assert of.coverage == pytest.approx(1 - 0.5 * 21 / 252)


def test_an_unpriceable_holding_stays_in_nav_and_out_of_coverage() -> None:
    lots = tuple(Lot(symbol, 100.0, unpriceable=symbol == "S5") for symbol in STOCKS)
    of = only(cases.panel(STOCKS), Unit(1000.0, lots))
    assert of.quality == "partial"
    assert of.coverage == pytest.approx(0.9)
    assert (None, "S5", "unpriceable") in reasons(of)
    assert {"symbol": "S5", "reason": "unpriceable"} in of.correlations["excluded"]
    assert sum(s["gross"] for s in of.risk["sectors"]) == pytest.approx(1.0)
    assert of.stress["scenarios"][0]["uncovered_value"] == pytest.approx(100.0)


def test_stress_and_exposures_are_withheld_when_too_few_holdings_have_betas() -> None:
    panel = cases.panel(STOCKS)
    joint = panel.joint.copy()
    for symbol in STOCKS[:3]:
        joint[0, panel.symbols.index(symbol)] = np.nan
    panel = replace(panel, joint=joint, fact_reasons={(0, panel.symbols.index("S0")): "zero_variance"})
    of = only(panel, even())
    assert all(s["direct"] is s["propagated"] is None and s["reason"] == "low_coverage" for s in of.stress["scenarios"])
    assert of.stress["scenarios"][0]["uncovered_value"] == pytest.approx(300.0)
    assert of.risk["beta"]["aggregated"] is of.risk["decomposition"]["model_vol"] is None
    first = of.exposures["factors"][0]
    assert (first["beta"], first["quality"], first["reason"]) == (None, "none", "low_coverage")
    assert [p["reason"] for p in of.exposures["positions"]][:3] == ["zero_variance", "short_history", "short_history"]


def test_uncovered_value_is_reported_beside_and_not_counted_as_unmoved() -> None:
    panel = cases.panel(STOCKS, kinds={"S9": Kind.PRIVATE})
    of = only(panel, even())
    scenario = of.stress["scenarios"][0]
    assert scenario["uncovered_value"] == pytest.approx(100.0)
    assert scenario["direct"]["by_position"]["S9"] is None
    assert (None, "S9", "private") in reasons(of)


@pytest.mark.parametrize("nav", [0.0, -500.0])
def test_without_a_positive_nav_there_is_money_only(nav: float) -> None:
    of = only(cases.panel(STOCKS), even(nav))
    assert all(f["beta"] is None and f["money"] is not None for f in of.exposures["factors"])
    assert {f["reason"] for f in of.exposures["factors"]} == {"nav_not_positive"}
    assert (
        of.risk["volatility"]["realized_252"]
        is of.risk["beta"]["realized"]
        is of.risk["decomposition"]["volatility"]
        is None
    )
    scenario = of.stress["scenarios"][0]["direct"]
    assert scenario["fraction"] is None
    assert scenario["money"] == pytest.approx(sum(scenario["by_position"].values()))
    assert of.risk["concentration"]["hhi"] == pytest.approx(1000.0)
    assert [s["net"] for s in of.risk["sectors"]] == [None]
    assert ("decomposition", None, "nav_not_positive") in reasons(of)
    # A holding's own volatility needs no NAV.
    assert all(p["realized_252"] is not None for p in of.risk["positions"])


def test_a_portfolio_in_cash_has_no_risk_which_is_not_unknown() -> None:
    of = only(cases.panel(STOCKS), Unit(1000.0, ()))
    assert (of.quality, of.coverage) == ("complete", 1.0)
    assert of.risk["volatility"]["realized_252"] == 0.0
    assert of.risk["beta"]["aggregated"] == of.risk["beta"]["realized"] == 0.0
    assert of.risk["var"][0]["var"] == 0.0
    assert of.risk["concentration"]["hhi"] is None
    assert ("concentration", None, "no_holdings") in reasons(of)
    assert of.stress["scenarios"][0]["direct"]["money"] == 0.0


def test_without_a_market_proxy_nothing_that_needs_one_is_made_up() -> None:
    names = ["market", "value", "growth", "momentum", "quality", "size", "low_volatility", "rates"]
    of = only(cases.panel(STOCKS, without=names), even())
    assert of.risk["volatility"]["realized_252"] is None
    assert ("volatility.realized_252", None, "no_proxy") in reasons(of)
    assert {s["reason"] for s in of.stress["scenarios"]} == {"no_proxy"}
    assert of.exposures["proxies"] == dict.fromkeys(names)
    assert {f["reason"] for f in of.exposures["factors"]} == {"no_proxy"}


def test_a_factor_without_a_proxy_is_null_and_does_not_make_the_unit_partial() -> None:
    of = only(cases.panel(STOCKS, without=["rates"]), even())
    assert of.quality == "complete"
    by_name = {f["factor"]: f for f in of.exposures["factors"]}
    assert (by_name["rates"]["beta"], by_name["rates"]["reason"]) == (None, "no_proxy")
    assert by_name["ir_beta"]["set"] == "reported"
    assert by_name["market"]["beta"] is not None
    assert ("rates", None, "no_proxy") in reasons(of)
    assert {s["id"] for s in of.stress["scenarios"] if s["reason"]} == {
        f"rates_{way}_{bp}" for way in ("up", "down") for bp in (25, 50, 100)
    } | {"rates_up_300"}


# --- identities and shapes ---------------------------------------------------------------------------------------------


def test_both_attributions_sum_to_the_total_and_contributions_to_the_volatility() -> None:
    lots = tuple(Lot(symbol, value) for symbol, value in zip(STOCKS, np.linspace(-400, 900, 10).tolist(), strict=True))
    of = only(cases.panel(STOCKS), Unit(2000.0, lots))
    for scenario in of.stress["scenarios"]:
        for leg in (scenario["direct"], scenario["propagated"]):
            assert sum(leg["by_factor"].values()) == pytest.approx(leg["money"], rel=1e-12)
            assert sum(leg["by_position"].values()) == pytest.approx(leg["money"], rel=1e-12)
            assert leg["fraction"] == pytest.approx(leg["money"] / 2000.0, rel=1e-15)
    parts = of.risk["decomposition"]
    assert abs(sum(p["contribution"] for p in parts["contributions"]) - parts["volatility"]) < 1e-12
    assert sum(f["share"] for f in parts["factors"]) + parts["specific_share"] == pytest.approx(1.0, abs=1e-12)
    assert sum(s["net"] for s in of.risk["sectors"]) == pytest.approx(sum(lot.value for lot in lots) / 2000.0)


def test_a_short_book_has_the_opposite_signs() -> None:
    panel = cases.panel(STOCKS)
    long = only(panel, Unit(1000.0, (Lot("S1", 500.0), Lot("S2", 300.0))))
    short = only(panel, Unit(1000.0, (Lot("S1", -500.0), Lot("S2", -300.0))))
    assert short.risk["beta"]["aggregated"] == -long.risk["beta"]["aggregated"]
    assert short.risk["beta"]["realized"] == -long.risk["beta"]["realized"]
    assert short.risk["volatility"]["realized_252"] == long.risk["volatility"]["realized_252"]
    assert short.risk["decomposition"]["volatility"] == long.risk["decomposition"]["volatility"]
    assert [s["short"] for s in short.risk["sectors"]] == [-0.8]
    assert short.stress["scenarios"][1]["direct"]["money"] == -long.stress["scenarios"][1]["direct"]["money"]


def test_realized_nav_volatility_and_drawdown_come_from_the_snapshots() -> None:
    panel = cases.panel(STOCKS, 2)
    daily = np.random.default_rng(0).normal(0.0, 0.01, 301)
    index = np.cumprod(1.0 + daily)
    fall = index / np.maximum.accumulate(np.maximum(index, 1.0)) - 1.0
    days = np.datetime64(panel.sessions[0], "D") + np.arange(-299, 2)
    book = cases.book(
        panel, [even(), replace(even(), session=1)], history={0: History(days, daily, fall, np.ones(len(days)))}
    )
    first, second = pictured(panel, book)
    assert first.risk["volatility"]["realized_nav_252"] == pytest.approx(
        daily[48:300].std(ddof=1) * np.sqrt(252), rel=1e-12
    )
    assert second.risk["volatility"]["realized_nav_252"] == pytest.approx(
        daily[49:].std(ddof=1) * np.sqrt(252), rel=1e-12
    )
    assert first.risk["drawdown"]["current"] == fall[299]
    assert second.risk["drawdown"]["max"] == fall.min()
    assert second.risk["drawdown"]["trough"] == str(days[fall.argmin()])


def test_a_young_portfolio_has_no_nav_volatility_and_is_complete_all_the_same() -> None:
    of = only(cases.panel(STOCKS), even())
    assert of.quality == "complete"
    assert of.risk["volatility"]["realized_nav_252"] is None
    assert ("volatility.realized_nav_252", None, "short_history") in reasons(of)


def test_every_key_of_the_shapes_is_there() -> None:
    of = only(cases.panel(STOCKS), even())
    assert set(of.exposures) == {"proxies", "factors", "positions"}
    assert set(of.exposures["factors"][0]) == {
        "factor",
        "label",
        "set",
        "beta",
        "money",
        "covered_weight",
        "stderr_hac",
        "t_hac",
        "quality",
        "reason",
    }
    assert {"symbol", "weight", "exposure_value", "betas", "greeks", "reason"} == set(of.exposures["positions"][0])
    assert {
        "volatility", "positions", "beta", "decomposition", "var", "var_10d", "covered_only", "es_factors", "reverse_stress", "drawdown",
        "concentration", "sectors", "benchmark", "benchmark_date",
    } == set(of.risk)  # fmt: skip
    assert {
        "realized_21", "realized_63", "realized_252", "forecast_21", "beta", "var", "coverage_21", "coverage_63", "coverage_252",
        "coverage_var",
    } == set(of.risk["covered_only"])  # fmt: skip
    assert {
        "realized_21", "realized_63", "realized_252", "realized_nav_252", "percentile_252", "trend", "forecast_21",
    } == set(of.risk["volatility"])  # fmt: skip
    assert {"value", "low", "high", "variance", "method", "har_weight", "n_obs"} <= set(
        of.risk["volatility"]["forecast_21"]
    )
    assert {"symbol", "realized_252", "forecast_21", "method"} <= set(of.risk["positions"][0])
    assert set(of.risk["beta"]) == {"aggregated", "aggregated_filled", "realized", "r2", "n_obs"}
    assert set(of.risk["es_factors"]) == {"level", "factors", "specific"}
    assert set(of.risk["reverse_stress"]) == {"loss", "sigmas", "shocks"}
    assert {
        "volatility", "shrinkage", "n_obs", "contributions", "model_vol", "factors", "specific_share", "diversification_ratio",
        "effective_bets", "excluded",
    } == set(of.risk["decomposition"])  # fmt: skip
    assert [(v["method"], v["level"], v["n_obs"]) for v in of.risk["var"]] == [
        (method, level, 504 - 63 * (method == "filtered"))
        for method in ("historical", "normal", "filtered") for level in (0.95, 0.975, 0.99)
    ]  # fmt: skip
    assert [(v["method"], v["level"], v["n_obs"]) for v in of.risk["var_10d"]] == [
        (method, level, n) for method, n in (("scaled", 504), ("overlapping", 495)) for level in (0.95, 0.975, 0.99)
    ]
    assert set(of.risk["drawdown"]) == {"current", "max", "peak", "trough"}
    assert set(of.risk["concentration"]) == {"hhi", "effective", "top_3", "top_10", "risk_hhi"}
    assert set(of.risk["sectors"][0]) == {"sector", "long", "short", "net", "gross", "benchmark", "active"}
    assert {"labels", "matrix", "n_obs", "shrinkage", "mean_abs", "clusters", "excluded", "factors"} == set(
        of.correlations
    )
    assert {
        "id",
        "name",
        "shocks",
        "capped",
        "rates_bp",
        "vol_relative",
        "vol_points",
        "duration_as_of",
        "uncovered_value",
        "reason",
        "direct",
        "propagated",
    } == set(of.stress["scenarios"][0])
    leg = {"money", "fraction", "fraction_filled", "by_factor", "volatility", "by_position"}
    assert set(of.stress["scenarios"][0]["direct"]) == leg
    assert set(of.stress["scenarios"][0]["propagated"]) == leg | {"shocks"}


def test_every_null_figure_has_its_reason(market: Panel) -> None:
    """A null anywhere in the risk document is one of the known figures, and that figure is in the reasons."""
    units = crowd(market, 12, 6)
    for of in pictured(market, cases.book(market, units)):
        named = {figure for figure, _, _ in reasons(of) if figure}
        for part, figures in {
            "volatility": ("volatility.",),
            "beta": ("beta.",),
            "var": ("var",),
            "covered_only": ("covered_only",),
            "drawdown": ("drawdown",),
            "concentration": ("concentration",),
        }.items():
            if any(leaf is None for leaf in leaves(of.risk[part])):
                assert any(name.startswith(figures) for name in named), (part, named)
        for factor in of.exposures["factors"]:
            assert (factor["beta"] is None) == (factor["reason"] is not None) == (factor["factor"] in named)
        for scenario in of.stress["scenarios"]:
            assert (scenario["direct"] is None) == (scenario["reason"] is not None)


def wild(*, borrowed: float = 0.0, short: float = 0.0, hole: bool = False) -> Answered:
    """Half a year at two per mille a day, then forty-five per cent a day: by a normal more than all is lost on a bad one."""
    rng = np.random.default_rng(4)
    panel = cases.panel(["AAA", "BBB"])
    returns = panel.returns.copy()
    returns[panel.symbols.index("AAA")] = rng.normal(0.0, 0.45, LOOKBACK).clip(-0.95, 4.0)
    panel = replace(panel, returns=returns)
    if hole:
        panel = cases.forget(panel, "BBB", 490, 495)
    lots = [Lot("AAA", 900.0), Lot("BBB", 100.0)]
    if short:
        lots.append(Lot("SPY", -short))
    return only(panel, Unit(1000.0 - borrowed, tuple(lots)))


@pytest.mark.parametrize("hole", [False, True])
def test_a_long_book_is_never_said_to_lose_more_than_it_has(hole: bool) -> None:
    of = wild(hole=hole)
    lines = {(line["method"], line["level"]): line for line in of.risk["var"]}
    assert lines["normal", 0.99]["var"] is lines["normal", 0.99]["es"] is None
    assert lines["historical", 0.99]["es"] == pytest.approx(0.85, abs=0.05)
    for section, key in (("var", "var"), ("var_10d", "var_10d"), ("covered_only.var", "covered_only")):
        found = of.risk[key]["var"] if key == "covered_only" else of.risk[key]
        for line in found:
            assert line["es"] is None or line["es"] <= 1.0
            assert line.get("var_high") is None or line["var_high"] <= 1.0
            named = (f"{section}.{line['method']}.{line['level']:g}", None, "beyond_holdings") in reasons(of)
            assert named == (line["var"] is None), (section, line)
    scaled = {line["level"]: line["var"] for line in of.risk["var_10d"] if line["method"] == "scaled"}
    assert set(scaled.values()) == {None}


def test_who_borrowed_may_lose_what_is_held_and_who_is_short_more() -> None:
    levered = {(line["method"], line["level"]): line for line in wild(borrowed=600.0).risk["var"]}
    assert 1.0 < levered["historical", 0.99]["es"] <= 2.5
    assert levered["normal", 0.99]["var"] is None
    assert all(line["var"] is not None for line in wild(short=100.0).risk["var"])


def test_documents_hold_plain_numbers_only(market: Panel) -> None:
    units = crowd(market, 12, 6)
    for of in pictured(market, cases.book(market, units)):
        for leaf in leaves([of.exposures, of.risk, of.correlations, of.stress, of.reasons]):
            assert leaf is None or type(leaf) in {str, int, float, bool}
        assert 0.0 <= of.coverage <= 1.0

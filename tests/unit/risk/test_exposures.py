"""Aggregation, sectors and concentration, by hand and against loops."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from services.risk.compute.aggregation import Exposures, aggregate
from services.risk.compute.concentration import concentration, risk_hhi
from services.risk.compute.exposure_errors import design, exposure_errors
from services.risk.compute.factor_model import factor_model
from services.risk.compute.inputs import Kind, Panel, portfolio_groups
from services.risk.compute.sectors import VendorSector, sector_on
from shared.market.registry import JOINT_FACTORS
from shared.market.sectors import ETF, GICS, UNCLASSIFIED, gics
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

STOCKS = [f"S{i}" for i in range(10)]


def exposures(panel: Panel, unit: Unit) -> Exposures:
    book = cases.book(panel, [unit])
    (stack,) = portfolio_groups(book, np.arange(1), most=100)
    return aggregate(panel, book, stack, panel.joint)


def test_beta_is_the_sum_of_signed_weights_times_betas() -> None:
    panel = cases.panel(STOCKS)
    lots = tuple(Lot(symbol, value) for symbol, value in zip(STOCKS, np.linspace(-300, 700, 10).tolist(), strict=True))
    found = exposures(panel, Unit(2000.0, lots))
    for k in range(8):
        money = sum(lot.value * panel.joint[0, panel.symbols.index(lot.symbol), k] for lot in lots)
        assert found.money[0, k] == pytest.approx(money, rel=1e-12)
        assert found.beta[0, k] == pytest.approx(money / 2000.0, rel=1e-12)
    assert found.covered_weight.tolist() == [[1.0] * 8]


def test_a_book_that_the_factors_explain_wholly_has_no_error_rather_than_that_of_rounding() -> None:
    """Of the market's proxy and cash nothing is left over; the error of rounding would make a t of 10^16."""
    panel = cases.panel(STOCKS)
    sessions = np.zeros(3, dtype=np.int64)
    market = panel.returns[panel.symbols.index(cases.MARKET)]
    other = panel.returns[panel.symbols.index("S1")]
    series = np.stack([0.6 * market, np.zeros_like(market), 0.6 * market + 0.001 * other])
    found = exposure_errors(design(panel, factor_model(panel), sessions), sessions, series)
    assert (found[:2, JOINT_FACTORS] == 0.0).all()
    assert (found[2, JOINT_FACTORS] > 1e-7).all()


def test_a_short_in_the_market_subtracts() -> None:
    panel = cases.panel(STOCKS)
    long = exposures(panel, Unit(1000.0, (Lot("S1", 500.0),)))
    short = exposures(panel, Unit(1000.0, (Lot("S1", -500.0),)))
    assert short.beta.tolist() == (-long.beta).tolist()


def test_lots_of_one_symbol_are_merged() -> None:
    panel = cases.panel(STOCKS)
    split = exposures(panel, Unit(1000.0, (Lot("S1", 300.0), Lot("S2", 100.0), Lot("S1", 200.0))))
    whole = exposures(panel, Unit(1000.0, (Lot("S1", 500.0), Lot("S2", 100.0))))
    assert np.array_equal(split.beta, whole.beta)
    assert split.betas.shape == (1, 2, 8)


@pytest.mark.parametrize(("uncovered", "known"), [(2, True), (3, False)])
def test_below_four_fifths_covered_an_exposure_is_unknown(uncovered: int, known: bool) -> None:
    panel = cases.panel(STOCKS)
    joint = panel.joint.copy()
    for symbol in STOCKS[:uncovered]:
        joint[0, panel.symbols.index(symbol)] = np.nan
    found = exposures(replace(panel, joint=joint), Unit(1000.0, tuple(Lot(symbol, 100.0) for symbol in STOCKS)))
    assert found.covered_weight[0] == pytest.approx(1.0 - uncovered / 10)
    assert np.isfinite(found.beta).all() == known
    assert np.isfinite(found.money).all() == known


def test_a_factor_without_a_proxy_leaves_the_others_alone() -> None:
    with_all, without = cases.panel(STOCKS), cases.panel(STOCKS, without=["growth"])
    unit = Unit(1000.0, tuple(Lot(symbol, 100.0) for symbol in STOCKS))
    one, other = exposures(with_all, unit), exposures(without, unit)
    assert np.isnan(other.beta[0, 2])
    assert np.array_equal(np.delete(one.beta, 2), np.delete(other.beta, 2))


@pytest.mark.parametrize("kind", [Kind.OPTION, Kind.PRIVATE])
def test_options_without_delta_and_private_holdings_are_uncovered(kind: Kind) -> None:
    panel = cases.panel(STOCKS, kinds={"S0": kind})
    found = exposures(panel, Unit(1000.0, (Lot("S0", 100.0), Lot("S1", 900.0))))
    assert np.isnan(found.betas[0, 0]).all()
    assert found.covered_weight[0] == pytest.approx(0.9)


def test_an_unpriceable_holding_is_uncovered() -> None:
    found = exposures(cases.panel(STOCKS), Unit(1000.0, (Lot("S0", 100.0, unpriceable=True), Lot("S1", 900.0))))
    assert found.covered_weight[0] == pytest.approx(0.9)


@pytest.mark.parametrize("nav", [0.0, -50.0])
def test_without_a_positive_nav_there_is_money_and_no_beta(nav: float) -> None:
    found = exposures(cases.panel(STOCKS), Unit(nav, (Lot("S1", 900.0),)))
    assert np.isnan(found.beta).all()
    assert np.isfinite(found.money).all()


def test_a_short_history_among_the_betas_is_said() -> None:
    panel = cases.panel(STOCKS)
    limited = panel.limited.copy()
    limited[0, panel.symbols.index("S1")] = True
    panel = replace(panel, limited=limited)
    assert exposures(panel, Unit(1000.0, (Lot("S1", 900.0),))).limited.all()
    assert not exposures(panel, Unit(1000.0, (Lot("S2", 900.0),))).limited.any()


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("Technology", "Information Technology"),
        ("Healthcare", "Health Care"),
        ("Financial Services", "Financials"),
        ("Consumer Cyclical", "Consumer Discretionary"),
        ("consumer_defensive", "Consumer Staples"),
        ("Basic Materials", "Materials"),
        ("information technology", "Information Technology"),
        ("Shipping", "Shipping"),
        ("  ", None),
        (None, None),
    ],
)
def test_vendor_sectors_map_to_gics(vendor: str | None, name: str | None) -> None:
    assert gics(vendor) == name


def test_every_gics_sector_is_itself() -> None:
    assert [gics(name) for name in GICS] == list(GICS)


def test_a_sector_counts_from_the_day_it_was_known() -> None:
    symbol = [VendorSector(date(2020, 6, 1), "stock", "Technology")]
    assert sector_on(date(2020, 6, 1), Kind.PUBLIC, symbol, None) == "Information Technology"
    assert sector_on(date(2020, 5, 31), Kind.PUBLIC, symbol, None) == UNCLASSIFIED
    assert sector_on(date(2020, 5, 31), Kind.PUBLIC, symbol, "Energy") == "Energy"


def test_funds_private_holdings_and_the_unknown_are_explicit() -> None:
    session = date(2020, 6, 1)
    assert sector_on(session, Kind.PUBLIC, [VendorSector(date.min, "ETF", None)], "Energy") == ETF
    assert sector_on(session, Kind.PRIVATE, [VendorSector(date.min, "stock", "Energy")], None) == UNCLASSIFIED
    assert sector_on(session, Kind.PRIVATE, [], "Real Estate") == "Real Estate"
    assert sector_on(session, Kind.PUBLIC, [], None) == UNCLASSIFIED


def test_concentration_by_hand() -> None:
    """Shares 0.5, 0.3, 0.2: HHI 0.38 of 10,000, effective 2.63; two lots of one underlying are one."""
    found = concentration([["A", "B", "A", "C"]], np.array([[200.0, 150.0, 50.0, 100.0]]))
    assert found.hhi[0] == pytest.approx(3800.0)
    assert found.effective[0] == pytest.approx(1 / 0.38)
    assert found.top_3[0] == pytest.approx(1.0)
    assert found.top_10[0] == pytest.approx(1.0)
    many = concentration([[f"{i:02d}" for i in range(20)]], np.ones((1, 20)))
    assert many.hhi[0] == pytest.approx(500.0)
    assert many.top_3[0] == pytest.approx(0.15)
    assert many.top_10[0] == pytest.approx(0.5)


def test_nothing_held_has_no_concentration() -> None:
    assert np.isnan(concentration([[]], np.empty((1, 0))).hhi).all()
    assert np.isnan(concentration([["A"]], np.zeros((1, 1))).top_3).all()


def test_concentration_does_not_depend_on_the_order() -> None:
    values = np.random.default_rng(0).uniform(1.0, 9.0, (1, 12))
    names = [[f"{i:02d}" for i in range(12)]]
    one, other = concentration(names, values), concentration([names[0][::-1]], values[:, ::-1])
    assert (one.hhi[0], one.top_3[0], one.top_10[0]) == (other.hhi[0], other.top_3[0], other.top_10[0])


def test_risk_hhi_takes_sizes() -> None:
    assert risk_hhi(np.array([[0.1, -0.1]]))[0] == pytest.approx(5000.0)
    assert np.isnan(risk_hhi(np.zeros((1, 3)))[0])

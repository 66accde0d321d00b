"""Options: greeks against the closed form, and what a delta does to every figure; without one nothing is claimed."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.compute.inputs import Book, Kind, Panel
from services.risk.compute.report import build_reports
from services.risk.compute.scenario_file import parse
from services.risk.compute.scorecard import realized_returns
from services.risk.workflow import RiskWorker
from services.risk.workflow.assemble import Inputs
from shared.market.option_greeks import greeks, terms
from shared.market.registry import FACTOR_NAMES, LOOKBACK, OPTION_MOST_VOLATILITY, OPTION_RATE
from shared.market.symbols import Occ, occ_symbol, parse_occ
from tests.support.risk import Answered, answered
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

DAY = date(2020, 1, 2)
EXPIRY = date(2020, 7, 1)
SPOT, STRIKE = 100.0, 105.0
N = NormalDist()
YEARS = (EXPIRY - cases.FIRST).days / 365


def black_scholes(call: bool, spot: float, strike: float, years: float, sd: float) -> dict[str, float]:
    """The textbook: price and greeks of one share; vega a unit of volatility, theta a year."""
    r, root = OPTION_RATE, sd * math.sqrt(years)
    d1 = (math.log(spot / strike) + (r + sd * sd / 2) * years) / root
    d2 = d1 - root
    sign = 1.0 if call else -1.0
    bond = strike * math.exp(-r * years)
    return {
        "price": sign * (spot * N.cdf(sign * d1) - bond * N.cdf(sign * d2)),
        "delta": sign * N.cdf(sign * d1),
        "gamma": N.pdf(d1) / (spot * root),
        "vega": spot * N.pdf(d1) * math.sqrt(years),
        "theta": -spot * N.pdf(d1) * sd / (2 * math.sqrt(years)) - sign * r * bond * N.cdf(sign * d2),
    }


def contract(kind: str, strike: str = "105", expiry: date = EXPIRY) -> Occ:
    found = parse_occ(occ_symbol("AAPL", expiry, kind, Decimal(strike)))
    assert found is not None
    return found


@settings(max_examples=150, deadline=None)
@given(
    call=st.booleans(),
    money=st.floats(0.7, 1.4),
    days=st.integers(7, 900),
    sd=st.floats(0.08, 1.5),
)
def test_greeks_are_the_closed_forms_at_the_volatility_the_price_implies(
    *, call: bool, money: float, days: int, sd: float
) -> None:
    spot = money * STRIKE
    true = black_scholes(call, spot, STRIKE, days / 365, sd)
    of = greeks(contract("CALL" if call else "PUT", expiry=DAY + timedelta(days=days)), DAY, true["price"], spot)
    # A price without time value says nothing of volatility: below a cent per thousand the implied one is noise.
    if true["vega"] < 0.5:
        return
    assert of is not None
    assert of.volatility == pytest.approx(sd, rel=1e-7)
    assert of.delta == pytest.approx(true["delta"], abs=1e-8)
    assert of.gamma == pytest.approx(true["gamma"], rel=1e-6)
    assert of.vega == pytest.approx(true["vega"] / 100, rel=1e-6)
    assert of.theta == pytest.approx(true["theta"] / 365, rel=1e-6)


def test_put_call_parity() -> None:
    call, put = (black_scholes(kind, SPOT, STRIKE, YEARS, 0.3) for kind in (True, False))
    assert call["price"] - put["price"] == pytest.approx(SPOT - STRIKE * math.exp(-OPTION_RATE * YEARS))
    of_call = greeks(contract("CALL"), cases.FIRST, call["price"], SPOT)
    of_put = greeks(contract("PUT"), cases.FIRST, put["price"], SPOT)
    assert of_call is not None
    assert of_put is not None
    assert of_call.volatility == pytest.approx(of_put.volatility, rel=1e-10)
    assert of_call.delta - of_put.delta == pytest.approx(1.0, rel=1e-10)
    assert of_call.gamma == pytest.approx(of_put.gamma)
    assert of_call.vega == pytest.approx(of_put.vega)


@pytest.mark.parametrize(
    ("session", "price", "spot"),
    [
        (EXPIRY, 5.0, 100.0),
        (EXPIRY + timedelta(days=1), 5.0, 100.0),
        (DAY, math.nan, 100.0),
        (DAY, 5.0, math.nan),
        (DAY, 0.0, 100.0),
        (DAY, 30.0, 140.0),  # far under what exercising it is worth
        (DAY, 1.0, 107.5),  # under it, and not deep in the money: a stale trade
        (DAY, 100.0, 100.0),  # a call as dear as the share
        (DAY, 99.999999, 100.0),
    ],
)
def test_without_usable_inputs_there_are_no_greeks(session: date, price: float, spot: float) -> None:
    assert greeks(contract("CALL"), session, price, spot) is None


@pytest.mark.parametrize(("kind", "spot"), [("CALL", 150.0), ("PUT", 70.0)])
@pytest.mark.parametrize("below", [0.0, 0.005])
def test_a_price_without_time_value_moves_one_for_one(kind: str, spot: float, below: float) -> None:
    """What is deep in the money trades at what exercise is worth, or a little below: its risk is the share's, and known."""
    sign = 1.0 if kind == "CALL" else -1.0
    parity = sign * (spot - STRIKE * math.exp(-OPTION_RATE * (EXPIRY - DAY).days / 365))
    price = parity - below * spot
    of = greeks(contract(kind), DAY, price, spot)
    assert of is not None
    assert (of.delta, of.gamma, of.vega) == pytest.approx((sign, 0.0, 0.0), abs=1e-12)
    held = terms(contract(kind), DAY, price, spot, of.volatility)
    moves = np.array([-0.1, -1e-9, 0.0, 1e-9, 0.1])
    assert held.returns(moves) == pytest.approx(sign * spot * moves / price, abs=1e-9), "without a step at no move"
    assert held.leverage == pytest.approx(sign * spot / price)
    assert greeks(contract(kind), DAY, parity - 0.011 * spot, spot) is None


@pytest.mark.parametrize(("kind", "spot"), [("CALL", 150.0), ("PUT", 70.0)])
def test_no_option_loses_more_than_it_is_worth(kind: str, spot: float) -> None:
    """Below parity the formula says that more goes than was paid: 51.8 of a call at 51."""
    sign = 1.0 if kind == "CALL" else -1.0
    price = sign * (spot - STRIKE * math.exp(-OPTION_RATE * (EXPIRY - DAY).days / 365)) - 0.005 * spot
    of = greeks(contract(kind), DAY, price, spot)
    assert of is not None
    held = terms(contract(kind), DAY, price, spot, of.volatility)
    assert held.returns(np.array([-0.6 * sign, -0.999 if sign > 0 else 1.0])).tolist() == [-1.0, -1.0]


def test_positions_that_cancel_stand_still_and_their_rounding_is_no_trend() -> None:
    """A share, and a call on it written at parity."""
    panel = market()
    deep = occ_symbol("AAPL", EXPIRY, "CALL", Decimal(40))
    panel = replace(panel, symbols=tuple(deep if symbol == CALL else symbol for symbol in panel.symbols))
    price = SPOT - 40 * math.exp(-OPTION_RATE * YEARS) - 0.1
    panel.closes[panel.symbols.index(deep)] = np.full(2, price)
    for weight in (1.0, 0.37, 1.7):
        lots = (Lot("AAPL", weight * 100 * SPOT), Lot(deep, -weight * 100 * price))
        [of] = [
            answered(each, cases.SCENARIOS)
            for each in build_reports(panel, book(panel, Unit(20_000.0, lots)), cases.SCENARIOS)
        ]
        assert position(of, deep)["exposure_value"] == pytest.approx(-weight * 100 * SPOT)
        assert of.risk["volatility"]["realized_252"] == 0.0
        assert (of.risk["volatility"]["trend"]["z"], of.risk["beta"]["r2"]) == (None, None)
        assert of.risk["beta"]["realized"] == 0.0
        assert {"figure": "volatility.trend", "symbol": None, "reason": "zero_variance"} in of.reasons


def test_an_absurd_volatility_is_a_broken_quote() -> None:
    absurd = black_scholes(True, SPOT, STRIKE, YEARS, OPTION_MOST_VOLATILITY * 1.05)["price"]
    assert greeks(contract("CALL"), cases.FIRST, absurd, SPOT) is None


CALL, PUT = (occ_symbol("AAPL", EXPIRY, kind, Decimal(105)) for kind in ("CALL", "PUT"))
KINDS = {CALL: Kind.OPTION, PUT: Kind.OPTION}
PRICE = {kind: black_scholes(kind == CALL, SPOT, STRIKE, YEARS, 0.3) for kind in (CALL, PUT)}
STOCKS = ("AAPL", "BBB", CALL, PUT)


def market(sessions: int = 1, *, without: Sequence[str] = ()) -> Panel:
    """Closes of the share and of both contracts on every session; the first of the days is the one before."""
    panel = cases.panel(STOCKS, sessions, kinds=KINDS)
    closes = {"AAPL": SPOT, CALL: PRICE[CALL]["price"], PUT: PRICE[PUT]["price"]}
    days = (cases.FIRST - timedelta(days=1), *panel.sessions)
    return replace(
        panel,
        closes={panel.symbols.index(s): np.full(sessions + 1, p) for s, p in closes.items() if s not in without},
        close_days=days,
    )


def contracts(panel: Panel, held: Mapping[str, float]) -> tuple[Lot, ...]:
    """Lots by symbol and quantity: shares at 100, contracts of a hundred shares at their closes."""
    return tuple(
        Lot(symbol, quantity * (100 * PRICE[symbol]["price"] if symbol in KINDS else SPOT))
        for symbol, quantity in held.items()
    )


def book(panel: Panel, *units: Unit) -> Book:
    of = cases.book(panel, units)
    assert of.before is not None
    row = panel.symbols.index("AAPL")

    def options(rows: Sequence[int]) -> dict[int, int]:
        return {h: row for h, r in enumerate(rows) if panel.kinds[r] == Kind.OPTION}

    before = replace(of.before, underlying_rows=options(of.before.rows.tolist()))
    return replace(of, underlying_rows=options(of.rows.tolist()), before=before)


def picture(panel: Panel, *units: Unit) -> list[Answered]:
    return [answered(of, cases.SCENARIOS) for of in build_reports(panel, book(panel, *units), cases.SCENARIOS)]


def one(panel: Panel, held: Mapping[str, float], nav: float = 100_000.0) -> Answered:
    [of] = picture(panel, Unit(nav, contracts(panel, held)))
    return of


def position(of: Answered, symbol: str) -> dict[str, object]:
    [found] = [row for row in of.exposures["positions"] if row["symbol"] == symbol]
    return dict(found)


def test_an_option_is_delta_times_a_hundred_shares_of_its_underlying() -> None:
    panel = market()
    of = one(panel, {CALL: 3.0, PUT: -2.0, "BBB": 400.0})
    for symbol, quantity in ((CALL, 3.0), (PUT, -2.0)):
        row = position(of, symbol)
        assert row["exposure_value"] == pytest.approx(PRICE[symbol]["delta"] * quantity * 100 * SPOT, rel=1e-9)
        assert row["weight"] == pytest.approx(quantity * 100 * PRICE[symbol]["price"] / 100_000)
        assert row["reason"] is None
        shown = row["greeks"]
        assert isinstance(shown, dict)
        assert shown["delta"] == pytest.approx(PRICE[symbol]["delta"], rel=1e-9)
        assert shown["implied_volatility"] == pytest.approx(0.3, rel=1e-9)
        betas = panel.joint[0, panel.symbols.index("AAPL")].tolist()
        assert row["betas"] == dict(zip(FACTOR_NAMES, betas, strict=True))
    assert position(of, "BBB")["greeks"] is None
    money = sum(
        float(str(row["exposure_value"])) * panel.joint[0, panel.symbols.index(at), 0]
        for row, at in ((position(of, CALL), "AAPL"), (position(of, PUT), "AAPL"), (position(of, "BBB"), "BBB"))
    )
    assert of.exposures["factors"][0]["money"] == pytest.approx(money, rel=1e-12)
    assert of.exposures["factors"][0]["covered_weight"] == 1.0


def test_a_delta_hedge_leaves_nothing() -> None:
    of = one(market(), {CALL: 10.0, "AAPL": -1000 * PRICE[CALL]["delta"]})
    assert abs(of.exposures["factors"][0]["money"]) < 1e-6
    assert of.risk["volatility"]["realized_252"] == pytest.approx(0.0, abs=1e-9)
    assert of.risk["decomposition"]["volatility"] == pytest.approx(0.0, abs=1e-9)
    assert of.risk["decomposition"]["model_vol"] == pytest.approx(0.0, abs=1e-9)


def test_a_synthetic_share_is_the_share() -> None:
    """Long call, short put: delta one, by parity. Every figure that is not about value is the share's."""
    panel = market()
    share, synthetic = one(panel, {"AAPL": 500.0}), one(panel, {CALL: 5.0, PUT: -5.0})
    for name in ("realized_21", "realized_252", "percentile_252"):
        assert synthetic.risk["volatility"][name] == pytest.approx(share.risk["volatility"][name], rel=1e-9)
    assert synthetic.risk["var"][0]["var"] == pytest.approx(share.risk["var"][0]["var"], rel=1e-9)
    assert synthetic.risk["decomposition"]["model_vol"] == pytest.approx(
        share.risk["decomposition"]["model_vol"], rel=1e-9
    )
    [own] = share.risk["decomposition"]["contributions"]
    [both] = synthetic.risk["decomposition"]["contributions"]
    assert both["contribution"] == pytest.approx(own["contribution"], rel=1e-9)
    assert synthetic.risk["decomposition"]["excluded"] == [{"symbol": PUT, "reason": "with_underlying"}]


def test_an_option_stands_with_its_underlying_in_the_matrix() -> None:
    of = one(market(), {"AAPL": 300.0, CALL: 2.0, "BBB": 100.0})
    assert of.correlations["labels"] == ["AAPL", "BBB"]
    assert of.correlations["excluded"] == [{"symbol": CALL, "reason": "with_underlying"}]
    decomposition = of.risk["decomposition"]
    parts = [part["contribution"] for part in decomposition["contributions"]]
    assert math.fsum(parts) == pytest.approx(decomposition["volatility"], abs=1e-12)
    equal = one(market(), {"AAPL": 300.0 + 200 * PRICE[CALL]["delta"], "BBB": 100.0})
    assert decomposition["volatility"] == pytest.approx(equal.risk["decomposition"]["volatility"], rel=1e-9)


@pytest.mark.parametrize("without", [(CALL,), ("AAPL",)])
def test_without_a_price_of_option_or_underlying_it_is_uncovered_and_says_so(without: tuple[str, ...]) -> None:
    of = one(market(without=without), {CALL: 3.0, "BBB": 400.0})
    row = position(of, CALL)
    assert (row["exposure_value"], row["greeks"], row["reason"]) == (None, None, "no_delta")
    assert all(beta is None for beta in dict(row["betas"]).values())  # type: ignore[call-overload]
    value = 300 * PRICE[CALL]["price"]
    assert of.exposures["factors"][0]["covered_weight"] == pytest.approx(40_000 / (40_000 + value))
    assert of.stress["scenarios"][0]["uncovered_value"] == pytest.approx(value)
    assert {"figure": None, "symbol": CALL, "reason": "no_delta"} in of.reasons
    lines = {line["symbol"]: line for line in of.risk["positions"]}
    assert set(lines[CALL]["es_975"].values()) == {None}, "unknown, and no zero"
    assert lines[CALL]["reason"] == "no_delta"
    tail = next(t for t in of.risk["var"] if (t["method"], t["level"]) == ("historical", 0.975))
    assert lines["BBB"]["es_975"]["component"] == pytest.approx(tail["es"], rel=1e-9)


def loss(of: Answered, scenario: str, symbol: str) -> float:
    [found] = [s for s in of.stress["scenarios"] if s["id"] == scenario]
    assert math.fsum(v for v in found["direct"]["by_position"].values() if v is not None) == pytest.approx(
        found["direct"]["money"], abs=1e-6
    )
    assert math.fsum(found["direct"]["by_factor"].values()) == pytest.approx(found["direct"]["money"], abs=1e-6)
    return float(found["direct"]["by_position"][symbol])


def test_a_long_option_loses_at_most_its_value_and_a_short_one_more() -> None:
    panel = market()
    betas = panel.joint.copy()
    betas[0, panel.symbols.index("AAPL")] = np.eye(len(FACTOR_NAMES))[0]
    panel = replace(panel, joint=betas)
    value = 100 * PRICE[CALL]["price"]

    def change(symbol: str, move: float) -> float:
        """Of one contract by the textbook, at the volatility of the session."""
        after = black_scholes(symbol == CALL, SPOT * (1 + move), STRIKE, YEARS, 0.3)["price"]
        return 100 * (after - PRICE[symbol]["price"])

    long, short = one(panel, {CALL: 1.0, "BBB": 400.0}), one(panel, {CALL: -1.0, "BBB": 400.0})
    assert loss(long, "market_down_5", CALL) == pytest.approx(change(CALL, -0.05), rel=1e-6)
    assert -value <= loss(long, "market_crash_35", CALL) < -0.98 * value
    assert loss(short, "market_crash_35", CALL) == -loss(long, "market_crash_35", CALL)
    assert loss(short, "market_rally_25", CALL) == pytest.approx(-change(CALL, 0.25), rel=1e-6)
    assert change(CALL, 0.25) > value
    puts = one(panel, {PUT: -1.0, "BBB": 400.0})
    delta_alone = 0.35 * 100 * SPOT * PRICE[PUT]["delta"]
    assert loss(puts, "market_crash_35", PUT) == pytest.approx(-change(PUT, -0.35), rel=1e-6)
    assert loss(puts, "market_crash_35", PUT) < 1.5 * delta_alone, "a delta alone says far too little"
    protective = one(panel, {PUT: 1.0, "AAPL": 100.0})
    assert loss(protective, "market_crash_35", PUT) == pytest.approx(change(PUT, -0.35), rel=1e-6)
    assert loss(protective, "market_rally_25", PUT) == pytest.approx(change(PUT, 0.25), rel=1e-6)


def test_value_at_risk_of_options_is_of_what_they_would_be_worth_and_their_volatility_of_deltas() -> None:
    panel = market()
    of = one(panel, {PUT: -4.0, "BBB": 300.0})
    moves = panel.returns[panel.symbols.index("AAPL")]
    other = 0.3 * panel.returns[panel.symbols.index("BBB")]
    worth = [
        black_scholes(False, SPOT * (1 + r), STRIKE, YEARS, 0.3)["price"] - PRICE[PUT]["price"] for r in moves.tolist()
    ]
    whole = other - 400 * np.array(worth) / 100_000
    quantile = np.quantile(whole, 0.025)
    tail = next(t for t in of.risk["var"] if (t["method"], t["level"]) == ("historical", 0.975))
    assert tail["var"] == pytest.approx(-quantile, rel=1e-7)
    assert tail["es"] == pytest.approx(-whole[whole <= quantile].mean(), rel=1e-7)
    by_delta = other - 4 * 100 * SPOT * PRICE[PUT]["delta"] * moves / 100_000
    assert of.risk["volatility"]["realized_252"] == pytest.approx(
        by_delta[-252:].std(ddof=1) * math.sqrt(252), rel=1e-9
    )
    parts = {row["symbol"]: row["es_975"]["component"] for row in of.risk["positions"]}
    assert parts[PUT] == pytest.approx(0.004 * np.array(worth)[whole <= quantile].mean(), rel=1e-6)
    assert math.fsum(parts.values()) == pytest.approx(tail["es"], rel=1e-9)


def test_options_beside_a_portfolio_change_none_of_its_digits() -> None:
    panel = market(3)
    plain = [Unit(90_000.0, contracts(panel, {"AAPL": 300.0, "BBB": -50.0}), session=s) for s in range(3)]
    options = [Unit(50_000.0, contracts(panel, {CALL: 3.0, PUT: 1.0}), portfolio=1, session=s) for s in range(3)]
    worker = RiskWorker(cases.SCENARIOS)
    together = worker.compute(Inputs(panel, book(panel, *plain, *options))).rows
    alone = worker.compute(Inputs(panel, book(panel, *plain))).rows
    assert {key: together[key] for key in alone} == dict(alone)
    own = worker.compute(Inputs(panel, book(panel, *(replace(unit, portfolio=0) for unit in options)))).rows
    assert sorted(own.values()) == sorted(row for key, row in together.items() if key not in alone)


def test_what_came_of_an_option_is_what_it_is_worth_at_the_volatility_of_the_close_before() -> None:
    """As the value at risk that it is compared with: by its delta alone a short option would hardly ever exceed it."""
    panel = market(2)
    row = panel.symbols.index("AAPL")
    # On the session itself the contract has no close: the volatility that counts is yesterday's.
    for symbol in (CALL, PUT):
        panel.closes[panel.symbols.index(symbol)][2] = np.nan
    units = [Unit(100_000.0, contracts(panel, {CALL: 4.0, "BBB": 500.0}), session=s) for s in range(2)]
    found = realized_returns(panel, book(panel, *units))[1]
    other = panel.symbols.index("BBB")
    after = black_scholes(True, SPOT * (1.0 + panel.returns[row, LOOKBACK]), STRIKE, YEARS, 0.3)["price"]
    expected = 0.5 * panel.returns[other, LOOKBACK] + 400.0 * (after - PRICE[CALL]["price"]) / 100_000.0
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("vol", "sd"), [({"relative": 0.5}, 0.45), ({"points": -10}, 0.2)])
def test_a_move_of_volatility_is_by_the_textbook_and_in_no_factor(vol: dict[str, float], sd: float) -> None:
    panel = market()
    betas = panel.joint.copy()
    betas[0, panel.symbols.index("AAPL")] = np.eye(len(FACTOR_NAMES))[0]
    panel = replace(panel, joint=betas)
    script = {"id": "x", "shocks": {"market": -0.2}, "vol": vol}
    scenarios = parse({"scenarios": [script, {"id": "plain", "shocks": {"market": -0.2}}]})
    unit = Unit(100_000.0, contracts(panel, {PUT: -2.0, "AAPL": 100.0}))
    [of] = [answered(each, scenarios) for each in build_reports(panel, book(panel, unit), scenarios)]
    moved, plain = of.stress["scenarios"]
    assert (moved["vol_relative"], moved["vol_points"]) == (vol.get("relative"), vol.get("points"))
    assert plain["vol_relative"] is plain["vol_points"] is plain["direct"]["volatility"] is None
    after = [black_scholes(False, SPOT * 0.8, STRIKE, YEARS, each)["price"] for each in (0.3, sd)]
    leg = moved["direct"]
    assert leg["by_position"][PUT] == pytest.approx(-200 * (after[1] - PRICE[PUT]["price"]), rel=1e-6)
    assert leg["volatility"] == pytest.approx(-200 * (after[1] - after[0]), rel=1e-6)
    assert leg["by_factor"] == pytest.approx(plain["direct"]["by_factor"]), "what the factors explain is as without it"
    assert math.fsum(leg["by_factor"].values()) + leg["volatility"] == pytest.approx(leg["money"], abs=1e-5)
    assert math.fsum(leg["by_position"].values()) == pytest.approx(leg["money"], abs=1e-6)


def test_an_underlying_at_a_price_that_is_no_evidence_does_not_take_its_option_with_it() -> None:
    """The specific part of the factor model is of covered holdings: of the option alone as if it stood alone."""
    panel = market()
    held = contracts(panel, {"AAPL": 50.0, CALL: 3.0, "BBB": 800.0})
    lots = tuple(replace(lot, unpriceable=lot.symbol == "AAPL") for lot in held)
    [with_old] = [
        answered(each, cases.SCENARIOS)
        for each in build_reports(panel, book(panel, Unit(100_000.0, lots)), cases.SCENARIOS)
    ]
    [without] = [
        answered(each, cases.SCENARIOS)
        for each in build_reports(
            panel, book(panel, Unit(100_000.0, contracts(panel, {CALL: 3.0, "BBB": 800.0}))), cases.SCENARIOS
        )
    ]
    for figure in ("model_vol", "specific_share"):
        assert with_old.risk["decomposition"][figure] == pytest.approx(without.risk["decomposition"][figure], rel=1e-12)


@pytest.mark.parametrize(("kind", "sign"), [(PUT, 1.0), (CALL, -1.0)])
def test_an_option_without_a_delta_moves_nothing(kind: str, sign: float) -> None:
    """With the market in its place a put would raise what it lowers."""
    held = {"BBB": 900.0}
    with_option = held | {kind: sign * 10_000 / (100 * PRICE[kind]["price"])}
    of, alone = one(market(without=[kind]), with_option), one(market(), held)
    assert of.coverage == pytest.approx(0.9)
    for window in (21, 63, 252):
        name = f"realized_{window}"
        assert of.risk["volatility"][name] == pytest.approx(alone.risk["volatility"][name], rel=1e-12)
        assert of.risk["covered_only"][name] == pytest.approx(alone.risk["covered_only"][name], rel=1e-12)
    assert of.risk["beta"] == pytest.approx(alone.risk["beta"], rel=1e-9)
    for line, other in zip(of.risk["var"], alone.risk["var"], strict=True):
        assert (line["var"], line["es"]) == pytest.approx((other["var"], other["es"]), rel=1e-9)
    for scenario in of.stress["scenarios"]:
        for leg in (scenario["direct"], scenario["propagated"]):
            assert leg is None or leg["fraction_filled"] == leg["fraction"]
    assert of.stress["scenarios"][0]["uncovered_value"] == pytest.approx(10_000.0)


def test_what_came_of_an_option_without_a_delta_is_nothing() -> None:
    panel = market(2, without=[PUT])
    units = [Unit(100_000.0, contracts(panel, {"BBB": 900.0, PUT: 5.0}), session=s) for s in range(2)]
    found = realized_returns(panel, book(panel, *units))[1]
    assert found == pytest.approx(0.9 * panel.returns[panel.symbols.index("BBB"), LOOKBACK])


def test_the_library_is_loaded_by_the_first_option_and_not_by_the_service() -> None:
    """With it comes scipy.stats: a second of each start, and thirty megabytes."""
    loaded = set()
    root = Path(__file__).parents[3]
    for source in (*(root / "services" / "risk").rglob("*.py"), *(root / "shared" / "market").rglob("*.py")):
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.Import):
                loaded |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                loaded.add((node.module or "").split(".")[0])
    assert "numpy" in loaded
    assert loaded & {"vollib", "scipy"} == set()

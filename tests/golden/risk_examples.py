"""Worked examples of docs/methods.md: of covered value, the tail, stress, options, and what is worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from services.coordinator.compute import attribution
from services.coordinator.compute.carry import carry
from services.coordinator.compute.look_through import Line, Told, behind, concentration_of
from services.coordinator.compute.sector_funds import sector_beta
from services.coordinator.compute.what_if import hedge as hedge_of
from services.risk.compute import stress
from services.risk.compute.by_factor import reverse_stress as reverse_of
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.forecast_weights import ewma_path
from services.risk.compute.inputs import portfolio_groups
from services.risk.compute.replay_windows import Daily, returns_of
from services.risk.compute.report import build_reports
from services.risk.compute.scenarios import Scenario, Scenarios
from services.risk.compute.tail import tails, ten_days
from shared.arrays import FloatVector
from shared.market.option_greeks import greeks
from shared.market.option_terms import Terms
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, LOOKBACK
from shared.market.symbols import parse_occ
from tests.golden.examples import Given, everything, example, series
from tests.support import chain
from tests.support.chain import Unit
from tests.support.risk import Answered, answered


def book(given: Given) -> Answered:
    """A book of NAV 1 with the market's proxy beside: returns by symbol, weights, and how many of the last returns some have alone."""
    returns = {name: series(spec, LOOKBACK) for name, spec in given["returns"].items()}
    returns["SPY"] = series(given["market"], LOOKBACK)
    for name, last in given.get("only_last", {}).items():
        returns[name] = np.where(np.arange(LOOKBACK) < LOOKBACK - int(last), np.nan, returns[name])
    panel = chain.panel(returns)
    [found] = build_reports(panel, chain.book(panel, [Unit(1.0, given["weights"])]), chain.SCENARIOS)
    return answered(found, chain.SCENARIOS)


@example
def covered_only(given: Given) -> Mapping[str, Any]:
    of = book(given).risk
    [var] = [x["var"] for x in of["covered_only"]["var"] if (x["method"], x["level"]) == ("historical", 0.95)]
    return {
        "filled_realized_252": of["volatility"]["realized_252"],
        "realized_252": of["covered_only"]["realized_252"],
        "beta": of["covered_only"]["beta"],
        "var_95": var,
        "coverage_252": of["covered_only"]["coverage_252"],
        "coverage_var": of["covered_only"]["coverage_var"],
    }


@example
def shortfall_parts(given: Given) -> Mapping[str, Any]:
    of = book(given).risk
    [es] = [x["es"] for x in of["var"] if (x["method"], x["level"]) == ("historical", 0.975)]
    parts = {position["symbol"]: position["es_975"] for position in of["positions"]}
    return {
        "es": es,
        **{name: {symbol: part[name] for symbol, part in parts.items()} for name in next(iter(parts.values()))},
        "by_factor": {"market": of["es_factors"]["factors"]["market"], "specific": of["es_factors"]["specific"]},
    }


@example
def filtered_var(given: Given) -> Mapping[str, Any]:
    r = series(given["returns"], LOOKBACK)[None]
    valid = everything(r)
    one = tails(r, valid, (float(given["level"]),), ewma_path(r, valid))
    found = {line.method: line for line in (*one, *ten_days(r, valid, one))}
    return {
        "historical": found["historical"].var[0],
        "var_low": found["historical"].low[0],
        "var_high": found["historical"].high[0],
        "filtered": found["filtered"].var[0],
        "filtered_n_obs": found["filtered"].n_obs[0],
        "scaled": found["scaled"].var[0],
        "overlapping": found["overlapping"].var[0],
    }


def _model(market_sd: float, residual_sd: float, slope: float) -> FactorModel:
    """Of the market and quality on one session."""
    quality = FACTOR_NAMES.index("quality")
    recent = np.zeros((1, len(FACTOR_NAMES), len(FACTOR_NAMES)))
    recent[0, 0, 0], recent[0, quality, quality] = market_sd**2, residual_sd**2
    available = np.zeros((1, len(FACTOR_NAMES)), np.bool_)
    available[0, [0, quality]] = True
    slopes = np.zeros((1, len(FACTOR_NAMES)))
    slopes[0, [0, quality]] = 1.0, slope
    return FactorModel(available, slopes, recent, recent, recent)


@example
def reverse_stress(given: Given) -> Mapping[str, Any]:
    panel = chain.panel({"SPY": series({"a": 0.01}, LOOKBACK)})
    [stack] = portfolio_groups(chain.book(panel, [Unit(1.0, {"SPY": 1.0})]), np.array([0]), most=10)
    beta = np.zeros((1, len(FACTOR_NAMES)))
    beta[0, [0, FACTOR_NAMES.index("quality")]] = given["betas"]
    [found] = reverse_of(_model(given["market_sd"], given["residual_sd"], given["b_quality"]), stack, beta)
    assert found is not None
    return {"sigmas": found["sigmas"], "market": found["shocks"]["market"], "quality": found["shocks"]["quality"]}


@example
def sigmas(given: Given) -> Mapping[str, Any]:
    """Three standard deviations of a quarter of a style, beside a fall of the market."""
    scenario = Scenario("x", "x", {"market": given["market"]}, None, sigmas={"quality": given["sigmas"]})
    model = _model(given["market_sd"], given["residual_sd"], given["b_quality"])
    of = stress.shocks(Scenarios((scenario,), ()), scenario, model, (date(2020, 1, 2),))
    quality = FACTOR_NAMES.index("quality")
    return {"residual": of.direct[0, quality], "quality": of.raw[0, quality]}


@example
def option_stressed(given: Given) -> Mapping[str, Any]:
    contract = parse_occ(given["contract"])
    assert contract is not None
    price, spot = float(given["price"]), float(given["underlying"])
    found = greeks(contract, given["session"], price, spot)
    assert found is not None
    years = (contract.expiration - given["session"]).days / 365.0
    terms = Terms(-1, spot, float(contract.strike), years, 0.02, found.volatility, price)
    move, money = np.array([float(given["move"])]), given["quantity"] * 100 * price
    higher = terms.shock_volatility(np.array([float(given["vol_relative"])]), np.zeros(1))
    plain, raised = terms.returns(move)[0], terms.returns(move, higher)[0]
    return {
        "volatility": found.volatility,
        "by_delta": given["quantity"] * 100 * spot * found.delta * move[0],
        "revalued": money * plain,
        "of_volatility": money * (raised - plain),
    }


@example
def replay_window(given: Given) -> Mapping[str, Any]:
    first, *rest = [date(2020, 2, day) for day in (21, 24, 25, 26)]
    rows = {
        name: [Daily(first, None, given["adj_close"].get(name, [None])[0])]
        + [Daily(day, r, given["adj_close"].get(name, [None])[-1]) for day, r in zip(rest, of, strict=True)]
        for name, of in given["returns"].items()
    }
    return {"returns": returns_of(rows, (first, *rest))}


@example
def brinson(given: Given) -> Mapping[str, Any]:
    def table(of: Mapping[str, list[float]]) -> Any:
        return np.column_stack([np.array(values, dtype=np.float64) for values in of.values()])

    own = np.array(given["return"], dtype=np.float64)
    found = attribution.brinson_fachler(
        table(given["weight"]), table(given["contribution"]), table(given["benchmark"]), table(given["sector"]), own
    )
    names = [*given["weight"], "cash"]
    return {
        "active": found.active,
        "allocation": dict(zip(names, found.allocation.tolist(), strict=True)),
        "selection": dict(zip(names, found.selection.tolist(), strict=True)),
    }


@example
def hedge(given: Given) -> Mapping[str, Any]:
    quantity, money = hedge_of(float(given["beta"]), float(given["nav"]), float(given["price"]))
    return {"quantity": quantity, "money": money}


@example
def look_through(given: Given) -> Mapping[str, Any]:
    lines = [Line(name, max(value, 0.0), min(value, 0.0)) for name, value in given["values"].items()]
    funds = {
        name: Told(tuple(weights), np.array(list(weights.values()), dtype=np.float64))
        for name, weights in given["funds"].items()
    }
    names = behind(lines, funds)
    spread = concentration_of(names)
    return {
        "money": {name: of.net for name, of in names.items()},
        "gross": {name: of.gross for name, of in names.items()},
        "hhi": spread.hhi,
        "effective": spread.effective,
    }


@example
def sector_funds(given: Given) -> Mapping[str, Any]:
    def of(spec: Mapping[str, float]) -> FloatVector:
        return series(spec, BETA_WINDOW)

    found = sector_beta(of(given["book"]), of(given["market"]), of(given["fund"]), np.ones(BETA_WINDOW, np.bool_))
    return {"beta": found.beta, "stderr_hac": found.stderr_hac, "r2": found.r2, "n_obs": found.n_obs}


@example
def money(given: Given) -> Mapping[str, Any]:
    def each(name: str) -> FloatVector:
        return np.full(int(given["sessions"]), float(given[name]))

    of = carry(
        each("return"), each("capital"), each("cash"), each("short"), each("bill"),
        margin_spread=float(given["margin_spread"]), borrow_rate=float(given["borrow_rate"]),
    )  # fmt: skip
    return {"interest": of.interest, "margin": of.margin, "borrow": of.borrow, "total_return": of.total_return}

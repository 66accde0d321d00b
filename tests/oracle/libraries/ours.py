"""Fixed returns, and what Leadline says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

import numpy as np

from services.coordinator.compute.attribution import by_factor
from services.coordinator.compute.benchmark import compare
from services.coordinator.compute.liquidity import daily_volume, days_to_sell
from services.coordinator.compute.performance import Range, by_calendar, measure
from services.risk.compute.beta import realized_beta
from services.risk.compute.tail import tails
from shared.arrays import FloatMatrix, FloatVector
from shared.market.calendar import calendar
from shared.market.registry import LOOKBACK
from tests.support import chain

Figure = float | list[float]

SESSIONS = np.array(calendar().between(date(2019, 1, 2), date(2021, 12, 31))[:LOOKBACK], dtype="datetime64[D]")
BILL = 0.02
FREE = (1.0 + BILL) ** (1.0 / 252.0) - 1.0
HELD: Mapping[str, float] = {"S0": 40.0, "S1": -25.0, "S2": 30.0, "S3": 20.0}
NAV = 100.0
RETURNS = chain.market(11, LOOKBACK, sorted(HELD))
OWN: FloatVector = np.asarray(RETURNS["S0"] * 0.8 + RETURNS["S2"] * 0.3, dtype=np.float64)
MARKET: FloatVector = np.asarray(RETURNS["SPY"], dtype=np.float64)
WEIGHTS: FloatVector = np.array([HELD[name] for name in sorted(HELD)]) / NAV
# Three factors over twenty sessions, exposures that change daily; volumes and a quantity to sell.
_RNG = np.random.default_rng(7)
FACTOR_RETURNS: FloatMatrix = _RNG.normal(0.0, 0.01, (20, 3))
FACTOR_EXPOSURES: FloatMatrix = _RNG.normal(0.4, 0.3, (20, 3))
BOOK_RETURNS: FloatVector = (FACTOR_EXPOSURES * FACTOR_RETURNS).sum(axis=1) + _RNG.normal(0.0, 0.004, 20)
VOLUMES: FloatMatrix = np.floor(_RNG.uniform(2e5, 9e5, (3, 64)))
QUANTITY: FloatVector = np.array([400_000.0, 25_000.0, 1_800_000.0])
LEVELS = (0.95, 0.99)


def digest() -> str:
    """Of the returns: another stream of random numbers would ask for another run of the libraries."""
    every = (
        OWN,
        MARKET,
        FACTOR_RETURNS,
        FACTOR_EXPOSURES,
        BOOK_RETURNS,
        VOLUMES,
        *(RETURNS[name] for name in sorted(HELD)),
    )
    return hashlib.sha256(b"".join(np.round(of, 12).tobytes() for of in every)).hexdigest()[:16]


def figures() -> dict[str, Figure]:
    """By name; lists in the order that is said where they are compared."""
    n = len(SESSIONS)
    of = Range(SESSIONS, OWN, np.ones(n), True, np.full(n, FREE), np.zeros(n, np.bool_))
    found: dict[str, Figure] = {}
    performance, beside = measure(of), compare(of, MARKET)
    for name in ("total_return", "annual_return", "volatility", "sharpe", "sortino", "downside_deviation", "semi_deviation", "calmar",
                 "max_drawdown", "cdar_95", "skew", "kurtosis", "positive_share"):  # fmt: skip
        found[name] = getattr(performance, name)
    best, worst = performance.best, performance.worst
    assert best is not None
    assert worst is not None
    found["best_day"], found["worst_day"] = float(OWN[best]), float(OWN[worst])
    deepest = performance.falls[:5]
    found["drawdowns.depth"] = [fall.depth for fall in deepest]
    found["drawdowns.trough"] = [float(fall.trough) for fall in deepest]
    found["months"] = [part.value for part in by_calendar(of, None, "M")]
    for name in ("beta", "alpha", "r2", "tracking_error", "information_ratio"):
        found[f"benchmark.{name}"] = getattr(beside, name)
    every = np.ones((1, n), np.bool_)
    for tail in tails(OWN[None], every, LEVELS):
        if tail.method != "filtered":
            found[f"var.{tail.method}.{tail.level:g}"] = float(tail.var[0])
            found[f"es.{tail.method}.{tail.level:g}"] = float(tail.es[0])
    found["beta.realized"] = float(realized_beta(OWN[None], MARKET[None], every).beta[0])
    return found | _of_holdings() | _of_money()


def _of_holdings() -> dict[str, Figure]:
    risk = chain.pictured(chain.panel(RETURNS), chain.Unit(NAV, HELD))[0].risk
    parts = {part["symbol"]: part["contribution"] for part in risk["decomposition"]["contributions"]}
    shortfall = {position["symbol"]: position["es_975"] for position in risk["positions"]}
    return {
        "decomposition.contributions": [parts[name] for name in sorted(HELD)],
        "es_975.component": [shortfall[name]["component"] for name in sorted(HELD)],
        "concentration.effective": risk["concentration"]["effective"],
    }


def covariance() -> FloatMatrix:
    """The shrunk one of the holdings, a year, put together from what is answered."""
    of = chain.pictured(chain.panel(RETURNS), chain.Unit(NAV, HELD))[0]
    sd = np.array([RETURNS[name][-252:].std(ddof=1) for name in of.correlations["labels"]])
    return np.asarray(np.array(of.correlations["matrix"]) * np.outer(sd, sd) * 252.0, dtype=np.float64)


def _of_money() -> dict[str, Figure]:
    split = by_factor(BOOK_RETURNS, FACTOR_EXPOSURES, np.zeros_like(FACTOR_RETURNS), FACTOR_RETURNS)
    volume = daily_volume(VOLUMES[:, :-1], np.ones((3, 63)))
    return {
        "attribution.factors": split.factors.sum(axis=0).tolist(),
        "attribution.rest": split.rest.tolist(),
        "liquidity.days": days_to_sell(QUANTITY, volume.mean, 0.2).tolist(),
    }

"""The worked examples of docs/methods.md: what stands there as `given`, put through the code.

Each function takes the block's `given` and answers every figure the block may show. The code under test is called through its public
functions; nothing is worked out here but the laying out of inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from services.coordinator.compute import attribution
from services.coordinator.compute import liquidity as liquidities
from services.coordinator.compute import performance as performances
from services.coordinator.compute.benchmark import compare
from services.coordinator.compute.performance import Range
from services.coordinator.compute.replay import by_factors
from services.coordinator.compute.scorecard import HAR, HAR_VARIANCE, HISTORICAL, WIDTH, Record, score
from services.coordinator.importer.basis import Market as Stored
from services.coordinator.importer.basis import decide
from services.coordinator.importer.model import PUBLIC, Issues, Position
from services.coordinator.reference.benchmarks import rules
from services.factors.compute.metrics import bases
from services.ingest.compute.returns import BASES, REMARKS, Events, split_factor, total_returns
from services.risk.compute import covariance, stress, volatility
from services.risk.compute.beta import realized_beta
from services.risk.compute.concentration import concentration
from services.risk.compute.covariance import Covariance
from services.risk.compute.factor_model import FactorModel, model_risk
from services.risk.compute.inputs import Benchmark
from services.risk.compute.scenarios import Duration, Scenario, Scenarios
from services.risk.compute.sectors import sector_weights
from services.risk.compute.tail import tails
from services.snapshots.compute import Basis, from_units, xirr
from shared.arrays import FloatMatrix, FloatVector
from shared.market import registry, stress_losses
from shared.market.calendar import calendar
from shared.market.curve import Curve
from shared.market.curve import par_bond as bond_at_par
from shared.market.option_greeks import greeks
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, LOOKBACK
from shared.market.sectors import gics
from shared.market.symbols import parse_occ
from tests.support import chain
from tests.support.chain import Unit
from tests.support.worlds import Lot, Portfolio, Symbol, World, run

Given = Mapping[str, Any]
EXAMPLES: dict[str, Callable[[Given], Mapping[str, Any]]] = {}


def example(function: Callable[[Given], Mapping[str, Any]]) -> Callable[[Given], Mapping[str, Any]]:
    EXAMPLES[function.__name__] = function
    return function


def series(spec: Mapping[str, float], n: int) -> FloatVector:
    """const + a·sin(0.7 t) + b·sin(1.9 t + 1) + c·sin(3.1 t + 2), t = 1 … n: the made-up returns of the examples."""
    t = np.arange(1, n + 1)
    waves = {"const": np.ones(n), "a": np.sin(0.7 * t), "b": np.sin(1.9 * t + 1.0), "c": np.sin(3.1 * t + 2.0)}
    total = np.zeros(n)
    for name, size in spec.items():
        total += size * waves[name]
    return total


def everything(values: FloatMatrix) -> Any:
    return np.ones(values.shape, dtype=np.bool_)


@example
def conversion(given: Given) -> Mapping[str, Any]:
    """A source's split-adjusted closes of consecutive sessions, one split."""
    closes = np.array(given["split_adjusted_close"])
    n = len(closes)
    of, ordinal, at = np.zeros(n, np.int64), np.arange(n), int(given["split_on_session"]) - 1
    splits = Events(np.array([0]), np.array([at]), np.array([given["split"]], dtype=np.float64))
    dividends = Events(np.array([0]), np.array([int(given["dividend_on_session"]) - 1]), np.array([given["dividend"]]))
    as_traded = closes * split_factor(of, ordinal, splits)
    nothing = np.full(n, np.nan)
    lists = np.ones(n, np.bool_)
    price_only, basis, _ = total_returns(
        of, ordinal, adj_close=nothing, split_close=closes, close=as_traded, lists_actions=~lists
    )
    actions, other, _ = total_returns(
        of,
        ordinal,
        adj_close=nothing,
        split_close=nothing,
        close=as_traded,
        splits=splits,
        dividends=dividends,
        lists_actions=lists,
    )
    assert (BASES[basis[1]], BASES[other[1]]) == ("price_only", "actions")
    return {"as_traded": as_traded, "price_only": price_only[1:], "actions": actions[1:]}


@example
def remarks(given: Given) -> Mapping[str, Any]:
    """Closes and adjusted closes of a source that lists actions."""
    closes, adjusted = np.array(given["close"]), np.array(given["adj_close"])
    n = len(closes)
    at = np.array([int(given["dividend_on_session"]) - 1])
    found = total_returns(
        np.zeros(n, np.int64),
        np.arange(n),
        adj_close=adjusted,
        split_close=closes,
        close=closes,
        dividends=Events(np.array([0]), at, np.array([given["dividend"]])),
        lists_actions=np.ones(n, np.bool_),
    )
    return {
        "total_return": found.value[1:],
        "return_basis": [BASES[code] for code in found.basis[1:]],
        "return_remark": [REMARKS[code] for code in found.remark[1:]],
        "adjusted_ratio": adjusted[1:] / adjusted[:-1] - 1,
        "close_ratio": closes[1:] / closes[:-1] - 1,
    }


@example
def market_beta(given: Given) -> Mapping[str, Any]:
    returns = {"SPY": series(given["market"], BETA_WINDOW), "X": series(given["symbol"], BETA_WINDOW)}
    names, of = chain.facts(returns, [BETA_WINDOW - 1])
    x = names.index("X")
    figures = dict(zip(("beta", "alpha", "r2", "stderr", "stderr_hac", "t_hac"), of.market[0, x].tolist(), strict=True))
    return {
        **figures,
        "lag": registry.hac_lag(BETA_WINDOW),
        "market_beta_shrunk": of.shrunk[0, x],
        "n_obs": of.n_obs[0, x],
    }


@example
def joint_set(given: Given) -> Mapping[str, Any]:
    """The proxies named, and the figures of one symbol."""
    returns = {name: series(spec, BETA_WINDOW) for name, spec in given["proxies"].items()}
    returns["X"] = series(given["symbol"], BETA_WINDOW)
    names, of = chain.facts(returns, [BETA_WINDOW - 1])
    x = names.index("X")
    table = of.geometry
    shown = {name: of.joint[0, x, k] for k, name in enumerate(FACTOR_NAMES)}
    b = {f"b_{name}": table.slopes[0, k] for k, name in enumerate(FACTOR_NAMES)}
    sigma = {f"sigma_{name}": table.sigmas[0, k] for k, name in enumerate(FACTOR_NAMES)}
    return {
        **shown,
        **b,
        **sigma,
        "stderr_quality": of.joint_stderr[0, x, FACTOR_NAMES.index("quality")],
        "ir_beta": of.ir_beta[0, x],
        "r2": of.fit[0, x, 0],
        "resid_sd": of.fit[0, x, 2],
    }


@example
def base_sessions(given: Given) -> Mapping[str, Any]:
    days = calendar().between(date(2018, 12, 3), given["session"])
    found = bases(np.array(days, dtype="datetime64[D]"), np.array([len(days) - 1]))[0]
    return {name: days[row].isoformat() for name, row in zip(registry.RETURN_HORIZONS, found.tolist(), strict=True)}


@example
def aggregation(given: Given) -> Mapping[str, Any]:
    """Holdings with known betas: the joint set of each is taken as given."""
    values, betas = given["values"], given["market_betas"]
    made = {name: np.zeros(LOOKBACK) for name in [*values, "SPY"]}
    made["SPY"] = series({"a": 0.01}, LOOKBACK)
    for name, beta in betas.items():
        made[name] = beta * made["SPY"] if beta is not None else np.full(LOOKBACK, np.nan)
    of = chain.pictured(chain.panel(made), Unit(given["nav"], values))[0]
    market = next(f for f in of.exposures["factors"] if f["factor"] == "market")
    weights = {p["symbol"]: p["weight"] for p in of.exposures["positions"]}
    return {"weights": weights, **{key: market[key] for key in ("beta", "money", "covered_weight")}}


@example
def ledger(given: Given) -> Mapping[str, Any]:
    """One lot through a split, a dividend and its exit."""
    of = given["lot"]
    days = tuple(calendar().between(of["entry_date"], of["exit_date"]))
    lot = Lot(
        "X", Decimal(str(of["quantity"])), of["entry_date"], Decimal(str(of["entry_price"])), of["exit_date"],
        Decimal(str(of["exit_price"])), number=1,
    )  # fmt: skip
    symbol = Symbol(
        "X",
        dict(zip(days, given["close"], strict=True)),
        splits=dict(given["splits"]),
        dividends=dict(given["dividends"]),
    )
    flows = {day: Decimal(str(money)) for day, money in given["flows"].items()}
    rows = run(World(days, {"X": symbol}, (Portfolio(Decimal(str(given["equity"])), (lot,), flows, 1),)))
    s = rows.snapshots

    def money(figure: Any) -> list[Decimal]:
        return [from_units(units) for units in figure[:, 0]]

    return {
        "quantity": rows.table.quantity[:, 0], "pnl": money(s.daily_pnl), "nav": money(s.nav), "cash": money(s.cash),
        "realized": money(s.realized_pnl), "dividends": money(s.dividends), "cumulative_pnl": money(s.cumulative_pnl),
        "daily_return": s.daily_return[:, 0], "cumulative_return": s.cumulative_return[:, 0], "drawdown": s.drawdown[:, 0],
    }  # fmt: skip


@example
def carried_prices(given: Given) -> Mapping[str, Any]:
    """A close that is missing while the adjusted one is there, then both, then neither."""
    days = tuple(calendar().between(date(2020, 3, 2), date(2020, 3, 31)))[: len(given["close"])]

    def known(values: Sequence[float | None]) -> dict[date, float]:
        return {day: value for day, value in zip(days, values, strict=True) if value is not None}

    lot = Lot("X", Decimal(10), days[0], Decimal(str(given["close"][0])), number=1)
    symbol = Symbol("X", known(given["close"]), known(given["adj_close"]))
    rows = run(World(days, {"X": symbol}, (Portfolio(Decimal(5000), (lot,), {}, 1),)))
    words = {0: "none", 1: "stale", 2: "unpriceable"}
    return {
        "price": rows.table.price[:, 0],
        "basis": [Basis(code).name.lower() for code in rows.table.basis[:, 0].tolist()],
        "reason": [words[code] for code in rows.table.reason[:, 0].tolist()],
        "coverage": rows.snapshots.coverage[:, 0],
    }


@example
def entry_basis(given: Given) -> Mapping[str, Any]:
    """Two statements of one purchase."""
    found: dict[str, Any] = {}
    for name in ("stated", "also"):
        of = given[name]
        position = Position(
            1,
            "X",
            Decimal(str(of["quantity"])),
            given["entry_date"],
            given["entry_date"],
            Decimal(str(of["entry_price"])),
            PUBLIC,
        )
        market = Stored(given["close"], None, tuple((day, float(ratio)) for day, ratio in given["splits"].items()))
        decision = decide(position, market, Issues())
        found |= {
            f"{name}_basis": decision.price_basis,
            f"{name}_quantity": decision.quantity,
            f"{name}_price": decision.entry_price,
        }
    return found


@example
def money_weighted(given: Given) -> Mapping[str, Any]:
    start = min(given["flows"])
    flows = [((day - start).days, float(amount)) for day, amount in sorted(given["flows"].items())]
    return {"xirr": xirr(flows, (given["session"] - start).days, float(given["nav"]))}


@example
def realized(given: Given) -> Mapping[str, Any]:
    r = series(given["returns"], LOOKBACK)[None]
    found = {
        f"realized_{w}": volatility.realized_volatility(r, everything(r), w)[0] for w in registry.VOLATILITY_WINDOWS
    }
    z = volatility.trend(r, everything(r))[0]
    return {
        **found, "percentile_252": volatility.percentile(r, everything(r))[0], "trend_z": z,
        "direction": volatility.direction(float(z)),
    }  # fmt: skip


@example
def forecast(given: Given) -> Mapping[str, Any]:
    r = series(given["returns"], LOOKBACK)[None]
    of = volatility.forecast(r, everything(r))
    assert of.har[0]
    return {
        "value": of.value[0], "low": of.low[0], "high": of.high[0], "variance": of.variance[0], "n_obs": of.n_obs[0],
        "ewma_variance": of.ewma_variance[0], "har_weight": of.weight[0], "har_value": of.har_value[0],
        "har_variance": of.har_variance[0],
    }  # fmt: skip


@example
def shrunk_correlation(given: Given) -> Mapping[str, Any]:
    values: FloatMatrix = np.vstack([series(spec, LOOKBACK) for spec in given["returns"].values()])
    sample: FloatMatrix = np.asarray(np.corrcoef(values[:, -252:]))
    of = covariance.covariance(
        covariance.columns(values, everything(values), everything(values)), np.arange(len(values))[None]
    )
    return {
        "sample": sample[0, 1], "shrinkage": of.shrinkage[0], "correlation": of.correlation[0, 0, 1],
        "sd": of.sd[0],
    }  # fmt: skip


@example
def euler(given: Given) -> Mapping[str, Any]:
    """Two holdings of known annual volatility and correlation."""
    rho, sd = float(given["correlation"]), np.array(given["volatility"]) / np.sqrt(252)
    of = Covariance(np.array([[[1.0, rho], [rho, 1.0]]]), sd[None], np.zeros(1), np.full((1, 2, 2), 252.0))
    parts = covariance.decompose(of, np.array([given["weights"]]))
    return {
        "volatility": parts.volatility[0], "contributions": parts.contributions[0], "shares": parts.shares[0],
        "diversification_ratio": parts.diversification_ratio[0], "effective_bets": parts.effective_bets[0],
    }  # fmt: skip


@example
def factor_shares(given: Given) -> Mapping[str, Any]:
    """One factor beside the market; daily variances."""
    sample = np.zeros((1, 8, 8))
    sample[0, 0, 0], sample[0, 1, 1] = given["market_sd"] ** 2, given["residual_sd"] ** 2
    available = np.zeros((1, 8), np.bool_)
    available[0, :2] = True
    beta = np.zeros((1, 8))
    beta[0, :2] = given["betas"]
    of = model_risk(sample, available, beta, np.array([given["weights"]]), np.array([given["resid_sd"]]))
    return {
        "model_vol": of.volatility[0],
        "market": of.shares[0, 0],
        "value": of.shares[0, 1],
        "specific": of.specific[0],
    }


@example
def value_at_risk(given: Given) -> Mapping[str, Any]:
    """The returns (k - 126.5)/10,000, k = 1 … 252, in any order."""
    r = ((np.arange(1, int(given["n"]) + 1) - 126.5) / 10_000)[None]
    padded = np.hstack([np.zeros((1, LOOKBACK - r.shape[1])), r])
    valid = np.hstack([np.zeros((1, LOOKBACK - r.shape[1]), np.bool_), everything(r)])
    found: dict[str, Any] = {}
    for line in tails(padded, valid, (float(given["level"]),)):
        found |= {f"{line.method}_var": line.var[0], f"{line.method}_es": line.es[0]}
    return found


@example
def realised_beta(given: Given) -> Mapping[str, Any]:
    m, r = series(given["market"], LOOKBACK)[None], series(given["portfolio"], LOOKBACK)[None]
    of = realized_beta(r, m, everything(r))
    return {"beta": of.beta[0], "r2": of.r2[0]}


@example
def par_bond(given: Given) -> Mapping[str, Any]:
    tenors = tuple(sorted(given["yields"]))
    curve = Curve(
        date(2016, 12, 30), tuple(map(float, tenors)), tuple(float(given["yields"][tenor]) for tenor in tenors)
    )
    of = bond_at_par(curve.at(float(given["maturity"])), float(given["maturity"]))
    return {"yield": of.yield_, "duration": of.duration, "convexity": of.convexity}


@example
def rate_shock(given: Given) -> Mapping[str, Any]:
    of = Duration(date(2020, 1, 1), float(given["duration"]), float(given["convexity"]))
    return {"up": of.proxy_return(float(given["basis_points"])), "down": of.proxy_return(-float(given["basis_points"]))}


@example
def stressed(given: Given) -> Mapping[str, Any]:
    """Direct shocks of market and quality on a long and a short, and a holding that hits the floor."""
    market, quality, b = (float(given[key]) for key in ("market", "quality", "b_quality"))
    both = [0, FACTOR_NAMES.index("quality")]
    shock = np.zeros((1, 8))
    shock[0, both] = market, quality - b * market
    betas = np.zeros((1, 3, 8))
    betas[0][:, both] = given["betas"]
    of = stress_losses.apply(np.array([given["values"]]), betas, shock[None])
    return {
        "residual_shock": shock[0, both[1]], "by_position": of.by_position[0, 0], "market_part": of.by_factor[0, 0, 0],
        "quality_part": of.by_factor[0, 0, both[1]], "total": of.money[0, 0],
    }  # fmt: skip


@example
def propagation(given: Given) -> Mapping[str, Any]:
    """The conditional mean of the market, given a shock of a style: one line of Σ_us Σ_ss⁻¹ s_s, and the cap."""
    quality = FACTOR_NAMES.index("quality")
    recent = np.zeros((1, 8, 8))
    recent[0, 0, 0], recent[0, quality, quality] = given["market_sd"] ** 2, given["residual_sd"] ** 2
    available = np.zeros((1, 8), np.bool_)
    available[0, [0, quality]] = True
    slopes = np.zeros((1, 8))
    slopes[0, [0, quality]] = 1.0, given["b_quality"]
    model = FactorModel(available, slopes, recent, recent, recent)
    shown: dict[str, Any] = {}
    for name, shock in (("mild", given["mild"]), ("extreme", given["extreme"])):
        scenario = Scenario("x", "x", {"quality": float(shock)}, None)
        of = stress.shocks(Scenarios((scenario,), ()), scenario, model, (date(2020, 1, 2),))
        shown |= {
            f"{name}_market": of.raw[0, 0],
            f"{name}_quality": of.raw[0, quality],
            f"{name}_residual": of.propagated[0, quality],
        }
        shown[f"{name}_capped"] = [FACTOR_NAMES[k] for k in np.flatnonzero(of.capped[0]).tolist()]
    return shown


@example
def concentrated(given: Given) -> Mapping[str, Any]:
    values = given["values"]
    of = concentration([list(values)], np.abs(np.array([list(values.values())], dtype=np.float64)))
    return {"hhi": of.hhi[0], "effective": of.effective[0], "top_3": of.top_3[0], "top_10": of.top_10[0]}


@example
def active_weights(given: Given) -> Mapping[str, Any]:
    """One holding a sector; the table goes through the check of the upload."""
    day = date(2020, 6, 30)
    table = rules.check("SP500", day, given["benchmark"], today=day)
    benchmark = Benchmark(table.code, table.date, dict(zip(table.sectors, table.weights, strict=True)))
    names = [str(gics(name)) for name in given["values"]]
    value, nav = np.array([list(given["values"].values())], dtype=np.float64), np.array([float(given["nav"])])
    of = sector_weights([names], np.maximum(value, 0.0), np.minimum(value, 0.0), nav, [benchmark], np.array([0]))
    figures = {"benchmark": of.benchmark, "net": of.net, "active": of.active}
    return {"stated_sum": table.stated_sum} | {
        figure: dict(zip(of.names, of_unit[0].tolist(), strict=True)) for figure, of_unit in figures.items()
    }


@example
def option(given: Given) -> Mapping[str, Any]:
    contract = parse_occ(given["contract"])
    assert contract is not None
    of = greeks(contract, given["session"], given["price"], given["underlying"])
    assert of is not None
    per_money = of.delta * given["underlying"] / given["price"]
    return {
        "volatility": of.volatility,
        "delta": of.delta,
        "gamma": of.gamma,
        "vega": of.vega,
        "theta": of.theta,
        "value": given["quantity"] * 100 * given["price"],
        "exposure": given["quantity"] * 100 * given["price"] * per_money,
    }


@example
def scored(given: Given) -> Mapping[str, Any]:
    """Returns of one size with alternating signs after the forecasts, and days of which some lost more than the VaR."""
    days = int(given["days"])
    forecasts, came = np.full((days + 1, WIDTH), np.nan), np.full(days + 1, float(given["daily_move"]))
    forecasts[:, [HAR, HAR_VARIANCE]] = given["volatility"], given["variance"]
    forecasts[:, HISTORICAL] = given["var"]
    calm = score(Record(forecasts, came))
    came[1 : 1 + int(given["losses"])] = -2 * given["var"]
    tail = score(Record(forecasts, came)).historical
    return {
        "qlike": calm.har.qlike,
        "mean_error": calm.har.mean_error,
        "exceedances": tail.count,
        "kupiec_lr": tail.lr,
        "p": tail.p,
        "christoffersen_lr": tail.independence_lr,
        "christoffersen_p": tail.independence_p,
        "zone": tail.zone,
    }


def range_of(returns: FloatVector, bill: float) -> Range:
    """Sessions without a hole from 2019-01-02 on, all covered, on a bill of one yield."""
    n = len(returns)
    first = calendar().on_or_after(date(2019, 1, 2))
    sessions = np.array(calendar().between(first, calendar().forward(first, n - 1)), dtype="datetime64[D]")
    daily = (1.0 + bill) ** (1.0 / registry.SESSIONS_A_YEAR) - 1.0
    return Range(sessions, returns, np.ones(n), True, np.full(n, daily), np.zeros(n, np.bool_))


@example
def performance(given: Given) -> Mapping[str, Any]:
    of = performances.measure(range_of(np.tile(given["returns"], given["times"]), given["bill"]))
    assert of.reasons == {}
    return {name: getattr(of, name) for name in PERFORMANCE_FIGURES}


PERFORMANCE_FIGURES = (
    "n_obs", "total_return", "annual_return", "volatility", "downside_deviation", "semi_deviation", "sharpe", "sortino",
    "max_drawdown", "calmar", "cdar_95", "skew", "kurtosis", "positive_share",
)  # fmt: skip


@example
def benchmark(given: Given) -> Mapping[str, Any]:
    n = given["n"]
    of = compare(range_of(series(given["book"], n), given["bill"]), series(given["market"], n))
    names = (
        "active_return",
        "tracking_error",
        "information_ratio",
        "beta",
        "alpha",
        "alpha_stderr_hac",
        "r2",
        "up_capture",
        "down_capture",
    )
    return {name: getattr(of, name) for name in names}


@example
def linked(given: Given) -> Mapping[str, Any]:
    capital = np.array(given["capital"], dtype=np.float64)
    pnl = np.column_stack([np.array(each, dtype=np.float64) for each in given["pnl"].values()])
    returns = pnl.sum(axis=1) / capital
    parts = attribution.add_up(pnl, capital, attribution.linking_coefficients(returns))
    return {
        "total_return": parts.contribution.sum(),
        "contribution": dict(zip(given["pnl"], parts.contribution.tolist(), strict=True)),
    }


@example
def liquidity(given: Given) -> Mapping[str, Any]:
    splits = np.ones((1, registry.ADV_WINDOW))
    splits[0, : given["sessions_before_the_split"]] = given["split"]
    of = liquidities.daily_volume(np.full(splits.shape, float(given["volume"])), splits)
    days = liquidities.days_to_sell(np.array([float(given["quantity"])]), of.mean, given["share"])
    return {"adv": of.mean[0], "days": days[0]}


@example
def replay(given: Given) -> Mapping[str, Any]:
    def laid_out(of: Mapping[str, float], rest: float) -> FloatVector:
        return np.array([of.get(name, rest) for name in FACTOR_NAMES])

    value = np.array([float(given["value"])])
    slopes = laid_out({"market": 1.0} | given["slopes"], np.nan)
    found = by_factors(value, value, laid_out(given["betas"], np.nan)[None], slopes, laid_out(given["shocks"], np.nan))
    return {
        "return": found.returns[0],
        "money": found.money[0],
        "by_factor": dict(zip(FACTOR_NAMES, found.factors.tolist(), strict=True)),
    }

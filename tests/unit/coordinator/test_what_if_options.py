"""What-if against the code that stored risk comes from, with options; and betas of what nobody holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from services.coordinator.compute.joint_fit import joint_betas, shrunk_beta
from services.coordinator.errors import Invalid
from services.coordinator.results import factor_returns, history, option_values, past_returns, what_if
from services.coordinator.results.book import Book, holding
from services.factors.compute.exposures import exposures
from services.risk.compute.inputs import Panel
from shared.arrays import FloatMatrix, FloatVector
from shared.market.curve import Curve
from shared.market.option_greeks import terms
from shared.market.option_terms import Terms
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, LOOKBACK, PROXY_COLUMNS, PROXY_SYMBOLS
from shared.market.symbols import Occ, parse_occ
from tests.support.risk import Answered
from tests.unit.risk import cases
from tests.unit.risk.test_options import CALL, KINDS, PRICE, PUT, SPOT, market, one

NAV = 100_000.0
DAY = date(2020, 1, 2)


def on_day(panel: Panel) -> Panel:
    """On a session of the calendar."""
    return replace(panel, sessions=(DAY,), close_days=(panel.close_days[0], DAY))


PANEL = on_day(market())


def book_of(of: Answered) -> Book:
    """As it is read of what risk stored; every lot is long or short as a whole."""
    lines = of.exposures["positions"]
    symbols = [line["symbol"] for line in lines]
    price = np.array([100 * PRICE[s]["price"] if s in KINDS else SPOT for s in symbols])
    value = np.array([line["weight"] for line in lines]) * NAV
    volatility = {line["symbol"]: line["greeks"]["implied_volatility"] for line in lines if line["greeks"]}
    return Book(
        envelope={"reasons": []}, session=DAY, nav=NAV, cash=NAV - float(value.sum()), symbols=symbols,
        holdings=[holding(symbol, {}) for symbol in symbols], quantity=value / price, value=value,
        bought=np.maximum(value / price, 0.0), gross_value=np.abs(value), old=np.zeros(len(symbols), np.bool_),
        exposure=number(line["exposure_value"] for line in lines),
        betas=np.array([number(line["betas"].values()) for line in lines]).reshape(-1, len(FACTOR_NAMES)),
        proxies=list(cases.PROXIES), terms={symbols.index(s): terms_of(s, v) for s, v in volatility.items()},
    )  # fmt: skip


def number(values: Iterable[float | None]) -> FloatVector:
    return np.array([math.nan if value is None else value for value in values])


def parse(symbol: str) -> Occ:
    contract = parse_occ(symbol)
    assert contract is not None
    return contract


def terms_of(symbol: str, volatility: float) -> Terms:
    return terms(parse(symbol), DAY, PRICE[symbol]["price"], SPOT, volatility)


@dataclass
class Stored:
    """In the place of the database: returns and facts of the panel, closes of its options."""

    panel: Panel

    def install(self, patch: pytest.MonkeyPatch, *, facts: Collection[str] = ("AAPL", "BBB")) -> None:
        panel, row = self.panel, self.panel.symbols.index

        async def closes(_: object, symbols: Sequence[str], session: object) -> dict[str, float]:
            return {s: PRICE[s]["price"] if s in KINDS else SPOT for s in symbols}

        async def ids(_: object, symbols: Sequence[str]) -> dict[str, int]:
            return {s: row(s) for s in symbols}

        async def of_facts(
            _: object, ids: dict[str, int], session: object
        ) -> tuple[dict[str, float], dict[str, FloatVector]]:
            known = [s for s in ids if s in facts]
            return {s: panel.shrunk[0, row(s)] for s in known}, {s: panel.joint[0, row(s)] for s in known}

        async def of_prices(_: object, column: str, rows: Sequence[int], sessions: Sized) -> FloatMatrix:
            return panel.returns[list(rows), -len(sessions) :].reshape(len(rows), len(sessions))

        async def two(
            _: object, session: object, roots: Mapping[str, str]
        ) -> tuple[list[Curve], dict[str, tuple[float, float]]]:
            known = panel.closes
            return [], {s: (PRICE[s]["price"], SPOT) for s, root in roots.items() if {row(s), row(root)} <= set(known)}

        async def proxies(_: object, days: Sized) -> tuple[list[list[str]], FloatMatrix]:
            return [list(cases.PROXIES)], panel.slopes

        patch.setattr(what_if, "_stored_closes", closes)
        patch.setattr(option_values, "_inputs", two)
        patch.setattr(past_returns, "facts", of_facts)
        patch.setattr(history, "find_symbol_ids", ids)
        patch.setattr(history, "of_prices", of_prices)
        patch.setattr(factor_returns, "find_proxies", proxies)


async def answer(of: Book, trades: Mapping[str, float]) -> dict[str, Any]:
    universe = await what_if._universe(None, of, dict(trades))  # type: ignore[arg-type]
    return what_if._answer(of, universe, dict(trades))


def agree(side: Mapping[str, Any], of: Answered) -> None:
    """One side of an answer is what risk stores of the same book."""
    for window in (21, 63, 252):
        name = f"realized_{window}"
        assert side["volatility"][name] == pytest.approx(of.risk["volatility"][name], rel=1e-10), name
    stored = {line["level"]: line for line in of.risk["var"] if line["method"] == "historical"}
    for line in side["var"]:
        known = stored[line["level"]]
        assert (line["var"], line["es"], line["n_obs"]) == pytest.approx(
            (known["var"], known["es"], known["n_obs"]), rel=1e-9
        )
    factors = {line["factor"]: line for line in of.exposures["factors"]}
    for line in side["factors"]:
        if line["factor"] != "growth":
            assert line["beta"] == pytest.approx(factors[line["factor"]]["beta"], rel=1e-9, abs=1e-12), line["factor"]
    assert side["coverage"] == pytest.approx(of.coverage)


HELD = {
    "a protective put": {"AAPL": 500.0, PUT: 5.0, "BBB": 300.0},
    "a covered call": {"AAPL": 500.0, CALL: -5.0},
    "naked puts": {PUT: -20.0},
    "a put that has no close": {"BBB": 900.0, PUT: 10.0},
    "shares alone": {"AAPL": 400.0, "BBB": -200.0},
    "nothing": {},
    "returns that are missing": {"AAPL": 400.0, "BBB": 300.0, PUT: 2.0},
    "a share without betas": {"AAPL": 700.0, "BBB": 100.0},
    "an option on a share without betas": {"AAPL": 10.0, PUT: -3.0, "BBB": 700.0},
}


def odd(name: str) -> Panel:
    panel = on_day(market(without=[PUT])) if "no close" in name else PANEL
    if "missing" in name:
        panel = cases.forget(cases.forget(panel, "BBB", 300, 340), cases.MARKET, 400, 401)
    if "without betas" in name:
        joint = panel.joint.copy()
        joint[:, panel.symbols.index("AAPL" if "option" in name else "BBB")] = np.nan
        panel = replace(panel, joint=joint)
    return panel


@pytest.mark.parametrize("name", HELD)
async def test_before_is_what_is_stored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = odd(name)
    Stored(panel).install(monkeypatch)
    of = one(panel, HELD[name])
    agree((await answer(book_of(of), {"SPY": 1.0}))["before"], of)


@pytest.mark.parametrize(
    ("held", "trades"),
    [
        ({"AAPL": 600.0, "BBB": 200.0}, {PUT: 6.0}),
        ({"BBB": 600.0}, {PUT: -10.0, CALL: 4.0}),
        ({"AAPL": 600.0, CALL: -3.0}, {CALL: -3.0, "BBB": -100.0}),
        ({"AAPL": 600.0, CALL: -3.0}, {CALL: 3.0}),
        ({}, {CALL: 5.0}),
    ],
)
async def test_after_is_what_would_be_stored_of_options_bought_new_too(
    held: dict[str, float], trades: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    Stored(PANEL).install(monkeypatch)
    found = await answer(book_of(one(PANEL, held)), trades)
    then = {s: q for s in {*held, *trades} if (q := held.get(s, 0.0) + trades.get(s, 0.0))}
    agree(found["after"], one(PANEL, dict(sorted(then.items()))))
    assert {r["figure"] for r in found["reasons"]} <= {"what_if.before.concentration"}
    line = next(t for t in found["trades"] if t["symbol"] == next(iter(trades)))
    assert line["price"] == pytest.approx(100 * PRICE[line["symbol"]]["price"])


@pytest.mark.parametrize("held", [{"AAPL": 900.0}, {"AAPL": 900.0, PUT: 1.0}])
async def test_an_option_that_nobody_knows_the_delta_of_withholds_what_would_come_of_it(
    held: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New or held: what is asked is what the trade does, and an answer without it would say that it does nothing."""
    panel = on_day(market(without=[PUT]))
    Stored(panel).install(monkeypatch)
    of = one(panel, held)
    found = await answer(book_of(of), {PUT: 1.0})
    agree(found["before"], of)
    after = found["after"]
    assert set(after["volatility"].values()) == {None}
    assert {line["var"] for line in after["var"]} == {line["beta"] for line in after["factors"]} == {None}
    assert after["hedge"] == {"symbol": "SPY", "quantity": None, "money": None}
    assert after["concentration"]["hhi"] is not None
    why = {r["figure"]: r["reason"] for r in found["reasons"]}
    assert set(why.values()) == {"no_delta"}
    assert {"what_if.after.volatility.realized_252", "what_if.after.var.historical.0.95", "what_if.after.hedge"} <= set(
        why
    )
    assert [r["symbol"] for r in found["reasons"] if r["figure"] == "what_if.exposure"] == [PUT]
    if PUT in held:
        closed = await answer(book_of(of), {PUT: -1.0})
        agree(closed["after"], one(panel, {"AAPL": 900.0}))


async def test_what_nobody_held_is_fitted_and_too_young_withholds_the_betas(monkeypatch: pytest.MonkeyPatch) -> None:
    of = book_of(one(PANEL, {"AAPL": 900.0}))
    Stored(PANEL).install(monkeypatch, facts=["AAPL"])
    found = await answer(of, {"BBB": 150.0})
    row = PANEL.symbols.index
    table = PANEL.returns[[row(proxy) for proxy in cases.PROXIES], -BETA_WINDOW:]
    fitted = joint_betas(PANEL.returns[row("BBB"), -BETA_WINDOW:], table)
    after = found["after"]["factors"][0]["beta"]
    assert after == pytest.approx(0.9 * PANEL.joint[0, row("AAPL"), 0] + 0.15 * fitted[0])
    assert found["after"]["hedge"]["money"] == pytest.approx(-after * NAV)
    assert (found["after"]["covered_weight"], found["reasons"]) == (1.0, [])
    young = cases.forget(PANEL, "BBB", 0, LOOKBACK - 63)
    Stored(young).install(monkeypatch, facts=["AAPL"])
    found = await answer(of, {"BBB": 150.0})
    assert {line["beta"] for line in found["after"]["factors"]} == {found["after"]["hedge"]["money"]} == {None}
    assert found["after"]["volatility"]["realized_252"] is not None, "of returns, under their own gate"
    assert {(r["figure"], r["reason"]) for r in found["reasons"] if r["symbol"] == "BBB"} == {
        ("what_if.exposure", "not_held")
    }
    assert {r["reason"] for r in found["reasons"]} == {"not_held"}


async def test_what_a_share_that_nobody_held_lacks_is_its_shrunk_beta_times_the_market(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As risk would fill it, had somebody held it; 1 times the market is for those without 63 returns."""
    row = PANEL.symbols.index
    young = cases.forget(PANEL, "BBB", 0, LOOKBACK - 120)
    Stored(young).install(monkeypatch, facts=["AAPL"])
    of = book_of(one(PANEL, {"AAPL": 900.0}, nav=NAV))
    universe = await what_if._universe(None, of, {"BBB": 150.0})  # type: ignore[arg-type]
    market_ = PANEL.returns[row(cases.PROXIES[0]), -LOOKBACK:]
    beta = shrunk_beta(young.returns[row("BBB"), -BETA_WINDOW:], market_[-BETA_WINDOW:])
    assert abs(beta - 1.0) > 0.01
    filled = universe.series.filled[universe.symbols.index("BBB")]
    np.testing.assert_allclose(filled[: LOOKBACK - 120], beta * market_[: LOOKBACK - 120], rtol=1e-12)


async def test_money_is_no_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the book has a line of it or not; a company of that ticker is traded by its price."""
    Stored(PANEL).install(monkeypatch)

    async def no_closes(*_: object) -> dict[str, float]:
        return {}

    of = book_of(one(PANEL, {"AAPL": 900.0}, nav=NAV))
    line = replace(of, symbols=["CASH"], holdings=[holding("CASH", {"class": "PUBLIC", "subtype": "CASH"})])
    with pytest.raises(Invalid, match="money is no trade") as refused:
        await what_if._universe(None, line, {"CASH": 100.0})  # type: ignore[arg-type]
    assert refused.value.status == 422
    monkeypatch.setattr(what_if, "_stored_closes", no_closes)
    for symbols, said in (({"AAA": 1.0, "USD": 5.0}, "USD is money"), ({"AAA": 1.0}, "No price of AAA is stored")):
        with pytest.raises(Invalid, match=said):
            await what_if._universe(None, of, symbols)  # type: ignore[arg-type]


def test_betas_of_what_nobody_holds_are_those_that_would_be_stored() -> None:
    chance = np.random.default_rng(3)
    length = BETA_WINDOW + 20
    market_ = chance.normal(0.0004, 0.01, length)
    returns = 0.9 * market_[:, None] + chance.normal(0.0, 0.006, (length, len(PROXY_COLUMNS)))
    returns[:, 0] = market_
    proxies = returns[:, : len(PROXY_SYMBOLS)]
    own = 1.1 * market_ + 0.4 * returns[:, 6] + chance.normal(0.0, 0.01, length)
    holed = own.copy()
    holed[-200:-190], holed[-150] = np.nan, np.nan
    young = np.where(np.arange(length) >= length - 100, own, np.nan)
    few = np.where(np.arange(length) >= length - 62, own, np.nan)
    still = np.zeros(length)
    columns = np.column_stack([own, holed, young, few, still])
    stored = exposures(columns, proxies, np.array([length - 1]))
    names = stored.geometry.symbols[0]
    table = np.full((len(FACTOR_NAMES), BETA_WINDOW), np.nan)
    for f, name in enumerate(names):
        if name is not None:
            legs = [proxies[-BETA_WINDOW:, PROXY_SYMBOLS.index(leg)] for leg in name.split("-")]
            table[f] = legs[0] - legs[1] if len(legs) == 2 else legs[0]
    assert sum(name is not None for name in names) == len(FACTOR_NAMES)
    for s in range(columns.shape[1]):
        found = joint_betas(columns[-BETA_WINDOW:, s], table)
        np.testing.assert_allclose(found, stored.joint[0, s], rtol=1e-9, atol=1e-11, equal_nan=True)
        shrunk = shrunk_beta(columns[-BETA_WINDOW:, s], table[0])
        np.testing.assert_allclose(shrunk, stored.shrunk[0, s], rtol=1e-9, atol=1e-11, equal_nan=True)
    assert np.isnan(joint_betas(own[-BETA_WINDOW:], np.where(np.arange(len(table))[:, None] == 0, np.nan, table))).all()
    without = table.copy()
    without[3, 5] = np.nan
    assert np.isnan(joint_betas(own[-BETA_WINDOW:], without)).tolist() == [k == 3 for k in range(len(table))]


def test_what_is_held_long_and_short_alike_moves_with_more_of_it() -> None:
    """Its value is 0 and says nothing: an option moves by its delta, a share one for one, with betas or without."""
    leverage = PRICE[PUT]["delta"] * SPOT / PRICE[PUT]["price"]
    nothing = np.zeros(2)
    of = Book(
        {}, DAY, NAV, NAV, [PUT, "YNG"], [holding(PUT, {}), holding("YNG", {})], nothing, nothing, np.ones(2),
        np.full(2, 2.0), np.zeros(2, np.bool_), nothing, np.full((2, 8), math.nan), [None] * 8,
        {0: terms(parse(PUT), cases.FIRST, PRICE[PUT]["price"], SPOT, 0.3)},
    )  # fmt: skip
    assert of.moves == pytest.approx([leverage, 1.0], rel=1e-9)
    assert np.isnan(replace(of, terms={}).moves).tolist() == [True, False]

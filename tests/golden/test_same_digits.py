"""Whatever is computed together, in whatever order and cut: every digit that would be stored is the same."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.factors.compute import Exposures, exposures
from services.risk.compute.inputs import Panel
from shared.arrays import FloatVector
from shared.market.registry import PROXY_SYMBOLS
from tests.support import chain
from tests.support.chain import Unit, pictured
from tests.support.examples import examples
from tests.support.risk import Answered
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, only, run, weekdays

STOCKS = [f"S{i}" for i in range(9)]
SESSIONS = 5
LENGTH = 504 + SESSIONS


@lru_cache(maxsize=1)
def returns() -> dict[str, FloatVector]:
    """Nine stocks, two of them with holes, one listed late."""
    made = chain.market(3, LENGTH, STOCKS)
    rng = np.random.default_rng(9)
    for symbol, share in (("S3", 0.05), ("S4", 0.3)):
        made[symbol] = np.where(rng.random(LENGTH) < share, np.nan, made[symbol])
    made["S5"] = np.where(np.arange(LENGTH) < LENGTH - 150, np.nan, made["S5"])
    return made


def digits(picture: Answered) -> str:
    return json.dumps([picture.quality, picture.coverage, picture.reasons, picture.exposures, picture.risk,
                       picture.correlations, picture.stress], allow_nan=False)  # fmt: skip


def portfolios(count: int, session: int) -> list[Unit]:
    made = []
    for p in range(count):
        draw = Random(p)
        held = draw.sample(STOCKS, 2 + p % 7)
        made.append(Unit(2000.0, {s: draw.uniform(-400, 900) * (1 + session / 40) for s in held}, p, session))
    return made


@lru_cache(maxsize=1)
def panel() -> Panel:
    return chain.panel(returns(), SESSIONS)


@lru_cache(maxsize=1)
def replay() -> dict[tuple[int, int], str]:
    """Every portfolio and session at once: what a backfill over all would store."""
    units = [unit for s in range(SESSIONS) for unit in portfolios(8, s)]
    return {(u.portfolio, u.session): digits(p) for u, p in zip(units, pictured(panel(), *units), strict=True)}


# --- facts of symbols ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def universe() -> Exposures:
    data, at = returns(), np.arange(LENGTH - SESSIONS, LENGTH)
    return exposures(np.column_stack([data[s] for s in STOCKS]), proxies(), at)


def proxies() -> np.ndarray:
    return np.column_stack([returns()[symbol] for symbol in PROXY_SYMBOLS])


def stored(of: Exposures, k: int, s: int) -> bytes:
    return b"".join(
        np.ascontiguousarray(figure[k, s]).tobytes()
        for figure in (of.market, of.shrunk, of.ir_beta, of.spreads, of.joint, of.fit, of.n_obs)
    )


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.sampled_from(STOCKS), min_size=1, unique=True), st.sets(st.integers(0, SESSIONS - 1), min_size=1))
def test_permuting_and_leaving_out_symbols_changes_no_digit_of_a_symbols_facts(
    symbols: list[str], rows: set[int]
) -> None:
    """A scoped run of some symbols and sessions, in any order, against the universe."""
    at = np.array(sorted(rows))
    scoped = exposures(np.column_stack([returns()[s] for s in symbols]), proxies(), at + LENGTH - SESSIONS)
    for place, symbol in enumerate(symbols):
        for k, row in enumerate(at.tolist()):
            assert stored(scoped, k, place) == stored(universe(), row, STOCKS.index(symbol)), symbol


def test_a_live_run_has_the_digits_of_a_replay() -> None:
    """Live, the later sessions do not exist yet: everything from the prices up to that night only, one session at a time."""
    for s in range(SESSIONS):
        known = {symbol: values[: LENGTH - SESSIONS + s + 1] for symbol, values in returns().items()}
        of = chain.panel(known, 1, labels=[panel().sessions[s]])
        for unit, picture in zip(
            portfolios(8, s), pictured(of, *(Unit(u.nav, u.values, u.portfolio) for u in portfolios(8, s))), strict=True
        ):
            assert digits(picture) == replay()[unit.portfolio, s], (unit.portfolio, s)


@settings(max_examples=examples(10), deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 8 * SESSIONS))
def test_permuting_portfolios_and_batches_changes_no_digit(chance: Random, size: int) -> None:
    """Any of the units, in any order, cut into batches of any size."""
    units = [unit for s in range(SESSIONS) for unit in portfolios(8, s)]
    chance.shuffle(units)
    for low in range(0, min(len(units), 3 * size), size):
        part = units[low : low + size]
        for unit, picture in zip(part, pictured(panel(), *part), strict=True):
            assert digits(picture) == replay()[unit.portfolio, unit.session]


def test_a_scoped_run_has_the_digits_of_the_universe_run() -> None:
    """One portfolio with only its own symbols and the proxies in memory."""
    for unit in portfolios(8, SESSIONS - 1):
        own = {s: v for s, v in returns().items() if s in unit.values or s in PROXY_SYMBOLS}
        of = chain.panel(own, SESSIONS)
        assert digits(pictured(of, unit)[0]) == replay()[unit.portfolio, SESSIONS - 1]


# --- the ledger --------------------------------------------------------------------------------------------------------

DAYS = weekdays(date(2019, 12, 16), 16)


@lru_cache(maxsize=1)
def world() -> World:
    chance = Random(4)
    known = {
        name: Symbol(
            name,
            {day: round(chance.uniform(5, 300), 4) for day in DAYS if chance.random() > 0.15},
            dividends={chance.choice(DAYS): 0.37},
            splits={chance.choice(DAYS): 3.0},
        )
        for name in ("AAA", "BBB", "CCC")
    }
    made = []
    for p in range(5):
        lots = []
        for k in range(4):
            entry = DAYS[0] + timedelta(days=0 if k == 0 else chance.randint(0, 18))
            lots.append(
                Lot(
                    chance.choice(list(known)), Decimal(chance.randint(-90_000, 90_000) or 1).scaleb(-2), entry,
                    Decimal(chance.randint(1, 10**7)).scaleb(-4), number=10 * p + k + 1,
                )
            )  # fmt: skip
        made.append(Portfolio(Decimal(40_000), tuple(lots), {DAYS[3]: Decimal(100 * p)}, p + 1))
    return World(DAYS, known, tuple(made))


def ledger_digits(rows: Rows, row: int, portfolio: int) -> list[bytes]:
    place = rows.inputs.portfolios.portfolio_id.index(
        next(i for i in rows.inputs.portfolios.portfolio_id if i.int == portfolio)
    )
    return [
        np.ascontiguousarray(getattr(rows.snapshots, name)[row, place]).tobytes() for name in rows.snapshots.__slots__
    ]


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, unique=True), st.sets(st.integers(1, len(DAYS) - 1), max_size=3))
def test_any_portfolios_in_any_cut_of_the_sessions_have_the_ledger_of_the_replay(
    some: list[int], cuts: set[int]
) -> None:
    """Night after night from the stored row, or all sessions in one go; alone or together."""
    whole, part = run(world()), only(world(), *some)
    edges = [0, *sorted(cuts), len(DAYS)]
    rows: Rows | None = None
    for low, high in pairwise(edges):
        rows = run(part, low, high - 1, after=rows)
        for row in range(high - low):
            for number in some:
                assert ledger_digits(rows, row, number) == ledger_digits(whole, low + row, number)

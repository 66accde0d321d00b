"""The arithmetic alone, ours against the same figures written plainly with statsmodels and pandas: regressions and volatilities.

What is slow is done for some symbols or portfolios and scaled by their number, since each costs the same. Results are compared, all of
those that the plain version made, and must be equal within 1e-12; ours makes more than the plain versions do, and that is in its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from uuid import UUID

import numpy as np
import pandas as pd
import statsmodels.api as sm

from services.factors.compute import Exposures, exposures
from services.risk.compute import series, volatility
from services.risk.compute.inputs import Book, Panel, portfolio_groups
from shared.arrays import FloatMatrix, FloatVector
from shared.market.registry import (
    BETA_WINDOW,
    EWMA_DECAY,
    FACTORS,
    LOOKBACK,
    PERCENTILE_HISTORY,
    PROXY_SYMBOLS,
    SPREADS,
    TREND_WINDOW,
    VOLATILITY_WINDOWS,
)
from tests.bench.measured import Found, Measured, of_repetitions
from tests.support import chain
from tests.unit.risk import cases

SYMBOLS, SESSIONS, PLAIN_SYMBOLS, GAPPED = 1193, 500, 40, 0.1
PORTFOLIOS, HELD, UNIVERSE, PLAIN_PORTFOLIOS = 10_000, 30, 500, 100
EQUAL = 1e-12
REPETITIONS = 5
GROUP = 500  # portfolios whose series are in memory at once


def seconds(work: Callable[[], object], times: int = REPETITIONS) -> list[float]:
    """Of the clock, after one run that fills caches."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found[1:]


def market(symbols: int, sessions: int, *, gaps: bool) -> tuple[FloatMatrix, FloatMatrix]:
    """Returns of the symbols and of the proxies over two years before and the sessions; a tenth of the symbols lack two percent."""
    names = [f"S{number:04d}" for number in range(symbols)]
    made = chain.market(7, BETA_WINDOW + sessions, names)
    own = np.column_stack([made[name] for name in names])
    if gaps:
        rng = np.random.default_rng(3)
        some = rng.random(symbols) < GAPPED
        own[(rng.random(own.shape) < 0.02) & some] = np.nan
    return own, np.column_stack([made[name] for name in PROXY_SYMBOLS])


def plain_betas(own: FloatMatrix, proxies: FloatMatrix) -> FloatMatrix:
    """(symbols, 6) market, rates and spread betas at the last session, one regression with statsmodels a symbol and factor."""
    first = {factor.name: factor.proxies[0] for factor in FACTORS}
    column = {name: proxies[-BETA_WINDOW:, PROXY_SYMBOLS.index(proxy)] for name, proxy in first.items()}
    designs = [
        pd.DataFrame({"market": column["market"]}),
        pd.DataFrame({"rates": column["rates"], "market": column["market"]}),
        *(pd.DataFrame({s.name: column[s.long] - column[s.short], "market": column["market"]}) for s in SPREADS),
    ]
    found = np.empty((own.shape[1], len(designs)))
    for row, returns in enumerate(own[-BETA_WINDOW:].T):
        y = pd.Series(returns)
        there = y.notna()
        for at, design in enumerate(designs):
            found[row, at] = sm.OLS(y[there], sm.add_constant(design[there])).fit().params.iloc[1]
    return found


def betas(of: Exposures, session: int = -1) -> FloatMatrix:
    """(symbols, 6) what `plain_betas` makes, from ours."""
    return np.column_stack([of.market[session, :, 0], of.ir_beta[session], of.spreads[session, :, :, 0]])


def regressions(symbols: int = SYMBOLS, plain: int = PLAIN_SYMBOLS) -> list[Measured]:
    """One session of all symbols: ours, which also has the errors and the joint regression, against the loop."""
    own, proxies = market(symbols, 1, gaps=False)
    last = np.array([len(own) - 1], dtype=np.int64)
    ours = seconds(lambda: exposures(own, proxies, last))
    some = own[:, :plain]
    loop = [taken * symbols / plain for taken in seconds(lambda: plain_betas(some, proxies), 1)]
    apart = np.abs(betas(exposures(own, proxies, last))[:plain] - plain_betas(some, proxies)).max()
    assert apart < EQUAL, f"betas differ by {apart}"
    return [
        _ratio(
            "monolith-shape regressions", loop, ours, 8000.0,
            f"{symbols:,} symbols, one session: statsmodels {median(loop):.2f} s (of {plain}, scaled), ours {median(ours) * 1e3:.1f} ms",
        )
    ]  # fmt: skip


def rolling(symbols: int = SYMBOLS, sessions: int = SESSIONS) -> list[Measured]:
    """Every session of all symbols, with gaps; some sessions compared with each alone and with the plain loop."""
    own, proxies = market(symbols, sessions, gaps=True)
    at = np.arange(len(own) - sessions, len(own), dtype=np.int64)
    taken = seconds(lambda: exposures(own, proxies, at), 3)
    of = exposures(own, proxies, at)
    for k in (0, sessions // 2, sessions - 1):
        alone = exposures(own, proxies, at[k : k + 1])
        assert np.array_equal(betas(alone), betas(of, k), equal_nan=True), f"session {k} differs from itself alone"
        gapped = np.flatnonzero(np.isnan(own[at[k] + 1 - BETA_WINDOW : at[k] + 1]).any(axis=0))[:3]
        apart = np.abs(betas(of, k)[gapped] - plain_betas(own[: at[k] + 1, gapped], proxies[: at[k] + 1])).max()
        assert apart < EQUAL, f"session {k}: betas differ by {apart}"
    note = f"{symbols:,} symbols, {GAPPED:.0%} of them with gaps; with errors, spreads and the joint regression"
    return [
        of_repetitions("arithmetic", f"{symbols:,} × {sessions} rolling with gaps", taken, "s", goal=0.1, note=note)
    ]


def _positions(portfolios: int, symbols: int) -> tuple[Panel, Book]:
    """Portfolios of thirty out of the symbols, one session, as the risk phase has them."""
    names = [f"S{number:03d}" for number in range(symbols)]
    panel = cases.panel(names)
    draw = np.random.default_rng(1)
    places = np.array([panel.symbols.index(name) for name in names])
    rows = np.sort(places[np.argsort(draw.random((portfolios, symbols)), axis=1)[:, :HELD]], axis=1).ravel()
    value = draw.uniform(50.0, 400.0, len(rows)) * np.where(draw.random(len(rows)) < 0.2, -1.0, 1.0)
    book = Book(
        portfolios=tuple(UUID(int=number + 1) for number in range(portfolios)),
        portfolio=np.arange(portfolios, dtype=np.int64),
        session=np.zeros(portfolios, dtype=np.int64),
        nav=np.full(portfolios, 9000.0),
        starts=np.arange(portfolios + 1, dtype=np.int64) * HELD,
        rows=rows,
        long=np.maximum(value, 0.0),
        short=np.minimum(value, 0.0),
        unpriceable=np.zeros(len(rows), dtype=np.bool_),
        sectors=("Energy",) * len(rows),
        underlyings=(),
        history={},
    )
    return panel, book


def our_volatilities(panel: Panel, book: Book) -> FloatMatrix:
    """(portfolios, figures) realised volatilities by window, the percentile, and the EWMA's, from holdings to figures."""
    found = np.empty((len(book.portfolios), len(VOLATILITY_WINDOWS) + 2))
    for group in portfolio_groups(book, np.arange(len(book.portfolios)), most=GROUP):
        filled = series.fill(panel, np.repeat(group.sessions, HELD), group.source.ravel())
        of = series.portfolio_series(filled, group)
        valid = np.ones(of.shape, dtype=np.bool_)
        columns = [volatility.realized_volatility(of, valid, window) for window in VOLATILITY_WINDOWS]
        columns += [volatility.percentile(of, valid), np.sqrt(volatility.ewma(of, valid)[0])]
        found[group.units] = np.column_stack(columns)
    return found


def plain_volatilities(returns: pd.DataFrame, weights: Sequence[pd.Series[float]]) -> FloatMatrix:
    """The same, a portfolio at a time, with pandas."""
    found = []
    for weight in weights:
        of = (returns[weight.index] * weight).sum(axis=1)
        month = of.rolling(TREND_WINDOW).std()
        earlier = month.iloc[-PERCENTILE_HISTORY - 1 : -1]
        average = (of**2).ewm(alpha=1 - EWMA_DECAY, adjust=True).mean().iloc[-1]
        found.append(
            [
                *(of.rolling(window).std().iloc[-1] * np.sqrt(252) for window in VOLATILITY_WINDOWS),
                (earlier < month.iloc[-1]).mean(),
                np.sqrt(252 * average),
            ]
        )
    return np.array(found)


def volatilities(
    portfolios: int = PORTFOLIOS, plain: int = PLAIN_PORTFOLIOS, universe: int = UNIVERSE
) -> list[Measured]:
    """Of portfolios of thirty, returns of each symbol once on both sides."""
    panel, book = _positions(portfolios, universe)
    ours = seconds(lambda: our_volatilities(panel, book), 3)
    frame = pd.DataFrame(panel.returns[:, -LOOKBACK:].T, columns=list(panel.symbols))
    value = (book.long + book.short).reshape(portfolios, HELD) / book.nav[:, None]
    names = np.array(panel.symbols)[book.rows.reshape(portfolios, HELD)]
    weights = [pd.Series(value[i], index=names[i]) for i in range(plain)]
    loop = [taken * portfolios / plain for taken in seconds(lambda: plain_volatilities(frame, weights), 1)]
    apart = np.abs(our_volatilities(panel, book)[:plain] - plain_volatilities(frame, weights)).max()
    assert apart < EQUAL, f"volatilities differ by {apart}"
    note = f"{portfolios:,} × {HELD}: pandas {median(loop):.1f} s (of {plain}, scaled), ours {median(ours):.2f} s"
    return [_ratio("volatilities against pandas", loop, ours, 700.0, note)]


def _ratio(what: str, slow: Sequence[float], fast: FloatVector | Sequence[float], goal: float, note: str) -> Measured:
    base = median(slow)
    return of_repetitions("arithmetic", what, [base / one for one in fast], "×", goal=goal, sense="at least", note=note)


def run() -> Found:
    return Found([*regressions(), *rolling(), *volatilities()])

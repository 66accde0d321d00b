"""What the scorecard is made of (docs/methods.md, scorecard): the forecasts of a session, and what came of the weights before it.

Both are stored with their session and rest on nothing after it, so they are the same computed live or replayed, and whatever
order sessions complete in. The coordinator pairs them when the scorecard is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.risk.compute.greeks import deltas
from services.risk.compute.inputs import Book, Panel, has_series
from services.risk.compute.tail import Tail
from services.risk.compute.volatility import Forecast
from shared.arrays import FloatVector
from shared.market import layouts
from shared.market.registry import COVERAGE_GATE, LOOKBACK


def scored_forecasts(forecast: Forecast, tails: Sequence[Tail], covered: FloatVector) -> list[FloatVector]:
    """By unit what `layouts.FORECASTS` names, as it is answered: NaN where it is withheld, or the HAR is not in it.

    Annualised volatility and variances; VaR of one day as a positive fraction of NAV.
    """
    har = forecast.har & np.isfinite(forecast.value)
    columns = {
        "har": np.where(har, forecast.har_value, np.nan),
        "har_variance": np.where(har, forecast.har_variance, np.nan),
        "ewma_variance": forecast.ewma_variance,
        "answered": forecast.value,
        "answered_variance": forecast.variance,
        "low": forecast.low,
        "high": forecast.high,
    } | {layouts.scored_var(tail.method, tail.level): tail.var for tail in tails}
    table = np.stack([columns[name] for name in layouts.FORECASTS], axis=-1)
    return list(np.where((covered >= COVERAGE_GATE)[:, None] & np.isfinite(table), table, np.nan))


def realized_returns(panel: Panel, book: Book) -> FloatVector:
    """(U,) w_{D-1} · r_D: the return on each unit's session of what was held at the close before, cash included.

    A missing return is filled as in the series, by `market_beta_shrunk` at D (else 1.0) times the market's; private holdings and
    options without a delta contribute 0; an option is revalued in full at its volatility of D-1, as in the value at risk that this is
    compared with. NaN without a snapshot of D-1 or a positive NAV, without a market return, or with real returns behind less than 80 %
    of gross value.
    """
    before, count = book.before, len(book.nav)
    if before is None:
        return np.full(count, np.nan)
    owner = np.repeat(np.arange(count), np.diff(before.starts))
    session = book.session[owner]
    source, leverage, moved = before.rows, np.ones(len(before.rows)), None
    if before.underlying_rows:
        moved = deltas(panel, before.rows, before.underlying_rows, session)
        source, leverage = moved.source, moved.leverage
    own = panel.returns[source, session + LOOKBACK - 1]
    proxy = panel.proxies[:, 0]
    markets = np.where(proxy >= 0, panel.returns[proxy, np.arange(len(proxy)) + LOOKBACK - 1], np.nan)
    kind = panel.kinds[source]
    own_series = has_series(kind)
    real = np.isfinite(own) & own_series
    beta = panel.shrunk[session, source]
    beta = np.where(np.isfinite(beta) & own_series, beta, 1.0)
    filled = np.where(real, own, np.where(own_series, beta * markets[session], 0.0))
    for holding, terms in {} if moved is None else moved.terms.items():
        if leverage[holding] != 0.0 and np.isfinite(filled[holding]):
            filled[holding] = terms.returns(filled[holding : holding + 1])[0] / leverage[holding]
    nav = np.where(before.nav > 0.0, before.nav, np.nan)
    # Added up in the holdings' order, which is the symbols': no digit depends on the units beside it.
    total = np.bincount(owner, weights=before.value * leverage / nav[owner] * filled, minlength=count)
    gross = np.bincount(owner, weights=before.gross, minlength=count)
    backed = np.bincount(owner, weights=np.where(real & ~before.unpriceable, before.gross, 0.0), minlength=count)
    covered = np.divide(backed, gross, out=np.ones(count), where=gross > 0.0)
    known = np.isfinite(nav) & np.isfinite(markets[book.session]) & (covered >= COVERAGE_GATE)
    return np.where(known, total, np.nan)

"""The risk document: volatility, beta, decomposition, VaR, drawdown, concentration, sectors."""

from __future__ import annotations

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.concentration import concentration
from services.risk.compute.correlations import Structure
from services.risk.compute.factor_model import FactorModel, model_risk
from services.risk.compute.inputs import PUBLIC, Book, Panel, Stack
from services.risk.compute.reasons import (
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_BENCHMARK,
    NO_HOLDINGS,
    NO_PROXY,
    ZERO_VARIANCE,
    Document,
    Reasons,
    nullable,
    symbol_reason,
)
from services.risk.compute.sectors import sector_weights
from services.risk.compute.series import Filled, coverage
from services.risk.compute.series_report import PERCENTILE_WINDOW, YEAR, PairFigures, series_figures
from shared.arrays import FloatVector, IntVector
from shared.market.registry import COVERAGE_GATE, FACTOR_NAMES, LOOKBACK

# Nothing to score before forecasts have passed their horizon; the keys stand so that readers need no second shape.
NO_SCORECARD: Document = {
    "har_qlike": None,
    "ewma_qlike": None,
    "mean_error": None,
    "var_95": {"n": 0, "exceedances": 0, "kupiec_lr": None, "p": None},
}


def risk_documents(
    panel: Panel,
    book: Book,
    model: FactorModel,
    stack: Stack,
    filled: Filled,
    pairs: PairFigures,
    joint: Exposures,
    structures: dict[int, Structure],
    drawdowns: dict[int, tuple[Document, str | None]],
    nav_volatility: FloatVector,
    reasons: list[Reasons],
) -> tuple[list[Document], FloatVector]:
    """One document a unit of the stack, and each unit's coverage over 252 sessions."""
    index = filled.find(stack.sessions[:, None], stack.rows)
    # A price that is no longer evidence covers nothing, whatever returns it once had.
    counted = np.where(book.unpriceable[stack.holdings], 0.0, 1.0)
    covered = {window: coverage(stack.gross, share[index] * counted) for window, share in pairs.shares.items()}
    whole = series_figures(panel, stack, filled, joint, covered, nav_volatility, reasons)
    resid = np.where(np.isfinite(joint.betas[:, :, 0]), panel.resid_sd[stack.sessions[:, None], stack.rows], np.nan)
    by_model = model_risk(
        model.sample[stack.sessions], model.available[stack.sessions], joint.beta, stack.weight, resid
    )
    model_vol, model_shares, specific = (
        nullable(by_model.volatility),
        nullable(by_model.shares),
        nullable(by_model.specific),
    )
    documents: list[Document] = []
    for i, u in enumerate(stack.units.tolist()):
        s, why, structure = int(stack.sessions[i]), reasons[i], structures[u]
        _name_culprits(panel, book, stack, i, index, pairs, covered, why)
        decomposition = dict(structure.decomposition)
        decomposition["model_vol"] = model_vol[i]
        decomposition["specific_share"] = specific[i]
        decomposition["factors"] = [
            {"factor": name, "share": model_shares[i][k]}
            for k, name in enumerate(FACTOR_NAMES)
            if model.available[s, k]
        ]
        _explain_decomposition(decomposition, why, positive=stack.nav[i] > 0.0, market=bool(panel.proxies[s, 0] >= 0))
        drawdown, missing = drawdowns[u]
        if missing is not None:
            why.add(missing, figure="drawdown")
        documents.append(
            {
                "volatility": whole.volatility[i],
                "positions": _positions(panel, stack, i, index, pairs),
                "beta": whole.beta[i],
                "decomposition": decomposition,
                "var": whole.var[i],
                "drawdown": drawdown,
                "concentration": _concentration(book, stack, i, structure, why),
                "sectors": _sectors(book, stack, i, why),
                "benchmark_date": None,
                "scorecard": NO_SCORECARD,
            }
        )
    return documents, covered[YEAR]


def _name_culprits(
    panel: Panel,
    book: Book,
    stack: Stack,
    i: int,
    index: IntVector,
    pairs: PairFigures,
    covered: dict[int, FloatVector],
    why: Reasons,
) -> None:
    """Name the holdings that fall short in the last 252 sessions, or in a longer window where that withholds a figure."""
    windows = [YEAR, *(window for window in (PERCENTILE_WINDOW, LOOKBACK) if covered[window][i] < COVERAGE_GATE)]
    s = int(stack.sessions[i])
    for window in windows:
        share = pairs.shares[window][index[i]]
        old = book.unpriceable[stack.holdings[i]]
        for j in np.flatnonzero((share < 1.0) | old).tolist():
            row = int(stack.rows[i, j])
            why.add(symbol_reason(panel, s, row, window, unpriceable=bool(old[j])), symbol=panel.symbols[row])


def _positions(panel: Panel, stack: Stack, i: int, index: IntVector, pairs: PairFigures) -> list[Document]:
    documents = []
    for row, at in zip(stack.rows[i].tolist(), index[i].tolist(), strict=True):
        public = panel.kinds[row] == PUBLIC
        realized, forecast = (pairs.realized_252[at], pairs.forecast[at]) if public else (None, None)
        method = None if forecast is None else "har" if pairs.har[at] else "ewma"
        reason = None
        if realized is None or forecast is None:
            reason = symbol_reason(panel, int(stack.sessions[i]), row, LOOKBACK, unpriceable=False)
        documents.append(
            {
                "symbol": panel.symbols[row],
                "realized_252": realized,
                "forecast_21": forecast,
                "method": method,
                "reason": reason,
            }
        )
    return documents


def _explain_decomposition(document: Document, why: Reasons, *, positive: bool, market: bool) -> None:
    if document["volatility"] is None:
        empty = not document["contributions"] and not document["excluded"]
        reason = NO_HOLDINGS if empty else NAV_NOT_POSITIVE if not positive else LOW_COVERAGE
        why.add(reason, figure="decomposition")
    elif document["diversification_ratio"] is None:
        why.add(ZERO_VARIANCE, figure="decomposition.shares")
    if document["model_vol"] is None:
        why.add(
            NAV_NOT_POSITIVE if not positive else NO_PROXY if not market else LOW_COVERAGE,
            figure="decomposition.model_vol",
        )


def _concentration(book: Book, stack: Stack, i: int, structure: Structure, why: Reasons) -> Document:
    names = [book.underlyings[holding] for holding in stack.holdings[i].tolist()]
    of = concentration(names, stack.gross[i].tolist())
    if of.hhi is None:
        why.add(NO_HOLDINGS, figure="concentration")
    elif structure.risk_hhi is None:
        why.add(LOW_COVERAGE if structure.covered < COVERAGE_GATE else ZERO_VARIANCE, figure="concentration.risk_hhi")
    return {
        "hhi": of.hhi,
        "effective": of.effective,
        "top_3": of.top_3,
        "top_10": of.top_10,
        "risk_hhi": structure.risk_hhi,
    }


def _sectors(book: Book, stack: Stack, i: int, why: Reasons) -> list[Document]:
    held = stack.holdings[i]
    names = [book.sectors[h] for h in held.tolist()]
    weights = sector_weights(names, book.long[held].tolist(), book.short[held].tolist(), float(stack.nav[i]))
    if weights:
        why.add(NO_BENCHMARK, figure="sectors.active")
        if not stack.nav[i] > 0.0:
            why.add(NAV_NOT_POSITIVE, figure="sectors")
    return [
        {
            "sector": weight.sector,
            "long": weight.long,
            "short": weight.short,
            "net": weight.net,
            "gross": weight.gross,
            "benchmark": None,
            "active": None,
        }
        for weight in weights
    ]

"""The risk document (volatility, beta, decomposition, VaR, drawdown, concentration, sectors) and the columns beside it."""

from __future__ import annotations

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.by_factor import es_factors, reverse_stress
from services.risk.compute.concentration import concentration
from services.risk.compute.correlations import FactorLabels, Structure
from services.risk.compute.covered_only import RealOf, covered_only, covered_series
from services.risk.compute.depth import Depth
from services.risk.compute.factor_model import FactorModel, ModelRisk, model_risk
from services.risk.compute.inputs import OPTION, Book, Panel, PortfolioGroup, has_series
from services.risk.compute.pairs import Pairs
from services.risk.compute.reasons import (
    IMPLAUSIBLE,
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_BENCHMARK,
    NO_HOLDINGS,
    NO_PROXY,
    NO_SERIES,
    SHORT_HISTORY,
    WITH_UNDERLYING,
    ZERO_VARIANCE,
    Columns,
    Document,
    Reasons,
    nullable,
    symbol_reason,
    texts,
    to_rows,
)
from services.risk.compute.revaluation import full_returns
from services.risk.compute.sectors import sector_weights
from services.risk.compute.series import coverage
from services.risk.compute.series_report import PERCENTILE_WINDOW, YEAR, SeriesFigures, market_of, series_figures
from services.risk.compute.tail import NavVolatility
from services.risk.compute.tail_parts import ReturnsOf, es_parts
from shared.arrays import FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import COVERAGE_GATE, IMPLAUSIBLE_SIGMAS, LOOKBACK

SECTOR_FIGURES = ("long", "short", "net", "gross", "benchmark", "active")


def risk_documents(
    panel: Panel,
    book: Book,
    model: FactorModel,
    labels: FactorLabels,
    stack: PortfolioGroup,
    pairs: Pairs,
    series: FloatMatrix,
    depth: Depth,
    returns: ReturnsOf,
    real: RealOf | None,
    joint: Exposures,
    structures: list[Structure],
    drawdowns: list[tuple[Document, str | None]],
    nav_volatility: NavVolatility,
    reasons: list[Reasons],
) -> tuple[list[Document], Columns, FloatVector]:
    """One document and one value of each column a unit of the stack, and each unit's coverage over 252 sessions.

    series : (g, LOOKBACK) returns of the units with the weights of their sessions. depth : how far back they rest on real ones.
    returns : of a unit's holdings. real : which of them are the holdings' own; None: all.
    """
    index = pairs.find(stack.sessions[:, None], stack.source)
    # A price that is no longer evidence covers nothing, whatever returns it once had.
    counted = priced_share(book, stack)
    covered = {window: coverage(stack.gross, share[index] * counted) for window, share in pairs.shares.items()}
    in_full, own = full_returns(book, stack, series, returns)
    whole = series_figures(panel, stack, series, in_full, joint, covered, depth, nav_volatility, reasons)
    alone = covered_series(stack, counted, real, returns, own)
    on_covered = covered_only(panel, stack, whole, alone, covered, depth, reasons)
    by_model = _by_model(panel, model, stack, joint)
    model_vol, specific = nullable(by_model.volatility), nullable(by_model.specific)
    model_shares = to_rows(by_model.shares)
    _record_symbol_reasons(panel, book, stack, index, pairs, covered | {LOOKBACK: depth.covered}, reasons)
    priced = coverage(stack.gross, counted)
    sectors = _sectors(panel, book, stack, priced, reasons)
    concentrations = _concentrations(book, stack, structures, priced, reasons)
    columns = _positions(panel, stack, index, pairs) | {"forecasts": whole.forecasts}
    since = depth.of(market_of(panel, stack)[1])
    parts = es_parts(stack, in_full, since, own)
    shortfall = es_factors(panel, model, stack, in_full, since, joint.beta, *whole.shortfall)
    reverse = reverse_stress(model, stack, joint.beta)
    columns["tail_parts"] = _known_parts(panel, stack, parts, depth)
    positive, market = (stack.nav > 0.0).tolist(), (panel.proxies[stack.sessions, 0] >= 0).tolist()
    documents: list[Document] = []
    for i, structure in enumerate(structures):
        why = reasons[i]
        decomposition = structure.decomposition | {"model_vol": model_vol[i], "specific_share": specific[i]}
        _explain_matrix(panel, stack.rows[i], structure, why)
        _explain_decomposition(
            decomposition, why, empty=stack.rows.shape[1] == 0, positive=positive[i], market=market[i]
        )
        tail: Document = {"covered_only": on_covered[i], "es_factors": shortfall[i], "reverse_stress": reverse[i]}
        known = bool(np.isfinite(joint.beta[i, 0]))
        _explain_tail(
            tail, why, known=known, deep=known and bool(depth.covered[i] >= COVERAGE_GATE),
            positive=positive[i], market=market[i],
        )  # fmt: skip
        drawdown, missing = drawdowns[i]
        if missing is not None:
            why.add(missing, figure="drawdown")
        documents.append(_document(whole, i, decomposition, drawdown, concentrations[i]) | tail | sectors[i])
    columns |= _factor_columns(stack, labels, model_shares)
    return documents, columns, covered[YEAR]


def _known_parts(panel: Panel, stack: PortfolioGroup, parts: FloatCube, depth: Depth) -> list[FloatVector]:
    """An option without a delta adds nothing to the series: what it has in its tail is unknown, and no zero."""
    known = (depth.covered >= COVERAGE_GATE)[:, None] & (panel.kinds[stack.source] != OPTION)
    return to_rows(np.where(known[:, :, None], parts, np.nan).reshape(len(parts), -1))


def _by_model(panel: Panel, model: FactorModel, stack: PortfolioGroup, joint: Exposures) -> ModelRisk:
    """The factor model's risk, of the holdings whose residual is known."""
    known = np.isfinite(joint.betas[:, :, 0])
    resid = np.where(known, panel.resid_sd[stack.sessions[:, None], stack.source], np.nan)
    of = stack.sessions
    return model_risk(model.sample[of], model.available[of], joint.beta, stack.net_weights(np.isfinite(resid)), resid)


def _explain_tail(tail: Document, why: Reasons, *, known: bool, deep: bool, positive: bool, market: bool) -> None:
    """known : whether the book's exposure to the market is; deep : also far enough back for value at risk."""
    unknown = NAV_NOT_POSITIVE if not positive else NO_PROXY if not market else LOW_COVERAGE
    if tail["es_factors"] is None:
        why.add(SHORT_HISTORY if deep else unknown, figure="es_factors")
    if tail["reverse_stress"] is None:
        why.add(ZERO_VARIANCE if known and market else unknown, figure="reverse_stress")
    elif tail["reverse_stress"]["sigmas"] > IMPLAUSIBLE_SIGMAS or None in tail["reverse_stress"]["shocks"].values():
        why.add(IMPLAUSIBLE, figure="reverse_stress")


def _document(
    of: SeriesFigures, i: int, decomposition: Document, drawdown: Document, concentration: Document
) -> Document:
    return {
        "volatility": of.volatility[i],
        "beta": of.beta[i],
        "decomposition": decomposition,
        "var": of.var[i],
        "var_10d": of.var_10d[i],
        "drawdown": drawdown,
        "concentration": concentration,
    }


def _factor_columns(stack: PortfolioGroup, labels: FactorLabels, shares: list[FloatVector]) -> Columns:
    """What the model says of the factors that are available on each unit's session."""
    sessions = stack.sessions.tolist()
    return {
        "factor_shares": [shares[i][labels.index[session]] for i, session in enumerate(sessions)],
        "factor_names": [labels.names[session] for session in sessions],
        "factor_matrix": [labels.correlations[session] for session in sessions],
    }


def priced_share(book: Book, stack: PortfolioGroup) -> FloatMatrix:
    """(g, K) 0 where a holding's price is no longer evidence, else 1."""
    return np.where(book.unpriceable[stack.holdings], 0.0, 1.0)


def _record_symbol_reasons(
    panel: Panel,
    book: Book,
    stack: PortfolioGroup,
    index: IntVector,
    pairs: Pairs,
    covered: dict[int, FloatVector],
    reasons: list[Reasons],
) -> None:
    """Name the holdings that fall short in the last 252 sessions, or in a longer window where that withholds a figure."""
    old = book.unpriceable[stack.holdings]
    for window in (YEAR, PERCENTILE_WINDOW, LOOKBACK):
        short = (pairs.shares[window][index] < 1.0) | old
        if window != YEAR:
            short &= (covered[window] < COVERAGE_GATE)[:, None]
        for i, j in np.argwhere(short).tolist():
            row = int(stack.rows[i, j])
            at = int(stack.source[i, j])
            reason = symbol_reason(panel, int(stack.sessions[i]), at, window, unpriceable=bool(old[i, j]))
            reasons[i].add(reason, symbol=panel.symbols[row])


def _positions(panel: Panel, stack: PortfolioGroup, index: IntVector, pairs: Pairs) -> Columns:
    public = has_series(panel.kinds[stack.rows])
    realized = np.where(public, pairs.realized_252[index], np.nan)
    forecast = np.where(public, pairs.forecast[index], np.nan)
    why = texts(*stack.rows.shape)
    for i, j in np.argwhere(~(np.isfinite(realized) & np.isfinite(forecast))).tolist():
        row = int(stack.rows[i, j])
        # An option's past returns say nothing of it: the contract is another one every day.
        why[i][j] = (
            NO_SERIES
            if row != stack.source[i, j]
            else symbol_reason(panel, int(stack.sessions[i]), row, LOOKBACK, unpriceable=False)
        )
    return {
        "realized_252": to_rows(realized),
        "forecast_21": to_rows(forecast),
        "har": list(pairs.har[index]),
        "series_reasons": why,
    }


def _explain_matrix(panel: Panel, rows: IntVector, structure: Structure, why: Reasons) -> None:
    """Below the gate what the matrix says as a whole is withheld, for the sake of the holdings that are not in it."""
    excluded = structure.columns["excluded"]
    if structure.covered >= COVERAGE_GATE or not excluded:
        return
    for figure in ("mean_abs", "shrinkage", "clusters"):
        why.add(LOW_COVERAGE, figure=f"correlations.{figure}")
    for row, reason in zip(rows.tolist(), excluded, strict=True):
        if reason not in (None, WITH_UNDERLYING):
            why.add(reason, symbol=panel.symbols[row])


def _explain_decomposition(document: Document, why: Reasons, *, empty: bool, positive: bool, market: bool) -> None:
    if document["volatility"] is None:
        reason = NO_HOLDINGS if empty else NAV_NOT_POSITIVE if not positive else LOW_COVERAGE
        why.add(reason, figure="decomposition")
    elif document["diversification_ratio"] is None:
        why.add(ZERO_VARIANCE, figure="decomposition.shares")
    if document["model_vol"] is None:
        why.add(
            NAV_NOT_POSITIVE if not positive else NO_PROXY if not market else LOW_COVERAGE,
            figure="decomposition.model_vol",
        )


def _concentrations(
    book: Book, stack: PortfolioGroup, structures: list[Structure], priced: FloatVector, reasons: list[Reasons]
) -> list[Document]:
    """By value, of what is at a price that is evidence; `risk_hhi` by what moves, under the gate of the matrix."""
    names = [[book.underlyings[holding] for holding in holdings] for holdings in stack.holdings.tolist()]
    of = concentration(names, stack.gross)
    figures = np.stack([of.hhi, of.effective, of.top_3, of.top_10], axis=-1)
    table = nullable(np.where((priced >= COVERAGE_GATE)[:, None], figures, np.nan))
    empty = stack.rows.shape[1] == 0
    documents = []
    for i, (hhi, effective, top_3, top_10) in enumerate(table):
        structure = structures[i]
        if hhi is None:
            reasons[i].add(LOW_COVERAGE if priced[i] < COVERAGE_GATE else NO_HOLDINGS, figure="concentration")
        if structure.risk_hhi is None and not empty:
            positive = stack.nav[i] > 0.0
            reason = LOW_COVERAGE if structure.covered < COVERAGE_GATE else ZERO_VARIANCE
            reasons[i].add(reason if positive else NAV_NOT_POSITIVE, figure="concentration.risk_hhi")
        documents.append(
            {"hhi": hhi, "effective": effective, "top_3": top_3, "top_10": top_10, "risk_hhi": structure.risk_hhi}
        )
    return documents


def _sectors(
    panel: Panel, book: Book, stack: PortfolioGroup, priced: FloatVector, reasons: list[Reasons]
) -> list[Document]:
    """Of each unit its sectors, and which benchmark of which date they are compared with."""
    held = [[book.sectors[holding] for holding in holdings] for holdings in stack.holdings.tolist()]
    chosen = panel.benchmark_of()[stack.sessions]
    of = sector_weights(
        held, book.long[stack.holdings], book.short[stack.holdings], stack.nav, panel.benchmarks, chosen
    )
    table = np.stack([of.long, of.short, of.net, of.gross, of.benchmark, of.active], axis=-1)
    low = priced < COVERAGE_GATE
    # What the benchmark weighs is known all the same.
    table[low] = np.where(np.array(SECTOR_FIGURES) == "benchmark", table[low], np.nan)
    documents = []
    for i, (rows, there, b) in enumerate(zip(nullable(table), of.listed.tolist(), chosen.tolist(), strict=True)):
        if any(there):
            if low[i]:
                reasons[i].add(LOW_COVERAGE, figure="sectors")
            if b < 0:
                reasons[i].add(NO_BENCHMARK, figure="sectors.active")
            if not stack.nav[i] > 0.0:
                reasons[i].add(NAV_NOT_POSITIVE, figure="sectors")
        documents.append(
            {
                "sectors": [
                    {"sector": name} | dict(zip(SECTOR_FIGURES, row, strict=True))
                    for name, row, own in zip(of.names, rows, there, strict=True)
                    if own
                ],
                "benchmark": None if b < 0 else panel.benchmarks[b].code,
                "benchmark_date": None if b < 0 else panel.benchmarks[b].date.isoformat(),
            }
        )
    return documents

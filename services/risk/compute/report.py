"""All risk figures of a batch: portfolios × consecutive sessions at once, every digit as if each stood alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np

from services.risk.compute import depth, stress
from services.risk.compute.aggregation import aggregate
from services.risk.compute.consecutive_windows import steady_series
from services.risk.compute.correlations import FactorLabels, Structure, factor_labels, structures
from services.risk.compute.covered_only import RealOf, real_returns
from services.risk.compute.depth import Depth
from services.risk.compute.exposure_errors import Design, design, exposure_errors
from services.risk.compute.exposures import exposure_columns
from services.risk.compute.factor_model import FactorModel, factor_model
from services.risk.compute.greeks import with_deltas
from services.risk.compute.inputs import Book, Panel, PortfolioGroup, flatten_holdings, portfolio_groups
from services.risk.compute.odd_moves import OddMoves, find_odd_moves
from services.risk.compute.pairs import Pairs, measure
from services.risk.compute.reasons import (
    BROKEN_CHAIN,
    LOW_COVERAGE,
    NO_CAPITAL,
    SHORT_HISTORY,
    Document,
    Reasons,
    nullable,
    to_rows,
)
from services.risk.compute.risk_report import priced_share, risk_documents
from services.risk.compute.scenarios import Scenarios
from services.risk.compute.scorecard import realized_returns
from services.risk.compute.series import fill, masked_moments, portfolio_series, without_rounding
from services.risk.compute.series_report import WINDOWS, gate
from services.risk.compute.stress_report import Moves, moves, stress_columns
from services.risk.compute.tail import Drawdown, NavVolatility, drawdowns
from services.risk.compute.tail_parts import ReturnsOf, filled_returns, own_returns
from services.risk.compute.volatility import ANNUAL
from shared import progress
from shared.arrays import FloatMatrix, FloatVector, IntVector
from shared.market import layouts
from shared.market.registry import NAV_WINDOW, VOLATILITY_MIN_SHARE

MOST_PAIRS = 12_000  # distinct (symbol, session) series of LOOKBACK returns at a time: about 50 MB each copy
MOST_HOLDINGS = 4_000  # holdings in one stack: their factor contributions in every scenario stay in the cache's reach


@dataclass(frozen=True, slots=True)
class RiskReport:
    """What is stored of one unit, and what it rests on."""

    portfolio_id: UUID
    session: date
    quality: str
    coverage: float
    """Share of gross value backed by real returns over 252 sessions."""
    reasons: list[Document]
    risk: Document
    columns: dict[str, Any]
    """The columns of `risk.results` that are figures, by name: arrays, lists of texts, single numbers; NaN is unknown."""


def build_reports(panel: Panel, book: Book, scenarios: Scenarios) -> list[RiskReport]:
    """Reports of all units of the book, in its order."""
    book = with_deltas(panel, book)
    model = factor_model(panel)
    labels = factor_labels(model)
    shared = _Shared(
        model,
        labels,
        moves(model, stress.all_shocks(scenarios, model, panel.sessions), scenarios, panel.sessions, labels),
        find_odd_moves(panel),
    )
    found: dict[int, RiskReport] = {}
    for units in _chunks(panel, book):
        _chunk(panel, book, shared, units, found)
        progress.report()
    return [found[u] for u in range(len(book.nav))]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all portfolios of a session have in common."""

    model: FactorModel
    labels: FactorLabels
    moves: Moves
    odd_moves: OddMoves


def _chunks(panel: Panel, book: Book) -> list[IntVector]:
    """Units by ranges of sessions, so that a long history does not hold all its series in memory at once."""
    distinct = max(1, len(np.unique(book.source)))
    step = max(1, MOST_PAIRS // distinct)
    every = [
        np.flatnonzero((book.session >= low) & (book.session < low + step))
        for low in range(0, len(panel.sessions), step)
    ]
    return [units for units in every if len(units)]


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is measured on the units of a chunk before they are grouped."""

    units: IntVector
    pairs: Pairs
    matrices: dict[int, Structure]
    drawdowns: dict[int, tuple[Document, str | None]]
    nav_volatility: NavVolatility
    realized: FloatVector
    regressors: Design


@dataclass(frozen=True, slots=True)
class _Group:
    """Units with equally many holdings, and the returns of their portfolios and holdings."""

    units: PortfolioGroup
    series: FloatMatrix
    depth: Depth
    returns: ReturnsOf
    real: RealOf | None
    """None where every return is the holdings' own."""


def _chunk(panel: Panel, book: Book, shared: _Shared, units: IntVector, found: dict[int, RiskReport]) -> None:
    holdings, owner = flatten_holdings(book, units)
    sessions, source = book.session[units][owner], book.source[holdings]
    pairs = measure(panel, sessions, source, WINDOWS)
    # A unit with a hole in one of its windows takes the longer way, whatever the units beside it are like.
    alone = ~pairs.whole[pairs.find(sessions, source)]
    steady = np.bincount(owner[alone], minlength=len(units)) == 0
    filled = fill(panel, sessions[~steady[owner]], source[~steady[owner]])
    measured = _Measured(
        units=units,
        pairs=pairs,
        matrices=structures(panel, book, units, pairs, steady, filled),
        drawdowns=_drawdowns(panel, book, units),
        nav_volatility=_nav_volatility(panel, book, units),
        realized=realized_returns(panel, book),
        regressors=design(panel, shared.model, book.session[units]),
    )
    whole = [
        _Group(
            stack,
            without_rounding(steady_series(panel, book, stack), stack),
            depth.depth_without_holes(stack, priced_share(book, stack)),
            own_returns(panel, stack),
            None,
        )
        for stack in portfolio_groups(book, units[steady], most=MOST_HOLDINGS)
    ]
    holed = [
        _Group(
            stack,
            without_rounding(portfolio_series(filled, stack), stack),
            depth.depth_with_holes(filled, stack, priced_share(book, stack)),
            filled_returns(filled, stack),
            real_returns(filled, stack),
        )
        for stack in portfolio_groups(book, units[~steady], most=MOST_HOLDINGS)
    ]
    for group in (*whole, *holed):
        found |= _reports(panel, book, shared, measured, group)


def _reports(panel: Panel, book: Book, shared: _Shared, measured: _Measured, group: _Group) -> dict[int, RiskReport]:
    """By unit of the group."""
    stack = group.units
    reasons = [Reasons() for _ in stack.units]
    joint = aggregate(panel, book, stack, panel.joint)
    reported = aggregate(panel, book, stack, panel.reported)
    mine = stack.units.tolist()
    own = measured.nav_volatility.of(np.searchsorted(measured.units, stack.units))
    risk, columns, covered = risk_documents(
        panel, book, shared.model, shared.labels, stack, measured.pairs, group.series, group.depth, group.returns,
        group.real, joint,
        [measured.matrices[u] for u in mine], [measured.drawdowns[u] for u in mine], own, reasons,
    )  # fmt: skip
    columns["realized_return"] = nullable(measured.realized[stack.units])
    errors = exposure_errors(measured.regressors, stack.sessions, group.series)
    columns["exposure_errors"] = to_rows(np.where(np.isfinite(joint.beta), gate(errors.T, covered).T, np.nan))
    greeks = {} if book.deltas is None else book.deltas.greeks
    columns |= exposure_columns(
        panel, stack, book.unpriceable[stack.holdings], greeks, joint, reported, shared.model.proxies, reasons
    )
    columns |= stress_columns(panel, book, stack, joint, shared.moves, reasons)
    shared.odd_moves.remark(panel, stack, reasons)
    found = {}
    for i, (u, values) in enumerate(zip(mine, zip(*columns.values(), strict=True), strict=True)):
        # A holding that falls short makes the unit partial; a factor without a proxy or a young portfolio does not.
        short = reasons[i].short_of_holdings
        found[u] = RiskReport(
            portfolio_id=book.portfolios[book.portfolio[u]],
            session=panel.sessions[book.session[u]],
            quality="partial" if short else "complete",
            coverage=float(covered[i]),
            reasons=reasons[i].to_documents(),
            risk=risk[i],
            columns=without_what_follows(dict(zip(columns, values, strict=True)) | measured.matrices[u].columns),
        )
    return found


def without_what_follows(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a unit without those that follow of the others beside them, where nothing in it is an option: who answers
    works them out (docs/decisions/0087-less-of-a-row.md)."""
    if columns["stress_direct"] is not None:
        return columns
    parts = np.asarray(columns["tail_parts"], dtype=np.float64).reshape(-1, len(layouts.TAIL_PARTS))
    return columns | {
        "weights": None,
        "tilts": None,
        "contribution_shares": None,
        "tail_parts": parts[:, 1:].ravel(),
    }


def _nav_volatility(panel: Panel, book: Book, units: IntVector) -> NavVolatility:
    """Of the snapshots' daily returns over 252 sessions, whose both ends are at prices that are evidence; at least 80 % of them."""
    days = np.array(panel.sessions, dtype="datetime64[D]")
    recent = np.full((len(units), NAV_WINDOW), np.nan)
    known = np.zeros(len(units))
    for i, u in enumerate(units.tolist()):
        history = book.history.get(int(book.portfolio[u]))
        if history is not None:
            end = int(np.searchsorted(history.sessions, days[book.session[u]], side="right"))
            part = slice(max(0, end - NAV_WINDOW), end)
            own = history.daily_return[part]
            recent[i, NAV_WINDOW - len(own) :] = np.where(history.between_well_priced()[part], own, np.nan)
            known[i] = np.isfinite(own).sum()
    count, _, variance = masked_moments(recent, np.isfinite(recent))
    least = VOLATILITY_MIN_SHARE * NAV_WINDOW
    return NavVolatility(
        np.where(count >= least, ANNUAL * np.sqrt(variance), np.nan), (count < least) & (known >= least)
    )


def _drawdowns(panel: Panel, book: Book, units: IntVector) -> dict[int, tuple[Document, str | None]]:
    """By unit: the drawdown document, and why it is unknown."""
    days = np.array(panel.sessions, dtype="datetime64[D]")
    documents: dict[int, tuple[Document, str | None]] = {}
    for p in np.unique(book.portfolio[units]).tolist():
        own = units[book.portfolio[units] == p]
        history = book.history.get(p)
        if history is None:
            documents |= {int(u): (_drawdown_document(None, 0), SHORT_HISTORY) for u in own}
            continue
        of = drawdowns(history, days[book.session[own]])
        for i, u in enumerate(own.tolist()):
            document = _drawdown_document(of, i)
            # A snapshot that is there and has no drawdown says so itself: nothing was left once.
            stored = days[book.session[u]] in history.sessions
            missing = LOW_COVERAGE if of.uncovered[i] else NO_CAPITAL if stored else BROKEN_CHAIN
            documents[u] = (document, missing if document["current"] is None else None)
    return documents


def _drawdown_document(of: Drawdown | None, i: int) -> Document:
    if of is None or not np.isfinite(of.current[i]):
        return {"current": None, "max": None, "peak": None, "trough": None}
    current, deepest = nullable(np.array([of.current[i], of.deepest[i]]))
    return {"current": current, "max": deepest, "peak": str(of.peak[i]), "trough": str(of.trough[i])}

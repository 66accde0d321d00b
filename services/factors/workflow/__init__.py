"""The factors phase: find missing or stale facts, compute and store them, and derive the quality of units.

Portfolios ask for facts but do not enter them. Each (symbol, session) is computed once, whoever holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from services.factors import compute, store
from services.factors.store import Holding, Series
from services.factors.workflow.outcomes import held_slice, unit_outcomes
from services.factors.workflow.waits import (
    NO_WAITS,
    PATIENCE,
    ProxyGap,
    Waits,
    find_deferred,
    find_factor_waits,
    judge,
    put_off_sessions,
)
from shared import ledger
from shared.arrays import BoolMatrix, DateVector, FloatMatrix, IntVector
from shared.ledger import Completed, Deferral, Outcome
from shared.market import registry
from shared.market.calendar import calendar, closures
from shared.market.reasons import ReasonCode
from shared.market.symbols import parse_occ
from shared.work import Batch, Phase, UnitKey


@dataclass(frozen=True, slots=True)
class Inputs:
    """One snapshot of what the batch needs. K sessions of the batch; N known symbols; T rows of the price grid."""

    batch: Batch
    holdings: Sequence[Holding]
    grid: DateVector
    """(T,) sessions from the lookback of the batch's first to its last."""
    at: IntVector
    """(K,) rows of the batch's sessions in the grid."""
    ids: Mapping[str, int]
    """Symbol to id; the order is that of the columns below."""
    versions: NDArray[np.int64]
    """(K, N) price version a fact would have now."""
    proxy_versions: NDArray[np.int64]
    """(K,) the same of the proxies alone."""
    curve: compute.CurveColumn
    """What stands for rates where no fund is whole; unknown where one is on every session of the batch."""
    needed: BoolMatrix
    """(K, N) facts to compute."""
    has_row: BoolMatrix
    """(K, N) facts that are stored, of whatever prices and model: what stands there is replaced even by "no price"."""
    proxies_needed: NDArray[np.bool_]
    """(K,) rows of factors.proxies to compute."""
    missing_reason: NDArray[np.object_]
    """(K, N) of stored facts that stand: None with joint betas, else the reason for having none."""
    series: Mapping[int, Series]
    splits: Sequence[tuple[int, date, float]]
    gaps: Sequence[tuple[int, date, date, str]]
    waits: Waits = NO_WAITS


@dataclass(frozen=True, slots=True)
class Results:
    """Rows for the tables, in the order of the store's columns, and the outcome of every unit of the batch."""

    outcomes: Mapping[UnitKey, Outcome]
    exposures: list[tuple[Any, ...]] = field(default_factory=list)
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    proxies: list[tuple[Any, ...]] = field(default_factory=list)
    deferred: Mapping[UnitKey, Deferral] = field(default_factory=dict)
    """Units that wait for a proxy of one of their factors."""


class FactorsWorker:
    """`shared.phase.workers.PhaseWorker` and `LocksSharedInputs` for symbol facts."""

    phase = Phase.FACTORS

    def __init__(self, patience: float = PATIENCE) -> None:
        """patience: seconds a unit waits for a proxy's price that may still come."""
        self._patience = patience

    async def lock_inputs(self, conn: AsyncConnection, batch: Batch) -> None:
        """Hold the symbols whose facts are lacking, so that forty batches of one night compute each symbol once.

        Facts that are merely behind are not claimed for: two handlers may compute them, with equal digits.
        """
        holdings = await _holdings(conn, batch)
        ids = await store.symbol_ids(conn, {h.symbol for h in holdings} | set(registry.PROXY_SYMBOLS))
        incomplete = await store.find_incomplete(
            conn,
            sorted(ids.values()),
            batch.first,
            batch.last,
            len(batch.sessions),
            registry.MODEL_VERSION,
            since=calendar().back(batch.first, registry.FACT_LOOKBACK),
        )
        await store.lock_symbols(conn, incomplete)

    async def load(self, conn: AsyncConnection, batch: Batch) -> Inputs:
        """Everything in a handful of set-based queries; prices only of symbols that have something to compute."""
        days = calendar()
        first = days.back(batch.first, registry.FACT_LOOKBACK)
        grid = np.array(days.between(first, batch.last), dtype="datetime64[D]")
        at = np.searchsorted(grid, np.array(batch.sessions, dtype="datetime64[D]")).astype(np.int64)
        holdings = await _holdings(conn, batch)
        ids = await store.symbol_ids(conn, {h.symbol for h in holdings} | set(registry.PROXY_SYMBOLS))
        ids = dict(sorted(ids.items()))
        column = {symbol_id: i for i, symbol_id in enumerate(ids.values())}
        every = list(column)

        changed = np.zeros((len(grid), len(ids)), dtype=np.int64)
        for symbol_id, (offsets, numbers) in (await store.changes(conn, every, first, batch.last)).items():
            # A price and an action of one session: the later change counts.
            np.maximum.at(changed[:, column[symbol_id]], np.searchsorted(grid, grid[0] + offsets), numbers)
        for day, number in closures().changes:
            # Every window that holds the session reaches over the day: it is a session shorter or longer than it was.
            if grid[0] <= np.datetime64(session := days.on_or_after(day)) <= grid[-1]:
                moved = changed[np.searchsorted(grid, np.datetime64(session))]
                np.maximum(moved, number, out=moved)
        versions = compute.price_versions(changed, at)
        proxy_columns = [column[ids[symbol]] for symbol in registry.PROXY_SYMBOLS if symbol in ids]
        funds = [column[ids[symbol]] for symbol in registry.FACTORS[-1].proxies if symbol in ids]
        of_curve = compute.without_fund(changed, funds, at)
        curves, curve_changes = await store.curves(conn, first, batch.last) if of_curve.any() else ([], [])
        curve = compute.curve_column(curves, curve_changes, grid)
        proxy_versions = versions[:, proxy_columns].max(axis=1, initial=0)
        proxy_versions = np.maximum(proxy_versions, compute.curve_versions(curve, of_curve, at))
        versions = np.maximum(versions, proxy_versions[:, None])

        stored = np.full(versions.shape, -1, dtype=np.int64)
        missing_reason = np.full(versions.shape, None, dtype=object)
        has_row = np.zeros(versions.shape, dtype=np.bool_)
        row = {session: k for k, session in enumerate(batch.sessions)}
        for fact in await store.facts(conn, every, batch.first, batch.last):
            cell = row[fact.session], column[fact.symbol_id]
            has_row[cell] = True
            if fact.model_version == registry.MODEL_VERSION:
                stored[cell] = fact.price_version
                missing_reason[cell] = None if fact.has_betas else (fact.reason or ReasonCode.SHORT_HISTORY.value)
        wanted = np.zeros(versions.shape, dtype=np.bool_)
        wanted[:, proxy_columns] = True
        for holding in holdings:
            if holding.symbol in ids:
                wanted[held_slice(holding, batch.sessions), column[ids[holding.symbol]]] = True
        needed = compute.stale(versions, stored, wanted)
        proxies = await store.proxy_versions(conn, batch.first, batch.last)
        none = (-1, registry.MODEL_VERSION)
        proxies_stored = np.array(
            [v if m == registry.MODEL_VERSION else -1 for v, m in (proxies.get(s, none) for s in batch.sessions)],
            dtype=np.int64,
        )
        proxies_needed = proxies_stored < proxy_versions

        todo = [symbol_id for symbol_id, i in column.items() if needed[:, i].any()]
        waits = await _read_waits(conn, batch, self._patience)
        judging = bool(todo or proxies_needed.any() or waits.gaps)
        read = sorted({*todo, *(every[i] for i in proxy_columns)}) if judging else []
        return Inputs(
            batch=batch,
            holdings=holdings,
            grid=grid,
            at=at,
            ids=ids,
            versions=versions,
            proxy_versions=proxy_versions,
            curve=curve,
            needed=needed,
            has_row=has_row,
            proxies_needed=proxies_needed,
            missing_reason=missing_reason,
            series=await store.prices(conn, read, first, batch.last, compute.REMARKS) if read else {},
            splits=await store.splits(conn, todo, first, batch.last) if todo else [],
            gaps=await store.gaps(conn, todo, batch.first, batch.last) if todo else [],
            waits=waits,
        )

    def compute(self, inputs: Inputs) -> Results:
        """Pure. Facts first; then each unit is judged by the facts of what its portfolio held.

        Nothing is computed for sessions on which all units are put off because of a proxy that is waited for.
        """
        if not inputs.waits.gaps:
            results = self._compute(inputs)
            return replace(results, outcomes=judge(results.outcomes, inputs.waits, {}, {}))
        proxies = _rectangle(inputs, [inputs.ids.get(symbol, 0) for symbol in registry.PROXY_SYMBOLS]).returns
        waits = find_factor_waits(inputs.waits.gaps, inputs.batch.sessions, proxies, inputs.at, calendar())
        deferred = find_deferred(inputs.batch, inputs.waits, waits)
        going = ~put_off_sessions(inputs.batch, deferred)
        inputs = replace(inputs, needed=inputs.needed & going[:, None], proxies_needed=inputs.proxies_needed & going)
        results = self._compute(inputs)
        return replace(results, outcomes=judge(results.outcomes, inputs.waits, waits, deferred), deferred=deferred)

    def _compute(self, inputs: Inputs) -> Results:
        todo = [i for i in range(len(inputs.ids)) if inputs.needed[:, i].any()]
        missing_reason = inputs.missing_reason.copy()
        if not todo and not inputs.proxies_needed.any():
            return Results(unit_outcomes(inputs.batch, inputs.holdings, list(inputs.ids), missing_reason))
        names, ids = list(inputs.ids), list(inputs.ids.values())
        absent = compute.absences(inputs.gaps, inputs.batch.sessions, {i: symbol for symbol, i in inputs.ids.items()})
        prices = _rectangle(inputs, [ids[i] for i in todo])
        funds = _rectangle(inputs, [inputs.ids.get(symbol, 0) for symbol in registry.PROXY_SYMBOLS]).returns
        proxy_returns = np.column_stack([funds, inputs.curve.returns])
        needed = inputs.needed[:, todo]
        exposures = compute.exposures(prices.returns, proxy_returns, inputs.at, wanted=needed)
        exposures = compute.own_factors(exposures, [names[i] for i in todo])
        metrics = compute.metrics(prices, inputs.grid, inputs.at)
        labels = compute.FactIndex(
            sessions=inputs.batch.sessions,
            ids=[ids[i] for i in todo],
            # Of a symbol without any price there is nothing to store: a file of unknown ones would be a million empty rows. Why it
            # has none is told by the unit, and by whoever reads the gap.
            needed=needed & (compute.priced(prices, inputs.at) | inputs.has_row[:, todo]),
            versions=inputs.versions[:, todo],
            absent=lambda k, s: absent.get((k, names[todo[s]])),
        )
        without = np.isnan(exposures.joint[..., 0])
        for i, column in enumerate(todo):
            missing_reason[needed[:, i] & ~without[:, i], column] = None
        for k, s in zip(*(index.tolist() for index in np.nonzero(needed & without)), strict=True):
            missing_reason[k, todo[s]] = exposures.reasons(k, s, absent=labels.absent(k, s))["joint"]
        return Results(
            unit_outcomes(inputs.batch, inputs.holdings, list(inputs.ids), missing_reason),
            compute.exposure_rows(exposures, labels),
            compute.metric_rows(metrics, labels),
            compute.proxy_rows(
                exposures.geometry,
                inputs.proxies_needed,
                sessions=inputs.batch.sessions,
                versions=inputs.proxy_versions,
            ),
        )

    async def save(self, conn: AsyncConnection, results: Results, raised: Completed) -> None:
        """Facts belong to symbols, not to units: they are stored even if every unit has meanwhile been completed."""
        await store.save(conn, results.exposures, results.metrics, results.proxies)


async def _read_waits(conn: AsyncConnection, batch: Batch, patience: float) -> Waits:
    days = calendar().back(batch.first, registry.BETA_WINDOW)
    gaps = [ProxyGap(*row) for row in await store.waiting_gaps(conn, registry.PROXY_SYMBOLS, days, batch.last)]
    ends: Mapping[UnitKey, Any] = {}
    if gaps:
        where = (batch.portfolios, batch.first, batch.last)
        ends = await ledger.find_patience_ends(conn, Phase.FACTORS, *where, patience)
    provisional = await ledger.find_provisional(conn, [Phase.INGEST], batch.portfolios, batch.first, batch.last)
    return Waits(gaps, ends, frozenset(provisional))


async def _holdings(conn: AsyncConnection, batch: Batch) -> list[Holding]:
    """Lots held within the batch. An option without a stated underlying is named by its own symbol."""
    found = await store.holdings(conn, batch.portfolios, batch.first, batch.last)
    return [
        Holding(h.portfolio_id, contract.underlying, h.entry, h.exit) if (contract := parse_occ(h.symbol)) else h
        for h in found
    ]


def _rectangle(inputs: Inputs, ids: Sequence[int]) -> compute.Prices:
    """Stored prices laid out as (T, S); an id without prices is a column of NaN."""
    shape = (len(inputs.grid), len(ids))

    def empty() -> FloatMatrix:
        return np.full(shape, np.nan)

    remark = np.zeros(shape, np.int64)
    prices = compute.Prices(
        empty(), empty(), empty(), np.ones(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_),
        remark,
    )  # fmt: skip
    column = {symbol_id: i for i, symbol_id in enumerate(ids)}
    for symbol_id, i in column.items():
        if (series := inputs.series.get(symbol_id)) is None:
            continue
        rows = np.searchsorted(inputs.grid, inputs.grid[0] + series.days)
        prices.close[rows, i] = series.close
        prices.adj_close[rows, i] = series.adj_close
        prices.returns[rows, i] = series.returns
        prices.as_delivered[rows, i] = series.flags & store.AS_DELIVERED != 0
        prices.price_only[rows, i] = series.flags & store.PRICE_ONLY != 0
        remark[rows, i] = series.flags // store.REMARK
    for symbol_id, session, ratio in inputs.splits:
        if symbol_id in column:
            prices.split[np.searchsorted(inputs.grid, np.datetime64(session)), column[symbol_id]] = ratio
    return prices

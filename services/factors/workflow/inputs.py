"""What a batch of the factors phase needs, read in a handful of set-based queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from services.factors import compute, store
from services.factors.store import Changes, Holding, Series
from services.factors.workflow.outcomes import held_slices
from services.factors.workflow.waits import NO_WAITS, ProxyGap, Waits
from shared import ledger
from shared.arrays import BoolMatrix, DateVector, IntVector
from shared.db.kept_prices import KeptPrices
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


class _Versions(NamedTuple):
    """Price versions that facts would have now (K, N), those of the proxies alone (K,), and the curve behind both."""

    facts: NDArray[np.int64]
    proxies: NDArray[np.int64]
    curve: compute.CurveColumn


class _Stored(NamedTuple):
    """Of stored facts (K, N): the price version, -1 where there is none of this model; see `Inputs` for the others."""

    versions: NDArray[np.int64]
    missing_reason: NDArray[np.object_]
    has_row: BoolMatrix


async def read_inputs(
    conn: AsyncConnection, batch: Batch, patience: float, kept: KeptPrices[Changes] | None = None
) -> Inputs:
    """Everything the batch's computation reads; prices only of symbols that have something to compute.

    kept : changes of prices that the batches before it read; without them all are read
    """
    days = calendar()
    first = days.back(batch.first, registry.FACT_LOOKBACK)
    grid = np.array(days.between(first, batch.last), dtype="datetime64[D]")
    at = np.searchsorted(grid, np.array(batch.sessions, dtype="datetime64[D]")).astype(np.int64)
    held = await read_holdings(conn, batch)
    ids = await store.symbol_ids(conn, {h.symbol for h in held} | set(registry.PROXY_SYMBOLS))
    ids = dict(sorted(ids.items()))
    column = {symbol_id: i for i, symbol_id in enumerate(ids.values())}
    proxy_columns = [column[ids[symbol]] for symbol in registry.PROXY_SYMBOLS if symbol in ids]

    versions = await _read_price_versions(conn, batch, first, grid, at, ids, column, kept or KeptPrices())
    stored = await _read_stored(conn, batch, column)
    wanted = np.zeros(versions.facts.shape, dtype=np.bool_)
    wanted[:, proxy_columns] = True
    on = held_slices(held, batch.sessions)
    for holding in held:
        if holding.symbol in ids:
            wanted[on[holding.entry, holding.exit], column[ids[holding.symbol]]] = True
    needed = compute.stale(versions.facts, stored.versions, wanted)
    proxies_needed = await _read_stored_proxies(conn, batch) < versions.proxies

    todo = [symbol_id for symbol_id, i in column.items() if needed[:, i].any()]
    waits = await _read_waits(conn, batch, patience)
    judging = bool(todo or proxies_needed.any() or waits.gaps)
    every = list(column)
    priced = sorted({*todo, *(every[i] for i in proxy_columns)}) if judging else []
    return Inputs(
        batch=batch,
        holdings=held,
        grid=grid,
        at=at,
        ids=ids,
        versions=versions.facts,
        proxy_versions=versions.proxies,
        curve=versions.curve,
        needed=needed,
        has_row=stored.has_row,
        proxies_needed=proxies_needed,
        missing_reason=stored.missing_reason,
        series=await store.prices(conn, priced, first, batch.last, compute.REMARKS) if priced else {},
        splits=await store.splits(conn, todo, first, batch.last) if todo else [],
        gaps=await store.gaps(conn, todo, batch.first, batch.last) if todo else [],
        waits=waits,
    )


async def _read_price_versions(
    conn: AsyncConnection,
    batch: Batch,
    first: date,
    grid: DateVector,
    at: IntVector,
    ids: Mapping[str, int],
    column: Mapping[int, int],
    kept: KeptPrices[Changes],
) -> _Versions:
    """The newest change of anything that a fact rests on: prices and actions, closures, the proxies, the curve."""
    days = calendar()
    changed = np.zeros((len(grid), len(ids)), dtype=np.int64)
    every, last = list(column), batch.last
    of_prices = await kept.read(
        conn, every, first, last, lambda of: store.changes(conn, of, first, last, of_prices=True)
    )
    for found in (of_prices, await store.changes(conn, every, first, last, of_prices=False)):
        for symbol_id, (offsets, numbers) in found.items():
            # A price and an action of one session: the later change counts.
            np.maximum.at(changed[:, column[symbol_id]], np.searchsorted(grid, grid[0] + offsets), numbers)
    for day, number in closures().changes:
        # Every window that holds the session reaches over the day: it is a session shorter or longer than it was.
        if grid[0] <= np.datetime64(session := days.on_or_after(day)) <= grid[-1]:
            moved = changed[np.searchsorted(grid, np.datetime64(session))]
            np.maximum(moved, number, out=moved)
    versions = compute.price_versions(changed, at)
    funds = [column[ids[symbol]] for symbol in registry.FACTORS[-1].proxies if symbol in ids]
    of_curve = compute.without_fund(changed, funds, at)
    curves, curve_changes = await store.curves(conn, first, batch.last) if of_curve.any() else ([], [])
    curve = compute.curve_column(curves, curve_changes, grid)
    proxy_columns = [column[ids[symbol]] for symbol in registry.PROXY_SYMBOLS if symbol in ids]
    proxy_versions = versions[:, proxy_columns].max(axis=1, initial=0)
    proxy_versions = np.maximum(proxy_versions, compute.curve_versions(curve, of_curve, at))
    return _Versions(np.maximum(versions, proxy_versions[:, None]), proxy_versions, curve)


async def _read_stored(conn: AsyncConnection, batch: Batch, column: Mapping[int, int]) -> _Stored:
    shape = (len(batch.sessions), len(column))
    stored = _Stored(
        np.full(shape, -1, dtype=np.int64), np.full(shape, None, dtype=object), np.zeros(shape, dtype=np.bool_)
    )
    row = {session: k for k, session in enumerate(batch.sessions)}
    for fact in await store.facts(conn, list(column), batch.first, batch.last):
        cell = row[fact.session], column[fact.symbol_id]
        stored.has_row[cell] = True
        if fact.model_version == registry.MODEL_VERSION:
            stored.versions[cell] = fact.price_version
            stored.missing_reason[cell] = None if fact.has_betas else (fact.reason or ReasonCode.SHORT_HISTORY.value)
    return stored


async def _read_stored_proxies(conn: AsyncConnection, batch: Batch) -> NDArray[np.int64]:
    """(K,) price version of the stored rows of factors.proxies; -1 where there is none of this model."""
    proxies = await store.proxy_versions(conn, batch.first, batch.last)
    none = (-1, registry.MODEL_VERSION)
    return np.array(
        [v if m == registry.MODEL_VERSION else -1 for v, m in (proxies.get(s, none) for s in batch.sessions)],
        dtype=np.int64,
    )


async def _read_waits(conn: AsyncConnection, batch: Batch, patience: float) -> Waits:
    days = calendar().back(batch.first, registry.BETA_WINDOW)
    gaps = [ProxyGap(*row) for row in await store.waiting_gaps(conn, registry.PROXY_SYMBOLS, days, batch.last)]
    ends: Mapping[UnitKey, Any] = {}
    if gaps:
        where = (batch.portfolios, batch.first, batch.last)
        ends = await ledger.find_patience_ends(conn, Phase.FACTORS, *where, patience)
    provisional = await ledger.find_provisional(conn, [Phase.INGEST], batch.portfolios, batch.first, batch.last)
    return Waits(gaps, ends, frozenset(provisional))


async def read_holdings(conn: AsyncConnection, batch: Batch) -> list[Holding]:
    """Lots held within the batch. An option without a stated underlying is named by its own symbol."""
    found = await store.holdings(conn, batch.portfolios, batch.first, batch.last)
    underlying = {
        symbol: contract.underlying for symbol in {h.symbol for h in found} if (contract := parse_occ(symbol))
    }
    return [h._replace(symbol=underlying[h.symbol]) if h.symbol in underlying else h for h in found]


async def read_held_symbols(conn: AsyncConnection, batch: Batch) -> set[str]:
    """The symbols of `read_holdings`."""
    found = await store.held_symbols(conn, batch.portfolios, batch.first, batch.last)
    return {contract.underlying if (contract := parse_occ(symbol)) else symbol for symbol in found}

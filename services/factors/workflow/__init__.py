"""The factors phase: find missing or stale facts, compute and store them, and derive the quality of units.

Portfolios ask for facts but do not enter them. Each (symbol, session) is computed once, whoever holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.factors import compute, store
from services.factors.store import saving
from services.factors.workflow.inputs import Inputs, read_held_symbols, read_inputs
from services.factors.workflow.outcomes import unit_outcomes
from services.factors.workflow.waits import PATIENCE, find_deferred, find_factor_waits, judge, put_off_sessions
from shared.arrays import FloatMatrix
from shared.db.kept_prices import KeptPrices
from shared.ledger import Completed, Deferral, Outcome
from shared.market import registry
from shared.market.calendar import calendar
from shared.work import Batch, Phase, UnitKey


@dataclass(frozen=True, slots=True)
class Results:
    """Rows for the tables, and the outcome of every unit of the batch."""

    outcomes: Mapping[UnitKey, Outcome]
    exposures: compute.FactRows | None = None
    metrics: compute.FactRows | None = None
    proxies: Sequence[compute.ProxyRow] = ()
    new: bool = False
    """Nothing is stored of the facts' symbols and sessions."""
    deferred: Mapping[UnitKey, Deferral] = field(default_factory=dict)
    """Units that wait for a proxy of one of their factors."""


class FactorsWorker:
    """`shared.phase.workers.PhaseWorker` and `LocksSharedInputs` for symbol facts."""

    phase = Phase.FACTORS

    def __init__(self, patience: float = PATIENCE) -> None:
        """patience: seconds a unit waits for a proxy's price that may still come."""
        self._patience = patience
        self._kept = KeptPrices[store.Changes]()

    async def lock_inputs(self, conn: AsyncConnection, batch: Batch) -> None:
        """Hold the symbols whose facts are missing, so that forty batches of one night compute each symbol once.

        Facts that are merely stale are not locked for: two handlers may compute them, with equal digits.
        """
        held = await read_held_symbols(conn, batch)
        ids = await store.symbol_ids(conn, held | set(registry.PROXY_SYMBOLS))
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
        return await read_inputs(conn, batch, self._patience, self._kept)

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
            needed=needed & (compute.has_recent_price(prices, inputs.at) | inputs.has_row[:, todo]),
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
            new=not (needed & inputs.has_row[:, todo]).any(),
        )

    async def save(self, conn: AsyncConnection, results: Results, raised: Completed) -> None:
        """Facts belong to symbols, not to units: they are stored even if every unit has meanwhile been completed."""
        await saving.save(conn, results.exposures, results.metrics, results.proxies, new=results.new)


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

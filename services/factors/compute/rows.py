"""Facts as table rows: labels and reasons attached once, at the edge.

Columns have the names they have in `factors.exposures` and `factors.metrics`; rows of `factors.proxies` have its order. Unknown figures
are NaN.
"""

import bisect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.factors.compute.exposures import Exposures, ProxyTable
from services.factors.compute.metrics import BASES, Metrics
from shared.arrays import BoolMatrix, DateVector, IntVector
from shared.market import registry

# Rows that are encoded at a time.
ROWS_AT_ONCE = 2_000
Absent = Callable[[int, int], str | None]
"""(session, symbol) to the reason why there is no price, where it is known."""


@dataclass(frozen=True, slots=True)
class FactIndex:
    """What the cells of a (K, S) rectangle of facts are called.

    needed   : (K, S) which of them become rows
    versions : (K, S) price version of each
    """

    sessions: Sequence[date]
    ids: Sequence[int]
    needed: BoolMatrix
    versions: NDArray[np.int64]
    absent: Absent


Cells = tuple[IntVector, IntVector]
ProxyRow = tuple[date, str, int, list[str | None], list[float], list[float]]


@dataclass(frozen=True, slots=True)
class FactPiece:
    """Some rows of a table of facts, column by column: n of them.

    ids, versions : (n,) of the symbol, and of the prices
    sessions : (n,)
    columns  : (n,) or (n, m) each, by name
    reasons  : JSON
    """

    ids: IntVector
    sessions: DateVector
    versions: IntVector
    columns: Mapping[str, NDArray[Any]]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class FactRows:
    """One row per needed (session, symbol), by symbol and session, made where it is asked for, some thousands at a time.

    All at once, encoded, they would take twice the memory of the arrays that they are made of.

    columns : (K, S) or (K, S, m) each, by name
    reasons : JSON of the cells
    """

    labels: FactIndex
    columns: Mapping[str, NDArray[Any]]
    reasons: Callable[[Cells], list[str]]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.labels.needed))

    def pieces(self) -> Iterator[FactPiece]:
        labels = self.labels
        ids, sessions = np.array(labels.ids, dtype=np.int64), np.array(labels.sessions, dtype="datetime64[D]")
        order = np.argsort(ids)
        at, k = np.nonzero(labels.needed.T[order])
        s = order[at]
        for low in range(0, len(k), ROWS_AT_ONCE):
            cells = k[low : low + ROWS_AT_ONCE], s[low : low + ROWS_AT_ONCE]
            yield FactPiece(
                ids[cells[1]],
                sessions[cells[0]],
                labels.versions[cells],
                {name: column[cells] for name, column in self.columns.items()},
                self.reasons(cells),
            )


def exposure_rows(facts: Exposures, labels: FactIndex) -> FactRows:
    columns: dict[str, NDArray[Any]] = {
        "market": facts.market,
        "market_shrunk": facts.shrunk,
        "ir_beta": facts.ir_beta,
        "spreads": facts.spreads.reshape(*labels.needed.shape, -1),
        "joint": facts.joint,
        "joint_stderr": facts.joint_stderr,
        "joint_fit": facts.fit,
        "n_obs": facts.observations().astype(np.int16),
        "quality": facts.quality(),
        "flagged": facts.beyond_beta_flag(),
    }
    contexts = [(*s, *r) for s, r in _proxies(facts.geometry)]
    return FactRows(labels, columns, _reasons(facts, labels, facts.n_obs == 0, contexts))


def metric_rows(facts: Metrics, labels: FactIndex) -> FactRows:
    columns: dict[str, NDArray[Any]] = {
        "price": facts.price,
        "price_basis": np.array(BASES, dtype=object)[facts.basis],
        "price_return": facts.price_return,
        "total_return": facts.total_return,
        "volatility": facts.volatility,
        "quality": facts.quality(),
    }
    contexts = [tuple(row) for row in facts.has_base.tolist()]
    return FactRows(labels, columns, _reasons(facts, labels, np.isnan(facts.price), contexts))


def _proxies(table: ProxyTable) -> Iterator[tuple[tuple[str | None, ...], tuple[str | None, ...]]]:
    return zip(table.symbols, table.reasons, strict=True)


def _reasons(
    facts: Exposures | Metrics, labels: FactIndex, empty: BoolMatrix, contexts: Sequence[tuple[Any, ...]]
) -> Callable[[Cells], list[str]]:
    """Reasons of cells as JSON, worked out once for all that look alike: `contexts` is what a session's reasons depend on."""
    signatures = facts.signatures()
    cache: dict[tuple[Any, ...], str] = {}

    def reason(k: int, s: int, signature: int, *, none: bool) -> str:
        why = labels.absent(k, s) if none else None
        key = (contexts[k], signature, why)
        if key not in cache:
            cache[key] = json.dumps(facts.reasons(k, s, absent=why))
        return cache[key]

    def of(cells: Cells) -> list[str]:
        columns = (*cells, signatures[cells], empty[cells])
        return [
            reason(k, s, signature, none=none)
            for k, s, signature, none in zip(*(c.tolist() for c in columns), strict=True)
        ]

    return of


def proxy_rows(
    table: ProxyTable, needed: NDArray[np.bool_], *, sessions: Sequence[date], versions: NDArray[np.int64]
) -> list[ProxyRow]:
    """One row per needed session; `needed` and `versions` are (K,)."""
    return [
        (
            sessions[k], registry.MODEL_VERSION, int(versions[k]), list(table.symbols[k]), table.slopes[k].tolist(),
            table.sigmas[k].tolist(),
        )
        for k in np.flatnonzero(needed).tolist()
    ]  # fmt: skip


def absences(
    gaps: Sequence[tuple[int, date, date, str]], sessions: Sequence[date], names: Mapping[int, str]
) -> dict[tuple[int, str], str]:
    """Why a symbol has no price: (position among the sessions, symbol) to reason. gaps: (id, first, last, reason)."""
    return {
        (k, names[symbol_id]): reason
        for symbol_id, first, last, reason in gaps
        for k in range(bisect.bisect_left(sessions, first), bisect.bisect_right(sessions, last))
    }

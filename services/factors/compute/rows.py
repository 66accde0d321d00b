"""Facts as table rows: labels and reasons attached once, at the edge.

Column orders are those of `factors.exposures`, `factors.metrics` and `factors.proxies`. Unknown figures are NaN inside
arrays and None in scalar columns.
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
from shared.arrays import BoolMatrix, IntVector, none_if_nan
from shared.market import registry

# Rows that are Python's objects at a time.
ROWS_AT_ONCE = 2_000
Row = tuple[Any, ...]
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


@dataclass(frozen=True, slots=True)
class FactRows:
    """One row per needed (session, symbol), made where it is asked for, some thousands at a time.

    All at once, as Python's numbers, they would take six times the memory of the arrays that they are made of.

    columns : (K, S) or (K, S, m) each, in the table's order between the keys and the reasons
    reasons : JSON of the cells
    """

    labels: FactIndex
    columns: Sequence[NDArray[Any]]
    reasons: Callable[[Cells], list[str]]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.labels.needed))

    def __iter__(self) -> Iterator[Row]:
        k, s = np.nonzero(self.labels.needed)
        for low in range(0, len(k), ROWS_AT_ONCE):
            cells = k[low : low + ROWS_AT_ONCE], s[low : low + ROWS_AT_ONCE]
            figures = [_plain(column[cells]) for column in self.columns]
            yield from zip(*_keys(self.labels, cells), *figures, self.reasons(cells), strict=True)


def exposure_rows(facts: Exposures, labels: FactIndex) -> FactRows:
    spreads = facts.spreads.reshape(*labels.needed.shape, -1)
    columns = (
        facts.market, facts.shrunk, facts.ir_beta, spreads, facts.joint, facts.joint_stderr, facts.fit, facts.observations(),
        facts.quality(), facts.beyond_beta_flag(),
    )  # fmt: skip
    contexts = [(*s, *r) for s, r in _proxies(facts.geometry)]
    return FactRows(labels, columns, _reasons(facts, labels, facts.n_obs == 0, contexts))


def metric_rows(facts: Metrics, labels: FactIndex) -> FactRows:
    basis = np.array(BASES, dtype=object)[facts.basis]
    columns = (facts.price, basis, facts.price_return, facts.total_return, facts.volatility, facts.quality())
    contexts = [tuple(row) for row in facts.has_base.tolist()]
    return FactRows(labels, columns, _reasons(facts, labels, np.isnan(facts.price), contexts))


def _proxies(table: ProxyTable) -> Iterator[tuple[tuple[str | None, ...], tuple[str | None, ...]]]:
    return zip(table.symbols, table.reasons, strict=True)


def _keys(labels: FactIndex, cells: Cells) -> tuple[list[Any], ...]:
    """The four columns every fact begins with."""
    k, s = (index.tolist() for index in cells)
    versions = labels.versions[cells].tolist()
    return [labels.ids[i] for i in s], [labels.sessions[i] for i in k], [registry.MODEL_VERSION] * len(k), versions


def _plain(values: NDArray[Any]) -> list[Any]:
    """A column as Python's values: of a single figure null where it is unknown, which an array says by NaN."""
    if values.ndim == 1 and values.dtype == np.float64:
        return [none_if_nan(value) for value in values.tolist()]
    plain: list[Any] = values.tolist()
    return plain


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
) -> list[Row]:
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

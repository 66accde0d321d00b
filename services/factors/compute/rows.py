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
from shared.arrays import BoolMatrix, FloatVector, IntVector, none_if_nan
from shared.market import registry

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


def exposure_rows(facts: Exposures, labels: FactIndex) -> list[Row]:
    """One row per needed (session, symbol)."""
    cells = np.nonzero(labels.needed)
    reasons = _reasons(facts, labels, facts.n_obs == 0, [(*s, *r) for s, r in _proxies(facts.geometry)])
    return list(
        zip(
            *_keys(labels, cells), facts.market[cells].tolist(), _scalars(facts.shrunk[cells]),
            _scalars(facts.ir_beta[cells]), facts.spreads.reshape(*labels.needed.shape, -1)[cells].tolist(),
            facts.joint[cells].tolist(), facts.joint_stderr[cells].tolist(), facts.fit[cells].tolist(),
            facts.observations()[cells].tolist(),
            facts.quality()[cells].tolist(), facts.beyond_beta_flag()[cells].tolist(), reasons, strict=True,
        )
    )  # fmt: skip


def metric_rows(facts: Metrics, labels: FactIndex) -> list[Row]:
    """One row per needed (session, symbol)."""
    cells = np.nonzero(labels.needed)
    reasons = _reasons(facts, labels, np.isnan(facts.price), [tuple(row) for row in facts.has_base.tolist()])
    return list(
        zip(
            *_keys(labels, cells), _scalars(facts.price[cells]), [BASES[b] for b in facts.basis[cells].tolist()],
            facts.price_return[cells].tolist(), facts.total_return[cells].tolist(), facts.volatility[cells].tolist(),
            facts.quality()[cells].tolist(), reasons, strict=True,
        )
    )  # fmt: skip


def _proxies(table: ProxyTable) -> Iterator[tuple[tuple[str | None, ...], tuple[str | None, ...]]]:
    return zip(table.symbols, table.reasons, strict=True)


def _keys(labels: FactIndex, cells: tuple[IntVector, ...]) -> tuple[list[Any], ...]:
    """The four columns every fact begins with."""
    k, s = (index.tolist() for index in cells)
    versions = labels.versions[cells].tolist()
    return [labels.ids[i] for i in s], [labels.sessions[i] for i in k], [registry.MODEL_VERSION] * len(k), versions


def _scalars(values: FloatVector) -> list[float | None]:
    return [none_if_nan(value) for value in values.tolist()]


def _reasons(
    facts: Exposures | Metrics, labels: FactIndex, empty: BoolMatrix, contexts: Sequence[tuple[Any, ...]]
) -> list[str]:
    """Reasons as JSON, worked out once for all cells that look alike: `contexts` is what a session's reasons depend on."""
    signatures = facts.signatures()
    cache: dict[tuple[Any, ...], str] = {}
    out = []
    k_all, s_all = np.nonzero(labels.needed)
    for k, s, signature, none in zip(
        k_all.tolist(), s_all.tolist(), signatures[k_all, s_all].tolist(), empty[k_all, s_all].tolist(), strict=True
    ):
        why = labels.absent(k, s) if none else None
        key = (contexts[k], signature, why)
        if key not in cache:
            cache[key] = json.dumps(facts.reasons(k, s, absent=why))
        out.append(cache[key])
    return out


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

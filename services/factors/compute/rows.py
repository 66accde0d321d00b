"""Facts as table rows: labels and reasons attached once, at the edge.

Column orders are those of `factors.exposures`, `factors.metrics` and `factors.proxies`. Unknown figures are NaN inside
arrays and None in scalar columns.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.factors.compute.exposures import Exposures, ProxyTable
from services.factors.compute.metrics import BASES, Metrics
from shared.arrays import BoolMatrix, none_if_nan
from shared.market import registry

Row = tuple[Any, ...]
Absent = Callable[[int, int], str | None]
"""(session, symbol) to the reason why there is no price, where it is known."""


def exposure_rows(
    facts: Exposures,
    needed: BoolMatrix,
    *,
    sessions: Sequence[date],
    ids: Sequence[int],
    versions: NDArray[np.int64],
    absent: Absent,
) -> list[Row]:
    """One row per needed (session, symbol); `needed` and `versions` are (K, S) like the facts."""
    flagged, signatures = facts.flagged(), facts.signatures()
    cache: dict[tuple[Any, ...], str] = {}
    rows = []
    for k, s in zip(*(index.tolist() for index in np.nonzero(needed)), strict=True):
        why = absent(k, s) if facts.n_obs[k, s] == 0 else None
        key = (facts.geometry.symbols[k], facts.geometry.reasons[k], int(signatures[k, s]), why)
        if key not in cache:
            cache[key] = json.dumps(facts.reasons(k, s, absent=why))
        rows.append(
            (
                ids[s], sessions[k], registry.MODEL_VERSION, int(versions[k, s]), facts.market[k, s].tolist(),
                none_if_nan(facts.shrunk[k, s]), none_if_nan(facts.ir_beta[k, s]), facts.spreads[k, s].ravel().tolist(),
                facts.joint[k, s].tolist(), facts.fit[k, s].tolist(), facts.observations(k, s), facts.quality(k, s),
                bool(flagged[k, s]), cache[key],
            )
        )  # fmt: skip
    return rows


def metric_rows(
    facts: Metrics,
    needed: BoolMatrix,
    *,
    sessions: Sequence[date],
    ids: Sequence[int],
    versions: NDArray[np.int64],
    absent: Absent,
) -> list[Row]:
    """One row per needed (session, symbol); `needed` and `versions` are (K, S) like the facts."""
    signatures = facts.signatures()
    cache: dict[tuple[Any, ...], str] = {}
    rows = []
    for k, s in zip(*(index.tolist() for index in np.nonzero(needed)), strict=True):
        price = none_if_nan(facts.price[k, s])
        why = absent(k, s) if price is None else None
        key = (facts.has_base[k].tobytes(), int(signatures[k, s]), why)
        if key not in cache:
            cache[key] = json.dumps(facts.reasons(k, s, absent=why))
        rows.append(
            (
                ids[s], sessions[k], registry.MODEL_VERSION, int(versions[k, s]), price, BASES[facts.basis[k, s]],
                facts.price_return[k, s].tolist(), facts.total_return[k, s].tolist(), facts.volatility[k, s].tolist(),
                facts.quality(k, s), cache[key],
            )
        )  # fmt: skip
    return rows


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

"""The correlations document, and the decomposition that rests on the same matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.compute import covariance
from services.risk.compute.concentration import risk_hhi
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Book, Kind, Panel, Stack, stack
from services.risk.compute.reasons import SHORT_HISTORY, ZERO_VARIANCE, Document, nullable, symbol_reason
from services.risk.compute.series import Filled
from shared.arrays import FloatVector, IntVector
from shared.market.registry import CORRELATION_MIN_OBS, CORRELATION_WINDOW, COVERAGE_GATE, FACTOR_NAMES

MOST = 20_000  # holdings times holdings would be the honest limit; this keeps a stack within a few hundred megabytes


@dataclass(frozen=True, slots=True)
class Structure:
    """What one unit's correlation matrix says."""

    document: Document
    decomposition: Document
    risk_hhi: float | None
    covered: float
    """Gross value of the holdings in the matrix over gross value."""


def structures(panel: Panel, book: Book, model: FactorModel, units: IntVector, filled: Filled) -> dict[int, Structure]:
    """By unit. Holdings without 63 real returns are left out and named; the others are grouped by how many they are."""
    columns = covariance.columns(filled.values, filled.real, filled.valid)
    found: dict[int, Structure] = {}
    members: dict[int, list[tuple[int, IntVector]]] = {}
    excluded: dict[int, list[Document]] = {}
    for u in units.tolist():
        holdings = np.arange(book.starts[u], book.starts[u + 1])
        rows, s = book.rows[holdings], int(book.session[u])
        at = filled.find(np.full(len(rows), s), rows)
        public = (panel.kinds[rows] == Kind.PUBLIC) & ~book.unpriceable[holdings]
        long_enough = columns.real[at].sum(axis=1) >= CORRELATION_MIN_OBS
        good = public & long_enough & (columns.sd[at] > 0.0)
        excluded[u] = [
            {
                "symbol": panel.symbols[rows[j]],
                "reason": _excluded(panel, s, int(rows[j]), book, int(holdings[j]), bool(long_enough[j])),
            }
            for j in np.flatnonzero(~good).tolist()
        ]
        members.setdefault(int(good.sum()), []).append((u, holdings[good]))
    for count, same in sorted(members.items()):
        step = max(1, MOST // max(1, count * max(1, count // 8)))
        for low in range(0, len(same), step):
            part = same[low : low + step]
            of = stack(book, np.array([u for u, _ in part]), np.array([h for _, h in part]).reshape(len(part), count))
            total = np.array([_gross(book, u) for u, _ in part])
            found |= _stack(panel, model, of, filled, columns, total, [excluded[u] for u, _ in part])
    return found


def _gross(book: Book, unit: int) -> float:
    held = slice(book.starts[unit], book.starts[unit + 1])
    return float((book.long[held] - book.short[held]).sum())


def _excluded(panel: Panel, s: int, row: int, book: Book, holding: int, long_enough: bool) -> str:  # noqa: FBT001 (private)
    reason = symbol_reason(panel, s, row, CORRELATION_WINDOW, unpriceable=bool(book.unpriceable[holding]))
    return ZERO_VARIANCE if reason == SHORT_HISTORY and long_enough else reason


def _stack(
    panel: Panel,
    model: FactorModel,
    of: Stack,
    filled: Filled,
    columns: covariance.Columns,
    total: FloatVector,
    excluded: list[list[Document]],
) -> dict[int, Structure]:
    g, k = of.rows.shape
    held = np.ascontiguousarray(of.gross).sum(axis=-1)
    covered = np.divide(held, total, out=np.ones(g), where=total > 0.0)
    factors = [_factor_correlations(model, s) for s in of.sessions.tolist()]
    if k == 0:
        empty = decomposition_document([], [], None, None, None, [], None, None)
        return {
            int(u): Structure(
                correlation_document([], [], [], None, None, [], excluded[i], factors[i]),
                {**empty, "excluded": excluded[i]},
                None,
                float(covered[i]),
            )
            for i, u in enumerate(of.units)
        }
    index = filled.find(of.sessions[:, None], of.rows)
    matrix = covariance.covariance(columns, index)
    shown = covariance.displayed(matrix)
    mean = nullable(covariance.mean_absolute(shown))
    labels = covariance.clusters(matrix.correlation)
    parts = covariance.decompose(matrix, of.weight)
    trusted = (covered >= COVERAGE_GATE) & np.isfinite(of.nav)
    contributions = np.where(trusted[:, None], parts.contributions, np.nan)
    hhi = nullable(risk_hhi(contributions))
    grids, counts = nullable(shown), matrix.joint_obs.astype(int).tolist()
    table = nullable(np.stack([of.weight, contributions, np.where(trusted[:, None], parts.shares, np.nan)], axis=-1))
    single = nullable(
        np.where(
            trusted[:, None],
            np.stack([parts.volatility, parts.diversification_ratio, parts.effective_bets], axis=-1),
            np.nan,
        )
    )
    n_obs, shrinkage = columns.count[index[:, 0]].tolist(), matrix.shrinkage.tolist()
    found: dict[int, Structure] = {}
    for i, u in enumerate(of.units.tolist()):
        names = [panel.symbols[row] for row in of.rows[i].tolist()]
        groups = _groups(names, labels[i].tolist())
        vol, ratio, bets = single[i]
        found[u] = Structure(
            correlation_document(names, grids[i], counts[i], shrinkage[i], mean[i], groups, excluded[i], factors[i]),
            decomposition_document(names, table[i], vol, shrinkage[i], n_obs[i], excluded[i], ratio, bets),
            hhi[i],
            float(covered[i]),
        )
    return found


def correlation_document(
    labels: list[str],
    matrix: list[list[float | None]],
    n_obs: list[list[int]],
    shrinkage: float | None,
    mean_abs: float | None,
    clusters: list[list[str]],
    excluded: list[Document],
    factors: Document,
) -> Document:
    """The body of the correlations answer."""
    return {
        "labels": labels,
        "matrix": matrix,
        "n_obs": n_obs,
        "shrinkage": shrinkage,
        "mean_abs": mean_abs,
        "clusters": clusters,
        "excluded": excluded,
        "factors": factors,
    }


def decomposition_document(
    labels: list[str],
    table: list[list[float | None]],
    volatility: float | None,
    shrinkage: float | None,
    n_obs: int | None,
    excluded: list[Document],
    ratio: float | None,
    bets: float | None,
) -> Document:
    """The `decomposition` of the risk answer; the model's part is filled in by the caller."""
    return {
        "volatility": volatility,
        "shrinkage": shrinkage,
        "n_obs": n_obs,
        "contributions": [
            {"symbol": label, "weight": weight, "contribution": contribution, "share": share}
            for label, (weight, contribution, share) in zip(labels, table, strict=True)
        ],
        "model_vol": None,
        "factors": [],
        "specific_share": None,
        "diversification_ratio": ratio,
        "effective_bets": bets,
        "excluded": excluded,
    }


def _groups(names: list[str], labels: list[int]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        groups.setdefault(label, []).append(name)
    return list(groups.values())


def _factor_correlations(model: FactorModel, s: int) -> Document:
    index = np.flatnonzero(model.available[s])
    return {
        "labels": [FACTOR_NAMES[k] for k in index.tolist()],
        "matrix": nullable(model.correlation[s][np.ix_(index, index)]),
        "n_obs": CORRELATION_WINDOW,
    }

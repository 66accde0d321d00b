"""The columns of correlations, and of the decomposition that rests on the same matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.risk.compute import covariance
from services.risk.compute.concentration import risk_hhi
from services.risk.compute.consecutive_windows import cut
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Book, Panel, PortfolioGroup, flatten_holdings, has_series, portfolio_group
from services.risk.compute.matrix_members import matrix_members
from services.risk.compute.pairs import Pairs
from services.risk.compute.reasons import Document, nullable, to_rows
from services.risk.compute.series import Filled, coverage
from shared.arrays import FloatMatrix, FloatVector, IntVector
from shared.market.registry import CORRELATION_MIN_OBS, CORRELATION_WINDOW, COVERAGE_GATE, FACTOR_NAMES

MOST_CELLS = 160_000  # returns in one stack: a few copies of them stay in a core's cache


@dataclass(frozen=True, slots=True)
class Structure:
    """What one unit's correlation matrix says."""

    columns: dict[str, Any]
    decomposition: Document
    risk_hhi: float | None
    covered: float
    """Gross value of the holdings in the matrix, each by the share of the 252 sessions that has real returns, over gross value."""


def structures(
    panel: Panel, book: Book, units: IntVector, pairs: Pairs, steady: NDArray[np.bool_], filled: Filled
) -> dict[int, Structure]:
    """By unit. Holdings without 63 real returns are left out and named, and so are those beyond the 200 largest; the others are
    grouped by how many they are.

    steady : by unit whether its pairs are whole; `filled` has the series of the others'.
    """
    columns = covariance.columns(filled.values, filled.real, filled.valid)
    holdings, owner = flatten_holdings(book, units)
    source = book.source[holdings]
    sessions = book.session[units][owner]
    at, alone = pairs.find(sessions, source), ~steady[owner]
    sd = pairs.sd[at]
    sd[alone] = columns.sd[filled.find(sessions[alone], source[alone])]
    public = has_series(panel.kinds[source]) & ~book.unpriceable[holdings]
    long_enough = pairs.own[at] >= CORRELATION_MIN_OBS
    good = public & long_enough & (sd > 0.0)
    counts = np.diff(book.starts)[units]
    # What stands still has no correlation, and none is missing: its part of every risk is 0.
    backed = public & long_enough
    still = np.bincount(owner[backed & ~good], minlength=len(units)) > 0
    members = matrix_members(panel, book, units, long_enough, good)
    good, exposure, excluded = members.good, members.exposure, members.excluded
    gross = book.long[holdings] - book.short[holdings]
    real = np.where(backed & ~members.crowded, pairs.shares[CORRELATION_WINDOW][at], 0.0)
    sizes = np.bincount(owner[good], minlength=len(units))
    found: dict[int, Structure] = {}
    for whole, count, even in sorted(set(zip(counts.tolist(), sizes.tolist(), steady.tolist(), strict=True))):
        same = np.flatnonzero((counts == whole) & (sizes == count) & (steady == even))
        # Owners ascend, so the members of a unit lie together, in its order.
        mine = np.isin(owner, same)
        every = np.ascontiguousarray(gross[mine].reshape(len(same), whole))
        covered = coverage(every, real[mine].reshape(len(same), whole))
        of = portfolio_group(book, units[same], holdings[mine & good].reshape(len(same), count))
        exposure_weight = exposure[mine & good].reshape(len(same), count) / of.nav[:, None]
        for part, matrix, n_obs in _matrices(panel, book, of, pairs, columns, filled, even=even):
            found |= _stack(
                of.units[part],
                exposure_weight[part],
                matrix,
                n_obs,
                covered[part],
                [excluded[u] for u in same[part].tolist()],
                still[same[part]],
            )
    return found


def _matrices(
    panel: Panel,
    book: Book,
    of: PortfolioGroup,
    pairs: Pairs,
    columns: covariance.Columns,
    filled: Filled,
    *,
    even: bool,
) -> Iterator[tuple[IntVector, covariance.Covariance | None, IntVector]]:
    """(positions in the stack, their covariances, sessions behind them), a part of the stack at a time."""
    g, k = of.rows.shape
    if k == 0:
        yield np.arange(g), None, np.zeros(g, dtype=np.int64)
    elif even:
        index = pairs.find(of.sessions[:, None], of.source)
        for runs in cut(panel, book.portfolio[of.units], of.sessions, of.source, CORRELATION_WINDOW):
            part = runs.units.reshape(-1)
            at = index[part]
            matrix = covariance.covariance_of_windows(runs, pairs.mean[at], pairs.sd[at])
            yield part, matrix, np.full(len(part), CORRELATION_WINDOW)
    else:
        index = filled.find(of.sessions[:, None], of.source)
        step = max(1, MOST_CELLS // (k * CORRELATION_WINDOW))
        for low in range(0, g, step):
            part = np.arange(low, min(low + step, g))
            yield part, covariance.covariance(columns, index[part]), columns.count[index[part, 0]]


def _stack(
    units: IntVector,
    exposure_weight: FloatMatrix,
    matrix: covariance.Covariance | None,
    n_obs: IntVector,
    covered: FloatVector,
    excluded: list[list[str | None]],
    still: NDArray[np.bool_],
) -> dict[int, Structure]:
    """still : (g,) whether holdings that do not move are left out of the matrix; with nothing else there is no risk."""
    if matrix is None:
        flat = still & (covered >= COVERAGE_GATE)
        return {
            u: Structure(
                _columns(why), decomposition_document(None, None, 0.0 if none_moves else None, None, None), None, share
            )
            for u, why, share, none_moves in zip(units.tolist(), excluded, covered.tolist(), flat.tolist(), strict=True)
        }
    k = exposure_weight.shape[1]
    shown = covariance.displayed_correlations(matrix)
    labels = list(covariance.clusters(shown))
    parts = covariance.decompose(matrix, exposure_weight)
    enough = covered >= COVERAGE_GATE
    trusted = enough & np.isfinite(exposure_weight).all(axis=1)
    contributions = np.where(trusted[:, None], parts.contributions, np.nan)
    hhi = nullable(risk_hhi(contributions))
    upper, whole = np.triu_indices(k, 1), np.triu_indices(k)
    grids = to_rows(shown[:, upper[0], upper[1]])
    counts = list(matrix.joint_obs[:, whole[0], whole[1]].astype(np.int64))
    shares = to_rows(np.where(trusted[:, None], parts.shares, np.nan))
    euler = to_rows(contributions)
    single = nullable(
        np.where(
            trusted[:, None],
            np.stack([parts.volatility, parts.diversification_ratio, parts.effective_bets], axis=-1),
            np.nan,
        )
    )
    mean = nullable(np.where(enough, covariance.mean_absolute(shown), np.nan))
    shrinkage, tilts = nullable(np.where(enough, matrix.shrinkage, np.nan)), to_rows(exposure_weight)
    behind, shares_covered, good = n_obs.tolist(), covered.tolist(), enough.tolist()
    return {
        u: Structure(
            _columns(
                excluded[i],
                tilts[i],
                euler[i],
                shares[i],
                grids[i],
                counts[i],
                labels[i] if good[i] else (),
                shrinkage[i],
                mean[i],
            ),
            decomposition_document(shrinkage[i], behind[i] if good[i] else None, *single[i]),
            hhi[i],
            shares_covered[i],
        )
        for i, u in enumerate(units.tolist())
    }


def _columns(
    excluded: list[str | None],
    tilts: ArrayLike = (),
    contributions: ArrayLike = (),
    shares: ArrayLike = (),
    correlations: ArrayLike = (),
    n_obs: ArrayLike = (),
    clusters: ArrayLike = (),
    shrinkage: float | None = None,
    mean: float | None = None,
) -> dict[str, Any]:
    return {
        "excluded": excluded,
        "tilts": tilts,
        "contributions": contributions,
        "contribution_shares": shares,
        "correlations": correlations,
        "correlation_n_obs": n_obs,
        "clusters": clusters,
        "shrinkage": shrinkage,
        "mean_correlation": mean,
    }


def decomposition_document(
    shrinkage: float | None,
    n_obs: int | None,
    volatility: float | None,
    ratio: float | None,
    bets: float | None,
) -> Document:
    """The `decomposition` of the risk document; the model's part is filled in by the caller."""
    return {
        "volatility": volatility,
        "shrinkage": shrinkage,
        "n_obs": n_obs,
        "model_vol": None,
        "specific_share": None,
        "diversification_ratio": ratio,
        "effective_bets": bets,
    }


@dataclass(frozen=True, slots=True)
class FactorLabels:
    """By session: the factors that are available, and the upper triangle of their correlations."""

    index: list[list[int]]
    names: list[list[str]]
    correlations: list[FloatVector]


def factor_labels(model: FactorModel) -> FactorLabels:
    """Of every session; sessions with the same factors in one go."""
    sessions = len(model.available)
    of = FactorLabels([[]] * sessions, [[]] * sessions, [np.empty(0)] * sessions)
    for pattern in np.unique(model.available, axis=0):
        same = np.flatnonzero((model.available == pattern).all(axis=1))
        index = np.flatnonzero(pattern)
        upper = np.triu_indices(len(index))
        triangles = to_rows(model.correlation[same[:, None], index[upper[0]], index[upper[1]]])
        names = [FACTOR_NAMES[k] for k in index.tolist()]
        for s, triangle in zip(same.tolist(), triangles, strict=True):
            of.index[s], of.names[s], of.correlations[s] = index.tolist(), names, triangle
    return of

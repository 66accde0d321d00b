"""Covariance of holdings, what the portfolio's volatility is made of, and clusters (docs/methods.md §8).

g portfolios with K holdings each; every matrix product is (K, 252) by (252, K) or (1, K) by (K, 252) of one portfolio, so its digits
depend on no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.risk.compute.consecutive_windows import ConsecutiveWindows, windows
from services.risk.compute.series import blocks, mask_unused
from services.risk.compute.shrinkage import distance, eigenvalue_shrunk, towards_single_index, unit_diagonal
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import (
    CLUSTER_CUT,
    CORRELATION_MIN_OBS,
    CORRELATION_WINDOW,
    SESSIONS_A_YEAR,
    SHRINK_LEAST_RATIO,
)

BLOCK = 16  # portfolios of many holdings whose returns are standardised at a time


@dataclass(frozen=True, slots=True)
class Columns:
    """n standardised series over 252 sessions."""

    standard: FloatMatrix
    """(n, 252) mean 0 and variance 1 (ddof=0) over the valid sessions; 0 on the others."""
    sd: FloatVector
    """(n,) daily, ddof=1; 0 where the series does not move."""
    real: BoolMatrix
    """(n, 252) whether the return is the holding's own."""
    count: IntVector
    """(n,) valid sessions."""
    own: IntVector
    """(n,) sessions with a return of the holding's own."""


def columns(values: FloatMatrix, real: BoolMatrix, valid: BoolMatrix) -> Columns:
    """Standardise the last 252 of filled series (n, LOOKBACK)."""
    window = slice(-CORRELATION_WINDOW, None)
    n = len(values)
    standard, sd, count = np.empty((n, CORRELATION_WINDOW)), np.empty(n), np.empty(n, dtype=np.int64)
    for rows in blocks(n):
        part, use = values[rows, window], valid[rows, window]
        count[rows] = use.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = mask_unused(part, use).sum(axis=1) / count[rows]
            centred = mask_unused(part - mean[:, None], use)
            squares = (centred * centred).sum(axis=1)
            sd0, sd1 = np.sqrt(squares / count[rows]), np.sqrt(squares / (count[rows] - 1.0))
            sd[rows] = zero_where_constant(sd1, count[rows])
            centred /= np.where(sd[rows] > 0.0, sd0, np.inf)[:, None]
        standard[rows] = centred
    own = real[:, window] & valid[:, window]
    return Columns(standard, sd, own, count, own.sum(axis=1))


def zero_where_constant(sd: FloatVector, count: IntVector | int) -> FloatVector:
    """The standard deviations (ddof=1), 0 where a series does not move: a constant one leaves rounding behind, not movement."""
    return np.where(sd * np.sqrt((count - 1.0) / count) > 1e-14, sd, 0.0)


@dataclass(frozen=True, slots=True)
class Covariance:
    correlation: FloatCube
    """(g, K, K) shrunk, unit diagonal."""
    sd: FloatMatrix
    """(g, K) daily, sample (ddof=1): shrinkage does not touch the volatilities."""
    shrinkage: FloatVector
    """(g,) how far that moved the sample's correlations, of their norm."""
    joint_obs: FloatCube
    """(g, K, K) sessions on which both returns are real, as whole floats."""

    def matrix(self) -> FloatCube:
        """(g, K, K) daily covariance."""
        return self.correlation * self.sd[:, :, None] * self.sd[:, None, :]


def covariance(of: Columns, index: IntVector) -> Covariance:
    """Shrunk correlations of the standardised columns `index` (g, K), and how many sessions are behind each pair."""
    x, sd = of.standard[index], of.sd[index]
    count = of.count[index[:, 0]].astype(np.float64)
    gram = np.matmul(x, x.transpose(0, 2, 1)) / count[:, None, None]
    correlation, shrinkage = _estimate(gram, count, lambda rows: x[rows])
    return Covariance(correlation, sd, shrinkage, _joint_obs(of, index))


def covariance_of_windows(of: ConsecutiveWindows, mean: FloatMatrix, sd: FloatMatrix) -> Covariance:
    """The same of units whose windows overlap, without a standardised copy of each window unless there are many holdings.

    mean, sd : (R * L, K), daily, the mean less the anchor's return, ddof=1.
    """
    year, k = of.less_anchor(), mean.shape[1]
    n = float(CORRELATION_WINDOW)
    x = windows(year, CORRELATION_WINDOW)
    gram = np.matmul(x, x.swapaxes(-1, -2)).reshape(-1, k, k) / n - mean[:, :, None] * mean[:, None, :]
    sd0 = sd * np.sqrt((n - 1.0) / n)

    def standardised(rows: IntVector) -> FloatCube:
        flat: FloatCube = x[np.unravel_index(rows, x.shape[:2])] - mean[rows][:, :, None]
        flat /= sd0[rows][:, :, None]
        return flat

    correlation, shrinkage = _estimate(gram / (sd0[:, :, None] * sd0[:, None, :]), np.full(len(mean), n), standardised)
    return Covariance(correlation, sd, shrinkage, np.full(correlation.shape, n))


def _estimate(
    sample: FloatCube, count: FloatVector, standardised: Callable[[IntVector], FloatCube]
) -> tuple[FloatCube, FloatVector]:
    """(correlations, how far they moved) on standardised columns: on raw ones what is shrunk is drawn to the mean variance, which inflates
    a T-bill fund's volatility twelvefold.

    standardised : (rows, K, 252) of some units, asked for where the holdings are too many for their eigenvalues to be known
    """
    k = sample.shape[1]
    plain = unit_diagonal(sample)
    if k == 1:
        return plain, np.zeros(len(sample))
    shrunk = plain.copy()
    known = count > SHRINK_LEAST_RATIO * k
    if known.any():
        shrunk[known] = unit_diagonal(eigenvalue_shrunk(plain[known], count[known]))
    for rows in np.array_split(np.flatnonzero(~known), max(1, int((~known).sum()) // BLOCK)):
        if len(rows):
            shrunk[rows] = unit_diagonal(towards_single_index(standardised(rows), count[rows])[0])
    return shrunk, distance(shrunk, plain)


def _joint_obs(of: Columns, index: IntVector) -> FloatCube:
    if (of.own[index] == CORRELATION_WINDOW).all():
        return np.full((*index.shape, index.shape[1]), float(CORRELATION_WINDOW))
    # Whole numbers far below 2^24: single precision is exact.
    real = of.real[index].astype(np.float32)
    count: FloatCube = np.matmul(real, real.transpose(0, 2, 1)).astype(np.float64)
    return count


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Annualised. NaN where the weights are unknown; shares NaN where there is no risk."""

    volatility: FloatVector
    contributions: FloatMatrix
    """(g, K) Euler: they sum to the volatility."""
    shares: FloatMatrix
    diversification_ratio: FloatVector
    effective_bets: FloatVector


def decompose(of: Covariance, weight: FloatMatrix) -> Decomposition:
    """σ_p = √(w'Σw) and its parts; weights (g, K) signed fractions of NAV.

    Effective bets are exp of the entropy of the shares of variance along Σ's principal axes (Meucci 2009).
    """
    sigma = of.matrix() * SESSIONS_A_YEAR
    marginal = (sigma * weight[:, None, :]).sum(axis=-1)
    variance = (weight * marginal).sum(axis=-1)
    volatility = np.sqrt(np.maximum(variance, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        contributions = np.where(volatility[:, None] > 0.0, weight * marginal / volatility[:, None], weight * 0.0)
        shares = np.where(volatility[:, None] > 0.0, contributions / volatility[:, None], np.nan)
        ratio = (np.abs(weight) * of.sd).sum(axis=-1) * np.sqrt(SESSIONS_A_YEAR) / volatility
        value, vector = np.linalg.eigh(sigma)
        along = (vector.transpose(0, 2, 1) * weight[:, None, :]).sum(axis=-1)
        p = np.maximum(value, 0.0) * along * along / variance[:, None]
        entropy = -np.where(p > 0.0, p * np.log(np.where(p > 0.0, p, 1.0)), 0.0).sum(axis=-1)
        moves = volatility > 0.0
        return Decomposition(
            volatility, contributions, shares, np.where(moves, ratio, np.nan), np.where(moves, np.exp(entropy), np.nan)
        )


def displayed_correlations(of: Covariance) -> FloatCube:
    """(g, K, K) correlations, NaN for pairs with fewer than 63 jointly real returns."""
    shown = of.correlation.copy()
    k = shown.shape[1]
    hidden = of.joint_obs < CORRELATION_MIN_OBS
    hidden[:, np.arange(k), np.arange(k)] = False
    shown[hidden] = np.nan
    return shown


def mean_absolute(shown: FloatCube) -> FloatVector:
    """(g,) mean |ρ| over displayed pairs i < j; NaN without a pair."""
    upper = np.triu_indices(shown.shape[1], 1)
    pairs = np.abs(np.ascontiguousarray(shown[:, upper[0], upper[1]]))
    known = np.isfinite(pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: FloatVector = np.where(known, pairs, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean


def clusters(correlation: FloatCube) -> IntVector:
    """(g, K) label of each holding's cluster: the lowest index of its members. NaN is unknown: such a pair shares no cluster.

    Average linkage on √(½(1-ρ)), cut at √0.15, all portfolios in step: Lance-Williams updates, ties to the lowest pair.
    """
    g, k, _ = correlation.shape
    distance = np.sqrt(np.maximum(0.5 * (1.0 - correlation), 0.0))
    # An average with an unknown distance in it stays out of reach, whatever joins the two.
    distance[np.isnan(distance)] = np.inf
    distance[:, np.arange(k), np.arange(k)] = np.inf
    size = np.ones((g, k))
    label = np.tile(np.arange(k), (g, 1))
    cut, unit = float(np.sqrt(CLUSTER_CUT)), np.arange(g)
    for _ in range(k - 1):
        flat = distance.reshape(len(unit), -1).argmin(axis=1)
        low, high = np.divmod(flat, k)  # the first smallest entry lies above the diagonal: low < high
        at = np.flatnonzero(distance.reshape(len(unit), -1)[np.arange(len(unit)), flat] <= cut)
        if len(at) == 0:
            break
        if len(at) < len(unit):
            # Joined clusters are never nearer than what was joined, so a portfolio without a pair left is done.
            distance, size, unit, low, high = distance[at], size[at], unit[at], low[at], high[at]
        row = np.arange(len(unit))
        a, b = size[row, low], size[row, high]
        joined = (a[:, None] * distance[row, low] + b[:, None] * distance[row, high]) / (a + b)[:, None]
        joined[row, low] = np.inf
        distance[row, low] = joined
        distance[row, :, low] = joined
        distance[row, high] = np.inf
        distance[row, :, high] = np.inf
        size[row, low] = a + b
        label[unit] = np.where(label[unit] == high[:, None], low[:, None], label[unit])
    return label

"""Estimates of a correlation matrix from few observations (docs/methods.md §8).

Many observations a holding: the eigenvalues of the sample are shrunk one by one, which keeps near-twins near-twins. Few: the sample
is drawn towards a single-index model. Every matrix product is of one portfolio, so its digits depend on no other.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import FloatCube, FloatMatrix, FloatVector

RANK = 1e-12  # of the largest eigenvalue: what is smaller is rounding, and inverted would drown the others
_SAME = 1e-12  # of the sample's squared norm: a target this near leaves nothing to estimate an intensity from
_SMOOTHING = 0.35  # exponent of the bandwidth, by Ledoit and Wolf (2022)


def eigenvalue_shrunk(sample: FloatCube, count: FloatVector) -> FloatCube:
    """Quadratic-inverse shrinkage (Ledoit and Wolf 2022), of any scale: the caller normalises it.

    sample : (g, K, K) second moments about the mean. count : (g,) sessions behind them, more than K + 1. With λ the eigenvalues,
    c = K/(n - 1) and h = min(c², 1/c²)^0.35 / K^0.35, θ_i = mean_j of λ_j⁻¹ (λ_j⁻¹ - λ_i⁻¹) / q_ij, its conjugate mean_j of h λ_j⁻² / q_ij,
    q_ij = (λ_j⁻¹ - λ_i⁻¹)² + h² λ_j⁻²; eigenvalue i becomes λ_i / ((1-c)² + 2c(1-c) θ_i + c² (θ_i² + conjugate_i²)).
    """
    k = sample.shape[1]
    c = k / (count - 1.0)
    value, vector = np.linalg.eigh(sample)
    value = np.maximum(value, RANK * value[:, -1:])
    inverse = 1.0 / value
    h = (np.minimum(c * c, 1.0 / (c * c)) ** _SMOOTHING / k**_SMOOTHING)[:, None, None]
    other = inverse[:, None, :]
    apart = other - inverse[:, :, None]
    near = apart * apart + h * h * other * other
    theta = (other * apart / near).sum(axis=-1) / k
    conjugate = (h * other * other / near).sum(axis=-1) / k
    c = c[:, None]
    divisor = (1.0 - c) ** 2 + 2.0 * c * (1.0 - c) * theta + c * c * (theta * theta + conjugate * conjugate)
    shrunk: FloatCube = np.matmul(vector * (value / divisor)[:, None, :], vector.transpose(0, 2, 1))
    return shrunk


def towards_single_index(x: FloatCube, count: FloatVector) -> tuple[FloatCube, FloatVector]:
    """(second moments, intensity) by Ledoit and Wolf (2003): towards one index, the mean of the holdings' standardised returns.

    x : (g, K, T) returns less their mean, 0 on sessions that do not count. count : (g,) those that do.
    """
    k, n = x.shape[1], count[:, None, None]
    index = np.ascontiguousarray(x.transpose(0, 2, 1)).sum(axis=-1)[:, None, :] / k
    sample = np.matmul(x, x.transpose(0, 2, 1)) / n
    load = (x * index).sum(axis=-1) / count[:, None]
    variance = (index * index).sum(axis=-1) / count[:, None]
    moving = variance[:, 0] > RANK
    variance = np.where(variance > RANK, variance, 1.0)[:, :, None]
    both = load[:, :, None] * load[:, None, :] / variance
    own = np.eye(k, dtype=np.bool_)
    target = np.where(own, sample, both)
    squares, along = x * x, x * index
    spread = np.matmul(squares, squares.transpose(0, 2, 1)) / n - sample * sample
    # How the sample's and the target's errors go together: off the diagonal through the loadings and the index's variance.
    first = np.matmul(squares, along.transpose(0, 2, 1)) / n - load[:, :, None] * sample
    third = np.matmul(along, along.transpose(0, 2, 1)) / n - variance * sample
    joint = np.where(own, spread, 2.0 * first * load[:, None, :] / variance - third * both / variance)
    distance = _total((sample - target) ** 2)
    apart = moving & (distance > _SAME * _total(sample * sample))
    intensity = np.divide(_total(spread - joint), distance * count, out=np.zeros_like(distance), where=apart)
    intensity = np.clip(intensity, 0.0, 1.0)
    part = intensity[:, None, None]
    return (1.0 - part) * sample + part * target, intensity


def unit_diagonal(of: FloatCube) -> FloatCube:
    """(g, K, K) the correlations of a covariance, within ±1 and symmetric."""
    diagonal = np.arange(of.shape[1])
    scale = np.sqrt(of[:, diagonal, diagonal])
    scaled = of / (scale[:, :, None] * scale[:, None, :])
    correlation: FloatCube = np.clip(0.5 * (scaled + scaled.transpose(0, 2, 1)), -1.0, 1.0)
    correlation[:, diagonal, diagonal] = 1.0
    return correlation


def distance(estimate: FloatCube, sample: FloatCube) -> FloatVector:
    """(g,) how far an estimate has moved a sample's correlations: the Frobenius norm of what was changed over that of the sample."""
    moved: FloatVector = np.sqrt(_total((estimate - sample) ** 2) / _total(sample * sample))
    return moved


def _total(of: FloatCube) -> FloatMatrix:
    total: FloatVector = of.reshape(len(of), -1).sum(axis=-1)
    return total

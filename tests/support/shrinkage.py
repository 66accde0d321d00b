"""Shrunk correlation matrices another way: plain loops over the formulas of the papers."""

from __future__ import annotations

import numpy as np

from shared.arrays import FloatMatrix


def quadratic_inverse(x: FloatMatrix) -> FloatMatrix:
    """Ledoit and Wolf (2022) on the correlations of x (n, K): eigenvalue by eigenvalue, with scalars."""
    sample = np.corrcoef(x, rowvar=False)
    n, k = len(x) - 1, x.shape[1]
    c = k / n
    h = min(c**2, 1 / c**2) ** 0.35 / k**0.35
    eigen, vectors = np.linalg.eigh(sample)
    values = [max(float(v), 1e-12 * float(eigen[-1])) for v in eigen]
    total = np.zeros((k, k))
    for i in range(k):
        theta = conjugate = 0.0
        for j in range(k):
            gap = 1 / values[j] - 1 / values[i]
            below = gap**2 + h**2 / values[j] ** 2
            theta += gap / values[j] / below / k
            conjugate += h / values[j] ** 2 / below / k
        inverse = ((1 - c) ** 2 + 2 * c * (1 - c) * theta + c**2 * (theta**2 + conjugate**2)) / values[i]
        total += np.outer(vectors[:, i], vectors[:, i]) / inverse
    return unit(total)


def single_index(x: FloatMatrix) -> tuple[FloatMatrix, float]:
    """(correlations, intensity) of Ledoit and Wolf (2003) on the standardised columns of x (n, K), by loops over pairs and sessions."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    n, k = z.shape
    m = z.mean(axis=1)
    s = z.T @ z / n
    load, var = z.T @ m / n, float(m @ m / n)
    target = np.outer(load, load) / var
    np.fill_diagonal(target, np.diag(s))
    pi = rho = 0.0
    for i in range(k):
        for j in range(k):
            own = float(np.mean((z[:, i] * z[:, j] - s[i, j]) ** 2))
            pi += own
            if i == j:
                rho += own
                continue
            # Asymptotic covariance of the sample's element with the target's, by the delta method.
            product = z[:, i] * z[:, j] - s[i, j]
            by_i = load[j] / var * float(np.mean((z[:, i] * m - load[i]) * product))
            by_j = load[i] / var * float(np.mean((z[:, j] * m - load[j]) * product))
            by_market = load[i] * load[j] / var**2 * float(np.mean((m * m - var) * product))
            rho += by_i + by_j - by_market
    gamma = float(((s - target) ** 2).sum())
    intensity = min(1.0, max(0.0, (pi - rho) / gamma / n))
    return unit(intensity * target + (1 - intensity) * s), intensity


def unit(of: FloatMatrix) -> FloatMatrix:
    scale = np.sqrt(np.diag(of))
    found: FloatMatrix = of / np.outer(scale, scale)
    return found


def moved(estimate: FloatMatrix, x: FloatMatrix) -> float:
    """How far an estimate is from the sample's correlations, of their norm."""
    sample = np.corrcoef(x, rowvar=False)
    return float(np.linalg.norm(estimate - sample) / np.linalg.norm(sample))

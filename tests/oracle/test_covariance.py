"""Shrunk correlations, tails and clusters against plain loops and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import norm

from services.risk.compute import covariance
from services.risk.compute.tail import tails
from shared.market.registry import LOOKBACK
from tests.support import chain
from tests.support.chain import Unit, pictured
from tests.support.shrinkage import moved, quadratic_inverse

STOCKS = [f"S{i}" for i in range(12)]
RETURNS = chain.market(8, LOOKBACK, STOCKS)


@pytest.mark.parametrize("k", [2, 5, 12])
def test_correlations_and_shrinkage_are_those_of_a_plain_loop(k: int) -> None:
    """1e-8 of what was changed, 1e-10 of a correlation: eigenvalues of the same sums of 252 products, associated differently."""
    held = STOCKS[:k]
    of = pictured(chain.panel(RETURNS), Unit(100.0, dict.fromkeys(held, 100.0 / k)))[0]
    raw = chain.window(RETURNS, sorted(held), 252)
    correlation = quadratic_inverse(raw)
    assert of.correlations["labels"] == sorted(held)
    assert of.correlations["shrinkage"] == pytest.approx(moved(correlation, raw), rel=1e-8)
    assert np.array(of.correlations["matrix"]) == pytest.approx(correlation, abs=1e-10)
    sigma = correlation * np.outer(raw.std(axis=0, ddof=1), raw.std(axis=0, ddof=1)) * 252
    weight = np.full(k, 1.0 / k)
    # 1e-10: a root of a sum of k² products.
    assert of.risk["decomposition"]["volatility"] == pytest.approx(np.sqrt(weight @ sigma @ weight), rel=1e-10)


def test_shrinkage_brings_eigenvalues_together_and_keeps_their_axes() -> None:
    """What is shrunk, before it is brought to a unit diagonal, has the sample's eigenvectors; the extremes come nearer."""
    of = pictured(chain.panel(RETURNS), Unit(100.0, dict.fromkeys(STOCKS, 5.0)))[0].correlations
    plain = np.corrcoef(chain.window(RETURNS, of["labels"], 252), rowvar=False)
    ours, theirs = np.linalg.eigvalsh(np.array(of["matrix"])), np.linalg.eigvalsh(plain)
    assert ours[0] > theirs[0]
    assert ours[-1] < theirs[-1]
    assert 0.0 < of["shrinkage"] < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_scipys_average_linkage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    themes = rng.normal(0.0, 0.01, (4, LOOKBACK))
    values = themes[rng.integers(0, 4, 14)] + rng.uniform(0.002, 0.012, (14, 1)) * rng.normal(size=(14, LOOKBACK))
    everything = np.ones(values.shape, dtype=np.bool_)
    of = covariance.covariance(covariance.columns(values, everything, everything), np.arange(14)[None])
    distance = np.sqrt(0.5 * (1.0 - of.correlation[0]))
    np.fill_diagonal(distance, 0.0)
    expected = fcluster(linkage(squareform(distance, checks=False), "average"), np.sqrt(0.15), "distance")
    found = covariance.clusters(of.correlation)[0]
    assert np.array_equal(found[:, None] == found[None, :], expected[:, None] == expected[None, :])


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_normal_var_and_es_are_scipys(level: float) -> None:
    """1e-12: one multiplication of a quantile that both libraries have to the last digits."""
    r = RETURNS["S0"][None, :]
    normal = next(t for t in tails(r, np.ones(r.shape, np.bool_), (level,)) if t.method == "normal")
    mean, sd = r.mean(), r.std(ddof=1)
    assert normal.var[0] == pytest.approx(-norm.ppf(1 - level, mean, sd), rel=1e-12)
    # E[x | x <= q] of a normal by its truncated mean.
    q = norm.ppf(1 - level, mean, sd)
    assert normal.es[0] == pytest.approx(
        -norm.expect(lambda x: x, loc=mean, scale=sd, ub=q, conditional=True), rel=1e-7
    )

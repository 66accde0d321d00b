"""Shrinkage, decomposition and clusters against scipy and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.covariance import LedoitWolf

from services.risk.compute import covariance
from services.risk.compute.covariance import Columns, Covariance
from shared.arrays import FloatMatrix
from shared.market.registry import LOOKBACK
from tests.support.shrinkage import moved, quadratic_inverse, single_index

RNG = np.random.default_rng(17)
K = 8


def returns(k: int = K, seed: int = 17) -> FloatMatrix:
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0, 0.01, LOOKBACK)
    return rng.uniform(0.2, 1.5, (k, 1)) * common + rng.uniform(0.0001, 0.02, (k, 1)) * rng.standard_t(4, (k, LOOKBACK))


def columns(values: FloatMatrix, real: FloatMatrix | None = None) -> Columns:
    everything = np.ones(values.shape, dtype=np.bool_)
    return covariance.columns(values, everything if real is None else real.astype(np.bool_), everything)


def matrix(values: FloatMatrix) -> Covariance:
    return covariance.covariance(columns(values), np.arange(len(values))[None, :])


@pytest.mark.parametrize("k", [2, 3, 8, 30, 125])
def test_eigenvalues_are_shrunk_as_a_plain_loop_shrinks_them(k: int) -> None:
    values = returns(k)
    window = values[:, -252:].T
    correlation = quadratic_inverse(window)
    found = matrix(values)
    sd = window.std(axis=0, ddof=1)
    assert found.shrinkage[0] == pytest.approx(moved(correlation, window), rel=1e-8)
    assert found.correlation[0] == pytest.approx(correlation, abs=1e-12)
    assert found.matrix()[0] == pytest.approx(correlation * np.outer(sd, sd), rel=1e-10)


def test_shrinkage_leaves_every_volatility_as_it_is() -> None:
    """Raw columns inflate a T-bill fund's volatility twelvefold [T]."""
    values = returns()
    values[0] *= 1e-3
    variance = np.diagonal(matrix(values).matrix()[0])
    assert np.sqrt(variance) == pytest.approx(values[:, -252:].std(axis=1, ddof=1), rel=1e-12)
    raw = LedoitWolf().fit(values[:, -252:].T).covariance_
    assert math.sqrt(raw[0, 0]) > 5.0 * math.sqrt(variance[0])


@pytest.mark.parametrize("k", [126, 140])
def test_with_two_sessions_a_holding_or_fewer_the_target_is_a_single_index(k: int) -> None:
    values = returns(k)
    values[:, :-252] = 0.0
    window = values[:, -252:].T
    correlation, intensity = single_index(window)
    assert 0.0 < intensity < 1.0
    found = matrix(values)
    assert found.correlation[0] == pytest.approx(correlation, abs=1e-10)
    assert found.shrinkage[0] == pytest.approx(moved(correlation, window), rel=1e-8)


def test_an_index_that_explains_everything_leaves_nothing_to_shrink() -> None:
    """Target and sample are the same: an intensity from their difference would be a ratio of roundings."""
    common = np.random.default_rng(4).normal(0.0, 0.01, LOOKBACK)
    found = matrix(np.linspace(0.5, 1.5, 130)[:, None] * common)
    assert found.correlation[0] == pytest.approx(np.ones((130, 130)), abs=1e-12)
    assert found.shrinkage[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("beside", [0, 10])
@pytest.mark.parametrize("noise", [0.0, 0.0005, 0.002])
def test_near_twins_stay_near_twins_alone_and_in_a_book_of_twelve(beside: int, noise: float) -> None:
    """Towards zero correlation, the volatility of a long hedged by its twin was shown eleven times too high."""
    rng = np.random.default_rng(12)
    common = rng.normal(0.0, 0.01, LOOKBACK)
    values = np.vstack([common, common + noise * rng.normal(size=LOOKBACK), returns(max(beside, 1))[:beside]])
    of = matrix(values)
    sample = float(np.asarray(np.corrcoef(values[:2, -252:]))[0, 1])
    assert sample > 0.97
    assert of.correlation[0, 0, 1] == pytest.approx(sample, abs=0.01)
    weight = np.zeros((1, 2 + beside))
    weight[0, :2] = 1.0, -1.0
    realized = (values[0] - values[1])[-252:].std(ddof=1) * math.sqrt(252)
    assert covariance.decompose(of, weight).volatility[0] == pytest.approx(realized, rel=0.25, abs=1e-6)


def test_one_holding_is_not_shrunk() -> None:
    found = matrix(returns(1))
    assert (found.shrinkage[0], found.correlation[0, 0, 0]) == (0.0, 1.0)


def test_a_series_that_does_not_move_has_no_spread() -> None:
    values = returns()
    values[3] = 0.0001
    assert columns(values).sd[3] == 0.0


def test_jointly_real_sessions_are_counted_and_too_few_are_not_shown() -> None:
    real = np.ones((K, LOOKBACK))
    real[0, -126:] = 0.0
    real[1, -252:-64] = 0.0
    of = columns(returns(), real)
    found = covariance.covariance(of, np.arange(K)[None, :])
    assert found.joint_obs[0, 0, 1] == 0.0
    assert found.joint_obs[0, 0, 2] == 126.0
    assert found.joint_obs[0, 1, 2] == 64.0
    shown = covariance.displayed_correlations(found)[0]
    assert np.isnan(shown[0, 1])
    assert np.isfinite(shown[0, 2])
    assert np.isfinite(shown[1, 2])
    assert shown[0, 0] == 1.0
    pairs = [abs(shown[i, j]) for i in range(K) for j in range(i) if np.isfinite(shown[i, j])]
    assert covariance.mean_absolute(shown[None])[0] == pytest.approx(sum(pairs) / len(pairs), rel=1e-14)


def weights(k: int = K) -> FloatMatrix:
    weight = RNG.normal(0.1, 0.2, (5, k))
    weight[0] = np.abs(weight[0])
    return weight


def test_contributions_sum_to_the_volatility() -> None:
    of = matrix(returns())
    for weight in weights():
        parts = covariance.decompose(of, weight[None])
        sigma = of.matrix()[0] * 252
        assert parts.volatility[0] == pytest.approx(math.sqrt(weight @ sigma @ weight), rel=1e-12)
        assert abs(parts.contributions[0].sum() - parts.volatility[0]) < 1e-12
        assert parts.contributions[0] == pytest.approx(weight * (sigma @ weight) / parts.volatility[0], rel=1e-10)
        assert parts.shares[0].sum() == pytest.approx(1.0, abs=1e-12)


def test_contributions_are_derivatives_of_the_volatility() -> None:
    """Euler: w_i ∂σ/∂w_i, by finite differences."""
    of, weight, step = matrix(returns()), weights()[1], 1e-6
    parts = covariance.decompose(of, weight[None])
    for i in range(K):
        up, down = weight.copy(), weight.copy()
        up[i] += step
        down[i] -= step
        slope = (
            covariance.decompose(of, up[None]).volatility[0] - covariance.decompose(of, down[None]).volatility[0]
        ) / (2 * step)
        assert parts.contributions[0, i] == pytest.approx(weight[i] * slope, abs=1e-8)


def test_a_hedging_short_contributes_negatively() -> None:
    common = np.random.default_rng(2).normal(0.0, 0.01, LOOKBACK)
    noise = np.random.default_rng(3).normal(0.0, 0.001, (2, LOOKBACK))
    parts = covariance.decompose(matrix(common + noise), np.array([[1.0, -0.4]]))
    assert parts.contributions[0, 1] < 0.0 < parts.contributions[0, 0]


def test_diversification_ratio_and_effective_bets_by_hand() -> None:
    """Two uncorrelated holdings of equal risk are √2 and two bets; where one bears four fifths of the variance, fewer."""
    of = Covariance(np.eye(2)[None], np.array([[0.01, 0.01]]), np.zeros(1), np.full((1, 2, 2), 252.0))
    parts = covariance.decompose(of, np.array([[0.5, 0.5]]))
    assert parts.diversification_ratio[0] == pytest.approx(math.sqrt(2))
    assert parts.effective_bets[0] == pytest.approx(2.0)
    unequal = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    # By its weight, where both move alike; and by its own movement, where the weights are even.
    assert covariance.decompose(of, np.array([[0.6, 0.3]])).effective_bets[0] == pytest.approx(unequal)
    of = Covariance(np.eye(2)[None], np.array([[0.02, 0.01]]), np.zeros(1), np.full((1, 2, 2), 252.0))
    assert covariance.decompose(of, np.array([[0.5, 0.5]])).effective_bets[0] == pytest.approx(unequal)


def test_a_portfolio_without_weight_has_no_risk_and_no_shares() -> None:
    parts = covariance.decompose(matrix(returns()), np.zeros((1, K)))
    assert parts.volatility[0] == 0.0
    assert parts.contributions[0].tolist() == [0.0] * K
    assert np.isnan(parts.shares).all()
    assert np.isnan(parts.effective_bets[0])


@pytest.mark.parametrize("seed", range(12))
def test_clusters_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.normal(0.0, 0.01, (4, LOOKBACK))
    values = groups[rng.integers(0, 4, 15)] + rng.uniform(0.002, 0.012, (15, 1)) * rng.normal(0.0, 1.0, (15, LOOKBACK))
    correlation = matrix(values).correlation
    labels = covariance.clusters(correlation)[0]
    distance = np.sqrt(0.5 * (1.0 - correlation[0]))
    np.fill_diagonal(distance, 0.0)
    expected = fcluster(linkage(squareform(distance, checks=False), "average"), math.sqrt(0.15), "distance")
    same = labels[:, None] == labels[None, :]
    assert np.array_equal(same, expected[:, None] == expected[None, :])
    assert all(labels[label] == label for label in labels)


def test_clusters_of_many_portfolios_are_those_of_each() -> None:
    correlations = np.concatenate([matrix(returns(seed=seed)).correlation for seed in range(6)])
    together = covariance.clusters(correlations)
    for i in range(6):
        assert np.array_equal(together[i], covariance.clusters(correlations[i : i + 1])[0])

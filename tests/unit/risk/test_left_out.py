"""Columns that are not stored are worked out, when they are read, to the last bit as they were stored before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.coordinator.results.risk_rows import (
    read_model,
    read_observations,
    read_reasons,
    read_shares,
    read_tails,
    read_texts,
    read_tilts,
    read_weights,
)
from services.risk.compute.reasons import to_rows
from services.risk.compute.report import without_what_follows
from shared.market.registry import FACTOR_NAMES
from shared.market.stress_losses import pack_shocks

ROWS = 4_000


def doubles(values: Sequence[float]) -> bytes:
    return np.array(values, dtype=np.float64).tobytes()


def test_thousands_of_rows_come_back_bit_for_bit() -> None:
    """Of no holding, one, and many; shorts, nothing in a holding, NAVs of nothing, figures that are unknown, negative zeros."""
    rng, drawn = np.random.default_rng(87), random.Random(87)
    for _ in range(ROWS):
        k = drawn.choice([0, 1, 2, 13, 30])
        value = rng.normal(0.0, 1e5, k) * (rng.random(k) > 0.1)
        nav = np.float64(np.nan if drawn.random() < 0.05 else rng.lognormal(12.0, 3.0))
        weight = value / nav
        inside = rng.random(k) > 0.1
        marginal, incremental = rng.normal(0.0, 0.01, (2, k)) * (rng.random((2, k)) > 0.1)
        marginal[rng.random(k) < 0.1] = np.nan
        contributions = np.where(rng.random(inside.sum()) < 0.02, np.nan, rng.normal(0.0, 0.1, inside.sum()))
        volatility = drawn.choice([0.0, None, float(rng.lognormal(-2.0, 1.0))])
        parts = contributions / volatility if volatility else np.full(len(contributions), np.nan)
        before = {
            "weights": to_rows(weight[None])[0],
            "tilts": to_rows(weight[inside][None])[0],
            "contribution_shares": to_rows(parts[None])[0],
            "tail_parts": to_rows(np.stack([weight * marginal, marginal, incremental], axis=-1).reshape(1, -1))[0],
        }
        row: dict[str, Any] = {
            "symbols": ["X"] * k,
            "exposure_values": to_rows(value[None])[0].tolist(),
            "nav": float(nav),
            "excluded": [None if own else "short_history" for own in inside.tolist()],
            "contributions": to_rows(contributions[None])[0].tolist(),
            "risk": {"decomposition": {"volatility": volatility}},
        }
        short = row | without_what_follows({**before, "stress_direct": None})
        short["tail_parts"] = short["tail_parts"].tolist()
        assert doubles(read_weights(short)) == before["weights"].tobytes()
        assert doubles(read_tilts(short)) == before["tilts"].tobytes()
        assert doubles(read_shares(short)) == before["contribution_shares"].tobytes()
        assert doubles(read_tails(short)) == before["tail_parts"].tobytes()


def test_of_a_portfolio_with_options_everything_is_stored() -> None:
    columns = {
        "stress_direct": [0.1],
        "weights": [0.5],
        "tilts": [0.6],
        "contribution_shares": [1.0],
        "tail_parts": [1.0, 2.0, 3.0],
    }
    assert without_what_follows(columns) == columns
    row = columns | {"symbols": ["X"], "exposure_values": [float("nan")], "nav": 3.0}
    assert (read_weights(row), read_tilts(row), read_shares(row), read_tails(row)) == (
        [0.5],
        [0.6],
        [1.0],
        [1.0, 2.0, 3.0],
    )


def test_what_is_the_same_of_all_is_stored_once() -> None:
    assert read_observations({"correlation_n_obs": [252]}, 3) == [252] * 6
    assert read_observations({"correlation_n_obs": [252, 63, 252]}, 2) == [252, 63, 252]
    assert read_observations({"correlation_n_obs": [252]}, 1) == [252]
    assert read_observations({"correlation_n_obs": []}, 0) == []
    assert read_texts({"excluded": None}, "excluded", 2) == [None, None]
    assert read_texts({"excluded": [None, "private"]}, "excluded", 2) == [None, "private"]
    shocks = pack_shocks(np.zeros((4, len(FACTOR_NAMES))), np.zeros(2 * len(FACTOR_NAMES)))
    assert read_reasons({"stress_reasons": None, "shocks": shocks}) == [None, None]
    assert read_reasons({"stress_reasons": ["low_coverage"], "shocks": None}) == ["low_coverage"]


def test_the_model_is_the_session_s_or_the_row_s_own() -> None:
    shared = {"factor_names": ["market"], "factor_matrix": [1.0]}
    assert read_model({"model_factors": None, "factor_correlations": None, **shared}) == (["market"], [1.0])
    own = {"model_factors": ["size"], "factor_correlations": [0.5], "factor_names": None, "factor_matrix": None}
    assert read_model(own) == (["size"], [0.5])

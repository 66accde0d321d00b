"""Every stored digit is the same whoever asks: alone or in a crowd, in any order, live or years later."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.factors.compute import Exposures, Metrics, Prices, exposures, metrics
from shared.arrays import FloatMatrix, IntVector
from tests.support.examples import examples
from tests.unit.factors.market import WINDOW, Market, market

SESSIONS = WINDOW + 40
SYMBOLS = 75  # more than two blocks, so that symbols change blocks and places within them


@pytest.fixture(scope="module")
def universe() -> Market:
    data = market(sessions=SESSIONS, symbols=SYMBOLS)
    rng = np.random.default_rng(3)
    data.returns[:, ::3] = np.where(rng.random((SESSIONS, SYMBOLS))[:, ::3] < 0.04, np.nan, data.returns[:, ::3])
    data.returns[100:103, ::6] = np.nan  # a halt that many share
    data.returns[:150, 5] = np.nan
    data.proxies[20, 0] = np.nan  # SPY is whole only from the 21st session on
    return data


@pytest.fixture(scope="module")
def everything(universe: Market) -> Exposures:
    return exposures(universe.returns, universe.proxies, np.arange(WINDOW - 1, SESSIONS))


NAMES = ("market", "shrunk", "ir_beta", "spreads", "joint", "joint_stderr", "fit", "n_obs", "varies")


def assert_same(part: Exposures, whole: Exposures, ks: IntVector, ss: IntVector) -> None:
    for name in NAMES:
        expected = getattr(whole, name)[np.ix_(ks, ss)]
        assert getattr(part, name).tobytes() == expected.tobytes(), name
    assert part.geometry.slopes.tobytes() == whole.geometry.slopes[ks].tobytes()
    assert part.geometry.sigmas.tobytes() == whole.geometry.sigmas[ks].tobytes()
    assert part.geometry.symbols == [whole.geometry.symbols[k] for k in ks]


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, SYMBOLS), sessions=st.integers(1, 40))
def test_any_subset_in_any_order_has_the_same_digits(
    universe: Market, everything: Exposures, seed: int, symbols: int, sessions: int
) -> None:
    rng = np.random.default_rng(seed)
    ss = rng.permutation(SYMBOLS)[:symbols]
    ks = rng.permutation(SESSIONS - WINDOW + 1)[:sessions]
    part = exposures(universe.returns[:, ss], universe.proxies, ks + WINDOW - 1)
    assert_same(part, everything, ks, ss)


def test_what_comes_later_changes_nothing(universe: Market, everything: Exposures) -> None:
    """Live, on the evening of each session, against the backfill."""
    for k in (0, 5, 21, 22, 40):
        end = WINDOW + k
        live = exposures(universe.returns[:end], universe.proxies[:end], np.array([end - 1]))
        assert_same(live, everything, np.array([k]), np.arange(SYMBOLS))


def test_what_lies_before_the_window_changes_nothing(universe: Market, everything: Exposures) -> None:
    """A batch that begins later reads a shorter rectangle."""
    for start in (0, 17, 39):
        part = exposures(universe.returns[start:], universe.proxies[start:], np.array([WINDOW - 1]))
        assert_same(part, everything, np.array([start]), np.arange(SYMBOLS))


def test_other_symbols_returns_change_nothing(universe: Market, everything: Exposures) -> None:
    noise = np.random.default_rng(1).normal(size=universe.returns.shape)
    returns = np.where(np.arange(SYMBOLS) % 2 == 0, universe.returns, noise)
    part = exposures(returns, universe.proxies, np.arange(WINDOW - 1, SESSIONS))
    for name in NAMES:
        assert getattr(part, name)[:, ::2].tobytes() == getattr(everything, name)[:, ::2].tobytes(), name


def test_only_what_is_wanted_is_computed_and_with_the_same_digits(universe: Market, everything: Exposures) -> None:
    rows = np.arange(WINDOW - 1, SESSIONS)
    wanted = np.random.default_rng(2).random((len(rows), SYMBOLS)) < 0.2
    part = exposures(universe.returns, universe.proxies, rows, wanted=wanted)
    assert part.joint[wanted].tobytes() == everything.joint[wanted].tobytes()
    assert part.market[wanted].tobytes() == everything.market[wanted].tobytes()
    assert np.isnan(part.joint[~wanted]).all()


def test_metrics_have_the_same_digits_in_any_batch() -> None:
    rng = np.random.default_rng(4)
    t, s = 300, 12
    days = np.arange("2019-01-01", "2020-12-31", dtype="datetime64[D]")
    sessions = days[np.is_busday(days)][:t]
    returns = rng.normal(0, 0.02, (t, s))
    close: FloatMatrix = np.asarray(50 * np.cumprod(1 + returns, axis=0), dtype=np.float64)
    close[rng.random((t, s)) < 0.02] = np.nan
    split = np.where(rng.random((t, s)) < 0.005, 2.0, 1.0)
    returns[rng.random((t, s)) < 0.01] = np.nan

    def of(rows: IntVector, columns: IntVector, end: int) -> Metrics:
        cut = np.ix_(np.arange(end), columns)
        flags = np.zeros((end, len(columns)), np.bool_)
        return metrics(
            Prices(close[cut], close[cut] * 0.9, returns[cut], split[cut], flags, flags), sessions[:end], rows
        )

    whole = of(np.arange(t), np.arange(s), t)
    for end in (22, 150, 300):
        columns = rng.permutation(s)[:5]
        part = of(np.array([end - 1]), columns, end)
        for field in fields(Metrics):
            expected = getattr(whole, field.name)[[end - 1]]
            if field.name != "has_base":
                expected = expected[:, columns]
            assert getattr(part, field.name).tobytes() == expected.tobytes(), field.name

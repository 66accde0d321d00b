"""Which proxy stands for each factor on each session, and the geometry the regressions share.

Everything here depends on the proxies' own returns inside the session's window and on nothing else.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market import registry
from shared.market.reasons import ReasonCode

WINDOW: Final = registry.BETA_WINDOW
N_FACTORS: Final = len(registry.FACTORS)
N_BASE: Final = N_FACTORS + 1  # the constant and the factors
N_REGRESSORS: Final = 2 + len(registry.SPREADS)  # rates (for ir_beta), the spreads, and growth by itself
RATES_AT: Final = registry.FACTOR_NAMES.index(registry.RATES)
VALUE_AT: Final = registry.FACTOR_NAMES.index(registry.VALUE)
GROWTH_AT: Final = registry.FACTOR_NAMES.index(registry.GROWTH)
# Of the returns that proxies are chosen from: funds, the bond of the yield curve, differences of funds.
COLUMNS: Final[tuple[str, ...]] = (*registry.PROXY_COLUMNS, *registry.AXIS_PROXIES)

NO_PROXY: Final = ReasonCode.NO_PROXY.value
ZERO_VARIANCE: Final = ReasonCode.ZERO_VARIANCE.value


@dataclass(frozen=True, slots=True)
class Geometry:
    """What all symbols of a session share. K sessions; factors in registry order; base = constant, then factors.

    choice   : (K, 8) the chosen proxy in `COLUMNS`, -1 where there is none
    usable   : (K, 8) there is a proxy, and it moves on its own
    base     : (K, 9, 252) rows 1, (m - mean)/sd, Z_k/σ_k; rows of unusable factors are zero
    mean     : (K,) mean market return, decimal daily
    slopes   : (K, 8) b_k of the proxy on the market; 1 for the market, NaN where unusable
    sigmas   : (K, 8) population sd of Z_k, decimal daily; NaN for the market and where unusable
    scales   : (K, 8) the divisors used in `base` (the market's own sd first); 1 where unusable
    regressors : (K, 6, 9) rates, the spreads, growth, as combinations of `base`; zero rows where a leg is unusable
    """

    choice: NDArray[np.int64]
    usable: BoolMatrix
    base: FloatCube
    mean: FloatVector
    slopes: FloatMatrix
    sigmas: FloatMatrix
    scales: FloatMatrix
    regressors: FloatCube

    def reasons(self, k: int) -> tuple[str | None, ...]:
        """Per factor of session k, why there is no figure; None where there is."""
        return tuple(
            None if ok else (NO_PROXY if chosen < 0 else ZERO_VARIANCE)
            for ok, chosen in zip(self.usable[k], self.choice[k], strict=True)
        )

    def symbols(self, k: int) -> tuple[str | None, ...]:
        """Per factor of session k, the symbol that stands for it."""
        return tuple(COLUMNS[c] if c >= 0 else None for c in self.choice[k])


def windows(rows: FloatMatrix) -> FloatCube:
    """Every window of 252 of `rows` (N, T) as a view (N, T, 252); before the first row stands NaN."""
    n, t = rows.shape
    padded = np.full((n, t + WINDOW - 1), np.nan)
    padded[:, WINDOW - 1 :] = rows
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)


def whole_windows(proxy_returns: FloatMatrix, at: IntVector) -> BoolMatrix:
    """(K, P) whether a proxy has all 252 returns in the session's window. Arguments as in `choose`."""
    counts = np.zeros((proxy_returns.shape[0] + 1, proxy_returns.shape[1]), dtype=np.int64)
    np.cumsum(np.isfinite(proxy_returns), axis=0, out=counts[1:])
    whole: BoolMatrix = (counts[at + 1] - counts[np.maximum(at + 1 - WINDOW, 0)]) == WINDOW
    return whole


def with_axes(proxy_returns: FloatMatrix) -> FloatMatrix:
    """(T, len(COLUMNS)): the returns with what may be missing of `PROXY_COLUMNS`, and the differences that may stand for value."""
    t, given = proxy_returns.shape
    columns = np.full((t, len(COLUMNS)), np.nan)
    columns[:, :given] = proxy_returns
    for axis, legs in enumerate(registry.VALUE_AXES, start=len(registry.PROXY_COLUMNS)):
        long, short = (registry.PROXY_SYMBOLS.index(leg) for leg in legs)
        columns[:, axis] = proxy_returns[:, long] - proxy_returns[:, short]
    return columns


def choose(proxy_returns: FloatMatrix, at: IntVector) -> NDArray[np.int64]:
    """Per session the first proxy of each factor with all 252 returns in the window; of value both legs.

    proxy_returns : (T, P) decimal daily total returns in the order of `PROXY_SYMBOLS`, NaN where missing; the last column of
                    `PROXY_COLUMNS`, of the yield curve, may follow, and stands for rates where no fund is whole
    at            : (K,) rows of the sessions asked for
    Returns (K, 8), columns of `with_axes`, -1 where no proxy is whole.
    """
    return _choose(with_axes(proxy_returns), at)


def _choose(columns: FloatMatrix, at: IntVector) -> NDArray[np.int64]:
    whole = whole_windows(columns, at)
    choice = np.full((len(at), N_FACTORS), -1, dtype=np.int64)
    for f, factor in enumerate(registry.FACTORS):
        for symbol in reversed(registry.AXIS_PROXIES if f == VALUE_AT else factor.proxies):
            p = COLUMNS.index(symbol)
            choice[whole[:, p], f] = p
    curve = COLUMNS.index(registry.CURVE_PROXY)
    choice[(choice[:, RATES_AT] < 0) & whole[:, curve], RATES_AT] = curve
    return choice


def geometry(proxy_returns: FloatMatrix, at: IntVector) -> Geometry:
    """Choose the proxies and lay out the shared regressors. Arguments as in `choose`.

    Styles and rates enter as residuals on the market (Frisch-Waugh), so that a style is not market beta in disguise.
    """
    columns = with_axes(proxy_returns)
    choice = _choose(columns, at)
    k = len(at)
    chosen = np.zeros((k, N_FACTORS, WINDOW))
    spans = windows(np.ascontiguousarray(columns.T))
    for f in range(N_FACTORS):
        has = choice[:, f] >= 0
        chosen[has, f] = spans[choice[has, f], at[has]]
    means = chosen.sum(axis=-1) / WINDOW
    centred = chosen - means[:, :, None]
    total = np.vecdot(centred, centred)
    market = centred[:, 0]
    raw = np.vecdot(chosen, chosen)
    # Without a market nothing else can be said; with a market that stands still neither.
    moving = (choice[:, 0] >= 0) & (total[:, 0] > registry.NO_VARIANCE * raw[:, 0]) & (total[:, 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.vecdot(centred, market[:, None, :]) / total[:, :1]
    slopes[~moving] = 0.0
    residual = centred - slopes[:, :, None] * market[:, None, :]
    residual -= (residual.sum(axis=-1) / WINDOW)[:, :, None]
    residual[:, 0] = market
    squares = np.vecdot(residual, residual)
    usable = (choice >= 0) & moving[:, None] & (squares > registry.NO_VARIANCE * raw) & (squares > 0)
    scales = np.where(usable, np.sqrt(squares / WINDOW), 1.0)
    base = np.zeros((k, N_BASE, WINDOW))
    base[:, 0] = 1.0
    np.divide(residual, scales[:, :, None], out=base[:, 1:], where=usable[:, :, None])
    sigmas = np.where(usable, scales, np.nan)
    sigmas[:, 0] = np.nan
    slopes = np.where(usable, slopes, np.nan)
    slopes[usable[:, 0], 0] = 1.0
    mean = np.ascontiguousarray(means[:, 0])
    return Geometry(choice, usable, base, mean, slopes, sigmas, scales, _regressors(usable, scales, choice))


def _regressors(usable: BoolMatrix, scales: FloatMatrix, choice: NDArray[np.int64]) -> FloatCube:
    """Rates, the spreads and growth in terms of the base.

    In OLS on {market, spread} only the part of the spread that the market leaves counts, and of `momentum minus market`
    that is momentum's own residual: the market drops out of every leg. Growth minus value is the axis with its sign turned, where
    that is a difference of two funds.
    """
    out = np.zeros((len(usable), N_REGRESSORS, N_BASE))
    out[:, 0, 1 + RATES_AT] = np.where(usable[:, RATES_AT], scales[:, RATES_AT], 0.0)
    out[:, -1, 1 + GROWTH_AT] = np.where(usable[:, GROWTH_AT], scales[:, GROWTH_AT], 0.0)
    both = np.array([not registry.is_one_leg(name) for name in COLUMNS])[choice[:, VALUE_AT]]
    for i, spread in enumerate(registry.SPREADS, start=1):
        legs = [(registry.FACTOR_NAMES.index(spread.long), 1.0), (registry.FACTOR_NAMES.index(spread.short), -1.0)]
        whole = np.logical_and.reduce([usable[:, f] for f, _ in legs])
        for f, sign in legs:
            if f > 0:
                inside = whole & ~both if f == GROWTH_AT else whole
                out[:, i, 1 + f] = np.where(inside, sign * scales[:, f], 0.0)
    return out

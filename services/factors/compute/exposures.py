"""Symbol factor exposures, for a rectangle of sessions and symbols (docs/methods.md §3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.factors.compute import regression
from services.factors.compute.patterns import Patterns, compact_rows, factorise
from services.factors.compute.proxies import (
    N_BASE,
    N_FACTORS,
    N_REGRESSORS,
    RATES_AT,
    WINDOW,
    ZERO_VARIANCE,
    Geometry,
    geometry,
    windows,
)
from services.factors.compute.regression import Fits
from shared import progress
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, IntVector
from shared.market import layouts, registry
from shared.market.reasons import ReasonCode

SHORT_HISTORY: Final = ReasonCode.SHORT_HISTORY.value
PRICE_INDEX: Final = ReasonCode.PRICE_INDEX.value

BLOCK: Final = 32  # symbols a product; a multiple of every BLAS kernel's tile, so that no symbol sits on an edge
SESSIONS_AT_ONCE: Final = 64  # geometry and factorisations kept in memory
# Sessions a call: what follows the products is of some 200 x 252 doubles, 400 KB, which stay in the second-level cache. Measured with
# 13 symbols: 16 sessions take two thirds of the time of 4, and 24 more than 16.
ROWS_AT_ONCE: Final = 208
PRODUCTS_AT_ONCE: Final = 16
PATTERNS_AT_ONCE: Final = 64

_SPREADS: Final = len(registry.SPREADS)
_LEGS: Final = tuple(
    (f"spread_{s.name}", (registry.FACTOR_NAMES.index(s.long), registry.FACTOR_NAMES.index(s.short)))
    for s in registry.SPREADS
)


@dataclass(frozen=True, slots=True)
class Exposures:
    """K sessions, S symbols; decimal daily returns; NaN where there is no figure or none was wanted.

    market  : (K, S, 6) beta, alpha, r2, stderr, stderr_hac, t_hac
    shrunk  : (K, S) Vasicek, market beta
    ir_beta : (K, S)
    spreads : (K, S, 4, 3) beta, stderr_hac, r2
    joint   : (K, S, 8) beta per factor; of growth by itself, of the others together
    joint_stderr : (K, S, 8) their HAC errors
    fit     : (K, S, 3) r2, condition number, resid_sd (daily, ddof=1)
    n_obs   : (K, S) joint returns in the window, 0 without a market
    varies  : (K, S) False where the symbol's price stood still: its betas are 0
    geometry: the sessions' proxies
    """

    market: FloatCube
    shrunk: FloatMatrix
    ir_beta: FloatMatrix
    spreads: NDArray[np.float64]
    joint: FloatCube
    joint_stderr: FloatCube
    fit: FloatCube
    n_obs: IntVector
    varies: BoolMatrix
    geometry: "ProxyTable"

    def quality(self) -> NDArray[np.str_]:
        """(K, S) `full`, `limited` (fewer than 240 observations) or `none`."""
        enough = np.where(self.n_obs >= registry.BETA_FULL_OBS, "full", "limited")
        return np.where(np.isnan(self.market[..., 0]), "none", enough)

    def beyond_beta_flag(self) -> BoolMatrix:
        """(K, S) whether any beta lies beyond ±5. Flagged, never clipped."""
        betas = np.concatenate(
            [self.market[..., :1], self.ir_beta[..., None], self.spreads[..., 0], self.joint], axis=-1
        )
        with np.errstate(invalid="ignore"):
            return np.asarray((np.abs(betas) > registry.BETA_FLAG).any(axis=-1))

    def observations(self) -> IntVector:
        """(K, S, 7) observations of market, rates, each spread, joint; 0 where a regressor has no proxy."""
        usable = self.geometry.usable
        always = np.ones(len(usable), dtype=np.bool_)
        there = [always, usable[:, RATES_AT], *(usable[:, legs].all(axis=1) for _, legs in _LEGS), always]
        return self.n_obs[:, :, None] * np.stack(there, axis=-1)[:, None, :]

    def signatures(self) -> IntVector:
        """(K, S) numbers; within a session, equal ones have equal `reasons`. There are few, and reasons are slow to build."""
        gone = np.isnan(
            np.concatenate(
                [self.market[..., :1], self.ir_beta[..., None], self.spreads[..., 0], self.joint[..., :1]], axis=-1
            )
        )
        flags = [self.n_obs == 0, self.n_obs < registry.BETA_MIN_OBS, self.varies, *np.moveaxis(gone, -1, 0)]
        out = np.zeros(self.n_obs.shape, dtype=np.int64)
        for bit, flag in enumerate(flags):
            out |= flag.astype(np.int64) << bit
        return out

    def reasons(self, k: int, s: int, *, absent: str | None = None) -> dict[str, str]:
        """Figure to reason, for every figure that is missing or needs a remark. Factors of the joint set by name.

        absent : why the symbol has no price at all, where it has none
        """
        missing = self.geometry.reasons[k]
        own = None
        if self.n_obs[k, s] < registry.BETA_MIN_OBS:
            own = absent if absent and self.n_obs[k, s] == 0 else SHORT_HISTORY
        out: dict[str, str] = {}

        def note(figure: str, value: float, factors: tuple[int, ...]) -> None:
            if np.isnan(value):
                absent = next((missing[f] for f in (0, *factors) if missing[f]), None)
                out[figure] = absent or own or ZERO_VARIANCE

        note("market_beta", self.market[k, s, 0], ())
        note("ir_beta", self.ir_beta[k, s], (RATES_AT,))
        for i, (name, legs) in enumerate(_LEGS):
            note(name, self.spreads[k, s, i, 0], legs)
        note("joint", self.joint[k, s, 0], ())
        for f in range(1, N_FACTORS):
            if reason := missing[f]:
                out[registry.FACTOR_NAMES[f]] = reason
        if not out and not self.varies[k, s]:
            out["r2"] = ZERO_VARIANCE
        if "market_beta" not in out and self.geometry.symbols[k][0] in registry.PRICE_INDICES:
            out["alpha"] = PRICE_INDEX
        return out


@dataclass(frozen=True, slots=True)
class ProxyTable:
    """Per session what stood for each factor. Arrays (K, 8) in registry order, as in `Geometry`."""

    symbols: list[tuple[str | None, ...]]
    reasons: list[tuple[str | None, ...]]
    usable: BoolMatrix
    slopes: FloatMatrix
    sigmas: FloatMatrix


def exposures(
    returns: FloatMatrix, proxy_returns: FloatMatrix, at: IntVector, *, wanted: BoolMatrix | None = None
) -> Exposures:
    """All exposures of S symbols at K sessions.

    returns       : (T, S) simple daily total returns, decimal, one row a session without omissions, NaN where missing
    proxy_returns : (T, P) the same of `PROXY_SYMBOLS`, in that order; or of `PROXY_COLUMNS`
    at            : (K,) rows of the sessions asked for; the window of row t is t-251..t, rows before the first missing
    wanted        : (K, S) which to compute; all by default

    Nothing after row t enters a figure of row t, and no other symbol's returns do. References: Frisch and Waugh (1933),
    Newey and West (1987), Vasicek (1973).
    """
    t, s = returns.shape
    k = len(at)
    widths = {len(registry.PROXY_SYMBOLS), len(registry.PROXY_COLUMNS)}
    if proxy_returns.shape[0] != t or proxy_returns.shape[1] not in widths:
        raise ValueError(f"proxy returns must be {(t, len(registry.PROXY_SYMBOLS))}, not {proxy_returns.shape}")
    wanted = np.ones((k, s), dtype=np.bool_) if wanted is None else wanted
    spans = windows(np.ascontiguousarray(returns.T))
    counts = np.zeros((t + 1, s), dtype=np.int64)
    np.cumsum(np.isfinite(returns), axis=0, out=counts[1:])
    n_obs = counts[at + 1] - counts[np.maximum(at + 1 - WINDOW, 0)]

    out = _ResultBuffer(k, s)
    tables: list[Geometry] = []
    for start in range(0, k, SESSIONS_AT_ONCE):
        ks = np.arange(start, min(start + SESSIONS_AT_ONCE, k))
        shared = geometry(proxy_returns, at[ks])
        tables.append(shared)
        has_market = shared.usable[:, 0]
        n_obs[ks[~has_market]] = 0
        todo = wanted[ks] & has_market[:, None]
        whole = n_obs[ks] == WINDOW
        _whole_windows(out, spans, shared, at, ks, todo & whole)
        _gapped_windows(out, spans, shared, at, ks, todo & ~whole & (n_obs[ks] >= registry.BETA_MIN_OBS))
        progress.report()

    beta, se = out.market[..., 0], out.market[..., 4]
    prior, spread = registry.SHRINK_MEAN, registry.SHRINK_SD**2
    return Exposures(
        market=out.market,
        shrunk=(beta * spread + prior * se**2) / (spread + se**2),
        ir_beta=np.ascontiguousarray(out.others[:, :, 0, 0]),
        spreads=np.ascontiguousarray(out.others[:, :, 1 : 1 + _SPREADS]),
        joint=out.joint,
        joint_stderr=out.joint_stderr,
        fit=out.fit,
        n_obs=n_obs,
        varies=out.varies,
        geometry=_table(tables),
    )


class _ResultBuffer:
    """Where the fits land, session by symbol."""

    def __init__(self, k: int, s: int) -> None:
        self.market = np.full((k, s, len(layouts.MARKET)), np.nan)
        self.others = np.full((k, s, N_REGRESSORS, len(layouts.SPREAD)), np.nan)
        self.joint, self.joint_stderr = np.full((2, k, s, N_FACTORS), np.nan)
        self.fit = np.full((k, s, len(layouts.JOINT_FIT)), np.nan)
        self.varies = np.zeros((k, s), dtype=np.bool_)

    def place(self, fits: Fits, source: tuple[IntVector, IntVector], k: IntVector, s: IntVector) -> None:
        """Cell `source[i]` of the fits becomes session k[i], symbol s[i]."""
        self.market[k, s] = fits.market[source]
        self.others[k, s] = fits.others[source]
        self.joint[k, s] = fits.joint[source]
        self.joint_stderr[k, s] = fits.joint_stderr[source]
        self.fit[k, s] = fits.fit[source]
        self.varies[k, s] = fits.varies[source]


def _whole_windows(
    out: _ResultBuffer, spans: FloatCube, shared: Geometry, at: IntVector, ks: IntVector, todo: BoolMatrix
) -> None:
    """Symbols with all 252 returns: one factorisation a session, one product for each block of symbols."""
    sessions = np.flatnonzero(todo.any(axis=1))
    n_symbols = todo.shape[1]
    at_once = min(PRODUCTS_AT_ONCE, ROWS_AT_ONCE // max(1, min(BLOCK, n_symbols)))
    for chunk in _chunks(sessions, at_once):
        patterns = _factorise(shared, chunk, np.ones((len(chunk), WINDOW), dtype=np.bool_))
        scales, usable = shared.scales[chunk], shared.usable[chunk]
        for first in range(0, n_symbols, BLOCK):
            last = min(first + BLOCK, n_symbols)
            here = todo[chunk, first:last]
            if not here.any():
                continue
            y = np.zeros((len(chunk), BLOCK, WINDOW))
            y[:, : last - first] = np.swapaxes(spans[first:last, at[ks[chunk]]], 0, 1)
            y[:, : last - first][~here] = 0.0
            fits = regression.apply(patterns, y, last - first, factor_scales=scales, factor_usable=usable)
            g, m = np.nonzero(here)
            out.place(fits, (g, m), ks[chunk[g]], m + first)


def _gapped_windows(
    out: _ResultBuffer, spans: FloatCube, shared: Geometry, at: IntVector, ks: IntVector, todo: BoolMatrix
) -> None:
    """Symbols with holes: one factorisation a pattern of holes, shared by the symbols of a session that have it."""
    sessions, symbols = np.nonzero(todo)
    for chunk in _chunks(np.arange(len(sessions)), PATTERNS_AT_ONCE):
        k, s = sessions[chunk], symbols[chunk]
        span = spans[s, at[ks[k]]]
        rows = np.isfinite(span)
        key = np.concatenate([k.astype(np.uint32)[:, None].view(np.uint8), np.packbits(rows, axis=1)], axis=1)
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        patterns = _take(_factorise(shared, k[first], rows[first]), group.reshape(-1))
        y = compact_rows(span, rows)[:, None, :]
        fits = regression.apply(patterns, y, 1, factor_scales=shared.scales[k], factor_usable=shared.usable[k])
        out.place(fits, (np.arange(len(chunk)), np.zeros(len(chunk), dtype=np.int64)), ks[k], s)


def _factorise(shared: Geometry, k: IntVector, rows: BoolMatrix) -> Patterns:
    return factorise(shared.base[k], shared.mean[k], shared.scales[k, 0], shared.regressors[k], rows)


def _take(patterns: Patterns, index: IntVector) -> Patterns:
    p = patterns
    return Patterns(
        p.n[index], p.base[index], p.market[index], p.mean[index], p.squares[index], p.usable[index], p.partial[index],
        p.solve[index], p.condition[index],
    )  # fmt: skip


def _chunks(values: IntVector, size: int) -> Iterator[IntVector]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _table(parts: list[Geometry]) -> ProxyTable:
    def rows(name: str) -> NDArray[np.float64]:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate(arrays) if arrays else np.zeros((0, N_BASE - 1))

    counts = [(part, k) for part in parts for k in range(len(part.choice))]
    return ProxyTable(
        symbols=[part.symbols(k) for part, k in counts],
        reasons=[part.reasons(k) for part, k in counts],
        usable=rows("usable").astype(np.bool_),
        slopes=rows("slopes"),
        sigmas=rows("sigmas"),
    )

"""A book beside a benchmark (docs/methods.md §16): active return and its error, beta, alpha, capture. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.coordinator.compute import newey_west
from services.coordinator.compute.performance import ANNUAL, NAN, Range, short_of
from shared.arrays import FloatVector
from shared.market.reasons import ReasonCode
from shared.market.registry import SESSIONS_A_YEAR

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """NaN where unknown; `reasons` by figure. `alpha` and its error are a year's, arithmetic: 252 times the daily ones."""

    n_obs: int
    total_return: float
    active_return: float
    tracking_error: float
    information_ratio: float
    beta: float
    alpha: float
    alpha_stderr_hac: float
    alpha_t_hac: float
    r2: float
    up_capture: float
    down_capture: float
    reasons: dict[str, str]


_PAIRED = (
    "tracking_error", "information_ratio", "beta", "alpha", "alpha_stderr_hac", "alpha_t_hac", "r2", "up_capture", "down_capture",
)  # fmt: skip


def compare(own: Range, other: FloatVector) -> Comparison:
    """other : (n,) the benchmark's daily total returns on the range's sessions; NaN where it has none. Sessions with nothing in the
    account are in neither: what a benchmark did while no money could be in it is no one's active return."""
    reasons: dict[str, str] = {}
    found = dict.fromkeys(_PAIRED, NAN)
    live = own.live()
    both = own.between_well_priced() & np.isfinite(other)
    n = int(both.sum())
    beside = other[live]
    whole = bool(np.isfinite(beside).all()) and len(beside) > 0
    total = float(np.prod(1.0 + beside) - 1.0) if whole else NAN
    active = float(np.prod(1.0 + own.returns) - 1.0) - total
    unknown = (ReasonCode.NOT_FETCHED if len(beside) else ReasonCode.NO_CAPITAL).value
    if not whole:
        reasons["return"] = unknown
    if math.isnan(active):
        reasons["active_return"] = own.broken_by() or unknown
    if (why := ReasonCode.NO_CAPITAL.value if own.has_lost_all() else short_of(n, len(beside))) is not None:
        return Comparison(n, total, active, **found, reasons=reasons | dict.fromkeys(_PAIRED, why))
    r, b = own.returns[both], other[both]
    difference = r - b
    error = float(difference.std(ddof=1))
    found["tracking_error"] = ANNUAL * error
    if error > _ROUNDING:
        found["information_ratio"] = ANNUAL * float(difference.mean()) / error
    free = np.nan_to_num(own.risk_free, nan=0.0)[both]
    if float(b.std()) > _ROUNDING:
        found |= _regress(r - free, b - free)
    for name, side in (("up_capture", b > 0.0), ("down_capture", b < 0.0)):
        found[name] = _capture(r[side], b[side])
    for name, value in found.items():
        if math.isnan(value):
            reasons[name] = ReasonCode.ZERO_VARIANCE.value
    return Comparison(n, total, active, **found, reasons=reasons)


def _regress(y: FloatVector, x: FloatVector) -> dict[str, float]:
    """OLS with intercept; the intercept's error by Newey-West with the Bartlett kernel, no small-sample correction."""
    n = len(y)
    design = np.column_stack([np.ones(n), x])
    centred = x - x.mean()
    beta = float(centred @ (y - y.mean()) / (centred @ centred))
    alpha = float(y.mean() - beta * x.mean())
    residual = y - alpha - beta * x
    bread = np.linalg.inv(design.T @ design)
    error = math.sqrt(max(0.0, float(newey_west.covariance(design, residual, bread)[0, 0])))
    spread = float(np.square(y - y.mean()).sum())
    return {
        "beta": beta,
        "alpha": SESSIONS_A_YEAR * alpha,
        "alpha_stderr_hac": SESSIONS_A_YEAR * error,
        "alpha_t_hac": alpha / error if error > _ROUNDING else NAN,
        "r2": 1.0 - float(residual @ residual) / spread if spread > 0.0 else NAN,
    }


def _capture(own: FloatVector, other: FloatVector) -> float:
    """Geometric mean return over the benchmark's, of the sessions on one side of it."""
    if len(own) == 0 or (own <= -1.0).any() or (other <= -1.0).any():
        return NAN
    mine, base = math.expm1(float(np.log1p(own).mean())), math.expm1(float(np.log1p(other).mean()))
    return mine / base if abs(base) > _ROUNDING else NAN

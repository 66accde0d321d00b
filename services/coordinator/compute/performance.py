"""Performance of a range of sessions (docs/methods.md §16): returns, ratios, drawdowns, a calendar, a benchmark beside. Pure.

Returns are simple and daily, decimal; what is annualised says so. NaN is unknown: why, says `Reasons`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.coordinator.compute.drawdowns import Fall, cdar, falls, path
from shared.arrays import BoolMatrix, DateVector, FloatVector
from shared.market.reasons import ReasonCode
from shared.market.registry import (
    COVERAGE_GATE,
    PERFORMANCE_MIN_OBS,
    PERFORMANCE_MIN_SHARE,
    PERFORMANCE_YEAR,
    SESSIONS_A_YEAR,
)

ANNUAL = math.sqrt(SESSIONS_A_YEAR)
NAN = math.nan
_ROUNDING = 1e-12  # of daily returns: a series that moves less stands still


@dataclass(frozen=True, slots=True)
class Range:
    """n consecutive sessions of a portfolio; NaN where a session has no snapshot or no return."""

    sessions: DateVector
    returns: FloatVector
    coverage: FloatVector
    """(n,) share of gross value at a price that is evidence."""
    began_covered: bool
    """Whether that was enough on the session before the first one."""
    risk_free: FloatVector
    """(n,) daily; NaN where no curve says it, and 0 is used."""
    absent: BoolMatrix
    """(n,) without a snapshot."""
    idle: BoolMatrix | None = None
    """(n,) with nothing in the account: their returns of 0 are no observations. None: none of them."""

    def live(self) -> BoolMatrix:
        """Sessions that are looked at."""
        return np.ones(len(self.sessions), dtype=np.bool_) if self.idle is None else ~self.idle

    def well_priced(self) -> BoolMatrix:
        good: BoolMatrix = self.coverage >= COVERAGE_GATE
        return good

    def between_well_priced(self) -> BoolMatrix:
        """Returns between two sessions whose value is evidence: a price that comes back moves all it missed at once."""
        good = self.well_priced()
        both: BoolMatrix = good & np.concatenate([[self.began_covered], good[:-1]]) & np.isfinite(self.returns)
        return both & self.live()

    def excess(self) -> FloatVector:
        return self.returns - np.nan_to_num(self.risk_free, nan=0.0)

    def upto(self, end: int) -> Range:
        """The first `end` sessions."""
        return Range(
            self.sessions[:end], self.returns[:end], self.coverage[:end], self.began_covered, self.risk_free[:end],
            self.absent[:end], None if self.idle is None else self.idle[:end],
        )  # fmt: skip

    def has_lost_all(self) -> bool:
        """Whether a session has no return because all its capital was lost, or there was none: what is left leaves that loss out."""
        return bool((~self.absent & ~np.isfinite(self.returns)).any())

    def broken_by(self) -> str | None:
        """Why the product of the returns is unknown; None where it is known."""
        if self.absent.any():
            return ReasonCode.BROKEN_CHAIN.value
        if not self.live().any():
            return ReasonCode.NO_CAPITAL.value
        return None if np.isfinite(self.returns).all() else ReasonCode.NO_CAPITAL.value


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of a range, NaN where unknown; `reasons` says why, by figure."""

    n_obs: int
    total_return: float
    annual_return: float
    volatility: float
    semi_deviation: float
    downside_deviation: float
    sharpe: float
    sortino: float
    calmar: float
    skew: float
    kurtosis: float
    positive_share: float
    cdar_95: float
    max_drawdown: float
    risk_free: float
    best: int | None
    """Position of the session of the highest return."""
    worst: int | None
    falls: list[Fall]
    reasons: dict[str, str]


OF_RETURNS = ("volatility", "downside_deviation", "sharpe", "sortino", "skew", "kurtosis", "positive_share")
OF_THE_CHAIN = ("total_return", "annual_return", "calmar", "max_drawdown", "cdar_95")


def measure(of: Range) -> Performance:
    """Every figure of the range that is made of returns alone."""
    live, known = of.live(), of.between_well_priced()
    n = int(live.sum())
    broken = of.broken_by()
    whole = broken is None
    reasons: dict[str, str] = {}
    total = float(np.prod(1.0 + of.returns) - 1.0) if whole else NAN
    walked = path(of.returns, of.well_priced() & live) if whole else None
    deepest = falls(walked) if walked is not None else []
    # The start of the index is no session: where none is well priced, nothing is known of a fall.
    looked_at = walked is not None and len(walked.depths) > 1
    drawdown = (deepest[0].depth if deepest else 0.0) if looked_at else NAN
    if broken is not None:
        reasons |= dict.fromkeys(OF_THE_CHAIN, broken)
    elif not looked_at:
        reasons |= dict.fromkeys(("calmar", "max_drawdown", "cdar_95"), ReasonCode.LOW_COVERAGE.value)
    annual = NAN
    if n < PERFORMANCE_YEAR:
        reasons |= dict.fromkeys(
            ("annual_return", "calmar", "cdar_95", "semi_deviation"), ReasonCode.SHORT_HISTORY.value
        )
    elif whole:
        annual = (1.0 + total) ** (SESSIONS_A_YEAR / n) - 1.0
    moments = _moments(of, known, reasons)
    calmar = annual / -drawdown if drawdown < 0.0 else NAN
    if drawdown == 0.0:
        reasons.setdefault("calmar", ReasonCode.NO_DOWNSIDE.value)
    count = int(known.sum())
    seen = np.where(known, of.returns, np.nan)
    if np.isnan(of.risk_free[live]).any():
        reasons["risk_free"] = ReasonCode.NO_RISK_FREE.value
    bills = of.risk_free[live & np.isfinite(of.risk_free)]
    return Performance(
        n_obs=count,
        total_return=total,
        annual_return=annual,
        calmar=calmar,
        cdar_95=cdar(walked) if walked is not None and n >= PERFORMANCE_YEAR else NAN,
        max_drawdown=drawdown,
        risk_free=float(np.prod(1.0 + bills) ** (SESSIONS_A_YEAR / len(bills)) - 1.0) if len(bills) else NAN,
        best=int(np.nanargmax(seen)) if count else None,
        worst=int(np.nanargmin(seen)) if count and not of.has_lost_all() else None,
        falls=deepest,
        reasons=reasons,
        **moments,
    )


def _moments(of: Range, known: BoolMatrix, reasons: dict[str, str]) -> dict[str, float]:
    """Figures of the returns that are measured, each by itself: no order of sessions enters them."""
    names = (*OF_RETURNS, "semi_deviation")
    found = dict.fromkeys(names, NAN)
    r, excess = of.returns[known], of.excess()[known]
    n, length = len(r), int(of.live().sum())
    if (why := ReasonCode.NO_CAPITAL.value if of.has_lost_all() else short_of(n, length)) is not None:
        return found | _note_reasons(reasons, dict.fromkeys(names, why))
    mean, centred = float(excess.mean()), r - r.mean()
    below = math.sqrt(float(np.square(np.minimum(excess, 0.0)).mean()))
    sd = float(r.std(ddof=1))
    found["positive_share"] = float((r > 0.0).mean())
    found["volatility"] = ANNUAL * sd
    found["downside_deviation"] = ANNUAL * below
    if length >= PERFORMANCE_YEAR:
        found["semi_deviation"] = ANNUAL * math.sqrt(float(np.square(np.minimum(centred, 0.0)).sum() / (n - 1)))
    # A book that stands still has no ratio: what moves in its excess is the bill's rate alone.
    if sd > _ROUNDING:
        moves = float(excess.std(ddof=1))
        found["sharpe"] = ANNUAL * mean / moves if moves > _ROUNDING else NAN
        if below > _ROUNDING:
            found["sortino"] = ANNUAL * mean / below
        else:
            reasons["sortino"] = ReasonCode.NO_DOWNSIDE.value
        spread = float(np.square(centred).mean())
        found["skew"] = float((centred**3).mean()) / spread**1.5
        found["kurtosis"] = float((centred**4).mean()) / spread**2 - 3.0
    for name in ("sharpe", "sortino", "skew", "kurtosis"):
        if math.isnan(found[name]):
            reasons.setdefault(name, ReasonCode.ZERO_VARIANCE.value)
    return found


def _note_reasons(reasons: dict[str, str], more: dict[str, str]) -> dict[str, float]:
    reasons |= more
    return {}


def short_of(count: int, length: int) -> str | None:
    """Why so many returns of a range do not make a statistic; None where they do."""
    if count < PERFORMANCE_MIN_OBS:
        return ReasonCode.SHORT_HISTORY.value
    return ReasonCode.LOW_COVERAGE.value if count < PERFORMANCE_MIN_SHARE * length else None


@dataclass(frozen=True, slots=True)
class Part:
    """Returns of a month or a year, as far as they are in the range; NaN where one is missing."""

    name: str
    sessions: int
    value: float
    benchmark: float


def by_calendar(of: Range, benchmark: FloatVector | None, unit: str) -> list[Part]:
    """Of the sessions with something in the account; unknown where there is none. unit : `M` months as 2020-03, `Y` years"""
    labels, live = of.sessions.astype(f"datetime64[{unit}]"), of.live()
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    counts = np.add.reduceat(live.astype(np.int64), starts)

    def whole(returns: FloatVector) -> FloatVector:
        return np.where(counts > 0, np.multiply.reduceat(np.where(live, 1.0 + returns, 1.0), starts) - 1.0, np.nan)

    own, beside = whole(of.returns), np.full(len(starts), np.nan) if benchmark is None else whole(benchmark)
    return [
        Part(str(labels[at]), int(count), float(mine), float(other))
        for at, count, mine, other in zip(starts.tolist(), counts.tolist(), own.tolist(), beside.tolist(), strict=True)
    ]

"""Results of one session, or of several."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, Envelope, Number, Quality, Reason
from services.coordinator.api.models.risk import GONE, ExcludedHolding


class Snapshot(Answer):
    session: str
    nav: Number
    cash: Number
    long_value: Number
    short_value: Number
    gross_exposure: Number
    net_exposure: Number
    daily_pnl: Number
    daily_return: Number
    cumulative_pnl: Number
    realized_pnl: Number
    unrealized_pnl: Number
    dividends: Number
    flow: Number
    cumulative_flow: Number
    mtd_return: Number
    ytd_return: Number
    cumulative_return: Number
    drawdown: Number
    xirr: Number
    positions: int
    long_positions: int
    short_positions: int
    coverage: Number
    quality: Quality
    provisional: bool | None = Field(None, description="Computed while a price was waited for")
    revision: int
    computed_at: str
    reasons: list[Reason]
    stale: bool


class Snapshots(Answer):
    portfolio_id: str
    items: list[Snapshot]


class PositionRow(Answer):
    position_id: str
    symbol: str
    quantity: Number
    entry_date: str | None
    entry_price: Number
    price: Number
    price_session: str | None
    price_basis: str | None
    market_value: Number
    weight: Number
    daily_pnl: Number
    cumulative_pnl: Number
    realized_pnl: Number
    unrealized_pnl: Number
    dividends: Number
    quality: Quality
    reason: str | None
    reasons: list[Reason] = Field(default_factory=list, description="The same with remedy and, where known, cause")


class Positions(Envelope):
    items: list[PositionRow]


class DatedPosition(PositionRow):
    session: str
    revision: int


class PositionsRange(Answer):
    portfolio_id: str
    items: list[DatedPosition]
    next: str | None


class FactorExposure(Answer):
    factor: str
    label: str
    set: str
    beta: Number
    money: Number
    covered_weight: Number
    stderr_hac: Number
    t_hac: Number
    quality: str
    reason: str | None


class Greeks(Answer):
    """Of one share of an option: a year, a point of volatility, a calendar day."""

    implied_volatility: Number
    delta: Number
    gamma: Number
    vega: Number
    theta: Number


class PositionExposure(Answer):
    symbol: str
    weight: Number
    exposure_value: Number
    betas: dict[str, Number]
    greeks: Greeks | None = Field(description="Null where it is no option, or one without a delta")
    reason: str | None


class FactorExposures(Envelope):
    proxies: dict[str, str | None]
    factors: list[FactorExposure]
    positions: list[PositionExposure] | None = Field(description=GONE)


class ScorecardForecast(Answer):
    method: str
    n: int
    qlike: Number
    mean_error: Number
    reason: str | None


class ScorecardTail(Answer):
    method: str
    level: float
    n: int
    exceedances: int
    expected: float
    kupiec_lr: Number
    p: Number
    christoffersen_lr: Number
    christoffersen_p: Number
    zone: str | None
    reason: str | None


class ScorecardInterval(Answer):
    level: float
    n: int
    inside: int
    share: Number
    reason: str | None


class ScorecardCommon(Answer):
    """Of the forecasts that both methods made."""

    n: int
    har_qlike: Number
    ewma_qlike: Number


class Scorecard(Envelope):
    horizon: int
    forecasts: list[ScorecardForecast]
    common: ScorecardCommon
    var: list[ScorecardTail]
    interval: ScorecardInterval


class FactorMatrix(Answer):
    labels: list[str]
    matrix: list[list[Number]]
    n_obs: int


class Correlations(Envelope):
    labels: list[str] | None = Field(description=GONE)
    matrix: list[list[Number]] | None
    n_obs: list[list[int | None]] | None
    shrinkage: Number
    mean_abs: Number
    clusters: list[list[str]] | None
    excluded: list[ExcludedHolding] | None
    factors: FactorMatrix | None


class StressLeg(Answer):
    money: Number
    fraction: Number
    fraction_filled: Number
    by_factor: dict[str, Number]
    volatility: Number
    by_position: dict[str, Number]
    shocks: dict[str, Number] | None = None


class Scenario(Answer):
    id: str
    name: str
    shocks: dict[str, Number]
    capped: list[str]
    rates_bp: Number
    vol_relative: Number
    vol_points: Number
    duration_as_of: str | None
    uncovered_value: Number
    reason: str | None
    direct: StressLeg | None
    propagated: StressLeg | None


class Stress(Envelope):
    scenarios: list[Scenario] | None = Field(description=GONE)

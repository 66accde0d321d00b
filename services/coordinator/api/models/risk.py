"""The parts of the risk answer. What a session of an earlier model version does not have is absent or null."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Envelope, Number

GONE = "Null where the session was thinned out, with the reason `thinned_out`"


class Trend(Answer):
    z: Number = Field(description="Of the ratio of this month's root mean square return to the month's before")
    direction: Literal["rising", "falling", "stable"] | None = Field(description="Beyond ±2, else stable")


class VolatilityForecast(Answer):
    """Of the next 21 sessions, annualised, with an 80 % interval."""

    value: Number
    low: Number
    high: Number
    variance: Number = None
    method: str | None = Field(description="`combined`, or `ewma` where there is no HAR; null where it is not known")
    n_obs: int | None = None
    har_weight: Number = Field(None, description="Of the HAR in the combination")
    ewma_variance: Number = None


class Volatilities(Answer):
    """Annualised, of the session's weights; `realized_nav_252` of the portfolio's own daily returns."""

    realized_21: Number = None
    realized_63: Number = None
    realized_252: Number = None
    realized_nav_252: Number = None
    percentile_252: Number = Field(None, description="Share of the 252 earlier months that were calmer")
    trend: Trend | None = None
    forecast_21: VolatilityForecast | None = None


class PositionTail(Answer):
    """Parts of the one-day historical ES at 97.5 %."""

    component: Number
    marginal: Number
    incremental: Number


class PositionRisk(Answer):
    symbol: str
    realized_252: Number
    forecast_21: Number
    method: str | None
    es_975: PositionTail
    reason: str | None


class PortfolioBeta(Answer):
    """To the market."""

    aggregated: Number = Field(description="Of the holdings")
    aggregated_filled: Number = Field(
        None, description="With 1 for holdings without one; an option without one adds nothing"
    )
    realized: Number = Field(description="Of the portfolio's returns")
    r2: Number
    n_obs: int | None


class RiskContribution(Answer):
    symbol: str
    weight: Number
    contribution: Number = Field(description="To the volatility; all of them add up to it")
    share: Number


class FactorShare(Answer):
    factor: str
    share: Number


class ExcludedHolding(Answer):
    symbol: str
    reason: str


class Decomposition(Answer):
    """Of the annual volatility over 252 sessions: by holding, and by the factor model."""

    volatility: Number
    shrinkage: Number = None
    n_obs: int | None = None
    contributions: list[RiskContribution]
    model_vol: Number = None
    factors: list[FactorShare]
    specific_share: Number = None
    diversification_ratio: Number = None
    effective_bets: Number = None
    excluded: list[ExcludedHolding]


class TailFigure(Answer):
    """Positive fractions of NAV that are lost."""

    method: str
    level: float
    var: Number
    es: Number
    n_obs: int
    var_low: Number = Field(None, description="At least, with 95 %; absent where the method has no interval")
    var_high: Number = Field(
        None, description="At most, with 95 %; null where even the worst return may lie within the interval"
    )


class ShortfallByFactor(Answer):
    """Of the one-day historical ES of `level`; factors and `specific` add up to it."""

    level: float
    factors: dict[str, Number]
    specific: Number


class ReverseStress(Answer):
    """The likeliest joint move of the factors that loses `loss` of NAV."""

    loss: float
    sigmas: Number = Field(description="Standard deviations of a quarter")
    shocks: dict[str, Number]


class DrawdownFigures(Answer):
    """Of the portfolio since inception; fractions, not above zero."""

    current: Number
    max: Number
    peak: str | None
    trough: str | None


class Concentration(Answer):
    hhi: Number
    effective: Number = Field(description="As many equal holdings would be as concentrated")
    top_3: Number
    top_10: Number
    risk_hhi: Number = Field(description="Of the contributions to volatility")


class SectorWeights(Answer):
    """Fractions of NAV."""

    sector: str
    long: Number
    short: Number
    net: Number
    gross: Number
    benchmark: Number
    active: Number


class VarRecord(Answer):
    n: int
    exceedances: int
    kupiec_lr: Number
    p: Number


class ScorecardSummary(Answer):
    """How far forecasts could be trusted; all of it is at `/scorecard`."""

    har_qlike: Number
    ewma_qlike: Number
    mean_error: Number
    var_95: VarRecord


class CoveredTail(Answer):
    method: str
    level: float
    var: Number
    es: Number


class CoveredOnly(Answer):
    """Of covered value alone; elsewhere the market stands in for what a holding lacks."""

    realized_21: Number
    realized_63: Number
    realized_252: Number
    forecast_21: Number
    beta: Number
    var: list[CoveredTail]
    coverage_21: Number
    coverage_63: Number
    coverage_252: Number
    coverage_var: Number


class Risk(Envelope):
    """Sections that the model's version does not know are absent; a withheld one is null with its reason. Of a session that was thinned
    out all but the scorecard are."""

    volatility: Volatilities | None = None
    positions: list[PositionRisk] | None = Field(description=GONE)
    beta: PortfolioBeta | None = None
    decomposition: Decomposition | None
    var: list[TailFigure] | None = None
    var_10d: list[TailFigure] | None = Field(None, description="Of ten sessions")
    covered_only: CoveredOnly | None = None
    es_factors: ShortfallByFactor | None = None
    reverse_stress: ReverseStress | None = None
    drawdown: DrawdownFigures | None = None
    concentration: Concentration | None = None
    sectors: list[SectorWeights] | None = None
    benchmark: str | None = None
    benchmark_date: str | None = None
    scorecard: ScorecardSummary

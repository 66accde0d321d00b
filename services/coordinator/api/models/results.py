"""Results of one session, and of ranges."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from services.coordinator.api.models.common import Answer, Envelope, Json, Number, Quality, Reason


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
    set: str
    beta: Number
    money: Number
    covered_weight: Number
    stderr_hac: Number
    t_hac: Number
    quality: str
    reason: str | None


class PositionExposure(Answer):
    symbol: str
    weight: Number
    exposure_value: Number
    betas: dict[str, Number]
    greeks: dict[str, Number] | None
    reason: str | None


class FactorExposures(Envelope):
    proxies: dict[str, str | None]
    factors: list[FactorExposure]
    positions: list[PositionExposure]


class Risk(Envelope):
    """Sections that the model's version does not know are absent; a withheld one is null with its reason."""

    volatility: dict[str, Json] | None = None
    positions: list[dict[str, Json]]
    beta: dict[str, Json] | None = None
    decomposition: dict[str, Json] | None
    var: list[dict[str, Json]] | None = None
    var_10d: list[dict[str, Json]] | None = None
    drawdown: dict[str, Json] | None = None
    concentration: dict[str, Json] | None = None
    sectors: list[dict[str, Json]] | None = None
    benchmark: str | None = None
    benchmark_date: str | None = None
    scorecard: dict[str, Json]


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


class Scorecard(Envelope):
    horizon: int
    forecasts: list[ScorecardForecast]
    common: dict[str, Number]
    var: list[ScorecardTail]
    interval: ScorecardInterval


class FactorMatrix(Answer):
    labels: list[str]
    matrix: list[list[Number]]
    n_obs: int


class Correlations(Envelope):
    labels: list[str]
    matrix: list[list[Number]]
    n_obs: list[list[int | None]]
    shrinkage: Number
    mean_abs: Number
    clusters: list[list[str]] | None
    excluded: list[dict[str, str]]
    factors: FactorMatrix


class StressLeg(Answer):
    money: Number
    fraction: Number
    by_factor: dict[str, Number]
    by_position: dict[str, Number]
    shocks: dict[str, Number] | None = None


class Scenario(Answer):
    id: str
    name: str
    shocks: dict[str, Number]
    capped: list[str]
    duration_as_of: str | None
    uncovered_value: Number
    reason: str | None
    direct: StressLeg | None
    propagated: StressLeg | None


class Stress(Envelope):
    scenarios: list[Scenario]


class SeriesReason(Reason):
    from_: str = Field(alias="from")
    to: str


class Series(Answer):
    portfolio_id: str
    sessions: list[str]
    figures: dict[str, list[Json]] = Field(description="Under each name a value a session; null where it is not known")
    stale: list[bool]
    reasons: list[SeriesReason]


class GridLine(Answer):
    id: str
    name: str
    runs: list[tuple[str, str, int, int]] = Field(
        description="phase, state, from and to as positions in `sessions`, both within"
    )


class Completeness(Answer):
    sessions: list[str]
    portfolios: list[GridLine]
    totals: dict[str, int]
    pending: int = Field(description="Changes of units that are not in the ranges yet")


class QuotaWindow(Answer):
    calls: int
    seconds: float
    used: int


class Provider(Answer):
    provider: str
    rank: int
    metered: bool
    windows: list[QuotaWindow]
    state: str = Field(description="`asked`, or `paused` until `closed_until`")
    closed_until: str | None
    closed_by: str | None
    failures: int
    last_fault: str | None
    last_fault_at: str | None
    last_success_at: str | None


class Providers(Answer):
    items: list[Provider]


class Restatement(Answer):
    session: str
    phase: str
    figure: str
    old: Json
    new: Json
    old_revision: int
    new_revision: int | None
    withdrawn: bool
    replaced_at: str


class Restatements(Answer):
    portfolio_id: str
    items: list[Restatement]
    next: str | None


class PriceChange(Answer):
    session: str
    old: Number
    new: Number
    provider: str
    known_from: str


class Cause(Answer):
    kind: str = Field(description="close, split, dividend or run")
    symbol: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    count: int
    source: str | None
    run_id: str | None
    changes: list[PriceChange]
    summary: str


class CauseGroup(Answer):
    revision: int | None
    replaced_at: str
    from_: str = Field(alias="from")
    to: str
    sessions: int
    phases: list[str]
    nav_moved: Number = Field(description="The most that NAV moved by on a session")
    summary: str
    causes: list[Cause]


class RestatementCauses(Answer):
    portfolio_id: str
    items: list[CauseGroup]
    next: str | None


class Input(Answer):
    kind: str
    symbol: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    provider: str | None
    fetched_at: str | None
    price_version: int | None
    revision: int | None


class Step(Answer):
    name: str
    value: Json


class Explained(Answer):
    """A figure: what it is, how it came about, and the data behind it."""

    session: str
    stale: bool
    figure: str
    value: Json
    formula: str
    parameters: dict[str, Any]
    steps: list[Step]
    inputs: list[Input]
    no_inputs: str | None


class FigureName(Answer):
    figure: str
    formula: str | None


class FigureNames(Answer):
    session: str | None
    figures: list[FigureName]


class UnknownFigure(Answer):
    figure: str
    code: str
    message: str


class ExplainedMany(Answer):
    portfolio_id: str
    items: list[Explained]
    unknown: list[UnknownFigure]

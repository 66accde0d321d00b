"""Figures that are worked out when they are asked for: performance, attribution, replays, liquidity, what-if."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, Envelope, Number, Reason


class DatedReturn(Answer):
    session: str
    return_: float = Field(alias="return")


class DrawdownItem(Answer):
    rank: int = Field(description="1 is the deepest")
    depth: float = Field(description="Below zero")
    peak: str
    trough: str
    recovered: str | None = Field(description="Null: not yet")
    length: int = Field(description="Sessions from the peak to the recovery, or to the end of the range")
    decline: int = Field(description="Sessions from the peak to the trough")
    recovery: int | None = Field(description="Sessions from the trough to the recovery")


class BenchmarkComparison(Answer):
    symbol: str
    n_obs: int
    return_: Number = Field(alias="return")
    active_return: Number
    tracking_error: Number
    information_ratio: Number
    beta: Number
    alpha: Number = Field(description="A year, arithmetic")
    alpha_stderr_hac: Number
    alpha_t_hac: Number
    r2: Number
    up_capture: Number
    down_capture: Number


class YearReturn(Answer):
    year: str
    sessions: int
    return_: Number = Field(alias="return")
    benchmark: Number


class MonthReturn(Answer):
    month: str
    sessions: int
    return_: Number = Field(alias="return")
    benchmark: Number


class MoneyCarry(Answer):
    """Of money, which no other figure has; what is unknown of it is null."""

    margin_spread: float
    borrow_rate: float
    interest: Number = Field(description="On a credit balance, at the bill's rate; money")
    margin: Number = Field(description="Of a debit balance; at most 0")
    borrow: Number = Field(description="Of what is short; at most 0")
    total_return: Number = Field(description="Time-weighted, with them")


class PerformanceAnswer(Answer):
    """Of the sessions in the range that there are; `items` are the months."""

    portfolio_id: str
    from_: str = Field(alias="from")
    to: str
    sessions: int
    n_obs: int = Field(description="Returns between two sessions whose prices are evidence")
    stale: bool
    total_return: Number = Field(description="Time-weighted")
    annual_return: Number
    money_weighted_return: Number = Field(description="Of the whole range")
    money_weighted_annual: Number = Field(description="A year, ACT/365")
    volatility: Number
    semi_deviation: Number
    downside_deviation: Number
    sharpe: Number
    sortino: Number
    calmar: Number
    skew: Number
    kurtosis: Number = Field(description="In excess of a normal's")
    positive_share: Number
    max_drawdown: Number
    cdar_95: Number
    risk_free: Number = Field(description="A year; null where no curve says it, and 0 is used")
    best_day: DatedReturn | None
    worst_day: DatedReturn | None
    drawdowns: list[DrawdownItem]
    benchmark: BenchmarkComparison | None
    carry: MoneyCarry | None = Field(description="Where `interest` is asked for")
    years: list[YearReturn]
    items: list[MonthReturn]
    reasons: list[Reason]


class AttributedPosition(Answer):
    symbol: str
    sector: str
    pnl: float
    contribution: Number = Field(description="Linked; all of them add up to the total return")


class AttributedSector(Answer):
    sector: str
    pnl: float
    contribution: Number


class AttributedFactor(Answer):
    factor: str = Field(description="A factor, `specific_and_trading`, or `untold`: sessions without exposures")
    pnl: Number
    contribution: Number
    sessions: int = Field(description="On which it is known")


class BrinsonSector(Answer):
    sector: str
    allocation: Number
    selection: Number = Field(description="Trades and the interaction included")


class BrinsonFachler(Answer):
    benchmark: str
    return_: Number = Field(alias="return", description="Of the benchmark's weights on the sectors' funds")
    active_return: Number
    sectors: list[BrinsonSector]


class AttributionAnswer(Answer):
    """Positions, sectors and factors each add up to `pnl` and to `total_return`; `items` are the positions."""

    portfolio_id: str
    from_: str = Field(alias="from")
    to: str
    sessions: int
    stale: bool
    linking: str
    pnl: float
    total_return: Number
    items: list[AttributedPosition]
    sectors: list[AttributedSector]
    factors: list[AttributedFactor]
    brinson: BrinsonFachler | None
    reasons: list[Reason]


class ReplayProxy(Answer):
    factor: str
    proxy: str | None
    return_: Number = Field(alias="return")


class ReplaySectorFund(Answer):
    sector: str
    fund: str
    return_: Number = Field(alias="return", description="Null where its prices are not stored")


class ReplayByPositions(Answer):
    money: Number = Field(description="Null where less than 0.80 of gross value is in it")
    fraction: Number
    uncovered_value: float = Field(description="Gross value of what is not in it; never counted as unmoved")


class ReplayByFactors(ReplayByPositions):
    by_factor: dict[str, Number]


class ReplayItem(Answer):
    symbol: str
    market_value: float
    factor_return: Number
    factor_money: Number
    own_return: Number
    own_money: Number
    reason: str | None


class Replay(Envelope):
    """From the close of `from` to the close of `to`, with what the session holds."""

    from_: str = Field(alias="from")
    to: str
    sessions: int
    proxies: list[ReplayProxy]
    sector_funds: list[ReplaySectorFund] = Field(description="Beside: in no total")
    factors: ReplayByFactors | None = Field(description="By the proxies' returns and the session's exposures")
    positions: ReplayByPositions | None = Field(description="By the holdings' own returns, where they are past")
    items: list[ReplayItem]


class SoldWithin(Answer):
    sessions: int
    share: Number


class LiquidityItem(Answer):
    symbol: str
    quantity: float
    market_value: float
    weight: Number
    adv: Number = Field(description="Mean shares a session")
    adv_value: Number
    share_of_adv: Number
    days: Number
    n_obs: int
    reason: str | None


class Liquidity(Envelope):
    share: float
    days: Number = Field(description="Until all that is known is sold")
    within: list[SoldWithin] = Field(description="Share of gross value that is sold by then")
    unknown_share: float
    items: list[LiquidityItem]


class PricedTrade(Answer):
    symbol: str
    quantity: float
    price: float = Field(description="Of a share or a contract, its multiplier included")
    money: float = Field(description="What comes in; negative: what is paid")


class WhatIfTail(Answer):
    method: str
    level: float
    var: Number
    es: Number
    n_obs: int


class WhatIfFactor(Answer):
    factor: str
    beta: Number
    money: Number


class WhatIfHedge(Answer):
    """What of the market's proxy, added to it, would bring the book's market beta to 0."""

    symbol: str | None
    quantity: Number = Field(description="Shares, negative sold; null where the proxy is an index or has no close")
    money: Number


class WhatIfFigures(Answer):
    nav: float
    cash: float
    long_value: float
    short_value: float
    gross_exposure: float
    net_exposure: float
    volatility: dict[str, Number]
    var: list[WhatIfTail]
    factors: list[WhatIfFactor]
    hedge: WhatIfHedge
    covered_weight: float
    coverage: float
    concentration: dict[str, Number]


class WhatIfPosition(Answer):
    symbol: str
    quantity_before: float
    quantity_after: float
    value_after: float
    weight_before: Number
    weight_after: Number


class WhatIf(Envelope):
    """Nothing is stored."""

    trades: list[PricedTrade]
    before: WhatIfFigures
    after: WhatIfFigures
    positions: list[WhatIfPosition]

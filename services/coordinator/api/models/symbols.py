"""Facts of symbols, which are the same for every portfolio."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, Json, Number, Reason


class SymbolGap(Answer):
    from_: str = Field(alias="from")
    to: str
    reason: str
    terminal: bool
    retry_at: str | None


class SymbolFacts(Answer):
    symbol: str
    asset_type: str
    name: str | None
    sector: str | None
    industry: str | None
    currency: str | None
    covered_from: str | None
    covered_to: str | None
    priced_from: str | None
    priced_to: str | None
    asked_as: list[dict[str, Json]]
    candidates: list[dict[str, Json]]
    gaps: list[SymbolGap]


class MarketBeta(Answer):
    beta: Number
    alpha: Number
    r2: Number
    stderr: Number
    stderr_hac: Number
    t_hac: Number
    n_obs: int
    quality: str
    flagged: bool
    reason: str | None


class SymbolFactors(Answer):
    symbol: str
    session: str
    model_version: str
    price_version: int
    proxies: dict[str, str | None]
    market_beta: MarketBeta
    market_beta_shrunk: dict[str, Json]
    ir_beta: dict[str, Json]
    spreads: dict[str, dict[str, Json]]
    joint: dict[str, Json]
    reasons: list[dict[str, Json]] | None = Field(None, description="What falls short, by figure")
    provider_beta: dict[str, Json]


class SymbolMetrics(Answer):
    symbol: str
    session: str
    price: Number
    price_basis: str | None
    price_return: dict[str, Number]
    total_return: dict[str, Number]
    volatility: dict[str, Number]
    fundamentals: dict[str, Json]
    quality: str
    reasons: list[Reason]


class Price(Answer):
    session: str
    close: Number
    adj_close: Number
    total_return: Number
    basis: str
    provider: str
    fetched_at: str
    price_version: int


class SymbolAction(Answer):
    ex_session: str
    ex_date: str
    type: str
    value: float
    provider: str


class SymbolPrices(Answer):
    symbol: str
    known_at: str | None = None
    items: list[Price]
    actions: list[SymbolAction]
    gaps: list[SymbolGap] = Field(default_factory=list)


class PriceVersion(Price):
    known_from: str
    known_until: str | None = Field(description="Null for the value that stands")


class PriceHistory(Answer):
    symbol: str
    items: list[PriceVersion]
    next: str | None


class HeldPrice(Answer):
    """A price that was held back because nobody confirmed its jump."""

    symbol: str
    session: str
    provider: str
    return_: float = Field(alias="return")
    sigma: float
    second: str | None
    second_return: Number
    found_at: str
    state: str
    priced: bool
    decided_by: str | None
    decided_at: str | None
    reason: str | None
    retry_at: str | None


class HeldPrices(Answer):
    items: list[HeldPrice]
    next: str | None

"""Facts of symbols, which are the same for every portfolio."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Number, Reason


class SymbolGap(Answer):
    from_: str = Field(alias="from")
    to: str
    reason: str
    terminal: bool
    retry_at: str | None
    provider: str | None = Field(None, description="Who was asked; with prices")
    checked_at: str | None = Field(None, description="With prices")
    severity: Literal["nav", "risk", "figure"] | None = Field(None, description="With prices")
    acts: Literal["us", "wait", "you"] | None = Field(None, description="With prices")
    until: str | None = Field(None, description="With prices")
    remedy: str | None = Field(None, description="With prices")


class AskedAs(Answer):
    """What a symbol is asked for as: a choice of the user's, or a rename that a provider told."""

    symbol: str
    valid_from: str | None
    valid_to: str | None
    renamed_on: str | None
    said_by: str


class Candidate(Answer):
    """One of several securities that a symbol may mean."""

    symbol: str
    exchange: str | None
    name: str | None
    asset_type: str | None
    currency: str | None


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
    asked_as: list[AskedAs]
    candidates: list[Candidate]
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


class ShrunkBeta(Answer):
    beta: Number
    flagged: bool = Field(description="Beyond ±5, which is nearly always bad data")


class RateBeta(ShrunkBeta):
    reason: str | None


class SpreadBeta(Answer):
    beta: Number
    stderr_hac: Number
    r2: Number
    n_obs: int
    flagged: bool
    reason: str | None


class JointBetas(Answer):
    """Of all factors at once."""

    n_obs: int
    r2: Number
    condition: Number
    resid_sd: Number = Field(description="Daily")
    betas: dict[str, Number]
    stderr_hac: dict[str, Number]
    flagged: list[str] = Field(description="Factors whose beta is beyond ±5")
    reasons: dict[str, str] = Field(description="Why a beta, or all of them, are null")


class ProviderBeta(Answer):
    """A vendor's own, which never stands in for ours."""

    value: Number
    date: str | None
    provider: str | None
    reason: str | None


class SymbolFactors(Answer):
    symbol: str
    session: str
    model_version: str
    price_version: int
    proxies: dict[str, str | None]
    market_beta: MarketBeta
    market_beta_shrunk: ShrunkBeta
    ir_beta: RateBeta
    spreads: dict[str, SpreadBeta]
    joint: JointBetas
    reasons: list[Reason] | None = Field(None, description="What falls short, by figure")
    provider_beta: ProviderBeta


class Fundamentals(Answer):
    """What a provider said last, on or before the session."""

    market_cap: Number
    pe: Number
    as_of: str | None
    provider: str | None


class SymbolMetrics(Answer):
    symbol: str
    session: str
    price: Number
    price_basis: str | None
    price_return: dict[str, Number]
    total_return: dict[str, Number]
    volatility: dict[str, Number]
    fundamentals: Fundamentals
    quality: str
    reasons: list[Reason]


class StoredPrice(Answer):
    session: str
    close: Number
    adj_close: Number
    total_return: Number
    basis: str
    provider: str
    fetched_at: str
    price_version: int


class Price(StoredPrice):
    """As traded; `adj_close` is adjusted for splits and dividends, as the provider has it."""

    open: Number = None
    high: Number = None
    low: Number = None
    volume: Number = None
    return_basis: str | None = Field(None, description="What the return was computed from")
    return_remark: str | None = None


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


class PriceVersion(StoredPrice):
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

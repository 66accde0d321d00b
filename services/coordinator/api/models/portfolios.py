"""Portfolios, lots, flows, and what an import answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Change, FieldError, Number, Reason


class PreviewRow(Answer):
    """How the price of one row is understood."""

    row: int
    symbol: str
    investment_class: str
    entry_date: str
    entry_session: str
    entry_price: float
    close_as_traded: Number
    close_split_adjusted: Number
    price_basis: str
    price_basis_known: bool
    stored_quantity: Number
    stored_entry_price: Number


class Estimate(Answer):
    """What prices an import needs, and how long that takes."""


class Imported(Change):
    """The answer to a create, an import or a changed lot; `preview` and `estimate` where it was a dry run."""

    name: str
    positions: int
    unchanged: int
    warnings: list[FieldError]
    preview: list[PreviewRow] | None = None
    estimate: Estimate | None = None
    position_id: str | None = None


class FlowAdded(Change):
    flow_id: str


class ListedPortfolio(Answer):
    """A portfolio with the figures of its newest session."""

    id: str
    name: str
    account_type: str
    currency: str
    equity_balance: float
    first_session: str | None
    created_at: str
    updated_at: str
    positions: int
    state: Literal["complete", "partial", "healing", "blocked"]
    complete_to: str | None = Field(description="The last session up to which nothing is missing")
    session: str | None = Field(description="That nav, day, year and coverage are of")
    nav: Number
    daily_pnl: Number
    daily_return: Number
    ytd_return: Number
    return_1y: Number = Field(description="Compounded over 252 sessions")
    drawdown: Number
    coverage: Number
    risk_session: str | None = Field(description="That volatility, forecast and VaR are of")
    volatility: Number = Field(description="Annualised, of the weights of the session over 252 sessions")
    forecast_21: Number
    var_95: Number = Field(description="Historical, one day, a fraction of NAV")
    coverage_min: Number = None
    coverage_gate: Number = None
    needs_you: int | None = None


class PortfolioList(Answer):
    items: list[ListedPortfolio]
    next: str | None = Field(description="`cursor` of the next page")


class Lot(Answer):
    """A lot as the user stated it, with what was made of it."""

    id: str
    symbol: str
    quantity: float
    entry_date: str
    entry_price: float


class Flow(Answer):
    id: str
    date: str
    session: str
    amount: float = Field(description="Positive is money in")
    note: str | None
    created_at: str


class FlowList(Answer):
    portfolio_id: str
    items: list[Flow]


class Portfolio(Answer):
    id: str
    name: str
    account_type: str
    currency: str
    equity_balance: float
    first_session: str | None
    created_at: str
    updated_at: str
    positions: list[Lot]
    flows: list[Flow]
    run_id: str | None = None


class PhaseCount(Answer):
    expected: int
    completed: int


class Hole(Answer):
    """Missing sessions in a row."""

    from_: str = Field(alias="from")
    to: str
    phase: str
    state: Literal["waiting", "running", "retrying", "blocked"]
    reason: str | None
    reasons: list[Reason] = Field(default_factory=list)
    symbols: list[str]
    attempts: int
    next_at: str | None


class PartialRun(Answer):
    """Sessions in a row that are done and fell short, for equal reasons."""

    from_: str = Field(alias="from")
    to: str
    phase: str
    coverage: Number
    reasons: list[Reason]


class Status(Answer):
    id: str
    state: Literal["complete", "partial", "healing", "blocked"]
    processed: Number = None
    coverage_min: Number = None
    coverage_gate: Number = None
    needs_you: list[Reason] | None = None
    as_of: str
    first_session: str | None
    last_session: str | None
    complete_to: str | None = None
    expected: int
    completed: int
    partial: int
    phases: dict[str, PhaseCount]
    holes: list[Hole]
    holes_total: int
    partials: list[PartialRun]
    partials_total: int

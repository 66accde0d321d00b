"""Portfolios, lots, flows, and what an import answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Change, FieldError, Number, Reason, Scalar


class PreviewRow(Answer):
    """How the price of one row is understood."""

    row: int
    symbol: str
    investment_class: str
    entry_date: str
    entry_session: str
    name: str | None = Field(None, description="As the file has it")
    company: str | None = Field(None, description="Of the symbol, where a provider said it")
    asked: str | None = Field(None, description="The price source that was asked about the entry's day")
    quantity: Number = None
    multiplier: Number = Field(None, description="Shares of a contract; 1 of a share")
    written: dict[str, str] = Field(default_factory=dict, description="Cells of the row as the file has them")
    exit_date: str | None = None
    exit_price: Number = None
    entry_price: float
    close_as_traded: Number
    close_split_adjusted: Number
    price_basis: str
    price_basis_known: bool
    stored_quantity: Number
    stored_entry_price: Number


class Estimate(Answer):
    """What prices an import needs, and how long that takes."""

    symbols: int = Field(description="To be fetched")
    known: int = Field(description="Needed, and stored already")
    calls: int = Field(description="Of the first provider on the network, at most")
    seconds: float = Field(description="At most, within that provider's quota")
    provider: str | None = Field(description="Null where nobody on the network is asked")


class ChangedValue(Answer):
    stored: Scalar
    file: Scalar


class LotDifference(Answer):
    """A stored lot, or a kept trade, of which the file says something else."""

    row: int
    position_id: str | None = Field(description="The lot; null: a trade, from which lots follow")
    symbol: str
    entry_date: str
    changes: dict[str, ChangedValue]


class FileReading(Answer):
    """How a file was understood."""

    preset: str | None = Field(description="The broker's layout; null: Leadline's own columns, or those of a mapping")
    title: str
    kind: str = Field(description="`positions` or `trades`")
    dialect: str
    dialect_means: str = Field(description="How numbers and dates are read")
    header_row: int
    file_date: str | None = Field(description="The day that the file itself names")


class UnknownSymbol(Answer):
    symbol: str
    message: str
    suggestions: list[str]


class Imported(Change):
    """The answer to a create, an import or a changed lot; `preview` and `estimate` where it was a dry run."""

    name: str
    positions: int
    unchanged: int
    changed: int | None = Field(None, description="Stored lots and trades that the file updated")
    would_change: list[LotDifference] | None = Field(
        None, description="Stored lots and trades of which the file says something else"
    )
    import_id: str | None = None
    reading: FileReading | None = Field(None, description="How the file was read")
    warnings: list[FieldError]
    preview: list[PreviewRow] | None = None
    estimate: Estimate | None = None
    cost: Number = Field(None, description="Of the lots of the first session; of a dry run")
    equity: Number = Field(None, description="Stated, beside the cost")
    unknown_symbols: list[UnknownSymbol] | None = Field(None, description="Of a dry run: what no price source has")
    not_asked: list[str] | None = Field(None, description="Of a dry run: symbols nobody was asked about in time")
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


class Refusal(Answer):
    """A provider that is not asked at the moment."""

    provider: str
    reason: str | None = Field(description="`rate_limited`, `provider_down` or `auth`")
    until: str = Field(description="When it is asked again")
    said: str | None = Field(description="What it said, or did, in words")
    said_at: str | None


class PortfolioList(Answer):
    items: list[ListedPortfolio]
    next: str | None = Field(description="`cursor` of the next page")
    refusals: list[Refusal] = Field(default_factory=list, description="Providers that refuse at the moment")


class Lot(Answer):
    """A lot as the user stated it, with what was made of it."""

    id: str
    symbol: str
    quantity: float
    entry_date: str
    entry_session: str = Field(description="That it counts from")
    entry_price: float
    exit_date: str | None
    exit_session: str | None
    exit_price: Number
    investment_class: str
    investment_subtype: str | None
    underlying_symbol: str | None
    strike_price: Number
    expiration_date: str | None
    option_type: str | None
    name: str | None
    sector: str | None
    price_basis: str
    basis_assumed: bool = Field(description="Nobody has said or seen yet what the numbers are")
    basis_reason: str | None
    basis_awaits: str | None
    stated_quantity: Number
    stated_entry_price: Number
    stated_exit_price: Number
    created_at: str


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


class ConvertedLot(Answer):
    """A lot that is stored with other numbers than stated, or whose numbers are doubtful."""

    position_id: str
    symbol: str
    entry_date: str
    price_basis: str
    basis_reason: str | None
    stated_quantity: float
    stated_entry_price: float
    stored_quantity: float
    stored_entry_price: float


class CurveState(Answer):
    """How old the yield curve is that rates are stressed with."""

    date: str | None = Field(description="Of the newest curve; null where none has come yet")
    provider: str | None
    fetched_at: str | None
    asked_at: str | None
    fault: str | None = Field(description="Why the last question brought none")


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
    price_basis: list[ConvertedLot] = Field(default_factory=list)
    refusals: list[Refusal] = Field(default_factory=list, description="Providers that refuse at the moment")
    curve: CurveState | None = Field(default=None, description="Null where nobody is asked for yield curves")

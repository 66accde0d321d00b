"""JSON bodies. Types are wide on purpose: the importer's rules then find all faults at once, with the codes of the CSV."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, model_validator
from pydantic_core import PydanticCustomError

from services.coordinator.api.query_dates import Day
from services.coordinator.importer import cells
from services.coordinator.importer.reader import MAX_ROWS
from shared.text import unprintable

Value = TypeVar("Value")


def _storable(value: Value) -> Value:
    """JSON can spell what no database and no answer can hold."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character; remove it")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half a character (a lone surrogate); remove it") from None
    return value


def _refuse_unprintable_text(value: Value) -> Value:
    """A text that may be shown anywhere: JSON can spell characters that act on a terminal, or that nobody sees."""
    return _refuse_unprintable(value, lines=True)


def _refuse_unprintable_line(value: Value) -> Value:
    return _refuse_unprintable(value, lines=False)


def _refuse_unprintable(value: Value, *, lines: bool) -> Value:
    if isinstance(value, str) and (found := unprintable(value, lines=lines)) is not None:
        raise PydanticCustomError(
            cells.UNPRINTABLE, "Holds the control or invisible character {found}. Remove it.", {"found": found}
        )
    return value


Number: TypeAlias = Annotated[StrictInt | StrictFloat | StrictStr | None, AfterValidator(_refuse_unprintable_text)]
Words: TypeAlias = Annotated[StrictStr, AfterValidator(_refuse_unprintable_text)]
Text: TypeAlias = Words | None
Line: TypeAlias = Annotated[StrictStr, AfterValidator(_refuse_unprintable_line)]
"""Words that stand in a line with others: who says so, a name."""
Raw: TypeAlias = Annotated[StrictStr, AfterValidator(_storable)] | None
"""What a message holds, whoever wrote it: only what cannot be stored is refused."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def given_fields(self) -> dict[str, Any]:
        """Only the fields that the caller wrote: absent and null are different things in a PATCH."""
        return self.model_dump(exclude_unset=True)


class PositionBody(Body):
    """The columns of the CSV in snake case. Negative quantity is short; dates are YYYY-MM-DD."""

    symbol: Text = Field(default=None, examples=["AAPL"])
    quantity: Number = Field(default=None, examples=[200])
    entry_date: Text = Field(default=None, examples=["2020-01-02"])
    entry_price: Number = Field(default=None, examples=[75.0875])
    investment_class: Text = None
    investment_subtype: Text = None
    underlying_symbol: Text = None
    strike_price: Number = None
    expiration_date: Text = None
    option_type: Text = None
    exit_date: Text = None
    exit_price: Number = None
    name: Text = None
    sector: Text = None
    price_basis: Text = Field(default=None, description="auto, as_traded or split_adjusted")


class FlowBody(Body):
    """Money into (positive) or out of (negative) the portfolio."""

    date: Text = Field(default=None, examples=["2020-03-02"])
    amount: Number = Field(default=None, examples=[1000.0])
    note: Annotated[Text, Field(max_length=500)] = None


class BenchmarkBody(Body):
    """Sector to weight: GICS names or vendors' names of them; decimals at or above 0 that sum to 1 (± 0.01, then rescaled)."""

    weights: Annotated[dict[Line, Number], Field(max_length=100, examples=[{"Financials": 0.4, "Energy": 0.6}])]


class FundHoldingBody(Body):
    symbol: Line
    weight: Annotated[Number, Field(description="Of the fund's value: 0.07 is 7 %")]
    sector: Annotated[Line | None, Field(description="A GICS name or a vendor's; without one as vendors say")] = None


class FundHoldingsBody(Body):
    """Weights at or above 0 whose sum is at most 1 (+ 0.01, then rescaled); what is missing to 1 stays the fund's own."""

    holdings: Annotated[
        list[FundHoldingBody],
        Field(max_length=20_000, examples=[[{"symbol": "AAPL", "weight": 0.07, "sector": "Information Technology"}]]),
    ]


class LetterBody(Body):
    """What to put in place of a dead letter's body and headers before it is replayed; what is left out stays."""

    body: Annotated[Raw, Field(max_length=65_536)] = None
    headers: (
        Annotated[
            dict[Annotated[str, Field(max_length=256)], Annotated[StrictStr, Field(max_length=8_192)]],
            Field(max_length=64),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _says_something(self) -> LetterBody:
        if not self.body and not self.headers:
            raise ValueError("give a body, headers, or both")
        for key, value in (self.headers or {}).items():
            _storable(key + value)
        return self


class PortfolioBody(Body):
    name: Line | None = Field(default=None, examples=["Long-term"])
    account_type: Text = Field(default=None, examples=["taxable"])
    currency: Text = Field(default=None, examples=["USD"])
    equity_balance: Number = Field(default=None, description="Capital before the first session, all of it cash then")
    positions: Annotated[list[PositionBody], Field(max_length=MAX_ROWS)] = []
    flows: Annotated[list[FlowBody], Field(max_length=MAX_ROWS)] = []


class PortfolioPatch(Body):
    name: Line | None = None
    account_type: Text = None
    currency: Text = None
    equity_balance: Number = None


class TradeBody(Body):
    symbol: Annotated[Line, Field(min_length=1, max_length=100)]
    quantity: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e12, le=1e12)] = Field(
        description="Shares or contracts; negative sells"
    )

    @model_validator(mode="after")
    def _moves(self) -> TradeBody:
        if self.quantity == 0:
            raise ValueError("quantity is 0, which is no trade: leave it out")
        return self


class WhatIfBody(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"trades": [{"symbol": "SPY", "quantity": -100}]}}
    )

    trades: list[TradeBody] = Field(min_length=1, max_length=200)
    session: Day | None = Field(default=None, description="Without it the newest completed one")

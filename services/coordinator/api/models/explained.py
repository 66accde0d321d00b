"""What is behind a figure."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, FigureValue, Number, Reason


class Input(Answer):
    kind: str
    symbol: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    provider: str | None
    fetched_at: str | None
    price_version: int | None
    revision: int | None
    return_: float | None = Field(None, alias="return", description="Of a price that was held back: its jump")
    state: str | None = Field(None, description="Of a price that was held back: what became of it")
    reason: str | None = Field(None, description="Of a price that was held back: in whose words")


class Step(Answer):
    name: str
    value: FigureValue


class Explained(Answer):
    """A figure: what it is, how it came about, and the data behind it."""

    portfolio_id: str | None = Field(None, description="Absent for a symbol's figure, which is every portfolio's")
    symbol: str | None = Field(None, description="Absent for a portfolio's figure")
    session: str
    revision: int | None = None
    price_version: int | None = None
    model_version: str | None = None
    computed_at: str | None = None
    quality: str | None = None
    coverage: Number = None
    provisional: bool | None = None
    reasons: list[Reason] = Field(default_factory=list)
    stale: bool
    figure: str
    value: FigureValue
    formula: str
    parameters: dict[str, FigureValue]
    steps: list[Step]
    inputs: list[Input]
    no_inputs: str | None


class FigureName(Answer):
    figure: str
    formula: str | None


class FigureNames(Answer):
    portfolio_id: str | None = Field(None, description="Absent for a symbol")
    symbol: str | None = Field(None, description="Absent for a portfolio")
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

"""What is behind a figure."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from services.coordinator.api.models.common import Answer, Json


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

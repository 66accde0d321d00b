"""Limits, how portfolios stand to them, and webhooks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Number


class LimitStanding(Answer):
    portfolio_id: str
    state: Literal["kept", "breached"]
    since: str = Field(description="Since when it is in that state")
    value: Number = Field(
        description="Of the figure when it was last read; null: unknown, and the state stays as it was"
    )
    detail: str | None = Field(description="Why the figure is unknown")
    session: str | None = Field(description="Of the figure; null: a figure of the moment")


class FigureLimit(Answer):
    """portfolio_id : the only portfolio it is about; null for all"""

    id: str
    name: str
    portfolio_id: str | None
    figure: str
    op: Literal[">", ">=", "<", "<="]
    value: float
    created_at: str
    breached: int = Field(description="Portfolios in which it is breached")
    standings: list[LimitStanding] = Field(description="Breached ones first; empty until a figure was read")


class FigureLimits(Answer):
    items: list[FigureLimit]


class Webhook(Answer):
    id: str
    name: str
    url: str
    created_at: str
    pending: int = Field(description="Messages still to be delivered")
    delivered_at: str | None = Field(description="When the newest message arrived")
    last_error: str | None = Field(description="Why the newest message that was tried has not arrived")


class WebhookMade(Webhook):
    """secret : signs the messages; told this once"""

    secret: str


class Webhooks(Answer):
    items: list[Webhook]

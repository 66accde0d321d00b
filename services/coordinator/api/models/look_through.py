"""What stands behind a session's funds, and its sensitivity to sectors: worked out when asked for."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, Envelope, Number


class OpenedFund(Answer):
    symbol: str
    market_value: float
    weight: Number
    as_of: str | None = Field(description="Date of the list of its holdings")
    holdings: int
    told: float = Field(description="Sum of the weights on the list; the rest stays the fund's own")
    reason: str | None


class SectorBehind(Answer):
    """Fractions of NAV."""

    sector: str
    direct: Number
    through: Number
    long: Number
    short: Number
    net: Number
    gross: Number


class NameBehind(Answer):
    """Money; an option counts as its underlying, by its exposure (a long put is short of it), without a delta by its value as itself."""

    symbol: str
    sector: str
    direct: float
    through: float
    money: float
    weight: Number


class LookThrough(Envelope):
    """`items` are the largest names by gross value. One level deep: a fund within a fund is a name."""

    looked_through: Number = Field(description="Of the gross money in funds; null without funds")
    funds: list[OpenedFund]
    sectors: list[SectorBehind] | None
    concentration: dict[str, Number]
    names: int
    items: list[NameBehind]


class SectorExposure(Answer):
    sector: str
    fund: str
    beta: Number = Field(description="Beyond the market's: of OLS on the market and the fund")
    stderr_hac: Number
    t_hac: Number
    r2: Number
    n_obs: int
    money: Number
    reason: str | None


class SectorExposures(Envelope):
    """Reported, and in no decomposition or stress."""

    market: str | None
    covered_weight: float
    items: list[SectorExposure]

"""Answers about many sessions, portfolios or providers at once, and what was said before."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, FigureValue, Number, Reason


class SeriesReason(Reason):
    from_: str = Field(alias="from")
    to: str


class Series(Answer):
    portfolio_id: str
    sessions: list[str]
    figures: dict[str, list[FigureValue]] = Field(
        description="Under each name a value a session; null where it is not known"
    )
    stale: list[bool]
    reasons: list[SeriesReason]


class GridLine(Answer):
    id: str
    name: str
    runs: list[tuple[str, str, int, int]] = Field(
        description="phase, state, from and to as positions in `sessions`, both within"
    )


class Completeness(Answer):
    sessions: list[str]
    portfolios: list[GridLine]
    totals: dict[str, int]
    pending: int = Field(description="Changes of units that are not in the ranges yet")


class QuotaWindow(Answer):
    calls: int
    seconds: float
    used: int


class Provider(Answer):
    provider: str
    rank: int
    metered: bool
    windows: list[QuotaWindow]
    state: str = Field(description="`asked`, or `paused` until `closed_until`")
    closed_until: str | None
    closed_by: str | None
    failures: int
    last_fault: str | None
    last_fault_at: str | None
    last_success_at: str | None


class Providers(Answer):
    items: list[Provider]


class Restatement(Answer):
    session: str
    phase: str
    figure: str
    old: FigureValue
    new: FigureValue
    old_revision: int
    new_revision: int | None
    withdrawn: bool = Field(description="Nothing took its place: the day is no session of the portfolio any more")
    cause: str | None = Field(None, description="Where the replaced answer said that it would change")
    replaced_at: str


class Restatements(Answer):
    portfolio_id: str
    items: list[Restatement]
    next: str | None


class PriceChange(Answer):
    session: str
    old: Number
    new: Number
    provider: str
    known_from: str


class Cause(Answer):
    kind: str = Field(description="close, split, dividend or run")
    symbol: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    count: int
    source: str | None
    run_id: str | None
    changes: list[PriceChange]
    summary: str


class CauseGroup(Answer):
    revision: int | None
    replaced_at: str
    from_: str = Field(alias="from")
    to: str
    sessions: int
    phases: list[str]
    nav_moved: Number = Field(description="The most that NAV moved by on a session")
    summary: str
    causes: list[Cause]


class RestatementCauses(Answer):
    portfolio_id: str
    items: list[CauseGroup]
    next: str | None

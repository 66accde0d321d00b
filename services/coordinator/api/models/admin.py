"""Runs, the audit, dead letters, benchmarks, the calendar."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.coordinator.api.models.common import Answer, Number, Scalar


class Scope(Answer):
    portfolio_ids: list[str] | None
    from_: str | None = Field(alias="from")
    to: str | None
    phase: str | None
    what: str
    revision: int | None = Field(None, description="That was required; of a run that a change made")
    benchmark: str | None = Field(None, description="Whose weights were loaded or removed")
    model_version: str | None = Field(None, description="Of a release that computes anew")
    calendar: str | None = Field(None, description="The day whose closure was entered or taken back")


class RunProgress(Answer):
    units: int
    done: int
    blocked: int


class Run(Answer):
    id: str
    source: str
    scope: Scope
    requested_at: str
    state: Literal["complete", "running", "blocked"]
    units: int
    done: int
    blocked: int
    phases: dict[str, RunProgress]


class Runs(Answer):
    items: list[Run]
    next: str | None


class RunEvent(Answer):
    at: str | None
    event: str
    portfolio_id: str | None
    phase: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    units: int
    message: str | None


class RunEvents(Answer):
    id: str
    events: list[RunEvent]
    events_total: int


class Drift(Answer):
    kind: str
    portfolio_id: str | None
    phase: str | None
    session: str | None
    units: int
    detail: str


class Audit(Answer):
    ok: bool
    checked_at: str
    as_of: str
    portfolios: int
    units: int
    drift_total: int
    drift: list[Drift]


class DeadLetter(Answer):
    id: int
    consumer: str
    topic: str
    partition: int | None
    offset: int | None
    headers: dict[str, Scalar]
    body: str | None = Field(description="The first 4,096 characters")
    reason: str
    error: str | None
    received_at: str
    replayed_at: str | None
    replay_event_id: str | None
    edited_at: str | None
    resolved_at: str | None
    purged_at: str | None


class DeadLetters(Answer):
    items: list[DeadLetter]
    next: int | None


class Replayed(Answer):
    id: int
    replayed: bool
    sent: bool
    event_id: str


class Purged(Answer):
    id: int
    purged: bool


class ManySettled(Answer):
    dry_run: bool
    replayed: list[int] | None = None
    purged: list[int] | None = None
    refused: list[int]
    more: bool


class Benchmark(Answer):
    code: str
    date: str
    weights: dict[str, float]
    stated_sum: Number
    loaded_at: str | None


class Benchmarks(Answer):
    compared_with: str | None
    items: list[Benchmark]


class RestatedSpan(Answer):
    from_: str = Field(alias="from")
    to: str
    units: int


class BenchmarkOutcome(Answer):
    code: str
    date: str
    weights: dict[str, float] | None = Field(None, description="As stored; absent where they were removed")
    stated_sum: Number = None
    loaded_at: str | None = None
    changed: bool
    restated: RestatedSpan | None
    run_id: str | None


class FundHolding(Answer):
    symbol: str
    weight: float
    sector: str | None


class FundList(Answer):
    symbol: str
    date: str
    told: float = Field(description="Sum of the weights; what is missing to 1 stays the fund's own")
    holdings: list[FundHolding]
    loaded_at: str | None


class FundLists(Answer):
    items: list[FundList]


class FundOutcome(Answer):
    symbol: str
    date: str
    told: Number = None
    holdings: list[FundHolding] | None = Field(None, description="As stored; absent where they were removed")
    loaded_at: str | None = None
    changed: bool


class CalendarSession(Answer):
    session: str
    close_at: str
    due_at: str
    due_at_new_york: str
    early: bool
    reason: str | None


class Closure(Answer):
    day: str
    closed: bool
    close_at: str | None
    close_at_new_york: str | None
    reason: str
    entered_at: str


class Closures(Answer):
    items: list[Closure]


class Horizon(Answer):
    last_session: str
    announced_until: str
    days_left: int
    alarm: bool
    remedy: str | None


class TradingCalendar(Answer):
    exchange: str
    now: str
    last_due: str
    sessions: list[CalendarSession]
    closures: list[Closure]
    horizon: Horizon


class ClosureOutcome(Answer):
    day: str
    closed: bool | None = Field(None, description="The whole day; absent where a closure was taken back")
    close_at: str | None = None
    close_at_new_york: str | None = None
    reason: str | None = Field(None, description="In the user's words")
    entered_at: str | None = None
    changed: bool
    withdrawn_units: int
    required_units: int
    run_id: str | None

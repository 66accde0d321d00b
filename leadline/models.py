"""What the API answers, as far as programs read it. A figure that is not known is None, and a reason says why."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

State = Literal["complete", "partial", "healing", "blocked"]


class Reason(TypedDict):
    figure: str | None
    symbol: str | None
    reason: str
    severity: str | None
    acts: str | None
    until: str | None
    provider: str | None
    remedy: str | None


class ListedPortfolio(TypedDict):
    id: str
    name: str
    currency: str
    state: State
    positions: int
    first_session: str | None
    complete_to: str | None
    coverage_min: float | None
    needs_you: int | None


class Portfolio(TypedDict):
    id: str
    name: str
    currency: str
    account_type: str
    equity_balance: float
    positions: list[dict[str, Any]]
    flows: list[dict[str, Any]]


class Hole(TypedDict):
    phase: str
    state: str
    reason: str | None
    reasons: list[Reason]
    symbols: list[str]
    attempts: int
    next_at: str | None


class Status(TypedDict):
    id: str
    state: State
    as_of: str
    complete_to: str | None
    expected: int
    completed: int
    partial: int
    coverage_min: float | None
    coverage_gate: float | None
    needs_you: list[Reason] | None
    phases: dict[str, dict[str, int]]
    holes: list[Hole]
    holes_total: int


class Result(TypedDict):
    """What every result of a session says of itself."""

    portfolio_id: str
    session: str
    revision: int
    model_version: str
    computed_at: str
    quality: Literal["complete", "partial"]
    coverage: float | None
    stale: bool
    reasons: list[Reason]


class Positions(Result):
    items: list[dict[str, Any]]


class FactorExposures(Result):
    factors: list[dict[str, Any]]
    positions: list[dict[str, Any]] | None
    proxies: dict[str, str | None]


class Risk(Result):
    volatility: dict[str, Any] | None
    beta: dict[str, Any] | None
    var: list[dict[str, Any]] | None
    drawdown: dict[str, Any] | None
    decomposition: dict[str, Any] | None
    concentration: dict[str, Any] | None
    sectors: list[dict[str, Any]] | None


class Stress(Result):
    scenarios: list[dict[str, Any]] | None


class Series(TypedDict):
    portfolio_id: str
    sessions: list[str]
    figures: dict[str, list[Any]]
    stale: list[bool]


class Performance(TypedDict):
    """Of the sessions from `from` to `to`; `items` are months."""

    portfolio_id: str
    sessions: int
    n_obs: int
    stale: bool
    total_return: float | None
    annual_return: float | None
    money_weighted_return: float | None
    money_weighted_annual: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    cdar_95: float | None
    drawdowns: list[dict[str, Any]]
    benchmark: dict[str, Any] | None
    years: list[dict[str, Any]]
    items: list[dict[str, Any]]
    reasons: list[Reason]


class Attribution(TypedDict):
    """Positions (`items`), sectors and factors each add up to `pnl` and `total_return`."""

    portfolio_id: str
    sessions: int
    stale: bool
    linking: str
    pnl: float
    total_return: float | None
    items: list[dict[str, Any]]
    sectors: list[dict[str, Any]]
    factors: list[dict[str, Any]]
    brinson: dict[str, Any] | None
    reasons: list[Reason]


class Replay(Result):
    proxies: list[dict[str, Any]]
    factors: dict[str, Any] | None
    positions: dict[str, Any] | None
    items: list[dict[str, Any]]


class Liquidity(Result):
    share: float
    days: float | None
    within: list[dict[str, Any]]
    unknown_share: float
    items: list[dict[str, Any]]


class LookThrough(Result):
    looked_through: float | None
    funds: list[dict[str, Any]]
    sectors: list[dict[str, Any]] | None
    concentration: dict[str, float | None]
    names: int
    items: list[dict[str, Any]]


class SectorExposures(Result):
    market: str | None
    covered_weight: float
    items: list[dict[str, Any]]


class WhatIf(Result):
    trades: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    positions: list[dict[str, Any]]


class Explained(TypedDict):
    figure: str
    session: str
    value: Any
    formula: str
    parameters: dict[str, Any]
    steps: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    no_inputs: str | None
    stale: bool


class Run(TypedDict):
    id: str
    source: str
    state: Literal["complete", "running", "blocked"]
    requested_at: str
    units: int
    done: int
    blocked: int


class RunAccepted(TypedDict):
    run_id: str
    rejected: list[dict[str, Any]]


class Imported(TypedDict):
    id: str | None
    name: str
    positions: int
    warnings: list[dict[str, Any]]

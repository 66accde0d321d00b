"""What the tools for agents answer: an agent is told these types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class PortfolioLine:
    id: str
    name: str
    currency: str
    state: str
    positions: int
    complete_to: str | None
    coverage_min: float | None
    nav: float | None


@dataclass
class Portfolios:
    items: list[PortfolioLine]


@dataclass
class Status:
    id: str
    state: str
    as_of: str
    complete_to: str | None
    expected: int
    completed: int
    coverage_min: float | None
    needs_you: list[dict[str, Any]] | None
    holes: list[dict[str, Any]]


@dataclass
class Origin:
    """Which computation a result is of, and what it lacks."""

    session: str
    revision: int
    quality: str
    coverage: float | None
    stale: bool
    reasons: list[dict[str, Any]]


@dataclass
class Positions(Origin):
    items: list[dict[str, Any]]


@dataclass
class Risk(Origin):
    volatility: dict[str, Any] | None
    beta: dict[str, Any] | None
    var: list[dict[str, Any]] | None
    drawdown: dict[str, Any] | None
    concentration: dict[str, Any] | None
    sectors: list[dict[str, Any]] | None


@dataclass
class Exposures(Origin):
    factors: list[dict[str, Any]]


@dataclass
class Stress(Origin):
    scenarios: list[dict[str, Any]] | None


@dataclass
class Explained:
    figure: str
    session: str
    value: float | int | str | bool | None
    formula: str
    parameters: dict[str, Any]
    steps: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    no_inputs: str | None


@dataclass
class Restatements:
    items: list[dict[str, Any]]
    more: bool


@dataclass
class Performance:
    """From `first` to `last`. Items are the months."""

    first: str
    last: str
    sessions: int
    stale: bool
    total_return: float | None
    annual_return: float | None
    money_weighted_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float | None
    drawdowns: list[dict[str, Any]]
    benchmark: dict[str, Any] | None
    years: list[dict[str, Any]]
    items: list[dict[str, Any]]
    reasons: list[dict[str, Any]]


@dataclass
class Attribution:
    """From `first` to `last`. Items are the positions; they, the sectors and the factors each add up to the total."""

    first: str
    last: str
    stale: bool
    pnl: float
    total_return: float | None
    items: list[dict[str, Any]]
    sectors: list[dict[str, Any]]
    factors: list[dict[str, Any]]
    brinson: dict[str, Any] | None
    reasons: list[dict[str, Any]]


@dataclass
class Liquidity(Origin):
    share: float
    days: float | None
    unknown_share: float
    within: list[dict[str, Any]]
    items: list[dict[str, Any]]


@dataclass
class Replay(Origin):
    """The stretch from `first` to `last` with what is held: by factors, and by the holdings' own returns."""

    first: str
    last: str
    factors: dict[str, Any] | None
    positions: dict[str, Any] | None
    items: list[dict[str, Any]]


@dataclass
class WhatIf(Origin):
    """Risk before the trades and after them."""

    trades: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass
class Limits:
    """What is watched, and how each portfolio stands to it."""

    items: list[dict[str, Any]]


@dataclass
class DryRun:
    """What an import would do; nothing is saved."""

    name: str
    positions: int
    warnings: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    preview: list[dict[str, Any]]


@dataclass
class Rerun:
    """asked : whether work was asked for; without confirmation it was not, and `note` says what would be."""

    asked: bool
    run_id: str | None
    note: str

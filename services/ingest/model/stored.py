"""What is stored, as values: rows of the tables of ingest and what a query answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from shared.work import Phase


class PriceGap(NamedTuple):
    """Consecutive sessions [first, last], as ordinals, without a price, and why."""

    first: int
    last: int
    reason: str
    terminal: bool
    provider: str
    checked_at: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class SymbolCoverage:
    """A symbol and the sessions [covered_from, covered_to] of which everything is known."""

    id: int
    symbol: str
    covered_from: date | None
    covered_to: date | None


GapRow: TypeAlias = tuple[int, int, str, bool, str, datetime, datetime | None]
"""first and last as ordinals of the calendar, reason, terminal, provider, checked_at, retry_at"""


class Change(NamedTuple):
    """A price, return or action inside sessions that were already known, as it is now. Whoever used the old one must know.

    what : `price` (a close appeared or differs), `return` (the ratio differs), `first_return` (there was none: only windows
           look at it) or `action`
    """

    symbol_id: int
    session: date
    what: str


class ActionRow(NamedTuple):
    symbol_id: int
    ex_session: date
    type: str
    value: float
    ex_date: date
    provider: str


class SymbolRow(NamedTuple):
    """Coverage reached."""

    id: int
    first: date
    last: date


class Absence(NamedTuple):
    """A lot whose symbol has no price from `first`, when it is held, to `last`, and why.

    exit  : the last session that the lot is held on; None while it is
    waits : a price may still come, and a session waits for those of its whole window
    """

    lot_id: UUID
    symbol: str
    reason: str
    waits: bool
    first: date
    exit: date | None
    last: date


class LotCost(NamedTuple):
    """A lot from its entry to its exit, if it has one, and what it cost, without sign."""

    lot_id: UUID
    entry: date
    exit: date | None
    cost: float


class Shortfall(NamedTuple):
    """What sessions of a portfolio lack.

    coverage : the share of the gross cost whose symbols have a price
    reasons  : (symbol, reason), ascending
    waits    : some of it may still come
    """

    coverage: float
    reasons: list[tuple[str, str]]
    waits: bool


class Alias(NamedTuple):
    """`renamed_on`: from which day the security has the name. A user's choice may be another security altogether."""

    target: str
    valid_from: date
    valid_to: date
    renamed_on: date | None
    by_user: bool


class Found(NamedTuple):
    """A rename a provider told of."""

    symbol: str
    target: str
    renamed_on: date
    provider: str


class Candidate(NamedTuple):
    symbol_id: int
    candidate: str
    exchange: str
    name: str | None
    asset_type: str
    currency: str | None


class StoredClose(NamedTuple):
    """A stored close as traded, and who delivered it."""

    session: date
    close: float
    provider: str


class StoredAction(NamedTuple):
    """A split or dividend by the session it took effect on, and who told of it."""

    ex_session: date
    type: str
    value: float
    provider: str


class PriceOutlier(NamedTuple):
    symbol_id: int
    session: date
    provider: str
    jump: float
    sigma: float
    second: str | None
    second_return: float | None
    confirmed: bool


class OutlierDecision(NamedTuple):
    """What is thought of a jump: `confirmed` True or False where somebody decided, None where nobody has. `decision`: which one."""

    confirmed: bool | None
    decision: int | None


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """What is stored about the symbol of one request, as far as its answer is compared with it.

    aliases   : what else the symbol is called, in order of precedence
    closes    : some stored closes of the request's range, ascending, the last one among them
    anchor    : the first stored adjusted close of the range, to join levels at; None: none, or nothing is known yet
    actions   : all stored actions
    decisions : price outliers found before, by session, and what was decided about them
    sigma     : standard deviation of the last daily returns; None: fewer than a window, or nobody would look at it
    unadjusted_split : whether the stored return over a recent split is the split's own fall
    """

    aliases: tuple[Alias, ...] = ()
    closes: tuple[StoredClose, ...] = ()
    anchor: tuple[date, float] | None = None
    actions: tuple[StoredAction, ...] = ()
    decisions: Mapping[date, OutlierDecision] = field(default_factory=dict)
    sigma: float | None = None
    unadjusted_split: bool = False

    @property
    def splits(self) -> dict[date, float]:
        return {action.ex_session: action.value for action in self.actions if action.type == "split"}

    def decisions_within(self, first: date, last: date) -> dict[date, int]:
        """Decisions about sessions of [first, last]: after an answer about these they have been taken up."""
        return {
            session: known.decision
            for session, known in self.decisions.items()
            if known.decision is not None and first <= session <= last
        }


class ProfileRow(NamedTuple):
    symbol_id: int
    as_of: date
    provider: str
    beta: float | None
    sector: str | None
    industry: str | None
    name: str | None
    market_cap: float | None
    pe: float | None
    asset_type: str | None = None


class Described(NamedTuple):
    """What came with prices of what a symbol is; None: nothing of it, and `as_of` None: it bears no date."""

    symbol_id: int
    provider: str
    as_of: date | None
    asset_type: str | None
    name: str | None
    sector: str | None
    industry: str | None


class Affected(NamedTuple):
    """Sessions [first, last] on which a phase looks at something that changed about a symbol it holds (or a proxy)."""

    symbol: str
    phase: Phase
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class PendingRefresh:
    """A known symbol that is to be asked for anew over [first, last], because of a run of `requested_at`."""

    symbol: str
    first: date
    last: date
    requested_at: datetime


class Choice(NamedTuple):
    symbol: str
    chosen: str


class Taken(NamedTuple):
    """granted is 0 where `retry_at` is set; `fault` is the provider's last one where that is the reason.

    probe : the provider was closed, and this is the one question it is tried with
    """

    use_id: int | None
    granted: int
    retry_at: datetime | None
    reason: str | None
    fault: str | None
    probe: bool


class Standing(NamedTuple):
    """One window of a provider's quota, for people."""

    calls: int
    seconds: float
    used: int


class Health(NamedTuple):
    failures: int
    closed_until: datetime | None
    closed_by: str | None
    last_fault: str | None
    last_fault_at: datetime | None
    last_success_at: datetime | None


class Link(NamedTuple):
    """A provider of the chain. calls_each a symbol, calls_fifty for every fifty; no account: no network."""

    provider: str
    account: str | None
    windows: Sequence[tuple[int, float]]
    calls_each: float
    calls_fifty: float


class Unpriced(NamedTuple):
    """That nothing at all has a price of late, over so many symbols, and the reason that most of them have."""

    symbols: int
    since: date
    reason: str

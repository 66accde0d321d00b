"""What a vendor on the network answers beside prices: profiles, fundamentals, search, renames, and its own condition."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Protocol

from services.ingest.model.market import CURRENCY, Listing, NoData, Profile, Rename, Request
from services.ingest.providers.base import Provider


class StatementKind(StrEnum):
    INCOME = "income"
    BALANCE = "balance"
    CASH_FLOW = "cash_flow"


# The names under which figures are stored, whatever a vendor calls them. Money in the statement's currency, eps per share.
ITEMS: Mapping[StatementKind, tuple[str, ...]] = {
    StatementKind.INCOME: (
        "revenue", "cost_of_revenue", "gross_profit", "operating_income", "ebitda", "interest_expense", "income_tax",
        "net_income", "eps_basic", "eps_diluted", "shares_diluted",
    ),
    StatementKind.BALANCE: (
        "cash", "current_assets", "total_assets", "current_liabilities", "total_liabilities", "total_debt", "total_equity",
        "retained_earnings",
    ),
    StatementKind.CASH_FLOW: (
        "operating_cash_flow", "investing_cash_flow", "financing_cash_flow", "capital_expenditure", "free_cash_flow",
        "dividends_paid",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """One quarter of one statement. `values` holds every name of `ITEMS[kind]`, null where the vendor has none.

    Figures are doubles: revenue of 1e15 is exact to the cent's hundredth, no column may be narrower.
    """

    kind: StatementKind
    period_end: date
    values: Mapping[str, float | None]
    filed_on: date | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Fundamentals:
    """Quarterly statements, newest first within a kind, and what the market pays, as of a day.

    pe_ratio       : price over the diluted earnings of the last four quarters; null without four, or where they are a loss.
    last_earnings  : newest announcement known; fundamentals are asked for again three days after one.
    """

    symbol: str
    as_of: date
    statements: tuple[Statement, ...] = ()
    market_cap: float | None = None
    pe_ratio: float | None = None
    last_earnings: date | None = None
    next_earnings: date | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A symbol's profile."""

    symbol: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Matches:
    """What a search found, best first, or why it could not be made."""

    listings: tuple[Listing, ...] = ()
    failed: NoData | None = None


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """How a provider is doing, for `doctor` and status. `disabled` says in one sentence what to set or change."""

    name: str
    disabled: str | None = None
    last_fault: str | None = None
    calls: int = 0


class NetworkProvider(Provider, Protocol):
    """A provider on the network. All calls block, all failures are answers; nothing is raised for what a vendor does.

    profile_calls, statement_calls : what the profile and the statements of one symbol cost at most, of a vendor that keeps its session
    """

    profile_calls: int
    statement_calls: int

    def calls(self, requests: Sequence[Request]) -> int:
        """About how many calls `fetch` would make: for the estimate before onboarding, and to reserve quota."""
        ...

    def profiles(self, symbols: Sequence[str]) -> Iterable[Described | NoData]:
        """One answer a symbol, in order."""
        ...

    def fundamentals(self, symbols: Sequence[str]) -> Iterable[Fundamentals | NoData]:
        """One answer a symbol, in order."""
        ...

    def search(self, text: str) -> Matches:
        """Securities whose symbol or name matches."""
        ...

    def renames(self, symbols: Sequence[str]) -> Iterable[Rename | NoData | None]:
        """What became of each symbol, in order: None where the vendor knows of no change."""
        ...

    def answers(self) -> NoData | None:
        """One question of one call that any plan answers; why there was no answer, or None."""
        ...

    def health(self) -> ProviderHealth: ...

    def close(self) -> None: ...


def pe_ratio(price: float | None, incomes: Sequence[Statement]) -> float | None:
    """Price over the diluted earnings of the four newest quarters, if they are four consecutive ones, a profit, and in dollars."""
    newest = sorted((s for s in incomes if s.kind is StatementKind.INCOME), key=lambda s: s.period_end)[-4:]
    earnings = [statement.values.get("eps_diluted") for statement in newest]
    if price is None or len(newest) < 4 or (newest[-1].period_end - newest[0].period_end).days > 300:
        return None
    if any(statement.currency not in (None, CURRENCY) for statement in newest):
        return None
    known = [value for value in earnings if value is not None]
    total = sum(known)
    return price / total if len(known) == 4 and total > 0 else None


@dataclass(slots=True)
class ProviderStats:
    """What `health` tells; kept by an adapter's transport."""

    calls: int = 0
    last_fault: str | None = None
    disabled: str | None = field(default=None)

"""What the importer returns: positions, and everything that is wrong with the file at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Generic, TypeVar

from shared.market.registry import OPTION_MULTIPLIER

# A cell may hold 1 KB; an answer repeats only as much of it as a person needs to find it.
SHOWN_VALUE = 100
# A file of 50,000 wrong rows would otherwise answer with hundreds of thousands of messages.
MAX_ISSUES = 10_000
# A file wrong in one row is often wrong in all: the first twenty say how, the count says how often.
SHOWN_ERRORS = 20

PUBLIC, OPTIONS, PRIVATE = "PUBLIC", "OPTIONS", "PRIVATE"
CLASSES = (PUBLIC, OPTIONS, PRIVATE)


Kept = TypeVar("Kept")
"""What is kept of a lot or a trade: its fields by name."""


@dataclass(frozen=True, slots=True)
class Issue:
    """An error or a warning about one cell. `row` is the line in the file, or the 1-based item of a JSON list."""

    row: int | None
    column: str | None
    code: str
    message: str
    value: str | None = None

    def document(self) -> dict[str, object]:
        value = None if self.value is None else self.value[:SHOWN_VALUE]
        return {"row": self.row, "column": self.column, "code": self.code, "message": self.message, "value": value}


@dataclass(frozen=True, slots=True)
class Position:
    """One lot as the user states it. Quantity is signed; prices are per share, in the portfolio's currency."""

    row: int
    symbol: str
    quantity: Decimal
    entry_date: date
    entry_session: date
    entry_price: Decimal
    investment_class: str
    investment_subtype: str | None = None
    underlying_symbol: str | None = None
    strike_price: Decimal | None = None
    expiration_date: date | None = None
    option_type: str | None = None
    exit_date: date | None = None
    exit_session: date | None = None
    exit_price: Decimal | None = None
    name: str | None = None
    sector: str | None = None
    price_basis: str | None = None
    """What the user says the numbers are; None leaves the decision to the comparison with the closes."""
    at_close: bool = False
    """The file gives no price: it enters at the close of its day, which is filled in before anything is stored."""
    undated: bool = field(default=False, compare=False)
    """The file does not say when it was bought: it enters on the day the file is of, or that the user names."""
    file_price: Decimal | None = field(default=None, compare=False)
    """What the file says a share was worth on `file_day`; None where it says none."""
    file_day: date | None = field(default=None, compare=False)
    """The day the file is of; None where it does not say, and the user does."""
    class_stated: bool = field(default=False, compare=False)
    """Whether the class is the user's word; else it is what the symbol says."""
    written: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Column and text of each number as the file writes it."""

    @property
    def multiplier(self) -> int:
        return OPTION_MULTIPLIER if self.investment_class == OPTIONS else 1


@dataclass(frozen=True, slots=True)
class Flow:
    """Money in (positive) or out (negative) of the portfolio."""

    row: int
    day: date
    session: date
    amount: Decimal
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Difference(Generic[Kept]):
    """A stored lot, or a kept trade, of which the file says something else. `changes`: field to (stored, in the file), as text."""

    row: int
    lot: Kept
    changes: Mapping[str, tuple[str | None, str]]


@dataclass(slots=True)
class Issues:
    """Collects errors and warnings; the import goes through only without errors."""

    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    total: int = 0
    shown: int = MAX_ISSUES
    """How many errors an answer repeats; `total` counts all of them."""
    dialect: str = "iso"
    """How the file at hand is read; a remedy names no dialect that is chosen already."""

    def copy(self) -> Issues:
        """As it is now, and for itself from now on."""
        return replace(self, errors=list(self.errors), warnings=list(self.warnings))

    def of_row(self) -> Issues:
        """For what is wrong in one row, which `extend` adds."""
        return Issues(dialect=self.dialect)

    def error(self, row: int | None, column: str | None, code: str, message: str, value: str | None = None) -> None:
        self.total += 1
        if len(self.errors) < MAX_ISSUES:
            self.errors.append(Issue(row, column, code, message, value))

    def warn(self, row: int | None, column: str | None, code: str, message: str, value: str | None = None) -> None:
        if len(self.warnings) < MAX_ISSUES:
            self.warnings.append(Issue(row, column, code, message, value))

    def extend(self, other: Issues) -> None:
        self.total += other.total
        self.errors.extend(other.errors[: MAX_ISSUES - len(self.errors)])
        self.warnings.extend(other.warnings[: MAX_ISSUES - len(self.warnings)])

    @property
    def refused(self) -> bool:
        return self.total > 0

    def refused_at(self, row: int) -> bool:
        return any(issue.row == row for issue in self.errors)

"""What a price basis is decided from, and what is decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

AS_TRADED, SPLIT_ADJUSTED, ADJUSTED = "as_traded", "split_adjusted", "adjusted"
STATED, COMPARED, AMBIGUOUS, MISMATCH, NO_CLOSE = "stated", "compared", "ambiguous", "mismatch", "no_close"
# The user's word stands, and the price is far from the close of its day all the same.
STATED_MISMATCH = "stated_mismatch"
BY_THE_USER = frozenset({STATED, STATED_MISMATCH})
DOUBTFUL = frozenset({AMBIGUOUS, MISMATCH, STATED_MISMATCH})


@dataclass(frozen=True, slots=True)
class Market:
    """What is stored about a symbol around an entry.

    close     : as traded, on the last session on or before the entry date; None where the source has only an adjusted one
    adj_close : on the source's own level; None where unknown
    splits    : (ex session, new shares per old) of every split known after the entry date, also those after `as_of`: a file
                exported today is on today's basis
    low, high : of the session, as traded; None where unknown
    """

    close: float | None
    adj_close: float | None
    splits: tuple[tuple[date, float], ...]
    low: float | None = None
    high: float | None = None

    def factor(self, after: date) -> float:
        """New shares per share held on `after`. A split is in force from the open of its ex session."""
        return math.prod(ratio for ex, ratio in self.splits if ex > after)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a position is stored, and how that was found."""

    row: int
    price_basis: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal | None
    close_as_traded: float | None
    close_split_adjusted: float | None
    known: bool
    """Whether there was a price to compare with."""
    reason: str | None = None
    """Who or what decided: STATED, STATED_MISMATCH, COMPARED, AMBIGUOUS, MISMATCH or NO_CLOSE; None where nobody has yet, or nothing is
    to be decided."""
    assumed: bool = False
    """Stored as stated because nothing is known yet."""
    awaits: date | None = None
    """The session whose closes are to decide, until they have."""

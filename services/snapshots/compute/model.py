"""What the computation takes and gives: arrays over lots, sessions and portfolios.

T sessions, n lots, P portfolios, S symbols. Days are days since 1970-01-01; money is in ten-thousandths (`money`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.snapshots.compute.money import IntMatrix
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.errors import LeadlineError
from shared.market.reasons import ABSENCES, ReasonCode

BoolVector = NDArray[np.bool_]
# The exit of a lot that is still open.
NEVER = int(np.iinfo(np.int64).max)


class Basis(IntEnum):
    """Where a lot's price comes from; the names are those of `snapshots.holdings.price_basis`."""

    STATED = 0
    """What the user stated: a PRIVATE holding, a lot that never had a price, or one that is closed."""
    CLOSE = 1
    FILE = 2
    """A close whose source lists no splits (nor dividends)."""
    CHAINED = 3
    ADJ_CLOSE = 4
    """The lot stays on adjusted closes for life."""


class Reason(IntEnum):
    """Why a lot fell short."""

    NONE = 0
    STALE = 1
    UNPRICEABLE = 2
    DELISTED = 3
    NO_DIVIDENDS = 4
    AMOUNT_TOO_LARGE = 5
    """At the session's price the lot would be worth more than the ledger can hold, so that price is not taken."""


# Reasons of `ingest.gaps`, by code; 0 is "no gap is recorded".
GAP_REASONS = ("", *ABSENCES)
DELISTED_GAP = GAP_REASONS.index(ReasonCode.DELISTED)


class ChainBroken(LeadlineError):
    """The stored row before the first session does not fit the inputs: an edit is under way, and its raise will follow."""

    code = "chain_broken"


@dataclass(frozen=True, slots=True)
class Lots:
    """All lots of all portfolios of a batch, each portfolio's together, by entry session and then id.

    portfolio : (n,) ascending index of the portfolio
    column    : (n,) column of the market arrays; -1 (the last, empty one) for a lot without a market
    private   : (n,) at its stated value for life: without a market, or money
    multiplier: (n,) 100 for options, else 1
    entry_day, exit_day         : (n,) as stated; exit NEVER while open
    entry_session, exit_session : (n,) the sessions on which they count
    doubt     : (n,) what the comparison with the closes of the entry day left open, a reason code, else ''; empty: nowhere
    """

    portfolio: IntVector
    position_id: tuple[UUID, ...]
    symbol: tuple[str, ...]
    column: IntVector
    private: BoolVector
    multiplier: IntVector
    quantity: tuple[Decimal, ...]
    entry_price: tuple[Decimal, ...]
    exit_price: tuple[Decimal | None, ...]
    entry_day: IntVector
    exit_day: IntVector
    entry_session: IntVector
    exit_session: IntVector
    doubt: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.position_id)


@dataclass(frozen=True, slots=True)
class Market:
    """Prices and actions. The last column belongs to no symbol and is empty.

    days      : (T + 1,) consecutive sessions; row 0 is the one before the first session computed
    close     : (T + 1, S + 1) as traded, NaN where there is none
    adj_close : (T + 1, S + 1) NaN where there is none; levels of two symbols do not compare
    from_file : (T + 1, S + 1) the source of that row lists no splits
    dividend  : (T + 1, S + 1) per share of the session, 0 where there is none
    gap       : (T + 1, S + 1) index into GAP_REASONS
    splits    : per column the (ex session, new shares per old), ascending, of every split since the earliest entry
    absences  : per column the (first, last) session of every stretch of more than `STALE_SESSIONS` without a price since the
                earliest entry, ascending, by what is known on the last session computed; empty: not known
    underlying_splits : the ex sessions of the splits of options' underlyings since the earliest entry, ascending, by underlying
    """

    days: IntVector
    close: FloatMatrix
    adj_close: FloatMatrix
    from_file: BoolMatrix
    dividend: FloatMatrix
    gap: NDArray[np.int8]
    splits: tuple[tuple[tuple[int, float], ...], ...]
    absences: tuple[tuple[tuple[int, int], ...], ...] = ()
    underlying_splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LotState:
    """The holdings row before the first session: (n,) each, zeros for lots not yet entered."""

    price: FloatVector
    price_day: IntVector
    basis: IntVector
    stale: IntVector
    market_value: IntVector
    cumulative_pnl: IntVector
    realized_pnl: IntVector
    dividends: IntVector


@dataclass(frozen=True, slots=True)
class Portfolios:
    """Portfolios and the snapshot before the first session: (P,) each, NaN where a stored figure is null.

    Before a portfolio's first session: NAV and cash are `equity`, the returns 0, the peak 1.
    flows : per portfolio the (session day, amount) of every flow up to the last session, ascending
    empty : per portfolio the (session day, next session day) of every session before the first at whose close nothing was left
    """

    portfolio_id: tuple[UUID, ...]
    equity: IntVector
    first_day: IntVector
    nav: IntVector
    cash: IntVector
    cumulative_flow: IntVector
    mtd_return: FloatVector
    ytd_return: FloatVector
    cumulative_return: FloatVector
    peak_index: FloatVector
    flows: tuple[tuple[tuple[int, int], ...], ...]
    empty: tuple[tuple[tuple[int, int], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    portfolios: Portfolios
    lots: Lots
    market: Market
    opening: LotState
    provisional: BoolMatrix | None = None
    """(T, P) whether a price of the session, or of one before it, was still waited for; None: nothing is waited for."""


@dataclass(frozen=True, slots=True)
class LotTable:
    """Per session and lot, (T, n) each; zeros before a lot's entry. `quantity` is without the multiplier, 0 once closed."""

    live: BoolMatrix
    quantity: FloatMatrix
    price: FloatMatrix
    price_day: IntMatrix
    basis: IntMatrix
    stale: IntMatrix
    reason: IntMatrix
    gap: IntMatrix
    market_value: IntMatrix
    cash: IntMatrix
    daily_pnl: IntMatrix
    cumulative_pnl: IntMatrix
    realized_pnl: IntMatrix
    dividends: IntMatrix


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Per session and portfolio, (T, P) each. Money in ten-thousandths, returns decimal, NaN where null."""

    nav: IntMatrix
    cash: IntMatrix
    long_value: IntMatrix
    short_value: IntMatrix
    daily_pnl: IntMatrix
    cumulative_pnl: IntMatrix
    realized_pnl: IntMatrix
    unrealized_pnl: IntMatrix
    dividends: IntMatrix
    flow: IntMatrix
    cumulative_flow: IntMatrix
    daily_return: FloatMatrix
    mtd_return: FloatMatrix
    ytd_return: FloatMatrix
    cumulative_return: FloatMatrix
    peak_index: FloatMatrix
    drawdown: FloatMatrix
    xirr: FloatMatrix
    days_at_work: IntMatrix
    """Days on which there was money in the account, which `xirr` is of; not stored."""
    positions: IntMatrix
    long_positions: IntMatrix
    short_positions: IntMatrix
    coverage: FloatMatrix

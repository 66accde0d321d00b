"""As traded, or adjusted for splits? Files come in both, and mixing them up is wrong by the split ratio.

The entry price is compared with both closes of the day and the nearer one, in logarithm, decides; a tie is as traded
(without a split in between the two closes are the same). Decided once, stored converted to as traded. Before the closes
are known as traded is assumed, and nothing is computed from it until it is settled (`portfolios.settlement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from services.coordinator.importer.model import PUBLIC, Issues, Position
from shared.market.reasons import ReasonCode

AS_TRADED, SPLIT_ADJUSTED, ADJUSTED = "as_traded", "split_adjusted", "adjusted"
STATED, COMPARED, MISMATCH, NO_CLOSE = "stated", "compared", "mismatch", "no_close"
# Outside half to double of either close the price is not of that day, or not of that symbol.
MISMATCH_LOW, MISMATCH_HIGH = 0.5, 2.0
_KEPT = Decimal(1).scaleb(-10)


@dataclass(frozen=True, slots=True)
class Market:
    """What is stored about a symbol around an entry.

    close     : as traded, on the last session on or before the entry date; None where the source has only an adjusted one
    adj_close : on the source's own level; None where unknown
    splits    : (ex session, new shares per old) of every split known after the entry date, also those after `as_of`: a file
                exported today is on today's basis
    """

    close: float | None
    adj_close: float | None
    splits: tuple[tuple[date, float], ...]

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
    """Who or what decided: STATED, COMPARED, MISMATCH or NO_CLOSE; None where nobody has yet, or nothing is to be decided."""
    assumed: bool = False
    """As traded because nothing is known yet."""
    awaits: date | None = None
    """The session whose closes are to decide, until they have."""


def decide(position: Position, market: Market | None, issues: Issues) -> Decision:
    """The basis of one position. Reports an override that cannot be carried out, warns of a price that fits neither close."""
    if market is None or (market.close is None and market.adj_close is None):
        if position.price_basis == SPLIT_ADJUSTED:
            issues.error(
                position.row,
                "price_basis",
                "ERR_POS_026",
                f"The splits of {position.symbol} are not known yet, so its split-adjusted numbers cannot be converted. Import "
                "with price_basis auto, wait until prices are stored, then POST /portfolios/{id}/price-basis.",
                position.price_basis,
            )
        decided = _stored(position, AS_TRADED, 1.0, 1.0, None, None, known=False)
        if position.price_basis is None and applies(position):
            return replace(decided, reason=None, assumed=True)
        return decided
    stated = float(position.entry_price)
    if stated == 0:
        # Received for nothing: there is no price to compare, and the shares are those of the day.
        return _stored(position, AS_TRADED, 1.0, 1.0, market.close, market.adj_close, known=True)
    if market.close is None:
        assert market.adj_close is not None
        fits = _fits(position, stated, (market.adj_close,), issues)
        return _stored(position, ADJUSTED, 1.0, 1.0, None, market.adj_close, known=True, fits=fits)
    entry_factor = market.factor(position.entry_date)
    adjusted = market.close / entry_factor
    basis = position.price_basis
    if basis is None:
        far = abs(math.log(stated / market.close)), abs(math.log(stated / adjusted))
        basis = SPLIT_ADJUSTED if far[1] < far[0] else AS_TRADED
    fits = _fits(position, stated, (market.close, adjusted), issues)
    if basis == AS_TRADED:
        return _stored(position, AS_TRADED, 1.0, 1.0, market.close, adjusted, known=True, fits=fits)
    exit_factor = 1.0 if position.exit_date is None else market.factor(position.exit_date)
    return _stored(position, SPLIT_ADJUSTED, entry_factor, exit_factor, market.close, adjusted, known=True, fits=fits)


def applies(position: Position) -> bool:
    """Options and private holdings have no close to compare with here."""
    return position.investment_class == PUBLIC


def warn_unknown(positions: Sequence[Position], decisions: Sequence[Decision], issues: Issues) -> None:
    """One warning for all symbols without a stored price, naming them."""
    names = sorted({p.symbol for p, d in zip(positions, decisions, strict=True) if d.assumed})
    if names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        issues.warn(
            None,
            "entry_price",
            "price_basis_assumed",
            f"No prices are stored yet for {shown}. Whether their numbers are as traded or split-adjusted is decided by the closes "
            "of the entry days as soon as those are known, and no snapshot is published before. To decide it yourself, give "
            "price_basis.",
        )


def _fits(position: Position, stated: float, closes: tuple[float, ...], issues: Issues) -> bool:
    """Whether the price may be one of that day; warns if not."""
    far = all(not MISMATCH_LOW <= stated / close <= MISMATCH_HIGH for close in closes)
    if far:
        shown = " and ".join(f"{close:.4f}" for close in dict.fromkeys(closes))
        issues.warn(
            position.row,
            "entry_price",
            ReasonCode.PRICE_BASIS_MISMATCH.value,
            f"entry_price {position.entry_price} of {position.symbol} is far from the close of {position.entry_date} ({shown}). "
            "Check the price, the date and the symbol.",
            str(position.entry_price),
        )
    return not far


def _stored(
    position: Position,
    basis: str,
    entry_factor: float,
    exit_factor: float,
    as_traded: float | None,
    adjusted: float | None,
    *,
    known: bool,
    fits: bool = True,
) -> Decision:
    """Convert to the shares and prices of each date: fewer, dearer shares before a split."""
    entry, leave = Decimal(repr(entry_factor)), Decimal(repr(exit_factor))
    quantity, price, exit_price = position.quantity, position.entry_price, position.exit_price
    if basis == SPLIT_ADJUSTED:
        quantity = (quantity / entry).quantize(_KEPT)
        price = (price * entry).quantize(_KEPT)
        exit_price = None if exit_price is None else (exit_price * leave).quantize(_KEPT)
    reason = None
    if applies(position):
        reason = STATED if position.price_basis is not None else COMPARED if fits else MISMATCH
    return Decision(position.row, basis, quantity, price, exit_price, as_traded, adjusted, known, reason)

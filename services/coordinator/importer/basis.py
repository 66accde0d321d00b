"""As traded, or adjusted for splits? Files come in both, and mixing them up is wrong by the split ratio.

Decided once for all lots of a symbol in a file, for a file is on one basis: the prices of the lots are compared with both closes of
their days. A price is *plausible* as what lies in the day's range, else within 15 % of the close; what only one reading makes
plausible speaks for it, and the majority decides. Where everything fits both, which small ratios make usual, it is as traded, with
a remark: wrong that way is off by less than the remark's bounds, and the user can say so. Stored converted to as traded. Before
the closes are known nothing is computed (`portfolios.price_basis`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from decimal import Decimal

from services.coordinator.importer import basis_warnings, cells
from services.coordinator.importer.basis_model import (
    ADJUSTED,
    AMBIGUOUS,
    AS_TRADED,
    BY_THE_USER,
    COMPARED,
    DOUBTFUL,
    MISMATCH,
    NO_CLOSE,
    SPLIT_ADJUSTED,
    STATED,
    STATED_MISMATCH,
    Decision,
    Market,
)
from services.coordinator.importer.model import PUBLIC, Issues, Position
from shared.market.symbols import is_cash_like

__all__ = [
    "ADJUSTED", "AMBIGUOUS", "AS_TRADED", "BY_THE_USER", "COMPARED", "DOUBTFUL", "MISMATCH", "NO_CLOSE", "SPLIT_ADJUSTED", "STATED",
    "STATED_MISMATCH", "Decision", "Market", "applies", "decide", "decide_file", "is_near",
]  # fmt: skip

# Outside half to double of the close the price is not of that day, or not of that symbol.
MISMATCH_LOW, MISMATCH_HIGH = 0.5, 2.0
# Of a close, where the day's range is not known: few listed shares trade further away from it within a session.
PLAUSIBLE = 0.15
# Of the range's ends: prices in files are rounded, and a provider's range leaves out odd lots.
_ROUNDING = 0.001
_KEPT = Decimal(1).scaleb(-10)


def decide(position: Position, market: Market | None, issues: Issues) -> Decision:
    """The basis of one lot that stands alone."""
    return decide_file([position], [market], issues)[0]


def decide_file(
    positions: Sequence[Position],
    markets: Sequence[Market | None],
    issues: Issues,
    *,
    files: Sequence[Hashable] | None = None,
    decided: Sequence[str | None] | None = None,
    final: bool = False,
) -> list[Decision]:
    """How each position is stored. Warns of prices that are far from the close, that fit both readings, and of what is converted.

    files   : which file each is of; all of one by default
    decided : the basis of those that were decided earlier, which stands for the rest of their file and symbol
    final   : no more will be known: what is stated as split-adjusted is converted by the splits there are, with or without a close
    """
    files = [None] * len(positions) if files is None else files
    groups: dict[Hashable, list[int]] = {}
    for i, position in enumerate(positions):
        groups.setdefault((files[i], position.symbol), []).append(i)
    decisions: dict[int, Decision] = {}
    for members in groups.values():
        earlier = [None if decided is None else decided[i] for i in members]
        basis, ambiguous = _of_group([positions[i] for i in members], [markets[i] for i in members], earlier)
        for i in members:
            decisions[i] = _decide(positions[i], markets[i], basis, issues, ambiguous=ambiguous, final=final)
        basis_warnings.warn_ambiguous([positions[i] for i in members], [decisions[i] for i in members], issues)
    return [decisions[i] for i in range(len(positions))]


def _of_group(
    positions: Sequence[Position], markets: Sequence[Market | None], decided: Sequence[str | None]
) -> tuple[str, bool]:
    """(basis of the lots of one symbol in one file, whether the other one is as plausible)."""
    votes = {AS_TRADED: 0, SPLIT_ADJUSTED: 0}
    far = {AS_TRADED: 0.0, SPLIT_ADJUSTED: 0.0}
    open_to_both = False
    for position, market, earlier in zip(positions, markets, decided, strict=True):
        factor = 1.0 if market is None else market.factor(position.entry_date)
        if market is None or market.close is None or factor == 1.0:
            continue  # without a split since, both readings are one
        if earlier is not None:
            return earlier, False
        price = float(position.entry_price)
        if price == 0.0:
            open_to_both = True
            continue
        fits = _plausible(price, market, factor)
        open_to_both |= fits == (True, True)
        if fits[0] is not fits[1]:
            votes[AS_TRADED if fits[0] else SPLIT_ADJUSTED] += 1
        far[AS_TRADED] += abs(math.log(price / market.close))
        far[SPLIT_ADJUSTED] += abs(math.log(price * factor / market.close))
    if votes[AS_TRADED] != votes[SPLIT_ADJUSTED]:
        return max(votes, key=lambda basis: votes[basis]), False
    if open_to_both and not votes[AS_TRADED]:
        return AS_TRADED, True
    return (SPLIT_ADJUSTED if far[SPLIT_ADJUSTED] < far[AS_TRADED] else AS_TRADED), votes[AS_TRADED] > 0


def _plausible(price: float, market: Market, factor: float) -> tuple[bool, bool]:
    """Whether the price may be of that day (as traded, split-adjusted). The range says more than the distance to the close."""
    assert market.close is not None
    readings = price, price * factor
    if market.low is not None and market.high is not None and 0.0 < market.low <= market.high:
        low, high = market.low * (1.0 - _ROUNDING), market.high * (1.0 + _ROUNDING)
        inside = low <= readings[0] <= high, low <= readings[1] <= high
        if any(inside):
            return inside
    near = [abs(reading / market.close - 1.0) <= PLAUSIBLE for reading in readings]
    return near[0], near[1]


def _decide(
    position: Position, market: Market | None, basis: str, issues: Issues, *, ambiguous: bool, final: bool
) -> Decision:
    """One lot, on the basis of its file where the user states none."""
    stated = position.price_basis
    if market is None or (market.close is None and market.adj_close is None):
        if stated == SPLIT_ADJUSTED and final and market is not None:
            return _convert(position, market, STATED)
        unknown = _as_stored(position, stated or AS_TRADED, 1.0, 1.0, None, None, known=False)
        if not applies(position):
            return unknown
        # What is stated as split-adjusted is believed, and converted once the splits are known.
        waits = stated != AS_TRADED and not final
        return replace(unknown, reason=STATED if stated else None, assumed=waits or (final and stated is None))
    price = float(position.entry_price)
    if market.close is None:
        assert market.adj_close is not None
        fits = price == 0.0 or abs(price / market.adj_close - 1.0) <= PLAUSIBLE
        if not fits:
            basis_warnings.warn_far(position, market.adj_close, "adjusted close, the only one there is,", issues)
        reason = MISMATCH if not fits else STATED if stated else COMPARED
        return replace(_as_stored(position, ADJUSTED, 1.0, 1.0, None, market.adj_close, known=True), reason=reason)
    factor = market.factor(position.entry_date)
    chosen = stated or (basis if factor != 1.0 else AS_TRADED)
    close = market.close / factor if chosen == SPLIT_ADJUSTED else market.close
    fits = price == 0.0 or MISMATCH_LOW <= price / close <= MISMATCH_HIGH
    if not fits:
        basis_warnings.warn_far(position, close, f"close, {chosen.replace('_', ' ')},", issues)
    found = AMBIGUOUS if ambiguous and factor != 1.0 else COMPARED
    reason = (STATED if fits else STATED_MISMATCH) if stated else found if fits else MISMATCH
    if chosen == SPLIT_ADJUSTED:
        decision = _convert(position, market, reason)
    else:
        decision = _as_stored(position, AS_TRADED, 1.0, 1.0, market.close, market.close / factor, known=True)
        decision = replace(decision, reason=reason)
    if abs(decision.quantity) * Decimal(repr(market.close)) > cells.MAX_VALUE:
        basis_warnings.refuse_amount(position, market.close, issues)
    return decision


def _convert(position: Position, market: Market, reason: str) -> Decision:
    factor = market.factor(position.entry_date)
    leave = 1.0 if position.exit_date is None else market.factor(position.exit_date)
    adjusted = None if market.close is None else market.close / factor
    known = market.close is not None
    return replace(
        _as_stored(position, SPLIT_ADJUSTED, factor, leave, market.close, adjusted, known=known), reason=reason
    )


def is_near(price: float, close: float) -> bool:
    """Whether a price may be of the close's day and symbol."""
    return MISMATCH_LOW <= price / close <= MISMATCH_HIGH


def applies(position: Position) -> bool:
    """Options, private holdings and money have no close to compare with here."""
    return position.investment_class == PUBLIC and not is_cash_like(position.investment_subtype)


def _as_stored(
    position: Position,
    basis: str,
    entry_factor: float,
    exit_factor: float,
    as_traded: float | None,
    adjusted: float | None,
    *,
    known: bool,
) -> Decision:
    """Convert to the shares and prices of each date: fewer, dearer shares before a split."""
    entry, leave = Decimal(repr(entry_factor)), Decimal(repr(exit_factor))
    quantity, price, exit_price = position.quantity, position.entry_price, position.exit_price
    if basis == SPLIT_ADJUSTED:
        quantity = (quantity / entry).quantize(_KEPT)
        price = (price * entry).quantize(_KEPT)
        exit_price = None if exit_price is None else (exit_price * leave).quantize(_KEPT)
    return Decision(position.row, basis, quantity, price, exit_price, as_traded, adjusted, known)

"""What a person is told about price bases: what is not known yet, what was converted, and what is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from services.coordinator.importer import cells
from services.coordinator.importer.basis_model import AMBIGUOUS, Decision
from services.coordinator.importer.model import Issues, Position
from shared.market.reasons import ReasonCode

# Lots that a warning about a symbol names.
_NAMED = 3


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


def warn_converted(positions: Sequence[Position], decisions: Sequence[Decision], issues: Issues) -> None:
    """One warning a symbol whose lots are stored with other numbers than stated, with both of the first few."""
    converted: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    for position, decision in zip(positions, decisions, strict=True):
        if (decision.quantity, decision.entry_price) != (position.quantity, position.entry_price):
            rows.setdefault(position.symbol, position.row)
            converted.setdefault(position.symbol, []).append(
                f"{plain(position.quantity)} at {plain(position.entry_price)} as "
                f"{plain(decision.quantity)} at {plain(decision.entry_price)}"
            )
    for symbol, lots in converted.items():
        shown = ", ".join(lots[:_NAMED]) + (f", and {len(lots) - _NAMED} more" if len(lots) > _NAMED else "")
        issues.warn(
            rows[symbol],
            "quantity",
            "price_basis_converted",
            f"{symbol} is split-adjusted and stored as traded on the day of entry: {shown}. If it is as traded, give price_basis "
            "as_traded.",
        )


def plain(value: Decimal) -> str:
    """The number without an exponent and without zeros at its end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def warn_ambiguous(positions: Sequence[Position], decisions: Sequence[Decision], issues: Issues) -> None:
    for position, decision in zip(positions, decisions, strict=True):
        if decision.reason == AMBIGUOUS:
            issues.warn(
                position.row,
                "entry_price",
                "price_basis_ambiguous",
                f"entry_price {plain(position.entry_price)} of {position.symbol} may be as traded (close "
                f"{decision.close_as_traded:.4f}) or split-adjusted ({decision.close_split_adjusted:.4f}). It is taken as "
                f"{decision.price_basis.replace('_', ' ')}; to decide it yourself, give price_basis.",
                str(position.entry_price),
            )
            return


def warn_far(position: Position, close: float, which: str, issues: Issues) -> None:
    issues.warn(
        position.row,
        "entry_price",
        "price_basis_mismatch",
        f"entry_price {plain(position.entry_price)} of {position.symbol} is far from the {which} of {position.entry_date} "
        f"({close:.4f}). Check the price, the date and the symbol.",
        str(position.entry_price),
    )


def warn_far_exit(position: Position, close: float, which: str, issues: Issues) -> None:
    """exit_price of a lot beside the close of its day; which: of which source or kind the close is."""
    issues.warn(
        position.row,
        "exit_price",
        ReasonCode.EXIT_PRICE_MISMATCH.value,
        f"exit_price {plain(position.exit_price or Decimal(0))} of {position.symbol} is far from the {which} of {position.exit_date} "
        f"({close:.4f}). Check the price, the date and the symbol.",
        str(position.exit_price),
    )


def refuse_amount(position: Position, close: float, issues: Issues) -> None:
    """An amount that nobody can hold is a wrong unit or a wrong symbol."""
    issues.error(
        position.row,
        "quantity",
        cells.OUT_OF_RANGE,
        f"At the close of {position.entry_date}, {close:,.4f}, this lot of {position.symbol} is worth more than "
        f"{cells.MAX_VALUE:,f}. Check quantity and symbol.",
        str(position.quantity),
    )

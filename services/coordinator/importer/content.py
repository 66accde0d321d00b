"""Content keys: what makes the same file, imported again, change nothing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from services.coordinator.importer.cells import plain_text
from services.coordinator.importer.model import Issues, Position


def content(position: Position) -> str:
    """A digest of what the lot is: 100 and 100.0 are the same, names and sectors are labels and do not count."""
    fields = (
        position.symbol,
        position.quantity,
        position.entry_date,
        position.entry_price,
        position.exit_date,
        position.exit_price,
        position.investment_class,
        position.underlying_symbol,
        position.strike_price,
        position.expiration_date,
        position.option_type,
    )
    return hashlib.sha256(
        json.dumps([None if field is None else plain_text(field) for field in fields]).encode()
    ).hexdigest()[:32]


def content_keys(positions: Iterable[Position]) -> list[str]:
    """Content and occurrence, in order: two identical fills in one file are two positions, in each import the same two."""
    seen: Counter[str] = Counter()
    keys = []
    for position in positions:
        digest = content(position)
        seen[digest] += 1
        keys.append(f"{digest}:{seen[digest]}")
    return keys


def purchase(position: Position) -> tuple[str, object, Decimal, Decimal]:
    """What a corrected file still says of the same lot: what was bought, when, how much and at what price."""
    return position.symbol, position.entry_date, position.quantity, position.entry_price


def free_keys(positions: Iterable[Position], taken: set[str]) -> list[str]:
    """Content keys that nothing stored has."""
    used, keys = set(taken), []
    for position in positions:
        digest, occurrence = content(position), 1
        while f"{digest}:{occurrence}" in used:
            occurrence += 1
        used.add(f"{digest}:{occurrence}")
        keys.append(f"{digest}:{occurrence}")
    return keys


def warn_duplicates(positions: Sequence[Position], issues: Issues) -> None:
    """Same symbol and entry date twice: often a pasted row, sometimes two fills. Kept, and said."""
    first: dict[tuple[str, object], int] = {}
    for position in positions:
        key = (position.symbol, position.entry_date)
        earlier = first.setdefault(key, position.row)
        if earlier != position.row:
            issues.warn(
                position.row,
                "symbol",
                "ERR_POS_023",
                f"{position.symbol} was already bought on {position.entry_date} in row {earlier}. "
                "Both are kept as separate lots; delete one if it is a copy.",
                position.symbol,
            )


def ask_about_sales(positions: Sequence[Position], issues: Issues) -> None:
    """An open long and an open short lot of one symbol in one file: usually a list of trades, whose sales are no short sales."""
    bought: dict[str, Position] = {}
    for position in positions:
        if position.quantity > 0 and position.exit_date is None:
            bought.setdefault(position.symbol, position)
    for position in positions:
        held = bought.get(position.symbol)
        if held is None or position.quantity > 0 or position.exit_date is not None:
            continue
        issues.warn(
            position.row,
            "quantity",
            "is_sale?",
            f"Is row {position.row} a sale? It is taken as a short position in {position.symbol}, beside the long one of row "
            f"{held.row}. If it sells those shares, give row {held.row} its exit_date and exit_price and delete row "
            f"{position.row}, or import the file as a list of trades (columns date, action, symbol, quantity, price).",
            plain_text(position.quantity),
        )

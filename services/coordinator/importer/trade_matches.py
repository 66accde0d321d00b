"""A list of trades against those that are kept: which are new, which are kept already, which are kept otherwise. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from services.coordinator.importer.cells import plain_text
from services.coordinator.importer.model import Difference, Issues
from services.coordinator.importer.trades import Trade

# What makes another trade of it, in the words of a position: what the difference is shown in.
_FIELDS = ("kind", "symbol", "day", "time", "quantity", "price")
# Equal shares at an equal price some days away are a corrected date; a quarter away, a savings plan.
_DAYS_APART = 31


@dataclass(frozen=True, slots=True)
class Comparison:
    """fresh : not kept yet; known : (as kept, as listed); differences : of the known ones, where the file says otherwise"""

    fresh: list[Trade] = field(default_factory=list)
    known: list[tuple[Trade, Trade]] = field(default_factory=list)
    differences: list[Difference[Mapping[str, object]]] = field(default_factory=list)

    def as_kept(self, *, update: bool) -> list[Trade]:
        """What to keep of the file: known trades under the key that is theirs, in the file's words only where it updates them.

        A trade that one file names by an id and the other does not has the id from then on. The basis stays: numbers on another
        one are other numbers of the same trade.
        """
        rows = []
        for kept, listed in self.known:
            taken = _changes(kept, listed) if update else {}
            said = {name: getattr(listed, name) for name in taken}
            ids = kept.broker_id or listed.broker_id
            rows.append(replace(kept, row=listed.row, sequence=listed.sequence, broker_id=ids, **said))
        return self.fresh + rows


def compare(kept: Sequence[Trade], listed: Sequence[Trade]) -> Comparison:
    """Trades are matched by their key, then by the broker's id, then by content where one side has no id or no time of day.

    Each kept trade is one listed trade at most: equal fills are as many trades as the fuller file has of them.
    """
    result = Comparison()
    by_key = {trade.key: trade for trade in kept}
    matches: dict[int, Trade] = {at: by_key[trade.key] for at, trade in enumerate(listed) if trade.key in by_key}
    used = {trade.key for trade in matches.values()}
    for key in (_by_id, _by_content):
        left: dict[tuple[object, ...], list[Trade]] = defaultdict(list)
        for trade in kept:
            if trade.key not in used:
                left[key(trade)].append(trade)
        for at, trade in enumerate(listed):
            # Only of ids that name one execution: others are of an order, which may have several.
            asked = at not in matches and (key is _by_content or trade.key.startswith("id:"))
            candidates = left.get(key(trade), []) if asked else []
            found = next((each for each in candidates if key is _by_id or _may_be_one(each, trade)), None)
            if found is not None:
                candidates.remove(found)
                matches[at] = found
                used.add(found.key)
    for at, trade in enumerate(listed):
        known = matches.get(at)
        if known is None:
            result.fresh.append(trade)
            continue
        result.known.append((known, trade))
        if changes := _changes(known, trade):
            lot = {"id": None, "symbol": known.symbol, "entry_date": known.day}
            result.differences.append(Difference(trade.row, lot, changes))
    return result


def warn_similar(kept: Sequence[Trade], found: Comparison, issues: Issues) -> None:
    """A new trade beside a kept one that is much like it: perhaps the same, corrected, or summed up otherwise."""
    named = {known.key for known, _ in found.known}
    others: dict[tuple[str, str], list[Trade]] = defaultdict(list)
    for trade in kept:
        if trade.key not in named:
            others[trade.kind, trade.symbol].append(trade)
    summed = _equal_sums(others, found.fresh)
    for trade in found.fresh:
        for other in others.get((trade.kind, trade.symbol), ()):
            column, old, new = _likeness(other, trade, summed=summed)
            if not column:
                continue
            issues.warn(
                trade.row, column, "similar_trade",
                f"{trade.kind} of {trade.symbol} on {other.day} is kept with {column} {old}, and row {trade.row} says {new}. Both count; "
                "if this one corrects it or is the same, take the earlier import back (--undo) and import this file again.", new,
            )  # fmt: skip
            break


def _by_id(trade: Trade) -> tuple[object, ...]:
    return trade.broker_id, trade.kind


def _by_content(trade: Trade) -> tuple[object, ...]:
    return trade.kind, trade.symbol, trade.day, trade.quantity, trade.price


def _may_be_one(one: Trade, other: Trade) -> bool:
    """Whether nothing that both say tells two trades of the same content apart."""
    ids = not one.broker_id or not other.broker_id or one.broker_id == other.broker_id
    times = one.time.startswith(other.time) or other.time.startswith(one.time)
    return ids and times


def _changes(kept: Trade, listed: Trade) -> dict[str, tuple[str | None, str]]:
    """What the file says otherwise. What it leaves open says nothing, and numbers on another basis cannot be compared."""
    if (kept.price_basis or "as_traded") != (listed.price_basis or "as_traded"):
        return {}
    found = {}
    for name in _FIELDS:
        before, after = getattr(kept, name), getattr(listed, name)
        if after is None or after in ("", before):
            continue
        if name == "time" and (not before or before.startswith(after) or after.startswith(before)):
            continue
        found[name] = (None if before in (None, "") else plain_text(before), plain_text(after))
    return found


def _equal_sums(
    others: Mapping[tuple[str, str], Sequence[Trade]], fresh: Sequence[Trade]
) -> Collection[tuple[object, ...]]:
    """Kinds, symbols and days of which the kept and the new trades come to as many shares: an order, and its executions."""
    sums: dict[tuple[object, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for side, trades in enumerate(([each for own in others.values() for each in own], fresh)):
        for trade in trades:
            sums[trade.kind, trade.symbol, trade.day][side] += trade.quantity or 0
    return {of for of, (one, other) in sums.items() if one == other}


def _likeness(other: Trade, trade: Trade, *, summed: Collection[tuple[object, ...]]) -> tuple[str, str, str]:
    """(the column that differs, as kept, as new); ('', '', '') where the trades are not alike."""
    quantity, price = other.quantity == trade.quantity, other.price == trade.price
    days = abs((other.day - trade.day).days)
    if other.key.startswith("id:") and trade.key.startswith("id:"):
        # Each names an execution of its own.
        return "", "", ""
    if days:
        same = quantity and price and days <= _DAYS_APART
        return ("date", str(other.day), str(trade.day)) if same else ("", "", "")
    if quantity and price:
        return "time", other.time or "none", trade.time or "none"
    if quantity:
        return "price", plain_text(other.price, none="none"), plain_text(trade.price, none="none")
    if price or (trade.kind, trade.symbol, trade.day) in summed:
        return "quantity", plain_text(other.quantity, none="none"), plain_text(trade.quantity, none="none")
    return "", "", ""

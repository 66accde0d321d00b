"""The columns of price files: what they are called, how others call them, and what a file lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

DATES = ("date", "ex_date", "delisted_on")
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")
KNOWN = frozenset({"symbol", *DATES, *NUMBERS, "type", "value", "asset_type", "name", "sector", "industry"})
_LIKE = {
    "symbol": ("ticker", "sym", "instrument", "code"),
    "date": ("session", "day", "datetime", "timestamp", "time"),
    "ex_date": ("date", "exdate", "ex-date"),
    "type": ("action", "kind"),
    "value": ("ratio", "amount", "dividend", "split"),
    "close": ("price", "last", "close_price", "closing_price", "adjusted_close", "adj._close", "adjclose", "nav"),
}
# Names of a close that is adjusted for dividends too.
_ADJUSTED = frozenset({"adjusted_close", "adj._close", "adjclose"})
_ADD = {"symbol": "a file of one symbol has it in each row", "date": "one row for each symbol and session"}


def normalise_header(name: str) -> str:
    """A header as it is compared: in lower case, blanks as underscores."""
    return "_".join(name.strip().lower().split())


def is_header(names: Sequence[str]) -> bool:
    """Whether a first row names columns. A line above the header, or a row of prices, names none."""
    told = {normalise_header(name) for name in names}
    return bool(told & KNOWN) or any(not told.isdisjoint(others) for others in _LIKE.values())


def find_missing(names: Sequence[str], required: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Each required column that is not there, with what is wrong and what to do."""
    for name in required:
        if name not in names:
            like = next((other for other in _LIKE.get(name, ()) if other in names), None)
            remedy = f". Rename {like} to {name}" if like else f". Add it: {_ADD[name]}" if name in _ADD else ""
            yield name, f"is missing; the file has {', '.join(names[:20])}{remedy}"


def lacking_close(names: Sequence[str]) -> str | None:
    """What is wrong where neither close is there."""
    if {"close", "adj_close"} & set(names):
        return None
    like = next((name for name in _LIKE["close"] if name in names), None)
    remedy = f". Rename {like} to {'adj_close' if like in _ADJUSTED else 'close'}" if like else "; one of them must be"
    return f"neither close nor adj_close is there{remedy}"

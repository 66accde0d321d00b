"""The columns of the file, and the names under which people write them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

REQUIRED = ("symbol", "quantity", "entry_date", "entry_price")
OPTIONAL = (
    "investment_class",
    "investment_subtype",
    "underlying_symbol",
    "strike_price",
    "expiration_date",
    "option_type",
    "exit_date",
    "exit_price",
    "name",
    "sector",
    "price_basis",
)
COLUMNS = REQUIRED + OPTIONAL
CURRENCY = "currency"

# Files made for the engine this replaces name these two differently; its other ten headers differ only in case and spaces.
_ALIASES = {"entrypricepershare": "entry_price", "exitpricepershare": "exit_price"}
_KNOWN = {column.replace("_", ""): column for column in COLUMNS} | _ALIASES


def canonical(header: str) -> str | None:
    """The column a header stands for, without regard to case, spaces, hyphens and underscores; None if it is not one of ours."""
    return _KNOWN.get("".join(header.split()).replace("_", "").replace("-", "").casefold())


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# How others call these columns. Only a hint in a message: what a header means is for the user to say (`map`).
_LIKE: dict[str, frozenset[str]] = {
    "symbol": frozenset({"ticker", "tickersymbol", "instrument", "security", "stock", "code", "asset"}),
    "quantity": frozenset(
        {"shares", "qty", "units", "noofshares", "numberofshares", "qty(quantity)", "sharequantity", "position"}
    ),
    "entry_date": frozenset(
        {"date", "dateacquired", "purchasedate", "tradedate", "opendate", "buydate", "acquired", "datepurchased",
         "opendatetime", "rundate", "activitydate", "datetime"}
    ),
    "entry_price": frozenset(
        {"price", "cost/share", "costpershare", "unitcost", "purchaseprice", "avgcost", "averagecost", "averagecostbasis",
         "pricepaid", "pricepershare", "price/share", "costbasispershare", "buyprice", "openprice", "averageprice", "t.price"}
    ),
    "exit_date": frozenset({"datesold", "saledate", "selldate", "closedate"}),
    "exit_price": frozenset({"saleprice", "sellprice", "closeprice"}),
    "name": frozenset({"description", "company", "securityname"}),
    "investment_class": frozenset({"assetclass", "securitytype", "assettype"}),
}  # fmt: skip


def other_separator(headers: Sequence[str], is_header: Callable[[Sequence[str]], bool]) -> str | None:
    """What the cells of the header are separated by, in words, where it is not commas.

    is_header : whether such cells are the header of a layout
    """
    line = ",".join(headers)
    for separator, name in _SEPARATORS.items():
        parts = [part.strip().strip('"') for part in line.split(separator)]
        if len({canonical(part) for part in parts} - {None}) > 1 or is_header(parts):
            return name
    return None


def likely_header(column: str, headers: Sequence[str]) -> str | None:
    """The header that most probably means one of our columns; None where none comes near."""
    keys = {"".join(header.split()).replace("_", "").casefold(): header for header in headers if header.strip()}
    for key, header in keys.items():
        if key in _LIKE.get(column, frozenset()):
            return header
    near = difflib.get_close_matches(column.replace("_", ""), list(keys), n=1, cutoff=0.75)
    return keys[near[0]] if near else None


def likeness(headers: Sequence[str]) -> int:
    """How many of the columns that are needed a row seems to name: what tells a header from a preamble."""
    return sum(
        any(canonical(header) == column for header in headers) or likely_header(column, headers) is not None
        for column in REQUIRED
    )

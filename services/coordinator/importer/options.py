"""Option contracts: from an OCC symbol, from the four option columns, or from both if they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.coordinator.importer import cells
from services.coordinator.importer.model import Issues
from shared.market.symbols import occ_symbol, parse_occ

FIELDS = ("underlying_symbol", "strike_price", "expiration_date", "option_type")
_CODES = dict(zip(FIELDS, ("ERR_POS_019", "ERR_POS_020", "ERR_POS_021", "ERR_POS_022"), strict=True))
SIDES = ("CALL", "PUT")


@dataclass(frozen=True, slots=True)
class Contract:
    """What the four columns hold. `symbol` is the OCC symbol: under its underlying's it would be priced as the share."""

    symbol: str | None = None
    underlying: str | None = None
    strike: Decimal | None = None
    expiration: date | None = None
    type: str | None = None


NONE = Contract()


def contract(
    row: int,
    symbol: str | None,
    values: Mapping[str, str],
    first: date,
    entry: date | None,
    subtype: str | None,
    issues: Issues,
) -> Contract:
    """The contract of one row. Every column that is missing, unreadable or contradicts the OCC symbol is reported.

    symbol : normalised, or None where it was refused
    first  : the first day of the exchange calendar
    entry  : None where it was refused
    subtype: as checked; CALL and PUT must not contradict the contract
    """
    stated = {column: values.get(column, "").strip() for column in FIELDS}
    occ = None if symbol is None else parse_occ(symbol)
    found = issues.of_row()
    underlying = strike = expiration = side = None
    if stated["underlying_symbol"]:
        underlying = cells.symbol(stated["underlying_symbol"], row, "underlying_symbol", found)
    elif occ is None:
        found.error(row, "underlying_symbol", "ERR_POS_019", "The option names no underlying_symbol.")
    if stated["strike_price"] or occ is None:
        strike = cells.amount(stated["strike_price"], row, "strike_price", cells.STRIKE, cells.MAX_PRICE, found)
    if stated["expiration_date"] or occ is None:
        expiration = cells.day(
            stated["expiration_date"], row, "expiration_date", cells.EXPIRY, found, first=first, last=None
        )
    if stated["option_type"] or occ is None:
        # Brokers write C and P as often as the words.
        side = {"C": "CALL", "P": "PUT"}.get(stated["option_type"].upper(), stated["option_type"].upper())
        if side not in SIDES:
            found.error(
                row,
                "option_type",
                "ERR_POS_022",
                "option_type must be CALL or PUT.",
                stated["option_type"] or None,
            )
    if occ is not None:
        known = (occ.underlying, occ.strike, occ.expiration, occ.option_type)
        for column, said, meant in zip(FIELDS, (underlying, strike, expiration, side), known, strict=True):
            # An adjusted contract's root differs from its underlying's symbol, so the underlying may be stated freely.
            if said is not None and said != meant and column != "underlying_symbol":
                found.error(
                    row,
                    column,
                    _CODES[column],
                    f"{column} {said} contradicts the symbol {symbol}, which says {meant}. Correct one of them.",
                    stated[column],
                )
        result = Contract(symbol, underlying or occ.underlying, occ.strike, occ.expiration, occ.option_type)
    else:
        result = Contract(None, underlying, strike, expiration, side)
    _agree(row, result, entry, subtype, values, found)
    issues.extend(found)
    if found.refused:
        return NONE
    return result if occ is not None else _with_occ_symbol(row, result, issues)


def _agree(
    row: int, option: Contract, entry: date | None, subtype: str | None, values: Mapping[str, str], issues: Issues
) -> None:
    """The contract against the rest of the row, as far as either could be read."""
    if option.expiration is not None and entry is not None and option.expiration < entry:
        issues.error(
            row,
            "expiration_date",
            "ERR_POS_021",
            f"The option expired on {option.expiration}, before entry_date {entry}. Correct one of them.",
            str(option.expiration),
        )
    if subtype in SIDES and option.type in SIDES and subtype != option.type:
        issues.error(
            row,
            "investment_subtype",
            "ERR_POS_017",
            f"investment_subtype {subtype} contradicts the option, which is a {option.type}. Correct one of them.",
            values.get("investment_subtype", "").strip(),
        )


def _with_occ_symbol(row: int, option: Contract, issues: Issues) -> Contract:
    """The contract under its OCC symbol."""
    assert option.underlying is not None
    assert option.expiration is not None
    assert option.strike is not None
    assert option.type is not None
    try:
        name = occ_symbol(option.underlying, option.expiration, option.type, option.strike)
    except ValueError as error:
        issues.error(row, "strike_price", "ERR_POS_020", f"The option has no OCC symbol: {error}.")
        return NONE
    return Contract(name, option.underlying, option.strike, option.expiration, option.type)

"""What makes a whole row unreadable, whatever its cells mean: it is refused, and never guessed."""

from __future__ import annotations

from collections.abc import Collection

from services.coordinator.importer import dialects
from services.coordinator.importer.model import Issues
from services.coordinator.importer.option_names import looks_like_option
from services.coordinator.importer.reading import SEPARATORS, Layout, Record


def refuse_shifted(record: Record, layout: Layout, issues: Issues) -> bool:
    """Whether a row has more cells than the header, so that none of them is known to be what its place says; reports it."""
    if record.surplus:
        issues.error(
            record.row, None, "ERR_CSV_006",
            f"Line {record.row} has {record.width + record.surplus} cells, the header {record.width}. Quote cells that contain "
            f"{SEPARATORS.get(layout.separator, repr(layout.separator))}.",
        )  # fmt: skip
    return record.surplus > 0


def refuse_money(record: Record, columns: Collection[str], currency: str, issues: Issues) -> bool:
    """Whether a row has money of another currency than the portfolio's, by its sign; reports it. Nothing is converted here."""
    if not dialects.has_money_sign("".join(raw for _, raw in record.written)):
        return False
    written = dict(record.written)
    # The account's money may be another than the price's, which says its own.
    told = dialects.has_money_sign(written.get("price", ""))
    found = {
        column: sign
        for column, raw in written.items()
        if column in columns and not (column == "amount" and told) and (sign := dialects.other_currency(raw, currency))
    }
    for column, sign in found.items():
        issues.error(
            record.row, column, "ERR_CSV_010",
            f"{column} {written[column]!r} is in {sign}, the portfolio in {currency}. Amounts are not converted: write them in {currency}, "
            "leave the row out, or give the whole portfolio the currency of the file (currency, --currency).", written[column],
        )  # fmt: skip
    return bool(found)


def refuse_foreign(record: Record, layout: Layout, columns: Collection[str], issues: Issues) -> None:
    """Report numbers that are none of the file's dialect and would pass as plain ones: a file is in one notation."""
    for column in sorted(record.foreign.intersection(columns)):
        raw = dict(record.written)[column]
        issues.error(
            record.row, column, "ERR_CSV_009",
            f"{column} {raw!r} is no number of dialect={layout.dialect.name} ({layout.dialect.means}). Write it so, or choose the "
            f"dialect the file is in{dialects.readings(raw, dialects.plain_number, layout.dialect.name)}.", raw,
        )  # fmt: skip


def refuse_unread_option(symbol: str, row: int, issues: Issues) -> bool:
    """Whether a symbol is built as an option's and names none: as a share it would be a hundredth of its money; reports it.

    symbol : as `normalise` leaves it
    """
    found = looks_like_option(symbol)
    if found:
        issues.error(
            row, "symbol", "ERR_POS_003",
            f"Symbol {symbol!r} looks like an option and cannot be read as one. Write its OCC symbol: the underlying, the expiration as "
            "YYMMDD, C or P, and the strike times 1000 in eight digits, such as AAPL210115C00130000 for a call at 130.", symbol,
        )  # fmt: skip
    return found

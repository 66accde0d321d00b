"""The columns of the file, and the names under which people write them."""

from __future__ import annotations

from collections.abc import Sequence

from services.coordinator.importer.model import Issues

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

# Files made for the engine this replaces name these two differently; its other ten headers differ only in case and spaces.
_ALIASES = {"entrypricepershare": "entry_price", "exitpricepershare": "exit_price"}
_KNOWN = {column.replace("_", ""): column for column in COLUMNS} | _ALIASES


def canonical(header: str) -> str | None:
    """The column a header stands for, without regard to case, spaces and underscores; None if it is not one of ours."""
    return _KNOWN.get("".join(header.split()).replace("_", "").casefold())


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def other_separator(headers: Sequence[str]) -> str | None:
    """What the cells of the header are separated by, in words, where it is not commas."""
    line = ",".join(headers)
    for separator, name in _SEPARATORS.items():
        if len({canonical(part.strip('"')) for part in line.split(separator)} - {None}) > 1:
            return name
    return None


def match(headers: Sequence[str], line: int, issues: Issues) -> dict[str, int]:
    """Position of each known column in the header row. Reports missing and repeated columns, warns of unknown ones."""
    found: dict[str, int] = {}
    for index, header in enumerate(headers):
        column = canonical(header)
        if column is None:
            if header.strip():
                issues.warn(
                    line,
                    header.strip(),
                    "unknown_column",
                    f"Column {header.strip()!r} is not known and is ignored.",
                    header,
                )
        elif column in found:
            issues.error(
                line,
                column,
                "ERR_CSV_005",
                f"Two columns mean {column}: {headers[found[column]]!r} and {header!r}. Keep one of them.",
                header,
            )
        else:
            found[column] = index
    for column in REQUIRED:
        if column not in found:
            issues.error(
                line,
                column,
                "ERR_CSV_004",
                f"Column {column} is missing. The header row must name {', '.join(REQUIRED)}.",
            )
    return found

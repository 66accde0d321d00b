"""A broker's file made ours: separators, columns, cells. Everything that is guessed here is shown before it is used."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.coordinator.importer.columns import COLUMNS, REQUIRED, canonical
from services.coordinator.importer.model import SHOWN_VALUE
from services.coordinator.web.texts import gettext as _

IGNORED = ""
SHOWN_ERRORS = 20
SHOWN_ROWS = 200
_SEPARATORS = ",;\t|"
# What brokers call our columns, without case, spaces, underscores and dots.
_FOREIGN = {
    "ticker": "symbol",
    "instrument": "symbol",
    "security": "symbol",
    "shares": "quantity",
    "qty": "quantity",
    "units": "quantity",
    "position": "quantity",
    "price": "entry_price",
    "costbasispershare": "entry_price",
    "averagecost": "entry_price",
    "avgprice": "entry_price",
    "averagecostbasis": "entry_price",
    "unitprice": "entry_price",
    "purchaseprice": "entry_price",
    "tradeprice": "entry_price",
    "tprice": "entry_price",
    "priceshare": "entry_price",
    "date": "entry_date",
    "tradedate": "entry_date",
    "purchasedate": "entry_date",
    "dateacquired": "entry_date",
    "opendate": "entry_date",
    "time": "entry_date",
    "description": "name",
    "companyname": "name",
    "closedate": "exit_date",
    "saledate": "exit_date",
    "saleprice": "exit_price",
    "strike": "strike_price",
    "expiry": "expiration_date",
    "putcall": "option_type",
}
_DATES = ("%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d", "%d-%b-%Y", "%b %d, %Y", "%m/%d/%y", "%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file: its header, what it is taken for, and whether that was guessed."""

    index: int
    header: str
    chosen: str
    guessed: bool
    sample: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The cells of a file as they stand, comments and empty lines included, so that line numbers stay what they were."""

    rows: list[list[str]]
    lines: list[int]
    header: int | None
    separator: str

    @property
    def headers(self) -> list[str]:
        return [] if self.header is None else self.rows[self.header]


def sheet(text: str) -> Sheet:
    """Cells by row, with the line each row begins on. Without a header where quotes do not match: the importer says what is wrong."""
    content = text.lstrip("\ufeff")
    first = next((line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    rows, lines, before = [], [], 0
    try:
        for row in reader:
            rows.append(row)
            lines.append(before + 1)
            before = reader.line_num
    except csv.Error:
        return Sheet([], [], None, ",")
    filled = (index for index, row in enumerate(rows) if row and not row[0].lstrip().startswith("#"))
    return Sheet(rows, lines, next(filled, None), separator)


def columns(found: Sheet, chosen: Mapping[int, str]) -> list[Column]:
    """Ours for each of theirs: what was chosen, else what the header says, else what it resembles."""
    taken = {column for column in chosen.values() if column}
    result = []
    for index, header in enumerate(found.headers):
        exact = canonical(header)
        guess = chosen.get(index)
        if guess is None:
            guess = exact or _closest_column(header)
            if guess in taken:
                guess = IGNORED
        if guess:
            taken.add(guess)
        result.append(
            Column(
                index, header, guess or IGNORED, guessed=bool(guess) and guess != exact, sample=_sample(found, index)
            )
        )
    return result


def missing_columns(found: Sequence[Column]) -> list[str]:
    """Required columns that nothing in the file was taken for."""
    have = {column.chosen for column in found}
    return [name for name in REQUIRED if name not in have]


def rewrite_for_importer(text: str, found: Sheet, mapping: Sequence[Column]) -> str:
    """The file as the importer reads it: commas, our headers, the same lines."""
    if found.header is None:
        return text
    names = {column.index: column.chosen or column.header for column in mapping}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(found.rows):
        if number == found.header:
            writer.writerow([names.get(index, header) for index, header in enumerate(row)])
        else:
            # A line without cells is kept as one: the row that an error names is a line of the file.
            out.write("\n") if not row else writer.writerow(row)
    return out.getvalue()


def with_cells(text: str, repairs: Sequence[tuple[int, str, str]]) -> str:
    """The file with cells put right: (line, our column, new value). What names no cell changes nothing."""
    found = sheet(text)
    mapping = {column.chosen: column.index for column in columns(found, {}) if column.chosen}
    for line, column, value in repairs:
        at = mapping.get(column)
        if at is None or line not in found.lines:
            continue
        row = found.rows[found.lines.index(line)]
        # A form shows no more than the beginning of a long cell, and sends back what it shows.
        if at < len(row) and row[at].strip()[:SHOWN_VALUE] != value:
            row[at] = value
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", delimiter=found.separator)
    for row in found.rows:
        out.write("\n") if not row else writer.writerow(row)
    return out.getvalue()


def without_rows(text: str, lines: set[int]) -> str:
    """The file without these lines; their places stay, empty."""
    return "\n".join("" if number in lines else line for number, line in enumerate(text.splitlines(), start=1)) + "\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error on a cell, with the repair that is suggested for it."""

    row: int | None
    column: str | None
    code: str
    message: str
    value: str | None
    repair: str | None


def faults(errors: Sequence[Mapping[str, Any]]) -> list[Fault]:
    return [
        Fault(
            item.get("row"),
            item.get("column"),
            item["code"],
            item["message"],
            item.get("value"),
            repair_of(item.get("column"), item.get("value")),
        )
        for item in errors
    ]


def repair_of(column: str | None, value: str | None) -> str | None:
    """What a cell most likely means, written as the importer reads it; None where that would be a guess in the dark."""
    if not column or not value:
        return None
    if column.endswith("date"):
        return _date(value)
    if column in ("quantity", "entry_price", "exit_price", "strike_price", "equity_balance"):
        return _number(value)
    if column == "symbol":
        cleaned = re.sub(r"[^A-Za-z0-9._/-]", "", value).upper().replace("/", "-")
        return cleaned if cleaned and cleaned != value else None
    return None


def _date(value: str) -> str | None:
    for pattern in _DATES:
        try:
            return datetime.strptime(value.strip(), pattern).date().isoformat()  # noqa: DTZ007 (a day has no zone)
        except ValueError:
            continue
    return None


def _number(value: str) -> str | None:
    """Without currency signs, spaces and thousands; brackets are a minus."""
    cleaned = value.strip().replace("\u00a0", "").replace(" ", "").replace("'", "")
    negative = cleaned.startswith("(") and cleaned.endswith(")")
    cleaned = cleaned.strip("()").lstrip("$€£").removesuffix("USD").removesuffix("$")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", cleaned):
        cleaned = cleaned.replace(",", "")
    elif re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+,\d+", cleaned):
        cleaned = cleaned.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[+-]?\d+,\d+", cleaned):
        cleaned = cleaned.replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", cleaned):
        return None
    result = f"-{cleaned.lstrip('+-')}" if negative else cleaned
    return result if result != value else None


def _closest_column(header: str) -> str:
    key = re.sub(r"[^a-z0-9]", "", header.casefold())
    if key in _FOREIGN:
        return _FOREIGN[key]
    close = difflib.get_close_matches(key, [name.replace("_", "") for name in COLUMNS], n=1, cutoff=0.8)
    return next((name for name in COLUMNS if close and name.replace("_", "") == close[0]), IGNORED)


def _sample(found: Sheet, index: int) -> str:
    """The first cell of the column that says anything."""
    if found.header is None:
        return ""
    rows = found.rows[found.header + 1 :]
    return next((row[index].strip() for row in rows if index < len(row) and row[index].strip()), "")


# Further away, a price is not that of the day.
_NEAR = 0.05


def preview(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Row by row how a price was understood, with the verdict in words, and whether there is something to look at."""
    unknown = {item["symbol"]: item["suggestions"] for item in document.get("unknown_symbols") or ()}
    found = []
    for item in document["preview"][:SHOWN_ROWS]:
        verdict, doubt = _verdict(item, unknown)
        found.append(item | {"verdict": verdict, "doubt": doubt})
    return found


def _verdict(item: Mapping[str, Any], unknown: Mapping[str, Sequence[str]]) -> tuple[str, bool]:
    if item["investment_class"] != "PUBLIC":
        return _("as stated"), False
    if item["symbol"] in unknown:
        meant = ", ".join(unknown[item["symbol"]][:3])
        return _("no price source has it; {names}?").format(names=meant) if meant else _("no price source has it"), True
    traded, adjusted, price = item["close_as_traded"], item["close_split_adjusted"], item["entry_price"]
    split = bool(traded and adjusted and traded != adjusted)
    if item["price_basis_known"]:
        if split and item["price_basis"] == "split_adjusted":
            return _("converted {ratio}:1").format(ratio=f"{traded / adjusted:.4g}"), False
        closes = [adjusted if item["price_basis"] == "split_adjusted" else traded]
    elif traded is None and adjusted is None:
        return _("not compared yet: no price of the session is stored"), True
    else:
        # What the price source says; which of the two it is taken for is decided once it is stored.
        closes = [traded, adjusted]
    away = {close: abs(price / close - 1.0) for close in closes if close and price}
    nearest = min(away, key=away.__getitem__, default=None)
    if nearest is not None and away[nearest] > _NEAR:
        return _("differs by {share} from the close").format(share=f"{away[nearest]:.0%}"), True
    if split and not item["price_basis_known"] and nearest == adjusted:
        return _("fits the split-adjusted close"), False
    return _("fits the close"), False


def minutes(seconds: float) -> str:
    if seconds < 1:
        return _("at once")
    if seconds < 90:
        return _("about {n} seconds").format(n=round(seconds))
    return _("about {n} minutes").format(n=round(seconds / 60))

"""An uploaded file, and the form fields beside it: how it is to be read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Form, UploadFile
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid, NotFound
from services.coordinator.importer.dialects import DIALECTS
from services.coordinator.importer.reader import MAX_BYTES
from services.coordinator.importer.reading import Options
from services.coordinator.portfolios import mapping_store

ON_MATCH = ("list", "update")
_SAVED = ("dialect", "preset", "map", "symbols")


class ImportForm:
    """As sent. `options` is what the importer works with."""

    def __init__(
        self,
        price_basis: Annotated[
            str, Form(description="auto, as_traded or split_adjusted: what quantities and prices of the file mean")
        ] = "auto",
        dialect: Annotated[
            str, Form(description="How the file writes numbers and dates: iso (default), us, uk or eu")
        ] = "",
        preset: Annotated[
            str,
            Form(
                description="Layout by name (GET /imports/presets), none for no layout; by default recognised by the header"
            ),
        ] = "",
        map: Annotated[  # noqa: A002 (the name of the form field)
            list[str] | None, Form(description="Columns as ours=theirs, such as symbol=Ticker; repeated")
        ] = None,
        symbols: Annotated[
            list[str] | None, Form(description="Securities as theirs=ours, such as US0378331005=AAPL; repeated")
        ] = None,
        mapping: Annotated[str, Form(description="Name of a saved mapping to read the file with")] = "",
        entry_date: Annotated[
            str, Form(description="YYYY-MM-DD: when lots without a date enter, at that day's close")
        ] = "",
    ) -> None:
        self.price_basis = price_basis
        self.dialect = dialect
        self.preset = preset
        self.map = map or []
        self.symbols = symbols or []
        self.mapping = mapping
        self.entry_date = entry_date

    def parts(self) -> tuple[str, ...]:
        """What makes the request what it is."""
        lists = ("\n".join(self.map), "\n".join(self.symbols))
        return (self.price_basis, self.dialect, self.preset, self.mapping, self.entry_date, *lists)

    async def options(self, conn: AsyncConnection, currency: str = "USD") -> Options:
        """With a saved mapping, what is sent beside it goes before. Raises `Invalid`, `NotFound`."""
        saved: dict[str, Any] = {}
        if self.mapping:
            found = await mapping_store.mapping(conn, self.mapping)
            if found is None:
                names = ", ".join(name for name, _ in await mapping_store.mappings(conn)) or "none yet"
                raise NotFound(
                    f"There is no saved mapping {self.mapping!r}. There is {names}. Save one with PUT /imports/mappings/NAME."
                )
            saved = dict(found)
        return options(
            dialect=self.dialect or saved.get("dialect", ""),
            preset=self.preset or saved.get("preset", ""),
            columns={**saved.get("map", {}), **pairs("map", self.map)},
            symbols={**saved.get("symbols", {}), **pairs("symbols", self.symbols)},
            entry_date=self.entry_date.strip(),
            price_basis=self.price_basis,
            currency=currency,
        )


Sent = Annotated[ImportForm, Depends()]


def options(
    *,
    dialect: str,
    preset: str,
    columns: dict[str, str],
    symbols: dict[str, str],
    entry_date: str = "",
    price_basis: str = "",
    currency: str = "USD",
) -> Options:
    name = dialect.strip().lower()
    if name and name not in DIALECTS:
        means = "; ".join(f"{found.name}: {found.means}" for found in DIALECTS.values())
        raise _invalid("dialect", f"dialect {dialect!r} is none of {', '.join(DIALECTS)} ({means}).", dialect)
    return Options(
        dialect=DIALECTS.get(name),
        preset=preset.strip() or None,
        mapping=columns,
        symbols=symbols,
        entry_date=entry_date,
        price_basis=price_basis,
        currency=currency.strip().upper() or "USD",
    )


def pairs(field: str, given: list[str]) -> dict[str, str]:
    """`left=right`, one a line or one a value. Raises `Invalid`."""
    found: dict[str, str] = {}
    for line in (part.strip() for text in given for part in text.splitlines()):
        if not line:
            continue
        left, equals, right = line.partition("=")
        if not equals or not left.strip() or not right.strip():
            example = "symbol=Ticker" if field == "map" else "US0378331005=AAPL"
            raise _invalid(field, f"{field} {line[:100]!r} is not of the form {example}.", line)
        found[left.strip()] = right.strip().strip("'\"")
    return found


def on_match(text: str) -> bool:
    """Whether stored lots are updated. Raises `Invalid`."""
    if text not in ON_MATCH:
        raise _invalid("on_match", f"on_match {text!r} is none of {', '.join(ON_MATCH)}.", text)
    return text == "update"


def _invalid(column: str, message: str, value: str) -> Invalid:
    error = {"row": None, "column": column, "code": "ERR_CSV_008", "message": message, "value": value[:100]}
    return Invalid(f"{message} Nothing was saved.", errors=[error])


async def content(file: UploadFile | None) -> tuple[bytes, str | None]:
    """The upload, one byte past the limit at most: the importer then says that it is too large."""
    if file is None:
        raise Invalid(
            "No file was sent.",
            errors=[
                {
                    "row": None,
                    "column": "file",
                    "code": "ERR_PORT_008",
                    "message": "The request has no part named 'file'. Send the CSV as multipart/form-data.",
                    "value": None,
                }
            ],
        )
    return await file.read(MAX_BYTES + 1), file.filename

"""How a file is read: what the user says about it, what its header means, and a row as cells of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.coordinator.importer.dialects import Dialect
from services.coordinator.importer.presets import Preset
from shared.market.symbols import normalise

TRADE_COLUMNS = (
    "date", "time", "action", "symbol", "isin", "name", "quantity", "price", "fee", "commission", "amount", "currency", "broker_id",
    "open_close",
)  # fmt: skip
TRADE_REQUIRED = ("date", "action", "symbol", "quantity", "price")
NUMBERS = frozenset({
    "quantity", "entry_price", "exit_price", "strike_price", "price", "close_price", "fee", "commission", "amount",
})  # fmt: skip
DATES = frozenset({"entry_date", "exit_date", "expiration_date", "date"})
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
NOTHING = frozenset({"--", "-", "n/a", "na", "none"})
# A preamble is a few lines; a header that stands lower is looked for only by the layouts of statements.
PREAMBLE = 60


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about a file beside the file itself.

    mapping : ours to the header it has in the file; symbols: a broker's name of a security (an ISIN) to our symbol
    """

    dialect: Dialect | None = None
    preset: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    symbols: Mapping[str, str] = field(default_factory=dict)
    entry_date: str = ""
    price_basis: str = ""
    currency: str = "USD"

    def symbol_of_name(self, text: str) -> str | None:
        """Our symbol for a broker's name of a security, however the file spells that; None where the user names none."""
        if not self.symbols or not text:
            return None
        return self.symbols.get(text) or {normalise(name): ours for name, ours in self.symbols.items()}.get(
            normalise(text)
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One data row: the line it starts on, its cells by our columns in plain notation, and each number as it is written."""

    row: int
    cells: dict[str, str]
    written: tuple[tuple[str, str], ...] = ()
    width: int = 0
    """Cells of its header."""
    surplus: int = 0
    """Cells beyond the header's: a comma that is not quoted moves all that stand behind it."""
    short_year: str = ""
    """A date whose year has two digits, as it is written and as it was read."""
    foreign: frozenset[str] = frozenset()
    """Columns whose number is plain and none of the file's dialect: `1.50` where a comma is the decimal mark."""


@dataclass(slots=True)
class Layout:
    """How a file is read. `where` maps our columns to cells."""

    kind: str
    dialect: Dialect
    header: int
    """Index of the header among the rows of the sheet."""
    where: dict[str, int]
    width: int
    preset: Preset | None = None
    file_date: str | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    """Columns that tell at which level of detail a row is, and the one level that counts, in lower case."""

    separator: str = ","

    @property
    def section(self) -> str | None:
        return None if self.preset is None else self.preset.section

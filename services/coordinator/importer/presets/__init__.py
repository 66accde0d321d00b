"""Layouts of brokers' exports, one TOML file each (docs/import.md, "A layout of your own"). Recognised by their header."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from services.coordinator.importer.dialects import DIALECTS, Dialect

POSITIONS, TRADES = "positions", "trades"
# Shares without money: of a split, and of a stock dividend or a spin-off.
ADDING = frozenset({"split", "receive"})
KINDS = ("buy", "sell", "short", "cover", "expire", "split", "receive", "dividend", "cash")
_FIELDS = frozenset({
    "title", "kind", "dialect", "header", "columns", "actions", "classes", "skip", "section", "symbol_line", "date_line",
    "only", "unique_id", "signed", "option_from", "documented", "rank", "positional", "tail",
    "options_only", "split_pairs",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preset:
    """header: what the header row must hold, each by any of its names; columns: ours to the names it may have there; actions: what a
    row does, in order; classes: theirs to ours, '' for a row that is no holding, '*' for those not named, without which they are left
    out; only: levels of detail by the column that tells them, of which the first that a file has counts."""

    name: str
    title: str
    kind: str
    dialect: Dialect
    header: tuple[frozenset[str], ...]
    columns: Mapping[str, tuple[str, ...]]
    actions: tuple[tuple[str, re.Pattern[str]], ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    skip: tuple[re.Pattern[str], ...] = ()
    section: str | None = None
    symbol_line: re.Pattern[str] | None = None
    date_line: re.Pattern[str] | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unique_id: bool = False
    """Whether the broker's id names one execution; an order's id may stand on several."""
    signed: bool = False
    """Whether the sign of the quantity says buy or sell."""
    split_pairs: bool = False
    """Whether a split is booked as a sale of all shares and a purchase of the new ones for the same money, at one moment."""
    options_only: tuple[re.Pattern[str], ...] = ()
    """Actions that are of options alone: with a symbol that is none, the contract could not be read."""
    option_from: str | None = None
    """Our column that spells an option where the symbol only names its underlying."""
    documented: str = ""
    rank: int = 0
    """Of two layouts in one file the higher one is read."""
    positional: Mapping[str, int] = field(default_factory=dict)
    """Columns without a name: this many cells to the right of the named one before, by our name."""
    tail: bool = False
    """Whether cells beyond the header belong to its last column: free text with commas, without quotes."""

    def of_class(self, kind: str) -> str | None:
        """Our class of theirs, '' where it is no holding; None of a kind that cannot be valued here, such as futures."""
        return self.classes.get(kind.casefold(), self.classes.get("*"))

    def is_header(self, keys: Collection[str]) -> bool:
        return all(not names.isdisjoint(keys) for names in self.header)

    def action(self, text: str) -> str | None:
        return next((kind for kind, pattern in self.actions if pattern.fullmatch(text.strip())), None)


def header_key(text: str) -> str:
    """A header without case, blanks and underscores."""
    return "".join(text.replace("\ufeff", "").split()).replace("_", "").casefold()


@cache
def presets() -> Mapping[str, Preset]:
    """By name. A file that cannot be read as a layout raises `ValueError` naming it: that is a fault of the installation."""
    files = sorted(
        (entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".toml")),
        key=lambda entry: entry.name,
    )
    return {name: parse(name, entry.read_text()) for entry in files for name in [entry.name.removesuffix(".toml")]}


def parse(name: str, text: str) -> Preset:
    """A layout from TOML. Raises `ValueError` on what is unknown or missing."""
    document: dict[str, Any] = tomllib.loads(text)
    unknown = set(document) - _FIELDS
    if unknown:
        raise ValueError(
            f"layout {name}: {', '.join(sorted(unknown))} is unknown; there is {', '.join(sorted(_FIELDS))}"
        )
    try:
        kind, dialect = document["kind"], DIALECTS[document["dialect"]]
        actions = tuple(
            (entry["kind"], re.compile(pattern, re.IGNORECASE | re.DOTALL))
            for entry in document.get("actions", [])
            for pattern in entry["match"]
        )
        if kind not in (POSITIONS, TRADES) or any(done not in KINDS for done, _ in actions):
            raise ValueError(f"kind {kind!r}; a layout is positions or trades, an action one of {', '.join(KINDS)}")
        return Preset(
            name=name,
            title=document["title"],
            kind=kind,
            dialect=dialect,
            header=tuple(frozenset(map(header_key, names.split("|"))) for names in document["header"]),
            columns={ours: tuple(map(header_key, theirs)) for ours, theirs in document["columns"].items()},
            actions=actions,
            classes={key.casefold(): value for key, value in document.get("classes", {}).items()},
            skip=tuple(re.compile(pattern, re.IGNORECASE) for pattern in document.get("skip", [])),
            section=document.get("section"),
            symbol_line=_compile_pattern(document.get("symbol_line")),
            date_line=_compile_pattern(document.get("date_line")),
            only={key: tuple(values) for key, values in document.get("only", {}).items()},
            unique_id=document.get("unique_id", False),
            signed=document.get("signed", False),
            split_pairs=document.get("split_pairs", False),
            options_only=tuple(re.compile(pattern, re.IGNORECASE) for pattern in document.get("options_only", [])),
            option_from=document.get("option_from"),
            documented=document.get("documented", ""),
            rank=document.get("rank", 0),
            positional=document.get("positional", {}),
            tail=document.get("tail", False),
        )
    except (KeyError, TypeError, re.error, ValueError) as error:
        raise ValueError(f"layout {name} cannot be read: {error}") from error


def _compile_pattern(pattern: str | None) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(pattern, re.IGNORECASE)

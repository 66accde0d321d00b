"""What an import understood, found, and would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import table
from leadline.tables.text import DASH, money, price, shares, words


def reading_words(reading: Mapping[str, Any]) -> str:
    """How a file was read, in a line."""
    day = f", of {reading['file_date']}" if reading.get("file_date") else ""
    return f"Read as {reading['title']}{day}: {reading['dialect_means']} (header in row {reading['header_row']})."


def render_differences(console: Console, differences: Sequence[Mapping[str, Any]]) -> None:
    """Stored lots of which the file says something else."""
    found = table(
        f"Stored otherwise ({len(differences)}); --on-match update takes what the file says",
        "row", "symbol", "entry", "field", "stored", "in the file", left=6,
    )  # fmt: skip
    for difference in differences:
        for name, change in difference["changes"].items():
            found.add_row(
                str(difference["row"]),
                escape(difference["symbol"]),
                difference["entry_date"],
                name,
                escape(change["stored"] or DASH),
                escape(change["file"]),
            )
    console.print(found)


def render_preview(console: Console, answer: Mapping[str, Any]) -> None:
    """How a dry run understood each row; each number as it is written, where it was read as another text."""
    lines = answer.get("preview", [])
    # A column for what is converted only where something is: the table is wide enough.
    converted = any(_stored_text(line) != DASH for line in lines)
    found = table(
        f"{escape(answer['name'])}: {answer['positions']} positions, nothing saved",
        "symbol", "company", "class", "entry", "basis", "quantity", "price", "written", *(["stored as"] if converted else []),
        "close as traded", "close split-adjusted",
        left=5,
    )  # fmt: skip
    for line in lines:
        basis = words(line["price_basis"]) + ("" if line["price_basis_known"] else " (assumed)")
        found.add_row(
            escape(line["symbol"]),
            escape(line.get("company") or line.get("name") or DASH),
            line["investment_class"].lower(),
            line["entry_session"],
            basis,
            shares(line["quantity"]) if "quantity" in line else DASH,
            price(line["entry_price"]),
            escape(_written_text(line)),
            *([_stored_text(line)] if converted else []),
            price(line["close_as_traded"]),
            price(line["close_split_adjusted"]),
        )
    console.print(found)
    for unknown in answer.get("unknown_symbols", []):
        near = f"; did you mean {', '.join(unknown['suggestions'])}?" if unknown["suggestions"] else ""
        console.print(escape(f"{unknown['symbol']}: {unknown['message']}{near}"), soft_wrap=True)
    if answer.get("not_asked"):
        names = ", ".join(answer["not_asked"][:10])
        console.print(escape(f"Not asked yet, so perhaps unknown: {names}. The import asks."), soft_wrap=True)
    cost, equity = answer.get("cost"), answer.get("equity")
    if cost is not None and equity is not None:
        console.print(
            f"Cost of the first session's lots {money(cost)}, equity {money(equity)}, cash {money(equity - cost)}."
        )
    estimate = answer.get("estimate")
    if estimate:
        calls = (
            f", {estimate['calls']} calls of {estimate['provider']}, {estimate['seconds']:g} seconds"
            if estimate["calls"]
            else ""
        )
        console.print(f"To fetch: {estimate['symbols']} symbols ({estimate['known']} are there){calls}.")


def _stored_text(line: Mapping[str, Any]) -> str:
    """Quantity and price as they are stored, where they are not those of the row."""
    quantity, stated = line.get("stored_quantity"), line.get("quantity")
    return (
        DASH if quantity is None or quantity == stated else f"{shares(quantity)} at {price(line['stored_entry_price'])}"
    )


def _written_text(line: Mapping[str, Any]) -> str:
    written = line.get("written") or {}
    texts = [written[key] for key in ("quantity", "entry_price", "close_price", "price") if key in written]
    return " × ".join(texts) if texts else DASH

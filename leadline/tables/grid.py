"""The shape that all tables share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Of correlations beside each other: what a page of 140 characters holds.
MOST_COLUMNS = 14


def table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first `left` columns are text and whose others are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index < left else "right", no_wrap=index < left)
    return made


def blocks(
    console: Console,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cell: Callable[[int, int], str],
    *,
    most: int = MOST_COLUMNS,
) -> None:
    """A matrix of any width, as tables of at most `most` columns, one below the other."""
    for low in range(0, len(columns), most):
        part = range(low, min(low + most, len(columns)))
        more = f", {columns[part[0]]} to {columns[part[-1]]}" if len(columns) > most else ""
        made = table(title + more, "", *(columns[j] for j in part))
        for i, name in enumerate(rows):
            made.add_row(escape(name), *(cell(i, j) for j in part))
        console.print(made)

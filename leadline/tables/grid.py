"""The shape that all tables share. A table that is too wide is continued below; no number is ever cut or broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Column, Table

# Of correlations beside each other: what a page of 140 characters holds.
MOST_COLUMNS = 14
# Words of a text column stay whole up to here; an id is a word.
LONGEST_WORD = 36


class FittedTable(Table):
    """A table that fits its console: texts take several lines, and what still has no room is a table of its own below,
    beside the first column again."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [_Measured(console, column) for column in self.columns]
        if _width(columns, [column.want for column in columns]) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for part in _parts(columns, options.max_width):
            yield from self._part(part, options.max_width).__rich_console__(console, options)

    def _part(self, columns: Sequence[_Measured], width: int) -> Table:
        made = Table(title=self.title, title_justify="left", title_style="bold", header_style="bold")
        widths = [column.need for column in columns]
        for index, column in enumerate(columns):
            left = width - _width(columns, widths)
            widths[index] += max(0, min(column.want - column.need, left))
        for column, characters in zip(columns, widths, strict=True):
            made.add_column(column.of.header, justify=column.of.justify, width=characters, overflow="fold")
        for row, *cells in zip(self.rows, *(column.of.cells for column in columns), strict=True):
            made.add_row(*cells, end_section=row.end_section)
        return made


class _Measured:
    """A column with the characters it wants, and those it needs: its numbers whole, its texts word by word."""

    def __init__(self, console: Console, column: Column) -> None:
        self.of = column
        header = _plain(console, column.header)
        cells = [_plain(console, cell) for cell in column.cells]
        self.want = max(map(len, (header, *cells)), default=0)
        words = [word for cell in (header, *cells) for word in cell.split()]
        self.need = min(max(map(len, words), default=0), LONGEST_WORD)
        if column.justify == "right":
            self.need = max(map(len, (*cells, *header.split())), default=0)
        # Nothing is narrower than the one character that a column of empty cells has.
        self.need = max(1, self.need)
        self.want = max(self.want, self.need)


def _plain(console: Console, cell: object) -> str:
    return console.render_str(cell).plain if isinstance(cell, str) else str(cell)


def _width(columns: Sequence[_Measured], widths: Sequence[int]) -> int:
    """With a space on either side of each cell, and the lines between them."""
    return sum(widths) + 3 * len(columns) + 1


def _parts(columns: Sequence[_Measured], width: int) -> list[list[_Measured]]:
    parts = [[columns[0]]]
    for column in columns[1:]:
        more = [*parts[-1], column]
        if len(parts[-1]) > 1 and _width(more, [each.need for each in more]) > width:
            parts.append([columns[0], column])
        else:
            parts[-1] = more
    return parts


def table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first `left` columns are text and whose others are numbers."""
    made = FittedTable(title=title, title_justify="left", title_style="bold", header_style="bold")
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

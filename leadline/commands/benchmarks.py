"""`leadline benchmark`: sector weights that portfolios are compared with."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from leadline import arguments
from leadline.http import Client, Failed
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo, percent

COLUMNS = ("date", "sector", "weight")
USUAL = "SP500"
File = Annotated[
    Path,
    typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV: date, sector, weight, and perhaps code"),
]
Tables = dict[tuple[str, str], dict[str, str]]
"""(code, date) to the weight of each sector, as the file has it."""


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Sector weights that portfolios are compared with.", no_args_is_help=True)

    @app.command("import")
    @reports
    def import_weights(
        file: File,
        code: Annotated[str, typer.Option(help="Of the rows that do not name one")] = USUAL,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show, save nothing")] = False,  # noqa: FBT002
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Load sector weights, a table for each code and date. All are checked before one is saved."""
        tables = _tables(file.read_bytes(), code)
        with client() as api:
            answers = [_put(api, key, weights, dry_run=True) for key, weights in tables.items()]
            if not dry_run:
                answers = [_put(api, key, weights, dry_run=False) for key, weights in tables.items()]
        if as_json:
            print_document({"items": answers})
            return
        for answer in answers:
            echo(f"{answer['code']} {answer['date']}: {_outcome_text(answer, dry_run=dry_run)}")

    @app.command("list")
    @reports
    def list_weights(
        code: Annotated[str | None, typer.Option(help="Only this one")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """What is loaded, newest date first, and which code is compared with."""
        with client() as api:
            answer = api.get("/benchmarks", code=code)
        if as_json:
            print_document(answer)
        else:
            _print_list(answer)

    @app.command("remove")
    @reports
    def remove_weights(
        code: Annotated[str, typer.Argument(metavar="CODE", help="Such as SP500")],
        day: Annotated[str, typer.Argument(metavar="DATE", help="YYYY-MM-DD", callback=arguments.day)],
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Take back the weights of one date; its sessions are compared with the table before it again."""
        with client() as api:
            answer = api.delete(_path(code, day))
        if as_json:
            print_document(answer)
        else:
            echo(f"{answer['code']} {answer['date']}: taken back{_restatement_text(answer)}")

    return app


def _print_list(answer: Mapping[str, Any]) -> None:
    items = answer["items"]
    rows = table(f"Benchmarks ({len(items)})", "code", "date", "sector", "weight", "stated sum", "loaded", left=3)
    for item in items:
        for sector, weight in item["weights"].items():
            loaded = (f"{item['stated_sum']:.4f}", item["loaded_at"])
            rows.add_row(item["code"], item["date"], sector, percent(weight), *loaded)
        rows.add_section()
    console_for().print(rows)
    echo(f"Portfolios are compared with {answer['compared_with'] or 'none yet'} (LEADLINE_SECTOR_BENCHMARK).")


def _path(code: str, day: str) -> str:
    return f"/benchmarks/{quote(code, safe='')}/{quote(day, safe='')}"


def _put(api: Client, key: tuple[str, str], weights: dict[str, str], *, dry_run: bool) -> dict[str, Any]:
    code, day = key
    answer = api.put(_path(code, day), params={"dry_run": str(dry_run).lower()}, json={"weights": weights})
    return dict(answer)


def _outcome_text(answer: dict[str, Any], *, dry_run: bool) -> str:
    count = f"{len(answer['weights'])} sectors, sum {answer['stated_sum']:.4f}"
    if dry_run:
        return f"{count}; nothing saved"
    return (
        f"{count}; {'loaded' if answer['changed'] else 'was there already, nothing changed'}{_restatement_text(answer)}"
    )


def _restatement_text(answer: dict[str, Any]) -> str:
    span = answer["restated"]
    return (
        "" if span is None else f"; risk from {span['from']} to {span['to']} is computed anew, {span['units']:,} units"
    )


def _tables(content: bytes, code: str) -> Tables:
    """The file's tables. What only the file can say wrong is said here, with its line; the weights themselves are the server's."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failed(f"The file is not readable as CSV in UTF-8 ({error}). Save it as that.") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise Failed(f"The file has no column {', '.join(missing)}. Its first row must name date, sector and weight.")
    tables: Tables = {}
    errors = []
    for line, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        key = ((cells.get("code") or code).upper(), cells.get("date", ""))
        table_of = tables.setdefault(key, {})
        try:
            arguments.day(key[1])
        except typer.BadParameter as error:
            errors.append(_error(line, "date", f"{error.message}.", key[1]))
        if cells.get("sector", "") in table_of:
            said = f"{cells['sector']!r} is there twice for {key[0]} {key[1]}. Keep one."
            errors.append(_error(line, "sector", said, cells["sector"]))
        table_of[cells.get("sector", "")] = cells.get("weight", "")
    if errors:
        detail = f"{len(errors)} error{'s' if len(errors) > 1 else ''} in the file; nothing was saved."
        raise Failed(detail, body={"detail": detail, "code": "invalid", "errors": errors})
    if not tables:
        raise Failed("The file has no rows. Write a line for each sector: date, sector, weight.")
    return tables


def _error(line: int, column: str, message: str, value: str) -> dict[str, object]:
    return {"row": line, "column": column, "code": "ERR_BENCH_FILE", "message": message, "value": value}

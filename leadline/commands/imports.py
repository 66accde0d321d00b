"""`leadline import`: a file into a new portfolio or an existing one, or an import taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from leadline import arguments
from leadline.http import Client, Failed
from leadline.names import portfolio_of
from leadline.run import console_for, print_document
from leadline.tables import imports as tables
from leadline.tables import overview
from leadline.tables.text import echo

# The options of the command, in the order in which its help lists them.
File = Annotated[
    Path | None,
    typer.Argument(
        exists=True, dir_okay=False, readable=True, help="A portfolio or broker's CSV, or an export's portfolio.json"
    ),
]
Name = Annotated[str | None, typer.Option(help="The new portfolio's name")]
Equity = Annotated[
    str | None, typer.Option(help="Capital before the first session", callback=arguments.optional_amount)
]
Into = Annotated[str | None, typer.Option(metavar="NAME|ID", help="Add to this portfolio instead of making a new one")]
AccountType = Annotated[str, typer.Option(help="taxable, ira, roth_ira, 401k, 403b, 529, hsa, trust or other")]
Currency = Annotated[str, typer.Option(help="Three-letter code")]
PriceBasis = Annotated[str, typer.Option(help="auto, as_traded or split_adjusted")]
Dialect = Annotated[
    str, typer.Option(help="How numbers and dates are written: iso, us, uk or eu; a broker's layout knows its own")
]
Preset = Annotated[str, typer.Option(help="A broker's layout by name; by default recognised by the header")]
Columns = Annotated[
    list[str] | None, typer.Option("--map", metavar="OURS=THEIRS", help="A column by its header; repeat it")
]
Symbols = Annotated[
    list[str] | None, typer.Option(metavar="THEIRS=OURS", help="A security by the broker's name or ISIN; repeat it")
]
SavedMapping = Annotated[str, typer.Option(help="A saved mapping by name")]
EntryDate = Annotated[
    str | None, typer.Option(help="When lots without a date enter: YYYY-MM-DD", callback=arguments.day)
]
OnMatch = Annotated[str, typer.Option(help="Stored lots of which the file says something else: list or update")]
AllowDuplicateName = Annotated[bool, typer.Option("--allow-duplicate-name", help="Even if a portfolio has that name")]
Undo = Annotated[str | None, typer.Option(metavar="IMPORT", help="Take back an import by its id, or last")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, save nothing")]


def send(api: Client, file: Path, form: dict[str, Any], into: str | None) -> Any:
    """Import the file; into an existing portfolio where one is named."""
    files = {"file": (file.name, file.read_bytes(), "text/csv")}
    path = "/portfolios/import" if into is None else f"/portfolios/{portfolio_of(api, into)}/import"
    return api.post(path, data=form, files=files)


def is_document(file: Path) -> bool:
    """Whether a file is what `leadline export` writes beside the table: a portfolio as one document."""
    return file.suffix.lower() == ".json"


def send_document(api: Client, file: Path, given: Mapping[str, Any]) -> Any:
    """Create the portfolio of a document. given : what is said instead of what the document says"""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Failed(f"{file} is not a JSON document: {error}.") from error
    if not isinstance(document, dict):
        raise Failed(f"{file} is not a portfolio: it must be an object with name, equity_balance, positions and flows.")
    return api.post("/portfolios", json=document | {key: value for key, value in given.items() if value is not None})


def undo(api: Client, into: str, import_id: str) -> Any:
    portfolio = portfolio_of(api, into)
    if import_id == "last":
        counted = [item for item in api.get(f"/portfolios/{portfolio}/imports")["items"] if item["undone_at"] is None]
        if not counted:
            raise Failed(f"Portfolio {into!r} has no import that counts.")
        import_id = counted[0]["id"]
    return api.delete(f"/portfolios/{portfolio}/imports/{import_id}")


def show(answer: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_document(answer)
        return
    errors = console_for(stderr=True)
    if answer.get("reading"):
        errors.print(tables.reading_words(answer["reading"]), soft_wrap=True, markup=False)
    if answer["warnings"]:
        overview.render_issues(errors, "Warnings", answer["warnings"])
    if answer.get("would_change"):
        tables.render_differences(errors, answer["would_change"])
    if dry_run:
        tables.render_preview(console_for(), answer)
        return
    if answer.get("unchanged") or answer.get("changed"):
        errors.print(f"{answer['positions']} added, {answer['changed']} changed, {answer['unchanged']} as they were.")
    echo(answer["id"])
    if answer.get("import_id"):
        errors.print(
            f"Take it back with: leadline import --undo {answer['import_id']} --into {answer['id']}",
            soft_wrap=True,
            markup=False,
        )


def show_undone(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_document(answer)
        return
    if answer["warnings"]:
        overview.render_issues(console_for(stderr=True), "Warnings", answer["warnings"])
    echo(f"{answer['removed']} lots removed, {answer['restored']} restored")


def check_arguments(
    file: Path | None,
    name: str | None,
    equity: str | None,
    into: str | None,
    undone: str | None,
    update: str,
    *,
    dry_run: bool,
) -> None:
    """What can be known to be wrong without asking the server."""
    if undone is not None:
        if file is not None or into is None:
            raise typer.BadParameter("--undo takes an import's id (or last) and --into PORTFOLIO, and no file")
        return
    if file is None:
        raise typer.BadParameter("give a CSV file, or --undo IMPORT --into PORTFOLIO")
    if is_document(file):
        if into is not None or dry_run:
            raise typer.BadParameter("a portfolio's JSON document makes a new portfolio: no --into and no --dry-run")
        return
    if into is None and (name is None or equity is None):
        raise typer.BadParameter(
            "give --name and --equity for a new portfolio, or --into PORTFOLIO for one that exists"
        )
    if into is not None and (name is not None or equity is not None):
        raise typer.BadParameter(
            "--into adds to a portfolio, which has its name and equity; leave --name and --equity away"
        )
    if update not in ("list", "update"):
        raise typer.BadParameter("--on-match is list or update")

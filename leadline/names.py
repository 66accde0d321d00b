"""What a person calls a portfolio, a run or what else has an id: its id, its name, or the beginning of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from leadline.http import Client, Failed

# Shorter beginnings of an id are rather a name.
LEAST = 4


def find_portfolios(items: Sequence[Mapping[str, Any]], given: str) -> list[Mapping[str, Any]]:
    """The portfolios that are meant; the closest way of naming one that fits any counts."""
    low = given.lower()
    ways: tuple[Callable[[Mapping[str, Any]], bool], ...] = (
        lambda item: bool(item["id"] == low),
        lambda item: bool(item["name"] == given),
        lambda item: len(given) >= LEAST and str(item["id"]).startswith(low),
        lambda item: str(item["name"]).lower() == low,
        lambda item: low != "" and str(item["name"]).lower().startswith(low),
    )
    for fits in ways:
        if found := [item for item in items if fits(item)]:
            return found
    return []


def portfolio_of(api: Client, given: str) -> str:
    """The id of the one portfolio that is meant; a whole id is not looked up. Raises Failed for none and for several."""
    try:
        return str(UUID(given))
    except ValueError:
        pass
    found = find_portfolios(api.pages("/portfolios"), given)
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        ids = ", ".join(f"{item['id']} {item['name']}" for item in found[:5])
        raise Failed(f"{len(found)} portfolios are named {given!r}: give the id of one ({ids}).")
    raise Failed(f"There is no portfolio {given!r}; 'leadline status' lists them.")


def run_of(api: Client, given: str) -> str:
    """The id of the one run that is meant, among the newest two hundred where it is not a whole id."""
    try:
        return str(UUID(given))
    except ValueError:
        pass
    items = api.get("/admin/runs", limit=200)["items"]
    found = [item["id"] for item in items if len(given) >= LEAST and item["id"].startswith(given.lower())]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise Failed(f"{len(found)} runs begin with {given!r}: give more of the id ({', '.join(found[:5])}).")
    raise Failed(f"There is no run {given!r}; 'leadline runs' lists them.")


def one_named(items: Sequence[Mapping[str, Any]], given: str, *, missing: str, listing: str) -> Mapping[str, Any]:
    """The one item with this id or name. Raises Failed for none, with what is `missing`, and for several.

    listing : the command that shows them
    """
    found = [item for item in items if given in (item["id"], item["name"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failed(f"{len(found)} have the name {given!r}. Give the id, which '{listing}' shows.")
    raise Failed(f"{missing}. '{listing}' shows those there are.")


def completions(incomplete: str) -> list[tuple[str, str]]:
    """Names and ids that begin like what is typed, each with its other name. None without a server: a shell waits for this."""
    try:
        with Client() as api:
            items = api.get("/portfolios", limit=200)["items"]
    except Failed:
        return []
    low = incomplete.lower()
    names = [(item["name"], item["id"]) for item in items if item["name"].lower().startswith(low)]
    ids = [(item["id"], item["name"]) for item in items if low and item["id"].startswith(low)]
    return names + ids


HELP = "Name, id, or the beginning of either"
Portfolio = Annotated[str, typer.Argument(metavar="PORTFOLIO", help=HELP, autocompletion=completions)]
IdOrName = Annotated[str, typer.Argument(metavar="ID|NAME", help="Its id, or its name")]
MaybePortfolio = Annotated[
    str | None, typer.Argument(metavar="[PORTFOLIO]", help=HELP, autocompletion=completions, show_default=False)
]
Portfolios = Annotated[
    list[str], typer.Argument(metavar="PORTFOLIO...", help="One or several: " + HELP, autocompletion=completions)
]

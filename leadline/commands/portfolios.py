"""Commands about one portfolio itself: its lots, its money in and out, its name, its price basis, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape

from leadline import arguments
from leadline.http import Client
from leadline.names import Portfolio, portfolio_of
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import DASH, echo, money, price, shares, text, words


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add the commands. client : made per command; tests put another one in its place"""

    _lots(app, client)
    _flows(app, client)
    _changes(app, client)


def _lots(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def lots(
        portfolio: Portfolio,
        remove: Annotated[str | None, typer.Option(metavar="LOT", help="Take this lot out of the portfolio")] = None,
        as_json: Json = False,  # noqa: FBT002 (a command's option)
    ) -> None:
        """The lots as they are stored, with their ids."""
        with client() as api:
            path = f"/portfolios/{portfolio_of(api, portfolio)}"
            answer = api.get(path) if remove is None else api.delete(f"{path}/positions/{remove}")
        if as_json:
            print_document({"items": answer["positions"]} if remove is None else answer)
        elif remove is not None:
            echo(f"lot {remove} is removed")
        else:
            rows = table("Lots", "symbol", "entry", "exit", "quantity", "price", "exit price", "lot", left=3)
            rows.columns[-1].justify = "left"
            rows.columns[-1].no_wrap = True
            for lot in answer["positions"]:
                rows.add_row(
                    text(lot["symbol"]), text(lot["entry_date"]), text(lot.get("exit_date")), shares(lot["quantity"]),
                    price(lot["entry_price"]), price(lot.get("exit_price")), text(lot["id"]),
                )  # fmt: skip
            console_for().print(rows)


def _flows(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def flows(
        portfolio: Portfolio,
        add: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money in; negative is money out")] = None,
        date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Of --add", callback=arguments.day)] = None,
        note: Annotated[str | None, typer.Option(help="Of --add")] = None,
        remove: Annotated[str | None, typer.Option(metavar="FLOW", help="Take this flow out again")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Money that came in and went out; adds or removes one."""
        if (add is None) != (date is None) or (add is not None and remove is not None):
            raise typer.BadParameter("give --add AMOUNT with --date, or --remove FLOW, or neither")
        amount = None if add is None else arguments.amount(add)
        with client() as api:
            path = f"/portfolios/{portfolio_of(api, portfolio)}/flows"
            if amount is not None:
                answer = api.post(path, json={"date": date, "amount": amount, "note": note})
            else:
                answer = api.get(path) if remove is None else api.delete(f"{path}/{remove}")
        if as_json:
            print_document(answer)
        elif amount is not None:
            echo(answer["flow_id"])
        elif remove is not None:
            echo(f"flow {remove} is removed")
        else:
            rows = table("Money in and out", "date", "session", "amount", "note", "flow", left=2)
            for flow in answer["items"]:
                rows.add_row(
                    flow["date"], flow["session"], money(flow["amount"]), escape(flow["note"] or DASH), flow["id"]
                )
            rows.columns[3].justify = "left"
            rows.columns[4].no_wrap = True
            console_for().print(rows)


def _changes(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def rename(portfolio: Portfolio, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
        """Give a portfolio another name; nothing is computed again."""
        with client() as api:
            answer = api.patch(f"/portfolios/{portfolio_of(api, portfolio)}", json={"name": name})
        echo(f"{answer['id']} is now {answer['name']}")

    @app.command()
    @reports
    def delete(
        portfolio: Portfolio,
        yes: Annotated[bool, typer.Option("--yes", help="Do it; without, nothing is deleted")] = False,  # noqa: FBT002
    ) -> None:
        """Delete a portfolio, at once."""
        with client() as api:
            found = api.get(f"/portfolios/{portfolio_of(api, portfolio)}")
            if not yes:
                echo(
                    f"{found['name']} ({found['id']}), {len(found['positions'])} lots: not deleted; give --yes to do it"
                )
                return
            api.delete(f"/portfolios/{found['id']}")
        echo(f"{found['name']} ({found['id']}) is deleted")

    @app.command("price-basis")
    @reports
    def price_basis(
        portfolio: Portfolio,
        basis: Annotated[str, typer.Option(help="auto, as_traded or split_adjusted")] = "auto",
        yes: Annotated[bool, typer.Option("--yes", help="Save it; without, it is only shown")] = False,  # noqa: FBT002
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Decide again whether entry prices are as traded or split-adjusted."""
        with client() as api:
            answer = api.post(
                f"/portfolios/{portfolio_of(api, portfolio)}/price-basis",
                params={"basis": basis, "dry_run": str(not yes).lower()},
            )
        if as_json:
            print_document(answer)
            return
        for warning in answer["warnings"]:
            echo(f"{warning['code']}: {words(warning['message'])}")
        changed = answer.get("changed")
        done = "saved" if yes else "not saved; give --yes to do it"
        echo(f"{answer['name']}: {answer['positions'] if changed is None else changed} lots, {done}")

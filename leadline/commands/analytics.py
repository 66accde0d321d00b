"""Commands for figures that are worked out when they are asked for: performance, attribution, replay, liquidity, what-if."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from leadline import arguments
from leadline.http import Client
from leadline.names import Portfolio, portfolio_of
from leadline.run import Json, console_for, print_document, reports
from leadline.tables import analytics as tables

From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", callback=arguments.day)]
To = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", callback=arguments.day)]
Session = Annotated[str | None, typer.Option(help="YYYY-MM-DD; without it the newest", callback=arguments.day)]


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add the commands. client : made per command; tests put another one in its place"""
    _ranges(app, client)
    _sessions(app, client)
    _funds(app, client)


def _ranges(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def performance(
        portfolio: Portfolio,
        first: From = None,
        last: To = None,
        benchmark: Annotated[str | None, typer.Option(metavar="SYMBOL", help="Stands beside it, such as SPY")] = None,
        interest: Annotated[bool, typer.Option("--interest", help="Say what money would have earned and cost")] = False,  # noqa: FBT002
        margin_spread: Annotated[float, typer.Option(min=0.0, max=0.5, help="A year, over the bill")] = 0.0,
        borrow_rate: Annotated[float, typer.Option(min=0.0, max=2.0, help="A year, of what is short")] = 0.0,
        as_json: Json = False,  # noqa: FBT002 (a command's option)
    ) -> None:
        """Returns, ratios, drawdowns and a calendar of a range."""
        arguments.assert_in_order(first, last)
        money = {"interest": "true", "margin_spread": margin_spread, "borrow_rate": borrow_rate} if interest else {}
        query = {"from": first, "to": last, "benchmark": benchmark} | money
        answer = _figures(client, portfolio, "performance", **query)
        _show(answer, tables.performance, as_json=as_json)

    @app.command()
    @reports
    def attribution(
        portfolio: Portfolio,
        first: From = None,
        last: To = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Where a range's return came from: by factor, by sector, by position."""
        arguments.assert_in_order(first, last)
        answer = _figures(client, portfolio, "attribution", **{"from": first, "to": last})
        _show(answer, tables.attribution, as_json=as_json)


def _sessions(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def replay(
        portfolio: Portfolio,
        first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", callback=arguments.day)],
        last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", callback=arguments.day)],
        session: Session = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """A dated stretch of the past with what is held: 2020-02-19 to 2020-03-23 is the crash of 2020."""
        arguments.assert_in_order(first, last)
        answer = _figures(client, portfolio, "stress/replay", **{"from": first, "to": last, "session": session})
        _show(answer, tables.replay, as_json=as_json)

    @app.command()
    @reports
    def liquidity(
        portfolio: Portfolio,
        session: Session = None,
        share: Annotated[float, typer.Option(min=0.001, max=1.0, help="Of a day's volume that is sold a day")] = 0.2,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """How many sessions each holding takes to sell."""
        answer = _figures(client, portfolio, "liquidity", session=session, share=share)
        _show(answer, tables.liquidity, as_json=as_json)

    @app.command("what-if")
    @reports
    def what_if(
        portfolio: Portfolio,
        trades: Annotated[
            list[str], typer.Option("--trade", metavar="SYMBOL=QUANTITY", help="Such as SPY=-100; repeat it")
        ],
        session: Session = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """What trades would do to the risk; nothing is stored."""
        body = {"trades": parse_trades(trades), "session": session}
        with client() as api:
            answer = api.post(f"/portfolios/{portfolio_of(api, portfolio)}/what-if", json=body)
        _show(answer, tables.what_if, as_json=as_json)


def _funds(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command("look-through")
    @reports
    def look_through(
        portfolio: Portfolio,
        session: Session = None,
        most: Annotated[int, typer.Option(min=1, max=20_000, help="Names, the largest first")] = 20,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """What stands behind the funds, by sector and name; their holdings: `leadline fund import`."""
        answer = _figures(client, portfolio, "look-through", session=session, most=most)
        _show(answer, tables.look_through, as_json=as_json)

    @app.command("sectors")
    @reports
    def sectors(
        portfolio: Portfolio,
        session: Session = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Betas to the funds of sectors (XLK and so on), beyond the market's."""
        answer = _figures(client, portfolio, "sector-exposures", session=session)
        _show(answer, tables.sector_exposures, as_json=as_json)


def parse_trades(trades: Sequence[str]) -> list[dict[str, Any]]:
    """SYMBOL=QUANTITY as the interface takes it; a usage error names the one that cannot be read."""
    found = []
    for given in trades:
        symbol, separator, quantity = given.partition("=")
        try:
            number = float(quantity.replace(",", ""))
        except ValueError:
            number = math.nan
        found.append({"symbol": symbol.strip(), "quantity": number})
        if not separator or not symbol.strip() or not math.isfinite(number):
            raise typer.BadParameter(
                f"{given!r} is no trade: write SYMBOL=QUANTITY, such as SPY=-100.", param_hint="--trade"
            )
    return found


def _figures(client: Callable[[], Client], portfolio: str, part: str, **query: Any) -> Any:
    with client() as api:
        return api.get(f"/portfolios/{portfolio_of(api, portfolio)}/{part}", **query)


def _show(answer: Any, render: Callable[[Any, Any], None], *, as_json: bool) -> None:
    if as_json:
        print_document(answer)
    else:
        render(console_for(), answer)

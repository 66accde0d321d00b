"""The API from a program: typed, with retries of a busy server, one page at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from leadline import calls, frames, http, models
from leadline.calls import Call, Pages, Session, What
from leadline.waiting import POLL_SECONDS, WAIT_SECONDS, is_finished, not_in_time

if TYPE_CHECKING:
    import httpx2

ATTEMPTS = 4
T = TypeVar("T")


class Client(http.Client):
    """Each call is made up to four times while no answer comes or the server says 429 or 503; a write happens once.

    Errors are those of `leadline.errors`. `get`, `post` and the like reach what has no method here.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        attempts: int = ATTEMPTS,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, attempts=attempts, transport=transport)

    def send(self, call: Call[T]) -> T:
        arguments = {"params": http.to_query(call.params), "json": call.json, "data": call.data, "files": call.files}
        return cast("T", self._call(call.method, call.path, **arguments))

    def iterate(self, pages: Pages[T]) -> Iterator[T]:
        """Items one by one; the next page is asked for when its first item is."""
        cursor: object = None
        while True:
            page = self.get(pages.path, cursor=cursor, **pages.params)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def portfolios(self) -> Iterator[models.ListedPortfolio]:
        return self.iterate(calls.portfolios())

    def portfolio(self, portfolio_id: str) -> models.Portfolio:
        return self.send(calls.portfolio(portfolio_id))

    def create(self, document: Mapping[str, Any]) -> models.Imported:
        """document : name, equity_balance, positions and flows, as `leadline export` writes them"""
        return self.send(calls.create(document))

    def import_csv(
        self, file: Path, *, name: str, equity: float | str, dry_run: bool = False, **options: str
    ) -> models.Imported:
        """options : fields of the form, such as dialect, preset, price_basis"""
        return self.send(calls.import_csv(file, name, equity, dry_run=dry_run, options=options))

    def remove(self, portfolio_id: str) -> None:
        self.send(calls.delete(portfolio_id))

    def status(self, portfolio_id: str) -> models.Status:
        return self.send(calls.status(portfolio_id))

    def positions(self, portfolio_id: str, session: Session = None) -> models.Positions:
        return self.send(calls.positions(portfolio_id, session))

    def factor_exposures(self, portfolio_id: str, session: Session = None) -> models.FactorExposures:
        return self.send(calls.factor_exposures(portfolio_id, session))

    def risk(self, portfolio_id: str, session: Session = None) -> models.Risk:
        return self.send(calls.risk(portfolio_id, session))

    def stress(self, portfolio_id: str, session: Session = None) -> models.Stress:
        return self.send(calls.stress(portfolio_id, session))

    def series(
        self, portfolio_id: str, figures: Sequence[str], *, first: Session = None, last: Session = None
    ) -> models.Series:
        """Figures over time, at most fifty, named as `explain` names them: `snapshots.nav`."""
        return self.send(calls.series(portfolio_id, figures, first, last))

    def series_frame(
        self, portfolio_id: str, figures: Sequence[str], *, first: Session = None, last: Session = None
    ) -> Any:
        """`series` as a pandas DataFrame: a row a session, a column a figure, NaN where a figure is not known."""
        return frames.of_series(self.series(portfolio_id, figures, first=first, last=last))

    def positions_frame(self, portfolio_id: str, session: Session = None) -> Any:
        """`positions` as a pandas DataFrame: a row a lot."""
        return frames.of_items(self.positions(portfolio_id, session)["items"])

    def performance(
        self, portfolio_id: str, *, first: Session = None, last: Session = None, benchmark: str | None = None
    ) -> models.Performance:
        """Of all sessions, or those from `first` to `last`; a benchmark is a symbol, whose prices must be stored."""
        return self.send(calls.performance(portfolio_id, first, last, benchmark))

    def attribution(self, portfolio_id: str, *, first: Session = None, last: Session = None) -> models.Attribution:
        return self.send(calls.attribution(portfolio_id, first, last))

    def replay(self, portfolio_id: str, first: str, last: str, session: Session = None) -> models.Replay:
        """A dated stretch of the past, with what the session holds."""
        return self.send(calls.replay(portfolio_id, first, last, session))

    def liquidity(self, portfolio_id: str, session: Session = None, *, share: float | None = None) -> models.Liquidity:
        """share : of a day's mean volume that is sold a day"""
        return self.send(calls.liquidity(portfolio_id, session, share))

    def look_through(
        self, portfolio_id: str, session: Session = None, *, most: int | None = None
    ) -> models.LookThrough:
        """What stands behind the funds; `most` of the names, the largest first."""
        return self.send(calls.look_through(portfolio_id, session, most))

    def sector_exposures(self, portfolio_id: str, session: Session = None) -> models.SectorExposures:
        """Betas to the funds of sectors, beyond the market's."""
        return self.send(calls.sector_exposures(portfolio_id, session))

    def what_if(self, portfolio_id: str, trades: Mapping[str, float], session: Session = None) -> models.WhatIf:
        """Risk before and after trades, which are quantities by symbol; nothing is stored."""
        return self.send(calls.what_if(portfolio_id, trades, session))

    def explain(self, portfolio_id: str, figure: str, session: Session = None) -> models.Explained:
        return self.send(calls.explain(portfolio_id, figure, session))

    def explain_symbol(self, symbol: str, figure: str, session: Session = None) -> models.Explained:
        return self.send(calls.explain_symbol(symbol, figure, session))

    def restatements(
        self, portfolio_id: str, *, first: Session = None, last: Session = None
    ) -> Iterator[dict[str, Any]]:
        """What was computed again, and why, newest first."""
        return self.iterate(calls.restatements(portfolio_id, first, last))

    def runs(self) -> Iterator[models.Run]:
        return self.iterate(calls.runs())

    def run(self, run_id: str) -> models.Run:
        return self.send(calls.run(run_id))

    def rerun(
        self, portfolio_ids: Sequence[str], what: What, *, first: Session = None, last: Session = None
    ) -> models.RunAccepted:
        return self.send(calls.rerun(portfolio_ids, what, first, last))

    def report(self, portfolio_id: str, session: Session = None) -> str:
        """The risk report as one HTML file."""
        return self.page(f"/report/{portfolio_id}", session=session, inline="true")

    def wait_until_complete(
        self, portfolio_id: str, *, seconds: float = WAIT_SECONDS, poll: float = POLL_SECONDS
    ) -> models.Status:
        """The status once nothing is missing that comes by itself: complete, or partial.

        seconds : how long to wait; poll : between two looks

        Raises Blocked where a person is needed, NotInTime after `seconds`.
        """
        until = time.monotonic() + seconds
        while True:
            status = self.status(portfolio_id)
            if is_finished(status):
                return status
            if time.monotonic() + poll > until:
                raise not_in_time(status, seconds)
            time.sleep(poll)

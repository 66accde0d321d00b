"""The API from a program that waits for nothing else meanwhile: `Client`, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from leadline import calls, frames, http, models
from leadline.calls import Call, Pages, Session, What
from leadline.client import ATTEMPTS
from leadline.waiting import POLL_SECONDS, WAIT_SECONDS, is_finished, not_in_time

# Loaded by the first client: `leadline --help` calls nobody, and would wait for it as long as for everything else.
if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncClient:
    """What `Client` is, with methods to await and lists to iterate over with `async for`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        attempts: int = ATTEMPTS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx2

        self.url, headers = http.access(url, token)
        self._attempts = attempts
        self._http = httpx2.AsyncClient(
            base_url=self.url + http.PREFIX,
            headers=headers,
            timeout=http.TIMEOUT_SECONDS,
            transport=transport,
            verify=http.needs_certificates(self.url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        arguments = {"params": http.to_query(call.params), "json": call.json, "data": call.data, "files": call.files}
        answer = await self._answer(call.method, call.path, **arguments)
        return cast("T", answer.json() if answer.content else None)

    async def iterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        """Items one by one; the next page is asked for when its first item is."""
        cursor: object = None
        while True:
            page: Any = await self.send(Call("GET", pages.path, {**pages.params, "cursor": cursor}))
            for item in page["items"]:
                yield item
            cursor = page["next"]
            if cursor is None:
                return

    async def _answer(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        import httpx2

        keyed = http.headers_for(method, attempts=self._attempts)
        attempt = 0
        while True:
            answer: httpx2.Response | None = None
            try:
                answer = await self._http.request(method, path, headers=keyed, **arguments)
            except httpx2.TransportError as error:
                if attempt + 1 >= self._attempts:
                    raise http.no_answer(self.url, error) from error
            if answer is not None and answer.is_success:
                return answer
            delay = http.retry_delay(attempt, answer) if attempt + 1 < self._attempts else None
            if delay is None:
                assert answer is not None
                raise http.failure(answer)
            attempt += 1
            await asyncio.sleep(delay)

    def portfolios(self) -> AsyncIterator[models.ListedPortfolio]:
        return self.iterate(calls.portfolios())

    async def portfolio(self, portfolio_id: str) -> models.Portfolio:
        return await self.send(calls.portfolio(portfolio_id))

    async def create(self, document: Mapping[str, Any]) -> models.Imported:
        """document : name, equity_balance, positions and flows, as `leadline export` writes them"""
        return await self.send(calls.create(document))

    async def import_csv(
        self, file: Path, *, name: str, equity: float | str, dry_run: bool = False, **options: str
    ) -> models.Imported:
        """options : fields of the form, such as dialect, preset, price_basis"""
        return await self.send(calls.import_csv(file, name, equity, dry_run=dry_run, options=options))

    async def remove(self, portfolio_id: str) -> None:
        await self.send(calls.delete(portfolio_id))

    async def status(self, portfolio_id: str) -> models.Status:
        return await self.send(calls.status(portfolio_id))

    async def positions(self, portfolio_id: str, session: Session = None) -> models.Positions:
        return await self.send(calls.positions(portfolio_id, session))

    async def factor_exposures(self, portfolio_id: str, session: Session = None) -> models.FactorExposures:
        return await self.send(calls.factor_exposures(portfolio_id, session))

    async def risk(self, portfolio_id: str, session: Session = None) -> models.Risk:
        return await self.send(calls.risk(portfolio_id, session))

    async def stress(self, portfolio_id: str, session: Session = None) -> models.Stress:
        return await self.send(calls.stress(portfolio_id, session))

    async def series(
        self, portfolio_id: str, figures: Sequence[str], *, first: Session = None, last: Session = None
    ) -> models.Series:
        """Figures over time, at most fifty, named as `explain` names them: `snapshots.nav`."""
        return await self.send(calls.series(portfolio_id, figures, first, last))

    async def series_frame(
        self, portfolio_id: str, figures: Sequence[str], *, first: Session = None, last: Session = None
    ) -> Any:
        """`series` as a pandas DataFrame: a row a session, a column a figure, NaN where a figure is not known."""
        return frames.of_series(await self.series(portfolio_id, figures, first=first, last=last))

    async def positions_frame(self, portfolio_id: str, session: Session = None) -> Any:
        """`positions` as a pandas DataFrame: a row a lot."""
        return frames.of_items((await self.positions(portfolio_id, session))["items"])

    async def performance(
        self, portfolio_id: str, *, first: Session = None, last: Session = None, benchmark: str | None = None
    ) -> models.Performance:
        """Of all sessions, or those from `first` to `last`; a benchmark is a symbol, whose prices must be stored."""
        return await self.send(calls.performance(portfolio_id, first, last, benchmark))

    async def attribution(
        self, portfolio_id: str, *, first: Session = None, last: Session = None
    ) -> models.Attribution:
        return await self.send(calls.attribution(portfolio_id, first, last))

    async def replay(self, portfolio_id: str, first: str, last: str, session: Session = None) -> models.Replay:
        """A dated stretch of the past, with what the session holds."""
        return await self.send(calls.replay(portfolio_id, first, last, session))

    async def liquidity(
        self, portfolio_id: str, session: Session = None, *, share: float | None = None
    ) -> models.Liquidity:
        """share : of a day's mean volume that is sold a day"""
        return await self.send(calls.liquidity(portfolio_id, session, share))

    async def look_through(
        self, portfolio_id: str, session: Session = None, *, most: int | None = None
    ) -> models.LookThrough:
        """What stands behind the funds; `most` of the names, the largest first."""
        return await self.send(calls.look_through(portfolio_id, session, most))

    async def sector_exposures(self, portfolio_id: str, session: Session = None) -> models.SectorExposures:
        """Betas to the funds of sectors, beyond the market's."""
        return await self.send(calls.sector_exposures(portfolio_id, session))

    async def what_if(self, portfolio_id: str, trades: Mapping[str, float], session: Session = None) -> models.WhatIf:
        """Risk before and after trades, which are quantities by symbol; nothing is stored."""
        return await self.send(calls.what_if(portfolio_id, trades, session))

    async def explain(self, portfolio_id: str, figure: str, session: Session = None) -> models.Explained:
        return await self.send(calls.explain(portfolio_id, figure, session))

    async def explain_symbol(self, symbol: str, figure: str, session: Session = None) -> models.Explained:
        return await self.send(calls.explain_symbol(symbol, figure, session))

    def restatements(
        self, portfolio_id: str, *, first: Session = None, last: Session = None
    ) -> AsyncIterator[dict[str, Any]]:
        """What was computed again, and why, newest first."""
        return self.iterate(calls.restatements(portfolio_id, first, last))

    def runs(self) -> AsyncIterator[models.Run]:
        return self.iterate(calls.runs())

    async def run(self, run_id: str) -> models.Run:
        return await self.send(calls.run(run_id))

    async def rerun(
        self, portfolio_ids: Sequence[str], what: What, *, first: Session = None, last: Session = None
    ) -> models.RunAccepted:
        return await self.send(calls.rerun(portfolio_ids, what, first, last))

    async def report(self, portfolio_id: str, session: Session = None) -> str:
        """The risk report as one HTML file."""
        params = http.to_query({"session": session, "inline": "true"})
        return (await self._answer("GET", f"{self.url}/report/{portfolio_id}", params=params)).text

    async def wait_until_complete(
        self, portfolio_id: str, *, seconds: float = WAIT_SECONDS, poll: float = POLL_SECONDS
    ) -> models.Status:
        """The status once nothing is missing that comes by itself: complete, or partial.

        seconds : how long to wait; poll : between two looks

        Raises Blocked where a person is needed, NotInTime after `seconds`.
        """
        until = time.monotonic() + seconds
        while True:
            status = await self.status(portfolio_id)
            if is_finished(status):
                return status
            if time.monotonic() + poll > until:
                raise not_in_time(status, seconds)
            await asyncio.sleep(poll)

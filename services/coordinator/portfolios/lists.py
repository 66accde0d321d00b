"""Pages of the list of portfolios, as JSON. Of a page only the lines are read and encoded again whose portfolios were changed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.states import Need
from services.coordinator.portfolios import list_store
from services.coordinator.results import list_figures, states
from services.coordinator.results.states import Overview
from shared.clock import Clock
from shared.ledger import portfolio_changes
from shared.market.calendar import closures
from shared.market.registry import COVERAGE_GATE

# Some six hundred bytes a line.
MOST_TENANTS, MOST_PAGES, MOST_LINES = 16, 4, 10_000


class Page(NamedTuple):
    """Lines of the list, with commas between; the cursor of the next page, None of the last."""

    items: bytes
    further: str | None


class Line(NamedTuple):
    """A line, and what its portfolio's units waited for that only the reader can end."""

    needs: tuple[Need, ...]
    text: bytes


class Lists:
    """The last pages and their lines. What is answered is what the database has in the snapshot of `conn`.

    A page is answered again while nothing was committed. After a commit its lines are, but for those that depend on it: a line
    depends on rows of its portfolio, whose changes are noted with them (`shared.ledger.portfolio_changes`), on the calendar and the
    day, and on prices that are held back: these few are read for every page, and compared.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        """To be held from before the snapshot until the page is there, so that no snapshot is older than what is kept; and a page that
        many ask for after a commit is read once."""
        self._pages: OrderedDict[Hashable, Page] = OrderedDict()
        self._lines: dict[UUID, Line] = {}
        self._seen: portfolio_changes.Seen | None = None
        self._days: Hashable = None

    async def page(self, conn: AsyncConnection, clock: Clock, *, limit: int, after: UUID | None) -> Page:
        """Up to `limit` portfolios in order of creation. Under the closures that the caller runs under."""
        await self._drop_changed(conn, (clock.last_due(), closures()))
        key = limit, after
        known = self._pages.get(key)
        if known is None:
            ids = await list_store.find_ids(conn, limit=limit + 1, after=after)
            lines = await self._read(conn, clock, ids[:limit])
            known = self._pages[key] = Page(b",".join(lines), str(ids[limit - 1]) if len(ids) > limit else None)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        return known

    async def _drop_changed(self, conn: AsyncConnection, days: Hashable) -> None:
        """Forget what may be otherwise in the snapshot of `conn`."""
        seen, changed = await portfolio_changes.read(conn, self._seen)
        if changed is None or days != self._days:
            self._lines.clear()
            self._pages.clear()
        elif not seen.sees_the_same(self._seen):
            for of in changed:
                self._lines.pop(of, None)
            self._pages.clear()
        self._seen, self._days = seen, days

    async def _read(self, conn: AsyncConnection, clock: Clock, ids: Sequence[UUID]) -> list[bytes]:
        needs = await states.find_held_back(conn, ids)
        known = self._lines
        unread = [of for of in ids if (line := known.get(of)) is None or line.needs != needs.get(of, ())]
        known |= {
            of: Line(needs.get(of, ()), line) for of, line in (await _read_lines(conn, clock, unread, needs)).items()
        }
        found = [known[of].text for of in ids]
        while len(known) > MOST_LINES:
            del known[next(iter(known))]
        return found


class TenantLists:
    """Of each tenant its own, since each sees what was changed of its own portfolios alone; of those that asked last."""

    def __init__(self) -> None:
        self._of: OrderedDict[UUID | None, Lists] = OrderedDict()

    def of(self, tenant: UUID | None) -> Lists:
        """None: of whoever sees all of the installation."""
        found = self._of.setdefault(tenant, Lists())
        self._of.move_to_end(tenant)
        while len(self._of) > MOST_TENANTS:
            self._of.popitem(last=False)
        return found


async def _read_lines(
    conn: AsyncConnection, clock: Clock, ids: Sequence[UUID], needs: Mapping[UUID, tuple[Need, ...]]
) -> dict[UUID, bytes]:
    if not ids:
        return {}
    headers = await list_store.read_headers(conn, ids)
    overviews = await states.read_without_waits(conn, clock, ids, needs)
    figures = await list_figures.read(conn, overviews)
    # A thousand lines are some milliseconds, in which nobody else would be served.
    return await asyncio.to_thread(
        lambda: {
            of: to_json(
                portfolio_line(headers[of], figures.get(of, list_figures.NONE), overviews[of]), inf_nan_mode="null"
            )
            for of in ids
        }
    )


def portfolio_line(row: Mapping[str, Any], figures: Mapping[str, Any], overview: Overview) -> dict[str, Any]:
    """One line of the list of portfolios. `needs_you` is how many things need the reader; the status names them."""
    completeness, to = overview.completeness, overview.extent.complete_to
    return {
        **figures,
        **row,
        "id": str(row["id"]),
        "state": completeness.state,
        "coverage_min": completeness.coverage,
        "coverage_gate": COVERAGE_GATE,
        "needs_you": len(completeness.needs),
        "complete_to": None if to is None else to.isoformat(),
    }

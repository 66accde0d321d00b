"""Units whose data is all known are completed under the commit-order lock: in the transaction that writes, or in parts of their own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.store import quality, readiness, waiting
from services.ingest.workflow.quality import Ahead, assess, assess_ahead, lookbacks_of
from shared import ledger
from shared.clock import Clock
from shared.db.closures import assert_calendar_current
from shared.db.engine import acquire_commit_order_lock, assert_commit_order_lock, snapshot
from shared.ledger import Completed
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.telemetry import logger
from shared.work import Phase, UnitKey, cut, group_units

log = logger(__name__)

# Units of other portfolios that one write completes along with its own; the rest have events of their own.
MAX_OTHERS = 20_000
# Lots without a price times sessions that are completed at once: each may be a reason of its own to write, and whoever adds or
# changes something waits meanwhile.
MAX_SHORT = 50_000
# Lots times sessions that are completed in the transaction that writes, where all that they lack is worked out behind the lock.
MAX_AT_ONCE = 10_000


class Patience(NamedTuple):
    """How long a unit waits for what may still come, in seconds from when it became required; and who may be asked."""

    seconds: float
    chain: str


@dataclass(frozen=True)
class Candidates:
    """Portfolios and sessions, ascending, of which something may have become ready; and how many lots the portfolios have."""

    portfolios: Sequence[UUID]
    sessions: Sequence[date]
    lots: int

    @property
    def are_few(self) -> bool:
        """Whether all of them may be completed at once, in the transaction that writes, whatever they lack."""
        return self.lots * len(self.sessions) <= MAX_AT_ONCE


class Completer:
    """Completes missing units whose data is all known, and says so.

    wake : called after each part that was committed, so that nobody waits for the last
    """

    def __init__(self, engine: AsyncEngine, clock: Clock, patience: Patience, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._patience = patience
        self._wake = wake

    async def find_candidates(
        self, portfolios: Collection[UUID], sessions: Sequence[date], changed_symbols: Collection[str] = ()
    ) -> Candidates:
        """The portfolios, and with `changed_symbols` others that hold one of them: forty events of one night fetch each symbol once,
        and whoever writes the last symbol a portfolio waits for completes it.

        It needs no lock: a portfolio that is added meanwhile has an event of its own.
        """
        wanted = set(portfolios)
        async with self._engine.connect() as conn:
            if changed_symbols:
                limit = MAX_OTHERS // len(sessions)
                wanted |= set(await readiness.portfolios_holding(conn, changed_symbols, sessions, limit))
            found = sorted(wanted)
            return Candidates(found, sessions, await readiness.count_lots(conn, found))

    async def complete(
        self,
        conn: AsyncConnection,
        portfolios: Collection[UUID],
        sessions: Sequence[date],
        ahead: Ahead | None = None,
    ) -> Completed:
        """Complete every missing unit of the portfolios on the sessions whose data is all known.

        And those of which something has been waited for longer than patience lasts, if it is less of their value than a figure may
        lack. A price that comes later finds its absence written down, and demands them anew: so does one of a factor proxy that
        nobody had been asked for.

        Needs the commit-order lock: a completion must not slip between a corrected price and its look at which units have used the
        old one.

        ahead : what the units will say of themselves, where it was worked out before the lock
        """
        await assert_commit_order_lock(conn)
        calendar = self._clock.calendar()
        lookbacks = lookbacks_of(sessions, calendar)
        found = await self._find_ready(conn, portfolios, lookbacks)
        overdue = await quality.within_gate(conn, found.overdue, lookbacks)
        outcomes = await assess(conn, [*found.known, *overdue], lookbacks, ahead)
        raised = await ledger.complete(conn, Phase.INGEST, outcomes, None if ahead is None else ahead.reasons)
        failpoint("phase.after_completion")
        if overdue:
            log.info("patience_ran_out", units=len(overdue), portfolios=len({unit.portfolio_id for unit in overdue}))
        if raised:
            await self._record_unasked_proxies(conn, raised)
            await outbox.publish_completions(conn, Phase.INGEST, raised.keys, sessions_between(raised.keys, calendar))
            failpoint("phase.after_results")
            await ledger.record_progress(conn, Phase.INGEST, sorted({key.portfolio_id for key in raised.keys}))
        return raised

    async def complete_in_parts(self, candidates: Candidates) -> Completed:
        """Complete what several transactions have written, or what is too much for one, in as many as it takes.

        Looks first without the commit-order lock: of fifty thousand lots that takes long, and while prices are to come it is in
        vain. Whoever commits the last price that a unit waits for sees the others'.
        """
        portfolios, sessions = candidates.portfolios, candidates.sessions
        lookbacks = lookbacks_of(sessions, self._clock.calendar())
        async with self._engine.connect() as conn:
            found = await self._find_ready(conn, portfolios, lookbacks)
            short = await readiness.count_absences(conn, portfolios, lookbacks[sessions[0]], sessions[-1])
        units = [*found.known, *found.overdue]
        done = Completed({})
        for part in cut(
            group_units(units), sessions, rows=lambda ids: sum(short.get(id_, 0) for id_ in ids), max_rows=MAX_SHORT
        ):
            # In a thread, and encoded: in a process that computes much else it is most of what others would wait for.
            async with snapshot(self._engine) as conn:
                ahead = await assess_ahead(conn, list(part.units), lookbacks)
            async with self._engine.begin() as conn:
                await acquire_commit_order_lock(conn)
                await assert_calendar_current(conn)
                done |= await self.complete(conn, part.portfolios, part.sessions, ahead)
                failpoint("phase.before_commit")
            self._wake()
        return done

    async def _find_ready(
        self, conn: AsyncConnection, portfolios: Collection[UUID], lookbacks: Mapping[date, date]
    ) -> readiness.Readiness:
        if not portfolios:
            return readiness.Readiness([], [])
        return await readiness.ready(
            conn, sorted(portfolios), list(lookbacks), list(lookbacks.values()), self._patience.seconds
        )

    async def _record_unasked_proxies(self, conn: AsyncConnection, raised: Completed) -> None:
        sessions, calendar = [key.session for key in raised.keys], self._clock.calendar()
        first = calendar.back(min(sessions), LOOKBACK)
        chain = self._patience.chain
        unasked = await waiting.record_unasked(conn, PROXY_SYMBOLS, first, max(sessions), chain, calendar)
        if unasked:
            log.info("proxies_not_asked_yet", symbols=unasked)


def sessions_between(keys: Collection[UnitKey], calendar: Calendar) -> list[date]:
    return calendar.between(min(key.session for key in keys), max(key.session for key in keys))

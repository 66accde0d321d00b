"""The ingest phase: claim what is not known, fetch it, write it, in several transactions if it is much, and complete what is ready."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.compute.requests import (
    full_request,
    in_parts,
    refresh_requests,
    retry_requests,
    without_asking,
)
from services.ingest.compute.retry_policy import TRANSIENT
from services.ingest.compute.rows import FILE
from services.ingest.compute.write_parts import in_transactions
from services.ingest.model.stored import PendingRefresh
from services.ingest.model.write_set import CarriedForwardGap, FetchRequest
from services.ingest.providers.chain import Chain
from services.ingest.store import prices, refresh, remap, universe, waiting
from services.ingest.workflow import planning
from services.ingest.workflow.complete import Completer, Patience
from services.ingest.workflow.fetching import Fetcher
from services.ingest.workflow.symbol_lease import SymbolLease, SymbolLeaseLost, lease_symbols
from services.ingest.workflow.write import write_rows
from shared import ledger
from shared.clock import Clock
from shared.db.closures import assert_calendar_current
from shared.db.engine import acquire_commit_order_lock
from shared.errors import TransientError
from shared.ledger import Completed
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS
from shared.messaging.failpoints import failpoint
from shared.telemetry import logger
from shared.work import Batch, Phase, UnitKey

log = logger(__name__)

# Somebody else is fetching what we need: look again this often, and give up once a claim must have run out twice.
WAIT_SECONDS = 0.2
# How long a unit waits for what may still come, unless the settings say otherwise.
PATIENCE = 600.0
CLAIM_WAIT_SECONDS = 150.0
RETRIES_AT_ONCE = 500


class IngestWorker:
    """Implements `shared.phase.workers.BatchWorker`."""

    phase = Phase.INGEST

    def __init__(
        self,
        engine: AsyncEngine,
        chain: Chain,
        clock: Clock,
        *,
        bind: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
        everybodys: Sequence[str] = (),
    ) -> None:
        """
        bind     : called on the event loop before the chain is asked in a thread, for quotas that live in the database
        wake     : called after each commit that may have announced something: a batch has several, and nobody waits for its end
        patience : seconds a unit waits for what may still come
        everybodys : as `planning.uncovered_symbols` has it
        """
        self._everybodys = tuple(everybodys)
        self._patience = patience
        self._completer = Completer(engine, clock, Patience(patience, chain.name), wake)
        self._engine = engine
        self._wake = wake
        self._chain = chain
        self._clock = clock
        self._fetcher = Fetcher(engine, chain, clock, bind)
        # Politeness only: who could not answer a refresh, or about a replacement, is not asked again at once.
        self._not_before = 0.0
        self._replacing_not_before = 0.0

    @property
    def _calendar(self) -> Calendar:
        return self._clock.calendar()

    async def run_batch(self, batch: Batch) -> Completed:
        """Complete a batch: fetch the symbols without coverage, then complete its units and whatever else became ready."""
        await self.remap_changed()
        await self.refresh(batch.portfolios)
        done = Completed({})
        deadline = asyncio.get_running_loop().time() + CLAIM_WAIT_SECONDS
        while lacking := await planning.uncovered_symbols(self._engine, batch, self._calendar, self._everybodys):
            async with lease_symbols(self._engine, list(lacking)) as claim:
                try:
                    asks, known_absent = await planning.plan_requests(
                        self._engine, claim.symbols, lacking, self._chain.name, self._calendar
                    )
                    for part in in_parts(asks, self._calendar):
                        done |= await self._fetch_and_write(claim, part, batch.portfolios, batch.sessions)
                    if known_absent:
                        done |= await self._carry_forward(claim, known_absent, batch)
                except SymbolLeaseLost as lost:
                    log.warning("claim_lost", error=str(lost))
            if not claim.symbols:
                if asyncio.get_running_loop().time() > deadline:
                    raise TransientError(
                        f"{len(lacking)} symbols are still leased by another worker, {min(lacking)} among them"
                    )
                await asyncio.sleep(WAIT_SECONDS)
        return await self._complete(batch, done) if _portfolios_left(batch, done) else done

    async def refresh(self, portfolios: Sequence[UUID] | None = None) -> int:
        """Ask anew for what a person wants asked anew although it is known; returns for how many symbols somebody answered.

        What is stored stands meanwhile: a unit never waits for this, and a correction demands whatever it went into. Who could
        not answer is asked again later.
        """
        loop = asyncio.get_running_loop()
        async with self._engine.connect() as conn:
            wanted = {mark.symbol: mark for mark in await refresh.pending_refreshes(conn, PROXY_SYMBOLS, portfolios)}
        if not wanted or loop.time() < self._not_before:
            return 0
        answered: list[PendingRefresh] = []
        async with lease_symbols(self._engine, list(wanted)) as claim:
            async with self._engine.connect() as conn:
                gaps = await universe.gaps(conn, [symbol.id for symbol in claim.symbols], self._calendar)
            asks = [
                ask
                for symbol in claim.symbols
                for ask in refresh_requests(symbol, wanted[symbol.symbol].first, wanted[symbol.symbol].last,
                                gaps.get(symbol.id, ()), self._calendar)
            ]  # fmt: skip
            for part in in_parts(asks, self._calendar):
                silent: set[str] = set()
                first, last = min(ask.first for ask in part), max(ask.last for ask in part)
                await self._fetch_and_write(claim, part, (), self._calendar.between(first, last), silent)
                answered += [wanted[ask.symbol] for ask in part if ask.symbol not in silent]
            if len(answered) < len(asks):
                self._not_before = loop.time() + TRANSIENT.total_seconds()
            async with self._engine.begin() as conn:
                await refresh.mark_refreshed(conn, answered)
        return len(answered)

    async def retry_due(self) -> int:
        """Ask again for absences whose time has come; returns how many symbols were asked for.

        Independent of units: a price that arrives demands anew whatever its absence went into.
        """
        others = await self.remap_changed()
        async with self._engine.connect() as conn:
            due = await universe.due_retries(conn, RETRIES_AT_ONCE)
        if not due:
            return others
        async with lease_symbols(self._engine, list(due)) as claim:
            # Another replica may have asked between the look and the claim.
            async with self._engine.connect() as conn:
                due = await universe.due_retries(conn, RETRIES_AT_ONCE, [symbol.symbol for symbol in claim.symbols])
            asks = [
                ask
                for symbol in claim.symbols
                for ask in retry_requests(symbol, due.get(symbol.symbol, ()), self._calendar)
            ]
            for part in in_parts(asks, self._calendar):
                first = min(self._calendar.session(low) for ask in part for low, _ in ask.checked)
                last = max(self._calendar.session(high) for ask in part for _, high in ask.checked)
                reach = min(self._calendar.forward(last, LOOKBACK), self._clock.last_due())
                await self._fetch_and_write(claim, part, (), self._calendar.between(first, reach))
        return others + len(asks)

    async def remap_changed(self) -> int:
        """Prices that were fetched before the user said which security is meant are replaced by its own; returns of how many symbols.

        What used them is demanded anew. Until somebody answers about the one that is meant, what is stored stays.
        """
        async with self._engine.connect() as conn:
            mistaken = [choice.symbol for choice in await remap.pending_remaps(conn)]
        loop = asyncio.get_running_loop()
        if not mistaken or loop.time() < self._replacing_not_before:
            return 0
        count = 0
        async with lease_symbols(self._engine, mistaken) as claim:
            for symbol in claim.symbols:
                ask = full_request(symbol, self._calendar)
                silent: set[str] = set()
                reach = min(self._calendar.forward(ask.last, LOOKBACK), self._clock.last_due())
                sessions = self._calendar.between(ask.first, reach)
                await self._fetch_and_write(claim, [ask], (), sessions, silent, replacing=True)
                count += not silent
                if silent:
                    self._replacing_not_before = loop.time() + TRANSIENT.total_seconds()
        return count

    async def ask_again(self, *, always: bool = False) -> int:
        """What other providers did not have is asked for once more, or everything: at the start, or when a file was replaced."""
        self._not_before = 0.0
        async with self._engine.begin() as conn:
            return await universe.reset_retries(
                conn, other_than=self._chain.name, always=always or self._chain.name == FILE
            )

    async def _carry_forward(self, claim: SymbolLease, absent: Sequence[CarriedForwardGap], batch: Batch) -> Completed:
        """Extend known absences without a request."""
        rows = without_asking(absent)
        candidates = await self._completer.find_candidates(
            batch.portfolios, batch.sessions, {known.ask.symbol for known in absent}
        )
        async with self._engine.begin() as conn:
            now = await prices.database_time(conn)
            await prices.stage(conn, ())
            await acquire_commit_order_lock(conn)
            await assert_calendar_current(conn)
            await claim.assert_owned(conn, {known.ask.symbol_id for known in absent})
            await write_rows(conn, [known.ask for known in absent], rows, self._clock, now=now)
            raised = (
                await self._completer.complete(conn, candidates.portfolios, batch.sessions)
                if candidates.are_few
                else None
            )
        if raised is None:
            raised = await self._completer.complete_in_parts(candidates)
        self._wake()
        return raised

    async def _fetch_and_write(
        self,
        claim: SymbolLease,
        asks: Sequence[FetchRequest],
        portfolios: Sequence[UUID],
        sessions: Sequence[date],
        silent: set[str] | None = None,
        *,
        replacing: bool = False,
    ) -> Completed:
        """Fetch outside any transaction, then write and complete. `silent` takes the symbols nobody could answer about.

        In one transaction; where that would hold the commit-order lock for long, in several, and completion is the last.
        Raises `SymbolLeaseLost`, with nothing more written, when somebody else took a symbol over meanwhile.
        """
        asks, rows, now, unanswered = await self._fetcher.fetch(asks)
        if silent is not None:
            silent |= unanswered
        if replacing:
            if unanswered:
                return Completed({})
            asks = [replace(ask, known=(ask.first, ask.last)) for ask in asks]
        failpoint("phase.before_compute")
        demanded, raised = 0, None
        candidates = await self._completer.find_candidates(portfolios, sessions, {ask.symbol for ask in asks})
        parts = list(in_transactions(asks, rows))
        at_once = len(parts) == 1 and candidates.are_few
        for some, part in parts:
            async with self._engine.begin() as conn:
                await prices.stage(conn, part.prices)
                await acquire_commit_order_lock(conn)
                await assert_calendar_current(conn)
                await claim.assert_owned(conn, {ask.symbol_id for ask in some})
                demanded += await write_rows(conn, some, part, self._clock, now=now, replaced=replacing)
                if at_once:
                    raised = await self._completer.complete(conn, candidates.portfolios, sessions)
                    failpoint("phase.before_commit")
        if raised is None:
            raised = await self._completer.complete_in_parts(candidates)
        self._wake()
        counts = {
            "symbols": len(rows.checked),
            "rows": len(rows.prices),
            "completed": len(raised.keys),
            "demanded": demanded,
        }
        log.info("prices_written", **counts)
        return raised

    async def _complete(self, batch: Batch, done: Completed) -> Completed:
        """Everything is known: complete. What still comes holds units back, until it is asked for again or patience runs out."""
        candidates = await self._completer.find_candidates(batch.portfolios, batch.sessions)
        if not candidates.are_few:
            done |= await self._completer.complete_in_parts(candidates)
        if _portfolios_left(batch, done):
            async with self._engine.begin() as conn:
                await acquire_commit_order_lock(conn)
                await assert_calendar_current(conn)
                done |= await self._completer.complete(conn, candidates.portfolios, batch.sessions)
                if portfolios := _portfolios_left(batch, done):
                    found = await waiting.find_waits(conn, portfolios, batch.first, batch.last, self._patience)
                    await ledger.defer_each(conn, Phase.INGEST, found)
                    failpoint("deferral.before_commit")
                failpoint("phase.before_commit")
        self._wake()
        return done


def _portfolios_left(batch: Batch, done: Completed) -> list[UUID]:
    """Of which portfolios the batch has units that are not done, ascending."""
    return sorted(
        {unit.portfolio_id for unit in batch.units if UnitKey(unit.portfolio_id, unit.session) not in done.keys}
    )

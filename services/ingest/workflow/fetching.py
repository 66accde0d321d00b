"""From questions to rows: asked outside any transaction, compared with what is stored, and asked more widely where it does not fit."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from math import expm1
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.compute.bars import on_sessions
from services.ingest.compute.price_basis import acting, hold, listed_elsewhere, off_basis, widened
from services.ingest.compute.requests import Ask
from services.ingest.compute.rows import assemble
from services.ingest.compute.splits import Crossing, unadjusted
from services.ingest.model.market import LISTED_LATE, Absent
from services.ingest.model.write_set import Rows
from services.ingest.providers.chain import Chain, Fetched
from services.ingest.store import aliases, prices, quarantine, universe, vintage
from services.ingest.store.aliases import Alias, Found
from services.ingest.store.quarantine import Jump
from services.ingest.store.vintage import Sample
from services.ingest.workflow.names import candidates, choice_of, fetch, request_of
from services.ingest.workflow.quarantine import WINDOW, Doubts, examined
from shared.clock import Clock
from shared.telemetry import logger

log = logger(__name__)


class Fetch(NamedTuple):
    """What one write transaction is about: the questions that were asked in the end, their rows, and when it was begun.

    silent : symbols nobody could answer about
    """

    asks: list[Ask]
    rows: Rows
    now: datetime
    silent: set[str]


class Fetcher:
    """Asks the chain, in threads; reads what is stored in between."""

    def __init__(self, engine: AsyncEngine, chain: Chain, clock: Clock, bind: Callable[[], None]) -> None:
        self._engine = engine
        self._chain = chain
        self._clock = clock
        self._bind = bind

    async def fetch(self, asks: Sequence[Ask]) -> Fetch:
        """Answers as rows. An answer that does not fit what is stored of its symbol is asked for again, over all that is known."""
        async with self._engine.connect() as conn:
            now = await prices.database_time(conn)
            names = await aliases.read(conn, [ask.symbol for ask in asks])
            ids = sorted({ask.symbol_id for ask in asks if ask.known})
            doubts = Doubts({}, await quarantine.known(conn, ids))
            if self._chain.has_second or doubts.known:
                doubts = doubts._replace(sigmas=await quarantine.sigmas(conn, ids, WINDOW))
        self._bind()
        fetched, renames = await self._ask(asks, names)
        jumps: list[Jump] = []
        misfits = await self._misfits(asks, fetched, doubts)
        fresh = [
            index for index, ask in enumerate(asks) if ask.known is None and self._early(ask, fetched[index], doubts)
        ]
        if fresh:
            jumps += await self._judged([asks[i] for i in fresh], [fetched[i] for i in fresh], doubts, names)
        if misfits:
            log.info("basis_moved", symbols=sorted({ask.symbol for ask in asks if ask.symbol_id in misfits})[:20])
            wide = await self._widened(asks, misfits)
            again, more = await self._ask(wide, names)
            jumps += await self._judged(wide, again, doubts, names)
            kept = [index for index, ask in enumerate(asks) if ask.symbol_id not in misfits]
            asks = [*(asks[index] for index in kept), *wide]
            fetched = [*(fetched[index] for index in kept), *again]
            renames = [*renames, *more]
        async with self._engine.connect() as conn:
            with_anchor = [index for index, ask in enumerate(asks) if ask.known]
            anchors = await prices.anchors(
                conn, [(asks[index].symbol_id, asks[index].first, asks[index].last) for index in with_anchor]
            )
            stored = (
                await vintage.samples(conn, [(asks[i].symbol_id, asks[i].first, asks[i].last) for i in with_anchor])
                if doubts.sigmas
                else {}
            )
        levels = {with_anchor[index]: level for index, level in anchors.items()}
        samples = {with_anchor[index]: sample for index, sample in stored.items()}
        self._bind()
        rows = await asyncio.to_thread(self._rows, asks, fetched, levels, now, doubts, jumps, samples)
        chosen = {ask.symbol_id: choice_of(ask, names) for ask in asks}
        silent = {answer.request.symbol for answer in fetched if answer.absent is not None and answer.absent.transient}
        rows = replace(
            rows, renames=renames, candidates=candidates(asks, fetched), decided=doubts.followed(asks), chosen=chosen
        )
        return Fetch(list(asks), rows, now, silent)

    async def _ask(self, asks: Sequence[Ask], names: dict[str, list[Alias]]) -> tuple[list[Fetched], list[Found]]:
        fetched, renames = await asyncio.to_thread(fetch, self._chain, asks, names)
        on_sessions(fetched, self._clock.calendar())
        return fetched, renames

    async def _misfits(self, asks: Sequence[Ask], fetched: Sequence[Fetched], doubts: Doubts) -> set[int]:
        """Ids of the symbols whose answers are on another basis than what is stored, or on none, or list actions that it lacks; and of
        those whose stored closes break off at a stored split."""
        calendar = self._clock.calendar()
        known = [index for index, ask in enumerate(asks) if ask.known]
        async with self._engine.connect() as conn:
            found = await vintage.samples(conn, [(asks[i].symbol_id, asks[i].first, asks[i].last) for i in known])
            samples = {known[place]: sample for place, sample in found.items()}
            listed = listed_elsewhere(asks, fetched, samples, calendar)
            misfits = await vintage.unknown(conn, listed)
            edges = [
                (asks[i].symbol_id, asks[i].first, part.provider)
                for i in known
                if (part := acting(fetched[i])) is not None and asks[i].first > (asks[i].known or (date.max,))[0]
            ]
            misfits |= await vintage.withdrawn(conn, edges, listed)
            misfits |= await vintage.broken(conn, sorted({asks[i].symbol_id for i in known}), LISTED_LATE)
        misfits |= {asks[i].symbol_id for i in known if self._early(asks[i], fetched[i], doubts)}
        for index, sample in samples.items():
            ask = asks[index]
            if off_basis(fetched[index], sample, calendar) and not self._believed(ask, fetched[index], sample, doubts):
                misfits.add(ask.symbol_id)
        return misfits

    def _early(self, ask: Ask, answer: Fetched, doubts: Doubts) -> list[Crossing]:
        """Splits that the answer lists and is not adjusted for, but for days an operator said are true as they stand."""
        found = (one for part in answer.parts for one in unadjusted(part.history, self._clock.calendar()))
        known = doubts.known
        return [one for one in found if not ((seen := known.get((ask.symbol_id, one.session))) and seen.believed)]

    def _believed(self, ask: Ask, answer: Fetched, samples: Sequence[Sample], doubts: Doubts) -> bool:
        """Whether an operator said that the price after the stored ones is true, whatever moved."""
        session = _after(answer, samples)
        doubt = doubts.known.get((ask.symbol_id, session)) if session else None
        return doubt is not None and doubt.believed is True

    async def _widened(self, asks: Sequence[Ask], misfits: set[int]) -> list[Ask]:
        calendar = self._clock.calendar()
        async with self._engine.connect() as conn:
            gaps = await universe.gaps(conn, sorted(misfits), calendar)
        return [
            widened([ask for ask in asks if ask.symbol_id == id_], gaps.get(id_, ()), calendar)
            for id_ in sorted(misfits)
        ]

    async def _judged(
        self, wide: Sequence[Ask], fetched: Sequence[Fetched], doubts: Doubts, names: dict[str, list[Alias]]
    ) -> list[Jump]:
        """What the wide answers do not explain is taken from a second provider, or not at all; the latter as jumps."""
        calendar = self._clock.calendar()
        async with self._engine.connect() as conn:
            samples = await vintage.samples(conn, [(ask.symbol_id, ask.first, ask.last) for ask in wide])
            splits = await vintage.splits(conn, [ask.symbol_id for ask in wide])
        jumps = []
        for index, (ask, answer) in enumerate(zip(wide, fetched, strict=True)):
            stored, own = samples.get(index, []), splits.get(ask.symbol_id, {})
            early = self._early(ask, answer, doubts)
            if not answer.parts or not (early or off_basis(answer, stored, calendar, own)):
                continue
            first = answer.parts[0]
            self._bind()
            other = await asyncio.to_thread(self._chain.second_opinion, request_of(ask, names), first.provider)
            if other is not None and not isinstance(other, Absent):
                second = Fetched(ask.request, [other], asked=(*answer.asked, other.provider))
                on_sessions([second], calendar)
                fits = not self._early(ask, second, doubts) and not off_basis(second, stored, calendar, own)
                if second.parts and fits:
                    answer.parts, answer.absent, answer.asked = second.parts, second.absent, second.asked
                    continue
            session = early[0].session if early else _after(answer, stored)
            closes = dict(zip(first.history.bars.sessions.tolist(), first.history.bars.close.tolist(), strict=True))
            if session is not None:
                jump = expm1(early[0].move) if early else closes[session] / stored[-1].close - 1.0
                sigma = doubts.sigmas.get(ask.symbol_id, 0.0)
                who = other.provider if other is not None and not isinstance(other, Absent) else None
                jumps.append(Jump(ask.symbol_id, session, first.provider, jump, sigma, who, None, confirmed=False))
            log.warning("basis_unexplained", symbol=ask.symbol, provider=first.provider, since=str(session))
            hold(answer)
        return jumps

    def _rows(
        self,
        asks: Sequence[Ask],
        fetched: list[Fetched],
        levels: dict[int, tuple[date, float]],
        now: datetime,
        doubts: Doubts,
        jumps: list[Jump],
        stored: dict[int, list[Sample]],
    ) -> Rows:
        calendar = self._clock.calendar()
        second = self._chain.second_opinion
        jumps = jumps + examined(asks, fetched, doubts.sigmas, doubts.known, calendar, second, stored)
        return assemble(
            asks, fetched, levels, calendar,
            chain=self._chain.name, now=now, newest=self._clock.last_due(), jumps=jumps,
        )  # fmt: skip


def _after(answer: Fetched, samples: Sequence[Sample]) -> date | None:
    """The first session of the first source after the last stored price."""
    if not samples or not answer.parts:
        return None
    days = (day for day in answer.parts[0].history.bars.sessions.tolist() if day > samples[-1].session)
    return next(days, None)

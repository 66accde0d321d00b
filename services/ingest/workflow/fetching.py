"""Fetch outside any transaction, compare with stored prices, and refetch more widely where they do not fit."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from math import expm1
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.compute.bars import on_sessions
from services.ingest.compute.outliers import WINDOW
from services.ingest.compute.price_basis import (
    basis_mismatch,
    listed_actions,
    series_with_actions,
    widen_request,
    withhold,
)
from services.ingest.compute.rows import build_rows
from services.ingest.compute.splits import Crossing, unadjusted_splits
from services.ingest.model.market import LISTED_LATE, ChainResult, NoData
from services.ingest.model.stored import Alias, Found, PriceOutlier, StoredClose
from services.ingest.model.write_set import FetchRequest, WriteSet
from services.ingest.providers.chain import Chain
from services.ingest.store import aliases, price_basis, prices, quarantine, universe
from services.ingest.workflow.quarantine import OutlierInputs, detect_outliers
from services.ingest.workflow.symbology import candidates, choice_of, fetch, request_of
from shared import progress
from shared.clock import Clock
from shared.telemetry import logger

log = logger(__name__)


class Fetch(NamedTuple):
    """What one write transaction is about: the questions that were asked in the end, their rows, and when it was begun.

    silent : symbols nobody could answer about
    """

    asks: list[FetchRequest]
    rows: WriteSet
    now: datetime
    silent: set[str]


class Fetcher:
    """Asks the chain, in threads; reads what is stored in between."""

    def __init__(self, engine: AsyncEngine, chain: Chain, clock: Clock, bind: Callable[[], None]) -> None:
        self._engine = engine
        self._chain = chain
        self._clock = clock
        self._bind = bind

    async def fetch(self, asks: Sequence[FetchRequest]) -> Fetch:
        """Answers as rows. An answer that does not fit what is stored of its symbol is asked for again, over all that is known."""
        async with self._engine.connect() as conn:
            now = await prices.database_time(conn)
            names = await aliases.read(conn, [ask.symbol for ask in asks])
            ids = sorted({ask.symbol_id for ask in asks if ask.known})
            doubts = OutlierInputs({}, await quarantine.find_decisions(conn, ids))
            if self._chain.has_second or doubts.known:
                doubts = doubts._replace(sigmas=await quarantine.return_sigmas(conn, ids, WINDOW))
        self._bind()
        fetched, renames = await self._ask(asks, names)
        progress.report()
        jumps: list[PriceOutlier] = []
        misfits = await self._basis_mismatches(asks, fetched, doubts)
        fresh = [
            index
            for index, ask in enumerate(asks)
            if ask.known is None and self._unadjusted_splits(ask, fetched[index], doubts)
        ]
        if fresh:
            jumps += await self._resolve_mismatches(
                [asks[i] for i in fresh], [fetched[i] for i in fresh], doubts, names
            )
        if misfits:
            log.info("basis_moved", symbols=sorted({ask.symbol for ask in asks if ask.symbol_id in misfits})[:20])
            wide = await self._widened(asks, misfits)
            again, more = await self._ask(wide, names)
            jumps += await self._resolve_mismatches(wide, again, doubts, names)
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
                await price_basis.stored_closes(
                    conn, [(asks[i].symbol_id, asks[i].first, asks[i].last) for i in with_anchor]
                )
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
            rows,
            renames=renames,
            candidates=candidates(asks, fetched),
            decided=doubts.decisions_applied(asks),
            chosen=chosen,
        )
        return Fetch(list(asks), rows, now, silent)

    async def _ask(
        self, asks: Sequence[FetchRequest], names: dict[str, list[Alias]]
    ) -> tuple[list[ChainResult], list[Found]]:
        fetched, renames = await asyncio.to_thread(fetch, self._chain, asks, names)
        on_sessions(fetched, self._clock.calendar())
        return fetched, renames

    async def _basis_mismatches(
        self, asks: Sequence[FetchRequest], fetched: Sequence[ChainResult], doubts: OutlierInputs
    ) -> set[int]:
        """Ids of the symbols whose answers are on another basis than what is stored, or on none, or list actions that it lacks; and of
        those whose stored closes break off at a stored split."""
        calendar = self._clock.calendar()
        known = [index for index, ask in enumerate(asks) if ask.known]
        async with self._engine.connect() as conn:
            found = await price_basis.stored_closes(
                conn, [(asks[i].symbol_id, asks[i].first, asks[i].last) for i in known]
            )
            samples = {known[place]: sample for place, sample in found.items()}
            listed = listed_actions(asks, fetched, samples, calendar)
            misfits = await price_basis.unknown_actions(conn, listed)
            edges = [
                (asks[i].symbol_id, asks[i].first, part.provider)
                for i in known
                if (part := series_with_actions(fetched[i])) is not None
                and asks[i].first > (asks[i].known or (date.max,))[0]
            ]
            misfits |= await price_basis.withdrawn_actions(conn, edges, listed)
            misfits |= await price_basis.unadjusted_stored_splits(
                conn, sorted({asks[i].symbol_id for i in known}), LISTED_LATE
            )
        misfits |= {asks[i].symbol_id for i in known if self._unadjusted_splits(asks[i], fetched[i], doubts)}
        for index, sample in samples.items():
            ask = asks[index]
            if basis_mismatch(fetched[index], sample, calendar) and not self._confirmed(
                ask, fetched[index], sample, doubts
            ):
                misfits.add(ask.symbol_id)
        return misfits

    def _unadjusted_splits(self, ask: FetchRequest, answer: ChainResult, doubts: OutlierInputs) -> list[Crossing]:
        """Splits that the answer lists and is not adjusted for, but for days an operator said are true as they stand."""
        found = (one for part in answer.parts for one in unadjusted_splits(part.history, self._clock.calendar()))
        known = doubts.known
        return [one for one in found if not ((seen := known.get((ask.symbol_id, one.session))) and seen.confirmed)]

    def _confirmed(
        self, ask: FetchRequest, answer: ChainResult, samples: Sequence[StoredClose], doubts: OutlierInputs
    ) -> bool:
        """Whether an operator confirmed the next price after the stored ones."""
        session = _after(answer, samples)
        doubt = doubts.known.get((ask.symbol_id, session)) if session else None
        return doubt is not None and doubt.confirmed is True

    async def _widened(self, asks: Sequence[FetchRequest], misfits: set[int]) -> list[FetchRequest]:
        calendar = self._clock.calendar()
        async with self._engine.connect() as conn:
            gaps = await universe.gaps(conn, sorted(misfits), calendar)
        return [
            widen_request([ask for ask in asks if ask.symbol_id == id_], gaps.get(id_, ()), calendar)
            for id_ in sorted(misfits)
        ]

    async def _resolve_mismatches(
        self,
        wide: Sequence[FetchRequest],
        fetched: Sequence[ChainResult],
        doubts: OutlierInputs,
        names: dict[str, list[Alias]],
    ) -> list[PriceOutlier]:
        """What the wide answers do not explain is taken from a second provider, or not at all; the latter as jumps."""
        calendar = self._clock.calendar()
        async with self._engine.connect() as conn:
            samples = await price_basis.stored_closes(conn, [(ask.symbol_id, ask.first, ask.last) for ask in wide])
            splits = await price_basis.stored_splits(conn, [ask.symbol_id for ask in wide])
        jumps = []
        for index, (ask, answer) in enumerate(zip(wide, fetched, strict=True)):
            stored, own = samples.get(index, []), splits.get(ask.symbol_id, {})
            early = self._unadjusted_splits(ask, answer, doubts)
            if not answer.parts or not (early or basis_mismatch(answer, stored, calendar, own)):
                continue
            first = answer.parts[0]
            self._bind()
            other = await asyncio.to_thread(self._chain.second_opinion, request_of(ask, names), first.provider)
            if other is not None and not isinstance(other, NoData):
                second = ChainResult(ask.request, [other], asked=(*answer.asked, other.provider))
                on_sessions([second], calendar)
                fits = not self._unadjusted_splits(ask, second, doubts) and not basis_mismatch(
                    second, stored, calendar, own
                )
                if second.parts and fits:
                    answer.parts, answer.absent, answer.asked = second.parts, second.absent, second.asked
                    continue
            session = early[0].session if early else _after(answer, stored)
            closes = dict(zip(first.history.bars.sessions.tolist(), first.history.bars.close.tolist(), strict=True))
            if session is not None:
                jump = expm1(early[0].move) if early else closes[session] / stored[-1].close - 1.0
                sigma = doubts.sigmas.get(ask.symbol_id, 0.0)
                who = other.provider if other is not None and not isinstance(other, NoData) else None
                jumps.append(
                    PriceOutlier(ask.symbol_id, session, first.provider, jump, sigma, who, None, confirmed=False)
                )
            log.warning("basis_unexplained", symbol=ask.symbol, provider=first.provider, since=str(session))
            withhold(answer)
            answer.undecided = isinstance(other, NoData)
        return jumps

    def _published_at(self) -> datetime | None:
        """When the last of the chain publishes the newest session's bars; None if they are out as soon as it is due."""
        newest = self._clock.last_due()
        return self._chain.published_at(newest)

    def _rows(
        self,
        asks: Sequence[FetchRequest],
        fetched: list[ChainResult],
        levels: dict[int, tuple[date, float]],
        now: datetime,
        doubts: OutlierInputs,
        jumps: list[PriceOutlier],
        stored: dict[int, list[StoredClose]],
    ) -> WriteSet:
        calendar = self._clock.calendar()
        second = self._chain.second_opinion
        jumps = jumps + detect_outliers(asks, fetched, doubts.sigmas, doubts.known, calendar, second, stored)
        return build_rows(
            asks, fetched, levels, calendar,
            chain=self._chain.name, now=now, newest=self._clock.last_due(), published_at=self._published_at(), jumps=jumps,
        )  # fmt: skip


def _after(answer: ChainResult, samples: Sequence[StoredClose]) -> date | None:
    """The first session of the first source after the last stored price."""
    if not samples or not answer.parts:
        return None
    days = (day for day in answer.parts[0].history.bars.sessions.tolist() if day > samples[-1].session)
    return next(days, None)

"""Fetch outside any transaction: ask, compare with what is stored, and follow the verdicts until nothing further is to be asked."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.compute.aliases import candidates, choice_of
from services.ingest.compute.bars import on_sessions
from services.ingest.compute.outliers import WINDOW
from services.ingest.compute.price_basis import widen_request
from services.ingest.compute.rows import build_rows
from services.ingest.compute.splits import Crossing, unadjusted_splits
from services.ingest.compute.verdicts import (
    AskSecond,
    Evidence,
    Fits,
    HoldBack,
    Opinion,
    Question,
    Verdict,
    Widen,
    judge,
)
from services.ingest.model.market import ChainResult, ProviderSeries
from services.ingest.model.stored import Found, PriceOutlier, StoredEvidence
from services.ingest.model.write_set import FetchRequest, WriteSet
from services.ingest.providers.chain import Chain
from services.ingest.store import evidence, prices, universe
from services.ingest.workflow.symbology import fetch
from shared import progress
from shared.clock import Clock
from shared.market.calendar import Calendar
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


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its answer, what that is judged by, and the verdict."""

    request: FetchRequest
    answer: ChainResult
    evidence: Evidence
    verdict: Verdict

    @property
    def stored_evidence(self) -> StoredEvidence:
        return self.evidence.stored

    @property
    def accepted_answer(self) -> ChainResult:
        """What is taken of the answer."""
        assert isinstance(self.verdict, (Fits, HoldBack))
        return self.verdict.answer

    @property
    def outliers(self) -> Sequence[PriceOutlier]:
        assert isinstance(self.verdict, (Fits, HoldBack))
        return self.verdict.outliers

    def of(self, ids: Collection[int]) -> bool:
        return self.request.symbol_id in ids


class Fetcher:
    """Asks the chain, in threads; reads what is stored before."""

    def __init__(self, engine: AsyncEngine, chain: Chain, clock: Clock, bind: Callable[[], None]) -> None:
        self._engine = engine
        self._chain = chain
        self._clock = clock
        self._bind = bind

    async def fetch(self, asks: Sequence[FetchRequest]) -> Fetch:
        """Answers as rows. An answer that does not fit what is stored of its symbol is asked for again, over all that is known.

        Questions keep their order; those that were widened follow the others, by symbol id.
        """
        async with self._engine.connect() as conn:
            now = await prices.database_time(conn)
        cases, renames = await self._ask(asks)
        while any(isinstance(case.verdict, (Widen, AskSecond)) for case in cases):
            misfits = {case.request.symbol_id for case in cases if isinstance(case.verdict, Widen)}
            if misfits:
                log.info(
                    "basis_moved", symbols=sorted({case.request.symbol for case in cases if case.of(misfits)})[:20]
                )
                again, found = await self._ask(await self._plan_wider(cases, misfits), decided=_has_decision(cases))
                cases = [*(case for case in cases if not case.of(misfits)), *again]
                renames = [*renames, *found]
            self._bind()
            cases = await asyncio.to_thread(self._ask_second, cases)
        rows = await asyncio.to_thread(self._rows, cases, renames, now)
        silent = {case.request.symbol for case in cases if (absent := case.accepted_answer.absent) and absent.transient}
        return Fetch([case.request for case in cases], rows, now, silent)

    async def _ask(self, asks: Sequence[FetchRequest], *, decided: bool = False) -> tuple[list[Case], list[Found]]:
        """Each question with its answer and a first verdict, and renames found on the way.

        decided : an operator has decided about outliers, so they are looked for even where there is no second source
        """
        look = decided or self._chain.has_second
        async with self._engine.connect() as conn:
            stored = await evidence.read(conn, asks, sigma_window=WINDOW, outliers=look)
        self._bind()
        fetched, renames = await asyncio.to_thread(fetch, self._chain, asks, [known.aliases for known in stored])
        progress.report()
        return await asyncio.to_thread(self._first_verdicts, asks, fetched, stored), renames

    def _first_verdicts(
        self, asks: Sequence[FetchRequest], fetched: Sequence[ChainResult], stored: Sequence[StoredEvidence]
    ) -> list[Case]:
        calendar = self._clock.calendar()
        cases = []
        for ask, delivered, known in zip(asks, fetched, stored, strict=True):
            answer = on_sessions(delivered, calendar)
            shown = Evidence(known, _find_unadjusted(answer.parts, calendar))
            cases.append(Case(ask, answer, shown, judge(ask, answer, shown, calendar)))
        return cases

    async def _plan_wider(self, cases: Sequence[Case], ids: set[int]) -> list[FetchRequest]:
        calendar = self._clock.calendar()
        async with self._engine.connect() as conn:
            gaps = await universe.gaps(conn, sorted(ids), calendar)
        return [
            widen_request(
                [case.request for case in cases if case.request.symbol_id == id_], gaps.get(id_, ()), calendar
            )
            for id_ in sorted(ids)
        ]

    def _ask_second(self, cases: Sequence[Case]) -> list[Case]:
        """The cases, those that wait for a second source with what it says. Blocks."""
        calendar = self._clock.calendar()
        return [
            self._with_opinion(case, case.verdict.question, calendar) if isinstance(case.verdict, AskSecond) else case
            for case in cases
        ]

    def _with_opinion(self, case: Case, question: Question, calendar: Calendar) -> Case:
        said = self._chain.second_opinion(question.request, question.provider)
        opinion = Opinion(said)
        if isinstance(said, ProviderSeries):
            parts = on_sessions(ChainResult(question.request, [said]), calendar).parts
            opinion = Opinion(parts[0], _find_unadjusted(parts, calendar))
        known = replace(case.evidence, opinions={**case.evidence.opinions, question: opinion})
        verdict = judge(case.request, case.answer, known, calendar)
        if isinstance(verdict, HoldBack) and verdict.unexplained:
            since = str(verdict.since)
            log.warning("basis_unexplained", symbol=case.request.symbol, provider=verdict.unexplained, since=since)
        return replace(case, evidence=known, verdict=verdict)

    def _rows(self, cases: Sequence[Case], renames: list[Found], now: datetime) -> WriteSet:
        newest = self._clock.last_due()
        rows = build_rows(
            [case.request for case in cases],
            [case.accepted_answer for case in cases],
            {
                index: case.stored_evidence.anchor
                for index, case in enumerate(cases)
                if case.stored_evidence.anchor is not None
            },
            self._clock.calendar(),
            chain=self._chain.name,
            now=now,
            newest=newest,
            # None where they are out as soon as the session is due.
            published_at=self._chain.published_at(newest),
            jumps=[outlier for case in cases for outlier in case.outliers],
        )
        return replace(
            rows,
            renames=renames,
            candidates=[found for case in cases for found in candidates(case.request, case.accepted_answer)],
            decided={
                (case.request.symbol_id, session): decision
                for case in cases
                for session, decision in case.stored_evidence.decisions_within(
                    case.request.first, case.request.last
                ).items()
            },
            chosen={case.request.symbol_id: choice_of(case.request, case.stored_evidence.aliases) for case in cases},
        )


def _has_decision(cases: Sequence[Case]) -> bool:
    return any(case.stored_evidence.decisions for case in cases)


def _find_unadjusted(parts: Sequence[ProviderSeries], calendar: Calendar) -> list[Crossing]:
    """Splits that the series list and are not adjusted for."""
    return [split for part in parts for split in unadjusted_splits(part.history, calendar)]

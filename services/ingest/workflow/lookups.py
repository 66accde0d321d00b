"""Answers to previews, from the price file alone: on disk a question costs nothing. Network providers are asked at the import."""

from __future__ import annotations

import asyncio
import difflib
import math
from collections.abc import Iterable
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.model.market import History, Request
from services.ingest.providers.file.provider import FileProvider
from services.ingest.store import lookups
from services.ingest.store.lookups import Lookup

# A holiday and a thin week; an older close says nothing about the price of a day.
BACK = timedelta(days=10)
SUGGESTIONS = 3


async def answer_open(engine: AsyncEngine, provider: FileProvider) -> int:
    """Answer what is open; returns how many. Raises `BadPriceFile` where the file cannot be read."""
    async with engine.connect() as conn:
        questions = await lookups.open_questions(conn)
    if not questions:
        return 0
    answers = await asyncio.to_thread(_answers, provider, questions)
    async with engine.begin() as conn:
        await lookups.record_answers(conn, provider.name, answers)
    return len(answers)


def _answers(provider: FileProvider, questions: Iterable[tuple[str, date]]) -> list[Lookup]:
    known = provider.symbols()
    return [_answer(provider, known, symbol, session) for symbol, session in questions]


def _answer(provider: FileProvider, known: frozenset[str], symbol: str, session: date) -> Lookup:
    if symbol not in known:
        near = difflib.get_close_matches(symbol, sorted(known), n=SUGGESTIONS, cutoff=0.6)
        return Lookup(symbol, session, found=False, company=None, close=None, adjusted=None, suggestions=tuple(near))
    [answer] = provider.fetch([Request(symbol, session - BACK, session)])
    if not isinstance(answer, History):
        return Lookup(symbol, session, found=False, company=None, close=None, adjusted=None, suggestions=())
    company = None if answer.profile is None else answer.profile.name
    closes = [float(close) for close in answer.bars.close if not math.isnan(close)]
    if not closes:
        return Lookup(symbol, session, found=True, company=company, close=None, adjusted=None, suggestions=())
    # A file's closes are adjusted for all splits it lists; as traded is before those still to come.
    later = math.prod(action.value for action in answer.actions if action.type == "split" and action.ex_date > session)
    return Lookup(
        symbol, session, found=True, company=company, close=closes[-1] * later, adjusted=closes[-1], suggestions=()
    )

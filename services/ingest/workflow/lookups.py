"""Answers to previews: from the price file, on disk, for nothing; and of a few symbols from the network, where the calls are to spare.

A preview waits for seconds and goes on without what has not been answered. So nothing here is retried, and what nobody can tell
now is answered as not asked.
"""

from __future__ import annotations

import asyncio
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.model.market import Answer, History, NoData, NoDataReason, Request
from services.ingest.providers.file.provider import FileProvider
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.store import lookups
from services.ingest.store.lookups import NOT_ASKED, Lookup
from shared.arrays import FloatVector
from shared.telemetry import logger

log = logger(__name__)

# A holiday and a thin week; an older close says nothing about the price of a day.
BACK = timedelta(days=10)
SUGGESTIONS = 3
# Of a vendor's smallest window: previews are many, and may be given up.
SHARE = 10

Question = tuple[str, date]


@dataclass(frozen=True, slots=True)
class Network:
    """Vendors a preview may be answered by, in the user's order.

    bind : the quotas' loop is this one
    at_most : questions of one turn; 0 asks nobody
    """

    vendors: Sequence[RateLimitedProvider]
    bind: Callable[[], None]
    at_most: int


async def answer_open(engine: AsyncEngine, file: FileProvider | None, network: Network | None = None) -> int:
    """Answer what is open; returns how many. Raises `BadPriceFile` where the file cannot be read."""
    async with engine.connect() as conn:
        questions = await lookups.open_questions(conn)
    if not questions:
        return 0
    answers = [] if file is None else await asyncio.to_thread(_answers, file, questions)
    if network is None or not network.vendors:
        await _record(engine, answers)
        return len(answers)
    # What the file has is known at once; the network may take a while.
    found = [answer for answer in answers if answer.found]
    await _record(engine, found)
    known = {(answer.symbol, answer.session) for answer in found}
    open_ = [question for question in questions if question not in known]
    network.bind()
    told = await asyncio.to_thread(ask_network, network, open_)
    beside = {(answer.symbol, answer.session): answer for answer in answers}
    rest = [told.get(question) or beside.get(question) or _not_asked(question) for question in open_]
    await _record(engine, rest)
    return len(found) + len(rest)


async def _record(engine: AsyncEngine, answers: Sequence[Lookup]) -> None:
    if answers:
        async with engine.begin() as conn:
            await lookups.record_answers(conn, answers)


# --- the file --------------------------------------------------------------------------------------------------------


def _answers(provider: FileProvider, questions: Iterable[Question]) -> list[Lookup]:
    known = provider.symbols()
    return [_answer(provider, known, symbol, session) for symbol, session in questions]


def _answer(provider: FileProvider, known: frozenset[str], symbol: str, session: date) -> Lookup:
    if symbol not in known:
        near = difflib.get_close_matches(symbol, sorted(known), n=SUGGESTIONS, cutoff=0.6)
        return _unknown_lookup(provider.name, (symbol, session), near)
    [answer] = provider.fetch([_request((symbol, session))])
    if not isinstance(answer, History):
        return _unknown_lookup(provider.name, (symbol, session))
    return _of_history(provider.name, (symbol, session), answer)


# --- the network -----------------------------------------------------------------------------------------------------


def ask_network(network: Network, questions: Sequence[Question]) -> dict[Question, Lookup]:
    """What vendors say of the first few questions. The first who knows a symbol is believed; one that nobody knows is unknown."""
    open_, told = list(questions[: network.at_most]), dict[Question, Lookup]()
    for vendor in network.vendors:
        if not open_:
            break
        for question, answer in _ask(vendor, open_):
            said = _of_answer(vendor.name, question, answer)
            if said is not None:
                told[question] = said
        open_ = [question for question in open_ if question not in told or not told[question].found]
    return told


def _ask(vendor: RateLimitedProvider, questions: Sequence[Question]) -> Iterable[tuple[Question, Answer]]:
    """As many of the questions as the vendor's calls to spare pay for, in one portion of the lowest priority."""
    smallest = min((window.calls for window in vendor.quota.windows), default=None)
    requests = [_request(question) for question in questions]
    while requests:
        calls = vendor.provider.calls(requests)
        if smallest is None or calls <= smallest // SHARE:
            with vendor.background(calls) as refused:
                if refused is None:
                    return list(zip(questions, vendor.provider.fetch(requests), strict=False))
        requests = requests[: len(requests) // 2]
    return []


def _of_answer(provider: str, question: Question, answer: Answer) -> Lookup | None:
    """None where the vendor has not said anything about the symbol."""
    if isinstance(answer, History):
        return _of_history(provider, question, answer)
    if answer.reason not in (NoDataReason.NOT_FOUND, NoDataReason.AMBIGUOUS):
        return None
    return _unknown_lookup(provider, question, _suggestions(answer))


def _suggestions(answer: NoData) -> list[str]:
    return [listing.symbol for listing in answer.candidates if listing.symbol != answer.symbol][:SUGGESTIONS]


# --- both ------------------------------------------------------------------------------------------------------------


def _request(question: Question) -> Request:
    symbol, session = question
    return Request(symbol, session - BACK, session)


def _unknown_lookup(provider: str, question: Question, near: Sequence[str] = ()) -> Lookup:
    return Lookup(*question, provider, found=False, company=None, close=None, adjusted=None, suggestions=tuple(near))


def _not_asked(question: Question) -> Lookup:
    return _unknown_lookup(NOT_ASKED, question)


def _of_history(provider: str, question: Question, history: History) -> Lookup:
    symbol, session = question
    company = None if history.profile is None else history.profile.name
    # Adjusted closes are so for all splits that are listed; as traded is before those still to come.
    later = math.prod(action.value for action in history.actions if action.type == "split" and action.ex_date > session)
    close, level = _last(history.bars.close), _last(history.bars.adj_close)
    if close is None:
        # What there is, is adjusted for dividends too: no close of the day, and all there is to compare with.
        traded, adjusted = None, level
    elif history.bars.split_adjusted:
        traded, adjusted = close * later, close
    else:
        traded, adjusted = close, close / later
    return Lookup(
        symbol, session, provider, found=True, company=company, close=traded, adjusted=adjusted, suggestions=()
    )


def _last(values: FloatVector) -> float | None:
    return next((float(value) for value in reversed(values) if not math.isnan(value)), None)

"""A hundred symbols at one call a minute, on a clock of the test's own: a portfolio that fills up for a hundred minutes.

Five hundred at five, through all services and a vendor over HTTP: `python -m tests.vendors slow`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from services.ingest.model.market import Answer, NoData, NoDataReason, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market

SYMBOLS = [f"S{index:03d}" for index in range(100)]
CALLS_A_MINUTE = 1
STEP = 5  # minutes of the test's clock between two turns
ENTRY = DAYS.previous(LAST)


@dataclass
class Metered(Market):
    """Answers so many questions until it is refilled; the rest is told when its turn comes."""

    left: int = 0
    waiting: set[str] = field(default_factory=set)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request in requests:
            if request.symbol not in SYMBOLS:
                yield self._answer(request)
            elif self.left > 0:
                self.left -= 1
                self.waiting.discard(request.symbol)
                yield self._answer(request)
            else:
                self.waiting.add(request.symbol)
                turn = timedelta(minutes=len(self.waiting) / CALLS_A_MINUTE)
                yield NoData(request.symbol, NoDataReason.RATE_LIMITED, datetime.now(UTC) + turn)


async def minutes_pass(ingest: Ingest, minutes: int) -> None:
    """For everything that has a time of its own."""
    await ingest.execute(f"UPDATE ingest.gaps SET retry_at = retry_at - interval '{minutes} minutes'")
    await ingest.execute(f"UPDATE ledger.units SET required_at = required_at - interval '{minutes} minutes'")
    await ingest.execute(f"""
        UPDATE ledger.schedule SET next_at = next_at - interval '{minutes} minutes',
                                   withheld_until = withheld_until - interval '{minutes} minutes'
    """)


async def recompute(ingest: Ingest, portfolio: UUID) -> bool:
    """As the snapshots service does it, when an event or the reconciler wakes it; whether it had to."""
    due = await ingest.rows("""
        SELECT 1 FROM ledger.units u JOIN ledger.schedule s USING (portfolio_id, phase)
        WHERE u.phase = 'snapshots' AND u.completed_revision < u.required_revision
          AND EXISTS (SELECT 1 FROM ledger.units i WHERE i.portfolio_id = u.portfolio_id AND i.session = u.session
                      AND i.phase = 'ingest' AND i.completed_revision >= i.required_revision)
          AND (s.next_at <= now() OR EXISTS (SELECT 1 FROM bus.outbox))
    """)
    await ingest.execute("DELETE FROM bus.outbox")
    if due:
        await ingest.execute("""
            UPDATE ledger.units SET completed_revision = required_revision, completed_at = now() WHERE phase <> 'ingest'
        """)
        await ingest.execute(
            "UPDATE ledger.schedule SET withheld_until = NULL, next_at = now() + interval '1 day' WHERE phase <> 'ingest'"
        )
    return bool(due)


@pytest.mark.timeout(240)
async def test_a_hundred_symbols_at_a_call_a_minute(ingest: Ingest) -> None:
    """Withheld until four fifths of the value are priced; then published with its coverage, recomputed at most four times an hour;
    in the end complete, and nothing provisional."""
    market = Metered()
    market.closes, market.adjusted = ingest.market.closes, ingest.market.adjusted
    market.quote(*SYMBOLS, first=DAYS.back(LAST, 3))
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([market], exchange_calendar), Clock(LAST))
    portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in SYMBOLS))
    published: list[tuple[int, float]] = []
    await ingest.run(portfolio)
    for minute in range(0, 130, STEP):
        units = await ingest.units(portfolio)
        if all(unit.completed_revision for unit in units.values()) and await recompute(ingest, portfolio):
            published.append((minute, units[LAST].coverage))
        if published and not market.waiting and not await ingest.missing(portfolio, Phase.SNAPSHOTS):
            break
        await minutes_pass(ingest, STEP)
        market.left = CALLS_A_MINUTE * STEP
        await ingest.worker.retry_due()
    assert not market.waiting
    first, coverage = published[0]
    assert coverage > 0.8
    assert first >= 80, "a minute prices a hundredth of it"
    assert published[-1][1] == 1.0
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.provisional) for unit in units.values()} == {("complete", False)}
    hours = (published[-1][0] - first) / 60
    assert len(published) <= 1 + 4 * hours + 1, published
    # The last one comes when nothing is waited for any more, however long after the one before.
    steps = [later - earlier for (earlier, _), (later, _) in pairwise(published[:-1])]
    assert [minutes for minutes in steps if minutes < 15] == []

"""What a write transaction does: staged before the commit-order lock; prices, demands, completions and events under it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.compute.gap_changes import find_gap_changes, settled_by
from services.ingest.compute.returns import replace_gaps
from services.ingest.model.stored import Affected, Change, PriceGap
from services.ingest.model.write_set import FetchRequest, WriteSet
from services.ingest.store import aliases, prices, profiles, quarantine, readiness, universe, waiting
from services.ingest.store import remap as replacing
from services.ingest.workflow import instrument_class
from services.ingest.workflow.complete import sessions_between
from services.ingest.workflow.quality import restate_quality
from shared import ledger
from shared.clock import Clock
from shared.db.engine import next_change_seq
from shared.events.services import PricesRestated
from shared.ledger import schedule
from shared.market.calendar import Calendar
from shared.market.registry import FACTORS, LOOKBACK, PROXY_SYMBOLS
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.telemetry import logger
from shared.work import Phase, UnitKey

log = logger(__name__)

# What looks at prices, and what is computed of that: the event about a late price wakes all three.
DOWNSTREAM = (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK)
# A spare proxy behind one that is there is not waited for.
FIRST_PROXIES = tuple(factor.proxies[0] for factor in FACTORS)


async def write_rows(
    conn: AsyncConnection,
    asks: Sequence[FetchRequest],
    rows: WriteSet,
    clock: Clock,
    *,
    now: datetime,
    replaced: bool = False,
) -> int:
    """Move what was staged, write actions, absences and coverage, and demand anew what a changed price went into.

    Needs the commit-order lock and `prices.stage` before it. Returns how many units were demanded anew.

    replaced : the rows are all there is of their symbols, which were taken for others before
    """
    calendar = clock.calendar()
    change = await next_change_seq(conn)
    ids = list(rows.checked)
    changes = await replacing.replace_history(conn, ids, rows.actions, change_seq=change) if replaced else []
    await replacing.record_mapping(conn, rows.chosen, replaced=replaced)
    if rows.prices:  # each statement is a turn for the processor, and others wait for the lock meanwhile
        changes += await prices.move(conn, change_seq=change, fetched_at=now)
    changes += await prices.write_actions(conn, rows.actions, change_seq=change, fetched_at=now)
    changes += await prices.withdraw_actions(conn, rows.listed, rows.actions)
    await quarantine.insert_outliers(conn, rows.jumps)
    await quarantine.mark_decisions_applied(conn, rows.decided)
    await aliases.write(conn, rows.renames)
    await aliases.write_candidates(conn, ids, rows.candidates)
    existing = {
        id_: [PriceGap._make(gap) for gap in found] for id_, found in (await universe.gaps(conn, ids, calendar)).items()
    }
    gaps = {
        id_: replace_gaps(existing.get(id_, ()), checked, rows.gaps[id_])
        for id_, checked in rows.checked.items()
        if id_ in existing or rows.gaps[id_]
    }
    await prices.write_gaps(conn, gaps, calendar)
    await prices.write_symbols(conn, rows.symbols)
    affected = affected_by(asks, changes, calendar)
    symbols = {ask.symbol_id: ask.symbol for ask in asks}
    ended = {symbols[id_]: spans for id_, old in existing.items() if (spans := find_gap_changes(old, gaps[id_]))}
    affected += settled_by(ended, calendar)
    await restate_quality(conn, ended, calendar)
    affected += await instrument_class.record_profiles(
        conn, await profiles.date_profiles(conn, rows.described, clock.last_due())
    )
    demands = await readiness.affected_units(conn, affected, PROXY_SYMBOLS)
    raised = await ledger.require(conn, demands, change)
    if raised:
        log.info("prices_restated", symbols=sorted({a.symbol for a in affected})[:20], units=len(raised))
        await _announce(conn, raised, calendar)
    return len(raised)


async def _announce(conn: AsyncConnection, raised: Sequence[tuple[UUID, date, Phase]], calendar: Calendar) -> None:
    """Wake those who compute what was raised; of portfolios that still wait for prices, later and together.

    A portfolio whose factors alone were raised waits for factor proxies too.
    """
    keys = {UnitKey(portfolio, session) for portfolio, session, phase in raised if phase is not Phase.RISK}
    portfolios = {portfolio for portfolio, _, _ in raised}
    waits = await waiting.still_waiting(conn, portfolios)
    only_factors = portfolios - {portfolio for portfolio, _, phase in raised if phase is Phase.SNAPSHOTS}
    if only_factors - waits and await waiting.is_awaited(conn, FIRST_PROXIES):
        waits |= only_factors
    failpoint("restatement.before_schedule")
    await schedule.withhold(conn, DOWNSTREAM, sorted(waits))
    await schedule.release_withheld(conn, sorted(portfolios - waits))
    now = {key for key in keys if key.portfolio_id not in waits}
    if now:
        await outbox.publish_work(conn, PricesRestated, now, sessions_between(now, calendar), source=Phase.INGEST.value)
    failpoint("restatement.before_commit")


def affected_by(asks: Sequence[FetchRequest], changes: Iterable[Change], calendar: Calendar) -> list[Affected]:
    """What each phase looks at of the changes inside known sessions. A return is not looked at by the window it begins."""
    symbols = {ask.symbol_id: ask.symbol for ask in asks}
    known: Mapping[int, tuple[date, date] | None] = {ask.symbol_id: ask.known for ask in asks}
    spans: dict[tuple[str, Phase], tuple[date, date]] = {}

    def add(symbol: str, phase: Phase, first: date, last: date) -> None:
        low, high = spans.get((symbol, phase), (first, last))
        spans[symbol, phase] = (min(low, first), max(high, last))

    for change in changes:
        range_ = known[change.symbol_id]
        if range_ is None or not range_[0] <= change.session <= range_[1]:
            continue
        if change.what == "first_return" and change.session == range_[0]:
            # The session before the first known one was fetched: no complete unit's window reaches over that edge.
            continue
        reach = LOOKBACK - 1 if change.what in {"return", "first_return"} else LOOKBACK
        add(symbols[change.symbol_id], Phase.FACTORS, change.session, calendar.forward(change.session, reach))
        if change.what != "first_return":
            add(symbols[change.symbol_id], Phase.SNAPSHOTS, change.session, change.session)
    return [Affected(symbol, phase, first, last) for (symbol, phase), (first, last) in sorted(spans.items())]

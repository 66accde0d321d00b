"""The one write transaction: staged before the commit-order lock; prices, demands, completions and events under it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.compute.returns import replace_gaps
from services.ingest.model.stored import Affected, Change, PriceGap
from services.ingest.model.write_set import FetchRequest, WriteSet
from services.ingest.store import aliases, prices, profiles, quarantine, readiness, universe
from services.ingest.store import remap as replacing
from services.ingest.workflow import instrument_class
from shared import ledger
from shared.clock import Clock
from shared.db.engine import assert_commit_order_lock, next_change_seq
from shared.events.services import PricesRestated
from shared.ledger import Completed
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.telemetry import logger
from shared.work import Phase, UnitKey

log = logger(__name__)

# Units of other portfolios that one write completes along with its own; the rest have events of their own.
MAX_OTHERS = 20_000


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
    changes += await prices.move(conn, change_seq=change, fetched_at=now)
    changes += await prices.write_actions(conn, rows.actions, change_seq=change, fetched_at=now)
    changes += await prices.withdraw_actions(conn, rows.listed, rows.actions)
    await quarantine.insert_outliers(conn, rows.jumps)
    await quarantine.mark_decisions_applied(conn, rows.decided)
    await aliases.write(conn, rows.renames)
    await aliases.write_candidates(conn, ids, rows.candidates)
    existing = await universe.gaps(conn, ids, calendar)
    due = calendar.due_at(clock.last_due())
    await prices.write_gaps(
        conn,
        {
            id_: [
                _settled(gap, due)
                for gap in replace_gaps(map(PriceGap._make, existing.get(id_, ())), checked, rows.gaps[id_])
            ]
            for id_, checked in rows.checked.items()
            if id_ in existing or rows.gaps[id_]
        },
        calendar,
    )
    await prices.write_symbols(conn, rows.symbols)
    affected = affected_by(asks, changes, calendar)
    affected += await instrument_class.record_profiles(
        conn, await profiles.dated(conn, rows.described, clock.last_due())
    )
    demands = await readiness.affected_units(conn, affected, PROXY_SYMBOLS)
    raised = await ledger.require(conn, demands, change)
    keys = {UnitKey(portfolio, session) for portfolio, session, phase in raised if phase is not Phase.RISK}
    if keys:
        log.info("prices_restated", symbols=sorted({a.symbol for a in affected})[:20], units=len(raised))
        await outbox.publish_work(conn, PricesRestated, keys, _spanned(keys, calendar), source=Phase.INGEST.value)
    return len(raised)


async def complete_ready(
    conn: AsyncConnection,
    portfolios: Collection[UUID],
    sessions: Sequence[date],
    calendar: Calendar,
    *,
    changed_symbols: Collection[str] = (),
) -> Completed:
    """Complete every missing unit of the portfolios on the sessions whose data is all known, and say so.

    With `changed_symbols` also those of other portfolios that hold one of them: forty events of one night fetch each symbol
    once, and whoever writes the last symbol a portfolio waits for completes it. Needs the commit-order lock: a completion
    must not slip between a corrected price and its look at which units have used the old one.
    """
    await assert_commit_order_lock(conn)
    candidates = set(portfolios)
    if changed_symbols:
        limit = MAX_OTHERS // len(sessions)
        of_all = not set(PROXY_SYMBOLS).isdisjoint(changed_symbols)
        candidates |= set(await readiness.portfolios_holding(conn, changed_symbols, sessions, limit, everyone=of_all))
    if not candidates:
        return Completed({})
    lookbacks = [calendar.back(session, LOOKBACK) for session in sessions]
    units = await readiness.ready(conn, sorted(candidates), sessions, lookbacks, PROXY_SYMBOLS)
    raised = await ledger.complete(conn, Phase.INGEST, await readiness.outcomes(conn, units))
    failpoint("H4")
    if raised:
        await outbox.publish_completions(conn, Phase.INGEST, raised.keys, _spanned(raised.keys, calendar))
        failpoint("H5")
        await ledger.record_progress(conn, Phase.INGEST, sorted({key.portfolio_id for key in raised.keys}))
    return raised


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


def _settled(gap: PriceGap, session_due: datetime) -> PriceGap:
    """Waiting for a provider ends when the next session is due: then the absence stands, and is still asked for again."""
    return gap if gap.terminal or gap.checked_at >= session_due else gap._replace(terminal=True)


def _spanned(keys: Collection[UnitKey], calendar: Calendar) -> list[date]:
    return calendar.between(min(key.session for key in keys), max(key.session for key in keys))

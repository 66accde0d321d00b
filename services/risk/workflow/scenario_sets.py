"""Which set of scenarios is in force: that of the service that started last. What another one computed is computed anew.

A set is a file beside the service, so no other service can tell that it was changed. Without this a portfolio would answer for one
session with the old script and for the next with the new one, under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.risk.compute.replay_windows import Daily, returns_of, sessions_of
from services.risk.compute.scenarios import Scenarios
from services.risk.store import replay_windows
from services.risk.store import results as store
from services.risk.store.results import Window
from shared import ledger
from shared.db.closures import find_closures
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.errors import TransientError
from shared.market.calendar import calendar, using_calendar
from shared.market.registry import PROXY_SYMBOLS
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)


class OtherScenarios(TransientError):
    """A service with other scenarios started after this one. Nothing is computed here until this one is started anew."""

    code = "other_scenarios"


async def scenarios_in_force(conn: AsyncConnection, own: Scenarios) -> Scenarios:
    """Ours, with what the set in force says of the windows that our file leaves to stored prices.

    Every service with this file computes a session with the same returns, whenever it started. Raises `OtherScenarios` where another
    file's set is in force in this snapshot.
    """
    chosen = await store.chosen_scenarios(conn)
    if chosen is None:
        return own
    if chosen.as_written != own.as_written():
        raise OtherScenarios(
            f"scenario set {chosen.digest} is in force and this service has {own.digest()}: give all risk services the same "
            "LEADLINE_RISK_SCENARIOS and start them anew"
        )
    return own.with_returns(chosen.returns)


async def activate_scenarios(engine: AsyncEngine, scenarios: Scenarios) -> int:
    """Put our set in force, and require anew all risk if another one was; returns how many units. The same set again does nothing.

    All of it, not what is complete: a unit in flight would otherwise be completed with the old set at the revision it was begun with.
    """
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        return await _activate(conn, scenarios)


async def refresh_windows(engine: AsyncEngine, scenarios: Scenarios) -> int:
    """The windows of our file once more, from what is stored by now; returns how many units are required anew.

    Nothing where another file's set is in force: a service that is to be replaced must not take that back.
    """
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        chosen = await store.chosen_scenarios(conn)
        if chosen is None or chosen.as_written != scenarios.as_written():
            return 0
        return await _activate(conn, scenarios)


async def _activate(conn: AsyncConnection, own: Scenarios) -> int:
    scenarios = own.with_returns(await _returns(conn, own.windows()))
    digest = scenarios.digest()
    known = await store.chosen_scenarios(conn)
    if known is not None and known.digest == digest:
        return 0
    await store.save_scenarios(conn, digest, scenarios.to_json(), scenarios.durations_to_json())
    await store.choose_scenarios(conn, digest, own.as_written())
    if known is None and not await store.with_other_scenarios(conn, digest):
        return 0
    portfolios = await store.portfolios(conn)
    units = 0
    if portfolios:
        revision = await next_change_seq(conn)
        units = await ledger.require_all(conn, portfolios, date.min, date.max, Phase.RISK, revision)
    log.info("new_scenarios_restate", scenarios=digest, before=None if known is None else known.digest, units=units)
    return units


async def _returns(conn: AsyncConnection, windows: Sequence[Window]) -> dict[Window, dict[str, float]]:
    found = {}
    with using_calendar(await find_closures(conn)):
        for window in windows:
            sessions = sessions_of(window, calendar())
            if sessions:
                rows = await replay_windows.read(conn, PROXY_SYMBOLS, sessions[0], sessions[-1])
                days = {symbol: [Daily(*day) for day in of] for symbol, of in rows.items()}
                found[window] = returns_of(days, sessions)
    return found

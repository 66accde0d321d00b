"""What happens to a portfolio while somebody dies: it is imported, a date falls due, it is edited, a price is corrected, ..."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import text

from services.ingest.model.stored import Affected
from services.ingest.store import readiness
from shared import ledger
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.events.services import PricesRestated
from shared.market.calendar import calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS
from shared.messaging import outbox
from shared.work import Phase, UnitKey
from tests.crash.world import World, patiently
from tests.flow.holdings import close
from tests.support.pipeline import BUNDLED_PRICES

FIRST, LAST = date(2020, 12, 18), date(2020, 12, 31)
# 505 prices before the first session, and the whole of the window of its own.
HISTORY_FROM = date(2018, 6, 1)
DUE_FROM = date(2020, 12, 30)
CORRECTED = date(2020, 12, 23)
# Each portfolio has symbols of its own, clones of these, so that nothing another one did has made them known.
STEMS = {"QA": "AAPL", "QB": "MSFT", "QC": "XOM"}
# Longer is stranded.
QUIET_SECONDS = 60.0


def price_file(path: Path, slots: int) -> Path:
    """The bundled prices of the window, and `slots` copies of three symbols under other names."""
    table = pq.read_table(BUNDLED_PRICES)
    table = table.filter(pc.greater_equal(table["date"], pa.scalar(HISTORY_FROM).cast(table["date"].type)))
    parts = [table]
    for stem, original in STEMS.items():
        rows = table.filter(pc.equal(table["symbol"], original))
        for slot in range(slots):
            names = pa.array([f"{stem}{slot:03d}"] * len(rows), rows["symbol"].type)
            parts.append(rows.set_column(rows.schema.get_field_index("symbol"), "symbol", names))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(parts), path)
    return path


@dataclass
class Story:
    """One portfolio's life in a world. Every step may be repeated; none is done twice."""

    world: World
    slot: int
    portfolio: str = ""
    reruns: int = 0

    @property
    def symbols(self) -> list[str]:
        return [f"{stem}{self.slot:03d}" for stem in STEMS]

    @property
    def steps(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "import": self.import_file,
            "due": self.date_due,
            "edit": self.edit,
            "correct": self.correct,
            "flow": self.flow,
            "rerun": self.rerun,
        }

    async def tell(self) -> None:
        for step in self.steps.values():
            await step()

    @property
    def lots(self) -> list[str]:
        """Rows of the file."""
        days = ("2020-12-18", "2020-12-21", "2020-12-22")
        lots = zip(self.symbols, STEMS.values(), (100, 50, -80), days, strict=False)
        return [f"{symbol},{quantity},{day},{close(of, day)}" for symbol, of, quantity, day in lots]

    async def import_file(self) -> None:
        answer = await self.world.call(
            "POST",
            "/portfolios/import",
            key=f"import-{self.slot}",
            data={
                "name": f"Crash {self.slot}",
                "account_type": "taxable",
                "equity_balance": "100000",
                "allow_duplicate_name": "true",
            },
            files={
                "file": (
                    "p.csv",
                    "\n".join(["symbol,quantity,entry_date,entry_price", *self.lots]).encode(),
                    "text/csv",
                )
            },
        )
        self.portfolio = str(answer["id"])

    async def date_due(self) -> None:
        """The last two sessions fall due: as if they had not been known before, their units and results are taken out."""
        p = self.portfolio
        await self.world.execute(
            "SELECT ledger.order_lock()",
            "DELETE FROM ledger.units WHERE portfolio_id = :p AND session >= :due",
            "DELETE FROM risk.results WHERE portfolio_id = :p AND session >= :due",
            "DELETE FROM snapshots.holdings WHERE portfolio_id = :p AND session >= :due",
            "DELETE FROM snapshots.snapshots WHERE portfolio_id = :p AND session >= :due",
            p=p,
            due=DUE_FROM,
        )
        await self._until(
            "SELECT count(*) FROM ledger.units WHERE portfolio_id = :p AND session >= :due", 8, due=DUE_FROM
        )

    async def edit(self) -> None:
        [(lot,)] = await self.world.rows(
            "SELECT id FROM coordinator.positions WHERE portfolio_id = :p AND symbol = :s AND deleted_at IS NULL",
            p=self.portfolio,
            s=self.symbols[0],
        )
        path = f"/portfolios/{self.portfolio}/positions/{lot}"
        await self.world.call("PATCH", path, key=f"edit-{self.slot}", json={"quantity": 130})

    async def flow(self) -> None:
        body = {"date": "2020-12-24", "amount": 2500, "note": None}
        await self.world.call("POST", f"/portfolios/{self.portfolio}/flows", key=f"flow-{self.slot}", json=body)

    async def rerun(self) -> None:
        """Everything from a session on is asked for anew; no input differs. The only step that may be told again."""
        self.reruns += 1
        await self.world.call(
            "POST",
            "/admin/batch/run",
            key=f"rerun-{self.slot}-{self.reruns}",
            params={"portfolio_id": self.portfolio, "start_date": "2020-12-24", "what": "all"},
        )

    async def correct(self) -> None:
        """A vendor corrects a close: what ingest writes then, in its one transaction."""
        await self._until(
            "SELECT count(*) FROM ledger.units WHERE portfolio_id = :p AND phase = 'ingest' AND completed_revision > 0"
            " AND session < :due",
            len(calendar().between(FIRST, LAST)) - 2,
            due=DUE_FROM,
        )
        await patiently(self._correct)

    async def _correct(self) -> None:
        symbol, days = self.symbols[1], calendar()
        async with self.world.admin.begin() as conn:
            await acquire_commit_order_lock(conn)
            change = await next_change_seq(conn)
            corrected = await conn.execute(
                text("""
                    WITH s AS (SELECT id FROM ingest.symbols WHERE symbol = :symbol)
                    UPDATE ingest.prices p SET
                        close = CASE session WHEN :day THEN close * 1.02 ELSE close END,
                        adj_close = CASE session WHEN :day THEN adj_close * 1.02 ELSE adj_close END,
                        total_return = CASE session WHEN :day THEN (1 + total_return) * 1.02 - 1
                                                    ELSE (1 + total_return) / 1.02 - 1 END,
                        provider = 'corrected', change = :change
                    FROM s WHERE p.symbol_id = s.id AND p.session IN (:day, :next) AND p.provider <> 'corrected'
                """),
                {"symbol": symbol, "day": CORRECTED, "next": days.next(CORRECTED), "change": change},
            )
            if not corrected.rowcount:
                return
            affected = [
                Affected(symbol, Phase.FACTORS, CORRECTED, days.forward(CORRECTED, LOOKBACK)),
                Affected(symbol, Phase.SNAPSHOTS, CORRECTED, CORRECTED),
            ]
            raised = await ledger.require(
                conn, await readiness.affected_units(conn, affected, sorted(PROXY_SYMBOLS)), change
            )
            keys = {UnitKey(portfolio, session) for portfolio, session, phase in raised if phase is not Phase.RISK}
            await outbox.publish_work(conn, PricesRestated, keys, days.between(FIRST, LAST), source="ingest")

    async def drop_events(self, *, on: bool) -> None:
        """Let the bus lose every event about the portfolio but the reconciler's."""
        statement = (
            "INSERT INTO crash.dropped VALUES (:p)" if on else "DELETE FROM crash.dropped WHERE portfolio_id = :p"
        )
        await self.world.execute(statement, p=self.portfolio)

    async def hurry(self) -> None:
        """As if the reconciler's patience with this portfolio had run out."""
        await self.world.execute(
            "UPDATE ledger.schedule SET next_at = now() WHERE portfolio_id = :p AND next_at > now()", p=self.portfolio
        )

    async def undone(self) -> tuple[int, int]:
        """Units of this portfolio that are missing, and events of anybody that are unsent."""
        [(missing, unsent)] = await self.world.rows(
            "SELECT (SELECT count(*) FROM ledger.units WHERE portfolio_id = :p AND completed_revision < required_revision),"
            " (SELECT count(*) FROM bus.outbox WHERE sent_at IS NULL AND failed_at IS NULL)",
            p=self.portfolio,
        )
        return int(missing), int(unsent)

    async def quiet(self, *, hurry: bool) -> bool:
        """Wait until nothing is missing and nothing unsent; False if that takes too long."""
        until = time.monotonic() + QUIET_SECONDS
        calm = 0
        while time.monotonic() < until:
            missing, unsent = await self.undone()
            calm = calm + 1 if missing == unsent == 0 else 0
            if calm == 2:
                return True
            if hurry and missing:
                await self.hurry()
            await asyncio.sleep(0.3)
        return False

    async def _until(self, count: str, least: int, **parameters: object) -> None:
        until = time.monotonic() + 2 * QUIET_SECONDS
        while True:
            [(found,)] = await self.world.rows(count, p=self.portfolio, **parameters)
            if found >= least:
                return
            assert time.monotonic() < until, f"{found} of {least} after {2 * QUIET_SECONDS:.0f} s: {count}"
            await asyncio.sleep(0.1)

"""A life in which a price is waited for: one of four holdings is at a vendor that refuses, patience ends, and the price comes late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.market.calendar import calendar
from tests.crash.story import FIRST, HISTORY_FROM, LAST, QUIET_SECONDS, Story
from tests.flow.holdings import close
from tests.support import markets
from tests.support.pipeline import BUNDLED_PRICES
from tests.support.vendors import Call, Reply, VendorServer, serving

# What the file lacks: a clone of this one in each life. Its lot is a twentieth of the value, which a unit may go on without.
STEM, ORIGINAL, QUANTITY, ENTRY = "QD", "KO", 25, "2020-12-18"
REFUSED = Reply(b"{}", 500)


@dataclass
class Vendor:
    """FMP, which has what the file lacks and refuses every question about it until the life says otherwise."""

    market: markets.World
    told: set[str] = field(default_factory=set)

    def __call__(self, call: Call) -> Reply:
        symbol = call.query.get("symbol", "")
        return REFUSED if symbol.startswith(STEM) and symbol not in self.told else self.market.fmp(call)


@contextmanager
def vendor(slots: int) -> Iterator[tuple[Vendor, VendorServer]]:
    """A vendor with the clones of so many lives, and a fund to be tried with."""
    table = pq.read_table(BUNDLED_PRICES, columns=["symbol", "date", "adj_close"])
    rows = table.filter(pc.equal(table["symbol"], ORIGINAL)).to_pylist()
    closes = {row["date"].date(): float(row["adj_close"]) for row in rows if row["date"].date() >= HISTORY_FROM}
    names = ["SPY", *(f"{STEM}{slot:03d}" for slot in range(slots))]
    made = Vendor(markets.World(closes=dict.fromkeys(names, closes)))
    with serving(made) as server:
        yield made, server


def environment(server: VendorServer) -> dict[str, str]:
    """Of services that ask the file first and that vendor then. Patience: so long that the first look comes before its end."""
    return {
        "LEADLINE_PROVIDERS": "file,fmp",
        "LEADLINE_REFERENCE_PROVIDERS": "none",
        "LEADLINE_FMP_URL": f"{server.url}/stable",
        "LEADLINE_FMP_API_KEY": "good",
        "LEADLINE_FMP_QUOTA": "unlimited",
        "LEADLINE_PROVIDER_LOOPBACK": "true",
        "LEADLINE_PATIENCE": "10",
        "LEADLINE_RETRY_POLL_SECONDS": "0.5",
    }


@dataclass
class WaitingStory(Story):
    """It is imported, goes on without the price that is waited for, and takes it up when it comes."""

    @property
    def symbols(self) -> list[str]:
        return [*super().symbols, self.late]

    @property
    def late(self) -> str:
        return f"{STEM}{self.slot:03d}"

    @property
    def lots(self) -> list[str]:
        return [*super().lots, f"{self.late},{QUANTITY},{ENTRY},{close(ORIGINAL, ENTRY)}"]

    @property
    def steps(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {"import": self.import_file, "patience": self.patience_ends, "arrival": self.price_arrives}

    async def patience_ends(self) -> None:
        """All phases of all sessions are done without the price."""
        every = 4 * len(calendar().between(FIRST, LAST))
        await self._until(
            "SELECT count(*) FROM ledger.units WHERE portfolio_id = :p AND completed_revision >= required_revision"
            " AND (phase <> 'ingest' OR provisional)",
            every,
        )

    async def price_arrives(self) -> None:
        """The vendor answers, and the time to ask it has come; again, where a question was under way that ended in its refusal."""
        assert self.world.vendor is not None
        self.world.vendor.told.add(self.late)
        until = time.monotonic() + 2 * QUIET_SECONDS
        while not await self.world.rows(
            "SELECT 1 FROM ingest.prices JOIN ingest.symbols s ON s.id = symbol_id WHERE s.symbol = :s AND session >= :first LIMIT 1",
            s=self.late,
            first=FIRST,
        ):
            assert time.monotonic() < until, f"{self.late} did not arrive"
            await self.world.execute(
                "UPDATE ingest.gaps SET retry_at = now() WHERE symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = :s)",
                s=self.late,
            )
            await asyncio.sleep(1.0)

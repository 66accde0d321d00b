"""The same curve from FRED, where the Treasury's own page does not answer: the constant maturities of the H.15 release.

Keyless, by the download behind FRED's graphs; a calendar year in one call. It is a day behind the Treasury.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from services.ingest.providers.curves import curves_of, named, read_csv
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter
from services.ingest.providers.transport.http import Bounds, ProviderHttp, VendorErrorRules
from shared.market.curve import Curve

BASE_URL = "https://fred.stlouisfed.org"
SERIES = {
    "DGS1MO": 1 / 12, "DGS3MO": 0.25, "DGS6MO": 0.5, "DGS1": 1.0, "DGS2": 2.0, "DGS3": 3.0, "DGS5": 5.0, "DGS7": 7.0,
    "DGS10": 10.0, "DGS20": 20.0, "DGS30": 30.0,
}  # fmt: skip
DIALECT = VendorErrorRules(
    name="fred", variable="LEADLINE_REFERENCE_PROVIDERS", read=read_csv, retry_after=timedelta(hours=1)
)


class Fred:
    """Implements `curves.CurveSource`."""

    name = "fred"

    def __init__(
        self,
        *,
        gate: RateLimiter | None = None,
        base_url: str = BASE_URL,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._http = ProviderHttp(
            DIALECT, base_url, {"Accept": "text/csv"}, gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback, bounds=bounds, now=now,
        )  # fmt: skip

    def curves(self, year: int) -> list[Curve]:
        asked = {"id": ",".join(SERIES), "cosd": f"{year}-01-01", "coed": f"{year}-12-31"}
        rows = self._http.get("/graph/fredgraph.csv", asked)
        # The column was named DATE until 2024.
        if rows[0][0].strip().lower() not in {"observation_date", "date"}:
            raise SchemaChanged(self.name, f"the first column of the yield curve is {rows[0][0][:40]!r}, not a date")
        return curves_of(self.name, rows, named(rows[0], lambda name: SERIES.get(name.strip())), date.fromisoformat)

    def close(self) -> None:
        self._http.close()

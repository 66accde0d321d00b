"""The US Treasury's daily par yield curve: keyless, in the public domain, a calendar year in one call."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from services.ingest.providers.curves import curves_of, named, read_csv, tenor_of
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter
from services.ingest.providers.transport.http import Bounds, Parameters, ProviderHttp, VendorErrorRules
from shared.market.curve import Curve

BASE_URL = "https://home.treasury.gov"
PATH = "/resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/{year}/all"
DIALECT = VendorErrorRules(
    name="treasury", variable="LEADLINE_REFERENCE_PROVIDERS", read=read_csv, retry_after=timedelta(hours=1)
)


class Treasury:
    """Implements `curves.CurveSource`."""

    name = "treasury"

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
        asked: Parameters = {
            "type": "daily_treasury_yield_curve",
            "field_tdr_date_value": year,
            "page": "",
            "_format": "csv",
        }
        rows = self._http.get(PATH.format(year=year), asked)
        if rows[0][0].strip().lower() != "date":
            raise SchemaChanged(self.name, f"the first column of the yield curve is {rows[0][0][:40]!r}, not Date")
        return curves_of(self.name, rows, named(rows[0], tenor_of), _day)

    def close(self) -> None:
        self._http.close()


def _day(text: str) -> date:
    month, day, year = text.strip().split("/")
    return date(int(year), int(month), int(day))

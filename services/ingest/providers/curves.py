"""What a source of par yield curves is, and reading one from CSV: a day is a row, a tenor is a column, percent a year."""

import csv
import io
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter
from services.ingest.providers.transport.http import Bounds, Parameters, ProviderHttp
from services.ingest.providers.transport.refusals import VendorErrorRules
from shared.market.curve import Curve

log = logging.getLogger(__name__)
# Fewer columns than these are no curve, whatever else the header says.
LEAST_TENORS = 6
# In years: what is longer is no bill.
SHORTEST_BOND = 2.0
_MISSING = {"", ".", "N/A", "NA"}
# The column of the six-week bill, new in 2025, is named like a number and unlike the others.
_TENOR = re.compile(r"(\d+(?:\.\d+)?)\s*(mo|month|yr|year)s?", re.IGNORECASE)


class CurveSource(Protocol):
    """A source of curves. Calls block."""

    name: str

    def curves(self, year: int) -> list[Curve]:
        """All of a calendar year that are published, ascending. One call. Raises `ProviderError`."""
        ...

    def close(self) -> None: ...


def read_csv(body: bytes) -> tuple[Any, bool]:
    """The rows of a CSV body, and whether it is one: a page meant for people is not."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None, False
    if text.lstrip()[:1] in {"<", "{", "["} or not text.strip():
        return None, False
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    return rows, len(rows[0]) > 1


class CurveCsv(ABC):
    """A source that serves a calendar year of curves as one CSV. Implements `CurveSource`; a source says what is its own."""

    name: str
    home: str
    """Its address."""
    day_columns: tuple[str, ...]
    """What the first column may be called, in lower case."""
    expected: str
    """The same, for people."""

    def __init__(
        self,
        *,
        gate: RateLimiter | None = None,
        base_url: str | None = None,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        rules = VendorErrorRules(
            name=self.name,
            variable="LEADLINE_REFERENCE_PROVIDERS",
            read=read_csv,
            retry_after=timedelta(hours=1),
        )
        self._http = ProviderHttp(
            rules, base_url or self.home, {"Accept": "text/csv"}, gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback, bounds=bounds, now=now,
        )  # fmt: skip

    @abstractmethod
    def question(self, year: int) -> tuple[str, Parameters]:
        """Path and parameters for a calendar year."""

    @abstractmethod
    def tenor_of(self, column: str) -> float | None:
        """Years of a column by its name; None if it is no tenor."""

    @abstractmethod
    def day_of(self, text: str) -> date:
        """Raises `ValueError` for what is no date."""

    def curves(self, year: int) -> list[Curve]:
        rows = self._http.get(*self.question(year))
        first = rows[0][0]
        if first.strip().lower() not in self.day_columns:
            raise SchemaChanged(
                self.name, f"the first column of the yield curve is {first[:40]!r}, not {self.expected}"
            )

        def day_of(text: str) -> date:
            day = self.day_of(text)
            if day.year != year:
                raise ValueError(f"{text!r} is no day of {year}")
            return day

        return curves_of(self.name, rows, tenor_columns(rows[0], self.tenor_of), day_of)

    def close(self) -> None:
        self._http.close()


def tenor_of(name: str) -> float | None:
    """Years of a column named `1 Mo`, `1.5 Month` or `20 Yr`; None of any other."""
    match = _TENOR.fullmatch(name.strip())
    if match is None:
        return None
    return float(match[1]) / (12.0 if match[2].lower().startswith("mo") else 1.0)


def curves_of(
    provider: str, rows: Sequence[Sequence[str]], tenors: Mapping[int, float], day_of: Callable[[str], date]
) -> list[Curve]:
    """Curves of the rows after the header, ascending. tenors: by column, in years.

    A row that can not be read costs itself, with a line in the log. Raises `SchemaChanged` where no row of several can be.
    """
    if len(tenors) < LEAST_TENORS:
        raise SchemaChanged(provider, f"the header {', '.join(rows[0])[:120]} names {len(tenors)} tenors of a curve")
    columns = sorted(tenors, key=lambda column: tenors[column])
    found: dict[date, Curve] = {}
    unreadable = 0
    for row in rows[1:]:
        try:
            day = day_of(row[0])
            known = [(tenors[i], row[i].strip()) for i in columns if i < len(row)]
            points = [(tenor, float(value) / 100.0) for tenor, value in known if value not in _MISSING]
            # Bills were at nought at times, bonds never: a nought there is a value that is missing, a row of them no curve.
            points = [(tenor, value) for tenor, value in points if value != 0.0 or tenor < SHORTEST_BOND]
            if any(value != 0.0 for _, value in points):
                found[day] = Curve(day, tuple(tenor for tenor, _ in points), tuple(value for _, value in points))
        except ValueError as error:
            unreadable += 1
            log.warning("%s: a row of the yield curve was left out: %s (%s)", provider, ",".join(row)[:80], error)
    if unreadable and not found:
        raise SchemaChanged(provider, f"none of {unreadable} rows of the yield curve can be read")
    return [found[day] for day in sorted(found)]


def tenor_columns(header: Iterable[str], years: Callable[[str], float | None]) -> dict[int, float]:
    """Years by column of a header, of the columns that are tenors."""
    return {i: tenor for i, name in enumerate(header) if (tenor := years(name)) is not None}

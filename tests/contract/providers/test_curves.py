"""Yield curves from the Treasury and from FRED: their columns, their units, their holes, and what they do when they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.curves import CurveSource
from services.ingest.providers.errors import ProviderDown, ProviderError, RateLimited, SchemaChanged
from services.ingest.providers.fred.provider import Fred
from services.ingest.providers.transport.gate import LocalRateLimiter
from services.ingest.providers.treasury.provider import Treasury
from tests.contract.providers.conftest import QUICK
from tests.support import vendors
from tests.support.vendors import Reply, VendorServer, serving

MAKERS: dict[str, Callable[[str], CurveSource]] = {
    "treasury": lambda url: Treasury(
        base_url=url, allow_loopback=True, bounds=QUICK, gate=LocalRateLimiter(trip_after=99)
    ),
    "fred": lambda url: Fred(base_url=url, allow_loopback=True, bounds=QUICK, gate=LocalRateLimiter(trip_after=99)),
}


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with serving(vendors.curves) as made:
        yield made


@pytest.fixture(params=MAKERS)
def source(request: pytest.FixtureRequest, server: VendorServer) -> Iterator[CurveSource]:
    made = MAKERS[request.param](server.url)
    yield made
    made.close()


def test_a_year_is_one_call_and_comes_as_fractions_in_years(source: CurveSource, server: VendorServer) -> None:
    found = source.curves(2026)
    assert len(server.calls) == 1
    days = [curve.date for curve in found]
    assert days == sorted(days)
    assert days[:2] == [date(2026, 1, 2), date(2026, 1, 5)]
    first = dict(zip(found[0].tenors, found[0].yields, strict=True))
    assert (first[0.25], first[20.0], first[30.0]) == pytest.approx((0.0365, 0.0479, 0.0486))
    assert first[1 / 12] == pytest.approx(0.0372)


def test_the_columns_of_every_year_are_read() -> None:
    with serving(vendors.curves) as server:
        source = MAKERS["treasury"](server.url)
        new, old = source.curves(2026)[0], source.curves(2016)[-1]
        source.close()
    assert (len(new.tenors), len(old.tenors)) == (14, 11)
    assert new.tenors[1] == pytest.approx(1.5 / 12)
    assert old.at(25.0) == pytest.approx((0.0279 + 0.0306) / 2)


def test_what_is_asked_for(server: VendorServer) -> None:
    for made in MAKERS.values():
        made(server.url).curves(2026)
    treasury, fred = server.calls
    assert treasury.path.endswith("/daily-treasury-rates.csv/2026/all")
    assert treasury.query["type"] == "daily_treasury_yield_curve"
    assert treasury.query["_format"] == "csv"
    assert (fred.query["cosd"], fred.query["coed"]) == ("2026-01-01", "2026-12-31")
    assert fred.query["id"].startswith("DGS1MO,DGS3MO,")


def test_a_year_that_has_no_curve_yet_is_empty(source: CurveSource) -> None:
    assert source.curves(2030) == []


@pytest.mark.parametrize(
    ("reply", "kind", "error"),
    [
        (
            Reply(b"<!doctype html><title>Maintenance</title>", content_type="text/html"),
            ProviderErrorKind.BAD_BODY,
            ProviderDown,
        ),
        (Reply(b""), ProviderErrorKind.BAD_BODY, ProviderDown),
        (Reply(b"\xff\xfe,\x00"), ProviderErrorKind.BAD_BODY, ProviderDown),
        (Reply(b'{"error": "gone"}'), ProviderErrorKind.BAD_BODY, ProviderDown),
        (Reply(b"", 503), ProviderErrorKind.OUTAGE, ProviderDown),
        (Reply(delay=1.2), ProviderErrorKind.TIMEOUT, ProviderDown),
        (Reply(b"", 429, {"Retry-After": "60"}), ProviderErrorKind.RATE_LIMITED, RateLimited),
        (Reply(b"", 302, {"Location": "http://169.254.169.254/"}), ProviderErrorKind.SCHEMA_CHANGED, SchemaChanged),
        (Reply(b"When,What\n2026-01-02,3.7\n"), ProviderErrorKind.SCHEMA_CHANGED, SchemaChanged),
        (Reply(b"Date,A,B\n2026-01-02,3.7,3.8\n"), ProviderErrorKind.SCHEMA_CHANGED, SchemaChanged),
    ],
)
def test_each_failure_is_typed(
    source: CurveSource, server: VendorServer, reply: Reply, kind: ProviderErrorKind, error: type[ProviderError]
) -> None:
    server.fail(reply)
    with pytest.raises(error) as raised:
        source.curves(2026)
    assert raised.value.fault is kind
    assert str(raised.value).startswith(f"{source.name}: ")


@pytest.mark.parametrize("cell", ["9999", "x", "-5", "nan", "inf"])
def test_an_odd_cell_costs_its_day_alone(server: VendorServer, cell: str) -> None:
    body = (vendors.PAYLOADS / "treasury" / "2026.csv").read_text().replace("4.78,4.85", f"4.78,{cell}")
    server.fail(Reply(body.encode(), content_type="text/csv"))
    found = MAKERS["treasury"](server.url).curves(2026)
    assert [curve.date for curve in found] == [date(2026, 1, 2), date(2026, 1, 6)]


def test_a_year_of_nothing_but_odd_cells_is_a_changed_format(server: VendorServer) -> None:
    body = (vendors.PAYLOADS / "treasury" / "2026.csv").read_text().replace("/2026", "-2026")
    server.fail(Reply(body.encode(), content_type="text/csv"))
    with pytest.raises(SchemaChanged, match="none of 3 rows"):
        MAKERS["treasury"](server.url).curves(2026)


def test_noughts_are_values_that_are_missing_but_of_bills(server: VendorServer) -> None:
    """A row of them is a day without a curve; one of a bond is a tenor without a yield; a bill's may be its yield."""
    header = "Date,1 Mo,3 Mo,6 Mo,1 Yr,2 Yr,10 Yr,20 Yr,30 Yr"
    rows = ["01/02/2026,0.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00", "01/05/2026,0.00,0.05,0.1,0.2,0.4,1.9,2.4,0.00"]
    server.fail(Reply("\n".join([header, *rows]).encode(), content_type="text/csv"))
    (found,) = MAKERS["treasury"](server.url).curves(2026)
    assert found.date == date(2026, 1, 5)
    assert found.tenors == (1 / 12, 0.25, 0.5, 1.0, 2.0, 10.0, 20.0)
    assert found.yields[0] == 0.0


def test_a_tenor_without_a_yield_is_left_out_and_a_holiday_is_no_curve(server: VendorServer) -> None:
    body = (
        (vendors.PAYLOADS / "fred" / "2026.csv").read_text().replace("observation_date", "DATE").replace(",4.86", ",.")
    )
    server.fail(Reply(body.encode(), content_type="text/csv"))
    first, second = MAKERS["fred"](server.url).curves(2026)
    assert (first.tenors[-1], second.tenors[-1]) == (20.0, 30.0)


HEADER = "Date,1 Mo,3 Mo,6 Mo,1 Yr,2 Yr,5 Yr,10 Yr,30 Yr"


@pytest.mark.parametrize("day", ["11/25/26", "11/25/2016", "01/02/2027"])
def test_a_row_of_no_day_of_the_year_is_refused(day: str) -> None:
    values = ",3.9,3.8,3.7,3.6,3.5,3.6,4.0,4.6"

    def curves(*days: str) -> list[date]:
        body = "\n".join([HEADER, *(one + values for one in days)]).encode()
        with serving(lambda _: Reply(body, content_type="text/csv")) as server:
            source = MAKERS["treasury"](server.url)
            try:
                return [curve.date for curve in source.curves(2026)]
            finally:
                source.close()

    assert curves("11/24/2026", day) == [date(2026, 11, 24)]
    with pytest.raises(SchemaChanged, match="none of 1 rows"):
        curves(day)

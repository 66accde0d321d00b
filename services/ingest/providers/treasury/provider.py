"""The US Treasury's daily par yield curve: keyless, in the public domain, a calendar year in one call."""

from datetime import date

from services.ingest.providers.curves import CurveCsv, tenor_of
from services.ingest.providers.transport.http import Parameters

PATH = "/resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/{year}/all"


class Treasury(CurveCsv):
    name = "treasury"
    home = "https://home.treasury.gov"
    day_columns = ("date",)
    expected = "Date"

    def question(self, year: int) -> tuple[str, Parameters]:
        return PATH.format(year=year), {
            "type": "daily_treasury_yield_curve",
            "field_tdr_date_value": year,
            "page": "",
            "_format": "csv",
        }

    def tenor_of(self, column: str) -> float | None:
        return tenor_of(column)

    def day_of(self, text: str) -> date:
        month, day, year = text.strip().split("/")
        if len(year) != 4:
            raise ValueError(f"{text!r} is no date of four digits of year")
        return date(int(year), int(month), int(day))

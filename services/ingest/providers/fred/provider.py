"""The same curve from FRED, where the Treasury's own page does not answer: the constant maturities of the H.15 release.

Keyless, by the download behind FRED's graphs; a calendar year in one call. It is a day behind the Treasury.
"""

from datetime import date

from services.ingest.providers.curves import CurveCsv
from services.ingest.providers.transport.http import Parameters

SERIES = {
    "DGS1MO": 1 / 12, "DGS3MO": 0.25, "DGS6MO": 0.5, "DGS1": 1.0, "DGS2": 2.0, "DGS3": 3.0, "DGS5": 5.0, "DGS7": 7.0,
    "DGS10": 10.0, "DGS20": 20.0, "DGS30": 30.0,
}  # fmt: skip


class Fred(CurveCsv):
    name = "fred"
    home = "https://fred.stlouisfed.org"
    # It was named DATE until 2024.
    day_columns = ("observation_date", "date")
    expected = "a date"

    def question(self, year: int) -> tuple[str, Parameters]:
        return "/graph/fredgraph.csv", {"id": ",".join(SERIES), "cosd": f"{year}-01-01", "coed": f"{year}-12-31"}

    def tenor_of(self, column: str) -> float | None:
        return SERIES.get(column.strip())

    def day_of(self, text: str) -> date:
        return date.fromisoformat(text)

"""Days that can have no values: what is said of them is true."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.store.coordinator.conftest import PREFIX, Api

READS = ("positions", "factor-exposures", "risk", "scorecard", "correlations", "stress", "explain")


@pytest.mark.parametrize(
    ("day", "code", "said"),
    [
        ("2020-12-26", "not_a_session", ("not a trading day", "2020-12-24", "2020-12-28")),
        ("2020-12-18", "before_first_session", ("before the first session", "2020-12-21")),
        ("2020-12-31", "not_due_yet", ("after the last session that is due", "2020-12-30")),
        ("1970-01-01", "not_a_session", ("1990-01-02",)),
        ("9999-12-31", "not_due_yet", ("2020-12-30",)),
    ],
)
async def test_a_day_that_is_no_session_is_called_what_it_is(
    api: Api, day: str, code: str, said: tuple[str, ...]
) -> None:
    identity = str((await api.create())["id"])
    for read in READS:
        answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/{read}?session={day}")
        assert (answer.status_code, answer.json()["code"]) == (404, code), read
        assert all(part in answer.json()["detail"] for part in said), answer.json()["detail"]
        assert "yet" not in answer.json()["detail"]


async def test_a_session_without_values_and_a_portfolio_that_is_not_there_are_not_found(api: Api) -> None:
    identity = str((await api.create())["id"])
    answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/positions?session=2020-12-29")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "no snapshot for session 2020-12-29 yet" in answer.json()["detail"]
    missing = await api.client.get(f"{PREFIX}/portfolios/{uuid4()}/positions?session=2020-12-26")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_symbols_have_no_values_on_such_days_either(api: Api) -> None:
    answer = await api.client.get(f"{PREFIX}/symbols/AAPL/factors?session=2020-12-26")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_a_session")


@pytest.mark.parametrize("path", ["/portfolios/{id}/snapshots", "/symbols/AAPL/prices"])
async def test_a_range_that_ends_before_it_begins_is_contradictory(api: Api, path: str) -> None:
    identity = str((await api.create())["id"])
    answer = await api.client.get(PREFIX + path.format(id=identity) + "?from=2020-12-30&to=2020-12-29")
    assert (answer.status_code, answer.json()["code"]) == (400, "contradictory_arguments")


async def test_seconds_since_1970_are_no_date(api: Api) -> None:
    identity = str((await api.create())["id"])
    for query in ("risk?session=1609286400", "snapshots?from=1609286400", "risk?session=2020-12-30T00:00:00"):
        answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/{query}")
        assert (answer.status_code, "YYYY-MM-DD" in answer.json()["detail"]) == (422, True), query
    answer = await api.client.post(f"{PREFIX}/admin/batch/run?start_date=1609286400")
    assert answer.status_code == 422

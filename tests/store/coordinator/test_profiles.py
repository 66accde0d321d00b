"""What vendors said of a company is answered as of the session, with its date; what nobody said is null with the reason."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.store.coordinator.conftest import PREFIX, Api


@pytest.fixture
async def symbol(api: Api) -> str:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('KO')")
    for day in ("2020-06-01", "2020-12-30"):
        await api.run(
            """
            INSERT INTO factors.exposures SELECT id, :day, '1', 7, array_fill('NaN'::float8, '{6}'), NULL, NULL,
                array_fill('NaN'::float8, '{12}'), array_fill('NaN'::float8, '{8}'), '{NaN,NaN,NaN}', '{0,0,0,0,0,0,0}', 'none', false
            FROM ingest.symbols
            """,
            day=date.fromisoformat(day),
        )
        await api.run(
            """
            INSERT INTO factors.metrics SELECT id, :day, '1', 7, 50, 'close', array_fill(0.0::float8, '{8}'),
                array_fill(0.0::float8, '{8}'), '{0.2,0.2,0.2}', 'full', '{}' FROM ingest.symbols
            """,
            day=date.fromisoformat(day),
        )
    return "KO"


async def say(api: Api, day: str, provider: str, **figures: float) -> None:
    await api.run(
        """
        INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, beta, market_cap, pe, fetched_at)
        SELECT id, :day, :provider, CAST(:beta AS float8), CAST(:market_cap AS float8), CAST(:pe AS float8), now()
        FROM ingest.symbols
        """,
        day=date.fromisoformat(day),
        provider=provider,
        **({"beta": None, "market_cap": None, "pe": None} | figures),
    )


async def read(api: Api, what: str, day: str) -> dict[str, Any]:
    answer = await api.client.get(f"{PREFIX}/symbols/KO/{what}", params={"session": day})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_without_a_provider_there_is_null_and_the_reason(api: Api, symbol: str) -> None:
    assert symbol == "KO"
    facts, metrics = await read(api, "factors", "2020-12-30"), await read(api, "metrics", "2020-12-30")
    assert facts["provider_beta"] == {"value": None, "date": None, "provider": None, "reason": "no_provider"}
    assert metrics["fundamentals"] == {"market_cap": None, "pe": None, "as_of": None, "provider": None}
    said = [(reason["figure"], reason["symbol"], reason["reason"], reason["acts"]) for reason in metrics["reasons"]]
    assert said == [(f"fundamentals.{figure}", "KO", "no_provider", "you") for figure in ("market_cap", "pe")]


async def test_the_newest_statement_dated_by_the_session_is_answered(api: Api, symbol: str) -> None:
    assert symbol == "KO"
    await say(api, "2020-05-31", "fmp", beta=0.55, market_cap=2.0e11, pe=21.5)
    await say(api, "2020-09-30", "fmp", beta=0.61)
    await say(api, "2020-12-30", "yahoo", market_cap=2.4e11)
    await say(api, "2020-12-31", "yahoo", beta=0.9, market_cap=9e15, pe=99.0)
    early, late = await read(api, "factors", "2020-06-01"), await read(api, "factors", "2020-12-30")
    assert early["provider_beta"] == {"value": 0.55, "date": "2020-05-31", "provider": "fmp", "reason": None}
    # A later statement without a beta does not hide the last one that had it.
    assert late["provider_beta"] == {"value": 0.61, "date": "2020-09-30", "provider": "fmp", "reason": None}
    early, late = await read(api, "metrics", "2020-06-01"), await read(api, "metrics", "2020-12-30")
    assert early["fundamentals"] == {"market_cap": 2.0e11, "pe": 21.5, "as_of": "2020-05-31", "provider": "fmp"}
    assert early["reasons"] == []
    # One vendor's figures of one day; the other's older P/E is not put beside them.
    assert late["fundamentals"] == {"market_cap": 2.4e11, "pe": None, "as_of": "2020-12-30", "provider": "yahoo"}
    assert [reason["figure"] for reason in late["reasons"]] == ["fundamentals.pe"]


async def test_of_two_vendors_on_one_day_it_is_always_the_same_one(api: Api, symbol: str) -> None:
    assert symbol == "KO"
    await say(api, "2020-05-31", "yahoo", beta=0.7)
    await say(api, "2020-05-31", "fmp", beta=0.5)
    assert (await read(api, "factors", "2020-06-01"))["provider_beta"]["provider"] == "fmp"


async def test_our_own_beta_never_stands_in(api: Api, symbol: str) -> None:
    assert symbol == "KO"
    await api.run("UPDATE factors.exposures SET market = '{0.6,0,0.5,0.1,0.1,6}'")
    assert (await read(api, "factors", "2020-12-30"))["provider_beta"]["value"] is None

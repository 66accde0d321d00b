"""The scorecard's own path, and its part in the risk answer."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.store.coordinator.conftest import PREFIX, Api


async def test_a_scorecard_by_method_with_how_many_forecasts_it_rests_on(api: Api) -> None:
    identity = str((await api.create())["id"])
    await api.complete(identity)
    await api.run(
        """
        INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, forecasts,
            realized_return, symbols, weights, excluded, realized_252, forecast_21, har, series_reasons, contributions,
            contribution_shares, model_factors, factor_shares)
        SELECT portfolio_id, session, 1, '1', 'complete', 1, '{"decomposition": {"volatility": null}}', '{NaN,NaN,0.04,0.01,NaN}',
               CASE session WHEN '2020-12-23' THEN -0.02 ELSE 0.001 END, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
               '{}', '{}'
        FROM ledger.units WHERE portfolio_id = :id AND phase = 'risk'
        """,
        id=UUID(identity),
    )
    url = f"{PREFIX}/portfolios/{identity}"
    answer = (await api.client.get(f"{url}/scorecard")).json()
    assert (answer["session"], answer["horizon"]) == ("2020-12-30", 21)
    assert [(row["method"], row["n"], row["qlike"], row["reason"]) for row in answer["forecasts"]] == [
        (method, 0, None, "short_history") for method in ("har", "ewma", "answered")
    ]
    historical, normal, *_ = answer["var"]
    assert len(answer["var"]) == 9
    # Seven sessions from 21 December on: six of them have a next day, and one of these lost more than a hundredth.
    assert (historical["n"], historical["exceedances"], historical["level"]) == (6, 1, 0.95)
    assert historical["kupiec_lr"] > 0.0
    assert 0.0 < historical["p"] < 1.0
    assert (normal["n"], normal["p"], normal["reason"]) == (0, None, "short_history")
    earlier = (await api.client.get(f"{url}/scorecard", params={"session": "2020-12-22"})).json()
    assert (earlier["session"], earlier["var"][0]["n"], earlier["var"][0]["exceedances"]) == ("2020-12-22", 1, 0)
    within = (await api.client.get(f"{url}/risk")).json()["scorecard"]
    assert within["var_95"] == {key: historical[key] for key in ("n", "exceedances", "kupiec_lr", "p")}


async def test_without_risk_there_is_no_scorecard(api: Api) -> None:
    identity = str((await api.create())["id"])
    assert (await api.client.get(f"{PREFIX}/portfolios/{identity}/scorecard")).status_code == 404
    assert (await api.client.get(f"{PREFIX}/portfolios/{uuid4()}/scorecard")).status_code == 404

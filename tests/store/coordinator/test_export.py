"""What is exported and entered again is the same portfolio: by the table, and by the document with its flows."""

from __future__ import annotations

import json
from typing import Any

from leadline import export
from tests.store.coordinator.conftest import PREFIX, Api

ENTERED = {
    "name": "Exported", "equity_balance": 250_000.5, "account_type": "ira",
    "positions": [
        {"symbol": "AAPL", "quantity": 100, "entry_date": "2020-08-28", "entry_price": 499.23, "price_basis": "as_traded"},
        {"symbol": "KO", "quantity": -12.5, "entry_date": "2020-12-05", "entry_price": 0.000125, "exit_date": "2020-12-21",
         "exit_price": 53.1, "name": 'Coca-Cola, "Co"', "sector": "Consumer Staples", "price_basis": "split_adjusted"},
    ],
    "flows": [{"date": "2020-12-22", "amount": -1000.25, "note": "rent"}],
}  # fmt: skip
KEPT = (*export.COLUMNS, "entry_session", "exit_session", "stated_quantity", "stated_entry_price", "stated_exit_price")


def lots(document: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        ({key: lot[key] for key in KEPT} for lot in document["positions"]), key=lambda lot: str(lot["symbol"])
    )


async def test_an_export_is_entered_again_as_the_same_portfolio(api: Api) -> None:
    created = await api.client.post(f"{PREFIX}/portfolios", json=ENTERED)
    assert created.status_code == 201, created.text
    before = (await api.client.get(f"{PREFIX}/portfolios/{created.json()['id']}")).json()
    files = export.files(before)

    body = json.loads(files["portfolio.json"]) | {"name": "From the document"}
    again = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert again.status_code == 201, again.text
    after = (await api.client.get(f"{PREFIX}/portfolios/{again.json()['id']}")).json()
    assert lots(after) == lots(before)
    assert (after["equity_balance"], after["account_type"]) == (250_000.5, "ira")
    assert [(flow["date"], flow["amount"], flow["note"]) for flow in after["flows"]] == [
        ("2020-12-22", -1000.25, "rent")
    ]

    form = {"name": "From the table", "equity_balance": "1"}
    table = {"file": ("positions.csv", files["positions.csv"].encode(), "text/csv")}
    third = await api.client.post(f"{PREFIX}/portfolios/import", data=form, files=table)
    assert third.status_code == 201, third.text
    assert lots((await api.client.get(f"{PREFIX}/portfolios/{third.json()['id']}")).json()) == lots(before)

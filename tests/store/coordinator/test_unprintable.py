"""A name, label or note that would act on whoever's terminal shows it is refused, whichever way it comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.store.coordinator.conftest import PREFIX, Api

ESCAPE, BIDI, HIDDEN = "\x1b]0;pwned\x07", "a\u202eb", "a\u200bb"
LOT = {"symbol": "AAPL", "quantity": 5, "entry_date": "2020-12-21", "entry_price": 128.23}
PORTFOLIO = {"name": "Test", "equity_balance": 100000, "positions": [LOT]}
FLOW = {"date": "2020-12-28", "amount": 5}


async def refused(api: Api, method: str, path: str, body: Any) -> set[tuple[int | None, str, str]]:
    """(row, column, code) of all faults, none of whose texts holds what was refused."""
    # Escaped, as whoever means it would send it.
    answer = await api.client.request(
        method, PREFIX + path, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert all(
        "U+001B" in error["message"] or "U+202E" in error["message"] or "U+200B" in error["message"] for error in errors
    )
    return {(error["row"], error["column"], error["code"]) for error in errors}


@pytest.mark.parametrize("text", [ESCAPE, BIDI, HIDDEN])
async def test_in_json_every_field_is_named(api: Api, text: str) -> None:
    body = PORTFOLIO | {
        "name": text,
        "positions": [LOT | {"name": text}, LOT | {"sector": text}],
        "flows": [FLOW | {"note": text}],
    }
    assert await refused(api, "POST", "/portfolios", body) == {
        (None, "name", "ERR_TEXT_001"), (1, "name", "ERR_TEXT_001"), (2, "sector", "ERR_TEXT_001"), (1, "note", "ERR_TEXT_001"),
    }  # fmt: skip
    url = f"/portfolios/{(await api.create())['id']}"
    for method, path, other in (
        ("PATCH", url, {"name": text}),
        ("POST", f"{url}/positions", LOT | {"name": text}),
        ("POST", f"{url}/flows", FLOW | {"note": text}),
        ("PUT", "/calendar/closures/2020-12-31", {"reason": text}),
        ("POST", "/symbols/AAPL/quarantine/2020-12-30/release", {"reason": text}),
        ("POST", "/symbols/AAPL/quarantine/2020-12-30/reject", {"reason": "x", "by": text}),
        ("POST", "/symbols/AAPL/resolve", {"symbol": text}),
        ("PUT", "/benchmarks/SP500/2020-01-02", {"weights": {text: 1}}),
    ):
        assert {code for _, _, code in await refused(api, method, path, other)} == {"ERR_TEXT_001"}, path


@pytest.mark.parametrize(
    ("text", "said"), [(ESCAPE, "U+001B"), (BIDI, "U+202E"), (HIDDEN, "U+200B"), ("a\x7f", "U+007F")]
)
async def test_in_forms_and_cells_too(api: Api, text: str, said: str) -> None:
    file = f"symbol,quantity,entry_date,entry_price,name,sector\nAAPL,1,2020-12-21,128,{text}x,\nKO,1,2020-12-21,50,,x{text}x\n"
    answer = await api.client.post(
        f"{PREFIX}/portfolios/import",
        data={"name": f"x{text}x", "equity_balance": "100000"},
        files={"file": ("p.csv", file.encode(), "text/csv")},
    )
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert {(error["row"], error["column"], error["code"]) for error in errors} == {
        (None, "name", "ERR_TEXT_001"), (2, "name", "ERR_TEXT_001"), (3, "sector", "ERR_TEXT_001"),
    }  # fmt: skip
    assert all(said in error["message"] for error in errors)
    assert not any(text in (error["value"] or "") or text in error["message"] for error in errors)
    assert await api.rows("SELECT 1 FROM coordinator.portfolios") == []


async def test_what_is_spelling_or_layout_stays(api: Api) -> None:
    name, label, note = "می\u200cخواهم 👨\u200d👩\u200d👧 日本", "Apple\n\tInc.", "paid in\nby hand\tabc"
    body = PORTFOLIO | {"name": name, "positions": [LOT | {"name": label}], "flows": [FLOW | {"note": note}]}
    made = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert made.status_code == 201, made.text
    stored = (await api.client.get(f"{PREFIX}/portfolios/{made.json()['id']}")).json()
    assert (stored["name"], stored["positions"][0]["name"], stored["flows"][0]["note"]) == (name, label, note)
    lines = await api.client.post(f"{PREFIX}/portfolios", json=PORTFOLIO | {"name": "a\nAll complete"})
    assert (lines.status_code, lines.json()["errors"][0]["code"]) == (422, "ERR_TEXT_001")
    assert "U+000A" in lines.json()["errors"][0]["message"]

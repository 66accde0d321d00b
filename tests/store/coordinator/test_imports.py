"""Files into portfolios: again, corrected, taken back, and lists of trades. Through the API, on a real database."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.coordinator.portfolios.price_basis import decide_price_basis
from services.coordinator.portfolios.settlement import settle
from tests.store.coordinator.conftest import PREFIX, Api
from tests.unit.coordinator import test_import_layouts

HEADER = "symbol,quantity,entry_date,entry_price,exit_date,exit_price,sector,price_basis\n"
OPEN = HEADER + "KO,10,2020-12-02,52,,,,\nPEP,5,2020-12-03,145,,,,\n"
CLOSED = HEADER + "KO,10,2020-12-02,52,2020-12-22,53.5,Consumer Staples,as_traded\nPEP,5,2020-12-03,145,,,,\n"
TRADES = "date,action,symbol,quantity,price,id\n"


async def post(api: Api, portfolio: str, csv: str, **form: str) -> Any:
    url = f"{PREFIX}/portfolios/{portfolio}/import"
    return await api.client.post(url, data=form, files={"file": ("again.csv", csv.encode(), "text/csv")})


async def add(api: Api, portfolio: str, csv: str, **form: str) -> dict[str, Any]:
    answer = await post(api, portfolio, csv, **form)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def lots(api: Api, portfolio: str) -> list[tuple[Any, ...]]:
    rows = await api.rows(
        """
        SELECT symbol, stated_quantity, entry_date, stated_entry_price, exit_date, stated_exit_price, sector,
               CASE WHEN basis_reason = 'stated' THEN price_basis END
        FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL
        ORDER BY symbol, entry_date, stated_quantity, exit_date
        """,
        id=UUID(portfolio),
    )
    return [tuple(_text(value) for value in row) for row in rows]


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return "" if value is None else str(value)


async def undo(api: Api, portfolio: str, import_id: str) -> dict[str, Any]:
    answer = await api.client.delete(f"{PREFIX}/portfolios/{portfolio}/imports/{import_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_corrected_file_is_listed_and_changes_what_it_says_when_told_to(api: Api) -> None:
    created = await api.create(OPEN)
    portfolio = created["id"]
    before = await lots(api, portfolio)

    listed = await add(api, portfolio, CLOSED)
    assert (listed["positions"], listed["changed"], listed["unchanged"], listed["run_id"]) == (0, 0, 1, None)
    [difference] = listed["would_change"]
    assert (difference["row"], difference["symbol"]) == (2, "KO")
    assert difference["changes"] == {
        "exit_date": {"stored": None, "file": "2020-12-22"},
        "exit_price": {"stored": None, "file": "53.5"},
        "sector": {"stored": None, "file": "Consumer Staples"},
        "price_basis": {"stored": None, "file": "as_traded"},
    }
    assert await lots(api, portfolio) == before, "listed, not done: and no second lot beside the first"

    done = await add(api, portfolio, CLOSED, on_match="update")
    assert (done["positions"], done["changed"], done["unchanged"], done["would_change"]) == (0, 1, 1, [])
    assert done["run_id"] is not None
    assert [lot[4:] for lot in await lots(api, portfolio)] == [
        ("2020-12-22", "53.5", "Consumer Staples", "as_traded"),
        ("", "", "", ""),
    ]


async def test_an_empty_cell_erases_nothing(api: Api) -> None:
    portfolio = (await api.create(CLOSED))["id"]
    before = await lots(api, portfolio)
    again = await add(api, portfolio, OPEN, on_match="update")
    assert (again["positions"], again["changed"], again["unchanged"], again["would_change"]) == (0, 0, 2, [])
    assert await lots(api, portfolio) == before


async def test_a_dry_run_lists_and_changes_nothing(api: Api) -> None:
    portfolio = (await api.create(OPEN))["id"]
    answer = await add(api, portfolio, CLOSED, dry_run="true", on_match="update")
    assert [entry["symbol"] for entry in answer["would_change"]] == ["KO"]
    assert (answer["import_id"], answer["estimate"]["symbols"] >= 0) == (None, True)
    assert (await lots(api, portfolio))[0][4:] == ("", "", "", "")


async def test_a_corrected_quantity_or_price_is_a_new_lot_and_is_asked_about(api: Api) -> None:
    portfolio = (await api.create(OPEN))["id"]
    answer = await add(api, portfolio, HEADER + "KO,12,2020-12-02,52,,,,\nPEP,5,2020-12-03,154,,,,\n")
    assert answer["positions"] == 2
    assert [(w["row"], w["column"]) for w in answer["warnings"] if w["code"] == "similar_lot"] == [
        (2, "quantity"),
        (3, "entry_price"),
    ]


async def test_a_corrected_day_or_quantity_and_price_is_asked_about_and_another_fill_is_not(api: Api) -> None:
    portfolio = (await api.create(OPEN))["id"]
    moved = await add(api, portfolio, HEADER + "KO,10,2020-12-03,52,,,,\nPEP,6,2020-12-03,155,,,,\n", dry_run="true")
    assert [(w["row"], w["column"], w["value"]) for w in moved["warnings"] if w["code"] == "similar_lot"] == [
        (2, "entry_date", "2020-12-03"),
        (3, "quantity", "6 at 155"),
    ]
    beside = await add(api, portfolio, OPEN + "PEP,6,2020-12-03,155,,,,\nKO,10,2020-12-09,52,,,,\n", dry_run="true")
    assert [w for w in beside["warnings"] if w["code"] == "similar_lot"] == []


async def test_an_import_is_taken_back(api: Api) -> None:
    created = await api.create(OPEN)
    portfolio = created["id"]
    more = await add(api, portfolio, HEADER + "MSFT,3,2020-11-20,210,,,,\n")
    assert (await api.client.get(f"{PREFIX}/portfolios/{portfolio}")).json()["first_session"] == "2020-11-20"
    items = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/imports")).json()["items"]
    assert [item["id"] for item in items] == [more["import_id"], created["import_id"]]

    done = await undo(api, portfolio, more["import_id"])
    assert (done["removed"], done["restored"], done["first_session"]) == (1, 0, "2020-12-02")
    assert [lot[0] for lot in await lots(api, portfolio)] == ["KO", "PEP"]
    units = await api.rows("SELECT min(session) FROM ledger.units WHERE portfolio_id = :id", id=UUID(portfolio))
    assert str(units[0][0]) == "2020-12-02", "and the sessions before the first entry go with it"
    answer = await api.client.delete(f"{PREFIX}/portfolios/{portfolio}/imports/{more['import_id']}")
    assert (answer.status_code, "undone already" in answer.json()["detail"]) == (404, True)
    assert (await undo(api, portfolio, created["import_id"]))["removed"] == 2
    assert await lots(api, portfolio) == []


async def test_taking_back_a_correction_restores_what_the_first_file_said(api: Api) -> None:
    created = await api.create(OPEN)
    portfolio, before = created["id"], await lots(api, created["id"])
    correction = await add(api, portfolio, CLOSED, on_match="update")
    done = await undo(api, portfolio, correction["import_id"])
    assert (done["removed"], done["restored"]) == (0, 1)
    assert await lots(api, portfolio) == before
    correction = await add(api, portfolio, CLOSED, on_match="update")
    corrected = await lots(api, portfolio)
    assert (await undo(api, portfolio, created["import_id"]))["removed"] == 0
    assert await lots(api, portfolio) == corrected, "the correction states these lots too"


FILES = [
    HEADER + "KO,10,2020-12-02,52,,,,\nKO,10,2020-12-02,52,,,,\nPEP,5,2020-12-03,145,,,,\n",
    HEADER + "KO,10,2020-12-02,52,2020-12-22,53.5,,\nPEP,5,2020-12-03,145,,,Staples,\n",
    HEADER + "KO,10,2020-12-02,52,2020-12-21,53,Drinks,as_traded\nKO,10,2020-12-02,52,,,,\nMSFT,1,2020-12-04,214,,,,\n",
    HEADER + "PEP,5,2020-12-03,145,2020-12-28,147,,\nMSFT,1,2020-12-04,214,2020-12-29,224,Software,\n",
]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 6))])
async def test_import_correct_undo_and_again_in_any_order_end_where_the_last_file_says(api: Api, seed: int) -> None:
    """After every step each lot is what the files that count say of it together, the later over the earlier."""
    chance = random.Random(seed)
    portfolio = (await api.create(HEADER + "KO,1,2020-12-01,51,,,,\n"))["id"]
    counting: dict[str, int] = {}
    for _ in range(9):
        if counting and chance.random() < 0.4:
            gone = chance.choice(list(counting))
            await undo(api, portfolio, gone)
            del counting[gone]
        else:
            number = chance.randrange(len(FILES))
            answer = await add(api, portfolio, FILES[number], on_match="update")
            counting[answer["import_id"]] = number
        found = [lot for lot in await lots(api, portfolio) if lot[:4] != ("KO", "1", "2020-12-01", "51")]
        assert found == expected([FILES[number] for number in counting.values()])
    last = (await add(api, portfolio, FILES[2], on_match="update"))["import_id"]
    assert last
    said = [lot for lot in await lots(api, portfolio) if lot[0] == "MSFT"]
    assert [lot[:4] for lot in said] == [("MSFT", "1", "2020-12-04", "214")]


def expected(files: list[str]) -> list[tuple[str, ...]]:
    """Lots by what was bought and its occurrence in the file; a cell that is filled goes over what was there."""
    state: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        seen: dict[tuple[str, ...], int] = {}
        for line in file.splitlines()[1:]:
            cells = line.split(",")
            bought = tuple(cells[:4])
            seen[bought] = seen.get(bought, 0) + 1
            lot = state.setdefault((*bought, str(seen[bought])), [""] * 4)
            for at, cell in enumerate(cells[4:]):
                lot[at] = cell or lot[at]
    rows = [(*key[:4], *lot) for key, lot in state.items()]
    # The database puts open lots last.
    return sorted(rows, key=lambda row: (row[0], row[2], float(row[1]), row[4] or "9"))


async def test_a_second_portfolio_of_one_name_needs_a_word(api: Api) -> None:
    first = await api.create(OPEN, name="Twin", allow_duplicate_name="false")
    form = {"name": "Twin", "equity_balance": "100000"}
    files = {"file": ("p.csv", OPEN.encode(), "text/csv")}
    refused = await api.client.post(f"{PREFIX}/portfolios/import", data=form, files=files)
    assert (refused.status_code, refused.json()["code"]) == (409, "duplicate_name")
    assert f"--into {first['id']}" in refused.json()["detail"]
    preview = await api.client.post(f"{PREFIX}/portfolios/import", data=form | {"dry_run": "true"}, files=files)
    assert "duplicate_name" in [warning["code"] for warning in preview.json()["warnings"]]
    second = await api.create(OPEN, name="Twin", allow_duplicate_name="true")
    assert second["id"] != first["id"]


async def test_an_import_answers_at_most_twenty_errors_and_their_number(api: Api) -> None:
    rows = "".join(f"KO,{'x' if n % 2 else n},2020-12-02,52,,,,\n" for n in range(1, 101))
    answer = await api.client.post(
        f"{PREFIX}/portfolios/import",
        data={"name": "Bad", "equity_balance": "100000"},
        files={"file": ("p.csv", (HEADER + rows).encode(), "text/csv")},
    )
    assert answer.status_code == 422
    assert (len(answer.json()["errors"]), answer.json()["errors_total"]) == (20, 50)


async def test_lots_that_cost_more_than_the_equity_are_said(api: Api) -> None:
    answer = await api.create(OPEN, equity_balance="500", dry_run="true")
    [warning] = [each for each in answer["warnings"] if each["code"] == "cost_over_equity"]
    assert "cash starts at -20.00" in warning["message"]


async def test_trades_become_lots_over_all_files_of_a_portfolio(api: Api) -> None:
    spring = TRADES + "2020-12-02,buy,KO,10,52,1\n2020-12-03,buy,KO,5,53,2\n"
    autumn = TRADES + "2020-12-03,buy,KO,5,53,2\n2020-12-14,sell,KO,12,54,3\n2020-12-15,sell,PEP,1,150,4\n"
    created = await api.create(spring)
    portfolio = created["id"]
    assert created["reading"]["kind"] == "trades"
    assert [lot[1:6] for lot in await lots(api, portfolio)] == [
        ("10", "2020-12-02", "52", "", ""),
        ("5", "2020-12-03", "53", "", ""),
    ]
    more = await add(api, portfolio, autumn)
    assert more["unchanged"] == 1, "a trade that both files have counts once"
    assert [(w["code"], "PEP" in w["message"]) for w in more["warnings"] if w["code"] == "not_placed"] == [
        ("not_placed", True)
    ]
    sold = [("10", "2020-12-02", "52", "2020-12-14", "54"), ("2", "2020-12-03", "53", "2020-12-14", "54"),
            ("3", "2020-12-03", "53", "", "")]  # fmt: skip
    assert [lot[1:6] for lot in await lots(api, portfolio)] == sold
    again = await add(api, portfolio, autumn)
    assert (again["positions"], again["unchanged"], again["run_id"]) == (0, 3, None)
    await undo(api, portfolio, again["import_id"])
    assert [lot[1:6] for lot in await lots(api, portfolio)] == sold, "the other import lists these trades too"
    await undo(api, portfolio, more["import_id"])
    assert [lot[1:6] for lot in await lots(api, portfolio)] == [
        ("10", "2020-12-02", "52", "", ""),
        ("5", "2020-12-03", "53", "", ""),
    ]


async def test_an_order_that_was_filled_in_parts_under_one_id_counts_whole(api: Api) -> None:
    """Two rows of one id were one key, and a fault of the database."""
    fills = TRADES + "2020-12-02,buy,KO,10,52,7\n2020-12-02,buy,KO,5,52,7\n2020-12-02,buy,KO,5,52,7\n"
    created = await api.create(fills)
    assert [lot[1] for lot in await lots(api, created["id"])] == ["5", "5", "10"]
    again = await add(api, created["id"], fills)
    assert (again["positions"], again["unchanged"]) == (0, 3)


async def test_trades_that_are_stated_on_todays_shares_know_no_split(api: Api) -> None:
    """400 bought, 300 of them sold after a 4 for 1 that is in both numbers; also once another file is added and taken back."""
    await _list_split(api, "KO", "2020-12-10", 4.0)
    bought, sold = TRADES + "2020-12-02,buy,KO,400,25,1\n", TRADES + "2020-12-21,sell,KO,300,26,2\n"
    created = await api.create(bought, price_basis="split_adjusted")
    portfolio = created["id"]
    more = await add(api, portfolio, sold, price_basis="split_adjusted")
    left = [("100", "2020-12-02", "25", "", ""), ("300", "2020-12-02", "25", "2020-12-21", "26")]
    assert {lot[1:6] for lot in await lots(api, portfolio)} == set(left)
    other = await add(api, portfolio, TRADES + "2020-12-03,buy,PEP,1,145,3\n")
    await undo(api, portfolio, other["import_id"])
    assert {lot[1:6] for lot in await lots(api, portfolio)} == set(left)
    assert {lot[7] for lot in await lots(api, portfolio)} == {"split_adjusted"}
    again = await add(api, portfolio, sold)
    assert [w["code"] for w in again["warnings"] if w["code"] == "trades_keep_basis"] == ["trades_keep_basis"]
    await undo(api, portfolio, again["import_id"])
    await undo(api, portfolio, more["import_id"])
    assert [lot[1:6] for lot in await lots(api, portfolio)] == [("400", "2020-12-02", "25", "", "")]


async def test_holdings_and_trades_of_one_symbol_in_a_portfolio_are_asked_about(api: Api) -> None:
    portfolio = (await api.create(OPEN))["id"]
    told = await add(api, portfolio, TRADES + "2020-12-02,buy,KO,10,52,1\n")
    [message] = [w["message"] for w in told["warnings"] if w["code"] == "held_twice"]
    assert message.startswith("KO: there are lots of it")
    told = await add(api, portfolio, HEADER + "KO,3,2020-12-03,52,,,,\nMSFT,1,2020-12-04,214,,,,\n")
    assert [w["value"] for w in told["warnings"] if w["code"] == "held_twice"] == ["KO"]


async def test_a_later_list_of_holdings_is_asked_about_and_dated_lots_are_not(api: Api) -> None:
    """Of holdings at the price of another day, none was like a stored lot, and the book was held twice."""
    holdings = "symbol,quantity,entry_price\nKO,10,{}\nPEP,5,{}\n"
    created = await api.create(holdings.format(52, 145), entry_date="2020-12-02")
    portfolio = created["id"]
    later = await add(api, portfolio, holdings.format(54, 148), entry_date="2020-12-21", dry_run="true")
    [message] = [w["message"] for w in later["warnings"] if w["code"] == "held_already"]
    assert message.startswith("KO (10), PEP (5): open lots of it are stored")
    same = await add(api, portfolio, holdings.format(52, 145), entry_date="2020-12-02", dry_run="true")
    dated = await add(api, portfolio, HEADER + "KO,10,2020-12-21,54,,,,\n", dry_run="true")
    other = await add(
        api, portfolio, "symbol,quantity,entry_price\nMSFT,1,214\n", entry_date="2020-12-21", dry_run="true"
    )
    assert [w for answer in (same, dated, other) for w in answer["warnings"] if w["code"] == "held_already"] == []


async def test_a_corrected_trade_is_listed_taken_when_told_to_and_taken_back(api: Api) -> None:
    """By its id it was known, and its other content ignored without a word; without one it counted twice."""
    first, corrected = TRADES + "2020-12-02,buy,KO,10,52,1\n", TRADES + "2020-12-03,buy,KO,12,52,1\n"
    portfolio = (await api.create(first))["id"]
    listed = await add(api, portfolio, corrected)
    assert (listed["positions"], listed["unchanged"], listed["changed"]) == (0, 0, 0)
    [difference] = listed["would_change"]
    assert (difference["symbol"], difference["position_id"], difference["entry_date"]) == ("KO", None, "2020-12-02")
    assert difference["changes"]["quantity"] == {"stored": "10", "file": "12"}
    assert [lot[1:4] for lot in await lots(api, portfolio)] == [("10", "2020-12-02", "52")]
    done = await add(api, portfolio, corrected, on_match="update")
    assert (done["changed"], done["would_change"], done["run_id"] is not None) == (1, [], True)
    assert [lot[1:4] for lot in await lots(api, portfolio)] == [("12", "2020-12-03", "52")]
    assert (await add(api, portfolio, corrected))["unchanged"] == 1
    beside = await add(api, portfolio, TRADES + "2020-12-03,buy,KO,12,52.5,\n", dry_run="true")
    assert [(w["row"], w["column"]) for w in beside["warnings"] if w["code"] == "similar_trade"] == [(2, "price")]
    imports = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/imports")).json()["items"]
    for entry in imports[:2]:
        await undo(api, portfolio, entry["id"])
    assert [lot[1:4] for lot in await lots(api, portfolio)] == [("10", "2020-12-02", "52")], (
        "as the file says that is left"
    )


async def test_an_upgrade_keeps_the_lots_of_trades_that_the_oldest_import_was_believed_of(api: Api) -> None:
    first, other = TRADES + "2020-12-02,buy,KO,10,52,1\n", TRADES + "2020-12-03,buy,KO,12,52,1\n"
    portfolio = (await api.create(first))["id"]
    await add(api, portfolio, other)
    # As it was kept before: each import in its own words, of which those of the oldest counted.
    await api.run(
        "UPDATE coordinator.trades SET quantity = 12 WHERE import_id = (SELECT max(id::text)::uuid FROM coordinator.imports)"
    )
    await api.run(NEWEST_SAYS.split(";")[0])
    kept = await api.rows(
        "SELECT DISTINCT quantity FROM coordinator.trades WHERE portfolio_id = :id", id=UUID(portfolio)
    )
    assert [int(row[0]) for row in kept] == [10]


NEWEST_SAYS = Path("shared/db/migrations/sql/0038_trades_as_the_newest_file_says.sql").read_text()

FILLS = [
    TRADES + "2020-12-02,buy,KO,10,52,1\n2020-12-03,buy,KO,5,53,2\n",
    TRADES + "2020-12-03,buy,KO,5,53,2\n2020-12-14,sell,KO,4,54,3\n",
    TRADES + "2020-12-01,buy,KO,3,51,4\n2020-12-04,short,PEP,2,145,5\n2020-12-07,receive,KO,2,,8\n",
    TRADES + "2020-12-15,sell,KO,1,55,6\n2020-12-16,cover,PEP,1,143,7\n2020-12-02,buy,KO,10,52,1\n",
]
MARKS, SIDES = {"KO": 56, "PEP": 150}, {"buy": 1, "sell": -1, "short": -1, "cover": 1, "receive": 1}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
async def test_lists_of_trades_in_any_order_and_taken_back_hold_what_a_plain_ledger_holds(api: Api, seed: int) -> None:
    chance = random.Random(seed)
    first = await api.create(FILLS[0])
    portfolio, counting = first["id"], {first["import_id"]: 0}
    for _ in range(7):
        undone = [known for known in counting if counting[known] or list(counting.values()).count(0) > 1]
        if undone and chance.random() < 0.4:
            gone = chance.choice(undone)
            await undo(api, portfolio, gone)
            del counting[gone]
        else:
            number = chance.randrange(len(FILLS))
            counting[(await add(api, portfolio, FILLS[number]))["import_id"]] = number
        listed = {line for number in counting.values() for line in FILLS[number].splitlines()[1:]}
        held, ledger = {"KO": 0.0, "PEP": 0.0}, 0.0
        placed = dict.fromkeys(SIDES, True) | {"cover": any(",short," in line for line in listed)}
        for _day, side, symbol, quantity, price, _id in (line.split(",") for line in listed):
            if placed[side]:
                held[symbol] += SIDES[side] * float(quantity)
                ledger += SIDES[side] * float(quantity) * (MARKS[symbol] - float(price or 0))
        found = await lots(api, portfolio)
        gained = sum(float(lot[1]) * (float(lot[5] or MARKS[lot[0]]) - float(lot[3])) for lot in found)
        assert gained == pytest.approx(ledger)
        opened = {symbol: sum(float(lot[1]) for lot in found if lot[0] == symbol and not lot[4]) for symbol in held}
        assert opened == pytest.approx(held)


async def _list_split(api: Api, symbol: str, day: str, ratio: float) -> None:
    await api.run(f"INSERT INTO ingest.symbols (symbol) VALUES ('{symbol}')")
    await api.run(
        f"""
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, '{day}', 'split', {ratio}, '{day}', 'file', now(), 1 FROM ingest.symbols WHERE symbol = '{symbol}'
        """
    )


async def test_splits_and_dividends_of_the_price_source_meet_the_brokers(api: Api) -> None:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('KO')")
    await api.run(
        """
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, day, kind, value, day, 'file', now(), 1 FROM ingest.symbols,
            (VALUES (DATE '2020-12-10', 'split', 2.0), (DATE '2020-12-14', 'dividend', 0.41)) AS a (day, kind, value)
        WHERE symbol = 'KO'
        """
    )
    created = await api.create(
        TRADES.replace(",id", ",amount")
        + "2020-12-02,buy,KO,10,100,\n2020-12-16,dividend,KO,,,8.20\n2020-12-17,dividend,KO,,,20\n2020-12-21,sell,KO,8,55,\n"
    )
    assert [lot[1:6] for lot in await lots(api, created["id"])] == [
        ("4", "2020-12-02", "100", "2020-12-21", "55"),
        ("6", "2020-12-02", "100", "", ""),
    ]
    differing = [w for w in created["warnings"] if w["code"] == "dividend_differs"]
    assert [w["row"] for w in differing] == [4]
    assert "1.0000 a share" in differing[0]["message"]
    assert await api.rows("SELECT 1 FROM coordinator.flows") == []


async def test_a_split_that_becomes_known_after_the_import_matches_the_trades_anew(api: Api) -> None:
    created = await api.create(
        TRADES.replace(",id", "")
        + "2020-12-02,buy,KO,10,100\n2020-12-21,sell,KO,8,55\n2020-12-03,buy,PEP,5,145\n2020-12-04,sell,PEP,1,146\n"
    )
    portfolio = created["id"]
    own = [lot[1:6] for lot in await lots(api, portfolio) if lot[0] == "PEP"]
    assert [lot[1:6] for lot in await lots(api, portfolio)][:2] == [
        ("2", "2020-12-02", "100", "", ""),
        ("8", "2020-12-02", "100", "2020-12-21", "55"),
    ], "no split is known yet"
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('KO')")
    await api.run(
        """
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, '2020-12-10', 'split', 4.0, '2020-12-10', 'file', now(), 1 FROM ingest.symbols WHERE symbol = 'KO'
        """
    )
    (before,) = await api.rows("SELECT max(required_revision) FROM ledger.units WHERE phase = 'ingest'")
    assert await _settle(api) == 4, "two lots go, two come"
    matched = [("2", "2020-12-02", "100", "2020-12-21", "55"), ("8", "2020-12-02", "100", "", "")]
    assert [lot[1:6] for lot in await lots(api, portfolio)] == matched + own, "8 of 40, and nothing of PEP"
    (after,) = await api.rows("SELECT max(required_revision) FROM ledger.units WHERE phase = 'ingest'")
    assert after[0] > before[0], "the lots are computed again"
    assert await _settle(api) == 0
    # What is taken out by hand does not come back of itself.
    await api.run("UPDATE coordinator.positions SET deleted_at = now() WHERE symbol = 'KO' AND exit_date IS NULL")
    assert await _settle(api) == 0
    assert [lot[1:6] for lot in await lots(api, portfolio)] == matched[:1] + own


async def test_a_split_of_the_file_alone_gives_way_to_the_sources(api: Api) -> None:
    """Its shares enter at 0 beside those that were bought; once the source lists the split, there is one lot, and no second word."""
    created = await api.create(
        TRADES.replace(",id", "")
        + "2020-12-02,buy,KO,10,100\n2020-12-11,split,KO,10,\n2020-12-14,stock dividend,PEP,1,\n"
    )
    portfolio = created["id"]
    told = [(w["row"], w["value"]) for w in created["warnings"] if w["code"] == "shares_received"]
    assert told == [(3, "10"), (4, "1")]
    assert not [w for w in created["warnings"] if w["code"] == "zero_price"], "said once"
    found = [lot[:4] for lot in await lots(api, portfolio)]
    assert sorted(found) == [
        ("KO", "10", "2020-12-02", "100"), ("KO", "10", "2020-12-11", "0"), ("PEP", "1", "2020-12-14", "0")
    ]  # fmt: skip
    assert await _settle(api) == 0
    await _list_split(api, "KO", "2020-12-10", 2.0)
    assert await _settle(api) == 1, "the lot that cost nothing goes"
    assert ("KO", "10", "2020-12-02", "100") in [lot[:4] for lot in await lots(api, portfolio)]
    assert len(await lots(api, portfolio)) == 2
    assert await _settle(api) == 0


async def test_closes_that_are_adjusted_for_a_split_of_the_file_alone_match_the_trades_anew(api: Api) -> None:
    """Also where the lots were compared with them before: whoever comes first, the lots are the same."""
    for compared_first in (False, True):
        symbol = f"KO{'X' * compared_first}"
        created = await api.create(
            TRADES.replace(",id", "") + f"2020-12-02,buy,{symbol},10,100\n2020-12-11,split,{symbol},10,\n"
        )
        portfolio = created["id"]
        assert len(await lots(api, portfolio)) == 2
        await api.run(f"INSERT INTO ingest.symbols (symbol) VALUES ('{symbol}')")
        await api.run(
            f"""
            INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
            SELECT id, day, 50, 'as_traded', 'file', now(), 1 FROM ingest.symbols,
                (VALUES (DATE '2020-12-02'), (DATE '2020-12-11')) AS d (day) WHERE symbol = '{symbol}'
            """
        )
        await api.complete(portfolio, phase="ingest")
        if compared_first:
            await decide_price_basis(api.context.engine, api.context.clock, wake=api.context.wake_relay)
            assert len(await lots(api, portfolio)) == 2
        await _settle(api)
        assert [lot[:4] for lot in await lots(api, portfolio)] == [(symbol, "20", "2020-12-02", "50")]
        await api.complete(portfolio, phase="ingest")
        assert await _settle(api) == 0


async def test_holdings_without_a_day_enter_at_the_price_of_their_file_where_no_close_is_stored(api: Api) -> None:
    """On a first import nothing is stored, and the remedy that the message named led back to it."""
    vanguard = 'Account Number,Investment Name,Symbol,Shares,Share Price,Total Value\n1,Coca,KO,10,"$53.00","$530.00"\n'
    created = await api.create(vanguard, entry_date="2020-12-21")
    assert [lot[:4] for lot in await lots(api, created["id"])] == [("KO", "10", "2020-12-21", "53")]
    assert [w["value"] for w in created["warnings"] if w["code"] == "entered_at_file_price"] == ["KO"]


async def _settle(api: Api) -> int:
    return await settle(api.context.engine, api.context.clock, wake=api.context.wake_relay)


async def test_lots_without_a_price_enter_at_the_stored_close(api: Api) -> None:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('KO')")
    await api.run(
        """
        INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
        SELECT id, DATE '2020-12-21', 53.25, 'as_traded', 'file', now(), 1 FROM ingest.symbols WHERE symbol = 'KO'
        """
    )
    created = await api.create("symbol,quantity\nKO,10\n", entry_date="2020-12-21")
    assert [lot[:4] for lot in await lots(api, created["id"])] == [("KO", "10", "2020-12-21", "53.25")]
    answer = await post(api, created["id"], "symbol,quantity\nPEP,1\n", entry_date="2020-12-21")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "ERR_POS_027"
    assert "PEP on 2020-12-21" in answer.json()["errors"][0]["message"]


async def test_mappings_are_saved_by_name(api: Api) -> None:
    saved = {
        "dialect": "us",
        "map": {"symbol": "Ticker", "quantity": "Shares", "entry_date": "Bought", "entry_price": "Paid"},
    }
    answer = await api.client.put(f"{PREFIX}/imports/mappings/my broker", json=saved)
    assert answer.status_code == 200, answer.text
    created = await api.create('Ticker,Shares,Bought,Paid\nKO,"1,000",12/21/2020,$53.00\n', mapping="my broker")
    assert [lot[:4] for lot in await lots(api, created["id"])] == [("KO", "1000", "2020-12-21", "53")]
    items = (await api.client.get(f"{PREFIX}/imports/mappings")).json()["items"]
    assert [item["name"] for item in items] == ["my broker"]
    assert (await api.client.delete(f"{PREFIX}/imports/mappings/my broker")).status_code == 204
    answer = await post(api, created["id"], OPEN, mapping="my broker")
    assert (answer.status_code, "'my broker'" in answer.json()["detail"]) == (404, True)
    bad = await api.client.put(f"{PREFIX}/imports/mappings/x", json={"dialect": "french"})
    assert (bad.status_code, "iso, us, uk, eu" in bad.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"dialect": "german"}, "dialect 'german' is none of iso, us, uk, eu"),
        ({"map": "Ticker"}, "symbol=Ticker"),
        ({"symbols": "US1912161007"}, "US0378331005=AAPL"),
        ({"on_match": "overwrite"}, "list, update"),
    ],
)
async def test_a_form_field_that_means_nothing_is_refused(api: Api, form: dict[str, str], words: str) -> None:
    portfolio = (await api.create(OPEN))["id"]
    answer = await post(api, portfolio, OPEN, **form)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_layouts_are_listed(api: Api) -> None:
    items = (await api.client.get(f"{PREFIX}/imports/presets")).json()["items"]
    assert {"schwab-positions", "fidelity-history", "ibkr-activity", "degiro"} <= {item["name"] for item in items}


async def test_a_preview_asks_the_price_file(api: Api) -> None:
    """An answering ingest is played by this test; without a file in the chain nobody is asked and that is said."""
    csv = (
        HEADER
        + "KO,10,2020-12-02,52,,,,\nKOO,5,2020-12-03,145,,,,\nPEP,1,2020-12-03,1.45,2020-12-10,14.4,,\nADJO,1,2020-12-03,50,,,,\n"
    )
    silent = await api.create(csv, dry_run="true")
    assert (silent["not_asked"], silent["unknown_symbols"]) == (["ADJO", "KO", "KOO", "PEP"], [])
    await api.run(
        "INSERT INTO ingest.chain (rank, provider, limits, seconds, calls_each, calls_fifty) VALUES (0, 'file', '{}', '{}', 0, 0)"
    )
    answers = {"KO": (True, "Coca-Cola", 52.5, []), "KOO": (False, None, None, ["KO"]), "PEP": (True, None, 144.0, [])}
    # Of a source without closes, but adjusted ones.
    answers["ADJO"] = (True, None, None, [])

    async def ingest() -> None:
        # One question more than symbols: the exit's day is another one.
        while len(asked := await api.rows("SELECT symbol, session FROM coordinator.lookups")) <= len(answers):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for symbol, session in asked:
            found, company, close, near = answers[symbol]
            await api.run(
                "INSERT INTO ingest.lookups (symbol, session, provider, found, company, close, adjusted, suggestions) "
                "VALUES (:symbol, :session, 'file', :found, :company, :close, :adjusted, :near)",
                symbol=symbol, session=session, found=found, company=company, close=close, near=near,
                adjusted=38.0 if symbol == "ADJO" else close,
            )  # fmt: skip

    answering = asyncio.create_task(ingest())
    try:
        told = await api.create(csv, dry_run="true")
    finally:
        await answering
        await api.run("DELETE FROM ingest.chain")
    coke, unknown, pepsi, _ = told["preview"]
    assert (coke["company"], coke["close_as_traded"], coke["asked"]) == ("Coca-Cola", 52.5, "file")
    assert unknown["close_as_traded"] is None
    assert [(each["symbol"], each["suggestions"]) for each in told["unknown_symbols"]] == [("KOO", ["KO"])]
    assert told["not_asked"] == []
    assert [w["row"] for w in told["warnings"] if w["code"] == "price_basis_mismatch"] == [4, 5]
    [far] = [w for w in told["warnings"] if w["code"] == "exit_price_mismatch"]
    assert (far["row"], far["column"]) == (4, "exit_price")
    assert "is far from the close of 2020-12-10 (144.0000)" in far["message"]
    assert pepsi["written"]["entry_price"] == "1.45"
    assert (told["cost"], told["equity"]) == (520.0, 100000.0)


BROKERS = (
    "SCHWAB_POSITIONS", "SCHWAB_LOTS", "SCHWAB_TRANSACTIONS", "FIDELITY_POSITIONS", "FIDELITY_HISTORY", "IBKR_ACTIVITY",
    "IBKR_FLEX_TRADES", "IBKR_FLEX_LOTS", "VANGUARD", "ETRADE_POSITIONS", "ETRADE_TRANSACTIONS", "ROBINHOOD", "TRADING212", "DEGIRO",
)  # fmt: skip
# What every list of trades among them comes to: 1,000 shares at 56.20, of which 400 go at 53.35.
HELD_AND_SOLD = [("400", "2020-03-04", "56.2", "2020-11-16", "53.35"), ("600", "2020-03-04", "56.2", "", "")]


async def test_the_files_of_eight_brokers_become_portfolios_as_they_are(api: Api) -> None:
    """From the upload to the lots that are stored, and the same file again changes nothing."""
    for name in BROKERS:
        text, form = getattr(test_import_layouts, name), {"symbols": "US1912161007=KO"}
        created = await api.create(text, name=name, equity_balance="100000", **form)
        found = [lot[1:6] for lot in await lots(api, created["id"]) if lot[0] == "KO"]
        if created["reading"]["kind"] == "trades":
            assert found == HELD_AND_SOLD, name
        else:
            shares = {"SCHWAB_LOTS": 1150, "SCHWAB_POSITIONS": 1150, "FIDELITY_POSITIONS": 1150}.get(name, 600)
            assert sum(float(lot[0]) for lot in found) == shares, name
        again = await add(api, created["id"], text, **form)
        assert (again["positions"], again["run_id"]) == (0, None), name

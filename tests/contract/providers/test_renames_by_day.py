"""What vendors file under which symbol when one changes, and splits that are only announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime

from services.ingest.model.market import Answer, History, Rename, Request
from services.ingest.providers.fmp.provider import Fmp
from services.ingest.providers.massive.provider import Massive
from shared.market.calendar import calendar, exchange_calendar
from tests.support.markets import World
from tests.support.vendors import Call, Reply, serving

DAYS = calendar()
ON = date(2022, 6, 9)
EVE = DAYS.previous(ON)
FIRST, LAST = DAYS.back(ON, 5), DAYS.forward(ON, 5)
RENAME = Rename("FB", "META", ON)


def market(today: date = LAST) -> World:
    """Facebook, and the fund that had the symbol before."""
    days = DAYS.between(FIRST, LAST)
    made = World(renames={"FB": ("META", ON)}, today=today)
    made.closes = {
        "FB": {day: 190.0 + k for k, day in enumerate(days)},
        "META": {day: 12.0 for day in days if day < ON},
    }
    made.dividends = {"FB": {EVE: 0.5, DAYS.next(ON): 0.7}, "META": {DAYS.back(ON, 2): 0.01}}
    for name in ("AA", "BB", "CC", "DD"):
        made.closes[name] = {day: 20.0 for day in days if day < ON}
    return made


@contextmanager
def massive(made: World) -> Iterator[Massive]:
    with serving(made.massive) as server:
        vendor = Massive("k", exchange_calendar, base_url=server.url, allow_loopback=True)
        yield vendor
        vendor.close()


def history(answer: Answer) -> History:
    assert isinstance(answer, History), answer
    return answer


def test_a_security_is_asked_for_under_the_symbol_it_had_on_each_day() -> None:
    made = market()
    with massive(made) as vendor:
        asked = Request("META", FIRST, LAST, (RENAME,))
        found = history(next(iter(vendor.fetch([asked]))))
        assert dict(zip(found.bars.sessions.tolist(), found.bars.close.tolist(), strict=True)) == made.closes["FB"]
        assert [(action.ex_date, action.value) for action in found.actions] == [(EVE, 0.5), (DAYS.next(ON), 0.7)]
        assert vendor.calls([asked]) == 4
        made.symbols_asked.clear()
        later = history(next(iter(vendor.fetch([replace(asked, first=ON)]))))
        assert [name for _, name in made.symbols_asked] == ["META"], "the old symbol is dead after its day"
        assert [action.value for action in later.actions] == [0.7], (
            "what was listed late, but not of who had the symbol before"
        )


def test_a_series_that_ends_by_a_rename_says_so_the_same_evening() -> None:
    made = market(today=ON)
    with massive(made) as vendor:
        found = history(next(iter(vendor.fetch([Request("FB", EVE, ON)]))))
        assert found.bars.sessions.tolist() == [EVE]
        assert found.renamed == RENAME
        assert found.delisted_on is None


def test_where_many_lack_their_newest_bar_the_vendor_is_late_and_nobody_is_asked_about() -> None:
    made = market(today=ON)
    calls: list[str] = []

    def answer(call: Call) -> Reply:
        calls.append(call.path)
        return made.massive(call)

    with serving(answer) as server:
        vendor = Massive("k", exchange_calendar, base_url=server.url, allow_loopback=True)
        requests = [Request(name, EVE, ON) for name in ("AA", "BB", "CC", "DD")]
        assert len(list(vendor.fetch(requests))) == 4
        assert "/v3/reference/tickers" not in calls
        list(vendor.fetch(requests[:2]))
        assert calls.count("/v3/reference/tickers") == 2
        vendor.close()


def test_fmp_splits_that_are_only_announced_are_in_no_price_yet() -> None:
    made = market()
    made.splits = {"AA": {ON: 4.0}}

    def vendor_on(day: date) -> Callable[[], datetime]:
        return lambda: datetime(day.year, day.month, day.day, 22, tzinfo=UTC)

    with serving(made.fmp) as server:
        for today, listed in ((EVE, []), (ON, [4.0])):
            vendor = Fmp(
                "k", exchange_calendar, base_url=f"{server.url}/stable", allow_loopback=True, now=vendor_on(today)
            )
            found = history(next(iter(vendor.fetch([Request("AA", FIRST, EVE)]))))
            assert [action.value for action in found.actions if action.type == "split"] == listed
            vendor.close()

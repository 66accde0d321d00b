"""What is held by symbol, summed from the arrays of lots, is what the database says of their rows."""

from __future__ import annotations

import random
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.coordinator.results import book, held, liquidity, lot_sums
from services.coordinator.results.book import Holding
from shared.db.engine import snapshot
from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_beside_the_loop import Threads
from tests.store.coordinator.test_reads import complete_with_results

SESSIONS = [date(2020, 12, day) for day in (21, 22, 23, 24, 28, 29, 30)]
SYMBOLS = ("AAPL", "BRK.B", "BRKA", "aapl", "AAPL201218C00120000", "Zürich", "FUND")
STATED = (
    ("PUBLIC", None, None), ("PUBLIC", "ETF", None), ("PUBLIC", "MONEY_MARKET", None), ("PRIVATE", None, None),
    ("OPTIONS", None, "BRK.B"), ("OPTIONS", None, "BRKA"), ("OPTIONS", None, "AAPL"),
)  # fmt: skip
Line = tuple[str, Holding, float, int, int, bool]
REASONS = ("", "", "stale_price", *book.OLD_REASONS)


async def _insert(api: Api, portfolio: UUID, lots: int, chance: random.Random) -> None:
    """Sessions that list more and more lots: some closed, some of other symbols than before, one that nothing is said of."""
    listed: list[tuple[UUID, str]] = []
    for of in range(lots):
        lot, symbol, (kind, subtype, underlying) = uuid4(), chance.choice(SYMBOLS), chance.choice(STATED)
        listed.append((lot, symbol))
        if of:
            await api.run(
                """
                INSERT INTO coordinator.positions (id, portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                    investment_class, investment_subtype, underlying_symbol, stated_quantity, stated_entry_price, deleted_at)
                VALUES (:lot, :id, :symbol, 1, '2020-12-21', '2020-12-21', 1, :kind, :subtype, :underlying, 1, 1,
                        CASE WHEN :deleted THEN now() END)
                """,
                lot=lot, id=portfolio, symbol=symbol, kind=kind, subtype=subtype, underlying=underlying, deleted=of % 5 == 0,
            )  # fmt: skip
    for at, session in enumerate(SESSIONS):
        # None at first; the same ones twice; then of one another symbol.
        now = listed[: lots * (at + 1) // 2 // len(SESSIONS) * 2] if at else []
        if at == len(SESSIONS) - 2:
            now = [(lot, "AAPL" if symbol == "FUND" else symbol) for lot, symbol in now]
        shares = [chance.choice((0.0, 0.1, -0.3, 1e9 / 3.0, 7.0)) for _ in now]
        value = [chance.choice((0, 1, -1, 2**53 + 1, -(2**61), 2**62 - 3, 123_456_789)) for _ in now]
        await api.run(
            """
            INSERT INTO snapshots.holdings
            SELECT :id, :session, 1, :lots, :symbols, :held, :held, array_fill(CAST(:session AS date), ARRAY[:n]),
                   array_fill('close'::text, ARRAY[:n]), array_fill(0::smallint, ARRAY[:n]), :value,
                   array_fill(0::bigint, ARRAY[:n]), array_fill(0::bigint, ARRAY[:n]), array_fill(0::bigint, ARRAY[:n]),
                   array_fill(0::bigint, ARRAY[:n]), :reasons
            """.replace(":n", str(len(now))),
            id=portfolio, session=session, lots=[lot for lot, _ in now], symbols=[symbol for _, symbol in now], held=shares,
            value=value, reasons=[chance.choice(REASONS) for _ in now],
        )  # fmt: skip


async def _by_rows(api: Api, portfolio: UUID, first: date, last: date) -> dict[date, list[Line]]:
    found: dict[date, list[Line]] = {}
    for session, symbol, quantity, value, gross, old, kind, subtype, underlying in await api.rows(
        """
        SELECT h.session, l.symbol, sum(l.quantity ORDER BY l.n) AS quantity, sum(l.value) AS value, sum(abs(l.value)) AS gross,
               bool_or(l.reason = ANY (CAST(:old AS text[]))) AS old,
               max(p.investment_class) AS class, max(p.investment_subtype) AS subtype, max(p.underlying_symbol) AS underlying
        FROM snapshots.holdings h
        LEFT JOIN LATERAL unnest(h.position_ids, h.symbols, h.quantity, h.market_value, h.reason) WITH ORDINALITY
            AS l (id, symbol, quantity, value, reason, n) ON l.quantity <> 0
        LEFT JOIN coordinator.positions p ON p.id = l.id
        WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last GROUP BY h.session, l.symbol ORDER BY h.session, l.symbol
        """,
        id=portfolio, first=first, last=last, old=list(book.OLD_REASONS),
    ):  # fmt: skip
        lines = found.setdefault(session, [])
        if symbol is not None:
            stated = {"class": kind, "subtype": subtype, "underlying": underlying}
            lines.append((symbol, book.holding(symbol, stated), float(quantity), int(value), int(gross), bool(old)))
    return found


def _lines(of: lot_sums.Sums) -> list[Line]:
    columns = (of.symbols, of.holdings, of.quantity.tolist(), of.value, of.gross, of.old.tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("at_once", [1, 60, 1_000_000])
async def test_sums_are_those_of_rows(api: Api, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(lot_sums, "LOTS_AT_ONCE", at_once)
    portfolio = UUID((await api.create())["id"])
    await _insert(api, portfolio, 40, random.Random(at_once))
    for first, last in (
        (SESSIONS[0], SESSIONS[-1]),
        (date.min, date.max),
        (SESSIONS[2], SESSIONS[4]),
        (SESSIONS[-1],) * 2,
    ):
        async with snapshot(api.context.engine) as conn:
            found = await lot_sums.read(conn, portfolio, first, last, evidence=True)
            unasked = await lot_sums.read(conn, portfolio, first, last)
        expected = await _by_rows(api, portfolio, first, last)
        assert {of.session: _lines(of) for of in found} == expected
        assert [of.session for of in found] == sorted(expected)
        assert [_lines(of) for of in unasked] == [[(*line[:-1], False) for line in _lines(of)] for of in found]


async def test_who_is_listed_is_told_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio = UUID((await api.create())["id"])
    await _insert(api, portfolio, 40, random.Random(1))
    # The same lots on all sessions but the first, which has none.
    await api.run("""
        UPDATE snapshots.holdings h SET position_ids = l.position_ids, symbols = l.symbols, quantity = l.quantity,
               market_value = l.market_value FROM snapshots.holdings l WHERE l.session = '2020-12-30' AND h.session > '2020-12-21'
    """)
    told: list[Any] = []
    read_slice = lot_sums._read_slice

    async def noted(*given: Any, **named: Any) -> Any:
        told.extend(rows := await read_slice(*given, **named))
        return rows

    monkeypatch.setattr(lot_sums, "_read_slice", noted)
    async with snapshot(api.context.engine) as conn:
        found = await lot_sums.read(conn, portfolio, SESSIONS[0], SESSIONS[-1])
    # A session a row, never one a lot.
    assert len(told) == len(found) == len(SESSIONS)
    assert [row.symbols is not None and row.ids is not None for row in told] == [
        True,
        True,
        *(False for _ in SESSIONS[2:]),
    ]
    assert len({id(of.holdings) for of in found[1:]}) == 1


@pytest.mark.parametrize("figure", ["liquidity.days", "look_through.names"])
async def test_figures_over_time_are_summed_beside_the_event_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    identity = await complete_with_results(api)
    threads = Threads(monkeypatch)
    told = (liquidity, "_document") if figure == "liquidity.days" else (held, "_of_sums")
    for module, name in ((lot_sums, "_sum"), (lot_sums, "_lots"), (lot_sums, "_gather_stated"), told):
        threads.watch(module, name)
    answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/risk/series?figures={figure}")
    assert answer.status_code == 200
    assert all(seen and not any(seen) for seen in threads.seen.values()), threads.seen


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ("liquidity.days", []),
        ("liquidity.within.5,liquidity.unknown_share", []),
        ("liquidity.positions.BRK.B.days,liquidity.days", ["BRK.B"]),
        # Of a name that there is not, those that are close are told.
        ("liquidity.positions.BRK.days", ["AAPL", "BRK.B"]),
        ("liquidity.positions.AAPL.day", ["AAPL", "BRK.B"]),
        ("liquidity.dayz", ["AAPL", "BRK.B"]),
    ],
)
def test_figures_of_single_symbols_are_made_where_they_are_wanted(names: str, shown: list[str]) -> None:
    assert sorted(liquidity._symbols_to_show(["AAPL", "BRK.B"], names.split(","))) == shown
    assert sorted(liquidity._symbols_to_show(["AAPL", "BRK.B"], None)) == ["AAPL", "BRK.B"]

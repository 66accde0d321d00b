"""What is fetched together is written in parts: all of it, once, each symbol whole."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime

import pytest

from services.ingest.compute.write_parts import in_transactions
from services.ingest.model.stored import (
    ActionRow,
    Candidate,
    Described,
    Found,
    PriceGap,
    PriceOutlier,
    SymbolRow,
)
from services.ingest.model.write_set import FetchRequest, WriteSet

DAY = date(2024, 1, 2)
NOW = datetime(2024, 1, 3, tzinfo=UTC)
ROWS = {1: 3, 2: 4, 3: 9, 4: 1}


def ask(id_: int, first: date = DAY) -> FetchRequest:
    return FetchRequest(id_, f"S{id_}", first, DAY, ((0, 1),), None)


# The first symbol is asked for twice, the second time after another.
ASKS = [ask(1), ask(2), ask(1, date(2023, 1, 3)), ask(3), ask(4)]


def everything() -> WriteSet:
    """Of each kind one a symbol."""
    gap = PriceGap(0, 1, "no_data", True, "file", NOW, None)
    return WriteSet(
        prices=[(id_, number) for id_, count in ROWS.items() for number in range(count)],
        actions=[ActionRow(id_, DAY, "split", 2.0, DAY, "file") for id_ in ROWS],
        symbols=[SymbolRow(id_, DAY, DAY) for id_ in ROWS],
        checked={id_: [(0, 1)] for id_ in ROWS},
        gaps={id_: [gap] for id_ in ROWS},
        listed=[(id_, DAY, DAY, "file") for id_ in ROWS],
        jumps=[PriceOutlier(id_, DAY, "file", 1.0, 0.1, None, None, False) for id_ in ROWS],
        decided={(id_, DAY): 7 for id_ in ROWS},
        renames=[Found(f"S{id_}", "X", DAY, "file") for id_ in ROWS],
        candidates=[Candidate(id_, "X", "N", None, "EQUITY", None) for id_ in ROWS],
        described=[Described(id_, "file", *[None] * (len(Described._fields) - 2)) for id_ in ROWS],
        chosen=dict.fromkeys(ROWS),
    )


def test_a_part_holds_whole_symbols_up_to_so_many_rows_and_nothing_is_left_out() -> None:
    whole = everything()
    parts = list(in_transactions(ASKS, whole, 7))
    assert [[each.symbol_id for each in asks] for asks, _ in parts] == [[1, 2, 1], [3], [4]]
    assert [len(part.prices) for _, part in parts] == [7, 9, 1]
    for field in fields(WriteSet):
        of_parts = [item for _, part in parts for item in _items(getattr(part, field.name))]
        expected = _items(getattr(whole, field.name))
        assert expected, field.name
        assert sorted(of_parts, key=repr) == sorted(expected, key=repr), field.name
    for asks, part in parts:
        assert {row.id for row in part.symbols} == {each.symbol_id for each in asks} == set(part.checked)


def _items(value: list[object] | dict[object, object]) -> list[object]:
    return list(value.items()) if isinstance(value, dict) else list(value)


@pytest.mark.parametrize("asks", [[], ASKS])
def test_what_is_little_is_written_at_once(asks: list[FetchRequest]) -> None:
    whole = everything() if asks else WriteSet([], [], [], {}, {})
    [(some, part)] = in_transactions(asks, whole)
    assert some is asks
    assert part is whole

"""Whatever the bytes, the importer answers with positions or with errors, and never with an exception."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.parse import parse_csv, parse_items
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar
from tests.support.examples import examples

RULES = Rules(calendar(), date(2020, 12, 30))
HEADER = ",".join(COLUMNS)
cells = st.one_of(
    st.sampled_from(
        ["", "AAPL", "AAPL210115C00130000", "CASH_X", "1", "-1.5", "0", "nan", "1e99", "2020-01-02", "2020-01-04", "PUBLIC", "OPTIONS",
         "PRIVATE", "CALL", "STOCK", "split_adjusted", '"', "#", "\n"]
    ),
    st.text(max_size=12),
)  # fmt: skip
values = st.one_of(cells, st.none(), st.integers(), st.floats())


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    parsed = parse_csv(content, "p.csv", RULES)
    assert parsed.issues.refused or parsed.positions


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.lists(cells, min_size=4, max_size=len(COLUMNS)), max_size=4))
def test_any_cells(rows: list[list[str]]) -> None:
    text = "\n".join([HEADER, *(",".join(row) for row in rows)])
    parsed = parse_csv(text.encode("utf-8", errors="surrogatepass"), "p.csv", RULES)
    assert parsed.issues.refused or parsed.positions
    assert all(issue.code.startswith("ERR_") and issue.message for issue in parsed.issues.errors)


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), values))
def test_any_item(item: dict[str, object]) -> None:
    parsed = parse_items([item], RULES)
    assert parsed.issues.refused != bool(parsed.positions)
    for position in parsed.positions:
        assert position.quantity.is_finite()
        assert position.entry_price > 0
        assert date(1990, 1, 2) <= position.entry_session

"""Prices and quantities are printed with the digits they have."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from leadline.tables import overview
from leadline.tables.text import price, shares


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "–"), (0.0, "0.00"), (0.00012, "0.00012"), (0.00001234, "0.00001234"), (0.5, "0.50"), (0.8412, "0.8412"),
        (9.5, "9.50"), (1.2345, "1.2345"), (12.3456, "12.35"), (601234.5, "601,234.50"), (-0.025, "-0.025"),
        (99.999, "100.00"), (0.1 + 0.2, "0.30"),
    ],
)  # fmt: skip
def test_a_price_has_the_digits_it_needs(value: float | None, printed: str) -> None:
    assert price(value) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "–"),
        (100.0, "100"),
        (1_000.0, "1,000"),
        (0.12345678, "0.12345678"),
        (-0.09, "-0.09"),
        (5e-10, "0.0000000005"),
    ],
)
def test_a_quantity_has_no_zeros_at_its_end(value: float | None, printed: str) -> None:
    assert shares(value) == printed


def test_status_says_what_was_stated_and_what_is_stored() -> None:
    lot: dict[str, Any] = {
        "symbol": "STKX", "entry_date": "2020-10-01", "price_basis": "split_adjusted", "basis_reason": "compared",
        "stated_quantity": 400.0, "stated_entry_price": 50.3875, "stored_quantity": 100.0, "stored_entry_price": 201.55,
    }  # fmt: skip
    out = Console(file=io.StringIO(), width=140)
    overview.render_status(
        out,
        {
            "id": "x", "state": "complete", "as_of": "2020-12-31", "expected": 4, "completed": 4, "holes": [], "partials": [],
            "phases": {phase: {"expected": 1, "completed": 1} for phase in overview.PHASES}, "price_basis": [lot],
        },
    )  # fmt: skip
    printed = out.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    assert "400 at 50.39" in printed
    assert "100 at 201.55" in printed
    assert "split adjusted" in printed

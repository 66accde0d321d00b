"""Losses that are not stored are worked out, when they are read, to the last bit as they were stored before."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from services.coordinator.results.risk_rows import read_legs, read_shares, read_tails, read_tilts, read_weights
from services.risk.compute import stress_report
from services.risk.compute.inputs import Book, Panel
from services.risk.compute.reasons import to_rows
from services.risk.compute.report import RiskReport, build_reports
from services.risk.workflow import _json as as_json
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector
from shared.market.registry import FACTOR_NAMES
from shared.market.stress_losses import pack_shocks
from tests.unit.risk import cases, test_options
from tests.unit.risk.cases import Lot, Unit

F, C = len(FACTOR_NAMES), 24
ROWS = 10_000


def stored_before(
    value: FloatMatrix, betas: FloatCube, shocks: FloatCube, nav: FloatVector, withheld: BoolMatrix
) -> tuple[list[FloatVector], list[FloatVector]]:
    """(direct, propagated) as rows were written while both were columns of every row: g portfolios at a time.

    value (g, K); betas (g, K, F), NaN unknown; shocks (g, 2 C, F); withheld (g, C).
    """
    known = np.isfinite(betas)
    exposed = np.where(known & known[:, :, :1], betas, 0.0)
    total = np.matmul(shocks, exposed.transpose(0, 2, 1))
    scale = np.divide(-1.0, total, out=np.ones_like(total), where=total < -1.0)
    scale *= value[:, None]
    by_factor = shocks * np.matmul(scale, exposed)
    total *= scale
    money, by_position = total.sum(axis=-1), np.where(known[:, None, :, 0], total, np.nan)
    fraction = money / nav[:, None]
    table = np.concatenate([money[:, :, None], fraction[:, :, None], by_factor, by_position], axis=-1)
    table[np.tile(withheld, 2)] = np.nan
    rows = to_rows(table.reshape(2 * len(table), -1))
    return rows[::2], rows[1::2]


def test_ten_thousand_rows_come_back_bit_for_bit() -> None:
    """Of no holding, one, and many; shorts, unknown betas, negative zeros, NAVs of nothing and less, losses beyond all that is held."""
    rng, drawn, seen = np.random.default_rng(81), random.Random(81), 0
    while seen < ROWS:
        g, k = drawn.choice([1, 7, 250]), drawn.choice([0, 1, 2, 3, 8, 13, 16, 17, 30, 31, 130])
        value = rng.normal(0.0, 1e5, (g, k)) * (rng.random((g, k)) > 0.05)
        betas = np.where(rng.random((g, k, F)) < 0.1, np.nan, rng.normal(0.0, 1.5, (g, k, F)))
        betas[rng.random((g, k)) < 0.1] = np.nan
        betas[rng.random((g, k, F)) < 0.05] = -0.0
        shocks = rng.normal(0.0, 0.4, (g, 2 * C, F)) * (rng.random((g, 2 * C, F)) > 0.5)
        nav = np.where(rng.random(g) < 0.05, np.nan, rng.lognormal(12.0, 3.0, g))
        withheld = rng.random((g, C)) < 0.1
        before = stored_before(value, betas, shocks, nav, withheld)
        values, exposed = to_rows(value), to_rows(betas.reshape(g, -1))
        for i, (direct, propagated) in enumerate(zip(*before, strict=True)):
            row = {
                "stress_direct": None,
                "exposure_values": values[i].tolist(),
                "betas": exposed[i].tolist(),
                "shocks": pack_shocks(shocks[i], rng.normal(size=C * F)),
                "nav": float(nav[i]),
                "stress_reasons": ["low_coverage" if none else None for none in withheld[i]],
            }
            found = read_legs(row)
            assert [np.array(leg).tobytes() for leg in found] == [direct.tobytes(), propagated.tobytes()], (g, k, i)
        seen += g


def rows_of(panel: Panel, book: Book) -> list[Mapping[str, Any]]:
    return [as_stored(report) for report in build_reports(panel, book, cases.SCENARIOS)]


def as_stored(report: RiskReport) -> Mapping[str, Any]:
    """The columns as the driver gives them back."""
    columns = {name: of.tolist() if isinstance(of, np.ndarray) else of for name, of in report.columns.items()}
    return columns | {"risk": json.loads(as_json(report.risk))}


def doubles(values: Sequence[float]) -> bytes:
    return np.array(values, dtype=np.float64).tobytes()


READ: Mapping[str, Callable[[Mapping[str, Any]], Sequence[float]]] = {
    "weights": read_weights,
    "tilts": read_tilts,
    "contribution_shares": read_shares,
    "tail_parts": read_tails,
    "stress_direct": lambda row: read_legs(row)[0],
    "stress_propagated": lambda row: read_legs(row)[1],
}


def compare(panel: Panel, book: Book, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many rows leave the losses out, and how many hold them; what is read of each is what the slow way stores."""
    short = rows_of(panel, book)
    with monkeypatch.context() as patch:
        patch.setattr(stress_report, "_is_told_by_values", lambda _, stack: np.zeros(len(stack.units), dtype=np.bool_))
        full = rows_of(panel, book)
    for left_out, stored in zip(short, full, strict=True):
        for name, read in READ.items():
            assert doubles(read(left_out)) == doubles(stored[name]), name
            assert doubles(read(stored)) == doubles(stored[name]), "what is stored is answered as it is"
        assert all(
            np.array_equal(np.asarray(left_out[name], dtype=object), np.asarray(stored[name], dtype=object))
            or str(left_out[name]) == str(stored[name])
            for name in stored
            if name not in READ
        )
    count = sum(row["stress_direct"] is None for row in short)
    return count, len(short) - count


def test_what_a_computation_leaves_out_is_what_it_would_have_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random books over several sessions: shorts, gaps, unknown betas, stale prices, nothing held, NAVs that are not positive."""
    drawn = random.Random(18)
    symbols = [f"S{number:02d}" for number in range(40)]
    panel = cases.panel(symbols, 4, without=("rates",))
    for symbol in symbols[:4]:
        panel = cases.forget(panel, symbol, 0, 400)
    for row in drawn.sample(range(len(panel.symbols)), 8):
        panel.joint[:, row] = np.nan
    units = [
        Unit(
            drawn.choice([900.0, 12_345.6, 1e7, 0.0, -5.0]),
            tuple(
                Lot(symbol, drawn.uniform(-900.0, 3000.0), unpriceable=drawn.random() < 0.03)
                for symbol in drawn.sample(symbols, drawn.choice([0, 1, 2, 13, 30]))
            ),
            portfolio=number,
            session=session,
        )
        for session in range(4)
        for number in range(30)
    ]
    assert compare(panel, cases.book(panel, units), monkeypatch) == (120, 0)


def test_a_portfolio_with_options_stores_its_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a delta or without: what they lose does not follow of what is stored."""
    panel = test_options.market()
    lots = (Lot("AAPL", 8000.0), Lot(test_options.CALL, 700.0), Lot("BBB", -300.0))
    assert compare(panel, test_options.book(panel, Unit(20_000.0, lots)), monkeypatch) == (0, 1)
    blind = test_options.market(without=("AAPL",))
    assert compare(blind, test_options.book(blind, Unit(20_000.0, lots)), monkeypatch)[0] == 0

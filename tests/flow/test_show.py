"""Every figure that the API answers about a session is printed by `leadline show --full`.

Each number, text and null of the answers is replaced by a mark of its own, the answers are printed, and the marks are looked for. A
figure that is added to an answer and not to a table is therefore found by its name.
"""

from __future__ import annotations

import asyncio
import copy
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

import pytest
from rich.console import Console
from typer.testing import CliRunner

from leadline import cli, overview
from leadline.http import Client
from leadline.tables import overview as tables
from services.coordinator.results.risk import GREEKS
from tests.flow.holdings import book
from tests.support.pipeline import Pipeline

Path = tuple[Any, ...]
ANSWERS = ("snapshot", "positions", "factor_exposures", "risk", "correlations", "stress", "scorecard", "symbols")
# Null here is a text that is not there; any other null is a number.
WORDS = {
    "reason", "figure", "symbol", "price_session", "price_basis", "peak", "trough", "benchmark_date", "date", "provider", "as_of",
    "method", "direction", "entry_date", "duration_as_of", "until", "zone",
}  # fmt: skip
# What the tables look things up by: changed one at a time, and what is printed must change.
KEYS = {("factor_exposures", "factors", "*", "set"), ("factor_exposures", "factors", "*", "factor")}


# Whose facts they are: printed once, with the facts. Without facts there is nothing below.
NO_FIGURES = {
    ("symbols", "*", "symbol"), ("symbols", "*", "metrics", "reasons", "*", "symbol"), ("symbols", "*", "factors"),
    ("symbols", "*", "metrics"),
}  # fmt: skip


class Number(float):
    """A number that prints as its mark whatever is done to it on the way to the page."""

    mark: str

    def __new__(cls, value: float, mark: str) -> Self:
        made = super().__new__(cls, value)
        made.mark = mark
        return made

    def __format__(self, spec: str) -> str:
        return self.mark

    def __str__(self) -> str:
        return self.mark

    def __mul__(self, other: float) -> Number:
        return Number(float(self) * other, self.mark)

    __rmul__ = __mul__


def printed(document: Mapping[str, Any]) -> str:
    out = io.StringIO()
    tables.print_overview(Console(file=out, width=5000), document, full=True)
    return out.getvalue()


def leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def generic(path: Path) -> Path:
    return tuple("*" if isinstance(part, int) else part for part in path)


def put(document: dict[str, Any], path: Path, value: Any) -> None:
    at: Any = document
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value


def filled(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is null as a whole, with its parts: greeks of no option, legs of a scenario without a proxy."""
    whole = copy.deepcopy(dict(document))
    for position in whole["factor_exposures"]["positions"]:
        position["greeks"] = position["greeks"] or dict.fromkeys(GREEKS)
    scenarios = whole["stress"]["scenarios"]
    example = next(scenario for scenario in scenarios if scenario["direct"] and scenario["propagated"])
    for scenario in scenarios:
        for leg in ("direct", "propagated"):
            scenario[leg] = scenario[leg] or copy.deepcopy(example[leg])
    return whole


def same(path: Path) -> bool:
    """Of a symmetric matrix one half is printed; a correlation with itself is 1, and is not."""
    if path[0] != "correlations" or len(path) < 4 or path[-3] not in ("matrix", "n_obs"):
        return False
    i, j = path[-2:]
    if path[1] == "factors":
        return bool(i < j)
    return bool(i <= j if path[-3] == "matrix" else i > j)


def unseen(document: Mapping[str, Any], *, toggled: bool = True) -> list[str]:
    """The figures of the answers that are not printed, by their paths.

    toggled : of yes and no, and of keys, each is changed by itself: the page must change. That is a page for each.
    """
    whole = filled(document)
    marks: dict[str, Path] = {}
    single: dict[Path, tuple[Path, Any]] = {}
    for path, value in [leaf for name in ANSWERS for leaf in leaves(whole[name], (name,))]:
        mark = f"<{len(marks)}>"
        if same(path) or generic(path) in NO_FIGURES or path[-1] == "portfolio_id":
            continue
        if isinstance(value, bool) or generic(path) in KEYS:
            single.setdefault(generic(path), (path, value))
            continue
        text = isinstance(value, str) or (
            value is None and (path[-1] in WORDS or "proxies" in path or path == ("risk", "benchmark"))
        )
        put(whole, path, mark if text else Number(len(marks) + 1, mark))
        marks[mark] = path
    page = printed(whole)
    found = set(re.findall(r"<\d+>", page))
    missing = [path for mark, path in marks.items() if mark not in found]
    for path, value in single.values() if toggled else ():
        put(whole, path, not value if isinstance(value, bool) else "another")
        if printed(whole) == page:
            missing.append(path)
        put(whole, path, value)
    return [".".join(map(str, path)) for path in missing]


@pytest.fixture(scope="module")
async def document(leadline: Pipeline) -> dict[str, Any]:
    private = {
        "symbol": "HOUSE",
        "quantity": 1,
        "entry_date": "2020-09-01",
        "entry_price": 9000,
        "investment_class": "PRIVATE",
    }
    option = {"symbol": "AAPL210618C00100000", "quantity": 1, "entry_date": "2020-09-01", "entry_price": 30}
    flow = {"date": "2020-10-12", "amount": 5000.0, "note": None}
    portfolio = await leadline.create([*book(), private, option], flows=[flow])
    await leadline.complete(portfolio)

    def gather() -> dict[str, Any]:
        with Client(leadline.services.url) as api:
            return overview.gather(api, portfolio, full=True)

    return await asyncio.to_thread(gather)


async def test_every_figure_of_every_answer_is_printed(document: dict[str, Any]) -> None:
    assert all(document[name] for name in ANSWERS)
    assert sum(1 for name in ANSWERS for _ in leaves(document[name], ())) > 1500
    missing = unseen(document)
    assert not missing, "\n".join(missing)


async def test_a_figure_that_no_table_has_is_named(document: dict[str, Any]) -> None:
    more = copy.deepcopy(document)
    risk, stress, symbol = more["risk"], more["stress"]["scenarios"], more["symbols"][0]
    places = [
        more["snapshot"], more["positions"], more["positions"]["items"][0], more["factor_exposures"]["factors"][0],
        more["factor_exposures"]["positions"][0], risk, risk["volatility"], risk["volatility"]["forecast_21"], risk["positions"][0],
        risk["decomposition"]["contributions"][0], risk["var"][0], risk["sectors"][0], risk["scorecard"]["var_95"],
        more["correlations"], more["correlations"]["factors"], stress[0], next(s for s in stress if s["direct"])["direct"],
        more["scorecard"]["common"], symbol["factors"]["market_beta"], symbol["metrics"]["fundamentals"],
    ]  # fmt: skip
    for n, place in enumerate(places):
        place[f"new_{n}"] = 0.5
    assert {name.split(".")[-1] for name in unseen(more, toggled=False)} == {f"new_{n}" for n in range(len(places))}


async def test_the_short_form_says_that_there_is_a_full_one_and_neither_prints_a_none(
    leadline: Pipeline, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    portfolio = document["portfolio"]["id"]
    monkeypatch.setattr(cli, "client", lambda: Client(leadline.services.url))
    short, full = [
        await asyncio.to_thread(CliRunner().invoke, cli.app, ["show", portfolio, *options])
        for options in ((), ("--full",))
    ]
    assert (short.exit_code, full.exit_code) == (0, 0)
    assert "'leadline show --full' has every figure" in short.stdout
    assert "has every figure" not in full.stdout
    assert len(full.stdout) > 2 * len(short.stdout)
    for page in (short.stdout, full.stdout):
        assert "…" not in page, "a table is wider than the page, and figures are cut off"
        assert not re.search(r"\b(None|nan)\b", page)

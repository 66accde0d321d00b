"""The command line and the API speak the same words."""

from __future__ import annotations

from typing import Any, Self

import pytest
from typer.testing import CliRunner

from leadline import cli
from services.coordinator.explain.formulas import registry
from services.coordinator.explain.formulas.model import fits
from services.coordinator.explain.formulas.registry import FORMULAS, formula_of
from services.coordinator.results.figures import Name, flatten, join_name
from services.coordinator.runs import requests
from shared.work import Phase

RUNNER = CliRunner()
A, B = (f"01a20058-0000-7000-8000-00000000000{n}" for n in (1, 2))


class Recording:
    """A client that remembers what it was asked to post."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def post(self, path: str, *, params: dict[str, Any] | None = None) -> dict[str, Any]:
        self.posted.append((path, {key: value for key, value in (params or {}).items() if value is not None}))
        return {"run_id": "r", "replayed": [1, 2], "purged": [1], "refused": [3], "more": False, "dry_run": True}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recording = Recording()
    monkeypatch.setattr(cli, "client", lambda: recording)
    return recording


def test_what_and_phases_are_the_same_everywhere() -> None:
    assert {what.value for what in cli.What} == set(requests.WHAT)
    assert {phase.value for phase in cli.Phase} == {phase.value for phase in Phase}


def test_rerun_takes_one_cell_or_many(client: Recording) -> None:
    assert RUNNER.invoke(cli.app, ["rerun", A, "--what", "missing"]).exit_code == 0
    day = ["--from", "2020-12-01", "--to", "2020-12-01"]
    assert RUNNER.invoke(cli.app, ["rerun", A, B, "--what", "all", "--phase", "risk", *day]).exit_code == 0
    assert [params for _, params in client.posted] == [
        {"portfolio_id": [A], "what": "missing", "source": "cli"},
        {
            "portfolio_id": [A, B], "what": "all", "phase": "risk", "start_date": "2020-12-01", "end_date": "2020-12-01",
            "source": "cli",
        },
    ]  # fmt: skip
    assert RUNNER.invoke(cli.app, ["rerun", A, "--what", "everything"]).exit_code == 2
    assert RUNNER.invoke(cli.app, ["rerun", "--what", "all"]).exit_code == 2, "nobody is not everybody"


def test_many_dead_letters_are_settled_only_if_it_is_said_twice(client: Recording) -> None:
    assert RUNNER.invoke(cli.app, ["dead-letters", "replay"]).exit_code == 2
    assert RUNNER.invoke(cli.app, ["dead-letters", "purge", "5", "--all"]).exit_code == 2
    assert RUNNER.invoke(cli.app, ["dead-letters", "purge", "5", "--reason", "not_json"]).exit_code == 2
    assert client.posted == []
    shown = RUNNER.invoke(cli.app, ["dead-letters", "replay", "--all", "--reason", "blocked"])
    assert "give --yes" in shown.stdout
    assert "cannot be sent again: 3" in shown.stdout
    assert RUNNER.invoke(cli.app, ["dead-letters", "replay", "--all", "--yes"]).exit_code == 0
    assert RUNNER.invoke(cli.app, ["dead-letters", "purge", "5"]).exit_code == 0
    assert client.posted == [
        ("/admin/dead-letters/replay", {"reason": "blocked", "dry_run": "true"}),
        ("/admin/dead-letters/replay", {"dry_run": "false"}),
        ("/admin/dead-letters/5/purge", {}),
    ]


def test_figures_are_named_by_what_identifies_them() -> None:
    document = {
        "session": "2020-12-30",
        "var": [{"method": "normal", "level": 0.99, "var": 0.03, "es": 0.04, "n_obs": 504}],
        "beta": {"aggregated": 1.0, "realized": None},
    }
    assert {join_name(name): value for name, value in flatten("risk", document).items()} == {
        "risk.var.normal.0.99": 0.03,
        "risk.var.normal.0.99.es": 0.04,
        "risk.var.normal.0.99.n_obs": 504,
        "risk.beta.aggregated": 1.0,
        "risk.beta.realized": None,
    }
    pairs = flatten("correlations", {"labels": ["A", "BRK.B"], "matrix": [[1.0, 0.5], [0.5, 1.0]]})
    assert pairs["correlations", "matrix", "A", "BRK.B"] == 0.5


def test_no_formula_hides_a_later_one() -> None:
    """Every pattern is reached by some name: by itself, with something for each of its stars."""
    for formula in FORMULAS:
        assert formula_of(tuple("x" if "*" in part else part for part in formula.pattern)) is formula, formula.pattern


def test_names_that_no_pattern_tells_apart_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Name] = []

    def noted(pattern: Name, name: Name) -> bool:
        asked.append(name)
        return fits(pattern, name)

    monkeypatch.setattr(registry, "fits", noted)
    registry._first_that_fits.cache_clear()
    lots = [("positions", f"lot-{number}", "market_value") for number in range(100)]
    assert len({id(formula_of(name)) for name in lots}) == 1
    assert len(set(asked)) == 1


def test_a_symbol_that_is_called_as_a_word_of_patterns_has_the_same_formulas() -> None:
    words = sorted({part for formula in FORMULAS for part in formula.pattern})
    for formula in FORMULAS:
        for word in words:
            for end in ((), ("further", "down")):
                name = (*(word if "*" in part else part for part in formula.pattern), *end)
                plain = next((of for of in FORMULAS if fits(of.pattern, name)), None)
                assert formula_of(name) is plain, name

"""Stress in full: what each scenario says, and what it costs by factor and by position. Scenarios are columns, by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import blocks, table
from leadline.tables.text import money, number, percent, text, words

Scenarios = Sequence[Mapping[str, Any]]
# Beside each other on a page of 140 characters, with amounts of up to eight digits.
MOST_SCENARIOS = 8
LEGS = ("direct", "propagated")
# What the two mean: the factors that a scenario does not name stand still, or do what they usually do beside those it names.
LABELS = {"direct": "others unchanged", "propagated": "others as they usually move"}


def stress(console: Console, scenarios: Scenarios) -> None:
    _print_scripts(console, scenarios)
    _totals(console, scenarios)
    numbers = [f"#{n}" for n in range(1, len(scenarios) + 1)]
    there = [n for n, scenario in enumerate(scenarios) if scenario["direct"] or scenario["propagated"]]
    computed, columns = [scenarios[n] for n in there], [numbers[n] for n in there]
    for leg in LEGS:
        for part, name in (("by_factor", "factor"), ("by_position", "position")):
            _cells(console, f"Stress by {name}, {LABELS[leg]}, money", computed, columns, (leg, part))
    _cells(console, f"Returns of the proxies, {LABELS['propagated']}", computed, columns, ("propagated", "shocks"))


def _print_scripts(console: Console, scenarios: Scenarios) -> None:
    rows = table(
        "Stress scenarios", "#", "id", "scenario", "scripted", "capped", "duration of", "uncovered", "reason", left=6
    )
    for column in (3, 4):
        rows.columns[column].no_wrap = False
    for n, scenario in enumerate(scenarios, 1):
        shocks = ", ".join(f"{words(name)} {percent(shock, 1)}" for name, shock in scenario["shocks"].items())
        capped = ", ".join(words(name) for name in scenario["capped"])
        rows.add_row(
            f"#{n}", *(escape(cell) for cell in (scenario["id"], scenario["name"], shocks, capped)),
            text(scenario["duration_as_of"]), money(scenario["uncovered_value"]), escape(words(scenario["reason"])),
        )  # fmt: skip
    console.print(rows)


def _totals(console: Console, scenarios: Scenarios) -> None:
    rows = table(
        "Stress, money and share of NAV", "#", *(cell for leg in LEGS for cell in (LABELS[leg], "of NAV")), "market"
    )
    for n, scenario in enumerate(scenarios, 1):
        legs = [scenario[leg] or {} for leg in LEGS]
        rows.add_row(
            f"#{n}", *(cell for leg in legs for cell in (money(leg.get("money")), percent(leg.get("fraction"), 1))),
            percent((legs[-1].get("shocks") or {}).get("market"), 1),
        )  # fmt: skip
    console.print(rows)


def _cells(console: Console, title: str, scenarios: Scenarios, columns: Sequence[str], path: tuple[str, str]) -> None:
    leg, part = path
    found = [(scenario[leg] or {}).get(part) or {} for scenario in scenarios]
    names = list(dict.fromkeys(name for cells in found for name in cells))

    def cell(i: int, j: int) -> str:
        value = found[j].get(names[i])
        return percent(value, 1) if part == "shocks" else number(value, 0)

    rows = [words(name) if part != "by_position" else name for name in names]
    blocks(console, title, rows, columns, cell, most=MOST_SCENARIOS)

"""Correlations of holdings and of factors: numbered, so that a matrix of many holdings stays readable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import blocks, table
from leadline.tables.text import count, number, words

# Of clusters, and of holdings whose matrix is shown without being asked for.
MOST = 12


def correlations(console: Console, of: Mapping[str, Any], *, full: bool = False) -> None:
    """What the matrix says as a whole; the matrix itself where it is small, and factors and the rest with `full`."""
    rows = table("Correlations", "figure", "value")
    rows.columns[1].justify = "left"
    rows.add_row("mean of absolute values", number(of.get("mean_abs")))
    rows.add_row("shrinkage", number(of.get("shrinkage"), 3))
    together = [cluster for cluster in of.get("clusters") or [] if full or len(cluster) > 1]
    for cluster in together if full else together[:MOST]:
        rows.add_row("move together" if len(cluster) > 1 else "alone", escape(", ".join(cluster)))
    if full:
        for left_out in of.get("excluded") or []:
            rows.add_row("left out", f"{escape(left_out['symbol'])} ({escape(words(left_out['reason']))})")
    console.print(rows)
    labels = of.get("labels") or []
    if labels and (full or len(labels) <= MOST):
        _holdings(console, labels, of["matrix"], of["n_obs"])
    elif labels:
        console.print(f"The correlations of {len(labels)} holdings with each other: 'leadline show --full'.")
    if full:
        _factors(console, of["factors"])


def _holdings(
    console: Console, labels: Sequence[str], matrix: Sequence[Sequence[Any]], n_obs: Sequence[Sequence[Any]]
) -> None:
    def cell(i: int, j: int) -> str:
        return number(matrix[i][j]) if i > j else count(n_obs[i][j])

    names, numbers = _number_labels(labels)
    blocks(console, "Below the diagonal correlations, on and above it joint returns", names, numbers, cell)


def _factors(console: Console, of: Mapping[str, Any]) -> None:
    names, numbers = _number_labels([words(label) for label in of["labels"]])
    title = f"Factors, correlations over {count(of['n_obs'])} returns"
    blocks(console, title, names, numbers, lambda i, j: number(of["matrix"][i][j]) if i >= j else "")


def _number_labels(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    numbers = [str(n) for n in range(1, len(labels) + 1)]
    return [f"{n} {label}" for n, label in zip(numbers, labels, strict=True)], numbers

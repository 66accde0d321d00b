"""Correlations: a matrix as a table of coloured cells, in the order of its clusters or of the alphabet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figures
from services.coordinator.web.views.names import label

Document = Mapping[str, Any]
CLUSTERED, ALPHABETICAL = "clusters", "names"


def view(portfolio: str, correlations: Document, order: str) -> dict[str, Any]:
    of = Figures(portfolio, correlations["session"])
    labels = correlations["labels"]
    clusters = correlations["clusters"] or []
    ordered = [name for cluster in clusters for name in cluster] if order == CLUSTERED and clusters else sorted(labels)
    factors = correlations["factors"]
    return {
        "order": order,
        "labels": ordered,
        "rows": _rows(of, "correlations.matrix", labels, correlations["matrix"], ordered),
        # A line is drawn before the first of each cluster.
        "begins": {cluster[0] for cluster in clusters[1:]} if order == CLUSTERED else set(),
        "clusters": clusters,
        "figures": [
            (_("Mean of absolute values"), of.number("correlations.mean_abs", correlations["mean_abs"])),
            (_("Shrinkage"), of.number("correlations.shrinkage", correlations["shrinkage"], 3)),
        ],
        "excluded": [(item["symbol"], item["reason"]) for item in correlations["excluded"]],
        "factor_labels": [label(name) for name in factors["labels"]],
        "factor_rows": [
            (label(name), cells)
            for name, cells in _rows(
                of, "correlations.factors.matrix", factors["labels"], factors["matrix"], factors["labels"]
            )
        ],
    }


def _rows(
    of: Figures, name: str, labels: Sequence[str], matrix: Sequence[Sequence[Any]], ordered: Sequence[str]
) -> list[tuple[str, list[Any]]]:
    at = {symbol: index for index, symbol in enumerate(labels)}
    return [
        (
            row,
            [
                (of.number(f"{name}.{row}.{column}", value), charts.shade(value, 1.0))
                for column, value in ((column, matrix[at[row]][at[column]]) for column in ordered)
            ],
        )
        for row in ordered
    ]

"""The names of figures: every number of every answer, as a path whose list items stand under what identifies them. Pure.

`risk.var.historical.0.95` is the VaR of that method and level, `risk.var.historical.0.95.es` the expected shortfall beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Name = tuple[str, ...]

# What identifies an item of a list. The longest path that fits is the one that counts.
_IDENTITY: Mapping[Name, tuple[str, ...]] = {
    ("positions", "items"): ("position_id",),
    ("exposures", "factors"): ("factor",),
    ("exposures", "positions"): ("symbol",),
    ("risk", "positions"): ("symbol",),
    ("risk", "decomposition", "contributions"): ("symbol",),
    ("risk", "decomposition", "factors"): ("factor",),
    ("risk", "var"): ("method", "level"),
    ("risk", "var_10d"): ("method", "level"),
    ("risk", "covered_only", "var"): ("method", "level"),
    ("risk", "sectors"): ("sector",),
    ("risk", "decomposition", "excluded"): ("symbol",),
    ("correlations", "excluded"): ("symbol",),
    ("stress", "scenarios"): ("id",),
    ("attribution", "factors"): ("factor",),
    ("attribution", "sectors"): ("sector",),
    ("attribution", "positions"): ("symbol",),
    ("liquidity", "positions"): ("symbol",),
    ("look_through", "funds"): ("symbol",),
    ("look_through", "sectors"): ("sector",),
    ("look_through", "items"): ("symbol",),
    ("sector_exposures", "items"): ("sector",),
    ("scorecard", "forecasts"): ("method",),
    ("scorecard", "var"): ("method", "level"),
}
# Lists that an answer consists of: their own name says nothing.
_PLAIN: Mapping[Name, Name] = {
    ("positions", "items"): ("positions",),
    ("stress", "scenarios"): ("stress",),
    ("sector_exposures", "items"): ("sector_exposures",),
}
# Square matrices, and where their labels stand beside them.
_MATRICES = ("matrix", "n_obs")
# Left out of a name: the only figure of its item, or a container that says nothing.
_SILENT: Mapping[Name, str] = {
    ("risk", "var", "*", "*"): "var",
    ("risk", "var_10d", "*", "*"): "var",
    ("risk", "covered_only", "var", "*", "*"): "var",
    ("risk", "decomposition", "factors", "*"): "share",
    ("risk", "decomposition", "excluded", "*"): "reason",
    ("correlations", "excluded", "*"): "reason",
}
# Not figures.
_ENVELOPE = frozenset(
    {
        "portfolio_id",
        "session",
        "revision",
        "model_version",
        "computed_at",
        "quality",
        "provisional",
        "reasons",
        "stale",
    }
)


def flatten(name: str, document: Mapping[str, Any]) -> dict[Name, Any]:
    """All figures of one answer by their names, the envelope left out.

    Leaves are numbers, texts, nulls, and lists whose items nothing tells apart, such as clusters. A matrix's entries stand under both of
    its labels.
    """
    body = {key: value for key, value in document.items() if key not in _ENVELOPE}
    return dict(_walk((name,), (name,), body))


def _walk(path: Name, generic: Name, value: Any) -> Iterator[tuple[Name, Any]]:
    """path: the figure's own name; generic: the same with `*` for what identifies an item."""
    if isinstance(value, Mapping):
        labels = value.get("labels")
        for key, inner in value.items():
            if isinstance(labels, Sequence) and key in _MATRICES and isinstance(inner, list):
                yield from _matrix((*path, key), labels, inner)
            elif _SILENT.get(generic) == key:
                yield path, inner
            else:
                yield from _walk((*path, str(key)), (*generic, str(key)), inner)
    elif isinstance(value, list):
        identity = _IDENTITY.get(generic)
        if identity is None:
            yield path, value
            return
        base = _PLAIN.get(path, path)
        for item in value:
            own = tuple(str(item[key]) for key in identity)
            rest = {key: inner for key, inner in item.items() if key not in identity}
            yield from _walk((*base, *own), (*generic, *("*" for _ in own)), rest)
    else:
        yield path, value


def _matrix(path: Name, labels: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[tuple[Name, Any]]:
    for one, row in zip(labels, rows, strict=True):
        for other, entry in zip(labels, row, strict=True):
            yield (*path, one, other), entry


def join_name(name: Name) -> str:
    return ".".join(name)

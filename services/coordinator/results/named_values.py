"""Values of figures by their names, and the refusal of a name that nothing has. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from services.coordinator.errors import NotFound
from services.coordinator.results.figures import Name, join_name
from services.coordinator.results.values import to_json

Values = dict[str, dict[date, Any]]
"""By figure, then by session."""


def select_figures(
    documents: Iterable[tuple[date, Mapping[Name, Any]]], names: Sequence[str], *, strict: bool
) -> Values:
    """The figures of these names; one that no session has is refused where that is asked for, with names that are close."""
    values: Values = {name: {} for name in names}
    wanted = dict.fromkeys(names)
    seen: dict[str, None] = {}
    any_figure = False
    for session, figures in documents:
        any_figure |= bool(figures)
        for parts, value in figures.items():
            full = join_name(parts)
            if full in wanted:
                values[full][session] = to_json(value)
            elif len(seen) < 5_000:
                seen[full] = None
    for name in names:
        if strict and any_figure and not values[name]:
            raise unknown_figure(name, seen)
    return values


def unknown_figure(name: str, known: Iterable[str]) -> NotFound:
    close = ", ".join(difflib.get_close_matches(name, list(known), n=3))
    return NotFound(
        f"There is no figure {name[:100]!r} in this range."
        + (f" Did you mean {close}?" if close else " `…/explain` without `figure` lists those of a session.")
    )

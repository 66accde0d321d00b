"""Why a number is what it is: formula, parameters, what leads to it, what it rests on, and what it was before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _

Document = Mapping[str, Any]
_MONEY = ("nav", "cash", "pnl", "value", "money", "dividends", "flow", "exposure", "by_factor", "by_position")
_SHARES = ("return", "var", "es", "weight", "share", "drawdown", "volatility", "xirr", "coverage", "fraction")
# Of inputs: a portfolio of a thousand symbols has as many.
SHOWN = 400


def view(
    subject: str, found: Document, before: Sequence[Document], lots: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """found: the explanation; before: restatements of the same figure and session, newest first; lots: their symbols by id."""
    return {
        "figure": found["figure"],
        "words": words(found["figure"], lots),
        "value": value(found["figure"], found["value"]),
        "exact": found["value"],
        "formula": found["formula"],
        "parameters": [(key, text(item)) for key, item in found["parameters"].items()],
        "steps": [
            (step["name"], words(step["name"], lots), value(step["name"], step["value"])) for step in found["steps"]
        ],
        "inputs": found["inputs"][:SHOWN],
        "inputs_total": found.get("inputs_total", len(found["inputs"])),
        "no_inputs": found["no_inputs"],
        "envelope": found,
        # Of a symbol's figure what counts is the price version that it was computed from.
        "version": found.get("revision") or found.get("price_version"),
        "reasons": [item for item in found.get("reasons") or () if _about(item, found["figure"])],
        "before": [
            {
                "old": value(found["figure"], item["old"]),
                "new": value(found["figure"], item["new"]),
                "replaced_at": item["replaced_at"],
                "old_revision": item["old_revision"],
                "new_revision": item["new_revision"],
            }
            for item in before
        ],
        "citation": _(
            "{subject}, {figure} on {session}: {value} (Leadline, revision {revision}, model {model}, computed {at})"
        ).format(
            subject=subject,
            figure=found["figure"],
            session=found["session"],
            value=found["value"],
            revision=found.get("revision") or found.get("price_version"),
            model=found["model_version"],
            at=found["computed_at"],
        ),
    }


def words(figure: str, lots: Mapping[str, str] | None = None) -> str:
    """The name of a figure as words; a lot's id becomes its symbol, and 0.95 stays one number."""
    joined = re.sub(r"\.(\d+)\.(\d+)(?=\.|$)", r".\1,\2", figure)
    parts = [(lots or {}).get(part, part).replace("_", " ").replace(",", ".") for part in joined.split(".")[1:]]
    return " · ".join(parts)


def value(figure: str, given: Any) -> str:
    """A share as a percentage, money with two decimals, anything else as it is."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return text(given)
    last = figure.rsplit(".", 1)[-1]
    if any(part in last for part in ("n_obs", "session", "positions")) or last == "n":
        return formats.whole(given)
    if any(part in figure for part in _MONEY) and "return" not in last and "fraction" not in last:
        return formats.money(given)
    if any(part in figure for part in _SHARES) and "hhi" not in last and "ratio" not in last:
        return formats.percent(given)
    return formats.number(given, 4)


def text(given: Any) -> str:
    if given is None:
        return formats.UNKNOWN
    if isinstance(given, float):
        return f"{given:,.10g}"
    if isinstance(given, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in given.items())
    if isinstance(given, list | tuple):
        return ", ".join(text(item) for item in given)
    return str(given)


def _about(item: Document, figure: str) -> bool:
    """A reason names a part of a figure's name."""
    return bool(item.get("figure")) and item["figure"] in figure

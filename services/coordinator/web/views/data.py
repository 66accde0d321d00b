"""The data behind a portfolio: what is missing, what fell short, what was said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.coordinator.web.views import explain
from services.coordinator.web.views.figures import Figures
from services.coordinator.web.views.names import label
from services.coordinator.web.views.reasons import reason

Document = Mapping[str, Any]
# Of a change of a thousand figures these are what a reader looks for first.
FIRST = ("snapshots.nav", "snapshots.daily_return", "risk.volatility", "risk.var")
SHOWN = 40
# Of what was done with a remark: hundreds of sessions may lack hundreds of symbols each, and to say why in words takes its time.
PARTIALS, REASONS = 40, 6


def view(portfolio: str, status: Document, changes: Document, why: Document) -> dict[str, Any]:
    """changes, why : restated figures, and what restated them"""
    return {
        "holes": [
            hole | {"phase": label(hole["phase"]), "reason": None if hole["reason"] is None else reason(hole["reason"])}
            for hole in status["holes"]
        ],
        "holes_total": status["holes_total"],
        "partials": [
            {
                "phase": label(span["phase"]),
                "from": span["from"],
                "to": span["to"],
                "coverage": span["coverage"],
                "reasons": [(item["symbol"], reason(item["reason"])) for item in span["reasons"][:REASONS]],
            }
            for span in status["partials"][:PARTIALS]
        ],
        "partials_total": status["partials_total"],
        "changes": change_cards(portfolio, changes["items"]),
        "changes_total": len(changes["items"]),
        "more": changes["next"],
        "causes": causes(why["items"]),
    }


def causes(groups: Sequence[Document]) -> list[dict[str, Any]]:
    """What restated figures, newest first: each cause in a sentence, those of a symbol with the way to its prices."""
    return [
        {
            "from": group["from"],
            "to": group["to"],
            "sessions": group["sessions"],
            "at": group["replaced_at"],
            "moved": group["nav_moved"],
            "said": [(cause["symbol"], cause["summary"]) for cause in group["causes"]] or [(None, group["summary"])],
        }
        for group in groups
    ]


def change_cards(portfolio: str, items: Sequence[Document]) -> list[dict[str, Any]]:
    """Cards of what changed, the figures people know first."""
    ranked = sorted(
        items,
        key=lambda item: next((n for n, name in enumerate(FIRST) if item["figure"].startswith(name)), len(FIRST)),
    )
    return [
        {
            "session": item["session"],
            "figure": item["figure"],
            "words": explain.words(item["figure"]),
            "old": explain.value(item["figure"], item["old"]),
            "new": explain.value(item["figure"], item["new"]),
            "replaced_at": item["replaced_at"],
            "withdrawn": item["withdrawn"],
            "href": Figures(portfolio, item["session"]).link(item["figure"]),
        }
        for item in ranked[:SHOWN]
    ]

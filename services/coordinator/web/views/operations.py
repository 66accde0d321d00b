"""Operations: what is missing and why, runs, messages that failed, quotas, held prices, calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views.names import label
from services.coordinator.web.views.reasons import reason, words
from shared.ledger.states import DONE, STATES
from shared.market.reasons import ReasonCode

Document = Mapping[str, Any]

SHOWN_LINES = 200


def totals(grid: Document) -> list[tuple[str, str, str]]:
    """(state, words, how many) of what there is, in the order of the legend."""
    names = state_names()
    return [(state, names[state], formats.whole(grid["totals"][state])) for state in STATES if grid["totals"][state]]


def state_names() -> dict[str, str]:
    return {
        "complete": _("complete"),
        "partial": _("with a remark"),
        "waiting": _("waiting"),
        "running": _("running"),
        "retrying": _("retrying"),
        "blocked": _("blocked"),
    }


def lines(grid: Document) -> list[dict[str, Any]]:
    """The grid as a table, for readers without a canvas: a row a portfolio, its phases' shares done, and its worst state.

    The worst `SHOWN_LINES`: numbers as text cost more than all the rest, and nobody reads thousands of rows.
    """
    found = []
    for line in grid["portfolios"]:
        phases: dict[str, list[int]] = {}
        worst = 0
        for phase, state, first, last in line["runs"]:
            units = phases.setdefault(phase, [0, 0])
            units[0] += last - first + 1
            units[1] += last - first + 1 if state in DONE else 0
            worst = max(worst, STATES.index(state))
        found.append(
            {
                "id": line["id"],
                "name": line["name"],
                "worst": STATES[worst],
                "done": phases,
                "units": sum(all_ for all_, _done in phases.values()),
            }
        )
    order = {state: -index for index, state in enumerate(STATES)}
    found.sort(key=lambda row: (order[row["worst"]], row["name"].casefold()))
    return [
        row
        | {
            "phases": [
                (label(phase), formats.percent(done / max(1, all_), 1)) for phase, (all_, done) in row["done"].items()
            ]
        }
        for row in found[:SHOWN_LINES]
    ]


def holes(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Missing units by phase and what is happening about them."""
    said = {
        "running": (_("being computed"), _("Leadline acts")),
        "failing": (_("failed, tried again by itself"), _("Leadline acts")),
        "waiting_for_provider": (_("waiting for a provider"), _("time heals it")),
        "asked": (_("asked for"), _("Leadline acts")),
        "queued": (_("queued"), _("Leadline acts")),
        "blocked": (_("failed again and again; a dead letter says why"), _("you act")),
    }
    return [
        {
            "phase": label(hole.phase.value),
            "state": hole.reason,
            "means": said[hole.reason][0],
            "who": said[hole.reason][1],
            "units": formats.whole(hole.units),
            "age": age(hole.oldest_seconds),
        }
        for hole in sorted(found, key=lambda hole: (hole.reason != "blocked", -hole.units))
    ]


def runs(found: Sequence[Document], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "id": run["id"],
            "source": run["source"],
            "state": run["state"],
            "scope": _scope(run["scope"], names),
            "requested_at": run["requested_at"],
            "units": formats.whole(run["units"]),
            "done": formats.whole(run["done"]),
            "share": 1.0 if not run["units"] else run["done"] / run["units"],
            "blocked": run["blocked"],
        }
        for run in found
    ]


def run_events(found: Sequence[Document], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """What happened in a run, in that order, what it waits for last: words and the colour of a badge for each.

    names : portfolios that there are, by id; one that was deleted since is its id
    """
    said = {
        "requested": (_("asked for"), "healing"),
        "completed": (_("completed"), "complete"),
        "failed": (_("failed"), "blocked"),
        "blocked": (_("failed for good"), "blocked"),
        "running": (_("being computed"), "healing"),
        "waiting": (_("waiting"), "healing"),
    }
    return [
        {
            "at": formats.second(event["at"]) if event["at"] else _("now"),
            "words": said[event["event"]][0],
            "badge": said[event["event"]][1],
            "phase": label(event["phase"]) if event["phase"] else formats.UNKNOWN,
            "portfolio": _portfolio(event["portfolio_id"], names),
            "sessions": _sessions(event["from"], event["to"]),
            "units": formats.whole(event["units"]),
            "message": event["message"] or "",
        }
        for event in found
    ]


def _portfolio(identity: UUID | None, names: Mapping[str, str]) -> str:
    """Events that concern several, or none, name nobody."""
    return formats.UNKNOWN if identity is None else names.get(str(identity), str(identity))


def _sessions(first: date | None, last: date | None) -> str:
    if first is None or last is None:
        return formats.UNKNOWN
    return f"{first}" if first == last else f"{first} – {last}"


def _scope(scope: Document, names: Mapping[str, str]) -> str:
    ids = scope.get("portfolio_ids")
    who = _("all portfolios") if ids is None else ", ".join(names.get(one, one) for one in ids[:2])
    if ids is not None and len(ids) > 2:
        who += " " + _("and {n} more").format(n=len(ids) - 2)
    parts = [who]
    if scope.get("phase"):
        parts.append(label(scope["phase"]))
    if scope.get("from") or scope.get("to"):
        parts.append(f"{scope.get('from') or '…'} – {scope.get('to') or '…'}")
    parts.append(scope.get("what") or "")
    return " · ".join(part for part in parts if part)


def providers(document: Document) -> list[dict[str, Any]]:
    return [
        {
            **item,
            "closed_words": words(item["closed_by"]) if item["closed_by"] else "",
            "windows": [
                {
                    "used": formats.whole(window["used"]),
                    "calls": formats.whole(window["calls"]),
                    "per": span(window["seconds"]),
                    "share": min(1.0, window["used"] / window["calls"]) if window["calls"] else 0.0,
                }
                for window in item["windows"]
            ],
        }
        for item in document["items"]
    ]


def held_prices(document: Document) -> list[dict[str, Any]]:
    return [
        item
        | {
            "jump": formats.percent(item["return"], 1, signed=True),
            "sigmas": formats.number(abs(item["return"]) / item["sigma"], 1) if item["sigma"] else formats.UNKNOWN,
            "second_jump": formats.percent(item["second_return"], 1, signed=True),
            "means": reason(ReasonCode.QUARANTINED).means,
        }
        for item in document["items"]
    ]


def span(seconds: float) -> str:
    """A quota's window in words."""
    for size, singular in ((86_400, _("day")), (3_600, _("hour")), (60, _("minute"))):
        if seconds >= size:
            count = seconds / size
            return singular if count == 1 else f"{count:g} × {singular}"
    return f"{seconds:g} s"


def age(seconds: float) -> str:
    if seconds < 90:
        return _("{n} s").format(n=round(seconds))
    if seconds < 5_400:
        return _("{n} min").format(n=round(seconds / 60))
    if seconds < 172_800:
        return _("{n} h").format(n=round(seconds / 3_600))
    return _("{n} days").format(n=round(seconds / 86_400))
